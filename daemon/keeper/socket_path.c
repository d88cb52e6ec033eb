/* SPDX-License-Identifier: MIT */
/*
 * socket_path.c - one daemon to a path
 *
 * The socket's file alone can not say whether a daemon is behind it, and connecting to find out
 * races with others that do the same. A lock on a file beside it can: flock() goes with the
 * process. A daemon that takes the lock compares the file it has opened with the one that is at the
 * path, and starts again if they differ. Something that cleans up may remove the lock all the same;
 * so a socket at the path is asked before it is replaced: one that takes connections is alive.
 *
 * The keeper makes again what is removed: the socket, the lock, the directory. It looks when
 * something happens in the directory, on SIGHUP, and now and then, since nothing tells it of a
 * directory that was made anew.
 *
 * A service manager may make the socket itself, and start the daemon at the first connection. Then
 * its file is that manager's: it has to be at the path, and stays there when the keeper ends. One
 * that is removed all the same is made again as the keeper's own.
 */
#include "daemon/keeper/socket_path.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "daemon/log.h"

/* 511: a crash restarts many clients at once; the kernel caps it at net.core.somaxconn. */
#define BACKLOG 511
/* What can make the file at the path another one. */
#define WATCHED                                                                                    \
    (IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF |            \
     IN_MOVE_SELF)
/* An hour of looks: what cleans up by age waits for days. */
#define LOOKS_A_TOUCH 360

static void path_directory(const struct socket_path *held, char *ret_directory)
{
    char copy[SOCKET_PATH_MAX_BYTES + 1];
    memcpy(copy, held->path, sizeof(copy));
    (void)snprintf(ret_directory, sizeof(copy), "%s", dirname(copy)); /* fits */
}

/* Logs what the system refused. Return: its negative errno. */
static int path_fault(const char *what, const char *path)
{
    const int error = errno;
    log_error("cannot %s %s: %s", what, path, strerror(error));
    return -error;
}

/* Whether only root and this user can replace the socket. */
static int directory_check(const char *directory, const struct stat *status)
{
    const mode_t others_write = (status->st_mode & S_ISVTX) != 0 ? 0 : status->st_mode & 0022;
    if (status->st_uid != 0 && status->st_uid != geteuid()) {
        log_error("%s is user %u's, who may replace files in it: chown it to root or to kmemd's "
                  "user, or use --socket PATH",
                  directory, status->st_uid);
        return -EACCES;
    }
    if (others_write) {
        const bool everybody = others_write & S_IWOTH;
        log_error("%s may replace files in %s: chmod %s it, or use --socket PATH",
                  everybody ? "everybody" : "everybody in its group", directory,
                  everybody ? "go-w" : "g-w");
        return -EACCES;
    }
    return 0;
}

/* The directory, made if only its last part is missing; its owner alone may rename in it. */
static int directory_prepare(struct socket_path *held)
{
    char directory[SOCKET_PATH_MAX_BYTES + 1];
    path_directory(held, directory);
    if (mkdir(directory, 0750) == 0) {
        held->has_made_directory = true;
        const int r = socket_access_admit_directory(&held->access, directory);
        if (r) {
            return r;
        }
    } else if (errno != EEXIST) {
        const int error = errno;
        log_error("cannot make the directory %s: %s; make it, or use --socket PATH", directory,
                  strerror(error));
        return -error;
    }
    struct stat status;
    if (stat(directory, &status) < 0) {
        return path_fault("look at the directory", directory);
    }
    if (!S_ISDIR(status.st_mode)) {
        log_error("%s is not a directory", directory);
        return -ENOTDIR;
    }
    socket_access_warn(&held->access, directory, status.st_mode);
    return directory_check(directory, &status);
}

/* One try to hold the lock. Return: the descriptor; -EAGAIN: try again; -EEXIST: another's. */
static int lock_try(const char *path)
{
    const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return -errno;
    }
    (void)fchmod(fd, 0600); /* the umask may have cut it; fails if it is another user's */
    struct stat ours;
    struct stat there;
    int r = 0;
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        r = errno == EWOULDBLOCK ? -EEXIST : -errno;
    } else if (fstat(fd, &ours) < 0 || stat(path, &there) < 0 || ours.st_ino != there.st_ino ||
               ours.st_dev != there.st_dev) {
        r = -EAGAIN; /* its last holder has just removed it */
    }
    if (r) {
        (void)close(fd); /* another daemon's, or of no use */
        return r;
    }
    return fd;
}

