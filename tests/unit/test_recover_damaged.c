/* SPDX-License-Identifier: MIT */
/*
 * test_recover_damaged.c - a state file that no server leaves behind is refused, or adds up
 *
 * Of each kind of record, what core_check() would find, or an assertion, later. What is wrong with
 * one record of what is shared is in test_shares_check.c; here is what goes with other records.
 */
#include "daemon/core/recover.h"
#include "daemon/core/refusals.h"
#include "tests/unit/sharing_talk.h"

static char why[FIXTURE_WHY_BYTES];

static void try_restart(const char *wanted)
{
    assert_int_equal(fixture_restart(&fixture, why), RECOVER_E_REFUSED);
    if (strstr(why, wanted) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", why, wanted);
    }
}

/* Starts on what is in the file, and ends: it was mended. */
static void go_on(void)
{
    assert_int_equal(recover(core, &fixture.config, fixture.state_base, fixture_states, &fixture,
                             fixture.now_ms, why, sizeof(why)),
                     0);
    check();
    alice = clients_get(&core->clients, 0);
    bob = clients_get(&core->clients, 1);
    carol = clients_get(&core->clients, 2);
}

/* As a server does after one that was killed. */
static void go_on_after_kill(void)
{
    core_abandon(core);
    go_on();
}

static void assert_refused(_Atomic uint64_t *word, uint64_t value, const char *wanted)
{
    const uint64_t was = atomic_exchange(word, value);
    try_restart(wanted);
    atomic_store(word, was);
    go_on();
}

static void assert_refused_u64(uint64_t *number, uint64_t value, const char *wanted)
{
    assert_refused((_Atomic uint64_t *)number, value, wanted);
}

static void assert_refused_u32(uint32_t *number, uint32_t value, const char *wanted)
{
    const uint32_t was = *number;
    *number = value;
    try_restart(wanted);
    *number = was;
    go_on();
}

static struct state_share *record_of(struct seg_off off)
{
    return &core->state.shares[shares_at(&core->shares, off)];
}

/* ------------------------------------------------------------------------------- the pages --- */

static void test_recover_refuses_runs_that_are_not_beside_each_other(void **state)
{
    (void)state;
    _Atomic uint64_t *words = core->state.page_words;
    const uint32_t first = N_PAGES - 8;
    const uint32_t run = pages_run_of(&core->pages, first);
    const uint64_t was = atomic_load(&words[run]);
    atomic_store(&words[run], PAGE_WORD(PAGE_FREE, 0, first - run));
    atomic_store(&words[first + 4], PAGE_WORD(PAGE_FREE, 0, 4));

    atomic_store(&words[first], PAGE_WORD(PAGE_BEYOND, 0, 4));
    try_restart("can not be where it is");
    atomic_store(&words[first], PAGE_WORD(PAGE_SCRUB, 0, 4));
    atomic_store(&words[first + 4], PAGE_WORD(PAGE_SCRUB, 0, 4));
    try_restart("can not be where it is");
    atomic_store(&words[first], PAGE_WORD(PAGE_FREE, 3, 4));
    atomic_store(&words[first + 4], PAGE_WORD(PAGE_FREE, 0, 4));
    try_restart("is of slot 3, and is no lease");
    atomic_store(&words[run], was);
    go_on();
}

/* ----------------------------------------------------------------------------- the clients --- */

static void test_recover_refuses_a_client_that_can_not_be(void **state)
{
    (void)state;
    struct state_client *stored = &core->state.clients[bob->slot];
    const uint64_t pid = atomic_load(&stored->pid);

    assert_refused(&stored->pid, pid | UINT64_C(1) << 40, "slot 1 is of a client that can not be");
    assert_refused(&stored->pid, PID_WORD_PID(pid), "slot 1 is of a client that can not be");
    assert_refused(&stored->ended, 2, "slot 1 is of a client that can not be");
    assert_refused(&stored->ended, ENDED_WORD(false, 7) | UINT64_C(1) << 63, "slot 1 is of");
}

