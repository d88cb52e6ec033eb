/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kmem/query.h>

#include "tests/unit/fake_daemon.h"
#include "tests/unit/unit.h"

static struct kmem_query *query;

/* A page of the next answer; a test fills in what it needs. */
static Kmem__UsageReport usage;
static Kmem__LedgerReport ledger;
static Kmem__BlocksReport blocks;
static Kmem__ClientsReport clients;
static Kmem__ObituariesReport obituaries;

/* What the daemon was asked last, and how often. */
static uint64_t asked_from;
static Kmem__GroupBy asked_by;
static unsigned int n_asked;

/* Pages that say "more"; then one that does not. */
static unsigned int n_pages_more;
static bool does_move_on;

void *__real_calloc(size_t n_members, size_t member_bytes);
void *__wrap_calloc(size_t n_members, size_t member_bytes);

static bool calloc_fails;

void *__wrap_calloc(size_t n_members, size_t member_bytes)
{
    return calloc_fails ? NULL : __real_calloc(n_members, member_bytes);
}

static char *text(const char *literal)
{
    return (char *)(uintptr_t)literal;
}

static void fill_response(const Kmem__Request *request, bool more, Kmem__Response *response)
{
    uint64_t moved_on = does_move_on;
    ledger.more = more;
    blocks.more = more;
    clients.more = more;
    obituaries.more = more;
    if (request->body_case == KMEM__REQUEST__BODY_USAGE) {
        response->body_case = KMEM__RESPONSE__BODY_USAGE;
        response->usage = &usage;
    } else if (request->body_case == KMEM__REQUEST__BODY_LEDGER) {
        asked_from = request->ledger->first_row;
        asked_by = request->ledger->by;
        response->body_case = KMEM__RESPONSE__BODY_LEDGER;
        response->ledger = &ledger;
    } else if (request->body_case == KMEM__REQUEST__BODY_BLOCKS) {
        asked_from = request->blocks->from_offset;
        blocks.next_offset = asked_from + 4096 * moved_on;
        response->body_case = KMEM__RESPONSE__BODY_BLOCKS;
        response->blocks = &blocks;
    } else if (request->body_case == KMEM__REQUEST__BODY_CLIENTS) {
        asked_from = request->clients->from_slot;
        clients.next_slot = (uint32_t)(asked_from + 7 * moved_on);
        response->body_case = KMEM__RESPONSE__BODY_CLIENTS;
        response->clients = &clients;
    } else {
        asked_from = request->obituaries->from_number;
        obituaries.next_number = asked_from + 3 * moved_on;
        response->body_case = KMEM__RESPONSE__BODY_OBITUARIES;
        response->obituaries = &obituaries;
    }
}

static bool answer_query(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    if (request->body_case == KMEM__REQUEST__BODY_HELLO) {
        return false;
    }
    fill_response(request, n_pages_more > 0, &response);
    n_pages_more -= n_pages_more > 0;
    n_asked++;
    fake_send(peer, request, &response, NULL, 0);
    return true;
}

