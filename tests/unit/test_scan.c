/* SPDX-License-Identifier: MIT */
/*
 * test_scan.c - roll-ups that are made in steps, while others go on
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/core/scan.h"
#include "tests/unit/fail.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/unit.h"
#include "tests/support/seeded.h"

#define N_PAGES 4096
#define N_MANY 100000 /* blocks that a look takes several steps for */

static struct client *client;

static int scan_setup(void **state)
{
    fixture_init(&fixture, N_PAGES, 100);
    client = fixture_join(&fixture, 1);
    return 0;
}

static void look(struct scan_reader *reader, enum scan_kind kind)
{
    *reader = (struct scan_reader){.uid = 1000, .pid = 1};
    scan_ask(core, reader, kind);
}

/* One step. Return: whether that was the last. */
static bool step(struct scan_reader *reader)
{
    const int r = scan_poll(core, reader, fixture.now_ms * 1000);
    assert_true(r == SCAN_READY || r == SCAN_PENDING);
    return r == SCAN_READY;
}

static void finish(struct scan_reader *reader)
{
    while (!step(reader)) {
    }
}

static const struct rollup_group *group_of(const struct scan *scan, const char *key)
{
    for (size_t i = 0; i < rollup_n_groups(scan->rollup); i++) {
        if (strcmp(rollup_group(scan->rollup, i)->key, key) == 0) {
            return rollup_group(scan->rollup, i);
        }
    }
    fail_msg("no group %s", key);
    return NULL;
}

static void test_scan_poll_looks_at_a_budget_at_a_time(void **state)
{
    fixture_hold(&fixture, client, N_MANY, 16);
    struct scan_reader reader;
    look(&reader, SCAN_BY_REASON);

    uint32_t n_steps = 0;
    for (bool done = false; !done; n_steps++) {
        fixture.now_ms += 10;
        done = step(&reader);
    }

    /* The blocks' entries, and one for each slab. */
    assert_in_range(n_steps, 100000 / SCAN_BUDGET, 100000 / SCAN_BUDGET * 5 / 4);
    assert_int_equal(group_of(reader.scan, "held")->n_blocks, N_MANY);
    scans_leave(&core->scans, &reader);
}

/* Blocks that live through all of the scan are counted once, whatever happens around them. */
static void test_scan_counts_what_stays_exactly_once(void **state)
{
    struct seeded seeded = {31337};
    print_message("seed %llu\n", (unsigned long long)seeded.state);
    static struct seg_off offs[60000];
    uint64_t n_staying = 0;
    for (uint32_t i = 0; i < 60000; i++) {
        const bool stays = i % 4 == 0;
        offs[i] = fixture_allocate(&fixture, client, 1 + seeded_below(&seeded, 500),
                                   stays ? "stays" : "goes");
        n_staying += stays;
    }
    struct scan_reader reader;
    look(&reader, SCAN_BY_REASON);
    uint32_t n_steps = 0;

    for (bool done = false; !done; n_steps++) {
        done = step(&reader);
        for (uint32_t n = 0; n < SCAN_BUDGET / 10; n++) {
            const uint32_t i = seeded_below(&seeded, 60000);
            if (i % 4 != 0) {
                char reason[24];
                (void)snprintf(reason, sizeof(reason), "goes/%u", seeded_below(&seeded, 100));
                fixture_release(&fixture, client, offs[i]);
                offs[i] =
                    fixture_allocate(&fixture, client, 1 + seeded_below(&seeded, 4000), reason);
            }
        }
        assert_int_equal(core_check(core), 0);
    }

    assert_true(n_steps > 2);
    assert_int_equal(group_of(reader.scan, "stays")->n_blocks, n_staying);
    scans_leave(&core->scans, &reader);
}

