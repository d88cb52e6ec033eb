/* SPDX-License-Identifier: MIT */
/*
 * keeper.c - the shell of policy.c: signals, packets, timers and deaths in, actions out
 *
 * A turn waits for what happens, tells the policy of each event, and then of the time. The policy
 * decides; the keeper does what it says and knows how: it starts, asks and kills the server, holds
 * the files of clients for the next one, and the programs that servers are made of. A former
 * program's file may be gone from the disk, but the keeper has it open.
 */
#include "daemon/keeper/keeper.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/inherited.h"
#include "daemon/keeper/child.h"
#include "daemon/keeper/fd_store.h"
#include "daemon/keeper/keeper_config.h"
#include "daemon/keeper/notify.h"
#include "daemon/keeper/policy.h"
#include "daemon/keeper/upgrade_check.h"
#include "daemon/log.h"
#include "daemon/notice.h"
#include "daemon/signals.h"
#include "proto/crash_point.h"
#include "proto/limits.h"
#include "proto/text.h"

/* 100, or a second: a fault passes within that, or never, and another server is to be started. */
#define UNHEARD_MAX 100

struct keeper {
    const struct options *options;
    char **argv;
    struct inherited_fds *files;
    struct socket_path *path;
    int signal_fd;
    struct policy policy;
    uint64_t alive_ms;     /* how often the service manager is told so; 0: never */
    uint64_t alive_due_ms; /* when next, on clock_ms() */
    char exe_path[4096];
    int exe_fd;    /* what the next server is made of */
    int former_fd; /* during an upgrade: what the last one was made of; -1 */
    struct child server;
    bool has_left; /* the server has closed its end of the control socket, and is yet to end */
    struct upgrade_check check;
    struct keeper_config config;
    uint32_t n_unheard; /* tries to hear what a server has left behind that failed */
    int server_status;  /* of the last server that ended, as waitpid() has it */
    int exit_status;
    struct log_limit faults_limit;
};

static uint64_t clock_ms(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time); /* can not fail */
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

/* ------------------------------------------------------------------- what the policy wants ---- */

/* Once in a keeper's life: clients are served. */
static void keeper_say_ready(const struct keeper *keeper)
{
    const struct options *options = keeper->options;
    char size[TEXT_BYTES_MAX];
    log_set_serving(true);
    (void)text_format_bytes(options->segment_bytes, size, sizeof(size)); /* its buffer */
    const int r = log_print("kmemd: segment \"%s\" (%s) ready on %s", options->name, size,
                            options->socket_path);
    if (r) {
        log_warning("the line that says we are ready can not be written: %s", strerror(-r));
    }
    notify_ready("Serving segment \"%s\" (%s) on %s", options->name, size, options->socket_path);
    KMEM_CRASH_POINT("keeper.ready");
    fd_store_put_segment(keeper->files);
}

static void keeper_say_crash(const struct keeper *keeper)
{
    char how[128];
    log_error("server %s%s%s; the next one goes on with the files",
              child_describe_end(keeper->server_status, how, sizeof(how)),
              keeper->policy.is_hung ? " by the watchdog" : "",
              keeper->policy.is_ready ? "" : " before it was ready");
}

static bool is_refusal(int status)
{
    return WIFEXITED(status) && WEXITSTATUS(status) == EXIT_STATE;
}

static void keeper_say_safe(const struct keeper *keeper)
{
    char why[64] = "the server refused the state of the segment";
    if (!is_refusal(keeper->server_status)) {
        (void)snprintf(why, sizeof(why), "%d servers crashed within a minute",
                       BACKOFF_CRASHES_MAX + 1); /* fits */
    }
    log_error("safe mode: %s. No server is started any more: nobody can join, and no request is "
              "answered; what clients have stays theirs. SIGHUP starts %s, SIGTERM ends it all",
              why, keeper->exe_path);
}

/* The configuration may have other times by now, and other users who may join. */
static void keeper_follow_config(struct keeper *keeper)
{
    socket_path_follow(keeper->path, keeper->options);
    policy_set_times(&keeper->policy, options_ping_ms(keeper->options),
                     options_step_ms(keeper->options), clock_ms());
}

