/* SPDX-License-Identifier: MIT */
#include "tests/crash/sharing_scenes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/core/settle.h"

#define N_PAGES 64
#define BLOCK_BYTES 1000

/* ------------------------------------------------------------------------------- the scene ---- */

enum { ALICE, BOB, CAROL, N_CLIENTS };

struct fixture fixture;
struct core *const core = &fixture.core;
static uint32_t lease; /* alice's: a slab for BLOCK_BYTES, and behind it a large block */
static uint32_t large;
static struct seg_off direct; /* alice's */
static struct seg_off leased;
static struct seg_off leased_too;
static struct share_handle handle;
static uint64_t version;
bool is_told;

static struct client *of(uint32_t who)
{
    return clients_get(&core->clients, who);
}

static struct seg_off off_of(uint32_t page)
{
    return (struct seg_off){(uint64_t)page << PAGE_SHIFT};
}

static uint32_t share_at(struct seg_off off)
{
    return shares_at(&core->shares, off);
}

void scene_begin(void)
{
    const uint32_t size_class = size_class_of(BLOCK_BYTES);
    fixture_init(&fixture, N_PAGES, 8);
    for (uint32_t who = 0; who < N_CLIENTS; who++) {
        (void)fixture_ledger(&fixture, fixture_join(&fixture, 1 + who));
    }
    lease = fixture_lease(&fixture, of(ALICE), 7);
    fixture_carve(&fixture, of(ALICE), lease, size_class);
    leased = fixture_take(&fixture, of(ALICE), lease, BLOCK_BYTES);
    leased_too = fixture_take(&fixture, of(ALICE), lease, BLOCK_BYTES);
    large = lease + size_classes[size_class].span_pages;
    fixture_carve_large(&fixture, of(ALICE), large, 3, 40000);
    direct = fixture_allocate(&fixture, of(ALICE), BLOCK_BYTES, "frame");
    version = 0;
}

static void share(uint32_t who, struct seg_off off)
{
    const struct sharing sharing = fixture_sharing(&fixture, of(who));
    struct block block;
    assert_int_equal(sharing_share(&sharing, off, false, &handle, &block), 0);
}

static void attach_as(uint32_t who, bool write)
{
    const struct sharing sharing = fixture_sharing(&fixture, of(who));
    struct attached attached;
    assert_int_equal(
        sharing_attach(&sharing, &handle, write, (struct sharing_reason){"tracking", 8}, &attached),
        0);
}

static void attach(uint32_t who)
{
    attach_as(who, false);
}

/* What of a block is a client's: it holds it, as its owner or by a hold that is no offer. */
static bool holds(uint32_t who, struct seg_off off)
{
    const uint32_t at = share_at(off);
    if (at == 0 || (shares_word(&core->shares, at) & SHARE_STATE_MASK) != SHARE_LIVE) {
        return false;
    }
    const uint64_t word = shares_word(&core->shares, at);
    const uint32_t hold = shares_hold_of(&core->shares, at, who);
    return (SHARE_OWNER(word) == who && (word & SHARE_OWNER_HOLDS) != 0) ||
           (hold != 0 && (shares_hold_word(&core->shares, hold) & HOLD_GIVEN) == 0);
}

static void release(uint32_t who, struct seg_off off)
{
    const struct sharing sharing = fixture_sharing(&fixture, of(who));
    enum let_go let_go;
    struct block block;
    if (holds(who, off)) {
        assert_int_equal(sharing_release(&sharing, off, &let_go, &block), 0);
    }
}

static void transfer(uint32_t who, struct seg_off off, bool keep)
{
    const struct sharing sharing = fixture_sharing(&fixture, of(who));
    struct block block;
    if (share_at(off) == 0 || holds(who, off)) {
        assert_int_equal(sharing_transfer(&sharing, off, keep, &handle, &block), 0);
    }
}

static void publish(uint32_t who, struct seg_off off, const char *text, bool keep)
{
    const struct sharing sharing = fixture_sharing(&fixture, of(who));
    const struct sharing_name name = {text, strlen(text), keep, false};
    struct block block;
    const uint32_t found = names_find(&core->names, text, strlen(text));
    if (version != 0 && found != NAME_NONE && names_version_of(&core->names, found) == version) {
        return; /* as replay_recover() finds */
    }
    version = names_version(&core->names);
    assert_int_equal(sharing_publish(&sharing, off, &name, version, &block), 0);
}

static void publish_first(uint32_t who, struct seg_off off, const char *text, bool keep)
{
    publish(who, off, text, keep);
    version = 0;
}

