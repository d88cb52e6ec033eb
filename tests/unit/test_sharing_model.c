/* SPDX-License-Identifier: MIT */
/*
 * test_sharing_model.c - random steps of sharing, beside a model that is told nothing
 *
 * Four honest clients share, attach, hand over, publish and let go of direct and leased blocks, end
 * and join again; the server starts again; a fifth client is hostile, writes nonsense into its
 * states, heads, entries and ring, and shares what is there. After each step core_check() wants
 * what must be true of everybody, and each block of the honest is what the model says. The seed is
 * printed; KMEM_MODEL_STEPS in the environment is another number of steps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/core/settle.h"
#include "daemon/core/sharing.h"
#include "tests/unit/fixture.h"
#include "tests/support/seeded.h"
#include "tests/unit/sharing_model.h"

#define N_PAGES 1024
#define N_ALIEN 24 /* holds of the honest on what the hostile shares */
#define BLOCK_BYTES 1000
/* A sanitizer looks at the same code: it need not see each state. */
#ifdef NDEBUG
#define STEPS 100000
#else
#define STEPS 10000
#endif
/* So few places of its ring a client leaves: what it takes it says late. */
#define RING_ROOM 3
#define LEASE_PAGES 12

static struct fixture fixture;
static struct core *const core = &fixture.core;
static uint32_t lease[N_CLIENTS]; /* its first page: a slab */
static uint64_t n_taken[N_CLIENTS];
static struct {
    uint32_t client;
    struct share_handle handle;
} alien[N_ALIEN];
static struct share_handle of_hostile;
static uint32_t n_pids = 1;
static uint32_t n_done[16]; /* by kind of step */
static uint32_t n_home;

static struct client *client_of(uint32_t who)
{
    return clients_get(&core->clients, slots[who]);
}

static struct sharing asking(uint32_t who)
{
    return fixture_sharing(&fixture, client_of(who));
}

/* ---------------------------------------------------------------------------- steps of all ---- */

static void step_allocate(uint32_t who)
{
    const uint32_t i = free_block();
    struct ledger *ledger = &fixture.ledgers[slots[who]];
    if (i == NONE) {
        return;
    }
    const bool is_leased = one_in(2) && !ledger_slab_is_full(&ledger->heads[lease[who]]);
    blocks[i] = (struct model_block){
        .is_used = true,
        .is_leased = is_leased,
        .owner = who,
        .owner_holds = true,
        .giver = NONE,
        .off = is_leased ? fixture_take(&fixture, client_of(who), lease[who], BLOCK_BYTES)
                         : fixture_allocate(&fixture, client_of(who), BLOCK_BYTES, "model"),
    };
}

static void step_share(uint32_t who)
{
    const uint32_t i = pick_block();
    const struct sharing of = asking(who);
    const bool read_only = one_in(4);
    struct share_handle handle;
    struct block block;
    if (i == NONE) {
        return;
    }
    const int r = sharing_share(&of, blocks[i].off, read_only, &handle, &block);
    if (!model_may_give(&blocks[i], who)) {
        EXPECT(r == DIRECT_E_FOREIGN);
        return;
    }
    EXPECT(r == 0);
    EXPECT(!blocks[i].is_shared || memcmp(&handle, &blocks[i].handle, sizeof(handle)) == 0);
    blocks[i].is_shared = true;
    blocks[i].is_read_only = read_only;
    blocks[i].handle = handle;
}

static void step_attach(uint32_t who)
{
    const uint32_t i = pick_block();
    const struct sharing of = asking(who);
    const bool write = one_in(2);
    struct attached attached;
    const struct sharing_reason reason = {"attached", 8};
    if (i == NONE || !blocks[i].is_shared || one_in(8)) {
        EXPECT(sharing_attach(&of, &stale, write, reason, &attached) == SHARING_E_STALE);
        return;
    }
    struct share_handle other = blocks[i].handle;
    other.tag = seeded_next(&seeded);
    EXPECT(sharing_attach(&of, &other, write, reason, &attached) == SHARING_E_DENIED);
    const int r = sharing_attach(&of, &blocks[i].handle, write, reason, &attached);
    EXPECT(r == model_may_attach(&blocks[i], who, write));
    if (r == 0) {
        EXPECT(attached.is_own == (blocks[i].owner == who));
        model_attach(i, who);
    }
}