static void keeper_keep_program(struct keeper *keeper)
{
    (void)close(keeper->former_fd); /* only executed */
    keeper->former_fd = -1;
    log_info("upgraded: %s serves now", keeper->exe_path);
    keeper_config_keep(&keeper->config);
    keeper_follow_config(keeper);
}

static void keeper_undo_program(struct keeper *keeper)
{
    char how[128];
    log_error("the new server %s before it was ready: the former one goes on",
              child_describe_end(keeper->server_status, how, sizeof(how)));
    (void)close(keeper->exe_fd); /* only executed */
    keeper->exe_fd = keeper->former_fd;
    keeper->former_fd = -1;
    keeper_config_undo(&keeper->config);
}

/* A server that is told to go has nothing else to do: it is killed if it can not be told. */
static void keeper_tell_server(const struct keeper *keeper, enum control_kind kind)
{
    const int r = control_send(keeper->server.control_fd, kind, 0, NULL, 0, 0);
    if (r && kind == CONTROL_PING) {
        log_debug("the server does not listen"); /* the watchdog, or its end, will tell why */
    } else if (r) {
        log_error("the server can not be told to end, and is killed: %s", strerror(-r));
        child_kill(&keeper->server);
    }
}

static void keeper_renew_path(struct keeper *keeper, bool may_make_directory)
{
    const int fd = socket_path_renew(keeper->path, may_make_directory);
    if (fd < 0) {
        return;
    }
    (void)close(keeper->files->listener_fd); /* no client can reach it */
    keeper->files->listener_fd = fd;
    fd_store_replace_listener(keeper->files);
    if (keeper->server.pid != 0 &&
        control_send(keeper->server.control_fd, CONTROL_LISTENER, 0, &fd, 1, 0)) {
        log_error("the server can not be given the new socket: it is started anew");
        child_kill(&keeper->server);
    }
}

/* Carries out what the policy wants for an event. Return: that; the caller does the rest of it. */
static uint32_t keeper_step(struct keeper *keeper, enum policy_event event)
{
    const uint32_t actions = policy_step(&keeper->policy, event, clock_ms());
    if (actions & POLICY_SAY_CRASH) {
        keeper_say_crash(keeper);
    }
    if (actions & POLICY_SAY_NO_SERVER) {
        notify_ready("No server yet on the segment \"%s\" that was kept", keeper->options->name);
    }
    if (actions & POLICY_SAY_SAFE) {
        keeper_say_safe(keeper);
    }
    if (actions & POLICY_UNDO_PROGRAM) {
        keeper_undo_program(keeper);
    }
    if (actions & POLICY_KEEP_PROGRAM) {
        keeper_keep_program(keeper);
    }
    if (actions & POLICY_SAY_READY) {
        keeper_say_ready(keeper);
    }
    if (actions & POLICY_PING) {
        keeper_tell_server(keeper, CONTROL_PING);
    }
    if (actions & POLICY_KILL_SILENT) {
        log_error("the server has not answered for %llu ms: it is replaced",
                  (unsigned long long)keeper->options->watchdog_ms);
        child_kill(&keeper->server);
    }
    if (actions & POLICY_KILL_LATE) {
        log_error("the server takes too long: it is killed");
        child_kill(&keeper->server);
    }
    if (actions & POLICY_KILL_CHECK) {
        log_error("SIGHUP: %s takes too long to look at the state: it is killed", keeper->exe_path);
        child_kill(&keeper->check.child);
    }
    if (actions & POLICY_RENEW_PATH) {
        keeper_renew_path(keeper, true);
    }
    if (actions & POLICY_ORDER_LEAVE) {
        keeper_tell_server(keeper, CONTROL_LEAVE);
    }
    if (actions & POLICY_ORDER_END) {
        keeper_tell_server(keeper, CONTROL_END);
    }
    return actions;
}

/* A transient fault: the system refuses just now. The keeper gives up no served segment for it. */
static void keeper_fault(struct keeper *keeper, const char *what, int error)
{
    static const struct timespec pause = {.tv_nsec = POLICY_FAULT_PAUSE_MS * 1000000L};
    if (log_limit_pass(&keeper->faults_limit, 1, clock_ms())) {
        log_error("cannot %s: %s%s; trying again", what, strerror(error), inherited_explain(error));
    }
    (void)nanosleep(&pause, NULL); /* shorter if a signal comes */
    if (keeper_step(keeper, POLICY_FAULT) & POLICY_GIVE_UP) {
        log_error("cannot start: cannot %s: %s%s", what, strerror(error), inherited_explain(error));
        keeper->exit_status = EXIT_SYSTEM;
    }
}

