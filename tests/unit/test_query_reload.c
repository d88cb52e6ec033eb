/* SPDX-License-Identifier: MIT */
/*
 * test_query_reload.c - what an administrator asks for; and that no question is asked from within
 *                       the answer to another
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kmem/history.h>
#include <kmem/observe.h>
#include <kmem/query.h>

#include "tests/unit/fake_daemon.h"
#include "tests/unit/unit.h"

#define MIB (UINT64_C(1) << 20)

static struct kmem_query *query;
static unsigned n_pending; /* answers that a resize goes on, before the last */
static unsigned n_resizes;
static uint64_t asked_bytes;
static unsigned n_rows;
static bool is_denied;

static char *text(const char *literal)
{
    return (char *)(uintptr_t)literal;
}

static void answer_reload(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__Reloaded reloaded = KMEM__RELOADED__INIT;
    Kmem__SettingChange live = KMEM__SETTING_CHANGE__INIT;
    Kmem__SettingChange waiting = KMEM__SETTING_CHANGE__INIT;
    Kmem__SettingChange *changes[] = {&live, &waiting};
    live.key = text("quota");
    live.was = text("none");
    live.now = text("1MiB");
    waiting.key = text("commit");
    waiting.was = text("eager");
    waiting.now = text("lazy");
    waiting.waits = text("it is taken at the start");
    reloaded.changes = changes;
    reloaded.n_changes = 2;
    response.body_case = KMEM__RESPONSE__BODY_RELOADED;
    response.reloaded = &reloaded;
    fake_send(peer, request, &response, NULL, 0);
}

static void answer_resize(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__Resized resized = KMEM__RESIZED__INIT;
    n_resizes++;
    asked_bytes = request->resize->num_bytes;
    resized.pending = n_pending > 0;
    n_pending -= n_pending > 0;
    response.body_case = KMEM__RESPONSE__BODY_RESIZED;
    response.resized = &resized;
    fake_send(peer, request, &response, NULL, 0);
}

static bool answer_query(struct fake_peer *peer, const Kmem__Request *request)
{
    if (request->body_case == KMEM__REQUEST__BODY_HELLO) {
        return false;
    }
    if (is_denied) {
        fake_send_error(peer, request, KMEM__ERROR_CODE__ERROR_DENIED, "is no administrator");
    } else if (request->body_case == KMEM__REQUEST__BODY_RELOAD) {
        answer_reload(peer, request);
    } else if (request->body_case == KMEM__REQUEST__BODY_RESIZE) {
        answer_resize(peer, request);
    }
    return true;
}

static int start_daemon(void **state)
{
    n_pending = n_resizes = n_rows = 0;
    is_denied = false;
    fake_daemon_start();
    fake_daemon_hook(answer_query);
    return kmem_query_open(NULL, &query);
}

static int stop_daemon(void **state)
{
    query = kmem_query_close(query);
    fake_daemon_stop();
    return 0;
}

/* ---------------------------------------------------------------------------------- reload ---- */

static int check_change(const struct kmem_setting_change *change, void *user)
{
    const bool is_first = n_rows++ == 0;
    assert_string_equal(change->key, is_first ? "quota" : "commit");
    assert_string_equal(change->was, is_first ? "none" : "eager");
    assert_string_equal(change->now, is_first ? "1MiB" : "lazy");
    if (is_first) {
        assert_null(change->waits); /* it is in force */
    } else {
        assert_string_equal(change->waits, "it is taken at the start");
    }
    return user ? 7 : 0;
}

static void test_query_reload_passes_every_change_on(void **state)
{
    assert_int_equal(kmem_query_reload(query, check_change, NULL), 0);
    assert_int_equal(n_rows, 2);
}

static void test_query_reload_callback_ends_the_call(void **state)
{
    assert_int_equal(kmem_query_reload(query, check_change, &n_rows), 7);
    assert_int_equal(n_rows, 1);
}

