/* SPDX-License-Identifier: MIT */
/*
 * test_ends.c - a segment goes on over a restart, or its clients are told that it has ended
 *
 * The client has direct and leased blocks. What it does when it is told a number is in `deeds`.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/blocks.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/store.h"
#include "tests/system/usage.h"

#define N_LEASED 64
#define LEASED_BYTES 48
#define DIRECT_BYTES ((1 << 20) + 1) /* more than is ever leased */
#define LARGE_BYTES 200000
/* segment, state, clock, listener; ledger, pidfd and way of a client of the library */
#define N_STORED 7

/* ------------------------------------------------------------------------ in a client ---- */

enum deed {
    LEAVE_IT, /* the client's function returns */
    GO_ON,    /* leased blocks come and go, and a direct one */
    GO_ON_WITH_LEASES,
    AWAIT_THE_END,       /* leased blocks come and go until that is ECONNRESET */
    FIND_THE_END,        /* all calls are ECONNRESET */
    FIND_THE_END_SLOWLY, /* those that need the daemon, and all from then on */
    RAISE_IT,            /* the calls of the original interface end in the handler */
    JOIN_ANEW,
};

static unsigned char *leased[N_LEASED];
static unsigned char *direct;
static unsigned int n_raised;

static void hold_blocks(void)
{
    direct = allocate(DIRECT_BYTES, "ends");
    memset(direct, 'd', DIRECT_BYTES);
    for (unsigned int i = 0; i < 2 * N_LEASED; i++) { /* the first of a size are direct */
        void *warm = allocate(LEASED_BYTES, "ends");
        expect_equal(kmem_try_release(&warm), 0);
    }
    for (unsigned int i = 0; i < N_LEASED; i++) {
        leased[i] = allocate(LEASED_BYTES, "ends");
        memset(leased[i], (int)i, LEASED_BYTES);
    }
    for (unsigned int i = 0; i < 8; i++) { /* large ones are leased, too, after some */
        void *large = allocate(LARGE_BYTES, "ends");
        expect_equal(kmem_try_release(&large), 0);
    }
}

static void expect_in_place(void)
{
    for (size_t at = 0; at < DIRECT_BYTES; at++) {
        expect_equal(direct[at], 'd');
    }
    for (unsigned int i = 0; i < N_LEASED; i++) {
        for (size_t at = 0; at < LEASED_BYTES; at++) {
            expect_equal(leased[i][at], i);
        }
    }
}

static void go_on_with_leases(void)
{
    for (unsigned int i = 0; i < N_LEASED; i++) {
        expect_equal(kmem_try_release((void **)&leased[i]), 0);
        leased[i] = allocate(LEASED_BYTES, "ends");
        memset(leased[i], (int)i, LEASED_BYTES);
    }
}

static void go_on(void)
{
    go_on_with_leases();
    void *other = allocate(DIRECT_BYTES, "ends");
    expect_equal(kmem_try_release(&other), 0);
}

static void expect_end_of_allocation(size_t num_bytes)
{
    errno = 0;
    expect_true(kmem_try_allocate(num_bytes, "in vain") == NULL);
    expect_equal(errno, ECONNRESET);
    expect_match(kmem_last_error(),
                 "segment \"test\" has ended: (kmemd was stopped at "
                 "[0-9-]+ [0-9:]+|its kmemd was killed).*; blocks stay readable");
}

static void expect_end_of_release(void *block)
{
    void *same = block;
    expect_equal(kmem_try_release(&same), -ECONNRESET);
    expect_true(same == block);
    expect_match(kmem_last_error(), "segment \"test\" has ended: ");
}

static bool has_ended_for_leases(void)
{
    void *block = kmem_try_allocate(LEASED_BYTES, "ends");
    if (block == NULL) {
        expect_equal(errno, ECONNRESET);
        return true;
    }
    return kmem_try_release(&block) == -ECONNRESET;
}

