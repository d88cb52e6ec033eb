/* SPDX-License-Identifier: MIT */
#include "tests/unit/fake_segment.h"

#define N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))
#define MIB UINT64_C(1048576)

#define BYTES "gauge", "bytes"
#define GAUGE "gauge", "count"
#define COUNTER "counter", "count"

#define USED (8 * MIB + 2 * MIB + 1536 + 44)

static const struct kmem_statistic statistics[] = {
    {"segment_bytes", BYTES, "the segment, as committed at the start", 64 * MIB},
    {"used_bytes", BYTES, "live blocks, as asked for", USED},
    {"free_bytes", BYTES, "pages that nobody has", 53 * MIB},
    {"overhead_bytes", BYTES, "what is neither used nor free", 11 * MIB - USED},
    {"rounding_bytes", BYTES, "blocks' sizes less what was asked for", 307200},
    {"slab_bytes", BYTES, "free blocks in slabs", 11 * MIB - USED - 307200 - 16384},
    {"first_page_bytes", BYTES, "the segment's first page", 16384},
    {"idle_bytes", BYTES, "of free_bytes, what is leased", 3 * MIB},
    {"largest_extent_bytes", BYTES, "the longest stretch that is free", 38 * MIB},
    {"scattered_bytes", BYTES, "pages that are free outside of that", 12 * MIB},
    {"largest_hole_bytes", BYTES, "the largest block that there is room for", 40 * MIB},
    {"leased_bytes", BYTES, "pages that clients carve up themselves", 12 * MIB},
    {"unused_bytes", BYTES, "of idle_bytes, the pages in no use", 2 * MIB},
    {"peak_bytes", BYTES, "the most that direct blocks and leases ever were", 16 * MIB},
    {"peak_used_bytes", BYTES, "the most that used_bytes was seen to be", 12 * MIB},
    {"blocks", GAUGE, "live blocks", 5},
    {"clients", GAUGE, "processes that are in the segment", 2},
    {"reasons", GAUGE, "distinct reasons of live blocks", 4},
    {"allocations", COUNTER, "blocks given out", 12345},
    {"releases", COUNTER, "blocks given back", 12340},
    {"refusals", COUNTER, "allocations refused, for whatever cause", 4},
    {"refusals_no_room", COUNTER, "allocations refused because there was no room", 1},
    {"refusals_quota", COUNTER, "over the quota", 0},
    {"refusals_too_large", COUNTER, "larger than the segment", 3},
    {"refusals_invalid", COUNTER, "no size, or no text", 0},
    {"misuses", COUNTER, "wrong releases", 0},
    {"requests", COUNTER, "requests received", 25000},
    {"clients_seen", COUNTER, "processes that have joined", 4},
    {"clients_ended", COUNTER, "processes that have ended or left", 2},
    {"uptime_ms", "gauge", "milliseconds", "since the segment was made", 3723000},
};

static const struct kmem_statistic statistics_empty[] = {
    {"segment_bytes", BYTES, "the segment, as committed at the start", 64 * MIB},
    {"used_bytes", BYTES, "live blocks, as asked for", 0},
    {"free_bytes", BYTES, "pages that nobody has", 64 * MIB - 16384},
    {"overhead_bytes", BYTES, "rounding, and the segment's first page", 16384},
};

static const struct kmem_ledger_row by_reason[] = {
    {"video/capture", 2, 8 * MIB + 1536, 65000, 0, 0},
    {"video/映像", 1, 2 * MIB, 3000, 0, 0},
    {"\033[31mred", 1, 40, 500, 0, 0},
    {"caf\xE9", 1, 4, 20, 0, 0},
};

static const struct kmem_ledger_row by_client[] = {
    {"capture", 3, 10 * MIB + 1536, 65000, 4242, 1000},
    {"index\n", 2, 44, 500, 4243, 0},
};

static const struct kmem_ledger_row by_uid[] = {
    {"1000", 3, 10 * MIB + 1536, 65000, 0, 1000},
    {"0", 2, 44, 500, 0, 0},
};

