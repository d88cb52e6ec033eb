/* SPDX-License-Identifier: MIT */
/*
 * test_session_faults.c - every call of a session fails once: one connection ends, nothing else
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/server/admission.h"
#include "daemon/server/peer_identity.h"
#include "daemon/server/loop.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/session_fixture.h"
#include "tests/unit/unit.h"

static int why_unknown; /* what peer_identity_read() says when it fails */

FAIL_WRAP(int, peer_identity_read, (int fd, struct client_identity *identity, int *pidfd),
          (fd, identity, pidfd), why_unknown)
FAIL_WRAP(unsigned, peer_identity_roles,
          (int fd, const struct client_identity *identity, const struct roles *of),
          (fd, identity, of), 0)
FAIL_WRAP(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags), (fd, message, flags),
          -1)
FAIL_WRAP(int, accept4, (int fd, struct sockaddr *address, socklen_t *n_bytes, int flags),
          (fd, address, n_bytes, flags), -1)
FAIL_WRAP(int, uv_pipe_open, (uv_pipe_t * pipe, uv_file fd), (pipe, fd), UV_EBADF)
FAIL_WRAP(int, uv_fileno, (const uv_handle_t *handle, uv_os_fd_t *fd), (handle, fd), UV_EBADF)
FAIL_WRAP(int, uv_read_start, (uv_stream_t * stream, uv_alloc_cb allocate, uv_read_cb called),
          (stream, allocate, called), UV_EINVAL)
FAIL_WRAP(int, uv_try_write, (uv_stream_t * stream, const uv_buf_t *buffers, unsigned n),
          (stream, buffers, n), UV_EPIPE)
FAIL_WRAP(int, uv_write,
          (uv_write_t * write, uv_stream_t *stream, const uv_buf_t *buffers, unsigned n,
           uv_write_cb called),
          (write, stream, buffers, n, called), UV_EPIPE)
FAIL_WRAP(int, uv_poll_init, (uv_loop_t * loop, uv_poll_t *poll, int fd), (loop, poll, fd),
          UV_EMFILE)
FAIL_WRAP(int, uv_pipe_init, (uv_loop_t * loop, uv_pipe_t *pipe, int ipc), (loop, pipe, ipc),
          UV_EINVAL)
FAIL_WRAP(int, memfd_create, (const char *name, unsigned flags), (name, flags), -1)
FAIL_WRAP(int, memfd_open_again, (int fd), (fd), -EMFILE)
FAIL_WRAP(int, ftruncate, (int fd, off_t n_bytes), (fd, n_bytes), -1)
FAIL_WRAP(void *, mmap,
          (void *address, size_t n_bytes, int protection, int flags, int fd, off_t offset),
          (address, n_bytes, protection, flags, fd, offset), MAP_FAILED)

/* Waits are cut short; what was wanted is kept. */
static uint64_t timeout_wanted_ms;

int __real_uv_timer_start(uv_timer_t *timer, uv_timer_cb called, uint64_t timeout_ms,
                          uint64_t repeat_ms);
int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb called, uint64_t timeout_ms,
                          uint64_t repeat_ms);
int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb called, uint64_t timeout_ms,
                          uint64_t repeat_ms)
{
    if (fail_now("uv_timer_start")) {
        return UV_EINVAL;
    }
    if (fail_now("patience")) {
        timeout_wanted_ms = timeout_ms;
        timeout_ms = 1;
    }
    return __real_uv_timer_start(timer, called, timeout_ms, repeat_ms);
}

static struct core *core = &session_server.core;

static void assert_error(const Kmem__Response *response, Kmem__ErrorCode code, const char *words)
{
    assert_non_null(response);
    assert_int_equal(response->body_case, KMEM__RESPONSE__BODY_ERROR);
    assert_int_equal(response->error->code, code);
    assert_non_null(strstr(response->error->message, words));
}

