/* SPDX-License-Identifier: MIT */
/* Asks for the size of something that is not in the segment. */
#include "tests/misuse/misuse.h"

int main(int argc, char **argv)
{
    misuse_begin(argc, argv);
    char *const witness = misuse_witness();
    const int not_a_block = 0;
    return kmem_sizeof_allocation(&not_a_block) == 0 ? misuse_end(witness) : 1;
}
