/* SPDX-License-Identifier: MIT */
/*
 * A stretch in use of which only one party has anything does not end what that party's extent would
 * be; all others' it does. So two ends are remembered: of the last pages in use, and of the last
 * that are another party's than those. The extent of the last party begins behind the latter.
 */
#include "client/ctl/extents.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/growth.h"

#define PLACES_AT_FIRST 256

/* --------------------------------------------------------------------------------- parties ---- */

static uint64_t hash_of(const char *name, uint32_t pid)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ pid;
    for (; *name; name++) {
        hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    }
    return hash ^ hash >> 32;
}

static size_t party_place(const struct parties *parties, const char *name, uint32_t pid)
{
    size_t at = hash_of(name, pid) & (parties->n_places - 1);
    while (parties->table[at].used &&
           (parties->table[at].pid != pid || strcmp(parties->table[at].name, name) != 0)) {
        at = (at + 1) & (parties->n_places - 1);
    }
    return at;
}

static int parties_resize(struct parties *parties, size_t n_places)
{
    struct parties larger = *parties;
    larger.table = calloc(n_places, sizeof(*larger.table));
    if (!larger.table) {
        return -ENOMEM;
    }
    larger.n_places = n_places;
    larger.last = n_places;
    for (size_t i = 0; i < parties->n_places; i++) {
        const struct party *party = &parties->table[i];
        if (party->used) {
            const size_t at = party_place(&larger, party->name, party->pid);
            larger.table[at] = *party;
            larger.last = i == parties->last ? at : larger.last;
        }
    }
    free(parties->table);
    *parties = larger;
    return 0;
}

/* Finds a party, or adds it: what follows '#' in a name is dropped. */
static int party_find(struct parties *parties, const char *text, uint32_t pid, size_t *ret_at)
{
    char name[EXTENTS_TEXT_BYTES] = "";
    const size_t n_bytes = strcspn(text, "#");
    memcpy(name, text, n_bytes < sizeof(name) ? n_bytes : sizeof(name) - 1);
    if (parties->n * 2 >= parties->n_places) {
        int r = parties_resize(parties, parties->n_places * 2);
        if (r < 0) {
            return r;
        }
    }
    const size_t at = party_place(parties, name, pid);
    struct party *party = &parties->table[at];
    if (!party->used) {
        party->used = true;
        party->pid = pid;
        memcpy(party->name, name, sizeof(name));
        parties->n++;
    }
    *ret_at = at;
    return 0;
}

static void extent_note(struct parties *parties, uint64_t end)
{
    if (parties->last < parties->n_places) {
        struct party *party = &parties->table[parties->last];
        const uint64_t extent_bytes = end - parties->others_end;
        party->extent_bytes =
            extent_bytes > party->extent_bytes ? extent_bytes : party->extent_bytes;
    }
}

/* Pages in use up to `end`: of one party alone, or of several, of which this has the most. */
static int parties_add(struct parties *parties, const char *name, uint32_t pid, bool is_sole,
                       uint64_t num_bytes, uint64_t end)
{
    size_t at;
    int r = party_find(parties, name, pid, &at);
    if (r < 0) {
        return r;
    }
    parties->table[at].num_bytes += num_bytes;
    if (!is_sole) {
        parties->last = parties->n_places;
        parties->others_end = end;
    } else if (at != parties->last) {
        parties->others_end = parties->last_end;
        parties->last = at;
    }
    parties->last_end = end;
    extent_note(parties, end);
    return 0;
}

static int party_compare(const void *left, const void *right)
{
    const struct party *a = left;
    const struct party *b = right;
    if (a->used != b->used) {
        return a->used ? -1 : 1;
    }
    return a->num_bytes != b->num_bytes ? (a->num_bytes > b->num_bytes ? -1 : 1)
                                        : strcmp(a->name, b->name);
}

/* Where nothing of it is, there may be a longer one. */
static void parties_sort(struct parties *parties, uint64_t largest_bytes)
{
    for (size_t i = 0; i < parties->n_places; i++) {
        struct party *party = &parties->table[i];
        party->extent_bytes =
            party->extent_bytes > largest_bytes ? party->extent_bytes : largest_bytes;
    }
    qsort(parties->table, parties->n_places, sizeof(*parties->table), party_compare);
    parties->last = parties->n_places;
}

/* ---------------------------------------------------------------------------------- splits ---- */

/* What joining gains beyond the larger neighbour, without what has to go for it: negative for what
   is larger than the smaller of its neighbours. */
