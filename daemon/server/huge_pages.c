/* SPDX-License-Identifier: MIT */
#include "daemon/server/huge_pages.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "daemon/log.h"
#include "proto/text.h"

/* From <asm-generic/mman-common.h> of Linux 6.1; older headers lack it, older kernels refuse it. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* 8: a page that somebody is faulting in just now is refused with EAGAIN; it seldom is twice. */
#define COLLAPSE_TRIES 8

void huge_pages_init(struct huge_pages *huge_pages, int fd, uint64_t n_bytes)
{
    *huge_pages = (struct huge_pages){.fd = fd, .n_bytes = n_bytes};
}

static int collapse_one(unsigned char *at)
{
    int error = EAGAIN;
    for (int tries = 0; tries < COLLAPSE_TRIES && error == EAGAIN; tries++) {
        error = madvise(at, HUGE_PAGES_HUGE_BYTES, MADV_COLLAPSE) < 0 ? errno : 0;
    }
    return -error;
}

/* An address range of 2 MiB that begins at a multiple of 2 MiB, inside a reserved one. */
static unsigned char *align_up(void *reserved)
{
    const uintptr_t address = (uintptr_t)reserved;
    return (unsigned char *)reserved + (-address & (HUGE_PAGES_HUGE_BYTES - 1));
}

/* Return: 0 or a negative errno. */
static int collapse_at(int fd, uint64_t at)
{
    const size_t reserved_bytes = 2 * HUGE_PAGES_HUGE_BYTES;
    void *reserved =
        mmap(NULL, reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED) {
        return -errno;
    }
    void *piece = mmap(align_up(reserved), HUGE_PAGES_HUGE_BYTES, PROT_READ | PROT_WRITE,
                       MAP_SHARED | MAP_FIXED, fd, (off_t)at);
    const int r = piece == MAP_FAILED ? -errno : collapse_one(piece);
    (void)munmap(reserved, reserved_bytes); /* fails for no mapping only */
    return r;
}

bool huge_pages_step(struct huge_pages *huge_pages)
{
    if (huge_pages->error == 0 &&
        huge_pages->n_huge < huge_pages->n_bytes / HUGE_PAGES_HUGE_BYTES) {
        huge_pages->error = collapse_at(huge_pages->fd, huge_pages->n_huge * HUGE_PAGES_HUGE_BYTES);
        huge_pages->n_huge += huge_pages->error == 0;
    }
    return huge_pages->error == 0 &&
           huge_pages->n_huge < huge_pages->n_bytes / HUGE_PAGES_HUGE_BYTES;
}

void huge_pages_log(uint64_t n_bytes, uint64_t n_huge, int error)
{
    char huge[TEXT_BYTES_MAX];
    char all[TEXT_BYTES_MAX];
    (void)text_format_bytes(n_huge * HUGE_PAGES_HUGE_BYTES, huge, sizeof(huge)); /* its buffer */
    (void)text_format_bytes(n_bytes, all, sizeof(all));                          /* its buffer */
    if (error == 0) {
        log_info("%s of %s are made of 2 MiB pages", huge, all);
    } else {
        log_info("%s of %s are made of 2 MiB pages, the rest of 4 KiB: %s", huge, all,
                 error == -EINVAL ? "this kernel can not collapse more" : strerror(-error));
    }
}