/* The owner's entry of a leased block goes with the block. */
static void retire(uint32_t who, struct seg_off off)
{
    struct ledger *ledger = &fixture.ledgers[slots[who]];
    struct ledger_block block;
    EXPECT(ledger_find(ledger, off, &block) == 0);
    EXPECT(entry_is_shared(atomic_load(&block.entry->word)));
    ledger_give(ledger, &block);
}

static void step_release(uint32_t who)
{
    const uint32_t i = pick_held(who);
    struct sharing of = asking(who);
    struct block block;
    enum let_go let_go;
    if (i == NONE || !blocks[i].is_shared) {
        return;
    }
    struct model_block *model = &blocks[i];
    of.sequence = of.client->sequence + one_in(2);
    const int r = sharing_release(&of, model->off, &let_go, &block);
    if (!model_is_held_by(model, who)) {
        EXPECT(r == DIRECT_E_FOREIGN);
        return;
    }
    EXPECT(r == 0);
    EXPECT(let_go == (model_is_last(i, who) ? LET_GO_FREED : LET_GO_KEPT));
    if (model->owner == who && let_go == LET_GO_FREED && model->is_leased) {
        retire(who, model->off);
    }
    model_release(i, who);
}

static void step_transfer(uint32_t who)
{
    const uint32_t i = pick_held(who);
    const struct sharing of = asking(who);
    const bool keep = one_in(2);
    struct share_handle handle;
    struct block block;
    if (i == NONE) {
        return;
    }
    struct model_block *model = &blocks[i];
    const int r = sharing_transfer(&of, model->off, keep, &handle, &block);
    if (!model_may_give(model, who)) {
        EXPECT(r == DIRECT_E_FOREIGN);
    } else if (!model_is_last(i, who)) {
        EXPECT(r == SHARING_E_HELD);
    } else {
        EXPECT(r == 0);
        model->is_shared = true;
        model->handle = handle;
        model_offer(i, who, keep);
    }
}

/* ----------------------------------------------------------------------------------- names ---- */

static void step_publish(uint32_t who)
{
    const uint32_t i = pick_held(who);
    const uint32_t which = below(N_NAMES);
    const struct sharing of = asking(who);
    char text[8];
    struct sharing_name name = name_text(which, text);
    struct block block;
    name.keep = one_in(4);
    name.exclusive = one_in(4);
    if (i == NONE) {
        return;
    }
    const uint64_t version = names_version(&core->names);
    const int r = sharing_publish(&of, blocks[i].off, &name, version, &block);
    const uint32_t former = names[which].block;
    if (former != NONE && name.exclusive && names[which].owner != who) {
        EXPECT(r == SHARING_E_EXISTS);
        return;
    }
    EXPECT(r == (model_is_held_by(&blocks[i], who) ? 0 : DIRECT_E_FOREIGN));
    if (r == 0) {
        names[which] = (struct model_name){i, who, name.keep, version};
        blocks[i].is_shared = true;
        blocks[i].handle = shares_handle(&core->shares, shares_at(&core->shares, blocks[i].off));
        if (former != NONE) {
            model_settle(former);
        }
    }
}

static void step_unpublish(uint32_t who)
{
    const uint32_t which = below(N_NAMES);
    const struct sharing of = asking(who);
    char text[8];
    const struct sharing_name name = name_text(which, text);
    const uint32_t former = names[which].block;
    /* All are of one user here: pids are multiples of 3. */
    EXPECT(sharing_unpublish(&of, name.text, name.n_bytes) ==
           (former == NONE ? SHARING_E_NONE : 0));
    if (former != NONE) {
        names[which].block = NONE;
        model_settle(former);
    }
}

static void step_next(uint32_t who)
{
    const uint32_t which = below(N_NAMES);
    const bool is_old = one_in(4);
    char text[8];
    const uint32_t i = names[which].block;
    struct attached attached;
    uint64_t version;
    (void)name_text(which, text); /* written there */
    const int r = fixture_next(&fixture, client_of(who), text, is_old ? names[which].version : 0,
                               &attached, &version);
    EXPECT(r == (i == NONE ? FIXTURE_E_NO_NAME : is_old ? FIXTURE_E_OLD : 0));
    if (r == 0) {
        EXPECT(version == names[which].version);
        EXPECT(attached.handle.generation == blocks[i].handle.generation);
        model_attach(i, who);
    }
}

/* ------------------------------------------------------------------------ coming and going ---- */