static const struct kmem_ledger_row by_size[] = {
    {"8388608", 1, 8 * MIB, 65000, 0, 0},
    {"2097152", 1, 2 * MIB, 3000, 0, 0},
    {"1536", 1, 1536, 2000, 0, 0},
    {"48", 1, 40, 500, 0, 0},
    {"16", 1, 4, 20, 0, 0},
};

static const struct kmem_ledger_row by_age[] = {
    {"60000", 1, 8 * MIB, 65000, 0, 0},
    {"1000", 2, 2 * MIB + 1536, 3000, 0, 0},
    {"0", 2, 44, 500, 0, 0},
};

static const struct kmem_ledger_row by_unit[] = {
    {"capture.service", 3, 10 * MIB + 1536, 65000, 0, 0},
    {"?", 2, 44, 500, 0, 0},
};

static const struct kmem_limit limits[] = {
    {"segment", "bytes", "the segment: what is used, or leased: --size", 14 * MIB, 64 * MIB},
    {"quota", "bytes", "what one client may have: --quota", 12 * MIB, 12 * MIB},
    {"clients", "count", "clients: RLIMIT_NOFILE", 2, 1024},
    {"names", "count", "names that blocks are published as: --names", 3500, 4096},
    {"connections", "count", "connections that are no client's", 3, 0},
    {"obituaries", "count", "clients that have ended and are remembered", 1024, 1024},
};

static const struct kmem_setting_change setting_changes[] = {
    {"quota", "none", "64MiB", NULL},
    {"user \"alice\" quota", "1GiB", "none", NULL},
    {"commit", "eager", "lazy", "the segment's memory is taken when it is made"},
};

static const struct kmem_refusal refusals[] = {
    {7, "lease", "quota", 4242, 1000, "capture", "video/capture#3", 12, 65000, 1200, 131072,
     50 * MIB, 38 * MIB, 12 * MIB, 12 * MIB},
    {8, "block", "too_large", 4243, 0, "index\n", "\033[31mred", 3, 900, 900, 80 * MIB, 50 * MIB,
     38 * MIB, 0, 64 * MIB},
    {9, "joining", "role", 0, 1001, "?", "", 1, 500, 500, 0, 50 * MIB, 38 * MIB, 0, 0},
};

static const struct kmem_refusal_count refusal_counts[] = {
    {"block", "no_room", "there was no room", 1},
    {"block", "too_large", "no segment of this size can have it", 3},
    {"lease", "quota", "the client would have had more than its quota", 12},
    {"joining", "role", "it may not join in that role", 1},
    {"joining", "clients", "there were as many clients as can be", 0},
};

static const struct kmem_block blocks[] = {
    {0x4000, 8 * MIB, "video/capture", 4242, 1000, "capture", 65000, 0, 1, 3, 1},
    {0x804000, 2 * MIB, "video/映像", 4242, 1000, "capture", 3000, 0, 1, 0, 2},
    {0xa04000, 1536, "video/capture", 4242, 1000, "capture", 2000, 0, 0, 0, 0},
    {0xa08000, 40, "\033[31mred", 4243, 0, "index\n", 500, 0, 1, 0, 0},
    {0xa08030, 4, "caf\xE9", 4243, 0, "index\n", 20, 0, 0, 0, 0},
};

/* Generations, as large as they get. */
#define FRAME (UINT64_MAX - 1)
#define IMAGE (UINT64_MAX - 2)
#define RED UINT64_C(131073)

