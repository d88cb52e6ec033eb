/* SPDX-License-Identifier: MIT */
#include "tests/misuse/misuse.h"

#include <stdio.h>
#include <string.h>

/* Less than the blocks of the tests, and of their class: so the second in it is direct, too. */
#define WITNESS_BYTES 40

/* A size is leased from its second block on; 64 leave room for another choice. */
#define ENOUGH_BLOCKS 64

#ifdef MISUSE_LEASED
static const int n_before = ENOUGH_BLOCKS;
#else
static const int n_before = 0;
#endif

static int n_failures;

static void print_and_return(const struct kmem_failure *failure)
{
    n_failures++;
    (void)printf("%s\n", failure->message);
    (void)fflush(stdout);
}

void misuse_begin(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "handled") == 0) {
        (void)kmem_set_failure_handler(print_and_return);
    }
}

char *misuse_witness(void)
{
    char *witness = kmem_allocate(WITNESS_BYTES, "witness");
    memset(witness, 'w', WITNESS_BYTES);
    return witness;
}

void *misuse_allocate(int num_bytes, const char *reason)
{
    for (int i = 0; i < n_before; i++) {
        void *block = kmem_allocate(num_bytes, "used before");
        kmem_release(&block);
    }
    return kmem_allocate(num_bytes, reason);
}

int misuse_end(char *witness)
{
    if (n_failures != 1) {
        (void)fprintf(stderr, "%d failures were told\n", n_failures);
        return 2;
    }
    if (witness == NULL) {
        return 0;
    }
    for (size_t i = 0; i < WITNESS_BYTES; i++) {
        if (witness[i] != 'w') {
            (void)fprintf(stderr, "byte %zu of the witness was changed\n", i);
            return 3;
        }
    }
    if (kmem_sizeof_allocation(witness) != WITNESS_BYTES) {
        (void)fprintf(stderr, "the witness has another size\n");
        return 4;
    }
    kmem_release((void **)&witness);
    return witness == NULL && n_failures == 1 ? 0 : 5;
}