static void end(uint32_t who)
{
    if (clients_has(&core->clients, who) && of(who)->client_state == CLIENT_LIVE) {
        core_end(core, of(who), false, fixture.now_ms);
    }
    while (core_has_dead(core)) {
        fixture_reap(&fixture, 100);
    }
}

static bool is_there(struct seg_off off)
{
    struct block block;
    const int r = direct_find(&core->direct, core->clients.kept, off, &block);
    return r == 0 || r == DIRECT_E_FOREIGN;
}

static uint32_t payer_of(struct seg_off off)
{
    struct block block;
    assert_true(settle_block(core, share_at(off), &block));
    return block.slot;
}

/* A block has come home to alice once, and never again. */
static void expect_home(struct seg_off off, uint32_t n_put)
{
    const struct ledger_returns *returns = fixture.ledgers[ALICE].returns;
    sharing_deliver(core, of(ALICE));
    assert_int_equal(share_at(off), 0);
    assert_int_equal(atomic_load(&returns->n_put), n_put);
    assert_int_equal(atomic_load(&returns->offsets[n_put - 1]) & ~RETURNS_WRITTEN, off.bytes);
}

/* ------------------------------------------------------------------------------ the scenes ---- */

static void none(void)
{
}

static void do_share_direct(void)
{
    share(ALICE, direct);
}

static void do_share_leased(void)
{
    share(ALICE, leased);
}

static void want_shared(void)
{
    assert_int_equal(core->shares.n_shares, 1);
    assert_int_equal(core->shares.n_holds, 0);
}

static void do_attach(void)
{
    attach(BOB);
}

static void want_held(void)
{
    assert_int_equal(core->shares.n_holds, 1);
    assert_true(holds(BOB, direct));
}

static void set_leased_read(void)
{
    share(ALICE, leased);
    attach(BOB);
}

static void do_attach_to_write(void)
{
    attach_as(BOB, true);
}

static void want_written_home(void)
{
    release(ALICE, leased);
    release(BOB, leased);
    const struct ledger_returns *returns = fixture.ledgers[ALICE].returns;
    expect_home(leased, 1);
    assert_int_equal(atomic_load(&returns->offsets[0]), leased.bytes | RETURNS_WRITTEN);
}

/* A name alone keeps it. */
static void set_kept_by_name(void)
{
    publish_first(ALICE, direct, "frame", true);
    share(ALICE, direct);
    release(ALICE, direct);
    assert_int_equal(payer_of(direct), ALICE);
}

static void set_named_by_two(void)
{
    set_kept_by_name();
    attach(BOB);
    publish_first(BOB, direct, "too", false);
    release(BOB, direct);
}

static void want_kept_by_name_alone(void)
{
    assert_int_equal(payer_of(direct), SLOT_KEPT);
}

static void want_named_by_bob(void)
{
    assert_int_equal(payer_of(direct), BOB);
}

static void want_charged_to_bob(void)
{
    assert_int_equal(payer_of(direct), BOB);
    assert_int_equal(of(ALICE)->n_blocks, 0);
}

static void set_direct_held(void)
{
    share(ALICE, direct);
    attach(BOB);
}

static void do_release_direct(void)
{
    release(ALICE, direct);
}

static void set_direct_held_by_bob(void)
{
    set_direct_held();
    release(ALICE, direct);
}

static void do_release_direct_last(void)
{
    release(BOB, direct);
}

static void want_direct_gone(void)
{
    assert_false(is_there(direct));
    assert_int_equal(share_at(direct), 0);
}

static void set_leased_held_by_bob(void)
{
    share(ALICE, leased);
    attach(BOB);
    release(ALICE, leased);
}

static void do_release_leased_last(void)
{
    release(BOB, leased);
}

static void want_leased_home(void)
{
    expect_home(leased, 1);
}

static void do_release_leased_alone(void)
{
    release(ALICE, leased);
}

/* Alone with it, she is told so by the answer, and not by the returns. */
static void want_nothing_put(void)
{
    sharing_deliver(core, of(ALICE));
    assert_int_equal(share_at(leased), 0);
    assert_int_equal(atomic_load(&fixture.ledgers[ALICE].returns->n_put), 0);
}

static void do_transfer_direct(void)
{
    transfer(ALICE, direct, false);
}

static void want_direct_offered(void)
{
    assert_false(holds(ALICE, direct));
    assert_int_equal(payer_of(direct), ALICE);
}

