/* SPDX-License-Identifier: MIT */
/* Releases a block twice, through a copy of the pointer. */
#include "tests/misuse/misuse.h"

int main(int argc, char **argv)
{
    misuse_begin(argc, argv);
    char *const witness = misuse_witness();
    void *block = misuse_allocate(44, "Scratch buffer");
    void *copy = block;
    kmem_release(&block);
    kmem_release(&copy);
    return block == NULL && copy != NULL ? misuse_end(witness) : 1;
}
