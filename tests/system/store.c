/* SPDX-License-Identifier: MIT */
#include "tests/system/store.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/system/harness.h"

#define STORE_MAX 16

/* What a service manager holds: sd_pid_notify_with_fds(3). */
static struct {
    int socket_fd;
    int fds[STORE_MAX];
    char names[STORE_MAX][32];
    unsigned int n_fds;
    unsigned int n_ready; /* times it was told READY=1 */
    char path[100];
} store;

void store_open(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(store.path, sizeof(store.path), "%s", harness_path("notify"));
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", store.path);
    (void)unlink(store.path); /* there may be none */
    store.socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    expect_call(bind(store.socket_fd, (struct sockaddr *)&address, sizeof(address)) == 0);
}

static void store_forget(const char *name)
{
    for (unsigned int i = store.n_fds; i-- > 0;) {
        if (strcmp(store.names[i], name) == 0) {
            (void)close(store.fds[i]);
            store.n_fds--;
            store.fds[i] = store.fds[store.n_fds];
            (void)memcpy(store.names[i], store.names[store.n_fds], sizeof(store.names[i]));
        }
    }
}

/*
 * Whether it has that file under that name: a keeper that goes on with what it was given gives it
 * once more. On many kernels one pidfd is like another.
 */
static bool store_has(const char *name, int fd)
{
    struct stat given;
    expect_call(fstat(fd, &given) == 0);
    for (unsigned int i = 0; i < store.n_fds; i++) {
        struct stat kept;
        expect_call(fstat(store.fds[i], &kept) == 0);
        if (strcmp(store.names[i], name) == 0 && strncmp(name, "pidfd", 5) != 0 &&
            kept.st_dev == given.st_dev && kept.st_ino == given.st_ino) {
            return true;
        }
    }
    return false;
}

static void store_notified(const char *text, int fd)
{
    char name[32] = "";
    const char *const at = strstr(text, "FDNAME=");
    store.n_ready += strstr(text, "READY=1") != NULL;
    if (at != NULL) {
        (void)sscanf(at, "FDNAME=%31[^\n]", name);
    }
    if (strstr(text, "FDSTOREREMOVE=1") != NULL) {
        store_forget(name);
    } else if (fd >= 0 && store_has(name, fd)) {
        (void)close(fd);
    } else if (fd >= 0) {
        expect_true(store.n_fds < STORE_MAX);
        /* Far above those that are passed. */
        store.fds[store.n_fds] = fcntl(fd, F_DUPFD_CLOEXEC, 200);
        (void)snprintf(store.names[store.n_fds++], sizeof(store.names[0]), "%s", name);
        (void)close(fd);
    }
}

static void store_read(void)
{
    char text[512];
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    for (;;) {
        struct iovec part = {text, sizeof(text) - 1};
        struct msghdr message = {.msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = sizeof(control)};
        const ssize_t n = recvmsg(store.socket_fd, &message, MSG_CMSG_CLOEXEC);
        if (n < 0) {
            return;
        }
        int fd = -1;
        text[n] = '\0';
        if (message.msg_controllen >= CMSG_LEN(sizeof(int))) {
            (void)memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
        }
        store_notified(text, fd);
    }
}

/* The keeper stores a client's files while the client is answered already. */
unsigned int store_count(void)
{
    store_read();
    return store.n_fds;
}

unsigned int store_count_ready(void)
{
    store_read();
    return store.n_ready;
}

void store_close(void)
{
    for (unsigned int i = 0; i < store.n_fds; i++) {
        (void)close(store.fds[i]);
    }
    store.n_fds = 0;
    store.n_ready = 0;
    (void)close(store.socket_fd);
}

static const char *store_names(void)
{
    static char names[STORE_MAX * 33];
    size_t n_bytes = 0;
    names[0] = '\0';
    for (unsigned int i = 0; i < store.n_fds; i++) {
        n_bytes += (size_t)snprintf(names + n_bytes, sizeof(names) - n_bytes, "%s%s",
                                    i > 0 ? ":" : "", store.names[i]); /* fits */
    }
    return names;
}

struct daemon_setting store_first_setting(void)
{
    return (struct daemon_setting){.notify_socket = store.path};
}

struct daemon_setting store_setting(void)
{
    return (struct daemon_setting){.notify_socket = store.path,
                                   .fds = store.fds,
                                   .n_fds = store.n_fds,
                                   .fd_names = store_names()};
}
