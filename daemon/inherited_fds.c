/* SPDX-License-Identifier: MIT */
#include "daemon/inherited_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/limits.h"

/* Where descriptors that are passed begin: behind the standard ones. */
#define FIRST_FD 3
/* One string of an environment has 128 KiB; the names of 4,096 clients' files take 125 of them. */
#define NAMES_BYTES ((size_t)128 * 1024)
/* Those that are no client's. */
#define N_FIXED 7
#define N_FDS_MAX (N_FIXED + 3 * CLIENTS_MAX)

static const char *const fixed_names[N_FIXED] = {"segment", "state", "clock", "listener",
                                                 "control", "check", "config"};

/* The place of a fixed one, in the order of the names. */
static int *fixed_place(struct inherited_fds *files, size_t index)
{
    /* cppcheck-suppress constVariable ; what they point at is the caller's to change */
    int *const places[N_FIXED] = {&files->segment_fd,  &files->state_fd,   &files->clock_fd,
                                  &files->listener_fd, &files->control_fd, &files->check_fd,
                                  &files->config_fd};
    return places[index];
}

static void fd_close(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd); /* what is behind it has other descriptors, or nobody needs it */
        *fd = -1;
    }
}

static void inherited_fds_free(struct inherited_fds *files)
{
    free(files->ledger_fds);
    free(files->pidfds);
    free(files->way_fds);
    files->ledger_fds = NULL;
    files->pidfds = NULL;
    files->way_fds = NULL;
}

int inherited_fds_init(struct inherited_fds *files)
{
    *files = (struct inherited_fds){-1, -1, -1, -1, -1, -1, -1, -1, NULL, NULL, NULL};
    files->ledger_fds = malloc(CLIENTS_MAX * sizeof(int));
    files->pidfds = malloc(CLIENTS_MAX * sizeof(int));
    files->way_fds = malloc(CLIENTS_MAX * sizeof(int));
    if (!files->ledger_fds || !files->pidfds || !files->way_fds) {
        inherited_fds_free(files);
        return -ENOMEM;
    }
    for (uint32_t slot = 0; slot < CLIENTS_MAX; slot++) {
        files->ledger_fds[slot] = -1;
        files->pidfds[slot] = -1;
        files->way_fds[slot] = -1;
    }
    return 0;
}

void inherited_fds_fini(struct inherited_fds *files)
{
    for (size_t i = 0; i < N_FIXED; i++) {
        fd_close(fixed_place(files, i));
    }
    fd_close(&files->activated_fd);
    for (uint32_t slot = 0; files->ledger_fds && slot < CLIENTS_MAX; slot++) {
        inherited_fds_drop(files, slot);
    }
    inherited_fds_free(files);
}

bool inherited_fds_has(const struct inherited_fds *files, uint32_t slot)
{
    return files->ledger_fds[slot] >= 0 || files->pidfds[slot] >= 0 || files->way_fds[slot] >= 0;
}

void inherited_fds_drop(struct inherited_fds *files, uint32_t slot)
{
    fd_close(&files->ledger_fds[slot]);
    fd_close(&files->pidfds[slot]);
    fd_close(&files->way_fds[slot]);
}

void inherited_fds_keep(struct inherited_fds *files, uint32_t slot, const int fds[3])
{
    inherited_fds_drop(files, slot);
    files->ledger_fds[slot] = fds[0];
    files->pidfds[slot] = fds[1];
    files->way_fds[slot] = fds[2];
}

bool inherited_fds_has_leftovers(const struct inherited_fds *files)
{
    bool has_any = files->state_fd >= 0 || files->clock_fd >= 0;
    for (uint32_t slot = 0; slot < CLIENTS_MAX && !has_any; slot++) {
        has_any = inherited_fds_has(files, slot);
    }
    return has_any && files->segment_fd < 0;
}

void inherited_fds_drop_leftovers(struct inherited_fds *files)
{
    fd_close(&files->state_fd);
    fd_close(&files->clock_fd);
    for (uint32_t slot = 0; slot < CLIENTS_MAX; slot++) {
        inherited_fds_drop(files, slot);
    }
}

