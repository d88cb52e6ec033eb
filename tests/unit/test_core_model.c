/* SPDX-License-Identifier: MIT */
/*
 * test_core_model.c - random steps of the core, beside a model that is too simple to err
 *
 * A step is one operation of the table below with random arguments, wrong ones among them. The core
 * must do what the model says, and core_check() recounts everything after every step. What fails
 * names the seed and the step, and happens again with that seed. The five segments have half a
 * million steps together; KMEM_MODEL_STEPS in the environment is another number for each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/reap.h"
#include "daemon/core/report.h"
#include "daemon/core/block_iter.h"
#include "tests/unit/broken.h"
#include "tests/unit/core_model.h"
#include "tests/unit/lease_steps.h"
#include "tests/unit/unit.h"

/*
 * The segment becomes full and empty again ten times; `make torture` has a million steps. A build
 * without NDEBUG is one for sanitizers and debuggers: four times there.
 */
#ifdef NDEBUG
#define STEPS 100000
#else
#define STEPS 40000
#endif
static uint32_t n_steps;

/* Sizes up to 2^21 - 1, which is more than the smallest segment has. */
#define SIZE_BITS 21

/* Some differ in their detail alone. */
const char *model_reason(uint32_t number)
{
    static char text[32];
    if (number == 0) {
        return NO_REASON;
    }
    (void)snprintf(text, sizeof(text), number % 3 == 0 ? "model/%u#%u" : "model/%u", number / 4,
                   number);
    return text;
}

const char *reason_given(uint32_t number)
{
    return number == 0 ? "" : model_reason(number);
}

struct model_run run;

static uint32_t next_pid;

static struct {
    bool under_way;
    struct seg_off from;
} walking;

/* Phases in which the segment fills up, and phases in which it becomes empty. */
static bool is_growing(void)
{
    return run.step / 5000 % 2 == 0;
}

static struct model_client *random_client(void)
{
    return run.model.n_clients > 0 ? &run.model.clients[below(run.model.n_clients)] : NULL;
}

struct model_client *random_living(void)
{
    struct model_client *client = random_client();
    return client && !client->ended ? client : NULL;
}

bool may_have(const struct model_client *client, uint64_t num_bytes)
{
    const uint64_t quota_bytes = run.core->config.quota_bytes;
    const uint64_t charged_bytes = client->num_bytes + client->leased_pages * PAGE_BYTES;
    const bool may = quota_bytes == 0 || charged_bytes + num_bytes <= quota_bytes;
    EXPECT(accounts_may_have(&run.core->accounts, client->client, run.core->config.quota_bytes,
                             num_bytes) == may);
    return may;
}

/* A direct block; NULL now and then, always if there is none. */
static struct model_block *random_block(void)
{
    const uint32_t n_blocks = run.model.n_blocks;
    struct model_block *block = n_blocks > 0 ? &run.model.blocks[below(n_blocks)] : NULL;
    return block && !block->leased ? block : NULL;
}

/* --------------------------------------------------------------------------------- clients ---- */

static void step_join(void)
{
    struct client *client;
    const struct client_identity identity = fixture_identity(next_pid);
    const int r =
        core_join(run.core, &identity, FIXTURE_NONCE(identity.pid), run.fixture.now_ms, &client);
    EXPECT(r == (run.model.n_clients == MODEL_CLIENTS_MAX ? CLIENTS_E_FULL : CLIENTS_OK));
    if (r == 0) {
        (void)model_client_add(&run.model, next_pid++, client);
        (void)fixture_ledger(&run.fixture, client);
    }
}

static void step_come_back(void)
{
    const struct model_client *known = random_client();
    struct client *client = NULL;
    if (known) {
        const struct client_identity identity = fixture_identity(known->pid);
        const int r = core_resume(run.core, &identity, FIXTURE_NONCE(known->pid), &client);
        EXPECT(r == (known->ended ? CLIENTS_E_GONE : CLIENTS_OK));
        EXPECT(r != 0 || client == known->client);
    }
}