static void test_scan_by_client_while_clients_die_and_slots_change_hands(void **state)
{
    for (uint32_t i = 0; i < 50; i++) {
        struct client *other = fixture_join(&fixture, 100 + i);
        for (uint32_t n = 0; n < 1000; n++) {
            (void)fixture_allocate(&fixture, other, 20, "short life");
        }
    }
    for (uint32_t n = 0; n < 20000; n++) {
        (void)fixture_allocate(&fixture, client, 16, "long life");
    }
    struct scan_reader reader;
    look(&reader, SCAN_BY_CLIENT);
    uint32_t pid = 1000;

    while (!step(&reader)) {
        for (uint32_t slot = 1; slot < 20; slot++) {
            fixture_end(&fixture, clients_get(&core->clients, slot), false);
        }
        for (uint32_t n = 0; n < 19; n++) {
            (void)fixture_allocate(&fixture, fixture_join(&fixture, pid++), 100, "new");
        }
    }

    assert_int_equal(group_of(reader.scan, "worker-1")->n_blocks, 20000);
    assert_int_equal(core_check(core), 0);
    scans_leave(&core->scans, &reader);
}

/* ------------------------------------------------------------------- clients' reasons read ---- */

#define N_TOLD 3000

/* As many reasons as blocks, in slabs of the smallest class. */
static struct client *tell_many(void)
{
    struct client *teller = fixture_join(&fixture, 2);
    struct ledger *ledger = fixture_ledger(&fixture, teller);
    const uint32_t page = fixture_lease(&fixture, teller, 3);
    for (uint32_t i = 0; i < N_TOLD; i++) {
        char reason[24];
        (void)snprintf(reason, sizeof(reason), "told/%u", i);
        if (i % 1000 == 0) {
            fixture_carve(&fixture, teller, page + i / 1000, 0);
        }
        (void)ledger_take(ledger, page + i / 1000, 16, fixture_tell(&fixture, teller, reason), 0,
                          0);
    }
    return teller;
}

static uint64_t n_reads;
static client_ledger_read_fn fixture_read;

static bool read_counted(void *user, uint32_t slot, uint64_t at, void *buffer, size_t n_bytes)
{
    n_reads++;
    return fixture_read(user, slot, at, buffer, n_bytes);
}

static void count_reads(void)
{
    fixture_read = core->client_ledger.read;
    core->client_ledger.read = read_counted;
    n_reads = 0;
}

/* A step's reads are system calls: one with as many as it has blocks takes milliseconds. */
#define STEP_READS (SCAN_BUDGET / CLIENT_LEDGER_READ_COST)

static void test_scan_poll_reads_a_budget_of_reasons_at_a_time(void **state)
{
    (void)tell_many();
    count_reads();
    struct scan_reader reader;
    look(&reader, SCAN_BY_REASON);

    uint64_t n_all = 0;
    for (bool done = false; !done;) {
        n_reads = 0;
        done = step(&reader);
        assert_in_range(n_reads, 0, STEP_READS + 2);
        n_all += n_reads;
    }

    /* Each reason once, and what it takes to look at the slabs, again in each step. */
    assert_in_range(n_all, N_TOLD, N_TOLD + 4 * (N_TOLD / STEP_READS + 4));
    assert_int_equal(rollup_n_groups(reader.scan->rollup), N_TOLD);
    scans_leave(&core->scans, &reader);
}

static void test_reap_reads_a_budget_of_reasons_at_a_time(void **state)
{
    struct client *teller = tell_many();
    count_reads();
    core_end(core, teller, false, fixture.now_ms);

    uint64_t n_all = 0;
    while (fixture.n_buried == 0) {
        n_reads = 0;
        fixture_reap(&fixture, 5000);
        assert_in_range(n_reads, 0, 5000 / CLIENT_LEDGER_READ_COST + 3);
        n_all += n_reads;
    }

    assert_in_range(n_all, N_TOLD, N_TOLD + 4 * (N_TOLD / (5000 / CLIENT_LEDGER_READ_COST) + 4));
    assert_int_equal(fixture.last.n_blocks, N_TOLD);
    assert_int_equal(fixture.last.n_reasons, N_TOLD);
}