static void test_recover_refuses_words_of_two_reasons(void **state)
{
    (void)state;
    struct seg_off offs[] = {fixture_allocate(&fixture, bob, 100, "one"),
                             fixture_allocate(&fixture, bob, 100, "two")};
    struct block block;
    uint32_t ids[2];
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(direct_find(&core->direct, bob, offs[i], &block), 0);
        ids[i] = block.reason;
    }
    struct state_reason *reasons = core->state.reasons;
    const struct state_reason was = reasons[ids[1]];
    reasons[ids[1]] = reasons[ids[0]];

    try_restart("a block has a reason without words of its own");

    reasons[ids[1]] = was;
    go_on();
}

/* ---------------------------------------------------------------------- the server's slabs --- */

static void test_recover_forgets_an_opening_where_one_can_be(void **state)
{
    (void)state;
    const char *wanted = "the slab that was being made at page 253 can not be";
    struct ledger *ledger = &core->state.ledger;
    const uint32_t page = N_PAGES - 3;
    _Atomic uint64_t *opening = &core->state.header->opening;
    ledger_slab_open(ledger, page, fixture_class_of(3));
    atomic_store(&ledger_entries(ledger, page)[1].word, ENTRY_WORD(100, 0));
    atomic_store(opening, page);

    ledger->heads[page].size_class = N_SIZE_CLASSES;
    try_restart(wanted);
    ledger->heads[page].size_class = (uint16_t)fixture_class_of(4);
    ledger->heads[page].span_pages = 4; /* behind the segment */
    try_restart(wanted);
    ledger->heads[page].size_class = (uint16_t)fixture_class_of(3);
    ledger->heads[page].span_pages = 3;
    atomic_store(opening, N_PAGES);
    try_restart("the slab that was being made at page 256 can not be");
    atomic_store(opening, page);
    go_on();

    assert_int_equal(ledger->heads[page].kind, HEAD_CLOSED);
    assert_int_equal(atomic_load(&ledger->planes[0][(uint64_t)page * 16 + 1].word), 0);
}

static void test_recover_refuses_a_block_that_is_charged_to_nobody(void **state)
{
    (void)state;
    const struct seg_off off = fixture_allocate(&fixture, bob, 100, "lost");
    struct ledger_block block;
    assert_int_equal(ledger_find(&core->state.ledger, off, &block), 0);
    const uint32_t bobs = bob->slot;
    atomic_store(&block.entry->holder, SLOT_KEPT);

    try_restart("a block is charged to no client, and is not shared");

    atomic_store(&block.entry->holder, bobs);
    go_on();
}

/* -------------------------------------------------------------------------- what is shared --- */

static void test_recover_refuses_a_share_with_another_reason_than_its_block(void **state)
{
    (void)state;
    const struct seg_off off = new_direct();
    const struct seg_off other = fixture_allocate(&fixture, bob, 100, "another");
    struct block block;
    assert_int_equal(direct_find(&core->direct, bob, other, &block), 0);
    (void)share(alice, off);

    assert_refused_u32(&record_of(off)->reason, block.reason,
                       "a shared block has another reason than its share");
}

static void test_recover_refuses_a_leased_share_of_another_user(void **state)
{
    (void)state;
    const struct seg_off off = leased_block();
    (void)share(alice, off);

    struct state_share *record = record_of(off);
    const uint32_t was = atomic_exchange(&record->uid, alice->identity.uid + 1);
    try_restart("a share counts for another user than its owner's");
    atomic_store(&record->uid, was);
    go_on();
}

static void test_recover_refuses_an_offer_that_is_named_or_held(void **state)
{
    (void)state;
    const char *wanted = "a share is offered, and held as well";
    const struct seg_off offs[] = {new_direct(), leased_block()};
    for (size_t i = 0; i < 2; i++) {
        publish(alice, offs[i], i == 0 ? "direct" : "leased");
        _Atomic uint64_t *word = &record_of(offs[i])->word;
        const uint64_t was = atomic_load(word);
        assert_refused(word, was | SHARE_KEEP, wanted);
        assert_refused(word, was | SHARE_OFFERED, wanted);
        assert_refused(word, (was | SHARE_OFFERED) & ~SHARE_OWNER_HOLDS, wanted);
    }
}

