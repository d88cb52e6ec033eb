/* SPDX-License-Identifier: MIT */
#include "tests/system/sharing.h"

#include <errno.h>

const struct sharing_kind sharing_kinds[SHARING_KINDS] = {
    {100, false}, {100, true}, {40000, true}, {200000, false}, {200000, true}};

/* Shares a block, and does as it is told: 'r' releases it, 'c' changes it, 0 ends. */
void sharing_own(const void *argument)
{
    const struct sharing_kind *kind = argument;
    unsigned char *block = filled(kind->num_bytes, kind->is_leased, 'a');
    struct kmem_handle handle;
    struct kmem_handle again;
    expect_equal(kmem_share(block, 0, &handle), 0);
    expect_equal(kmem_share(block, 0, &again), 0);
    expect_equal(memcmp(&handle, &again, sizeof(handle)), 0);
    expect_equal(handle.num_bytes, kind->num_bytes);
    expect_equal(handle.offset, kmem_offset_of(block));
    say_handle(&handle);
    for (uint64_t what; (what = client_await()) != 0;) {
        if (what == 'r') {
            expect_equal(kmem_try_release(&block), 0);
            expect_true(block == NULL);
        } else {
            memset(block, (int)what, kind->num_bytes);
        }
        client_say(what);
    }
}

void sharing_tell(const struct client *client, uint64_t what)
{
    client_tell(client, what);
    expect_equal(client_hear(client), what);
}

/* Attaches what it is told; then: a letter: its bytes are that; 'R' releases; 0 ends. */
static void hold(const void *argument)
{
    (void)argument;
    const struct kmem_handle handle = await_handle();
    unsigned char *block = attach(&handle, KMEM_READ);
    size_t num_bytes = 0;
    expect_equal(kmem_try_sizeof(block, &num_bytes), 0);
    expect_equal(num_bytes, handle.num_bytes);
    client_say(1);
    for (uint64_t what; (what = client_await()) != 0;) {
        if (what == 'R') {
            expect_equal(kmem_try_release(&block), 0);
        } else {
            expect_filled(block, num_bytes, (int)what);
        }
        client_say(what);
    }
}

struct client sharing_hold(const struct kmem_handle *handle)
{
    struct client holder = client_start(hold, NULL);
    tell_handle(&holder, handle);
    expect_equal(client_hear(&holder), 1);
    return holder;
}

void sharing_finish(struct client *client)
{
    client_tell(client, 0);
    client_end(client);
}

void sharing_attach_stale(const void *argument)
{
    (void)argument;
    const struct kmem_handle handle = await_handle();
    void *block = NULL;
    expect_equal(kmem_attach(&handle, KMEM_READ, "late", &block), -ESTALE);
}
