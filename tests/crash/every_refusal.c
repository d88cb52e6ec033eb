/* SPDX-License-Identifier: MIT */
/*
 * every_refusal.c - the daemon is killed before each store of noting what is refused
 *
 * Many ask for this and that, so new refusals and repeated ones follow each other. Each is noted
 * once as it should be; then, for every k, again from the same state and stopped before its k-th
 * store, and another server reads what is in the file. It must tell all that there was before, or
 * all that there is now: a refusal's facts are those of one time, its count too.
 *
 * Usage: crash_every_refusal [TIMES [SEED]]. Prints the seed.
 */
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/refusals.h"
#include "proto/store.h"

#define NEVER UINT64_MAX
#define N_PAGES 16
#define N_CLIENTS 12
#define TOLD_MAX ((size_t)REFUSALS_PLACES)

static jmp_buf killed;
static uint64_t kill_at = NEVER;
static uint64_t n_stores;
static uint64_t n_crashes;
static uint64_t n_compared;
static uint64_t seed;
static struct state state;
static struct refusals refusals;

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "line %d: not true: %s\n", __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

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

static uint32_t random_below(uint32_t limit)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % limit;
}

/* What is told of one; what is not meant of it is left out. */
struct told {
    uint64_t number;
    uint64_t n_times;
    uint64_t first_ms;
    uint32_t pid;
    char reason[REASON_MAX_BYTES + 1];
    struct refusal_facts facts;
};

struct all_told {
    struct told rows[TOLD_MAX];
    size_t n_rows;
};

/* What another server tells. */
static void tell(struct all_told *all)
{
    struct refusals next;
    refusals_init(&next, &state);
    EXPECT(refusals_check(&next) == 0);
    memset(all, 0, sizeof(*all));
    const struct refusal *refusal = refusals_next(&next, 0);
    for (; refusal; refusal = refusals_next(&next, state_load(&refusal->number) + 1)) {
        EXPECT(all->n_rows < REFUSALS_KEPT);
        struct told *row = &all->rows[all->n_rows++];
        row->number = state_load(&refusal->number);
        row->n_times = state_load(&refusal->n_times);
        row->first_ms = refusal->first_ms;
        row->pid = refusal->pid;
        memcpy(row->reason, refusal->reason, refusal->n_reason_bytes);
        row->facts = *refusal_last(refusal);
    }
}

struct asked {
    struct client_identity identity;
    struct refusal_facts facts;
    char reason[16];
    uint64_t at_ms;
};

static struct asked asked_at(uint64_t at)
{
    struct asked asked = {.identity = {.pid = 1 + random_below(N_CLIENTS)}, .at_ms = at * 10};
    (void)snprintf(asked.identity.command, COMMAND_BYTES, "worker-%u", asked.identity.pid);
    (void)snprintf(asked.reason, sizeof(asked.reason), "reason/%u", random_below(2));
    asked.facts = (struct refusal_facts){
        .asked = random_below(2) == 0 ? ASKED_BLOCK : ASKED_LEASE,
        .why = WHY_NO_ROOM,
        .num_bytes = at,
        .free_bytes = at,
        .largest_extent_bytes = at,
        .used = at,
        .limit = at,
    };
    return asked;
}

/* Return: false: it was stopped. */
static bool note(const struct asked *asked, uint64_t at)
{
    n_stores = 0;
    kill_at = at;
    if (setjmp(killed) != 0) {
        n_crashes++;
        return false;
    }
    refusals_note(&refusals, &asked->identity, &asked->facts, asked->reason, strlen(asked->reason),
                  asked->at_ms);
    kill_at = NEVER;
    return true;
}

static bool rows_are_equal(const struct told *one, const struct told *other)
{
    return one->number == other->number && one->n_times == other->n_times &&
           one->first_ms == other->first_ms && one->pid == other->pid &&
           strcmp(one->reason, other->reason) == 0 &&
           memcmp(&one->facts, &other->facts, sizeof(one->facts)) == 0;
}

static bool are_equal(const struct all_told *one, const struct all_told *other)
{
    bool are = one->n_rows == other->n_rows;
    n_compared++;
    for (size_t i = 0; are && i < one->n_rows; i++) {
        are = rows_are_equal(&one->rows[i], &other->rows[i]);
    }
    return are;
}

/* All that is kept of one time is of that time. */
static void check_facts(const struct all_told *all)
{
    for (size_t i = 0; i < all->n_rows; i++) {
        const struct refusal_facts *facts = &all->rows[i].facts;
        EXPECT(facts->at_ms == facts->num_bytes * 10);
        EXPECT(facts->free_bytes == facts->num_bytes);
        EXPECT(facts->limit == facts->num_bytes);
    }
}

static void note_and_crash(uint64_t at)
{
    static struct all_told before;
    static struct all_told after;
    static struct all_told now;
    static struct state_refusals image;
    const struct refusals refusals_before = refusals;
    const struct asked asked = asked_at(at);
    memcpy(&image, (void *)state.refusals, sizeof(image));
    tell(&before);
    EXPECT(note(&asked, NEVER));
    tell(&after);
    EXPECT(!are_equal(&before, &after));
    bool is_done = false;
    for (uint64_t k = 0; !is_done; k++) {
        memcpy((void *)state.refusals, &image, sizeof(image));
        refusals = refusals_before;
        is_done = note(&asked, k);
        tell(&now);
        check_facts(&now);
        EXPECT(are_equal(&now, &after) || (!is_done && are_equal(&now, &before)));
    }
}

int main(int argc, char **argv)
{
    const uint64_t n_times = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000;
    seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 20261130;
    printf("%llu times, seed %llu\n", (unsigned long long)n_times, (unsigned long long)seed);
    void *file = calloc(1, state_bytes(N_PAGES));
    EXPECT(file != NULL);
    state_format(&state, file, N_PAGES, N_PAGES, 1, 1);
    refusals_init(&refusals, &state);
    for (uint64_t at = 1; at <= n_times; at++) {
        note_and_crash(at);
    }
    printf("%llu times stopped, %llu comparisons\n", (unsigned long long)n_crashes,
           (unsigned long long)n_compared);
    free(file);
    return n_crashes == 0;
}
