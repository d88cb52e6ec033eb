/* SPDX-License-Identifier: MIT */
/*
 * heap_mem.hpp - C++ owners of kmem blocks: heap_mem<T> and a std::pmr::memory_resource
 *
 *      heap_mem<int> ints(2, "A pair of ints");
 *      ints[1] = 1234;                        // ints[2] would end in the failure handler
 *      for (int &value : ints) {
 *          value += 1;
 *      }
 *                                             // the destructor gives the block back
 *
 *      kmem::memory_resource resource("parser/tokens");
 *      std::pmr::vector<std::pmr::string> tokens(&resource);
 *
 * Everything that kmem.h promises holds here, and what it does not promise does not. Read it first.
 *
 * WHAT MAY BE KEPT in a heap_mem<T>: trivially copyable T only. The bytes of a new block are 0; no
 * constructor and no destructor of T runs. A T that is aligned to more than 64 bytes is refused by
 * the compiler; one that is aligned to more than 16 takes at least 64 bytes.
 *
 * OWNERS AND ALIASES. What allocate() made, the object owns: its destructor, release(), allocate(),
 * point_to() and being assigned to give the block back. What point_to() was given, it only refers
 * to: the same operations forget it. An alias does not keep the block alive: when its owner lets
 * go, the alias dangles, as a copy of a pointer does. A move takes ownership along.
 *
 * FAILURE. What fails ends in kmem.h's failure handler: no room, an index out of bounds, a size
 * that does not fit. By default that prints a message and aborts; an installed handler may throw.
 * Nothing is corrupted and the object is valid either way. Destructors and moves never throw, and
 * never end the process because the block was out of reach: if the daemon has ended, or this is
 * the child of a fork and the block its parent's, there is nothing to give back and nothing is
 * said. A block that other code has released already is reported to the handler even there, and
 * what the handler throws is dropped.
 *
 * BOUNDS are checked by operator[] unless RELEASE_BUILD is defined; define it for all translation
 * units of a program or for none. Everything else is checked always.
 *
 * CONSTNESS IS THE POINTER'S, as with std::unique_ptr<T[]> and std::span: a const heap_mem<T> stays
 * with its block, and the elements can be written through it. data(), operator[], begin() and end()
 * give T * and T & whether the object is const or not. A function that is only to read takes a
 * std::span<const T> or a const T *.
 *
 * size() IS BYTES, count() is elements, both as std::uint32_t, as all numbers of the original
 * interface; size_bytes() is a std::size_t. Of 4 GiB or more, which allocate() can make as well,
 * size() ends in the failure handler, and so does count() of as many elements.
 * std::ranges::size and std::span know and see elements, but std::size() returns bytes. Counts and
 * indexes can be given as any integer; a negative one is as one that is too large.
 *
 * THREADS: one object is one thread's at a time, as with std::vector; different objects are
 * independent. WAITING: what allocates or releases may wait for the daemon, at most
 * $KMEM_TIMEOUT_MS. Nothing else does. FORK: see kmem.h, and there WAITING.
 *
 * C++17 or later, with exceptions. Header only.
 */
#ifndef KMEM_HEAP_MEM_HPP
#define KMEM_HEAP_MEM_HPP

#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory_resource>
#include <new>
#include <string>
#include <type_traits>
#include <utility>

#if __cplusplus >= 202002L
#include <ranges>
#endif

#include <kmem/kmem.h>

