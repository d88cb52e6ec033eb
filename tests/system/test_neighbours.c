/* SPDX-License-Identifier: MIT */
/*
 * test_neighbours.c - what one peer, or one user, can take from the others: turns and places
 *
 * No clock decides: a server that is stopped finds what both have sent when it goes on, and its own
 * count of requests says how many it has served when it answers.
 */
#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "proto/limits.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"

/* Numbers that no user of the machine has, and a group that every machine has. */
#define ALICE 54321
#define BOB 54322

/* What a daemon of few clients has: daemon/server/descriptors.h, daemon/core/users.h. */
#define FDS_RESERVED 128
#define FDS_PER_CLIENT 4
#define ADMIN_FDS 32

/* ------------------------------------------------------------------------------- turns ---- */

/* id = 1, obituaries {}: it is answered at once */
static const unsigned char question[] = {4, 0, 0, 0, 0x08, 1, 0x52, 0};

#define N_AHEAD 4000

struct greed {
    unsigned int n_connections;
    unsigned int n_ahead; /* over each */
};

/* Joins as often as that, and sends questions ahead when it is told to. */
static void ask_ahead(const void *argument)
{
    const struct greed *const greed = argument;
    static unsigned char ahead[N_AHEAD * sizeof(question)];
    int fds[100];
    for (size_t i = 0; i < N_AHEAD; i++) {
        memcpy(ahead + i * sizeof(question), question, sizeof(question));
    }
    for (unsigned int i = 0; i < greed->n_connections; i++) {
        fds[i] = wire_observer();
    }
    client_pause();
    for (unsigned int i = 0; i < greed->n_connections; i++) {
        const size_t n_bytes = greed->n_ahead * sizeof(question);
        expect_equal(send(fds[i], ahead, n_bytes, MSG_NOSIGNAL | MSG_DONTWAIT), n_bytes);
    }
    client_pause();
}

/* Asks once, when it is told to; says how many requests were served before its own. */
static void ask_once(const void *argument)
{
    (void)argument;
    const int fd = wire_observer();
    client_say(usage_take().requests);
    client_await();
    wire_send(fd, request_usage(NEW_REQUEST));
    client_say(1);
    Kmem__Response *const response = wire_receive(fd);
    uint64_t n_requests = 0;
    for (size_t i = 0; i < response->usage->n_statistics; i++) {
        const Kmem__Statistic *const statistic = response->usage->statistics[i];
        n_requests = strcmp(statistic->name, "requests") == 0 ? statistic->value : n_requests;
    }
    wire_free(response);
    client_say(n_requests);
    (void)close(fd);
}

/* The greedy one sends first, the modest one then, and both wait for the server. */
static void expect_turn_after(const struct greed *greed, uint64_t n_at_most)
{
    daemon_start("--watchdog", "0", NULL);
    struct client greedy = client_begin(ask_ahead, greed);
    struct client modest = client_start(ask_once, NULL);
    const uint64_t n_before = client_hear(&modest);
    daemon_signal_server(SIGSTOP); /* it may be about to return from its wait */
    expect_soon(harness_state_of(daemon_server_pid()) == 'T', 5000);
    client_resume(&greedy);
    client_resume(&modest);
    daemon_signal_server(SIGCONT);
    const uint64_t n_served = client_hear(&modest) - n_before;
    harness_note("%llu requests were served before the one", (unsigned long long)n_served);
    expect_at_least(n_served, 1);
    expect_at_most(n_served, n_at_most);
    client_finish(&greedy);
    client_end(&modest);
    daemon_stop_balanced();
}

/* Two turns of four requests: the loop may look at the sockets between the two that send. */
#define TWO_TURNS 12

static void test_one_request_waits_for_few_of_4000_that_were_sent_ahead(void)
{
    expect_turn_after(&(struct greed){.n_connections = 1, .n_ahead = N_AHEAD}, TWO_TURNS);
}

static void test_one_request_waits_for_few_of_those_on_100_connections_of_a_process(void)
{
    expect_turn_after(&(struct greed){.n_connections = 100, .n_ahead = 40}, TWO_TURNS);
}

/* ---------------------------------------------------------------------- places of users ---- */

static void need_root(void)
{
    if (geteuid() != 0) {
        harness_skip("only root can become another user");
    }
}

static void become(uid_t uid)
{
    const struct group *const group = getgrnam("daemon");
    expect_true(group != NULL);
    const gid_t gid = group->gr_gid;
    expect_call(setgroups(0, NULL) == 0);
    expect_call(setresgid(gid, gid, gid) == 0);
    expect_call(setresuid(uid, uid, uid) == 0);
}

