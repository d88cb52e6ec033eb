/* SPDX-License-Identifier: MIT */
#include "client/ctl/suggest.h"

#include <string.h>

#define ROW_CELLS (SUGGEST_MAX_BYTES + 1)

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The optimal string alignment distance, from three rows of its matrix. */
size_t suggest_distance(const char *typed, const char *meant)
{
    size_t rows[3][ROW_CELLS];
    size_t n_typed = strlen(typed);
    size_t n_meant = strlen(meant);
    if (n_typed > SUGGEST_MAX_BYTES || n_meant > SUGGEST_MAX_BYTES) {
        return n_typed > n_meant ? n_typed : n_meant;
    }
    for (size_t j = 0; j <= n_meant; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= n_typed; i++) {
        size_t *now = rows[i % 3];
        const size_t *before = rows[(i + 2) % 3];
        const size_t *before_that = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= n_meant; j++) {
            size_t wrong = typed[i - 1] != meant[j - 1];
            now[j] = least(before[j - 1] + wrong, least(before[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && typed[i - 1] == meant[j - 2] && typed[i - 2] == meant[j - 1]) {
                now[j] = least(now[j], before_that[j - 2] + 1);
            }
        }
    }
    return rows[n_typed % 3][n_meant];
}