namespace kmem
{

namespace detail
{

/* What kmem.h promises of every block, and of blocks from 64 bytes up. */
inline constexpr std::size_t small_block_align = 16;
inline constexpr std::size_t block_align = 64;

/* Ends in the failure handler. Returns if the handler does. */
inline void end_in_handler(const char *call, const std::string &message, int error,
                           const void *block, std::size_t num_bytes, const char *reason)
{
    kmem_failure failure{};
    failure.struct_bytes = sizeof failure;
    failure.call = call;
    failure.message = message.c_str();
    failure.error = error;
    failure.offset = kmem_offset_of(block);
    failure.num_bytes = num_bytes;
    failure.reason = reason != nullptr ? reason : "";
    kmem_fail(&failure);
}

/* "heap_mem::size_check: block at offset 65536 (8 bytes): what"; without a block "call: what". */
inline std::string sentence(const char *call, const void *block, std::size_t num_bytes,
                            const std::string &what)
{
    std::string text = std::string(call) + ": ";
    if (block != nullptr) {
        const std::uint64_t offset = kmem_offset_of(block);
        text += offset != 0 ? "block at offset " + std::to_string(offset)
                            : std::string("memory outside the segment");
        text += " (" + std::to_string(num_bytes) + " bytes): ";
    }
    return text + what;
}

/*
 * The bytes to ask for, so that the block is aligned as T wants it: from 64 bytes up every block
 * is aligned to 64, a smaller one to 16 only.
 */
constexpr std::size_t bytes_for_align(std::size_t num_bytes, std::size_t align)
{
    return align > small_block_align && num_bytes < block_align ? block_align : num_bytes;
}

template <typename N> using if_integer = std::enable_if_t<std::is_integral_v<N>, int>;
template <typename N>
using if_signed = std::enable_if_t<std::is_integral_v<N> && std::is_signed_v<N>, int>;

/*
 * Allocates, or ends in the failure handler. kmem_allocate() takes an int and is the call that the
 * handler knows; what is larger goes the other way. Return: NULL and errno if the handler returns.
 */
inline void *allocate(const char *call, std::size_t num_bytes, const char *reason)
{
    if (num_bytes <= static_cast<std::size_t>(INT_MAX)) {
        return kmem_allocate(static_cast<int>(num_bytes), reason);
    }
    void *block = kmem_try_allocate(num_bytes, reason);
    if (block == nullptr) {
        const int error = errno;
        end_in_handler(call, sentence(call, nullptr, 0, kmem_last_error()), error, nullptr,
                       num_bytes, reason);
        errno = error;
    }
    return block;
}

/*
 * Gives a block back where nothing may be thrown. Only what proves a mistake of this process is
 * reported: a block released before, or a pointer to none. A daemon that has gone (ECONNRESET and
 * so on) has nothing to take back; a parent's block (EPERM) is the parent's to release.
 */
inline void drop(const char *call, void *block) noexcept
{
    const int r = kmem_try_release(&block);
    if (r != -EALREADY && r != -EINVAL) {
        return;
    }
    try {
        end_in_handler(call, sentence(call, nullptr, 0, kmem_last_error()), -r, block, 0, nullptr);
    } catch (...) {
        /* A destructor can not throw; the failure handler was told. */
    }
}

} // namespace detail

/**
 * heap_mem<T> - an array of T in a kmem block: its owner, an alias of another's, or empty
 */
template <typename T> class heap_mem
{
    static_assert(std::is_trivially_copyable_v<T>,
                  "memory is for plain data: T must be trivially copyable");
    static_assert(!std::is_const_v<T> && !std::is_volatile_v<T>,
                  "a new block is written to: T must be neither const nor volatile");
    static_assert(alignof(T) <= detail::block_align,
                  "a block is aligned to 64 bytes at most; T wants more");

  public:
    using value_type = T;
    using size_type = std::uint32_t;
    using iterator = T *;
    using const_iterator = const T *;

    /** An empty object: is_null(), no elements. No call to the library. */
    heap_mem() noexcept = default;

    /** An object that owns a new block: as allocate(). */
    explicit heap_mem(std::size_t count, const char *reason = nullptr)
    {
        allocate(count, reason);
    }

    template <typename N, detail::if_signed<N> = 0>
    explicit heap_mem(N count, const char *reason = nullptr)
        : heap_mem(static_cast<std::size_t>(count), reason)
    {
    }

    heap_mem(const heap_mem &) = delete;
    heap_mem &operator=(const heap_mem &) = delete;

    /** Takes what other has, and leaves it empty. */
    heap_mem(heap_mem &&other) noexcept
    {
        swap(other);
    }

    /** Lets go of what it has, takes what other has, and leaves other empty. */
    heap_mem &operator=(heap_mem &&other) noexcept
    {
        heap_mem taken(std::move(other));
        swap(taken);
        return *this;
    }

    /** Gives back what it owns, forgets what it is an alias of. Never throws. */
    ~heap_mem()
    {
        if (owner_ && data_ != nullptr) {
            detail::drop("heap_mem::~heap_mem", data_);
        }
    }

    /**
     * allocate() - own a new block of count elements, every byte 0
     * @count:   1 or more
     * @reason:  why the memory is needed; copied. NULL is KMEM_NO_REASON
     *
     * Ownership: the object's. What it had before is released first, as release() does it.
     *
     * Fails if count is 0, if count * sizeof(T) does not fit the segment (or a size_t), or if there
     * is no room. If the handler returns, the object is empty and errno is as kmem_try_allocate()
     * sets it.
     */
    void allocate(std::size_t count, const char *reason = nullptr)
    {
        release();
        if (count > std::numeric_limits<std::size_t>::max() / sizeof(T)) {
            end_in_handler("heap_mem::allocate",
                           std::to_string(count) + " elements of " + std::to_string(sizeof(T)) +
                               " bytes are more than can be addressed",
                           EINVAL, reason);
            errno = EINVAL;
            return;
        }
        void *block = detail::allocate(
            "heap_mem::allocate", detail::bytes_for_align(count * sizeof(T), alignof(T)), reason);
        if (block != nullptr) {
            data_ = static_cast<T *>(block);
            count_ = count;
            owner_ = true;
        }
    }

    template <typename N, detail::if_signed<N> = 0>
    void allocate(N count, const char *reason = nullptr)
    {
        allocate(static_cast<std::size_t>(count), reason);
    }

    /**
     * release() - give back what it owns, forget what it is an alias of; ignored when empty
     *
     * Fails as kmem_release() does. If the handler returns or throws, the object is empty: a block
     * that could not be released once is not tried again.
     */
    void release()
    {
        void *block = owner_ ? data_ : nullptr;
        data_ = nullptr;
        count_ = 0;
        owner_ = false;
        if (block != nullptr) {
            kmem_release(&block);
        }
    }

    /**
     * point_to() - become an alias of what other has
     * @other:  stays the owner, if it is; may be empty. Itself: nothing changes. Not a temporary
     *
     * Ownership: other's. What this object had before is released first.
     */
    void point_to(const heap_mem &other)
    {
        if (this != &other) {
            point_to(other.data_, other.count_);
        }
    }
    void point_to(const heap_mem &&other) = delete;

    /**
     * point_to() - become an alias of count elements at pointer
     * @pointer:  any memory, of kmem or not; NULL makes the object empty
     * @count:    how many elements are there
     *
     * Ownership: whose it was. What this object had before is released first, so a pointer into its
     * own block would dangle.
     */
    void point_to(T *pointer, std::size_t count)
    {
        release();
        data_ = pointer;
        count_ = pointer != nullptr ? count : 0;
    }

    template <typename N, detail::if_signed<N> = 0> void point_to(T *pointer, N count)
    {
        point_to(pointer, static_cast<std::size_t>(count));
    }

    /**
     * operator[] - the element at index
     *
     * Fails if index is count() or more, unless RELEASE_BUILD is defined. There is no element to
     * return then: if the handler returns, the process aborts.
     */
    T &operator[](std::size_t index) const
    {
        check_index(index);
        return data_[index];
    }

    template <typename N, detail::if_integer<N> = 0> T &operator[](N index) const
    {
        return (*this)[static_cast<std::size_t>(index)];
    }

    /**
     * size_check() - say that so many bytes are going to be used
     *
     *      std::memcpy(buffer.data(), from, buffer.size_check(n_bytes));
     *
     * Fails if bytes is more than size().
     *
     * Return: bytes, as the integer that was given; 0 if they do not fit and the handler returns.
     */
    std::size_t size_check(std::size_t bytes) const
    {
        if (bytes <= size_bytes()) {
            return bytes;
        }
        end_in_handler("heap_mem::size_check", std::to_string(bytes) + " bytes do not fit", ERANGE);
        return 0;
    }

    template <typename N, detail::if_integer<N> = 0> N size_check(N bytes) const
    {
        return static_cast<N>(size_check(static_cast<std::size_t>(bytes)));
    }

    /** The first element; NULL if empty. Ownership: stays the object's. */
    T *data() const noexcept
    {
        return data_;
    }

    /** The number of elements. Fails if it does not fit 32 bits; 0 if the handler returns. */
    size_type count() const
    {
        return narrow("heap_mem::count", count_);
    }

    /** The number of bytes, as count(). */
    size_type size() const
    {
        return narrow("heap_mem::size", size_bytes());
    }

    /** The number of bytes, whatever it is. */
    std::size_t size_bytes() const noexcept
    {
        return count_ * sizeof(T);
    }

    /** Whether there is no block: nothing was allocated, or it was released or moved away. */
    bool is_null() const noexcept
    {
        return data_ == nullptr;
    }

    iterator begin() const noexcept
    {
        return data_;
    }
    iterator end() const noexcept
    {
        return data_ + count_;
    }
    const_iterator cbegin() const noexcept
    {
        return data_;
    }
    const_iterator cend() const noexcept
    {
        return data_ + count_;
    }

    void swap(heap_mem &other) noexcept
    {
        std::swap(data_, other.data_);
        std::swap(count_, other.count_);
        std::swap(owner_, other.owner_);
    }

    friend void swap(heap_mem &a, heap_mem &b) noexcept
    {
        a.swap(b);
    }

  private:
    void check_index([[maybe_unused]] std::size_t index) const
    {
#ifndef RELEASE_BUILD
        if (__builtin_expect(index >= count_, 0)) {
            /* As a signed number: one that is too large to be an index was negative. */
            end_in_handler("heap_mem::operator[]",
                           "index " + std::to_string(static_cast<std::ptrdiff_t>(index)) +
                               " is out of bounds, there are " + std::to_string(count_) +
                               " elements",
                           ERANGE);
            std::abort();
        }
#endif
    }

    size_type narrow(const char *call, std::size_t number) const
    {
        if (__builtin_expect(number <= UINT32_MAX, 1)) {
            return static_cast<size_type>(number);
        }
        end_in_handler(
            call, std::to_string(number) + " is more than the result can say; use size_bytes()",
            EOVERFLOW);
        return 0;
    }

    void end_in_handler(const char *call, const std::string &what, int error,
                        const char *reason = nullptr) const
    {
        detail::end_in_handler(call, detail::sentence(call, data_, size_bytes(), what), error,
                               data_, size_bytes(), reason);
    }

    /* data_ == nullptr: count_ == 0 and !owner_. owner_: data_ is the start of a live block. */
    T *data_ = nullptr;
    std::size_t count_ = 0;
    bool owner_ = false;
};

/**
 * memory_resource - kmem blocks for the containers of std::pmr
 *
 * One block per allocation, each on the ledger with the resource's reason, and 16 bytes at least.
 * For a container of many small nodes put a std::pmr::unsynchronized_pool_resource or a
 * monotonic_buffer_resource with this one upstream between them: fewer blocks, of more bytes.
 *
 * Alignments up to 16 cost nothing, up to 64 a block of at least 64 bytes. A larger one is
 * over-allocated: the block is that much larger than asked for, and the ledger shows it so.
 *
 * allocate() throws std::bad_alloc when there is no room or no daemon; kmem_last_error() has the
 * sentence, errno the cause. deallocate() never throws and treats what goes wrong as the destructor
 * of heap_mem does.
 *
 * THREADS: any number may use one resource at once. Two resources are equal: either releases
 * what the other allocated.
 */
class memory_resource final : public std::pmr::memory_resource
{
  public:
    /** @reason: of every block; copied. NULL is KMEM_NO_REASON */
    explicit memory_resource(const char *reason = nullptr)
        : reason_(reason != nullptr ? reason : KMEM_NO_REASON)
    {
    }