static const struct kmem_holder holders[] = {
    {0x4000, 8 * MIB, FRAME, "video/capture", KMEM_HOLDER_OWNER, 4242, 1000, "capture",
     "video/capture", 60000, 1},
    {0x4000, 8 * MIB, FRAME, "video/capture", KMEM_HOLDER_NAME, 4242, 1000, "capture",
     "camera0/latest", 0, 0},
    {0x4000, 8 * MIB, FRAME, "video/capture", KMEM_HOLDER_ATTACHED, 4243, 0, "index\n",
     "\033[31mlooks", 400, 0},
    {0x4000, 8 * MIB, FRAME, "video/capture", KMEM_HOLDER_ATTACHED, 0, 1000, "?", "detect", 300, 1},
    {0x804000, 2 * MIB, IMAGE, "video/映像", KMEM_HOLDER_NAME, 0, 1000, "", "poster/映像", 0, 0},
    {0x804000, 2 * MIB, IMAGE, "video/映像", KMEM_HOLDER_NAME, 0, 1000, "", "a\nb", 0, 0},
    {0xa08000, 40, RED, "\033[31mred", KMEM_HOLDER_OFFER, 4243, 0, "index\n", "\033[31mred", 20, 1},
    {0xa0c000, 80, RED + 1, "left", KMEM_HOLDER_OFFER, 0, 0, "", "left", 90000, 1},
};

static const struct kmem_name names[] = {
    {"camera0/latest", 1234567, 0x4000, 8 * MIB, "video/capture", 4242, 1000, "capture", 0, 3},
    {"poster/映像", 1, 0x804000, 2 * MIB, "video/映像", 0, 1000, "", 1, 0},
    {"a\nb", 2, 0x804000, 2 * MIB, "video/映像", 0, 1000, "", 1, 0},
};

static const struct kmem_client clients[] = {
    {0, 4242, 1000, 100, "capture", 1, 3, 10 * MIB + 1536, 16 * MIB, 70000, 12 * MIB, 2 * MIB,
     12 * MIB, 3 * MIB, 0, 0, "capture.service"},
    {1, 4244, 1001, 101, "viewer", 1, 0, 0, 0, 5000, 0, 0, 0, 0, 1, 1, "session-3.scope"},
    {3, 4243, 0, 0, "index\n", 0, 2, 44, 101, 600, 0, 0, 101, 0, 1, 0, "?"},
};

static const struct kmem_ledger_row left_behind[] = {
    {"video/capture", 2, 3 * MIB, 1000, 0, 0},
    {"\033[31mred", 1, 40, 900, 0, 0},
};

static const struct kmem_obituary obituaries[] = {
    {1,       4240,     1000, "capture", 1,       4200, 90000,   0,       0,
     5 * MIB, 0,        0,    NULL,      4 * MIB, 3,    9 * MIB, 8 * MIB, KMEM_HOLDER_ATTACHED,
     4243,    "index\n"},
    {2,
     4241,
     0,
     "index\n",
     0,
     61000,
     800,
     5,
     3 * MIB + 101,
     4 * MIB,
     3,
     2,
     left_behind,
     3 * MIB + 101,
     1,
     40,
     40,
     KMEM_HOLDER_NAME,
     0,
     "poster/映像"},
    {3, 0, 1000, "?", 0, 100, 500, 0, 0, 80, 0, 0, NULL, 80, 1, 80, 80, KMEM_HOLDER_OFFER, 0, ""},
};

/* Every six minutes of an hour, but for two of those times; the last reason has grown. */
#define POINT(number_, minutes, frames, logs)                                                      \
    {.number = (number_),                                                                          \
     .ms_ago = (minutes)*UINT64_C(60000),                                                          \
     .span_ms = 1000,                                                                              \
     .num_bytes = ((frames) + (logs)) * MIB,                                                       \
     .n_blocks = (frames) + (logs),                                                                \
     .peak_bytes = ((frames) + (logs) + 1) * MIB,                                                  \
     .n_looks = 1},                                                                                \
        {.number = (number_),                                                                      \
         .reason = "video/capture",                                                                \
         .ms_ago = (minutes)*UINT64_C(60000),                                                      \
         .span_ms = 1000,                                                                          \
         .num_bytes = (frames) << 20,                                                              \
         .n_blocks = (frames),                                                                     \
         .peak_bytes = (frames) << 20,                                                             \
         .n_looks = 1},                                                                            \
    {                                                                                              \
        .number = (number_), .reason = "log\x1b[31m", .ms_ago = (minutes)*UINT64_C(60000),         \
        .span_ms = 1000, .num_bytes = (logs) << 20, .n_blocks = (logs),                            \
        .peak_bytes = (logs) << 20, .n_looks = 1                                                   \
    }
