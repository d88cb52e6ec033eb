/* SPDX-License-Identifier: MIT */
/*
 * server.c - one thread, one loop
 *
 * What arrives is served at once. What takes long, taking back a dead client's blocks or adding up
 * a million of them, is cut into steps of a fraction of a millisecond that run while the loop is
 * idle: between two steps everything that has arrived meanwhile is served. Without clients the
 * process sleeps; with clients it wakes ten times a second to move the clock that they read.
 */
#include "daemon/server/server.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "daemon/core/no_room.h"
#include "daemon/core/reap.h"
#include "daemon/core/sharing.h"
#include "daemon/core/tick.h"
#include "daemon/inherited.h"
#include "daemon/memfd.h"
#include "daemon/notice.h"
#include "daemon/server/barrier.h"
#include "daemon/server/huge_pages.h"
#include "daemon/server/in_force.h"
#include "daemon/server/loop.h"
#include "daemon/server/peer_identity.h"
#include "daemon/server/turns.h"
#include "proto/crash_point.h"
#include "proto/limits.h"

/* 4: 200 us, for which nobody waits long; fewer would make more turns than connections. */
#define ACCEPTED_AT_ONCE 4
/* 5,000 entries and pages, or 0.3 ms, a step; fewer would make more turns of the loop than work. */
#define REAP_BUDGET 5000
/* 64 of them, or 20 ms: a hundredth of what the keeper waits for a word. */
#define REAPS_AN_ALIVE 64
/* 10 ms: longer than between two requests; 256 MiB take 60 more, and are to be 0 within 100. */
#define QUIET_MS 10

/* ----------------------------------------------------------------------------- idle work ------ */

static void server_finalized(const struct obituary *obituary, uint32_t slot, void *user)
{
    struct server *server = user;
    obituary_log_add(&server->obituary_log, obituary);
    KMEM_CRASH_POINT("server.finalized");
    pidfd_watch_forget(&server->pidfds, slot);
    ways_close(&server->ways, slot);
    client_files_close(&server->ledgers, slot);
    keeper_link_drop(&server->keeper_link, slot);
    server->host.session_of[slot] = NULL; /* of one that left; a dead one's is closed already */
}

static bool server_has_work(const struct server *server)
{
    return turns_wait(&server->host) || core_has_dead(&server->core) ||
           no_room_has_work(&server->core) || clock_has_work(&server->clock) ||
           bells_are_due(&server->bells);
}

/* The next piece, unless there is something more urgent: a request may wait for these pages. */
static void server_scrub(void *user)
{
    struct server *server = user;
    if (server->scrubs && !server->ending && !server_has_work(server)) {
        server->scrubs = scrub_step(&server->scrub);
    }
}

/* Nothing runs any more if there is nothing to do. */
static void server_rest(struct server *server)
{
    if (server_has_work(server)) {
        server_work(server); /* of those whose turn it was, some may wait for the next */
        return;
    }
    (void)uv_idle_stop(&server->idle); /* always 0 */
    if (server->host.has_worked) {
        server->host.has_worked = false;
        /* What the work took goes back to the system; 0 says that there was nothing to give. */
        (void)malloc_trim(0);
    }
    server_scrub(server);
}

/* One step of each kind of work; then the loop looks at what has arrived. */
static void server_idle(uv_idle_t *idle)
{
    struct server *server = idle->data;
    if (core_has_dead(&server->core)) {
        server->host.has_worked = true;
        reap(&server->core, REAP_BUDGET, server_finalized, server);
    }
    if (no_room_has_work(&server->core)) {
        server->host.has_worked = true;
        no_room_work(&server->core, loop_now());
    }
    if (clock_has_work(&server->clock)) {
        clock_step(&server->clock);
        /* What a look took the next one takes again, while there are clients. */
        server->host.has_worked = server->host.has_worked || server->core.clients.n_live == 0;
    }
    bells_step(&server->bells);
    server_rest(server);
}

void server_serve(struct server *server)
{
    turns_serve(&server->host);
    server_rest(server);
}

void server_work(struct server *server)
{
    if (!server->ending) {
        (void)uv_idle_start(&server->idle, server_idle); /* fails without a callback only */
    }
}

