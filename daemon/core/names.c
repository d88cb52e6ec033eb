/* SPDX-License-Identifier: MIT */
/*
 * names.c - records of names, and what is derived of them
 *
 *      a new name       its bytes, who publishes it, n_names, then the word      before: free
 *      another share    the other `who`, then the word                          before: the former
 *      its owner ended  the `who` that is meant                                 before: it is owned
 *      the name ends    the word becomes 0                                      before: a share's
 *
 * A name that is published again, perhaps by another client, changes share, version and owner at
 * once: of two places for the owner, the word says which is meant, and the other is written first.
 */
#include "daemon/core/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/hash.h"
#include "proto/notice.h"
#include "proto/store.h"

static void fill_none(uint32_t *numbers, uint32_t n)
{
    memset(numbers, 0xff, n * sizeof(*numbers)); /* NAME_NONE */
}

int names_init(struct names *names, struct state *state, struct shares *shares, uint32_t limit)
{
    KMEM_ASSERT(limit >= 1);
    KMEM_ASSERT(limit <= SHARE_NAMES_MAX);
    *names = (struct names){
        .state = state,
        .shares = shares,
        .links = calloc(SHARE_NAMES_MAX, sizeof(*names->links)),
        .buckets = malloc(limit * sizeof(*names->buckets)),
        .n_buckets = limit,
        .of_owner = malloc(CLIENTS_MAX * sizeof(*names->of_owner)),
        .n_of_owner = calloc(CLIENTS_MAX, sizeof(*names->n_of_owner)),
        .of_share = calloc(SHARES_MAX, sizeof(*names->of_share)),
        .free = NAME_NONE,
        .limit = limit,
        .versions = state_numbers(&state->header->versions),
    };
    if (!names->links || !names->buckets || !names->of_owner || !names->n_of_owner ||
        !names->of_share) {
        names_fini(names);
        return -ENOMEM;
    }
    fill_none(names->buckets, limit);
    fill_none(names->of_owner, CLIENTS_MAX);
    return 0;
}

void names_fini(struct names *names)
{
    free(names->links);
    free(names->buckets);
    free(names->of_owner);
    free(names->n_of_owner);
    free(names->of_share);
    *names = (struct names){.state = NULL};
}

/* ---------------------------------------------------------------------------- what is true ---- */

const struct state_name *names_record(const struct names *names, uint32_t name)
{
    KMEM_ASSERT(name < names->n_records);
    return &names->state->names[name];
}

static uint64_t name_word(const struct names *names, uint32_t name)
{
    return state_load(&names_record(names, name)->word);
}

static uint32_t name_who(const struct names *names, uint32_t name)
{
    const struct state_name *record = names_record(names, name);
    /* Relaxed: the server alone writes and reads its state. */
    return atomic_load_explicit(&record->who[NAME_WHICH(name_word(names, name))],
                                memory_order_relaxed);
}

uint32_t names_bell(const struct names *names, uint32_t name)
{
    const struct state_name *record = names_record(names, name);
    return notice_bell_of(record->bytes, record->n_bytes);
}

uint32_t names_share(const struct names *names, uint32_t name)
{
    return NAME_SHARE(name_word(names, name));
}

uint64_t names_version_of(const struct names *names, uint32_t name)
{
    return NAME_VERSION(name_word(names, name));
}

uint32_t names_owner(const struct names *names, uint32_t name)
{
    return NAME_WHO_OWNER(name_who(names, name));
}

uint32_t names_uid(const struct names *names, uint32_t name)
{
    return names_record(names, name)->uid[NAME_WHICH(name_word(names, name))];
}

bool names_keep(const struct names *names, uint32_t name)
{
    return NAME_WHO_KEEP(name_who(names, name));
}

/* ------------------------------------------------------------------------- what is derived ---- */

static uint32_t *name_bucket(const struct names *names, const char *text, size_t n_bytes)
{
    const uint32_t hash = hash_words(names->state->header->instance, text, n_bytes);
    return &names->buckets[hash % names->n_buckets];
}

static uint32_t *bucket_of(const struct names *names, uint32_t name)
{
    const struct state_name *record = names_record(names, name);
    return name_bucket(names, record->bytes, record->n_bytes);
}

