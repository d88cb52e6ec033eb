/* SPDX-License-Identifier: MIT */
/*
 * test_session_waits.c - a Next that waits, and a Watch, over a real socket: they cost the loop
 * nothing
 *
 * This process is one client. What it waits for is published by another, which is a client of the
 * core alone.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/server/loop.h"
#include "daemon/server/turns.h"
#include "tests/unit/captured.h"
#include "tests/unit/session_fixture.h"

#define NAME "camera0/latest"

static struct core *core = &session_server.core;
static struct peer publisher;
static struct reply *reply;

static int waits_setup(void **state)
{
    (void)session_setup(state);
    const struct client_identity identity = {.pid = 1, .uid = 12345, .start_time = 1};
    peer_init(&publisher, &identity, 77);
    assert_int_equal(core_join(core, &identity, 77, 0, &publisher.client), 0);
    publisher.generation = publisher.client->generation;
    publisher.role = PEER_MEMBER;
    reply = reply_new();
    assert_non_null(reply);
    return 0;
}

static int waits_teardown(void **state)
{
    reply = reply_free(reply);
    assert_int_equal(core->waits.n, 0);
    return session_teardown(state);
}

static void publisher_ask(Kmem__Request *request)
{
    assert_int_equal(dispatch(core, &publisher, request, (struct now){0}, reply), DISPATCH_OK);
    assert_int_not_equal(reply->response.body_case, KMEM__RESPONSE__BODY_ERROR);
}

static void publish(void)
{
    Kmem__Allocate allocate = KMEM__ALLOCATE__INIT;
    Kmem__Publish body = KMEM__PUBLISH__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    allocate.num_bytes = 100;
    request.body_case = KMEM__REQUEST__BODY_ALLOCATE;
    request.allocate = &allocate;
    publisher_ask(&request);
    body.offset = reply->response.allocated->offset;
    body.name = (ProtobufCBinaryData){strlen(NAME), (uint8_t *)NAME};
    request.body_case = KMEM__REQUEST__BODY_PUBLISH;
    request.publish = &body;
    publisher_ask(&request);
}

static void say_next(int fd, uint32_t wait_ms)
{
    Kmem__Next next = KMEM__NEXT__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    next.name = (ProtobufCBinaryData){strlen(NAME), (uint8_t *)NAME};
    next.wait_ms = wait_ms;
    request.id = 8;
    request.body_case = KMEM__REQUEST__BODY_NEXT;
    request.next = &next;
    say(fd, &request);
}

/* A member whose Next waits. */
static int open_waiting(uint32_t wait_ms)
{
    const int fd = connection_open_member();
    say_next(fd, wait_ms);
    while (core->waits.n == 0) {
        turn();
    }
    return fd;
}

static void test_session_that_waits_has_no_turn_and_lets_the_loop_sleep(void **state)
{
    (void)state;
    const int fd = open_waiting(60000);
    const struct session *session = session_server.host.sessions;
    const uint64_t n_turn = session->n_turn;

    assert_true(hear_nothing(fd));

    assert_int_equal(session->n_turn, n_turn);
    assert_false(turns_wait(&session_server.host));
    assert_false(uv_is_active((uv_handle_t *)&session_server.idle));
    connection_close(fd);
}

static void test_session_that_waits_is_answered_when_the_name_is_published(void **state)
{
    (void)state;
    const int fd = open_waiting(60000);

    publish();
    const Kmem__Response *response = hear(fd);

    assert_int_equal(response->id, 8);
    assert_int_equal(response->body_case, KMEM__RESPONSE__BODY_NEXTED);
    assert_int_equal(response->nexted->block->num_bytes, 100);
    assert_int_equal(core->shares.n_holds, 1);
    say(fd, request_usage(NEW_REQUEST)); /* it goes on */
    assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_USAGE);
    connection_close(fd);
}

static void test_session_that_waits_is_answered_when_its_time_is_up(void **state)
{
    (void)state;
    const int fd = open_waiting(20);

    while (core->waits.n > 0) {
        turn();
    }
    const Kmem__Response *response = hear(fd);

    assert_int_equal(response->id, 8);
    assert_int_equal(response->body_case, KMEM__RESPONSE__BODY_ERROR);
    assert_int_equal(response->error->code, KMEM__ERROR_CODE__ERROR_NO_NAME);
    connection_close(fd);
}

static void test_session_that_hangs_up_while_it_waits_is_forgotten(void **state)
{
    (void)state;
    const int fd = open_waiting(60000);

    assert_int_equal(close(fd), 0);
    while (session_server.host.n_sessions > 0) {
        turn();
    }

    assert_int_equal(core->waits.n, 0);
    publish();
    assert_int_equal(core->shares.n_holds, 0);
}

static void test_session_that_had_hung_up_before_it_waited_is_forgotten(void **state)
{
    (void)state;
    const int fd = connection_open_member();
    say_next(fd, 60000);
    assert_int_equal(close(fd), 0);

    while (session_server.host.n_sessions > 0) {
        turn();
    }

    assert_int_equal(core->waits.n, 0);
}

