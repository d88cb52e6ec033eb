/* SPDX-License-Identifier: MIT */
#include "tests/system/cradle.h"

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/system/harness.h"

bool cradle_has(const char *words, const char *word)
{
    const size_t n_bytes = strlen(word);
    const char *at = words;
    while (at != NULL) {
        if (strncmp(at, word, n_bytes) == 0 && (at[n_bytes] == '\0' || at[n_bytes] == ',')) {
            return true;
        }
        at = strchr(at, ',');
        at = at != NULL ? at + 1 : NULL;
    }
    return false;
}

static void ignore_signals(void)
{
    for (int number = 1; number < SIGRTMAX; number++) {
        (void)signal(number, SIG_IGN); /* two can not be, and some are the C library's */
    }
}

static void block_signals(void)
{
    sigset_t all;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
}

static void lower(__rlimit_resource_t resource, rlim_t soft)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) == 0 && limit.rlim_cur > soft) {
        limit.rlim_cur = soft;
        (void)setrlimit(resource, &limit);
    }
}

static void lower_limits(void)
{
    lower(RLIMIT_FSIZE, 4096);
    lower(RLIMIT_STACK, UINT64_C(128) * 1024);
    lower(RLIMIT_CPU, 1);
    lower(RLIMIT_CORE, 0);
    lower(RLIMIT_MEMLOCK, 0);
    lower(RLIMIT_SIGPENDING, 0);
    if (!HARNESS_SANITIZED) { /* a sanitizer has terabytes of its own */
        lower(RLIMIT_DATA, (rlim_t)8 << 20);
        lower(RLIMIT_AS, (rlim_t)96 << 20);
    }
}

void cradle_lay(const char *words)
{
    if (cradle_has(words, "ignored")) {
        ignore_signals();
    }
    if (cradle_has(words, "blocked")) {
        block_signals();
    }
    if (cradle_has(words, "umask")) {
        (void)umask(0777);
    }
    if (cradle_has(words, "timer")) {
        (void)alarm(CRADLE_ALARM_S);
    }
    if (cradle_has(words, "limits")) {
        lower_limits();
    }
    for (int fd = 0; fd < 3; fd++) {
        if (cradle_has(words, "mute") || (fd == 0 && cradle_has(words, "closed"))) {
            (void)close(fd);
        }
    }
}

void cradle_lay_from_environment(void)
{
    cradle_lay(getenv(CRADLE_VARIABLE));
}
