/* SPDX-License-Identifier: MIT */
/*
 * every_store.c - the daemon is killed before each of its stores
 *
 * Every store that outlives the daemon and means something passes store_hook() (proto/store.h),
 * which in this program can stop whatever is under way; so do those that mean nothing yet, at least
 * once before each group of them, and where bytes are copied once more in the middle. What is
 * derived from others does not, since every server derives it anew: free lists, the counts in
 * heads, the lists of slabs with room. (The client's own stores are met elsewhere: points.c, and
 * the models in tests/model.)
 *
 * From a random state, an operation is done once as it should be; then, for every k, again from the
 * same state, and stopped before its k-th store. What is in memory is thrown away, a new core is
 * made of what is in the files, and must pass core_check(). The client comes back and asks again
 * with the same sequence number; now everything must be exactly as if nothing had happened. If the
 * operation was over before its server was killed, the same must be true of a client that has had
 * its answer and does not ask, and whoever asks gets that answer once more.
 *
 * All of that again for every j, with the recovery itself stopped before its j-th store, and for
 * every i, with the recovery from that stopped before its i-th. To recover once more what was
 * recovered stores nothing. Each time everybody ends in the end, and the segment is as empty as it
 * was at first.
 *
 * Usage: crash_every_store [STATES [SEED]]. Prints the seed.
 */
#include <malloc.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/crash/about_sharing.h"
#include "tests/crash/check.h"
#include "tests/crash/image.h"
#include "tests/crash/operation.h"
#include "tests/crash/world.h"

static struct image before;
static struct image after_crash;
static struct image after_second;
static struct image recovered;
static struct model model_told; /* after the operation, as its client knows it */
static struct answer answer_told;
static uint64_t n_crashes;

/* --------------------------------------------------------------------------------- crashes ---- */

/* Who joins anew or has ended does not come back; who was leaving may find that it is gone. */
static void everybody_comes_back(void)
{
    for (uint32_t i = 0; i < N_CLIENTS; i++) {
        const bool is_leaving = !is_told && op_ends() && i == op.client;
        if (model_of(i) && (!is_leaving || op.kind == OP_GOODBYE)) {
            const bool is_there = come_back(i);
            EXPECT(is_there || is_leaving);
        }
    }
}

/* From the image of before, with the core that follows from it and everybody connected. */
static void start_again(void)
{
    phase = "starting";
    at_j = 0;
    at_i = 0;
    image_load(&before);
    core_make();
    is_told = true;
    model = model_before;
    everybody_comes_back();
}

/* The client asks again, and everything must be as if nothing had happened. */
static void finish_by_asking(bool was_done)
{
    const bool has_sequence = op.kind == OP_ALLOCATE || op.kind == OP_ALLOCATE_LARGE ||
                              op.kind == OP_RELEASE || op.kind == OP_LEASE;
    phase = "asking again";
    is_told = false;
    model = model_before;
    everybody_comes_back();
    op_perform();
    if (was_done && has_sequence) {
        EXPECT(answer.body_case == answer_told.body_case);
        EXPECT(answer.offset == answer_told.offset);
        EXPECT(answer.page == answer_told.page);
        EXPECT(answer.n_pages == answer_told.n_pages);
    }
}

/* The client knows all, and what it knows must be true. */
static void finish_by_knowing(void)
{
    phase = "knowing";
    is_told = true;
    model = model_told;
    everybody_comes_back();
}

enum finish { ASKING_AGAIN, ASKING_DONE, KNOWING };

static void finish(enum finish how)
{
    world_reap();
    if (how == KNOWING) {
        finish_by_knowing();
    } else {
        finish_by_asking(how == ASKING_DONE);
    }
    check();
    phase = "ending";
    check_end();
    core_abandon(&core);
}

/* Recovers from an image, stopped before a store. Return: false if there was none. */
static bool recovery_is_stopped(const struct image *image, uint64_t at)
{
    phase = "recovering";
    image_load(image);
    n_stores = 0;
    kill_at = at;
    if (setjmp(killed) == 0) {
        core_make();
        kill_at = NEVER;
        return false;
    }
    n_crashes++;
    check_given();
    core_abandon(&core);
    return true;
}

