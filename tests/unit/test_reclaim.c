/* SPDX-License-Identifier: MIT */
/*
 * test_reclaim.c - which slabs are taken back, and from whom
 *
 * The client is a ledger in memory. What it does between the question and the answer it does in the
 * barrier, which is where a client that runs would see the question.
 */

#include "daemon/core/placement.h"
#include "proto/lease.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/unit.h"

#define N_PAGES 1024
#define ALL_PAGES (N_PAGES - 1)

static struct reclaim *const reclaim = &fixture.core.reclaim;
static struct client *owner;
static struct ledger *ledger;
static uint32_t first; /* of the owner's lease, which is all there is */
static void (*meanwhile)(void);
static bool is_barrier;
static uint32_t n_barriers;

static bool barrier(void)
{
    n_barriers++;
    if (meanwhile) {
        meanwhile();
    }
    return is_barrier;
}

static void open_slab(uint32_t page, uint32_t size_class)
{
    fixture_carve(&fixture, owner, page, size_class);
    lease_open_slab(owner->states, page, size_classes[size_class].span_pages);
}

/* The owner counts a release: it is worth another look. */
static void count_release(void)
{
    atomic_fetch_add(&ledger->counts->n_releases, 1);
}

static void enter(uint32_t page, uint32_t index, uint64_t word)
{
    count_release();
    atomic_store(&ledger_entries(ledger, page)[index].word, word);
}

static int reclaim_setup(void **state)
{
    fixture_init(&fixture, N_PAGES, 4);
    reclaim->barrier = barrier;
    is_barrier = true;
    meanwhile = NULL;
    n_barriers = 0;
    owner = fixture_join(&fixture, 1);
    ledger = fixture_ledger(&fixture, owner);
    atomic_store(&ledger->header->is_fenced, 1);
    first = fixture_lease(&fixture, owner, ALL_PAGES);
    return 0;
}

static uint32_t flags_at(uint32_t page)
{
    return lease_flags_of(owner->states, page);
}

static void test_idle_slab_is_taken(void **state)
{
    open_slab(first, 0);
    assert_int_equal(reclaim_step(reclaim), 1);
    assert_int_equal(flags_at(first), LEASE_NONE | LEASE_STALE);
    assert_int_equal(core_free_bytes(core), PAGE_BYTES);
    assert_int_equal(owner->leased_pages, ALL_PAGES - 1);
    assert_int_equal(core_check(core), 0);
    assert_false(lease_keep(owner->states, first, 1));
}

static void enter_last(void)
{
    enter(first, size_classes[0].n_blocks - 1, ENTRY_WORD(5, 0));
}

/* It is entered when the daemon has looked, and has not been asked yet as far as it sees. */
static void test_slab_with_one_live_block_is_not_taken(void **state)
{
    open_slab(first, 0);
    meanwhile = enter_last;
    assert_int_equal(reclaim_step(reclaim), 0);
    assert_int_equal(flags_at(first), LEASE_OPEN);
    assert_true(lease_is_announced(ledger->asked));
    assert_true(lease_hush(owner->states, N_PAGES));
    assert_false(lease_is_announced(ledger->asked));
}

static void test_block_that_was_pushed_is_idle_and_one_on_its_way_is_not(void **state)
{
    open_slab(first, 0);
    enter(first, 3, ENTRY_PUSHED_BY(7));
    assert_int_equal(reclaim_step(reclaim), 0);
    enter(first, 3, ENTRY_PUSHED);
    assert_int_equal(reclaim_step(reclaim), 1);
}

/* What a client says of blocks that its threads may have makes the server look, and no more. */
static void test_slab_with_blocks_abroad_is_looked_at_and_no_more(void **state)
{
    const uint32_t said[] = {0, 1, UINT32_C(0xffff), UINT32_C(0x10000), REMOTE_SOME};
    open_slab(first, 0);
    ledger->heads[first].n_used = (uint16_t)size_classes[0].n_blocks;
    assert_int_equal(reclaim_step(reclaim), 0); /* one must be live */
    enter(first, 7, ENTRY_WORD(5, 0));
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        atomic_store(&ledger->heads[first].remote, said[i]);
        count_release();
        assert_int_equal(reclaim_step(reclaim), 0);
        assert_int_equal(flags_at(first), LEASE_OPEN);
    }
    assert_int_equal(n_barriers, 0);
    enter(first, 7, 0);
    assert_int_equal(reclaim_step(reclaim), 1);
    assert_int_equal(flags_at(first), LEASE_NONE | LEASE_STALE);
    assert_int_equal(core_check(core), 0);
}