static void test_session_answers_what_was_asked_while_it_waited_afterwards(void **state)
{
    (void)state;
    const int fd = open_waiting(60000);
    say(fd, request_usage(NEW_REQUEST));
    say(fd, request_blocks(NEW_REQUEST, 0));
    assert_true(hear_nothing(fd));

    publish();

    assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_NEXTED);
    assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_USAGE);
    assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_BLOCKS);
    connection_close(fd);
}

static void test_session_that_is_sent_much_while_it_waits_reads_what_there_is_room_for(void **state)
{
    (void)state;
    const int fd = open_waiting(60000);
    const struct session *session = session_server.host.sessions;
    unsigned n_asked = 0;
    while (session->reading) {
        say(fd, request_blocks(NEW_REQUEST, 0));
        n_asked++;
        turn();
    }
    assert_int_equal(session->n_input, sizeof(session->input));

    publish();

    assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_NEXTED);
    for (unsigned n = 0; n < n_asked; n++) {
        assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_BLOCKS);
    }
    connection_close(fd);
}

static void test_session_that_another_replaces_while_it_waits_is_forgotten(void **state)
{
    (void)state;
    const int first = open_waiting(60000);

    const int second = connection_open_member();

    assert_null(hear(first));
    assert_int_equal(core->waits.n, 0);
    publish();
    assert_int_equal(core->shares.n_holds, 0);
    connection_close(first);
    connection_close(second);
}

static void test_session_of_a_process_that_ends_while_it_waits_is_closed(void **state)
{
    (void)state;
    const int fd = open_waiting(60000);
    struct session *session = session_server.host.sessions;
    core_end(core, session->peer.client, false, loop_now().ms);
    session_hang_up(session, NULL); /* as server.c does */
    publish();

    assert_null(hear(fd));

    assert_int_equal(core->shares.n_holds, 0);
    connection_close(fd);
}

/* session_joined_fn */
static int join_in_vain(struct session *session, void *user)
{
    (void)session;
    (void)user;
    return -EIO;
}

static void test_session_of_one_that_comes_back_in_vain_keeps_its_holds(void **state)
{
    (void)state;
    int fd = connection_open_member();
    publish();
    say_next(fd, 0);
    assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_NEXTED);
    connection_close(fd);
    const session_joined_fn joined = session_server.host.joined;
    session_server.host.joined = join_in_vain;
    fd = connection_open();
    say_hello(fd, KMEM__ROLE__ROLE_MEMBER);
    capture_begin();
    assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_ERROR);
    (void)capture_end();
    connection_close(fd);
    session_server.host.joined = joined;

    assert_int_equal(core->shares.n_holds, 1);

    fd = connection_open_member();
    assert_int_equal(core->shares.n_holds, 1);
    connection_close(fd);
}

/* ------------------------------------------------------------------------------- watching -- */

/* An observer that watches, and has read the first word. */
static int open_watching(void)
{
    Kmem__Watch watch = KMEM__WATCH__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    const int fd = connection_open_observer();
    watch.name = (ProtobufCBinaryData){strlen(NAME), (uint8_t *)NAME};
    request.id = 9;
    request.body_case = KMEM__REQUEST__BODY_WATCH;
    request.watch = &watch;
    say(fd, &request);
    return fd;
}

static void expect_word(int fd)
{
    const Kmem__Response *response = hear(fd);
    assert_non_null(response);
    assert_int_equal(response->id, 9);
    assert_int_equal(response->body_case, KMEM__RESPONSE__BODY_WATCHED);
}

/* How much has arrived that was not read. */
static int n_unread(int fd)
{
    int n_bytes = -1;
    assert_int_equal(ioctl(fd, FIONREAD, &n_bytes), 0);
    return n_bytes;
}

/* Lets the server do what there is to do. */
static void turn_all(void)
{
    do {
        turn();
    } while (turns_wait(&session_server.host));
}

static void test_session_that_watches_is_told_each_change_that_it_reads(void **state)
{
    (void)state;
    const int fd = open_watching();
    expect_word(fd);
    for (int i = 0; i < 10; i++) {
        assert_true(hear_nothing(fd));
        publish();
        expect_word(fd);
    }
    const struct session *session = session_server.host.sessions;
    assert_false(uv_is_active((const uv_handle_t *)&session->timer)); /* it may wait for ever */
    assert_false(uv_is_active((uv_handle_t *)&session_server.idle));
    connection_close(fd);
}

static void test_session_that_watches_and_does_not_read_has_one_word_at_most(void **state)
{
    (void)state;
    const int fd = open_watching();
    while (core->waits.n == 0) {
        turn();
    }
    const int n_word = n_unread(fd);
    assert_true(n_word > 0);
    for (int i = 0; i < 1000; i++) {
        publish();
        turn_all();
    }
    const struct session *session = session_server.host.sessions;
    assert_int_equal(n_unread(fd), n_word);
    assert_false(session->writing);
    assert_null(session->unsent);
    assert_int_equal(core->waits.n, 1);

    expect_word(fd); /* of all of them */
    assert_true(hear_nothing(fd));
    publish();
    expect_word(fd);
    connection_close(fd);
}