static void bucket_link(struct names *names, uint32_t name)
{
    uint32_t *first = bucket_of(names, name);
    names->links[name].next = *first;
    *first = name;
}

static void bucket_unlink(struct names *names, uint32_t name)
{
    uint32_t *at = bucket_of(names, name);
    while (*at != name) {
        KMEM_ASSERT(*at != NAME_NONE);
        at = &names->links[*at].next;
    }
    *at = names->links[name].next;
}

uint32_t names_find(const struct names *names, const char *text, size_t n_bytes)
{
    uint32_t name = *name_bucket(names, text, n_bytes);
    for (; name != NAME_NONE; name = names->links[name].next) {
        const struct state_name *record = names_record(names, name);
        if (record->n_bytes == n_bytes && memcmp(record->bytes, text, n_bytes) == 0) {
            break;
        }
    }
    return name;
}

static void owner_link(struct names *names, uint32_t name, uint32_t slot)
{
    if (slot == SLOT_NONE) {
        return;
    }
    KMEM_ASSERT(slot < CLIENTS_MAX);
    struct name_links *links = &names->links[name];
    links->prev_of_owner = NAME_NONE;
    links->next_of_owner = names->of_owner[slot];
    if (links->next_of_owner != NAME_NONE) {
        names->links[links->next_of_owner].prev_of_owner = name;
    }
    names->of_owner[slot] = name;
    names->n_of_owner[slot]++;
}

static void owner_unlink(struct names *names, uint32_t name, uint32_t slot)
{
    if (slot == SLOT_NONE) {
        return;
    }
    const struct name_links *links = &names->links[name];
    names->n_of_owner[slot]--;
    if (links->next_of_owner != NAME_NONE) {
        names->links[links->next_of_owner].prev_of_owner = links->prev_of_owner;
    }
    if (links->prev_of_owner != NAME_NONE) {
        names->links[links->prev_of_owner].next_of_owner = links->next_of_owner;
    } else {
        KMEM_ASSERT(names->of_owner[slot] == name);
        names->of_owner[slot] = links->next_of_owner;
    }
}

uint32_t names_first_of(const struct names *names, uint32_t slot)
{
    KMEM_ASSERT(slot < CLIENTS_MAX);
    return names->of_owner[slot];
}

static uint32_t *ring_of(const struct names *names, uint32_t share, uint32_t owner)
{
    struct share_names *of = &names->of_share[share];
    return owner != SLOT_NONE ? &of->of_clients : &of->of_ended;
}

/* Behind the others, so that the first publisher of several stays the first. */
static void share_link(struct names *names, uint32_t name)
{
    const uint32_t share = names_share(names, name);
    uint32_t *ring = ring_of(names, share, names_owner(names, name));
    const uint32_t first = *ring != 0 ? *ring - 1 : name;
    struct name_links *links = &names->links[name];
    const uint32_t last = *ring != 0 ? names->links[first].prev_of_share : name;
    links->next_of_share = first;
    links->prev_of_share = last;
    names->links[last].next_of_share = name;
    names->links[first].prev_of_share = name;
    *ring = first + 1;
    shares_note_name(names->shares, share, 1);
}

static void share_unlink(struct names *names, uint32_t name, uint32_t share, uint32_t owner)
{
    uint32_t *ring = ring_of(names, share, owner);
    const struct name_links *links = &names->links[name];
    const uint32_t next = links->next_of_share;
    KMEM_ASSERT(*ring != 0);
    if (*ring == name + 1) {
        *ring = next == name ? 0 : next + 1;
    }
    names->links[next].prev_of_share = links->prev_of_share;
    names->links[links->prev_of_share].next_of_share = next;
    shares_note_name(names->shares, share, -1);
}

uint32_t names_publisher(const struct names *names, uint32_t share)
{
    const uint32_t first = names->of_share[share].of_clients;
    return first != 0 ? names_owner(names, first - 1) : SLOT_NONE;
}

uint32_t names_of_share(const struct names *names, uint32_t share)
{
    const struct share_names *of = &names->of_share[share];
    const uint32_t first = of->of_clients != 0 ? of->of_clients : of->of_ended;
    return first != 0 ? first - 1 : NAME_NONE;
}

