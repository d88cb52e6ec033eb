/* SPDX-License-Identifier: MIT */
#include "daemon/core/changes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct change *change_place(const struct changes *changes, uint64_t number)
{
    return &changes->ring[number % CHANGES_KEPT];
}

/* Without memory touched: pages of the ring are taken as they are written. */
int changes_init(struct changes *changes, uint64_t server)
{
    *changes = (struct changes){.server = server};
    changes->ring = calloc(CHANGES_KEPT, sizeof(*changes->ring));
    return changes->ring ? 0 : -ENOMEM;
}

void changes_fini(struct changes *changes)
{
    free(changes->ring);
    changes->ring = NULL;
}

/* Whether pages that come back lie behind those that came back last. */
static bool change_goes_on(const struct changes *changes, const struct client_identity *identity,
                           const struct change_facts *facts)
{
    const struct change *last = change_place(changes, changes->n_written);
    return facts->kind == CHANGE_RETURNED && changes->n_written > changes->n_told &&
           last->kind == CHANGE_RETURNED && last->pid == identity->pid &&
           last->uid == identity->uid && last->offset + last->num_bytes == facts->offset;
}

void changes_note(struct changes *changes, const struct client_identity *identity,
                  const struct change_facts *facts, const char *text, size_t n_text_bytes)
{
    KMEM_ASSERT(n_text_bytes <= REASON_MAX_BYTES);
    if (change_goes_on(changes, identity, facts)) {
        change_place(changes, changes->n_written)->num_bytes += facts->num_bytes;
        return;
    }
    struct change *change = change_place(changes, ++changes->n_written);
    change->number = changes->n_written;
    change->at_ms = changes->now_ms;
    change->kind = facts->kind;
    change->pid = identity->pid;
    change->uid = identity->uid;
    change->asked = facts->asked;
    change->why = facts->why;
    change->offset = facts->offset;
    change->num_bytes = facts->num_bytes;
    change->n_blocks = facts->n_blocks;
    memcpy(change->command, identity->command, sizeof(change->command));
    change->n_text_bytes = (uint32_t)n_text_bytes;
    if (n_text_bytes > 0) {
        memcpy(change->text, text, n_text_bytes);
    }
}

const struct change *changes_next(const struct changes *changes, uint64_t number)
{
    const uint64_t oldest =
        changes->n_written > CHANGES_KEPT ? changes->n_written - CHANGES_KEPT + 1 : 1;
    number = number < oldest ? oldest : number;
    return number <= changes->n_written ? change_place(changes, number) : NULL;
}

const char *change_word(enum change_kind kind)
{
    static const char *const words[] = {
#define CHANGE(name, word, text) word,
#include "daemon/core/changes.def"
#undef CHANGE
    };
    return words[kind];
}