static void join(uint32_t who)
{
    struct client *client = fixture_join(&fixture, 3 * n_pids++);
    struct ledger *ledger = fixture_ledger(&fixture, client);
    const uint32_t size_class = size_class_of(BLOCK_BYTES);
    slots[who] = client->slot;
    lease[who] = fixture_lease(&fixture, client, LEASE_PAGES);
    fixture_carve(&fixture, client, lease[who], size_class);
    n_taken[who] = 0;
    atomic_store(&ledger->returns->n_taken, (uint64_t)0 - (RETURNS_MAX - RING_ROOM));
}

static void step_end(uint32_t who)
{
    core_end(core, client_of(who), one_in(2), fixture.now_ms);
    const uint32_t budget = 1 + below(2000);
    while (core_has_dead(core)) {
        fixture_reap(&fixture, budget);
        EXPECT(core_check(core) == 0);
    }
    model_end(who);
    for (uint32_t i = 0; i < N_ALIEN; i++) {
        alien[i].client = alien[i].client == who ? NONE : alien[i].client;
    }
    slots[who] = NONE;
}

/* The client takes what has come home; each block once. */
static void step_take_home(uint32_t who)
{
    struct ledger_returns *ring = fixture.ledgers[slots[who]].returns;
    sharing_deliver(core, client_of(who));
    for (; n_taken[who] != atomic_load(&ring->n_put); n_taken[who]++, n_home++) {
        const uint64_t said = atomic_load(&ring->offsets[n_taken[who] % RETURNS_MAX]);
        const uint64_t offset = said & ~RETURNS_WRITTEN;
        uint32_t i = 0;
        while (i < N_BLOCKS && !(blocks[i].is_coming && blocks[i].off.bytes == offset)) {
            i++;
        }
        EXPECT(i < N_BLOCKS && blocks[i].owner == who);
        retire(who, blocks[i].off);
        model_forget(i);
    }
    atomic_store(&ring->n_taken, n_taken[who] - (RETURNS_MAX - RING_ROOM));
}

static void restart(void)
{
    char why[FIXTURE_WHY_BYTES];
    if (fixture_restart(&fixture, why) != 0) {
        fail_msg("step %u: %s", n_step, why);
    }
}

/* ------------------------------------------------------------------------------- the enemy ---- */

static void scribble(void *where, size_t n_bytes)
{
    unsigned char *bytes = where;
    for (uint32_t n = below(64); n > 0; n--) {
        bytes[seeded_next(&seeded) % n_bytes] = (unsigned char)below(256);
    }
}

/* Its ledger is as it likes: pages of its lease, and of others', anything. */
static void hostile_writes(void)
{
    struct ledger *ledger = &fixture.ledgers[slots[HOSTILE]];
    const uint32_t begin = lease[HOSTILE];
    scribble((unsigned char *)ledger->states + begin, LEASE_PAGES);
    scribble(ledger->heads + begin, LEASE_PAGES * sizeof(struct ledger_head));
    scribble(ledger->planes[0] + ((size_t)begin << PLANE_SHIFT(0)), 4096);
    scribble(ledger->planes[1] + ((size_t)begin << PLANE_SHIFT(1)), 4096);
    if (one_in(4)) {
        scribble(ledger->returns, sizeof(*ledger->returns));
    }
    if (one_in(2)) { /* something that can be shared: a slab, or a large block, anywhere in it */
        const uint32_t page = begin + below(LEASE_PAGES);
        const uint32_t size_class = one_in(2) ? size_class_of(BLOCK_BYTES) : below(N_SIZE_CLASSES);
        struct ledger_head head = {.span_pages = 1 + below(4),
                                   .size_class = (uint16_t)size_class,
                                   .n_carved = (uint16_t)below(1024)};
        atomic_store(&head.kind, one_in(2) ? HEAD_SLAB : HEAD_LARGE);
        head.span_pages = one_in(2) ? size_classes[size_class].span_pages : head.span_pages;
        ledger->heads[page] = head;
        atomic_store(&ledger
                          ->planes[size_classes[size_class].plane]
                                  [(size_t)page << PLANE_SHIFT(size_classes[size_class].plane)]
                          .word,
                     ENTRY_WORD(1 + below(4000), below(3)));
        memset((unsigned char *)ledger->states + begin, 2, LEASE_PAGES); /* USED */
    }
}