uint32_t names_count_of(const struct names *names, uint32_t slot)
{
    return names->n_of_owner[slot];
}

uint32_t names_next(const struct names *names, uint32_t name)
{
    for (; name < names->n_records; name++) {
        if (name_word(names, name) != 0) {
            return name;
        }
    }
    return NAME_NONE;
}

/* What follows from a record that is in use. */
static void name_link(struct names *names, uint32_t name)
{
    bucket_link(names, name);
    owner_link(names, name, names_owner(names, name));
    share_link(names, name);
    names->n_names++;
    caps_add(names->shares->caps, CAP_NAMES, names_uid(names, name));
}

/* ------------------------------------------------------------------------------ publishing ---- */

uint64_t names_version(struct names *names)
{
    return state_number(names->state, &names->versions);
}

static uint32_t name_take(struct names *names)
{
    const uint32_t name = names->free;
    if (name != NAME_NONE) {
        names->free = names->links[name].next;
        return name;
    }
    KMEM_ASSERT(names->n_records < SHARE_NAMES_MAX);
    /* Before and after: the record is free. */
    state_commit(names->state, &names->state->header->n_names, names->n_records + 1);
    return names->n_records++;
}

/* Whose it is from the next word on. */
static void who_prepare(const struct names *names, struct state_name *stored, uint32_t which,
                        uint32_t who)
{
    store_hook(); /* a plain store */
    stored->uid[which] = names->state->clients[NAME_WHO_OWNER(who)].uid;
    store_prepare_u32(&stored->who[which], who);
}

static void name_add(struct names *names, const char *text, size_t n_bytes, uint64_t word,
                     uint32_t who)
{
    const uint32_t name = name_take(names);
    struct state_name *stored = &names->state->names[name];
    store_prepare_bytes(stored->bytes, text, n_bytes);
    stored->n_bytes = (uint8_t)n_bytes;
    who_prepare(names, stored, 0, who);
    /* Before: the record is free. After: the name means the share. */
    state_commit(names->state, &stored->word, word);
    name_link(names, name);
}

/* A name that means a share comes to mean another, or the same anew. */
static void name_replace(struct names *names, uint32_t name, uint32_t share, uint64_t version,
                         uint32_t who)
{
    const uint32_t former = names_share(names, name);
    const uint32_t former_owner = names_owner(names, name);
    const uint32_t former_uid = names_uid(names, name);
    const uint32_t which = 1 - NAME_WHICH(name_word(names, name));
    struct state_name *stored = &names->state->names[name];
    who_prepare(names, stored, which, who);
    /* Before: it means the former share, and is its owner's. After: both are those of now. */
    state_commit(names->state, &stored->word, NAME_WORD(share, which, version));
    share_unlink(names, name, former, former_owner);
    share_link(names, name);
    if (former_owner != NAME_WHO_OWNER(who)) {
        owner_unlink(names, name, former_owner);
        owner_link(names, name, NAME_WHO_OWNER(who));
    }
    caps_add(names->shares->caps, CAP_NAMES, names_uid(names, name));
    caps_remove(names->shares->caps, CAP_NAMES, former_uid);
}

int names_set(struct names *names, const char *text, size_t n_bytes, uint32_t share,
              uint64_t version, uint32_t owner, bool keep, uint32_t *ret_former)
{
    KMEM_ASSERT(n_bytes >= 1);
    KMEM_ASSERT(n_bytes <= SHARE_NAME_MAX_BYTES);
    KMEM_ASSERT(version <= names->versions.last);
    KMEM_ASSERT(owner < CLIENTS_MAX);
    KMEM_ASSERT((shares_word(names->shares, share) & SHARE_STATE_MASK) == SHARE_LIVE);
    const uint32_t name = names_find(names, text, n_bytes);
    const uint32_t who = NAME_WHO(owner, keep);
    if (name == NAME_NONE && names->n_names >= names->limit) {
        return NAMES_E_FULL;
    }
    *ret_former = name == NAME_NONE ? 0 : names_share(names, name);
    if (name == NAME_NONE) {
        name_add(names, text, n_bytes, NAME_WORD(share, 0, version), who);
    } else {
        KMEM_ASSERT(version > names_version_of(names, name));
        name_replace(names, name, share, version, who);
    }
    return 0;
}

