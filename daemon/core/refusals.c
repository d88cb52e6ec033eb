/* SPDX-License-Identifier: MIT */
/*
 * refusals.c - a ring of records, and a table of counts
 *
 * A new one is written into the place that none of the kept ones has, and is one with its number. A
 * repeated one has two sets of facts, of which its count says the one that is meant: so a server
 * that is killed leaves what was so before, or what is so now, and never half of each.
 */
#include "daemon/core/refusals.h"

#include <string.h>

#include "proto/attributes.h"
#include "proto/store.h"

static struct refusal *place_of(const struct refusals *refusals, uint64_t number)
{
    return &refusals->state->refusals->kept[number % REFUSALS_PLACES];
}

/* The refusal of a number from 1 up, if there is one. */
static struct refusal *refusal_of(const struct refusals *refusals, uint64_t number)
{
    struct refusal *refusal = place_of(refusals, number);
    return state_load(&refusal->number) == number ? refusal : NULL;
}

static uint64_t oldest_number(const struct refusals *refusals, uint64_t n_kept)
{
    return refusals->n_written > n_kept ? refusals->n_written - n_kept + 1 : 1;
}

static bool is_sound(const struct refusal *refusal)
{
    const struct refusal_facts *last = refusal_last(refusal);
    return state_load(&refusal->n_times) > 0 && last->asked < N_ASKED && last->why < N_WHY &&
           refusal->n_reason_bytes <= REASON_MAX_BYTES &&
           memchr(refusal->command, '\0', sizeof(refusal->command)) != NULL;
}

void refusals_init(struct refusals *refusals, struct state *state)
{
    *refusals = (struct refusals){.state = state};
    for (uint32_t place = 0; place < REFUSALS_PLACES; place++) {
        struct refusal *refusal = &state->refusals->kept[place];
        const uint64_t number = state_load(&refusal->number);
        if (number == 0) {
            continue;
        }
        if (number % REFUSALS_PLACES != place || !is_sound(refusal)) {
            /* Before and after: it is none. */
            store_prepare_u64(&refusal->number, 0);
        } else if (number > refusals->n_written) {
            refusals->n_written = number;
        }
    }
}

static bool is_same(const struct refusal *refusal, const struct client_identity *identity,
                    const struct refusal_facts *facts, const void *reason, size_t n_reason_bytes)
{
    const struct refusal_facts *last = refusal_last(refusal);
    return refusal->pid == identity->pid && refusal->uid == identity->uid &&
           refusal->inode == identity->inode && strcmp(refusal->command, identity->command) == 0 &&
           last->asked == facts->asked && last->why == facts->why &&
           refusal->n_reason_bytes == n_reason_bytes &&
           (n_reason_bytes == 0 || memcmp(refusal->reason, reason, n_reason_bytes) == 0);
}

/* One of the last few that this one repeats; NULL: none. */
static struct refusal *refusal_find(const struct refusals *refusals,
                                    const struct client_identity *identity,
                                    const struct refusal_facts *facts, const void *reason,
                                    size_t n_reason_bytes)
{
    const uint64_t oldest = oldest_number(refusals, REFUSALS_COMPARED);
    for (uint64_t number = refusals->n_written; number >= oldest; number--) {
        struct refusal *refusal = refusal_of(refusals, number);
        if (refusal && is_same(refusal, identity, facts, reason, n_reason_bytes)) {
            return refusal;
        }
    }
    return NULL;
}

static void refusal_add(struct refusals *refusals, const struct client_identity *identity,
                        const struct refusal_facts *facts, const void *reason,
                        size_t n_reason_bytes)
{
    const uint64_t number = refusals->n_written + 1;
    const size_t from = offsetof(struct refusal, n_times);
    struct refusal *place = place_of(refusals, number);
    struct refusal content = {
        .n_times = 1,
        .first_ms = facts->at_ms,
        .inode = identity->inode,
        .pid = identity->pid,
        .uid = identity->uid,
        .facts = {[1] = *facts},
        .n_reason_bytes = (uint8_t)n_reason_bytes,
    };
    memcpy(content.command, identity->command, sizeof(content.command));
    if (n_reason_bytes > 0) {
        memcpy(content.reason, reason, n_reason_bytes);
    }
    /* Its number is older than any that is kept. */
    store_prepare_bytes((unsigned char *)place + from, (unsigned char *)&content + from,
                        sizeof(content) - from);
    /* Before: the place is nobody's. After: it has this refusal, and all of it is there. */
    state_commit(refusals->state, &place->number, number);
    refusals->n_written = number;
}

static void refusal_repeat(const struct refusals *refusals, struct refusal *refusal,
                           const struct refusal_facts *facts)
{
    const uint64_t n_times = state_load(&refusal->n_times) + 1;
    struct refusal_facts content = *facts;
    store_prepare_bytes(&refusal->facts[n_times % 2], &content, sizeof(content));
    /* Before: the time before is the last. After: this one is. */
    state_commit(refusals->state, &refusal->n_times, n_times);
}

void refusals_note(struct refusals *refusals, const struct client_identity *identity,
                   const struct refusal_facts *facts, const void *reason, size_t n_reason_bytes,
                   uint64_t now_ms)
{
    KMEM_ASSERT(n_reason_bytes <= REASON_MAX_BYTES);
    struct refusal_facts dated = *facts;
    struct refusal *refusal = refusal_find(refusals, identity, facts, reason, n_reason_bytes);
    dated.at_ms = now_ms;
    refusals->state->refusals->n_times[facts->asked][facts->why]++;
    if (refusal) {
        refusal_repeat(refusals, refusal, &dated);
    } else {
        refusal_add(refusals, identity, &dated, reason, n_reason_bytes);
    }
}

const struct refusal *refusals_next(const struct refusals *refusals, uint64_t number)
{
    const uint64_t oldest = oldest_number(refusals, REFUSALS_KEPT);
    number = number < oldest ? oldest : number;
    for (; number <= refusals->n_written; number++) {
        const struct refusal *refusal = refusal_of(refusals, number);
        if (refusal) {
            return refusal;
        }
    }
    return NULL;
}

uint64_t refusals_count(const struct refusals *refusals, enum refusal_asked asked,
                        enum refusal_why why)
{
    return refusals->state->refusals->n_times[asked][why];
}

int refusals_check(const struct refusals *refusals)
{
    const struct refusal *refusal = refusals_next(refusals, 0);
    for (; refusal; refusal = refusals_next(refusals, state_load(&refusal->number) + 1)) {
        const struct refusal_facts *last = refusal_last(refusal);
        if (!is_sound(refusal) || last->at_ms < refusal->first_ms ||
            refusals_count(refusals, last->asked, last->why) < state_load(&refusal->n_times)) {
            return REFUSALS_E_CORRUPT;
        }
    }
    return refusals->n_written == 0 || refusal_of(refusals, refusals->n_written)
               ? REFUSALS_OK
               : REFUSALS_E_CORRUPT;
}

const char *refusal_asked_word(enum refusal_asked asked)
{
    static const char *const words[] = {
#define ASKED(name, word) word,
#include "daemon/core/state_refusals.def"
#undef ASKED
    };
    return words[asked];
}

const char *refusal_why_word(enum refusal_why why)
{
    static const char *const words[] = {
#define WHY(name, word, text) word,
#include "daemon/core/state_refusals.def"
#undef WHY
    };
    return words[why];
}

const char *refusal_why_text(enum refusal_why why)
{
    static const char *const texts[] = {
#define WHY(name, word, text) text,
#include "daemon/core/state_refusals.def"
#undef WHY
    };
    return texts[why];
}