/* Fast and slow, small and large, leased and direct. */
static void find_the_end(void)
{
    expect_end_of_release(leased[0]);
    expect_end_of_allocation(LEASED_BYTES);
    expect_end_of_allocation(LARGE_BYTES);
    expect_end_of_allocation(DIRECT_BYTES);
    expect_end_of_release(direct);
    expect_end_of_release(leased[N_LEASED - 1]);
    expect_in_place();
}

static void note_failure(const struct kmem_failure *failure)
{
    n_raised++;
    expect_equal(failure->error, ECONNRESET);
}

static void raise_it(void)
{
    void *block = leased[0];
    (void)kmem_set_failure_handler(note_failure);
    expect_true(kmem_allocate(LEASED_BYTES, "in vain") == NULL);
    expect_equal(n_raised, 1);
    kmem_release(&block);
    expect_equal(n_raised, 2);
    (void)kmem_set_failure_handler(NULL);
}

static void join_anew(void)
{
    expect_equal(kmem_close(), -ECONNRESET);
    hold_blocks();
    go_on();
}

static void do_deed(enum deed deed)
{
    switch (deed) {
    case GO_ON:
        go_on();
        break;
    case GO_ON_WITH_LEASES:
        go_on_with_leases();
        break;
    case FIND_THE_END_SLOWLY:
        expect_end_of_allocation(DIRECT_BYTES);
        find_the_end();
        break;
    case AWAIT_THE_END:
        expect_soon(has_ended_for_leases(), 5000);
        break;
    case FIND_THE_END:
        find_the_end();
        break;
    case RAISE_IT:
        raise_it();
        break;
    case JOIN_ANEW:
        join_anew();
        break;
    case LEAVE_IT:
        break;
    }
    expect_in_place();
}

static void do_deeds(const void *argument)
{
    (void)argument;
    hold_blocks();
    client_say(1);
    for (enum deed deed = (enum deed)client_await(); deed != LEAVE_IT;
         deed = (enum deed)client_await()) {
        do_deed(deed);
        client_say(1);
    }
}

/* ------------------------------------------------------------------------ in the test ---- */

static struct client start_client(void)
{
    struct client client = client_begin(do_deeds, NULL);
    return client;
}

static void let(const struct client *client, enum deed deed)
{
    client_tell(client, deed);
    client_hear(client);
}

static void end_client(struct client *client)
{
    client_tell(client, LEAVE_IT);
    client_end(client);
}

static bool has_ended(pid_t pid)
{
    siginfo_t info = {.si_pid = 0};
    expect_call(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0);
    return info.si_pid == pid;
}

/* Stops a daemon whose supervisor reads what it is told. */
static void stop_for_a_restart(void)
{
    (void)store_count();
    expect_call(kill(daemon_pid(), SIGTERM) == 0);
    while (!has_ended(daemon_pid())) {
        (void)store_count();
        harness_sleep_ms(1);
    }
    (void)daemon_try_stop();
    expect_log_line("the segment is left to the service manager");
}

static void need_a_supervisor(void)
{
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    store_open();
}

static struct client start_supervised(void)
{
    const struct daemon_setting first = store_first_setting();
    daemon_start_as(&first, OPTIONS(NULL));
    const struct client client = start_client();
    expect_soon(store_count() == N_STORED, 2000);
    return client;
}

static void start_again(void)
{
    const struct daemon_setting kept = store_setting();
    daemon_start_as(&kept, OPTIONS(NULL));
    expect_log_line("going on with the segment that was kept");
}

/* ------------------------------------------------------------------------ orderly ends ---- */

static void test_an_orderly_end_is_told_to_the_next_allocation_and_release(void)
{
    daemon_start(NULL, NULL);
    struct client first = start_client();
    struct client second = start_client();
    struct client third = start_client();
    daemon_stop();
    let(&first, FIND_THE_END);
    let(&first, FIND_THE_END);
    let(&second, FIND_THE_END_SLOWLY);
    let(&third, RAISE_IT);
    end_client(&first);
    end_client(&second);
    end_client(&third);
}

