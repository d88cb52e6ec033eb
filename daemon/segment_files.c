/* SPDX-License-Identifier: MIT */
#include "daemon/segment_files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/backing.h"
#include "daemon/core/state.h"
#include "daemon/inherited.h"
#include "daemon/keeper/fd_store.h"
#include "daemon/log.h"
#include "daemon/memfd.h"
#include "proto/ledger.h"
#include "proto/notice.h"
#include "proto/text.h"

/* What /proc/PID/maps and a hex dump of the segment's first page say about it. */
static int segment_sign(int fd, const struct options *options)
{
    char text[256];
    const int n_bytes = snprintf(text, sizeof(text),
                                 "kmemd segment \"%s\"\nowned by process %d, pages of %llu bytes\n",
                                 options->name, (int)getpid(), (unsigned long long)PAGE_BYTES);
    return pwrite(fd, text, (size_t)n_bytes, 0) == n_bytes ? 0 : -EIO;
}

/*
 * The segment's file, with its memory behind it unless it is to come later. Return: it; or a
 * negative errno: -ECANCELED if a signal ends the daemon meanwhile.
 */
static int segment_open(const struct options *options, int signal_fd)
{
    char sentence[BACKING_SENTENCE_BYTES];
    struct free_memory memory = {UINT64_MAX, UINT64_MAX};
    if (backing_page_bytes(options) == 0) {
        free_memory_read(&memory); /* what is reserved is not in it */
    }
    int r = backing_check(options, sentence);
    if (r) {
        log_error("segment \"%s\": %s", options->name, sentence);
        return r;
    }
    r = free_memory_check(&memory, options->segment_bytes, sentence, sizeof(sentence));
    if (r && !options->lazy) {
        log_error("segment \"%s\": %s, or use --commit lazy", options->name, sentence);
        return r;
    }
    if (r) {
        log_warning("segment \"%s\": %s: clients get SIGBUS if it is ever used up", options->name,
                    sentence);
    }
    const int fd = backing_open(options, sentence);
    if (fd < 0) {
        log_error("segment \"%s\": %s", options->name, sentence);
        return fd;
    }
    r = options->lazy ? 0 : memfd_commit(fd, options->segment_bytes, signal_fd);
    r = r || backing_page_bytes(options) > 0 ? r : segment_sign(fd, options);
    if (r) {
        char size[TEXT_BYTES_MAX];
        (void)text_format_bytes(options->segment_bytes, size, sizeof(size)); /* its buffer */
        if (r == -ECANCELED) {
            log_info("told to end while the segment's memory was taken: ending");
        } else {
            log_error("segment \"%s\": cannot commit %s: %s%s; lower --size, or use --commit lazy",
                      options->name, size, strerror(-r), inherited_explain(-r));
        }
        (void)close(fd); /* the process ends */
        return r;
    }
    return fd;
}

/* The size of a file that is taken over. Return: 0 or a negative errno. */
static int file_bytes(int fd, uint64_t *ret_num_bytes)
{
    struct stat status;
    if (fstat(fd, &status) < 0) {
        return -errno;
    }
    *ret_num_bytes = (uint64_t)status.st_size;
    return 0;
}

/* What the state that was kept says of sizes; all 0: nothing, it was not begun or is another's. */
static struct state_sizes sizes_read(int state_fd)
{
    struct state_header header;
    struct state_sizes sizes = {.now_pages = 0};
    if (pread(state_fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header) ||
        !state_sizes_of(&header, &sizes)) {
        return (struct state_sizes){.now_pages = 0};
    }
    return sizes;
}

int segment_files_adopt_size(const struct inherited_fds *files, struct options *options)
{
    uint64_t most_bytes = 0;
    const int r = file_bytes(files->segment_fd, &most_bytes);
    if (r) {
        log_error("cannot look at the segment's file: %s", strerror(-r));
        return EXIT_SYSTEM;
    }
    backing_adopt(files->segment_fd, options);
    const struct state_sizes sizes = sizes_read(files->state_fd);
    const bool is_applied = (uint64_t)sizes.asked_pages << PAGE_SHIFT == options->asked_bytes;
    if (!options_adopt_size(options, most_bytes, (uint64_t)sizes.now_pages << PAGE_SHIFT,
                            is_applied)) {
        log_error("what was kept as the segment has a size that no segment has");
        return EXIT_STATE;
    }
    return 0;
}

