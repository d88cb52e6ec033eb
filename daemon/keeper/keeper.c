/* SPDX-License-Identifier: MIT */
/*
 * keeper.c - start, listen, start again
 *
 *      signal          while a server runs              while none does
 *      TERM, INT       it takes everything back, ends   the files are dropped
 *      with fd store   it leaves                        the files stay in the fd store
 *      HUP             upgrade, if the program on disk  the same
 *                      can go on with the state
 *
 * An end is told in the notice that clients map. Where a service manager has an fd store, SIGTERM
 * may be half a restart: the segment is suspended; the manager drops it or starts the next keeper.
 *
 * A server that dies is followed by the next at once; one that dies of itself again and again, ever
 * later, up to a second (backoff.c). After BACKOFF_CRASHES_MAX within a minute, or when a server
 * says that the state does not add up, the keeper gives up on servers but not on the files, "safe
 * mode": mappings and leases of clients stay what they are, and SIGHUP tries again.
 *
 * Who is killed with SIGKILL did not crash: it is not counted, and if it was ready it is followed
 * at once, however often that happens. What the watchdog kills is a crash.
 *
 * Upgrade: the program on disk is first run on the state with nothing to do but to say that it
 * fits. Then the server leaves, and the new one is started on the files. If that one ends before it
 * is ready the former program is started again: its file may be gone from the disk, but the keeper
 * has it open.
 *
 * The watchdog counts pings without an answer, not seconds: a machine that sleeps, or a keeper that
 * is stopped with its server, must not take that for a hang. A server that starts can not answer,
 * but sends a heartbeat after each piece of the work: so a recovery may take as long as it needs, and
 * the watchdog finds one that stands still as soon as any other hang.
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

#include "daemon/keeper/announce.h"
#include "daemon/keeper/backoff.h"
#include "daemon/keeper/upgrade_check.h"
#include "daemon/keeper/child.h"
#include "daemon/control.h"
#include "daemon/keeper/fd_store.h"
#include "daemon/inherited.h"
#include "daemon/log.h"
#include "daemon/notice.h"
#include "daemon/keeper/notify.h"
#include "daemon/signals.h"
#include "proto/crash_point.h"
#include "proto/limits.h"

/* 3 s without a word of the server's: service managers wait 10 at least before they kill all. */
#define END_PATIENCE_MS 3000
/* 10 s: three calls of stat(). Nothing tells of a directory that was made again. */
#define PATH_LOOK_MS 10000
/* 10 ms: a server's death is hardly noticed later, and the processor has something else to do. */
#define FAULT_PAUSE_MS 10
/* 100, or a second: a fault passes within that, or never, and another server is to be started. */
#define UNHEARD_MAX 100
/* 100, or some seconds: before the first server was ready somebody waits for it. */
#define FAULTS_MAX 100
#define NEVER UINT64_MAX

enum keeper_phase {
    KEEPER_RUNNING, /* a server runs */
    KEEPER_WAITING, /* one is to be started at restart_at_ms */
    KEEPER_SAFE,    /* none is */
};

struct keeper {
    const struct options *options;
    char **argv;
    struct inherited_fds *files;
    struct socket_path *path;
    char exe_path[4096];
    int exe_fd;    /* what the next server is made of */
    int former_fd; /* during an upgrade: what the last one was made of; -1 */
    int signal_fd;
    enum keeper_phase phase;
    struct child server;
    struct upgrade_check check;
    bool kept;       /* the segment was served before, by another keeper's server */
    bool ready;      /* the server is */
    bool ever_ready; /* one was */
    bool is_patient; /* the service manager was told that it is to wait for no server */
    bool leaving;    /* the server was told to leave: the next is another program */
    bool hung;       /* it did not answer, and was killed */
    bool ending;
    bool suspends; /* a service manager keeps the segment */
    bool done;
    int exit_status;
    uint32_t n_unanswered; /* pings */
    uint32_t n_unheard;    /* tries to hear what a server has left behind that failed */
    uint32_t n_starts;
    uint64_t started_at_ms;
    uint64_t restart_at_ms;
    uint64_t ping_at_ms;
    uint64_t kill_at_ms;     /* the server, if it is still there */
    uint64_t check_until_ms; /* the upgrade check is waited for */
    uint64_t path_at_ms;     /* the path is looked at */
    struct backoff backoff;
    uint32_t n_faults;
    struct log_limit faults_limit;
};

static uint64_t clock_ms(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC, &time); /* can not fail */
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

