/* SPDX-License-Identifier: MIT */
/* Allocates a negative number of bytes, as a difference that went wrong. */
#include "tests/misuse/misuse.h"

int main(int argc, char **argv)
{
    misuse_begin(argc, argv);
    char *const witness = misuse_witness();
    return kmem_allocate(-44, "less than nothing") == NULL ? misuse_end(witness) : 1;
}