/* Its owner ends, and what was adopted is as large as it was said to be: else it is refused. */
static void test_recover_refuses_what_could_not_be_adopted(void **state)
{
    (void)state;
    const char *wanted = "a shared block is not where its slab is";
    const struct seg_off offs[] = {leased_block(), off_of(large)};
    for (size_t i = 0; i < 2; i++) {
        const struct share_handle handle = share(alice, offs[i]);
        (void)attach(bob, &handle);
        struct state_share *record = record_of(offs[i]);
        const uint16_t index = record->index;
        assert_refused_u64(&record->num_bytes, UINT64_C(3) * PAGE_BYTES + 1, wanted);
        assert_refused_u64(&record->offset, record->offset + 16, wanted);
        assert_refused_u32(&record->span_pages, i == 0 ? 2 : 200, i == 0 ? wanted : "no lease");
        record->index++;
        try_restart(wanted);
        record->index = index;
        go_on();
    }
    die(alice);
    check();
    assert_int_equal(core->direct.n_blocks, 2);
    assert_int_equal(payer_of(offs[0]), bob->slot);
    assert_int_equal(payer_of(offs[1]), bob->slot);
}

/* Places where no slab was are read when one is adopted: what stands there is no block of it. */
static void test_adoption_forgets_what_stands_where_no_slab_was(void **state)
{
    (void)state;
    const struct seg_off off = leased_block();
    const struct share_handle handle = share(alice, off);
    (void)attach(bob, &handle);
    const uint32_t plane = size_classes[size_class_of(BLOCK_BYTES)].plane;
    struct ledger_entry *entries =
        core->state.ledger.planes[plane] + ((uint64_t)lease << PLANE_SHIFT(plane));
    for (uint32_t i = 0; i < 4; i++) {
        atomic_store(&entries[i].word, ENTRY_WORD(UINT64_C(1) << 30, REASONS_MAX));
    }

    restart();
    die(alice);

    check();
    assert_int_equal(core->direct.n_blocks, 1);
    assert_int_equal(payer_of(off), bob->slot);
}

/* ----------------------------------------------------------------------- what is told of it --- */

static void test_recover_refuses_a_history_that_can_not_be(void **state)
{
    (void)state;
    const char *wanted = "the history has a point that can not be";
    struct state_point *point = &core->state.seconds[1];
    point->at_ms = 10;
    point->num_bytes = 5;
    point->peak_bytes = 5;
    atomic_store(&point->number, 1);

    try_restart(wanted); /* without a look */
    point->n_looks = 1;
    point->peak_bytes = 4;
    try_restart(wanted);
    point->peak_bytes = 5;
    go_on();
}

static void test_recover_refuses_a_refusal_that_was_not_counted(void **state)
{
    (void)state;
    const struct refusal_facts facts = {.asked = 0, .why = 0};
    refusals_note(&core->refusals, &bob->identity, &facts, NULL, 0, 5);

    assert_refused_u64(&core->state.refusals->n_times[0][0], 0, "of 1 refusals one is none");
    assert_refused_u64(&core->state.refusals->kept[1].first_ms, 6, "of 1 refusals one is none");
}

/* --------------------------------------------------------------- the server's slabs, again --- */

static struct ledger_head *head_of(struct seg_off off)
{
    return &core->state.ledger.heads[off.bytes >> PAGE_SHIFT];
}

