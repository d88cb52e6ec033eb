/* SPDX-License-Identifier: MIT */
#include "tests/crash/image.h"

#include <stdlib.h>
#include <string.h>

#include "daemon/core/obituary.h"

#define PIECE_BYTES 4096
/* More than anybody's end in one world makes; image_save() sees to it. */
#define OBITUARIES_SAVED 60
/* 1.25 MiB, most of it entries of a ledger of 40 pages. */
#define PIECES_MAX 320

/* The pieces of the state file that are used. */
static unsigned char *pieces[PIECES_MAX];
static uint32_t n_pieces;

/* All of a part, which begins with a piece. */
static void part_add(void *part, uint64_t n_bytes)
{
    for (uint64_t at = 0; at < n_bytes; at += PIECE_BYTES) {
        EXPECT(n_pieces < PIECES_MAX);
        pieces[n_pieces++] = (unsigned char *)part + at;
    }
}

void images_open(void)
{
    struct ledger_layout layout;
    ledger_layout_init(&layout, N_PAGES);
    const struct state *state = &core.state;
    part_add(state->header, sizeof(*state->header));
    part_add((void *)state->page_words, N_PAGES * sizeof(uint64_t));
    part_add((void *)state->maybe_dirty, STATE_MAYBE_DIRTY_WORDS(N_PAGES) * sizeof(uint64_t));
    part_add(state->clients, SLOTS_SAVED * sizeof(struct state_client));
    part_add(state->reasons, REASONS_MAX * sizeof(struct state_reason));
    part_add(state->obituaries, OBITUARIES_SAVED * sizeof(struct obituary));
    part_add(state->shares, SHARES_MAX * sizeof(struct state_share));
    part_add(state->holds, HOLDS_MAX * sizeof(struct state_hold));
    part_add(state->names, SHARE_NAMES_MAX * sizeof(struct state_name));
    part_add(state->refusals, sizeof(*state->refusals));
    part_add(state->ledger.header, layout.reasons_at);
}

void image_init(struct image *image)
{
    image->bytes = calloc(n_pieces, PIECE_BYTES);
    image->is_set = calloc(n_pieces, sizeof(*image->is_set));
    EXPECT(image->bytes != NULL);
    EXPECT(image->is_set != NULL);
}

void image_fini(struct image *image)
{
    free(image->bytes);
    free(image->is_set);
    *image = (struct image){.bytes = NULL};
}

static bool piece_is_zero(const unsigned char *piece)
{
    static const unsigned char zeros[PIECE_BYTES];
    return memcmp(piece, zeros, PIECE_BYTES) == 0;
}

void image_save(struct image *image)
{
    const struct state_header *header = (const void *)pieces[0];
    /* What is not saved has to be unused. */
    EXPECT(header->n_obituaries + 1 < OBITUARIES_SAVED);
    EXPECT(header->n_slots <= SLOTS_SAVED);
    for (uint32_t i = 0; i < n_pieces; i++) {
        image->is_set[i] = !piece_is_zero(pieces[i]);
        if (image->is_set[i]) {
            memcpy(image->bytes + (size_t)i * PIECE_BYTES, pieces[i], PIECE_BYTES);
        }
    }
    memcpy(image->states, (void *)states, sizeof(image->states));
    memcpy(image->has_ledger, has_ledger, sizeof(image->has_ledger));
}

void image_load(const struct image *image)
{
    for (uint32_t i = 0; i < n_pieces; i++) {
        if (image->is_set[i]) {
            memcpy(pieces[i], image->bytes + (size_t)i * PIECE_BYTES, PIECE_BYTES);
        } else if (!piece_is_zero(pieces[i])) { /* else not written: it may have no memory yet */
            memset(pieces[i], 0, PIECE_BYTES);
        }
    }
    memcpy((void *)states, image->states, sizeof(image->states));
    memcpy(has_ledger, image->has_ledger, sizeof(image->has_ledger));
}

bool image_is(const struct image *image)
{
    bool is = memcmp((void *)states, image->states, sizeof(image->states)) == 0 &&
              memcmp(has_ledger, image->has_ledger, sizeof(image->has_ledger)) == 0;
    for (uint32_t i = 0; i < n_pieces && is; i++) {
        is = image->is_set[i]
                 ? memcmp(pieces[i], image->bytes + (size_t)i * PIECE_BYTES, PIECE_BYTES) == 0
                 : piece_is_zero(pieces[i]);
    }
    return is;
}