static void step_end(void)
{
    struct model_client *client = random_living();
    if (client && (!is_growing() || below(8) == 0)) {
        model_client_end(&run.model, client, below(2) == 0);
        core_end(run.core, client->client, client->left, run.fixture.now_ms);
    }
}

static void buried(const struct obituary *obituary, uint32_t slot, void *user)
{
    (void)user;
    struct model_client *client = model_client(&run.model, obituary->identity.pid);
    EXPECT(client != NULL);
    EXPECT(client->ended);
    EXPECT(!client->buried);
    EXPECT(client->client->slot == slot);
    EXPECT(client->left == obituary->left);
    EXPECT(client->peak_bytes == obituary->peak_bytes);
    EXPECT(client->n_blocks_left == obituary->n_blocks);
    EXPECT(client->num_bytes_left == obituary->num_bytes);
    EXPECT(client->n_reasons_left == obituary->n_reasons);
    client->buried = true;
    fixture_ledger_close(&run.fixture, slot);
    run.n_buried++;
}

static bool is_live_block(const struct client *client, uint64_t offset)
{
    struct block found;
    return direct_find(&run.core->direct, client, (struct seg_off){offset}, &found) == 0;
}

/* Takes out of the model what the core has taken back from those who have ended. */
static void forget_what_was_reaped(void)
{
    lease_steps_reaped();
    for (uint32_t i = run.model.n_blocks; i-- > 0;) {
        struct model_block *block = &run.model.blocks[i];
        const struct model_client *owner = model_client(&run.model, block->pid);
        if (!block->leased && owner->ended &&
            (owner->buried || !is_live_block(owner->client, block->offset))) {
            model_block_remove(&run.model, block);
        }
    }
    for (uint32_t i = run.model.n_clients; i-- > 0;) {
        if (run.model.clients[i].buried) {
            model_client_remove(&run.model, &run.model.clients[i]);
        }
    }
}

static void step_reap(void)
{
    reap(run.core, 1 + below(100), buried, NULL);
    forget_what_was_reaped();
}

/* ---------------------------------------------------------------------------------- blocks ---- */

static void allocated(const struct model_client *client, uint64_t num_bytes, uint32_t reason,
                      struct seg_off off)
{
    const struct model_block block = {
        .offset = off.bytes,
        .num_bytes = num_bytes,
        .pid = client->pid,
        .reason = reason,
        .born = core_tick(run.core, run.fixture.now_ms),
    };
    EXPECT(off.bytes % (num_bytes >= 64 ? 64 : 16) == 0);
    EXPECT(run.model.n_blocks < MODEL_BLOCKS_MAX);
    EXPECT(model_block_add(&run.model, &block, core_segment_bytes(run.core)));
    run.n_allocated++;
    run.most_blocks = run.model.n_blocks > run.most_blocks ? run.model.n_blocks : run.most_blocks;
}

static void step_allocate(void)
{
    const struct model_client *client = random_living();
    if (!client) {
        return;
    }
    /* Most of them small: a few large ones would leave no room for many blocks, and for leases. */
    const uint64_t num_bytes = seeded_log(&run.seeded, below(5) ? SIZE_BITS / 2 : SIZE_BITS);
    const uint32_t reason = below(N_REASONS);
    const char *text = reason_given(reason);
    const struct direct_request request = {
        .num_bytes = num_bytes,
        .reason = text,
        .n_reason_bytes = strlen(text),
        .now = core_tick(run.core, run.fixture.now_ms),
    };
    struct direct *direct = &run.core->direct;
    struct direct_carved carved;
    if (!may_have(client, num_bytes)) {
        run.n_over_quota++;
        return;
    }
    const bool has_room = model_room(run.core, num_bytes);
    int r = direct_allocate(direct, client->client, &request, &carved);
    EXPECT(r == (has_room ? DIRECT_OK : DIRECT_E_FULL));
    if (r && lease_steps_make_room(direct_pages_for(num_bytes))) {
        r = direct_allocate(direct, client->client, &request, &carved);
        EXPECT(r == 0);
    }
    if (r == 0) {
        allocated(client, num_bytes, reason, carved.off);
    } else {
        run.n_refused++;
    }
}