static void keep(void)
{
    assert_int_equal(flags_at(first), LEASE_OPEN | LEASE_ASKED);
    assert_true(lease_is_announced(ledger->asked));
    assert_true(lease_keep(owner->states, first, 1));
}

static void test_slab_that_its_client_keeps_is_not_taken(void **state)
{
    open_slab(first, 0);
    meanwhile = keep;
    assert_int_equal(reclaim_step(reclaim), 0);
    assert_int_equal(n_barriers, 1);
    assert_int_equal(flags_at(first), LEASE_OPEN);
}

/* Not by a look between question and announcement: the announcement comes last. */
static void hush(void)
{
    assert_false(lease_hush(owner->states, N_PAGES));
}

static void test_client_does_not_fall_silent_while_it_is_asked(void **state)
{
    open_slab(first, 0);
    meanwhile = hush;
    assert_int_equal(reclaim_step(reclaim), 1);
    assert_false(lease_hush(owner->states, N_PAGES)); /* STALE */
    (void)lease_close_slab(owner->states, first, 1);
    assert_true(lease_hush(owner->states, N_PAGES));
}

static void enter_one_of_many(void)
{
    enter(first + 6, 1, ENTRY_WORD(9, 0));
}

static void test_slab_of_many_pages_is_taken_whole_or_not_at_all(void **state)
{
    const uint32_t size_class = fixture_class_of(3);
    open_slab(first + 6, size_class); /* over the border of a word */
    meanwhile = enter_one_of_many;
    assert_int_equal(reclaim_step(reclaim), 0);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(flags_at(first + 6 + i), LEASE_OPEN | (i > 0 ? LEASE_INTERIOR : 0));
    }
    enter(first + 6, 1, 0);
    meanwhile = NULL;
    assert_int_equal(reclaim_step(reclaim), 3);
    assert_int_equal(core_free_bytes(core), 3 * PAGE_BYTES);
}

static void test_client_that_gets_no_barrier_is_left_alone(void **state)
{
    open_slab(first, 0);
    atomic_store(&ledger->header->is_fenced, 0);
    assert_int_equal(reclaim_step(reclaim), 0);
    assert_int_equal(n_barriers, 0);
    atomic_store(&ledger->header->is_fenced, 1);
    is_barrier = false;
    assert_int_equal(reclaim_step(reclaim), 0);
    assert_int_equal(n_barriers, 1);
    assert_int_equal(flags_at(first), LEASE_OPEN);
}

/* Between the look at the head and the question: the old class's entries say nothing. */
static client_ledger_read_fn read_really;
static bool is_swapped;

static bool swap_behind_head(void *user, uint32_t slot, uint64_t at, void *buffer, size_t n_bytes)
{
    const bool is_read = read_really(user, slot, at, buffer, n_bytes);
    if (at == fixture.ledger_layout.heads_at + first * sizeof(struct ledger_head) && !is_swapped) {
        is_swapped = true;
        ledger_slab_close(ledger, first);
        (void)lease_close_slab(owner->states, first, 1);
        uint32_t other = 1;
        while (size_classes[other].plane == size_classes[0].plane ||
               size_classes[other].span_pages != 1) {
            other++;
        }
        open_slab(first, other);
        enter(first, 0, ENTRY_WORD(100, 0));
    }
    return is_read;
}

static void test_slab_of_another_class_that_came_in_its_place_is_not_taken(void **state)
{
    open_slab(first, 0);
    read_really = core->client_ledger.read;
    core->client_ledger.read = swap_behind_head;
    is_swapped = false;
    assert_int_equal(reclaim_step(reclaim), 0);
    assert_true(is_swapped);
    assert_int_equal(flags_at(first), LEASE_OPEN);
    core->client_ledger.read = read_really;
}

