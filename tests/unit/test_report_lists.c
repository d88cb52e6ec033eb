/* SPDX-License-Identifier: MIT */
/*
 * test_report_lists.c - the lists of clients and of obituaries, and the error that names holders
 */
#include <stdio.h>
#include <string.h>

#include "daemon/core/tick.h"
#include "proto/limits.h"
#include "proto/text.h"
#include "tests/unit/report_fixture.h"
#include "tests/unit/unit.h"

#define N_PAGES 1024
#define CLIENTS 3000

static int report_setup(void **state)
{
    report_begin(N_PAGES, CLIENTS);
    return 0;
}

/* --------------------------------------------------------------------------------- clients ---- */

/* What dispatch does about a request for the clients. */
static void list_clients(uint32_t from_slot, uint64_t now_ms)
{
    struct scan_reader reader = {.waits = false};
    report_clients(core, fixture_scan(&fixture, &reader, SCAN_LEASED), from_slot, now_ms, reply);
    scans_leave(&core->scans, &reader);
}

/* Reads all pages of clients. Return: how many rows. */
static uint32_t read_clients(uint32_t *ret_n_pages)
{
    uint32_t n_rows = 0;
    uint32_t from_slot = 0;
    *ret_n_pages = 0;
    do {
        reply_reset(reply, 1);
        list_clients(from_slot, fixture.now_ms);
        assert_encodes();
        const Kmem__ClientsReport *report = reply->response.clients;
        for (size_t i = 0; i < report->n_clients; i++) {
            assert_true(report->clients[i]->slot >= from_slot);
            assert_true(i == 0 || report->clients[i]->slot > report->clients[i - 1]->slot);
        }
        n_rows += (uint32_t)report->n_clients;
        ++*ret_n_pages;
        assert_true(!report->more || report->next_slot > from_slot);
        from_slot = report->next_slot;
    } while (reply->response.clients->more);
    return n_rows;
}

static void test_report_clients_describes_a_client(void **state)
{
    struct client *client = fixture_join(&fixture, 4);
    fixture_release(&fixture, client, fixture_allocate(&fixture, client, 1000, "x"));
    (void)fixture_allocate(&fixture, client, 10, "x");
    client->connected = false;
    reply_reset(reply, 1);

    list_clients(0, fixture.now_ms + 5000);

    const Kmem__ClientsReport *report = reply->response.clients;
    assert_int_equal(report->n_clients, 1);
    assert_false(report->more);
    const Kmem__Client *row = report->clients[0];
    assert_int_equal(row->slot, client->slot);
    assert_int_equal(row->pid, 4);
    assert_int_equal(row->uid, 1001);
    assert_int_equal(row->gid, 100);
    assert_string_equal(row->command, "worker-4");
    assert_false(row->connected);
    assert_int_equal(row->n_blocks, 1);
    assert_int_equal(row->num_bytes, 10);
    assert_int_equal(row->peak_bytes, 1000);
    assert_int_equal(row->age_ms, 5000);
}

static void test_report_clients_of_longest_rows_pages_through_each_once(void **state)
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        struct client *client = join_with_longest_command(UINT32_MAX - i);
        client->stored->peak_bytes = UINT64_MAX;
    }
    fixture.now_ms = UINT64_MAX;
    uint32_t n_pages;

    assert_int_equal(read_clients(&n_pages), CLIENTS);

    assert_int_equal(n_pages, (CLIENTS + REPLY_ROWS_MAX - 1) / REPLY_ROWS_MAX);
}

static void test_report_clients_of_longest_units_pages_through_each_once(void **state)
{
    for (uint32_t i = 0; i < CLIENTS; i++) {
        struct client *client = join_with_longest_command(UINT32_MAX - i);
        client->stored->peak_bytes = UINT64_MAX;
        memset(client->unit, 'u', UNIT_NAME_BYTES - 1);
    }
    fixture.now_ms = UINT64_MAX;
    uint32_t n_pages;

    assert_int_equal(read_clients(&n_pages), CLIENTS);

    assert_in_range(n_pages, 2, CLIENTS / 256 + 1);
}

static void test_report_clients_leaves_out_the_ended_and_goes_on(void **state)
{
    struct client *last = NULL;
    for (uint32_t i = 0; i < 2000; i++) {
        last = fixture_join(&fixture, 1 + i);
        (void)fixture_allocate(&fixture, last, 1, "x");
        if (i % 2 || i < 1200) {
            core_end(core, last, false, fixture.now_ms);
        }
    }
    uint32_t n_pages;

    assert_int_equal(read_clients(&n_pages), 400);

    assert_true(n_pages > 1); /* pages of nobody are pages, too */
}

