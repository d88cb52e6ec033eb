/* SPDX-License-Identifier: MIT */
/* Releases something that is not in the segment at all. */
#include "tests/misuse/misuse.h"

int main(int argc, char **argv)
{
    misuse_begin(argc, argv);
    char *const witness = misuse_witness();
    int not_a_block = 0;
    void *wild = &not_a_block;
    kmem_release(&wild);
    return wild == &not_a_block ? misuse_end(witness) : 1;
}
