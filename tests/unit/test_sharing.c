/* SPDX-License-Identifier: MIT */
/*
 * test_sharing.c - who may share, attach, let go and hand over what, and who is charged for it
 */
#include "tests/unit/sharing_talk.h"

/* ----------------------------------------------------------------------------------- share ---- */

static void test_share_the_same_block_again_is_the_same_handle(void **state)
{
    (void)state;
    const struct seg_off offs[] = {new_direct(), leased_block(), off_of(large)};
    for (size_t i = 0; i < 3; i++) {
        const struct share_handle handle = share(alice, offs[i]);
        const struct share_handle again = share(alice, offs[i]);
        assert_memory_equal(&handle, &again, sizeof(handle));
        assert_int_equal(handle.offset, offs[i].bytes);
        assert_int_equal(handle.instance, core->state.header->instance);
    }
    assert_int_equal(core->shares.n_shares, 3);
    assert_int_equal(shares_record(&core->shares, shares_at(&core->shares, offs[2]))->size_class,
                     N_SIZE_CLASSES);
}

static int why_not_shared(struct client *client, struct seg_off off)
{
    const struct sharing of = fixture_sharing(&fixture, client);
    struct share_handle handle;
    struct block block;
    const int r = sharing_share(&of, off, false, &handle, &block);
    check();
    assert_int_equal(core->shares.n_shares, 0);
    return r;
}

static void test_share_what_is_not_ones_own_says_why(void **state)
{
    (void)state;
    const struct seg_off direct = new_direct();
    const struct seg_off leased = leased_block();
    const struct seg_off gone = new_direct();
    fixture_release(&fixture, alice, gone);

    assert_int_equal(why_not_shared(bob, direct), DIRECT_E_FOREIGN);
    assert_int_equal(why_not_shared(bob, leased), DIRECT_E_FOREIGN);
    assert_int_equal(why_not_shared(alice, (struct seg_off){direct.bytes + 16}), DIRECT_E_INTERIOR);
    assert_int_equal(why_not_shared(alice, (struct seg_off){leased.bytes + 16}), DIRECT_E_INTERIOR);
    assert_int_equal(why_not_shared(alice, gone), DIRECT_E_RELEASED);
    assert_int_equal(why_not_shared(alice, off_of(0)), DIRECT_E_WILD);
    assert_int_equal(why_not_shared(alice, off_of(N_PAGES)), DIRECT_E_WILD);
    assert_int_equal(why_not_shared(alice, off_of(lease + 19)), DIRECT_E_WILD);
    assert_int_equal(why_not_shared(alice, (struct seg_off){UINT64_MAX}), DIRECT_E_WILD);
    fixture_release(&fixture, alice, direct);
}

/* A head that lies about where a slab is, while another slab is pinned there. */
static void test_share_beside_a_pinned_slab_of_another_geometry_is_wild(void **state)
{
    (void)state;
    struct ledger *ledger = fixture_ledger(&fixture, alice);
    const struct seg_off off = leased_block();
    (void)share(alice, off);
    const uint32_t other = size_class_of(32);
    ledger->heads[lease].size_class = (uint16_t)other;
    ledger->heads[lease].span_pages = size_classes[other].span_pages;
    ledger->heads[lease].n_carved = 8;
    atomic_store(&ledger_entries(ledger, lease)[3].word, ENTRY_WORD(20, 0));
    const struct sharing of = fixture_sharing(&fixture, alice);
    struct share_handle handle;
    struct block block;

    assert_int_equal(
        sharing_share(&of, (struct seg_off){off_of(lease).bytes + 96}, false, &handle, &block),
        DIRECT_E_WILD);

    check();
    assert_int_equal(core->shares.n_shares, 1);
}

static void test_share_when_no_record_is_left_is_full(void **state)
{
    (void)state;
    const struct seg_off off = new_direct();
    const uint32_t n_records = core->shares.n_share_records;
    core->shares.n_share_records = SHARES_MAX;
    const struct sharing of = fixture_sharing(&fixture, alice);
    struct share_handle handle;
    struct block block;
    assert_int_equal(sharing_share(&of, off, false, &handle, &block), SHARING_E_FULL);
    core->shares.n_share_records = n_records;
    check();
    fixture_release(&fixture, alice, off);
}