/* What was recovered is recovered again: nothing is stored, no byte changes. */
static void recover_again(void)
{
    phase = "recovering again";
    image_save(&recovered);
    core_abandon(&core);
    n_stores = 0;
    core_make();
    EXPECT(n_stores == 0);
    EXPECT(image_is(&recovered));
}

/* The recovery was stopped, and the next one is stopped as well, before every store of it. */
static void crash_second_recovery(enum finish how)
{
    bool stopped = true;
    image_save(&after_second);
    for (at_i = 0; stopped; at_i++) {
        stopped = recovery_is_stopped(&after_second, at_i);
        if (stopped) {
            core_make();
        }
        finish(how);
    }
    at_i = 0;
    image_load(&after_second);
}

static void crash_recovery(enum finish how)
{
    bool stopped = true;
    for (at_j = 0; stopped; at_j++) {
        stopped = recovery_is_stopped(&after_crash, at_j);
        if (stopped) {
            crash_second_recovery(how);
            core_make();
        } else {
            recover_again();
        }
        finish(how);
    }
}

/* Performs the operation, killed before the k-th store. Return: false if that was the end of it. */
static bool operation_is_stopped(uint64_t k)
{
    phase = "working";
    n_stores = 0;
    kill_at = k;
    const bool stopped = setjmp(killed) != 0;
    if (!stopped) {
        op_perform();
        world_reap();
        kill_at = NEVER; /* killed before or behind the answer */
        model_told = model;
        answer_told = answer;
    }
    n_crashes++;
    check_given();
    image_save(&after_crash);
    core_abandon(&core);
    return stopped;
}

static void crash_everywhere(void)
{
    image_save(&before);
    check_remember();
    bool stopped = true;
    for (at_k = 0; stopped; at_k++) {
        stopped = operation_is_stopped(at_k);
        if (stopped) {
            crash_recovery(ASKING_AGAIN);
        } else {
            crash_recovery(KNOWING);
        }
        if (!stopped && !op_is_silent()) {
            crash_recovery(ASKING_DONE);
        }
        start_again();
    }
    phase = "working";
    op_perform();
    world_reap();
    check();
}

/* ------------------------------------------------------------------------- the first start ---- */

static bool first_start_is_stopped(uint64_t at)
{
    n_stores = 0;
    kill_at = at;
    if (setjmp(killed) == 0) {
        first_start();
        kill_at = NEVER;
        return false;
    }
    n_crashes++;
    core_abandon(&core);
    return true;
}

/* The files are begun; stopped before every store, and again in the next attempt. */
static void crash_first_start(void)
{
    bool stopped = true;
    phase = "starting for the first time";
    for (at_k = 0; stopped; at_k++) {
        bool stopped_again = true;
        for (at_j = 0; stopped_again; at_j++) {
            world_clear();
            stopped = first_start_is_stopped(at_k);
            stopped_again = stopped && first_start_is_stopped(at_j);
            if (stopped_again) {
                first_start();
            }
            EXPECT(core.config.instance == config.instance);
            check_remember();
            check_end();
            core_abandon(&core);
        }
    }
}

/* ---------------------------------------------------------------------------------- states ---- */

static void do_random_steps(uint32_t n_steps)
{
    static const enum op_kind kinds[] = {
        OP_SLAB,    OP_SLAB,    OP_ALLOCATE, OP_ALLOCATE, OP_ALLOCATE, OP_ALLOCATE_LARGE,
        OP_RELEASE, OP_RELEASE, OP_LEASE,    OP_LEASE,    OP_RETURN,   OP_TAKE,
        OP_TAKE,    OP_JOIN,    OP_JOIN,     OP_JOIN,     OP_JOIN,     OP_RESUME,
        OP_REJOIN,  OP_GOODBYE, OP_END,      OP_RESIZE};
    for (uint32_t i = 0; i < n_steps; i++) {
        const uint32_t which = seeded_below(&seeded, sizeof(kinds) / sizeof(kinds[0]));
        check_remember();
        if (op_choose(kinds[which])) {
            op_perform();
        }
    }
}