void inherited_fds_drop_segment(struct inherited_fds *files)
{
    fd_close(&files->segment_fd);
    inherited_fds_drop_leftovers(files);
}

bool inherited_fds_has_living(const struct inherited_fds *files)
{
    bool has_living = false;
    for (uint32_t slot = 0; slot < CLIENTS_MAX && !has_living; slot++) {
        struct pollfd ended = {.fd = files->pidfds[slot], .events = POLLIN};
        has_living = ended.fd >= 0 && poll(&ended, 1, 0) == 0;
    }
    return has_living;
}

const char *inherited_fds_name(const char *kind, uint32_t slot, char *buffer)
{
    (void)snprintf(buffer, INHERITED_FDS_NAME_BYTES, "%s-%u", kind, slot); /* fits */
    return buffer;
}

/* -------------------------------------------------------------------------------- taking ---- */

/* A whole number without sign; false if the text is none. */
static bool number_parse(const char *text, unsigned long limit, unsigned long *ret_number)
{
    char *end;
    if (!text || text[0] < '0' || text[0] > '9') {
        return false;
    }
    errno = 0;
    *ret_number = strtoul(text, &end, 10);
    return errno == 0 && *end == '\0' && *ret_number < limit;
}

/* Where a descriptor of that name belongs; NULL: nowhere. */
static int *place_of(struct inherited_fds *files, const char *name)
{
    unsigned long slot;
    for (size_t i = 0; i < N_FIXED; i++) {
        if (strcmp(name, fixed_names[i]) == 0) {
            return fixed_place(files, i);
        }
    }
    if (strncmp(name, "ledger-", 7) == 0 && number_parse(name + 7, CLIENTS_MAX, &slot)) {
        return &files->ledger_fds[slot];
    }
    if (strncmp(name, "pidfd-", 6) == 0 && number_parse(name + 6, CLIENTS_MAX, &slot)) {
        return &files->pidfds[slot];
    }
    if (strncmp(name, "way-", 4) == 0 && number_parse(name + 4, CLIENTS_MAX, &slot)) {
        return &files->way_fds[slot];
    }
    return NULL;
}

static int socket_option(int fd, int option)
{
    int value = -1;
    socklen_t num_bytes = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, option, &value, &num_bytes) < 0 ? -1 : value;
}

/* A socket unit's descriptor has the unit's name, or any that its author likes. */
static bool is_listening(int fd)
{
    return socket_option(fd, SO_ACCEPTCONN) == 1 && socket_option(fd, SO_DOMAIN) == AF_UNIX &&
           socket_option(fd, SO_TYPE) == SOCK_STREAM;
}

/* Return: 0, also if it is nobody's or there twice; or a negative errno: it can not be used. */
static int file_take(struct inherited_fds *files, int fd, const char *name)
{
    int *place = place_of(files, name);
    place = !place && is_listening(fd) ? &files->activated_fd : place;
    if (!place || *place >= 0) {
        (void)close(fd); /* nothing is written through it */
        return 0;
    }
    *place = fd;
    return fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ? -errno : 0;
}

int inherited_fds_take(struct inherited_fds *files)
{
    unsigned long pid;
    unsigned long n_fds;
    const char *given = getenv("LISTEN_FDNAMES");
    if (!number_parse(getenv("LISTEN_PID"), ~0UL, &pid) || pid != (unsigned long)getpid()) {
        return 0; /* not meant for this process, as sd_listen_fds(3) has it */
    }
    char *names = strdup(given ? given : "");
    if (!names) {
        return -ENOMEM;
    }
    if (!number_parse(getenv("LISTEN_FDS"), N_FDS_MAX + 1, &n_fds)) {
        free(names);
        return -EPROTO;
    }
    char *rest = names;
    int r = 0;
    for (unsigned long i = 0; i < n_fds; i++) {
        const char *name = strsep(&rest, ":");
        const int not_taken = file_take(files, FIRST_FD + (int)i, name ? name : "");
        r = r ? r : not_taken;
    }
    free(names);
    (void)unsetenv("LISTEN_PID"); /* fails for names that are none only */
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
    return r ? r : (int)n_fds;
}

