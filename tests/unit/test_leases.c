/* SPDX-License-Identifier: MIT */
/*
 * test_leases.c - who is granted how much, and what is taken back from whom
 */
#include <string.h>

#include "proto/lease.h"
#include "tests/unit/broken.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/unit.h"
#include "tests/support/seeded.h"

#define N_PAGES 257 /* 256 that can be given out */
#define N_WORDS ((N_PAGES + 7) / 8)

static struct leases *leases;
static struct client *alice;
static struct client *bob;
static struct client *carol;

static int leases_setup(void **state)
{
    fixture_init(&fixture, N_PAGES, 10);
    leases = &core->leases;
    alice = fixture_join(&fixture, 1);
    bob = fixture_join(&fixture, 2);
    carol = fixture_join(&fixture, 3);
    (void)fixture_ledger(&fixture, alice);
    (void)fixture_ledger(&fixture, bob);
    (void)fixture_ledger(&fixture, carol);
    return 0;
}

/* Return: how many pages were granted; 0: LEASES_E_FULL. */
static uint32_t grant(struct client *client, uint32_t n_pages, uint32_t want_pages)
{
    uint32_t page = 0;
    uint32_t n_granted = 0;
    const int r = leases_grant(leases, client, n_pages, want_pages, 0, &page, &n_granted);
    assert_int_equal(core_check(core), 0);
    assert_true(r == 0 || (r == LEASES_E_FULL && n_granted == 0));
    return n_granted;
}

static void use(const struct client *client, uint32_t page, uint32_t n_pages)
{
    bool zero;
    assert_true(lease_take(client->states, page, n_pages, &zero));
}

static uint32_t count(const struct client *client, uint32_t state)
{
    uint32_t n_pages = 0;
    for (uint32_t page = 0; page < N_PAGES; page++) {
        n_pages += (lease_state_of(client->states, page) & LEASE_STATE_MASK) == state;
    }
    return n_pages;
}

/* Everything that is free goes to a client, and the client uses all of it. */
static void use_all(struct client *client)
{
    const uint32_t n_free = (uint32_t)core->pages.n_free_pages;
    use(client, fixture_lease(&fixture, client, n_free), n_free);
}

/* ----------------------------------------------------------------------------------- grant ---- */

static void test_leases_grant_is_at_most_what_is_wanted(void **state)
{
    assert_int_equal(grant(alice, 1, 4), 4);
}

static void test_leases_grant_shares_out_what_is_free(void **state)
{
    assert_int_equal(grant(alice, 1, 1000), 256 / 8);
    assert_int_equal(grant(alice, 1, UINT32_MAX), (256 - 32) / 8);
}

static void test_leases_grant_is_at_least_what_is_needed(void **state)
{
    assert_int_equal(grant(alice, 200, 256), 200);
    assert_int_equal(grant(bob, 56, 56), 56);
    assert_int_equal(core_free_bytes(core), 0);
}

static void test_leases_grant_of_what_no_hole_has_takes_the_hole(void **state)
{
    use_all(alice);
    for (uint32_t page = 1; page + 4 < N_PAGES; page += 8) {
        lease_give(alice->states, page, 3);
    }
    assert_int_equal(leases_return(leases, alice, 0, N_PAGES), 3 * 32);

    assert_int_equal(grant(bob, 2, 12), 3);
}

static void test_leases_grant_tells_table_ledger_and_accounts(void **state)
{
    uint32_t page;
    uint32_t n_granted;

    assert_int_equal(leases_grant(leases, alice, 5, 5, 0, &page, &n_granted), 0);

    const uint64_t word = pages_word(&core->pages, page);
    assert_int_equal(PAGE_WORD_STATE(word), PAGE_LEASED);
    assert_int_equal(PAGE_WORD_OWNER(word), alice->slot);
    assert_int_equal(PAGE_WORD_PAGES(word), 5);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(lease_state_of(alice->states, page + i) & LEASE_STATE_MASK, LEASE_FREE);
    }
    assert_int_equal(count(alice, LEASE_NONE), N_PAGES - 5);
    assert_int_equal(alice->leased_pages, 5);
    assert_int_equal(client_charged_bytes(alice), 5 * PAGE_BYTES);
    assert_int_equal(alice->stored->peak_bytes, 5 * PAGE_BYTES);
    assert_int_equal(leases->n_pages, 5);
    assert_int_equal(leases->pages->state->counters->leases, 1);
    assert_int_equal(leases_n_unused(leases), 5);
}