/* Slabs of one block each: hardly anything but reads. */
static void test_scan_poll_reads_a_budget_of_slabs_at_a_time(void **state)
{
    struct client *teller = fixture_join(&fixture, 2);
    struct ledger *ledger = fixture_ledger(&fixture, teller);
    const uint32_t page = fixture_lease(&fixture, teller, 2000);
    for (uint32_t i = 0; i < 2000; i++) {
        fixture_carve(&fixture, teller, page + i, 0);
        (void)ledger_take(ledger, page + i, 16, REASON_NONE, 0, 0);
    }
    count_reads();
    struct scan_reader reader;
    look(&reader, SCAN_LEASED);

    for (bool done = false; !done;) {
        n_reads = 0;
        done = step(&reader);
        assert_in_range(n_reads, 0, STEP_READS + 2);
    }
    assert_int_equal(reader.scan->n_leased_blocks, 2000);
    scans_leave(&core->scans, &reader);
}

/* ------------------------------------------------------------------------------- who keeps ---- */

static void keep(struct scan_reader *reader, uint32_t uid, uint32_t pid)
{
    *reader = (struct scan_reader){.uid = uid, .pid = pid};
    scan_ask(core, reader, SCAN_BY_REASON);
    finish(reader);
    scan_keep(core, reader, fixture.now_ms * 1000);
}

static bool is_kept(const struct scan_reader *reader)
{
    return reader->keeps && reader->scan;
}

static void test_scan_begin_drops_a_reader_of_the_process_that_keeps_most(void **state)
{
    struct scan_reader alone;
    struct scan_reader hoarder[SCANS_KEPT];
    keep(&alone, 1000, 1);
    for (uint32_t i = 0; i < SCANS_KEPT; i++) {
        fixture.now_ms += 1;
        keep(&hoarder[i], 1000, 2);
    }

    assert_true(is_kept(&alone)); /* the oldest of all, by far */
    assert_false(is_kept(&hoarder[0]));
    assert_int_equal(core->scans.n_complete, SCANS_KEPT);
    scans_leave(&core->scans, &alone);
    for (uint32_t i = 0; i < SCANS_KEPT; i++) {
        scans_leave(&core->scans, &hoarder[i]);
    }
}

static void test_scan_begin_drops_a_reader_of_the_user_that_keeps_most(void **state)
{
    struct scan_reader alone;
    struct scan_reader hoarder[SCANS_KEPT];
    keep(&alone, 1000, 1);
    for (uint32_t i = 0; i < SCANS_KEPT; i++) {
        fixture.now_ms += SCAN_IDLE_MS; /* all but the last are idle */
        keep(&hoarder[i], 1001, 2 + i); /* another process each */
    }

    assert_true(is_kept(&alone));
    assert_false(is_kept(&hoarder[0]));
    scans_leave(&core->scans, &alone);
    for (uint32_t i = 0; i < SCANS_KEPT; i++) {
        scans_leave(&core->scans, &hoarder[i]);
    }
}

static void test_scan_begin_waits_for_readers_that_read(void **state)
{
    struct scan_reader readers[SCANS_KEPT];
    struct scan_reader next;
    for (uint32_t i = 0; i < SCANS_KEPT; i++) {
        keep(&readers[i], 1000, 1 + i);
    }

    look(&next, SCAN_BY_REASON);
    assert_false(step(&next));
    for (uint32_t i = 0; i < SCANS_KEPT; i++) {
        assert_true(is_kept(&readers[i]));
    }
    fixture.now_ms += SCAN_IDLE_MS - 1;
    scan_keep(core, &readers[0], fixture.now_ms * 1000);
    assert_false(step(&next));
    fixture.now_ms += 1;
    finish(&next);
    assert_true(is_kept(&readers[0])); /* it has just read */
    scan_keep(core, &next, fixture.now_ms * 1000);

    /* For five seconds, and no longer: who reads slowly does not keep the others out for ever. */
    scans_leave(&core->scans, &next);
    for (uint32_t i = 0; i < SCANS_KEPT; i++) {
        scans_leave(&core->scans, &readers[i]);
        keep(&readers[i], 1000, 1 + i);
    }
    look(&next, SCAN_BY_REASON);
    uint32_t waited_ms = 0;
    while (!step(&next)) {
        fixture.now_ms += 100;
        waited_ms += 100;
        for (uint32_t i = 0; i < SCANS_KEPT; i++) {
            if (is_kept(&readers[i])) {
                scan_keep(core, &readers[i], fixture.now_ms * 1000);
            }
        }
    }
    assert_int_equal(waited_ms, SCAN_KEEP_MS);
    scans_leave(&core->scans, &next);
    for (uint32_t i = 0; i < SCANS_KEPT; i++) {
        scans_leave(&core->scans, &readers[i]);
    }
}

