/* SPDX-License-Identifier: MIT */
/* Allocates more than is free. */
#include "tests/misuse/misuse.h"

int main(int argc, char **argv)
{
    misuse_begin(argc, argv);
    char *const witness = misuse_witness();
    void *most = kmem_allocate(15 << 20, "most of it");
    if (kmem_allocate(2 << 20, "too much") != NULL) {
        return 1;
    }
    kmem_release(&most);
    return misuse_end(witness);
}
