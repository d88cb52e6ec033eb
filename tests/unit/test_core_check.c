/* SPDX-License-Identifier: MIT */
/*
 * test_core_check.c - the checkers of what the core derives and keeps: each finds what is spoilt
 *
 * One word at a time is spoilt, the checker of its part and that of the core must say so, and when
 * it is as it was, nothing is wrong.
 */
#include "daemon/core/names.h"
#include "tests/unit/sharing_talk.h"
#include "tests/unit/unit.h"

static uint32_t direct_page;
static uint32_t free_page;
static struct seg_off shared; /* direct, alice's, of two names; bob holds it */
static uint32_t share_of_shared;

typedef int (*check_fn)(void);

static int pages_now(void)
{
    return pages_check(&core->pages);
}

static int clients_now(void)
{
    return clients_check(&core->clients);
}

static int reasons_now(void)
{
    return reasons_check(&core->reasons);
}

static int names_now(void)
{
    return names_check(&core->names);
}

static int history_now(void)
{
    return history_check(&core->history);
}

static int refusals_now(void)
{
    return refusals_check(&core->refusals);
}

static int core_now(void)
{
    return core_check(core);
}

static int spoil_setup(void **state)
{
    (void)sharing_setup(state);
    shared = new_direct();
    direct_page = (uint32_t)(shared.bytes >> PAGE_SHIFT);
    const struct share_handle handle = share(alice, shared);
    publish(alice, shared, "one");
    publish(alice, shared, "two");
    publish(bob, fixture_allocate(&fixture, bob, 100, "own"), "three");
    publish(alice, new_direct(), "four");
    assert_int_equal(unpublish(alice, "four"), 0);
    (void)attach(bob, &handle);
    share_of_shared = shares_at(&core->shares, shared);
    assert_int_equal(pages_find(&core->pages, 1, &free_page), 0);
    check();
    return 0;
}

static void assert_found(check_fn part)
{
    assert_int_not_equal(part(), 0);
    assert_int_equal(core_check(core), CORE_E_CORRUPT);
}

static void spoil(uint32_t *where, uint32_t number, check_fn part)
{
    const uint32_t was = *where;
    *where = number;
    assert_found(part);
    *where = was;
    check();
}

static void spoil_long(uint64_t *where, uint64_t number, check_fn part)
{
    const uint64_t was = *where;
    *where = number;
    assert_found(part);
    *where = was;
    check();
}

static void spoil_word(_Atomic uint64_t *where, uint64_t word, check_fn part)
{
    const uint64_t was = atomic_load(where);
    atomic_store(where, word);
    assert_found(part);
    atomic_store(where, was);
    check();
}

/* ----------------------------------------------------------------------------------- pages ---- */

static void test_pages_check_finds_a_wrong_run(void **state)
{
    _Atomic uint64_t *words = core->pages.state->page_words;
    const uint64_t free_word = atomic_load(&words[free_page]);
    const uint32_t n_free = PAGE_WORD_PAGES(free_word);

    spoil_word(&words[0], PAGE_WORD(PAGE_DIRECT, 0, 1), pages_now);
    spoil_word(&words[0], 0, pages_now);
    spoil_word(&words[free_page], PAGE_WORD(PAGE_FREE, 0, N_PAGES), pages_now);
    spoil_word(&words[free_page], PAGE_WORD(PAGE_FREE, 0, n_free - 1), pages_now);
    spoil_word(&words[free_page], PAGE_WORD(PAGE_BEYOND, 0, n_free), pages_now);
    spoil_word(&words[free_page], PAGE_WORD(PAGE_SCRUB, 0, n_free), pages_now);
    spoil_word(&words[free_page], PAGE_WORD(15, 0, n_free), pages_now);
    spoil_word(&words[lease], PAGE_WORD(PAGE_LEASED, bob->slot, 20), pages_now);
    spoil(&core->pages.left[lease], lease, pages_now);
    spoil(&core->pages.n_pages, N_PAGES - 1, pages_now);
    spoil(&core->pages.scrub_page, lease, pages_now);
    spoil(&core->pages.scrub_page, lease + 1, pages_now);
    spoil_long(&core->pages.n_free_pages, 1, pages_now);
    spoil(&core->pages.n_dirty, 1, pages_now);
}