/* ---------------------------------------------------------------------------------- attach ---- */

static void test_attach_holds_under_a_reason_of_its_own(void **state)
{
    (void)state;
    const struct seg_off off = new_direct();
    const struct share_handle handle = share(alice, off);

    const struct attached attached = attach(bob, &handle);

    assert_false(attached.is_own);
    assert_false(attached.is_writable);
    assert_memory_equal(&attached.handle, &handle, sizeof(handle));
    const uint32_t hold = shares_held_first(&core->shares, bob->slot);
    size_t n_bytes;
    const char *text =
        reasons_text(&core->reasons, shares_hold_record(&core->shares, hold)->reason, &n_bytes);
    assert_int_equal(n_bytes, 8);
    assert_memory_equal(text, "tracking", 8);
    assert_int_equal(payer_of(off), alice->slot);
    assert_int_equal(bob->n_blocks, 0);
}

static void test_attach_again_is_one_hold_and_may_come_to_write(void **state)
{
    (void)state;
    struct attached attached;
    const struct share_handle handle = share(alice, leased_block());
    assert_false(attach(bob, &handle).is_writable);
    assert_int_equal(try_attach(bob, &handle, true, &attached), 0);
    assert_true(attached.is_writable);
    assert_true(attach(bob, &handle).is_writable);
    assert_int_equal(core->shares.n_holds, 1);
}

static void test_attach_with_another_handle_changes_nothing(void **state)
{
    (void)state;
    struct attached attached;
    const struct share_handle handle = share(alice, new_direct());
    struct share_handle other = handle;
    other.tag ^= 1;
    assert_int_equal(try_attach(bob, &other, false, &attached), SHARING_E_DENIED);
    other = handle;
    other.generation += UINT64_C(1) << SHARE_INDEX_BITS;
    assert_int_equal(try_attach(bob, &other, false, &attached), SHARING_E_STALE);
    other = handle;
    other.instance++;
    assert_int_equal(try_attach(bob, &other, false, &attached), SHARING_E_STALE);
    other = handle;
    other.offset += 16;
    assert_int_equal(try_attach(bob, &other, false, &attached), SHARING_E_STALE);
    assert_int_equal(core->shares.n_holds, 0);
}

static void test_attach_of_what_is_gone_is_stale(void **state)
{
    (void)state;
    struct attached attached;
    const struct seg_off off = new_direct();
    const struct share_handle handle = share(alice, off);
    assert_int_equal(release(alice, off), LET_GO_FREED);
    assert_false(is_there(off));
    assert_int_equal(try_attach(bob, &handle, false, &attached), SHARING_E_STALE);
    assert_int_equal(new_direct().bytes, off.bytes); /* another block at the same place */
    const struct share_handle fresh = share(alice, off);
    assert_int_equal(try_attach(bob, &handle, false, &attached), SHARING_E_STALE);
    assert_int_equal(try_attach(bob, &fresh, false, &attached), 0);
}

static void test_attach_read_only_for_writing_is_denied_but_for_the_owner(void **state)
{
    (void)state;
    const struct sharing of = fixture_sharing(&fixture, alice);
    struct attached attached;
    struct share_handle handle;
    struct block block;
    const struct seg_off off = new_direct();
    assert_int_equal(sharing_share(&of, off, true, &handle, &block), 0);
    assert_int_equal(try_attach(bob, &handle, true, &attached), SHARING_E_DENIED);
    assert_int_equal(core->shares.n_holds, 0);
    assert_int_equal(try_attach(bob, &handle, false, &attached), 0);
    assert_int_equal(try_attach(bob, &handle, true, &attached), SHARING_E_DENIED);
    assert_int_equal(try_attach(alice, &handle, true, &attached), 0);
    assert_true(attached.is_own && attached.is_writable);
    (void)share(alice, off); /* READ_ONLY no more */
    assert_int_equal(try_attach(bob, &handle, true, &attached), 0);
}

