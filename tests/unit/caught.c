/* SPDX-License-Identifier: MIT */
#include "tests/unit/caught.h"
#include "tests/unit/unit.h"

#include <stdio.h>
#include <string.h>

struct kmem_failure caught;
unsigned int n_caught;

static char message[4096];
static char reason[KMEM_REASON_MAX_BYTES + 1];

void caught_remember(const struct kmem_failure *failure)
{
    (void)snprintf(message, sizeof(message), "%s", failure->message);
    (void)snprintf(reason, sizeof(reason), "%s", failure->reason);
    caught = *failure;
    caught.message = message;
    caught.reason = reason;
    n_caught++;
}

void caught_install(void)
{
    n_caught = 0;
    (void)kmem_set_failure_handler(caught_remember);
}

void assert_caught(const char *call, int error)
{
    assert_int_equal(n_caught, 1);
    assert_string_equal(caught.call, call);
    assert_int_equal(caught.error, error);
    /* The sentence begins with the call. */
    assert_int_equal(strncmp(caught.message, call, strlen(call)), 0);
    assert_int_equal(strncmp(caught.message + strlen(call), ": ", 2), 0);
    n_caught = 0;
}