/* A whole conversation works. */
static void assert_serves(void)
{
    const int fd = connection_open_member();
    say(fd, request_allocate(NEW_REQUEST, 100, "still there", 11));
    assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_ALLOCATED);
    capture_begin();
    say(fd, request_goodbye(NEW_REQUEST));
    const Kmem__Response *response = hear(fd);
    (void)capture_end();
    assert_int_equal(response->body_case, KMEM__RESPONSE__BODY_FAREWELL);
    connection_close(fd);
    assert_int_equal(session_server.host.n_sessions, 0);
    assert_int_equal(core_check(core), 0);
}

/* ------------------------------------------------------------------------------- accepting ---- */

static void test_session_accept_without_memory_leaves_the_connection_waiting(void **state)
{
    const int fd = connection_open();
    say_hello(fd, KMEM__ROLE__ROLE_OBSERVER);

    fail_nth("memory", 1, ENOMEM);
    turn();
    assert_true(fail_end());
    assert_int_equal(session_accepted, -ENOMEM);
    assert_true(hear_nothing(fd));

    session_listen_again();
    assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_WELCOME);
    connection_close(fd);
    assert_serves();
}

static void test_session_accept_that_fails_says_so(void **state)
{
    const int fd = connection_open();
    say_hello(fd, KMEM__ROLE__ROLE_OBSERVER);

    fail_nth("accept4", 1, EMFILE);
    turn();
    assert_true(fail_end());
    assert_int_equal(session_accepted, -EMFILE);
    assert_int_equal(session_server.host.n_sessions, 0);

    session_listen_again();
    assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_WELCOME);
    connection_close(fd);
    assert_serves();
}

static void test_session_that_can_not_begin_is_closed(void **state)
{
    const char *const calls[] = {"uv_pipe_init", "uv_pipe_open", "uv_timer_start", "uv_read_start"};

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        const int fd = connection_open();
        fail_nth(calls[i], 1, 0);
        turn();
        assert_true(fail_end());
        assert_int_equal(session_accepted, 0);
        assert_null(hear(fd));
        connection_close(fd);
        assert_serves();
    }
}

static void test_session_that_can_not_begin_for_want_of_descriptors_is_LIMIT(void **state)
{
    const char *const calls[] = {"peer_identity_read"};

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        const int fd = connection_open();
        why_unknown = -EMFILE;
        fail_nth(calls[i], 1, EMFILE);
        capture_begin();
        const Kmem__Response *response = hear(fd);
        (void)capture_end();
        assert_true(fail_end());
        assert_error(response, KMEM__ERROR_CODE__ERROR_LIMIT, "descriptor");
        assert_null(hear(fd));
        connection_close(fd);
        assert_serves();
    }
}

static void test_session_of_one_that_is_not_known_is_refused_with_a_sentence(void **state)
{
    const struct {
        int why;
        Kmem__ErrorCode code;
        const char *sentence;
    } cases[] = {{IDENTITY_E_ENDED, KMEM__ERROR_CODE__ERROR_DENIED, "it ended after it had"},
                 {IDENTITY_E_UNSEEN, KMEM__ERROR_CODE__ERROR_DENIED, "can not see it"},
                 {-EIO, KMEM__ERROR_CODE__ERROR_BUSY, "i/o error"}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        capture_begin();
        const int fd = connection_open();
        why_unknown = cases[i].why;
        fail_nth("peer_identity_read", 1, 0);
        assert_error(hear(fd), cases[i].code, cases[i].sentence);
        assert_true(fail_end());
        assert_null(hear(fd));
        connection_close(fd);
        assert_non_null(strstr(capture_end(), cases[i].sentence));
        assert_serves();
    }
}

static void
test_session_refuse_unseen_says_LIMIT_to_one_more_than_there_are_descriptors(void **state)
{
    const int fd = connection_open();

    fail_nth("accept4", 1, EMFILE);
    turn();
    assert_true(fail_end());
    const int accepted_fd = listener_accept_spare(&session_server.listener);
    assert_true(accepted_fd >= 0);
    assert_int_equal(listener_accept_spare(&session_server.listener), -EMFILE);
    admission_refuse_unseen(&session_server.host, accepted_fd);
    listener_save_spare(&session_server.listener);

    assert_error(hear(fd), KMEM__ERROR_CODE__ERROR_LIMIT, "no descriptor left");
    assert_null(hear(fd));
    connection_close(fd);
    session_listen_again();
    assert_serves();
}

