/* SPDX-License-Identifier: MIT */
/*
 * test_greedy.c - who may be what, and for each cap on one user a greedy one beside a modest one
 *
 * The greedy user takes what it can get, and is told what stands in its way. The modest one then
 * has what it asks for.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kmem/kmem.h>
#include <kmem/share.h>

#include "proto/limits.h"
#include "tests/system/client.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/system/users.h"
#include "tests/wire/wire.h"

/* Numbers that no user or group of the machine has. */
#define GREEDY 54321
#define MODEST 54322
#define READER 54323
#define OBSERVER 54324
#define ADMIN 54325
#define GROUP 54326
#define STRANGER 54327

#define BOTH "--members=54321,54322"

static void start_for_both(const char *const *options)
{
    need_root();
    daemon_start_as(&(struct daemon_setting){.max_fds = 0}, options);
    expect_call(chmod(harness_path("."), 0711) == 0);
}

static void expect_limit(const char *name, unsigned int used, unsigned int limit)
{
    char row[64];
    (void)snprintf(row, sizeof(row), "\n%s,%u,%u,", name, used, limit);
    expect_match(ctl("limits", "-o", "csv")->out, row);
}

/* ----------------------------------------------------------------------------------- roles ---- */

struct person {
    uid_t uid;
    gid_t gid;
    const char *refusal; /* as a member; NULL: it is one */
    bool asks;
    bool reads;
};

static bool is_observer(void)
{
    struct request hello;
    const int fd = wire_connect();
    wire_send(fd, request_hello(&hello, KMEM__ROLE__ROLE_OBSERVER, 0));
    Kmem__Response *const response = wire_try_receive(fd);
    const bool is_welcome = response && response->body_case == KMEM__RESPONSE__BODY_WELCOME;
    expect_true(!is_welcome || response->welcome->n_descriptors == 0);
    wire_free(response);
    (void)close(fd);
    return is_welcome;
}

static void be(const void *argument)
{
    const struct person *const person = argument;
    become(person->uid, person->gid);
    expect_equal(is_observer(), person->asks);
    void *block = kmem_try_allocate(44, "a block");
    if (person->refusal != NULL) {
        expect_true(block == NULL);
        expect_equal(errno, EACCES);
        harness_note("\"%s\"", kmem_last_error());
        expect_match(kmem_last_error(), person->refusal);
        expect_equal(kmem_join_as_reader(NULL) == 0, person->reads);
        return;
    }
    expect_true(block != NULL);
    expect_equal(kmem_try_release(&block), 0);
}

static void test_roles_are_those_of_users_and_groups(void)
{
    static const struct person people[] = {
        {GREEDY, GREEDY, NULL, .asks = true},
        {STRANGER, GROUP, NULL, .asks = true},
        {READER, READER, "user 54323 may join .* for reading only", .asks = true, .reads = true},
        {OBSERVER, OBSERVER, "user 54324 is an observer of .*--group and members", .asks = true},
        {ADMIN, ADMIN, "user 54325 is an observer of", .asks = true},
        {STRANGER, STRANGER, "only root, the daemon's user and the group .* observers and admins",
         .asks = false},
    };
    struct stat status;
    start_for_both(OPTIONS("--members=54321,@54326", "--reader-users", "54323", "--observers=54324",
                           "--admins=54325"));
    expect_call(stat(daemon_socket(), &status) == 0);
    expect_equal(status.st_mode & 0777, 0666); /* a file has one group; the server looks */
    for (size_t i = 0; i < sizeof(people) / sizeof(people[0]); i++) {
        client_run(be, &people[i]);
    }
    expect_soon(usage_take().clients == 0, 2000);
    daemon_stop();
}

static void test_unknown_users_and_groups_refuse_to_start(void)
{
    const struct daemon_setting usual = {.max_fds = 0};
    struct daemon_end end = daemon_try(&usual, OPTIONS("--members", "root,nosuchuser"));
    expect_equal(end.exit_status, 64);
    expect_match(end.log, "--members: there is no user \"nosuchuser\"");
    end = daemon_try(&usual, OPTIONS("--admins=@nosuchgroup"));
    expect_equal(end.exit_status, 64);
    expect_match(end.log, "--admins: there is no group \"nosuchgroup\"");
    end = daemon_try(&usual, OPTIONS("--observers=nobody"));
    expect_equal(end.exit_status, 64);
    expect_match(end.log, "--observers: .* stands for every user that has no number here");
}

