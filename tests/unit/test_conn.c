/* SPDX-License-Identifier: MIT */
/*
 * The peer's end of a socket pair is written before the question is asked: what the daemon will
 * say is in the socket already, so most of these tests need no second thread and no waiting.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "client/link/conn.h"
#include "tests/unit/fake_daemon.h"
#include "tests/unit/unit.h"
#include "tests/wire/request.h"

static struct conn conn;
static struct failure failure;
static const Kmem__Response *response;
static struct fake_peer peer;

/* For an answer that another thread gives, on a machine that lets it wait; the usual is 300. */
#define PATIENT_MS 60000

static int open_pair(void **state)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0) {
        return -1;
    }
    peer = (struct fake_peer){.fd = ends[1]};
    response = NULL;
    memset(&failure, 0, sizeof(failure));
    return kmem__conn_open(&conn, ends[0], "/the.sock", 300, &failure);
}

static int close_pair(void **state)
{
    kmem__conn_close(&conn);
    if (peer.fd >= 0) {
        (void)close(peer.fd);
    }
    return 0;
}

static int ask_with(struct descriptors *descriptors)
{
    Kmem__Request *const request = request_size_of(NEW_REQUEST, 16384);
    return kmem__conn_ask(&conn, request, KMEM__RESPONSE__BODY_SIZED, descriptors, &response,
                          &failure);
}

static int ask(void)
{
    return ask_with(NULL);
}

static size_t encode_sized(uint64_t id, uint64_t num_bytes, unsigned char *buffer, size_t capacity)
{
    Kmem__Response sized_response = KMEM__RESPONSE__INIT;
    Kmem__Sized sized = KMEM__SIZED__INIT;
    sized.num_bytes = num_bytes;
    sized_response.id = id;
    sized_response.body_case = KMEM__RESPONSE__BODY_SIZED;
    sized_response.sized = &sized;
    return frame_encode(&sized_response.base, buffer, capacity);
}

static void say_sized(uint64_t id, uint64_t num_bytes)
{
    unsigned char frame[64];
    fake_send_bytes(&peer, frame, encode_sized(id, num_bytes, frame, sizeof(frame)));
}

static void say_error(uint64_t id, Kmem__ErrorCode code, const char *message)
{
    Kmem__Request asked = KMEM__REQUEST__INIT;
    asked.id = id;
    fake_send_error(&peer, &asked, code, message);
}

static void assert_lost(void)
{
    assert_int_equal(conn.fd, -1);
    say_sized(conn.last_id + 1, 44);
    assert_int_equal(ask(), -ECONNRESET);
    assert_non_null(strstr(failure.sentence, "the connection to the daemon at /the.sock was given "
                                             "up earlier: it "));
}

/* ----------------------------------------------------------------------------- round trips ---- */

static void test_conn_ask_returns_the_answer(void **state)
{
    say_sized(1, 44);

    assert_int_equal(ask(), CONN_OK);

    assert_int_equal(response->sized->num_bytes, 44);
}

static void test_conn_ask_sends_one_whole_frame(void **state)
{
    unsigned char frame[256];
    static _Alignas(16) unsigned char memory[REQUEST_ARENA_BYTES];
    struct arena arena;
    arena_init(&arena, memory, sizeof(memory));
    say_sized(1, 44);
    assert_int_equal(ask(), CONN_OK);

    ssize_t n_bytes = recv(peer.fd, frame, sizeof(frame), MSG_DONTWAIT);

    assert_true(n_bytes > FRAME_HEADER_BYTES);
    assert_int_equal(frame_length(frame), n_bytes - FRAME_HEADER_BYTES);
    const Kmem__Request *request = (const Kmem__Request *)frame_decode(
        &arena, &kmem__request__descriptor, frame + FRAME_HEADER_BYTES, frame_length(frame));
    assert_non_null(request);
    assert_int_equal(request->id, 1);
    assert_int_equal(request->size_of->offset, 16384);
}

static void test_conn_ask_many_times_counts_ids(void **state)
{
    for (uint64_t id = 1; id <= 1000; id++) {
        unsigned char drained[256];
        say_sized(id, id * 3);
        assert_int_equal(ask(), CONN_OK);
        assert_int_equal(response->sized->num_bytes, id * 3);
        assert_true(recv(peer.fd, drained, sizeof(drained), 0) > 0);
    }
}

