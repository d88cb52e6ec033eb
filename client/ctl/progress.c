/* SPDX-License-Identifier: MIT */
#include "client/ctl/progress.h"

#include <time.h>
#include <unistd.h>

#include "client/ctl/format.h"

/* 500 ms: what is there sooner needs no sign; 200 ms: one that can be read. */
#define FIRST_MS 500
#define APART_MS 200
/* The clock is looked at once in so many steps. */
#define STEPS_A_LOOK 1024
#define ERASE_LINE "\r\033[K"

static uint64_t clock_ms(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void progress_begin(struct progress *progress, FILE *file)
{
    const int fd = fileno(file);
    *progress = (struct progress){
        .file = fd >= 0 && isatty(fd) ? file : NULL,
        .begun_ms = clock_ms(),
    };
}

void progress_step(struct progress *progress, uint64_t count, const char *what)
{
    if (!progress->file || count % STEPS_A_LOOK != 0) {
        return;
    }
    const uint64_t now_ms = clock_ms();
    if (now_ms - progress->begun_ms < FIRST_MS || now_ms - progress->shown_ms < APART_MS) {
        return;
    }
    progress->shown_ms = now_ms;
    progress->is_shown = true;
    (void)fprintf(progress->file, ERASE_LINE "kmemctl: %s %s ...", format_count(count).text, what);
    (void)fflush(progress->file);
}

void progress_end(struct progress *progress)
{
    if (progress->is_shown) {
        (void)fputs(ERASE_LINE, progress->file);
        (void)fflush(progress->file);
    }
    *progress = (struct progress){.file = NULL};
}
