/* SPDX-License-Identifier: MIT */
/*
 * test_ledger.c - a million live blocks, rolled up, while others go on
 *
 * How long a roll-up takes, and how long others wait for it, is measured by bench_times.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"

#define N_REASONS 1000
/* No client leases blocks of this size: each is a request. */
#define DIRECT_BYTES ((size_t)3 << 20)

static void fill_segment(const void *argument)
{
    const uint64_t n_blocks = *(const uint64_t *)argument;
    const int fd = wire_member();
    wire_fill(fd, n_blocks, 16, N_REASONS);
    client_pause();
    (void)close(fd);
}

/* How many pairs the other client has made; it writes, the test reads. Relaxed: a figure. */
static _Atomic uint64_t *n_pairs_of_other;

static void allocate_until_told(const void *argument)
{
    (void)argument;
    while (!client_was_told()) {
        void *block = kmem_try_allocate(DIRECT_BYTES, "served meanwhile");
        expect_call(block != NULL);
        expect_equal(kmem_try_release(&block), 0);
        if (atomic_fetch_add_explicit(n_pairs_of_other, 1, memory_order_relaxed) == 0) {
            client_say(1);
        }
    }
}

/* Return: how many pairs the other client has made between the question and its answer. */
static uint64_t pairs_during_a_roll_up(int fd)
{
    const uint64_t n_before = atomic_load_explicit(n_pairs_of_other, memory_order_relaxed);
    Kmem__Response *const response = wire_ask(fd, request_ledger(NEW_REQUEST, 0, 0));
    const uint64_t n_pairs =
        atomic_load_explicit(n_pairs_of_other, memory_order_relaxed) - n_before;
    expect_equal(response->body_case, KMEM__RESPONSE__BODY_LEDGER);
    expect_at_least(response->ledger->n_rows, 1);
    wire_free(response);
    return n_pairs;
}

/* A daemon that did nothing else meanwhile would let it make one pair, the one that is under way.
   How many it makes is the machine's business: one roll-up with more of them is wanted. */
static void test_others_are_served_while_a_million_blocks_are_rolled_up(void)
{
    const uint64_t n_blocks = harness_scaled(1000000);
    unsigned int n_roll_ups = 0;
    daemon_start("--size", "64MiB", NULL);
    n_pairs_of_other = mmap(NULL, sizeof(*n_pairs_of_other), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    expect_call(n_pairs_of_other != MAP_FAILED);
    struct client holder = client_begin(fill_segment, &n_blocks);
    expect_usage(n_blocks * 16, n_blocks);
    struct client other = client_begin(allocate_until_told, NULL);
    const int fd = wire_observer();
    expect_soon((n_roll_ups++, pairs_during_a_roll_up(fd)) > 1, 10000);
    (void)close(fd);
    harness_note("seen in roll-up %u", n_roll_ups);
    client_finish(&other);
    client_finish(&holder);
    expect_balanced();
    expect_call(munmap((void *)n_pairs_of_other, sizeof(*n_pairs_of_other)) == 0);
    daemon_stop();
}

static void test_roll_up_of_200000_blocks_is_exact(void)
{
    static struct ledger_row rows[N_REASONS + 1];
    const uint64_t n_blocks = harness_scaled(200000);
    daemon_start("--size", "64MiB", NULL);
    struct client holder = client_begin(fill_segment, &n_blocks);
    expect_equal(ledger_rows(KMEM__GROUP_BY__GROUP_BY_REASON, rows, N_REASONS + 1), N_REASONS);
    for (size_t i = 0; i < N_REASONS; i++) {
        expect_equal(rows[i].n_blocks, n_blocks / N_REASONS);
        expect_equal(rows[i].num_bytes, n_blocks / N_REASONS * 16);
    }
    expect_ledger_sound();
    client_kill(&holder);
    daemon_stop_balanced();
}

static void use_many_reasons(const void *argument)
{
    const uint64_t n_blocks = *(const uint64_t *)argument;
    const int fd = wire_member();
    wire_fill(fd, n_blocks, 1, (unsigned int)n_blocks);
    client_pause();
    (void)close(fd);
}

static void test_more_reasons_than_the_table_holds_are_counted_together(void)
{
    const uint64_t n_blocks = HARNESS_SANITIZED ? 70000 : 200000; /* the table holds 65,536 */
    daemon_start("--size", "64MiB", NULL);
    struct client holder = client_begin(use_many_reasons, &n_blocks);
    expect_usage(n_blocks, n_blocks);
    struct ledger_row first;
    const size_t n_rows = ledger_rows(KMEM__GROUP_BY__GROUP_BY_REASON, &first, 1);
    expect_at_least(n_rows, 60000);
    expect_at_most(n_rows, 65536);
    expect_text(first.key, "<other reasons>");
    expect_equal(first.n_blocks, n_blocks - (n_rows - 1));
    client_kill(&holder);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_roll_up_of_200000_blocks_is_exact, 60),
    SYSTEM_TEST(test_others_are_served_while_a_million_blocks_are_rolled_up, 120),
    SYSTEM_TEST(test_more_reasons_than_the_table_holds_are_counted_together, 60),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
