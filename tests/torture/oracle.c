/* SPDX-License-Identifier: MIT */
#include "tests/torture/oracle.h"

#include <string.h>
#include <sys/mman.h>

#include <kmem/kmem.h>

#include "tests/system/harness.h"

/* More open steps than that, those of a kmem_close(), are bounded and not enumerated. */
#define OPEN_MAX 12

/* A hierarchy, a detail, no reason, UTF-8, the longest, one letter. */
static const char *const reasons[ORACLE_REASONS] = {
    "torture/hot",
    "torture/cold#seldom used",
    NULL,
    "torture/gr\xc3\xb6\xc3\x9f"
    "e",
    "torture/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234"
    "5678901234567890123456789012345678",
    "x",
};

struct world *oracle_world(void)
{
    void *const memory =
        mmap(NULL, sizeof(struct world), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    expect_call(memory != MAP_FAILED);
    return memory;
}

const char *oracle_reason(uint32_t reason)
{
    return reasons[reason];
}

const char *oracle_shown_reason(uint32_t reason)
{
    return reasons[reason] != NULL ? reasons[reason] : KMEM_NO_REASON;
}

void oracle_begin(struct oracle *oracle, uint64_t key, uint64_t seed, uint32_t n_threads)
{
    const uint32_t number = oracle->number;
    memset(oracle, 0, sizeof(*oracle));
    oracle->number = number;
    oracle->key = key;
    oracle->seed = seed;
    oracle->n_threads = n_threads;
}

bool oracle_claim(struct oracle_entry *entry, enum oracle_state from, enum oracle_state to)
{
    uint32_t expected = from;
    /* Acquire: the entry's fields, written before oracle_set(). Release: the driver's loads. */
    return atomic_compare_exchange_strong_explicit(&entry->state, &expected, to,
                                                   memory_order_acq_rel, memory_order_relaxed);
}

void oracle_set(struct oracle_entry *entry, enum oracle_state state)
{
    /* Release: with the acquire of oracle_claim() and oracle_get(). */
    atomic_store_explicit(&entry->state, state, memory_order_release);
}

enum oracle_state oracle_get(const struct oracle_entry *entry)
{
    /* Acquire: with the release of oracle_set(). */
    return (enum oracle_state)atomic_load_explicit(&entry->state, memory_order_acquire);
}

void oracle_add_up(const struct oracle *oracle, struct oracle_estate *ret_estate)
{
    *ret_estate = (struct oracle_estate){.n_live = 0};
    for (unsigned int i = 0; i < ORACLE_ENTRIES; i++) {
        const struct oracle_entry *const entry = &oracle->entries[i];
        const enum oracle_state state = oracle_get(entry);
        if (state == ORACLE_LIVE || state == ORACLE_LOOKING) {
            ret_estate->n_live++;
            ret_estate->live_bytes += entry->num_bytes;
        } else if (state == ORACLE_TAKING || state == ORACLE_GIVING) {
            ret_estate->open_bytes[ret_estate->n_open++] = entry->num_bytes;
        }
    }
}

bool oracle_explains(const struct oracle_estate *estate, uint64_t n_blocks, uint64_t num_bytes)
{
    if (n_blocks < estate->n_live || n_blocks > estate->n_live + estate->n_open) {
        return false;
    }
    if (estate->n_open > OPEN_MAX) {
        return num_bytes >= estate->live_bytes;
    }
    for (uint32_t set = 0; set < (1U << estate->n_open); set++) {
        uint64_t n = estate->n_live;
        uint64_t sum_bytes = estate->live_bytes;
        for (uint32_t i = 0; i < estate->n_open; i++) {
            n += (set >> i) & 1U;
            sum_bytes += ((set >> i) & 1U) * estate->open_bytes[i];
        }
        if (n == n_blocks && sum_bytes == num_bytes) {
            return true;
        }
    }
    return false;
}