static void release(struct model_block *block)
{
    const struct model_client *owner = model_client(&run.model, block->pid);
    const struct seg_off off = {block->offset};
    struct block released;
    EXPECT(direct_release(&run.core->direct, owner->client, off, 0, &released) == 0);
    EXPECT(released.num_bytes == block->num_bytes);
    model_block_remove(&run.model, block);
    run.n_released++;
    /* Once more, through a copy of the pointer. */
    const int r = direct_release(&run.core->direct, owner->client, off, 0, &released);
    EXPECT(r == DIRECT_E_RELEASED || r == DIRECT_E_WILD);
}

static void step_release(void)
{
    struct model_block *block = random_block();
    const bool spared = is_growing() && below(3) != 0;
    if (block && !spared && !model_client(&run.model, block->pid)->ended) {
        release(block);
    }
}

/* Many releases at once: slabs and runs become empty and join. */
static void step_release_many(void)
{
    for (uint32_t n = 1 + below(40); n > 0; n--) {
        step_release();
    }
}

static void step_release_any_offset(void)
{
    const struct model_client *client = random_living();
    if (!client) {
        return;
    }
    const uint64_t offset = seeded_next(&run.seeded) % (core_segment_bytes(run.core) + PAGE_BYTES);
    const struct model_block *around = model_block_around(&run.model, offset);
    struct block found;
    const int r =
        direct_release(&run.core->direct, client->client, (struct seg_off){offset}, 0, &found);
    if (around && around->offset != offset) {
        EXPECT(r == DIRECT_E_INTERIOR);
        EXPECT(found.off.bytes == around->offset);
    } else if (around) {
        EXPECT(r == (around->pid == client->pid ? DIRECT_OK : DIRECT_E_FOREIGN));
    } else {
        /* The bytes behind what was asked for are the block's as well. */
        EXPECT(r == DIRECT_E_WILD || r == DIRECT_E_RELEASED || r == DIRECT_E_INTERIOR);
    }
    if (r == 0) {
        model_block_remove(&run.model, model_block(&run.model, offset));
    }
}

static void step_release_foreign_and_interior(void)
{
    const struct model_block *block = random_block();
    const struct model_client *client = random_living();
    if (!block || !client) {
        return;
    }
    struct block found;
    const uint64_t inside = block->offset + 1 + below(4096);
    if (client->pid != block->pid) {
        const struct seg_off off = {block->offset};
        EXPECT(direct_release(&run.core->direct, client->client, off, 0, &found) ==
               DIRECT_E_FOREIGN);
        EXPECT(found.num_bytes == block->num_bytes);
    }
    if (inside < block->offset + block->num_bytes) {
        const struct seg_off off = {inside};
        EXPECT(direct_release(&run.core->direct, client->client, off, 0, &found) ==
               DIRECT_E_INTERIOR);
        EXPECT(found.off.bytes == block->offset);
    }
}

static void step_size_of(void)
{
    const struct model_block *block = random_block();
    if (block) {
        struct block found;
        const struct client *owner = model_client(&run.model, block->pid)->client;
        const struct seg_off off = {block->offset};
        EXPECT(direct_find(&run.core->direct, owner, off, &found) == 0);
        EXPECT(found.num_bytes == block->num_bytes);
    }
}

/* --------------------------------------------------------------------------------- queries ---- */

static bool has_reason(const struct block *found, uint32_t reason)
{
    char text[REASON_MAX_BYTES];
    const char *wanted = model_reason(reason);
    return block_reason(run.core, found, text) == strlen(wanted) &&
           memcmp(text, wanted, strlen(wanted)) == 0;
}

static void walked(const struct block *found, struct seg_off from)
{
    struct model_block *block = model_block(&run.model, found->off.bytes);
    EXPECT(block != NULL);
    EXPECT(found->off.bytes >= from.bytes / BLOCK_ALIGN_BYTES * BLOCK_ALIGN_BYTES);
    EXPECT(found->num_bytes == block->num_bytes);
    EXPECT(found->leased == block->leased);
    EXPECT(found->born == block->born);
    EXPECT(found->slot == model_client(&run.model, block->pid)->client->slot);
    EXPECT(has_reason(found, block->reason));
    block->n_visits++;
}

