/* SPDX-License-Identifier: MIT */
/* Calls kmem_release() with NULL instead of a pointer's address. */
#include "tests/misuse/misuse.h"

int main(int argc, char **argv)
{
    misuse_begin(argc, argv);
    char *const witness = misuse_witness();
    kmem_release(NULL);
    return misuse_end(witness);
}