/* A daemon that members of the group may join, and whose socket they reach. */
static void start_for_the_group(const struct daemon_setting *setting, const char *const *options)
{
    need_root();
    daemon_start_as(setting, options);
    expect_call(chmod(harness_path("."), 0711) == 0);
    expect_call(chmod(daemon_socket(), 0666) == 0);
}

/* Joins as a user; says 1, or 0 and why it may not. */
static void join_as(const void *argument)
{
    become(*(const uid_t *)argument);
    void *block = kmem_try_allocate(44, "a place");
    if (block == NULL) {
        const int error = errno;
        harness_note("\"%s\"", kmem_last_error());
        expect_equal(error, EUSERS);
        expect_match(kmem_last_error(), "user 54321 has its 2 clients");
        expect_match(kmem_last_error(), "--clients-per-uid");
    }
    client_say(block != NULL);
    client_await();
    expect_true(block == NULL || kmem_try_release(&block) == 0);
}

static struct client start_as(uid_t uid, bool want)
{
    static uid_t as;
    as = uid;
    struct client client = client_start(join_as, &as);
    expect_equal(client_hear(&client), want);
    return client;
}

static void test_one_users_clients_leave_places_to_others(void)
{
    start_for_the_group(&(struct daemon_setting){.max_fds = 0},
                        OPTIONS("--group", "daemon", "--clients-per-uid", "2"));
    struct client clients[] = {start_as(ALICE, true), start_as(ALICE, true), start_as(ALICE, false),
                               start_as(BOB, true),   start_as(0, true),     start_as(0, true),
                               start_as(0, true)};
    client_kill(&clients[0]);
    expect_soon(usage_take().clients == 5, 5000);
    clients[0] = start_as(ALICE, true); /* a place of its own is free again */
    for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++) {
        client_finish(&clients[i]);
    }
    daemon_stop_balanced();
}

/* Observers that ask nothing, as many as there may be; says how many, and how the rest was told. */
static void hold_idle_connections(const void *argument)
{
    become(*(const uid_t *)argument);
    int fds[300];
    struct wire_descriptors none;
    unsigned int n = 0;
    Kmem__Response *response = NULL;
    for (bool welcome = true; welcome; n += welcome) {
        fds[n] = wire_connect();
        response = wire_hello(fds[n], PROTOCOL_VERSION, KMEM__ROLE__ROLE_OBSERVER, &none);
        welcome = response->body_case == KMEM__RESPONSE__BODY_WELCOME;
        if (welcome) {
            wire_free(response);
        }
    }
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_ERROR);
    expect_equal(response->error->code, KMEM__ERROR_CODE__ERROR_LIMIT);
    harness_note("\"%s\"", response->error->message);
    wire_free(response);
    expect_closed(fds[n], 5000);
    client_say(n);
    client_await();
    for (unsigned int i = 0; i <= n; i++) {
        (void)close(fds[i]);
    }
}

static struct client start_idle(uid_t uid)
{
    static uid_t as;
    as = uid;
    return client_start(hold_idle_connections, &as);
}

static void test_one_users_idle_connections_leave_places_to_others(void)
{
    start_for_the_group(&(struct daemon_setting){.max_fds = 0},
                        OPTIONS("--group", "daemon", "--connections-per-uid", "5"));
    struct client idle = start_idle(ALICE);
    expect_equal(client_hear(&idle), 5);
    struct client another = start_idle(BOB);
    expect_equal(client_hear(&another), 5);
    struct client member = start_as(BOB + 1, true);
    client_tell(&idle, 1);
    client_tell(&another, 1);
    client_tell(&member, 1);
    client_end(&idle);
    client_end(&another);
    client_end(&member);
    daemon_stop_balanced();
}

/* All descriptors but the administrator's are taken, by one user after the other. */
static void test_idle_connections_of_all_others_leave_places_to_the_administrator(void)
{
    enum { N_USERS = 6 };
    struct client idle[N_USERS];
    uint64_t n_taken = 0;
    const struct daemon_setting setting = {.max_fds = FDS_RESERVED + FDS_PER_CLIENT * 20};
    start_for_the_group(&setting, OPTIONS("--group", "daemon", "--log-level", "error"));
    for (unsigned int i = 0; i < N_USERS; i++) {
        idle[i] = start_idle(ALICE + i);
        n_taken += client_hear(&idle[i]);
    }
    /* 208 - 64 - 32, and one that arrives costs four; the test itself may have one or two. */
    expect_at_most(n_taken, setting.max_fds - FDS_RESERVED / 2 - ADMIN_FDS);
    expect_at_least(n_taken, setting.max_fds - FDS_RESERVED / 2 - ADMIN_FDS - 3 * FDS_PER_CLIENT);
    expect_at_least(usage_take().requests, n_taken);
    struct client member = start_as(0, true);
    client_finish(&member);
    for (unsigned int i = 0; i < N_USERS; i++) {
        client_finish(&idle[i]);
    }
    daemon_stop_balanced();
}