/* ---------------------------------------------------------------------- clients and sessions -- */

/* A process has ended. Whoever else has its connection does not speak for it. */
static void server_died(uint32_t slot, void *user)
{
    struct server *server = user;
    struct client *client = clients_get(&server->core.clients, slot);
    if (client->client_state != CLIENT_LIVE) {
        return; /* it has left already; its blocks are on their way back */
    }
    core_end(&server->core, client, false, loop_now().ms);
    if (server->host.session_of[slot]) {
        session_hang_up(server->host.session_of[slot], NULL);
    }
    server_work(server);
}

/* session_joined_fn */
static int server_joined(struct session *session, void *user)
{
    struct server *server = user;
    struct client *client = session->peer.client;
    const uint32_t slot = client->slot;
    struct session *replaced = server->host.session_of[slot];
    server->host.session_of[slot] = session;
    if (replaced) {
        replaced->peer.client = NULL; /* it has no client any more, and ends without one */
        session_close(replaced);
    }
    reconnect_make_way(session);
    if (pidfd_watch_watches(&server->pidfds, slot)) {
        reconnect_renew_way(&server->reconnect, session); /* it has come back */
        return 0;
    }
    if (session->pidfd < 0) {
        return -EAGAIN; /* the client that it had when it came has ended since */
    }
    KMEM_CRASH_POINT("server.joined");
    int fd; /* stays the ledgers' */
    int r = client_files_open(&server->ledgers, slot, &fd, &client->states);
    if (r) {
        return r;
    }
    client->counts = client_files_counts(&server->ledgers, slot);
    client->returns = client_files_returns(&server->ledgers, slot);
    KMEM_CRASH_POINT("server.ledger.made");
    /* Before it is answered: whatever it is told stays true when this process is killed. */
    r = keeper_link_keep(&server->keeper_link, slot, fd, session->pidfd, session->way_fds[0]);
    KMEM_CRASH_POINT("server.ledger.kept");
    if (r) {
        return r;
    }
    r = pidfd_watch_watch(&server->pidfds, slot, session->pidfd);
    session->pidfd = -1;
    r = r ? r : reconnect_open_way(&server->reconnect, session);
    if (r) {
        return r;
    }
    clock_start(&server->clock);
    return 0;
}

/* One that there is no descriptor for is told so. Return: 0, or a negative errno: none was. */
static int server_refuse(struct server *server)
{
    const int fd = listener_accept_spare(&server->listener);
    if (fd >= 0) {
        admission_refuse_unseen(&server->host, fd);
    }
    listener_save_spare(&server->listener);
    return fd < 0 ? fd : 0;
}

/*
 * Connections wait. No more than some are accepted in a turn: a process that connects and closes
 * in a loop would keep the loop here for ever.
 */
static void server_connected(void *user)
{
    struct server *server = user;
    int r = 0;
    for (uint32_t n = 0; n < ACCEPTED_AT_ONCE && r == 0; n++) {
        r = admission_accept(&server->admission);
        const bool is_fault = r && r != -EAGAIN && r != -ECONNABORTED && r != -EINTR;
        if (is_fault && log_limit_pass(&server->faults_limit, 1, loop_now().ms)) {
            log_error("a connection can not be accepted: %s; the others are served",
                      uv_strerror(r));
        }
        r = r == -EMFILE || r == -ENFILE ? server_refuse(server) : r;
        r = r == -ECONNABORTED || r == -EINTR ? 0 : r;
    }
    if (r && r != -EAGAIN) {
        listener_pause(&server->listener); /* else the loop would come here again and again */
    }
}

static void server_is_quiet(void *user)
{
    struct server *server = user;
    server->scrubs = true;
    server_scrub(server); /* else when the work that there is has been done */
}

/* What has arrived in this turn of the loop has been read. */
static void server_turned(uv_check_t *check)
{
    struct server *server = check->data;
    server_serve(server);
    if (!server->scrubs && !server->ending && scrub_is_wanted(&server->scrub) &&
        !alarm_is_set(&server->quiet)) {
        alarm_set(&server->quiet, QUIET_MS, 0);
    }
}

/* ----------------------------------------------------------------------------------- the end -- */

