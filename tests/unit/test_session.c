/* SPDX-License-Identifier: MIT */
/*
 * test_session.c - frames over a real socket, whole and in pieces, good and bad
 *
 * All processes that connect are this one: it is one client, however often it says Hello.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/captured.h"
#include "tests/unit/session_fixture.h"
#include "tests/unit/unit.h"

static const struct core *core = &session_server.core;

static void assert_error(const Kmem__Response *response, Kmem__ErrorCode code, const char *words)
{
    assert_non_null(response);
    assert_int_equal(response->body_case, KMEM__RESPONSE__BODY_ERROR);
    assert_int_equal(response->error->code, code);
    assert_non_null(strstr(response->error->message, words));
}

/* --------------------------------------------------------------------- joining and leaving ---- */

static void assert_same_file(int left_fd, int right_fd)
{
    struct stat left;
    struct stat right;
    assert_int_equal(fstat(left_fd, &left), 0);
    assert_int_equal(fstat(right_fd, &right), 0);
    assert_int_equal(left.st_dev, right.st_dev);
    assert_int_equal(left.st_ino, right.st_ino);
}

static void test_session_gives_segment_ledger_and_clock_to_a_member(void **state)
{
    struct wire_descriptors descriptors;
    struct request request;
    int ledger_fd;
    _Atomic uint64_t *states;
    const int fd = connection_open();

    say(fd, request_hello(&request, KMEM__ROLE__ROLE_MEMBER, 0));
    const Kmem__Response *response = hear_with_descriptors(fd, &descriptors);

    struct server *server = &session_server;
    assert_int_equal(response->id, request.base.id);
    assert_int_equal(response->welcome->n_descriptors, WELCOME_DESCRIPTORS);
    assert_int_equal(client_files_open(&server->ledgers, 0, &ledger_fd, &states), 0);
    assert_ptr_equal(clients_get(&core->clients, 0)->states, states);
    assert_same_file(descriptors.fds[0], server->files->segment_fd);
    assert_same_file(descriptors.fds[1], ledger_fd);
    assert_same_file(descriptors.fds[2], server->ledgers.clock_fd);
    assert_int_equal(fcntl(descriptors.fds[1], F_GETFL) & O_ACCMODE, O_RDWR);
    assert_int_equal(fcntl(descriptors.fds[2], F_GETFL) & O_ACCMODE, O_RDONLY);
    for (int i = 0; i < WELCOME_DESCRIPTORS; i++) {
        assert_int_equal(close(descriptors.fds[i]), 0);
    }
    assert_int_equal(core->clients.n_live, 1);
    assert_true(pidfd_watch_watches(&server->pidfds, 0));
    assert_true(alarm_is_set(&server->clock.alarm));
    connection_close(fd);
}

static void test_session_gives_no_descriptor_to_an_observer(void **state)
{
    const int fd = connection_open_observer();

    say(fd, request_usage(NEW_REQUEST));

    assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_USAGE);
    assert_int_equal(core->clients.n_live, 0);
    connection_close(fd);
}

static void test_session_that_ends_leaves_the_client_and_its_blocks(void **state)
{
    int fd = connection_open_member();
    say(fd, request_allocate(NEW_REQUEST, 100, "kept", 4));
    assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_ALLOCATED);

    connection_close(fd);

    assert_int_equal(session_server.host.n_sessions, 0);
    assert_int_equal(core->clients.n_live, 1);
    assert_int_equal(core->direct.n_blocks, 1);
    assert_false(clients_get(&core->clients, 0)->connected);
    fd = connection_open_member(); /* it comes back, and is who it was */
    assert_true(clients_get(&core->clients, 0)->connected);
    assert_int_equal(core->clients.n_live, 1);
    connection_close(fd);
}

static void test_session_of_the_same_process_replaces_the_one_before(void **state)
{
    const int first = connection_open_member();

    const int second = connection_open_member();

    assert_null(hear(first));
    assert_int_equal(session_server.host.n_sessions, 1);
    assert_true(clients_get(&core->clients, 0)->connected);
    say(second, request_allocate(NEW_REQUEST, 10, "x", 1));
    assert_int_equal(hear(second)->body_case, KMEM__RESPONSE__BODY_ALLOCATED);
    connection_close(first);
    connection_close(second);
}

