/* SPDX-License-Identifier: MIT */
/*
 * main.c - from the command line to the keeper, or to the server
 *
 * One program is both: the keeper runs it again with a control socket among its descriptors, and
 * that makes it a server.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/claim.h"
#include "daemon/depot.h"
#include "daemon/descriptors.h"
#include "daemon/files.h"
#include "daemon/keeper.h"
#include "daemon/ledgers.h"
#include "daemon/log.h"
#include "daemon/memfile.h"
#include "daemon/options.h"
#include "daemon/server.h"
#include "daemon/state.h"
#include "daemon/users.h"
#include "proto/crash_point.h"
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

/* The segment's file, with its memory behind it unless it is to come later. */
static int segment_open(const struct options *options)
{
    char sentence[256];
    struct memory_room room;
    memory_room_read(&room);
    int r = memory_room_check(&room, options->segment_bytes, sentence, sizeof(sentence));
    if (r && !options->lazy) {
        log_error("segment \"%s\": %s, or use --commit lazy", options->name, sentence);
        return r;
    }
    if (r) {
        log_warning("segment \"%s\": %s: clients get SIGBUS if it is ever used up", options->name,
                    sentence);
    }
    const int fd = memfile_open(options->name, "segment", options->segment_bytes);
    if (fd < 0) {
        log_error("cannot make the segment's file: %s", strerror(-fd));
        return fd;
    }
    r = options->lazy ? 0 : memfile_commit(fd, options->segment_bytes);
    if (r == 0) {
        r = segment_sign(fd, options);
    }
    if (r) {
        char size[TEXT_BYTES_MAX];
        log_error("segment \"%s\": cannot commit %s: %s; lower --size, or use --commit lazy",
                  options->name, text_format_bytes(options->segment_bytes, size, sizeof(size)),
                  strerror(-r));
        (void)close(fd); /* the process ends */
        return r;
    }
    return fd;
}

/* The size of a file that is taken over; 0 if it can not be told. */
static uint64_t file_bytes(int fd)
{
    struct stat status;
    return fstat(fd, &status) < 0 ? 0 : (uint64_t)status.st_size;
}

/* The segment and what belongs to it: made now, or kept by a supervisor. */
static int files_make(struct files *files, const struct options *options)
{
    const uint32_t n_pages = (uint32_t)(options->segment_bytes >> PAGE_SHIFT);
    files->segment_fd = segment_open(options);
    if (files->segment_fd < 0) {
        return EXIT_SYSTEM;
    }
    files->state_fd = memfile_open(options->name, "state", state_bytes(n_pages));
    files->clock_fd = memfile_open(options->name, "clock", CLOCK_BYTES);
    if (files->state_fd < 0 || files->clock_fd < 0) {
        const int error = files->state_fd < 0 ? -files->state_fd : -files->clock_fd;
        log_error("cannot make the files of the state and the clock: %s", strerror(error));
        return EXIT_SYSTEM;
    }
    return 0;
}

static int files_check(const struct files *files, const struct options *options)
{
    if (files->segment_fd < 0 || files->state_fd < 0 || files->clock_fd < 0) {
        log_error("of the segment's files that were kept, one is missing: it can not be served");
        return EXIT_STATE;
    }
    if (file_bytes(files->segment_fd) != options->segment_bytes) {
        char is[TEXT_BYTES_MAX];
        char wanted[TEXT_BYTES_MAX];
        log_error("the segment that was kept has %s, not %s: end it first, or use its size",
                  text_format_bytes(file_bytes(files->segment_fd), is, sizeof(is)),
                  text_format_bytes(options->segment_bytes, wanted, sizeof(wanted)));
        return EXIT_STATE;
    }
    log_info("going on with the segment that was kept");
    return 0;
}

/* Whether there is a segment to go on with; else there is nothing but the listener afterwards. */
static bool files_are_kept(struct files *files)
{
    if (files_has_leftovers(files)) {
        log_warning("of the files of a segment that was kept the segment is missing: the last "
                    "keeper was killed while it gave or took them; a new segment is made");
        depot_empty(files);
        files_drop_leftovers(files);
    }
    return files->segment_fd >= 0;
}

/* The process that was started. */
static int keeper_main(const struct options *options, char **argv, struct files *files)
{
    const bool kept = files_are_kept(files);
    struct claim claim;
    int r = claim_take(&claim, options);
    if (r == 0) {
        r = files->listener_fd >= 0 ? claim_adopt(&claim, files->listener_fd)
                                    : claim_listen(&claim);
        files->listener_fd = r;
    }
    if (r < 0) {
        return r == -EACCES || r == -EPERM ? EXIT_DENIED : EXIT_CANT_CREATE;
    }
    KMEM_CRASH_POINT("keeper.listening");
    r = kept ? files_check(files, options) : files_make(files, options);
    KMEM_CRASH_POINT("keeper.files.made");
    if (r) {
        claim_release(&claim);
        return r;
    }
    return keeper_run(options, argv, files, &claim, kept);
}

/* The process that the keeper has started. */
static int server_main(const struct options *options, struct files *files,
                       const struct descriptors *descriptors)
{
    /* They are the keeper's to take; from a terminal they come to both. */
    (void)signal(SIGTERM, SIG_IGN);           /* fails for numbers that are no signal only */
    (void)signal(SIGINT, SIG_IGN);            /* likewise */
    (void)signal(SIGHUP, SIG_IGN);            /* likewise */
    (void)prctl(PR_SET_NAME, "kmemd-server"); /* can not fail */
    log_limit_alike();
    return files->check_fd >= 0 ? server_check(options, files)
                                : server_run(options, files, descriptors);
}

int main(int argc, char **argv)
{
    struct options options;
    struct files files;
    options_parse(&options, argc, argv);
    log_set_level(options.log_level);
    (void)signal(SIGPIPE, SIG_IGN); /* fails for numbers that are no signal only */
    (void)signal(SIGTTOU, SIG_IGN); /* likewise; a terminal would stop who logs in the background */
    /* They have no meaning here, and a mistaken one must not cost a segment. */
    (void)signal(SIGUSR1, SIG_IGN); /* likewise */
    (void)signal(SIGUSR2, SIG_IGN); /* likewise */
    const struct descriptors descriptors = descriptors_raise();
    if (descriptors.n_clients == 0) {
        log_error("RLIMIT_NOFILE is too low: %d descriptors are needed for one client, %d for %d",
                  DESCRIPTORS_RESERVED + CLIENT_DESCRIPTORS,
                  DESCRIPTORS_RESERVED + CLIENT_DESCRIPTORS * CLIENTS_MAX, CLIENTS_MAX);
        return EXIT_SYSTEM;
    }
    int r = files_init(&files);
    r = r ? r : files_take(&files);
    if (r < 0) {
        log_error("cannot start: %s", r == -EPROTO ? "$LISTEN_FDS makes no sense" : strerror(-r));
        files_fini(&files);
        return EXIT_SYSTEM;
    }
    if (files.control_fd >= 0 || files.check_fd >= 0) {
        const int exit_status = server_main(&options, &files, &descriptors);
        files_fini(&files);
        return exit_status;
    }
    if (descriptors.n_clients < CLIENTS_MAX) {
        log_info("RLIMIT_NOFILE suffices for %u clients; %d would do for %d", descriptors.n_clients,
                 DESCRIPTORS_RESERVED + CLIENT_DESCRIPTORS * CLIENTS_MAX, CLIENTS_MAX);
    }
    const int exit_status = keeper_main(&options, argv, &files);
    files_fini(&files);
    return exit_status;
}
