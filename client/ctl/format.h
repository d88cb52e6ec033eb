/* SPDX-License-Identifier: MIT */
/*
 * format.h - numbers as people read them
 *
 * Each function returns its text by value: no buffer to own, no static one to overwrite. Keep the
 * label in a variable for as long as its text is used.
 */
#ifndef CTL_FORMAT_H
#define CTL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 32: the longest is a 64-bit number with its separators, 26 characters, and a unit of four. */
struct label {
    char text[32];
};

/** format_count() - "0", "999", "1,234,567" */
struct label format_count(uint64_t count);

/** format_id() - a uid: digits only */
struct label format_id(uint32_t id);

/** format_pid() - digits; "?" for 0: a process that kmemd can not see */
struct label format_pid(uint32_t pid);

/** format_process() - as format_pid(); "-" if the command is "": the process has ended */
struct label format_process(uint32_t pid, const char *command);

/** format_offset() - "0x4000" */
struct label format_offset(uint64_t offset);

/** format_bytes() - "1.5 KiB", or, exactly, "1,536" */
struct label format_bytes(uint64_t num_bytes, bool exactly);

/** format_growth() - "+1.5 KiB", "-3"; "0 B" and "0" if it is none */
struct label format_growth(int64_t growth, bool is_bytes, bool exactly);

/** format_age() - "12 ms", "4.2 s", "3 m 07 s", "5 h 12 m", "9 d 03 h" */
struct label format_age(uint64_t age_ms);

/** format_share() - "25.0 %" of the whole; "-" of nothing */
struct label format_share(uint64_t part, uint64_t whole);

/* A reason of 127 bytes, each of them written as \xNN, and the NUL. */
#define ESCAPED_MAX_BYTES 512

/* A foreign string that a terminal may see. */
struct escaped {
    char text[ESCAPED_MAX_BYTES];
};

/** format_escaped() - a foreign string, its control characters made visible */
struct escaped format_escaped(const char *foreign);

#endif
