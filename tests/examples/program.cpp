/* SPDX-License-Identifier: MIT */
/*
 * A program in the manner of those that the original interface was made for: a waveform is read,
 * filtered and measured in blocks. heap_mem is used like a pointer there: functions take it as a
 * constant reference and write through it, and every count and size is a 32-bit unsigned.
 *
 * Compiled by tests/examples/careful with the warnings of a strict project, as errors.
 * Exit status: 0 if all is computed as it should be.
 */
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <type_traits>
#include <utility>

#if __cplusplus >= 202002L
#include <ranges>
#include <span>
#endif

#include <kmem/heap_mem.hpp>

#define CHECK(fact)                                                                                \
    ((fact)                                                                                        \
         ? static_cast<void>(0)                                                                    \
         : (std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact), std::exit(1)))

namespace
{

struct sample {
    float left;
    float right;
};

/* ------------------------------------------------------- what writes through a const reference */

void fill(const heap_mem<sample> &wave, const std::uint32_t first)
{
    for (std::uint32_t i = 0; i < wave.count(); i++) {
        wave[i].left = static_cast<float>(first + i);
        wave[i].right = -wave[i].left;
    }
}

void scale(const heap_mem<sample> &wave, const float factor)
{
    sample *samples = wave.data();
    const std::uint32_t n_samples = wave.count();
    for (std::uint32_t i = 0; i < n_samples; i++) {
        samples[i].left *= factor;
        samples[i].right *= factor;
    }
}

void swap_channels(const heap_mem<sample> &wave)
{
    for (sample &each : wave) {
        std::swap(each.left, each.right);
    }
}

std::uint32_t copy_bytes(const heap_mem<char> &to, const char *from, const std::uint32_t n_bytes)
{
    const std::uint32_t checked{to.size_check(n_bytes)};
    std::memcpy(to.data(), from, checked);
    return checked;
}

/* ------------------------------------------------------------- counts and sizes of 32 bits ---- */

class recording
{
  public:
    recording(const std::uint32_t n_samples, const char *reason) : wave_(n_samples, reason)
    {
    }

    const heap_mem<sample> &wave() const
    {
        return wave_;
    }
    std::uint32_t count() const
    {
        return wave_.count();
    }

