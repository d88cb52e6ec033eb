/* SPDX-License-Identifier: MIT */
/*
 * test_sharing_ends.c - blocks by name, and what becomes of what is shared when somebody ends
 */
#include "tests/unit/sharing_talk.h"

/* ----------------------------------------------------------------------------------- names ---- */

static void test_publish_and_next_of_each_frame(void **state)
{
    (void)state;
    uint64_t version = 0;
    struct seg_off frame = {0};
    for (uint32_t i = 0; i < 20; i++) {
        const struct seg_off former = frame;
        frame = i % 2 == 0 ? new_direct() : leased_block();
        publish(alice, frame, "camera");
        assert_int_equal(release(alice, frame), LET_GO_KEPT); /* the name holds it */
        if (i % 2 == 0) {
            assert_int_equal(payer_of(frame), alice->slot);
        }
        assert_int_equal(fixture.n_rung, i + 1);
        assert_int_equal(next(bob, "camera", &version), 0);
        assert_int_equal(next(bob, "camera", &version), FIXTURE_E_OLD);
        if (i % 2 == 0) {
            assert_int_equal(payer_of(frame), bob->slot);
        }
        if (i > 0) {
            assert_int_equal(release(bob, former), LET_GO_FREED);
        }
    }
    assert_int_equal(release(bob, frame), LET_GO_KEPT);
    assert_int_equal(unpublish(alice, "camera"), 0);
    assert_int_equal(next(bob, "camera", &version), FIXTURE_E_NO_NAME);
    assert_int_equal(unpublish(alice, "camera"), SHARING_E_NONE);
    assert_int_equal(core->shares.n_shares, 0);
    assert_int_equal(core->direct.n_blocks, 0);
    assert_int_equal(atomic_load(&alice->returns->n_put), 10);
}

static void test_publish_of_what_one_does_not_hold_says_why(void **state)
{
    (void)state;
    const struct seg_off off = new_direct();
    assert_int_equal(try_publish(bob, off, "frame", false, false), DIRECT_E_FOREIGN);
    (void)share(alice, off);
    assert_int_equal(try_publish(bob, off, "frame", false, false), DIRECT_E_FOREIGN);
    assert_int_equal(try_publish(alice, off_of(0), "frame", false, false), DIRECT_E_WILD);
    assert_int_equal(core->names.n_names, 0);
}

static void test_publish_exclusive_of_anothers_name_exists(void **state)
{
    (void)state;
    const struct seg_off mine = new_direct();
    const struct seg_off yours = fixture_allocate(&fixture, bob, BLOCK_BYTES, "yours");
    publish(alice, mine, "frame");
    assert_int_equal(try_publish(bob, yours, "frame", false, true), SHARING_E_EXISTS);
    assert_int_equal(core->shares.n_shares, 1); /* nothing was shared for it */
    assert_int_equal(try_publish(alice, mine, "frame", false, true), 0);
    assert_int_equal(try_publish(bob, yours, "frame", false, false), 0);
    assert_int_equal(names_owner(&core->names, names_find(&core->names, "frame", 5)), bob->slot);
}

static void test_publish_when_no_name_is_left_is_full(void **state)
{
    (void)state;
    const struct seg_off off = new_direct();
    core->names.limit = 1;
    publish(alice, off, "one");
    assert_int_equal(
        try_publish(bob, fixture_allocate(&fixture, bob, 100, "two"), "two", false, false),
        SHARING_E_FULL);
    publish(alice, off, "one");
    assert_int_equal(core->shares.n_shares, 1);
}

static void test_unpublish_by_whom(void **state)
{
    (void)state;
    struct client *dave = fixture_join(&fixture, 7); /* of alice's user, as carol */
    publish(alice, new_direct(), "frame");
    assert_int_equal(unpublish(bob, "frame"), SHARING_E_DENIED);
    assert_int_equal(unpublish(dave, "frame"), 0);
    publish(alice, new_direct(), "frame");
    core->config.owner_uid = bob->identity.uid;
    assert_int_equal(unpublish(bob, "frame"), 0);
    core->config.owner_uid = 0;
    /* Its owner has ended: the user is still known, over a restart, too. */
    assert_int_equal(try_publish(alice, new_direct(), "kept", true, false), 0);
    die(alice);
    restart();
    assert_int_equal(unpublish(bob, "kept"), SHARING_E_DENIED);
    assert_int_equal(unpublish(carol, "kept"), 0);
}

