/* SPDX-License-Identifier: MIT */
/*
 * test_core_model.c - a million random steps of the core, beside a model that is too simple to err
 *
 * A step is one operation of the table below with random arguments, wrong ones among them. The core
 * must do what the model says, and core_check() recounts everything after every step. What fails
 * names the seed and the step, and happens again with that seed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/report.h"
#include "tests/unit/broken.h"
#include "tests/unit/fixture.h"
#include "tests/unit/model.h"
#include "tests/unit/seeded.h"

/* A build without NDEBUG is one for sanitizers and debuggers: a sixth of the steps there. */
#ifdef NDEBUG
#define N_STEPS 250000
#else
#define N_STEPS 40000
#endif

/* Sizes up to 2^21 - 1, which is more than the smallest segment has. */
#define SIZE_BITS 21
#define N_REASONS 40

static struct fixture fixture;
static struct core *core;
static struct model model;
static struct seeded seeded;
static uint64_t seed;
static uint32_t step;
static uint32_t next_pid;

/* What was seen, so that a test which tests nothing shows. */
static struct {
    uint32_t n_allocated;
    uint32_t n_refused;
    uint32_t n_released;
    uint32_t n_buried;
    uint32_t n_walks;
    uint32_t most_blocks;
} seen;

static struct {
    bool under_way;
    struct seg_off from;
} walk;

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_msg("seed %llu, step %u, line %d: %s", (unsigned long long)seed, step, __LINE__,  \
                     #condition);                                                                  \
            abort(); /* not reached: it tells readers and analysers that nothing goes on */        \
        }                                                                                          \
    } while (0)

static uint32_t below(uint32_t limit)
{
    return seeded_below(&seeded, limit);
}

/* Phases in which the segment fills up, and phases in which it becomes empty. */
static bool is_growing(void)
{
    return step / 5000 % 2 == 0;
}

static struct model_client *random_client(void)
{
    return model.n_clients > 0 ? &model.clients[below(model.n_clients)] : NULL;
}

static struct model_client *random_living(void)
{
    struct model_client *client = random_client();
    return client && !client->ended ? client : NULL;
}

static struct model_block *random_block(void)
{
    return model.n_blocks > 0 ? &model.blocks[below(model.n_blocks)] : NULL;
}

/* --------------------------------------------------------------------------------- clients ---- */

static void step_join(void)
{
    struct client *client;
    const struct client_identity identity = fixture_identity(next_pid);
    const int r = core_join(core, &identity, fixture.now_ms, &client);
    EXPECT(r == (model.n_clients == MODEL_CLIENTS_MAX ? CLIENTS_E_FULL : CLIENTS_OK));
    if (r == 0) {
        model_client_add(&model, next_pid++, client);
    }
}

static void step_come_back(void)
{
    const struct model_client *known = random_client();
    struct client *client = NULL;
    if (known) {
        const struct client_identity identity = fixture_identity(known->pid);
        const int r = core_join(core, &identity, fixture.now_ms, &client);
        EXPECT(r == (known->ended ? CLIENTS_E_ENDING : CLIENTS_OK));
        EXPECT(r != 0 || client == known->client);
    }
}

static void step_end(void)
{
    struct model_client *client = random_living();
    if (client && (!is_growing() || below(8) == 0)) {
        model_client_end(&model, client, below(2) == 0);
        core_end(core, client->client, client->left, fixture.now_ms);
    }
}

static void buried(const struct obituary *obituary, uint32_t slot, void *user)
{
    (void)user;
    struct model_client *client = model_client(&model, obituary->identity.pid);
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
    seen.n_buried++;
}

static bool is_live_block(const struct client *client, uint64_t offset)
{
    struct direct_block found;
    return direct_find(&core->direct, client, (struct seg_off){offset}, &found) == 0;
}

/* Takes out of the model what the core has taken back from those who have ended. */
static void forget_what_was_reaped(void)
{
    for (uint32_t i = model.n_blocks; i-- > 0;) {
        const struct model_client *owner = model_client(&model, model.blocks[i].pid);
        if (owner->buried ||
            (owner->ended && !is_live_block(owner->client, model.blocks[i].offset))) {
            model_block_remove(&model, &model.blocks[i]);
        }
    }
    for (uint32_t i = model.n_clients; i-- > 0;) {
        if (model.clients[i].buried) {
            model_client_remove(&model, &model.clients[i]);
        }
    }
}

static void step_reap(void)
{
    core_reap(core, 1 + below(100), buried, NULL);
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
        .born = core_tick(core, fixture.now_ms),
    };
    EXPECT(off.bytes % (num_bytes >= 64 ? 64 : 16) == 0);
    EXPECT(model.n_blocks < MODEL_BLOCKS_MAX);
    EXPECT(model_block_add(&model, &block, core_segment_bytes(core)));
    seen.n_allocated++;
    seen.most_blocks = model.n_blocks > seen.most_blocks ? model.n_blocks : seen.most_blocks;
}