static void test_attach_when_no_record_is_left_is_full(void **state)
{
    (void)state;
    struct attached attached;
    const struct share_handle handle = share(alice, new_direct());
    core->shares.n_hold_records = HOLDS_MAX;
    assert_int_equal(sharing_attach(&(struct sharing){.core = core, .client = bob}, &handle, false,
                                    (struct sharing_reason){"", 0}, &attached),
                     SHARING_E_FULL);
    core->shares.n_hold_records = 1;
    check();
}

/* ---------------------------------------------------------------------------------- let go ---- */

static void test_charge_of_a_direct_block_goes_from_hand_to_hand(void **state)
{
    (void)state;
    const struct seg_off off = new_direct();
    const struct share_handle handle = share(alice, off);
    const uint64_t used_bytes = core->direct.used_bytes;
    (void)attach(bob, &handle);
    (void)attach(carol, &handle);

    assert_int_equal(release(alice, off), LET_GO_KEPT);
    const uint32_t first = payer_of(off);
    assert_true(first == bob->slot || first == carol->slot);
    assert_int_equal(alice->n_blocks, 0);
    assert_int_equal(release(clients_get(&core->clients, first), off), LET_GO_KEPT);
    const uint32_t second = payer_of(off);
    assert_true(second != first && (second == bob->slot || second == carol->slot));
    assert_int_equal(core->direct.used_bytes, used_bytes);
    (void)attach(alice, &handle); /* its owner holds it again */
    assert_int_equal(payer_of(off), alice->slot);
    assert_int_equal(release(alice, off), LET_GO_KEPT);
    assert_int_equal(release(clients_get(&core->clients, second), off), LET_GO_FREED);
    assert_false(is_there(off));
    assert_int_equal(core->shares.n_shares, 0);
    assert_int_equal(core->reasons.n_live, 0);
}

static void test_release_by_who_does_not_hold_it_is_foreign(void **state)
{
    (void)state;
    enum let_go let_go;
    const struct seg_off off = leased_block();
    const struct share_handle handle = share(alice, off);
    assert_int_equal(try_release(bob, off, &let_go), DIRECT_E_FOREIGN);
    (void)attach(bob, &handle);
    assert_int_equal(release(alice, off), LET_GO_KEPT);
    assert_int_equal(try_release(alice, off, &let_go), DIRECT_E_FOREIGN);
    assert_int_equal(try_release(carol, off, &let_go), DIRECT_E_FOREIGN);
}

/* A leased block that its owner alone holds is its own to take home: it does not come, too. */
static void test_release_of_a_leased_block_by_its_owner_alone_is_home(void **state)
{
    (void)state;
    const struct seg_off off = leased_block();
    (void)share(alice, off);
    assert_true(shares_is_pinned(&core->shares, lease, 1));
    assert_int_equal(release(alice, off), LET_GO_FREED);
    assert_false(shares_is_pinned(&core->shares, lease, 1));
    assert_int_equal(atomic_load(&alice->returns->n_put), 0);
    assert_int_equal(core->shares.n_shares, 0);
}

static void test_release_of_a_leased_block_by_the_last_holder_goes_home(void **state)
{
    (void)state;
    const struct seg_off off = off_of(large);
    const struct share_handle handle = share(alice, off);
    (void)attach(bob, &handle);
    (void)attach(carol, &handle);
    assert_int_equal(release(alice, off), LET_GO_KEPT);
    assert_int_equal(release(bob, off), LET_GO_KEPT);
    assert_int_equal(atomic_load(&alice->returns->n_put), 0);
    assert_int_equal(release(carol, off), LET_GO_FREED);
    assert_int_equal(atomic_load(&alice->returns->n_put), 1);
    assert_int_equal(atomic_load(&alice->returns->offsets[0]), off.bytes);
    assert_int_equal(core->shares.n_shares, 0);
    assert_false(sharing_is_shared(core, off));
}

