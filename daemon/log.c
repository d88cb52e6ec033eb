/* SPDX-License-Identifier: MIT */
#include "daemon/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/journal.h"
#include "daemon/sink.h"

/* 20 warnings of one kind a second: more tell nothing more, and a member could fill a disk. */
#define ALIKE_PER_SECOND 20
/* There are some 60 in the daemon. */
#define N_KINDS 64

/* What ends a line of which the rest is left out. */
#define CUT "...\n"

static const struct {
    const char *name;
    int priority;
    const char *journal_prefix;
    const char *prefix;
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", 3, "<3>", "kmemd: error: "},
    [LOG_LEVEL_WARNING] = {"warning", 4, "<4>", "kmemd: warning: "},
    [LOG_LEVEL_INFO] = {"info", 6, "<6>", "kmemd: "},
    [LOG_LEVEL_DEBUG] = {"debug", 7, "<7>", "kmemd: debug: "},
};

static enum log_level level_now = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
    level_now = level;
}

bool log_shows(enum log_level level)
{
    return level <= level_now;
}

int log_level_parse(const char *text, enum log_level *ret_level)
{
    for (unsigned i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        if (strcmp(text, levels[i].name) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    }
    return -EINVAL;
}

const char *log_level_name(enum log_level level)
{
    return levels[level].name;
}

static struct sink out = {.fd = STDOUT_FILENO, .own_fd = -1};
static struct sink err = {.fd = STDERR_FILENO, .own_fd = -1};
static uint64_t n_dropped; /* lines, of which nothing was said yet */
static uint64_t *n_ever;   /* counts all that are dropped; NULL: nothing does */
static bool limits_alike;
static bool is_serving;
static const char *segment_name; /* NULL: it is not known yet */

KMEM_PRINTF(3, 0)
static int line_put(struct sink *sink, const char *prefix, const char *format, va_list arguments)
{
    char line[SINK_LINE_BYTES + 1]; /* one of them for the end of a string */
    size_t n_bytes = (size_t)snprintf(line, sizeof(line), "%s", prefix); /* fits */
    const int n_wanted = vsnprintf(line + n_bytes, SINK_LINE_BYTES - n_bytes, format, arguments);
    if (n_wanted < 0) {
        return -EINVAL;
    }
    if (n_bytes + (size_t)n_wanted < SINK_LINE_BYTES) {
        n_bytes += (size_t)n_wanted;
        line[n_bytes++] = '\n';
    } else {
        n_bytes = SINK_LINE_BYTES;
        memcpy(line + n_bytes - strlen(CUT), CUT, strlen(CUT));
    }
    return sink_put(sink, line, n_bytes);
}

static const char *prefix_of(enum log_level level)
{
    const bool journal = getenv("JOURNAL_STREAM") != NULL;
    return journal ? levels[level].journal_prefix : levels[level].prefix;
}

void log_set_segment(const char *name)
{
    segment_name = name;
}

void log_set_serving(bool serves)
{
    is_serving = serves;
}

/* Return: 0; a negative errno, also if no journal reads stderr. */
KMEM_PRINTF(3, 0)
static int entry_put(enum log_level level, const struct journal_about *about, const char *format,
                     va_list arguments)
{
    char message[SINK_LINE_BYTES];
    if ((level == LOG_LEVEL_ERROR && !is_serving) || !journal_reads_stderr()) {
        return -ENOENT;
    }
    const int n_wanted = vsnprintf(message, sizeof(message), format, arguments);
    if (n_wanted < 0) {
        return -EINVAL;
    }
    if ((size_t)n_wanted >= sizeof(message)) {
        (void)memcpy(message + sizeof(message) - sizeof(CUT), CUT, sizeof(CUT));
        message[sizeof(message) - 2] = '\0'; /* an entry has no newline at its end */
    }
    return journal_put(
        &(struct journal_entry){levels[level].priority, message, segment_name, about});
}

/*
 * Where no journal listens, and where no descriptor is left to reach it, stderr is what there is. A
 * journal that is behind reads stderr as well: its line is dropped.
 */
static bool goes_to_stderr(int r)
{
    return r < 0 && r != -EAGAIN;
}

KMEM_PRINTF(3, 0)
static int line_say(enum log_level level, const struct journal_about *about, const char *format,
                    va_list arguments)
{
    va_list again;
    va_copy(again, arguments);
    int r = entry_put(level, about, format, arguments);
    if (goes_to_stderr(r)) {
        r = line_put(&err, prefix_of(level), format, again);
    }
    va_end(again);
    return r;
}

KMEM_PRINTF(2, 3) static int say(enum log_level level, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int r = line_say(level, NULL, format, arguments);
    va_end(arguments);
    return r;
}

void log_count_dropped(uint64_t *counter)
{
    n_ever = counter;
}

static void drop_note(void)
{
    if (n_ever) {
        ++*n_ever;
    }
}

void log_retry(void)
{
    if (n_dropped > 0 && say(LOG_LEVEL_WARNING, "%llu lines were dropped: stderr did not take them",
                             (unsigned long long)n_dropped) == 0) {
        n_dropped = 0;
    }
}

/* One call, so that lines of several processes do not mix. What was dropped is told first. */
KMEM_PRINTF(3, 0)
static void put(enum log_level level, const struct journal_about *about, const char *format,
                va_list arguments)
{
    if (!log_shows(level)) {
        return;
    }
    log_retry();
    if (n_dropped > 0 || line_say(level, about, format, arguments)) {
        n_dropped++;
        drop_note();
    }
}

KMEM_PRINTF(1, 2) static void put_warning(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    put(LOG_LEVEL_WARNING, NULL, format, arguments);
    va_end(arguments);
}

bool log_limit_pass(struct log_limit *limit, uint32_t burst, uint64_t now_ms)
{
    const uint64_t second = now_ms / 1000;
    if (limit->second != second) {
        if (limit->n_dropped > 0) {
            put_warning("%u similar lines were dropped", limit->n_dropped);
        }
        *limit = (struct log_limit){.second = second};
    }
    if (limit->n_this_second >= burst) {
        if (log_shows(LOG_LEVEL_WARNING)) {
            drop_note();
        }
        limit->n_dropped++;
        return false;
    }
    limit->n_this_second++;
    return true;
}

void log_limit_alike(void)
{
    limits_alike = true;
}

static uint64_t now_ms(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &time); /* can not fail */
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

/* Whether there were not too many of this kind in this second. */
static bool is_wanted(enum log_level level, const char *format)
{
    static struct {
        const char *format;
        struct log_limit limit;
    } kinds[N_KINDS];
    size_t i = 0;
    if (!limits_alike || level > LOG_LEVEL_WARNING) {
        return true;
    }
    while (i < N_KINDS - 1 && kinds[i].format && kinds[i].format != format) {
        i++; /* the last one is for all that there was no place for */
    }
    kinds[i].format = format;
    return log_limit_pass(&kinds[i].limit, ALIKE_PER_SECOND, now_ms());
}

void log_write(enum log_level level, const char *format, ...)
{
    if (is_wanted(level, format)) {
        va_list arguments;
        va_start(arguments, format);
        put(level, NULL, format, arguments);
        va_end(arguments);
    }
}

void log_write_about(enum log_level level, const struct journal_about *about, const char *format,
                     ...)
{
    if (is_wanted(level, format)) {
        va_list arguments;
        va_start(arguments, format);
        put(level, about, format, arguments);
        va_end(arguments);
    }
}

int log_print(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    const int r = line_put(&out, "", format, arguments);
    va_end(arguments);
    return r;
}
