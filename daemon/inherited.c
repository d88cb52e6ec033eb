/* SPDX-License-Identifier: MIT */
#include "daemon/inherited.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/log.h"
#include "proto/text.h"

/* 256 KiB: the deepest call takes some 30, and the names of 4,096 clients' descriptors 94 more. */
#define STACK_NEEDED_BYTES ((rlim_t)256 << 10)
/* 8 MiB: what Linux gives by default; "unlimited" would change where everything is mapped. */
#define STACK_WANTED_BYTES ((rlim_t)8 << 20)

/* ---------------------------------------------------------------- descriptors and signals ---- */

/* Descriptors are opened lowest first: the gap that is found is the one that is filled. */
static int standard_open(void)
{
    const int fd = open("/dev/null", O_RDWR);
    /* A chroot may have no /dev. A directory can be neither read nor written as a file. */
    return fd < 0 ? open("/", O_RDONLY | O_DIRECTORY) : fd;
}

static int standard_fill(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && standard_open() < 0) {
            return -errno;
        }
    }
    return 0;
}

/*
 * A call fails instead, or nothing stops; they have no meaning here, and a mistaken one must not
 * cost a segment; they are those of timers that a starter has left running.
 */
static const int ignored[] = {SIGPIPE, SIGTTOU, SIGXFSZ,   SIGUSR1,
                              SIGUSR2, SIGALRM, SIGVTALRM, SIGPROF};

int inherited_reset(void)
{
    sigset_t none;
    const int r = standard_fill();
    (void)signal(SIGCHLD, SIG_DFL); /* fails for numbers that are no signal only */
    for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++) {
        (void)signal(ignored[i], SIG_IGN); /* likewise */
    }
    (void)sigemptyset(&none);                    /* can not fail */
    (void)sigprocmask(SIG_SETMASK, &none, NULL); /* likewise */
    return r;
}

/* --------------------------------------------------------------------------------- limits ---- */

/* RLIMIT_...: an enumeration to glibc where GNU extensions are on, which they are here. */
typedef __rlimit_resource_t limit_kind;

/* Raises a soft limit to the hard one, or to what is wanted if that is less. */
static void limit_raise(limit_kind resource, rlim_t wanted)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) < 0 || limit.rlim_cur >= wanted) {
        return;
    }
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    (void)setrlimit(resource, &limit); /* what is too low all the same is said by who meets it */
}

void inherited_raise(void)
{
    limit_raise(RLIMIT_FSIZE, RLIM_INFINITY);
    limit_raise(RLIMIT_AS, RLIM_INFINITY);
    limit_raise(RLIMIT_DATA, RLIM_INFINITY);
    limit_raise(RLIMIT_CPU, RLIM_INFINITY);
    limit_raise(RLIMIT_NPROC, RLIM_INFINITY);
    limit_raise(RLIMIT_STACK, STACK_WANTED_BYTES);
}

/* Whether a limit is at least that, or can be made so: root may raise hard limits, too. */
static bool limit_suffices(limit_kind resource, rlim_t needed, rlim_t *ret_limit)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) < 0 || limit.rlim_cur >= needed) {
        return true;
    }
    *ret_limit = limit.rlim_cur;
    limit.rlim_cur = needed;
    limit.rlim_max = limit.rlim_max < needed ? needed : limit.rlim_max;
    return setrlimit(resource, &limit) == 0;
}

int inherited_check(uint64_t largest_bytes, char *ret_sentence, size_t sentence_bytes)
{
    char is[TEXT_BYTES_MAX];
    char needed[TEXT_BYTES_MAX];
    rlim_t limit = 0;
    if (!limit_suffices(RLIMIT_FSIZE, largest_bytes, &limit)) {
        (void)snprintf(ret_sentence, sentence_bytes,
                       "RLIMIT_FSIZE is %s, and the segment's largest file has %s; raise it "
                       "(ulimit -f, LimitFSIZE=), or lower --size",
                       text_format_bytes(limit, is, sizeof(is)),
                       text_format_bytes(largest_bytes, needed, sizeof(needed)));
        return -EPERM;
    }
    if (!limit_suffices(RLIMIT_STACK, STACK_NEEDED_BYTES, &limit)) {
        (void)snprintf(ret_sentence, sentence_bytes,
                       "RLIMIT_STACK is %s, and %s are needed; raise it (ulimit -s, LimitSTACK=)",
                       text_format_bytes(limit, is, sizeof(is)),
                       text_format_bytes(STACK_NEEDED_BYTES, needed, sizeof(needed)));
        return -EPERM;
    }
    return 0;
}

/* By what a call fails that meets them; in the order in which they are looked at. */
static const struct {
    int error;
    limit_kind resource;
    const char *name;
    bool is_bytes;
} explained[] = {
    {ENOMEM, RLIMIT_AS, "RLIMIT_AS", true},        {ENOMEM, RLIMIT_DATA, "RLIMIT_DATA", true},
    {EAGAIN, RLIMIT_NPROC, "RLIMIT_NPROC", false}, {EMFILE, RLIMIT_NOFILE, "RLIMIT_NOFILE", false},
    {EFBIG, RLIMIT_FSIZE, "RLIMIT_FSIZE", true},
};

void inherited_warn(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_CPU, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        log_warning("RLIMIT_CPU is %llu s: a server that has used as much is killed, and followed "
                    "by the next",
                    (unsigned long long)limit.rlim_cur);
    }
}

const char *inherited_explain(int error)
{
    static char text[64];
    text[0] = '\0';
    for (size_t i = 0; i < sizeof(explained) / sizeof(explained[0]) && text[0] == '\0'; i++) {
        struct rlimit limit;
        char value[TEXT_BYTES_MAX + 8]; /* or 20 digits */
        if (explained[i].error != error || getrlimit(explained[i].resource, &limit) < 0 ||
            limit.rlim_cur == RLIM_INFINITY) {
            continue;
        }
        if (explained[i].is_bytes) {
            (void)text_format_bytes(limit.rlim_cur, value, sizeof(value)); /* its buffer */
        } else {
            (void)snprintf(value, sizeof(value), "%llu", (unsigned long long)limit.rlim_cur);
        }
        (void)snprintf(text, sizeof(text), " (%s is %s)", explained[i].name, value); /* fits */
    }
    return text;
}