static void test_session_that_watches_and_asks_is_closed_with_a_word(void **state)
{
    (void)state;
    const int fd = open_watching();
    expect_word(fd);
    say(fd, request_usage(NEW_REQUEST));
    const Kmem__Response *response = hear(fd);
    assert_int_equal(response->body_case, KMEM__RESPONSE__BODY_ERROR);
    assert_non_null(strstr(response->error->message, "takes no other request"));
    assert_null(hear(fd));
    assert_int_equal(core->waits.n, 0);
    connection_close(fd);
}

static void test_session_that_had_asked_before_it_watched_is_closed(void **state)
{
    (void)state;
    const int fd = open_watching();
    say(fd, request_usage(NEW_REQUEST)); /* in one piece with it, perhaps */
    expect_word(fd);
    assert_int_equal(hear(fd)->body_case, KMEM__RESPONSE__BODY_ERROR);
    assert_null(hear(fd));
    connection_close(fd);
}

static void test_session_that_hangs_up_while_it_watches_is_forgotten(void **state)
{
    (void)state;
    const int fd = open_watching();
    while (core->waits.n == 0) {
        turn();
    }
    assert_int_equal(close(fd), 0);
    while (session_server.host.n_sessions > 0) {
        turn();
    }
    assert_int_equal(core->waits.n, 0);
    publish();
}

static int open_waiting_observer(void)
{
    Kmem__Changes changes = KMEM__CHANGES__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    const int fd = connection_open_observer();
    changes.from_number = core->changes.n_written + 1;
    changes.wait_ms = CHANGES_WAIT_MAX_MS;
    request.id = 9;
    request.body_case = KMEM__REQUEST__BODY_CHANGES;
    request.changes = &changes;
    say(fd, &request);
    while (core->waits.n == 0) {
        turn();
    }
    return fd;
}

static void test_session_that_waits_for_a_change_is_answered_and_may_be_idle_again(void **state)
{
    (void)state;
    const int fd = open_waiting_observer();

    publish();
    const Kmem__Response *response = hear(fd);

    assert_int_equal(response->id, 9);
    assert_int_equal(response->body_case, KMEM__RESPONSE__BODY_CHANGES);
    assert_true(response->changes->n_changes >= 1);
    assert_string_equal(response->changes->changes[0]->kind, "allocated");
    assert_true(uv_is_active((uv_handle_t *)&session_server.host.sessions->timer));
    connection_close(fd);
}

static void test_session_that_hangs_up_while_it_waits_for_a_change_is_forgotten(void **state)
{
    (void)state;
    const int fd = open_waiting_observer();
    assert_int_equal(close(fd), 0);
    while (session_server.host.n_sessions > 0) {
        turn();
    }
    assert_int_equal(core->waits.n, 0);
    publish();
}

#define WAITS_TEST(test) cmocka_unit_test_setup_teardown(test, waits_setup, waits_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WAITS_TEST(test_session_that_waits_has_no_turn_and_lets_the_loop_sleep),
        WAITS_TEST(test_session_that_waits_is_answered_when_the_name_is_published),
        WAITS_TEST(test_session_that_waits_is_answered_when_its_time_is_up),
        WAITS_TEST(test_session_that_hangs_up_while_it_waits_is_forgotten),
        WAITS_TEST(test_session_that_had_hung_up_before_it_waited_is_forgotten),
        WAITS_TEST(test_session_answers_what_was_asked_while_it_waited_afterwards),
        WAITS_TEST(test_session_that_is_sent_much_while_it_waits_reads_what_there_is_room_for),
        WAITS_TEST(test_session_that_another_replaces_while_it_waits_is_forgotten),
        WAITS_TEST(test_session_of_a_process_that_ends_while_it_waits_is_closed),
        WAITS_TEST(test_session_of_one_that_comes_back_in_vain_keeps_its_holds),
        WAITS_TEST(test_session_that_watches_is_told_each_change_that_it_reads),
        WAITS_TEST(test_session_that_watches_and_does_not_read_has_one_word_at_most),
        WAITS_TEST(test_session_that_watches_and_asks_is_closed_with_a_word),
        WAITS_TEST(test_session_that_had_asked_before_it_watched_is_closed),
        WAITS_TEST(test_session_that_hangs_up_while_it_watches_is_forgotten),
        WAITS_TEST(test_session_that_waits_for_a_change_is_answered_and_may_be_idle_again),
        WAITS_TEST(test_session_that_hangs_up_while_it_waits_for_a_change_is_forgotten),
    };
    return cmocka_run_group_tests_name("session_waits", tests, NULL, NULL);
}
