/* SPDX-License-Identifier: MIT */
/*
 * refusals.h - who asked for what, when, and why it was refused: the last of them
 *
 * What one process asks for again and again, under the same reason, and is refused for the same
 * cause, is one refusal that is told with how often it was: a cache that evicts and tries again
 * does not push out what was refused to others. They are this server's: the next one begins anew.
 */
#ifndef DAEMON_CORE_REFUSALS_H
#define DAEMON_CORE_REFUSALS_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/core/state.h"
#include "proto/limits.h"

/* 256: some 70 KiB; more than is read after something went wrong. */
#define REFUSALS_KEPT 256
/* 16: as many processes are refused in turn, and each is still one refusal. */
#define REFUSALS_COMPARED 16

enum refusal_asked {
#define ASKED(name, word) ASKED_##name,
#include "daemon/core/refusals.def"
#undef ASKED
    N_ASKED,
};

enum refusal_why {
#define WHY(name, word, text) WHY_##name,
#include "daemon/core/refusals.def"
#undef WHY
    N_WHY,
};

/* What was so when it was refused last. */
struct refusal_facts {
    enum refusal_asked asked;
    enum refusal_why why;
    uint64_t num_bytes; /* asked for, of a lease in pages; 0: of none */
    uint64_t free_bytes;
    uint64_t largest_extent_bytes;
    uint64_t used;  /* what stood against it: charged to the client, clients, names, ... */
    uint64_t limit; /* and how much of that there may be */
};

struct refusal {
    uint64_t number; /* counted from 1 since the server began */
    uint64_t n_times;
    uint64_t first_ms;
    uint64_t last_ms;
    uint32_t pid;
    uint32_t uid;
    uint64_t inode; /* of the process's pidfd; 0: unknown */
    char command[COMMAND_BYTES];
    struct refusal_facts facts;
    size_t n_reason_bytes;
    char reason[REASON_MAX_BYTES];
};

/*
 *      n_written == the number of the last      n_times[asked][why]: all that there ever were
 */
struct refusals {
    uint64_t n_written;
    uint64_t n_times[N_ASKED][N_WHY];
    struct refusal kept[REFUSALS_KEPT]; /* by number */
};

/** refusals_note() - @n_reason_bytes: REASON_MAX_BYTES at most; 0: there is none */
void refusals_note(struct refusals *refusals, const struct client_identity *identity,
                   const struct refusal_facts *facts, const void *reason, size_t n_reason_bytes,
                   uint64_t now_ms);

/** refusals_next() - the first one kept with at least that number; NULL: none */
const struct refusal *refusals_next(const struct refusals *refusals, uint64_t number);

const char *refusal_asked_word(enum refusal_asked asked);
const char *refusal_why_word(enum refusal_why why);
const char *refusal_why_text(enum refusal_why why);

#endif
