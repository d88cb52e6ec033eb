/* SPDX-License-Identifier: MIT */
/*
 * changes.h - what the server has done, the last of it, for those who watch
 *
 * A ring in memory: a watcher reads on from the number that it has come to, and is told how many it
 * has missed if it comes too late. The ring costs the same whether one watches or not, so what was
 * done before somebody came can be read as well. It is this server's: the next one begins anew,
 * with number 1. What clients carve from their leases is in no place of it: the server does not do
 * that.
 *
 *      n_written == the number of the last
 */
#ifndef DAEMON_CORE_CHANGES_H
#define DAEMON_CORE_CHANGES_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/core/refusals.h"
#include "daemon/core/state.h"
#include "proto/attributes.h"
#include "proto/limits.h"

#ifndef CHANGES_KEPT /* fuzzers make a core a hundred times a second */
/* 4,096: 900 KiB. At a hundred thousand changes a second a watcher has 40 ms to come back, in which
   it reads all of them; less would make one that sleeps 20 ms miss some. */
#define CHANGES_KEPT 4096
#endif
/* The bell that watchers wait for; no name has it: proto/notice.h. */
#define CHANGES_BELL UINT32_MAX

enum change_kind {
#define CHANGE(name, word, text) CHANGE_##name,
#include "daemon/core/changes.def"
#undef CHANGE
    N_CHANGES,
};

struct change {
    uint64_t number; /* counted from 1 since the server began */
    uint64_t at_ms;
    enum change_kind kind;
    uint32_t pid;
    uint32_t uid;
    enum refusal_asked asked; /* of REFUSED */
    enum refusal_why why;
    uint32_t n_text_bytes;
    uint64_t offset;
    uint64_t num_bytes;
    uint64_t n_blocks; /* of TAKEN_BACK */
    char command[COMMAND_BYTES];
    char text[REASON_MAX_BYTES]; /* the reason; of PUBLISHED and UNPUBLISHED the name */
};

static_assert(SHARE_NAME_MAX_BYTES <= REASON_MAX_BYTES, "a name fits");

struct changes {
    struct change *ring; /* CHANGES_KEPT, by number */
    uint64_t n_written;
    uint64_t n_told; /* those up to this number may have been read */
    uint64_t server; /* another number for every server */
    uint64_t now_ms; /* the present, for those who have no clock */
};

/** changes_init() - none yet. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int changes_init(struct changes *changes, uint64_t server);

void changes_fini(struct changes *changes);

/* What has been done, and by whom. */
struct change_facts {
    enum change_kind kind;
    uint64_t offset;
    uint64_t num_bytes;
    uint64_t n_blocks;
    enum refusal_asked asked;
    enum refusal_why why;
};

/**
 * changes_note() - it is done, at changes->now_ms
 * @text:  n_text_bytes, REASON_MAX_BYTES at most
 *
 * Pages that are RETURNED in a row, which nobody has read of yet, are one change.
 */
void changes_note(struct changes *changes, const struct client_identity *identity,
                  const struct change_facts *facts, const char *text, size_t n_text_bytes);

/** changes_next() - the first one kept with at least that number; NULL: none */
const struct change *changes_next(const struct changes *changes, uint64_t number);

const char *change_word(enum change_kind kind);

#endif
