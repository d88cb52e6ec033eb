/* SPDX-License-Identifier: MIT */
/* Asks for the size of NULL. */
#include "tests/misuse/misuse.h"

int main(int argc, char **argv)
{
    misuse_begin(argc, argv);
    char *const witness = misuse_witness();
    return kmem_sizeof_allocation(NULL) == 0 ? misuse_end(witness) : 1;
}
