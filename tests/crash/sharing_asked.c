/* SPDX-License-Identifier: MIT */
#include "tests/crash/sharing_asked.h"

struct asked asked;

void send_allocate(void)
{
    assert_int_equal(ask_allocate(&talk, asked.peer, BLOCK_BYTES, "model", 5), DISPATCH_OK);
}

void send_share(void)
{
    assert_int_equal(ask_share(asked.peer, asked.offsets[0], asked.is_set), DISPATCH_OK);
}

void send_attach(void)
{
    assert_int_equal(ask_attach(asked.peer, asked.handles, asked.n, asked.is_set), DISPATCH_OK);
}

void send_release(void)
{
    assert_int_equal(ask_release(&talk, asked.peer, asked.offsets[0]), DISPATCH_OK);
}

void send_release_many(void)
{
    assert_int_equal(ask_release_many(asked.peer, asked.offsets, asked.n), DISPATCH_OK);
}

void send_transfer(void)
{
    assert_int_equal(ask_transfer(asked.peer, asked.offsets[0], asked.is_set), DISPATCH_OK);
}

void send_publish(void)
{
    assert_int_equal(ask_publish(asked.peer, asked.offsets[0], asked.name, asked.flags),
                     DISPATCH_OK);
}

void send_unpublish(void)
{
    assert_int_equal(ask_unpublish(asked.peer, asked.name), DISPATCH_OK);
}

void send_next(void)
{
    assert_int_equal(ask_next(asked.peer, &asked.next), DISPATCH_OK);
}

bool said(Kmem__Response__BodyCase body_case)
{
    return talk.reply->response.body_case == body_case;
}

bool said_error(Kmem__ErrorCode code)
{
    return said(KMEM__RESPONSE__BODY_ERROR) && talk.reply->response.error->code == code;
}

bool said_not_held(void)
{
    return said_error(KMEM__ERROR_CODE__ERROR_FOREIGN) ||
           said_error(KMEM__ERROR_CODE__ERROR_RELEASED);
}

const Kmem__Released *said_released(void)
{
    return said(KMEM__RESPONSE__BODY_ERROR) ? talk.reply->response.error->released
                                            : talk.reply->response.nexted->released;
}