static void assert_one_run(const struct client *client, uint32_t page, uint32_t n_pages)
{
    assert_int_equal(pages_run_of(&core->pages, page + n_pages - 1), page);
    assert_int_equal(pages_word(&core->pages, page), PAGE_WORD(PAGE_LEASED, client->slot, n_pages));
}

/* However a client asks, its leases are as few runs as they can be: walks go from run to run. */
static void test_leases_grant_beside_the_clients_own_becomes_one_run(void **state)
{
    const uint32_t page = fixture_lease(&fixture, alice, 1);
    assert_int_equal(fixture_lease(&fixture, alice, 2), page + 1);
    assert_int_equal(fixture_lease(&fixture, alice, 4), page + 3);
    assert_one_run(alice, page, 7);

    assert_int_equal(leases_return(leases, alice, page + 2, page + 4), 2);
    assert_one_run(alice, page, 2);
    assert_one_run(alice, page + 4, 3);
    assert_int_equal(fixture_lease(&fixture, alice, 2), page + 2); /* between them */
    assert_one_run(alice, page, 7);

    assert_int_equal(fixture_lease(&fixture, bob, 1), page + 7);
    assert_int_equal(fixture_lease(&fixture, alice, 1), page + 8);
    assert_one_run(alice, page, 7);
    assert_one_run(bob, page + 7, 1);
    assert_one_run(alice, page + 8, 1);
    assert_int_equal(core_check(core), 0);
}

static bool take_says_zero(const struct client *client, uint32_t page)
{
    bool zero;
    assert_true(lease_take(client->states, page, 1, &zero));
    lease_give(client->states, page, 1);
    return zero;
}

/* Nobody clears them: a page is known to be zero as long as nobody has had it. */
static void test_leases_grant_says_which_pages_are_zero(void **state)
{
    fixture_release(&fixture, alice, fixture_allocate(&fixture, alice, 3 * PAGE_BYTES, "direct"));
    const uint32_t page = fixture_lease(&fixture, alice, 10);
    assert_int_equal(page, 1);
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(take_says_zero(alice, page + i), i >= 3);
    }
    assert_int_equal(leases_return(leases, alice, page, page + 10), 10);

    assert_int_equal(fixture_lease(&fixture, bob, 20), page);

    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(take_says_zero(bob, page + i), i >= 10);
    }
}

static void test_leases_grant_takes_back_what_others_leave_unused(void **state)
{
    (void)fixture_lease(&fixture, alice, 256);

    assert_int_equal(grant(bob, 100, 100), 100);

    assert_int_equal(alice->leased_pages, 0);
    assert_int_equal(count(alice, LEASE_NONE), N_PAGES);
    assert_int_equal(leases->pages->state->counters->revoked_pages, 256);
}

/* What more it wants is not worth taking pages from others: only what it needs is. */
static void test_leases_grant_takes_nothing_back_for_what_is_only_wanted(void **state)
{
    (void)fixture_lease(&fixture, alice, 250);

    assert_int_equal(grant(bob, 2, 200), 2);

    assert_int_equal(alice->leased_pages, 250);
}

static void test_leases_grant_without_room_is_FULL_and_changes_nothing(void **state)
{
    use(alice, fixture_lease(&fixture, alice, 200), 200);

    assert_int_equal(grant(bob, 57, 57), 0);

    assert_int_equal(bob->leased_pages, 0);
    assert_int_equal(count(bob, LEASE_NONE), N_PAGES);
    assert_int_equal(leases->pages->state->counters->leases, 1);
    assert_int_equal(grant(bob, 56, 57), 56);
}

