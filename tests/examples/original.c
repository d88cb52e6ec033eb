/* SPDX-License-Identifier: MIT */
/*
 * The examples of the original interface's documentation, as a C program.
 *
 * Each statement between the banners is the documentation's; each CHECK is a fact that it states.
 * Exit status: 0 if every fact holds.
 */
#include <stdio.h>
#include <stdlib.h>

#include <kmem/kmem.h>

#define CHECK(fact)                                                                                \
    ((fact) ? (void)0                                                                              \
            : (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact), exit(1)))

static int is_zero(const char *bytes, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) {
        if (bytes[i] != 0) {
            return 0;
        }
    }
    return 1;
}

int main(void)
{
    char *bytes = NULL;
    char *buffer = NULL;
    int *ints = NULL;

    /* ------------------------------------------------------------------ allocating ---- */
    bytes = (char *)kmem_allocate(101, "101 bytes");
    ints = (int *)kmem_allocate(2 * sizeof(int), "A pair of ints");

    CHECK(bytes != NULL);
    CHECK(ints != NULL);
    CHECK(is_zero(bytes, 101));
    CHECK(ints[0] == 0);
    CHECK(ints[1] == 0);

    bytes[0] = 82;
    ints[1] = 1234;

    CHECK(bytes[0] == 82);
    CHECK(is_zero(bytes + 1, 100));
    CHECK(ints[0] == 0);
    CHECK(ints[1] == 1234);

    /* --------------------------------------------------------------- asking for sizes ---- */
    buffer = (char *)kmem_allocate(44);
    unsigned int size = kmem_sizeof_allocation((void *)buffer);

    CHECK(size == 44);
    CHECK(is_zero(buffer, 44));
    CHECK(kmem_sizeof_allocation((void *)bytes) == 101);
    CHECK(kmem_sizeof_allocation((void *)ints) == 2 * sizeof(int));

    kmem_release((void **)&buffer);
    CHECK(buffer == NULL);

    /* --------------------------------------------------------------------- releasing ---- */
    buffer = (char *)kmem_allocate(1);
    CHECK(buffer != NULL);

    kmem_release((void **)&buffer);
    CHECK(buffer == NULL);

    /* A pointer that is NULL already is ignored. */
    kmem_release((void **)&buffer);
    CHECK(buffer == NULL);

    kmem_release((void **)&bytes);
    kmem_release((void **)&ints);
    CHECK(bytes == NULL);
    CHECK(ints == NULL);

    puts("original.c: every fact holds");
    return 0;
}
