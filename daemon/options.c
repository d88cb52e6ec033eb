/* SPDX-License-Identifier: MIT */
#include "daemon/options.h"

/* 256 MiB: a segment that any machine has room for, and most first tries fit in. */
#define DEFAULT_SEGMENT_BYTES (UINT64_C(256) << 20)

/* 16: a daemon that was started with 256 MiB can have 4 GiB. What it may have costs nothing until
   it has it, but address space; with more, clients whose address space is limited can not join. */
#define USUAL_GROWTH 16

/* 5 s: no step of the server takes a hundredth of that; clients wait six times as long. */
#define DEFAULT_WATCHDOG_MS 5000
/* 10 s: to leave, or to map the state and compare some numbers, takes a few ms; less might be short
   on a machine that swaps, and with more an upgrade that hangs would look like one that works. */
#define STEP_PATIENCE_MS 10000

void options_set_default(struct options *options)
{
    *options = (struct options){
        .name = "default",
        .segment_bytes = DEFAULT_SEGMENT_BYTES,
        .names_limit = SHARE_NAMES_USUAL,
        .watchdog_ms = DEFAULT_WATCHDOG_MS,
        .log_level = LOG_LEVEL_INFO,
    };
}

uint64_t options_ping_ms(const struct options *options)
{
    return options->watchdog_ms / 2;
}

/* Twice the watchdog's time if that is less: the program may have to be loaded first. */
uint64_t options_step_ms(const struct options *options)
{
    const uint64_t watched_ms = 2 * options->watchdog_ms;
    return watched_ms > 0 && watched_ms < STEP_PATIENCE_MS ? watched_ms : STEP_PATIENCE_MS;
}

static bool is_size(uint64_t num_bytes)
{
    return num_bytes >= SEGMENT_MIN_BYTES && num_bytes <= SEGMENT_MAX_BYTES &&
           num_bytes % PAGE_BYTES == 0;
}

bool options_adopt_size(struct options *options, uint64_t most_bytes, uint64_t now_bytes,
                        bool is_applied)
{
    const bool is_too_large = options->asked_bytes > most_bytes;
    if (!is_size(most_bytes) ||
        (now_bytes != 0 && (!is_size(now_bytes) || now_bytes > most_bytes))) {
        return false;
    }
    options->most_bytes = most_bytes;
    if (is_too_large) {
        options->waiting_bytes = options->asked_bytes;
    }
    if (is_applied || is_too_large) {
        options->segment_bytes = now_bytes != 0 ? now_bytes : most_bytes;
    }
    return true;
}

bool options_settle_size(struct options *options)
{
    const bool is_small = options->segment_bytes < SEGMENT_MAX_BYTES / USUAL_GROWTH;
    const bool is_reserved =
        options->hugepages == HUGEPAGES_2M || options->hugepages == HUGEPAGES_1G;
    options->asked_bytes = options->segment_bytes;
    options->is_usual_most = options->most_bytes == 0;
    if (options->is_usual_most && (options->lock || is_reserved)) {
        options->most_bytes = options->segment_bytes; /* each of its pages is taken at the start */
    } else if (options->is_usual_most) {
        options->most_bytes = is_small ? options->segment_bytes * USUAL_GROWTH : SEGMENT_MAX_BYTES;
    }
    return options->most_bytes >= options->segment_bytes;
}