/* ------------------------------------------------------------------------------ the server ---- */

static void keeper_start_server(struct keeper *keeper)
{
    KMEM_ASSERT(keeper->server.pid == 0);
    const int r = child_start(keeper->exe_fd, keeper->argv, keeper->files,
                              &keeper->files->control_fd, &keeper->server);
    if (r) {
        (void)keeper_step(keeper, POLICY_UNSTARTED); /* all is done */
        keeper_fault(keeper, "start a server", -r);
        return;
    }
    keeper->has_left = false;
    KMEM_CRASH_POINT("keeper.server.started");
    (void)keeper_step(keeper, POLICY_STARTED); /* all is done */
    log_debug("server %d is started", (int)keeper->server.pid);
}

/* Return: whether the keeper has taken the descriptors. */
static bool keeper_keep_client(const struct keeper *keeper, const struct control_message *message)
{
    if (message->slot >= CLIENTS_MAX || message->n_fds < 2) {
        return false;
    }
    if (inherited_fds_has(keeper->files, message->slot)) {
        fd_store_remove_client(message->slot); /* the server could not say that it ended */
    }
    inherited_fds_keep(keeper->files, message->slot, message->fds);
    KMEM_CRASH_POINT("keeper.kept");
    fd_store_put_client(keeper->files, message->slot);
    return true;
}

static void keeper_drop_client(const struct keeper *keeper, uint32_t slot)
{
    if (slot < CLIENTS_MAX && inherited_fds_has(keeper->files, slot)) {
        KMEM_CRASH_POINT("keeper.dropping");
        fd_store_remove_client(slot);
        KMEM_CRASH_POINT("keeper.dropped");
        inherited_fds_drop(keeper->files, slot);
    }
}

static void keeper_take_message(struct keeper *keeper, const struct control_message *message)
{
    if (message->kind == CONTROL_READY || message->kind == CONTROL_ALIVE) {
        (void)keeper_step(keeper, message->kind == CONTROL_READY ? POLICY_READY : POLICY_HEARTBEAT);
    } else if (message->kind == CONTROL_DROP) {
        keeper_drop_client(keeper, message->slot);
    } else if (message->kind == CONTROL_CONFIG && message->n_fds == 1) {
        keeper_config_accept(&keeper->config, message->fds[0]);
        keeper_follow_config(keeper);
        return;
    } else if (message->kind == CONTROL_KEEP && keeper_keep_client(keeper, message)) {
        return;
    }
    control_close_fds(message);
}

/* Takes all that the server has said. Return: why it stopped, as control_receive() says it. */
static int keeper_hear_server(struct keeper *keeper)
{
    struct control_message message;
    int r = control_receive(keeper->server.control_fd, &message);
    while (r == 0) {
        keeper_take_message(keeper, &message);
        r = control_receive(keeper->server.control_fd, &message);
    }
    if (r == -EPROTO) {
        log_error("the server speaks another version than its keeper, or RLIMIT_NOFILE is too low "
                  "for its clients: start kmemd anew");
        child_kill(&keeper->server);
    } else if (r != -EAGAIN && r != -EPIPE) {
        keeper_fault(keeper, "hear the server", -r); /* what it says stays until it is heard */
    }
    return r;
}

/* What a dead server has said is lost with its socket. Return: whether the keeper has heard all. */
static bool keeper_has_heard(struct keeper *keeper)
{
    const int r = keeper_hear_server(keeper);
    if (r == -EPIPE || r == -EAGAIN) {
        return true;
    }
    keeper->n_unheard += r != -EPROTO; /* that one is heard, and there may be more */
    if (keeper->n_unheard > UNHEARD_MAX) {
        log_error("what the server has said last can not be heard: %s", strerror(-r));
    }
    return keeper->n_unheard > UNHEARD_MAX;
}

