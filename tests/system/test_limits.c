/* SPDX-License-Identifier: MIT */
/*
 * test_limits.c - more peers, more requests and fewer descriptors than there should be
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "proto/limits.h"
#include "tests/system/bystander.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"

/* The limit of descriptors that suffices for a daemon with so many clients. */
#define FDS_RESERVED 128
#define FDS_PER_CLIENT 4

/* ----------------------------------------------------------------------- silent peers ---- */

static void connect_and_say_nothing(const void *argument)
{
    const unsigned int n_connections = *(const unsigned int *)argument;
    static int fds[1000];
    for (unsigned int i = 0; i < n_connections; i++) {
        fds[i] = wire_connect();
    }
    const struct stopwatch watch = stopwatch_start();
    client_say(1);
    for (unsigned int i = 0; i < n_connections; i++) {
        expect_closed(fds[i], HELLO_TIMEOUT_MS);
        (void)close(fds[i]);
    }
    expect_lasted(&watch, HELLO_TIMEOUT_MS - 500);
}

static void test_peers_that_never_say_hello_are_closed_after_5_s(void)
{
    const unsigned int n_connections = 200;
    daemon_start(NULL, NULL);
    struct client bystander = bystander_start(1);
    struct client silent = client_begin(connect_and_say_nothing, &n_connections);
    client_end(&silent);
    bystander_end(&bystander);
    daemon_stop_balanced();
}

/* Whatever the daemon says before is passed over. */
static bool is_closed(int fd)
{
    char said[256];
    ssize_t n;
    do {
        n = recv(fd, said, sizeof(said), MSG_DONTWAIT);
    } while (n > 0);
    return n == 0 || errno != EAGAIN;
}

/* A byte in a quarter of a second, of a frame that would take 25: it ends before the frame does. */
static void send_half_a_hello(const void *argument)
{
    (void)argument;
    const char length[4] = {100, 0, 0, 0};
    const int fd = wire_connect();
    const struct stopwatch watch = stopwatch_start();
    unsigned int n_sent = 0;
    wire_send_bytes(fd, length, sizeof(length));
    for (; !is_closed(fd); n_sent++) {
        expect_true(n_sent < 99);
        wire_send_bytes(fd, "", 1);
        harness_sleep_ms(250);
    }
    harness_note("closed after %u bytes", n_sent);
    expect_lasted(&watch, HELLO_TIMEOUT_MS - 500); /* from connecting, not from the last byte */
    (void)close(fd);
}

static void test_a_slow_hello_gets_no_more_time(void)
{
    daemon_start(NULL, NULL);
    client_run(send_half_a_hello, NULL);
    daemon_stop_balanced();
}

/* A member's request, each byte of it some time after the last. */
static void allocate_byte_by_byte(const void *argument)
{
    (void)argument;
    const char request[10] = "\x06\0\0\0\x08\x05\x1a\x02\x08\x2c"; /* id = 5, allocate { 44 } */
    const int fd = wire_member();
    client_say(1);
    for (size_t i = 0; i < sizeof(request); i++) {
        harness_sleep_ms(50);
        wire_send_bytes(fd, &request[i], 1);
    }
    Kmem__Response *const response = wire_receive(fd);
    expect_equal(response->id, 5);
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_ALLOCATED);
    wire_free(response);
    (void)close(fd);
}

static void test_slow_members_are_served_and_delay_nobody(void)
{
    struct client slow[20];
    const size_t n_slow = sizeof(slow) / sizeof(slow[0]);
    daemon_start(NULL, NULL);
    struct client bystander = bystander_start(1);
    for (size_t i = 0; i < n_slow; i++) {
        slow[i] = client_begin(allocate_byte_by_byte, NULL);
    }
    for (size_t i = 0; i < n_slow; i++) {
        client_end(&slow[i]);
    }
    bystander_end(&bystander);
    daemon_stop_balanced();
}

static void come_and_go(const void *argument)
{
    const uint64_t n_connections = *(const uint64_t *)argument;
    const struct stopwatch watch = stopwatch_start();
    for (uint64_t i = 0; i < n_connections; i++) {
        (void)close(wire_connect());
    }
    harness_note("%.0f connections a second", (double)n_connections * 1000 / stopwatch_ms(&watch));
}