static void step_allocate(void)
{
    const struct model_client *client = random_living();
    if (!client) {
        return;
    }
    /* Half of them small, or a few large ones would leave no room for many blocks. */
    const uint64_t num_bytes = seeded_log(&seeded, below(2) ? SIZE_BITS : SIZE_BITS / 2);
    const uint32_t reason = below(N_REASONS);
    const char *text = model_reason(reason);
    const bool has_room = model_room(core, num_bytes);
    struct seg_off off;
    const int r = direct_allocate(&core->direct, client->client, num_bytes, text, strlen(text),
                                  core_tick(core, fixture.now_ms), &off);
    EXPECT(r == (has_room ? DIRECT_OK : DIRECT_E_FULL));
    if (r == 0) {
        allocated(client, num_bytes, reason, off);
    } else {
        seen.n_refused++;
    }
}

static void release(struct model_block *block)
{
    const struct model_client *owner = model_client(&model, block->pid);
    const struct seg_off off = {block->offset};
    struct direct_block released;
    EXPECT(direct_release(&core->direct, owner->client, off, &released) == 0);
    EXPECT(released.num_bytes == block->num_bytes);
    model_block_remove(&model, block);
    seen.n_released++;
    /* Once more, through a copy of the pointer. */
    const int r = direct_release(&core->direct, owner->client, off, &released);
    EXPECT(r == DIRECT_E_RELEASED || r == DIRECT_E_WILD);
}

static void step_release(void)
{
    struct model_block *block = random_block();
    const bool spared = is_growing() && below(3) != 0;
    if (block && !spared && !model_client(&model, block->pid)->ended) {
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
    const uint64_t offset = seeded_next(&seeded) % (core_segment_bytes(core) + PAGE_BYTES);
    const struct model_block *around = model_block_around(&model, offset);
    struct direct_block found;
    const int r = direct_release(&core->direct, client->client, (struct seg_off){offset}, &found);
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
        model_block_remove(&model, model_block(&model, offset));
    }
}

static void step_release_foreign_and_interior(void)
{
    const struct model_block *block = random_block();
    const struct model_client *client = random_living();
    if (!block || !client) {
        return;
    }
    struct direct_block found;
    const uint64_t inside = block->offset + 1 + below(4096);
    if (client->pid != block->pid) {
        const struct seg_off off = {block->offset};
        EXPECT(direct_release(&core->direct, client->client, off, &found) == DIRECT_E_FOREIGN);
        EXPECT(found.num_bytes == block->num_bytes);
    }
    if (inside < block->offset + block->num_bytes) {
        const struct seg_off off = {inside};
        EXPECT(direct_release(&core->direct, client->client, off, &found) == DIRECT_E_INTERIOR);
        EXPECT(found.off.bytes == block->offset);
    }
}

static void step_size_of(void)
{
    const struct model_block *block = random_block();
    if (block) {
        struct direct_block found;
        const struct client *owner = model_client(&model, block->pid)->client;
        const struct seg_off off = {block->offset};
        EXPECT(direct_find(&core->direct, owner, off, &found) == 0);
        EXPECT(found.num_bytes == block->num_bytes);
    }
}

/* --------------------------------------------------------------------------------- queries ---- */

static bool walked(const struct direct_block *found, void *user)
{
    const uint64_t *from = user;
    struct model_block *block = model_block(&model, found->off.bytes);
    EXPECT(block != NULL);
    EXPECT(found->off.bytes >= *from);
    EXPECT(found->num_bytes == block->num_bytes);
    block->n_visits++;
    return below(50) != 0 || --block->n_visits > 0; /* now and then stop before a block */
}

/* One step of a walk over all blocks; other steps change them between two of its own. */
static void step_walk(void)
{
    if (!walk.under_way) {
        for (uint32_t i = 0; i < model.n_blocks; i++) {
            model.blocks[i].was_there = true;
            model.blocks[i].n_visits = 0;
        }
        walk.under_way = true;
        walk.from = (struct seg_off){0};
    }
    walk.from = direct_walk(&core->direct, walk.from, 1 + below(300), walked, &walk.from.bytes);
    if (walk.from.bytes != 0) {
        return;
    }
    for (uint32_t i = 0; i < model.n_blocks; i++) {
        EXPECT(model.blocks[i].n_visits <= 1);
        EXPECT(model.blocks[i].n_visits == 1 || !model.blocks[i].was_there);
    }
    walk.under_way = false;
    seen.n_walks++;
}