static void test_conn_ask_refused_is_an_answer(void **state)
{
    say_error(1, KMEM__ERROR_CODE__ERROR_WILD, "no block");

    assert_int_equal(ask(), CONN_E_REFUSED);

    assert_int_equal(response->error->code, KMEM__ERROR_CODE__ERROR_WILD);
    assert_string_equal(response->error->message, "no block");

    say_sized(2, 44);
    assert_int_equal(ask(), CONN_OK); /* nothing is lost */
}

struct dribble {
    unsigned char frame[64];
    size_t n_bytes;
};

static void *say_byte_by_byte(void *user)
{
    const struct dribble *dribble = user;
    for (size_t i = 0; i < dribble->n_bytes; i++) {
        (void)usleep(2000);
        fake_send_bytes(&peer, dribble->frame + i, 1);
    }
    return NULL;
}

static void test_conn_ask_puts_a_slow_answer_together(void **state)
{
    struct dribble dribble;
    pthread_t thread;
    conn.timeout_ms = PATIENT_MS;
    dribble.n_bytes = encode_sized(1, 44, dribble.frame, sizeof(dribble.frame));
    assert_int_equal(pthread_create(&thread, NULL, say_byte_by_byte, &dribble), 0);

    int r = ask();

    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(r, CONN_OK);
    assert_int_equal(response->sized->num_bytes, 44);
}

/* ------------------------------------------------------------------------- the daemon ends ---- */

static void test_conn_ask_end_is_ECONNRESET(void **state)
{
    (void)close(peer.fd);
    peer.fd = -1;

    assert_int_equal(ask(), -ECONNRESET);

    assert_string_equal(failure.sentence,
                        "the daemon at /the.sock has ended or closed the connection");
    assert_lost();
}

static void test_conn_ask_end_within_an_answer_is_ECONNRESET(void **state)
{
    fake_send_bytes(&peer, "\x08\x00", 2);
    (void)shutdown(peer.fd, SHUT_WR);

    assert_int_equal(ask(), -ECONNRESET);
    assert_lost();
}

static void test_conn_ask_end_never_raises_SIGPIPE(void **state)
{
    struct sigaction handling;
    assert_int_equal(sigaction(SIGPIPE, NULL, &handling), 0);
    assert_ptr_equal(handling.sa_handler, SIG_DFL); /* it would end this process */
    (void)shutdown(conn.fd, SHUT_WR);

    assert_int_equal(ask(), -ETIMEDOUT);
}

static void test_conn_ask_last_word_is_heard_after_the_end(void **state)
{
    say_error(0, KMEM__ERROR_CODE__ERROR_LIMIT, "too many clients");
    (void)close(peer.fd);
    peer.fd = -1;

    assert_int_equal(ask(), CONN_E_REFUSED);

    assert_int_equal(response->error->code, KMEM__ERROR_CODE__ERROR_LIMIT);
    assert_lost();
}

/* ------------------------------------------------------------------------------- deadlines ---- */

static void test_conn_ask_silence_is_ETIMEDOUT(void **state)
{
    int64_t begin_ms = kmem__monotonic_ms();

    assert_int_equal(ask(), -ETIMEDOUT);

    assert_true(kmem__monotonic_ms() - begin_ms >= 290);
    assert_string_equal(failure.sentence, "the daemon at /the.sock did not answer within 300 ms");
    assert_lost();
}

static void test_conn_ask_half_an_answer_is_ETIMEDOUT(void **state)
{
    fake_send_bytes(&peer, "\x08\x00\x00", 3);
    assert_int_equal(ask(), -ETIMEDOUT);
    assert_lost();
}

static void test_conn_ask_unread_requests_are_ETIMEDOUT(void **state)
{
    char filler[4096] = {0};
    while (send(conn.fd, filler, sizeof(filler), MSG_DONTWAIT) > 0) {
        /* Until the peer's buffer is full. */
    }
    int64_t begin_ms = kmem__monotonic_ms();

    assert_int_equal(ask(), -ETIMEDOUT);

    assert_true(kmem__monotonic_ms() - begin_ms >= 290);
    assert_lost();
}

static atomic_uint n_signals;