/* A head that lies about its class and span: its client loses what it shows as idle, no more. */
static void test_heads_that_lie_harm_only_their_client(void **state)
{
    const uint32_t last = first + ALL_PAGES - 1;
    open_slab(last, 0);
    struct ledger_head *head = &ledger->heads[last];
    head->size_class = (uint16_t)fixture_class_of(3);
    assert_int_equal(reclaim_step(reclaim), 0); /* three pages behind the end */
    open_slab(first, fixture_class_of(3));
    ledger->heads[first].size_class = (uint16_t)fixture_class_of(2);
    count_release();
    assert_int_equal(reclaim_step(reclaim), 2); /* what it shows; the third page stays */
    assert_int_equal(flags_at(first + 2), LEASE_OPEN | LEASE_INTERIOR);
    head->size_class = UINT16_MAX;
    count_release();
    assert_int_equal(reclaim_step(reclaim), 0);
    head->size_class = 0;
    head->n_used = UINT16_MAX;
    count_release();
    assert_int_equal(reclaim_step(reclaim), 0);
    head->n_used = 0;
    head->span_pages = UINT32_MAX;
    count_release();
    assert_int_equal(reclaim_step(reclaim), 1);
    assert_int_equal(core_check(core), 0);
}

/* ------------------------------------------------------------------------------- requests ---- */

static struct client *asker;

static int find(struct placement_request *room, uint64_t now_us)
{
    struct placement found;
    return placement_find(core, asker, room, (struct now){fixture.now_ms, now_us}, &found);
}

static void fill_with_idle_slabs(void)
{
    asker = fixture_join(&fixture, 2);
    for (uint32_t page = first; page < first + ALL_PAGES; page++) {
        open_slab(page, 0);
    }
}

static int find_in_the_end(struct placement_request *room, uint64_t now_us)
{
    int r;
    do {
        r = find(room, now_us);
    } while (r == PLACEMENT_E_WAIT);
    return r;
}

static void fill_with_live_slabs(void)
{
    fill_with_idle_slabs();
    for (uint32_t page = first; page < first + ALL_PAGES; page++) {
        enter(page, 0, ENTRY_WORD(1, 0));
    }
}

static void test_all_of_an_idle_client_is_had_by_another(void **state)
{
    struct placement_request room;
    fill_with_idle_slabs();
    placement_init_block(&room, ALL_PAGES * PAGE_BYTES, "all", 3);
    int r = find(&room, 0);
    for (uint64_t us = 1; r == PLACEMENT_E_WAIT; us++) {
        r = find(&room, us);
    }
    assert_int_equal(r, 0);
    assert_int_equal(owner->leased_pages, 0);
}

/* Return: what leases_grant() does; *ret_page is from where on. */
static int grant_to_owner(uint32_t n_pages, uint32_t *ret_page)
{
    uint32_t n_granted;
    const int r = leases_grant(&core->leases, owner, n_pages, n_pages, 0, ret_page, &n_granted);
    assert_true(r || n_granted == n_pages);
    assert_int_equal(core_check(core), 0);
    return r;
}

/* One of its threads sleeps, and the others get what lies beside the slabs that it has lost. */
static void test_owner_is_leased_what_is_not_stale(void **state)
{
    uint32_t page;
    fill_with_idle_slabs();
    while (core_free_bytes(core) < ALL_PAGES * PAGE_BYTES) {
        (void)reclaim_step(reclaim);
    }
    assert_int_equal(grant_to_owner(1, &page), LEASES_E_STALE);
    (void)lease_close_slab(owner->states, first + 100, 1); /* it notices some of it */
    (void)lease_close_slab(owner->states, first + 200, 1);
    (void)lease_close_slab(owner->states, first + 201, 1);
    assert_int_equal(grant_to_owner(2, &page), 0);
    assert_int_equal(page, first + 200);
    assert_int_equal(owner->leased_pages, 2);
    assert_int_equal(lease_count_free(owner->states, page, 2), 2);
    assert_int_equal(core_free_bytes(core), (ALL_PAGES - 2) * PAGE_BYTES);
    assert_int_equal(grant_to_owner(2, &page), LEASES_E_STALE);
    assert_int_equal(grant_to_owner(1, &page), 0);
    assert_int_equal(page, first + 100);
}

