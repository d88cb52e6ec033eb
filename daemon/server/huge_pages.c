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

void huge_pages_init(struct huge_pages *huge_pages, int fd, uint64_t at, uint64_t n_bytes)
{
    *huge_pages = (struct huge_pages){
        .fd = fd,
        .n_bytes = at + n_bytes,
        .n_huge = at / HUGE_PAGES_HUGE_BYTES,
    };
}

int huge_pages_map(int fd, uint64_t at, uint64_t n_bytes, struct huge_pages_window *ret_window)
{
    const uint64_t before_bytes = at % HUGE_PAGES_HUGE_BYTES;
    const uint64_t end = before_bytes + n_bytes + HUGE_PAGES_HUGE_BYTES - 1;
    const size_t mapped_bytes = end - end % HUGE_PAGES_HUGE_BYTES;
    const size_t reserved_bytes = mapped_bytes + HUGE_PAGES_HUGE_BYTES;
    void *reserved =
        mmap(NULL, reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED) {
        return -errno;
    }
    unsigned char *first =
        (unsigned char *)reserved + (-(uintptr_t)reserved & (HUGE_PAGES_HUGE_BYTES - 1));
    const int r = mmap(first, mapped_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
                       (off_t)(at - before_bytes)) == MAP_FAILED
                      ? -errno
                      : 0;
    if (r) {
        (void)munmap(reserved, reserved_bytes); /* fails for no mapping only */
        return r;
    }
    *ret_window = (struct huge_pages_window){first + before_bytes, reserved, reserved_bytes};
    return 0;
}

void huge_pages_unmap(const struct huge_pages_window *window)
{
    (void)munmap(window->reserved, window->reserved_bytes); /* fails for no mapping only */
}

static int collapse_one(unsigned char *at)
{
    int error = EAGAIN;
    for (int tries = 0; tries < COLLAPSE_TRIES && error == EAGAIN; tries++) {
        error = madvise(at, HUGE_PAGES_HUGE_BYTES, MADV_COLLAPSE) < 0 ? errno : 0;
    }
    return -error;
}

/* Return: 0 or a negative errno. */
static int collapse_at(int fd, uint64_t at)
{
    struct huge_pages_window window = {.bytes = NULL};
    int r = huge_pages_map(fd, at, HUGE_PAGES_HUGE_BYTES, &window);
    if (r == 0) {
        r = collapse_one(window.bytes);
        huge_pages_unmap(&window);
    }
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