static void test_release_writes_down_what_it_comes_to(void **state)
{
    (void)state;
    struct sharing of = fixture_sharing(&fixture, bob);
    enum let_go let_go;
    struct block block;
    const struct seg_off off = new_direct();
    const struct share_handle handle = share(alice, off);
    (void)attach(bob, &handle);
    of.sequence = 7;
    assert_int_equal(sharing_release(&of, off, &let_go, &block), 0);
    const struct intent intent = clients_intent(&core->clients, bob->slot);
    assert_int_equal(intent.kind, INTENT_RELEASE);
    assert_int_equal(intent.at, off.bytes);
    assert_int_equal(intent.n_pages, SHARING_INTENT(LET_GO_KEPT));
    assert_int_equal(bob->sequence, 7);
    check();
}

/* ------------------------------------------------------------------------------- hand over ---- */

static void test_transfer_of_a_direct_block_to_the_first_to_attach(void **state)
{
    (void)state;
    enum let_go let_go;
    struct attached attached;
    const struct seg_off off = new_direct();
    const struct share_handle handle = transfer(alice, off, false);
    assert_int_equal(payer_of(off), alice->slot); /* in between it is the sender's */
    assert_int_equal(try_release(alice, off, &let_go), DIRECT_E_FOREIGN);
    assert_int_equal(try_attach(bob, &handle, false, &attached), 0);
    assert_true(attached.is_writable);
    assert_int_equal(payer_of(off), bob->slot);
    assert_int_equal(alice->n_blocks, 0);
    /* It is bob's now: he may share it, publish it, hand it on. */
    const struct share_handle again = share(bob, off);
    assert_memory_equal(&again, &handle, sizeof(handle));
    assert_int_equal(try_attach(alice, &handle, false, &attached), 0);
    assert_int_equal(try_transfer(alice, off, false, &(struct share_handle){0}), DIRECT_E_FOREIGN);
    assert_int_equal(try_transfer(bob, off, false, &(struct share_handle){0}), SHARING_E_HELD);
    assert_int_equal(release(alice, off), LET_GO_KEPT);
    (void)transfer(bob, off, false);
    assert_int_equal(payer_of(off), bob->slot);
    (void)attach(carol, &handle);
    assert_int_equal(payer_of(off), carol->slot);
    assert_int_equal(release(carol, off), LET_GO_FREED);
}

static void test_transfer_of_a_leased_block_on_and_home(void **state)
{
    (void)state;
    const struct seg_off off = leased_block();
    const struct share_handle handle = transfer(alice, off, false);
    (void)attach(bob, &handle);
    (void)transfer(bob, off, false);
    (void)attach(carol, &handle);
    assert_int_equal(core->shares.n_holds, 1);
    (void)share(carol, off);
    assert_int_equal(release(carol, off), LET_GO_FREED);
    assert_int_equal(atomic_load(&alice->returns->n_put), 1);
    assert_int_equal(core->shares.n_holds, 0);
}

static void test_transfer_of_what_others_hold_is_held(void **state)
{
    (void)state;
    struct share_handle handle;
    const struct seg_off off = new_direct();
    const struct share_handle shared = share(alice, off);
    (void)attach(bob, &shared);
    assert_int_equal(try_transfer(alice, off, false, &handle), SHARING_E_HELD);
    assert_int_equal(try_transfer(bob, off, false, &handle), DIRECT_E_FOREIGN);
    assert_int_equal(release(bob, off), LET_GO_KEPT);
    publish(alice, off, "frame");
    assert_int_equal(try_transfer(alice, off, false, &handle), SHARING_E_HELD);
    assert_int_equal(unpublish(alice, "frame"), 0);
    assert_int_equal(try_transfer(alice, off, false, &handle), 0);
}

static void test_transfer_back_to_who_offered(void **state)
{
    (void)state;
    const struct seg_off offs[] = {new_direct(), leased_block()};
    for (size_t i = 0; i < 2; i++) {
        const struct share_handle handle = transfer(alice, offs[i], false);
        assert_true(attach(alice, &handle).is_own);
        (void)transfer(alice, offs[i], true);
        (void)attach(bob, &handle);
        (void)transfer(bob, offs[i], false);
        assert_true(attach(bob, &handle).is_writable);
        assert_int_equal(release(bob, offs[i]), LET_GO_FREED);
    }
    assert_int_equal(core->shares.n_shares, 0);
}

