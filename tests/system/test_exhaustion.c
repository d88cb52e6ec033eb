/* SPDX-License-Identifier: MIT */
/*
 * test_exhaustion.c - every system call and every allocation of kmemd fails, one after the other
 *
 * The life of a daemon is taken in five acts: it starts, serves, is followed by another server,
 * is upgraded, ends. A sweep plays one act again and again: the first time the first call of the
 * keeper (or of the server) fails, the next time the second, until there are no more. Either that
 * call alone fails, or that kind of call for good, as long as the act lasts; of memory, all.
 *
 * What is wanted of every one of them:
 *
 *      start       it says why it does not, and ends with a status that kmemd(8) has; or it serves
 *      all others  a client's call may fail, with an error that kmem.h has; afterwards everything
 *                  is answered again, no block is lost, all comes back; nobody dies by a signal
 *
 * A sweep takes each call where $KMEM_TEST_STRIDE is 1, as `make torture` has it, else one in so
 * many as the table below says, and prints how many that were.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "daemon/options.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/faults.h"
#include "tests/system/harness.h"
#include "tests/system/holder.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"

/* Nothing takes longer once nothing fails: the last pause of a keeper, a start, and a recovery. */
#define BACK_LIMIT_MS (HARNESS_SANITIZED ? 20000 : 5000)
/* Whether a server is there at all: it answers within a millisecond. */
#define ANSWER_LIMIT_MS (HARNESS_SANITIZED ? 1000 : 100)
/* What a client waits for an answer while something fails for good. */
#define PATIENCE_MS "200"

struct act {
    const char *name;
    /* One daemon for as many faults as it survives; else a new one for each. */
    bool goes_on;
    void (*play)(const struct fault *fault);
};

/* --------------------------------------------------------------------------- clients ---- */

#define N_SMALL 24
#define SMALL_BYTES 64
#define LARGE_BYTES 100000

/* Whether a call may fail with this while something in the daemon does. */
static bool is_documented(int error)
{
    return error == ENOMEM || error == ECONNRESET || error == ECONNREFUSED || error == ETIMEDOUT ||
           error == EUSERS;
}

static void expect_documented(int error)
{
    if (!is_documented(error)) {
        fail("errno %d (%s): %s", error, strerror(error), kmem_last_error());
    }
}

static void expect_all(const unsigned char *bytes, size_t n_bytes, unsigned char byte)
{
    for (size_t i = 0; i < n_bytes; i++) {
        expect_equal(bytes[i], byte);
    }
}

/* Who has waited in vain for so many calls goes on without the daemon. */
#define FAILURES_MAX 2
static unsigned int n_failures;

/* NULL if that fails in a way that it may. */
static unsigned char *try_allocate(size_t n_bytes, unsigned char mark)
{
    unsigned char *const bytes =
        n_failures < FAILURES_MAX ? kmem_try_allocate(n_bytes, "exhaustion") : NULL;
    if (bytes == NULL) {
        if (n_failures < FAILURES_MAX) {
            expect_documented(errno);
        }
        n_failures++;
        return NULL;
    }
    expect_all(bytes, n_bytes, 0);
    memset(bytes, mark, n_bytes);
    return bytes;
}

/* Return: whether it is released. */
static bool try_release(unsigned char **bytes, size_t n_bytes, unsigned char mark)
{
    if (*bytes == NULL || n_failures >= FAILURES_MAX) {
        return false;
    }
    expect_all(*bytes, n_bytes, mark);
    const int r = kmem_try_release((void **)bytes);
    if (r != 0) {
        expect_documented(-r);
        n_failures++;
    }
    return r == 0;
}

/* Joins, is carved blocks, leases, gives back, leaves. Return: how many calls worked. */
static unsigned int talk(void)
{
    unsigned char *small[N_SMALL];
    unsigned int n_good = 0;
    for (unsigned int i = 0; i < N_SMALL; i++) {
        small[i] = try_allocate(SMALL_BYTES, (unsigned char)(i + 1));
        n_good += small[i] != NULL;
    }
    unsigned char *large = try_allocate(LARGE_BYTES, 0xAA);
    n_good += large != NULL;
    for (unsigned int i = 0; i < N_SMALL; i++) {
        n_good += try_release(&small[i], SMALL_BYTES, (unsigned char)(i + 1));
    }
    n_good += try_release(&large, LARGE_BYTES, 0xAA);
    const int r = kmem_close();
    if (r != 0) {
        expect_documented(-r);
    }
    return n_good + (r == 0);
}

