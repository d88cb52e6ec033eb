/* SPDX-License-Identifier: MIT */
/*
 * listener.c - one daemon to a path
 *
 * The socket's file alone can not say whether a daemon is behind it, and connecting to find out
 * races with others that do the same. A lock on a file beside it can: flock() goes with the
 * process. The lock file itself is never replaced while the lock is held: who takes the lock
 * compares the file it has opened with the one that is at the path, and starts again if they
 * differ.
 *
 * The group of the directory, if we make it, and of the socket is the one that may join; both can
 * be entered and connected to by nobody else. SO_PEERCRED is checked again for every connection.
 */
#include "daemon/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/log.h"

/* 511: a crash restarts many clients at once; the kernel caps it at net.core.somaxconn. */
#define BACKLOG 511

static void path_directory(const struct listener *listener, char *ret_directory)
{
    char copy[SOCKET_PATH_MAX_BYTES + 1];
    memcpy(copy, listener->path, sizeof(copy));
    (void)snprintf(ret_directory, sizeof(copy), "%s", dirname(copy)); /* fits */
}

/* Logs what the system refused. Return: its negative errno. */
static int claim_fault(const char *what, const char *path)
{
    const int error = errno;
    log_error("cannot %s %s: %s", what, path, strerror(error));
    return -error;
}

/* The directory, made if only its last part is missing; nobody but its owner may rename in it. */
static int directory_prepare(const struct listener *listener)
{
    char directory[SOCKET_PATH_MAX_BYTES + 1];
    path_directory(listener, directory);
    if (mkdir(directory, 0750) == 0) {
        if (listener->has_group && chown(directory, (uid_t)-1, listener->group) < 0) {
            const int error = errno;
            log_error("cannot give %s to group %u: %s", directory, listener->group,
                      strerror(error));
            return -error;
        }
    } else if (errno != EEXIST) {
        const int error = errno;
        log_error("cannot make the directory %s: %s; make it, or use --socket PATH", directory,
                  strerror(error));
        return -error;
    }
    struct stat status;
    if (stat(directory, &status) < 0) {
        return claim_fault("look at the directory", directory);
    }
    if (!S_ISDIR(status.st_mode)) {
        log_error("%s is not a directory", directory);
        return -ENOTDIR;
    }
    const bool others_write = status.st_mode & S_IWOTH;
    if (others_write && !(status.st_mode & S_ISVTX)) {
        log_error("everybody may replace files in %s: chmod o-w it, or use --socket PATH",
                  directory);
        return -EACCES;
    }
    return 0;
}

/* One try to hold the lock. Return: the descriptor; -EAGAIN: try again; -EEXIST: another's. */
static int lock_try(const char *path)
{
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return -errno;
    }
    struct stat held;
    struct stat there;
    int r = 0;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        r = errno == EWOULDBLOCK ? -EEXIST : -errno;
    } else if (fstat(fd, &held) < 0 || stat(path, &there) < 0 || held.st_ino != there.st_ino ||
               held.st_dev != there.st_dev) {
        r = -EAGAIN; /* its last holder has just removed it */
    }
    if (r) {
        (void)close(fd); /* not ours */
        return r;
    }
    return fd;
}

static int lock_take(struct listener *listener)
{
    char path[SOCKET_PATH_MAX_BYTES + 8];
    (void)snprintf(path, sizeof(path), "%s.lock", listener->path); /* fits */
    int r = -EAGAIN;
    for (int tries = 0; tries < 100 && r == -EAGAIN; tries++) {
        r = lock_try(path);
    }
    if (r == -EEXIST) {
        log_error("another kmemd serves %s already; use another --socket or --name",
                  listener->path);
    } else if (r < 0) {
        log_error("cannot lock %s: %s", path, strerror(-r));
    }
    if (r < 0) {
        return r;
    }
    listener->lock_fd = r;
    return 0;
}

/* Removes what a dead daemon left at the path; nothing else. */
static int stale_remove(const struct listener *listener)
{
    struct stat status;
    if (lstat(listener->path, &status) < 0) {
        return errno == ENOENT ? 0 : claim_fault("look at", listener->path);
    }
    if (!S_ISSOCK(status.st_mode)) {
        log_error("%s is there and is not a socket; remove it, or use another --socket",
                  listener->path);
        return -ENOTSOCK;
    }
    return unlink(listener->path) < 0 ? claim_fault("replace", listener->path) : 0;
}

