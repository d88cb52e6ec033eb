/* SPDX-License-Identifier: MIT */
/*
 * log.h - lines for the operator, on stderr
 *
 * One event, one line. Under systemd a line goes to the journal with fields (journal.h); where that
 * can not be, it begins with its priority, "<4>" say, as sd-daemon(3) has it; otherwise with the
 * level's name.
 *
 * Nobody waits for a line: one that stderr does not take at once is dropped (sink.h). How many were
 * is told before the next one that it takes.
 */
#ifndef DAEMON_LOG_H
#define DAEMON_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/journal.h"
#include "proto/attributes.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/** log_set_level() - what is less important is dropped from now on */
void log_set_level(enum log_level level);

/** log_shows() - whether lines of this level are written */
KMEM_MUST_USE bool log_shows(enum log_level level);

/**
 * log_count_dropped() - from now on add one for each line that is dropped: stderr did not take it,
 *                       or a limit did not let it pass
 * @counter:  the caller's; NULL: not any more
 */
void log_count_dropped(uint64_t *counter);

/** log_level_parse() - "error", "warning", "info", "debug". Return: 0 or -EINVAL. */
KMEM_MUST_USE int log_level_parse(const char *text, enum log_level *ret_level);

/** log_level_name() - what log_level_parse() reads */
const char *log_level_name(enum log_level level);

KMEM_PRINTF(2, 3) void log_write(enum log_level level, const char *format, ...);

/** log_write_about() - the same, of a client */
KMEM_PRINTF(3, 4)
void log_write_about(enum log_level level, const struct journal_about *about, const char *format,
                     ...);

/** log_set_segment() - what the journal's field SEGMENT says from now on; borrowed */
void log_set_segment(const char *name);

/**
 * log_set_serving() - whether clients are served; not so at first
 *
 * An error before that may be a process's last word. Then it goes to stderr, which the journal
 * knows to be the unit's: of who sends an entry it asks /proc, where one that has ended is not any
 * more.
 */
void log_set_serving(bool serves);

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/**
 * log_limit_alike() - write 20 warnings or errors of one kind a second, and count the others
 *
 * For a process whose peers can cause them. A kind is what has the same format.
 */
void log_limit_alike(void);

/** log_retry() - say how many lines were dropped, if stderr takes that now */
void log_retry(void);

/** log_print() - a line on stdout, for which nobody waits either. Return: 0 or a negative errno. */
KMEM_PRINTF(1, 2) KMEM_MUST_USE int log_print(const char *format, ...);

/* Lets through `burst` lines per second; for warnings and errors that a stranger can cause. */
struct log_limit {
    uint64_t second;
    uint32_t n_this_second;
    uint32_t n_dropped;
};

/**
 * log_limit_pass() - whether the next line may be written
 * Says once, before the first line after a pause, how many were dropped.
 */
KMEM_MUST_USE bool log_limit_pass(struct log_limit *limit, uint32_t burst, uint64_t now_ms);

#endif
