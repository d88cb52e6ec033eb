/* SPDX-License-Identifier: MIT */
/*
 * reasons.c - interning
 *
 * A reason lives in the state file, where its id leads to it, and in a hash table of this process,
 * where its words lead to its id. The words are written before the first entry that names the id is
 * committed, so a daemon that starts on the same state finds words for every id it meets.
 */
#include "daemon/core/reasons.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>

#include "daemon/core/hash.h"
#include "proto/store.h"

struct reason {
    struct reason_totals totals;
    uint32_t n_records; /* that have it and are no blocks */
    uint32_t id;
    UT_hash_handle hh; /* keyed by the words in the state file; not for the first two ids */
};

static uint32_t reason_hash(const struct reasons *reasons, const char *text, size_t n_bytes)
{
    return hash_words(reasons->state->header->instance, text, n_bytes);
}

static void reason_write(struct reasons *reasons, uint32_t id, const char *text, size_t n_bytes)
{
    struct state_reason *slot = &reasons->state->reasons[id];
    reasons->generations[id]++;
    if (slot->n_bytes == n_bytes && memcmp(slot->bytes, text, n_bytes) == 0) {
        return; /* of one that is there for ever, or of the one before: a start stores nothing */
    }
    store_prepare_bytes(slot->bytes, text, n_bytes);
    store_hook(); /* a plain store */
    slot->n_bytes = (uint8_t)n_bytes;
}

/* A reason that is there for ever, and in no hash table. */
static int reason_add_fixed(struct reasons *reasons, uint32_t id, const char *text)
{
    struct reason *reason = calloc(1, sizeof(*reason));
    if (!reason) {
        return -ENOMEM;
    }
    reason->id = id;
    reasons->table[id] = reason;
    reason_write(reasons, id, text, strlen(text));
    return 0;
}

/*
 * A hash table is made with its first entry and given back with its last: so one of no words, which
 * is looked for by nobody, stays in it. A process that has one block at a time needs no memory of
 * the system's for each.
 */
static int reasons_anchor(struct reasons *reasons)
{
    struct reason *anchor = calloc(1, sizeof(*anchor));
    if (!anchor) {
        return -ENOMEM;
    }
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, reasons->by_text, "", 0, 0, anchor);
    if (!anchor->hh.tbl) {
        free(anchor);
        return -ENOMEM;
    }
    reasons->anchor = anchor;
    return 0;
}

int reasons_init(struct reasons *reasons, struct state *state, struct caps *caps)
{
    *reasons = (struct reasons){.state = state, .n_ids = REASONS_RESERVED};
    reasons->table = calloc(REASONS_MAX, sizeof(struct reason *));
    reasons->generations = calloc(REASONS_MAX, sizeof(*reasons->generations));
    reasons->free_ids = calloc(REASONS_MAX, sizeof(*reasons->free_ids));
    int r = reasons->table && reasons->generations && reasons->free_ids ? 0 : -ENOMEM;
    r = r ? r : reason_users_init(&reasons->users, caps);
    r = r ? r : reason_add_fixed(reasons, REASON_NONE, NO_REASON);
    r = r ? r : reason_add_fixed(reasons, REASON_OTHER, OTHER_REASONS);
    r = r ? r : reasons_anchor(reasons);
    if (r) {
        reasons_fini(reasons);
    }
    return r;
}

void reasons_fini(struct reasons *reasons)
{
    HASH_CLEAR(hh, reasons->by_text);
    free(reasons->anchor);
    for (uint32_t id = 0; reasons->table && id < reasons->n_ids; id++) {
        free(reasons->table[id]);
    }
    free(reasons->table);
    free(reasons->generations);
    free(reasons->free_ids);
    reason_users_fini(&reasons->users);
    *reasons = (struct reasons){.state = NULL};
}

