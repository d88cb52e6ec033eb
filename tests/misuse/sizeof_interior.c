/* SPDX-License-Identifier: MIT */
/* Asks for the size at an address inside a block. */
#include "tests/misuse/misuse.h"

int main(int argc, char **argv)
{
    misuse_begin(argc, argv);
    char *const witness = misuse_witness();
    char *block = misuse_allocate(44, "Scratch buffer");
    if (kmem_sizeof_allocation(block + 16) != 0) {
        return 1;
    }
    kmem_release((void **)&block);
    return misuse_end(witness);
}