/* More than can come before it waits for the answer. */
#define SIGNALS_MIN 10

static void count_signal(int number)
{
    (void)number;
    atomic_fetch_add(&n_signals, 1);
}

static void interrupt_every_7_ms(void)
{
    const struct sigaction counting = {.sa_handler = count_signal, .sa_flags = SA_RESTART};
    const struct itimerval timer = {{.tv_usec = 7000}, {.tv_usec = 7000}};
    assert_int_equal(sigaction(SIGALRM, &counting, NULL), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &timer, NULL), 0);
}

static void stop_interrupting(void)
{
    const struct itimerval never = {.it_value.tv_usec = 0};
    assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
}

static void *say_late(void *user)
{
    (void)user;
    while (atomic_load(&n_signals) < SIGNALS_MIN) {
        (void)usleep(1000);
    }
    say_sized(1, 44);
    return NULL;
}

static void test_conn_ask_survives_signals(void **state)
{
    pthread_t thread;
    sigset_t alarm_only;
    conn.timeout_ms = PATIENT_MS;
    atomic_store(&n_signals, 0);
    (void)sigemptyset(&alarm_only);
    (void)sigaddset(&alarm_only, SIGALRM);
    /* The other thread must not take the signals in place of this one. */
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &alarm_only, NULL), 0);
    assert_int_equal(pthread_create(&thread, NULL, say_late, NULL), 0);
    assert_int_equal(pthread_sigmask(SIG_UNBLOCK, &alarm_only, NULL), 0);
    interrupt_every_7_ms();

    int r = ask();

    stop_interrupting();
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(r, CONN_OK);
}

static void test_conn_ask_signals_do_not_move_the_deadline(void **state)
{
    int64_t begin_ms = kmem__monotonic_ms();
    interrupt_every_7_ms();

    int r = ask();

    stop_interrupting();
    assert_int_equal(r, -ETIMEDOUT);
    assert_true(kmem__monotonic_ms() - begin_ms >= 290);
}

/* -------------------------------------------------------------------------------- nonsense ---- */

static void assert_nonsense(const char *what)
{
    assert_int_equal(ask(), -EPROTO);
    assert_non_null(strstr(failure.sentence, "the daemon at /the.sock sent what is no answer ("));
    assert_non_null(strstr(failure.sentence, what));
    assert_lost();
}

static void test_conn_ask_oversize_length_is_EPROTO(void **state)
{
    fake_send_bytes(&peer, "\x01\x00\x01\x00", 4); /* 65,537 */
    assert_nonsense("a frame beyond the limit");
}

static void test_conn_ask_random_bytes_are_EPROTO(void **state)
{
    fake_send_bytes(&peer, "\x04\x00\x00\x00\xFF\xFF\xFF\xFF", 8);
    assert_nonsense("bytes that can not be decoded");
}

static void test_conn_ask_bomb_is_EPROTO(void **state)
{
    static unsigned char bomb[FRAME_HEADER_BYTES + 60000];
    const int buffer_bytes = 1 << 20;
    size_t n_rows_bytes = sizeof(bomb) - FRAME_HEADER_BYTES - 4;
    (void)setsockopt(peer.fd, SOL_SOCKET, SO_SNDBUF, &buffer_bytes, sizeof(buffer_bytes));
    memcpy(bomb, "\x60\xEA\x00\x00", 4); /* 60,000 */
    bomb[4] = 0x42;                      /* field 8, the ledger, and its length as a varint */
    bomb[5] = (unsigned char)(0x80 | (n_rows_bytes & 0x7F));
    bomb[6] = (unsigned char)(0x80 | ((n_rows_bytes >> 7) & 0x7F));
    bomb[7] = (unsigned char)(n_rows_bytes >> 14);
    for (size_t at = 8; at < sizeof(bomb); at += 2) {
        bomb[at] = 0x0A; /* an empty row */
    }
    fake_send_bytes(&peer, bomb, sizeof(bomb));
    assert_nonsense("bytes that can not be decoded");
}

static void test_conn_ask_two_answers_are_EPROTO(void **state)
{
    say_sized(1, 44);
    say_sized(2, 44);
    assert_nonsense("more than one response");
}

static void test_conn_ask_answer_to_another_request_is_EPROTO(void **state)
{
    say_sized(7, 44);
    assert_nonsense("to another request");
}

