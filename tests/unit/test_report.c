/* SPDX-License-Identifier: MIT */
/*
 * test_report.c - what the answers say, and that each fits its frame at the worst
 *
 * Every report is encoded as the session would; the rows of all pages together must be what the
 * core holds, each once.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/tick.h"
#include "proto/limits.h"
#include "proto/text.h"
#include "tests/unit/fail.h"
#include "tests/unit/report_fixture.h"
#include "tests/unit/unit.h"

#define N_PAGES 2048
#define CLIENTS 2000

static struct client *client;

static int report_setup(void **state)
{
    report_begin(N_PAGES, CLIENTS);
    client = fixture_join(&fixture, 3);
    return 0;
}

static void reset(void)
{
    reply_reset(reply, UINT64_MAX);
}

/* Makes a reason as long as can be, another for each number. */
static const char *longest_reason(uint32_t number)
{
    static char reason[REASON_MAX_BYTES + 1];
    (void)snprintf(reason, sizeof(reason), "%08u", number);
    memset(reason + 8, 'r', REASON_MAX_BYTES - 8);
    return reason;
}

/* ------------------------------------------------------------------------------ the bounds ---- */

/* What a row takes of a response: its tag, its length, itself. */
static size_t row_bytes(const ProtobufCMessage *row)
{
    const size_t n_bytes = protobuf_c_message_get_packed_size(row);
    const size_t n_length_bytes = n_bytes < 128 ? 1 : 2;
    assert_true(n_bytes < 16384);
    return 1 + n_length_bytes + n_bytes;
}

static char text_127[REASON_MAX_BYTES + 1];
static char text_15[COMMAND_BYTES];

static Kmem__LedgerRow largest_ledger_row(void)
{
    Kmem__LedgerRow row = KMEM__LEDGER_ROW__INIT;
    memset(text_127, 'r', REASON_MAX_BYTES);
    row.key = text_127;
    row.n_blocks = row.num_bytes = row.oldest_ms = UINT64_MAX;
    row.pid = row.uid = UINT32_MAX;
    return row;
}

static void test_reply_row_bytes_suffice_for_every_row_of_largest_numbers(void **state)
{
    memset(text_15, 'c', COMMAND_BYTES - 1);
    const Kmem__LedgerRow ledger_row = largest_ledger_row();
    Kmem__Block block = KMEM__BLOCK__INIT;
    block.offset = block.num_bytes = block.age_ms = UINT64_MAX;
    block.pid = block.uid = UINT32_MAX;
    block.reason = text_127;
    block.command = text_15;
    Kmem__Client who = KMEM__CLIENT__INIT;
    who.slot = who.pid = who.uid = who.gid = UINT32_MAX;
    /* The largest that the segment and the tick allow. */
    who.n_blocks = who.age_ms = UINT64_MAX;
    who.num_bytes = who.peak_bytes = who.peak_used_bytes = SEGMENT_MAX_BYTES;
    who.leased_bytes = who.unused_bytes = who.idle_bytes = SEGMENT_MAX_BYTES;
    who.command = text_15;
    who.connected = true;

    assert_true(row_bytes(&ledger_row.base) <= REPLY_ROW_BYTES + REASON_MAX_BYTES);
    assert_true(row_bytes(&block.base) <= REPLY_ROW_BYTES + REASON_MAX_BYTES + COMMAND_BYTES - 1);
    assert_true(row_bytes(&who.base) <= REPLY_ROW_BYTES + COMMAND_BYTES - 1);
}

