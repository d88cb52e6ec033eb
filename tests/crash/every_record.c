/* SPDX-License-Identifier: MIT */
/*
 * every_record.c - the daemon is killed before each store of the records of sharing
 *
 * Beside every_store.c, which kills it in the requests of clients: here the records are changed
 * directly, each kind of change from many states. It is killed before the k-th store, for every k,
 * and another server makes its tables of what is in the file. That must be what was before or what
 * was to be, and nothing else, and from one store on it is what was to be. The other server stores
 * nothing when it starts. What was not done is done then, and in the end everything is let go of,
 * and nothing is left.
 *
 * Usage: crash_every_record [STATES [SEED]]. Prints the seed.
 */
#include <malloc.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/store.h"
#include "tests/unit/records.h"

#define NEVER UINT64_MAX

static jmp_buf killed;
static uint64_t kill_at = NEVER;
static uint64_t n_stores;
static uint64_t n_crashes;
static uint64_t n_state;
static uint64_t at_k;
static struct records_op op;

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fail_here(__LINE__, #condition);                                                       \
        }                                                                                          \
    } while (0)

static _Noreturn void fail_here(int line, const char *condition)
{
    (void)fprintf(stderr, "line %d: not true: %s\n    state %llu, change %d, at store %llu\n", line,
                  condition, (unsigned long long)n_state, (int)op.kind, (unsigned long long)at_k);
    abort();
}

void store_hook(void)
{
    if (n_stores++ == kill_at) {
        kill_at = NEVER;
        longjmp(killed, 1);
    }
}

/* A plain copy may be cut anywhere; nothing may depend on where. */
void store_prepare_bytes(void *where, const void *bytes, size_t n_bytes)
{
    const size_t half = n_bytes / 2;
    store_hook();
    memcpy(where, bytes, half);
    store_hook();
    memcpy((unsigned char *)where + half, (const unsigned char *)bytes + half, n_bytes - half);
}

static struct records records; /* before the change */
static struct records victim;  /* is killed in it */
static struct records after;   /* goes on */

static void recover_as(struct records *to, const struct records *from)
{
    const char *why;
    records_abandon(to);
    records_copy(to, from);
    EXPECT(records_recover(to, &why) == 0);
    EXPECT(records_check(to) == 0);
}

/* Return: whether it was killed. */
static bool change_is_stopped(void)
{
    recover_as(&victim, &records);
    n_stores = 0;
    kill_at = at_k;
    if (setjmp(killed) != 0) {
        n_crashes++;
        return true;
    }
    records_op_do(&victim, &op);
    kill_at = NEVER;
    return false;
}

/* Another server starts; it stores nothing. */
static void start_after_the_crash(void)
{
    n_stores = 0;
    recover_as(&after, &victim);
    EXPECT(n_stores == 0);
    EXPECT(!records_differ(&after, &victim));
}

static void crash_everywhere(const struct records_model *before)
{
    bool was_done = false;
    bool stopped = true;
    const struct records_op asked = op;
    for (at_k = 0; stopped; at_k++) {
        struct records_model wanted = *before;
        op = asked;
        stopped = change_is_stopped();
        records_op_note(&wanted, &op);
        start_after_the_crash();
        const bool is_done = records_are(&after, &wanted);
        EXPECT(is_done || (stopped && !was_done && records_are(&after, before)));
        was_done = is_done;
        if (!is_done) {
            wanted = *before;
            records_op_do(&after, &op);
            records_op_note(&wanted, &op);
            EXPECT(records_are(&after, &wanted));
            EXPECT(records_check(&after) == 0);
        }
        records_end(&after);
    }
}

static void do_random_changes(struct seeded *seeded, struct records_model *model, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const enum records_op_kind kind = seeded_below(seeded, RECORDS_OPS);
        if (records_op_choose(seeded, model, kind, &op)) {
            records_op_do(&records, &op);
            records_op_note(model, &op);
        }
    }
}

int main(int argc, char **argv)
{
    const uint64_t n_states = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
    const uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 20261129;
    struct seeded seeded = {.state = seed};
    uint64_t n_of_kind[RECORDS_OPS] = {0};
    printf("%llu states, seed %llu\n", (unsigned long long)n_states, (unsigned long long)seed);
    records_open(&records);
    records_open(&victim);
    records_open(&after);
    for (n_state = 0; n_state < n_states; n_state++) {
        struct records_model model = {.n_shares = 0};
        records_end(&records);
        do_random_changes(&seeded, &model, seeded_below(&seeded, 120));
        for (uint32_t kind = 0; kind < RECORDS_OPS; kind++) {
            if (records_op_choose(&seeded, &model, (enum records_op_kind)kind, &op)) {
                crash_everywhere(&model);
                n_of_kind[kind]++;
            }
        }
    }
    records_close(&records);
    records_close(&victim);
    records_close(&after);
    printf("%llu times stopped:", (unsigned long long)n_crashes);
    for (uint32_t kind = 0; kind < RECORDS_OPS; kind++) {
        printf(" %llu", (unsigned long long)n_of_kind[kind]);
        if (n_states >= 100 && n_of_kind[kind] == 0) {
            (void)fprintf(stderr, "change %u was never made\n", kind);
            return 1;
        }
    }
    printf("\n");
    return 0;
}
