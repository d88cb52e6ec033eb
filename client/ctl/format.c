/* SPDX-License-Identifier: MIT */
#include "client/ctl/format.h"

#include <stdio.h>
#include <string.h>

#include <kmem/query.h>

#include "client/ctl/digits.h"

#define SECOND_MS UINT64_C(1000)
#define MINUTE_MS (60 * SECOND_MS)
#define HOUR_MS (60 * MINUTE_MS)
#define DAY_MS (24 * HOUR_MS)

struct label format_count(uint64_t count)
{
    struct label label = {.text = ""};
    char digits[DIGITS_MAX_BYTES];
    const size_t n_digits = digits_write(count, digits);
    size_t at = 0;
    for (size_t i = 0; i < n_digits; i++) {
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
    (void)digits_write(id, label.text);
    return label;
}

struct label format_pid(uint32_t pid)
{
    return pid != 0 ? format_id(pid) : (struct label){.text = "?"};
}

struct label format_process(uint32_t pid, const char *command)
{
    return *command ? format_pid(pid) : (struct label){.text = "-"};
}

struct label format_offset(uint64_t offset)
{
    struct label label = {.text = ""};
    unsigned shift = 60;
    char *end = stpcpy(label.text, "0x");
    while (shift > 0 && offset >> shift == 0) {
        shift -= 4;
    }
    for (; shift > 0; shift -= 4) {
        *end++ = "0123456789abcdef"[offset >> shift & 0xF];
    }
    *end = "0123456789abcdef"[offset & 0xF];
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

struct label format_growth(int64_t growth, bool is_bytes, bool exactly)
{
    const uint64_t size = growth < 0 ? -(uint64_t)growth : (uint64_t)growth;
    const struct label figure = is_bytes ? format_bytes(size, exactly) : format_count(size);
    struct label label = {.text = ""};
    (void)snprintf(label.text, sizeof(label.text), "%s%.30s",
                   growth > 0   ? "+"
                   : growth < 0 ? "-"
                                : "",
                   figure.text);
    return label;
}

/* How many steps an age is, rounded to the nearest. */
static uint64_t rounded(uint64_t age_ms, uint64_t step_ms)
{
    return age_ms / step_ms + (age_ms % step_ms >= step_ms / 2);
}

static char *put_digits(char *text, uint64_t number)
{
    return text + digits_write(number, text);
}

/* "9 d 03 h" */
static void put_two(char *text, uint64_t large, const char *large_unit, uint64_t small,
                    const char *small_unit)
{
    char *end = stpcpy(put_digits(text, large), large_unit);
    *end++ = (char)('0' + small / 10);
    *end++ = (char)('0' + small % 10);
    (void)stpcpy(end, small_unit);
}

/*
 * Two units at most: a reader of "9 d 03 h" does not miss the minutes. What is rounded up to the
 * next larger unit is said in that: 59.97 s is "1 m 00 s".
 */
struct label format_age(uint64_t age_ms)
{
    struct label label = {.text = ""};
    uint64_t tenths = rounded(age_ms, SECOND_MS / 10);
    uint64_t seconds = rounded(age_ms, SECOND_MS);
    uint64_t minutes = rounded(age_ms, MINUTE_MS);
    uint64_t hours = rounded(age_ms, HOUR_MS);
    if (age_ms < SECOND_MS) {
        (void)stpcpy(put_digits(label.text, age_ms), " ms");
    } else if (tenths < 600) {
        char *end = put_digits(label.text, tenths / 10);
        *end++ = '.';
        (void)stpcpy(put_digits(end, tenths % 10), " s");
    } else if (seconds < 3600) {
        put_two(label.text, seconds / 60, " m ", seconds % 60, " s");
    } else if (minutes < UINT64_C(24) * 60) {
        put_two(label.text, minutes / 60, " h ", minutes % 60, " m");
    } else {
        put_two(label.text, hours / 24, " d ", hours % 24, " h");
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
