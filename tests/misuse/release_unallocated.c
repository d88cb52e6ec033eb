/* SPDX-License-Identifier: MIT */
/* Releases an address of the segment where no block is. */
#include "tests/misuse/misuse.h"

int main(int argc, char **argv)
{
    misuse_begin(argc, argv);
    char *const witness = misuse_witness();
    void *const unallocated = witness + (8 << 20);
    void *wild = unallocated;
    kmem_release(&wild);
    return wild == unallocated ? misuse_end(witness) : 1;
}