static void test_names_end_with_their_owner_unless_they_are_kept(void **state)
{
    (void)state;
    uint64_t version = 0;
    const struct seg_off off = new_direct();
    assert_int_equal(try_publish(alice, off, "kept", true, false), 0);
    publish(alice, off, "gone");
    die(alice);
    assert_int_equal(next(bob, "gone", &version), FIXTURE_E_NO_NAME);
    assert_int_equal(payer_of(off), SLOT_KEPT);
    assert_int_equal(next(bob, "kept", &version), 0);
    assert_int_equal(payer_of(off), bob->slot);
    assert_int_equal(release(bob, off), LET_GO_KEPT);
    assert_int_equal(unpublish(carol, "kept"), 0);
    assert_false(is_there(off));
}

/* Else it would have as much as it likes, whatever its quota is. */
static void test_what_a_name_alone_keeps_is_charged_to_its_publisher(void **state)
{
    (void)state;
    core->config.quota_bytes = UINT64_C(10) * BLOCK_BYTES;
    struct seg_off offs[10];
    for (size_t i = 0; i < 10; i++) {
        const char text[] = {(char)('a' + i), '\0'};
        assert_true(accounts_may_have(&core->accounts, bob, core->config.quota_bytes, BLOCK_BYTES));
        offs[i] = fixture_allocate(&fixture, bob, BLOCK_BYTES, "frame");
        publish(bob, offs[i], text);
        assert_int_equal(release(bob, offs[i]), LET_GO_KEPT);
        assert_int_equal(payer_of(offs[i]), bob->slot);
    }
    assert_false(accounts_may_have(&core->accounts, bob, core->config.quota_bytes, BLOCK_BYTES));
    assert_int_equal(core->clients.kept->n_blocks, 0);
    restart();
    assert_int_equal(bob->num_bytes, 10 * BLOCK_BYTES);
    assert_int_equal(unpublish(bob, "a"), 0);
    assert_true(accounts_may_have(&core->accounts, bob, core->config.quota_bytes, BLOCK_BYTES));
    die(bob);
    assert_int_equal(core->direct.n_blocks, 0);
    assert_int_equal(core->shares.n_shares, 0);
}

static void test_what_names_of_two_keep_is_charged_to_one_after_the_other(void **state)
{
    (void)state;
    const struct seg_off off = new_direct();
    const struct share_handle handle = share(alice, off);
    assert_int_equal(try_publish(alice, off, "alice's", true, false), 0);
    assert_int_equal(release(alice, off), LET_GO_KEPT);
    (void)attach(bob, &handle);
    publish(bob, off, "bob's");
    assert_int_equal(payer_of(off), bob->slot); /* who holds it */
    assert_int_equal(release(bob, off), LET_GO_KEPT);
    assert_int_equal(payer_of(off), alice->slot); /* whose name is the older one */
    restart();
    assert_int_equal(payer_of(off), alice->slot);
    die(alice);
    assert_int_equal(payer_of(off), bob->slot);
    die(bob);
    assert_int_equal(payer_of(off), SLOT_KEPT);
    restart();
    assert_int_equal(payer_of(off), SLOT_KEPT);
    assert_int_equal(unpublish(carol, "alice's"), 0);
    assert_false(is_there(off));
}

/* It was let go of in time: nobody has forgotten it. */
static void test_what_ends_with_a_name_was_not_left_unreleased(void **state)
{
    (void)state;
    const struct seg_off off = fixture_allocate(&fixture, bob, BLOCK_BYTES, "frame");
    publish(bob, off, "frame");
    assert_int_equal(release(bob, off), LET_GO_KEPT);
    die(bob);
    assert_false(is_there(off));
    assert_int_equal(obituaries_next(&core->obituaries, 0)->n_blocks, 0);
}

/* ---------------------------------------------------------------------------------- deaths ---- */