uint32_t names_remove(struct names *names, uint32_t name)
{
    const uint32_t share = names_share(names, name);
    KMEM_ASSERT(share != 0);
    const uint32_t owner = names_owner(names, name);
    const uint32_t uid = names_uid(names, name);
    /* Before: the name means the share. After: it means nothing, and the record is free. */
    state_commit(names->state, &names->state->names[name].word, 0);
    bucket_unlink(names, name);
    owner_unlink(names, name, owner);
    share_unlink(names, name, share, owner);
    names->links[name].next = names->free;
    names->free = name;
    names->n_names--;
    caps_remove(names->shares->caps, CAP_NAMES, uid);
    return share;
}

void names_disown(struct names *names, uint32_t name)
{
    const uint32_t owner = names_owner(names, name);
    struct state_name *stored = &names->state->names[name];
    KMEM_ASSERT(names_keep(names, name));
    /* Before: the name is a client's that has ended. After: nobody's, and it stays. */
    store_prepare_u32(&stored->who[NAME_WHICH(name_word(names, name))], NAME_WHO(SLOT_NONE, true));
    owner_unlink(names, name, owner);
    share_unlink(names, name, names_share(names, name), owner);
    share_link(names, name);
}

/* ------------------------------------------------------------------------- after a restart ---- */

/* What is wrong with a record that is in use; NULL: nothing. */
static const char *name_fault(const struct names *names, uint32_t name)
{
    const struct state_name *record = names_record(names, name);
    const uint32_t share = names_share(names, name);
    const uint32_t owner = names_owner(names, name);
    if (record->n_bytes == 0 || record->n_bytes > SHARE_NAME_MAX_BYTES) {
        return "a name has no words";
    }
    if (share == 0 || share >= names->shares->n_share_records ||
        (shares_word(names->shares, share) & SHARE_STATE_MASK) != SHARE_LIVE) {
        return "a name means no share";
    }
    if (names_version_of(names, name) > state_load(names->versions.reserved)) {
        return "a name has a version that was not given";
    }
    if (owner == SLOT_NONE ? !names_keep(names, name) : !state_slot_is_used(names->state, owner)) {
        return "a name is owned by a client that is not there";
    }
    return names_find(names, record->bytes, record->n_bytes) == NAME_NONE ? NULL
                                                                          : "a name is there twice";
}

int names_recover(struct names *names, const char **ret_why)
{
    const uint64_t n_records = state_load(&names->state->header->n_names);
    if (n_records > SHARE_NAMES_MAX || !state_numbers_are_sound(&names->versions)) {
        *ret_why = "there are more names than there can be";
        return NAMES_E_CORRUPT;
    }
    names->n_records = (uint32_t)n_records;
    uint32_t end = 0;
    for (uint32_t name = names_next(names, 0); name != NAME_NONE;
         name = names_next(names, name + 1)) {
        *ret_why = name_fault(names, name);
        if (*ret_why) {
            return NAMES_E_CORRUPT;
        }
        name_link(names, name);
        end = name + 1;
    }
    names->n_records = end;
    for (uint32_t name = end; name-- > 0;) {
        if (name_word(names, name) == 0) {
            names->links[name].next = names->free;
            names->free = name;
        }
    }
    return 0;
}

/* -------------------------------------------------------------------------------- checking ---- */

/* Whether the chain of an owner holds names of its own alone; *count grows by their number. */
static bool owner_is_sound(const struct names *names, uint32_t slot, uint32_t *count)
{
    uint32_t prev = NAME_NONE;
    uint32_t n = 0;
    for (uint32_t name = names->of_owner[slot]; name != NAME_NONE;
         name = names->links[name].next_of_owner) {
        if (name >= names->n_records || name_word(names, name) == 0 ||
            names_owner(names, name) != slot || names->links[name].prev_of_owner != prev) {
            return false;
        }
        prev = name;
        n++;
    }
    *count += n;
    return n == names->n_of_owner[slot];
}