static void test_the_log_does_not_say_of_a_client_that_lives_that_it_has_ended(void)
{
    char pattern[128];
    daemon_start(NULL, NULL);
    struct client client = start_client();
    daemon_stop();
    (void)snprintf(pattern, sizeof(pattern), "client %d .* lives on, and lost the segment after",
                   (int)client.pid);
    expect_log_line(pattern);
    expect_true(!harness_matches(daemon_log(), "client [0-9]+ .* ended after"));
    end_client(&client);
}

static void test_who_was_told_of_the_end_joins_the_next_daemon_anew(void)
{
    daemon_start(NULL, NULL);
    struct client client = start_client();
    daemon_stop();
    let(&client, FIND_THE_END);
    daemon_start(NULL, NULL);
    let(&client, FIND_THE_END); /* the next one does not change what has happened */
    let(&client, JOIN_ANEW);
    end_client(&client);
    daemon_stop_balanced();
}

static void test_an_end_with_a_server_that_hangs_is_told_as_well(void)
{
    daemon_start("--watchdog", "0", NULL);
    struct client client = start_client();
    daemon_signal_server(SIGSTOP);
    daemon_stop();
    let(&client, FIND_THE_END);
    end_client(&client);
}

static void test_an_end_without_a_server_is_told_as_well(void)
{
    daemon_start(NULL, NULL);
    struct client client = start_client();
    daemon_crash_on_and_on();
    daemon_stop();
    let(&client, FIND_THE_END);
    end_client(&client);
}

static void test_the_end_of_a_killed_keeper_is_found_by_who_asks_and_by_all_from_then_on(void)
{
    daemon_start(NULL, NULL);
    struct client client = start_client();
    daemon_kill();
    let(&client, GO_ON_WITH_LEASES); /* nobody was left to tell */
    let(&client, FIND_THE_END_SLOWLY);
    end_client(&client);
}

/* A server that is killed, and one that is replaced, are no end. */
static void test_the_death_of_a_server_is_no_end(void)
{
    daemon_start(NULL, NULL);
    struct client client = start_client();
    for (unsigned int i = 0; i < 5; i++) {
        daemon_kill_server();
        let(&client, GO_ON);
    }
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    let(&client, GO_ON);
    expect_soon(harness_matches(daemon_log(), "upgraded: .* serves now"), 20000);
    let(&client, GO_ON);
    end_client(&client);
    daemon_stop_balanced();
}

/* ------------------------------------------------------------------ with a supervisor ---- */

static void test_a_restart_keeps_the_segment_and_its_clients(void)
{
    need_a_supervisor();
    struct client client = start_supervised();
    for (unsigned int i = 0; i < 3; i++) {
        stop_for_a_restart();
        expect_true(!harness_matches(daemon_log(), "client [0-9]+ .* (ended|lives on)"));
        expect_equal(store_count(), N_STORED);
        let(&client, GO_ON_WITH_LEASES);
        start_again();
        let(&client, GO_ON);
        expect_equal(usage_take().clients, 1);
    }
    end_client(&client);
    expect_soon(usage_take().clients == 0, 5000);
    expect_usage(0, 0);
    stop_for_a_restart();
    store_close();
}

static void test_a_call_that_needs_the_server_waits_for_the_restart(void)
{
    need_a_supervisor();
    struct client client = start_supervised();
    stop_for_a_restart();
    client_tell(&client, GO_ON); /* and it waits */
    harness_sleep_ms(1500);      /* longer than for a socket that is missing for another reason */
    start_again();
    client_hear(&client);
    end_client(&client);
    expect_soon(usage_take().clients == 0, 5000);
    stop_for_a_restart();
    store_close();
}

static void test_a_stop_is_told_when_the_supervisor_drops_what_it_kept(void)
{
    need_a_supervisor();
    struct client first = start_supervised();
    stop_for_a_restart();
    let(&first, GO_ON_WITH_LEASES);
    store_close();              /* as after a stop */
    let(&first, AWAIT_THE_END); /* the server's children may just be ending */
    let(&first, FIND_THE_END);
    let(&first, FIND_THE_END_SLOWLY);
    let(&first, RAISE_IT);
    end_client(&first);
}