static void test_offer_ends_with_who_made_it_unless_it_is_kept(void **state)
{
    (void)state;
    struct attached attached;
    const struct seg_off gone = fixture_allocate(&fixture, bob, BLOCK_BYTES, "gone");
    const struct seg_off kept = fixture_allocate(&fixture, bob, BLOCK_BYTES, "kept");
    const struct share_handle gone_handle = transfer(bob, gone, false);
    const struct share_handle kept_handle = transfer(bob, kept, true);
    die(bob);
    assert_false(is_there(gone));
    assert_int_equal(try_attach(carol, &gone_handle, false, &attached), SHARING_E_STALE);
    assert_int_equal(payer_of(kept), SLOT_KEPT);
    restart();
    assert_int_equal(payer_of(kept), SLOT_KEPT);
    (void)attach(carol, &kept_handle);
    assert_int_equal(payer_of(kept), carol->slot);
}

static void test_offer_of_a_holder_ends_with_it_unless_it_is_kept(void **state)
{
    (void)state;
    struct attached attached;
    const struct seg_off offs[] = {leased_block(), leased_block(), new_direct(), new_direct()};
    struct share_handle handles[4];
    for (size_t i = 0; i < 4; i++) {
        handles[i] = transfer(alice, offs[i], false);
        (void)attach(bob, &handles[i]);
        (void)transfer(bob, offs[i], i % 2 == 1);
    }
    die(bob);
    assert_int_equal(atomic_load(&alice->returns->n_put), 1);
    assert_false(is_there(offs[2]));
    assert_int_equal(payer_of(offs[3]), SLOT_KEPT);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(try_attach(carol, &handles[i], false, &attached),
                         i % 2 == 1 ? 0 : SHARING_E_STALE);
    }
}

/* A core without a shell rings nobody. */
static void test_publish_without_bells(void **state)
{
    (void)state;
    const struct seg_off off = new_direct();
    const uint32_t n_rung = fixture.n_rung;
    core->config.ring = NULL;
    publish(alice, off, "frame");
    assert_int_equal(fixture.n_rung, n_rung);
    assert_int_equal(unpublish(alice, "frame"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHARING_TEST(test_share_the_same_block_again_is_the_same_handle),
        SHARING_TEST(test_share_what_is_not_ones_own_says_why),
        SHARING_TEST(test_share_beside_a_pinned_slab_of_another_geometry_is_wild),
        SHARING_TEST(test_share_when_no_record_is_left_is_full),
        SHARING_TEST(test_attach_holds_under_a_reason_of_its_own),
        SHARING_TEST(test_attach_again_is_one_hold_and_may_come_to_write),
        SHARING_TEST(test_attach_with_another_handle_changes_nothing),
        SHARING_TEST(test_attach_of_what_is_gone_is_stale),
        SHARING_TEST(test_attach_read_only_for_writing_is_denied_but_for_the_owner),
        SHARING_TEST(test_attach_when_no_record_is_left_is_full),
        SHARING_TEST(test_charge_of_a_direct_block_goes_from_hand_to_hand),
        SHARING_TEST(test_release_by_who_does_not_hold_it_is_foreign),
        SHARING_TEST(test_release_of_a_leased_block_by_its_owner_alone_is_home),
        SHARING_TEST(test_release_of_a_leased_block_by_the_last_holder_goes_home),
        SHARING_TEST(test_release_writes_down_what_it_comes_to),
        SHARING_TEST(test_transfer_of_a_direct_block_to_the_first_to_attach),
        SHARING_TEST(test_transfer_of_a_leased_block_on_and_home),
        SHARING_TEST(test_transfer_of_what_others_hold_is_held),
        SHARING_TEST(test_transfer_back_to_who_offered),
        SHARING_TEST(test_offer_ends_with_who_made_it_unless_it_is_kept),
        SHARING_TEST(test_offer_of_a_holder_ends_with_it_unless_it_is_kept),
        SHARING_TEST(test_publish_without_bells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
