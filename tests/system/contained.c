/* SPDX-License-Identifier: MIT */
/*
 * contained.c - a program in a container: it has libkmem, $KMEM_SOCKET and a line to the test
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <kmem/kmem.h>
#include <kmem/query.h>

#include "tests/system/client.h"
#include "tests/system/contained.h"
#include "tests/system/sharing.h"

static unsigned char *block;

static uint64_t explained(int error)
{
    (void)fprintf(stderr, "%s\n", kmem_last_error());
    return (uint64_t)error;
}

static void allocate_one(void)
{
    block = kmem_try_allocate(CONTAINED_BYTES, "in a container");
    if (block == NULL) {
        client_say(explained(errno));
        return;
    }
    memset(block, CONTAINED_FILL, CONTAINED_BYTES);
    client_say(0);
}

static void share_it(void)
{
    struct kmem_handle handle;
    const int r = kmem_share(block, 0, &handle);
    client_say(r < 0 ? explained(-r) : 0);
    if (r == 0) {
        say_handle(&handle);
    }
}

static void attach_one(void)
{
    void *mem = NULL;
    const struct kmem_handle handle = await_handle();
    const int r = kmem_attach(&handle, KMEM_READ, "from outside", &mem);
    client_say(r < 0 ? explained(-r) : 0);
    if (r == 0) {
        client_say(*(const unsigned char *)mem);
    }
}

static int count_client(const struct kmem_client *client, void *user)
{
    (void)client;
    ++*(uint64_t *)user;
    return 0;
}

static void ask_for_clients(void)
{
    struct kmem_query *query = NULL;
    uint64_t n_clients = 0;
    int r = kmem_query_open(NULL, &query);
    r = r < 0 ? r : kmem_query_clients(query, count_client, &n_clients);
    client_say((uint64_t)-r);
    if (r == 0) {
        client_say(n_clients);
    }
    (void)kmem_query_close(query); /* NULL */
}

int main(void)
{
    client_take_line();
    for (uint64_t what = client_await(); what != CONTAINED_END; what = client_await()) {
        switch (what) {
        case CONTAINED_ALLOCATE:
            allocate_one();
            break;
        case CONTAINED_SHARE:
            share_it();
            break;
        case CONTAINED_ATTACH:
            attach_one();
            break;
        default:
            ask_for_clients();
            break;
        }
    }
    return 0;
}
