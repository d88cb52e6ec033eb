/* SPDX-License-Identifier: MIT */
/*
 * worker_phrases FILE... - finds the longest phrase that two files of different families share
 *
 * A file becomes an array of word numbers. Two files are compared by dynamic programming: with
 * row[j] the length of the common phrase that ends at word i of one and word j of the other,
 *
 *      row'[j] = a[i] == b[j] ? row[j - 1] + 1 : 0
 *
 * which takes one row if j runs downwards. A family is what a file's name begins with, up to the
 * first '-': that GFDL-1.2 and GFDL-1.3 share long phrases would surprise nobody.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tests/demo/worker.h"

/* A document: its words as numbers, and where its name and file are among the arguments. */
struct document {
    uint32_t *words;
    size_t n_words;
    size_t idx;
    char name[64];
};

struct phrase {
    size_t n_words;
    const struct document *a; /* begins at word a_at of a */
    const struct document *b;
    size_t a_at;
    size_t b_at;
};

/* 32 bits of FNV-1a stand for a word. The conductor compares the letters. */
static uint32_t word_number(const char *letters)
{
    uint32_t hash = UINT32_C(2166136261);

    for (; *letters; letters++) {
        hash = (hash ^ (unsigned char)*letters) * UINT32_C(16777619);
    }
    return hash;
}

static size_t count_words(const struct text *text)
{
    char word[64];
    size_t at = 0;
    size_t n_words = 0;

    while (text_next_word(text, &at, word, sizeof(word)) > 0) {
        n_words++;
    }
    return n_words;
}

static void document_load(struct document *document, const char *path, size_t idx)
{
    struct text text;
    char word[64];
    size_t at = 0;

    text_load(&text, path, "phrases/text#");
    memcpy(document->name, text.name, sizeof(document->name));
    document->idx = idx;
    document->n_words = count_words(&text);
    document->words =
        worker_take((document->n_words + 1) * sizeof(uint32_t), "demo/phrases/words#%s", text.name);
    for (size_t i = 0; i < document->n_words; i++) {
        text_next_word(&text, &at, word, sizeof(word));
        document->words[i] = word_number(word);
    }
    text_drop(&text);
}

static bool same_family(const struct document *a, const struct document *b)
{
    size_t n_a = strcspn(a->name, "-");
    size_t n_b = strcspn(b->name, "-");

    return n_a == n_b && memcmp(a->name, b->name, n_a) == 0;
}

static void compare(const struct document *a, const struct document *b, struct phrase *longest)
{
    uint32_t *row =
        worker_take((b->n_words + 1) * sizeof(*row), "demo/phrases/row#%s+%s", a->name, b->name);

    /* row[j + 1] belongs to word j; row[0] stays 0. */
    for (size_t i = 0; i < a->n_words; i++) {
        for (size_t j = b->n_words; j-- > 0;) {
            row[j + 1] = a->words[i] == b->words[j] ? row[j] + 1 : 0;
            if (row[j + 1] > longest->n_words) {
                size_t n_words = row[j + 1];
                *longest = (struct phrase){n_words, a, b, i + 1 - n_words, j + 1 - n_words};
            }
        }
    }
    worker_give(row);
}

/*
 * Whether two documents share a phrase of n_words words, found without dynamic programming: every
 * phrase of one that begins with the same word is compared with the other's.
 */
static bool share_phrase(const struct document *a, const struct document *b, size_t n_words)
{
    for (size_t i = 0; i + n_words <= a->n_words; i++) {
        for (size_t j = 0; j + n_words <= b->n_words; j++) {
            if (a->words[i] == b->words[j] &&
                memcmp(a->words + i, b->words + j, n_words * sizeof(uint32_t)) == 0) {
                return true;
            }
        }
    }
    return false;
}

static bool any_share_phrase(const struct document *documents, size_t n_documents, size_t n_words)
{
    for (size_t i = 0; i < n_documents; i++) {
        for (size_t j = 0; j < i; j++) {
            if (!same_family(&documents[i], &documents[j]) &&
                share_phrase(&documents[i], &documents[j], n_words)) {
                return true;
            }
        }
    }
    return false;
}

static void compare_all(const struct document *documents, size_t n_documents,
                        struct phrase *longest)
{
    size_t n_pairs = 0;

    for (size_t i = 0; i < n_documents; i++) {
        for (size_t j = 0; j < i; j++) {
            if (same_family(&documents[i], &documents[j])) {
                continue;
            }
            compare(&documents[i], &documents[j], longest);
            worker_tell("at has compared %zu pairs; the longest common phrase has %zu words",
                        ++n_pairs, longest->n_words);
            worker_pause(10);
        }
    }
}

int main(int argc, char **argv)
{
    size_t n_documents = (size_t)argc - 1;
    struct document *documents =
        worker_take(n_documents * sizeof(*documents), "demo/phrases/documents");
    struct phrase longest = {0};

    for (size_t i = 0; i < n_documents; i++) {
        document_load(&documents[i], argv[i + 1], i);
        worker_tell("at has read %s", documents[i].name);
        worker_pause(20);
    }
    compare_all(documents, n_documents, &longest);
    if (longest.n_words == 0) {
        worker_fail("the files share no word");
    }
    worker_tell("say %s and %s share %zu words in a row", longest.a->name, longest.b->name,
                longest.n_words);
    worker_tell("at holds the longest common phrase: %zu words", longest.n_words);
    worker_tell("result phrase %zu %zu %zu %zu %zu", longest.n_words, longest.a->idx, longest.a_at,
                longest.b->idx, longest.b_at);
    worker_tell("result longer %d", any_share_phrase(documents, n_documents, longest.n_words + 1));
    worker_hold();
    for (size_t i = 0; i < n_documents; i++) {
        worker_give(documents[i].words);
    }
    worker_give(documents);
    worker_leave();
    return 0;
}
