/* SPDX-License-Identifier: MIT */
/*
 * test_requests.c - requests that are well formed, and what they may not ask for
 *
 * Each conversation runs in a process of its own, because a member is a member until it ends. After
 * each the daemon must be as it was: no client, no block, no descriptor, no memory kept.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "proto/limits.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"

static void converse(void (*conversation)(const void *argument))
{
    daemon_start("--log-level", "debug", NULL);
    client_run(conversation, NULL);
    daemon_stop_balanced();
}

/* ---------------------------------------------------------------- numbers and strings ---- */

static void expect_refused_size(int fd, uint64_t num_bytes)
{
    Kmem__ErrorCode error;
    expect_equal(wire_try_allocate(fd, num_bytes, "x", 1, &error), 0);
    expect_equal(error, KMEM__ERROR_CODE__ERROR_INVALID);
}

static void ask_for_impossible_sizes(const void *argument)
{
    (void)argument;
    const int fd = wire_member();
    expect_refused_size(fd, 0);
    expect_refused_size(fd, (16 << 20) + 1);
    expect_refused_size(fd, UINT64_C(1) << 32);
    expect_refused_size(fd, UINT64_C(1) << 40);
    expect_refused_size(fd, UINT64_C(1) << 63);
    expect_refused_size(fd, UINT64_MAX);
    Kmem__ErrorCode error;
    expect_equal(wire_try_allocate(fd, 16 << 20, "x", 1, &error), 0);
    expect_equal(error, KMEM__ERROR_CODE__ERROR_NO_MEMORY); /* the first page is the daemon's */
    expect_equal(wire_release(fd, wire_allocate(fd, 44, "still served")), 0);
    (void)close(fd);
}

static void test_zero_bytes_and_more_than_the_segment(void)
{
    converse(ask_for_impossible_sizes);
}

static void expect_refused_reason(int fd, const void *reason, size_t n_bytes)
{
    Kmem__ErrorCode error;
    expect_equal(wire_try_allocate(fd, 44, reason, n_bytes, &error), 0);
    expect_equal(error, KMEM__ERROR_CODE__ERROR_INVALID);
}

static void give_wrong_reasons(const void *argument)
{
    (void)argument;
    char long_reason[4000];
    memset(long_reason, 'r', sizeof(long_reason));
    const int fd = wire_member();
    expect_refused_reason(fd, "nul\0inside", 10);
    expect_refused_reason(fd, "\0", 1);
    expect_refused_reason(fd, "\xff", 1);
    expect_refused_reason(fd, "\xc3", 1);             /* ends in the middle of a character */
    expect_refused_reason(fd, "\xc0\xaf", 2);         /* overlong */
    expect_refused_reason(fd, "\xed\xa0\x80", 3);     /* a surrogate */
    expect_refused_reason(fd, "\xf4\x90\x80\x80", 4); /* beyond U+10FFFF */
    expect_refused_reason(fd, long_reason, REASON_MAX_BYTES + 1);
    expect_refused_reason(fd, long_reason, sizeof(long_reason));
    Kmem__ErrorCode error;
    expect_true(wire_try_allocate(fd, 44, long_reason, REASON_MAX_BYTES, &error) != 0);
    expect_true(wire_try_allocate(fd, 44, "", 0, &error) != 0);
    expect_true(wire_try_allocate(fd, 44, "\033[31mred\033[0m", 12, &error) != 0);
    client_pause();
    (void)close(fd);
}

static void test_wrong_reasons_are_refused_and_strange_ones_kept(void)
{
    daemon_start("--log-level", "debug", NULL);
    struct client client = client_begin(give_wrong_reasons, NULL);
    expect_usage(UINT64_C(3) * 44, 3);
    expect_ledger_row("<no reason given>", 1, 44);
    expect_ledger_row("\033[31mred\033[0m", 1, 44); /* whoever prints it escapes it */
    client_kill(&client);
    expect_balanced();
    expect_log_line("\\\\x1[bB]\\[31mred"); /* as the log does, in the obituary */
    expect_true(strchr(daemon_log(), '\033') == NULL);
    daemon_stop();
}

/* ----------------------------------------------------------------- what is not theirs ---- */

static void hold_a_block_for_others(const void *argument)
{
    (void)argument;
    const int fd = wire_member();
    client_say(wire_allocate(fd, 100, "another's"));
    client_await();
    (void)close(fd);
}

