/* SPDX-License-Identifier: MIT */
#include "client/ctl/format.h"

#include <inttypes.h>
#include <stdio.h>

#include <kmem/query.h>

#define SECOND_MS UINT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)

struct label format_count(uint64_t count)
{
    struct label label = {.text = ""};
    char digits[24];
    int n_digits = snprintf(digits, sizeof(digits), "%" PRIu64, count);
    size_t at = 0;

    for (int i = 0; i < n_digits; i++) {
        if (i > 0 && (n_digits - i) % 3 == 0) {
            label.text[at++] = ',';
        }
        label.text[at++] = digits[i];
    }
    label.text[at] = '\0';
    return label;
}

struct label format_id(uint32_t id)
{
    struct label label = {.text = ""};

    (void)snprintf(label.text, sizeof(label.text), "%" PRIu32, id);
    return label;
}

struct label format_offset(uint64_t offset)
{
    struct label label = {.text = ""};

    (void)snprintf(label.text, sizeof(label.text), "0x%" PRIx64, offset);
    return label;
}

struct label format_bytes(uint64_t num_bytes, bool exactly)
{
    struct label label = {.text = ""};

    if (exactly) {
        return format_count(num_bytes);
    }
    kmem_query_format_bytes(num_bytes, label.text, sizeof(label.text));
    return label;
}

/* Two units at most: nobody who reads "9 d 03 h" misses the minutes. */
struct label format_age(uint64_t age_ms)
{
    struct label label = {.text = ""};
    size_t n = sizeof(label.text);

    if (age_ms < SECOND_MS) {
        (void)snprintf(label.text, n, "%" PRIu64 " ms", age_ms);
    } else if (age_ms < MINUTE_MS) {
        (void)snprintf(label.text, n, "%" PRIu64 ".%" PRIu64 " s", age_ms / SECOND_MS,
                       age_ms % SECOND_MS / 100);
    } else if (age_ms < HOUR_MS) {
        (void)snprintf(label.text, n, "%" PRIu64 " m %02" PRIu64 " s", age_ms / MINUTE_MS,
                       age_ms % MINUTE_MS / SECOND_MS);
    } else if (age_ms < DAY_MS) {
        (void)snprintf(label.text, n, "%" PRIu64 " h %02" PRIu64 " m", age_ms / HOUR_MS,
                       age_ms % HOUR_MS / MINUTE_MS);
    } else {
        (void)snprintf(label.text, n, "%" PRIu64 " d %02" PRIu64 " h", age_ms / DAY_MS,
                       age_ms % DAY_MS / HOUR_MS);
    }
    return label;
}

struct label format_share(uint64_t part, uint64_t whole)
{
    struct label label = {.text = ""};

    if (whole == 0) {
        (void)snprintf(label.text, sizeof(label.text), "-");
    } else {
        (void)snprintf(label.text, sizeof(label.text), "%.1f %%",
                       (double)part * 100.0 / (double)whole);
    }
    return label;
}

struct escaped format_escaped(const char *foreign)
{
    struct escaped escaped = {.text = ""};

    kmem_query_escape(foreign, escaped.text, sizeof(escaped.text));
    return escaped;
}
