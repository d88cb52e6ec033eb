/* SPDX-License-Identifier: MIT */
/* Releases an address inside a block, as after a loop that moved the pointer. */
#include "tests/misuse/misuse.h"

int main(int argc, char **argv)
{
    misuse_begin(argc, argv);
    char *const witness = misuse_witness();
    char *block = misuse_allocate(101, "101 bytes");
    void *interior = block + 5;
    kmem_release(&interior);
    if (interior != block + 5 || kmem_sizeof_allocation(block) != 101) {
        return 1;
    }
    kmem_release((void **)&block);
    return misuse_end(witness);
}
