/* SPDX-License-Identifier: MIT */
/*
 * test_query_shares.c - who holds shared blocks, and what they are named, as kmem/query.h tells it
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kmem/query.h>

#include "tests/unit/fake_daemon.h"
#include "tests/unit/unit.h"

static struct kmem_query *query;

/* A page of the next answer, and what it says. */
static Kmem__HoldersReport holders;
static Kmem__NamesReport names;
static Kmem__Holder holder_row;
static Kmem__Holder *holder_pointer = &holder_row;
static Kmem__Name name_row;
static Kmem__Name *name_pointer = &name_row;

/* What the daemon was asked last, and how often. */
static Kmem__Holders asked_holders;
static uint32_t asked_name;
static unsigned int n_asked;

/* Pages that say "more"; then one that does not. */
static unsigned int n_pages_more;
/* By how much each moves on: a holder of the same share, another share, a name. */
static uint32_t step_holder;
static uint32_t step_share;
static uint32_t step_name;

static unsigned int n_rows;
static unsigned int stop_after; /* rows; then the callback returns 7 */

static char *text(const char *literal)
{
    return (char *)(uintptr_t)literal;
}

static bool answer_query(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    if (request->body_case == KMEM__REQUEST__BODY_HOLDERS) {
        asked_holders = *request->holders;
        holders.more = n_pages_more > 0;
        holders.next_share = request->holders->from_share + step_share;
        holders.next_holder = request->holders->from_holder + step_holder;
        response.body_case = KMEM__RESPONSE__BODY_HOLDERS;
        response.holders = &holders;
    } else if (request->body_case == KMEM__REQUEST__BODY_NAMES) {
        asked_name = request->names->from_name;
        names.more = n_pages_more > 0;
        names.next_name = request->names->from_name + step_name;
        response.body_case = KMEM__RESPONSE__BODY_NAMES;
        response.names = &names;
    } else {
        return false;
    }
    n_pages_more -= n_pages_more > 0;
    n_asked++;
    fake_send(peer, request, &response, NULL, 0);
    return true;
}

static void fill_holders(void)
{
    kmem__holders_report__init(&holders);
    kmem__holder__init(&holder_row);
    holder_row.offset = 16384;
    holder_row.num_bytes = 44;
    holder_row.generation = UINT64_MAX - 1;
    holder_row.block_reason = text("frame");
    holder_row.pid = 5;
    holder_row.uid = 6;
    holder_row.command = text("detect");
    holder_row.reason = text("looks");
    holder_row.age_ms = 7;
    holder_row.write = true;
    holder_row.kind = KMEM__HOLDER_KIND__HOLDER_HOLDS;
    holders.n_holders = 1;
    holders.holders = &holder_pointer;
}

static void fill_names(void)
{
    kmem__names_report__init(&names);
    kmem__name__init(&name_row);
    name_row.name = text("camera0/latest");
    name_row.version = UINT64_MAX - 2;
    name_row.offset = 16384;
    name_row.num_bytes = 44;
    name_row.block_reason = text("frame");
    name_row.pid = 5;
    name_row.uid = 6;
    name_row.command = text("capture");
    name_row.keep = true;
    name_row.n_holders = 3;
    names.n_names = 1;
    names.names = &name_pointer;
}