    memory_resource(const memory_resource &) = delete;
    memory_resource &operator=(const memory_resource &) = delete;

    /** The reason of every block. Ownership: the resource's. */
    const char *reason() const noexcept
    {
        return reason_.c_str();
    }

  private:
    void *do_allocate(std::size_t num_bytes, std::size_t align) override
    {
        if (align <= detail::block_align) {
            return take(detail::bytes_for_align(num_bytes != 0 ? num_bytes : 1, align));
        }
        if (num_bytes > std::numeric_limits<std::size_t>::max() - align) {
            errno = EINVAL;
            throw std::bad_alloc();
        }
        return step_up(take(num_bytes + align), align);
    }

    void do_deallocate(void *mem, std::size_t, std::size_t align) override
    {
        detail::drop("memory_resource::deallocate",
                     align <= detail::block_align ? mem : step_down(mem));
    }

    bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override
    {
#ifdef __cpp_rtti
        return dynamic_cast<const memory_resource *>(&other) != nullptr;
#else
        return this == &other;
#endif
    }

    void *take(std::size_t num_bytes) const
    {
        void *block = kmem_try_allocate(num_bytes, reason_.c_str());
        if (block == nullptr) {
            throw std::bad_alloc();
        }
        return block;
    }

    /*
     * The next multiple of align above the block. A block that large begins at a multiple of 64,
     * and align is more, so at least 64 bytes lie between: the last of them remember where the
     * block begins, for step_down().
     */
    static void *step_up(void *block, std::size_t align)
    {
        const std::uintptr_t first = reinterpret_cast<std::uintptr_t>(block);
        char *mem = static_cast<char *>(block) + (align - first % align);
        reinterpret_cast<void **>(mem)[-1] = block;
        return mem;
    }

    static void *step_down(void *mem)
    {
        return static_cast<void **>(mem)[-1];
    }

    std::string reason_;
};

} // namespace kmem

/* The name that programs written for the original interface use. */
using kmem::heap_mem;

#if __cplusplus >= 202002L
/* size() is bytes: without this a std::span of the object would reach beyond its end. */
template <typename T>
inline constexpr bool std::ranges::disable_sized_range<kmem::heap_mem<T>> = true;
#endif

#endif
