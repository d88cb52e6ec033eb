/* SPDX-License-Identifier: MIT */
#include "tests/system/holder.h"

#include <sys/mman.h>
#include <unistd.h>

#include "proto/ledger.h"
#include "proto/lease.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"

#define HELD_PAGES 4

static struct ledger own_ledger(const struct wire_descriptors *descriptors)
{
    struct ledger_layout layout;
    struct ledger ledger;
    const uint32_t n_pages = (uint32_t)(usage_take().most_bytes / PAGE_BYTES);
    ledger_layout_init(&layout, n_pages);
    void *base = mmap(NULL, layout.total_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                      descriptors->fds[WIRE_LEDGER], 0);
    expect_call(base != MAP_FAILED);
    expect_equal(ledger_attach(&ledger, base, n_pages), 0);
    return ledger;
}

/*
 * In use: what is not is taken back when memory is short, and after 0.4 s where it is committed as
 * it is needed. A process that does not run for so long asks once more.
 */
static uint32_t lease_in_use(int fd, const struct wire_descriptors *descriptors, uint64_t *number)
{
    const struct ledger ledger = own_ledger(descriptors);
    uint32_t page;
    bool zero;
    do {
        wire_sequence((*number)++);
        page = wire_lease(fd, HELD_PAGES);
    } while (!lease_take(ledger.states, page, HELD_PAGES, &zero));
    return page;
}

/* Two blocks and a lease; then, each time it is told to, it comes back and wants to find them. */
static void hold(const void *argument)
{
    (void)argument;
    struct wire_descriptors descriptors;
    int fd = wire_member_with(&descriptors);
    wire_sequence(1);
    const uint64_t first = wire_allocate(fd, 100, "held/first");
    wire_sequence(2);
    const uint64_t second = wire_allocate(fd, 200, "held/second");
    uint64_t number = 3;
    const uint32_t page = lease_in_use(fd, &descriptors, &number);
    wire_close_descriptors(&descriptors);
    client_say(1);
    while (client_await() != 0) {
        (void)close(fd);
        fd = wire_member_again();
        const struct client_row row = client_row_of(getpid());
        expect_equal(row.n_blocks, HELD_BLOCKS);
        expect_equal(row.num_bytes, HELD_BYTES);
        expect_equal(row.leased_bytes, HELD_PAGES * PAGE_BYTES);
        uint64_t num_bytes;
        expect_equal(wire_size_of(fd, first, &num_bytes), 0);
        expect_equal(num_bytes, 100);
        expect_equal(wire_size_of(fd, second, &num_bytes), 0);
        expect_equal(num_bytes, 200);
        expect_equal(wire_lease(fd, HELD_PAGES), page); /* the answer was lost, say */
        client_say(1);
    }
    wire_sequence(number);
    expect_equal(wire_release(fd, first), 0);
    (void)close(fd);
}

struct client holder_start(void)
{
    struct client client = client_begin(hold, NULL);
    expect_usage(HELD_BYTES, HELD_BLOCKS);
    return client;
}

void holder_expect_held(const struct client *client)
{
    expect_usage(HELD_BYTES, HELD_BLOCKS);
    client_resume(client);
    expect_usage(HELD_BYTES, HELD_BLOCKS);
    expect_ledger_row("held/first", 1, 100);
    expect_ledger_sound();
}

void holder_end(struct client *client)
{
    client_tell(client, 0);
    client_end(client);
    expect_balanced();
}