static void release_what_is_wrong(const void *argument)
{
    const uint64_t anothers = *(const uint64_t *)argument;
    uint64_t num_bytes;
    const int fd = wire_member();
    const uint64_t own = wire_allocate(fd, 1000, "own");
    const uint64_t neighbour = wire_allocate(fd, 1000, "keeps the slab open");
    const uint64_t wild[] = {0,
                             1,
                             64,
                             PAGE_BYTES - 1,
                             (8 << 20),
                             (16 << 20),
                             (16 << 20) + 64,
                             UINT64_C(1) << 40,
                             UINT64_C(1) << 63,
                             UINT64_MAX};
    for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
        expect_equal(wire_release(fd, wild[i]), KMEM__ERROR_CODE__ERROR_WILD);
        expect_equal(wire_size_of(fd, wild[i], &num_bytes), KMEM__ERROR_CODE__ERROR_WILD);
    }
    expect_equal(wire_release(fd, anothers), KMEM__ERROR_CODE__ERROR_FOREIGN);
    expect_equal(wire_size_of(fd, anothers, &num_bytes), KMEM__ERROR_CODE__ERROR_FOREIGN);
    expect_equal(wire_release(fd, own + 1), KMEM__ERROR_CODE__ERROR_INTERIOR);
    expect_equal(wire_release(fd, own + 999), KMEM__ERROR_CODE__ERROR_INTERIOR);
    expect_equal(wire_size_of(fd, own + 64, &num_bytes), KMEM__ERROR_CODE__ERROR_INTERIOR);
    expect_equal(wire_size_of(fd, own, &num_bytes), 0);
    expect_equal(num_bytes, 1000);
    expect_equal(wire_release(fd, own), 0);
    expect_equal(wire_release(fd, own), KMEM__ERROR_CODE__ERROR_RELEASED);
    expect_equal(wire_size_of(fd, own, &num_bytes), KMEM__ERROR_CODE__ERROR_RELEASED);
    expect_equal(wire_release(fd, neighbour), 0);
    const uint64_t large = wire_allocate(fd, 100000, "large");
    expect_equal(wire_release(fd, large + PAGE_BYTES), KMEM__ERROR_CODE__ERROR_INTERIOR);
    expect_equal(wire_release(fd, large), 0);
    const Kmem__ErrorCode again = wire_release(fd, large);
    expect_true(again == KMEM__ERROR_CODE__ERROR_RELEASED || again == KMEM__ERROR_CODE__ERROR_WILD);
    (void)close(fd);
}

static void test_release_of_anothers_free_interior_twice_wild(void)
{
    daemon_start("--log-level", "debug", NULL);
    struct client other = client_start(hold_a_block_for_others, NULL);
    const uint64_t offset = client_hear(&other);
    client_run(release_what_is_wrong, &offset);
    expect_soon(usage_take().clients == 1, 1000);
    expect_usage(100, 1);
    client_finish(&other);
    daemon_stop_balanced();
}

/* --------------------------------------------------------------------- the connection ---- */

/* Sends a frame with the writing end of a pipe attached to its first byte. */
static void send_with_descriptor(int fd, int attached)
{
    unsigned char frame[] = {4, 0, 0, 0, 0x08, 0x01, 0x32, 0x00}; /* id = 1, usage {} */
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {frame, sizeof(frame)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *const attachment = CMSG_FIRSTHDR(&message);
    *attachment = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(attachment), &attached, sizeof(int));
    expect_equal(sendmsg(fd, &message, MSG_NOSIGNAL), sizeof(frame));
}

static void attach_descriptors(const void *argument)
{
    (void)argument;
    int pipe_fds[2];
    const int fd = wire_observer();
    for (unsigned int i = 0; i < 100; i++) {
        expect_call(pipe(pipe_fds) == 0);
        send_with_descriptor(fd, pipe_fds[1]);
        Kmem__Response *const response = wire_receive(fd);
        expect_equal(response->body_case, KMEM__RESPONSE__BODY_USAGE);
        wire_free(response);
        (void)close(pipe_fds[1]);
        char byte;
        struct pollfd end = {.fd = pipe_fds[0], .events = POLLIN};
        expect_equal(poll(&end, 1, harness_patient_ms(1000)),
                     1); /* nobody holds the writing end any more */
        expect_equal(read(pipe_fds[0], &byte, 1), 0);
        (void)close(pipe_fds[0]);
    }
    (void)close(fd);
}

static void test_descriptors_from_a_peer_are_not_kept(void)
{
    converse(attach_descriptors);
}

static void half_close(const void *argument)
{
    (void)argument;
    const int fd = wire_member();
    wire_send_bytes(fd, "\x06\0\0\0\x08\x05\x1a\x02\x08\x2c", 10); /* id = 5, allocate { 44 } */
    expect_call(shutdown(fd, SHUT_WR) == 0);
    Kmem__Response *const response = wire_receive(fd);
    expect_equal(response->id, 5);
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_ALLOCATED);
    wire_free(response);
    expect_closed(fd, 1000);
    (void)close(fd);
}

static void test_half_close_after_a_request_is_answered(void)
{
    converse(half_close);
}

/* Two connections of one process: one place in the table, whatever is said over which. */
static void speak_over_two_connections(const void *argument)
{
    (void)argument;
    const int first_fd = wire_member();
    const uint64_t offset = wire_allocate(first_fd, 44, "over the first");
    const int second_fd = wire_member_again();
    uint64_t num_bytes = 0;
    expect_equal(wire_size_of(second_fd, offset, &num_bytes), 0);
    expect_equal(num_bytes, 44);
    expect_equal(usage_take().clients, 1);
    wire_goodbye(second_fd);
    /* The first is of somebody who has left. */
    wire_send_bytes(first_fd, "\x06\0\0\0\x08\x05\x1a\x02\x08\x2c", 10); /* allocate { 44 } */
    Kmem__Response *const response = wire_try_receive(first_fd);
    expect_true(response == NULL || response->body_case == KMEM__RESPONSE__BODY_ERROR);
    wire_free(response);
    expect_closed(first_fd, 1000);
    (void)close(first_fd);
    expect_usage(0, 0);
}