/* Takes back what clients that live on still hold: the segment ends with the daemon. */
static void server_reap_all(struct server *server)
{
    for (uint32_t n_steps = 0; core_has_dead(&server->core); n_steps++) {
        reap(&server->core, REAP_BUDGET, server_finalized, server);
        if (n_steps % REAPS_AN_ALIVE == 0) {
            keeper_link_alive(&server->keeper_link);
        }
    }
}

static void server_end_clients(struct server *server)
{
    struct core *core = &server->core;
    server_reap_all(server); /* those that have ended */
    obituary_log_outlive(&server->obituary_log, core);
    struct client *client = clients_next(&core->clients, 0);
    while (client) {
        if (client->client_state == CLIENT_LIVE) {
            core_end(core, client, false, loop_now().ms);
        }
        client = clients_next(&core->clients, client->slot + 1);
    }
    server_reap_all(server);
}

static void server_end(struct server *server)
{
    if (server->ending) {
        return;
    }
    server->ending = true;
    notice_write(server->files->clock_fd, NOTICE_ENDED);
    listener_close(&server->listener);
    struct session *session = server->host.sessions;
    while (session) {
        struct session *next = session->next;
        session_close(session);
        session = next;
    }
    server_end_clients(server);
    obituary_log_close(&server->obituary_log);
    uv_close((uv_handle_t *)&server->idle, NULL);
    uv_close((uv_handle_t *)&server->turn, NULL);
    clock_close(&server->clock);
    alarm_close(&server->quiet);
    scrub_close(&server->scrub);
    keeper_link_close(&server->keeper_link);
}

/* What the keeper says. */
static void server_told(const struct control_message *message, void *user)
{
    struct server *server = user;
    if (message->kind == CONTROL_LISTENER && message->n_fds == 1) {
        listener_replace(&server->listener, message->fds[0]);
        return;
    }
    control_close_fds(message);
    if (message->kind == CONTROL_END) {
        server_end(server);
    } else if (message->kind == CONTROL_LEAVE) {
        /* Nothing is taken back, and nothing needs to be written: the next goes on from here. */
        _exit(0);
    }
}

/* --------------------------------------------------------------------------------- the start -- */

/* session_work_fn */
static void server_work_for(void *user)
{
    server_work(user);
}

void server_wire(struct server *server)
{
    server->host = (struct session_host){
        .loop = &server->loop,
        .core = &server->core,
        .users = &server->users,
        .ledgers = &server->ledgers,
        .segment_fd = server->files->segment_fd,
        .reader_fd = -1,
        .joined = server_joined,
        .work = server_work_for,
        .user = server,
    };
    server->sizing = (struct sizing){
        .core = &server->core,
        .scrub = &server->scrub,
        .ledgers = &server->ledgers,
        .segment_fd = server->files->segment_fd,
        .is_lazy = server->options->lazy,
        .collapses = in_force_collapses(server->options),
    };
    server->clock = (struct clock){
        .core = &server->core,
        .ledgers = &server->ledgers,
        .work = server_work_for,
        .user = server,
    };
    admission_roles(server->options, geteuid(), &server->roles);
    server->admission = (struct admission){
        .host = &server->host,
        .roles = &server->roles,
        .listener = &server->listener,
        .pidfds = &server->pidfds,
    };
    server->reconnect = (struct reconnect){
        .host = &server->host,
        .ways = &server->ways,
        .keeper_link = &server->keeper_link,
        .pidfds = &server->pidfds,
    };
    server->takeover = (struct takeover){
        .files = server->files,
        .ledgers = &server->ledgers,
        .keeper_link = &server->keeper_link,
        .ways = &server->ways,
        .pidfds = &server->pidfds,
    };
}

static int server_start_handles(struct server *server)
{
    (void)uv_idle_init(&server->loop, &server->idle); /* always 0 */
    server->idle.data = server;
    (void)uv_check_init(&server->loop, &server->turn); /* always 0 */
    server->turn.data = server;
    obituary_log_init(&server->obituary_log, &server->loop);
    int r = clock_open(&server->clock, &server->loop);
    r = r ? r : alarm_open(&server->quiet, &server->loop, server_is_quiet, server);
    return r ? r : uv_check_start(&server->turn, server_turned);
}