static void write_members(const char *path, const char *members)
{
    FILE *const file = fopen(path, "we");
    expect_call(file != NULL);
    expect_call(fprintf(file, "members = {%s}\n", members) > 0);
    expect_call(fclose(file) == 0);
    expect_call(chmod(path, 0644) == 0);
}

/* Joins, and goes on as a member when its user is named no more, over a restart of the server. */
static void stay(const void *argument)
{
    become(*(const uid_t *)argument, GROUP);
    void *block = kmem_try_allocate(70000, "before");
    expect_true(block != NULL);
    client_say(1);
    client_await();
    void *other = kmem_try_allocate(70000, "after");
    if (other == NULL) {
        fail("%s", kmem_last_error());
    }
    expect_equal(kmem_try_release(&other), 0);
    expect_equal(kmem_try_release(&block), 0);
    client_say(1);
    client_await();
}

static void be_a_stranger(const void *argument)
{
    become(*(const uid_t *)argument, GROUP);
    expect_true(kmem_try_allocate(44, "stranger") == NULL);
    expect_equal(errno, EACCES);
}

static void test_reload_changes_who_is_let_in_next(void)
{
    static const uid_t greedy = GREEDY;
    static const uid_t modest = MODEST;
    static char path[512];
    (void)snprintf(path, sizeof(path), "%s", harness_path("roles.conf"));
    write_members(path, "54321");
    start_for_both(OPTIONS("--config", path));
    struct client member = client_start(stay, &greedy);
    expect_equal(client_hear(&member), 1);
    client_run(be_a_stranger, &modest);
    write_members(path, "54322");
    expect_equal(ctl("reload")->exit_status, 0);
    client_run(be_a_stranger, &greedy);
    struct client next = client_start(stay, &modest);
    expect_equal(client_hear(&next), 1);
    daemon_kill_server();
    client_tell(&member, 1);
    expect_equal(client_hear(&member), 1);
    client_tell(&next, 1);
    expect_equal(client_hear(&next), 1);
    client_finish(&member);
    client_finish(&next);
    daemon_stop();
}

static bool socket_is_open(void)
{
    struct stat status;
    return stat(daemon_socket(), &status) == 0 && (status.st_mode & 0777) == 0666;
}

static void be_a_member(const void *argument)
{
    (void)argument;
    become(STRANGER, STRANGER);
    void *block = kmem_try_allocate(44, "a member");
    if (block == NULL) {
        fail("%s", kmem_last_error());
    }
    expect_equal(kmem_try_release(&block), 0);
}

/* Of a daemon whose socket is a group's, and lets nobody else connect. */
static void start_for_the_group(const char *path)
{
    write_members(path, "");
    start_for_both(OPTIONS("--group", "54326", "--config", path));
    expect_true(!socket_is_open());
    write_members(path, "54327");
}

static void test_reload_that_is_the_first_to_name_a_user_opens_the_socket(void)
{
    static char path[512];
    (void)snprintf(path, sizeof(path), "%s", harness_path("roles.conf"));
    start_for_the_group(path);
    expect_equal(ctl("reload")->exit_status, 0);
    expect_soon(socket_is_open(), 5000);
    client_run(be_a_member, NULL);
    daemon_stop();
}

static void test_sighup_that_is_the_first_to_name_a_user_opens_the_socket(void)
{
    static char path[512];
    (void)snprintf(path, sizeof(path), "%s", harness_path("roles.conf"));
    start_for_the_group(path);
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_soon(socket_is_open(), 5000);
    client_run(be_a_member, NULL);
    daemon_stop();
}

/* -------------------------------------------------------------------- shares, holds, names ---- */

static void *shareable(void)
{
    void *block = kmem_try_allocate_with(100, KMEM_SHAREABLE, "shareable");
    if (block == NULL) {
        fail("%s", kmem_last_error());
    }
    return block;
}

static void expect_told(const char *words)
{
    harness_note("\"%s\"", kmem_last_error());
    expect_match(kmem_last_error(), words);
}

/* Shares, publishes and attaches what the first of its own user shares, until it is refused. */
static void share_all(const void *argument)
{
    const unsigned int n_wanted = *(const unsigned int *)argument;
    struct kmem_handle handle;
    unsigned int n = 0;
    become(n_wanted > 1 ? GREEDY : MODEST, GROUP);
    while (n < n_wanted && kmem_share(shareable(), KMEM_READ, &handle) == 0) {
        n++;
    }
    client_say(n);
    if (n < n_wanted) {
        expect_told("user 54321 shares 3 blocks, of the 3 that --shares-per-uid lets one user");
    }
    client_await();
}