static void test_report_clients_from_beyond_the_last_is_empty(void **state)
{
    (void)fixture_join(&fixture, 1);
    reply_reset(reply, 1);

    list_clients(UINT32_MAX, fixture.now_ms);

    assert_int_equal(reply->response.clients->n_clients, 0);
    assert_false(reply->response.clients->more);
}

/* ------------------------------------------------------------------------------ obituaries ---- */

/* Reads all pages of obituaries from a number on. Return: how many rows. */
static uint32_t read_obituaries(uint64_t from, uint64_t *ret_first, uint64_t *ret_last)
{
    uint32_t n_rows = 0;
    do {
        reply_reset(reply, 1);
        report_obituaries(core, from, fixture.now_ms, reply);
        assert_encodes();
        const Kmem__ObituariesReport *report = reply->response.obituaries;
        for (size_t i = 0; i < report->n_obituaries; i++) {
            const uint64_t number = report->obituaries[i]->number;
            if (n_rows == 0) {
                *ret_first = number;
            }
            assert_int_equal(number, *ret_first + n_rows);
            *ret_last = number;
            n_rows++;
        }
        assert_true(!report->more || report->next_number > from);
        from = report->next_number;
    } while (reply->response.obituaries->more);
    return n_rows;
}

/* A life that ends with blocks of n_reasons reasons, as long as reasons can be. */
static void live_and_die(uint32_t pid, uint32_t n_reasons)
{
    struct client *client = join_with_longest_command(pid);
    for (uint32_t i = 0; i < n_reasons; i++) {
        char reason[REASON_MAX_BYTES + 1];
        (void)snprintf(reason, sizeof(reason), "%03u", i);
        memset(reason + 3, 'r', REASON_MAX_BYTES - 3);
        reason[REASON_MAX_BYTES] = '\0';
        (void)fixture_allocate(&fixture, client, 100 + i, reason);
    }
    fixture_end(&fixture, client, false);
}

static void test_report_obituaries_describes_one(void **state)
{
    struct client *client = fixture_join(&fixture, 4);
    fixture.now_ms += 1000;
    (void)fixture_allocate(&fixture, client, 100, "video#1");
    (void)fixture_allocate(&fixture, client, 100, "video#2");
    fixture.now_ms += 1000;
    fixture_end(&fixture, client, true);
    reply_reset(reply, 1);

    report_obituaries(core, 0, fixture.now_ms + 3000, reply);

    assert_int_equal(reply->response.obituaries->n_obituaries, 1);
    const Kmem__Obituary *row = reply->response.obituaries->obituaries[0];
    assert_int_equal(row->number, 1);
    assert_int_equal(row->pid, 4);
    assert_int_equal(row->uid, 1001);
    assert_string_equal(row->command, "worker-4");
    assert_true(row->left);
    assert_int_equal(row->lived_ms, 2000);
    assert_int_equal(row->ended_ms_ago, 3000);
    assert_int_equal(row->n_blocks, 2);
    assert_int_equal(row->num_bytes, 200);
    assert_int_equal(row->peak_bytes, 200);
    assert_int_equal(row->n_reasons, 1);
    assert_int_equal(row->n_rows, 1);
    assert_string_equal(row->rows[0]->key, "video");
    assert_int_equal(row->rows[0]->n_blocks, 2);
    assert_int_equal(row->rows[0]->oldest_ms, 1000); /* when its owner left */
    assert_int_equal(row->n_kept, 0);
    assert_string_equal(row->kept_by, "");
}

static void test_report_obituaries_tell_what_lives_on_and_with_whom(void **state)
{
    static const Kmem__HolderKind kinds[] = {KMEM__HOLDER_KIND__HOLDER_HOLDS,
                                             KMEM__HOLDER_KIND__HOLDER_NAME,
                                             KMEM__HOLDER_KIND__HOLDER_OFFER};
    live_and_die(1, 0);
    for (uint32_t i = 0; i < 3; i++) {
        struct obituary *obituary = &core->obituaries.kept[1];
        obituary->kept = (struct obituary_kept){5, 6, 4, i, 7, "worker-7"};
        reply_reset(reply, 1);
        report_obituaries(core, 0, fixture.now_ms, reply);
        assert_encodes();
        const Kmem__Obituary *row = reply->response.obituaries->obituaries[0];
        assert_int_equal(row->n_kept, 5);
        assert_int_equal(row->kept_bytes, 6);
        assert_int_equal(row->largest_kept_bytes, 4);
        assert_int_equal(row->kept_by_kind, kinds[i]);
        assert_int_equal(row->kept_by_pid, 7);
        assert_string_equal(row->kept_by, "worker-7");
    }
}