/* core_config.ring */
static void server_ring(uint32_t bell, void *user)
{
    struct server *server = user;
    bells_ring(&server->bells, bell);
    if (bells_are_due(&server->bells)) {
        server_work(server);
    }
}

KMEM_MUST_USE static int server_fill_random(struct server *server)
{
    ssize_t n_bytes = 0;
    do {
        n_bytes = getrandom(server->random, sizeof(server->random), 0);
    } while (n_bytes < 0 && errno == EINTR);
    server->n_random = n_bytes == sizeof(server->random) ? SERVER_RANDOM_MAX : 0;
    return server->n_random > 0 ? 0 : n_bytes < 0 ? -errno : -EIO;
}

/* core_config.random */
static uint64_t server_random(void *user)
{
    struct server *server = user;
    uint64_t number = 0;
    while (number == 0) {
        if (server->n_random == 0) {
            /* What was there when the server began: it does not fail any more. */
            const int r = server_fill_random(server);
            KMEM_ASSERT(r == 0);
        }
        number = server->random[--server->n_random];
        server->random[server->n_random] = 0;
    }
    return number;
}

/* A heartbeat of the recovery. */
static void server_alive(void *user)
{
    const struct server *server = user;
    keeper_link_alive(&server->keeper_link);
}

/* reload.apply */
static void server_reloaded(void *user)
{
    struct server *server = user;
    in_force_apply(server->options, &server->core, &server->users);
    client_files_set_budgets(&server->ledgers, server->core.budgets.generation);
    server->scrub.config.clears = in_force_clears(server->options);
    admission_roles(server->options, server->core.config.owner_uid, &server->roles);
}

/* Return: 0 or the process's exit status. */
static int server_init_core(struct server *server, uint32_t clients_limit)
{
    const struct options *options = server->options;
    struct core_config config = {
        .segment_name = options->name,
        .n_pages = (uint32_t)(options->most_bytes >> PAGE_SHIFT),
        .begin_pages = (uint32_t)(options->segment_bytes >> PAGE_SHIFT),
        .clients_limit = clients_limit,
        .names_limit = options->names_limit,
        .owner_uid = geteuid(),
        .pid = (uint32_t)getppid(),
        .barrier = barrier_find(),
        .random = server_random,
        .random_user = server,
        .ring = server_ring,
        .ring_user = server,
        .wake = sessions_wake,
        .alive = server_alive,
        .alive_user = server,
        .reload = reload_answer,
        .reload_user = &server->reload,
        .users = &server->users,
        .unit = peer_identity_unit,
    };
    in_force_begin(options, &config);
    sizing_configure(&server->sizing, &config);
    int r = getrandom(&config.instance, sizeof(config.instance), 0) < 0 ? -errno : 0;
    r = r ? r : server_fill_random(server);
    r = r ? r
          : client_files_init(&server->ledgers, config.segment_name, config.n_pages,
                              server->files->clock_fd);
    if (r == 0) {
        bells_init(&server->bells, server->ledgers.bells);
        client_files_configure(&server->ledgers, &config);
    }
    if (r == -EPROTO) {
        log_error("segment \"%s\" can not be served: its clock's file is another version's",
                  options->name);
        return EXIT_STATE;
    }
    if (r) {
        log_error("cannot start: %s%s", strerror(-r), inherited_explain(-r));
        return EXIT_SYSTEM;
    }
    return takeover_core(&server->takeover, &config, &server->core);
}

static int server_open_keeper_link(struct server *server)
{
    const int fd = server->files->control_fd;
    server->files->control_fd = -1; /* the keeper link's */
    return keeper_link_open(&server->keeper_link, &server->loop, fd, server_told, server);
}

static int server_open_listener(struct server *server)
{
    const int fd = server->files->listener_fd;
    server->files->listener_fd = -1; /* the listener's */
    const int r = listener_open(&server->listener, &server->loop, fd, server_connected, server);
    if (r) {
        log_error("cannot listen on %s: %s", server->options->socket_path, uv_strerror(r));
    }
    return r ? EXIT_CANT_CREATE : 0;
}