static void test_reply_row_bytes_suffice_for_an_obituary_of_largest_numbers(void **state)
{
    memset(text_15, 'c', COMMAND_BYTES - 1);
    Kmem__LedgerRow ledger_row = largest_ledger_row();
    Kmem__LedgerRow *rows[OBITUARY_ROWS];
    /* The largest that the segment, the tick and the table of reasons allow. */
    Kmem__Obituary row = KMEM__OBITUARY__INIT;
    row.number = UINT64_MAX;
    row.pid = row.uid = UINT32_MAX;
    row.command = text_15;
    row.left = true;
    row.lived_ms = row.ended_ms_ago = (uint64_t)UINT32_MAX * TICK_MS;
    row.n_blocks = SEGMENT_MAX_BYTES / BLOCK_ALIGN_BYTES;
    row.num_bytes = row.peak_bytes = row.peak_used_bytes = SEGMENT_MAX_BYTES;
    row.n_reasons = REASONS_MAX;
    row.rows = rows;

    for (; row.n_rows <= OBITUARY_ROWS; row.n_rows++) {
        assert_true(row_bytes(&row.base) <= REPLY_ROW_BYTES + COMMAND_BYTES - 1 +
                                                row.n_rows * (REPLY_ROW_BYTES + REASON_MAX_BYTES));
        if (row.n_rows < OBITUARY_ROWS) {
            rows[row.n_rows] = &ledger_row;
        }
    }
}

static void test_reply_row_bytes_suffice_for_what_is_around_the_rows(void **state)
{
    reset();
    kmem__blocks_report__init(&reply->body.blocks);
    reply->body.blocks.more = true;
    reply->body.blocks.next_offset = UINT64_MAX;
    reply->response.body_case = KMEM__RESPONSE__BODY_BLOCKS;
    reply->response.blocks = &reply->body.blocks;

    /* + 2: the length of a report that is full takes two bytes more. */
    assert_true(protobuf_c_message_get_packed_size(&reply->response.base) + 2 <= REPLY_ROW_BYTES);
}

/* ----------------------------------------------------------------------------------- usage ---- */

/* What dispatch does about a request for the usage. */
static void use(uint64_t now_ms)
{
    struct scan_reader reader = {.waits = false};
    report_usage(core, fixture_scan(&fixture, &reader, SCAN_LEASED), now_ms, reply);
    scans_leave(&core->scans, &reader);
}

static void test_report_usage_adds_up(void **state)
{
    (void)fixture_allocate(&fixture, client, 1000, "one");
    (void)fixture_allocate(&fixture, client, 100000, "two");
    struct client *left = fixture_join(&fixture, 4);
    (void)fixture_allocate(&fixture, left, 500000, "three");
    fixture_end(&fixture, left, true);
    reset();

    use(fixture.now_ms + 1234);

    assert_encodes();
    assert_string_equal(reply->response.usage->segment_name, FIXTURE_NAME);
    assert_string_equal(reply->response.usage->daemon_version, KMEM_VERSION);
    assert_int_equal(reply->response.usage->daemon_pid, 4242);
    assert_int_equal(statistic("segment_bytes"), N_PAGES * PAGE_BYTES);
    assert_int_equal(statistic("used_bytes"), 101000);
    assert_int_equal(statistic("used_bytes") + statistic("free_bytes") +
                         statistic("overhead_bytes"),
                     statistic("segment_bytes"));
    assert_int_equal(statistic("direct_bytes"), 101000);
    assert_int_equal(statistic("leased_bytes"), 0);
    assert_int_equal(statistic("peak_bytes"), 601000);
    assert_int_equal(statistic("blocks"), 2);
    assert_int_equal(statistic("reasons"), 2);
    assert_int_equal(statistic("clients"), 1);
    assert_int_equal(statistic("clients_limit"), CLIENTS);
    assert_int_equal(statistic("clients_seen"), 2);
    assert_int_equal(statistic("clients_ended"), 1);
    assert_int_equal(statistic("allocations"), 3);
    assert_int_equal(statistic("releases"), 1);
    assert_int_equal(statistic("uptime_ms"), 1234);
}

static void test_report_usage_names_each_statistic_once_and_explains_it(void **state)
{
    reset();

    use(fixture.now_ms);

    const Kmem__UsageReport *report = reply->response.usage;
    assert_true(report->n_statistics >= 20);
    for (size_t i = 0; i < report->n_statistics; i++) {
        assert_true(strlen(report->statistics[i]->text) > 5);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(report->statistics[i]->name, report->statistics[j]->name);
        }
    }
}

