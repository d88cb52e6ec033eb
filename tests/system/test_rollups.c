/* SPDX-License-Identifier: MIT */
/*
 * test_rollups.c - members and observers that ask, keep and tell too much
 *
 * Whatever one process does with roll-ups, the others' questions are answered, and the server's
 * memory stays below its bound.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "proto/lease.h"
#include "proto/ledger.h"
#include "tests/system/client.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"

#define SEGMENT_PAGES 1024 /* 16 MiB */
#define MEMORY_BOUND_KIB (UINT64_C(160) * 1024)

/* ------------------------------------------------------------------------------- observers ---- */

#define N_HOARDERS 6
#define N_ROWS 2000 /* more than one answer holds */

static size_t read_a_page(int fd, uint32_t first_row)
{
    Kmem__Response *const response =
        wire_ask_for(fd, request_ledger(NEW_REQUEST, 0, first_row), KMEM__RESPONSE__BODY_LEDGER);
    const size_t n_rows = response->ledger->n_rows;
    wire_free(response);
    return n_rows;
}

static void fill_segment(const void *argument)
{
    (void)argument;
    const int fd = wire_member();
    wire_fill(fd, 20000, 16, N_ROWS);
    client_pause();
    (void)close(fd);
}

/* Reads a page over each of six connections, again and again, and never reads on. */
static void hoard(const void *argument)
{
    (void)argument;
    int fds[N_HOARDERS];
    for (uint32_t i = 0; i < N_HOARDERS; i++) {
        fds[i] = wire_observer();
        expect_at_least(read_a_page(fds[i], 0), 1);
    }
    client_say(1);
    while (!client_was_told()) {
        for (uint32_t i = 0; i < N_HOARDERS; i++) {
            expect_at_least(read_a_page(fds[i], 0), 1);
        }
    }
    for (uint32_t i = 0; i < N_HOARDERS; i++) {
        (void)close(fds[i]);
    }
}

static void test_six_connections_of_one_process_leave_the_others_their_answers(void)
{
    daemon_start(NULL, NULL);
    struct client filler = client_begin(fill_segment, NULL);
    struct client hoarder = client_begin(hoard, NULL);

    const int fd = wire_observer();
    for (uint32_t i = 0; i < 12; i++) {
        expect_equal(usage_take().blocks, 20000);
        expect_equal(client_row_of(filler.pid).n_blocks, 20000);
        size_t n_rows = 0;
        while (n_rows < N_ROWS) { /* page by page, all of it */
            n_rows += read_a_page(fd, (uint32_t)n_rows);
        }
        expect_equal(n_rows, N_ROWS);
        expect_equal(ctl("reconcile")->exit_status, 0);
    }

    (void)close(fd);
    client_finish(&hoarder);
    client_finish(&filler);
    daemon_stop_balanced();
}

/* --------------------------------------------------------------------------------- tellers ---- */

#define LEASED_PAGES 60
#define BLOCKS_OF_PAGE 1024

struct teller {
    struct ledger ledger;
    struct wire_run run;
};

/* A client that carves its lease by hand. */
static struct teller join_as_teller(void)
{
    struct wire_descriptors descriptors;
    struct ledger_layout layout;
    struct teller teller;
    Kmem__ErrorCode error;
    const int fd = wire_member_with(&descriptors);
    const uint32_t most_pages = (uint32_t)(usage_take().most_bytes / PAGE_BYTES);
    ledger_layout_init(&layout, most_pages);
    void *base = mmap(NULL, layout.total_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                      descriptors.fds[WIRE_LEDGER], 0);
    expect_call(base != MAP_FAILED);
    expect_equal(ledger_attach(&teller.ledger, base, most_pages), 0);
    teller.run = wire_try_lease(fd, LEASED_PAGES, LEASED_PAGES, &error);
    expect_equal(teller.run.n_pages, LEASED_PAGES);
    return teller;
}

static void tell_reason(const struct teller *teller, uint32_t id, uint64_t what)
{
    struct ledger_reason *reason = &teller->ledger.reasons[id];
    char text[REASON_MAX_BYTES + 1];
    memset(text, '.', sizeof(text));
    const int n = snprintf(text, sizeof(text), "%llu/%u/", (unsigned long long)what, id);
    text[n] = '.';
    memcpy(reason->bytes, text, REASON_MAX_BYTES);
    reason->n_bytes = REASON_MAX_BYTES;
}

