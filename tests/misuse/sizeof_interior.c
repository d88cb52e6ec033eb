/* SPDX-License-Identifier: MIT */
/* Asks for the size at an address inside a block. */
#include "tests/misuse/misuse.h"

int main(int argc, char **argv)
{
    misuse_begin(argc, argv);
    char *const witness = misuse_witness();
    return kmem_sizeof_allocation(witness + 16) == 0 ? misuse_end(witness) : 1;
}