/*
 * 1 s: a daemon that was killed a moment ago holds it until its last process has ended, some ms,
 * and a starter of the next one should not be refused for that. The starter of a second daemon for
 * one path hears of it a second later.
 */
#define LOCK_PATIENCE_MS 1000
#define LOCK_PAUSE_MS 10

/* Of the lock's path. */
#define LOCK_PATH_BYTES (SOCKET_PATH_MAX_BYTES + 8)

static const char *lock_path(const struct socket_path *held, char *buffer)
{
    (void)snprintf(buffer, LOCK_PATH_BYTES, "%s.lock", held->path); /* fits */
    return buffer;
}

/* Another user's in a directory like /tmp: it runs, or was killed. */
static void lock_explain(const char *path, int error)
{
    struct stat status;
    if (error == EACCES && lstat(path, &status) == 0 && status.st_uid != geteuid()) {
        log_error("cannot lock %s: it is user %u's, whose kmemd runs or was killed; remove it, or "
                  "use another --socket",
                  path, status.st_uid);
    } else {
        log_error("cannot lock %s: %s", path, strerror(error));
    }
}

static int lock_take(struct socket_path *held)
{
    static const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};
    char path[LOCK_PATH_BYTES];
    (void)lock_path(held, path); /* its buffer */
    int r = lock_try(path);
    for (int waited_ms = 0; (r == -EAGAIN || r == -EEXIST) && waited_ms < LOCK_PATIENCE_MS;
         waited_ms += LOCK_PAUSE_MS) {
        if (r == -EEXIST) {
            (void)nanosleep(&pause, NULL); /* shorter if a signal comes */
        }
        r = lock_try(path);
    }
    if (r == -EEXIST) {
        log_error("another kmemd serves %s already; use another --socket or --name", held->path);
    } else if (r < 0) {
        lock_explain(path, -r);
    }
    if (r < 0) {
        return r;
    }
    held->lock_fd = r;
    return 0;
}

static bool lock_is_held(const struct socket_path *held)
{
    char path[LOCK_PATH_BYTES];
    struct stat ours;
    struct stat there;
    return fstat(held->lock_fd, &ours) == 0 && lstat(lock_path(held, path), &there) == 0 &&
           ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

/* The lock file was removed. Return: whether another one is held in its place. */
static bool lock_renew(struct socket_path *held)
{
    char path[LOCK_PATH_BYTES];
    const int fd = lock_try(lock_path(held, path));
    if (fd >= 0) {
        (void)close(held->lock_fd); /* of a file that no process can open any more */
        held->lock_fd = fd;
    }
    return fd >= 0;
}

/* Whether something listens at the path. */
static bool socket_is_alive(const struct socket_path *held)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, held->path, strlen(held->path));
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* EAGAIN: too many wait already. EPROTOTYPE: it is alive, and no stream. */
    const bool is_alive =
        fd >= 0 && (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ||
                    errno == EAGAIN || errno == EPROTOTYPE);
    if (fd >= 0) {
        (void)close(fd); /* nothing was said */
    }
    return is_alive;
}

/* The server of a keeper that was killed ends a moment later, and listens until then. */
static bool socket_stays_alive(const struct socket_path *held)
{
    static const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};
    bool is_alive = socket_is_alive(held);
    for (int waited_ms = 0; is_alive && waited_ms < LOCK_PATIENCE_MS; waited_ms += LOCK_PAUSE_MS) {
        (void)nanosleep(&pause, NULL); /* shorter if a signal comes */
        is_alive = socket_is_alive(held);
    }
    return is_alive;
}

/* Removes what a dead daemon left at the path; nothing else. */
static int stale_remove(const struct socket_path *held)
{
    struct stat status;
    if (lstat(held->path, &status) < 0) {
        return errno == ENOENT ? 0 : path_fault("look at", held->path);
    }
    if (!S_ISSOCK(status.st_mode)) {
        log_error("%s is there and is not a socket; remove it, or use another --socket",
                  held->path);
        return -ENOTSOCK;
    }
    if (socket_stays_alive(held)) {
        log_error("something listens on %s, though its lock is not held: another kmemd, or what a "
                  "service manager keeps of one; end it, or use another --socket or --name",
                  held->path);
        return -EEXIST;
    }
    return unlink(held->path) < 0 ? path_fault("replace", held->path) : 0;
}

