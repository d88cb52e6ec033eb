/* SPDX-License-Identifier: MIT */
/*
 * test_sharing_scale.c - what is done about many shares costs what is in use, in steps
 *
 * Counted, not timed: how long it takes is measured in bench/bench_recover.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/core/reap.h"
#include "daemon/core/replay.h"
#include "tests/unit/core_fixture.h"

#define N_PAGES 512
#define N_BLOCKS 10000
#define BUDGET 5000
/* What letting go of one costs of a step's budget, at least. */
#define LET_GO_MIN 40

/* How often a name was looked for. */
static uint32_t n_looks;

uint32_t __real_names_next(const struct names *names, uint32_t name);
uint32_t __wrap_names_next(const struct names *names, uint32_t name);
uint32_t __wrap_names_next(const struct names *names, uint32_t name)
{
    n_looks++;
    return __real_names_next(names, name);
}

static struct client *owner;
static struct client *holder;

static int scale_setup(void **state)
{
    (void)state;
    fixture_init(&fixture, N_PAGES, 8);
    owner = fixture_join(&fixture, 1);
    holder = fixture_join(&fixture, 2);
    (void)fixture_ledger(&fixture, owner);
    (void)fixture_ledger(&fixture, holder);
    return 0;
}

static void share_and_hold(uint32_t n_blocks)
{
    const struct sharing by_owner = fixture_sharing(&fixture, owner);
    const struct sharing by_holder = fixture_sharing(&fixture, holder);
    for (uint32_t i = 0; i < n_blocks; i++) {
        const struct seg_off off = fixture_allocate(&fixture, owner, 100, "frame");
        struct share_handle handle;
        struct block block;
        struct attached attached;
        assert_int_equal(sharing_share(&by_owner, off, false, &handle, &block), 0);
        assert_int_equal(sharing_attach(&by_holder, &handle, false,
                                        (struct sharing_reason){"looks", 5}, &attached),
                         0);
    }
}

static void publish(const char *text)
{
    const struct sharing of = fixture_sharing(&fixture, owner);
    const struct sharing_name name = {text, strlen(text), false, false};
    const struct seg_off off = fixture_allocate(&fixture, owner, 100, "named");
    struct block block;
    assert_int_equal(sharing_publish(&of, off, &name, names_version(&core->names), &block), 0);
}

/* Makes the rest of a table unreadable, or readable again, but for its first records: whole pages
   of it. */
static void close_rest(const void *table, size_t record_bytes, size_t n_used, size_t n_records,
                       int protection)
{
    const uintptr_t page_bytes = (uintptr_t)sysconf(_SC_PAGESIZE);
    const uintptr_t used_end = (uintptr_t)table + n_used * record_bytes;
    const uintptr_t begin = (used_end + page_bytes - 1) / page_bytes * page_bytes;
    const uintptr_t end = ((uintptr_t)table + n_records * record_bytes) / page_bytes * page_bytes;
    assert_true(end > begin);
    /* NOLINTNEXTLINE(performance-no-int-to-ptr): of a table, rounded to pages */
    assert_int_equal(mprotect((void *)begin, end - begin, protection), 0);
}

static void close_what_was_never_used(const struct state *file, int protection)
{
    close_rest(file->shares, sizeof(*file->shares), state_load(&file->header->n_shares), SHARES_MAX,
               protection);
    close_rest(file->holds, sizeof(*file->holds), state_load(&file->header->n_holds), HOLDS_MAX,
               protection);
    close_rest(file->names, sizeof(*file->names), state_load(&file->header->n_names),
               SHARE_NAMES_MAX, protection);
    close_rest(file->clients, sizeof(*file->clients), state_load(&file->header->n_slots),
               CLIENTS_MAX, protection);
}