#define TALK_ALL (2 * N_SMALL + 3)

static void talk_through_faults(const void *argument)
{
    (void)argument;
    (void)setenv("KMEM_TIMEOUT_MS", PATIENCE_MS, 1);
    (void)talk();
    /* Another client of the same process, that is going to be killed. */
    (void)try_allocate(SMALL_BYTES, 1);
    client_pause();
}

static void talk_in_peace(const void *argument)
{
    (void)argument;
    expect_equal(talk(), TALK_ALL);
}

static struct faults_seen seen; /* in this act */
static unsigned int n_aborted;  /* of this sweep */
static unsigned int clean_fds;  /* of a daemon that nothing failed for */

/* ---------------------------------------------------------------------------- daemons ---- */

/* libuv calls abort() if it has no pipe for its signals; it makes that with the first loop. */
static bool is_aborted_by_libuv(const char *name)
{
    return strcmp(name, "pipe2") == 0;
}

/* Return: whether the server was aborted, where it may be. */
static bool expect_no_crash(void)
{
    const bool has_crashed = harness_matches(daemon_log(), "was killed by signal (4|6|7|8|11) ");
    n_aborted += has_crashed;
    if (has_crashed && !is_aborted_by_libuv(seen.name)) {
        fail("the server crashed because of %s", seen.name);
    }
    return has_crashed;
}

/* Whether an observer is welcomed at once. */
static bool is_answered(void)
{
    const int fd = wire_try_connect();
    if (fd < 0) {
        return false;
    }
    wire_send(fd, request_hello(NEW_REQUEST, KMEM__ROLE__ROLE_OBSERVER, 0));
    struct pollfd readable = {.fd = fd, .events = POLLIN};
    Kmem__Response *const response =
        poll(&readable, 1, ANSWER_LIMIT_MS) == 1 ? wire_try_receive(fd) : NULL;
    (void)close(fd);
    const bool is_welcome = response && response->body_case == KMEM__RESPONSE__BODY_WELCOME;
    if (response) {
        wire_free(response);
    }
    return is_welcome;
}

/* With nothing failing any more: everything works, and everything comes back. */
static void expect_recovered(void)
{
    expect_soon(is_answered(), BACK_LIMIT_MS);
    client_run(talk_in_peace, NULL);
    expect_balanced();
}

/* A daemon that fails as soon as it is told to, and has not been yet. */
static void begin_faulty(void)
{
    struct daemon_end how;
    if (!faults_start(OPTIONS("--commit", "lazy"), &how)) {
        fail("status %d: %s", how.exit_status, how.log);
    }
    daemon_remember_idle();
}

static void expect_refusal(const struct daemon_end *how)
{
    const int status = how->exit_status;
    if (status != EXIT_SYSTEM && status != EXIT_CANT_CREATE && status != EXIT_DENIED) {
        fail("ended with status %d", status);
    }
    /* What can not be written can not be read. */
    if (strcmp(seen.name, "write") != 0) {
        expect_match(how->log, "error: .{10,}");
    }
    expect_equal(access(daemon_socket(), F_OK), -1);
}

/* ------------------------------------------------------------------------------- acts ---- */

/* However slow the machine is, what is to fail is waited for; all 1,600 times it comes in 2 s. */
#define SLOW_LIMIT_MS 10000

/* Until the act is over, or until its fault has hindered it for so long. */
static void wait_for(bool (*is_over)(void), uint64_t patience_ms)
{
    const uint64_t until_us = harness_now_us() + SLOW_LIMIT_MS * UINT64_C(1000);
    uint64_t failed_us = 0;
    while (!is_over() && harness_now_us() < (failed_us != 0 ? failed_us : until_us)) {
        if (failed_us == 0 && faults_n_failed() > 0) {
            failed_us = harness_now_us() + patience_ms * 1000;
        }
        harness_sleep_ms(1);
    }
}

