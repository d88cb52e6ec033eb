/* SPDX-License-Identifier: MIT */
/*
 * test_sharing_check.c - what is shared and does not fit what is there: found by the checker of a
 * running core, and by a server that starts with it
 */
#include "daemon/core/recover.h"
#include "tests/unit/sharing_talk.h"
#include "tests/unit/unit.h"

static char why[FIXTURE_WHY_BYTES];

static struct state_share *record_of(struct seg_off off)
{
    const uint32_t share = shares_at(&core->shares, off);
    assert_true(share != 0);
    return &core->state.shares[share];
}

static void spoil_word(_Atomic uint64_t *where, uint64_t word)
{
    const uint64_t was = atomic_load(where);
    atomic_store(where, word);
    assert_int_equal(sharing_check(core), SHARING_E_CORRUPT);
    assert_int_equal(core_check(core), CORE_E_CORRUPT);
    atomic_store(where, was);
    check();
}

static void spoil(uint32_t *where, uint32_t number)
{
    const uint32_t was = *where;
    *where = number;
    assert_int_equal(sharing_check(core), SHARING_E_CORRUPT);
    *where = was;
    check();
}

static uint64_t with_owner(uint64_t word, uint32_t slot)
{
    return (word & ~((uint64_t)SLOT_NONE << SHARE_OWNER_SHIFT)) | (uint64_t)slot
                                                                      << SHARE_OWNER_SHIFT;
}

static void test_sharing_check_finds_a_direct_share_that_can_not_be(void **state)
{
    const struct seg_off off = new_direct();
    (void)share(alice, off);
    struct state_share *record = record_of(off);
    const uint64_t word = atomic_load(&record->word);

    spoil_word(&record->word, with_owner(word, SLOT_NONE)); /* who has ended holds nothing */
    spoil_word(&record->word, with_owner(word, SLOT_KEPT));
    spoil_word(&record->word, with_owner(word, 7));         /* is no client */
    spoil_word(&record->word, with_owner(word, bob->slot)); /* who does not pay */
    spoil_word(&record->word, word & ~SHARE_OWNER_HOLDS);   /* nothing keeps it */
    spoil_word(&record->word, word | SHARE_KEEP);           /* but it is not offered */
    spoil_word(&record->word, word | SHARE_OFFERED);        /* and held by its owner */
    spoil_word(&record->word, word | SHARE_LEASED);         /* but its pages are direct */
    spoil_word((_Atomic uint64_t *)&record->num_bytes, BLOCK_BYTES + 1);
    spoil(&record->reason, 0);
    spoil((uint32_t *)&record->uid, bob->identity.uid);
    spoil_word((_Atomic uint64_t *)&core->clients.kept->n_blocks, 1);
}

static void test_sharing_check_finds_an_offer_that_can_not_be(void **state)
{
    const struct seg_off off = new_direct();
    (void)transfer(alice, off, true);
    struct state_share *record = record_of(off);
    const uint64_t word = atomic_load(&record->word);

    spoil_word(&record->word, word | SHARE_OWNER_HOLDS);
    spoil_word(&record->word, word & ~SHARE_OFFERED);
}

static void test_sharing_check_finds_an_offer_that_others_hold(void **state)
{
    const struct seg_off off = new_direct();
    const struct share_handle handle = share(alice, off);
    (void)attach(bob, &handle);
    struct state_share *record = record_of(off);
    const uint64_t word = atomic_load(&record->word);
    const uint32_t hold = shares_hold_of(&core->shares, shares_at(&core->shares, off), bob->slot);

    spoil_word(&record->word, (word & ~SHARE_OWNER_HOLDS) | SHARE_OFFERED);
    spoil_word(&core->state.holds[hold].word,
               atomic_load(&core->state.holds[hold].word) | HOLD_GIVEN);
    publish(alice, off, "frame");
    assert_int_equal(release(bob, off), LET_GO_KEPT);
    spoil_word(&record->word, (word & ~SHARE_OWNER_HOLDS) | SHARE_OFFERED);
}

static void test_sharing_check_finds_a_leased_share_that_can_not_be(void **state)
{
    const struct seg_off off = leased_block();
    const struct share_handle handle = share(alice, off);
    struct attached attached;
    assert_int_equal(try_attach(bob, &handle, true, &attached), 0);
    struct state_share *record = record_of(off);
    const uint64_t word = atomic_load(&record->word);

    spoil_word(&record->word, word & ~SHARE_WRITTEN); /* bob writes there */
    spoil_word(&record->word, with_owner(word, SLOT_NONE) & ~SHARE_OWNER_HOLDS);
    spoil_word(&record->word, with_owner(word, bob->slot));
    spoil(&record->span_pages, 100);
    spoil(&record->slab_page, N_PAGES - 1);
    spoil((uint32_t *)&record->uid, bob->identity.uid);
}

static void test_sharing_check_finds_a_return_that_is_not_waited_for(void **state)
{
    const struct seg_off off = leased_block();
    const struct share_handle handle = share(alice, off);
    (void)attach(bob, &handle);
    struct ledger_returns *returns = alice->returns;
    alice->returns = NULL; /* it can be told nothing */
    (void)release(alice, off);
    (void)release(bob, off);
    uint32_t *first = core->returns.first;
    const uint32_t returning = first[alice->slot];
    assert_int_equal(returning, shares_at(&core->shares, off));
    const struct seg_off direct = new_direct();
    (void)share(alice, direct);

    spoil(&first[alice->slot], 0);
    spoil(&first[alice->slot], shares_at(&core->shares, direct));
    first[alice->slot] = 0;
    first[bob->slot] = returning;
    assert_int_equal(sharing_check(core), SHARING_E_CORRUPT);
    first[bob->slot] = 0;
    first[alice->slot] = returning;
    check();
    alice->returns = returns;
    returns_deliver(&core->returns, alice);
    check();
}

/* -------------------------------------------------------------------------------- starting ---- */

static void assert_refused(uint64_t *where, uint64_t number, const char *words)
{
    const uint64_t was = *where;
    *where = number;
    assert_int_not_equal(fixture_restart(&fixture, why), 0);
    assert_non_null(strstr(why, words));
    *where = was;
    assert_int_equal(recover(core, &fixture.config, fixture.state_base, fixture_states, &fixture,
                             fixture.now_ms, why, sizeof(why)),
                     0);
    check();
}

static void test_recover_refuses_a_share_of_a_block_that_is_not_there(void **state)
{
    const struct seg_off off = new_direct();
    (void)share(alice, off);
    assert_refused(&record_of(off)->num_bytes, BLOCK_BYTES + 1, "a shared block is not there");
}

static void test_recover_refuses_a_leased_share_outside_of_its_owners_lease(void **state)
{
    const struct seg_off off = leased_block();
    (void)share(alice, off);
    struct state_share *record = record_of(off);
    assert_refused((uint64_t *)&record->word, with_owner(atomic_load(&record->word), bob->slot),
                   "a shared block is in no lease of its owner");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHARING_TEST(test_sharing_check_finds_a_direct_share_that_can_not_be),
        SHARING_TEST(test_sharing_check_finds_an_offer_that_can_not_be),
        SHARING_TEST(test_sharing_check_finds_an_offer_that_others_hold),
        SHARING_TEST(test_sharing_check_finds_a_leased_share_that_can_not_be),
        SHARING_TEST(test_sharing_check_finds_a_return_that_is_not_waited_for),
        SHARING_TEST(test_recover_refuses_a_share_of_a_block_that_is_not_there),
        SHARING_TEST(test_recover_refuses_a_leased_share_outside_of_its_owners_lease),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
