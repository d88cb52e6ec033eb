/* SPDX-License-Identifier: MIT */
/*
 * worker_words FILE... - counts how often each word occurs in all the files together
 *
 * Every distinct word is a block of its own, the table that finds it is one block that is replaced
 * by one of twice the size when it is half full: thousands of small blocks and a few that come and
 * go, which is what most programs ask an allocator for.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/demo/worker.h"

struct word {
    uint32_t hash;
    uint32_t n_seen;
    char letters[];
};

/* n_words <= n_slots / 2, a power of 2; a word is in the first free slot from its hash on. */
struct table {
    struct word **slots;
    size_t n_slots;
    size_t n_words;
    size_t n_seen; /* all words, repetitions included */
};

/* FNV-1a: a few instructions a letter, good enough for words of a natural language. */
static uint32_t hash_of(const char *letters)
{
    uint32_t hash = UINT32_C(2166136261);

    for (; *letters; letters++) {
        hash = (hash ^ (unsigned char)*letters) * UINT32_C(16777619);
    }
    return hash;
}

static void table_make(struct table *table, size_t n_slots)
{
    table->slots = worker_take(n_slots * sizeof(struct word *), "demo/words/table#%zu", n_slots);
    table->n_slots = n_slots;
}

/* The slot of this word, or the free one where it belongs. */
static struct word **table_slot(const struct table *table, uint32_t hash, const char *letters)
{
    size_t i = hash & (table->n_slots - 1);

    while (table->slots[i] &&
           (table->slots[i]->hash != hash || strcmp(table->slots[i]->letters, letters) != 0)) {
        i = (i + 1) & (table->n_slots - 1);
    }
    return &table->slots[i];
}

static void table_grow(struct table *table)
{
    struct table old = *table;

    table_make(table, old.n_slots * 2);
    for (size_t i = 0; i < old.n_slots; i++) {
        struct word *word = old.slots[i];
        if (word) {
            *table_slot(table, word->hash, word->letters) = word;
        }
    }
    worker_give(old.slots);
}

static void table_count(struct table *table, const char *letters)
{
    uint32_t hash = hash_of(letters);
    struct word **slot = table_slot(table, hash, letters);

    if (!*slot) {
        size_t n_letters = strlen(letters);
        *slot = worker_take(sizeof(struct word) + n_letters + 1, "demo/words/word#%s", letters);
        (*slot)->hash = hash;
        memcpy((*slot)->letters, letters, n_letters + 1);
        table->n_words++;
    }
    (*slot)->n_seen++;
    table->n_seen++;
    if (table->n_words * 2 > table->n_slots) {
        table_grow(table);
    }
}

static const struct word *table_most_frequent(const struct table *table)
{
    const struct word *most = NULL;

    for (size_t i = 0; i < table->n_slots; i++) {
        const struct word *word = table->slots[i];
        if (word && (!most || word->n_seen > most->n_seen ||
                     (word->n_seen == most->n_seen && strcmp(word->letters, most->letters) < 0))) {
            most = word;
        }
    }
    return most;
}

static void table_drop(struct table *table)
{
    for (size_t i = 0; i < table->n_slots; i++) {
        if (table->slots[i]) {
            worker_give(table->slots[i]);
        }
    }
    worker_give(table->slots);
}

static void count_file(struct table *table, const char *path)
{
    struct text text;
    char word[64];
    size_t at = 0;

    text_load(&text, path, "words/text#");
    while (text_next_word(&text, &at, word, sizeof(word)) > 0) {
        table_count(table, word);
    }
    worker_tell("at has counted %zu words, %zu distinct ones, %s last", table->n_seen,
                table->n_words, text.name);
    worker_pause(100);
    text_drop(&text);
}

int main(int argc, char **argv)
{
    struct table table = {0};

    table_make(&table, 64);
    for (int i = 1; i < argc; i++) {
        count_file(&table, argv[i]);
    }
    const struct word *most = table_most_frequent(&table);
    if (!most) {
        worker_fail("no words in the files");
    }
    worker_tell("at holds %zu distinct words of %zu; most frequent: \"%s\"", table.n_words,
                table.n_seen, most->letters);
    worker_tell("say counted %zu words; \"%s\" occurs %u times", table.n_seen, most->letters,
                most->n_seen);
    worker_tell("result words %zu", table.n_seen);
    worker_tell("result distinct %zu", table.n_words);
    worker_tell("result most %u %s", most->n_seen, most->letters);
    worker_hold();
    table_drop(&table);
    worker_leave();
    return 0;
}