/* What waits for a lease is told that it is stale; the same as a block can be had. */
static void test_room_of_a_stale_owner_is_for_direct_blocks(void **state)
{
    struct placement_request room;
    fill_with_idle_slabs();
    asker = owner;
    placement_init_lease(&room, 2, 2);
    assert_int_equal(find_in_the_end(&room, 0), PLACEMENT_E_STALE);
    assert_false(room.reclaims || room.waits);
    placement_init_block(&room, 2 * PAGE_BYTES, "two", 3);
    assert_int_equal(find_in_the_end(&room, 0), 0);
}

/* However many they are: those that came in the midst of a pass have all of the next one. */
static void test_those_that_wait_share_a_pass(void **state)
{
    enum { N_WAITING = 3 };
    struct placement_request rooms[N_WAITING];
    uint32_t n_refused = 0;
    fill_with_live_slabs();
    for (int i = 0; i < N_WAITING; i++) {
        placement_init_block(&rooms[i], PAGE_BYTES, "one", 3);
        assert_int_equal(find(&rooms[i], 0), PLACEMENT_E_WAIT);
    }
    assert_int_equal(reclaim->n_waiting, N_WAITING);
    while (n_refused < N_WAITING) {
        const int r = find(&rooms[n_refused], 1);
        assert_true(r == PLACEMENT_E_WAIT || r == PLACEMENT_E_FULL);
        n_refused += r == PLACEMENT_E_FULL;
    }
    assert_int_equal(reclaim->n_passes, 2);
    assert_int_equal(reclaim->n_waiting, 0);
}

/* Refused; then something is released, and it is asked for again in the same moment. */
static void test_what_is_idle_since_a_refusal_is_had_at_once(void **state)
{
    struct placement_request room;
    fill_with_live_slabs();
    for (uint32_t i = 0; i < 20; i++) {
        placement_init_block(&room, PAGE_BYTES, "one", 3);
        assert_int_equal(find_in_the_end(&room, 50), PLACEMENT_E_FULL);
        enter(first + i, 0, 0);
        assert_int_equal(find_in_the_end(&room, 50), 0);
    }
}

/* A client that asks on and on in a full segment does not have all of the server. */
static void test_passes_in_vain_are_limited(void **state)
{
    struct placement_request room;
    uint64_t until;
    fill_with_live_slabs();
    for (uint32_t i = 0; i < 1000; i++) {
        count_release();
        placement_init_block(&room, PAGE_BYTES, "one", 3);
        assert_int_equal(find_in_the_end(&room, 50), PLACEMENT_E_FULL);
    }
    const uint64_t n_passes = reclaim->n_passes;
    assert_true(n_passes < 1000);
    assert_false(reclaim_begin(reclaim, 60, &until));
    count_release();
    placement_init_block(&room, PAGE_BYTES, "one", 3);
    assert_int_equal(find(&room, 60), PLACEMENT_E_FULL);
    assert_int_equal(reclaim->n_passes, n_passes);
    assert_true(reclaim_begin(reclaim, 60 + 100000, &until));
}

/* Among any number of live slabs: where nothing was released since, no header is read. */
static client_ledger_read_fn count_reads_really;
static uint32_t n_reads;

static bool count_reads(void *user, uint32_t slot, uint64_t at, void *buffer, size_t n_bytes)
{
    n_reads++;
    return count_reads_really(user, slot, at, buffer, n_bytes);
}