/* An id that nobody has; false if all are taken. */
static bool reason_id_take(struct reasons *reasons, uint32_t *ret_id)
{
    if (reasons->n_free_ids > 0) {
        *ret_id = reasons->free_ids[--reasons->n_free_ids];
        return true;
    }
    if (reasons->n_ids < REASONS_MAX) {
        *ret_id = reasons->n_ids++;
        return true;
    }
    return false;
}

static void reason_id_give(struct reasons *reasons, uint32_t id)
{
    reasons->table[id] = NULL;
    reasons->free_ids[reasons->n_free_ids++] = id;
}

/* Makes a reason known by its words; false: there is no memory, they could not be found again. */
static bool reason_enter(struct reasons *reasons, struct reason *reason)
{
    const struct state_reason *slot = &reasons->state->reasons[reason->id];
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, reasons->by_text, slot->bytes, slot->n_bytes,
                                reason_hash(reasons, slot->bytes, slot->n_bytes), reason);
    return reason->hh.tbl != NULL;
}

/* A new reason; NULL if the table is full, or there is no memory for it. */
static struct reason *reason_add(struct reasons *reasons, const char *text, size_t n_bytes)
{
    struct reason *reason = calloc(1, sizeof(*reason));
    if (!reason || !reason_id_take(reasons, &reason->id)) {
        free(reason);
        return NULL;
    }
    reasons->table[reason->id] = reason;
    reason_write(reasons, reason->id, text, n_bytes);
    if (!reason_enter(reasons, reason)) {
        reason_id_give(reasons, reason->id);
        free(reason);
        return NULL;
    }
    return reason;
}

/* The words of one that is there for ever are its own, whoever says them: a block may be shared. */
static struct reason *reason_fixed(const struct reasons *reasons, const char *text, size_t n_bytes)
{
    for (uint32_t id = 0; id < REASONS_RESERVED; id++) {
        const struct state_reason *slot = &reasons->state->reasons[id];
        if (n_bytes == slot->n_bytes && memcmp(text, slot->bytes, n_bytes) == 0) {
            return reasons->table[id];
        }
    }
    return n_bytes == 0 ? reasons->table[REASON_NONE] : NULL;
}

/* NULL: there is no place for it, or the user may not have one more. */
static struct reason *reason_find_or_add(struct reasons *reasons, uint32_t uid, const char *text,
                                         size_t n_bytes)
{
    struct reason *reason = NULL;
    HASH_FIND_BYHASHVALUE(hh, reasons->by_text, text, n_bytes, reason_hash(reasons, text, n_bytes),
                          reason);
    if (!reason_users_may(&reasons->users, reason ? reason->id : 0, uid)) {
        return NULL;
    }
    return reason ? reason : reason_add(reasons, text, n_bytes);
}

/* Counts for the user from now on. */
static struct reason *reason_name(struct reasons *reasons, uint32_t uid, const char *text,
                                  size_t n_bytes)
{
    struct reason *reason = reason_fixed(reasons, text, n_bytes);
    if (!reason) {
        reason = reason_find_or_add(reasons, uid, text, n_bytes);
    }
    if (!reason) {
        reasons->state->counters->other_reasons++;
        reason = reasons->table[REASON_OTHER];
        KMEM_ASSERT(reason != NULL);
    }
    reason_users_add(&reasons->users, reason->id, uid);
    return reason;
}

static void reason_add_block(struct reasons *reasons, struct reason *reason, uint64_t num_bytes)
{
    reasons->n_live += reason->totals.n_blocks == 0;
    reason->totals.n_blocks++;
    reason->totals.num_bytes += num_bytes;
}

uint32_t reasons_ref(struct reasons *reasons, uint32_t uid, const char *text, size_t n_bytes,
                     uint64_t num_bytes)
{
    KMEM_ASSERT(n_bytes <= REASON_MAX_BYTES);
    struct reason *reason = reason_name(reasons, uid, text, n_bytes);
    reason_add_block(reasons, reason, num_bytes);
    return reason->id;
}

