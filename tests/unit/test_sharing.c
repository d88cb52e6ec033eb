/* SPDX-License-Identifier: MIT */
/*
 * test_sharing.c - who may share, attach, let go and hand over what, and who is charged for it
 *
 * core_check() after each step wants what sharing.h says must be true.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/core/settle.h"
#include "daemon/core/sharing.h"
#include "tests/unit/fixture.h"

#define N_PAGES 256
#define BLOCK_BYTES 1000

static struct fixture fixture;
static struct core *const core = &fixture.core;
static struct client *alice;
static struct client *bob;
static struct client *carol;
static uint32_t lease; /* alice's: a slab for BLOCK_BYTES, and behind it a large block */
static uint32_t large;

static int sharing_setup(void **state)
{
    (void)state;
    const uint32_t size_class = size_class_of(BLOCK_BYTES);
    fixture_init(&fixture, N_PAGES, 8);
    alice = fixture_join(&fixture, 1);
    bob = fixture_join(&fixture, 2);
    carol = fixture_join(&fixture, 4);
    (void)fixture_ledger(&fixture, alice);
    (void)fixture_ledger(&fixture, bob);
    (void)fixture_ledger(&fixture, carol);
    lease = fixture_lease(&fixture, alice, 20);
    fixture_carve(&fixture, alice, lease, size_class);
    large = lease + size_classes[size_class].span_pages;
    fixture_carve_large(&fixture, alice, large, 3, 40000);
    return 0;
}

static int sharing_teardown(void **state)
{
    (void)state;
    fixture_fini(&fixture);
    return 0;
}

static void check(void)
{
    assert_int_equal(core_check(core), 0);
}

static struct seg_off off_of(uint32_t page)
{
    return (struct seg_off){(uint64_t)page << PAGE_SHIFT};
}

/* A direct block of alice's. */
static struct seg_off new_direct(void)
{
    return fixture_allocate(&fixture, alice, BLOCK_BYTES, "frame");
}

/* One of her lease. */
static struct seg_off leased_block(void)
{
    return fixture_take(&fixture, alice, lease, BLOCK_BYTES);
}

/* ----------------------------------------------------------------------------- transcripts ---- */

static struct share_handle share(struct client *client, struct seg_off off)
{
    const struct sharing of = fixture_sharing(&fixture, client);
    struct share_handle handle;
    struct block block;
    assert_int_equal(sharing_share(&of, off, false, &handle, &block), 0);
    check();
    return handle;
}

static int try_attach(struct client *client, const struct share_handle *handle, bool write,
                      struct attached *ret_attached)
{
    const struct sharing of = fixture_sharing(&fixture, client);
    const struct sharing_reason reason = {"tracking", 8};
    const int r = sharing_attach(&of, handle, write, reason, ret_attached);
    check();
    return r;
}

static struct attached attach(struct client *client, const struct share_handle *handle)
{
    struct attached attached;
    assert_int_equal(try_attach(client, handle, false, &attached), 0);
    return attached;
}

static int try_release(struct client *client, struct seg_off off, enum let_go *ret_let_go)
{
    const struct sharing of = fixture_sharing(&fixture, client);
    struct block block;
    const int r = sharing_release(&of, off, ret_let_go, &block);
    assert_int_equal(block.off.bytes, off.bytes);
    check();
    return r;
}

static enum let_go release(struct client *client, struct seg_off off)
{
    enum let_go let_go;
    assert_int_equal(try_release(client, off, &let_go), 0);
    return let_go;
}

static int try_transfer(struct client *client, struct seg_off off, bool keep,
                        struct share_handle *ret_handle)
{
    const struct sharing of = fixture_sharing(&fixture, client);
    struct block block;
    const int r = sharing_transfer(&of, off, keep, ret_handle, &block);
    check();
    return r;
}

static struct share_handle transfer(struct client *client, struct seg_off off, bool keep)
{
    struct share_handle handle;
    assert_int_equal(try_transfer(client, off, keep, &handle), 0);
    return handle;
}

static int try_publish(struct client *client, struct seg_off off, const char *text, bool keep,
                       bool exclusive)
{
    const struct sharing of = fixture_sharing(&fixture, client);
    const struct sharing_name name = {text, strlen(text), keep, exclusive};
    struct block block;
    const int r = sharing_publish(&of, off, &name, names_version(&core->names), &block);
    check();
    return r;
}

static void publish(struct client *client, struct seg_off off, const char *text)
{
    assert_int_equal(try_publish(client, off, text, false, false), 0);
}

static int next(struct client *client, const char *text, uint64_t *version)
{
    const struct sharing of = fixture_sharing(&fixture, client);
    struct attached attached;
    const int r = sharing_next(&of, text, strlen(text), *version, false,
                               (struct sharing_reason){"viewer", 6}, &attached, version);
    check();
    return r;
}

