/* SPDX-License-Identifier: MIT */
/* Asks for the size of a block that was released. */
#include "tests/misuse/misuse.h"

int main(int argc, char **argv)
{
    misuse_begin(argc, argv);
    char *const witness = misuse_witness();
    void *block = misuse_allocate(44, "Scratch buffer");
    const void *const copy = block;
    kmem_release(&block);
    return kmem_sizeof_allocation(copy) == 0 ? misuse_end(witness) : 1;
}