static int socket_bind(struct listener *listener)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, listener->path, strlen(listener->path));
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    /* Born private: nobody connects before the group is right. */
    const mode_t mask = umask(0177);
    int r = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    (void)umask(mask); /* returns the mask it replaces */
    const bool bound = r == 0;
    struct stat status;
    if (r == 0 && listener->has_group &&
        (chown(listener->path, (uid_t)-1, listener->group) < 0 ||
         chmod(listener->path, 0660) < 0)) {
        r = -errno;
    }
    if (r == 0 && lstat(listener->path, &status) < 0) {
        r = -errno;
    }
    if (r) {
        if (bound) {
            (void)unlink(listener->path); /* nobody could connect to it */
        }
        (void)close(fd); /* the first error is the one to report */
        return r;
    }
    listener->device = status.st_dev;
    listener->inode = status.st_ino;
    return fd;
}

static int socket_listen(struct listener *listener)
{
    const int fd = socket_bind(listener);
    if (fd < 0) {
        return fd;
    }
    int r = uv_pipe_open(&listener->pipe, fd);
    if (r) {
        (void)close(fd); /* the pipe did not take it */
    } else {
        r = uv_listen((uv_stream_t *)&listener->pipe, BACKLOG, listener->connected);
    }
    if (r) {
        (void)unlink(listener->path); /* nobody listens behind it */
    }
    return r;
}

static bool path_is_ours(const struct listener *listener)
{
    struct stat status;
    return lstat(listener->path, &status) == 0 && status.st_dev == listener->device &&
           status.st_ino == listener->inode;
}

static void pipe_closed_rebind(uv_handle_t *handle)
{
    struct listener *listener = (struct listener *)handle;
    void *user = handle->data;
    if (listener->closed) {
        return;
    }
    int r = uv_pipe_init(handle->loop, &listener->pipe, 0);
    listener->pipe.data = user;
    if (r == 0) {
        r = socket_listen(listener);
    }
    if (r) {
        log_error("%s can not be made again: %s; no new client can connect", listener->path,
                  strerror(-r));
        return;
    }
    log_warning("%s was removed; it is there again", listener->path);
}

static void directory_changed(uv_fs_event_t *watch, const char *name, int events, int status)
{
    (void)name;
    (void)events;
    struct listener *listener = watch->data;
    struct stat there;
    if (status < 0 || path_is_ours(listener) || uv_is_closing((uv_handle_t *)&listener->pipe)) {
        return;
    }
    if (lstat(listener->path, &there) == 0) {
        log_error("%s is somebody else's now; remove it and this daemon will be back there",
                  listener->path);
        return;
    }
    uv_close((uv_handle_t *)&listener->pipe, pipe_closed_rebind);
}

static int watch_start(struct listener *listener, uv_loop_t *loop)
{
    char directory[SOCKET_PATH_MAX_BYTES + 1];
    path_directory(listener, directory);
    listener->watch.data = listener;
    const int r = uv_fs_event_init(loop, &listener->watch);
    return r ? r : uv_fs_event_start(&listener->watch, directory_changed, directory, 0);
}

int listener_claim(struct listener *listener, const struct options *options)
{
    *listener = (struct listener){
        .lock_fd = -1,
        .has_group = options->has_group,
        .group = options->group,
    };
    memcpy(listener->path, options->socket_path, sizeof(listener->path));
    int r = directory_prepare(listener);
    if (r == 0) {
        r = lock_take(listener);
    }
    return r ? r : stale_remove(listener);
}

int listener_open(struct listener *listener, uv_loop_t *loop, uv_connection_cb connected,
                  void *user)
{
    KMEM_ASSERT(listener->lock_fd >= 0);
    int r = uv_pipe_init(loop, &listener->pipe, 0);
    listener->pipe.data = user;
    listener->connected = connected;
    if (r == 0) {
        r = socket_listen(listener);
    }
    if (r) {
        log_error("cannot listen on %s: %s", listener->path, strerror(-r));
    } else if (watch_start(listener, loop)) {
        log_warning("the directory of %s can not be watched: the socket will not be made again "
                    "if somebody removes it",
                    listener->path);
    }
    return r;
}

void listener_close(struct listener *listener)
{
    char lock_path[SOCKET_PATH_MAX_BYTES + 8];
    (void)snprintf(lock_path, sizeof(lock_path), "%s.lock", listener->path); /* fits */
    listener->closed = true;
    if (!uv_is_closing((uv_handle_t *)&listener->watch)) {
        uv_close((uv_handle_t *)&listener->watch, NULL);
    }
    if (path_is_ours(listener)) {
        (void)unlink(listener->path); /* a socket left behind is replaced at the next start */
    }
    if (!uv_is_closing((uv_handle_t *)&listener->pipe)) {
        uv_close((uv_handle_t *)&listener->pipe, NULL);
    }
    (void)unlink(lock_path);        /* likewise */
    (void)close(listener->lock_fd); /* releases the lock; after the file is gone */
}