static void test_conn_ask_error_to_another_request_is_EPROTO(void **state)
{
    say_error(7, KMEM__ERROR_CODE__ERROR_WILD, "no block");
    assert_nonsense("to another request");
}

static void test_conn_ask_answer_of_another_kind_is_EPROTO(void **state)
{
    Kmem__Request asked = KMEM__REQUEST__INIT;
    Kmem__Response released_response = KMEM__RESPONSE__INIT;
    Kmem__Released released = KMEM__RELEASED__INIT;
    asked.id = 1;
    released_response.body_case = KMEM__RESPONSE__BODY_RELEASED;
    released_response.released = &released;
    fake_send(&peer, &asked, &released_response, NULL, 0);
    assert_nonsense("of another kind");
}

static void test_conn_ask_empty_answer_is_EPROTO(void **state)
{
    fake_send_bytes(&peer, "\x00\x00\x00\x00", 4);
    assert_nonsense("to another request");
}

static void test_conn_ask_protocol_error_is_EPROTO(void **state)
{
    say_error(1, KMEM__ERROR_CODE__ERROR_PROTOCOL, "Hello was said already");
    assert_int_equal(ask(), -EPROTO);
    assert_string_equal(failure.sentence, "the daemon at /the.sock did not understand the request: "
                                          "Hello was said already");
    assert_lost();
}

static void test_conn_ask_oversize_request_is_EMSGSIZE(void **state)
{
    static uint8_t reason[REQUEST_MAX_BYTES];
    Kmem__Request *const request = request_allocate(NEW_REQUEST, 0, reason, sizeof(reason));
    assert_int_equal(
        kmem__conn_ask(&conn, request, KMEM__RESPONSE__BODY_ALLOCATED, NULL, &response, &failure),
        -EMSGSIZE);

    say_sized(2, 44);
    assert_int_equal(ask(), CONN_OK); /* nothing was sent, nothing is lost */
}

/* ----------------------------------------------------------------------------- descriptors ---- */

static void say_sized_with_descriptors(uint64_t id, size_t n_fds)
{
    Kmem__Request asked = KMEM__REQUEST__INIT;
    Kmem__Response sized_response = KMEM__RESPONSE__INIT;
    Kmem__Sized sized = KMEM__SIZED__INIT;
    int fds[16];
    for (size_t i = 0; i < n_fds; i++) {
        fds[i] = STDERR_FILENO;
    }
    asked.id = id;
    sized_response.body_case = KMEM__RESPONSE__BODY_SIZED;
    sized_response.sized = &sized;
    fake_send(&peer, &asked, &sized_response, fds, n_fds);
}

static void test_conn_ask_descriptors_are_close_on_exec(void **state)
{
    struct descriptors descriptors = {.n_fds = 0};
    unsigned int n_before = fake_count_fds();
    say_sized_with_descriptors(1, 2);

    assert_int_equal(ask_with(&descriptors), CONN_OK);

    assert_int_equal(descriptors.n_fds, 2);
    assert_false(descriptors.is_truncated);
    for (unsigned int i = 0; i < 2; i++) {
        assert_true(fcntl(descriptors.fd[i], F_GETFD) & FD_CLOEXEC);
    }
    kmem__descriptors_close(&descriptors);
    assert_int_equal(descriptors.n_fds, 0);
    assert_int_equal(fake_count_fds(), n_before);
}

static void test_conn_ask_more_descriptors_than_fit_are_seen_and_closed(void **state)
{
    struct descriptors descriptors = {.n_fds = 0};
    unsigned int n_before = fake_count_fds();
    say_sized_with_descriptors(1, DESCRIPTORS_MAX + 3);

    assert_int_equal(ask_with(&descriptors), CONN_OK);

    assert_true(descriptors.is_truncated);
    kmem__descriptors_close(&descriptors);
    assert_int_equal(fake_count_fds(), n_before);
}

static void test_conn_ask_unexpected_descriptors_are_closed(void **state)
{
    unsigned int n_before = fake_count_fds();
    say_sized_with_descriptors(1, 3);

    assert_int_equal(ask(), CONN_OK);

    assert_int_equal(fake_count_fds(), n_before);
}

