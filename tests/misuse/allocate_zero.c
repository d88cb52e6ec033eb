/* SPDX-License-Identifier: MIT */
/* Allocates 0 bytes. */
#include "tests/misuse/misuse.h"

int main(int argc, char **argv)
{
    misuse_begin(argc, argv);
    char *const witness = misuse_witness();
    return kmem_allocate(0, "nothing") == NULL ? misuse_end(witness) : 1;
}
