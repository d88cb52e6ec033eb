/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "daemon/core/reap.h"
#include "daemon/memfd.h"
#include "proto/notice.h"
#include "tests/unit/captured.h"
#include "tests/unit/session_fixture.h"
#include "tests/unit/unit.h"

/* So many turns of the loop are more than anything here needs. */
#define TURNS_MAX 2000

struct server session_server;
int session_accepted;

static char directory[64];
static char path[80];
static struct options options;
static struct inherited_fds files;
static unsigned n_fds;
static int keeper_fd;          /* the other end of the keeper link */
static uint64_t session_nonce; /* of the client that this process is; 0: it is none */

/* ------------------------------------------------------------------------------ the server ---- */

static void died(uint32_t slot, void *user)
{
    (void)user;
    core_end(&session_server.core, clients_get(&session_server.core.clients, slot), false, 0);
    server_work(&session_server);
}

/* Accepts what waits; where that fails, nothing more until session_listen_again(). */
static void connected(void *user)
{
    (void)user;
    session_accepted = admission_accept(&session_server.admission);
    if (session_accepted < 0) {
        assert_int_equal(uv_poll_stop(&session_server.listener.poll), 0);
    }
}

static void listen_in_private(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(directory, sizeof(directory), "/tmp/kmem-session-XXXXXX");
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof(path), "%s/sock", directory);
    memcpy(address.sun_path, path, sizeof(path));
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 64), 0);
    assert_int_equal(
        listener_open(&session_server.listener, &session_server.loop, fd, connected, NULL), 0);
}

void session_listen_again(void)
{
    session_server.listener.paused = true;
    listener_replace(&session_server.listener, dup(session_server.listener.fd));
}

static void turned(uv_check_t *check)
{
    (void)check;
    server_serve(&session_server);
}

/* What the server says to its keeper. */
static void keeper_told(const struct control_message *message, void *user)
{
    (void)user;
    control_close_fds(message);
}

static void keeper_open(void)
{
    int ends[2];
    assert_int_equal(control_pair(ends), 0);
    keeper_fd = ends[0];
    session_nonce = 0;
    assert_int_equal(keeper_link_open(&session_server.keeper_link, &session_server.loop, ends[1],
                                      keeper_told, NULL),
                     0);
}

static void keeper_listen(void)
{
    struct control_message message;
    while (control_receive(keeper_fd, &message) == 0) {
        control_close_fds(&message);
    }
}

/* core_config.random */
static uint64_t session_random(void *user)
{
    (void)user;
    static uint64_t number;
    return ++number;
}