/* ------------------------------------------------------------------------------- passing ---- */

/* What is passed, in order. */
struct passing {
    int fds[N_FDS_MAX];
    int holder[N_FDS_MAX]; /* of number FIRST_FD + i: who waits there to be moved; -1: nobody */
    int n_fds;
    char names[NAMES_BYTES];
    size_t names_bytes;
};

static void passing_add(struct passing *passing, int fd, const char *name)
{
    if (fd >= 0) {
        const int n_bytes =
            snprintf(passing->names + passing->names_bytes, NAMES_BYTES - passing->names_bytes,
                     "%s%s", passing->n_fds > 0 ? ":" : "", name); /* fits: see NAMES_BYTES */
        passing->names_bytes += (size_t)n_bytes;
        passing->fds[passing->n_fds++] = fd;
    }
}

static void passing_collect(struct passing *passing, struct inherited_fds *files)
{
    char name[INHERITED_FDS_NAME_BYTES];
    for (size_t i = 0; i < N_FIXED; i++) {
        passing_add(passing, *fixed_place(files, i), fixed_names[i]);
    }
    for (uint32_t slot = 0; files->ledger_fds && slot < CLIENTS_MAX; slot++) {
        passing_add(passing, files->ledger_fds[slot], inherited_fds_name("ledger", slot, name));
        passing_add(passing, files->pidfds[slot], inherited_fds_name("pidfd", slot, name));
        passing_add(passing, files->way_fds[slot], inherited_fds_name("way", slot, name));
    }
}

/*
 * Moves each to its number. One that stands where another is to go makes way first, above all of
 * them, so that no more than one descriptor beyond those that there are is ever needed at a time.
 */
static int passing_arrange(struct passing *passing)
{
    const int end = FIRST_FD + passing->n_fds;
    for (int i = 0; i < passing->n_fds; i++) {
        passing->holder[i] = -1;
    }
    for (int i = 0; i < passing->n_fds; i++) {
        if (passing->fds[i] >= FIRST_FD && passing->fds[i] < end) {
            passing->holder[passing->fds[i] - FIRST_FD] = i;
        }
    }
    for (int i = 0; i < passing->n_fds; i++) {
        const int number = FIRST_FD + i;
        const int holder = passing->holder[i];
        if (holder == i) {
            if (fcntl(number, F_SETFD, 0) < 0) {
                return -errno;
            }
            continue;
        }
        if (holder > i) {
            passing->fds[holder] = fcntl(number, F_DUPFD_CLOEXEC, end);
            if (passing->fds[holder] < 0) {
                return -errno;
            }
        }
        if (dup2(passing->fds[i], number) < 0) {
            return -errno;
        }
        if (passing->fds[i] >= end) {
            (void)close(passing->fds[i]); /* there is another one */
        }
    }
    return 0;
}

static int passing_name(const struct passing *passing)
{
    char number[24];
    (void)snprintf(number, sizeof(number), "%d", passing->n_fds); /* fits */
    int r = setenv("LISTEN_FDS", number, 1);
    (void)snprintf(number, sizeof(number), "%ld", (long)getpid()); /* fits */
    r = r ? r : setenv("LISTEN_PID", number, 1);
    r = r ? r : setenv("LISTEN_FDNAMES", passing->names, 1);
    return r ? -errno : 0;
}

int inherited_fds_exec(struct inherited_fds *files, int exe_fd, char **argv)
{
    static struct passing passing;
    passing_collect(&passing, files);
    const int program = fcntl(exe_fd, F_DUPFD_CLOEXEC, FIRST_FD + passing.n_fds);
    int r = program < 0 ? -errno : passing_arrange(&passing);
    r = r ? r : passing_name(&passing);
    if (r == 0) {
        (void)fexecve(program, argv, environ); /* returns if it fails */
        r = -errno;
    }
    return r;
}
