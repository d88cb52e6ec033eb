/* SPDX-License-Identifier: MIT */
#include "daemon/server/sizing.h"

#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/core/resize.h"
#include "daemon/log.h"
#include "daemon/memfd.h"
#include "daemon/server/loop.h"
#include "proto/store.h"
#include "proto/text.h"

/* 128 KiB, as malloc() begins: it raises that when it is freed something larger. Then a table for
   all pages that there may be would be cleared, instead of being the system's zeros, and stay. */
#define LARGE_TABLE_BYTES (128 << 10)

/* Who holds what lies in the way: four of them. */
#define HOLDERS_BYTES 400

/* Whether there is memory to be taken, as far as can be seen before. */
static bool memory_is_there(uint64_t n_bytes, char *ret_why, size_t why_bytes)
{
    struct free_memory memory;
    char there[TEXT_BYTES_MAX];
    char more[TEXT_BYTES_MAX];
    free_memory_read(&memory);
    (void)text_format_bytes(n_bytes, more, sizeof(more)); /* its buffer */
    if (n_bytes > memory.cgroup_bytes) {
        (void)snprintf(ret_why, why_bytes, "that is %s more, and the memory cgroup has room for %s",
                       more, text_format_bytes(memory.cgroup_bytes, there, sizeof(there)));
    } else if (n_bytes > memory.available_bytes) {
        (void)snprintf(ret_why, why_bytes, "that is %s more, and the machine has %s available",
                       more, text_format_bytes(memory.available_bytes, there, sizeof(there)));
    }
    return n_bytes <= memory.cgroup_bytes && n_bytes <= memory.available_bytes;
}

/* core_config.take_memory */
static bool take_memory(uint64_t at, uint64_t num_bytes, char *ret_why, size_t why_bytes,
                        void *user)
{
    struct sizing *sizing = user;
    char why[RESIZE_WHY_BYTES];
    if (!memory_is_there(num_bytes, why, sizeof(why))) {
        if (!sizing->is_lazy) {
            (void)snprintf(ret_why, why_bytes, "%s", why);
            return false;
        }
        log_warning("the segment grows, and %s: clients get SIGBUS if it is ever used up", why);
    }
    scrub_take(sizing->scrub, at, num_bytes);
    return true;
}

static void note_applied(struct sizing *sizing)
{
    /* Before: this size is to be applied. After: it was, and whoever resizes it then is not
       overruled. */
    store_commit(&sizing->core->state.header->asked_pages, sizing->asked_pages);
    sizing->asked_pages = 0;
}

static void tell_size(const struct sizing *sizing)
{
    client_files_set_pages(sizing->ledgers, sizing->core->pages.n_pages);
    if (sizing->collapses) {
        scrub_collapse(sizing->scrub, core_segment_bytes(sizing->core));
    }
}

/* core_config.resized */
static void resized(uint64_t before_bytes, void *user)
{
    struct sizing *sizing = user;
    const uint64_t now_bytes = core_segment_bytes(sizing->core);
    char now[TEXT_BYTES_MAX];
    char before[TEXT_BYTES_MAX];
    log_info("the segment has %s now, and had %s", text_format_bytes(now_bytes, now, sizeof(now)),
             text_format_bytes(before_bytes, before, sizeof(before)));
    if (now_bytes < before_bytes) {
        scrub_trim(sizing->scrub, now_bytes, before_bytes, true);
    }
    tell_size(sizing);
    if (sizing->asked_pages == sizing->core->pages.n_pages) {
        note_applied(sizing);
    }
}

/* core_config.resident. What is swapped out counts. */
static uint64_t resident_bytes(void *user)
{
    const struct sizing *sizing = user;
    struct stat status;
    return fstat(sizing->segment_fd, &status) == 0 ? (uint64_t)status.st_blocks * 512 : 0;
}

void sizing_configure(struct sizing *sizing, struct core_config *config)
{
    (void)mallopt(M_MMAP_THRESHOLD, LARGE_TABLE_BYTES); /* slower if it is refused */
    config->resident = resident_bytes;
    config->resident_user = sizing;
    config->take_memory = take_memory;
    config->resized = resized;
    config->resize_user = sizing;
}

void sizing_taken(int error, void *user)
{
    const struct sizing *sizing = user;
    const bool is_asked = sizing->asked_pages != 0;
    const char *why = error == -ENOMEM || error == -ENOSPC
                          ? "the system has no memory for that; what was taken is given back"
                          : strerror(-error);
    resize_taken(sizing->core, error ? why : NULL);
    if (error) {
        log_warning("the segment can not grow: %s%s", why,
                    is_asked ? "; --size is not applied" : "");
    }
}

/* What the file has beyond the segment was left by a server that was killed while it took memory,
   or by a member that wrote there. */
void sizing_begin(struct sizing *sizing)
{
    const struct core *core = sizing->core;
    const uint64_t now_bytes = core_segment_bytes(core);
    /* Before: what the last server was about to say. After: what the page table says. */
    store_commit(&core->state.header->now_pages, core->pages.n_pages);
    if (core_most_bytes(core) > now_bytes && core_resident_bytes(core) > now_bytes) {
        scrub_trim(sizing->scrub, now_bytes, core_most_bytes(core), false);
    }
    tell_size(sizing);
}

void sizing_ask(struct sizing *sizing, uint64_t asked_bytes, char *ret_why, size_t why_bytes)
{
    struct core *core = sizing->core;
    struct resize_request request = {.n_ended = 0};
    const uint32_t asked_pages = (uint32_t)(asked_bytes >> PAGE_SHIFT);
    char text[TEXT_BYTES_MAX];
    ret_why[0] = '\0';
    if (asked_bytes > core_most_bytes(core)) {
        (void)snprintf(ret_why, why_bytes,
                       "the segment may have %s: more takes a start of kmemd when no client lives "
                       "in it",
                       text_format_bytes(core_most_bytes(core), text, sizeof(text)));
        return;
    }
    sizing->asked_pages = asked_pages;
    const int r = resize_step(core, &request, asked_pages, loop_now());
    resize_leave(core, &request); /* what goes on goes on without it */
    if (r == RESIZE_OK && sizing->asked_pages != 0) {
        note_applied(sizing); /* it had that size */
    } else if (r == RESIZE_E_SYSTEM) {
        (void)snprintf(ret_why, why_bytes, "%s", core->resize.why); /* too long: cut */
    } else if (r == RESIZE_E_BUSY) {
        (void)snprintf(ret_why, why_bytes, "the segment is being resized; see kmemctl resize");
    } else if (r != RESIZE_OK && asked_pages < core->pages.n_pages) {
        char holders[HOLDERS_BYTES];
        resize_holders(core, asked_pages, holders, sizeof(holders));
        (void)snprintf(ret_why, why_bytes,
                       "%s; kmemctl resize %s, when they are gone, or a restart without clients",
                       holders, text_format_bytes(asked_bytes, text, sizeof(text)));
    }
}

void sizing_apply(struct sizing *sizing, uint64_t asked_bytes)
{
    const uint32_t asked_pages = (uint32_t)(asked_bytes >> PAGE_SHIFT);
    char why[HOLDERS_BYTES + 100];
    if (asked_pages == state_load(&sizing->core->state.header->asked_pages)) {
        return;
    }
    sizing_ask(sizing, asked_bytes, why, sizeof(why));
    if (why[0] != '\0') {
        char asked[TEXT_BYTES_MAX];
        log_warning("--size %s is not applied: %s",
                    text_format_bytes(asked_bytes, asked, sizeof(asked)), why);
    }
}