static int start_daemon(void **state)
{
    (void)setenv("KMEM_TIMEOUT_MS", "60000", 1);
    fill_holders();
    fill_names();
    n_pages_more = n_asked = n_rows = stop_after = 0;
    step_holder = 7;
    step_share = 0;
    step_name = 3;
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

static int count_row(void)
{
    n_rows++;
    return n_rows == stop_after ? 7 : 0;
}

/* --------------------------------------------------------------------------------- holders ---- */

static int check_holder(const struct kmem_holder *holder, void *user)
{
    assert_ptr_equal(user, &holders);
    assert_int_equal(holder->offset, 16384);
    assert_int_equal(holder->num_bytes, 44);
    assert_true(holder->generation == UINT64_MAX - 1);
    assert_string_equal(holder->block_reason, "frame");
    assert_int_equal(holder->kind, KMEM_HOLDER_ATTACHED);
    assert_int_equal(holder->pid, 5);
    assert_int_equal(holder->uid, 6);
    assert_string_equal(holder->command, "detect");
    assert_string_equal(holder->reason, "looks");
    assert_int_equal(holder->age_ms, 7);
    assert_int_equal(holder->write, 1);
    return count_row();
}

static int check_kind(const struct kmem_holder *holder, void *user)
{
    const enum kmem_holder_kind *wanted = user;
    assert_int_equal(holder->kind, *wanted);
    return count_row();
}

static void test_query_holders_reads_page_after_page(void **state)
{
    n_pages_more = 2;
    assert_int_equal(kmem_query_holders(query, 0, check_holder, &holders), 0);
    assert_int_equal(n_rows, 3);
    assert_int_equal(n_asked, 3);
    assert_int_equal(asked_holders.offset, 0);
    assert_int_equal(asked_holders.from_share, 0);
    assert_int_equal(asked_holders.from_holder, 14);
}

static void test_query_holders_moves_on_to_another_share(void **state)
{
    step_share = 1;
    step_holder = UINT32_MAX; /* one back: the holder's number begins anew with each share */
    n_pages_more = 2;
    assert_int_equal(kmem_query_holders(query, 0, check_holder, &holders), 0);
    assert_int_equal(n_rows, 3);
    assert_int_equal(asked_holders.from_share, 2);
}

static void test_query_holders_of_one_block_asks_for_it_on_each_page(void **state)
{
    n_pages_more = 1;
    assert_int_equal(kmem_query_holders(query, UINT64_MAX, check_holder, &holders), 0);
    assert_int_equal(n_asked, 2);
    assert_true(asked_holders.offset == UINT64_MAX);
}

static void test_query_holders_tells_each_kind(void **state)
{
    static const struct {
        int said;
        enum kmem_holder_kind told;
    } kinds[] = {
        {KMEM__HOLDER_KIND__HOLDER_OWNER, KMEM_HOLDER_OWNER},
        {KMEM__HOLDER_KIND__HOLDER_HOLDS, KMEM_HOLDER_ATTACHED},
        {KMEM__HOLDER_KIND__HOLDER_NAME, KMEM_HOLDER_NAME},
        {KMEM__HOLDER_KIND__HOLDER_OFFER, KMEM_HOLDER_OFFER},
        {99, (enum kmem_holder_kind)99}, /* a newer daemon's */
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        enum kmem_holder_kind told = kinds[i].told;
        holder_row.kind = (Kmem__HolderKind)kinds[i].said;
        assert_int_equal(kmem_query_holders(query, 0, check_kind, &told), 0);
    }
    assert_int_equal(n_rows, 5);
}

static void test_query_holders_callback_ends_the_call(void **state)
{
    n_pages_more = 3;
    stop_after = 2;
    assert_int_equal(kmem_query_holders(query, 0, check_holder, &holders), 7);
    assert_int_equal(n_asked, 2);
}

static void test_query_holders_that_stand_still_are_EPROTO(void **state)
{
    step_holder = 0;
    n_pages_more = 3;
    assert_int_equal(kmem_query_holders(query, 0, check_holder, &holders), -EPROTO);
    assert_int_equal(n_asked, 1);
    assert_non_null(strstr(kmem_query_error(query), "kmem_query_holders: the daemon at "));
    assert_non_null(strstr(kmem_query_error(query), "does not move on"));
}

static void test_query_holders_that_go_back_are_EPROTO(void **state)
{
    step_share = UINT32_MAX;
    n_pages_more = 3;
    assert_int_equal(kmem_query_holders(query, 0, check_holder, &holders), -EPROTO);
    assert_int_equal(n_asked, 2); /* from 0 to the last share there can be, and back */
}

/* ----------------------------------------------------------------------------------- names ---- */

static int check_name(const struct kmem_name *name, void *user)
{
    assert_ptr_equal(user, &names);
    assert_string_equal(name->name, "camera0/latest");
    assert_true(name->version == UINT64_MAX - 2);
    assert_int_equal(name->offset, 16384);
    assert_int_equal(name->num_bytes, 44);
    assert_string_equal(name->block_reason, "frame");
    assert_int_equal(name->pid, 5);
    assert_int_equal(name->uid, 6);
    assert_string_equal(name->command, "capture");
    assert_int_equal(name->keep, 1);
    assert_int_equal(name->n_holders, 3);
    return count_row();
}

static void test_query_names_reads_page_after_page(void **state)
{
    n_pages_more = 2;
    assert_int_equal(kmem_query_names(query, check_name, &names), 0);
    assert_int_equal(n_rows, 3);
    assert_int_equal(asked_name, 6);
}

static void test_query_names_callback_ends_the_call(void **state)
{
    n_pages_more = 3;
    stop_after = 1;
    assert_int_equal(kmem_query_names(query, check_name, &names), 7);
    assert_int_equal(n_asked, 1);
}

static void test_query_names_that_stand_still_are_EPROTO(void **state)
{
    step_name = 0;
    n_pages_more = 3;
    assert_int_equal(kmem_query_names(query, check_name, &names), -EPROTO);
    assert_int_equal(n_asked, 1);
    assert_non_null(strstr(kmem_query_error(query), "kmem_query_names: the daemon at "));
}

static int ask_in_callback(const struct kmem_name *name, void *user)
{
    (void)name;
    return kmem_query_holders(query, 0, check_holder, user);
}

static void test_query_holders_in_a_callback_on_the_same_query_is_EBUSY(void **state)
{
    assert_int_equal(kmem_query_names(query, ask_in_callback, &holders), -EBUSY);
    assert_int_equal(n_rows, 0);
    assert_int_equal(kmem_query_holders(query, 0, check_holder, &holders), 0);
}

#define QUERY_TEST(function) cmocka_unit_test_setup_teardown(function, start_daemon, stop_daemon)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUERY_TEST(test_query_holders_reads_page_after_page),
        QUERY_TEST(test_query_holders_moves_on_to_another_share),
        QUERY_TEST(test_query_holders_of_one_block_asks_for_it_on_each_page),
        QUERY_TEST(test_query_holders_tells_each_kind),
        QUERY_TEST(test_query_holders_callback_ends_the_call),
        QUERY_TEST(test_query_holders_that_stand_still_are_EPROTO),
        QUERY_TEST(test_query_holders_that_go_back_are_EPROTO),
        QUERY_TEST(test_query_names_reads_page_after_page),
        QUERY_TEST(test_query_names_callback_ends_the_call),
        QUERY_TEST(test_query_names_that_stand_still_are_EPROTO),
        QUERY_TEST(test_query_holders_in_a_callback_on_the_same_query_is_EBUSY),
    };
    return cmocka_run_group_tests_name("query_shares", tests, NULL, NULL);
}
