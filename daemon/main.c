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
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/keeper/socket_path.h"
#include "daemon/compare.h"
#include "daemon/server/descriptors.h"
#include "daemon/inherited_fds.h"
#include "daemon/inherited.h"
#include "daemon/keeper/keeper.h"
#include "daemon/log.h"
#include "daemon/options.h"
#include "daemon/segment_files.h"
#include "daemon/server/server.h"
#include "daemon/server/takeover.h"
#include "daemon/signals.h"
#include "daemon/core/users.h"
#include "proto/crash_point.h"

/*
 * A keeper's own listener is kept beside a socket unit's if that one's file was removed, and the
 * keeper has made another: then its own is what clients reach.
 */
static bool is_activated(const struct inherited_fds *files)
{
    struct stat own;
    struct stat activated;
    return files->activated_fd >= 0 &&
           (files->listener_fd < 0 ||
            (fstat(files->listener_fd, &own) == 0 && fstat(files->activated_fd, &activated) == 0 &&
             own.st_dev == activated.st_dev && own.st_ino == activated.st_ino));
}

static int path_listen(struct socket_path *held, struct inherited_fds *files)
{
    if (is_activated(files)) {
        if (files->listener_fd >= 0) {
            (void)close(files->listener_fd); /* the same socket */
        }
        const int fd = files->activated_fd;
        files->activated_fd = -1;
        return socket_path_activate(held, fd);
    }
    return files->listener_fd >= 0 ? socket_path_adopt(held, files->listener_fd)
                                   : socket_path_listen(held);
}

/* Takes the path. Return: 0 or a negative errno, which is logged, and nothing is left behind. */
static int path_open(struct socket_path *held, const struct options *options,
                     struct inherited_fds *files)
{
    int r = socket_path_take(held, options);
    if (r) {
        return r;
    }
    r = path_listen(held, files);
    files->listener_fd = r;
    if (r < 0) {
        socket_path_release(held);
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
    const bool kept = segment_files_are_kept(files, options);
    struct socket_path held;
    int r = path_open(&held, options, files);
    if (r) {
        return r == -EACCES || r == -EPERM ? EXIT_DENIED : EXIT_CANT_CREATE;
    }
    KMEM_CRASH_POINT("keeper.listening");
    r = kept ? segment_files_adopt(files, options) : segment_files_make(files, options, signal_fd);
    KMEM_CRASH_POINT("keeper.files.made");
    if (r) {
        socket_path_release(&held);
        return r == -ECANCELED ? 0 : r;
    }
    return keeper_run(options, argv, files, &held, kept, signal_fd);
}

/* The process that was started. */
static int keeper_main(struct options *options, char **argv, struct inherited_fds *files)
{
    const int r = segment_files_check_limits(options);
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
    const int r = files->segment_fd >= 0 ? segment_files_adopt_size(files, options) : 0;
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
    log_set_segment(options.name);
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
