/* SPDX-License-Identifier: MIT */
#include "client/estate.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>

/* A child writes it, before it has a second thread. Release / acquire. */
static _Atomic(const struct estate *) estates;

void kmem__estate_add(struct estate *estate)
{
    estate->older = atomic_load_explicit(&estates, memory_order_relaxed);
    atomic_store_explicit(&estates, estate, memory_order_release);
}

const struct estate *kmem__estate_of(const void *address)
{
    const struct estate *estate = atomic_load_explicit(&estates, memory_order_acquire);
    while (estate != NULL && (uintptr_t)address - (uintptr_t)estate->base >= estate->num_bytes) {
        estate = estate->older;
    }
    return estate;
}

/* Return: the last piece that begins at an offset or before it; NULL: none. */
static const struct piece *piece_at(const struct estate *estate, uint64_t offset)
{
    uint32_t begin = 0;
    uint32_t end = estate->n_pieces;
    while (begin < end) {
        const uint32_t middle = begin + (end - begin) / 2;
        if (estate->pieces[middle].offset <= offset) {
            begin = middle + 1;
        } else {
            end = middle;
        }
    }
    return begin > 0 ? &estate->pieces[begin - 1] : NULL;
}

/* Return: what is noted of the block that begins at an offset, and its piece; NULL: none does. */
static _Atomic uint16_t *slack_at(const struct estate *estate, uint64_t offset,
                                  const struct piece **ret_piece)
{
    const struct piece *piece = *ret_piece = piece_at(estate, offset);
    const uint64_t index = piece != NULL ? (offset - piece->offset) / piece->block_bytes : 0;
    if (piece == NULL || index >= piece->n_blocks ||
        offset != piece->offset + index * piece->block_bytes) {
        return NULL;
    }
    return &estate->slacks[piece->first_slack + index];
}

uint64_t kmem__estate_sizeof(const struct estate *estate, uint64_t offset)
{
    const struct hold *direct = kmem__holds_peek(&estate->directs, (struct seg_off){offset});
    if (direct != NULL) {
        return direct->num_bytes;
    }
    const struct piece *piece;
    const _Atomic uint16_t *noted = slack_at(estate, offset, &piece);
    /* Relaxed, here and below: see estate.h. */
    const uint16_t slack =
        noted != NULL ? atomic_load_explicit(noted, memory_order_relaxed) : SLACK_FREE;
    return slack < SLACK_RELEASED ? piece->block_bytes - slack : 0;
}

static int release_direct(struct hold *direct)
{
    if (direct->num_bytes == 0) {
        return -EALREADY;
    }
    direct->num_bytes = 0;
    return 0;
}

int kmem__estate_release(const struct estate *estate, uint64_t offset)
{
    const struct hold *direct = kmem__holds_peek(&estate->directs, (struct seg_off){offset});
    if (direct != NULL) {
        return release_direct(&estate->directs.slots[direct - estate->directs.slots]);
    }
    const struct piece *piece;
    _Atomic uint16_t *noted = slack_at(estate, offset, &piece);
    if (noted == NULL || atomic_load_explicit(noted, memory_order_relaxed) == SLACK_FREE) {
        return -EINVAL;
    }
    return atomic_exchange_explicit(noted, SLACK_RELEASED, memory_order_relaxed) == SLACK_RELEASED
               ? -EALREADY
               : 0;
}