static enum policy_event keeper_death(int status)
{
    if (WIFEXITED(status)) {
        return is_refusal(status) ? POLICY_REFUSED : POLICY_EXITED;
    }
    return WTERMSIG(status) == SIGKILL ? POLICY_KILLED : POLICY_CRASHED;
}

static void keeper_reap_server(struct keeper *keeper)
{
    if (!keeper_has_heard(keeper)) {
        return; /* until the next turn */
    }
    keeper->n_unheard = 0;
    const int status = child_wait(&keeper->server);
    KMEM_CRASH_POINT("keeper.server.reaped");
    keeper->server_status = status;
    if (keeper_step(keeper, keeper_death(status)) & POLICY_GIVE_UP) {
        keeper->exit_status =
            WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status) : EXIT_SYSTEM;
    }
    if (keeper->policy.end != POLICY_GOES_ON && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        char how[128];
        log_warning("the last server %s: what clients held is not in this log",
                    child_describe_end(status, how, sizeof(how)));
    }
}

/* ------------------------------------------------------------------------ signals and time ---- */

static void keeper_end_check(struct keeper *keeper)
{
    const bool is_wanted = keeper->policy.end == POLICY_GOES_ON;
    const int fd = upgrade_check_end(&keeper->check, keeper->exe_path, is_wanted);
    if (fd >= 0) {
        log_info("SIGHUP: %s takes over", keeper->exe_path);
        KMEM_CRASH_POINT("keeper.upgrading");
        keeper->former_fd = keeper->exe_fd;
        keeper->exe_fd = fd;
        keeper_config_offer(&keeper->config);
    } else {
        keeper_config_drop(&keeper->config);
    }
    (void)keeper_step(keeper, fd >= 0 ? POLICY_CHECK_PASSED : POLICY_CHECK_FAILED); /* all done */
}

static void keeper_upgrade(struct keeper *keeper)
{
    const struct options *options = keeper->options;
    log_info("SIGHUP: program and configuration files are read anew, the command line is not: what "
             "is other in a unit by now is applied by a restart (kmemd --compare says what)");
    if (options->waiting_bytes > 0) {
        char waits[TEXT_BYTES_MAX];
        log_warning("SIGHUP: --size is not applied: %s wait for a start of kmemd when no client "
                    "lives in the segment",
                    text_format_bytes(options->waiting_bytes, waits, sizeof(waits)));
    }
    keeper_renew_path(keeper, true);
    if (!(keeper_step(keeper, POLICY_UPGRADE_ASKED) & POLICY_START_CHECK)) {
        log_warning("SIGHUP: an upgrade is under way already");
    } else if (!keeper_config_read(&keeper->config) ||
               !upgrade_check_start(&keeper->check, keeper->exe_path, keeper->argv, keeper->files,
                                    keeper->config.read_fd)) {
        keeper_config_drop(&keeper->config);
        (void)keeper_step(keeper, POLICY_CHECK_FAILED); /* nothing is changed */
    }
}

static void keeper_take_signal(struct keeper *keeper)
{
    const int number = signals_take(keeper->signal_fd);
    const bool is_ending = keeper->policy.end != POLICY_GOES_ON;
    if (number == SIGHUP && !is_ending) {
        keeper_upgrade(keeper);
    } else if (number == SIGTERM || number == SIGINT) {
        log_info("%s: ending", number == SIGTERM ? "SIGTERM" : "SIGINT");
        if (!is_ending) {
            notify_stopping();
            child_kill(&keeper->check.child);
        }
        (void)keeper_step(keeper, POLICY_END_ASKED); /* all is done */
    }
}

/* A keeper that hangs is killed by the service manager, and the next one goes on with the files. */
static void keeper_say_alive(struct keeper *keeper)
{
    const uint64_t now_ms = clock_ms();
    if (keeper->alive_ms > 0 && now_ms >= keeper->alive_due_ms) {
        notify_alive();
        keeper->alive_due_ms = now_ms + keeper->alive_ms;
    }
}

/* How long nothing has to be done, for poll(). */
static int keeper_patience_ms(const struct keeper *keeper)
{
    uint64_t due_ms = policy_due_ms(&keeper->policy);
    const uint64_t now_ms = clock_ms();
    if (keeper->alive_ms > 0 && keeper->alive_due_ms < due_ms) {
        due_ms = keeper->alive_due_ms;
    }
    if (due_ms == POLICY_NEVER) {
        return -1;
    }
    return due_ms <= now_ms ? 0 : (int)(due_ms - now_ms);
}