/* SCAN_KEEPERS + 1 of one user; the last comes later than the others. */
static void keep_one_too_many(struct scan_reader *readers, uint64_t later_ms)
{
    for (uint32_t i = 0; i <= SCAN_KEEPERS; i++) {
        readers[i] = (struct scan_reader){.uid = 1000, .pid = 1 + i};
        scan_ask(core, &readers[i], SCAN_BY_UID);
    }
    for (uint32_t i = 0; i <= SCAN_KEEPERS; i++) {
        finish(&readers[i]);
        fixture.now_ms += i == SCAN_KEEPERS ? later_ms : 0;
        scan_keep(core, &readers[i], fixture.now_ms * 1000);
    }
}

static void test_scan_keep_of_more_than_there_may_be_begins_again(void **state)
{
    static struct scan_reader readers[SCAN_KEEPERS + 1];
    keep_one_too_many(readers, 0);

    assert_int_equal(core->scans.n_begun, 1); /* all of them share one */
    assert_int_equal(core->scans.n_complete, 1);
    assert_false(is_kept(&readers[SCAN_KEEPERS]));
    for (uint32_t i = 0; i <= SCAN_KEEPERS; i++) {
        assert_true(is_kept(&readers[i]) == (i < SCAN_KEEPERS));
        scans_leave(&core->scans, &readers[i]);
    }
    assert_true(scans_are_none(&core->scans));
}

/* Whoever asks how often for one kind, the others get their steps. */
static void test_scan_poll_goes_round_the_kinds(void **state)
{
    struct scan_reader many[20];
    struct scan_reader one;
    fixture_hold(&fixture, client, N_MANY, 16);
    for (uint32_t i = 0; i < 20; i++) {
        look(&many[i], SCAN_BY_REASON);
        assert_false(step(&many[i]));
    }
    look(&one, SCAN_BY_UID);

    uint32_t n_turns = 0;
    while (!step(&one)) {
        for (uint32_t i = 0; i < 20; i++) {
            if (many[i].scan && step(&many[i])) {
                scans_leave(&core->scans, &many[i]);
                look(&many[i], SCAN_BY_REASON); /* again and again */
            }
        }
        n_turns++;
    }

    assert_in_range(n_turns, 0, 2 + 100000 / SCAN_BUDGET);
    scans_leave(&core->scans, &one);
    for (uint32_t i = 0; i < 20; i++) {
        scans_leave(&core->scans, &many[i]);
    }
}

/* -------------------------------------------------------------------------- without memory ---- */

/* Each allocation of each kind of look fails once. */
static void fail_looks(unsigned n_at_least)
{
    for (uint32_t kind = 0; kind < N_SCAN_KINDS; kind++) {
        unsigned n_failures = 0;
        for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
            struct scan_reader reader;
            look(&reader, kind);
            int r = SCAN_PENDING;
            while (r == SCAN_PENDING) {
                r = scan_poll(core, &reader, 0);
            }
            const bool failed = fail_end();
            assert_int_equal(r, failed ? SCAN_FAILED : SCAN_READY);
            assert_int_equal(failed, reader.scan == NULL);
            n_failures += failed;
            scans_leave(&core->scans, &reader);
            assert_true(scans_are_none(&core->scans));
        }
        assert_true(n_failures >= n_at_least);
    }
}

