/* SPDX-License-Identifier: MIT */
#include "daemon/segment_files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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
    char sentence[256];
    struct free_memory memory;
    free_memory_read(&memory);
    int r = free_memory_check(&memory, options->segment_bytes, sentence, sizeof(sentence));
    if (r && !options->lazy) {
        log_error("segment \"%s\": %s, or use --commit lazy", options->name, sentence);
        return r;
    }
    if (r) {
        log_warning("segment \"%s\": %s: clients get SIGBUS if it is ever used up", options->name,
                    sentence);
    }
    const int fd = memfd_open(options->name, "segment", options->segment_bytes);
    if (fd < 0) {
        log_error("cannot make the segment's file: %s", strerror(-fd));
        return fd;
    }
    r = options->lazy ? 0 : memfd_commit(fd, options->segment_bytes, signal_fd);
    r = r ? r : segment_sign(fd, options);
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

int segment_files_adopt_size(const struct inherited_fds *files, struct options *options)
{
    uint64_t num_bytes = 0;
    const int r = file_bytes(files->segment_fd, &num_bytes);
    if (r) {
        log_error("cannot look at the segment's file: %s", strerror(-r));
        return EXIT_SYSTEM;
    }
    if (!options_adopt_size(options, num_bytes)) {
        log_error("what was kept as the segment has a size that no segment has");
        return EXIT_STATE;
    }
    return 0;
}

int segment_files_check_limits(const struct options *options)
{
    const uint32_t n_pages = (uint32_t)(options->segment_bytes >> PAGE_SHIFT);
    char sentence[256];
    struct ledger_layout ledger;
    ledger_layout_init(&ledger, n_pages);
    uint64_t largest_bytes = options->segment_bytes;
    largest_bytes = state_bytes(n_pages) > largest_bytes ? state_bytes(n_pages) : largest_bytes;
    largest_bytes = ledger.total_bytes > largest_bytes ? ledger.total_bytes : largest_bytes;
    if (inherited_check(largest_bytes, sentence, sizeof(sentence))) {
        log_error("segment \"%s\" can not be served: %s", options->name, sentence);
        return EXIT_SYSTEM;
    }
    return 0;
}

int segment_files_make(struct inherited_fds *files, const struct options *options, int signal_fd)
{
    const uint32_t n_pages = (uint32_t)(options->segment_bytes >> PAGE_SHIFT);
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
        log_warning("the segment that was kept has %s, and clients live in it: %s wait for a start "
                    "of kmemd when none does",
                    text_format_bytes(options->segment_bytes, is, sizeof(is)),
                    text_format_bytes(options->waiting_bytes, waits, sizeof(waits)));
    }
    return 0;
}

/* Of another size than what is wanted now, and nobody's: it is given up. */
static void files_resize(struct inherited_fds *files, const struct options *options)
{
    uint64_t kept_bytes = options->segment_bytes;
    const int r = file_bytes(files->segment_fd, &kept_bytes); /* a fault is met again, and said */
    if (r == 0 && kept_bytes != options->segment_bytes && !inherited_fds_has_living(files)) {
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