/* As many blocks as the lease has room for, each for a reason of its own. */
static void carve_all(struct teller *teller)
{
    bool zero;
    for (uint32_t i = 0; i < LEASED_PAGES; i++) {
        const uint32_t page = teller->run.page + i;
        expect_true(lease_take(teller->ledger.states, page, 1, &zero));
        ledger_slab_open(&teller->ledger, page, 0);
        for (uint32_t k = 0; k < BLOCKS_OF_PAGE; k++) {
            const uint32_t id = REASONS_RESERVED + i * BLOCKS_OF_PAGE + k;
            tell_reason(teller, id, 0);
            (void)ledger_take(&teller->ledger, page, 16, id, 0, 0);
        }
    }
}

/* Rewrites the reasons for ever. */
static void rewrite(const void *argument)
{
    (void)argument;
    struct teller teller = join_as_teller();
    carve_all(&teller);
    client_say(1);
    for (uint64_t round = 1;; round++) {
        for (uint32_t i = 0; i < LEASED_PAGES * BLOCKS_OF_PAGE; i++) {
            tell_reason(&teller, REASONS_RESERVED + i, round);
        }
    }
}

static void expect_small_server(void)
{
    expect_at_most(daemon_memory_kib(), daemon_memory_kib_at_start() + MEMORY_BOUND_KIB);
}

static void test_reasons_rewritten_while_they_are_read_leave_the_server_small(void)
{
    const uint64_t n_blocks = (uint64_t)LEASED_PAGES * BLOCKS_OF_PAGE;
    daemon_start(NULL, NULL);
    struct client rewriter = client_begin(rewrite, NULL);

    for (uint32_t i = 0; i < 8; i++) {
        static struct ledger_row rows[65536];
        const size_t n_rows = ledger_rows(KMEM__GROUP_BY__GROUP_BY_REASON, rows, 65536);
        uint64_t n_counted = 0;
        for (size_t k = 0; k < n_rows; k++) {
            n_counted += rows[k].n_blocks;
        }
        expect_equal(n_counted, n_blocks); /* whatever they are called */
        expect_small_server();
        (void)usage_take();
        /* Refusals name holders as well. */
        expect_true(kmem_try_allocate((size_t)SEGMENT_PAGES << PAGE_SHIFT, "too much") == NULL);
    }
    expect_equal(kmem_close(), 0);
    client_kill(&rewriter);
    expect_soon(obituary_of(rewriter.pid).found, 10000);
    expect_equal(obituary_of(rewriter.pid).n_blocks, n_blocks);
    expect_small_server();
    daemon_stop_balanced();
}

/* Heads inside of what other heads say: a walk that begins elsewhere sees other blocks. */
static void lie(const void *argument)
{
    (void)argument;
    struct teller teller = join_as_teller();
    bool zero;
    expect_true(lease_take(teller.ledger.states, teller.run.page, LEASED_PAGES, &zero));
    for (uint32_t i = LEASED_PAGES; i-- > 0;) {
        const uint32_t page = teller.run.page + i;
        const uint32_t left = LEASED_PAGES - i;
        if (i % 3 == 0) {
            ledger_run_open(&teller.ledger, page, left < 20 ? left : 20);
            (void)ledger_take(&teller.ledger, page, 1000, REASON_NONE, 0, 0);
        } else {
            ledger_slab_open(&teller.ledger, page, 0);
            for (uint32_t k = 0; k < BLOCKS_OF_PAGE; k++) {
                (void)ledger_take(&teller.ledger, page, 16, REASON_NONE, 0, 0);
            }
        }
    }
    client_pause();
}

static void test_reconcile_does_not_accuse_kmemd_of_a_ledger_that_lies(void)
{
    daemon_start(NULL, NULL);
    struct client liar = client_begin(lie, NULL);

    const struct ctl_end *end = ctl("reconcile");

    expect_true(strstr(end->out, "NOT BALANCED") == NULL);
    expect_equal(end->exit_status, 0);
    expect_ledger_sound();
    client_finish(&liar);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_reconcile_does_not_accuse_kmemd_of_a_ledger_that_lies, 20),
    SYSTEM_TEST(test_six_connections_of_one_process_leave_the_others_their_answers, 60),
    SYSTEM_TEST(test_reasons_rewritten_while_they_are_read_leave_the_server_small, 60),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