static void test_session_of_one_who_may_not_join_is_DENIED_before_it_is_heard(void **state)
{
    const uint64_t begin_ms = loop_now().ms;
    unsigned n_lines = 0;

    capture_begin();
    for (unsigned n = 0; n < 40; n++) {
        const int fd = connection_open();
        say_hello(fd, KMEM__ROLE__ROLE_MEMBER);
        fail_nth("peer_identity_roles", 1, 0);
        assert_error(hear(fd), KMEM__ERROR_CODE__ERROR_DENIED, "only root, the daemon's user");
        assert_true(fail_end());
        assert_null(hear(fd));
        connection_close(fd);
    }
    const char *log = capture_end();

    assert_int_equal(core->state.counters->requests, 0);
    for (; *log; log++) {
        n_lines += *log == '\n';
    }
    /* 5 a second, and that some were dropped; however long it took. */
    const uint64_t n_seconds = 2 + (loop_now().ms - begin_ms) / 1000;
    assert_in_range(n_lines, 5, n_seconds * (5 + 1));
    assert_serves();
}

static void test_session_that_does_not_say_hello_in_time_is_closed(void **state)
{
    const int fd = connection_open();
    fail_nth("patience", 1, 0);
    turn();
    assert_true(fail_end());

    assert_error(hear(fd), KMEM__ERROR_CODE__ERROR_GONE, "Hello");
    assert_null(hear(fd));

    assert_int_equal(timeout_wanted_ms, HELLO_TIMEOUT_MS);
    connection_close(fd);
    assert_serves();
}

static void test_session_of_a_member_has_all_the_time(void **state)
{
    const int fd = connection_open_member();

    assert_false(uv_is_active((const uv_handle_t *)&session_server.host.sessions->timer));

    connection_close(fd);
}

static void test_session_of_an_observer_that_asks_nothing_is_closed(void **state)
{
    const int fd = connection_open();
    turn();
    say_hello(fd, KMEM__ROLE__ROLE_OBSERVER);
    fail_nth("patience", 1, 0);
    assert_non_null(hear(fd));
    assert_true(fail_end());
    assert_int_equal(timeout_wanted_ms, OBSERVER_TIMEOUT_MS);

    session_server.host.sessions->heard_ms -= OBSERVER_TIMEOUT_MS;

    assert_error(hear(fd), KMEM__ERROR_CODE__ERROR_GONE, "for a minute");
    assert_null(hear(fd));
    connection_close(fd);
    assert_serves();
}

static void test_session_of_an_observer_that_has_asked_has_its_time_again(void **state)
{
    const int fd = connection_open();
    turn();
    say_hello(fd, KMEM__ROLE__ROLE_OBSERVER);
    fail_nth("patience", 1, 0);
    assert_non_null(hear(fd));
    assert_true(fail_end());

    say(fd, request_usage(NEW_REQUEST));
    assert_non_null(hear(fd));
    (void)usleep(2000); /* the time that it was given is over */

    assert_true(hear_nothing(fd));
    assert_true(uv_is_active((const uv_handle_t *)&session_server.host.sessions->timer));
    connection_close(fd);
}

/* --------------------------------------------------------------------------------- joining ---- */

/* Says Hello as a member, and is asked to come again. */
static void join_in_vain(void)
{
    const int fd = connection_open();
    say_hello(fd, KMEM__ROLE__ROLE_MEMBER);
    fail_nth("sendmsg", 1, ETOOMANYREFS);
    capture_begin();
    assert_error(hear(fd), KMEM__ERROR_CODE__ERROR_BUSY, "try again");
    assert_null(hear(fd));
    connection_close(fd);
    /* uv_strerror() does not know this one, and takes memory for ever to say so. */
    assert_non_null(strstr(capture_end(), ": Too many references"));
    assert_true(fail_end());
}