/* One step of a walk over all blocks; other steps change them between two of its own. */
static void step_walk(void)
{
    if (!walking.under_way) {
        for (uint32_t i = 0; i < run.model.n_blocks; i++) {
            run.model.blocks[i].was_there = true;
            run.model.blocks[i].n_visits = 0;
        }
        walking.under_way = true;
        walking.from = (struct seg_off){0};
    }
    struct block_iter iter;
    struct block block;
    block_iter_init(&iter, run.core, BLOCKS_ALL, walking.from, 1 + below(300));
    while (block_iter_next(&iter, &block)) {
        if (below(50) == 0) { /* now and then stop before a block */
            block_iter_put_back(&iter);
            break;
        }
        walked(&block, walking.from);
    }
    walking.from = block_iter_position(&iter);
    if (walking.from.bytes != 0) {
        return;
    }
    for (uint32_t i = 0; i < run.model.n_blocks; i++) {
        EXPECT(run.model.blocks[i].n_visits <= 1);
        EXPECT(run.model.blocks[i].n_visits == 1 || !run.model.blocks[i].was_there);
    }
    walking.under_way = false;
    run.n_walks++;
}

static void step_ledger(void)
{
    struct scan_reader reader = {.waits = false};
    const struct scan *scan =
        fixture_scan(&run.fixture, &reader, (enum scan_kind)(SCAN_BY_REASON + below(3)));
    uint64_t n_blocks = 0;
    uint64_t num_bytes = 0;
    for (size_t i = 0; i < rollup_n_groups(scan->rollup); i++) {
        n_blocks += rollup_group(scan->rollup, i)->n_blocks;
        num_bytes += rollup_group(scan->rollup, i)->num_bytes;
    }
    scans_leave(&run.core->scans, &reader);
    EXPECT(n_blocks == run.model.n_blocks);
    EXPECT(num_bytes == run.model.used_bytes + run.model.leased_bytes);
}

static void step_time(void)
{
    run.fixture.now_ms += below(1000);
}

/* ------------------------------------------------------------------------------ the driver ---- */

static const struct {
    void (*operation)(void);
    uint32_t weight;
} operations[] = {
    {step_join, 4},          {step_come_back, 2},
    {step_end, 2},           {step_reap, 12},
    {step_allocate, 100},    {step_release, 60},
    {step_release_many, 2},  {step_release_any_offset, 10},
    {step_size_of, 10},      {step_release_foreign_and_interior, 10},
    {step_walk, 15},         {step_ledger, 1},
    {step_time, 10},         {lease_steps_grant, 25},
    {lease_steps_carve, 40}, {lease_steps_clear, 40},
    {lease_steps_return, 2},
};

#define N_OPERATIONS (sizeof(operations) / sizeof(operations[0]))

static void random_step(void)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < N_OPERATIONS; i++) {
        sum += operations[i].weight;
    }
    uint32_t chosen = below(sum);
    size_t i = 0;
    for (; chosen >= operations[i].weight; i++) {
        chosen -= operations[i].weight;
    }
    operations[i].operation();
}

/* All end, and are reaped in small steps. */
static void end_all(void)
{
    for (uint32_t i = 0; i < run.model.n_clients; i++) {
        if (!run.model.clients[i].ended) {
            model_client_end(&run.model, &run.model.clients[i], false);
            core_end(run.core, run.model.clients[i].client, false, run.fixture.now_ms);
        }
    }
    while (core_has_dead(run.core)) {
        step_reap();
        EXPECT(core_check(run.core) == 0);
    }
    EXPECT(run.model.n_blocks == 0);
    EXPECT(run.core->direct.n_blocks == 0);
    EXPECT(run.core->leases.n_pages == 0);
    EXPECT(core_free_bytes(run.core) == core_segment_bytes(run.core) - PAGE_BYTES);
    EXPECT(core_largest_free_bytes(run.core) == core_free_bytes(run.core));
}

