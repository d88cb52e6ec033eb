/* SPDX-License-Identifier: MIT */
#include "tests/system/deaths.h"

#include <string.h>

#include "tests/system/daemon.h"
#include "tests/system/harness.h"

/* The keeper sees a death within milliseconds; a busy machine takes longer. */
#define SEEN_LIMIT_MS 5000

static uint64_t count(const char *log, const char *words)
{
    uint64_t n = 0;
    for (const char *at = strstr(log, words); at != NULL; at = strstr(at + 1, words)) {
        n++;
    }
    return n;
}

struct deaths deaths_count(void)
{
    static const char by_kill[] = "server was killed by signal 9 (Killed); the next one";
    static const char unready[] =
        "server was killed by signal 9 (Killed) before it was ready; the next one";
    const char *const log = daemon_log();
    const uint64_t n_unready = count(log, unready);
    return (struct deaths){
        .n = count(log, "; the next one goes on with the files"),
        .n_kills = count(log, by_kill) + n_unready,
        .n_unready = n_unready,
    };
}

void deaths_expect_only_kills(const char *file, int line, uint64_t n_kills)
{
    const uint64_t until_us = harness_deadline_us(SEEN_LIMIT_MS);
    struct deaths deaths = deaths_count();
    while (deaths.n < n_kills && harness_now_us() < until_us) {
        harness_sleep_ms(5);
        deaths = deaths_count();
    }
    if (deaths.n != n_kills || deaths.n_kills != n_kills) {
        harness_fail(file, line,
                     "%llu servers have died, %llu of them by signal 9; %llu were killed",
                     (unsigned long long)deaths.n, (unsigned long long)deaths.n_kills,
                     (unsigned long long)n_kills);
    }
}
