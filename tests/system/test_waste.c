/* SPDX-License-Identifier: MIT */
/*
 * test_waste.c - what the statistics say of wasted memory is the truth
 *
 * The truth is derived from the list of live blocks alone: a block of up to 64 KiB is in a slab of
 * its size class, and all classes here have slabs of one page; a larger one fills its pages. Pages
 * with a live block are in use; of them, what is not asked for is rounding or free in a slab. The
 * pages of leases that are left are idle, and all others are free.
 */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "proto/size_class.h"
#include "tests/system/client.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"

#define MIB (UINT64_C(1) << 20)
#define SEGMENT_BYTES (64 * MIB)
#define N_SEGMENT_PAGES (SEGMENT_BYTES / PAGE_BYTES)
#define ROWS_MAX 4096

/* ------------------------------------------------------------------------------- the truth ---- */

struct truth {
    uint64_t used_bytes;
    uint64_t block_bytes;    /* of those blocks */
    uint64_t n_pages;        /* with a live block */
    uint64_t n_leased_pages; /* of those, in leases */
    bool is_live[N_SEGMENT_PAGES];
};

static uint64_t block_bytes_of(uint64_t num_bytes)
{
    if (num_bytes > SMALL_MAX_BYTES) {
        return (num_bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    }
    const struct size_class *of = &size_classes[size_class_of((uint32_t)num_bytes)];
    expect_equal(of->span_pages, 1);
    return of->block_bytes;
}

static void truth_add(struct truth *truth, const struct block_row *row)
{
    const uint64_t block_bytes = block_bytes_of(row->num_bytes);
    const uint64_t end = row->offset + block_bytes;
    truth->used_bytes += row->num_bytes;
    truth->block_bytes += block_bytes;
    for (uint64_t page = row->offset / PAGE_BYTES; page * PAGE_BYTES < end; page++) {
        truth->n_pages += !truth->is_live[page];
        truth->n_leased_pages += !truth->is_live[page] && row->leased;
        truth->is_live[page] = true;
    }
}

static void truth_find(struct truth *truth, const struct client *const *clients)
{
    static struct block_row rows[ROWS_MAX];
    *truth = (struct truth){.used_bytes = 0};
    for (; *clients; clients++) {
        const size_t n_rows = ledger_blocks_of((*clients)->pid, rows, ROWS_MAX);
        expect_at_most(n_rows, ROWS_MAX);
        for (size_t i = 0; i < n_rows; i++) {
            truth_add(truth, &rows[i]);
        }
    }
}

#define CLIENTS(...) ((const struct client *const[]){__VA_ARGS__, NULL})

/* What is said of the blocks of these clients, who do nothing meanwhile. Return: what is said. */
static struct usage expect_truth(const struct client *const *clients)
{
    static struct truth truth;
    const struct usage usage = usage_take();
    truth_find(&truth, clients);
    expect_equal(usage.used_bytes, truth.used_bytes);
    expect_equal(usage.rounding_bytes, truth.block_bytes - truth.used_bytes);
    expect_equal(usage.slab_bytes, truth.n_pages * PAGE_BYTES - truth.block_bytes);
    expect_equal(usage.first_page_bytes, PAGE_BYTES);
    expect_equal(usage.idle_bytes, usage.leased_bytes - truth.n_leased_pages * PAGE_BYTES);
    expect_equal(usage.free_bytes, SEGMENT_BYTES - (1 + truth.n_pages) * PAGE_BYTES);
    return usage;
}

/* Of a segment without leases: what is free, and the longest piece of it. */
static void expect_extents(const struct client *const *clients)
{
    static struct truth truth;
    uint64_t n_free = 0;
    uint64_t n_longest = 0;
    uint64_t n_stretch = 0;
    const struct usage usage = expect_truth(clients);
    truth_find(&truth, clients);
    for (uint64_t page = 1; page < N_SEGMENT_PAGES; page++) {
        n_free += !truth.is_live[page];
        n_stretch = truth.is_live[page] ? 0 : n_stretch + 1;
        n_longest = n_stretch > n_longest ? n_stretch : n_longest;
    }
    expect_equal(usage.leased_bytes, 0);
    expect_equal(usage.largest_extent_bytes, n_longest * PAGE_BYTES);
    expect_equal(usage.largest_hole_bytes, n_longest * PAGE_BYTES);
    expect_equal(usage.scattered_bytes, (n_free - n_longest) * PAGE_BYTES);
}

/* --------------------------------------------------------------------------------- clients ---- */

#define N_DIRECT 30
#define DIRECT_BYTES (MIB - 5)

/* After another server has begun to serve. */
static int come_back(int fd)
{
    (void)client_await();
    (void)close(fd);
    return wire_member_again();
}

/* Direct blocks; then each second one is given back, then another piece of the rest. */
static void scatter(const void *argument)
{
    uint64_t offsets[N_DIRECT];
    (void)argument;
    int fd = wire_member();
    for (size_t i = 0; i < N_DIRECT; i++) {
        offsets[i] = wire_allocate(fd, DIRECT_BYTES, "waste/direct");
    }
    (void)wire_allocate(fd, 100, "waste/small");
    client_say(1);
    fd = come_back(fd);
    for (size_t i = 1; i < N_DIRECT; i += 2) {
        expect_equal(wire_release(fd, offsets[i]), 0);
    }
    client_say(2);
    fd = come_back(fd);
    for (size_t i = 0; i < N_DIRECT; i += 6) {
        expect_equal(wire_release(fd, offsets[i]), 0);
    }
    client_say(3);
    (void)client_await();
    (void)close(fd);
}

static const size_t sizes[] = {10, 48, 100, 300, 1000, 2500, 5000, 8000, 16000, 100000};
#define N_SIZES (sizeof(sizes) / sizeof(sizes[0]))
#define N_OF_EACH 60
#define N_BLOCKS (N_SIZES * N_OF_EACH)

static void *blocks[N_BLOCKS];

static void allocate_mixed(void)
{
    for (size_t i = 0; i < N_BLOCKS; i++) {
        blocks[i] = kmem_try_allocate(sizes[i % N_SIZES] - i / N_SIZES % 7, "waste/mixed");
        if (blocks[i] == NULL) {
            fail("%s", kmem_last_error());
        }
    }
}

/* Mixed sizes; then each second block of each size is given back. */
static void hold_mixed(const void *argument)
{
    (void)argument;
    allocate_mixed();
    client_pause();
    for (size_t i = 0; i < N_BLOCKS; i++) {
        if (i / N_SIZES % 2 == 0) {
            expect_equal(kmem_try_release(&blocks[i]), 0);
        }
    }
    client_say(2);
    (void)client_await();
}

static void *release_all(void *unused)
{
    (void)unused;
    for (size_t i = 0; i < N_BLOCKS; i++) {
        expect_equal(kmem_try_release(&blocks[i]), 0);
    }
    return NULL;
}

/* Mixed sizes, which another thread releases; then it allocates anew. */
static void be_idle(const void *argument)
{
    pthread_t thread;
    (void)argument;
    allocate_mixed();
    expect_equal(pthread_create(&thread, NULL, release_all, NULL), 0);
    expect_equal(pthread_join(thread, NULL), 0);
    client_pause();
    blocks[0] = kmem_try_allocate(100, "waste/again");
    expect_true(blocks[0] != NULL);
    client_say(2);
    (void)client_await();
}

/* Takes one direct block of as many bytes, and one byte more, which must be refused. */
static void take_the_hole(const void *of_bytes)
{
    const uint64_t num_bytes = *(const uint64_t *)of_bytes;
    Kmem__ErrorCode error = KMEM__ERROR_CODE__ERROR_UNSPECIFIED;
    const int fd = wire_member();
    expect_equal(wire_try_allocate(fd, num_bytes + 1, "waste/more", 10, &error), 0);
    expect_equal(error, KMEM__ERROR_CODE__ERROR_NO_MEMORY);
    expect_true(wire_try_allocate(fd, num_bytes, "waste/hole", 10, &error) != 0);
    client_pause();
    (void)close(fd);
}

/* ----------------------------------------------------------------------------------- tests ---- */

static void test_scattered_memory_is_what_lies_outside_of_the_longest_piece(void)
{
    daemon_start("--size", "64MiB", NULL);
    struct client client = client_start(scatter, NULL);
    for (uint64_t part = 1; part <= 3; part++) {
        expect_equal(client_hear(&client), part);
        expect_extents(CLIENTS(&client));
        daemon_kill_server();
        expect_extents(CLIENTS(&client));
        client_tell(&client, 1);
    }
    client_end(&client);
    expect_balanced();
    const struct usage usage = usage_take();
    expect_equal(usage.scattered_bytes, 0);
    expect_equal(usage.largest_extent_bytes, SEGMENT_BYTES - PAGE_BYTES);
    daemon_stop();
}

/* Of each client, what idles is of its leases, and of all of them what the usage says. */
static void expect_idle_rows(const struct client *const *clients)
{
    uint64_t idle_bytes = 0;
    for (; *clients; clients++) {
        const struct client_row row = client_row_of((*clients)->pid);
        expect_at_most(row.unused_bytes, row.idle_bytes);
        expect_at_most(row.idle_bytes, row.leased_bytes);
        idle_bytes += row.idle_bytes;
    }
    expect_equal(usage_take().idle_bytes, idle_bytes);
}

static void expect_all_idle(const struct client *client)
{
    const struct client_row row = client_row_of(client->pid);
    expect_equal(row.num_bytes, 0);
    expect_equal(row.idle_bytes, row.leased_bytes);
    expect_at_least(row.idle_bytes, row.unused_bytes + 5 * PAGE_BYTES); /* slabs of nine sizes */
}

static void test_idle_memory_is_what_another_process_gets(void)
{
    daemon_start("--size", "64MiB", NULL);
    struct client mixed = client_start(hold_mixed, NULL);
    struct client idle = client_start(be_idle, NULL);
    expect_equal(client_hear(&mixed), 1);
    expect_equal(client_hear(&idle), 1);
    (void)expect_truth(CLIENTS(&mixed, &idle));
    client_tell(&mixed, 1);
    expect_equal(client_hear(&mixed), 2);
    client_stop(&idle);
    (void)expect_truth(CLIENTS(&mixed, &idle));
    expect_all_idle(&idle);
    expect_idle_rows(CLIENTS(&mixed, &idle));
    daemon_kill_server();
    const struct usage before = expect_truth(CLIENTS(&mixed, &idle));
    expect_all_idle(&idle);

    struct client taker = client_start(take_the_hole, &before.largest_hole_bytes);
    expect_equal(client_hear(&taker), 1);
    const struct usage after = expect_truth(CLIENTS(&mixed, &idle, &taker));
    expect_equal(client_row_of(idle.pid).leased_bytes, 0);
    expect_equal(after.used_bytes, before.used_bytes + before.largest_hole_bytes);
    expect_equal(after.free_bytes, before.free_bytes - before.largest_hole_bytes);
    expect_equal(after.revoked_bytes - before.revoked_bytes,
                 before.leased_bytes - after.leased_bytes);
    expect_at_least(after.reclaimed_bytes, before.idle_bytes - before.unused_bytes);
    daemon_kill_server();
    (void)expect_truth(CLIENTS(&mixed, &idle, &taker));

    client_continue(&idle);
    client_tell(&idle, 1);
    expect_equal(client_hear(&idle), 2);
    (void)expect_truth(CLIENTS(&mixed, &idle, &taker));
    client_kill(&idle);
    expect_soon(usage_take().clients == 2, 2000);
    (void)expect_truth(CLIENTS(&mixed, &taker));
    client_finish(&taker);
    client_finish(&mixed);
    daemon_stop_balanced();
}

static uint64_t resident_bytes(int segment_fd)
{
    struct stat status;
    expect_call(fstat(segment_fd, &status) == 0);
    return (uint64_t)status.st_blocks * 512;
}

/* Large blocks that are written to; then all of them are given back. */
static void write_all(const void *argument)
{
    static unsigned char *written[10];
    (void)argument;
    for (size_t i = 0; i < 10; i++) {
        written[i] = kmem_try_allocate(MIB, "waste/written");
        expect_true(written[i] != NULL);
        memset(written[i], 1, MIB);
    }
    client_pause();
    for (size_t i = 0; i < 10; i++) {
        expect_equal(kmem_try_release((void **)&written[i]), 0);
    }
    client_say(2);
    (void)client_await();
}

static void test_resident_memory_is_what_the_system_says(void)
{
    daemon_start("--size", "64MiB", NULL);
    expect_equal(usage_take().resident_bytes, SEGMENT_BYTES);
    daemon_stop();
    daemon_start("--size", "64MiB", "--commit", "lazy", NULL);
    const int segment_fd = daemon_open_memfd("segment");
    struct client client = client_start(write_all, NULL);
    expect_equal(client_hear(&client), 1);
    const struct usage usage = usage_take();
    expect_equal(usage.resident_bytes, resident_bytes(segment_fd));
    expect_at_least(usage.resident_bytes, 10 * MIB);
    client_tell(&client, 1);
    expect_equal(client_hear(&client), 2);
    expect_soon(usage_take().resident_bytes < 2 * MIB, 5000); /* the owner lives, and idles */
    /* Two questions: more may go back between them. */
    expect_soon(usage_take().resident_bytes == resident_bytes(segment_fd), 5000);
    client_finish(&client);
    expect_call(close(segment_fd) == 0);
    daemon_stop();
}

/* kmemctl says the same in words: of each part the bytes and the share of the segment. */
static void expect_usage_row(const char *text, const char *word, uint64_t num_bytes)
{
    char pattern[128];
    (void)snprintf(pattern, sizeof(pattern), "^  %s +[0-9,]+ +%.1f %%  [a-z]", word,
                   100.0 * (double)num_bytes / SEGMENT_BYTES);
    expect_match(text, pattern);
}

static void test_kmemctl_usage_shows_where_the_bytes_are(void)
{
    daemon_start("--size", "64MiB", NULL);
    struct client mixed = client_start(hold_mixed, NULL);
    expect_equal(client_hear(&mixed), 1);
    const struct usage usage = usage_take();
    const char *text = ctl("usage", "--bytes")->out;
    expect_usage_row(text, "rounding", usage.rounding_bytes);
    expect_usage_row(text, "slabs", usage.slab_bytes);
    expect_usage_row(text, "first page", usage.first_page_bytes);
    expect_usage_row(text, "idle", usage.idle_bytes);
    expect_usage_row(text, "in one piece", usage.largest_extent_bytes);
    expect_usage_row(text, "scattered", usage.scattered_bytes);
    client_tell(&mixed, 1);
    expect_equal(client_hear(&mixed), 2);
    client_finish(&mixed);
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_scattered_memory_is_what_lies_outside_of_the_longest_piece, 30),
    SYSTEM_TEST(test_idle_memory_is_what_another_process_gets, 30),
    SYSTEM_TEST(test_resident_memory_is_what_the_system_says, 30),
    SYSTEM_TEST(test_kmemctl_usage_shows_where_the_bytes_are, 10),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
