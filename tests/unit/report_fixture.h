/* SPDX-License-Identifier: MIT */
/*
 * report_fixture.h - a core and a reply, and what the reports in the reply say
 */
#ifndef TESTS_UNIT_REPORT_FIXTURE_H
#define TESTS_UNIT_REPORT_FIXTURE_H

#include <string.h>

#include "daemon/core/report.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/statistic.h"

static struct reply *reply;

static inline void report_begin(uint32_t n_pages, uint32_t clients_limit)
{
    fixture_init(&fixture, n_pages, clients_limit);
    reply = reply_new();
    assert_non_null(reply);
}

static inline int report_teardown(void **state)
{
    reply = reply_free(reply);
    return core_teardown(state);
}

/* The response fits its frame. */
static inline void assert_encodes(void)
{
    static unsigned char frame[FRAME_HEADER_BYTES + RESPONSE_MAX_BYTES];
    assert_true(frame_encode(&reply->response.base, frame, sizeof(frame)) > 0);
}

/* Of the last report of the usage. */
static inline uint64_t statistic(const char *name)
{
    return statistic_of(reply->response.usage, name);
}

static inline struct client *join_with_longest_command(uint32_t pid)
{
    struct client_identity identity = fixture_identity(pid);
    memset(identity.command, 'c', COMMAND_BYTES - 1);
    identity.uid = identity.gid = UINT32_MAX - 1;
    struct client *joined;
    assert_int_equal(
        core_join(core, &identity, FIXTURE_NONCE(identity.pid), fixture.now_ms, &joined), 0);
    return joined;
}

#endif
