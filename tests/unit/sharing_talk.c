/* SPDX-License-Identifier: MIT */
#include "tests/unit/sharing_talk.h"

struct fixture fixture;
struct core *const core = &fixture.core;
struct client *alice;
struct client *bob;
struct client *carol;
uint32_t lease;
uint32_t large;

int sharing_setup(void **state)
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

int sharing_teardown(void **state)
{
    (void)state;
    fixture_fini(&fixture);
    return 0;
}

void check(void)
{
    assert_int_equal(core_check(core), 0);
}

struct seg_off off_of(uint32_t page)
{
    return (struct seg_off){(uint64_t)page << PAGE_SHIFT};
}

/* A direct block of alice's. */
struct seg_off new_direct(void)
{
    return fixture_allocate(&fixture, alice, BLOCK_BYTES, "frame");
}

/* One of her lease. */
struct seg_off leased_block(void)
{
    return fixture_take(&fixture, alice, lease, BLOCK_BYTES);
}

/* ----------------------------------------------------------------------------- transcripts ---- */

struct share_handle share(struct client *client, struct seg_off off)
{
    const struct sharing of = fixture_sharing(&fixture, client);
    struct share_handle handle;
    struct block block;
    assert_int_equal(sharing_share(&of, off, false, &handle, &block), 0);
    check();
    return handle;
}

int try_attach(struct client *client, const struct share_handle *handle, bool write,
               struct attached *ret_attached)
{
    const struct sharing of = fixture_sharing(&fixture, client);
    const struct sharing_reason reason = {"tracking", 8};
    const int r = sharing_attach(&of, handle, write, reason, ret_attached);
    check();
    return r;
}

struct attached attach(struct client *client, const struct share_handle *handle)
{
    struct attached attached;
    assert_int_equal(try_attach(client, handle, false, &attached), 0);
    return attached;
}

int try_release(struct client *client, struct seg_off off, enum let_go *ret_let_go)
{
    const struct sharing of = fixture_sharing(&fixture, client);
    struct block block;
    const int r = sharing_release(&of, off, ret_let_go, &block);
    assert_int_equal(block.off.bytes, off.bytes);
    check();
    return r;
}

enum let_go release(struct client *client, struct seg_off off)
{
    enum let_go let_go;
    assert_int_equal(try_release(client, off, &let_go), 0);
    return let_go;
}

int try_transfer(struct client *client, struct seg_off off, bool keep,
                 struct share_handle *ret_handle)
{
    const struct sharing of = fixture_sharing(&fixture, client);
    struct block block;
    const int r = sharing_transfer(&of, off, keep, ret_handle, &block);
    check();
    return r;
}

struct share_handle transfer(struct client *client, struct seg_off off, bool keep)
{
    struct share_handle handle;
    assert_int_equal(try_transfer(client, off, keep, &handle), 0);
    return handle;
}

int try_publish(struct client *client, struct seg_off off, const char *text, bool keep,
                bool exclusive)
{
    const struct sharing of = fixture_sharing(&fixture, client);
    const struct sharing_name name = {text, strlen(text), keep, exclusive};
    struct block block;
    const int r = sharing_publish(&of, off, &name, names_version(&core->names), &block);
    check();
    return r;
}

void publish(struct client *client, struct seg_off off, const char *text)
{
    assert_int_equal(try_publish(client, off, text, false, false), 0);
}

int next(struct client *client, const char *text, uint64_t *version)
{
    struct attached attached;
    const int r = fixture_next(&fixture, client, text, *version, &attached, version);
    check();
    return r;
}

int unpublish(struct client *client, const char *text)
{
    const struct sharing of = fixture_sharing(&fixture, client);
    const int r = sharing_unpublish(&of, text, strlen(text));
    check();
    return r;
}

void die(struct client *client)
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

void restart(void)
{
    char why[FIXTURE_WHY_BYTES];
    assert_int_equal(fixture_restart(&fixture, why), 0);
    find_again(&alice, 0);
    find_again(&bob, 1);
    find_again(&carol, 2);
}

/* Who is charged for a direct block. */
uint32_t payer_of(struct seg_off off)
{
    struct block block;
    assert_true(settle_block(core, shares_at(&core->shares, off), &block));
    return block.slot;
}

bool is_there(struct seg_off off)
{
    struct block block;
    const int r = direct_find(&core->direct, alice, off, &block);
    return r == 0 || r == DIRECT_E_FOREIGN;
}