static void test_pages_check_finds_a_first_run_that_is_longer_than_the_reserved_page(void **state)
{
    _Atomic uint64_t *words = core->pages.state->page_words;
    const uint64_t reserved = atomic_load(&words[0]);
    const uint32_t n_pages = 1 + PAGE_WORD_PAGES(atomic_load(&words[1]));
    atomic_store(&words[0], PAGE_WORD(PAGE_RESERVED, 0, n_pages));
    run_starts_remove(&core->pages.starts, 1);
    assert_found(pages_now);
    run_starts_add(&core->pages.starts, 1);
    atomic_store(&words[0], reserved);
    check();
}

static void test_pages_check_finds_a_wrong_set_of_starts(void **state)
{
    spoil_long(&core->pages.starts.levels[1][0], 0, pages_now);
    spoil_long(&core->pages.free_starts.levels[1][0], 0, pages_now);
    run_starts_add(&core->pages.free_starts, free_page + 1);
    assert_found(pages_now);
    run_starts_remove(&core->pages.free_starts, free_page + 1);
    check();
}

static void test_pages_check_finds_a_wrong_list(void **state)
{
    struct pages *pages = &core->pages;
    const uint32_t length = PAGE_WORD_PAGES(pages_word(pages, free_page));

    spoil(&pages->bin_first[length], 0, pages_now);
    spoil(&pages->bin_first[length], lease, pages_now);
    spoil(&pages->bin_first[0], free_page, pages_now);
    spoil(&pages->next[free_page], free_page, pages_now);
    spoil(&pages->prev[free_page], lease, pages_now);
    spoil_long(&pages->lengths.levels[0][length / 64], 0, pages_now);
    spoil_long(&pages->lengths.levels[1][0], 0, pages_now);
    spoil(&pages->leased_first[alice->slot], 0, pages_now);
    spoil(&pages->leased_first[alice->slot], lease + 1, pages_now);
    spoil(&pages->leased_first[alice->slot], free_page, pages_now);
    spoil(&pages->next[lease], lease, pages_now);
    spoil(&pages->prev[lease], free_page, pages_now);
}

static void test_pages_check_finds_leases_that_are_on_the_lists_of_others(void **state)
{
    uint32_t *first = core->pages.leased_first;
    const uint32_t bobs = fixture_lease(&fixture, bob, 4);
    first[alice->slot] = bobs;
    first[bob->slot] = lease;
    assert_found(pages_now);
    first[alice->slot] = lease;
    first[bob->slot] = bobs;
    check();
    spoil(&first[bob->slot], lease, pages_now);
}

/* --------------------------------------------------------------------- clients and reasons ---- */

static void test_clients_check_finds_a_wrong_client(void **state)
{
    struct clients *clients = &core->clients;
    struct state_client *stored = &core->state.clients[bob->slot];

    spoil_word(&stored->ended, 1, clients_now);
    spoil_word(&stored->sequence, 77, clients_now);
    spoil_word(&stored->pid, 0, clients_now);
    spoil(&bob->slot, 2, clients_now);
    spoil(&clients->n_live, 2, clients_now);
    spoil(&clients->n_ended, 1, clients_now);
    spoil(&clients->limit, 2, clients_now);
    spoil(&clients->n_free_slots, 1, clients_now);
    spoil(&clients->kept->slot, 0, clients_now);
    spoil_long(&clients->kept->leased_pages, 1, clients_now);
    clients->kept->client_state = CLIENT_ENDED;
    assert_found(clients_now);
    clients->kept->client_state = CLIENT_LIVE;
    check();
}

static void test_clients_check_finds_a_free_slot_that_is_not(void **state)
{
    struct clients *clients = &core->clients;
    die(carol);
    assert_int_equal(clients->n_free_slots, 1);
    spoil(&clients->free_slots[0], bob->slot, clients_now);
    spoil(&clients->free_slots[0], clients->n_slots, clients_now);
}