/* Everything that serving needs, up to the socket. Return: 0 or the process's exit status. */
static int server_start(struct server *server, uint32_t clients_limit)
{
    int r = loop_init(&server->loop);
    server->host.reader_fd = memfd_open_again(server->files->segment_fd);
    r = r ? r : server->host.reader_fd < 0 ? server->host.reader_fd : 0;
    r = r ? r : session_host_init(&server->host);
    r = r ? r : pidfd_watch_init(&server->pidfds, &server->loop, server_died, server);
    r = r ? r : ways_init(&server->ways, &server->loop, reconnect_heard, &server->reconnect);
    r = r ? r : server_start_handles(server);
    r = r ? r : server_open_keeper_link(server);
    if (r) {
        log_error("cannot start: %s%s", uv_strerror(r), inherited_explain(-r));
        return EXIT_SYSTEM;
    }
    r = server_init_core(server, clients_limit);
    r = r ? r : takeover_watch(&server->takeover, &server->core);
    return r ? r : server_open_listener(server);
}

/*
 * The loop begins: what the last server had begun to take back is taken back first. Return: 0 or
 * the process's exit status: a keeper that is not told would wait for it, and then kill it.
 */
static int server_begin(struct server *server)
{
    const struct options *options = server->options;
    log_count_dropped(&server->core.state.counters->log_lines_dropped);
    KMEM_CRASH_POINT("server.recovered");
    const int r = keeper_link_ready(&server->keeper_link);
    KMEM_CRASH_POINT("server.ready");
    if (r) {
        log_error("cannot start: the keeper can not be told that clients are served: %s",
                  uv_strerror(r));
        return EXIT_SYSTEM;
    }
    log_set_serving(true);
    notice_write(server->files->clock_fd, NOTICE_SERVED);
    bells_ring_all(&server->bells); /* the last server may have been killed before it did */
    clock_start(&server->clock); /* for one look at least: what the history had last may be gone */
    server_work(server);
    const struct scrub_config scrub = {
        .loop = &server->loop,
        .pages = &server->core.pages,
        .segment_fd = server->files->segment_fd,
        .state_fd = server->files->state_fd,
        .gives_back = options->lazy,
        .clears = in_force_clears(options),
        .huge_bytes = in_force_collapses(options) ? core_segment_bytes(&server->core) : 0,
        .granule_bytes = &server->core.config.granule_bytes,
        .made_bytes = &server->core.config.huge_bytes,
        .done = server_scrub,
        .taken = sizing_taken,
        .taken_user = &server->sizing,
        .user = server,
    };
    scrub_open(&server->scrub, &scrub);
    sizing_begin(&server->sizing);
    sizing_apply(&server->sizing, options->asked_bytes);
    return 0;
}

int server_run(const struct options *options, struct inherited_fds *files,
               const struct descriptors *descriptors, const struct reload_source *source)
{
    struct server server = {
        .options = options,
        .files = files,
    };
    server_wire(&server);
    server.reload = (struct reload){
        .source = source,
        .keeper_link = &server.keeper_link,
        .sizing = &server.sizing,
        .apply = server_reloaded,
        .user = &server,
    };
    const struct users_limits limits = in_force_connections(options, descriptors->n_free);
    users_init(&server.users, &limits);
    int exit_status = server_start(&server, descriptors->n_clients);
    exit_status = exit_status ? exit_status : server_begin(&server);
    if (exit_status) {
        session_host_fini(&server.host);
        return exit_status; /* the process ends, and with it the rest of what was made */
    }
    (void)uv_run(&server.loop, UV_RUN_DEFAULT); /* returns when every handle is closed */
    users_fini(&server.users);
    sharing_fini(&server.core);
    core_fini(&server.core);
    pidfd_watch_fini(&server.pidfds);
    ways_fini(&server.ways);
    client_files_fini(&server.ledgers);
    const int r = uv_loop_close(&server.loop);
    KMEM_ASSERT(r == 0);
    log_count_dropped(NULL); /* what it is in goes now */
    takeover_fini(&server.takeover);
    (void)close(server.host.reader_fd); /* only read */
    session_host_fini(&server.host);
    return 0;
}