static void test_10000_connections_come_and_go(void)
{
    const uint64_t n_connections = harness_scaled(10000);
    daemon_start(NULL, NULL);
    struct client bystander = bystander_start(1);
    client_run(come_and_go, &n_connections);
    bystander_end(&bystander);
    daemon_stop_balanced();
}

/* ------------------------------------------------------------- peers that do not read ---- */

/* No deadline, so not a patient one: an early end only means fewer frames. */
#define QUIET_MS 500

/* Writes frames until the socket has taken none for half a second, or all are written. */
static uint64_t write_without_reading(int fd, const unsigned char *frame, size_t frame_bytes,
                                      uint64_t n_frames)
{
    /* 64 frames a call; a whole number of them, so a short write is resumed where it stopped. */
    static unsigned char many[64 * 64];
    uint64_t n_bytes = 0;
    const uint64_t total_bytes = n_frames * frame_bytes;
    const size_t many_bytes = 64 * frame_bytes;
    for (size_t i = 0; i < 64; i++) {
        memcpy(many + i * frame_bytes, frame, frame_bytes);
    }
    while (n_bytes < total_bytes) {
        const size_t at = n_bytes % many_bytes;
        size_t left = many_bytes - at;
        left = left < total_bytes - n_bytes ? left : (size_t)(total_bytes - n_bytes);
        const ssize_t n = send(fd, many + at, left, MSG_NOSIGNAL | MSG_DONTWAIT);
        struct pollfd writable = {.fd = fd, .events = POLLOUT};
        if (n > 0) {
            n_bytes += (uint64_t)n;
        } else if (errno != EAGAIN || poll(&writable, 1, QUIET_MS) != 1) {
            break;
        }
    }
    return n_bytes / frame_bytes;
}

struct flood {
    unsigned char frame[16];
    size_t frame_bytes;
    bool as_member;
};

static void flood_without_reading(const void *argument)
{
    const struct flood *const flood = argument;
    const int fd = flood->as_member ? wire_member() : wire_observer();
    client_say(write_without_reading(fd, flood->frame, flood->frame_bytes, 1000000));
    client_await();
    (void)close(fd);
}

static void survive_flood(const struct flood *flood)
{
    daemon_start(NULL, NULL);
    struct client bystander = bystander_start(1);
    struct client rude = client_start(flood_without_reading, flood);
    const uint64_t n_sent = client_hear(&rude);
    const uint64_t memory_kib = daemon_memory_kib();
    harness_note("%llu of 1,000,000 requests were taken; the daemon has %llu KiB, had %llu",
                 (unsigned long long)n_sent, (unsigned long long)memory_kib,
                 (unsigned long long)daemon_memory_kib_at_start());
    /* One response and one roll-up at a time, however many were asked for. */
    expect_at_most(memory_kib, daemon_memory_kib_at_start() + (HARNESS_SANITIZED ? 65536 : 2048));
    expect_at_least(usage_take().requests, 1);
    client_finish(&rude);
    bystander_end(&bystander);
    daemon_stop_balanced();
}

static void test_million_small_requests_without_reading_an_answer(void)
{
    /* id = 1, size_of { 64 }: a request of 10 bytes, an answer of some 60 */
    survive_flood(&(struct flood){
        .frame = {6, 0, 0, 0, 0x08, 1, 0x2a, 2, 0x08, 0x40}, .frame_bytes = 10, .as_member = true});
}

static void test_million_questions_without_reading_an_answer(void)
{
    /* id = 1, usage {}: an answer of 2 KiB */
    survive_flood(&(struct flood){.frame = {4, 0, 0, 0, 0x08, 1, 0x32, 0}, .frame_bytes = 8});
}

static void test_million_roll_ups_without_reading_an_answer(void)
{
    survive_flood(&(struct flood){.frame = {4, 0, 0, 0, 0x08, 1, 0x3a, 0}, .frame_bytes = 8});
}

#define N_QUESTIONERS 100

static void use_60000_reasons(const void *argument)
{
    (void)argument;
    const int fd = wire_member();
    wire_fill(fd, 60000, 1, 60000);
    client_pause();
    (void)close(fd);
}