/* Whether no client can have anything in it. */
static bool keeper_is_empty(const struct keeper *keeper)
{
    return !keeper->kept && !keeper->ever_ready;
}

/* A service manager that waits in vain would end it all. */
static void keeper_is_patient(struct keeper *keeper)
{
    if (keeper->kept && !keeper->ever_ready && !keeper->is_patient) {
        keeper->is_patient = true;
        notify_ready("No server yet on the segment \"%s\" that was kept", keeper->options->name);
    }
}

/* A transient fault: the system refuses just now. The keeper gives up no served segment for it. */
static void keeper_fault(struct keeper *keeper, const char *what, int error)
{
    static const struct timespec pause = {.tv_nsec = FAULT_PAUSE_MS * 1000000L};
    if (log_limit_pass(&keeper->faults_limit, 1, clock_ms())) {
        log_error("cannot %s: %s%s; trying again", what, strerror(error), inherited_explain(error));
    }
    (void)nanosleep(&pause, NULL); /* shorter if a signal comes */
    keeper->n_faults++;
    keeper_is_patient(keeper);
    if (keeper_is_empty(keeper) && keeper->n_faults > FAULTS_MAX) {
        log_error("cannot start: cannot %s: %s%s", what, strerror(error), inherited_explain(error));
        keeper->done = true;
        keeper->exit_status = EXIT_SYSTEM;
    }
}

/* ------------------------------------------------------------------------------ the server ---- */

static void ping_later(struct keeper *keeper, uint64_t now_ms)
{
    const uint64_t every_ms = options_ping_ms(keeper->options);
    keeper->ping_at_ms = every_ms > 0 ? now_ms + every_ms : NEVER;
}

static void server_start(struct keeper *keeper)
{
    const uint64_t now_ms = clock_ms();
    const int r = child_start(keeper->exe_fd, keeper->argv, keeper->files,
                              &keeper->files->control_fd, &keeper->server);
    if (r) {
        keeper->phase = KEEPER_WAITING;
        keeper->restart_at_ms =
            now_ms + (keeper_is_empty(keeper) ? FAULT_PAUSE_MS : BACKOFF_LAST_MS);
        keeper_fault(keeper, "start a server", -r);
        return;
    }
    KMEM_CRASH_POINT("keeper.server.started");
    keeper->n_starts++;
    keeper->phase = KEEPER_RUNNING;
    keeper->ready = false;
    keeper->hung = false;
    keeper->leaving = false;
    keeper->n_unanswered = 0;
    keeper->started_at_ms = now_ms;
    keeper->kill_at_ms = NEVER;
    ping_later(keeper, now_ms);
    log_debug("server %d is started", (int)keeper->server.pid);
}

static void server_ready(struct keeper *keeper)
{
    keeper->ready = true;
    keeper->n_unanswered = 0;
    backoff_ready(&keeper->backoff);
    if (keeper->former_fd >= 0) {
        (void)close(keeper->former_fd); /* only executed */
        keeper->former_fd = -1;
        log_info("upgraded: %s serves now", keeper->exe_path);
    }
    if (keeper->ever_ready) {
        return;
    }
    keeper->ever_ready = true;
    announce_ready(keeper->options);
    KMEM_CRASH_POINT("keeper.ready");
    fd_store_put_segment(keeper->files);
}

static void server_message(struct keeper *keeper, const struct control_message *message)
{
    const bool is_slot = message->slot < CLIENTS_MAX;
    switch (message->kind) {
    case CONTROL_READY:
        server_ready(keeper);
        break;
    case CONTROL_ALIVE:
        keeper->n_unanswered = 0;
        if (keeper->ending && !keeper->suspends) {
            keeper->kill_at_ms = clock_ms() + END_PATIENCE_MS;
        }
        break;
    case CONTROL_KEEP:
        if (is_slot && message->n_fds >= 2) {
            if (inherited_fds_has(keeper->files, message->slot)) {
                fd_store_remove_client(message->slot); /* the server could not say that it ended */
            }
            inherited_fds_keep(keeper->files, message->slot, message->fds);
            KMEM_CRASH_POINT("keeper.kept");
            fd_store_put_client(keeper->files, message->slot);
            return;
        }
        break;
    case CONTROL_DROP:
        if (is_slot && inherited_fds_has(keeper->files, message->slot)) {
            KMEM_CRASH_POINT("keeper.dropping");
            fd_store_remove_client(message->slot);
            KMEM_CRASH_POINT("keeper.dropped");
            inherited_fds_drop(keeper->files, message->slot);
        }
        break;
    default:
        break;
    }
    control_close_fds(message);
}