static const struct kmem_history_row history[] = {
    POINT(10, 59, 8, 1), POINT(11, 53, 8, 1),  POINT(14, 35, 8, 2),  POINT(15, 29, 8, 4),
    POINT(16, 23, 9, 8), POINT(17, 17, 8, 12), POINT(18, 11, 7, 16), POINT(19, 0, 8, 20),
};

static const struct kmem_lifetimes lifetimes[] = {
    {.reason = "video/capture",
     .n_blocks = 3,
     .num_bytes = 3 << 20,
     .oldest_ms = 4000,
     .blocks_by_age = {2, 1},
     .bytes_by_age = {2 << 20, 1 << 20},
     .released_by_age = {500, 100}},
    {.reason = "log\x1b[31m",
     .n_blocks = 820,
     .num_bytes = 14 << 20,
     .oldest_ms = 3700000,
     .blocks_by_age = {5, 1, 2, 0, 800, 12},
     .bytes_by_age = {8192, 1024, 1 << 20, 0, 12 << 20, 1 << 20},
     .released_by_age = {119000, 900, 100}},
    {.reason = "cache",
     .n_blocks = 7,
     .num_bytes = 1 << 20,
     .oldest_ms = 90000,
     .blocks_by_age = {0, 0, 0, 7},
     .bytes_by_age = {0, 0, 0, 1 << 20}},
    {.reason = "young", .n_blocks = 1, .num_bytes = 16, .oldest_ms = 5, .blocks_by_age = {1}},
    {.reason = "few",
     .n_blocks = 1,
     .num_bytes = 16,
     .oldest_ms = 700000,
     .blocks_by_age = {0, 0, 0, 0, 1},
     .bytes_by_age = {0, 0, 0, 0, 16},
     .released_by_age = {3}},
};

struct kmem_query fake_segment(void)
{
    return (struct kmem_query){
        .daemon = {.segment_name = "video", .version = "0.1.0", .pid = 77},
        .statistics = statistics,
        .n_statistics = N_ELEMENTS(statistics),
        .ledgers = {by_reason, by_client, by_uid, by_size, by_age, by_unit},
        .n_ledgers = {N_ELEMENTS(by_reason), N_ELEMENTS(by_client), N_ELEMENTS(by_uid),
                      N_ELEMENTS(by_size), N_ELEMENTS(by_age), N_ELEMENTS(by_unit)},
        .limits = limits,
        .n_limits = N_ELEMENTS(limits),
        .setting_changes = setting_changes,
        .n_setting_changes = N_ELEMENTS(setting_changes) - 1, /* the last waits */
        .refusals = refusals,
        .n_refusals = N_ELEMENTS(refusals),
        .refusal_counts = refusal_counts,
        .n_refusal_counts = N_ELEMENTS(refusal_counts),
        .blocks = blocks,
        .n_blocks = N_ELEMENTS(blocks),
        .clients = clients,
        .n_clients = N_ELEMENTS(clients),
        .obituaries = obituaries,
        .n_obituaries = N_ELEMENTS(obituaries),
        .holders = holders,
        .n_holders = N_ELEMENTS(holders),
        .names = names,
        .n_names = N_ELEMENTS(names),
        .history = history,
        .n_history = N_ELEMENTS(history),
        .lifetimes = lifetimes,
        .n_lifetimes = N_ELEMENTS(lifetimes),
    };
}

struct kmem_query fake_segment_empty(void)
{
    return (struct kmem_query){
        .daemon = {.segment_name = "video", .version = "0.1.0", .pid = 77},
        .statistics = statistics_empty,
        .n_statistics = N_ELEMENTS(statistics_empty),
    };
}
