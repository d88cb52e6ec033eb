/* SPDX-License-Identifier: MIT */
/*
 * mprotect() on a program's blocks: a guard page below a stack that malloc() has made, or pages
 * whose writes are to be seen. The kernel does it, as on any memory. But what can not be read is
 * copied in another way when the program forks, and its children are to have it protected too.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "client/inherit.h"

#define EXPORT __attribute__((visibility("default")))
#define READ_AND_WRITE (PROT_READ | PROT_WRITE)

/* The parameters have the names that glibc's header gives them. */
EXPORT int mprotect(void *addr, size_t len, int prot)
{
    if (prot != READ_AND_WRITE && kmem_offset_of(addr) != 0) {
        kmem__inherit_protected();
    }
    return (int)syscall(SYS_mprotect, addr, len, prot);
}