static void publish_all(const void *argument)
{
    const unsigned int n_wanted = *(const unsigned int *)argument;
    unsigned int n = 0;
    int r = 0;
    become(n_wanted > 1 ? GREEDY : MODEST, GROUP);
    void *const block = shareable();
    while (n < n_wanted && r == 0) {
        char name[32];
        (void)snprintf(name, sizeof(name), "%u/%u", (unsigned int)getuid(), n);
        r = kmem_publish(block, name, 0, NULL);
        n += r == 0;
    }
    client_say(n);
    if (n < n_wanted) {
        expect_told("user 54321 has 2 names, of the 2 that --names-per-uid lets one user");
    }
    client_await();
}

/* Of a daemon's own user: it may. */
static void offer_to_all(const void *argument)
{
    (void)argument;
    for (unsigned int i = 0; i < 4; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "offered/%u", i);
        expect_equal(kmem_publish(shareable(), name, 0, NULL), 0);
    }
    client_say(1);
    client_await();
}

static void hold_all(const void *argument)
{
    const unsigned int n_wanted = *(const unsigned int *)argument;
    unsigned int n = 0;
    int r = 0;
    become(n_wanted > 1 ? GREEDY : MODEST, GROUP);
    while (n < n_wanted && r == 0) {
        char name[32];
        void *block = NULL;
        (void)snprintf(name, sizeof(name), "offered/%u", n);
        r = kmem_find(name, KMEM_READ, "held", &block, NULL);
        n += r == 0;
    }
    client_say(n);
    if (n < n_wanted) {
        expect_told("user 54321 holds shared blocks 2 times, of the 2 that --holds-per-uid lets");
    }
    client_await();
}

/* The greedy one wants 4 and has `limit`; the modest one wants one, and has it. */
static void expect_capped(void (*take)(const void *), const char *row, unsigned int limit)
{
    static const unsigned int many = 4;
    static const unsigned int one = 1;
    struct client greedy = client_start(take, &many);
    expect_equal(client_hear(&greedy), limit);
    expect_limit(row, limit, limit);
    struct client modest = client_start(take, &one);
    expect_equal(client_hear(&modest), 1);
    expect_limit(row, limit, limit);
    daemon_kill_server(); /* the next one has counted again */
    expect_limit(row, limit, limit);
    client_finish(&greedy);
    client_finish(&modest);
}

static void test_shares_of_a_greedy_user_leave_a_modest_one_its_own(void)
{
    start_for_both(OPTIONS(BOTH, "--shares-per-uid=3"));
    expect_capped(share_all, "shares_of_user", 3);
    daemon_stop();
}

static void test_names_of_a_greedy_user_leave_a_modest_one_its_own(void)
{
    start_for_both(OPTIONS(BOTH, "--names-per-uid=2"));
    expect_capped(publish_all, "names_of_user", 2);
    daemon_stop();
}

static void test_holds_of_a_greedy_user_leave_a_modest_one_its_own(void)
{
    start_for_both(OPTIONS(BOTH, "--holds-per-uid=2"));
    struct client owner = client_start(offer_to_all, NULL);
    expect_equal(client_hear(&owner), 1);
    expect_capped(hold_all, "holds_of_user", 2);
    client_finish(&owner);
    daemon_stop();
}

/* --------------------------------------------------------------------------------- reasons ---- */

static void use_reasons(const void *argument)
{
    const unsigned int n_wanted = *(const unsigned int *)argument;
    become(n_wanted > 1 ? GREEDY : MODEST, GROUP);
    const int fd = wire_member();
    for (unsigned int i = 0; i < n_wanted; i++) {
        char reason[32];
        (void)snprintf(reason, sizeof(reason), "%u/%u", (unsigned int)getuid(), i);
        wire_allocate(fd, 100, reason);
    }
    client_say(n_wanted);
    client_await();
    (void)close(fd);
}

static void test_reasons_of_a_greedy_user_leave_a_modest_one_its_own(void)
{
    static const unsigned int many = 5;
    static const unsigned int one = 1;
    start_for_both(OPTIONS(BOTH, "--reasons-per-uid=3"));
    struct client greedy = client_start(use_reasons, &many);
    expect_equal(client_hear(&greedy), 5);
    struct client modest = client_start(use_reasons, &one);
    expect_equal(client_hear(&modest), 1);
    const char *const ledger = ctl("ledger", "-o", "csv")->out;
    expect_match(ledger, "54321/2");
    expect_true(!harness_matches(ledger, "54321/3"));
    expect_match(ledger, "<other reasons>,2,200");
    expect_match(ledger, "54322/0");
    expect_limit("reasons_of_user", 3, 3);
    client_finish(&greedy);
    client_finish(&modest);
    daemon_stop();
}