/* Reads all that the server has said. Return: why it stopped, as control_receive() says it. */
static int server_listen(struct keeper *keeper)
{
    struct control_message message;
    int r = control_receive(keeper->server.control_fd, &message);
    while (r == 0) {
        server_message(keeper, &message);
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

/* What it has left behind is lost with its socket. Return: whether all of it is heard. */
static bool server_is_heard(struct keeper *keeper)
{
    const int r = server_listen(keeper);
    if (r == -EPIPE || r == -EAGAIN) {
        return true;
    }
    keeper->n_unheard += r != -EPROTO; /* that one is heard, and there may be more */
    if (keeper->n_unheard > UNHEARD_MAX) {
        log_error("what the server has said last can not be heard: %s", strerror(-r));
    }
    return keeper->n_unheard > UNHEARD_MAX;
}

static void server_tell(const struct keeper *keeper, enum control_kind kind)
{
    if (control_send(keeper->server.control_fd, kind, 0, NULL, 0, 0)) {
        log_debug("the server does not listen"); /* the watchdog, or its end, will tell why */
    }
}

/* What it must hear, because it has nothing else to do: it is killed if it can not be told. */
static void server_order(const struct keeper *keeper, enum control_kind kind)
{
    const int r = control_send(keeper->server.control_fd, kind, 0, NULL, 0, 0);
    if (r) {
        log_error("the server can not be told to end, and is killed: %s", strerror(-r));
        child_kill(&keeper->server);
    }
}

static void safe_mode(struct keeper *keeper, const char *why)
{
    keeper->phase = KEEPER_SAFE;
    announce_safe_mode(why, keeper->exe_path);
}

static void server_crashed(struct keeper *keeper, int status)
{
    char how[128];
    const uint64_t now_ms = clock_ms();
    const bool by_others = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && !keeper->hung;
    uint64_t pause_ms = 0;
    log_error("server %s%s%s; the next one goes on with the files",
              child_describe_end(status, how, sizeof(how)), keeper->hung ? " by the watchdog" : "",
              keeper->ready ? "" : " before it was ready");
    keeper->phase = KEEPER_WAITING;
    keeper_is_patient(keeper);
    if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_STATE) {
        safe_mode(keeper, "the server refused the state of the segment");
    } else if (by_others) {
        pause_ms = backoff_killed(&keeper->backoff, keeper->ready);
    } else if (backoff_crashed(&keeper->backoff, now_ms, now_ms - keeper->started_at_ms,
                               &pause_ms)) {
        char why[64];
        (void)snprintf(why, sizeof(why), "%d servers crashed within a minute",
                       BACKOFF_CRASHES_MAX + 1); /* fits */
        safe_mode(keeper, why);
    }
    keeper->restart_at_ms = now_ms + pause_ms;
}

/* The new program did not get as far as to serve. */
static void upgrade_undo(struct keeper *keeper, int status)
{
    char how[128];
    log_error("the new server %s before it was ready: the former one goes on",
              child_describe_end(status, how, sizeof(how)));
    (void)close(keeper->exe_fd); /* only executed */
    keeper->exe_fd = keeper->former_fd;
    keeper->former_fd = -1;
    server_start(keeper);
}

/* Whether there is no other to be started: it has said why, and nothing can be lost by that. */
static bool server_was_last(const struct keeper *keeper, int status)
{
    if (keeper_is_empty(keeper)) {
        return WIFEXITED(status) || keeper->n_starts > BACKOFF_CRASHES_MAX;
    }
    /* Who kept it has it for the program, or the size, that it is of. */
    return !keeper->ever_ready && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_STATE;
}

static void server_ended(struct keeper *keeper)
{
    if (!server_is_heard(keeper)) {
        return; /* until the next turn */
    }
    keeper->n_unheard = 0;
    const bool was_leaving = keeper->leaving;
    const int status = child_wait(&keeper->server);
    KMEM_CRASH_POINT("keeper.server.reaped");
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_SYSTEM;
    keeper->kill_at_ms = NEVER;
    keeper->ping_at_ms = NEVER;
    if (keeper->ending) {
        keeper->done = true;
        announce_last_end(status);
    } else if (was_leaving) {
        server_start(keeper);
    } else if (keeper->former_fd >= 0) {
        upgrade_undo(keeper, status);
    } else if (server_was_last(keeper, status)) {
        keeper->done = true;
        keeper->exit_status = code != 0 ? code : EXIT_SYSTEM;
    } else {
        server_crashed(keeper, status);
    }
}

/* -------------------------------------------------------------------------------- upgrade ----- */

static void upgrade_begin(struct keeper *keeper)
{
    if (keeper->check.child.pid != 0 || keeper->former_fd >= 0) {
        log_warning("SIGHUP: an upgrade is under way already");
    } else if (upgrade_check_start(&keeper->check, keeper->exe_path, keeper->argv, keeper->files)) {
        keeper->check_until_ms = clock_ms() + options_step_ms(keeper->options);
    }
}

static void check_ended(struct keeper *keeper)
{
    const int fd = upgrade_check_end(&keeper->check, keeper->exe_path, !keeper->ending);
    keeper->check_until_ms = NEVER;
    if (fd < 0) {
        return;
    }
    log_info("SIGHUP: %s takes over", keeper->exe_path);
    KMEM_CRASH_POINT("keeper.upgrading");
    keeper->former_fd = keeper->exe_fd;
    keeper->exe_fd = fd;
    backoff_forget(&keeper->backoff);
    if (keeper->phase == KEEPER_RUNNING) {
        keeper->leaving = true;
        keeper->kill_at_ms = clock_ms() + options_step_ms(keeper->options);
        server_order(keeper, CONTROL_LEAVE);
    } else {
        server_start(keeper);
    }
}

/* ------------------------------------------------------------------------ signals and time ---- */

static void end_begin(struct keeper *keeper)
{
    if (keeper->ending) {
        return;
    }
    keeper->ending = true;
    keeper->suspends = notify_is_asked() && !keeper_is_empty(keeper);
    notify_stopping();
    child_kill(&keeper->check.child);
    if (keeper->phase != KEEPER_RUNNING) {
        keeper->done = true;
        return;
    }
    keeper->kill_at_ms = clock_ms() + END_PATIENCE_MS;
    keeper->ping_at_ms = NEVER;
    server_order(keeper, keeper->suspends ? CONTROL_LEAVE : CONTROL_END);
}

static void path_look(struct keeper *keeper, bool may_make_directory)
{
    const int fd = socket_path_renew(keeper->path, may_make_directory);
    if (fd < 0) {
        return;
    }
    (void)close(keeper->files->listener_fd); /* nobody can reach it */
    keeper->files->listener_fd = fd;
    fd_store_replace_listener(keeper->files);
    if (keeper->phase == KEEPER_RUNNING &&
        control_send(keeper->server.control_fd, CONTROL_LISTENER, 0, &fd, 1, 0)) {
        log_error("the server can not be given the new socket: it is started anew");
        child_kill(&keeper->server);
    }
}

static void signal_take(struct keeper *keeper)
{
    const int number = signals_take(keeper->signal_fd);
    if (number == SIGHUP && !keeper->ending) {
        announce_options(keeper->options);
        path_look(keeper, true);
        upgrade_begin(keeper);
    } else if (number == SIGTERM || number == SIGINT) {
        log_info("%s: ending", number == SIGTERM ? "SIGTERM" : "SIGINT");
        end_begin(keeper);
    }
}

static void ping(struct keeper *keeper, uint64_t now_ms)
{
    ping_later(keeper, now_ms);
    if (keeper->n_unanswered >= 2) {
        log_error("the server has not answered for %llu ms: it is replaced",
                  (unsigned long long)keeper->options->watchdog_ms);
        keeper->hung = true;
        keeper->ping_at_ms = NEVER;
        child_kill(&keeper->server);
        return;
    }
    keeper->n_unanswered++;
    server_tell(keeper, CONTROL_PING);
}

static void keeper_timed(struct keeper *keeper)
{
    const uint64_t now_ms = clock_ms();
    log_retry();
    if (keeper->phase == KEEPER_WAITING && now_ms >= keeper->restart_at_ms) {
        server_start(keeper);
    }
    if (keeper->phase == KEEPER_RUNNING && now_ms >= keeper->ping_at_ms) {
        ping(keeper, now_ms);
    }
    if (keeper->phase == KEEPER_RUNNING && now_ms >= keeper->kill_at_ms) {
        log_error("the server takes too long: it is killed");
        keeper->kill_at_ms = NEVER;
        keeper->hung = true;
        child_kill(&keeper->server);
    }
    if (now_ms >= keeper->path_at_ms && !keeper->ending) {
        keeper->path_at_ms = now_ms + PATH_LOOK_MS;
        path_look(keeper, true);
    }
    if (now_ms >= keeper->check_until_ms) {
        keeper->check_until_ms = NEVER;
        log_error("SIGHUP: %s takes too long to look at the state: it is killed", keeper->exe_path);
        child_kill(&keeper->check.child);
    }
}

/* How long nothing has to be done, for poll(). */
static int keeper_patience_ms(const struct keeper *keeper)
{
    uint64_t until_ms = keeper->check_until_ms;
    if (keeper->phase == KEEPER_WAITING) {
        until_ms = keeper->restart_at_ms < until_ms ? keeper->restart_at_ms : until_ms;
    } else if (keeper->phase == KEEPER_RUNNING) {
        until_ms = keeper->ping_at_ms < until_ms ? keeper->ping_at_ms : until_ms;
        until_ms = keeper->kill_at_ms < until_ms ? keeper->kill_at_ms : until_ms;
    }
    if (!keeper->ending) {
        until_ms = keeper->path_at_ms < until_ms ? keeper->path_at_ms : until_ms;
    }
    const uint64_t now_ms = clock_ms();
    if (until_ms == NEVER) {
        return -1;
    }
    return until_ms <= now_ms ? 0 : (int)(until_ms - now_ms);
}

/* What happens to the files is told before what becomes of the one who holds them. */
static void keeper_turn(struct keeper *keeper)
{
    enum { SIGNAL, PATH, SAID, ENDED, CHECKED, N };
    struct pollfd fds[N] = {
        {.fd = keeper->signal_fd, .events = POLLIN},
        {.fd = keeper->path->watch_fd, .events = POLLIN},
        {.fd = keeper->server.control_fd, .events = POLLIN},
        {.fd = keeper->server.pidfd, .events = POLLIN},
        {.fd = keeper->check.child.pidfd, .events = POLLIN},
    };
    /* An end of the control socket whose server is about to be reaped is always readable. */
    if (poll(fds, N, keeper_patience_ms(keeper)) < 0 && errno != EINTR) {
        keeper_fault(keeper, "wait", errno);
    }
    if (fds[SAID].revents & POLLIN) {
        (void)server_listen(keeper); /* what is left to hear is told by the next poll() */
    }
    if (fds[ENDED].revents) {
        server_ended(keeper);
    }
    if (fds[CHECKED].revents) {
        check_ended(keeper);
    }
    if (fds[PATH].revents && !keeper->ending) {
        path_look(keeper, false);
    }
    if (fds[SIGNAL].revents) {
        signal_take(keeper);
    }
    keeper_timed(keeper);
    child_reap_others(&keeper->server, &keeper->check.child);
}

/* Nobody serves any more. What is told now is found when the next one, if any, has come. */
static void keeper_end(struct keeper *keeper)
{
    KMEM_CRASH_POINT("keeper.ending");
    if (keeper->ending) {
        notice_write(keeper->files->clock_fd, keeper->suspends ? NOTICE_SUSPENDED : NOTICE_ENDED);
    }
    if (keeper->suspends) {
        log_info("the segment is left to the service manager: a restart goes on with it");
    } else if (keeper->ending) {
        fd_store_empty(keeper->files); /* else the next keeper would get them */
    }
    if (keeper->suspends && notify_has_fd_store()) {
        socket_path_leave(keeper->path); /* who connects waits for the next keeper */
    } else {
        socket_path_release(keeper->path);
    }
}

int keeper_run(const struct options *options, char **argv, struct inherited_fds *files,
               struct socket_path *path, bool kept, int signal_fd)
{
    struct keeper keeper = {
        .options = options,
        .argv = argv,
        .files = files,
        .path = path,
        .kept = kept,
        .signal_fd = signal_fd,
        .former_fd = -1,
        .server = CHILD_NONE,
        .check = UPGRADE_CHECK_NONE,
        .check_until_ms = NEVER,
        .path_at_ms = clock_ms() + PATH_LOOK_MS,
    };
    keeper.exe_fd = upgrade_check_self(keeper.exe_path, sizeof(keeper.exe_path));
    const int r = keeper.exe_fd < 0 ? keeper.exe_fd : notice_hold(files->clock_fd);
    if (r) {
        log_error("cannot start: %s", strerror(-r));
        socket_path_release(path);
        return EXIT_SYSTEM;
    }
    (void)socket_path_watch(path); /* said in the log if it can not be */
    server_start(&keeper);
    while (!keeper.done) {
        keeper_turn(&keeper);
    }
    upgrade_check_drop(&keeper.check);
    keeper_end(&keeper);
    return keeper.exit_status;
}