/* Of the files of a segment that may have most_bytes. */
static uint64_t largest_file_bytes(uint64_t most_bytes)
{
    const uint32_t n_pages = (uint32_t)(most_bytes >> PAGE_SHIFT);
    struct ledger_layout ledger;
    ledger_layout_init(&ledger, n_pages);
    uint64_t largest_bytes = most_bytes;
    largest_bytes = state_bytes(n_pages) > largest_bytes ? state_bytes(n_pages) : largest_bytes;
    return ledger.total_bytes > largest_bytes ? ledger.total_bytes : largest_bytes;
}

int segment_files_check_limits(struct options *options)
{
    char sentence[256];
    int r = inherited_check(largest_file_bytes(options->most_bytes), sentence, sizeof(sentence));
    if (r && options->is_usual_most) {
        options->most_bytes = options->segment_bytes; /* it can not grow, but can be served */
        r = inherited_check(largest_file_bytes(options->most_bytes), sentence, sizeof(sentence));
    }
    if (r) {
        log_error("segment \"%s\" can not be served: %s", options->name, sentence);
        return EXIT_SYSTEM;
    }
    return 0;
}

int segment_files_make(struct inherited_fds *files, const struct options *options, int signal_fd)
{
    const uint32_t n_pages = (uint32_t)(options->most_bytes >> PAGE_SHIFT);
    files->segment_fd = segment_open(options, signal_fd);
    if (files->segment_fd < 0) {
        return files->segment_fd == -ECANCELED ? -ECANCELED : EXIT_SYSTEM;
    }
    files->state_fd = memfd_open(options->name, "state", state_bytes(n_pages));
    files->clock_fd = memfd_open(options->name, "clock", NOTICE_BYTES);
    if (files->state_fd < 0 || files->clock_fd < 0) {
        const int error = files->state_fd < 0 ? -files->state_fd : -files->clock_fd;
        log_error("cannot make the files of the state and the clock: %s", strerror(error));
        return EXIT_SYSTEM;
    }
    return 0;
}

int segment_files_adopt(const struct inherited_fds *files, struct options *options)
{
    if (files->segment_fd < 0 || files->state_fd < 0 || files->clock_fd < 0) {
        log_error("of the segment's files that were kept, one is missing: it can not be served");
        return EXIT_STATE;
    }
    const int r = segment_files_adopt_size(files, options);
    if (r) {
        return r;
    }
    log_info("going on with the segment that was kept");
    if (options->waiting_bytes > 0) {
        char is[TEXT_BYTES_MAX];
        char waits[TEXT_BYTES_MAX];
        log_warning("the segment that was kept may have %s at most, and clients live in it: %s "
                    "wait for a start of kmemd when none does",
                    text_format_bytes(options->most_bytes, is, sizeof(is)),
                    text_format_bytes(options->waiting_bytes, waits, sizeof(waits)));
    }
    return 0;
}

/* Of another size than what is wanted now, and nobody's: it is given up. */
static void files_resize(struct inherited_fds *files, const struct options *options)
{
    uint64_t most_bytes = options->most_bytes;
    const int r = file_bytes(files->segment_fd, &most_bytes); /* a fault is met again, and said */
    const struct state_sizes sizes = sizes_read(files->state_fd);
    const uint64_t kept_bytes =
        sizes.now_pages != 0 ? (uint64_t)sizes.now_pages << PAGE_SHIFT : most_bytes;
    const bool is_other =
        sizes.now_pages != 0 && (uint64_t)sizes.asked_pages << PAGE_SHIFT != options->asked_bytes;
    if (r == 0 && (most_bytes != options->most_bytes || is_other) &&
        !inherited_fds_has_living(files)) {
        char is[TEXT_BYTES_MAX];
        char wanted[TEXT_BYTES_MAX];
        log_info("the segment that was kept has %s, and no client lives in it: a new one of %s is "
                 "made",
                 text_format_bytes(kept_bytes, is, sizeof(is)),
                 text_format_bytes(options->segment_bytes, wanted, sizeof(wanted)));
        fd_store_empty(files);
        inherited_fds_drop_segment(files);
    }
}

bool segment_files_are_kept(struct inherited_fds *files, const struct options *options)
{
    if (inherited_fds_has_leftovers(files)) {
        log_warning("of the files of a segment that was kept the segment is missing: the last "
                    "keeper was killed while it gave or took them; a new segment is made");
        fd_store_empty(files);
        inherited_fds_drop_leftovers(files);
    }
    if (files->segment_fd >= 0) {
        files_resize(files, options);
    }
    return files->segment_fd >= 0;
}