static void want_direct_bobs(void)
{
    assert_true(holds(BOB, direct));
    assert_false(holds(ALICE, direct));
    assert_int_equal(payer_of(direct), BOB);
    transfer(BOB, direct, false); /* he may */
    assert_false(holds(BOB, direct));
}

static void set_leased_bobs(void)
{
    transfer(ALICE, leased, false);
    attach(BOB);
}

static void do_transfer_leased_on(void)
{
    transfer(BOB, leased, true);
}

static void want_leased_offered(void)
{
    assert_false(holds(BOB, leased));
    attach(CAROL);
    assert_int_equal(core->shares.n_holds, 1);
    assert_true(holds(CAROL, leased));
}

static void set_leased_offered_by_bob(void)
{
    set_leased_bobs();
    transfer(BOB, leased, false);
}

static void do_attach_carol(void)
{
    attach(CAROL);
}

static void want_leased_carols(void)
{
    assert_true(holds(CAROL, leased));
    assert_int_equal(core->shares.n_holds, 1);
    release(CAROL, leased);
    expect_home(leased, 1);
}

static void want_leased_bobs_again(void)
{
    assert_true(holds(BOB, leased));
    assert_int_equal(core->shares.n_holds, 1);
    transfer(BOB, leased, false);
}

static void do_attach_alice(void)
{
    attach(ALICE);
}

static void want_leased_alices(void)
{
    assert_true(holds(ALICE, leased));
    assert_int_equal(core->shares.n_holds, 0);
}

static void set_two_frames(void)
{
    publish_first(ALICE, direct, "frame", false);
    release(ALICE, direct);
}

static void do_publish_leased(void)
{
    publish(ALICE, leased, "frame", false);
}

static void want_leased_published(void)
{
    want_direct_gone();
    assert_int_equal(names_share(&core->names, names_find(&core->names, "frame", 5)),
                     share_at(leased));
}

static void set_leased_frame(void)
{
    publish_first(ALICE, leased, "frame", false);
    release(ALICE, leased);
}

static void do_publish_direct(void)
{
    publish(ALICE, direct, "frame", false);
}

static void do_unpublish(void)
{
    const struct sharing sharing = fixture_sharing(&fixture, of(ALICE));
    const int r = sharing_unpublish(&sharing, "frame", 5);
    assert_true(r == 0 || (!is_told && r == SHARING_E_NONE));
}

static void do_end_alice(void)
{
    end(ALICE);
}

static void do_end_bob(void)
{
    end(BOB);
}

/* Of a slab one block is bob's, one a name's, one of a large block carol's; a third is alice's. */
static void set_all_shared(void)
{
    const struct seg_off own = fixture_take(&fixture, of(ALICE), lease, BLOCK_BYTES);
    (void)fixture_take(&fixture, of(ALICE), lease, BLOCK_BYTES); /* is asked for nothing */
    share(ALICE, own);
    share(ALICE, leased);
    attach(BOB);
    publish_first(ALICE, leased_too, "kept", true);
    share(ALICE, off_of(large));
    attach(CAROL);
    share(ALICE, direct);
    attach(CAROL);
    publish_first(ALICE, direct, "gone", false);
    release(ALICE, off_of(large));
}

static void want_all_adopted(void)
{
    assert_int_equal(core->shares.n_shares, 4);
    assert_int_equal(core->direct.n_blocks, 4);
    assert_int_equal(core->leases.n_pages, 0);
    assert_int_equal(core->shares.n_leased, 0);
    assert_int_equal(payer_of(leased), BOB);
    assert_int_equal(payer_of(leased_too), SLOT_KEPT);
    assert_int_equal(payer_of(off_of(large)), CAROL);
    assert_int_equal(payer_of(direct), CAROL);
    release(BOB, leased);
    assert_false(is_there(leased));
    assert_true(is_there(leased_too));
}

static void set_all_shared_and_lost(void)
{
    set_all_shared();
    fixture_ledger_close(&fixture, ALICE);
    of(ALICE)->states = NULL;
    of(ALICE)->returns = NULL;
    of(ALICE)->counts = NULL;
}

static void want_offer_gone_home(void)
{
    expect_home(leased, 1);
    assert_int_equal(core->shares.n_holds, 0);
}