static bool has_failed(void)
{
    return faults_n_failed() > 0;
}

static bool has_said_of_its_pages(void)
{
    return harness_matches(daemon_log(), "made of 2 MiB pages|stays on 4 KiB pages");
}

static void play_start(const struct fault *fault)
{
    struct daemon_end how;
    faults_arm(fault);
    const bool is_ready = faults_start(OPTIONS(NULL), &how);
    if (is_ready) {
        /* What it does in the background belongs to it; what is said of that may be what fails. */
        wait_for(has_said_of_its_pages, 200);
    }
    seen = faults_disarm();
    if (!is_ready) {
        expect_refusal(&how);
        return;
    }
    expect_soon(is_answered(), BACK_LIMIT_MS);
    daemon_remember_idle();
    clean_fds = clean_fds == 0 ? daemon_fds_at_start() : clean_fds;
    expect_at_most(daemon_fds_at_start(), clean_fds);
    expect_recovered();
    (void)expect_no_crash();
    faults_stop();
}

static void play_serve(const struct fault *fault)
{
    faults_arm(fault);
    struct client client = client_begin(talk_through_faults, NULL);
    client_kill(&client);
    if (fault->nth == 1) {
        wait_for(has_failed, 0);
    }
    harness_sleep_ms(5); /* with what its death causes; a pause would add what comes each second */
    seen = faults_disarm();
    expect_recovered();
    if (expect_no_crash()) {
        /* A new log, and a keeper that has counted no crash yet. */
        faults_stop();
        begin_faulty();
    }
}

static void play_restart(const struct fault *fault)
{
    begin_faulty();
    struct client client = holder_start();
    faults_arm(fault);
    daemon_signal_server(SIGKILL);
    wait_for(is_answered, 300);
    seen = faults_disarm();
    expect_soon(is_answered(), BACK_LIMIT_MS);
    holder_expect_held(&client);
    holder_end(&client);
    expect_recovered();
    (void)expect_no_crash();
    faults_stop();
}

/* What became of it is in the log, unless that is what fails. */
static bool has_said_of_its_upgrade(void)
{
    return harness_matches(daemon_log(), "upgraded: |nothing is changed$|the former one goes on$");
}

static void play_upgrade(const struct fault *fault)
{
    begin_faulty();
    struct client client = holder_start();
    faults_arm(fault);
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    wait_for(has_said_of_its_upgrade, 500);
    seen = faults_disarm();
    wait_for(has_said_of_its_upgrade, BACK_LIMIT_MS / 5);
    expect_soon(is_answered(), BACK_LIMIT_MS);
    holder_expect_held(&client);
    holder_end(&client);
    (void)expect_no_crash();
    faults_stop();
}

/* Some 22 are made; a keeper that spins while it waits makes thousands. */
#define END_CALLS_MAX 200

static bool has_ended(void)
{
    siginfo_t info = {.si_pid = 0};
    expect_call(waitid(P_PID, (id_t)daemon_pid(), &info, WEXITED | WNOHANG | WNOWAIT) == 0);
    return info.si_pid == daemon_pid();
}

static void play_end(const struct fault *fault)
{
    begin_faulty();
    faults_arm(fault);
    expect_call(kill(daemon_pid(), SIGTERM) == 0);
    wait_for(has_ended, 200);
    seen = faults_disarm(); /* who can not wait for a signal sees it now */
    const int status = daemon_try_stop();
    faults_end();
    if (status != 0 && status != EXIT_SYSTEM) {
        fail("ended with status %d", status);
    }
    (void)expect_no_crash();
}

static const struct act start = {"start", false, play_start};
static const struct act serve = {"serve", true, play_serve};
static const struct act restart = {"restart", false, play_restart};
static const struct act upgrade = {"upgrade", false, play_upgrade};
static const struct act end = {"end", false, play_end};

/* ----------------------------------------------------------------------------- sweeps ---- */

static const char *fault_describe(const struct fault *fault)
{
    static char text[128];
    (void)snprintf(text, sizeof(text), "%s of the %s, %s",
                   fault->kind == FAULT_MEMORY ? "allocation" : "system call",
                   fault->role == FAULT_SERVER ? "server" : "keeper",
                   fault->for_good ? "for good" : "once");
    return text;
}