static void test_reasons_check_finds_a_wrong_reason(void **state)
{
    struct reasons *reasons = &core->reasons;
    struct block block;
    assert_true(settle_block(core, share_of_shared, &block));
    struct state_reason *slot = &core->state.reasons[block.reason];

    spoil(&reasons->users.pairs[1].n, 100, reasons_now);
    spoil(&reasons->n_live, 0, reasons_now);
    spoil(&reasons->n_ids, reasons->n_ids + 1, reasons_now);
    slot->bytes[0] ^= 1;
    assert_found(reasons_now);
    slot->bytes[0] ^= 1;
    check();
}

/* What each user has of it is told by the core's own checker. */
static void test_core_check_finds_what_users_do_not_have(void **state)
{
    struct reason_users *users = &core->reasons.users;
    struct caps_user *user = &core->caps.users[1];

    spoil(&users->pairs[1].uid, 77, core_now);
    spoil(&users->n_pairs, users->n_pairs + 1, core_now);
    spoil(&user->counts[CAP_SHARES], user->counts[CAP_SHARES] + 1, core_now);
    spoil(&user->uid, 77, core_now);
    spoil(&core->caps.n_users, core->caps.n_users + 1, core_now);
}

static void test_core_check_of_a_table_that_is_short_counts_nobody(void **state)
{
    core->reasons.users.is_short = true;
    core->reasons.users.pairs[1].uid++;
    assert_int_equal(core_check(core), 0);
    core->reasons.users.pairs[1].uid--;
    core->reasons.users.is_short = false;
    check();
}

/* ----------------------------------------------------------------------------------- names ---- */

static void test_names_check_finds_a_wrong_name(void **state)
{
    struct names *names = &core->names;
    const uint32_t one = names_find(names, "one", 3);
    const uint32_t three = names_find(names, "three", 5);
    struct state_name *record = &core->state.names[one];

    spoil(&names->n_names, 2, names_now);
    spoil(&names->n_records, names->n_records + 1, names_now);
    spoil(&names->free, one, names_now);
    spoil(&names->free, names->n_records, names_now);
    spoil_long(&names->versions.last, 0, names_now);
    spoil_long(&names->versions.last, UINT64_MAX, names_now);
    spoil(&names->of_owner[alice->slot], three, names_now);
    spoil(&names->of_owner[bob->slot], one, names_now);
    spoil(&names->of_owner[bob->slot], names->free, names_now);
    spoil(&names->of_owner[bob->slot], names->n_records, names_now);
    spoil(&names->links[three].prev_of_owner, one, names_now);
    record->bytes[0] ^= 1;
    assert_found(names_now);
    record->bytes[0] ^= 1;
    record->n_bytes = 0;
    assert_found(names_now);
    record->n_bytes = SHARE_NAME_MAX_BYTES + 1;
    assert_found(names_now);
    record->n_bytes = 3;
    check();
}

static void test_names_check_finds_a_wrong_ring(void **state)
{
    struct names *names = &core->names;
    const uint32_t one = names_find(names, "one", 3);
    const uint32_t three = names_find(names, "three", 5);
    struct share_names *of = &names->of_share[share_of_shared];

    spoil(&of->of_clients, 0, names_now);
    spoil(&of->of_clients, three + 1, names_now);
    spoil(&of->of_clients, names->free + 1, names_now);
    spoil(&of->of_clients, names->n_records + 1, names_now);
    spoil(&of->of_ended, one + 1, names_now);
    spoil(&names->links[one].next_of_share, names->n_records, names_now);
    spoil(&names->links[one].next_of_share, one, names_now);
    spoil(&names->links[one].prev_of_share, one, names_now);
    spoil(&core->shares.links[share_of_shared].n_names, 1, names_now);
}

static void test_names_check_finds_a_name_without_share(void **state)
{
    spoil_word(&core->state.shares[share_of_shared].word,
               SHARE_RETURNING | SHARE_LEASED | (uint64_t)alice->slot << SHARE_OWNER_SHIFT,
               names_now);
    spoil(&core->shares.n_share_records, share_of_shared, names_now);
}