int session_setup(void **state)
{
    struct server *server = &session_server;
    const struct core_config config = {
        .segment_name = "session",
        .n_pages = SESSION_PAGES,
        .clients_limit = SESSION_CLIENTS,
        .ledger_read = client_files_read,
        .ledger_user = &session_server.ledgers,
        .wake = sessions_wake,
        .random = session_random,
    };
    memset(server, 0, sizeof(*server));
    (void)signal(SIGPIPE, SIG_IGN); /* as main.c does */
    /* libuv opens descriptors with the first loop of a process and keeps them. */
    assert_int_equal(uv_loop_init(&server->loop), 0);
    assert_int_equal(uv_loop_close(&server->loop), 0);
    n_fds = count_fds();
    server->options = &options;
    server->files = &files;
    files.segment_fd = memfd_create("segment", MFD_CLOEXEC);
    assert_true(files.segment_fd >= 0);
    server_wire(server);
    users_init(&server->users, &(struct users_limits){.n_descriptors = SESSION_DESCRIPTORS,
                                                      .n_connections = SESSION_DESCRIPTORS});
    assert_int_equal(ftruncate(files.segment_fd, SESSION_PAGES * PAGE_BYTES), 0);
    server->host.reader_fd = memfd_open_again(files.segment_fd);
    assert_true(server->host.reader_fd >= 0);
    server->takeover.state_bytes = state_bytes(SESSION_PAGES);
    server->takeover.state_base = mmap(NULL, server->takeover.state_bytes, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_int_equal(session_host_init(&server->host), 0);
    assert_int_equal(uv_loop_init(&server->loop), 0);
    assert_int_equal(pidfd_watch_init(&server->pidfds, &server->loop, died, NULL), 0);
    assert_int_equal(ways_init(&server->ways, &server->loop, reconnect_heard, &server->reconnect),
                     0);
    assert_int_equal(core_init(&server->core, &config, server->takeover.state_base, 0), 0);
    const int clock_fd = memfd_open("session", "clock", NOTICE_BYTES);
    assert_int_equal(
        client_files_init(&server->ledgers, config.segment_name, SESSION_PAGES, clock_fd), 0);
    assert_int_equal(close(clock_fd), 0);
    keeper_open();
    assert_int_equal(uv_idle_init(&server->loop, &server->idle), 0);
    server->idle.data = server;
    assert_int_equal(clock_open(&server->clock, &server->loop), 0);
    assert_int_equal(uv_check_init(&server->loop, &server->turn), 0);
    assert_int_equal(uv_check_start(&server->turn, turned), 0);
    obituary_log_init(&server->obituary_log, &server->loop);
    listen_in_private();
    return 0;
}

static void buried(const struct obituary *obituary, uint32_t slot, void *user)
{
    (void)obituary;
    (void)user;
    pidfd_watch_forget(&session_server.pidfds, slot);
    ways_close(&session_server.ways, slot);
    client_files_close(&session_server.ledgers, slot);
}

static void end_everybody(void)
{
    struct core *core = &session_server.core;
    while (session_server.host.sessions) {
        session_close(session_server.host.sessions);
    }
    struct client *client = clients_next(&core->clients, 0);
    for (; client; client = clients_next(&core->clients, client->slot + 1)) {
        if (client->client_state == CLIENT_LIVE) {
            core_end(core, client, false, 0);
        }
    }
    while (core_has_dead(core)) {
        reap(core, UINT32_MAX, buried, NULL);
    }
}

int session_teardown(void **state)
{
    struct server *server = &session_server;
    end_everybody();
    uv_close((uv_handle_t *)&server->idle, NULL);
    clock_close(&server->clock);
    uv_close((uv_handle_t *)&server->turn, NULL);
    obituary_log_close(&server->obituary_log);
    listener_close(&server->listener);
    keeper_link_close(&server->keeper_link);
    (void)uv_run(&server->loop, UV_RUN_DEFAULT);
    assert_int_equal(close(keeper_fd), 0);
    assert_int_equal(server->host.n_sessions, 0);
    users_fini(&server->users);
    assert_int_equal(core_check(&server->core), 0);
    assert_int_equal(core_free_bytes(&server->core), (SESSION_PAGES - 1) * PAGE_BYTES);
    core_fini(&server->core);
    pidfd_watch_fini(&server->pidfds);
    ways_fini(&server->ways);
    client_files_fini(&server->ledgers);
    assert_int_equal(uv_loop_close(&server->loop), 0);
    takeover_fini(&server->takeover);
    session_host_fini(&server->host);
    assert_int_equal(close(server->host.reader_fd), 0);
    assert_int_equal(close(files.segment_fd), 0);
    (void)unlink(path);
    assert_int_equal(rmdir(directory), 0);
    assert_int_equal(count_fds(), n_fds);
    return 0;
}

void turn(void)
{
    (void)uv_run(&session_server.loop, UV_RUN_NOWAIT);
    assert_int_equal(users_check(&session_server.users), 0);
    keeper_listen();
}

/* ----------------------------------------------------------------------------- connections ---- */

int connection_open(void)
{
    const int fd = frames_connect(path);
    assert_true(fd >= 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

void connection_close(int fd)
{
    assert_int_equal(close(fd), 0);
    for (unsigned n = 0; n < 5; n++) {
        turn();
    }
}

void say_bytes(int fd, const void *bytes, size_t n_bytes)
{
    assert_int_equal(send(fd, bytes, n_bytes, MSG_NOSIGNAL), n_bytes);
}

void say(int fd, const Kmem__Request *request)
{
    unsigned char frame[FRAME_HEADER_BYTES + REQUEST_MAX_BYTES];
    const size_t n_bytes = request_pack(request, frame, sizeof(frame));
    assert_true(n_bytes > 0);
    say_bytes(fd, frame, n_bytes);
}

/* Lets the server work until it has said something, or has closed. */
static bool turn_until_heard(int fd)
{
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    for (unsigned n = 0; n < TURNS_MAX; n++) {
        if (poll(&readable, 1, 0) == 1) {
            return true;
        }
        turn();
        if (n % 50 == 49) {
            (void)usleep(200); /* for what waits for time to pass */
        }
    }
    return false;
}

KMEM_NORETURN static void fail_test(const char *why)
{
    fail_msg("%s: %s", why, strerror(errno));
    abort(); /* not reached: it tells the compiler that nothing goes on */
}

const struct frames_host frames_host = {turn_until_heard, fail_test};

/* Who this process is to the server. */
static void nonce_learn(const Kmem__Response *response)
{
    if (response->body_case == KMEM__RESPONSE__BODY_WELCOME && response->welcome->resume_nonce) {
        session_nonce = response->welcome->resume_nonce;
    } else if (response->body_case == KMEM__RESPONSE__BODY_FAREWELL) {
        session_nonce = 0;
    }
}

const Kmem__Response *hear_with_descriptors(int fd, struct wire_descriptors *ret_descriptors)
{
    static Kmem__Response *last;
    ret_descriptors->n_fds = 0;
    kmem__response__free_unpacked(last, NULL);
    last = frames_receive(fd, ret_descriptors);
    if (last) {
        nonce_learn(last);
    }
    return last;
}

const Kmem__Response *hear(int fd)
{
    struct wire_descriptors descriptors;
    const Kmem__Response *response = hear_with_descriptors(fd, &descriptors);
    assert_int_equal(descriptors.n_fds, 0);
    return response;
}

bool hear_nothing(int fd)
{
    char byte;
    for (unsigned n = 0; n < 20; n++) {
        turn();
    }
    return recv(fd, &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN;
}

/* -------------------------------------------------------------------------------- requests ---- */

void say_hello(int fd, Kmem__Role role)
{
    say(fd, request_hello(NEW_REQUEST, role, session_nonce));
}

int connection_open_member(void)
{
    const int fd = connection_open();
    struct wire_descriptors descriptors;
    say_hello(fd, KMEM__ROLE__ROLE_MEMBER);
    const Kmem__Response *response = hear_with_descriptors(fd, &descriptors);
    assert_non_null(response);
    assert_int_equal(response->body_case, KMEM__RESPONSE__BODY_WELCOME);
    assert_int_equal(descriptors.n_fds, WELCOME_DESCRIPTORS);
    for (size_t i = 0; i < descriptors.n_fds; i++) {
        assert_int_equal(close(descriptors.fds[i]), 0);
    }
    return fd;
}

int connection_open_observer(void)
{
    const int fd = connection_open();
    say_hello(fd, KMEM__ROLE__ROLE_OBSERVER);
    const Kmem__Response *response = hear(fd);
    assert_non_null(response);
    assert_int_equal(response->body_case, KMEM__RESPONSE__BODY_WELCOME);
    return fd;
}
