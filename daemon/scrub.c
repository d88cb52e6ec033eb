/* SPDX-License-Identifier: MIT */
#include "daemon/scrub.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "proto/limits.h"

/* 16 pages, 256 KiB: some 40 us, the longest that a request waits for it. Less would make more
   turns of the loop than zeros; more would be felt. */
#define STEP_PAGES 16
/* 256 pages, 4 MiB: holes cost little by the piece and much by the number of pieces. */
#define STEP_HOLE_PAGES 256

/* In the program's file there are none of them. */
static const unsigned char zeros[STEP_PAGES * PAGE_BYTES];

void scrub_init(struct scrub *scrub, int fd, bool gives_back)
{
    *scrub = (struct scrub){.fd = fd, .gives_back = gives_back};
}

bool scrub_is_wanted(const struct scrub *scrub, const struct pages *pages)
{
    return pages->n_soiled >= SCRUB_MIN_PAGES && !scrub->failed;
}

/* Return: 0 or a negative errno. */
static int range_write(int fd, uint64_t at, uint64_t n_bytes)
{
    uint64_t n_done = 0;
    while (n_done < n_bytes) {
        const ssize_t n = pwrite(fd, zeros, n_bytes - n_done, (off_t)(at + n_done));
        if (n < 0 && errno != EINTR) {
            return -errno;
        }
        n_done += n > 0 ? (uint64_t)n : 0;
    }
    return 0;
}

static int range_give_back(int fd, uint64_t at, uint64_t n_bytes)
{
    const int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    int r = -EINTR;
    while (r == -EINTR) {
        r = fallocate(fd, mode, (off_t)at, (off_t)n_bytes) < 0 ? -errno : 0;
    }
    return r;
}

bool scrub_step(struct scrub *scrub, struct pages *pages)
{
    uint32_t page;
    const uint32_t max_pages = scrub->gives_back ? STEP_HOLE_PAGES : STEP_PAGES;
    const uint32_t n_pages =
        scrub->failed ? 0 : pages_next_soiled(pages, scrub->at, max_pages, &page);
    if (n_pages == 0) {
        const bool begins_anew = scrub->at != 0 && pages->n_soiled > 0 && !scrub->failed;
        scrub->at = 0;
        return begins_anew;
    }
    const uint64_t at = (uint64_t)page << PAGE_SHIFT;
    const uint64_t n_bytes = (uint64_t)n_pages << PAGE_SHIFT;
    const int r = scrub->gives_back ? range_give_back(scrub->fd, at, n_bytes)
                                    : range_write(scrub->fd, at, n_bytes);
    if (r) {
        log_warning("what came back to the segment can not be cleared: %s; whoever gets it next "
                    "clears it",
                    strerror(-r));
        scrub->failed = true;
        return false;
    }
    pages_note_zero(pages, page, n_pages);
    scrub->at = page + n_pages;
    return true;
}
