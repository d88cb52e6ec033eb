/* SPDX-License-Identifier: MIT */
/*
 * sharing_asked.h - a request about shared blocks, that can be sent again as it was
 */
#ifndef TESTS_CRASH_SHARING_ASKED_H
#define TESTS_CRASH_SHARING_ASKED_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/share_talk.h"

#define MANY 4
#define BLOCK_BYTES 1000

struct asked {
    struct peer *peer;
    uint32_t n; /* of many */
    uint64_t offsets[MANY];
    struct share_handle handles[MANY];
    const char *name;
    int flags;   /* of a Publish */
    bool is_set; /* read-only, for writing, to be kept: what there is of it */
    struct asked_next next;
};

extern struct asked asked;

/* Each sends what is asked, and wants an answer of any kind: in talk.reply. */
void send_allocate(void);
void send_share(void);
void send_attach(void);
void send_release(void);
void send_release_many(void);
void send_transfer(void);
void send_publish(void);
void send_unpublish(void);
void send_next(void);

/** said() - whether the answer is of this kind */
bool said(Kmem__Response__BodyCase body_case);

/** said_not_held() - it is that the client has no hold on the block: it is another's, or it has let
 *  go of it, or handed it over */
bool said_not_held(void);

/** said_error() - it is this error */
bool said_error(Kmem__ErrorCode code);

/** said_released() - what a Next has let go of; an answer that is an error tells, too */
const Kmem__Released *said_released(void);

#endif