static void test_session_answers_goodbye_when_the_blocks_are_back(void **state)
{
    const int fd = connection_open_member();
    for (unsigned n = 0; n < 50; n++) {
        say(fd, request_allocate(NEW_REQUEST, 1000, "left behind", 11));
        assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_ALLOCATED);
    }

    capture_begin();
    say(fd, request_goodbye(NEW_REQUEST));
    const Kmem__Response *response = hear(fd);
    const char *log = capture_end();

    assert_int_equal(response->body_case, KMEM__RESPONSE__BODY_FAREWELL);
    assert_non_null(strstr(log, "left after"));
    assert_int_equal(core->direct.n_blocks, 0);
    assert_int_equal(core->clients.n_live, 0);
    assert_false(pidfd_watch_watches(&session_server.pidfds, 0));
    assert_null(hear(fd));
    connection_close(fd);
}

/* ---------------------------------------------------------------------------------- frames ---- */

static void test_session_reads_a_request_byte_by_byte(void **state)
{
    unsigned char frame[64];
    const size_t n_bytes = request_pack(request_hello(NEW_REQUEST, KMEM__ROLE__ROLE_OBSERVER, 0),
                                        frame, sizeof(frame));
    const int fd = connection_open();

    for (size_t i = 0; i < n_bytes; i++) {
        assert_true(hear_nothing(fd));
        say_bytes(fd, frame + i, 1);
    }

    assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_WELCOME);
    connection_close(fd);
}

static void test_session_answers_many_requests_at_once_in_order(void **state)
{
    unsigned char frames[8192];
    size_t n_bytes = 0;
    const int fd = connection_open_observer();
    for (uint64_t id = 1; id <= 200; id++) {
        Kmem__Request *request = request_usage(NEW_REQUEST);
        request->id = id;
        n_bytes += request_pack(request, frames + n_bytes, sizeof(frames) - n_bytes);
    }

    say_bytes(fd, frames, n_bytes);

    for (uint64_t id = 1; id <= 200; id++) {
        assert_int_equal(hear(fd)->id, id);
    }
    connection_close(fd);
}

static void test_session_refuses_a_frame_that_is_too_long_before_it_has_come(void **state)
{
    const unsigned char header[] = {0x01, 0x10, 0x00, 0x00}; /* 4,097 */
    const int fd = connection_open_observer();

    say_bytes(fd, header, sizeof(header));

    assert_error(hear(fd), KMEM__ERROR_CODE__ERROR_PROTOCOL, "not a request");
    assert_null(hear(fd));
    assert_int_equal(core->state.counters->protocol_errors, 1);
    connection_close(fd);
}

static void test_session_reads_a_frame_of_the_largest_length(void **state)
{
    /* Usage with an unknown field that fills the frame: 12,2 | 1000: length-delimited. */
    unsigned char frame[FRAME_HEADER_BYTES + REQUEST_MAX_BYTES] = {0x00, 0x10, 0x00, 0x00,
                                                                   0x32, 0x00, 0xc2, 0x3e};
    const size_t n_filled = REQUEST_MAX_BYTES - 6;
    frame[8] = (unsigned char)(0x80 | (n_filled & 0x7f));
    frame[9] = (unsigned char)(n_filled >> 7);
    const int fd = connection_open_observer();

    say_bytes(fd, frame, sizeof(frame));

    assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_USAGE);
    connection_close(fd);
}

static void test_session_refuses_bytes_that_are_no_request(void **state)
{
    const unsigned char nonsense[][8] = {
        {4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff},
        {0, 0, 0, 0},             /* a request of no kind */
        {2, 0, 0, 0, 0x12, 0x7f}, /* a Hello that is cut short */
        {0xff, 0xff, 0xff, 0xff},
    };

    for (size_t i = 0; i < sizeof(nonsense) / sizeof(nonsense[0]); i++) {
        const int fd = connection_open_observer();
        say_bytes(fd, nonsense[i], sizeof(nonsense[i]));
        assert_error(hear(fd), KMEM__ERROR_CODE__ERROR_PROTOCOL, "");
        assert_null(hear(fd));
        connection_close(fd);
    }
    assert_int_equal(session_server.host.n_sessions, 0);
}