static void run_steps(void)
{
    for (run.step = 0; run.step < n_steps; run.step++) {
        random_step();
        EXPECT(core_check(run.core) == 0);
        EXPECT(run.core->direct.n_blocks == run.model.n_direct_blocks);
        EXPECT(run.core->direct.used_bytes == run.model.used_bytes);
        EXPECT(run.core->leases.n_pages == run.model.leased_pages);
        EXPECT(run.model.used_bytes + run.model.leased_pages * PAGE_BYTES +
                   core_free_bytes(run.core) + core_direct_overhead_bytes(run.core) ==
               core_segment_bytes(run.core));
        if (run.step % 50 == 0) {
            EXPECT(model_equals(&run.model, run.core));
            lease_steps_check();
        }
    }
    end_all();
}

static void run_seed(uint64_t seed, uint32_t n_pages, uint64_t quota_bytes)
{
    memset(&run, 0, sizeof(run));
    const char *const steps = getenv("KMEM_MODEL_STEPS");
    n_steps = steps ? (uint32_t)strtoul(steps, NULL, 10) : STEPS;
    run.seed = seed;
    run.seeded.state = seed;
    next_pid = 1;
    memset(&walking, 0, sizeof(walking));
    fixture_init(&run.fixture, n_pages, MODEL_CLIENTS_MAX);
    run.core = &run.fixture.core;
    run.core->config.quota_bytes = quota_bytes;

    broken_expected = true;
    if (setjmp(broken_to) != 0) {
        fail_msg("seed %llu, step %u: broken invariant: %s", (unsigned long long)run.seed, run.step,
                 broken_condition);
    }
    run_steps();
    broken_expected = false;

    print_message("seed %llu: %u steps on %u pages: %u allocated, %u refused, %u released, "
                  "%u buried, %u walks, at most %u blocks; %u leases, %u carved, %u times made "
                  "room, %llu pages revoked, %u over the quota\n",
                  (unsigned long long)run.seed, n_steps, n_pages, run.n_allocated, run.n_refused,
                  run.n_released, run.n_buried, run.n_walks, run.most_blocks, run.n_leased,
                  run.n_carved, run.n_made_room,
                  (unsigned long long)run.core->state.counters->revoked_pages, run.n_over_quota);
    assert_true(run.n_allocated > n_steps / 10);
    assert_true(run.n_refused > n_steps / 1000);
    assert_true(run.n_buried > n_steps / 1000);
    assert_true(run.n_walks > n_steps / 1000);
    assert_true(run.n_leased > n_steps / 100);
    assert_true(run.n_carved > n_steps / 100);
    assert_true(run.n_made_room > n_steps / 5000);
    assert_true(run.core->state.counters->revoked_pages > n_steps / 250);
    assert_true((run.n_over_quota > n_steps / 1000) == (quota_bytes != 0));
    fixture_fini(&run.fixture);
}

static void test_core_like_the_model_on_the_smallest_segment(void **state)
{
    run_seed(1, SEGMENT_MIN_BYTES / PAGE_BYTES, 0);
}

static void test_core_like_the_model_on_an_odd_number_of_pages(void **state)
{
    run_seed(2, 97, 0);
}

static void test_core_like_the_model_on_2_MiB(void **state)
{
    run_seed(3, 128, 0);
}

static void test_core_like_the_model_on_2_MiB_with_a_quota(void **state)
{
    run_seed(20260731, 128, 600000);
}

static void test_core_like_the_model_on_4_MiB(void **state)
{
    run_seed(5, 256, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_core_like_the_model_on_the_smallest_segment),
        cmocka_unit_test(test_core_like_the_model_on_an_odd_number_of_pages),
        cmocka_unit_test(test_core_like_the_model_on_2_MiB),
        cmocka_unit_test(test_core_like_the_model_on_2_MiB_with_a_quota),
        cmocka_unit_test(test_core_like_the_model_on_4_MiB),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