/* Asks over many connections, reads the first page of each answer, and keeps them all open. */
static void ask_for_many_roll_ups(const void *argument)
{
    (void)argument;
    int fds[N_QUESTIONERS];
    unsigned int n_answered = 0;
    for (unsigned int i = 0; i < N_QUESTIONERS; i++) {
        fds[i] = wire_observer();
        Kmem__Response *const response = wire_ask(fds[i], request_ledger(NEW_REQUEST, 0, 0));
        n_answered += response->body_case == KMEM__RESPONSE__BODY_LEDGER;
        expect_true(response->body_case == KMEM__RESPONSE__BODY_LEDGER ||
                    response->error->code == KMEM__ERROR_CODE__ERROR_BUSY);
        wire_free(response);
    }
    client_say(n_answered);
    client_await();
    for (unsigned int i = 0; i < N_QUESTIONERS; i++) {
        (void)close(fds[i]);
    }
}

static void test_roll_ups_of_many_observers_take_bounded_memory(void)
{
    daemon_start("--size", "64MiB", NULL);
    struct client holder = client_begin(use_60000_reasons, NULL);
    struct client rude = client_start(ask_for_many_roll_ups, NULL);
    const uint64_t n_answered = client_hear(&rude);
    const uint64_t memory_kib = daemon_memory_kib() - daemon_memory_kib_at_start();
    harness_note("%llu of %d roll-ups of 60,000 reasons were answered and are kept in %llu MiB",
                 (unsigned long long)n_answered, N_QUESTIONERS,
                 (unsigned long long)memory_kib / 1024);
    expect_at_least(n_answered, 1);
    expect_at_most(memory_kib, (HARNESS_SANITIZED ? 1024 : 256) * 1024);
    client_finish(&rude);
    client_finish(&holder);
    daemon_stop_balanced();
}

static void read_late(const void *argument)
{
    (void)argument;
    const unsigned char frame[] = {4, 0, 0, 0, 0x08, 7, 0x32, 0};
    const int fd = wire_observer();
    const uint64_t n_sent = write_without_reading(fd, frame, sizeof(frame), 1000000);
    expect_at_least(n_sent, 100);
    for (uint64_t i = 0; i < n_sent; i++) {
        Kmem__Response *const response = wire_receive(fd);
        expect_equal(response->id, 7);
        expect_equal(response->body_case, KMEM__RESPONSE__BODY_USAGE);
        wire_free(response);
    }
    (void)close(fd);
}

static void test_every_request_is_answered_when_the_peer_reads_at_last(void)
{
    daemon_start(NULL, NULL);
    client_run(read_late, NULL);
    daemon_stop_balanced();
}

/* ------------------------------------------------------------------------ descriptors ---- */

static void test_too_few_descriptors_for_one_client_names_the_number_needed(void)
{
    const struct daemon_setting setting = {.max_fds = 64};
    const struct daemon_end end =
        daemon_try(&setting, OPTIONS("--size", "1M", "--socket", harness_path("test.sock")));
    expect_equal(end.exit_status, 71);
    expect_match(end.log, "RLIMIT_NOFILE");
    expect_match(end.log, "132"); /* FDS_RESERVED + FDS_PER_CLIENT */
}

static void hold_44_bytes(const void *argument)
{
    (void)argument;
    void *block = kmem_try_allocate(44, "one of many");
    if (block == NULL) {
        fail("%s", kmem_last_error());
    }
    client_pause();
    expect_equal(kmem_try_release(&block), 0);
}

static void be_one_too_many(const void *argument)
{
    (void)argument;
    expect_true(kmem_try_allocate(44, "one too many") == NULL);
    const int error = errno;
    harness_note("\"%s\"", kmem_last_error());
    expect_equal(error, EUSERS);
    expect_match(kmem_last_error(), "20 clients");
    expect_match(kmem_last_error(), "RLIMIT_NOFILE");
}

static void test_one_client_more_than_descriptors_allow_is_refused_clearly(void)
{
    enum { N_CLIENTS = 20 };
    struct client clients[N_CLIENTS];
    const struct daemon_setting setting = {.max_fds = FDS_RESERVED + FDS_PER_CLIENT * N_CLIENTS};
    daemon_start_as(&setting, OPTIONS("--log-level", "info"));
    for (unsigned int i = 0; i < N_CLIENTS; i++) {
        clients[i] = client_begin(hold_44_bytes, NULL);
    }
    client_run(be_one_too_many, NULL);
    expect_usage(UINT64_C(44) * N_CLIENTS, N_CLIENTS);
    client_finish(&clients[0]);
    expect_soon(usage_take().clients == N_CLIENTS - 1, 1000);
    clients[0] = client_start(hold_44_bytes, NULL); /* a place is free again */
    client_hear(&clients[0]);
    for (unsigned int i = 0; i < N_CLIENTS; i++) {
        client_finish(&clients[i]);
    }
    daemon_stop_balanced();
}

