/* SPDX-License-Identifier: MIT */
/*
 * sharing.h - for tests and clients that pass handles: five numbers each; and blocks to be shared
 */
#ifndef TESTS_SYSTEM_SHARING_H
#define TESTS_SYSTEM_SHARING_H

#include <stdbool.h>
#include <string.h>

#include <kmem/share.h>

#include "tests/system/blocks.h"
#include "tests/system/client.h"
#include "tests/system/harness.h"

/* 20 of a size: the last is carved by the client itself. */
#define SHARING_HOT 20

static inline void say_handle(const struct kmem_handle *handle)
{
    client_say(handle->instance);
    client_say(handle->generation);
    client_say(handle->tag);
    client_say(handle->offset);
    client_say(handle->num_bytes);
}

static inline struct kmem_handle await_handle(void)
{
    const uint64_t instance = client_await();
    const uint64_t generation = client_await();
    const uint64_t tag = client_await();
    const uint64_t offset = client_await();
    return (struct kmem_handle){instance, generation, tag, offset, client_await()};
}

static inline struct kmem_handle hear_handle(const struct client *client)
{
    const uint64_t instance = client_hear(client);
    const uint64_t generation = client_hear(client);
    const uint64_t tag = client_hear(client);
    const uint64_t offset = client_hear(client);
    return (struct kmem_handle){instance, generation, tag, offset, client_hear(client)};
}

static inline void tell_handle(const struct client *client, const struct kmem_handle *handle)
{
    client_tell(client, handle->instance);
    client_tell(client, handle->generation);
    client_tell(client, handle->tag);
    client_tell(client, handle->offset);
    client_tell(client, handle->num_bytes);
}

/* A block of num_bytes, every byte of which is `fill`. */
static inline unsigned char *filled(size_t num_bytes, bool is_leased, int fill)
{
    unsigned char *others[SHARING_HOT];
    size_t n = 0;
    while (is_leased && n < SHARING_HOT) {
        others[n++] = allocate(num_bytes, "sharing/warm");
    }
    unsigned char *const block = allocate(num_bytes, "sharing/block");
    while (n > 0) {
        release(others[--n]);
    }
    memset(block, fill, num_bytes);
    return block;
}

static inline void expect_filled(const unsigned char *block, size_t num_bytes, int fill)
{
    for (size_t i = 0; i < num_bytes; i++) {
        if (block[i] != fill) {
            fail("byte %zu of %zu is %#x, and not %#x", i, num_bytes, block[i], (unsigned)fill);
        }
    }
}

static inline void *attach(const struct kmem_handle *handle, int flags)
{
    void *block = NULL;
    const int r = kmem_attach(handle, flags, "sharing/attached", &block);
    if (r < 0) {
        fail("kmem_attach: %s", kmem_last_error());
    }
    return block;
}

/* One that the server carves, or the owner. */
struct sharing_kind {
    size_t num_bytes;
    bool is_leased;
};

#define SHARING_KINDS 5
extern const struct sharing_kind sharing_kinds[SHARING_KINDS];

/* Clients' functions. The first shares a block of a kind, and does as sharing_tell() says: 'r'
   releases it, another letter is what its bytes become. The second finds a handle stale. */
void sharing_own(const void *argument);
void sharing_attach_stale(const void *argument);

/** sharing_tell() - and wait until it has done it */
void sharing_tell(const struct client *client, uint64_t what);

/**
 * sharing_hold() - a client that attaches a handle for reading, and then does as it is told: 'R'
 *                  releases it, another letter is what its bytes must be
 */
struct client sharing_hold(const struct kmem_handle *handle);

/** sharing_finish() - tell it to end */
void sharing_finish(struct client *client);

#endif