static int64_t split_worth(const struct split *split)
{
    const uint64_t least =
        split->before_bytes < split->after_bytes ? split->before_bytes : split->after_bytes;
    return growth_between(split->num_bytes, least);
}

static void split_keep(struct extents *extents, const struct split *split)
{
    size_t at = extents->n_splits;
    extents->n_all_splits++;
    if (split_worth(split) >= 0 && split_joined_bytes(split) > split_joined_bytes(&extents->best)) {
        extents->best = *split;
    }
    while (at > 0 && split_worth(&extents->splits[at - 1]) < split_worth(split)) {
        at--;
    }
    if (at == EXTENTS_SPLITS) {
        return;
    }
    extents->n_splits += extents->n_splits < EXTENTS_SPLITS;
    memmove(&extents->splits[at + 1], &extents->splits[at],
            (extents->n_splits - 1 - at) * sizeof(*split));
    extents->splits[at] = *split;
}

/* A free extent has ended: it, what is before it, and the extent before that are known. */
static void extent_end(struct extents *extents)
{
    if (extents->extent_bytes == 0) {
        return;
    }
    extents->n_extents++;
    if (extents->extent_bytes > extents->largest_bytes) {
        extents->largest_bytes = extents->extent_bytes;
    }
    if (extents->before_bytes > 0 && extents->split.num_bytes > 0) {
        extents->split.before_bytes = extents->before_bytes;
        extents->split.after_bytes = extents->extent_bytes;
        split_keep(extents, &extents->split);
    }
    extents->before_bytes = extents->extent_bytes;
    extents->extent_bytes = 0;
    memset(&extents->split, 0, sizeof(extents->split));
}

static void copy_text(char *to, const char *from)
{
    const size_t n_bytes = strnlen(from, EXTENTS_TEXT_BYTES - 1);
    memcpy(to, from, n_bytes);
    to[n_bytes] = '\0';
}

static void split_add(struct split *split, const struct kmem_pages *pages)
{
    if (split->num_bytes == 0) {
        split->offset = pages->offset;
    }
    split->num_bytes += pages->num_bytes;
    split->n_blocks += pages->n_blocks;
    split->live_bytes += pages->live_bytes;
    split->oldest_ms = pages->oldest_ms > split->oldest_ms ? pages->oldest_ms : split->oldest_ms;
    if (pages->num_bytes > split->most_bytes) {
        split->most_bytes = pages->num_bytes;
        split->pid = pages->pid;
        split->uid = pages->uid;
        copy_text(split->command, pages->command);
        copy_text(split->reason, pages->reason);
    }
}

/* --------------------------------------------------------------------------------- all of it -- */

int extents_init(struct extents *extents)
{
    memset(extents, 0, sizeof(*extents));
    int r = parties_resize(&extents->processes, PLACES_AT_FIRST);
    r = r ? r : parties_resize(&extents->reasons, PLACES_AT_FIRST);
    if (r < 0) {
        extents_fini(extents);
    }
    return r;
}

void extents_fini(struct extents *extents)
{
    free(extents->processes.table);
    free(extents->reasons.table);
    extents->processes.table = NULL;
    extents->reasons.table = NULL;
}

static bool is_free(const struct kmem_pages *pages)
{
    return pages->state == KMEM_PAGES_FREE || pages->state == KMEM_PAGES_CLEARING ||
           pages->state == KMEM_PAGES_IDLE || pages->state == KMEM_PAGES_RETURNING;
}

int extents_add(struct extents *extents, const struct kmem_pages *pages)
{
    const uint64_t end = pages->offset + pages->num_bytes;
    if (is_free(pages)) {
        extents->free_bytes += pages->num_bytes;
        extents->extent_bytes += pages->num_bytes;
        extent_note(&extents->processes, end);
        extent_note(&extents->reasons, end);
        return 0;
    }
    extent_end(extents);
    if (pages->state == KMEM_PAGES_FIRST) {
        extents->processes.last_end = extents->processes.others_end = end;
        extents->reasons.last_end = extents->reasons.others_end = end;
        return 0;
    }
    split_add(&extents->split, pages);
    const bool has_reason = *pages->reason != '\0';
    int r = parties_add(&extents->processes, pages->command, pages->pid, pages->one_owner,
                        pages->num_bytes, end);
    return r ? r
             : parties_add(&extents->reasons, pages->reason, 0, has_reason && pages->one_reason,
                           pages->num_bytes, end);
}

void extents_end(struct extents *extents)
{
    extent_end(extents);
    parties_sort(&extents->processes, extents->largest_bytes);
    parties_sort(&extents->reasons, extents->largest_bytes);
}