/* Direct blocks that others hold are theirs, the rest is taken back, and only that is told of. */
static void test_end_of_an_owner_of_direct_blocks(void **state)
{
    (void)state;
    const struct seg_off held = fixture_allocate(&fixture, bob, BLOCK_BYTES, "held");
    const struct seg_off shared = fixture_allocate(&fixture, bob, BLOCK_BYTES, "shared");
    const struct share_handle handle = share(bob, held);
    (void)share(bob, shared);
    (void)attach(alice, &handle);
    die(bob);
    assert_true(is_there(held));
    assert_false(is_there(shared));
    assert_int_equal(payer_of(held), alice->slot);
    assert_int_equal(fixture.last.n_blocks, 1);
    assert_string_equal(fixture.last.rows[0].reason, "shared");
    assert_int_equal(release(alice, held), LET_GO_FREED);
}

/* The last holder ends: the block was its own, and is told of as such. */
static void test_end_of_the_last_holder(void **state)
{
    (void)state;
    const struct seg_off direct = new_direct();
    const struct seg_off leased = leased_block();
    const struct share_handle handles[] = {share(alice, direct), share(alice, leased)};
    (void)attach(bob, &handles[0]);
    (void)attach(bob, &handles[1]);
    assert_int_equal(release(alice, direct), LET_GO_KEPT);
    assert_int_equal(release(alice, leased), LET_GO_KEPT);
    die(bob);
    assert_false(is_there(direct));
    assert_int_equal(fixture.last.n_blocks, 1);
    assert_int_equal(atomic_load(&alice->returns->n_put), 1);
    assert_int_equal(core->shares.n_shares, 0);
}

static void test_end_of_who_holds_ten_thousand_is_reaped_in_steps(void **state)
{
    (void)state;
    enum { N_HELD = 10000 };
    uint32_t n_steps = 0;
    for (uint32_t i = 0; i < N_HELD; i++) {
        struct sharing of = fixture_sharing(&fixture, alice);
        const struct seg_off off = fixture_allocate(&fixture, alice, 16, "many");
        struct share_handle handle;
        struct block block;
        struct attached attached;
        assert_int_equal(sharing_share(&of, off, false, &handle, &block), 0);
        of.client = bob;
        assert_int_equal(
            sharing_attach(&of, &handle, false, (struct sharing_reason){"", 0}, &attached), 0);
    }
    core_end(core, bob, false, fixture.now_ms);
    for (; fixture.n_buried == 0; n_steps++) {
        const uint32_t n_holds = core->shares.n_holds;
        fixture_reap(&fixture, 4000);
        assert_true(n_holds - core->shares.n_holds <= 4000 / 40 + 1);
    }
    assert_int_equal(core->shares.n_holds, 0);
    assert_true(n_steps >= 100);
    check();
}

static void test_restart_keeps_what_is_shared(void **state)
{
    (void)state;
    const struct seg_off direct = new_direct();
    const struct seg_off leased = leased_block();
    const struct share_handle handles[] = {share(alice, direct), share(alice, leased)};
    (void)attach(bob, &handles[0]);
    (void)attach(bob, &handles[1]);
    publish(alice, direct, "frame");
    assert_int_equal(release(alice, direct), LET_GO_KEPT);
    restart();
    assert_int_equal(payer_of(direct), bob->slot);
    assert_true(shares_is_pinned(&core->shares, lease, 1));
    (void)attach(carol, &handles[0]);
    (void)attach(carol, &handles[1]);
    assert_int_equal(core->shares.n_holds, 4);
}

/* fixture_fini() ends the segment: what is left then must be free. */
static void test_end_of_the_segment_ends_what_is_kept(void **state)
{
    (void)state;
    assert_int_equal(try_publish(alice, new_direct(), "kept", true, false), 0);
    assert_int_equal(try_publish(alice, leased_block(), "too", true, false), 0);
    (void)transfer(alice, new_direct(), true);
    die(alice);
    assert_int_equal(core->shares.n_shares, 3);
    assert_int_equal(core->clients.kept->n_blocks, 3);
}

/* A client whose ledger is lost, and that holds what others share, holds something. */
static int watch_that_lives(uint32_t slot, const struct client_identity *identity, void *user)
{
    (void)slot;
    (void)identity;
    (void)user;
    return 0;
}

