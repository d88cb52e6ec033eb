/* SPDX-License-Identifier: MIT */
#include "client/ctl/filter.h"

#include <fnmatch.h>
#include <string.h>
#include <wchar.h>

bool filter_is_set(const struct filter *filter)
{
    return filter->has_pid || filter->has_uid || filter->has_age || filter->has_bytes ||
           filter->reason || filter->after;
}

static bool has_wildcard(const char *pattern)
{
    return strpbrk(pattern, "*?[") != NULL;
}

/* The reason, without what the ledger drops too, unless the pattern speaks of that. */
static const char *compared_part(const char *pattern, const char *reason, char *buffer,
                                 size_t buffer_bytes)
{
    const size_t n_bytes = strcspn(reason, "#");
    if (n_bytes == 0 || !reason[n_bytes] || n_bytes >= buffer_bytes || strchr(pattern, '#')) {
        return reason;
    }
    memcpy(buffer, reason, n_bytes);
    buffer[n_bytes] = '\0';
    return buffer;
}

/* Bytes that are no characters are no error: they are compared as they would be printed. */
bool filter_matches(const char *pattern, const char *reason)
{
    char buffer[ESCAPED_MAX_BYTES];
    if (!has_wildcard(pattern)) {
        return strncmp(reason, pattern, strlen(pattern)) == 0;
    }
    const char *compared = compared_part(pattern, reason, buffer, sizeof(buffer));
    int r = fnmatch(pattern, compared, 0);
    if (r != 0 && r != FNM_NOMATCH) {
        r = fnmatch(pattern, format_escaped(compared).text, 0);
    }
    return r == 0;
}

static bool is_text(const char *text)
{
    mbstate_t state = {0};
    return mbsrtowcs(NULL, &text, 0, &state) != (size_t)-1;
}

/* Copies a pattern, with a '*' for its first '[' and all that follows. */
static void copy_pattern(const char *pattern, char *end)
{
    for (; *pattern && *pattern != '['; pattern++) {
        if (*pattern == '\\' && pattern[1]) {
            *end++ = *pattern++;
        }
        *end++ = *pattern;
    }
    (void)stpcpy(end, *pattern ? "*" : "");
}

/* Copies a text as a pattern for what begins with it. */
static void copy_beginning(const char *text, char *end)
{
    for (; *text; text++) {
        end = stpcpy(end, *text == '\\' ? "\\" : "");
        *end++ = *text;
    }
    (void)stpcpy(end, "*");
}

const char *filter_glob(const char *pattern, char *ret_glob)
{
    /* 2: each byte may need a '\', and a '*' may follow. */
    if (!pattern || strlen(pattern) >= FILTER_GLOB_BYTES / 2 || !is_text(pattern)) {
        return NULL;
    }
    if (has_wildcard(pattern)) {
        copy_pattern(pattern, ret_glob);
    } else {
        copy_beginning(pattern, ret_glob);
    }
    return ret_glob;
}

static bool passes(const struct filter *filter, const struct column *column, const void *row)
{
    const uint64_t number = column_number(column, row);
    switch (column->filter) {
    case FILTER_NONE:
        break;
    case FILTER_PID:
        return !filter->has_pid || number == filter->pid;
    case FILTER_USER:
        return !filter->has_uid || number == filter->uid;
    case FILTER_REASON:
        return !filter->reason || filter_matches(filter->reason, column_text(column, row));
    case FILTER_AGE:
        return !filter->has_age || number > filter->older_than_ms;
    case FILTER_SIZE:
        return !filter->has_bytes || number > filter->larger_than_bytes;
    case FILTER_OFFSET:
        return filter->after == 0 || number > filter->after;
    }
    return true;
}

bool filter_passes(const struct filter *filter, const struct column *columns, size_t n_columns,
                   const void *row)
{
    if (!filter_is_set(filter)) {
        return true;
    }
    for (size_t i = 0; i < n_columns; i++) {
        if (!passes(filter, &columns[i], row)) {
            return false;
        }
    }
    return true;
}

static bool has_column(const struct column *columns, size_t n_columns, enum column_filter filter)
{
    for (size_t i = 0; i < n_columns; i++) {
        if (columns[i].filter == filter) {
            return true;
        }
    }
    return false;
}

const char *filter_meaningless(const struct filter *filter, const struct column *columns,
                               size_t n_columns)
{
    const struct {
        bool is_set;
        enum column_filter filter;
        const char *option;
    } options[] = {
        {filter->has_pid, FILTER_PID, "--pid"},
        {filter->has_uid, FILTER_USER, "--user"},
        {filter->reason != NULL, FILTER_REASON, "--reason"},
        {filter->has_age, FILTER_AGE, "--older-than"},
        {filter->has_bytes, FILTER_SIZE, "--larger-than"},
    };
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (options[i].is_set && !has_column(columns, n_columns, options[i].filter)) {
            return options[i].option;
        }
    }
    return NULL;
}
