/* SPDX-License-Identifier: MIT */
/*
 * clock.c - preloaded into a daemon whose server goes step by step: its clock is a system call
 *
 * libc reads the kernel's page, and begins anew if that was written to meanwhile. The kernel writes
 * to it some hundred times a second; step by step on a busy machine no reading is as short.
 */
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* NOLINTNEXTLINE(readability-inconsistent-declaration-parameter-name): libc's are reserved */
__attribute__((visibility("default"))) int clock_gettime(clockid_t clock, struct timespec *ret_now)
{
    return (int)syscall(SYS_clock_gettime, clock, ret_now);
}
