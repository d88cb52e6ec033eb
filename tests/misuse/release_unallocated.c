/* SPDX-License-Identifier: MIT */
/* Releases an address of the segment where no block is. */
#include "tests/misuse/misuse.h"

int main(int argc, char **argv)
{
    misuse_begin(argc, argv);
    char *const witness = misuse_witness();
    char *block = misuse_allocate(44, "Scratch buffer");
    void *const unallocated = block + 32768; /* two pages on */
    void *wild = unallocated;
    kmem_release(&wild);
    kmem_release((void **)&block);
    return wild == unallocated ? misuse_end(witness) : 1;
}
