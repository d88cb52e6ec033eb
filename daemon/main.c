/* SPDX-License-Identifier: MIT */
/*
 * main.c - from the command line to the loop
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/listener.h"
#include "daemon/log.h"
#include "daemon/memfile.h"
#include "daemon/options.h"
#include "daemon/server.h"
#include "daemon/state.h"
#include "proto/text.h"

/* Descriptors that are nobody's: files, the loop's own, and connections of those who only ask. */
#define DESCRIPTORS_RESERVED 128
/* A connection, a pidfd and a ledger. */
#define DESCRIPTORS_PER_CLIENT 3

/* Raises the limit of descriptors as far as it goes. Return: the clients it suffices for. */
static uint32_t clients_limit_get(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return 0;
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 && getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return 0;
    }
    if (limit.rlim_cur < DESCRIPTORS_RESERVED) {
        return 0;
    }
    const rlim_t n_clients = (limit.rlim_cur - DESCRIPTORS_RESERVED) / DESCRIPTORS_PER_CLIENT;
    return n_clients < CLIENTS_MAX ? (uint32_t)n_clients : CLIENTS_MAX;
}

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

int main(int argc, char **argv)
{
    struct options options;
    options_parse(&options, argc, argv);
    log_set_level(options.log_level);
    (void)signal(SIGPIPE, SIG_IGN); /* fails for numbers that are no signal only */
    const uint32_t clients_limit = clients_limit_get();
    if (clients_limit == 0) {
        log_error("RLIMIT_NOFILE is too low: %d descriptors are needed for one client, %d for %d",
                  DESCRIPTORS_RESERVED + DESCRIPTORS_PER_CLIENT,
                  DESCRIPTORS_RESERVED + DESCRIPTORS_PER_CLIENT * CLIENTS_MAX, CLIENTS_MAX);
        return EXIT_SYSTEM;
    }
    if (clients_limit < CLIENTS_MAX) {
        log_info("RLIMIT_NOFILE suffices for %u clients; %d would do for %d", clients_limit,
                 DESCRIPTORS_RESERVED + DESCRIPTORS_PER_CLIENT * CLIENTS_MAX, CLIENTS_MAX);
    }
    struct listener listener;
    const int r = listener_claim(&listener, &options);
    if (r) {
        return r == -EACCES || r == -EPERM ? EXIT_DENIED : EXIT_CANT_CREATE;
    }
    const int segment_fd = segment_open(&options);
    if (segment_fd < 0) {
        return EXIT_SYSTEM;
    }
    const uint32_t n_pages = (uint32_t)(options.segment_bytes >> PAGE_SHIFT);
    const int state_fd = memfile_open(options.name, "state", state_bytes(n_pages));
    if (state_fd < 0) {
        log_error("cannot make the state's file: %s", strerror(-state_fd));
        return EXIT_SYSTEM;
    }
    return server_run(&options, &listener, segment_fd, state_fd, clients_limit);
}
