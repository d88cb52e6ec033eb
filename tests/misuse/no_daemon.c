/* SPDX-License-Identifier: MIT */
/* Allocates where no daemon is. */
#include "tests/misuse/misuse.h"

int main(int argc, char **argv)
{
    misuse_begin(argc, argv);
    return kmem_allocate(44, "Scratch buffer") == NULL ? misuse_end(NULL) : 1;
}