static void test_refusal_without_a_release_since_reads_nothing(void **state)
{
    struct placement_request room;
    fill_with_live_slabs();
    placement_init_block(&room, PAGE_BYTES, "one", 3);
    assert_int_equal(find_in_the_end(&room, 0), PLACEMENT_E_FULL);
    count_reads_really = core->client_ledger.read;
    core->client_ledger.read = count_reads;
    n_reads = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        placement_init_block(&room, PAGE_BYTES, "one", 3);
        assert_int_equal(find(&room, UINT64_C(1000000) * i), PLACEMENT_E_FULL); /* at once */
    }
    assert_int_equal(n_reads, 0);
    core->client_ledger.read = count_reads_really;
}

/* One release empties one slab: eight pages at the most. */
static void test_refusal_of_more_than_was_released_reads_nothing(void **state)
{
    struct placement_request room;
    fill_with_live_slabs();
    placement_init_block(&room, PAGE_BYTES, "one", 3);
    assert_int_equal(find_in_the_end(&room, 0), PLACEMENT_E_FULL);
    enter(first, 0, 0);
    assert_int_equal(reclaim_at_most(reclaim), 8);
    const uint64_t n_passes = reclaim->n_passes;
    placement_init_block(&room, 9 * PAGE_BYTES, "nine", 4);
    assert_int_equal(find(&room, 1000000), PLACEMENT_E_FULL);
    assert_int_equal(reclaim->n_passes, n_passes);
    placement_init_block(&room, PAGE_BYTES, "one", 3);
    assert_int_equal(find_in_the_end(&room, 1000000), 0);
}

/* Whose releases are not known is looked at each time: one with more threads than places. */
static void test_client_that_does_not_count_all_is_looked_at(void **state)
{
    struct placement_request room;
    fill_with_live_slabs();
    placement_init_block(&room, PAGE_BYTES, "one", 3);
    assert_int_equal(find_in_the_end(&room, 0), PLACEMENT_E_FULL);
    assert_int_equal(reclaim_at_most(reclaim), 0);
    atomic_store(&ledger->counts->n_threads, COUNTS_THREADS);
    assert_int_equal(reclaim_at_most(reclaim), ALL_PAGES);
}

/* Over its quota a client has its own idle slabs looked at before it is refused. */
static void test_quota_is_not_used_up_by_idle_slabs(void **state)
{
    struct placement_request room;
    fill_with_live_slabs();
    asker = owner;
    core->config.quota_bytes = ALL_PAGES * PAGE_BYTES;
    placement_init_block(&room, 3 * PAGE_BYTES, "three", 5);
    assert_int_equal(find_in_the_end(&room, 0), PLACEMENT_E_QUOTA);
    const uint64_t n_passes = reclaim->n_passes;
    placement_init_block(&room, 3 * PAGE_BYTES, "three", 5);
    assert_int_equal(find(&room, 1000000), PLACEMENT_E_QUOTA);
    assert_int_equal(reclaim->n_passes, n_passes); /* nothing was released since */
    count_release();
    placement_init_block(&room, 100 * PAGE_BYTES, "more than one slab", 18);
    assert_int_equal(find(&room, 1000000), PLACEMENT_E_QUOTA);
    assert_int_equal(reclaim->n_passes, n_passes);
    for (uint32_t i = 0; i < 3; i++) {
        enter(first + i, 0, 0);
    }
    placement_init_block(&room, 3 * PAGE_BYTES, "three", 5);
    assert_int_equal(find_in_the_end(&room, 2000000), 0);
}

/* What is seen to be live is not asked for: its threads go on as before. */
static void test_client_is_not_asked_for_what_it_uses(void **state)
{
    fill_with_live_slabs();
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(reclaim_step(reclaim), 0);
    }
    assert_int_equal(n_barriers, 0);
    assert_false(lease_is_announced(ledger->asked));
}

/* The last that was missing is cleared during the pass, and came back before its end. */
static void test_what_was_cleared_during_a_pass_is_seen(void **state)
{
    struct placement_request room;
    const uint32_t n_idle = ALL_PAGES - 400; /* behind them the pass takes some steps more */
    fill_with_idle_slabs();
    for (uint32_t i = n_idle; i < ALL_PAGES; i++) {
        enter(first + i, 0, ENTRY_WORD(1, 0));
    }
    placement_init_block(&room, n_idle * PAGE_BYTES, "idle", 4);
    assert_int_equal(find(&room, 0), PLACEMENT_E_WAIT);
    pages_scrub_begin(&core->pages, first, 8);
    while (reclaim->n_pages < n_idle) {
        assert_int_equal(find(&room, 1), PLACEMENT_E_WAIT);
    }
    pages_scrub_end(&core->pages, true);
    assert_int_equal(find_in_the_end(&room, 1), 0);
}