static void test_leases_grant_to_one_without_a_ledger_is_a_bug(void **state)
{
    struct client *dave = fixture_join(&fixture, 4);
    uint32_t page;
    uint32_t n_granted;

    assert_broken((void)!leases_grant(leases, dave, 1, 1, 0, &page, &n_granted));
    assert_broken((void)!leases_grant(leases, alice, 0, 1, 0, &page, &n_granted));
}

/* ---------------------------------------------------------------------------------- return ---- */

static void test_leases_return_takes_back_what_is_unused_in_the_range(void **state)
{
    const uint32_t page = fixture_lease(&fixture, alice, 40);
    use(alice, page + 10, 5);

    assert_int_equal(leases_return(leases, alice, page + 5, page + 20), 10);

    assert_int_equal(core_check(core), 0);
    assert_int_equal(alice->leased_pages, 30);
    assert_int_equal(leases->n_pages, 30);
    assert_int_equal(count(alice, LEASE_FREE), 25);
    assert_int_equal(count(alice, LEASE_USED), 5);
    assert_int_equal(count(alice, LEASE_REVOKED), 0);
    assert_int_equal(lease_state_of(alice->states, page + 9), LEASE_NONE);
    assert_int_equal(leases_return(leases, alice, page + 5, page + 20), 0);
}

static void test_leases_return_leaves_what_is_anothers(void **state)
{
    (void)fixture_lease(&fixture, alice, 20);
    (void)fixture_lease(&fixture, bob, 20);
    const struct seg_off off = fixture_allocate(&fixture, alice, 100000, "direct");
    lease_grant(bob->states, 0, N_PAGES, false); /* says bob */

    assert_int_equal(leases_return(leases, bob, 0, UINT32_MAX), 20);

    assert_int_equal(core_check(core), 0);
    assert_int_equal(alice->leased_pages, 20);
    assert_int_equal(bob->leased_pages, 0);
    fixture_release(&fixture, alice, off);
}

static void test_leases_return_of_strange_ranges_ends(void **state)
{
    const uint32_t page = fixture_lease(&fixture, alice, 20);

    assert_int_equal(leases_return(leases, alice, page + 3, page + 3), 0);
    assert_int_equal(leases_return(leases, alice, page + 3, page), 0);
    assert_int_equal(leases_return(leases, alice, N_PAGES, N_PAGES + 1), 0);
    assert_int_equal(leases_return(leases, alice, UINT32_MAX, UINT32_MAX), 0);
    assert_int_equal(leases_return(leases, alice, 0, UINT32_MAX), 20);
}

static void test_leases_return_of_every_second_page(void **state)
{
    const uint32_t page = fixture_lease(&fixture, alice, 256);
    for (uint32_t i = 0; i < 256; i += 2) {
        use(alice, page + i, 1);
    }

    assert_int_equal(leases_return(leases, alice, 0, N_PAGES), 128);

    assert_int_equal(core_check(core), 0);
    assert_int_equal(core_largest_free_bytes(core), PAGE_BYTES);
    assert_int_equal(core_free_bytes(core), 128 * PAGE_BYTES);
}

/* ------------------------------------------------------------------------------- make room ---- */

static void test_leases_make_room_begins_with_who_leaves_the_most(void **state)
{
    (void)fixture_lease(&fixture, alice, 50);
    (void)fixture_lease(&fixture, bob, 80);
    (void)fixture_lease(&fixture, carol, 60);
    use(carol, fixture_lease(&fixture, carol, 66), 66);

    assert_int_equal(leases_make_room(leases, 70), 0);
    assert_int_equal(alice->leased_pages, 50);
    assert_int_equal(bob->leased_pages, 0);
    assert_int_equal(carol->leased_pages, 126);

    assert_int_equal(leases_make_room(leases, 140), 0);
    assert_int_equal(alice->leased_pages, 50);
    assert_int_equal(carol->leased_pages, 66);

    assert_int_equal(leases_make_room(leases, 190), 0);
    assert_int_equal(alice->leased_pages, 0);
    assert_int_equal(leases->pages->state->counters->revoked_pages, 190);
}