static int socket_bind(struct socket_path *held)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, held->path, strlen(held->path));
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    /* Born private: no client connects before the group is right. */
    const mode_t mask = umask(0177);
    int r = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    (void)umask(mask); /* returns the mask it replaces */
    const bool is_bound = r == 0;
    struct stat status = {.st_ino = 0};
    r = r ? r : socket_access_admit(&held->access, held->path);
    if (r == 0 && (listen(fd, BACKLOG) < 0 || lstat(held->path, &status) < 0)) {
        r = -errno;
    }
    if (r) {
        if (is_bound) {
            (void)unlink(held->path); /* no client could connect to it */
        }
        (void)close(fd); /* the first error is the one to report */
        return r;
    }
    held->device = status.st_dev;
    held->inode = status.st_ino;
    held->is_activated = false;
    return fd;
}

static bool path_is_held(const struct socket_path *held)
{
    struct stat status;
    return lstat(held->path, &status) == 0 && status.st_dev == held->device &&
           status.st_ino == held->inode;
}

/* Whether the path has a socket; that one is the daemon's from then on. */
static bool path_adopt(struct socket_path *held)
{
    struct stat status;
    if (lstat(held->path, &status) < 0 || !S_ISSOCK(status.st_mode)) {
        return false;
    }
    held->device = status.st_dev;
    held->inode = status.st_ino;
    return true;
}

int socket_path_take(struct socket_path *held, const struct options *options)
{
    *held = (struct socket_path){.lock_fd = -1, .watch_fd = -1};
    socket_access_note(&held->access, options);
    memcpy(held->path, options->socket_path, sizeof(held->path));
    const int r = directory_prepare(held);
    return r ? r : lock_take(held);
}

int socket_path_listen(struct socket_path *held)
{
    KMEM_ASSERT(held->lock_fd >= 0);
    int r = stale_remove(held);
    if (r) {
        return r;
    }
    r = socket_bind(held);
    if (r < 0) {
        log_error("cannot listen on %s: %s", held->path, strerror(-r));
    }
    return r;
}

/* Clients live behind it: what can not be done is said, and they go on. */
static void socket_open(const struct socket_path *held)
{
    const int r = socket_access_admit(&held->access, held->path);
    if (r) {
        log_error("cannot let all connect to %s who may join by now: %s; it should have group and "
                  "mode %#o",
                  held->path, strerror(-r), socket_access_mode(&held->access));
    }
}

int socket_path_adopt(struct socket_path *held, int listener_fd)
{
    if (!path_adopt(held)) {
        (void)close(listener_fd); /* no client can reach it */
        return socket_path_listen(held);
    }
    socket_open(held);
    return listener_fd;
}

void socket_path_follow(struct socket_path *held, const struct options *options)
{
    char directory[SOCKET_PATH_MAX_BYTES + 1];
    const struct socket_access before = held->access;
    socket_access_note(&held->access, options);
    if (held->access.is_open == before.is_open && held->access.has_group == before.has_group) {
        return;
    }
    path_directory(held, directory);
    struct stat status;
    if (held->has_made_directory) {
        (void)socket_access_admit_directory(&held->access, directory); /* said in the log */
    } else if (stat(directory, &status) == 0) {
        socket_access_warn(&held->access, directory, status.st_mode);
    }
    if (path_is_held(held)) {
        socket_open(held); /* else it is made again so */
    }
}

/* Whether the socket is bound to the path. */
static bool socket_is_at(const struct socket_path *held, int fd, char *ret_path)
{
    struct sockaddr_un address = {.sun_family = AF_UNSPEC};
    socklen_t num_bytes = sizeof(address);
    const int r = getsockname(fd, (struct sockaddr *)&address, &num_bytes);
    (void)snprintf(ret_path, SOCKET_PATH_MAX_BYTES + 1, "%.*s", (int)sizeof(address.sun_path),
                   r == 0 ? address.sun_path : ""); /* fits; an abstract one is "" */
    return strcmp(ret_path, held->path) == 0;
}

/* Makes it as one of the keeper's own: listen() again has clients see this process behind it. */
static int socket_activate(struct socket_path *held, int fd)
{
    const int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || listen(fd, BACKLOG) < 0) {
        return path_fault("listen on", held->path);
    }
    const int r = socket_access_admit(&held->access, held->path);
    if (r) {
        log_error("cannot give %s, which a socket unit has made, group and mode %#o: %s; have the "
                  "unit do it (SocketUser=, SocketGroup=, SocketMode=)",
                  held->path, socket_access_mode(&held->access), strerror(-r));
    }
    return r;
}

