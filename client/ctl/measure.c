/* SPDX-License-Identifier: MIT */
#include "client/ctl/measure.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct unit {
    const char *name; /* in any case */
    double factor;
};

static const struct unit sizes[] = {
    {"", 1},
    {"b", 1},
    {"k", 1024.0},
    {"kb", 1024.0},
    {"kib", 1024.0},
    {"m", 1048576.0},
    {"mb", 1048576.0},
    {"mib", 1048576.0},
    {"g", 1073741824.0},
    {"gb", 1073741824.0},
    {"gib", 1073741824.0},
    {"t", 1099511627776.0},
    {"tb", 1099511627776.0},
    {"tib", 1099511627776.0},
    {0},
};

static const struct unit ages[] = {
    {"ms", 1},         {"", 1000},         {"s", 1000},
    {"m", 60000.0},    {"min", 60000.0},   {"h", 3600000.0},
    {"d", 86400000.0}, {"w", 604800000.0}, {0},
};

/* 2^63: from here on a double is no exact count of bytes, and no machine has as many. */
#define TOO_MUCH 9223372036854775808.0

static const struct unit *unit_find(const struct unit *units, const char *text, size_t n_bytes)
{
    for (; units->name; units++) {
        if (strlen(units->name) == n_bytes && strncasecmp(units->name, text, n_bytes) == 0) {
            return units;
        }
    }
    return NULL;
}

/* "1,234.5": the commas are those of format_count(). */
static bool take_number(const char **at, double *ret_number)
{
    char digits[32];
    size_t n = 0;
    const size_t n_bytes = strspn(*at, "0123456789.,");
    for (size_t i = 0; i < n_bytes && n + 1 < sizeof(digits); i++) {
        if ((*at)[i] != ',') {
            digits[n++] = (*at)[i];
        }
    }
    digits[n] = '\0';
    char *end;
    *ret_number = strtod(digits, &end);
    *at += n_bytes;
    return n > 0 && *end == '\0' && end != digits && n + 1 < sizeof(digits);
}

/* A number and a unit, with blanks around them. */
static bool take_part(const struct unit *units, const char **at, double *sum)
{
    double number;
    *at += strspn(*at, " ");
    if (!take_number(at, &number)) {
        return false;
    }
    *at += strspn(*at, " ");
    const size_t n_bytes = strcspn(*at, " 0123456789.,");
    const struct unit *unit = unit_find(units, *at, n_bytes);
    if (!unit) {
        return false;
    }
    *at += n_bytes;
    *at += strspn(*at, " ");
    *sum += number * unit->factor;
    return *sum < TOO_MUCH;
}

bool measure_bytes(const char *text, uint64_t *ret_bytes)
{
    double sum = 0;
    if (!take_part(sizes, &text, &sum) || *text) {
        return false;
    }
    *ret_bytes = (uint64_t)sum;
    return true;
}

bool measure_age(const char *text, uint64_t *ret_ms)
{
    double sum = 0;
    do {
        if (!take_part(ages, &text, &sum)) {
            return false;
        }
    } while (*text);
    *ret_ms = (uint64_t)sum;
    return true;
}

#define PERMILLE_MAX 1e18

uint64_t measure_permille(double part, double whole)
{
    const double permille = whole > 0 ? part * 1000 / whole + 0.5 : 0;
    return (uint64_t)(permille < PERMILLE_MAX ? permille : PERMILLE_MAX);
}