static void test_session_refuses_a_request_that_needs_too_much_memory(void **state)
{
    /* 1,300 empty Hellos in one request: each would be another 48 bytes. */
    unsigned char frame[FRAME_HEADER_BYTES + 2600] = {0x28, 0x0a};
    for (size_t at = FRAME_HEADER_BYTES; at < sizeof(frame); at += 2) {
        frame[at] = 0x12;
    }
    const int fd = connection_open_observer();

    say_bytes(fd, frame, sizeof(frame));

    assert_error(hear(fd), KMEM__ERROR_CODE__ERROR_PROTOCOL, "");
    connection_close(fd);
}

static void test_session_whose_peer_vanishes_in_the_middle_of_a_frame_is_closed(void **state)
{
    const unsigned char header[] = {100, 0, 0, 0, 1, 2, 3};
    const int fd = connection_open_observer();

    say_bytes(fd, header, sizeof(header));
    turn();
    connection_close(fd);

    assert_int_equal(session_server.host.n_sessions, 0);
    assert_int_equal(core->state.counters->protocol_errors, 0);
}

static void test_session_that_is_half_closed_is_closed(void **state)
{
    const int fd = connection_open_observer();

    assert_int_equal(shutdown(fd, SHUT_WR), 0);

    assert_null(hear(fd));
    assert_int_equal(session_server.host.n_sessions, 0);
    connection_close(fd);
}

static void test_session_does_not_receive_descriptors(void **state)
{
    const int fd = connection_open_observer();
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
    unsigned char empty[] = {0, 0};
    struct iovec part = {empty, sizeof(empty)};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof(control)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof(int));
    const unsigned n_fds = count_fds();

    assert_int_equal(sendmsg(fd, &message, 0), 2);

    assert_true(hear_nothing(fd));
    assert_int_equal(count_fds(), n_fds);
    connection_close(fd);
}

/* --------------------------------------------------------------------- peers that are slow ---- */

static void hold_many_blocks(int fd)
{
    for (unsigned n = 0; n < 600; n++) {
        say(fd, request_allocate(NEW_REQUEST, 16,
                                 "a reason that makes an answer of some forty kilobytes", 53));
        assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_ALLOCATED);
    }
}

static void test_session_whose_peer_does_not_read_stops_reading_itself(void **state)
{
    const int member = connection_open_member();
    hold_many_blocks(member);
    const int fd = connection_open_observer();

    for (unsigned n = 0; n < 100; n++) {
        say(fd, request_blocks(NEW_REQUEST, 0));
        turn();
    }
    const struct session *session = session_server.host.sessions;
    assert_true(session->writing);
    assert_non_null(session->unsent);
    say(member, request_usage(NEW_REQUEST)); /* the others are served */
    assert_int_equal(hear(member)->body_case, KMEM__RESPONSE__BODY_USAGE);

    for (unsigned n = 0; n < 100; n++) {
        const Kmem__Response *response = hear(fd);
        assert_int_equal(response->body_case, KMEM__RESPONSE__BODY_BLOCKS);
        assert_true(response->blocks->n_blocks > 300);
    }
    assert_true(hear_nothing(fd));
    assert_false(session->writing);
    connection_close(fd);
    connection_close(member);
}

static void test_session_whose_peer_goes_without_reading_is_closed(void **state)
{
    const int member = connection_open_member();
    hold_many_blocks(member);
    const int fd = connection_open_observer();
    for (unsigned n = 0; n < 20; n++) {
        say(fd, request_blocks(NEW_REQUEST, 0));
        turn();
    }
    assert_true(session_server.host.sessions->writing);

    connection_close(fd);

    assert_int_equal(session_server.host.n_sessions, 1);
    connection_close(member);
}

