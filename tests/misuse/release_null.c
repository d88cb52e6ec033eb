/* SPDX-License-Identifier: MIT */
/* Releases a pointer that is NULL already, which is no mistake: nothing may be said. */
#include "tests/misuse/misuse.h"

int main(void)
{
    void *block = NULL;
    kmem_release(&block);
    block = kmem_allocate(1);
    kmem_release(&block);
    kmem_release(&block);
    return block == NULL ? 0 : 1;
}