static void test_report_obituaries_of_longest_rows_pages_through_each_once(void **state)
{
    for (uint32_t i = 0; i < OBITUARIES_KEPT; i++) {
        live_and_die(1 + i, OBITUARY_ROWS + 1);
    }
    uint64_t first;
    uint64_t last;

    assert_int_equal(read_obituaries(0, &first, &last), OBITUARIES_KEPT);

    assert_int_equal(first, 1);
    assert_int_equal(last, OBITUARIES_KEPT);
}

static void test_report_obituaries_of_rows_of_every_kind_fit(void **state)
{
    for (uint32_t i = 0; i < OBITUARIES_KEPT; i++) {
        live_and_die(1 + i, i % 3 == 0 ? 0 : i % (OBITUARY_ROWS + 2));
    }
    uint64_t first;
    uint64_t last;

    assert_int_equal(read_obituaries(5, &first, &last), OBITUARIES_KEPT - 4);
}

/* Figures as large as they can be, which no test could live long enough to see. */
static void test_report_obituaries_of_largest_numbers_fit(void **state)
{
    live_and_die(1, OBITUARY_ROWS);
    for (uint32_t n_rows = 0; n_rows <= OBITUARY_ROWS; n_rows++) {
        for (uint32_t i = 0; i < OBITUARIES_KEPT; i++) {
            const uint64_t number = UINT64_MAX - OBITUARIES_KEPT + i;
            struct obituary *obituary = &core->obituaries.kept[number % OBITUARIES_PLACES];
            *obituary = fixture.last;
            obituary->number = number;
            obituary->identity.pid = UINT32_MAX;
            obituary->n_blocks = SEGMENT_MAX_BYTES / BLOCK_ALIGN_BYTES;
            obituary->num_bytes = SEGMENT_MAX_BYTES;
            obituary->peak_bytes = SEGMENT_MAX_BYTES;
            obituary->n_reasons = REASONS_MAX;
            obituary->n_rows = n_rows;
            obituary->kept = (struct obituary_kept){
                SHARES_MAX, SEGMENT_MAX_BYTES, SEGMENT_MAX_BYTES, KEPT_BY_OFFER, UINT32_MAX, ""};
            memset(obituary->kept.text, 'x', SHARE_NAME_MAX_BYTES);
        }
        /* The last is number 2^64 - 2. */
        core->obituaries.n_written = UINT64_MAX - 1;
        fixture.now_ms = (uint64_t)UINT32_MAX * TICK_MS;
        uint64_t from = 0;
        uint32_t n_pages = 0;
        do {
            reply_reset(reply, UINT64_MAX);
            report_obituaries(core, from, fixture.now_ms, reply);
            assert_encodes();
            from = reply->response.obituaries->next_number;
        } while (reply->response.obituaries->more && ++n_pages < OBITUARIES_KEPT);
        assert_false(reply->response.obituaries->more);
    }
}

static void test_report_obituaries_goes_on_though_the_next_was_overwritten(void **state)
{
    for (uint32_t i = 0; i < OBITUARIES_KEPT; i++) {
        live_and_die(1 + i, 8);
    }
    reply_reset(reply, 1);
    report_obituaries(core, 0, fixture.now_ms, reply);
    const uint64_t next = reply->response.obituaries->next_number;
    assert_true(next > 1);

    for (uint32_t i = 0; i < 200; i++) {
        live_and_die(5000 + i, 0);
    }

    uint64_t first;
    uint64_t last;
    assert_int_equal(read_obituaries(next, &first, &last), OBITUARIES_KEPT);
    assert_int_equal(first, 201);
    assert_int_equal(last, OBITUARIES_KEPT + 200);
}

/* --------------------------------------------------------------------------------- no room ---- */

static const char *no_room_sentence(uint64_t num_bytes)
{
    struct scan_reader reader = {.waits = false};
    (void)fixture_scan(&fixture, &reader, SCAN_BY_REASON);
    reply_reset(reply, 1);
    report_no_room(core, &core->scans.holders, 0, num_bytes, reply);
    scans_leave(&core->scans, &reader);
    assert_encodes();
    assert_int_equal(reply->response.error->code, KMEM__ERROR_CODE__ERROR_NO_MEMORY);
    const char *sentence = reply->response.error->message;
    assert_true(text_is_utf8((const unsigned char *)sentence, strlen(sentence)));
    return sentence;
}