static void test_leases_make_room_takes_from_one_who_has_little_in_use(void **state)
{
    const uint32_t page = fixture_lease(&fixture, alice, 256);
    use(alice, page + 100, 1);

    assert_int_equal(leases_make_room(leases, 155), 0);

    assert_int_equal(alice->leased_pages, 1);
    assert_int_equal(lease_state_of(alice->states, page + 100), LEASE_USED);
}

static void test_leases_make_room_when_all_is_used_is_FULL(void **state)
{
    use_all(alice);

    assert_int_equal(leases_make_room(leases, 1), LEASES_E_FULL);

    assert_int_equal(alice->leased_pages, 256);
}

static void test_leases_make_room_for_more_than_there_can_be_is_FULL(void **state)
{
    (void)fixture_lease(&fixture, alice, 100);

    assert_int_equal(leases_make_room(leases, 257), LEASES_E_FULL);

    assert_int_equal(alice->leased_pages, 0); /* that it would not help was not known before */
}

static void test_leases_make_room_without_leases_is_FULL(void **state)
{
    assert_int_equal(leases_make_room(leases, 1), LEASES_E_FULL);
}

/* An ended client's unused pages are as good as any, before it is reaped and after. */
static void test_leases_make_room_takes_from_the_ended(void **state)
{
    const uint32_t page = fixture_lease(&fixture, alice, 256);
    use(alice, page, 10);
    core_end(core, alice, false, fixture.now_ms);

    assert_int_equal(leases_make_room(leases, 246), 0);

    assert_int_equal(core_check(core), 0);
    assert_int_equal(alice->leased_pages, 10);
}

/* Of the lowest priority first, whatever their slots; and no more than it takes. */
static void test_leases_make_free_spares_those_of_a_higher_priority(void **state)
{
    static struct rules rules;
    (void)fixture_lease(&fixture, alice, 100);
    (void)fixture_lease(&fixture, bob, 100);
    rules = (struct rules){.n_users = 1};
    rules.users[0] = (struct rules_party){.uid = alice->identity.uid, .priority = 5};
    core_set_rules(core, &rules);

    assert_int_equal(leases_make_free(leases, core->pages.n_free_pages + 50), 0);

    assert_int_equal(alice->leased_pages, 100);
    assert_int_equal(bob->leased_pages, 0);
    core_set_rules(core, NULL);
}

/* How often a page word was looked at. */
static uint64_t n_looks;

uint64_t __real_pages_word(const struct pages *pages, uint32_t page);
uint64_t __wrap_pages_word(const struct pages *pages, uint32_t page);
uint64_t __wrap_pages_word(const struct pages *pages, uint32_t page)
{
    n_looks++;
    return __real_pages_word(pages, page);
}

#define MANY_CLIENTS UINT32_C(59)
#define MANY_PAGES (MANY_CLIENTS * 40) /* page 0 is nobody's */

/* The pages of many clients, in turn; every second page is unused. */
static void lease_in_turn(void)
{
    bool zero;
    for (uint32_t i = 0; i < MANY_CLIENTS; i++) {
        (void)fixture_ledger(&fixture, fixture_join(&fixture, 100 + i));
    }
    for (uint32_t page = 1; page < MANY_PAGES; page++) {
        struct client *client = clients_get(&core->clients, page % MANY_CLIENTS);
        assert_int_equal(fixture_lease(&fixture, client, 1), page);
        assert_true(page % 2 == 0 || lease_take(client->states, page, 1, &zero));
    }
}

/* What all of them leave unused is taken, but not with a walk over all runs for each of them. */
static void test_leases_make_room_of_many_clients_takes_few_walks(void **state)
{
    fixture_fini(&fixture);
    fixture_init(&fixture, MANY_PAGES, MANY_CLIENTS);
    lease_in_turn();

    n_looks = 0;
    assert_int_equal(leases_make_room(leases, 2), LEASES_E_FULL);

    assert_true(n_looks < 50 * (uint64_t)MANY_PAGES);
    assert_int_equal(leases->pages->state->counters->revoked_pages, (MANY_PAGES - 1) / 2);
    assert_int_equal(leases_n_unused(leases), 0);
    assert_int_equal(core_check(core), 0);
    fixture_fini(&fixture);
    fixture_init(&fixture, N_PAGES, 10);
}