/* Holds a block, loses its connection with the server's death, and has its place all the same. */
static void come_back_to_a_block(const void *argument)
{
    (void)argument;
    become(BOB);
    void *block = kmem_try_allocate(70000, "kept");
    expect_call(block != NULL);
    client_pause();
    size_t num_bytes = 0;
    expect_equal(kmem_try_sizeof(block, &num_bytes), 0);
    expect_equal(num_bytes, 70000);
    expect_equal(kmem_try_release(&block), 0);
}

static void test_a_client_that_comes_back_finds_its_place_though_all_are_taken(void)
{
    enum { N_USERS = 6 };
    struct client idle[N_USERS];
    const struct daemon_setting setting = {.max_fds = FDS_RESERVED + FDS_PER_CLIENT * 20};
    start_for_the_group(&setting, OPTIONS("--group", "daemon", "--log-level", "error"));
    struct client member = client_begin(come_back_to_a_block, NULL);
    daemon_kill_server();
    for (unsigned int i = 0; i < N_USERS; i++) {
        idle[i] = start_idle(ALICE + i);
        client_hear(&idle[i]);
    }
    client_finish(&member);
    for (unsigned int i = 0; i < N_USERS; i++) {
        client_finish(&idle[i]);
    }
    daemon_stop_balanced();
}

/* ---------------------------------------------------------------------- no descriptor ---- */

/* The number that the next descriptor of a process gets. */
static rlim_t next_fd_of(pid_t pid)
{
    char path[64];
    char target[64];
    rlim_t fd = 0;
    do {
        (void)snprintf(path, sizeof(path), "/proc/%d/fd/%u", (int)pid, (unsigned int)fd++);
    } while (readlink(path, target, sizeof(target)) > 0);
    return fd - 1;
}

static void test_a_connection_without_a_descriptor_for_it_is_told_LIMIT(void)
{
    daemon_start(NULL, NULL);
    struct rlimit before;
    const pid_t pid = daemon_server_pid();
    struct client bystander = client_start(ask_once, NULL);
    const uint64_t n_before = client_hear(&bystander);
    /* When the second question is answered the bystander's other connection has been closed. */
    const int asking = wire_observer();
    (void)usage_ask(asking);
    (void)usage_ask(asking);
    expect_call(prlimit(pid, RLIMIT_NOFILE, NULL, &before) == 0);
    const struct rlimit full = {.rlim_cur = next_fd_of(pid), .rlim_max = before.rlim_max};
    expect_call(prlimit(pid, RLIMIT_NOFILE, &full, NULL) == 0);
    for (unsigned int i = 0; i < 50; i++) {
        const int fd = wire_connect();
        expect_error(fd, KMEM__ERROR_CODE__ERROR_LIMIT);
        expect_closed(fd, 5000);
        (void)close(fd);
    }
    client_tell(&bystander, 1); /* it is served all the same */
    client_hear(&bystander);
    expect_at_least(client_hear(&bystander), n_before + 1);
    client_end(&bystander);
    (void)close(asking);
    expect_call(prlimit(pid, RLIMIT_NOFILE, &before, NULL) == 0);
    expect_log_line("a connection can not be accepted: too many open files");
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_one_request_waits_for_few_of_4000_that_were_sent_ahead, 20),
    SYSTEM_TEST(test_one_request_waits_for_few_of_those_on_100_connections_of_a_process, 20),
    SYSTEM_TEST(test_one_users_clients_leave_places_to_others, 30),
    SYSTEM_TEST(test_one_users_idle_connections_leave_places_to_others, 20),
    SYSTEM_TEST(test_idle_connections_of_all_others_leave_places_to_the_administrator, 30),
    SYSTEM_TEST(test_a_client_that_comes_back_finds_its_place_though_all_are_taken, 30),
    SYSTEM_TEST(test_a_connection_without_a_descriptor_for_it_is_told_LIMIT, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
