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
#include "daemon/backing.h"
#include "daemon/command_line.h"
#include "daemon/compare.h"
#include "daemon/config_kept.h"
#include "daemon/server/descriptors.h"
#include "daemon/inherited_fds.h"
#include "daemon/inherited.h"
#include "daemon/keeper/keeper.h"
#include "daemon/log.h"
#include "daemon/options.h"
#include "daemon/segment_files.h"
#include "daemon/server/server.h"
#include "daemon/server/takeover.h"
#include "daemon/show.h"
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

/* Servers are handed what is in force from here on. Return: 0 or the process's exit status. */
static int config_hold(struct config *config, const struct options *options,
                       struct inherited_fds *files)
{
    int r = config_kept_fix(config, options);
    r = r ? r : config_kept_open(config, options->name);
    if (r < 0) {
        log_error("cannot start: the configuration can not be kept: %s", strerror(-r));
        return EXIT_SYSTEM;
    }
    files->config_fd = r;
    return 0;
}

/* As long as the keeper lives. Return: 0 or the process's exit status. */
static int segment_lock(const struct options *options, int fd)
{
    char sentence[BACKING_SENTENCE_BYTES];
    const int r = backing_lock(fd, options, sentence);
    if (r) {
        log_error("segment \"%s\": %s", options->name, sentence);
    }
    return r ? EXIT_SYSTEM : 0;
}

/* Makes everything, and serves. Return: the process's exit status. */
static int keeper_begin(struct options *options, char **argv, struct config *config,
                        struct inherited_fds *files, int signal_fd)
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
    r = r ? r : segment_lock(options, files->segment_fd);
    r = r ? r : config_hold(config, options, files);
    if (r) {
        socket_path_release(&held);
        return r == -ECANCELED ? 0 : r;
    }
    return keeper_run(options, argv, files, &held, kept, signal_fd);
}

/* The process that was started. */
static int keeper_main(struct options *options, char **argv, struct config *config,
                       struct inherited_fds *files)
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
    const int exit_status = keeper_begin(options, argv, config, files, signal_fd);
    (void)close(signal_fd); /* the process ends */
    return exit_status;
}

/* The process that the keeper has started. */
static int server_main(const struct reload_source *source, struct inherited_fds *files,
                       const struct descriptors *descriptors)
{
    struct options *options = source->options;
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
                                : server_run(options, files, descriptors, source);
}

/*
 * A server gets from its keeper what is in force. Others read it: the keeper itself, and a server
 * whose keeper is of a version that hands over none. Return: 0 or a negative errno.
 */
static int config_take(struct config *config, int argc, char **argv,
                       const struct inherited_fds *files, struct complaints *complaints)
{
    const int r = files->config_fd >= 0 ? config_kept_read(files->config_fd, config) : 0;
    if (files->config_fd < 0 || r == -EPROTO) {
        config_fini(config);
        command_line_read_files(config, argc, argv, complaints);
        return 0;
    }
    return r;
}

/* What is inherited, and what is to be done. Return: 0 or the process's exit status. */
static int main_read(int argc, char **argv, struct inherited_fds *files, struct config *config,
                     struct options *options)
{
    int r = inherited_fds_init(files);
    r = r ? r : inherited_fds_take(files);
    if (r < 0) {
        log_error("cannot start: %s", r == -EPROTO ? "$LISTEN_FDS makes no sense" : strerror(-r));
        return EXIT_SYSTEM;
    }
    const bool is_child = files->control_fd >= 0 || files->check_fd >= 0;
    struct complaints complaints = {.say = is_child ? command_line_log : command_line_complain};
    r = config_take(config, argc, argv, files, &complaints);
    if (r) {
        log_error("cannot start: the configuration can not be read: %s", strerror(-r));
        return EXIT_SYSTEM;
    }
    command_line_parse(options, argc, argv, config, &complaints);
    return 0;
}

/* Keeper, server, or a program that says something and ends. Return: the exit status. */
static int main_run(struct options *options, int argc, char **argv, struct config *config,
                    struct inherited_fds *files)
{
    if (options->compare_pid != 0) {
        return compare_main(options);
    }
    if (options->check || options->dump) {
        return show_main(argc, argv);
    }
    const struct descriptors descriptors = descriptors_raise();
    if (descriptors.n_clients == 0) {
        log_error("RLIMIT_NOFILE is too low: %d descriptors are needed for one client, %d for %d",
                  DESCRIPTORS_RESERVED + CLIENT_DESCRIPTORS,
                  DESCRIPTORS_RESERVED + CLIENT_DESCRIPTORS * CLIENTS_MAX, CLIENTS_MAX);
        return EXIT_SYSTEM;
    }
    if (files->control_fd >= 0 || files->check_fd >= 0) {
        const struct reload_source source = {options, config, argc, argv};
        return server_main(&source, files, &descriptors);
    }
    if (descriptors.n_clients < CLIENTS_MAX) {
        log_info("RLIMIT_NOFILE suffices for %u clients; %d would do for %d", descriptors.n_clients,
                 DESCRIPTORS_RESERVED + CLIENT_DESCRIPTORS * CLIENTS_MAX, CLIENTS_MAX);
    }
    const bool was_given = files->segment_fd >= 0;
    const int exit_status = keeper_main(options, argv, config, files);
    return exit_status == EXIT_SYSTEM && was_given ? EXIT_TRY_AGAIN : exit_status;
}

int main(int argc, char **argv)
{
    struct options options;
    struct inherited_fds files;
    struct config config = {.n_files = 0};
    if (inherited_reset()) {
        return EXIT_SYSTEM; /* there is nothing to say it to */
    }
    inherited_raise();
    int exit_status = main_read(argc, argv, &files, &config, &options);
    if (exit_status == 0) {
        /* Others of this user can not open the state or ledgers through /proc, nor attach. */
        (void)prctl(PR_SET_DUMPABLE, options.debuggable ? 1 : 0); /* fails for other numbers only */
        log_set_level(options.log_level);
        log_set_segment(options.name);
        exit_status = main_run(&options, argc, argv, &config, &files);
    }
    config_fini(&config);
    inherited_fds_fini(&files);
    return exit_status;
}