static void test_second_connection_with_the_nonce_takes_over(void)
{
    converse(speak_over_two_connections);
}

static void hold_and_tell_the_nonce(const void *argument)
{
    (void)argument;
    int fd = wire_member();
    const uint64_t offset = wire_allocate(fd, 44, "the victim's");
    client_say(wire_welcome()->nonce);
    client_await();
    uint64_t num_bytes = 0;
    expect_equal(wire_size_of(fd, offset, &num_bytes), 0); /* its connection is still its own */
    (void)close(fd);
    fd = wire_member_again();
    expect_equal(wire_release(fd, offset), 0);
    (void)close(fd);
}

static void expect_no_welcome(uint64_t nonce, Kmem__ErrorCode code)
{
    struct wire_descriptors descriptors;
    const int fd = wire_connect();
    Kmem__Response *const response =
        wire_hello_again(fd, PROTOCOL_VERSION, KMEM__ROLE__ROLE_MEMBER, nonce, &descriptors);
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_ERROR);
    expect_equal(response->error->code, code);
    expect_equal(descriptors.n_fds, 0);
    wire_free(response);
    expect_closed(fd, 1000);
    (void)close(fd);
}

/* A nonce is the member's own: whoever comes with it must be that process. */
static void come_as_another(const void *argument)
{
    const uint64_t nonce = *(const uint64_t *)argument;
    expect_no_welcome(nonce, KMEM__ERROR_CODE__ERROR_GONE); /* this process is no client yet */
    const int fd = wire_member();
    expect_no_welcome(nonce, KMEM__ERROR_CODE__ERROR_DENIED);
    expect_no_welcome(nonce ^ 1, KMEM__ERROR_CODE__ERROR_DENIED);
    wire_allocate(fd, 1000, "the impostor's"); /* as itself it is served */
    expect_ledger_row("the victim's", 1, 44);
    (void)close(fd);
}

static void test_nobody_comes_back_with_the_nonce_of_another(void)
{
    daemon_start("--log-level", "debug", NULL);
    struct client victim = client_start(hold_and_tell_the_nonce, NULL);
    const uint64_t nonce = client_hear(&victim);
    client_run(come_as_another, &nonce);
    expect_soon(usage_take().clients == 1, 2000);
    expect_usage(44, 1);
    client_finish(&victim);
    daemon_stop_balanced();
}

/* The next server has the nonces from the state; nobody is connected yet. */
static void test_nobody_comes_back_with_the_nonce_of_another_to_the_next_server(void)
{
    daemon_start("--log-level", "debug", NULL);
    struct client victim = client_start(hold_and_tell_the_nonce, NULL);
    const uint64_t nonce = client_hear(&victim);
    daemon_kill_server();
    client_run(come_as_another, &nonce);
    expect_soon(usage_take().clients == 1, 2000);
    expect_usage(44, 1);
    expect_equal(client_row_of(victim.pid).num_bytes, 44);
    client_kill(&victim);
    daemon_stop_balanced();
}

static void leave_and_join_at_once(const void *argument)
{
    (void)argument;
    for (unsigned int i = 0; i < harness_scaled(500); i++) {
        void *block = kmem_try_allocate(1000 + i, "left behind");
        if (block == NULL) {
            fail("%s", kmem_last_error());
        }
        expect_equal(kmem_close(), 0);
    }
}

static void test_leaving_and_joining_again_at_once(void)
{
    converse(leave_and_join_at_once);
}

static void pipeline(const void *argument)
{
    (void)argument;
    const int fd = wire_member();
    wire_fill(fd, harness_scaled(50000), 64, 10); /* wants every answer, in order */
    (void)close(fd);
}

static void test_pipelined_requests_are_answered_in_order(void)
{
    converse(pipeline);
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_zero_bytes_and_more_than_the_segment, 10),
    SYSTEM_TEST(test_wrong_reasons_are_refused_and_strange_ones_kept, 10),
    SYSTEM_TEST(test_release_of_anothers_free_interior_twice_wild, 10),
    SYSTEM_TEST(test_descriptors_from_a_peer_are_not_kept, 10),
    SYSTEM_TEST(test_half_close_after_a_request_is_answered, 10),
    SYSTEM_TEST(test_second_connection_with_the_nonce_takes_over, 10),
    SYSTEM_TEST(test_nobody_comes_back_with_the_nonce_of_another, 20),
    SYSTEM_TEST(test_nobody_comes_back_with_the_nonce_of_another_to_the_next_server, 20),
    SYSTEM_TEST(test_leaving_and_joining_again_at_once, 20),
    SYSTEM_TEST(test_pipelined_requests_are_answered_in_order, 30),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
