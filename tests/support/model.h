/* SPDX-License-Identifier: MIT */
/*
 * model.h - what a core must hold, kept as simply as can be: a list of blocks, a list of clients
 *
 * Two programs drive a core and this beside it: test_core_model.c with a million random steps, and
 * tests/crash/every_store.c, which is stopped before each store of each step.
 *
 * Every question is answered by looking at all of the list. Nothing here knows pages, slabs or
 * entries, but for model_room(), which looks at all page words and all slabs to say whether "no
 * room" is true.
 */
#ifndef TESTS_SUPPORT_MODEL_H
#define TESTS_SUPPORT_MODEL_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/core.h"

#ifndef MODEL_BLOCKS_MAX
#define MODEL_BLOCKS_MAX 4096
#endif
#define MODEL_CLIENTS_MAX 6
#define MODEL_PAGES_MAX 256

struct model_client {
    uint32_t pid;
    struct client *client; /* of the core */
    /* What it was told, for those that come back to another server. */
    uint32_t slot;
    uint64_t nonce;
    uint64_t sequence;
    /* In a small segment, a bit a page that it has taken of its leases: */
    uint64_t used;
    uint64_t idle;         /* of them: of slabs without a live block, which may be taken back */
    uint64_t slabs;        /* of them: where a slab begins */
    uint64_t slabs_of_two; /* of them: two pages long */
    bool ended;
    bool left;
    bool buried;
    uint64_t n_blocks; /* direct ones */
    uint64_t num_bytes;
    uint64_t n_leased_blocks;
    uint64_t leased_bytes; /* of those, as asked for */
    uint64_t leased_pages;
    uint64_t peak_bytes;
    /* What its obituary must say: what it held when it ended. */
    uint64_t n_blocks_left;
    uint64_t num_bytes_left;
    uint32_t n_reasons_left;
};

struct model_block {
    uint64_t offset;
    uint64_t num_bytes;
    uint32_t pid;
    uint32_t reason; /* its number: model_reason() */
    uint32_t born;
    bool leased;    /* carved by its owner */
    bool was_there; /* when the walk began */
    uint32_t n_visits;
};

/* A page of the segment, as far as leases go. */
struct model_page {
    uint32_t pid; /* whose lease it is in; 0: nobody's */
    bool used;    /* by that client */
};

struct model {
    struct model_block blocks[MODEL_BLOCKS_MAX];
    uint32_t n_blocks;
    uint32_t n_direct_blocks;
    uint64_t used_bytes;   /* in direct blocks */
    uint64_t leased_bytes; /* in the others, as asked for */
    uint64_t leased_pages;
    struct model_page pages[MODEL_PAGES_MAX];
    struct model_client clients[MODEL_CLIENTS_MAX];
    uint32_t n_clients;
    uint32_t n_pages; /* the segment's size, where that changes */
};

/** model_reason() - the words of a reason, as the core keeps them. Each driver defines its own. */
const char *model_reason(uint32_t number);

/** model_client() - by pid; NULL: there is none */
struct model_client *model_client(struct model *model, uint32_t pid);

/** model_client_add() - Return: it, until another is added or removed */
struct model_client *model_client_add(struct model *model, uint32_t pid, struct client *client);

/** model_client_end() - it has died, or left; it still holds what it held */
void model_client_end(struct model *model, struct model_client *client, bool left);

/** model_client_remove() - one that holds nothing */
void model_client_remove(struct model *model, struct model_client *client);

/** model_client_note_peak() - it has been charged with something */
void model_client_note_peak(struct model_client *client);

/** model_block() - the block that begins at an offset; NULL: there is none */
struct model_block *model_block(struct model *model, uint64_t offset);

/** model_block_around() - the direct block that a byte lies in; NULL: there is none */
struct model_block *model_block_around(struct model *model, uint64_t offset);

/** model_block_add() - Return: false if it is outside the segment or overlaps another */
bool model_block_add(struct model *model, const struct model_block *block, uint64_t segment_bytes);

void model_block_remove(struct model *model, struct model_block *block);

/** model_room() - whether any hole, or any slab, has room for num_bytes */
bool model_room(const struct core *core, uint64_t num_bytes);

/** model_blocks_equal() - whether the core has these direct blocks; prints what differs */
bool model_blocks_equal(struct model *model, const struct core *core);

/** model_equals() - likewise, and these clients with what they are charged */
bool model_equals(struct model *model, const struct core *core);

#endif