/* Printed with the logs if the test fails. */
static void fault_log(const struct act *act, const struct fault *fault)
{
    FILE *const file = fopen(harness_path("fault.log"), "we");
    expect_call(file != NULL);
    (void)fprintf(file, "%s: number %u, %s\n", act->name, fault->nth, fault_describe(fault));
    (void)fclose(file);
}

static void sweep(const struct act *act, struct fault fault, unsigned int usual_stride)
{
    const struct stopwatch watch = stopwatch_start();
    const unsigned int stride = harness_stride(HARNESS_SANITIZED ? 4 * usual_stride : usual_stride);
    unsigned int n_failed = 0;
    n_aborted = 0;
    if (act->goes_on) {
        begin_faulty();
    }
    for (fault.nth = 1;; fault.nth += stride) {
        fault_log(act, &fault);
        act->play(&fault);
        if (seen.n_failed == 0) {
            break;
        }
        n_failed++;
    }
    if (act->goes_on) {
        faults_stop();
    }
    harness_note("%s: %s: %u of %u, one in %u; %u aborts; %.1f s", act->name,
                 fault_describe(&fault), n_failed, seen.n_calls, stride, n_aborted,
                 stopwatch_ms(&watch) / 1000);
    expect_at_least(n_failed, 1);
}

/* Once for each call; for good, which is slower and of which many are alike, for one in so many. */
static void sweep_both(const struct act *act, enum fault_kind kind, enum fault_role role,
                       unsigned int usual_stride)
{
    if (HARNESS_SANITIZED && kind == FAULT_MEMORY) {
        harness_skip("a sanitizer has its own malloc(); unit.server makes that of the server fail");
    }
    faults_begin(kind);
    sweep(act, (struct fault){.kind = kind, .role = role}, 1);
    sweep(act, (struct fault){.kind = kind, .role = role, .for_good = true}, usual_stride);
}

static void test_system_calls_of_a_keeper_that_starts(void)
{
    sweep_both(&start, FAULT_CALL, FAULT_KEEPER, 2);
}

static void test_system_calls_of_a_server_that_starts(void)
{
    sweep_both(&start, FAULT_CALL, FAULT_SERVER, 2);
}

static void test_system_calls_of_a_keeper_that_serves(void)
{
    sweep_both(&serve, FAULT_CALL, FAULT_KEEPER, 1);
}

static void test_system_calls_of_a_server_that_serves(void)
{
    sweep_both(&serve, FAULT_CALL, FAULT_SERVER, 11);
}

static void test_system_calls_of_a_keeper_that_restarts(void)
{
    sweep_both(&restart, FAULT_CALL, FAULT_KEEPER, 3);
}

static void test_system_calls_of_a_server_that_restarts(void)
{
    sweep_both(&restart, FAULT_CALL, FAULT_SERVER, 5);
}

static void test_system_calls_of_a_keeper_that_upgrades(void)
{
    sweep_both(&upgrade, FAULT_CALL, FAULT_KEEPER, 3);
}

static void test_system_calls_of_a_server_that_upgrades(void)
{
    sweep_both(&upgrade, FAULT_CALL, FAULT_SERVER, 3);
}

static void test_system_calls_of_a_keeper_that_ends(void)
{
    sweep_both(&end, FAULT_CALL, FAULT_KEEPER, 1);
}

/* Its calls are as many as what the server says, however long that takes to end. */
static void test_a_keeper_that_ends_waits_for_its_server(void)
{
    faults_begin(FAULT_CALL);
    play_end(&(struct fault){.kind = FAULT_CALL, .role = FAULT_KEEPER, .nth = UINT32_MAX});
    harness_note("%u system calls", seen.n_calls);
    expect_at_most(seen.n_calls, END_CALLS_MAX);
}

static void test_system_calls_of_a_server_that_ends(void)
{
    sweep_both(&end, FAULT_CALL, FAULT_SERVER, 1);
}

static void test_allocations_of_a_keeper_that_starts(void)
{
    sweep_both(&start, FAULT_MEMORY, FAULT_KEEPER, 1);
}