  private:
    heap_mem<sample> wave_;
};

void counts_are_32_bit_unsigned()
{
    const std::uint32_t n_wanted = 100;
    const recording take(n_wanted, "Recording");
    const std::uint32_t n_samples{take.count()};
    const std::uint32_t n_bytes = take.wave().size();
    unsigned int n_most = 64;
    n_most = std::min(n_most, take.wave().count());
    CHECK(n_samples == n_wanted && n_bytes == n_wanted * sizeof(sample) && n_most == 64);
    CHECK(n_bytes == kmem_sizeof_allocation(take.wave().data()));
    std::printf("%u samples, %u bytes\n", take.wave().count(), take.wave().size());

    heap_mem<char> bytes;
    bytes.allocate(n_bytes, "Bytes");
    CHECK(copy_bytes(bytes, "waveform", 9) == 9 && std::strcmp(bytes.data(), "waveform") == 0);

    heap_mem<sample> window;
    window.point_to(take.wave());
    window.point_to(take.wave().data() + 10, n_most);
    CHECK(window.count() == 64 && window.data() == &take.wave()[10]);
}

void any_integer_is_an_index()
{
    const int n = 4;
    const heap_mem<int> ints(n, "Ints");
    const std::uint8_t small = 0;
    const std::uint64_t large = 3;
    enum channel { LEFT, RIGHT };
    for (int i = 0; i < n; i++) {
        ints[i] = i;
    }
    CHECK(ints[small] == 0 && ints[large] == 3 && ints[RIGHT] == 1 && ints[LEFT] == 0);
    CHECK(ints.size_check(n) == n);
}

void the_wave_is_computed()
{
    const recording take(8, "Recording");
    fill(take.wave(), 1);
    scale(take.wave(), 2.0F);
    swap_channels(take.wave());
    CHECK(take.wave()[0].left == -2.0F && take.wave()[7].right == 16.0F);
    heap_mem<sample> owner(2, "Owner");
    const heap_mem<sample> moved(std::move(owner));
    fill(moved, 5);
    CHECK(moved[1].left == 6.0F);
}

/* --------------------------------------------------------------- what else is expected of it */

template <typename T, typename = void> struct can_point_to_temporary : std::false_type {
};
template <typename T>
struct can_point_to_temporary<
    T, std::void_t<decltype(std::declval<T &>().point_to(std::declval<T &&>()))>> : std::true_type {
};

void it_is_as_modern_programs_want_it()
{
    using ints = heap_mem<int>;
    static_assert(std::is_same_v<decltype(std::declval<const ints &>().data()), int *>);
    static_assert(std::is_same_v<decltype(std::declval<const ints &>()[0]), int &>);
    static_assert(std::is_same_v<decltype(std::declval<const ints &>().begin()), int *>);
    static_assert(std::is_same_v<decltype(std::declval<ints &>().cbegin()), const int *>);
    static_assert(std::is_same_v<decltype(std::declval<ints &>().size_bytes()), std::size_t>);
    static_assert(!std::is_copy_constructible_v<ints> && !std::is_copy_assignable_v<ints>);
    static_assert(std::is_nothrow_move_constructible_v<ints>);
    static_assert(std::is_nothrow_move_assignable_v<ints>);
    static_assert(std::is_nothrow_swappable_v<ints>);
    static_assert(std::is_nothrow_default_constructible_v<ints>);
    static_assert(!std::is_convertible_v<int, ints> && !std::is_convertible_v<unsigned, ints>);
    static_assert(!can_point_to_temporary<ints>::value);

    const ints four(4U, "Four");
    std::fill(std::begin(four), std::end(four), 7);
    CHECK(std::count(four.cbegin(), four.cend(), 7) == 4);
#if __cplusplus >= 202002L
    static_assert(std::ranges::contiguous_range<const ints> && std::ranges::sized_range<ints>);
    const std::span<int> all(four);
    const std::span<const int> to_read(four);
    all[3] = 8;
    CHECK(to_read.size() == 4 && to_read[3] == 8 && std::ranges::size(four) == 4);
#endif
}

/* -------------------------------------------------------------------- the three calls in C++ */

void a_pointer_is_released_without_a_cast()
{
    struct node *opaque = nullptr;
    char *bytes = static_cast<char *>(kmem_allocate(101, "101 bytes"));
    const int *ints = static_cast<int *>(kmem_allocate(8));
    void *block = kmem_allocate(44);
    void *slots[2] = {kmem_allocate(1), kmem_allocate(2)};
    kmem_release(&bytes);
    kmem_release(ints);
    kmem_release(&block);
    kmem_release(slots);
    kmem_release(slots[1]);
    kmem_release(&opaque);
    CHECK(bytes == nullptr && ints == nullptr && block == nullptr);
    CHECK(slots[0] == nullptr && slots[1] == nullptr);

    volatile double *doubles = static_cast<double *>(kmem_try_allocate(64, "Doubles"));
    CHECK(kmem_try_release(&doubles) == 0 && doubles == nullptr);
    CHECK(kmem_try_release(doubles) == 0);
    char here = 'h';
    bytes = &here;
    CHECK(kmem_try_release(&bytes) == -EINVAL && bytes == &here);
    CHECK(kmem_try_release(nullptr) == -EINVAL);
    CHECK(kmem_try_release(static_cast<char **>(nullptr)) == -EINVAL);

    /* A pointer to a pointer is an address, whether it has a name or not. */
    char **table = static_cast<char **>(kmem_allocate(2 * sizeof(char *)));
    table[0] = static_cast<char *>(kmem_allocate(9));
    kmem_release(table);
    CHECK(table != nullptr && table[0] == nullptr);
    kmem_release(&table);
    CHECK(table == nullptr);
}

} // namespace

int main()
{
    counts_are_32_bit_unsigned();
    any_integer_is_an_index();
    the_wave_is_computed();
    it_is_as_modern_programs_want_it();
    a_pointer_is_released_without_a_cast();
    std::puts("program.cpp: all is as it should be");
    return 0;
}

#ifdef REFUSED_1 /* a block, not the address of the pointer */
void refused(int *const block)
{
    kmem_release(block);
}
#endif
#ifdef REFUSED_2
void refused(int number)
{
    kmem_release(&number);
}
#endif