static void test_scan_poll_without_memory_has_failed(void **state)
{
    (void)fixture_ledger(&fixture, client);
    const uint32_t page = fixture_lease(&fixture, client, 4);
    fixture_carve(&fixture, client, page, size_class_of(64));
    for (uint32_t i = 0; i < 20; i++) {
        (void)fixture_take(&fixture, client, page, 64);
    }
    for (uint32_t i = 0; i < 200; i++) {
        char reason[24];
        (void)snprintf(reason, sizeof(reason), "reason/%u", i);
        (void)fixture_allocate(&fixture, client, 16, reason);
    }

    fail_looks(3); /* the look, its roll-up, what is in that, the order */
}

/* The one block ends where the segment ends, and its reason is the last one. */
static void test_scan_poll_without_memory_at_its_end_has_failed(void **state)
{
    (void)fixture_allocate(&fixture, client, (N_PAGES - 1) * PAGE_BYTES, "all");
    fail_looks(3);
}

/* Of pages of a lease each, and of more reasons than a step looks at, whose blocks are gone. */
static void test_scan_poll_looks_at_a_budget_of_pages_and_reasons_at_a_time(void **state)
{
    enum { N_REASONS = SCAN_BUDGET + 100 };
    static struct seg_off offs[N_REASONS];
    struct scan_reader reader;
    struct client *other = fixture_join(&fixture, 2);
    (void)fixture_ledger(&fixture, client);
    (void)fixture_ledger(&fixture, other);
    for (uint32_t i = 0; i < N_REASONS; i++) {
        char reason[24];
        (void)snprintf(reason, sizeof(reason), "reason/%u", i);
        offs[i] = fixture_allocate(&fixture, client, 16, reason);
    }
    for (uint32_t i = 0; i < N_REASONS; i++) {
        fixture_release(&fixture, client, offs[i]);
    }
    for (uint32_t i = 0; i < N_PAGES - 1; i++) {
        (void)fixture_lease(&fixture, i % 2 == 0 ? client : other, 1);
    }
    look(&reader, SCAN_LEASED);
    finish(&reader);
    assert_in_range(reader.scan->n_steps, 4, 20);
    assert_int_equal(reader.scan->n_reasons, 0);
    assert_int_equal(reader.scan->waste.n_unused_pages, N_PAGES - 1);
    scans_leave(&core->scans, &reader);
}

static void test_scan_ask_any_of_the_only_reader_begins_again(void **state)
{
    struct scan_reader reader = {.uid = 1000, .pid = 1};
    fixture_hold(&fixture, client, N_MANY, 16);
    scan_ask_any(core, &reader, SCAN_BY_REASON);
    assert_false(step(&reader));
    assert_non_null(reader.scan);
    scan_ask_any(core, &reader, SCAN_BY_REASON);
    assert_null(reader.scan);
    finish(&reader);
    assert_int_equal(group_of(reader.scan, "held")->n_blocks, N_MANY);
    scans_leave(&core->scans, &reader);
}

/* One goes on while it is read, and others wait for the next of its kind. */
static void test_scans_are_none_when_none_is_read_or_waited_for(void **state)
{
    struct scan_reader readers[2] = {{.uid = 1000, .pid = 1}, {.uid = 1000, .pid = 2}};
    assert_true(scans_are_none(&core->scans));
    for (uint32_t i = 0; i < 2; i++) {
        fixture_hold(&fixture, client, N_MANY, 16);
        scan_ask(core, &readers[i], SCAN_BY_REASON);
        assert_false(scans_are_none(&core->scans));
        assert_false(step(&readers[i]));
        assert_false(scans_are_none(&core->scans));
    }
    scans_leave(&core->scans, &readers[0]);
    finish(&readers[1]);
    assert_false(scans_are_none(&core->scans));
    scans_leave(&core->scans, &readers[1]);
    assert_true(scans_are_none(&core->scans));
}