/* Its owner dies while it is asked: the request waits until everything is back. */
static void test_client_that_ends_meanwhile_is_waited_for(void **state)
{
    struct placement_request room;
    fill_with_idle_slabs();
    enter(first, 0, ENTRY_WORD(1, 0));
    placement_init_block(&room, ALL_PAGES * PAGE_BYTES, "all", 3);
    assert_int_equal(find(&room, 0), PLACEMENT_E_WAIT);
    core_end(core, owner, false, fixture.now_ms);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(find(&room, 1), PLACEMENT_E_WAIT);
    }
    while (core_has_dead(core)) {
        fixture_reap(&fixture, UINT32_MAX);
    }
    assert_int_equal(find(&room, 2), 0);
}

/* All that counts against it may be idle; but more than it may have is refused at once. */
static void test_quota_that_is_all_idle_is_had_again(void **state)
{
    struct placement_request room;
    fill_with_idle_slabs();
    asker = owner;
    core->config.quota_bytes = ALL_PAGES * PAGE_BYTES;
    placement_init_block(&room, N_PAGES * PAGE_BYTES, "more", 4);
    assert_int_equal(find(&room, 0), PLACEMENT_E_QUOTA);
    assert_int_equal(reclaim->n_passes, 0);
    placement_init_block(&room, 3 * PAGE_BYTES, "three", 5);
    assert_int_equal(find_in_the_end(&room, 0), 0);
}

#define RECLAIM_TEST(test) cmocka_unit_test_setup_teardown(test, reclaim_setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RECLAIM_TEST(test_idle_slab_is_taken),
        RECLAIM_TEST(test_slab_with_one_live_block_is_not_taken),
        RECLAIM_TEST(test_block_that_was_pushed_is_idle_and_one_on_its_way_is_not),
        RECLAIM_TEST(test_slab_with_blocks_abroad_is_looked_at_and_no_more),
        RECLAIM_TEST(test_slab_that_its_client_keeps_is_not_taken),
        RECLAIM_TEST(test_client_does_not_fall_silent_while_it_is_asked),
        RECLAIM_TEST(test_slab_of_many_pages_is_taken_whole_or_not_at_all),
        RECLAIM_TEST(test_client_that_gets_no_barrier_is_left_alone),
        RECLAIM_TEST(test_slab_of_another_class_that_came_in_its_place_is_not_taken),
        RECLAIM_TEST(test_heads_that_lie_harm_only_their_client),
        RECLAIM_TEST(test_all_of_an_idle_client_is_had_by_another),
        RECLAIM_TEST(test_owner_is_leased_what_is_not_stale),
        RECLAIM_TEST(test_room_of_a_stale_owner_is_for_direct_blocks),
        RECLAIM_TEST(test_those_that_wait_share_a_pass),
        RECLAIM_TEST(test_what_is_idle_since_a_refusal_is_had_at_once),
        RECLAIM_TEST(test_passes_in_vain_are_limited),
        RECLAIM_TEST(test_quota_is_not_used_up_by_idle_slabs),
        RECLAIM_TEST(test_refusal_without_a_release_since_reads_nothing),
        RECLAIM_TEST(test_refusal_of_more_than_was_released_reads_nothing),
        RECLAIM_TEST(test_client_that_does_not_count_all_is_looked_at),
        RECLAIM_TEST(test_client_is_not_asked_for_what_it_uses),
        RECLAIM_TEST(test_what_was_cleared_during_a_pass_is_seen),
        RECLAIM_TEST(test_client_that_ends_meanwhile_is_waited_for),
        RECLAIM_TEST(test_quota_that_is_all_idle_is_had_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