static void test_session_that_is_refused_while_it_does_not_read_is_closed_afterwards(void **state)
{
    const unsigned char too_long[] = {0xff, 0xff, 0xff, 0xff};
    const int member = connection_open_member();
    hold_many_blocks(member);
    const int fd = connection_open_observer();
    unsigned n_asked = 0;
    for (; !session_server.host.sessions->writing; n_asked++) {
        say(fd, request_blocks(NEW_REQUEST, 0));
        turn();
    }

    say_bytes(fd, too_long, sizeof(too_long));
    turn();

    for (unsigned n = 0; n < n_asked; n++) {
        assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_BLOCKS);
    }
    assert_error(hear(fd), KMEM__ERROR_CODE__ERROR_PROTOCOL, "not a request");
    assert_null(hear(fd));
    connection_close(fd);
    connection_close(member);
}

/* ------------------------------------------------------------------- peers that ask much ---- */

/* Sends so many questions at once that the input is full. Return: how many. */
static unsigned say_much(int fd)
{
    static unsigned char frames[32768];
    unsigned n = 0;
    size_t n_bytes = 0;
    for (; n_bytes + 64 < sizeof(frames); n++) {
        Kmem__Request *request = request_obituaries(NEW_REQUEST, 0);
        request->id = n + 1;
        n_bytes += request_pack(request, frames + n_bytes, 64);
    }
    say_bytes(fd, frames, n_bytes);
    return n;
}

static void test_session_turn_serves_some_requests_and_then_the_others(void **state)
{
    const int greedy = connection_open_observer();
    const int modest = connection_open_observer();
    const uint64_t n_before = core->state.counters->requests;
    (void)say_much(greedy);
    struct request request;
    say(modest, request_obituaries(&request, 0));

    turn();

    char byte;
    assert_int_equal(recv(modest, &byte, 1, MSG_PEEK), 1);
    assert_in_range(core->state.counters->requests - n_before, 2, TURN_REQUESTS_MAX + 1);
    assert_int_equal(hear(modest)->id, request.base.id);
    connection_close(greedy);
    connection_close(modest);
}

static void test_session_that_has_asked_much_is_answered_in_order_and_the_server_rests(void **state)
{
    const int fd = connection_open_observer();
    const unsigned n_asked = say_much(fd);

    for (unsigned n = 1; n <= n_asked; n++) {
        assert_int_equal(hear(fd)->id, n);
    }

    turn();
    assert_false(uv_is_active((uv_handle_t *)&session_server.idle));
    connection_close(fd);
}

static void test_session_of_one_request_leaves_the_loop_at_rest(void **state)
{
    const int fd = connection_open_observer();
    say(fd, request_obituaries(NEW_REQUEST, 0));

    turn(); /* read, served, and nothing is left that would keep the loop from waiting */

    assert_false(uv_is_active((uv_handle_t *)&session_server.idle));
    assert_non_null(hear(fd));
    connection_close(fd);
}

/* Not with the next tick: until then all clients would take what there was to spare. */
static void test_session_tells_with_its_answer_that_memory_is_short(void **state)
{
    const _Atomic uint32_t *spare = session_server.ledgers.tick + CLOCK_SPARE;
    const int fd = connection_open_member();
    shortage_look(&session_server.core.shortage);
    say(fd, request_allocate(NEW_REQUEST, SESSION_PAGES / 4 * PAGE_BYTES, "a quarter", 9));
    assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_ALLOCATED);
    turn();
    assert_true(atomic_load(spare) > CLOCK_SPARE_NONE);
    say(fd, request_allocate(NEW_REQUEST, SESSION_PAGES / 2 * PAGE_BYTES, "a half", 6));
    assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_ALLOCATED);

    say(fd, request_allocate(NEW_REQUEST, 64, "a little", 8));
    assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_ALLOCATED);

    turn();
    assert_int_equal(atomic_load(spare), CLOCK_SPARE_NONE);
    connection_close(fd);
}

static void test_session_that_is_half_closed_is_answered_before_it_is_closed(void **state)
{
    const int fd = connection_open_observer();
    struct request requests[10];
    for (unsigned n = 0; n < 10; n++) {
        say(fd, request_obituaries(&requests[n], 0));
    }

    assert_int_equal(shutdown(fd, SHUT_WR), 0);

    for (unsigned n = 0; n < 10; n++) {
        assert_int_equal(hear(fd)->id, requests[n].base.id);
    }
    assert_null(hear(fd));
    connection_close(fd);
}