/* It keeps nothing, though it wants to be told. */
static void test_a_stop_under_a_supervisor_without_a_store_is_told(void)
{
    need_a_supervisor();
    const struct daemon_setting setting = store_first_setting();
    daemon_start_as(&setting, OPTIONS(NULL));
    struct client client = start_client();
    store_close(); /* what it was given, unread */
    expect_equal(daemon_try_stop(), 0);
    let(&client, AWAIT_THE_END);
    let(&client, FIND_THE_END);
    end_client(&client);
}

static void use_44_bytes(const void *argument)
{
    (void)argument;
    void *block = allocate(44, "ends");
    expect_equal(kmem_try_release(&block), 0);
}

/* Where the supervisor says that it keeps descriptors the socket stays, and is listened to. */
static void test_who_connects_during_a_restart_waits_for_it(void)
{
    need_a_supervisor();
    expect_call(setenv("FDSTORE", "16", 1) == 0);
    struct client client = start_supervised();
    stop_for_a_restart();
    expect_equal(access(daemon_socket(), F_OK), 0);
    struct client guest = client_start(use_44_bytes, NULL);
    let(&client, GO_ON_WITH_LEASES);
    harness_sleep_ms(200);
    start_again();
    client_end(&guest);
    let(&client, GO_ON);
    end_client(&client);
    expect_soon(usage_take().clients == 0, 5000);
    stop_for_a_restart();
    store_close();
}

/* Another daemon does not take the place of one that is only away for a moment. */
static void test_another_daemon_is_refused_the_path_of_a_segment_that_is_kept(void)
{
    need_a_supervisor();
    expect_call(setenv("FDSTORE", "16", 1) == 0);
    struct client client = start_supervised();
    stop_for_a_restart();
    const struct daemon_setting other = {.max_fds = 0};
    const struct daemon_end end =
        daemon_try(&other, OPTIONS("--size", "1M", "--socket", daemon_socket()));
    expect_equal(end.exit_status, 73);
    expect_match(end.log, "something listens on .*what a service manager keeps");
    start_again();
    let(&client, GO_ON);
    end_client(&client);
    stop_for_a_restart();
    store_close();
}

static void test_a_client_that_ended_during_a_restart_gets_its_obituary_after_it(void)
{
    need_a_supervisor();
    struct client client = start_supervised();
    const pid_t pid = client.pid;
    stop_for_a_restart();
    client_kill(&client);
    start_again();
    expect_soon(usage_take().clients == 0, 5000);
    expect_true(obituary_of(pid).found);
    expect_usage(0, 0);
    stop_for_a_restart();
    store_close();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_an_orderly_end_is_told_to_the_next_allocation_and_release, 30),
    SYSTEM_TEST(test_the_log_does_not_say_of_a_client_that_lives_that_it_has_ended, 30),
    SYSTEM_TEST(test_who_was_told_of_the_end_joins_the_next_daemon_anew, 30),
    SYSTEM_TEST(test_an_end_with_a_server_that_hangs_is_told_as_well, 30),
    SYSTEM_TEST(test_an_end_without_a_server_is_told_as_well, 60),
    SYSTEM_TEST(test_the_end_of_a_killed_keeper_is_found_by_who_asks_and_by_all_from_then_on, 30),
    SYSTEM_TEST(test_the_death_of_a_server_is_no_end, 60),
    SYSTEM_TEST(test_a_restart_keeps_the_segment_and_its_clients, 60),
    SYSTEM_TEST(test_a_call_that_needs_the_server_waits_for_the_restart, 60),
    SYSTEM_TEST(test_a_stop_is_told_when_the_supervisor_drops_what_it_kept, 30),
    SYSTEM_TEST(test_a_stop_under_a_supervisor_without_a_store_is_told, 30),
    SYSTEM_TEST(test_who_connects_during_a_restart_waits_for_it, 60),
    SYSTEM_TEST(test_another_daemon_is_refused_the_path_of_a_segment_that_is_kept, 60),
    SYSTEM_TEST(test_a_client_that_ended_during_a_restart_gets_its_obituary_after_it, 60),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
