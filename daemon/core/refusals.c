/* SPDX-License-Identifier: MIT */
#include "daemon/core/refusals.h"

#include <string.h>

#include "proto/attributes.h"

static struct refusal *refusal_place(struct refusals *refusals, uint64_t number)
{
    return &refusals->kept[number % REFUSALS_KEPT];
}

static uint64_t oldest_number(const struct refusals *refusals, uint64_t n_kept)
{
    return refusals->n_written > n_kept ? refusals->n_written - n_kept + 1 : 1;
}

static bool is_same(const struct refusal *refusal, const struct client_identity *identity,
                    const struct refusal_facts *facts, const void *reason, size_t n_reason_bytes)
{
    return refusal->pid == identity->pid && refusal->uid == identity->uid &&
           refusal->inode == identity->inode && strcmp(refusal->command, identity->command) == 0 &&
           refusal->facts.asked == facts->asked && refusal->facts.why == facts->why &&
           refusal->n_reason_bytes == n_reason_bytes &&
           (n_reason_bytes == 0 || memcmp(refusal->reason, reason, n_reason_bytes) == 0);
}

/* One of the last few that this one repeats; NULL: none. */
static struct refusal *refusal_find(struct refusals *refusals,
                                    const struct client_identity *identity,
                                    const struct refusal_facts *facts, const void *reason,
                                    size_t n_reason_bytes)
{
    const uint64_t oldest = oldest_number(refusals, REFUSALS_COMPARED);
    for (uint64_t number = refusals->n_written; number >= oldest; number--) {
        struct refusal *refusal = refusal_place(refusals, number);
        if (is_same(refusal, identity, facts, reason, n_reason_bytes)) {
            return refusal;
        }
    }
    return NULL;
}

static struct refusal *refusal_add(struct refusals *refusals,
                                   const struct client_identity *identity, const void *reason,
                                   size_t n_reason_bytes, uint64_t now_ms)
{
    const uint64_t number = ++refusals->n_written;
    struct refusal *refusal = refusal_place(refusals, number);
    *refusal = (struct refusal){
        .number = number,
        .first_ms = now_ms,
        .pid = identity->pid,
        .uid = identity->uid,
        .inode = identity->inode,
        .n_reason_bytes = n_reason_bytes,
    };
    memcpy(refusal->command, identity->command, sizeof(refusal->command));
    if (n_reason_bytes > 0) {
        memcpy(refusal->reason, reason, n_reason_bytes);
    }
    return refusal;
}

void refusals_note(struct refusals *refusals, const struct client_identity *identity,
                   const struct refusal_facts *facts, const void *reason, size_t n_reason_bytes,
                   uint64_t now_ms)
{
    KMEM_ASSERT(n_reason_bytes <= REASON_MAX_BYTES);
    struct refusal *refusal = refusal_find(refusals, identity, facts, reason, n_reason_bytes);
    if (!refusal) {
        refusal = refusal_add(refusals, identity, reason, n_reason_bytes, now_ms);
    }
    refusal->n_times++;
    refusal->last_ms = now_ms;
    refusal->facts = *facts;
    refusals->n_times[facts->asked][facts->why]++;
}

const struct refusal *refusals_next(const struct refusals *refusals, uint64_t number)
{
    const uint64_t oldest = oldest_number(refusals, REFUSALS_KEPT);
    number = number < oldest ? oldest : number;
    return number <= refusals->n_written ? &refusals->kept[number % REFUSALS_KEPT] : NULL;
}

const char *refusal_asked_word(enum refusal_asked asked)
{
    static const char *const words[] = {
#define ASKED(name, word) word,
#include "daemon/core/refusals.def"
#undef ASKED
    };
    return words[asked];
}

const char *refusal_why_word(enum refusal_why why)
{
    static const char *const words[] = {
#define WHY(name, word, text) word,
#include "daemon/core/refusals.def"
#undef WHY
    };
    return words[why];
}

const char *refusal_why_text(enum refusal_why why)
{
    static const char *const texts[] = {
#define WHY(name, word, text) text,
#include "daemon/core/refusals.def"
#undef WHY
    };
    return texts[why];
}
