/* SPDX-License-Identifier: MIT */
#include "daemon/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A sentence with an obituary's eight reasons of 127 bytes, escaped at worst to four times that. */
#define LINE_MAX_BYTES 6144

static const struct {
    const char *name;
    const char *journal_prefix;
    const char *prefix;
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", "<3>", "kmemd: error: "},
    [LOG_LEVEL_WARNING] = {"warning", "<4>", "kmemd: warning: "},
    [LOG_LEVEL_INFO] = {"info", "<6>", "kmemd: "},
    [LOG_LEVEL_DEBUG] = {"debug", "<7>", "kmemd: debug: "},
};

static enum log_level level_now = LOG_LEVEL_INFO;

void log_set_level(enum log_level level)
{
    level_now = level;
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

void log_write(enum log_level level, const char *format, ...)
{
    if (level > level_now) {
        return;
    }
    char line[LINE_MAX_BYTES];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(line, sizeof(line), format, arguments); /* too long: cut */
    va_end(arguments);
    const bool journal = getenv("JOURNAL_STREAM") != NULL;
    /* One call, so that lines of several processes do not mix; nobody can be told if it fails. */
    (void)fprintf(stderr, "%s%s\n", journal ? levels[level].journal_prefix : levels[level].prefix,
                  line);
}

bool log_limit_pass(struct log_limit *limit, uint32_t burst, uint64_t now_ms)
{
    const uint64_t second = now_ms / 1000;
    if (limit->second != second) {
        if (limit->n_dropped > 0) {
            log_warning("%u similar lines were dropped", limit->n_dropped);
        }
        *limit = (struct log_limit){.second = second};
    }
    if (limit->n_this_second >= burst) {
        limit->n_dropped++;
        return false;
    }
    limit->n_this_second++;
    return true;
}