/* --------------------------------------------------------------------------------- hostile ---- */

static void states_fill(const struct client *client, struct seeded *seeded, uint64_t pattern)
{
    for (uint32_t word = 0; word < N_WORDS; word++) {
        atomic_store(&client->states[word], seeded ? seeded_next(seeded) : pattern);
    }
}

/* Alice and bob hold leases; alice's states are spoiled; room is needed for as much as can be. */
static void spoil(struct seeded *seeded, uint64_t pattern)
{
    const uint32_t page = fixture_lease(&fixture, bob, 60);
    use(bob, page, 60);
    (void)fixture_lease(&fixture, alice, 100);
    states_fill(alice, seeded, pattern);

    (void)!leases_make_room(leases, 256); /* it is never: bob uses what it has */

    assert_int_equal(core_check(core), 0);
    assert_int_equal(bob->leased_pages, 60);
    assert_int_equal(count(bob, LEASE_USED), 60);
    assert_true(alice->leased_pages <= 100);
    assert_int_equal(leases_n_unused(leases), 0);
    fixture_end(&fixture, alice, false);
    assert_int_equal(core_check(core), 0);
    assert_int_equal(core_free_bytes(core), (256 - 60) * PAGE_BYTES);
    assert_int_equal(leases_return(leases, bob, 0, N_PAGES), 0);
    lease_give(bob->states, page, 60);
    assert_int_equal(leases_return(leases, bob, 0, N_PAGES), 60);
    alice = fixture_join(&fixture, 1);
    (void)fixture_ledger(&fixture, alice);
}

static void test_leases_survive_spoiled_states(void **state)
{
    static const uint64_t patterns[] = {
        0,
        UINT64_MAX,
        UINT64_C(0x0101010101010101), /* all FREE */
        UINT64_C(0x0202020202020202), /* all USED */
        UINT64_C(0x0303030303030303), /* all REVOKED */
        UINT64_C(0x0505050505050505), /* all FREE and ZERO */
        UINT64_C(0xf1f1f1f1f1f1f1f1), /* FREE, with bits that mean nothing */
        UINT64_C(0x0102010201020102),
    };

    for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
        spoil(NULL, patterns[i]);
    }
    struct seeded seeded = {4711};
    print_message("seed %llu\n", (unsigned long long)seeded.state);
    for (uint32_t i = 0; i < 200; i++) {
        spoil(&seeded, 0);
    }
}

/* -------------------------------------------------------------------------- reap and check ---- */

static void test_leases_reap_takes_a_run_whatever_its_states_say(void **state)
{
    const uint32_t page = fixture_lease(&fixture, alice, 30);
    use(alice, page, 7);
    states_fill(bob, NULL, UINT64_MAX);

    leases_reap(leases, alice, page);

    assert_int_equal(alice->leased_pages, 0);
    assert_int_equal(leases->n_pages, 0);
    assert_int_equal(core_free_bytes(core), 256 * PAGE_BYTES);
}

static void test_leases_of_one_who_ended_come_back_in_small_steps(void **state)
{
    for (uint32_t i = 0; i < 16; i++) {
        (void)fixture_lease(&fixture, alice, 8);
        (void)fixture_lease(&fixture, bob, 8);
    }
    use(alice, 1, 1);
    core_end(core, alice, false, fixture.now_ms);

    uint32_t n_steps = 0;
    for (; core_has_dead(core) && n_steps < 1000; n_steps++) {
        fixture_reap(&fixture, 1);
        assert_int_equal(core_check(core), 0);
    }

    assert_in_range(n_steps, 16, 40);
    assert_int_equal(bob->leased_pages, 128);
    assert_int_equal(core_free_bytes(core), 128 * PAGE_BYTES);
}