static void test_session_that_hangs_up_is_closed_in_its_turn(void **state)
{
    const int fd = connection_open_observer();
    say(fd, request_obituaries(NEW_REQUEST, 0));

    session_hang_up(session_server.host.sessions, "enough");
    session_hang_up(session_server.host.sessions, "enough");

    assert_int_equal(session_server.host.n_sessions, 1);
    assert_error(hear(fd), KMEM__ERROR_CODE__ERROR_GONE, "enough");
    assert_null(hear(fd));
    assert_int_equal(session_server.host.n_sessions, 0);
    connection_close(fd);
}

/* ---------------------------------------------------------------------------------- limits ---- */

static void test_session_beyond_what_descriptors_allow_is_LIMIT(void **state)
{
    int fds[SESSION_DESCRIPTORS];
    unsigned n = 0;
    const Kmem__Response *response;

    capture_begin();
    for (;; n++) {
        fds[n] = connection_open();
        say_hello(fds[n], KMEM__ROLE__ROLE_OBSERVER);
        response = hear(fds[n]);
        if (response->body_case == KMEM__RESPONSE__BODY_ERROR) {
            break;
        }
    }
    (void)capture_end();

    /* An observer costs one; one that has just come costs three, until it says what it is. */
    assert_int_equal(n, SESSION_DESCRIPTORS - (CLIENT_DESCRIPTORS - 1));
    assert_error(response, KMEM__ERROR_CODE__ERROR_LIMIT, "as many connections as");
    assert_null(hear(fds[n]));
    for (unsigned i = 0; i <= n; i++) {
        connection_close(fds[i]);
    }
    connection_close(connection_open_member());
}

#define SESSION_TEST(test) cmocka_unit_test_setup_teardown(test, session_setup, session_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SESSION_TEST(test_session_gives_segment_ledger_and_clock_to_a_member),
        SESSION_TEST(test_session_gives_no_descriptor_to_an_observer),
        SESSION_TEST(test_session_that_ends_leaves_the_client_and_its_blocks),
        SESSION_TEST(test_session_of_the_same_process_replaces_the_one_before),
        SESSION_TEST(test_session_answers_goodbye_when_the_blocks_are_back),
        SESSION_TEST(test_session_reads_a_request_byte_by_byte),
        SESSION_TEST(test_session_answers_many_requests_at_once_in_order),
        SESSION_TEST(test_session_refuses_a_frame_that_is_too_long_before_it_has_come),
        SESSION_TEST(test_session_reads_a_frame_of_the_largest_length),
        SESSION_TEST(test_session_refuses_bytes_that_are_no_request),
        SESSION_TEST(test_session_refuses_a_request_that_needs_too_much_memory),
        SESSION_TEST(test_session_whose_peer_vanishes_in_the_middle_of_a_frame_is_closed),
        SESSION_TEST(test_session_that_is_half_closed_is_closed),
        SESSION_TEST(test_session_does_not_receive_descriptors),
        SESSION_TEST(test_session_whose_peer_does_not_read_stops_reading_itself),
        SESSION_TEST(test_session_whose_peer_goes_without_reading_is_closed),
        SESSION_TEST(test_session_that_is_refused_while_it_does_not_read_is_closed_afterwards),
        SESSION_TEST(test_session_turn_serves_some_requests_and_then_the_others),
        SESSION_TEST(test_session_that_has_asked_much_is_answered_in_order_and_the_server_rests),
        SESSION_TEST(test_session_of_one_request_leaves_the_loop_at_rest),
        SESSION_TEST(test_session_tells_with_its_answer_that_memory_is_short),
        SESSION_TEST(test_session_that_is_half_closed_is_answered_before_it_is_closed),
        SESSION_TEST(test_session_that_hangs_up_is_closed_in_its_turn),
        SESSION_TEST(test_session_beyond_what_descriptors_allow_is_LIMIT),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