static void test_session_whose_descriptor_can_not_be_sent_may_come_again(void **state)
{
    join_in_vain();

    assert_int_equal(core->clients.n_live + core->clients.n_ended, 0);
    assert_serves();
}

static void test_session_that_joins_in_vain_again_and_again_fills_no_log(void **state)
{
    const uint64_t begin_ms = loop_now().ms;
    unsigned n_lines = 0;

    capture_begin();
    fail_from("sendmsg", 1, EPIPE);
    for (unsigned n = 0; n < 300; n++) {
        const int fd = connection_open();
        say_hello(fd, KMEM__ROLE__ROLE_MEMBER);
        connection_close(fd);
    }
    assert_true(fail_end());
    for (const char *log = capture_end(); *log; log++) {
        n_lines += *log == '\n';
    }

    /* Some a second of those that tell of it, and of the ends; however long it took. */
    const uint64_t n_seconds = 2 + (loop_now().ms - begin_ms) / 1000;
    assert_in_range(n_lines, 1, n_seconds * (5 + 1 + OBITUARIES_LOGGED + 1));
    assert_int_equal(core->clients.n_live, 0);
    assert_serves();
}

static void test_session_of_one_that_comes_back_in_vain_keeps_its_blocks(void **state)
{
    int fd = connection_open_member();
    say(fd, request_allocate(NEW_REQUEST, 100, "kept", 4));
    assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_ALLOCATED);
    connection_close(fd);

    join_in_vain();

    assert_int_equal(core->clients.n_live, 1);
    assert_int_equal(core->direct.n_blocks, 1);
    assert_false(clients_get(&core->clients, 0)->connected);
    assert_int_equal(session_server.host.n_sessions, 0);
    fd = connection_open_member();
    assert_int_equal(core->direct.n_blocks, 1);
    connection_close(fd);
}

static void test_session_reader_without_a_descriptor_for_its_files_is_told_so(void **state)
{
    const int fd = connection_open();
    turn(); /* accepted */
    say_hello(fd, KMEM__ROLE__ROLE_READER);
    capture_begin();
    fail_nth("memfd_open_again", 1, EMFILE);
    const Kmem__Response *response = hear(fd);
    assert_non_null(strstr(capture_end(), "can not join"));
    assert_error(response, KMEM__ERROR_CODE__ERROR_LIMIT, "no descriptor left");
    assert_null(hear(fd));
    turn();
    assert_true(fail_end());
    assert_int_equal(core->clients.n_live + core->clients.n_ended, 0);
    connection_close(fd);
    assert_serves();
}

static void test_session_that_can_not_be_watched_or_given_a_ledger_is_told_so(void **state)
{
    const char *const calls[] = {"uv_poll_init", "memory", "memfd_create", "ftruncate", "mmap"};

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        const int fd = connection_open();
        turn(); /* accepted */
        say_hello(fd, KMEM__ROLE__ROLE_MEMBER);
        capture_begin();
        fail_nth(calls[i], 1, ENOMEM);
        const Kmem__Response *response = hear(fd);
        assert_non_null(strstr(capture_end(), "can not join"));
        if (i == 0) {
            assert_error(response, KMEM__ERROR_CODE__ERROR_LIMIT, "no descriptor left");
        } else {
            assert_error(response, KMEM__ERROR_CODE__ERROR_BUSY, "try again");
        }
        assert_null(hear(fd));
        turn();
        assert_true(fail_end());
        assert_int_equal(core->clients.n_live + core->clients.n_ended, 0);
        connection_close(fd);
        assert_serves();
    }
}

/* ------------------------------------------------------------------------------- answering ---- */

static void test_session_that_can_not_write_is_closed_and_its_client_lives(void **state)
{
    const int fd = connection_open_member();
    say(fd, request_allocate(NEW_REQUEST, 100, "kept", 4));

    fail_nth("uv_try_write", 1, 0);
    assert_null(hear(fd));

    assert_true(fail_end());
    assert_int_equal(core->clients.n_live, 1);
    assert_int_equal(core->direct.n_blocks, 1); /* its answer is lost, it is not */
    connection_close(fd);
    const int again = connection_open_member();
    connection_close(again);
}