/* A look at one of them ends the program. */
static void test_recovery_and_check_look_at_no_record_that_was_never_used(void **state)
{
    char why[FIXTURE_WHY_BYTES] = "";
    (void)state;
    share_and_hold(300);
    publish("camera");
    close_what_was_never_used(&core->state, PROT_NONE);

    assert_int_equal(fixture_restart(&fixture, why), 0); /* and core_check() */

    close_what_was_never_used(&core->state, PROT_READ | PROT_WRITE);
    assert_int_equal(core->shares.n_shares, 301);
    assert_int_equal(core->shares.n_holds, 300);
    assert_int_equal(core->names.n_names, 1);
}

/* The tables that are derived are as large as those records: none of theirs is touched. */
static void test_recovery_uses_the_records_that_were_used_last_again(void **state)
{
    char why[FIXTURE_WHY_BYTES] = "";
    (void)state;
    share_and_hold(300);
    fixture_end(&fixture, holder, true);
    fixture_end(&fixture, owner, true);
    assert_int_equal(core->shares.n_share_records, 301);
    assert_int_equal(core->shares.n_hold_records, 301);

    assert_int_equal(fixture_restart(&fixture, why), 0);

    assert_int_equal(core->shares.n_share_records, 1);
    assert_int_equal(core->shares.n_hold_records, 1);
}

static enum intent_kind intent_of(const struct client *client)
{
    return clients_intent(&core->clients, client->slot).kind;
}

/* The server was killed while all of them published: of one of them the name has come to be. */
static void test_recovery_looks_at_each_name_once_for_all_publishers(void **state)
{
    (void)state;
    struct client *publishers[6];
    for (uint32_t i = 0; i < 1000; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "camera%u", i);
        publish(text);
    }
    const uint32_t newest = names_find(&core->names, "camera999", 9);
    const struct intent done = {INTENT_PUBLISH, 0, names_version_of(&core->names, newest)};
    clients_intend(&core->clients, owner->slot, 1, &done);
    for (uint32_t i = 0; i < 6; i++) {
        const struct intent begun = {INTENT_PUBLISH, 0, names_version(&core->names)};
        publishers[i] = fixture_join(&fixture, 10 + i);
        clients_intend(&core->clients, publishers[i]->slot, 1, &begun);
    }

    n_looks = 0;
    replay_recover(core);

    assert_int_equal(n_looks, 1001); /* and behind the last there is none */
    assert_int_equal(intent_of(owner), INTENT_PUBLISHED);
    for (uint32_t i = 0; i < 6; i++) {
        assert_int_equal(intent_of(publishers[i]), INTENT_PUBLISH);
    }
}

static void test_death_of_a_holder_of_10000_is_done_in_small_steps(void **state)
{
    uint32_t n_steps = 0;
    (void)state;
    share_and_hold(N_BLOCKS);
    core_end(core, holder, false, fixture.now_ms);

    while (core->shares.n_holds > 0) {
        const uint32_t n_before = core->shares.n_holds;
        fixture_reap(&fixture, BUDGET);
        const uint32_t n_gone = n_before - core->shares.n_holds;
        assert_in_range(n_gone, 1, BUDGET / LET_GO_MIN + 1);
        n_steps++;
        if (n_steps % 16 == 0) { /* others are served between them */
            fixture_release(&fixture, owner, fixture_allocate(&fixture, owner, 100, "between"));
            assert_int_equal(core_check(core), 0);
        }
    }

    assert_true(n_steps >= N_BLOCKS / (BUDGET / LET_GO_MIN + 1));
    fixture_reap(&fixture, UINT32_MAX);
    assert_int_equal(core->shares.n_shares, N_BLOCKS); /* the owner's still */
    assert_false(core_has_dead(core));
}

#define SCALE_TEST(test) cmocka_unit_test_setup_teardown(test, scale_setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SCALE_TEST(test_recovery_and_check_look_at_no_record_that_was_never_used),
        SCALE_TEST(test_recovery_uses_the_records_that_were_used_last_again),
        SCALE_TEST(test_recovery_looks_at_each_name_once_for_all_publishers),
        SCALE_TEST(test_death_of_a_holder_of_10000_is_done_in_small_steps),
    };
    return cmocka_run_group_tests_name("sharing_scale", tests, NULL, NULL);
}