static void step_ledger(void)
{
    struct scan *scan = NULL;
    EXPECT(scan_begin(core, SCAN_FOR_LEDGER, below(3), 0, &scan) == 0);
    while (!scan->done) {
        scan_step(scan, core, 0);
    }
    uint64_t n_blocks = 0;
    uint64_t num_bytes = 0;
    for (size_t i = 0; i < tally_n_groups(scan->tally); i++) {
        n_blocks += tally_group(scan->tally, i)->n_blocks;
        num_bytes += tally_group(scan->tally, i)->num_bytes;
    }
    scan_end(core, &scan);
    EXPECT(n_blocks == model.n_blocks);
    EXPECT(num_bytes == model.used_bytes);
}

static void step_time(void)
{
    fixture.now_ms += below(1000);
}

/* ------------------------------------------------------------------------------ the driver ---- */

static const struct {
    void (*operation)(void);
    uint32_t weight;
} operations[] = {
    {step_join, 4},         {step_come_back, 2},
    {step_end, 2},          {step_reap, 12},
    {step_allocate, 100},   {step_release, 60},
    {step_release_many, 2}, {step_release_any_offset, 10},
    {step_size_of, 10},     {step_release_foreign_and_interior, 10},
    {step_walk, 15},        {step_ledger, 1},
    {step_time, 10},
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
    for (uint32_t i = 0; i < model.n_clients; i++) {
        if (!model.clients[i].ended) {
            model_client_end(&model, &model.clients[i], false);
            core_end(core, model.clients[i].client, false, fixture.now_ms);
        }
    }
    while (core_has_dead(core)) {
        step_reap();
        EXPECT(core_check(core) == 0);
    }
    EXPECT(model.n_blocks == 0);
    EXPECT(core->direct.n_blocks == 0);
    EXPECT(core_free_bytes(core) == core_segment_bytes(core) - PAGE_BYTES);
    EXPECT(core_largest_hole_bytes(core) == core_free_bytes(core));
}

static void run_steps(void)
{
    for (step = 0; step < N_STEPS; step++) {
        random_step();
        EXPECT(core_check(core) == 0);
        EXPECT(core->direct.n_blocks == model.n_blocks);
        EXPECT(core->direct.used_bytes == model.used_bytes);
        if (step % 50 == 0) {
            EXPECT(model_equals(&model, core));
        }
    }
    end_all();
}

static void run(uint64_t seed_of_run, uint32_t n_pages)
{
    seed = seed_of_run;
    seeded.state = seed;
    next_pid = 1;
    memset(&model, 0, sizeof(model));
    memset(&seen, 0, sizeof(seen));
    memset(&walk, 0, sizeof(walk));
    fixture_init(&fixture, n_pages, MODEL_CLIENTS_MAX);
    core = &fixture.core;

    broken_expected = true;
    if (setjmp(broken_to) != 0) {
        fail_msg("seed %llu, step %u: broken invariant: %s", (unsigned long long)seed, step,
                 broken_condition);
    }
    run_steps();
    broken_expected = false;

    print_message("seed %llu: %u steps on %u pages: %u allocated, %u refused, %u released, "
                  "%u buried, %u walks, at most %u blocks\n",
                  (unsigned long long)seed, N_STEPS, n_pages, seen.n_allocated, seen.n_refused,
                  seen.n_released, seen.n_buried, seen.n_walks, seen.most_blocks);
    assert_true(seen.n_allocated > N_STEPS / 10);
    assert_true(seen.n_refused > N_STEPS / 1000);
    assert_true(seen.n_buried > N_STEPS / 1000);
    assert_true(seen.n_walks > N_STEPS / 1000);
    fixture_fini(&fixture);
}

static void test_core_like_the_model_on_the_smallest_segment(void **state)
{
    (void)state;
    run(1, SEGMENT_MIN_BYTES / PAGE_BYTES);
}

static void test_core_like_the_model_on_an_odd_number_of_pages(void **state)
{
    (void)state;
    run(2, 97);
}

static void test_core_like_the_model_on_2_MiB(void **state)
{
    (void)state;
    run(3, 128);
}

static void test_core_like_the_model_on_2_MiB_again(void **state)
{
    (void)state;
    run(20260731, 128);
}

static void test_core_like_the_model_on_4_MiB(void **state)
{
    (void)state;
    run(5, 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_core_like_the_model_on_the_smallest_segment),
        cmocka_unit_test(test_core_like_the_model_on_an_odd_number_of_pages),
        cmocka_unit_test(test_core_like_the_model_on_2_MiB),
        cmocka_unit_test(test_core_like_the_model_on_2_MiB_again),
        cmocka_unit_test(test_core_like_the_model_on_4_MiB),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