/* No room for two blocks of which nobody holds any; then there is. */
static void set_full_returns(void)
{
    struct ledger_returns *returns = fixture.ledgers[ALICE].returns;
    atomic_store(&returns->n_put, UINT32_MAX); /* the numbers come round */
    atomic_store(&returns->n_taken, UINT32_MAX - RETURNS_MAX);
    share(ALICE, leased);
    attach(BOB);
    release(ALICE, leased);
    release(BOB, leased);
    share(ALICE, leased_too);
    attach(BOB);
    release(ALICE, leased_too);
    release(BOB, leased_too);
    assert_int_equal(core->shares.n_shares, 2);
    atomic_store(&returns->n_taken, UINT32_MAX);
}

static void do_deliver(void)
{
    sharing_deliver(core, of(ALICE));
}

static void want_two_home(void)
{
    const struct ledger_returns *returns = fixture.ledgers[ALICE].returns;
    assert_int_equal(core->shares.n_shares, 0);
    assert_int_equal(atomic_load(&returns->n_put), UINT64_C(2) + UINT32_MAX);
    const uint64_t sum = atomic_load(&returns->offsets[UINT32_MAX % RETURNS_MAX]) +
                         atomic_load(&returns->offsets[0]);
    assert_int_equal(sum, leased.bytes + leased_too.bytes);
}

static void set_returning(void)
{
    set_full_returns();
    atomic_store(&fixture.ledgers[ALICE].returns->n_taken, UINT32_MAX - RETURNS_MAX);
}

/* Nor does it wait for whoever has the slot next. */
static void want_nothing(void)
{
    assert_int_equal(core->shares.n_shares, 0);
    assert_int_equal(core->leases.n_pages, 0);
    struct client *other = fixture_join(&fixture, 40);
    assert_int_equal(other->slot, ALICE);
    (void)fixture_ledger(&fixture, other);
    sharing_deliver(core, other);
    assert_int_equal(atomic_load(&other->returns->n_put), 0);
}

static void want_direct_held_by_bob(void)
{
    assert_int_equal(payer_of(direct), BOB);
    assert_true(holds(BOB, direct));
}

const struct scene scenes[] = {
    {"share direct", none, do_share_direct, want_shared},
    {"share leased", none, do_share_leased, want_shared},
    {"attach", do_share_direct, do_attach, want_held},
    {"attach to write", set_leased_read, do_attach_to_write, want_written_home},
    {"attach what a name keeps", set_kept_by_name, do_attach, want_charged_to_bob},
    {"release by the owner", set_direct_held, do_release_direct, want_direct_held_by_bob},
    {"last release of direct", set_direct_held_by_bob, do_release_direct_last, want_direct_gone},
    {"last release of leased", set_leased_held_by_bob, do_release_leased_last, want_leased_home},
    {"release by the owner alone", do_share_leased, do_release_leased_alone, want_nothing_put},
    {"transfer", none, do_transfer_direct, want_direct_offered},
    {"pick up", do_transfer_direct, do_attach, want_direct_bobs},
    {"transfer on", set_leased_bobs, do_transfer_leased_on, want_leased_offered},
    {"pick up from a holder", set_leased_offered_by_bob, do_attach_carol, want_leased_carols},
    {"take back by a holder", set_leased_offered_by_bob, do_attach, want_leased_bobs_again},
    {"take back by the owner", set_leased_offered_by_bob, do_attach_alice, want_leased_alices},
    {"publish over direct", set_two_frames, do_publish_leased, want_leased_published},
    {"publish over leased", set_leased_frame, do_publish_direct, want_leased_home},
    {"unpublish direct", set_two_frames, do_unpublish, want_direct_gone},
    {"unpublish leased", set_leased_frame, do_unpublish, want_leased_home},
    {"end of the owner", set_all_shared, do_end_alice, want_all_adopted},
    {"end of an owner without ledger", set_all_shared_and_lost, do_end_alice, want_all_adopted},
    {"end of the last holder, direct", set_direct_held_by_bob, do_end_bob, want_direct_gone},
    {"end of the last holder, leased", set_leased_held_by_bob, do_end_bob, want_leased_home},
    {"end of a publisher", set_kept_by_name, do_end_alice, want_kept_by_name_alone},
    {"end of one of two publishers", set_named_by_two, do_end_alice, want_named_by_bob},
    {"end of the publisher of two frames", set_two_frames, do_end_alice, want_direct_gone},
    {"end of who offers", set_leased_offered_by_bob, do_end_bob, want_offer_gone_home},
    {"room for what waits", set_full_returns, do_deliver, want_two_home},
    {"end of whom something waits for", set_returning, do_end_alice, want_nothing},
};

const size_t n_scenes = sizeof(scenes) / sizeof(scenes[0]);