static void test_conn_ask_descriptors_of_a_fault_are_closed(void **state)
{
    struct descriptors descriptors = {.n_fds = 0};
    unsigned int n_before = fake_count_fds();
    say_sized_with_descriptors(9, 2);

    assert_int_equal(ask_with(&descriptors), -EPROTO);

    assert_int_equal(descriptors.n_fds, 0);
    assert_int_equal(fake_count_fds(), n_before - 1); /* the connection is closed, too */
}

/* ------------------------------------------------------------------------ opening, closing ---- */

static void test_conn_open_what_is_no_socket_is_an_error(void **state)
{
    static struct conn other;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(kmem__conn_open(&other, fd, "/dev/null", 300, &failure), -ENOTSOCK);
    assert_int_equal(other.fd, -1);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* it was the conn's, also on error */
}

static void test_conn_close_twice_is_allowed(void **state)
{
    kmem__conn_close(&conn);
    kmem__conn_close(&conn);
    assert_int_equal(ask(), -ECONNRESET);
    assert_non_null(strstr(failure.sentence, "it was left"));
}

static void test_conn_ask_waits_as_long_as_the_limit_is(void **state)
{
    int64_t begin_ms = kmem__monotonic_ms();
    conn.timeout_ms = 50;

    assert_int_equal(ask(), -ETIMEDOUT);
    assert_true(kmem__monotonic_ms() - begin_ms >= 45);
    assert_string_equal(failure.sentence, "the daemon at /the.sock did not answer within 50 ms");
}

#define PAIR_TEST(function) cmocka_unit_test_setup_teardown(function, open_pair, close_pair)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PAIR_TEST(test_conn_ask_returns_the_answer),
        PAIR_TEST(test_conn_ask_sends_one_whole_frame),
        PAIR_TEST(test_conn_ask_many_times_counts_ids),
        PAIR_TEST(test_conn_ask_refused_is_an_answer),
        PAIR_TEST(test_conn_ask_puts_a_slow_answer_together),
        PAIR_TEST(test_conn_ask_end_is_ECONNRESET),
        PAIR_TEST(test_conn_ask_end_within_an_answer_is_ECONNRESET),
        PAIR_TEST(test_conn_ask_end_never_raises_SIGPIPE),
        PAIR_TEST(test_conn_ask_last_word_is_heard_after_the_end),
        PAIR_TEST(test_conn_ask_silence_is_ETIMEDOUT),
        PAIR_TEST(test_conn_ask_half_an_answer_is_ETIMEDOUT),
        PAIR_TEST(test_conn_ask_unread_requests_are_ETIMEDOUT),
        PAIR_TEST(test_conn_ask_survives_signals),
        PAIR_TEST(test_conn_ask_signals_do_not_move_the_deadline),
        PAIR_TEST(test_conn_ask_oversize_length_is_EPROTO),
        PAIR_TEST(test_conn_ask_random_bytes_are_EPROTO),
        PAIR_TEST(test_conn_ask_bomb_is_EPROTO),
        PAIR_TEST(test_conn_ask_two_answers_are_EPROTO),
        PAIR_TEST(test_conn_ask_answer_to_another_request_is_EPROTO),
        PAIR_TEST(test_conn_ask_error_to_another_request_is_EPROTO),
        PAIR_TEST(test_conn_ask_answer_of_another_kind_is_EPROTO),
        PAIR_TEST(test_conn_ask_empty_answer_is_EPROTO),
        PAIR_TEST(test_conn_ask_protocol_error_is_EPROTO),
        PAIR_TEST(test_conn_ask_oversize_request_is_EMSGSIZE),
        PAIR_TEST(test_conn_ask_descriptors_are_close_on_exec),
        PAIR_TEST(test_conn_ask_more_descriptors_than_fit_are_seen_and_closed),
        PAIR_TEST(test_conn_ask_unexpected_descriptors_are_closed),
        PAIR_TEST(test_conn_ask_descriptors_of_a_fault_are_closed),
        PAIR_TEST(test_conn_open_what_is_no_socket_is_an_error),
        PAIR_TEST(test_conn_close_twice_is_allowed),
        PAIR_TEST(test_conn_ask_waits_as_long_as_the_limit_is),
    };
    return cmocka_run_group_tests_name("conn", tests, NULL, NULL);
}