uint32_t reasons_hold(struct reasons *reasons, uint32_t uid, const char *text, size_t n_bytes)
{
    KMEM_ASSERT(n_bytes <= REASON_MAX_BYTES);
    struct reason *reason = reason_name(reasons, uid, text, n_bytes);
    reason->n_records++;
    return reason->id;
}

/* Makes a reason of the words that are in the state file under an id that nobody has named yet. */
static int reason_recover(struct reasons *reasons, uint32_t id)
{
    const struct state_reason *slot = &reasons->state->reasons[id];
    if (slot->n_bytes == 0 || slot->n_bytes > REASON_MAX_BYTES) {
        return REASONS_E_CORRUPT;
    }
    const uint32_t hash = reason_hash(reasons, slot->bytes, slot->n_bytes);
    struct reason *reason = NULL;
    HASH_FIND_BYHASHVALUE(hh, reasons->by_text, slot->bytes, slot->n_bytes, hash, reason);
    if (reason) {
        return REASONS_E_CORRUPT; /* of another id */
    }
    reason = calloc(1, sizeof(*reason));
    if (!reason) {
        return -ENOMEM;
    }
    reason->id = id;
    if (!reason_enter(reasons, reason)) {
        free(reason);
        return -ENOMEM;
    }
    reasons->table[id] = reason;
    reasons->generations[id]++;
    reasons->n_ids = id < reasons->n_ids ? reasons->n_ids : id + 1;
    return 0;
}

static int reason_recover_once(struct reasons *reasons, uint32_t id)
{
    if (id >= REASONS_MAX) {
        return REASONS_E_CORRUPT;
    }
    return reasons->table[id] ? 0 : reason_recover(reasons, id);
}

int reasons_recover(struct reasons *reasons, uint32_t uid, uint32_t id, uint64_t num_bytes)
{
    const int r = reason_recover_once(reasons, id);
    if (r == 0) {
        reason_add_block(reasons, reasons->table[id], num_bytes);
        reason_users_add(&reasons->users, id, uid);
    }
    return r;
}

int reasons_recover_hold(struct reasons *reasons, uint32_t uid, uint32_t id)
{
    const int r = reason_recover_once(reasons, id);
    if (r == 0) {
        reasons->table[id]->n_records++;
        reason_users_add(&reasons->users, id, uid);
    }
    return r;
}

void reasons_recovered(struct reasons *reasons)
{
    for (uint32_t id = reasons->n_ids; id-- > REASONS_RESERVED;) {
        if (!reasons->table[id]) {
            reasons->free_ids[reasons->n_free_ids++] = id;
        }
    }
}

static struct reason *reason_get(const struct reasons *reasons, uint32_t id)
{
    KMEM_ASSERT(id < reasons->n_ids);
    KMEM_ASSERT(reasons->table[id] != NULL);
    return reasons->table[id];
}

static bool reason_is_named(const struct reason *reason)
{
    return reason->totals.n_blocks > 0 || reason->n_records > 0;
}

/* An id that nothing names is free; the first two never are. */
static void reason_free_unnamed(struct reasons *reasons, struct reason *reason)
{
    if (!reason_is_named(reason) && reason->id >= REASONS_RESERVED) {
        HASH_DEL(reasons->by_text, reason);
        reason_id_give(reasons, reason->id);
        free(reason);
    }
}

void reasons_unref(struct reasons *reasons, uint32_t uid, uint32_t id, uint64_t num_bytes)
{
    struct reason *reason = reason_get(reasons, id);
    KMEM_ASSERT(reason->totals.n_blocks > 0);
    KMEM_ASSERT(reason->totals.num_bytes >= num_bytes);
    reason->totals.n_blocks--;
    reason->totals.num_bytes -= num_bytes;
    reasons->n_live -= reason->totals.n_blocks == 0;
    reason_users_remove(&reasons->users, id, uid);
    reason_free_unnamed(reasons, reason);
}

void reasons_move(struct reasons *reasons, uint32_t id, uint32_t from_uid, uint32_t to_uid)
{
    reason_users_add(&reasons->users, id, to_uid);
    reason_users_remove(&reasons->users, id, from_uid);
}