static void test_recover_refuses_a_slab_whose_heads_are_another_ones(void **state)
{
    (void)state;
    const char *wanted = "its pages are not what its head says";
    const uint32_t size_class = fixture_class_of(3);
    const struct seg_off off =
        fixture_allocate(&fixture, bob, size_classes[size_class].block_bytes, "three pages");
    struct ledger_head *head = head_of(off);
    const struct ledger_head was = *head;
    const struct ledger_head second = head[1];

    head->kind = HEAD_INTERIOR;
    try_restart(wanted);
    *head = was;
    head->flags |= 0x80;
    try_restart(wanted);
    *head = was;
    head->size_class = N_SIZE_CLASSES;
    try_restart(wanted);
    head->size_class = (uint16_t)fixture_class_of(2);
    try_restart(wanted);
    *head = was;
    head[1].kind = HEAD_SLAB;
    try_restart(wanted);
    head[1] = second;
    head[1].back = 2;
    try_restart(wanted);
    head[1] = second;
    go_on();
}

static void test_recover_refuses_a_block_that_its_place_can_not_be(void **state)
{
    (void)state;
    const struct seg_off off = fixture_allocate(&fixture, bob, 100, "words");
    struct ledger_block block;
    assert_int_equal(ledger_find(&core->state.ledger, off, &block), 0);
    const uint64_t word = atomic_load(&block.entry->word);
    atomic_store(&block.entry->word, ENTRY_WORD(0, ENTRY_REASON(word)));
    try_restart("a block is larger than its place");
    atomic_store(&block.entry->word, word);
    go_on();
}

/* A server was killed while it gave slabs back: nothing of them is left. */
static void test_recover_gives_back_what_was_closed_or_has_no_block(void **state)
{
    (void)state;
    const struct seg_off offs[] = {fixture_allocate(&fixture, bob, BLOCK_BYTES, "slab"),
                                   fixture_allocate(&fixture, bob, 200000, "large"),
                                   fixture_allocate(&fixture, bob, 100, "another slab")};
    struct ledger_block block;
    assert_int_equal(ledger_find(&core->state.ledger, offs[2], &block), 0);
    head_of(offs[0])->kind = HEAD_CLOSED;
    head_of(offs[1])->kind = HEAD_CLOSED_LARGE;
    atomic_store(&block.entry->word, 0);

    go_on_after_kill();

    assert_int_equal(core->direct.n_blocks, 0);
    assert_int_equal(core->direct.slab_bytes, 0);
    assert_int_equal(bob->n_blocks, 0);
}

static void set_opening(uint32_t page)
{
    atomic_store(&core->state.header->opening, page);
}

/* A large block was being made of pages of a lease. */
static void test_recover_forgets_an_opening_in_a_lease(void **state)
{
    (void)state;
    struct ledger_head *heads = core->state.ledger.heads;
    const uint32_t page = lease + 10;
    heads[page] = (struct ledger_head){.kind = HEAD_LARGE, .span_pages = 3};
    set_opening(page);
    go_on_after_kill();
    assert_int_equal(heads[page].kind, HEAD_CLOSED_LARGE);
}

static void test_recover_refuses_an_opening_in_another_slab_or_of_another_length(void **state)
{
    (void)state;
    struct ledger_head *heads = core->state.ledger.heads;
    const struct seg_off off =
        fixture_allocate(&fixture, bob, size_classes[fixture_class_of(3)].block_bytes, "three");
    const uint32_t inside = (uint32_t)(off.bytes >> PAGE_SHIFT) + 1;
    const struct ledger_head was = heads[inside];
    heads[inside].kind = HEAD_SLAB;
    set_opening(inside);
    try_restart("the slab that was being made");
    heads[inside] = was;

    ledger_slab_open(&core->state.ledger, N_PAGES - 3, fixture_class_of(3));
    heads[N_PAGES - 3].span_pages = 2;
    set_opening(N_PAGES - 3);
    try_restart("the slab that was being made");
    heads[N_PAGES - 3].kind = HEAD_NONE;
    set_opening(0);
    go_on();
}

/* -------------------------------------------------------------------- pages, names, again --- */

static void test_recover_refuses_a_reserved_run_that_is_too_long(void **state)
{
    (void)state;
    assert_refused(&core->state.page_words[0], PAGE_WORD(PAGE_RESERVED, 0, 2),
                   "the run at page 0 is of kind");
}

