/* SPDX-License-Identifier: MIT */
#include "daemon/core/rollup_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/hash.h"

/* 1 KiB for a client that had some reasons, 32 KiB for who has many. */
#define CHUNK_FIRST_BYTES 1024
#define CHUNK_MAX_BYTES 32768
/* Rows of which there is room in a table that is new. */
#define ROWS_FIRST 32

struct rollup_chunk {
    struct rollup_chunk *next;
    uint32_t n_bytes;
    uint32_t used_bytes;
    _Alignas(struct rollup_row) unsigned char bytes[];
};

void rollup_rows_init(struct rollup_rows *rows, uint64_t seed)
{
    *rows = (struct rollup_rows){.seed = seed};
}

void rollup_rows_freeze(struct rollup_rows *rows)
{
    rows->n_bytes -= rows->index_max * sizeof(*rows->index);
    rows->index_max = 0;
    free(rows->index);
    rows->index = NULL;
}

void rollup_rows_fini(struct rollup_rows *rows)
{
    while (rows->chunks) {
        struct rollup_chunk *next = rows->chunks->next;
        free(rows->chunks);
        rows->chunks = next;
    }
    free(rows->rows);
    free(rows->index);
}

/* Room for a row in the latest chunk, or in a new one. */
static struct rollup_row *row_new(struct rollup_rows *rows, size_t n_text_bytes)
{
    const size_t align = _Alignof(struct rollup_row);
    const uint32_t n_bytes =
        (uint32_t)((sizeof(struct rollup_row) + n_text_bytes + align - 1) & ~(align - 1));
    struct rollup_chunk *chunk = rows->chunks;
    if (!chunk || chunk->n_bytes - chunk->used_bytes < n_bytes) {
        const uint32_t wanted = chunk ? 2 * chunk->n_bytes : CHUNK_FIRST_BYTES;
        const uint32_t chunk_bytes = wanted < CHUNK_MAX_BYTES ? wanted : CHUNK_MAX_BYTES;
        chunk = malloc(sizeof(*chunk) + chunk_bytes);
        if (!chunk) {
            return NULL;
        }
        *chunk = (struct rollup_chunk){.next = rows->chunks, .n_bytes = chunk_bytes};
        rows->n_bytes += sizeof(*chunk) + chunk_bytes;
        rows->chunks = chunk;
    }
    struct rollup_row *row = (void *)(chunk->bytes + chunk->used_bytes);
    chunk->used_bytes += n_bytes;
    return row;
}

static int rows_reserve(struct rollup_rows *rows)
{
    if (rows->n_rows < rows->rows_max) {
        return 0;
    }
    const uint32_t rows_max = rows->rows_max == 0 ? ROWS_FIRST : 2 * rows->rows_max;
    struct rollup_row **more = realloc(rows->rows, rows_max * sizeof(struct rollup_row *));
    if (!more) {
        return -ENOMEM;
    }
    rows->n_bytes += (rows_max - rows->rows_max) * sizeof(struct rollup_row *);
    rows->rows = more;
    rows->rows_max = rows_max;
    return 0;
}

static void index_put(struct rollup_rows *rows, uint32_t number)
{
    uint32_t at = rows->rows[number]->hash;
    while (rows->index[at & (rows->index_max - 1)] != 0) {
        at++;
    }
    rows->index[at & (rows->index_max - 1)] = number + 1;
}

static int index_reserve(struct rollup_rows *rows)
{
    if (2 * (rows->n_rows + 1) <= rows->index_max) {
        return 0;
    }
    const uint32_t index_max = rows->index_max == 0 ? 2 * ROWS_FIRST : 2 * rows->index_max;
    uint32_t *index = calloc(index_max, sizeof(*index));
    if (!index) {
        return -ENOMEM;
    }
    rows->n_bytes += (index_max - rows->index_max) * sizeof(*index);
    free(rows->index);
    rows->index = index;
    rows->index_max = index_max;
    for (uint32_t number = 0; number < rows->n_rows; number++) {
        index_put(rows, number);
    }
    rows->n_moved += rows->n_rows;
    return 0;
}

struct rollup_row *rollup_rows_add(struct rollup_rows *rows, const struct rollup_name *name)
{
    if (rows_reserve(rows) || index_reserve(rows)) {
        return NULL;
    }
    struct rollup_row *row = row_new(rows, name->n_bytes + 1);
    if (!row) {
        return NULL;
    }
    memcpy(row->text, name->text, name->n_bytes + 1);
    row->hash = hash_words(rows->seed, name->text, name->n_bytes);
    row->group = (struct rollup_group){
        .key = row->text,
        .oldest = UINT32_MAX,
        .pid = name->pid,
        .uid = name->uid,
    };
    rows->rows[rows->n_rows++] = row;
    index_put(rows, rows->n_rows - 1);
    return row;
}

struct rollup_row *rollup_rows_find(const struct rollup_rows *rows, const char *text,
                                    size_t n_bytes)
{
    const uint32_t hash = hash_words(rows->seed, text, n_bytes);
    for (uint32_t at = hash; rows->index_max > 0; at++) {
        const uint32_t number = rows->index[at & (rows->index_max - 1)];
        if (number == 0) {
            return NULL;
        }
        struct rollup_row *row = rows->rows[number - 1];
        if (row->hash == hash && strcmp(row->text, text) == 0) {
            return row;
        }
    }
    return NULL;
}