static void connect_as_often_as_possible(const void *argument)
{
    const unsigned int n_connections = *(const unsigned int *)argument;
    unsigned int n_open = 0;
    int *const fds = calloc(n_connections, sizeof(*fds));
    expect_true(fds != NULL);
    for (unsigned int i = 0; i < n_connections; i++) {
        fds[i] = wire_try_connect();
        n_open += fds[i] >= 0;
    }
    client_say(n_open);
    client_await();
    for (unsigned int i = 0; i < n_connections; i++) {
        (void)close(fds[i]);
    }
    free(fds);
}

/* Connections are accepted in their turn: that is behind all that were made before. */
static bool is_welcome(void)
{
    struct request hello;
    const int fd = wire_connect();
    wire_send(fd, request_hello(&hello, KMEM__ROLE__ROLE_OBSERVER, 0));
    Kmem__Response *const response = wire_try_receive(fd);
    const bool welcome = response && response->body_case == KMEM__RESPONSE__BODY_WELCOME;
    wire_free(response);
    expect_call(close(fd) == 0);
    return welcome;
}

static void test_more_connections_than_descriptors_disturb_nobody(void)
{
    const struct daemon_setting setting = {.max_fds = FDS_RESERVED + FDS_PER_CLIENT * 20};
    const unsigned int n_connections = 400;
    daemon_start_as(&setting, OPTIONS("--log-level", "info"));
    struct client bystander = bystander_start(1);
    const uint64_t n_fds_before = daemon_fds();
    struct client crowd = client_start(connect_as_often_as_possible, &n_connections);
    harness_note("%llu of %u connected", (unsigned long long)client_hear(&crowd), n_connections);
    harness_sleep_ms(500);
    expect_at_most(daemon_fds(), 2 * (uint64_t)setting.max_fds); /* of two processes */
    client_kill(&crowd);
    while (!is_welcome()) {
        harness_sleep_ms(10);
    }
    while (daemon_fds() > n_fds_before + 20) { /* there is room again for those that ask below */
        harness_sleep_ms(10);
    }
    bystander_end(&bystander);
    daemon_stop_balanced();
}

static void join_again_and_again(const void *argument)
{
    (void)argument;
    for (unsigned int i = 0; i < 100; i++) {
        const int fd = wire_member();
        if (i == 0) {
            wire_allocate(fd, 44, "of the first connection");
        }
        (void)close(fd);
    }
    client_pause();
}

static void test_one_process_takes_one_place_however_often_it_connects(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(join_again_and_again, NULL);
    expect_equal(usage_take().clients, 1);
    expect_usage(0, 0); /* who comes without its nonce has forgotten what it held */
    client_finish(&client);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_peers_that_never_say_hello_are_closed_after_5_s, 20),
    SYSTEM_TEST(test_a_slow_hello_gets_no_more_time, 20),
    SYSTEM_TEST(test_slow_members_are_served_and_delay_nobody, 30),
    SYSTEM_TEST(test_10000_connections_come_and_go, 30),
    SYSTEM_TEST(test_million_small_requests_without_reading_an_answer, 30),
    SYSTEM_TEST(test_million_questions_without_reading_an_answer, 30),
    SYSTEM_TEST(test_million_roll_ups_without_reading_an_answer, 30),
    SYSTEM_TEST(test_roll_ups_of_many_observers_take_bounded_memory, 60),
    SYSTEM_TEST(test_every_request_is_answered_when_the_peer_reads_at_last, 30),
    SYSTEM_TEST(test_too_few_descriptors_for_one_client_names_the_number_needed, 10),
    SYSTEM_TEST(test_one_client_more_than_descriptors_allow_is_refused_clearly, 10),
    SYSTEM_TEST(test_more_connections_than_descriptors_disturb_nobody, 20),
    SYSTEM_TEST(test_one_process_takes_one_place_however_often_it_connects, 10),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
