/* SPDX-License-Identifier: MIT */
/*
 * A block's entry has 24 bits for its reason: a number in the table at the end of the process's
 * ledger. The table only grows; a number once given out means the same text as long as the process
 * lives, so the daemon reads it whenever it likes, and no entry is ever rewritten.
 *
 *      caller's pointer --- remembered by the thread, text compared --> number      (1 to 2 ns)
 *                 `-------- hash table of the process, under a lock --> number      (some 50 ns)
 *                 `-------- appended to the ledger's table -----------> number      (once)
 *
 * The pointer alone proves nothing: a program may build its reasons in one buffer. So the text is
 * compared in every call; the pointer only says with which text to compare.
 *
 * Bounded: a program that puts a sequence number into each reason fills the table, after which
 * reasons lose their detail, and then their name. That is what the daemon does with direct blocks
 * as well.
 *
 * The hash table is private memory: it is derived, and it is twice as large as the ledger's table
 * is long, so that a probe ends soon.
 */
#include "client/heap/intern.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "client/map/map.h"
#include "proto/text.h"

#define INTERN_SLOTS (2 * LEDGER_REASONS_MAX)
/* The hash table, and behind it the verdicts. */
#define INTERN_TABLE_BYTES ((size_t)INTERN_SLOTS * sizeof(uint32_t) + LEDGER_REASONS_MAX)

enum { VERDICT_UNKNOWN, VERDICT_LEASED, VERDICT_DIRECT };

static_assert(LEDGER_REASONS_MAX <= ENTRY_REASONS_MAX, "every number fits an entry's word");

/* FNV-1a (Fowler, Noll, Vo), its upper half folded in. */
static uint32_t text_hash(const char *text, size_t n_bytes)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < n_bytes; i++) {
        hash = (hash ^ (unsigned char)text[i]) * UINT64_C(0x100000001b3);
    }
    return (uint32_t)(hash ^ hash >> 32);
}

static uint32_t intern_n_reasons(const struct intern *intern)
{
    /* Relaxed: only this process writes it, under the lock. */
    return (uint32_t)atomic_load_explicit(&intern->ledger->header->n_reasons, memory_order_relaxed);
}

static bool intern_is(const struct intern *intern, uint32_t id, const char *text, size_t n_bytes)
{
    const struct ledger_reason *reason = &intern->ledger->reasons[id];
    return reason->n_bytes == n_bytes && memcmp(reason->bytes, text, n_bytes) == 0;
}

/* The slot that has the text, or the empty one where it belongs. */
static _Atomic uint32_t *intern_slot(const struct intern *intern, const char *text, size_t n_bytes)
{
    uint32_t at = text_hash(text, n_bytes) % INTERN_SLOTS;
    for (;; at = (at + 1) % INTERN_SLOTS) {
        /* Relaxed: under the lock. Half of the slots are empty, so the loop ends. */
        const uint32_t id = atomic_load_explicit(&intern->ids[at], memory_order_relaxed);
        if (id == 0 || intern_is(intern, id, text, n_bytes)) {
            return &intern->ids[at];
        }
    }
}

static uint32_t intern_append(struct intern *intern, const char *text, size_t n_bytes)
{
    const uint32_t id = intern_n_reasons(intern);
    KMEM_ASSERT(id < LEDGER_REASONS_MAX);
    struct ledger_reason *reason = &intern->ledger->reasons[id];
    memcpy(reason->bytes, text, n_bytes);
    reason->n_bytes = (uint8_t)n_bytes;
    /* Before: nobody knows the number. After: the text is complete, and entries may name it. */
    store_commit(&intern->ledger->header->n_reasons, id + UINT64_C(1));
    return id;
}