/* ---------------------------------------------------------------------------------- blocks ---- */

/* Reads all pages. Return: how many rows. */
static uint64_t read_blocks(uint32_t *ret_n_pages)
{
    uint64_t n_rows = 0;
    uint64_t last = 0;
    struct seg_off from = {0};
    *ret_n_pages = 0;
    do {
        reset();
        report_blocks(core, from, NULL, fixture.now_ms, reply);
        assert_encodes();
        const Kmem__BlocksReport *report = reply->response.blocks;
        for (size_t i = 0; i < report->n_blocks; i++) {
            assert_true(report->blocks[i]->offset > last);
            last = report->blocks[i]->offset;
        }
        n_rows += report->n_blocks;
        ++*ret_n_pages;
        assert_true(!report->more || report->next_offset > from.bytes);
        from.bytes = report->next_offset;
    } while (reply->response.blocks->more);
    return n_rows;
}

static void test_report_blocks_describes_a_block(void **state)
{
    const struct seg_off off = fixture_allocate(&fixture, client, 101, "camera/frame#5");
    fixture.now_ms += 2000;
    reset();

    report_blocks(core, (struct seg_off){0}, NULL, fixture.now_ms, reply);

    const Kmem__BlocksReport *report = reply->response.blocks;
    assert_int_equal(report->n_blocks, 1);
    assert_false(report->more);
    assert_int_equal(report->blocks[0]->offset, off.bytes);
    assert_int_equal(report->blocks[0]->num_bytes, 101);
    assert_string_equal(report->blocks[0]->reason, "camera/frame#5");
    assert_string_equal(report->blocks[0]->command, "worker-3");
    assert_int_equal(report->blocks[0]->pid, 3);
    assert_int_equal(report->blocks[0]->uid, 1000);
    assert_int_equal(report->blocks[0]->age_ms, 2000);
}

static void test_report_blocks_of_longest_rows_pages_through_each_once(void **state)
{
    struct client *other = join_with_longest_command(5);
    for (uint32_t i = 0; i < 2000; i++) {
        (void)fixture_allocate(&fixture, other, 16 + 8 * (uint64_t)i, longest_reason(i));
    }
    uint32_t n_pages;

    assert_int_equal(read_blocks(&n_pages), 2000);
    assert_true(n_pages >= 7);
}

static void test_report_blocks_of_shortest_rows_pages_through_each_once(void **state)
{
    struct client_identity identity = {.pid = 1, .start_time = 2};
    struct client *other;
    assert_int_equal(
        core_join(core, &identity, FIXTURE_NONCE(identity.pid), fixture.now_ms, &other), 0);
    for (uint32_t i = 0; i < 3000; i++) {
        (void)fixture_allocate(&fixture, other, 1, "x");
    }
    uint32_t n_pages;

    assert_int_equal(read_blocks(&n_pages), 3000);
    assert_int_equal(n_pages, 6); /* of 512 */
}

static void test_report_blocks_pauses_after_its_budget(void **state)
{
    struct client *other = fixture_join(&fixture, 5);
    static struct seg_off offs[70000];
    for (uint32_t i = 0; i < 70000; i++) {
        offs[i] = fixture_allocate(&fixture, other, 1, "many");
    }
    for (uint32_t i = 0; i < 70000; i++) {
        if (i % 1000 != 0) {
            fixture_release(&fixture, other, offs[i]); /* slabs of a thousand holes and a block */
        }
    }
    uint32_t n_pages;

    assert_int_equal(read_blocks(&n_pages), 70);
    assert_true(n_pages >= 70000 / SCAN_BUDGET);
}

