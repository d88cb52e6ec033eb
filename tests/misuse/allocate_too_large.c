/* SPDX-License-Identifier: MIT */
/* Allocates more than the segment has. */
#include <limits.h>

#include "tests/misuse/misuse.h"

int main(int argc, char **argv)
{
    misuse_begin(argc, argv);
    char *const witness = misuse_witness();
    return kmem_allocate(INT_MAX, "everything and more") == NULL ? misuse_end(witness) : 1;
}