static bool owners_are_sound(const struct names *names)
{
    uint32_t n_chained = 0;
    uint32_t n_owned = 0;
    const uint64_t n_slots = state_load(&names->state->header->n_slots);
    for (uint32_t slot = 0; slot < n_slots; slot++) {
        if (!owner_is_sound(names, slot, &n_chained)) {
            return false;
        }
    }
    for (uint32_t name = names_next(names, 0); name != NAME_NONE;
         name = names_next(names, name + 1)) {
        n_owned += names_owner(names, name) != SLOT_NONE;
    }
    return n_owned == n_chained;
}

/* One ring of a share, of names with an owner or of those without; *count grows by their number. */
static bool ring_is_sound(const struct names *names, uint32_t share, uint32_t ring, bool is_owned,
                          uint32_t *count)
{
    const uint32_t first = ring - 1;
    uint32_t name = first;
    uint32_t n = 0;
    while (ring != 0 && (n == 0 || name != first)) {
        KMEM_ASSERT(n <= names->n_records); /* each leads back to the one before it: to the first */
        if (name >= names->n_records || name_word(names, name) == 0 ||
            names_share(names, name) != share ||
            (names_owner(names, name) != SLOT_NONE) != is_owned) {
            return false;
        }
        const uint32_t next = names->links[name].next_of_share;
        if (next >= names->n_records || names->links[next].prev_of_share != name) {
            return false;
        }
        name = next;
        n++;
    }
    *count += n;
    return true;
}

static bool rings_are_sound(const struct names *names, uint32_t share)
{
    const struct share_names *of = &names->of_share[share];
    uint32_t n = 0;
    return ring_is_sound(names, share, of->of_clients, true, &n) &&
           ring_is_sound(names, share, of->of_ended, false, &n) &&
           n == shares_n_names(names->shares, share);
}

/* Whether each share has as many names as it says; counts them into n_names, of zeros, by share. */
static bool shares_are_sound(const struct names *names, uint32_t *n_names)
{
    const struct shares *shares = names->shares;
    for (uint32_t name = names_next(names, 0); name != NAME_NONE;
         name = names_next(names, name + 1)) {
        n_names[names_share(names, name)]++;
    }
    for (uint32_t share = shares_next(shares, 1); share != 0;
         share = shares_next(shares, share + 1)) {
        if (shares_n_names(shares, share) != n_names[share] || !rings_are_sound(names, share)) {
            return false;
        }
    }
    return true;
}

static bool name_is_sound(const struct names *names, uint32_t name)
{
    const struct state_name *record = names_record(names, name);
    const uint32_t share = names_share(names, name);
    return record->n_bytes >= 1 && record->n_bytes <= SHARE_NAME_MAX_BYTES &&
           names_find(names, record->bytes, record->n_bytes) == name && share != 0 &&
           share < names->shares->n_share_records &&
           (shares_word(names->shares, share) & SHARE_STATE_MASK) == SHARE_LIVE &&
           names_version_of(names, name) <= names->versions.last;
}

int names_check(const struct names *names)
{
    uint32_t n_used = 0;
    uint32_t n_free = 0;
    for (uint32_t name = names_next(names, 0); name != NAME_NONE;
         name = names_next(names, name + 1)) {
        if (!name_is_sound(names, name)) {
            return NAMES_E_CORRUPT;
        }
        n_used++;
    }
    for (uint32_t name = names->free; name != NAME_NONE && n_free < names->n_records;
         name = names->links[name].next) {
        if (name >= names->n_records || name_word(names, name) != 0) {
            return NAMES_E_CORRUPT;
        }
        n_free++;
    }
    if (n_used != names->n_names || n_used + n_free != names->n_records ||
        names->versions.last > state_load(names->versions.reserved) || !owners_are_sound(names)) {
        return NAMES_E_CORRUPT;
    }
    uint32_t *n_names = calloc(names->shares->n_share_records, sizeof(*n_names));
    KMEM_ASSERT(n_names != NULL);
    const bool is_sound = shares_are_sound(names, n_names);
    free(n_names);
    return is_sound ? 0 : NAMES_E_CORRUPT;
}