static void test_report_no_room_names_what_was_asked_what_there_is_and_who_has_it(void **state)
{
    struct client *client = fixture_join(&fixture, 1);
    const char *const reasons[] = {"small", "third", "first", "fifth", "second", "fourth"};
    const uint64_t sizes[] = {1, 3 << 20, 5 << 20, 1 << 20, 4 << 20, 1 << 19};
    for (size_t i = 0; i < 6; i++) {
        (void)fixture_allocate(&fixture, client, sizes[i], reasons[i]);
    }
    (void)fixture_allocate(&fixture, client, 1 << 20, "fourth");

    assert_string_equal(no_room_sentence(8 << 20),
                        "no room for 8.0 MiB in segment \"fixture\": 1.5 MiB of 16.0 MiB free, "
                        "largest extent 1.5 MiB; largest holders: \"first\" 5.0 MiB in 1 block, "
                        "\"second\" 4.0 MiB in 1 block, \"third\" 3.0 MiB in 1 block, "
                        "\"fourth\" 1.5 MiB in 2 blocks, \"fifth\" 1.0 MiB in 1 block; "
                        "release some of it, or start kmemd with a larger --size");
}

/* Five reasons of REASON_MAX_BYTES made of a character, told apart by their number of bytes. */
static const char *sentence_of_reasons_of(const char *character)
{
    struct client *client = fixture_join(&fixture, 1);
    const size_t n_bytes = strlen(character);
    for (uint32_t i = 0; i < 5; i++) {
        char reason[REASON_MAX_BYTES + 1] = "";
        memset(reason, 'a' + (int)i, 1 + i);
        for (size_t at = 1 + i; at + n_bytes <= REASON_MAX_BYTES; at += n_bytes) {
            memcpy(reason + at, character, n_bytes);
        }
        for (uint32_t n = 0; n <= i; n++) {
            (void)fixture_allocate(&fixture, client, 1 << 20, reason);
        }
    }
    return no_room_sentence(1 << 30);
}

static void test_report_no_room_is_never_cut(void **state)
{
    const char *const characters[] = {
        "\x1b", "\\", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x90\x9f", "\xc2\x9b"};

    for (size_t i = 0; i < sizeof(characters) / sizeof(characters[0]); i++) {
        const char *sentence = sentence_of_reasons_of(characters[i]);
        assert_non_null(strstr(sentence, "in 5 blocks"));
        assert_non_null(strstr(sentence, "in 1 block;"));
        assert_non_null(strstr(sentence, "a larger --size"));
        assert_null(strchr(sentence, '\x1b'));
        fixture_end(&fixture, clients_get(&core->clients, 0), true);
    }
}

/* So little is to be said of each that one more row would fit. */
static void test_report_obituaries_has_no_more_rows_than_there_may_be(void **state)
{
    struct client_identity identity = fixture_identity(1);
    struct client *client;
    identity.command[0] = '\0';
    for (uint32_t i = 0; i < REPLY_ROWS_MAX + 1; i++) {
        assert_int_equal(core_join(core, &identity, 1, fixture.now_ms, &client), 0);
        fixture_end(&fixture, client, true);
    }
    reply_reset(reply, 1);
    report_obituaries(core, 0, fixture.now_ms, reply);
    assert_encodes();
    assert_int_equal(reply->response.obituaries->n_obituaries, REPLY_ROWS_MAX);
    assert_int_equal(reply->response.obituaries->next_number, REPLY_ROWS_MAX + 1);
}

#define REPORT_TEST(test) cmocka_unit_test_setup_teardown(test, report_setup, report_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REPORT_TEST(test_report_clients_describes_a_client),
        REPORT_TEST(test_report_clients_of_longest_rows_pages_through_each_once),
        REPORT_TEST(test_report_clients_of_longest_units_pages_through_each_once),
        REPORT_TEST(test_report_clients_leaves_out_the_ended_and_goes_on),
        REPORT_TEST(test_report_clients_from_beyond_the_last_is_empty),
        REPORT_TEST(test_report_obituaries_describes_one),
        REPORT_TEST(test_report_obituaries_tell_what_lives_on_and_with_whom),
        REPORT_TEST(test_report_obituaries_of_longest_rows_pages_through_each_once),
        REPORT_TEST(test_report_obituaries_of_rows_of_every_kind_fit),
        REPORT_TEST(test_report_obituaries_of_largest_numbers_fit),
        REPORT_TEST(test_report_obituaries_goes_on_though_the_next_was_overwritten),
        REPORT_TEST(test_report_no_room_names_what_was_asked_what_there_is_and_who_has_it),
        REPORT_TEST(test_report_no_room_is_never_cut),
        REPORT_TEST(test_report_obituaries_has_no_more_rows_than_there_may_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
