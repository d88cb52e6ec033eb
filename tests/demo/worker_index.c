/* SPDX-License-Identifier: MIT */
/*
 * worker_index QUERY... -- FILE... - finds the files that contain a phrase, by a trigram index
 *
 * Every three bytes in a row are hashed to a bucket; a bucket is a bitmap with a bit for each file,
 * in a block of its own that is made when the first file needs it. A query intersects the bitmaps
 * of its trigrams; only the files that are left are searched.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <kmem/kmem.h>

#include "tests/demo/worker.h"

#define N_BUCKETS 16384u
#define N_FILES_MAX 512u
/* The demo's segment is 8 MiB, of which at least 1 MiB is in use by then. */
#define TOO_MUCH_BYTES ((size_t)7 << 20)
#define N_MAP_WORDS (N_FILES_MAX / 64u)

struct index {
    uint64_t *buckets[N_BUCKETS]; /* NULL: no file has such a trigram */
    struct text texts[N_FILES_MAX];
    size_t n_texts;
};

static unsigned int bucket_of(const char *bytes)
{
    uint32_t trigram = (uint32_t)(unsigned char)bytes[0] << 16 |
                       (uint32_t)(unsigned char)bytes[1] << 8 | (unsigned char)bytes[2];

    return (trigram * UINT32_C(2654435761)) >> 18;
}

static void index_add(struct index *index, const char *path)
{
    size_t idx = index->n_texts++;
    struct text *text = &index->texts[idx];

    text_load(text, path, "index/text#");
    for (size_t i = 0; i + 2 < text->n_bytes; i++) {
        unsigned int bucket = bucket_of(text->bytes + i);
        if (!index->buckets[bucket]) {
            index->buckets[bucket] =
                worker_take(N_MAP_WORDS * sizeof(uint64_t), "demo/index/bitmap#%u", bucket);
        }
        index->buckets[bucket][idx / 64] |= UINT64_C(1) << (idx % 64);
    }
}

/* Which files have all the query's trigrams, as a bitmap. */
static void index_candidates(const struct index *index, const char *query, uint64_t *map)
{
    memset(map, 0xFF, N_MAP_WORDS * sizeof(*map));
    for (size_t i = 0; i + 2 < strlen(query); i++) {
        const uint64_t *bucket = index->buckets[bucket_of(query + i)];
        for (size_t w = 0; w < N_MAP_WORDS; w++) {
            map[w] &= bucket ? bucket[w] : 0;
        }
    }
}

static void index_search(const struct index *index, const char *query, size_t number)
{
    uint64_t *map = worker_take(N_MAP_WORDS * sizeof(*map), "demo/index/candidates#%s", query);
    size_t n_candidates = 0;
    size_t n_hits = 0;

    index_candidates(index, query, map);
    for (size_t i = 0; i < index->n_texts; i++) {
        if (map[i / 64] >> (i % 64) & 1) {
            n_candidates++;
            n_hits += strstr(index->texts[i].bytes, query) != NULL;
        }
    }
    worker_tell("at \"%s\": %zu files of %zu, %zu searched", query, n_hits, index->n_texts,
                n_candidates);
    worker_tell("result hits-%zu %zu", number, n_hits);
    worker_pause(120);
    worker_give(map);
}

static void index_drop(struct index *index)
{
    for (size_t i = 0; i < index->n_texts; i++) {
        text_drop(&index->texts[i]);
    }
    for (size_t i = 0; i < N_BUCKETS; i++) {
        if (index->buckets[i]) {
            worker_give(index->buckets[i]);
        }
    }
    worker_give(index);
}

/* More than is free, less than there is: the refusal names who holds what. */
static void ask_for_too_much(size_t num_bytes)
{
    void *block = kmem_try_allocate(num_bytes, "demo/index/too much");

    if (block) {
        worker_fail("%zu bytes were there to be had", num_bytes);
    }
    worker_tell("result refused %d", errno == ENOMEM);
    worker_tell("say %s", kmem_last_error());
}

/* It pauses after every eighth file: alone, all this takes a fraction of a second. */
static void build(struct index *index, char **paths, size_t n_paths)
{
    for (size_t i = 0; i < n_paths && i < N_FILES_MAX; i++) {
        index_add(index, paths[i]);
        if (i % 8 == 7 || i + 1 == n_paths) {
            worker_tell("at has indexed %zu files of %zu", i + 1, n_paths);
            worker_tell("progress %zu %zu", i + 1, n_paths);
            worker_pause(60);
        }
    }
}

int main(int argc, char **argv)
{
    size_t n_queries = 0;
    char **queries = argv + 1;

    while (queries[n_queries] && strcmp(queries[n_queries], "--") != 0) {
        n_queries++;
    }
    struct index *index = worker_take(sizeof(*index), "demo/index/table");
    build(index, queries + n_queries + 1, (size_t)argc - n_queries - 2);
    for (size_t i = 0; i < n_queries; i++) {
        index_search(index, queries[i], i);
    }
    worker_tell("say answered %zu searches in %zu files", n_queries, index->n_texts);
    ask_for_too_much(TOO_MUCH_BYTES);
    worker_tell("at holds an index of %zu files", index->n_texts);
    worker_hold();
    index_drop(index);
    worker_leave();
    return 0;
}