/* The keeper hears what a server says of files before it takes note of the server's end. */
static void keeper_turn(struct keeper *keeper)
{
    enum { SIGNAL, PATH, SAID, ENDED, CHECKED, N };
    struct pollfd fds[N] = {
        {.fd = keeper->signal_fd, .events = POLLIN},
        {.fd = keeper->path->watch_fd, .events = POLLIN},
        /* A closed end is always readable: a server may take long from there to its death. */
        {.fd = keeper->has_left ? -1 : keeper->server.control_fd, .events = POLLIN},
        {.fd = keeper->server.pidfd, .events = POLLIN},
        {.fd = keeper->check.child.pidfd, .events = POLLIN},
    };
    if (poll(fds, N, keeper_patience_ms(keeper)) < 0 && errno != EINTR) {
        keeper_fault(keeper, "wait", errno);
    }
    if (fds[SAID].revents & POLLIN) {
        /* What is left to hear is told by the next poll(), or heard when the server is reaped. */
        keeper->has_left = keeper_hear_server(keeper) == -EPIPE;
    }
    if (fds[ENDED].revents) {
        keeper_reap_server(keeper);
    }
    if (fds[CHECKED].revents) {
        keeper_end_check(keeper);
    }
    if (fds[PATH].revents && keeper->policy.end == POLICY_GOES_ON) {
        keeper_renew_path(keeper, false);
    }
    if (fds[SIGNAL].revents) {
        keeper_take_signal(keeper);
    }
    log_retry();
    if (keeper_step(keeper, POLICY_TIME_PASSED) & POLICY_START) {
        keeper_start_server(keeper);
    }
    keeper_say_alive(keeper);
    child_reap_others(&keeper->server, &keeper->check.child);
}

/* No server runs any more. What is told now is found when the next one, if any, has come. */
static void keeper_end(struct keeper *keeper)
{
    const enum policy_end end = keeper->policy.end;
    KMEM_CRASH_POINT("keeper.ending");
    if (end == POLICY_SUSPENDS) {
        notice_write(keeper->files->clock_fd, NOTICE_SUSPENDED);
        log_info("the segment is left to the service manager: a restart goes on with it");
    } else if (end == POLICY_ENDS) {
        notice_write(keeper->files->clock_fd, NOTICE_ENDED);
        fd_store_empty(keeper->files); /* else the next keeper would get them */
    }
    if (end == POLICY_SUSPENDS && notify_has_fd_store()) {
        socket_path_leave(keeper->path); /* clients that connect wait for the next keeper */
    } else {
        socket_path_release(keeper->path);
    }
}

int keeper_run(struct options *options, char **argv, struct inherited_fds *files,
               struct socket_path *path, bool is_kept, int signal_fd)
{
    struct keeper keeper = {
        .options = options,
        .argv = argv,
        .files = files,
        .path = path,
        .signal_fd = signal_fd,
        .alive_ms = notify_alive_ms(),
        .former_fd = -1,
        .server = CHILD_NONE,
        .check = UPGRADE_CHECK_NONE,
    };
    keeper.exe_fd = upgrade_check_self(keeper.exe_path, sizeof(keeper.exe_path));
    const int r = keeper.exe_fd < 0 ? keeper.exe_fd : notice_hold(files->clock_fd);
    if (r) {
        log_error("cannot start: %s", strerror(-r));
        socket_path_release(path);
        return EXIT_SYSTEM;
    }
    keeper_config_init(&keeper.config, options, argv, &files->config_fd);
    (void)socket_path_watch(path); /* said in the log if it can not be */
    const struct policy_facts facts = {
        .ping_ms = options_ping_ms(options),
        .step_ms = options_step_ms(options),
        .is_kept = is_kept,
        .has_manager = notify_is_asked(),
    };
    policy_init(&keeper.policy, &facts, clock_ms());
    while (keeper.policy.state != POLICY_DONE) {
        keeper_turn(&keeper);
    }
    upgrade_check_drop(&keeper.check);
    keeper_config_drop(&keeper.config);
    keeper_end(&keeper);
    return keeper.exit_status;
}