static void test_session_that_can_not_keep_the_rest_of_an_answer_is_closed(void **state)
{
    const char *const calls[] = {"memory", "uv_write"};
    const int member = connection_open_member();
    for (unsigned n = 0; n < 600; n++) {
        say(member, request_allocate(NEW_REQUEST, 16,
                                     "a reason that makes an answer of some forty kilobytes", 53));
        assert_int_equal(hear(member)->body_case, KMEM__RESPONSE__BODY_ALLOCATED);
    }

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        const int fd = connection_open_observer();
        fail_nth(calls[i], 1, ENOMEM);
        for (unsigned n = 0; n < 100 && session_server.host.n_sessions == 2; n++) {
            say(fd, request_blocks(NEW_REQUEST, 0));
            turn();
        }
        assert_true(fail_end());
        assert_int_equal(session_server.host.n_sessions, 1);
        connection_close(fd);
    }
    connection_close(member);
}

/* A conversation in which anything may fail. */
static void converse(void)
{
    const int fd = connection_open();
    say_hello(fd, KMEM__ROLE__ROLE_MEMBER);
    say(fd, request_allocate(NEW_REQUEST, 100, "one", 3));
    say(fd, request_allocate(NEW_REQUEST, 200000, "two", 3));
    say(fd, request_allocate(NEW_REQUEST, SESSION_PAGES * PAGE_BYTES, "too much", 8));
    say(fd, request_usage(NEW_REQUEST));
    say(fd, request_blocks(NEW_REQUEST, 0));
    say(fd, request_goodbye(NEW_REQUEST));
    for (unsigned n = 0; n < 30; n++) {
        turn();
    }
    connection_close(fd);
}

static void test_session_survives_whichever_allocation_fails(void **state)
{
    unsigned n_failures = 0;

    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        capture_begin();
        converse();
        n_failures += fail_end();
        if (session_accepted == -ENOMEM) {
            session_listen_again();
        }
        for (unsigned n = 0; n < 30; n++) {
            turn();
        }
        (void)capture_end();
        assert_serves();
    }
    assert_true(n_failures >= 8);
}

#define SESSION_TEST(test) cmocka_unit_test_setup_teardown(test, session_setup, session_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SESSION_TEST(test_session_accept_without_memory_leaves_the_connection_waiting),
        SESSION_TEST(test_session_accept_that_fails_says_so),
        SESSION_TEST(test_session_that_can_not_begin_is_closed),
        SESSION_TEST(test_session_that_can_not_begin_for_want_of_descriptors_is_LIMIT),
        SESSION_TEST(test_session_refuse_unseen_says_LIMIT_to_one_more_than_there_are_descriptors),
        SESSION_TEST(test_session_of_one_that_is_not_known_is_refused_with_a_sentence),
        SESSION_TEST(test_session_of_one_who_may_not_join_is_DENIED_before_it_is_heard),
        SESSION_TEST(test_session_that_does_not_say_hello_in_time_is_closed),
        SESSION_TEST(test_session_of_a_member_has_all_the_time),
        SESSION_TEST(test_session_of_an_observer_that_asks_nothing_is_closed),
        SESSION_TEST(test_session_of_an_observer_that_has_asked_has_its_time_again),
        SESSION_TEST(test_session_whose_descriptor_can_not_be_sent_may_come_again),
        SESSION_TEST(test_session_that_joins_in_vain_again_and_again_fills_no_log),
        SESSION_TEST(test_session_of_one_that_comes_back_in_vain_keeps_its_blocks),
        SESSION_TEST(test_session_reader_without_a_descriptor_for_its_files_is_told_so),
        SESSION_TEST(test_session_that_can_not_be_watched_or_given_a_ledger_is_told_so),
        SESSION_TEST(test_session_that_can_not_write_is_closed_and_its_client_lives),
        SESSION_TEST(test_session_that_can_not_keep_the_rest_of_an_answer_is_closed),
        SESSION_TEST(test_session_survives_whichever_allocation_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