static void test_report_blocks_goes_on_though_the_next_block_was_released(void **state)
{
    for (uint32_t i = 0; i < 600; i++) {
        (void)fixture_allocate(&fixture, client, 100, "x");
    }
    reset();
    report_blocks(core, (struct seg_off){0}, NULL, fixture.now_ms, reply);
    const struct seg_off next = {reply->response.blocks->next_offset};
    const size_t n_first = reply->response.blocks->n_blocks;

    fixture_release(&fixture, client, next);
    reset();
    report_blocks(core, next, NULL, fixture.now_ms, reply);

    assert_int_equal(n_first + reply->response.blocks->n_blocks, 599);
    assert_true(reply->response.blocks->blocks[0]->offset > next.bytes);
}

/* ---------------------------------------------------------------------------------- ledger ---- */

static struct scan *scan_all(struct scan_reader *reader, enum scan_kind kind)
{
    int r = SCAN_PENDING;
    scan_ask(core, reader, kind);
    for (uint64_t now_us = 1000; r == SCAN_PENDING; now_us = 1500) {
        r = scan_poll(core, reader, now_us);
    }
    assert_int_equal(r, SCAN_READY);
    return reader->scan;
}

static uint64_t read_ledger(const struct scan *scan, uint64_t *ret_num_bytes)
{
    uint32_t row = 0;
    uint64_t last = UINT64_MAX;
    *ret_num_bytes = 0;
    do {
        reset();
        report_ledger(core, scan, row, fixture.now_ms, reply);
        assert_encodes();
        const Kmem__LedgerReport *report = reply->response.ledger;
        assert_true(report->n_rows > 0 || !report->more);
        for (size_t i = 0; i < report->n_rows; i++) {
            assert_true(report->rows[i]->num_bytes <= last);
            last = report->rows[i]->num_bytes;
            *ret_num_bytes += last;
        }
        row += (uint32_t)report->n_rows;
    } while (reply->response.ledger->more);
    return row;
}

static void test_report_ledger_describes_a_group(void **state)
{
    (void)fixture_allocate(&fixture, client, 100, "video#1");
    fixture.now_ms += 300;
    (void)fixture_allocate(&fixture, client, 50, "video#2");
    fixture.now_ms += 200;
    struct scan_reader reader = {.waits = false};
    const struct scan *scan = scan_all(&reader, SCAN_BY_REASON);
    reset();

    report_ledger(core, scan, 0, fixture.now_ms, reply);

    const Kmem__LedgerReport *report = reply->response.ledger;
    assert_int_equal(report->n_rows, 1);
    assert_string_equal(report->rows[0]->key, "video");
    assert_int_equal(report->rows[0]->n_blocks, 2);
    assert_int_equal(report->rows[0]->num_bytes, 150);
    assert_int_equal(report->rows[0]->oldest_ms, 500);
    scans_leave(&core->scans, &reader);
    assert_null(reader.scan);
}

static void test_report_ledger_of_longest_rows_pages_through_each_once(void **state)
{
    for (uint32_t i = 0; i < 3000; i++) {
        (void)fixture_allocate(&fixture, client, 1 + i % 100, longest_reason(i));
    }
    struct scan_reader reader = {.waits = false};
    uint64_t num_bytes;

    assert_int_equal(read_ledger(scan_all(&reader, SCAN_BY_REASON), &num_bytes), 3000);

    assert_int_equal(num_bytes, core->direct.used_bytes);
    scans_leave(&core->scans, &reader);
}

static void test_report_ledger_of_shortest_rows_pages_through_each_once(void **state)
{
    for (uint32_t i = 0; i < 5000; i++) {
        char reason[8];
        (void)snprintf(reason, sizeof(reason), "%x", i);
        (void)fixture_allocate(&fixture, client, 1, reason);
    }
    struct scan_reader reader = {.waits = false};
    uint64_t num_bytes;

    assert_int_equal(read_ledger(scan_all(&reader, SCAN_BY_REASON), &num_bytes), 5000);

    scans_leave(&core->scans, &reader);
}