/* ------------------------------------------------------------------- history and refusals ---- */

static void point_spoil(struct history_ring *ring)
{
    struct state_point *point = &ring->points[1];
    *point = (struct state_point){.n_looks = 1, .num_bytes = 5, .peak_bytes = 5};
    atomic_store(&point->number, 1);
    ring->newest = 1;
    check();
    spoil(&point->n_looks, 0, history_now);
    spoil_long(&point->at_ms, ring->step_ms, history_now);
    spoil_long(&point->peak_bytes, 4, history_now);
}

static void test_history_check_finds_a_wrong_point(void **state)
{
    point_spoil(&core->history.seconds);
    point_spoil(&core->history.minutes);
}

static void test_refusals_check_finds_a_wrong_refusal(void **state)
{
    const struct refusal_facts facts = {.num_bytes = 1};
    refusals_note(&core->refusals, &alice->identity, &facts, "frame", 5, 1000);
    const struct refusal *noted = refusals_next(&core->refusals, 0);
    assert_non_null(noted);
    struct refusal *refusal =
        &core->state.refusals->kept[noted - (const struct refusal *)core->state.refusals->kept];
    struct refusal_facts *last = &refusal->facts[atomic_load(&refusal->n_times) % 2];
    check();

    spoil_word(&refusal->n_times, 0, refusals_now);
    spoil_word(&refusal->n_times, 3, refusals_now); /* more than there ever were */
    spoil(&last->asked, N_ASKED, refusals_now);
    spoil(&last->why, N_WHY, refusals_now);
    spoil_long(&last->at_ms, 999, refusals_now);
    spoil_long(&core->refusals.n_written, 2, refusals_now);
    refusal->n_reason_bytes = REASON_MAX_BYTES + 1;
    assert_found(refusals_now);
    refusal->n_reason_bytes = 5;
    memset(refusal->command, 'c', sizeof(refusal->command));
    assert_found(refusals_now);
    memset(refusal->command, 0, sizeof(refusal->command));
    check();
}

static void test_names_check_finds_a_name_of_no_share_and_free_names_in_a_ring(void **state)
{
    struct names *names = &core->names;
    _Atomic uint64_t *word = &core->state.names[names_find(names, "one", 3)].word;
    const uint64_t was = atomic_load(word);
    spoil_word(word, was - NAME_SHARE(was), names_now);
    spoil(&names->links[names->free].next, names->free, names_now);
}

#define SPOIL_TEST(test) cmocka_unit_test_setup_teardown(test, spoil_setup, sharing_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPOIL_TEST(test_pages_check_finds_a_wrong_run),
        SPOIL_TEST(test_pages_check_finds_a_first_run_that_is_longer_than_the_reserved_page),
        SPOIL_TEST(test_pages_check_finds_a_wrong_set_of_starts),
        SPOIL_TEST(test_pages_check_finds_a_wrong_list),
        SPOIL_TEST(test_pages_check_finds_leases_that_are_on_the_lists_of_others),
        SPOIL_TEST(test_clients_check_finds_a_wrong_client),
        SPOIL_TEST(test_clients_check_finds_a_free_slot_that_is_not),
        SPOIL_TEST(test_reasons_check_finds_a_wrong_reason),
        SPOIL_TEST(test_core_check_finds_what_users_do_not_have),
        SPOIL_TEST(test_core_check_of_a_table_that_is_short_counts_nobody),
        SPOIL_TEST(test_names_check_finds_a_wrong_name),
        SPOIL_TEST(test_names_check_finds_a_wrong_ring),
        SPOIL_TEST(test_names_check_finds_a_name_without_share),
        SPOIL_TEST(test_history_check_finds_a_wrong_point),
        SPOIL_TEST(test_refusals_check_finds_a_wrong_refusal),
        SPOIL_TEST(test_names_check_finds_a_name_of_no_share_and_free_names_in_a_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