static void test_allocations_of_a_server_that_starts(void)
{
    sweep_both(&start, FAULT_MEMORY, FAULT_SERVER, 1);
}

static void test_allocations_of_a_server_that_serves(void)
{
    sweep_both(&serve, FAULT_MEMORY, FAULT_SERVER, 1);
}

static void test_allocations_of_a_server_that_restarts(void)
{
    sweep_both(&restart, FAULT_MEMORY, FAULT_SERVER, 3);
}

static void test_allocations_of_a_keeper_that_restarts(void)
{
    sweep_both(&restart, FAULT_MEMORY, FAULT_KEEPER, 1);
}

static void test_a_keeper_that_serves_allocates_nothing(void)
{
    if (HARNESS_SANITIZED) {
        harness_skip("a sanitizer has its own malloc()");
    }
    faults_begin(FAULT_MEMORY);
    begin_faulty();
    play_serve(&(struct fault){.kind = FAULT_MEMORY, .role = FAULT_KEEPER, .nth = 1});
    expect_equal(seen.n_calls, 0);
    faults_stop();
}

/* ------------------------------------------------------------------------ descriptors ---- */

static void allocate_when_told(const void *argument)
{
    (void)argument;
    void *kept = kmem_try_allocate(LARGE_BYTES, "joined before");
    expect_call(kept != NULL);
    client_say(1);
    client_await(); /* others can not join */
    for (unsigned int i = 0; i < 100; i++) {
        void *block = kmem_try_allocate(LARGE_BYTES, "served");
        expect_call(block != NULL);
        expect_equal(kmem_try_release(&block), 0);
    }
    client_say(1);
}

static void join_late(const void *argument)
{
    (void)argument;
    client_say(1);
    expect_call(kmem_try_allocate(SMALL_BYTES, "joined late") != NULL);
    client_say(2);
}

static void test_connections_that_can_not_be_accepted_wait_and_others_are_served(void)
{
    faults_begin(FAULT_CALL);
    begin_faulty();
    struct client served = client_begin(allocate_when_told, NULL);
    const struct fault fault = {
        .role = FAULT_SERVER, .nth = 1, .for_good = true, .only = SYS_accept4};
    faults_arm(&fault);
    struct client late = client_begin(join_late, NULL);
    expect_soon(faults_n_failed() >= 6, 2000); /* two a try: one is in reserve */
    client_resume(&served);
    (void)faults_disarm();
    client_hear(&late);
    client_end(&served);
    client_end(&late);
    expect_log_line("a connection can not be accepted: too many open files; the others are served");
    expect_balanced();
    faults_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_system_calls_of_a_keeper_that_starts, 200),
    SYSTEM_TEST(test_system_calls_of_a_server_that_starts, 200),
    SYSTEM_TEST(test_system_calls_of_a_keeper_that_serves, 200),
    SYSTEM_TEST(test_system_calls_of_a_server_that_serves, 200),
    SYSTEM_TEST(test_system_calls_of_a_keeper_that_restarts, 200),
    SYSTEM_TEST(test_system_calls_of_a_server_that_restarts, 200),
    SYSTEM_TEST(test_system_calls_of_a_keeper_that_upgrades, 200),
    SYSTEM_TEST(test_system_calls_of_a_server_that_upgrades, 200),
    SYSTEM_TEST(test_system_calls_of_a_keeper_that_ends, 200),
    SYSTEM_TEST(test_a_keeper_that_ends_waits_for_its_server, 60),
    SYSTEM_TEST(test_system_calls_of_a_server_that_ends, 200),
    SYSTEM_TEST(test_allocations_of_a_keeper_that_starts, 200),
    SYSTEM_TEST(test_allocations_of_a_server_that_starts, 200),
    SYSTEM_TEST(test_allocations_of_a_server_that_serves, 200),
    SYSTEM_TEST(test_allocations_of_a_server_that_restarts, 200),
    SYSTEM_TEST(test_allocations_of_a_keeper_that_restarts, 200),
    SYSTEM_TEST(test_a_keeper_that_serves_allocates_nothing, 200),
    SYSTEM_TEST(test_connections_that_can_not_be_accepted_wait_and_others_are_served, 200),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