int socket_path_activate(struct socket_path *held, int activated_fd)
{
    char bound_to[SOCKET_PATH_MAX_BYTES + 1];
    int r = -EADDRNOTAVAIL;
    held->is_activated = true;
    if (!socket_is_at(held, activated_fd, bound_to)) {
        log_error("the socket unit listens on \"%s\", and --socket is %s: let both say the same",
                  bound_to, held->path);
    } else if (!path_adopt(held)) {
        log_error("%s was removed, and the socket unit that has made it listens still: restart "
                  "that unit",
                  held->path);
    } else {
        r = socket_activate(held, activated_fd);
    }
    if (r) {
        (void)close(activated_fd); /* the manager has it still */
    }
    return r ? r : activated_fd;
}

/* Watches the directory that is there now; asked again, it is the same watch. */
static int directory_watch(const struct socket_path *held)
{
    char directory[SOCKET_PATH_MAX_BYTES + 1];
    path_directory(held, directory);
    return held->watch_fd < 0 ? -1 : inotify_add_watch(held->watch_fd, directory, WATCHED);
}

int socket_path_watch(struct socket_path *held)
{
    held->watch_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (directory_watch(held) < 0) {
        log_warning("the directory of %s can not be watched: if somebody removes the socket it is "
                    "made again some seconds later",
                    held->path);
    }
    return held->watch_fd;
}

/* Forgets what has happened in the directory: what counts is what is there now. */
static void watch_drain(const struct socket_path *held)
{
    _Alignas(struct inotify_event) char events[4096];
    while (read(held->watch_fd, events, sizeof(events)) > 0) {
    }
}

/* Whether the directory is there, or is made. */
static bool directory_renew(struct socket_path *held, bool may_make_directory)
{
    char directory[SOCKET_PATH_MAX_BYTES + 1];
    struct stat status;
    path_directory(held, directory);
    if (stat(directory, &status) < 0 && (!may_make_directory || directory_prepare(held) < 0)) {
        return false;
    }
    (void)directory_watch(held); /* else it is looked at now and then */
    return true;
}

/* Says once what stands in the way. Return: -EEXIST. */
static int path_is_lost(struct socket_path *held, const char *what)
{
    if (!held->is_lost) {
        log_error("%s%s; until then no new client can connect", held->path, what);
    }
    held->is_lost = true;
    return -EEXIST;
}

/* All is as it should be. Now and then it is made young, for programs that clean up by age. */
static void path_touch(struct socket_path *held)
{
    held->is_lost = false;
    if (++held->n_looks % LOOKS_A_TOUCH == 0) {
        (void)futimens(held->lock_fd, NULL);            /* else it is made again */
        (void)utimensat(AT_FDCWD, held->path, NULL, 0); /* likewise */
    }
}

/* The path is free, and its lock held. */
static int socket_renew(struct socket_path *held)
{
    const int fd = socket_bind(held);
    if (fd < 0) {
        if (!held->is_lost) {
            log_error("%s can not be made again: %s; no new client can connect", held->path,
                      strerror(-fd));
        }
        held->is_lost = true;
        return fd;
    }
    held->is_lost = false;
    log_warning("%s was removed; it is there again", held->path);
    return fd;
}

int socket_path_renew(struct socket_path *held, bool may_make_directory)
{
    struct stat there;
    watch_drain(held);
    if (!directory_renew(held, may_make_directory)) {
        return path_is_lost(held, ": its directory was removed; it is made again soon");
    }
    if (!lock_is_held(held) && !lock_renew(held)) {
        return path_is_lost(held, ": its lock was removed, and another kmemd holds the one that "
                                  "is there; end that");
    }
    if (path_is_held(held)) {
        path_touch(held);
        return -EEXIST;
    }
    if (lstat(held->path, &there) == 0) {
        return path_is_lost(held, " is somebody else's now; remove it and this daemon will be "
                                  "back there");
    }
    return socket_renew(held);
}

void socket_path_leave(struct socket_path *held)
{
    if (held->watch_fd >= 0) {
        (void)close(held->watch_fd); /* only read */
    }
    if (lock_is_held(held)) {
        char path[LOCK_PATH_BYTES];
        (void)unlink(lock_path(held, path)); /* one that stays is taken at the next start */
    }
    (void)close(held->lock_fd); /* the last: it unlocks */
}

void socket_path_release(struct socket_path *held)
{
    if (!held->is_activated && path_is_held(held)) {
        (void)unlink(held->path); /* a socket left behind is replaced at the next start */
    }
    socket_path_leave(held);
}