/* Of one user: the process that keeps more, though the other has not read for longer. */
static void test_scan_begin_drops_a_reader_of_the_users_process_that_keeps_most(void **state)
{
    struct scan_reader alone;
    struct scan_reader hoarder[SCANS_KEPT];
    keep(&alone, 1000, 1);
    for (uint32_t i = 0; i < SCANS_KEPT; i++) {
        fixture.now_ms += SCAN_IDLE_MS;
        keep(&hoarder[i], 1000, 2);
    }
    assert_true(is_kept(&alone));
    assert_false(is_kept(&hoarder[0]));
    scans_leave(&core->scans, &alone);
    for (uint32_t i = 0; i < SCANS_KEPT; i++) {
        scans_leave(&core->scans, &hoarder[i]);
    }
}

static void test_scan_keep_of_more_than_there_may_be_drops_who_reads_no_more(void **state)
{
    static struct scan_reader readers[SCAN_KEEPERS + 1];
    keep_one_too_many(readers, SCAN_IDLE_MS);
    assert_true(is_kept(&readers[SCAN_KEEPERS]));
    for (uint32_t i = 0; i <= SCAN_KEEPERS; i++) {
        scans_leave(&core->scans, &readers[i]);
    }
}

static void test_scan_by_client_tells_processes_of_one_name_by_their_numbers(void **state)
{
    struct client *twins[2];
    struct scan_reader reader;
    for (uint32_t i = 0; i < 2; i++) {
        struct client_identity identity = fixture_identity(9 - i);
        (void)snprintf(identity.command, sizeof(identity.command), "twin");
        assert_int_equal(
            core_join(core, &identity, FIXTURE_NONCE(identity.pid), fixture.now_ms, &twins[i]), 0);
        (void)fixture_allocate(&fixture, twins[i], 100, "of a twin");
    }
    look(&reader, SCAN_BY_CLIENT);
    finish(&reader);
    assert_int_equal(rollup_n_groups(reader.scan->rollup), 2);
    assert_int_equal(rollup_group(reader.scan->rollup, 0)->pid, 8);
    assert_int_equal(rollup_group(reader.scan->rollup, 1)->pid, 9);
    scans_leave(&core->scans, &reader);
    for (uint32_t i = 0; i < 2; i++) {
        fixture_end(&fixture, twins[i], true);
    }
}

#define SCAN_TEST(test) cmocka_unit_test_setup_teardown(test, scan_setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCAN_TEST(test_scan_poll_looks_at_a_budget_at_a_time),
        SCAN_TEST(test_scan_counts_what_stays_exactly_once),
        SCAN_TEST(test_scan_by_client_while_clients_die_and_slots_change_hands),
        SCAN_TEST(test_scan_poll_reads_a_budget_of_reasons_at_a_time),
        SCAN_TEST(test_reap_reads_a_budget_of_reasons_at_a_time),
        SCAN_TEST(test_scan_poll_reads_a_budget_of_slabs_at_a_time),
        SCAN_TEST(test_scan_begin_drops_a_reader_of_the_process_that_keeps_most),
        SCAN_TEST(test_scan_begin_drops_a_reader_of_the_user_that_keeps_most),
        SCAN_TEST(test_scan_begin_waits_for_readers_that_read),
        SCAN_TEST(test_scan_keep_of_more_than_there_may_be_begins_again),
        SCAN_TEST(test_scan_poll_goes_round_the_kinds),
        SCAN_TEST(test_scan_poll_without_memory_has_failed),
        SCAN_TEST(test_scan_poll_without_memory_at_its_end_has_failed),
        SCAN_TEST(test_scan_poll_looks_at_a_budget_of_pages_and_reasons_at_a_time),
        SCAN_TEST(test_scan_ask_any_of_the_only_reader_begins_again),
        SCAN_TEST(test_scans_are_none_when_none_is_read_or_waited_for),
        SCAN_TEST(test_scan_begin_drops_a_reader_of_the_users_process_that_keeps_most),
        SCAN_TEST(test_scan_keep_of_more_than_there_may_be_drops_who_reads_no_more),
        SCAN_TEST(test_scan_by_client_tells_processes_of_one_name_by_their_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