int kmem__intern_init(struct intern *intern, struct ledger *ledger)
{
    void *ids = kmem__map_sparse(NULL, INTERN_TABLE_BYTES, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
    if (ids == MAP_FAILED) {
        return -ENOMEM;
    }
    /* What the parent knows is in a ledger that its child does not map. */
    (void)madvise(ids, INTERN_TABLE_BYTES, MADV_DONTFORK);
    intern->ids = ids;
    intern->verdicts = (unsigned char *)ids + (size_t)INTERN_SLOTS * sizeof(uint32_t);
    intern->ledger = ledger;
    return 0;
}

void kmem__intern_fini(struct intern *intern)
{
    if (intern->ids != NULL) {
        (void)munmap((void *)intern->ids, INTERN_TABLE_BYTES);
        intern->ids = NULL;
    }
}

static uint32_t intern_locked(struct intern *intern, const char *text, size_t n_bytes)
{
    _Atomic uint32_t *slot = intern_slot(intern, text, n_bytes);
    uint32_t id = atomic_load_explicit(slot, memory_order_relaxed); /* Relaxed: under the lock. */
    if (id == 0 && intern_n_reasons(intern) < LEDGER_REASONS_MAX) {
        id = intern_append(intern, text, n_bytes);
        atomic_store_explicit(slot, id, memory_order_relaxed); /* Relaxed: under the lock. */
    }
    return id;
}

uint32_t kmem__intern(struct intern *intern, const char *text, size_t n_bytes)
{
    KMEM_ASSERT(n_bytes <= REASON_MAX_BYTES);
    if (n_bytes == 0 || intern->ids == NULL) {
        return REASON_NONE;
    }
    (void)pthread_mutex_lock(&intern->lock);
    uint32_t id = intern_locked(intern, text, n_bytes);
    if (id == 0) {
        const char *detail = memchr(text, '#', n_bytes);
        intern->n_overflows++;
        if (detail != NULL && detail > text) {
            id = intern_locked(intern, text, (size_t)(detail - text));
        }
    }
    (void)pthread_mutex_unlock(&intern->lock);
    return id == 0 ? REASON_OTHER : id;
}

/* Under the lock. */
static void intern_know(struct intern *intern, uint32_t budgets)
{
    if (intern->budgets != budgets) {
        intern->budgets = budgets;
        intern->n_changes++;
        memset(intern->verdicts, VERDICT_UNKNOWN, LEDGER_REASONS_MAX);
    }
}

uint64_t kmem__intern_budgets(struct intern *intern, uint32_t budgets)
{
    (void)pthread_mutex_lock(&intern->lock);
    intern_know(intern, budgets);
    const uint64_t n_changes = intern->n_changes;
    (void)pthread_mutex_unlock(&intern->lock);
    return n_changes;
}

bool kmem__intern_may_carve(struct intern *intern, uint32_t budgets, const char *reason)
{
    char clean[REASON_MAX_BYTES + 1];
    const size_t n_bytes = text_clean(reason, clean, sizeof(clean));
    (void)pthread_mutex_lock(&intern->lock);
    /* Relaxed: under the lock. What is in no table yet has number 0, as what has no reason. */
    const uint32_t id = n_bytes == 0 ? REASON_NONE
                                     : atomic_load_explicit(intern_slot(intern, clean, n_bytes),
                                                            memory_order_relaxed);
    const bool may = intern->budgets == budgets && (n_bytes == 0 || id != 0) &&
                     intern->verdicts[id] == VERDICT_LEASED;
    (void)pthread_mutex_unlock(&intern->lock);
    return may;
}

void kmem__intern_judge(struct intern *intern, uint32_t budgets, const char *clean_reason,
                        bool is_direct_only)
{
    const size_t n_bytes = strlen(clean_reason);
    (void)pthread_mutex_lock(&intern->lock);
    intern_know(intern, budgets);
    const uint32_t id = n_bytes == 0 ? REASON_NONE : intern_locked(intern, clean_reason, n_bytes);
    if (n_bytes == 0 || id != 0) {
        intern->verdicts[id] = is_direct_only ? VERDICT_DIRECT : VERDICT_LEASED;
    }
    (void)pthread_mutex_unlock(&intern->lock);
}

static void remembered_set(struct remembered *it, const char *reason, size_t n_bytes, uint64_t word)
{
    const size_t before = (uintptr_t)reason % REASON_CHUNK_BYTES;
    const size_t end = before + n_bytes + 1; /* with the NUL */
    const size_t last = (end - 1) / REASON_CHUNK_BYTES;
    const uint32_t all = (UINT32_C(1) << REASON_CHUNK_BYTES) - 1;
    it->reason = reason;
    it->word = word;
    it->n_more = (uint32_t)last;
    it->first_mask = (UINT32_C(1) << before) - 1;
    it->last_mask = all & ~((UINT32_C(1) << (end - last * REASON_CHUNK_BYTES)) - 1);
    if (last == 0) {
        it->first_mask |= it->last_mask;
    }
    memset(it->chunks, 0, sizeof(it->chunks));
    memcpy((unsigned char *)it->chunks + before, reason, n_bytes);
}

uint64_t kmem__intern_remember(struct intern *intern, struct remembered *all, const char *reason)
{
    char clean[REASON_MAX_BYTES + 1];
    const size_t n_clean = text_clean(reason, clean, sizeof(clean));
    const uint64_t word = (uint64_t)kmem__intern(intern, clean, n_clean) << ENTRY_REASON_SHIFT;
    const size_t n_bytes = strnlen(reason, REASON_MAX_BYTES + 1);
    /* A longer text is cut where a character ends: that takes more than a comparison. */
    if (n_bytes <= REASON_MAX_BYTES) {
        remembered_set(kmem__remembered_at(all, reason), reason, n_bytes, word);
    }
    return word;
}
