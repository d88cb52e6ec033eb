/* SPDX-License-Identifier: MIT */
/*
 * The examples of the original interface's documentation, as a C++ program: the three calls as they
 * are, then heap_mem, the wrapper that the documentation points to.
 *
 * Exit status: 0 if every fact that the documentation states holds.
 */
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <kmem/heap_mem.hpp>
#include <kmem/kmem.h>

#define CHECK(fact)                                                                                \
    ((fact)                                                                                        \
         ? static_cast<void>(0)                                                                    \
         : (std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact), std::exit(1)))

static bool is_zero(const char *bytes, std::size_t n_bytes)
{
    for (std::size_t i = 0; i < n_bytes; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

static void the_three_calls()
{
    char *bytes = (char *)kmem_allocate(101, "101 bytes");
    int *ints = (int *)kmem_allocate(2 * sizeof(int), "A pair of ints");
    CHECK(is_zero(bytes, 101));
    CHECK(ints[0] == 0 && ints[1] == 0);

    bytes[0] = 82;
    ints[1] = 1234;
    CHECK(bytes[0] == 82 && is_zero(bytes + 1, 100));
    CHECK(ints[0] == 0 && ints[1] == 1234);

    char *buffer = (char *)kmem_allocate(44);
    unsigned int size = kmem_sizeof_allocation((void *)buffer);
    CHECK(size == 44);
    CHECK(kmem_sizeof_allocation((void *)bytes) == 101);
    kmem_release((void **)&buffer);
    CHECK(buffer == NULL);

    buffer = (char *)kmem_allocate(1);
    CHECK(buffer != NULL);
    kmem_release((void **)&buffer);
    CHECK(buffer == NULL);
    kmem_release((void **)&buffer);
    CHECK(buffer == NULL);

    kmem_release((void **)&bytes);
    kmem_release((void **)&ints);
    CHECK(bytes == NULL && ints == NULL);
}

static void the_wrapper()
{
    heap_mem<char> bytes(101, "101 bytes");
    heap_mem<int> ints;
    CHECK(ints.is_null());
    ints.allocate(2, "A pair of ints");
    CHECK(bytes.count() == 101 && ints.count() == 2);
    CHECK(ints.size() == 2 * sizeof(int));
    CHECK(kmem_sizeof_allocation(bytes.data()) == 101);

    bytes[0] = 82;
    ints[1] = 1234;
    CHECK(bytes[0] == 82 && ints[0] == 0 && ints[1] == 1234);

    heap_mem<char> buffer(44);
    std::memcpy(buffer.data(), "forty-four bytes", buffer.size_check(17));
    CHECK(std::strcmp(buffer.data(), "forty-four bytes") == 0);

    heap_mem<int> alias;
    alias.point_to(ints);
    alias[0] = 5;
    alias.release();
    CHECK(alias.is_null() && ints[0] == 5);

    ints.release();
    CHECK(ints.is_null());
    ints.release();
    CHECK(ints.is_null());
}

int main()
{
    the_three_calls();
    the_wrapper();
    std::puts("original_cpp.cpp: every fact holds");
    return 0;
}