static void test_leases_check_finds_what_does_not_add_up(void **state)
{
    (void)fixture_lease(&fixture, alice, 30);
    assert_int_equal(leases_check(leases), 0);

    leases->n_pages++;
    assert_int_equal(leases_check(leases), LEASES_E_CORRUPT);
    leases->n_pages--;
    alice->leased_pages--;
    assert_int_equal(leases_check(leases), LEASES_E_CORRUPT);
    bob->leased_pages++; /* the sum is right, the owners are not */
    assert_int_equal(leases_check(leases), LEASES_E_CORRUPT);
    bob->leased_pages--;
    alice->leased_pages++;
    const uint32_t page = 1;
    const uint64_t word = atomic_load(&core->state.page_words[page]);
    atomic_store(&core->state.page_words[page], PAGE_WORD(PAGE_LEASED, 9, PAGE_WORD_PAGES(word)));
    assert_int_equal(leases_check(leases), LEASES_E_CORRUPT);
    atomic_store(&core->state.page_words[page], word);

    assert_int_equal(leases_check(leases), 0);
}

static void test_leases_fini_with_a_lease_is_a_bug(void **state)
{
    (void)fixture_lease(&fixture, alice, 1);

    assert_broken(leases_fini(leases));
}

static void test_leases_return_some_ends_with_what_was_wanted_or_with_all(void **state)
{
    assert_int_equal(grant(alice, 3, 3), 3);
    assert_int_equal(grant(bob, 1, 1), 1); /* so that there are two runs */
    assert_int_equal(grant(alice, 3, 3), 3);
    leases_return_some(leases, alice, 3);
    assert_int_equal(alice->leased_pages, 3);
    leases_return_some(leases, alice, 100);
    assert_int_equal(alice->leased_pages, 0);
}

#define LEASES_TEST(test) cmocka_unit_test_setup_teardown(test, leases_setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEASES_TEST(test_leases_grant_is_at_most_what_is_wanted),
        LEASES_TEST(test_leases_grant_shares_out_what_is_free),
        LEASES_TEST(test_leases_grant_is_at_least_what_is_needed),
        LEASES_TEST(test_leases_grant_of_what_no_hole_has_takes_the_hole),
        LEASES_TEST(test_leases_grant_tells_table_ledger_and_accounts),
        LEASES_TEST(test_leases_grant_beside_the_clients_own_becomes_one_run),
        LEASES_TEST(test_leases_grant_says_which_pages_are_zero),
        LEASES_TEST(test_leases_grant_takes_back_what_others_leave_unused),
        LEASES_TEST(test_leases_grant_takes_nothing_back_for_what_is_only_wanted),
        LEASES_TEST(test_leases_grant_without_room_is_FULL_and_changes_nothing),
        LEASES_TEST(test_leases_grant_to_one_without_a_ledger_is_a_bug),
        LEASES_TEST(test_leases_return_takes_back_what_is_unused_in_the_range),
        LEASES_TEST(test_leases_return_leaves_what_is_anothers),
        LEASES_TEST(test_leases_return_of_strange_ranges_ends),
        LEASES_TEST(test_leases_return_of_every_second_page),
        LEASES_TEST(test_leases_make_room_begins_with_who_leaves_the_most),
        LEASES_TEST(test_leases_make_room_takes_from_one_who_has_little_in_use),
        LEASES_TEST(test_leases_make_room_when_all_is_used_is_FULL),
        LEASES_TEST(test_leases_make_room_for_more_than_there_can_be_is_FULL),
        LEASES_TEST(test_leases_make_room_without_leases_is_FULL),
        LEASES_TEST(test_leases_make_room_takes_from_the_ended),
        LEASES_TEST(test_leases_make_free_spares_those_of_a_higher_priority),
        LEASES_TEST(test_leases_make_room_of_many_clients_takes_few_walks),
        LEASES_TEST(test_leases_survive_spoiled_states),
        LEASES_TEST(test_leases_reap_takes_a_run_whatever_its_states_say),
        LEASES_TEST(test_leases_of_one_who_ended_come_back_in_small_steps),
        LEASES_TEST(test_leases_check_finds_what_does_not_add_up),
        LEASES_TEST(test_leases_fini_with_a_lease_is_a_bug),
        LEASES_TEST(test_leases_return_some_ends_with_what_was_wanted_or_with_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