static void test_recover_refuses_a_lease_of_a_slot_that_is_free(void **state)
{
    (void)state;
    _Atomic uint64_t *word = &core->state.page_words[lease];
    struct client *dora = fixture_join(&fixture, 7);
    const uint32_t slot = dora->slot;
    die(dora);
    const uint64_t was = atomic_exchange(word, PAGE_WORD(PAGE_LEASED, slot, 20));
    try_restart("which is nobody's");
    atomic_store(word, was);
    go_on_after_kill();
}

static void test_recover_refuses_a_name_of_what_is_no_share_any_more(void **state)
{
    (void)state;
    const struct seg_off named = new_direct();
    const struct seg_off gone = new_direct();
    (void)share(alice, gone);
    const uint32_t free_share = shares_at(&core->shares, gone);
    publish(alice, named, "name");
    assert_int_equal(release(alice, gone), LET_GO_FREED);
    const uint32_t name = names_find(&core->names, "name", 4);
    _Atomic uint64_t *word = &core->state.names[name].word;
    const uint64_t is = atomic_load(word);
    assert_refused(word, is - NAME_SHARE(is) + free_share, "a name means no share");
    assert_refused(core->names.versions.reserved, UINT64_MAX, "more names than there can be");
}

/* An offer that nobody keeps is none any more, when its slab was adopted. */
static void test_recover_of_an_offer_that_is_said_to_be_leased_frees_it(void **state)
{
    (void)state;
    const struct seg_off off = new_direct();
    (void)transfer(alice, off, false);
    struct state_share *record = record_of(off);
    const uint32_t size_class = size_class_of(BLOCK_BYTES);
    const uint32_t run = pages_run_of(&core->pages, (uint32_t)(off.bytes >> PAGE_SHIFT));
    record->slab_page = run;
    record->span_pages = size_classes[size_class].span_pages;
    record->size_class = (uint16_t)size_class;
    record->index = (uint16_t)((off.bytes - ((uint64_t)run << PAGE_SHIFT)) /
                               size_classes[size_class].block_bytes);
    record->word |= SHARE_LEASED;
    go_on_after_kill();
    assert_int_equal(core->direct.n_blocks, 0);
    assert_int_equal(core->shares.n_shares, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHARING_TEST(test_recover_refuses_runs_that_are_not_beside_each_other),
        SHARING_TEST(test_recover_refuses_a_client_that_can_not_be),
        SHARING_TEST(test_recover_refuses_words_of_two_reasons),
        SHARING_TEST(test_recover_forgets_an_opening_where_one_can_be),
        SHARING_TEST(test_recover_refuses_a_block_that_is_charged_to_nobody),
        SHARING_TEST(test_recover_refuses_a_share_with_another_reason_than_its_block),
        SHARING_TEST(test_recover_refuses_a_leased_share_of_another_user),
        SHARING_TEST(test_recover_refuses_an_offer_that_is_named_or_held),
        SHARING_TEST(test_recover_refuses_what_could_not_be_adopted),
        SHARING_TEST(test_adoption_forgets_what_stands_where_no_slab_was),
        SHARING_TEST(test_recover_refuses_a_history_that_can_not_be),
        SHARING_TEST(test_recover_refuses_a_refusal_that_was_not_counted),
        SHARING_TEST(test_recover_refuses_a_slab_whose_heads_are_another_ones),
        SHARING_TEST(test_recover_refuses_a_block_that_its_place_can_not_be),
        SHARING_TEST(test_recover_gives_back_what_was_closed_or_has_no_block),
        SHARING_TEST(test_recover_forgets_an_opening_in_a_lease),
        SHARING_TEST(test_recover_refuses_an_opening_in_another_slab_or_of_another_length),
        SHARING_TEST(test_recover_refuses_a_reserved_run_that_is_too_long),
        SHARING_TEST(test_recover_refuses_a_lease_of_a_slot_that_is_free),
        SHARING_TEST(test_recover_refuses_a_name_of_what_is_no_share_any_more),
        SHARING_TEST(test_recover_of_an_offer_that_is_said_to_be_leased_frees_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
