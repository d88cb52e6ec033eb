/* SPDX-License-Identifier: MIT */
/*
 * main.c - from the command line to the keeper, or to the server
 *
 * One program is both: the keeper runs it again with a control socket among its descriptors, and
 * that makes it a server.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/keeper/socket_path.h"
#include "daemon/compare.h"
#include "daemon/keeper/fd_store.h"
#include "daemon/server/descriptors.h"
#include "daemon/inherited_fds.h"
#include "daemon/inherited.h"
#include "daemon/keeper/keeper.h"
#include "daemon/server/client_files.h"
#include "daemon/log.h"
#include "daemon/memfd.h"
#include "daemon/options.h"
#include "daemon/server/server.h"
#include "daemon/server/takeover.h"
#include "daemon/signals.h"
#include "daemon/core/state.h"
#include "daemon/core/users.h"
#include "proto/crash_point.h"
#include "proto/ledger.h"
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
    if (r == 0) {
        r = segment_sign(fd, options);
    }
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

/* Goes on with the segment's size, whatever was asked for. Return: 0 or an exit status. */
static int segment_adopt(const struct inherited_fds *files, struct options *options)
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

/* Whether the limits allow the largest of the files. Return: 0 or the process's exit status. */
static int files_allowed(const struct options *options, uint32_t n_pages)
{
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

/* The segment and what belongs to it. Return: 0, -ECANCELED, or the process's exit status. */
static int files_make(struct inherited_fds *files, const struct options *options, int signal_fd)
{
    const uint32_t n_pages = (uint32_t)(options->segment_bytes >> PAGE_SHIFT);
    files->segment_fd = segment_open(options, signal_fd);
    if (files->segment_fd < 0) {
        return files->segment_fd == -ECANCELED ? -ECANCELED : EXIT_SYSTEM;
    }
    files->state_fd = memfd_open(options->name, "state", state_bytes(n_pages));
    files->clock_fd = memfd_open(options->name, "clock", CLOCK_BYTES);
    if (files->state_fd < 0 || files->clock_fd < 0) {
        const int error = files->state_fd < 0 ? -files->state_fd : -files->clock_fd;
        log_error("cannot make the files of the state and the clock: %s", strerror(error));
        return EXIT_SYSTEM;
    }
    return 0;
}

static int files_check(const struct inherited_fds *files, struct options *options)
{
    if (files->segment_fd < 0 || files->state_fd < 0 || files->clock_fd < 0) {
        log_error("of the segment's files that were kept, one is missing: it can not be served");
        return EXIT_STATE;
    }
    const int r = segment_adopt(files, options);
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
        depot_empty(files);
        inherited_fds_drop_segment(files);
    }
}

/* Whether there is a segment to go on with; else there is nothing but the listener afterwards. */
static bool files_are_kept(struct inherited_fds *files, const struct options *options)
{
    if (inherited_fds_has_leftovers(files)) {
        log_warning("of the files of a segment that was kept the segment is missing: the last "
                    "keeper was killed while it gave or took them; a new segment is made");
        depot_empty(files);
        inherited_fds_drop_leftovers(files);
    }
    if (files->segment_fd >= 0) {
        files_resize(files, options);
    }
    return files->segment_fd >= 0;
}

/* Takes the path. Return: 0 or a negative errno, which is logged, and nothing is left behind. */
static int claim_open(struct claim *claim, const struct options *options,
                      struct inherited_fds *files)
{
    int r = claim_take(claim, options);
    if (r) {
        return r;
    }
    r = files->listener_fd >= 0 ? claim_adopt(claim, files->listener_fd) : claim_listen(claim);
    files->listener_fd = r;
    if (r < 0) {
        claim_release(claim);
    }
    return r < 0 ? r : 0;
}

/* What kmemd can not do without, wherever it is. Return: whether it is there. */
static bool proc_is_there(void)
{
    const int fd = open("/proc/self/fd", O_PATH | O_CLOEXEC);
    if (fd < 0) {
        log_error("/proc is not mounted here: without it the clock that clients read can not be "
                  "opened for reading only; mount it (mount -t proc proc /proc)");
        return false;
    }
    (void)close(fd); /* nothing was done with it */
    return true;
}

