/* SPDX-License-Identifier: MIT */
#include "daemon/nearest.h"

#include <string.h>

/* No key is longer. */
#define WORD_MAX_BYTES 31
/* Two mistakes are typing; with three, "names" would be meant by half of all short words. */
#define MISTAKES_MAX 2

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The Levenshtein distance, from one row of its matrix. */
static size_t word_distance(const char *typed, const char *meant, size_t n_meant)
{
    size_t row[WORD_MAX_BYTES + 1];
    for (size_t j = 0; j <= n_meant; j++) {
        row[j] = j;
    }
    for (size_t i = 0; typed[i] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i + 1;
        for (size_t j = 1; j <= n_meant; j++) {
            const size_t replaced = diagonal + (typed[i] != meant[j - 1]);
            diagonal = row[j];
            row[j] = least(replaced, least(row[j], row[j - 1]) + 1);
        }
    }
    return row[n_meant];
}

void nearest_try(struct nearest *nearest, const char *word)
{
    const size_t n_bytes = strlen(word);
    if (n_bytes > WORD_MAX_BYTES || strlen(nearest->typed) > WORD_MAX_BYTES) {
        return;
    }
    const size_t n_mistakes = word_distance(nearest->typed, word, n_bytes);
    if (n_mistakes <= MISTAKES_MAX && (!nearest->meant || n_mistakes < nearest->n_mistakes)) {
        nearest->meant = word;
        nearest->n_mistakes = n_mistakes;
    }
}