static int start_daemon(void **state)
{
    (void)setenv("KMEM_TIMEOUT_MS", "60000", 1);
    kmem__usage_report__init(&usage);
    kmem__ledger_report__init(&ledger);
    kmem__blocks_report__init(&blocks);
    kmem__clients_report__init(&clients);
    kmem__obituaries_report__init(&obituaries);
    n_pages_more = 0;
    n_asked = 0;
    does_move_on = true;
    calloc_fails = false;
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

/* ------------------------------------------------------------------------ opening, closing ---- */

static void test_query_open_by_path(void **state)
{
    struct kmem_query *other = NULL;
    (void)unsetenv("KMEM_SOCKET");
    assert_int_equal(kmem_query_open(fake_daemon_path(), &other), 0);
    assert_string_equal(kmem_query_error(other), "");
    assert_null(kmem_query_close(other));
}

static void test_query_open_no_daemon_is_ENOENT(void **state)
{
    struct kmem_query *other = NULL;
    errno = 4242;
    assert_int_equal(kmem_query_open("/nonexistent/x.sock", &other), -ENOENT);
    assert_null(other);
    assert_int_equal(errno, 4242);
    assert_non_null(strstr(kmem_last_error(), "kmem_query_open: no daemon answers: tried "));
}

static void test_query_open_without_memory_is_ENOMEM(void **state)
{
    struct kmem_query *other = NULL;
    calloc_fails = true;
    assert_int_equal(kmem_query_open(NULL, &other), -ENOMEM);
    calloc_fails = false;
    assert_null(other);
}

static void test_query_close_of_NULL_is_NULL(void **state)
{
    assert_null(kmem_query_close(NULL));
}

/* ----------------------------------------------------------------------------------- usage ---- */

static unsigned int n_rows;
static int stop_after; /* rows; then the callback returns 7 */

static int count_row(void)
{
    n_rows++;
    return stop_after > 0 && n_rows == (unsigned int)stop_after ? 7 : 0;
}

static int check_statistic(const struct kmem_daemon *daemon, const struct kmem_statistic *statistic,
                           void *user)
{
    static const char *const kinds[] = {"gauge", "counter", "gauge"};
    static const char *const units[] = {"bytes", "milliseconds", "count"};
    assert_ptr_equal(user, &usage);
    assert_string_equal(daemon->segment_name, "video");
    assert_string_equal(daemon->version, "1.2.3");
    assert_int_equal(daemon->pid, 4711);
    assert_true(daemon->instance == UINT64_MAX - 7);
    assert_string_equal(statistic->name, "some_name");
    assert_string_equal(statistic->text, "what it is");
    assert_int_equal(statistic->value, UINT64_MAX - n_rows);
    assert_string_equal(statistic->kind, kinds[n_rows]);
    assert_string_equal(statistic->unit, units[n_rows]);
    return count_row();
}

static Kmem__Statistic statistics[3];
static Kmem__Statistic *statistic_pointers[3];

static void fill_usage(void)
{
    static const int units[] = {KMEM__STATISTIC_UNIT__UNIT_BYTES,
                                KMEM__STATISTIC_UNIT__UNIT_MILLISECONDS, 99};
    static const int kinds[] = {KMEM__STATISTIC_KIND__STATISTIC_GAUGE,
                                KMEM__STATISTIC_KIND__STATISTIC_COUNTER, 99};
    usage.segment_name = text("video");
    usage.daemon_version = text("1.2.3");
    usage.daemon_pid = 4711;
    usage.instance = UINT64_MAX - 7;
    for (unsigned int i = 0; i < 3; i++) {
        kmem__statistic__init(&statistics[i]);
        statistics[i].name = text("some_name");
        statistics[i].text = text("what it is");
        statistics[i].unit = (Kmem__StatisticUnit)units[i]; /* the last: of a newer daemon */
        statistics[i].kind = (Kmem__StatisticKind)kinds[i];
        statistics[i].value = UINT64_MAX - i;
        statistic_pointers[i] = &statistics[i];
    }
    usage.n_statistics = 3;
    usage.statistics = statistic_pointers;
    n_rows = 0;
    stop_after = 0;
}

static void test_query_usage_passes_every_figure_on(void **state)
{
    fill_usage();
    assert_int_equal(kmem_query_usage(query, check_statistic, &usage), 0);
    assert_int_equal(n_rows, 3);
    assert_int_equal(n_asked, 1);
}

static void test_query_usage_callback_ends_the_call(void **state)
{
    fill_usage();
    stop_after = 2;
    assert_int_equal(kmem_query_usage(query, check_statistic, &usage), 7);
    assert_int_equal(n_rows, 2);
}

/* ---------------------------------------------------------------------------------- ledger ---- */

static Kmem__LedgerRow ledger_rows[2];
static Kmem__LedgerRow *ledger_pointers[2] = {&ledger_rows[0], &ledger_rows[1]};

static void fill_ledger(void)
{
    for (unsigned int i = 0; i < 2; i++) {
        kmem__ledger_row__init(&ledger_rows[i]);
        ledger_rows[i].key = text("video/capture");
        ledger_rows[i].n_blocks = 10 + i;
        ledger_rows[i].num_bytes = 20 + i;
        ledger_rows[i].oldest_ms = 30 + i;
        ledger_rows[i].pid = 40 + i;
        ledger_rows[i].uid = 50 + i;
    }
    ledger.n_rows = 2;
    ledger.rows = ledger_pointers;
    n_rows = 0;
    stop_after = 0;
}

static int check_ledger_row(const struct kmem_ledger_row *row, void *user)
{
    unsigned int i = n_rows % 2;
    assert_ptr_equal(user, &ledger);
    assert_string_equal(row->key, "video/capture");
    assert_int_equal(row->n_blocks, 10 + i);
    assert_int_equal(row->num_bytes, 20 + i);
    assert_int_equal(row->oldest_ms, 30 + i);
    assert_int_equal(row->pid, 40 + i);
    assert_int_equal(row->uid, 50 + i);
    return count_row();
}

static void test_query_ledger_reads_page_after_page(void **state)
{
    fill_ledger();
    n_pages_more = 3;
    assert_int_equal(kmem_query_ledger(query, KMEM_BY_REASON, check_ledger_row, &ledger), 0);
    assert_int_equal(n_asked, 4);
    assert_int_equal(n_rows, 8);
    assert_int_equal(asked_from, 6);
    assert_int_equal(asked_by, KMEM__GROUP_BY__GROUP_BY_REASON);
}

static void test_query_ledger_groups(void **state)
{
    fill_ledger();
    assert_int_equal(kmem_query_ledger(query, KMEM_BY_CLIENT, check_ledger_row, &ledger), 0);
    assert_int_equal(asked_by, KMEM__GROUP_BY__GROUP_BY_CLIENT);
    assert_int_equal(kmem_query_ledger(query, KMEM_BY_UID, check_ledger_row, &ledger), 0);
    assert_int_equal(asked_by, KMEM__GROUP_BY__GROUP_BY_UID);
    assert_int_equal(kmem_query_ledger(query, KMEM_BY_SIZE, check_ledger_row, &ledger), 0);
    assert_int_equal(asked_by, KMEM__GROUP_BY__GROUP_BY_SIZE);
    assert_int_equal(kmem_query_ledger(query, KMEM_BY_AGE, check_ledger_row, &ledger), 0);
    assert_int_equal(asked_by, KMEM__GROUP_BY__GROUP_BY_AGE);
    assert_int_equal(kmem_query_ledger(query, KMEM_BY_UNIT, check_ledger_row, &ledger), 0);
    assert_int_equal(asked_by, KMEM__GROUP_BY__GROUP_BY_UNIT);
    assert_int_equal(asked_from, 0);
}

static void test_query_ledger_callback_ends_the_call(void **state)
{
    fill_ledger();
    n_pages_more = 3;
    stop_after = 3;
    assert_int_equal(kmem_query_ledger(query, KMEM_BY_REASON, check_ledger_row, &ledger), 7);
    assert_int_equal(n_rows, 3);
    assert_int_equal(n_asked, 2);
}

static void test_query_ledger_that_stands_still_is_EPROTO(void **state)
{
    n_pages_more = 3; /* and no row */
    assert_int_equal(kmem_query_ledger(query, KMEM_BY_REASON, check_ledger_row, &ledger), -EPROTO);
    assert_non_null(strstr(kmem_query_error(query), "kmem_query_ledger: the daemon at "));
    assert_non_null(strstr(kmem_query_error(query), "does not move on"));
    assert_int_equal(n_asked, 1);
}

/* ---------------------------------------------------------------------------------- blocks ---- */

static Kmem__Block block_row;
static Kmem__Block *block_pointer = &block_row;

static int check_block(const struct kmem_block *block, void *user)
{
    assert_ptr_equal(user, &blocks);
    assert_int_equal(block->offset, 16384);
    assert_int_equal(block->num_bytes, 44);
    assert_string_equal(block->reason, "reason");
    assert_int_equal(block->pid, 5);
    assert_int_equal(block->uid, 6);
    assert_string_equal(block->command, "command");
    assert_int_equal(block->age_ms, 7);
    return count_row();
}

static void fill_blocks(void)
{
    kmem__block__init(&block_row);
    block_row.offset = 16384;
    block_row.num_bytes = 44;
    block_row.reason = text("reason");
    block_row.pid = 5;
    block_row.uid = 6;
    block_row.command = text("command");
    block_row.age_ms = 7;
    blocks.n_blocks = 1;
    blocks.blocks = &block_pointer;
    n_rows = 0;
    stop_after = 0;
}

static void test_query_blocks_reads_page_after_page(void **state)
{
    fill_blocks();
    n_pages_more = 2;
    assert_int_equal(kmem_query_blocks(query, check_block, &blocks), 0);
    assert_int_equal(n_rows, 3);
    assert_int_equal(asked_from, 8192);
}

/* --------------------------------------------------------------------------------- clients ---- */

static Kmem__Client client_row;
static Kmem__Client *client_pointer = &client_row;

static int check_client(const struct kmem_client *client, void *user)
{
    assert_ptr_equal(user, &clients);
    assert_int_equal(client->slot, 1);
    assert_int_equal(client->pid, 2);
    assert_int_equal(client->uid, 3);
    assert_int_equal(client->gid, 4);
    assert_string_equal(client->command, "command");
    assert_int_equal(client->connected, 1);
    assert_int_equal(client->n_blocks, 5);
    assert_int_equal(client->num_bytes, 6);
    assert_int_equal(client->peak_bytes, 7);
    assert_int_equal(client->age_ms, 8);
    return count_row();
}

static void fill_clients(void)
{
    kmem__client__init(&client_row);
    client_row.slot = 1;
    client_row.pid = 2;
    client_row.uid = 3;
    client_row.gid = 4;
    client_row.command = text("command");
    client_row.connected = 1;
    client_row.n_blocks = 5;
    client_row.num_bytes = 6;
    client_row.peak_bytes = 7;
    client_row.age_ms = 8;
    clients.n_clients = 1;
    clients.clients = &client_pointer;
    n_rows = 0;
    stop_after = 0;
}

static void test_query_clients_reads_page_after_page(void **state)
{
    fill_clients();
    n_pages_more = 2;
    assert_int_equal(kmem_query_clients(query, check_client, &clients), 0);
    assert_int_equal(n_rows, 3);
    assert_int_equal(asked_from, 14);
}

/* ------------------------------------------------------------------------------ obituaries ---- */

static Kmem__Obituary obituary_row;
static Kmem__Obituary *obituary_pointer = &obituary_row;

static int check_obituary(const struct kmem_obituary *obituary, void *user)
{
    assert_ptr_equal(user, &obituaries);
    assert_int_equal(obituary->number, 1);
    assert_int_equal(obituary->pid, 2);
    assert_int_equal(obituary->uid, 3);
    assert_string_equal(obituary->command, "command");
    assert_int_equal(obituary->left, 1);
    assert_int_equal(obituary->lived_ms, 4);
    assert_int_equal(obituary->ended_ms_ago, 5);
    assert_int_equal(obituary->n_blocks, 6);
    assert_int_equal(obituary->num_bytes, 7);
    assert_int_equal(obituary->peak_bytes, 8);
    assert_int_equal(obituary->n_reasons, 9);
    assert_int_equal(obituary->n_rows, 2);
    assert_string_equal(obituary->rows[0].key, "video/capture");
    assert_int_equal(obituary->rows[1].num_bytes, 21);
    assert_int_equal(obituary->n_kept, 10);
    assert_int_equal(obituary->kept_bytes, 11);
    assert_int_equal(obituary->largest_kept_bytes, 12);
    assert_int_equal(obituary->kept_by_kind, KMEM_HOLDER_NAME);
    assert_int_equal(obituary->kept_by_pid, 13);
    assert_string_equal(obituary->kept_by, "poster");
    return count_row();
}

static void fill_obituaries(void)
{
    fill_ledger();
    kmem__obituary__init(&obituary_row);
    obituary_row.number = 1;
    obituary_row.pid = 2;
    obituary_row.uid = 3;
    obituary_row.command = text("command");
    obituary_row.left = 1;
    obituary_row.lived_ms = 4;
    obituary_row.ended_ms_ago = 5;
    obituary_row.n_blocks = 6;
    obituary_row.num_bytes = 7;
    obituary_row.peak_bytes = 8;
    obituary_row.n_reasons = 9;
    obituary_row.n_rows = 2;
    obituary_row.rows = ledger_pointers;
    obituary_row.n_kept = 10;
    obituary_row.kept_bytes = 11;
    obituary_row.largest_kept_bytes = 12;
    obituary_row.kept_by_kind = KMEM__HOLDER_KIND__HOLDER_NAME;
    obituary_row.kept_by_pid = 13;
    obituary_row.kept_by = text("poster");
    obituaries.n_obituaries = 1;
    obituaries.obituaries = &obituary_pointer;
}

static void test_query_obituaries_reads_page_after_page(void **state)
{
    fill_obituaries();
    n_pages_more = 2;
    assert_int_equal(kmem_query_obituaries(query, check_obituary, &obituaries), 0);
    assert_int_equal(n_rows, 3);
    assert_int_equal(asked_from, 6);
}

/* ---------------------------------------------------------------------------------- errors ---- */

static struct kmem_query *reopen(void)
{
    query = kmem_query_close(query);
    assert_int_equal(kmem_query_open(NULL, &query), 0);
    n_pages_more = 2;
    n_asked = 0;
    return query;
}

static void test_query_answer_that_stands_still_is_EPROTO(void **state)
{
    does_move_on = false;
    assert_int_equal(kmem_query_blocks(reopen(), check_block, &blocks), -EPROTO);
    assert_int_equal(n_asked, 1);
    assert_int_equal(kmem_query_clients(reopen(), check_client, &clients), -EPROTO);
    assert_int_equal(n_asked, 1);
    assert_int_equal(kmem_query_obituaries(reopen(), check_obituary, &obituaries), -EPROTO);
    assert_int_equal(n_asked, 1);
}

static bool deny(struct fake_peer *peer, const Kmem__Request *request)
{
    fake_send_error(peer, request, KMEM__ERROR_CODE__ERROR_DENIED, "not for you");
    return true;
}

static void test_query_denied_is_EACCES_and_goes_on(void **state)
{
    fill_blocks();
    fake_daemon_hook(deny);
    errno = 4242;
    assert_int_equal(kmem_query_blocks(query, check_block, &blocks), -EACCES);
    assert_int_equal(errno, 4242);
    assert_string_equal(kmem_query_error(query),
                        "kmem_query_blocks: the daemon refuses: not for you");
    assert_string_equal(kmem_last_error(), kmem_query_error(query));

    fake_daemon_hook(answer_query);
    assert_int_equal(kmem_query_blocks(query, check_block, &blocks), 0);
}

static void test_query_daemon_has_ended_is_ECONNRESET(void **state)
{
    fake_daemon_end();
    assert_int_equal(kmem_query_usage(query, check_statistic, &usage), -ECONNRESET);
    assert_int_equal(kmem_query_usage(query, check_statistic, &usage), -ECONNRESET);
    assert_non_null(
        strstr(kmem_query_error(query), "kmem_query_usage: the connection to the daemon"));
}

static bool stay_silent(struct fake_peer *peer, const Kmem__Request *request)
{
    (void)peer;
    return request->body_case != KMEM__REQUEST__BODY_HELLO;
}

static void test_query_silent_daemon_is_ETIMEDOUT(void **state)
{
    struct kmem_query *other = NULL;
    (void)setenv("KMEM_TIMEOUT_MS", "2000", 1);
    fake_daemon_hook(stay_silent);
    assert_int_equal(kmem_query_open(NULL, &other), 0);
    assert_int_equal(kmem_query_usage(other, check_statistic, &usage), -ETIMEDOUT);
    assert_int_equal(kmem_query_usage(other, check_statistic, &usage), -ECONNRESET);
    (void)kmem_query_close(other);
}

static int ask_in_callback(const struct kmem_block *block, void *user)
{
    (void)block;
    (void)user;
    return kmem_query_blocks(query, check_block, &blocks);
}

static void test_query_in_a_callback_on_the_same_query_is_EBUSY(void **state)
{
    fill_blocks();
    assert_int_equal(kmem_query_blocks(query, ask_in_callback, NULL), -EBUSY);
    assert_int_equal(n_rows, 0);
    assert_int_equal(kmem_query_blocks(query, check_block, &blocks), 0); /* nothing is lost */
}

/* ---------------------------------------------------------------------------------- output ---- */

static void test_query_escape_makes_controls_visible(void **state)
{
    char buffer[32];
    assert_ptr_equal(kmem_query_escape("a\x1B[31m\\", buffer, sizeof(buffer)), buffer);
    assert_string_equal(buffer, "a\\x1b[31m\\\\");
}

static void test_query_format_bytes_as_documented(void **state)
{
    char buffer[16];
    assert_string_equal(kmem_query_format_bytes(0, buffer, sizeof(buffer)), "0 B");
    assert_string_equal(kmem_query_format_bytes(44, buffer, sizeof(buffer)), "44 B");
    assert_string_equal(kmem_query_format_bytes(1536, buffer, sizeof(buffer)), "1.5 KiB");
    assert_string_equal(kmem_query_format_bytes(16 << 20, buffer, sizeof(buffer)), "16.0 MiB");
}

#define QUERY_TEST(function) cmocka_unit_test_setup_teardown(function, start_daemon, stop_daemon)

int main(void)
{
    const struct CMUnitTest tests[] = {
        QUERY_TEST(test_query_open_by_path),
        QUERY_TEST(test_query_open_no_daemon_is_ENOENT),
        QUERY_TEST(test_query_open_without_memory_is_ENOMEM),
        cmocka_unit_test(test_query_close_of_NULL_is_NULL),
        QUERY_TEST(test_query_usage_passes_every_figure_on),
        QUERY_TEST(test_query_usage_callback_ends_the_call),
        QUERY_TEST(test_query_ledger_reads_page_after_page),
        QUERY_TEST(test_query_ledger_groups),
        QUERY_TEST(test_query_ledger_callback_ends_the_call),
        QUERY_TEST(test_query_ledger_that_stands_still_is_EPROTO),
        QUERY_TEST(test_query_blocks_reads_page_after_page),
        QUERY_TEST(test_query_clients_reads_page_after_page),
        QUERY_TEST(test_query_obituaries_reads_page_after_page),
        QUERY_TEST(test_query_answer_that_stands_still_is_EPROTO),
        QUERY_TEST(test_query_denied_is_EACCES_and_goes_on),
        QUERY_TEST(test_query_daemon_has_ended_is_ECONNRESET),
        QUERY_TEST(test_query_silent_daemon_is_ETIMEDOUT),
        QUERY_TEST(test_query_in_a_callback_on_the_same_query_is_EBUSY),
        cmocka_unit_test(test_query_escape_makes_controls_visible),
        cmocka_unit_test(test_query_format_bytes_as_documented),
    };
    return cmocka_run_group_tests_name("query", tests, NULL, NULL);
}