/* Makes everything, and serves. Return: the process's exit status. */
static int keeper_begin(struct options *options, char **argv, struct inherited_fds *files,
                        int signal_fd)
{
    const bool kept = files_are_kept(files, options);
    struct claim claim;
    int r = claim_open(&claim, options, files);
    if (r) {
        return r == -EACCES || r == -EPERM ? EXIT_DENIED : EXIT_CANT_CREATE;
    }
    KMEM_CRASH_POINT("keeper.listening");
    r = kept ? files_check(files, options) : files_make(files, options, signal_fd);
    KMEM_CRASH_POINT("keeper.files.made");
    if (r) {
        claim_release(&claim);
        return r == -ECANCELED ? 0 : r;
    }
    return keeper_run(options, argv, files, &claim, kept, signal_fd);
}

/* The process that was started. */
static int keeper_main(struct options *options, char **argv, struct inherited_fds *files)
{
    const int r = files_allowed(options, (uint32_t)(options->segment_bytes >> PAGE_SHIFT));
    if (r || !proc_is_there()) {
        return EXIT_SYSTEM;
    }
    inherited_warn();
    /* From here on a signal is an orderly end. */
    const int signal_fd = signals_open();
    if (signal_fd < 0) {
        log_error("cannot start: %s", strerror(-signal_fd));
        return EXIT_SYSTEM;
    }
    const int exit_status = keeper_begin(options, argv, files, signal_fd);
    (void)close(signal_fd); /* the process ends */
    return exit_status;
}

/* The process that the keeper has started. */
static int server_main(struct options *options, struct inherited_fds *files,
                       const struct descriptors *descriptors)
{
    const int r = files->segment_fd >= 0 ? segment_adopt(files, options) : 0;
    if (r) {
        return r;
    }
    /* They are the keeper's to take; an older one does not see to that. */
    (void)signal(SIGTERM, SIG_IGN);           /* fails for numbers that are no signal only */
    (void)signal(SIGINT, SIG_IGN);            /* likewise */
    (void)signal(SIGHUP, SIG_IGN);            /* likewise */
    (void)prctl(PR_SET_NAME, "kmemd-server"); /* can not fail */
    log_limit_alike();
    return files->check_fd >= 0 ? takeover_check(options, files)
                                : server_run(options, files, descriptors);
}

int main(int argc, char **argv)
{
    struct options options;
    struct inherited_fds files;
    if (inherited_reset()) {
        return EXIT_SYSTEM; /* there is nothing to say it to */
    }
    inherited_raise();
    options_parse(&options, argc, argv);
    /* Others of this user can not open the state or ledgers through /proc, nor attach. */
    (void)prctl(PR_SET_DUMPABLE, options.debuggable ? 1 : 0); /* fails for other numbers only */
    log_set_level(options.log_level);
    if (options.compare_pid != 0) {
        return compare_main(&options);
    }
    const struct descriptors descriptors = descriptors_raise();
    if (descriptors.n_clients == 0) {
        log_error("RLIMIT_NOFILE is too low: %d descriptors are needed for one client, %d for %d",
                  DESCRIPTORS_RESERVED + CLIENT_DESCRIPTORS,
                  DESCRIPTORS_RESERVED + CLIENT_DESCRIPTORS * CLIENTS_MAX, CLIENTS_MAX);
        return EXIT_SYSTEM;
    }
    int r = inherited_fds_init(&files);
    r = r ? r : inherited_fds_take(&files);
    if (r < 0) {
        log_error("cannot start: %s", r == -EPROTO ? "$LISTEN_FDS makes no sense" : strerror(-r));
        inherited_fds_fini(&files);
        return EXIT_SYSTEM;
    }
    if (files.control_fd >= 0 || files.check_fd >= 0) {
        const int exit_status = server_main(&options, &files, &descriptors);
        inherited_fds_fini(&files);
        return exit_status;
    }
    if (descriptors.n_clients < CLIENTS_MAX) {
        log_info("RLIMIT_NOFILE suffices for %u clients; %d would do for %d", descriptors.n_clients,
                 DESCRIPTORS_RESERVED + CLIENT_DESCRIPTORS * CLIENTS_MAX, CLIENTS_MAX);
    }
    const int exit_status = keeper_main(&options, argv, &files);
    inherited_fds_fini(&files);
    return exit_status;
}