static int unpublish(struct client *client, const char *text)
{
    const struct sharing of = fixture_sharing(&fixture, client);
    const int r = sharing_unpublish(&of, text, strlen(text));
    check();
    return r;
}

static void end(struct client *client)
{
    core_end(core, client, false, fixture.now_ms);
    check();
    while (core_has_dead(core)) {
        fixture_reap(&fixture, 1);
        check();
    }
}

/* The client of a slot in the tables of now; the old pointer if it has been buried. */
static void find_again(struct client **client, uint32_t slot)
{
    if (clients_has(&core->clients, slot)) {
        *client = clients_get(&core->clients, slot);
    }
}

static void restart(void)
{
    char why[FIXTURE_WHY_BYTES];
    assert_int_equal(fixture_restart(&fixture, why), 0);
    find_again(&alice, 0);
    find_again(&bob, 1);
    find_again(&carol, 2);
}

/* Who is charged for a direct block. */
static uint32_t payer_of(struct seg_off off)
{
    struct block block;
    assert_true(settle_block(core, shares_at(&core->shares, off), &block));
    return block.slot;
}

static bool is_there(struct seg_off off)
{
    struct block block;
    const int r = direct_find(&core->direct, alice, off, &block);
    return r == 0 || r == DIRECT_E_FOREIGN;
}

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

/* A leased block that its owner alone holds is its own to take home, and does not come home twice. */
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

/* -------------------------------------------------------------------------------- hand over ---- */

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
    end(bob);
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
    end(bob);
    assert_int_equal(atomic_load(&alice->returns->n_put), 1);
    assert_false(is_there(offs[2]));
    assert_int_equal(payer_of(offs[3]), SLOT_KEPT);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(try_attach(carol, &handles[i], false, &attached),
                         i % 2 == 1 ? 0 : SHARING_E_STALE);
    }
}

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
            assert_int_equal(payer_of(frame), SLOT_KEPT);
        }
        assert_int_equal(fixture.n_rung, i + 1);
        assert_int_equal(next(bob, "camera", &version), 0);
        assert_int_equal(next(bob, "camera", &version), SHARING_E_OLD);
        if (i % 2 == 0) {
            assert_int_equal(payer_of(frame), bob->slot);
        }
        if (i > 0) {
            assert_int_equal(release(bob, former), LET_GO_FREED);
        }
    }
    assert_int_equal(release(bob, frame), LET_GO_KEPT);
    assert_int_equal(unpublish(alice, "camera"), 0);
    assert_int_equal(next(bob, "camera", &version), SHARING_E_NONE);
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

static void test_publish_with_a_version_that_is_there_is_done(void **state)
{
    (void)state;
    const struct sharing of = fixture_sharing(&fixture, alice);
    const struct sharing_name name = {"frame", 5, false, false};
    const struct seg_off off = new_direct();
    struct block block;
    const uint64_t version = names_version(&core->names);
    assert_int_equal(sharing_publish(&of, off, &name, version, &block), 0);
    assert_int_equal(sharing_publish(&of, off, &name, version, &block), 0);
    assert_int_equal(fixture.n_rung, 1);
    check();
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
    end(alice);
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
    end(alice);
    assert_int_equal(next(bob, "gone", &version), SHARING_E_NONE);
    assert_int_equal(payer_of(off), SLOT_KEPT);
    assert_int_equal(next(bob, "kept", &version), 0);
    assert_int_equal(payer_of(off), bob->slot);
    assert_int_equal(release(bob, off), LET_GO_KEPT);
    assert_int_equal(unpublish(carol, "kept"), 0);
    assert_false(is_there(off));
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
    end(bob);
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
    end(bob);
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
    end(alice);
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

#define SHARING_TEST(test) cmocka_unit_test_setup_teardown(test, sharing_setup, sharing_teardown)

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
        SHARING_TEST(test_publish_and_next_of_each_frame),
        SHARING_TEST(test_publish_of_what_one_does_not_hold_says_why),
        SHARING_TEST(test_publish_exclusive_of_anothers_name_exists),
        SHARING_TEST(test_publish_when_no_name_is_left_is_full),
        SHARING_TEST(test_publish_with_a_version_that_is_there_is_done),
        SHARING_TEST(test_unpublish_by_whom),
        SHARING_TEST(test_names_end_with_their_owner_unless_they_are_kept),
        SHARING_TEST(test_end_of_an_owner_of_direct_blocks),
        SHARING_TEST(test_end_of_the_last_holder),
        SHARING_TEST(test_end_of_who_holds_ten_thousand_is_reaped_in_steps),
        SHARING_TEST(test_restart_keeps_what_is_shared),
        SHARING_TEST(test_end_of_the_segment_ends_what_is_kept),
        SHARING_TEST(test_restart_of_a_holder_without_ledger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
