/* SPDX-License-Identifier: MIT */
/*
 * api_fixture.h - calls of the library to a daemon in this process that is honest or lies
 */
#ifndef TESTS_UNIT_API_FIXTURE_H
#define TESTS_UNIT_API_FIXTURE_H

#include <errno.h>
#include <stdlib.h>

#include <kmem/kmem.h>

#include "tests/unit/caught.h"
#include "tests/unit/fake_daemon.h"
#include "tests/unit/unit.h"

/* Set before each call: a call that succeeds leaves it. */
#define UNTOUCHED 4242

static inline int start_daemon(void **state)
{
    (void)setenv("KMEM_TIMEOUT_MS", "60000", 1);
    fake_daemon_start();
    caught_install();
    errno = UNTOUCHED;
    return 0;
}

static inline int stop_daemon(void **state)
{
    (void)kmem_set_failure_handler(NULL);
    int r = kmem_close();
    fake_daemon_stop();
    return r == 0 || r == -ECONNRESET ? 0 : r;
}

#endif