static void hostile_asks(void)
{
    const struct sharing of = asking(HOSTILE);
    const uint32_t size_class = one_in(2) ? size_class_of(BLOCK_BYTES) : below(N_SIZE_CLASSES);
    const struct seg_off off = {((uint64_t)(lease[HOSTILE] + below(LEASE_PAGES)) << PAGE_SHIFT) +
                                (one_in(2) ? 0 : below(16) * size_classes[size_class].block_bytes)};
    const struct sharing_name name = {"enemy", 5, one_in(2), false};
    struct share_handle handle;
    struct block block;
    enum let_go let_go;
    switch (below(4)) {
    case 0:
        (void)!sharing_transfer(&of, off, one_in(2), &handle, &block);
        break;
    case 1:
        (void)!sharing_publish(&of, off, &name, names_version(&core->names), &block);
        break;
    case 2:
        if (sharing_is_shared(core, off)) {
            (void)!sharing_release(&of, off, &let_go, &block);
        }
        break;
    default:
        break;
    }
    if (sharing_share(&of, off, false, &handle, &block) == 0) {
        of_hostile = handle;
    }
}

/* An honest client holds what the hostile one shares, or lets go of it. */
static void step_alien(uint32_t who)
{
    const uint32_t i = below(N_ALIEN);
    struct sharing of = asking(who);
    struct attached attached;
    struct block block;
    enum let_go let_go;
    if (alien[i].client != NONE) {
        of = asking(alien[i].client);
        EXPECT(sharing_release(&of, (struct seg_off){alien[i].handle.offset}, &let_go, &block) ==
               0);
        alien[i].client = NONE;
        return;
    }
    for (uint32_t j = 0; j < N_ALIEN; j++) {
        if (alien[j].client == who && alien[j].handle.generation == of_hostile.generation) {
            return; /* one hold for each */
        }
    }
    if (sharing_attach(&of, &of_hostile, false, (struct sharing_reason){"alien", 5}, &attached) ==
        0) {
        alien[i].client = who;
        alien[i].handle = of_hostile;
    }
}

/* ---------------------------------------------------------------------------------- a step ---- */

static void check_all(void)
{
    model_check(core);
    for (uint32_t i = 0; i < N_ALIEN; i++) {
        uint32_t share;
        if (alien[i].client != NONE) {
            EXPECT(shares_find(&core->shares, &alien[i].handle, &share) == 0);
            EXPECT(shares_hold_of(&core->shares, share, slots[alien[i].client]) != 0);
        }
    }
}

static void (*const kinds[])(uint32_t who) = {
    step_release,  step_release, step_allocate,  step_share, step_attach,    step_release,
    step_transfer, step_publish, step_unpublish, step_next,  step_take_home, step_alien,
};

/* Of each kind, or of those that change who is there. */
static void step(void)
{
    const uint32_t n_kinds = sizeof(kinds) / sizeof(kinds[0]);
    const uint32_t kind = below(n_kinds + 2);
    const uint32_t who = pick_honest();
    for (uint32_t i = 0; i < N_CLIENTS; i++) {
        if (slots[i] == NONE && (i == HOSTILE || one_in(10))) {
            join(i);
        }
    }
    if (who == NONE) {
        return;
    }
    if (kind < n_kinds) {
        kinds[kind](who);
        n_done[kind]++;
    } else if (kind == n_kinds) {
        hostile_writes();
        hostile_asks();
    } else if (one_in(4)) {
        leases_return_all(&core->leases);
    } else if (one_in(3)) {
        restart();
    } else if (one_in(2)) {
        step_end(one_in(3) ? HOSTILE : who);
    }
}

static void test_sharing_like_the_model(void **state)
{
    (void)state;
    const char *steps = getenv("KMEM_MODEL_STEPS");
    const char *seed = getenv("KMEM_MODEL_SEED");
    const uint32_t n_steps = steps ? (uint32_t)strtoul(steps, NULL, 10) : STEPS;
    seeded.state = seed ? strtoull(seed, NULL, 10) : 20261129;
    print_message("seed %llu, %u steps\n", (unsigned long long)seeded.state, n_steps);
    fixture_init(&fixture, N_PAGES, 16);
    memset(names, 0xff, sizeof(names));
    memset(alien, 0xff, sizeof(alien));
    for (uint32_t who = 0; who < N_CLIENTS; who++) {
        join(who);
    }
    for (n_step = 0; n_step < n_steps; n_step++) {
        step();
        check_all();
    }
    for (uint32_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        EXPECT(n_done[i] > n_steps / 40);
    }
    print_message("%u blocks were adopted, %u came home\n", n_adopted, n_home);
    EXPECT(n_adopted > n_steps / 500);
    EXPECT(n_home > n_steps / 500);
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sharing_like_the_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
