/* SPDX-License-Identifier: MIT */
/*
 * A program that uses kmem and malloc(), both of the same segment when `kmemctl run --malloc` runs
 * it. Exit status: 0 if every fact holds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kmem/kmem.h>

#define CHECK(fact)                                                                                \
    ((fact) ? (void)0                                                                              \
            : (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact), exit(1)))

/* As many of each as a lease has, and more: they lie between each other. */
#define N_BLOCKS 2000

static char *by_malloc[N_BLOCKS];
static char *by_kmem[N_BLOCKS];

static void allocate(size_t i)
{
    by_malloc[i] = malloc(40);
    by_kmem[i] = kmem_allocate(40, "beside malloc");
    CHECK(by_malloc[i] != NULL && kmem_offset_of(by_malloc[i]) != 0);
    (void)snprintf(by_malloc[i], 40, "malloc %zu", i);
    (void)snprintf(by_kmem[i], 40, "kmem %zu", i);
}

static void check_and_release(size_t i)
{
    char expected[40];
    (void)snprintf(expected, sizeof(expected), "malloc %zu", i);
    CHECK(strcmp(by_malloc[i], expected) == 0);
    (void)snprintf(expected, sizeof(expected), "kmem %zu", i);
    CHECK(strcmp(by_kmem[i], expected) == 0);
    CHECK(kmem_sizeof_allocation(by_kmem[i]) == 40);
    free(by_malloc[i]);
    kmem_release((void **)&by_kmem[i]);
}

int main(void)
{
    for (size_t i = 0; i < N_BLOCKS; i++) {
        allocate(i);
    }
    CHECK(kmem_close() == 0);
    for (size_t i = 0; i < N_BLOCKS; i++) {
        check_and_release(i);
    }
    return 0;
}
