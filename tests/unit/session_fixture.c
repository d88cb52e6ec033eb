/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/core/reap.h"
#include "daemon/memfd.h"
#include "proto/notice.h"
#include "tests/unit/captured.h"
#include "tests/unit/session_fixture.h"

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
    (void)state;
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
    users_init(&server->users, &(struct users_limits){SESSION_DESCRIPTORS, SESSION_DESCRIPTORS});
    assert_int_equal(ftruncate(files.segment_fd, SESSION_PAGES * PAGE_BYTES), 0);
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
    assert_int_equal(uv_timer_init(&server->loop, &server->clock), 0);
    server->clock.data = server;
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
    (void)state;
    struct server *server = &session_server;
    end_everybody();
    uv_close((uv_handle_t *)&server->idle, NULL);
    uv_close((uv_handle_t *)&server->clock, NULL);
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
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, sizeof(path));
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
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
    const size_t n_bytes = frame_encode(&request->base, frame, sizeof(frame));
    assert_true(n_bytes > 0);
    say_bytes(fd, frame, n_bytes);
}

/* Receives into a buffer. Return: how many bytes, 0 at the end; ret_fds gets what came along. */
static size_t receive(int fd, void *bytes, size_t n_bytes, int *ret_fds)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(WELCOME_DESCRIPTORS * sizeof(int))];
    struct iovec part = {bytes, n_bytes};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    for (unsigned n = 0; n < TURNS_MAX; n++) {
        message.msg_controllen = sizeof(control);
        const ssize_t n_received = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
        if (n_received >= 0) {
            const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
            if (header) {
                memcpy(ret_fds, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
            }
            return (size_t)n_received;
        }
        if (errno == ECONNRESET) {
            return 0; /* closed with what we said unread */
        }
        assert_int_equal(errno, EAGAIN);
        turn();
        if (n % 50 == 49) {
            (void)usleep(200); /* for what waits for time to pass */
        }
    }
    fail_msg("the server neither answers nor closes");
    return 0;
}

static bool receive_all(int fd, unsigned char *bytes, size_t n_bytes, int *ret_fds)
{
    for (size_t at = 0; at < n_bytes;) {
        const size_t n_received = receive(fd, bytes + at, n_bytes - at, ret_fds);
        if (n_received == 0) {
            return false;
        }
        at += n_received;
    }
    return true;
}

/* Who this process is to the server. */
static void nonce_learn(const Kmem__Response *response)
{
    if (response->body_case == KMEM__RESPONSE__BODY_WELCOME && response->welcome->resume_nonce) {
        session_nonce = response->welcome->resume_nonce;
    } else if (response->body_case == KMEM__RESPONSE__BODY_FAREWELL) {
        session_nonce = 0;
    }
}

const Kmem__Response *hear_with_descriptors(int fd, int *ret_fds)
{
    static unsigned char frame[FRAME_HEADER_BYTES + RESPONSE_MAX_BYTES];
    static _Alignas(16) unsigned char memory[RESPONSE_ARENA_BYTES];
    struct arena arena;
    for (int i = 0; i < WELCOME_DESCRIPTORS; i++) {
        ret_fds[i] = -1;
    }
    if (!receive_all(fd, frame, FRAME_HEADER_BYTES, ret_fds)) {
        return NULL;
    }
    const uint32_t length = frame_length(frame);
    assert_true(length <= RESPONSE_MAX_BYTES);
    assert_true(receive_all(fd, frame + FRAME_HEADER_BYTES, length, ret_fds));
    arena_init(&arena, memory, sizeof(memory));
    const ProtobufCMessage *message =
        frame_decode(&arena, &kmem__response__descriptor, frame + FRAME_HEADER_BYTES, length);
    assert_non_null(message);
    nonce_learn((const Kmem__Response *)message);
    return (const Kmem__Response *)message;
}

const Kmem__Response *hear(int fd)
{
    int descriptors[WELCOME_DESCRIPTORS];
    const Kmem__Response *response = hear_with_descriptors(fd, descriptors);
    assert_int_equal(descriptors[0], -1);
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

#define REQUEST(body, name)                                                                        \
    Kmem__Request request = KMEM__REQUEST__INIT;                                                   \
    request.id = 7;                                                                                \
    request.body_case = KMEM__REQUEST__BODY_##name;                                                \
    request.body = &body

void say_hello(int fd, Kmem__Role role)
{
    Kmem__Hello hello = KMEM__HELLO__INIT;
    REQUEST(hello, HELLO);
    hello.version = PROTOCOL_VERSION;
    hello.role = role;
    hello.resume_nonce = session_nonce;
    say(fd, &request);
}

void say_allocate(int fd, uint64_t num_bytes, const char *reason)
{
    Kmem__Allocate allocate = KMEM__ALLOCATE__INIT;
    REQUEST(allocate, ALLOCATE);
    allocate.num_bytes = num_bytes;
    allocate.reason = (ProtobufCBinaryData){strlen(reason), (uint8_t *)reason};
    say(fd, &request);
}

void say_blocks(int fd)
{
    Kmem__Blocks blocks = KMEM__BLOCKS__INIT;
    REQUEST(blocks, BLOCKS);
    say(fd, &request);
}

void say_usage(int fd)
{
    Kmem__Usage usage = KMEM__USAGE__INIT;
    REQUEST(usage, USAGE);
    say(fd, &request);
}

void say_goodbye(int fd)
{
    Kmem__Goodbye goodbye = KMEM__GOODBYE__INIT;
    REQUEST(goodbye, GOODBYE);
    say(fd, &request);
}

int connection_open_member(void)
{
    const int fd = connection_open();
    int descriptors[WELCOME_DESCRIPTORS];
    say_hello(fd, KMEM__ROLE__ROLE_MEMBER);
    const Kmem__Response *response = hear_with_descriptors(fd, descriptors);
    assert_non_null(response);
    assert_int_equal(response->body_case, KMEM__RESPONSE__BODY_WELCOME);
    for (int i = 0; i < WELCOME_DESCRIPTORS; i++) {
        assert_true(descriptors[i] >= 0);
        assert_int_equal(close(descriptors[i]), 0);
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