static void state_begin(void)
{
    world_clear();
    first_start();
    check_remember();
    op = (struct op){.kind = OP_JOIN, .client = 0};
    op_perform();
    do_random_steps(seeded_below(&seeded, 80));
}

static void open_all(void)
{
    /* A core takes some MiB that it hardly touches, and here one is made every 30 us. */
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 30); /* slower if it is refused */
    (void)mallopt(M_TRIM_THRESHOLD, 1 << 30); /* likewise */
    world_open();
    first_start();
    images_open();
    core_abandon(&core);
    image_init(&before);
    image_init(&after_crash);
    image_init(&after_second);
    image_init(&recovered);
}

static void close_all(void)
{
    image_fini(&before);
    image_fini(&after_crash);
    image_fini(&after_second);
    image_fini(&recovered);
    world_close();
}

static bool stores_nothing(uint32_t request)
{
    switch (request) {
    case KMEM__REQUEST__BODY_SIZE_OF:
    case KMEM__REQUEST__BODY_USAGE:
    case KMEM__REQUEST__BODY_LEDGER:
    case KMEM__REQUEST__BODY_BLOCKS:
    case KMEM__REQUEST__BODY_CLIENTS:
    case KMEM__REQUEST__BODY_OBITUARIES:
    case KMEM__REQUEST__BODY_HOLDERS:
    case KMEM__REQUEST__BODY_NAMES:
    case KMEM__REQUEST__BODY_WATCH:
    case KMEM__REQUEST__BODY_PAGES:
    case KMEM__REQUEST__BODY_AT:
    case KMEM__REQUEST__BODY_CHANGES:
    case KMEM__REQUEST__BODY_RELOAD:
    case KMEM__REQUEST__BODY_HISTORY:
    case KMEM__REQUEST__BODY_LIFETIMES:
        return true;
    default:
        return false;
    }
}

/*
 * A request that is new in the protocol fails here until an operation asks it, or it is above, or
 * every_answer.c asks it.
 */
static bool all_requests_were_asked(void)
{
    bool were_asked = true;
    for (unsigned i = 0; i < kmem__request__descriptor.n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &kmem__request__descriptor.fields[i];
        if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) && !stores_nothing(field->id) &&
            !is_about_sharing(field->id) &&
            (field->id >= REQUESTS_MAX || n_asked[field->id] == 0)) {
            (void)fprintf(stderr, "the request %s was never asked\n", field->name);
            were_asked = false;
        }
    }
    return were_asked;
}

int main(int argc, char **argv)
{
    const uint64_t n_states = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 20261123;
    uint64_t n_of_kind[OP_KINDS] = {0};
    printf("%llu states, seed %llu\n", (unsigned long long)n_states, (unsigned long long)seed);
    seeded = (struct seeded){.state = seed};
    open_all();
    crash_first_start();
    for (n_state = 0; n_state < n_states; n_state++) {
        state_begin();
        for (uint32_t i = 0; i < OP_KINDS; i++) {
            if (op_choose((enum op_kind)i)) {
                crash_everywhere();
                n_of_kind[i]++;
            }
        }
        core_abandon(&core);
    }
    close_all();
    printf("%llu times stopped:", (unsigned long long)n_crashes);
    for (uint32_t i = 0; i < OP_KINDS; i++) {
        printf(" %llu", (unsigned long long)n_of_kind[i]);
        if (n_states >= 100 && n_of_kind[i] == 0) {
            (void)fprintf(stderr, "operation %u was never done\n", i);
            return 1;
        }
    }
    printf(", slabs looked at %llu times\n", (unsigned long long)n_barriers);
    /* States differ: one in a hundred looks at a thousand slabs. */
    return n_states >= 100 && (n_barriers == 0 || !all_requests_were_asked());
}