static void test_restart_of_a_holder_without_ledger(void **state)
{
    (void)state;
    const struct share_handle handle = share(alice, new_direct());
    (void)attach(bob, &handle);
    fixture_ledger_close(&fixture, bob->slot);
    fixture.config.watch = watch_that_lives;
    restart();
    assert_int_equal(bob->client_state, CLIENT_LIVE);
    assert_true(bob->lost);
    assert_int_equal(core->shares.n_holds, 1);
}

static void test_sharing_has_any_of_who_owns_holds_or_has_named(void **state)
{
    (void)state;
    const struct seg_off off = new_direct();
    assert_false(sharing_has_any(core, alice->slot));
    const struct share_handle handle = share(alice, off);
    assert_true(sharing_has_any(core, alice->slot));
    (void)attach(bob, &handle);
    assert_true(sharing_has_any(core, bob->slot));
    publish(carol, fixture_allocate(&fixture, carol, 100, "named"), "name");
    assert_true(sharing_has_any(core, carol->slot));
    assert_int_equal(unpublish(carol, "name"), 0);
}

static void test_sharing_is_full_is_told_from_what_comes_before_and_behind(void **state)
{
    (void)state;
    assert_false(sharing_is_full(SHARING_E_FULL - 1));
    assert_true(sharing_is_full(SHARING_E_FULL));
    assert_true(sharing_is_full(SHARING_E_USER_NAMES));
    assert_false(sharing_is_full(SHARING_E_USER_NAMES + 1));
}

static void test_attach_by_a_reader_writes_nowhere_and_takes_no_offer(void **state)
{
    (void)state;
    struct attached attached;
    const struct share_handle handle = share(alice, new_direct());
    const struct seg_off off = new_direct();
    const struct share_handle offered = transfer(alice, off, false);
    bob->identity.is_reader = true;
    assert_int_equal(try_attach(bob, &handle, true, &attached), SHARING_E_DENIED);
    assert_int_equal(try_attach(bob, &offered, false, &attached), SHARING_E_DENIED);
    bob->identity.is_reader = false;
    assert_int_equal(try_attach(bob, &offered, false, &attached), 0);
}

static void test_attach_of_an_offer_beyond_the_users_holds_leaves_it_offered(void **state)
{
    (void)state;
    static const uint32_t one[N_CAPS] = {[CAP_HOLDS] = 1};
    static const uint32_t none[N_CAPS];
    struct attached attached;
    const struct share_handle handle = share(alice, new_direct());
    const struct share_handle offered = transfer(alice, new_direct(), false);
    (void)attach(bob, &handle);
    caps_set(&core->caps, one);
    assert_int_equal(try_attach(bob, &offered, true, &attached), SHARING_E_USER_HOLDS);
    caps_set(&core->caps, none);
    assert_int_equal(try_attach(bob, &offered, true, &attached), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHARING_TEST(test_publish_and_next_of_each_frame),
        SHARING_TEST(test_publish_of_what_one_does_not_hold_says_why),
        SHARING_TEST(test_publish_exclusive_of_anothers_name_exists),
        SHARING_TEST(test_publish_when_no_name_is_left_is_full),
        SHARING_TEST(test_unpublish_by_whom),
        SHARING_TEST(test_names_end_with_their_owner_unless_they_are_kept),
        SHARING_TEST(test_what_a_name_alone_keeps_is_charged_to_its_publisher),
        SHARING_TEST(test_what_names_of_two_keep_is_charged_to_one_after_the_other),
        SHARING_TEST(test_what_ends_with_a_name_was_not_left_unreleased),
        SHARING_TEST(test_end_of_an_owner_of_direct_blocks),
        SHARING_TEST(test_end_of_the_last_holder),
        SHARING_TEST(test_end_of_who_holds_ten_thousand_is_reaped_in_steps),
        SHARING_TEST(test_restart_keeps_what_is_shared),
        SHARING_TEST(test_end_of_the_segment_ends_what_is_kept),
        SHARING_TEST(test_restart_of_a_holder_without_ledger),
        SHARING_TEST(test_sharing_has_any_of_who_owns_holds_or_has_named),
        SHARING_TEST(test_sharing_is_full_is_told_from_what_comes_before_and_behind),
        SHARING_TEST(test_attach_by_a_reader_writes_nowhere_and_takes_no_offer),
        SHARING_TEST(test_attach_of_an_offer_beyond_the_users_holds_leaves_it_offered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