/* ------------------------------------------------------------------------------ handshakes ---- */

/* Connects and says nothing, one time more than it may; says 1 when it has been told so. */
static void say_no_hello(const void *argument)
{
    (void)argument;
    int fds[4];
    become(GREEDY, GROUP);
    for (unsigned int i = 0; i < 4; i++) {
        fds[i] = wire_connect();
    }
    Kmem__Response *const response = wire_receive(fds[3]);
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_ERROR);
    expect_equal(response->error->code, KMEM__ERROR_CODE__ERROR_BUSY);
    harness_note("\"%s\"", response->error->message);
    expect_match(response->error->message, "--handshakes-per-uid allows one user, 3; try again");
    wire_free(response);
    client_say(1);
    client_await();
    for (unsigned int i = 0; i < 4; i++) {
        (void)close(fds[i]);
    }
}

static void allocate_once(const void *argument)
{
    (void)argument;
    become(MODEST, GROUP);
    void *block = kmem_try_allocate(44, "modest");
    expect_true(block != NULL);
    expect_equal(kmem_try_release(&block), 0);
}

static void test_handshakes_of_a_greedy_user_leave_a_modest_one_its_own(void)
{
    start_for_both(OPTIONS(BOTH, "--handshakes-per-uid=3"));
    struct client greedy = client_start(say_no_hello, NULL);
    expect_equal(client_hear(&greedy), 1);
    client_run(allocate_once, NULL);
    client_finish(&greedy);
    daemon_stop();
}

/* ---------------------------------------------------------------------------------- queues ---- */

#define N_DEAF 60
#define N_AHEAD 400

/* Asks over many connections, each more than its socket takes answers to, and reads none. */
static void read_nothing(const void *argument)
{
    (void)argument;
    static const unsigned char question[] = {4, 0, 0, 0, 0x08, 1, 0x32, 0}; /* id = 1, usage {} */
    static unsigned char ahead[N_AHEAD * sizeof(question)];
    int fds[N_DEAF];
    become(GREEDY, GROUP);
    for (size_t i = 0; i < N_AHEAD; i++) {
        memcpy(ahead + i * sizeof(question), question, sizeof(question));
    }
    for (unsigned int i = 0; i < N_DEAF; i++) {
        fds[i] = wire_observer();
        (void)send(fds[i], ahead, sizeof(ahead),
                   MSG_NOSIGNAL | MSG_DONTWAIT); /* or it is cut off */
    }
    client_say(1);
    client_await();
    for (unsigned int i = 0; i < N_DEAF; i++) {
        (void)close(fds[i]);
    }
}

static void test_queues_of_a_greedy_user_leave_a_modest_one_its_own(void)
{
    start_for_both(OPTIONS(BOTH, "--queued-per-uid=64KiB"));
    struct client greedy = client_start(read_nothing, NULL);
    expect_equal(client_hear(&greedy), 1);
    expect_log_line("of user 54321 is cut off: it reads no answers, and .* of them wait for "
                    "processes of that user, of the 64.0 KiB that may .--queued-per-uid");
    client_run(allocate_once, NULL);
    client_finish(&greedy);
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_roles_are_those_of_users_and_groups, 10),
    SYSTEM_TEST(test_unknown_users_and_groups_refuse_to_start, 10),
    SYSTEM_TEST(test_reload_changes_who_is_let_in_next, 20),
    SYSTEM_TEST(test_reload_that_is_the_first_to_name_a_user_opens_the_socket, 20),
    SYSTEM_TEST(test_sighup_that_is_the_first_to_name_a_user_opens_the_socket, 20),
    SYSTEM_TEST(test_shares_of_a_greedy_user_leave_a_modest_one_its_own, 10),
    SYSTEM_TEST(test_names_of_a_greedy_user_leave_a_modest_one_its_own, 10),
    SYSTEM_TEST(test_holds_of_a_greedy_user_leave_a_modest_one_its_own, 10),
    SYSTEM_TEST(test_reasons_of_a_greedy_user_leave_a_modest_one_its_own, 10),
    SYSTEM_TEST(test_handshakes_of_a_greedy_user_leave_a_modest_one_its_own, 10),
    SYSTEM_TEST(test_queues_of_a_greedy_user_leave_a_modest_one_its_own, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