static void test_report_ledger_by_client_and_by_uid_has_all_bytes(void **state)
{
    for (uint32_t i = 0; i < 1000; i++) {
        (void)fixture_allocate(&fixture, join_with_longest_command(100 + i), 1 + i, "x");
    }
    (void)fixture_allocate(&fixture, client, 10, "y");
    struct scan_reader reader = {.waits = false};
    uint64_t num_bytes;

    assert_int_equal(read_ledger(scan_all(&reader, SCAN_BY_CLIENT), &num_bytes), 1001);
    assert_int_equal(num_bytes, core->direct.used_bytes);
    scans_leave(&core->scans, &reader);
    assert_int_equal(read_ledger(scan_all(&reader, SCAN_BY_UID), &num_bytes), 2);
    assert_int_equal(num_bytes, core->direct.used_bytes);
    scans_leave(&core->scans, &reader);
}

static void test_report_ledger_from_beyond_its_rows_is_empty(void **state)
{
    (void)fixture_allocate(&fixture, client, 10, "y");
    struct scan_reader reader = {.waits = false};
    const struct scan *scan = scan_all(&reader, SCAN_BY_REASON);
    reset();

    report_ledger(core, scan, UINT32_MAX, fixture.now_ms, reply);

    assert_int_equal(reply->response.ledger->n_rows, 0);
    assert_false(reply->response.ledger->more);
    scans_leave(&core->scans, &reader);
}

/* ------------------------------------------------------------------------------------ held ---- */

static void test_report_held_looks_at_no_more_than_its_budget(void **state)
{
    const uint32_t n_pages = HELD_BUDGET / 1024;
    struct ledger *ledger = fixture_ledger(&fixture, client);
    const uint32_t page = fixture_lease(&fixture, client, n_pages);
    (void)fixture_allocate(&fixture, client, 100, "direct");
    for (uint32_t i = 0; i < n_pages; i++) {
        fixture_carve(&fixture, client, page + i, 0);
        (void)ledger_take(ledger, page + i, 16, REASON_NONE, 0, 0);
    }
    const struct held some = report_held(core);
    for (uint32_t i = 0; i < n_pages; i++) {
        ledger->heads[page + i].n_carved = 1024; /* of which all but one are free */
    }
    const struct held cut = report_held(core);

    assert_true(some.is_all);
    assert_int_equal(some.n_blocks, n_pages + 1);
    assert_int_equal(some.direct_bytes, 100);
    assert_int_equal(some.leased_bytes, 16 * n_pages);
    assert_false(cut.is_all);
    assert_in_range(cut.n_blocks, n_pages / 2, n_pages - 1);
}

#define REPORT_TEST(test) cmocka_unit_test_setup_teardown(test, report_setup, report_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPORT_TEST(test_reply_row_bytes_suffice_for_every_row_of_largest_numbers),
        REPORT_TEST(test_reply_row_bytes_suffice_for_an_obituary_of_largest_numbers),
        REPORT_TEST(test_reply_row_bytes_suffice_for_what_is_around_the_rows),
        REPORT_TEST(test_report_usage_adds_up),
        REPORT_TEST(test_report_usage_names_each_statistic_once_and_explains_it),
        REPORT_TEST(test_report_blocks_describes_a_block),
        REPORT_TEST(test_report_blocks_of_longest_rows_pages_through_each_once),
        REPORT_TEST(test_report_blocks_of_shortest_rows_pages_through_each_once),
        REPORT_TEST(test_report_blocks_pauses_after_its_budget),
        REPORT_TEST(test_report_blocks_goes_on_though_the_next_block_was_released),
        REPORT_TEST(test_report_ledger_describes_a_group),
        REPORT_TEST(test_report_ledger_of_longest_rows_pages_through_each_once),
        REPORT_TEST(test_report_ledger_of_shortest_rows_pages_through_each_once),
        REPORT_TEST(test_report_ledger_by_client_and_by_uid_has_all_bytes),
        REPORT_TEST(test_report_ledger_from_beyond_its_rows_is_empty),
        REPORT_TEST(test_report_held_looks_at_no_more_than_its_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