static void test_query_reload_and_resize_denied_are_EACCES(void **state)
{
    is_denied = true;
    assert_int_equal(kmem_query_reload(query, check_change, NULL), -EACCES);
    assert_non_null(strstr(kmem_query_error(query), "is no administrator"));
    assert_int_equal(kmem_query_resize(query, MIB), -EACCES);
    assert_int_equal(n_rows, 0);
}

/* ---------------------------------------------------------------------------------- resize ---- */

static void test_query_resize_asks_until_it_has_that_size(void **state)
{
    n_pending = 3;
    assert_int_equal(kmem_query_resize(query, 3 * MIB), 0);
    assert_int_equal(n_resizes, 4);
    assert_int_equal(asked_bytes, 3 * MIB);
}

/* Another server may have that size already, or another: its caller is to look. */
static void test_query_resize_is_not_repeated_to_the_next_server(void **state)
{
    kmem_query_insist(query, NULL, NULL);
    fake_daemon_end();
    assert_int_equal(kmem_query_resize(query, 3 * MIB), -ECONNRESET);
    assert_int_equal(n_resizes, 0);
}

static void test_query_reload_is_not_repeated_to_the_next_server(void **state)
{
    kmem_query_insist(query, NULL, NULL);
    fake_daemon_end();
    assert_int_equal(kmem_query_reload(query, check_change, NULL), -ECONNRESET);
}

/* ------------------------------------------------------------------------ within an answer ---- */

/* Its row would be overwritten by the other's answer. None of them calls back. */
static int ask_everything(const struct kmem_setting_change *change, void *user)
{
    const struct kmem_history_filter history = {.struct_bytes = sizeof(history)};
    const struct kmem_block_filter blocks = {.struct_bytes = sizeof(blocks)};
    struct kmem_change_position position = {.number = 0};
    const int results[] = {
        kmem_query_usage(query, NULL, NULL),
        kmem_query_limits(query, NULL, NULL),
        kmem_query_reload(query, NULL, NULL),
        kmem_query_resize(query, MIB),
        kmem_query_ledger(query, KMEM_BY_REASON, NULL, NULL),
        kmem_query_blocks(query, NULL, NULL),
        kmem_query_blocks_where(query, &blocks, NULL, NULL),
        kmem_query_clients(query, NULL, NULL),
        kmem_query_obituaries(query, NULL, NULL),
        kmem_query_refusals(query, NULL, NULL),
        kmem_query_refusal_counts(query, NULL, NULL),
        kmem_query_holders(query, 0, NULL, NULL),
        kmem_query_names(query, NULL, NULL),
        kmem_query_pages(query, 0, NULL, NULL),
        kmem_query_at(query, 0, NULL, NULL),
        kmem_query_changes(query, &position, 0, NULL, NULL),
        kmem_query_history(query, &history, NULL, NULL),
        kmem_query_lifetimes(query, NULL, NULL),
    };
    for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++) {
        assert_int_equal(results[i], -EBUSY);
    }
    assert_non_null(strstr(kmem_query_error(query), "a callback of kmem_query_reload asks on the "
                                                    "same query; open another one"));
    assert_string_equal(change->now, n_rows++ == 0 ? "1MiB" : "lazy"); /* it is as it was */
    return 0;
}

static void test_query_of_any_kind_in_a_callback_on_the_same_query_is_EBUSY(void **state)
{
    assert_int_equal(kmem_query_reload(query, ask_everything, NULL), 0);
    assert_int_equal(n_rows, 2);
    assert_int_equal(n_resizes, 0);
}

#define RELOAD_TEST(function) cmocka_unit_test_setup_teardown(function, start_daemon, stop_daemon)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RELOAD_TEST(test_query_reload_passes_every_change_on),
        RELOAD_TEST(test_query_reload_callback_ends_the_call),
        RELOAD_TEST(test_query_reload_and_resize_denied_are_EACCES),
        RELOAD_TEST(test_query_resize_asks_until_it_has_that_size),
        RELOAD_TEST(test_query_resize_is_not_repeated_to_the_next_server),
        RELOAD_TEST(test_query_reload_is_not_repeated_to_the_next_server),
        RELOAD_TEST(test_query_of_any_kind_in_a_callback_on_the_same_query_is_EBUSY),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