void reasons_drop(struct reasons *reasons, uint32_t uid, uint32_t id)
{
    struct reason *reason = reason_get(reasons, id);
    KMEM_ASSERT(reason->n_records > 0);
    reason->n_records--;
    reason_users_remove(&reasons->users, id, uid);
    reason_free_unnamed(reasons, reason);
}

const char *reasons_text(const struct reasons *reasons, uint32_t id, size_t *ret_n_bytes)
{
    KMEM_ASSERT(id < REASONS_MAX);
    const struct state_reason *slot = &reasons->state->reasons[id];
    *ret_n_bytes = slot->n_bytes;
    return slot->bytes;
}

uint32_t reasons_generation(const struct reasons *reasons, uint32_t id)
{
    return reasons->generations[id];
}

struct reason_totals reasons_totals(const struct reasons *reasons, uint32_t id)
{
    const struct reason *reason = reasons->table[id];
    return reason ? reason->totals : (struct reason_totals){0, 0};
}

/* Whether the words of an id that is named lead to it. */
static bool reason_is_found(const struct reasons *reasons, uint32_t id)
{
    const struct state_reason *slot = &reasons->state->reasons[id];
    struct reason *reason = NULL;
    HASH_FIND_BYHASHVALUE(hh, reasons->by_text, slot->bytes, slot->n_bytes,
                          reason_hash(reasons, slot->bytes, slot->n_bytes), reason);
    return reason == reasons->table[id];
}

/* Whether each reason's users have as much of it as there is: by_id, of zeros, is counted into. */
static bool users_are_sound(const struct reasons *reasons, uint64_t *by_id)
{
    const struct reason_users *users = &reasons->users;
    for (uint32_t pair = 1; pair < users->n_records; pair++) {
        if (users->pairs[pair].n > 0) {
            by_id[users->pairs[pair].reason] += users->pairs[pair].n;
        }
    }
    for (uint32_t id = REASONS_RESERVED; id < reasons->n_ids && !users->is_short; id++) {
        const struct reason *reason = reasons->table[id];
        if (by_id[id] != (reason ? reason->totals.n_blocks + reason->n_records : 0)) {
            return false;
        }
    }
    return true;
}

static int reason_users_check(const struct reasons *reasons)
{
    uint64_t *by_id = calloc(REASONS_MAX, sizeof(*by_id));
    KMEM_ASSERT(by_id != NULL);
    const bool is_sound = users_are_sound(reasons, by_id);
    free(by_id);
    return is_sound ? 0 : REASONS_E_CORRUPT;
}

static bool reason_is_free(const struct reasons *reasons, uint32_t id)
{
    return id >= REASONS_RESERVED && id < reasons->n_ids && reasons->table[id] == NULL;
}

int reasons_check(const struct reasons *reasons)
{
    uint32_t n_live = 0;
    uint32_t n_named = 0;
    for (uint32_t id = 0; id < reasons->n_ids; id++) {
        const struct reason_totals totals = reasons_totals(reasons, id);
        if (totals.n_blocks == 0 && totals.num_bytes != 0) {
            return REASONS_E_CORRUPT;
        }
        n_live += totals.n_blocks > 0;
        if (reasons->table[id] && id > REASON_OTHER) {
            n_named++;
            if (!reason_is_named(reasons->table[id]) || !reason_is_found(reasons, id)) {
                return REASONS_E_CORRUPT;
            }
        }
    }
    for (uint32_t i = 0; i < reasons->n_free_ids; i++) {
        if (!reason_is_free(reasons, reasons->free_ids[i])) {
            return REASONS_E_CORRUPT;
        }
    }
    const bool adds_up = n_live == reasons->n_live && n_named + 1 == HASH_COUNT(reasons->by_text) &&
                         2 + n_named + reasons->n_free_ids == reasons->n_ids;
    return adds_up ? reason_users_check(reasons) : REASONS_E_CORRUPT;
}
