/* SPDX-License-Identifier: MIT */
#include "tests/unit/fail.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

static struct {
    const char *what; /* NULL: nothing is to fail */
    unsigned nth;
    unsigned n_calls;
    int error;
    bool for_good;
    bool happened;
} plan;

static bool last_round_failed;

void fail_nth(const char *what, unsigned nth, int error)
{
    plan.what = what;
    plan.nth = nth;
    plan.n_calls = 0;
    plan.error = error;
    plan.for_good = false;
    plan.happened = false;
}

void fail_from(const char *what, unsigned nth, int error)
{
    fail_nth(what, nth, error);
    plan.for_good = true;
}

bool fail_end(void)
{
    plan.what = NULL;
    last_round_failed = plan.happened;
    return plan.happened;
}

bool fail_again(const char *what, unsigned nth, int error)
{
    if (nth > 1 && !last_round_failed) {
        return false;
    }
    fail_nth(what, nth, error);
    return true;
}

bool fail_now(const char *what)
{
    if (plan.what == NULL || strcmp(plan.what, what) != 0) {
        return false;
    }
    plan.n_calls++;
    if (plan.n_calls != plan.nth && !(plan.for_good && plan.n_calls > plan.nth)) {
        return false;
    }
    plan.happened = true;
    errno = plan.error;
    return true;
}

void *__real_malloc(size_t n_bytes);
void *__wrap_malloc(size_t n_bytes);
void *__wrap_malloc(size_t n_bytes)
{
    return fail_now("memory") ? NULL : __real_malloc(n_bytes);
}

void *__real_calloc(size_t n, size_t n_bytes);
void *__wrap_calloc(size_t n, size_t n_bytes);
void *__wrap_calloc(size_t n, size_t n_bytes)
{
    return fail_now("memory") ? NULL : __real_calloc(n, n_bytes);
}

void *__real_realloc(void *bytes, size_t n_bytes);
void *__wrap_realloc(void *bytes, size_t n_bytes);
void *__wrap_realloc(void *bytes, size_t n_bytes)
{
    return fail_now("memory") ? NULL : __real_realloc(bytes, n_bytes);
}
