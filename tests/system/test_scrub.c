/* SPDX-License-Identifier: MIT */
/*
 * What a process wrote does not outlast it: pages that came back are zero again soon, or not there.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "proto/limits.h"
#include "tests/system/blocks.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/inode_lock.h"
#include "tests/system/usage.h"

static const unsigned char *map_segment(size_t *ret_num_bytes)
{
    const int fd = daemon_open_memfd("segment");
    /* Not what it may grow to: of a hole that is read the system makes a page. */
    *ret_num_bytes = usage_take().segment_bytes;
    const unsigned char *const segment = mmap(NULL, *ret_num_bytes, PROT_READ, MAP_SHARED, fd, 0);
    expect_call(segment != MAP_FAILED);
    (void)close(fd);
    return segment;
}

/* The first page is the segment's own. */
static size_t count_not_zero(const unsigned char *segment, size_t num_bytes)
{
    size_t n_not_zero = 0;
    for (size_t at = PAGE_BYTES; at < num_bytes; at++) {
        n_not_zero += segment[at] != 0;
    }
    return n_not_zero;
}

static void test_what_a_dead_process_wrote_is_cleared(void)
{
    size_t num_bytes;
    daemon_start(NULL, NULL);
    const unsigned char *const segment = map_segment(&num_bytes);
    struct client client = client_begin(fill, NULL);
    expect_equal(count_not_zero(segment, num_bytes), N_DIRTY * DIRTY_BYTES);
    client_kill(&client);
    expect_soon(count_not_zero(segment, num_bytes) == 0, 5000);
    expect_balanced();
    (void)munmap((void *)(uintptr_t)segment, num_bytes);
    daemon_stop();
}

/* The server ends before it has cleared anything; the next knows what is to be cleared. */
static void assert_cleared_after_a_restart(void (*end_client)(struct client *client))
{
    size_t num_bytes;
    daemon_start(NULL, NULL);
    const unsigned char *const segment = map_segment(&num_bytes);
    struct client client = client_begin(fill, NULL);
    end_client(&client);
    daemon_kill_server();
    expect_soon(count_not_zero(segment, num_bytes) == 0, 5000);
    expect_balanced();
    (void)munmap((void *)(uintptr_t)segment, num_bytes);
    daemon_stop();
}

static void kill_only(struct client *client)
{
    client_kill(client);
}

static void kill_and_reap(struct client *client)
{
    client_kill(client);
    expect_soon(usage_take().clients == 0, 1000);
}

static void test_what_a_dead_process_wrote_is_cleared_by_the_next_server(void)
{
    assert_cleared_after_a_restart(kill_only);
    assert_cleared_after_a_restart(kill_and_reap);
}

/* Somebody else's pages are not touched, however often others come and go. */
static void test_what_a_living_process_wrote_stays(void)
{
    size_t num_bytes;
    daemon_start("--size", "64MiB", NULL);
    const unsigned char *const segment = map_segment(&num_bytes);
    struct client stays = client_begin(fill, NULL);
    for (unsigned int i = 0; i < 5; i++) {
        struct client goes = client_begin(fill, NULL);
        client_kill(&goes);
        expect_soon(count_not_zero(segment, num_bytes) == N_DIRTY * DIRTY_BYTES, 5000);
    }
    client_finish(&stays);
    expect_balanced();
    (void)munmap((void *)(uintptr_t)segment, num_bytes);
    daemon_stop();
}

static uint64_t memory_of_segment(void)
{
    struct stat status;
    const int fd = daemon_open_memfd("segment");
    expect_call(fstat(fd, &status) == 0);
    (void)close(fd);
    return (uint64_t)status.st_blocks * 512;
}

static void test_a_lazy_segment_gives_its_memory_back(void)
{
    daemon_start("--commit", "lazy", NULL);
    const uint64_t before = memory_of_segment();
    struct client client = client_begin(fill, NULL);
    expect_at_least(memory_of_segment(), before + N_DIRTY * DIRTY_BYTES);
    client_kill(&client);
    expect_soon(memory_of_segment() <= before, 5000);
    daemon_stop_balanced();
}

/* Read, not mapped: of a hole that is looked at through a mapping the system makes a page. */
static bool segment_is_zero(void)
{
    static unsigned char bytes[DIRTY_BYTES];
    const uint64_t segment_bytes = usage_take().segment_bytes;
    const int fd = daemon_open_memfd("segment");
    size_t n_not_zero = 0;
    for (uint64_t from = PAGE_BYTES; from < segment_bytes;) {
        const ssize_t n = pread(fd, bytes, sizeof(bytes), (off_t)from);
        expect_call(n > 0);
        for (ssize_t at = 0; at < n && from + (uint64_t)at < segment_bytes; at++) {
            n_not_zero += bytes[at] != 0;
        }
        from += (uint64_t)n;
    }
    (void)close(fd);
    return n_not_zero == 0;
}

static void test_an_eager_segment_keeps_its_memory(void)
{
    daemon_start(NULL, NULL);
    const uint64_t before = memory_of_segment();
    struct client client = client_begin(fill, NULL);
    client_kill(&client);
    expect_soon(segment_is_zero(), 5000);
    expect_equal(memory_of_segment(), before);
    daemon_stop_balanced();
}

static void come_and_stay_not(const void *argument)
{
    (void)argument;
    expect_true(kmem_try_allocate(DIRTY_BYTES, "served") != NULL);
}

static unsigned int count_mappings(pid_t pid, const char *name)
{
    char line[512];
    char path[64];
    unsigned int n_mappings = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid);
    FILE *const maps = fopen(path, "re");
    expect_call(maps != NULL);
    while (fgets(line, sizeof(line), maps) != NULL) {
        n_mappings += strstr(line, name) != NULL;
    }
    (void)fclose(maps);
    return n_mappings;
}

/* Not while it is made of huge pages and not while it is cleared: it is no memory of theirs. */
static void test_neither_keeper_nor_server_maps_a_byte_of_the_segment(void)
{
    daemon_start("--size", "64MiB", NULL);
    for (int i = 0; i < 200; i++) {
        if (i == 50) {
            client_run(come_and_stay_not, NULL);
        }
        expect_equal(count_mappings(daemon_pid(), ":segment"), 0);
        expect_equal(count_mappings(daemon_server_pid(), ":segment"), 0);
        expect_at_least(count_mappings(daemon_server_pid(), ":state"), 1);
        harness_sleep_ms(1);
    }
    daemon_stop_balanced();
}

/* ---------------------------------------------------------- a member that holds the lock ------ */

#define N_BLOCKS_MAX 16
#define LEFT_BLOCKS 10 /* of 16 MiB, without what the scrubber has in hand */

/* All there is; every byte is its own until it is told to end. */
static void take_all(const void *argument)
{
    unsigned char *blocks[N_BLOCKS_MAX];
    unsigned int n_blocks = 0;
    (void)argument;
    void *block = kmem_try_allocate(DIRTY_BYTES, "all");
    while (block != NULL && n_blocks < N_BLOCKS_MAX) {
        blocks[n_blocks++] = block;
        for (size_t at = 0; at < DIRTY_BYTES; at++) {
            expect_equal(((unsigned char *)block)[at], 0);
        }
        (void)memset(block, 0x5a, DIRTY_BYTES);
        block = kmem_try_allocate(DIRTY_BYTES, "all");
    }
    client_say(n_blocks);
    while (client_await() != 0) {
        for (unsigned int i = 0; i < n_blocks; i++) {
            for (size_t at = 0; at < DIRTY_BYTES; at++) {
                expect_equal(blocks[i][at], 0x5a);
            }
        }
        client_say(n_blocks);
    }
}

/* More than is left when one piece is missing. */
static void take_everything(const void *argument)
{
    (void)argument;
    /* A piece that was cleared is not free yet, and a request waits half a second for it. */
    expect_soon(kmem_try_allocate(15 * DIRTY_BYTES, "everything") != NULL, 5000);
}

static void expect_intact(const struct client *client)
{
    client_tell(client, 1);
    expect_at_least(client_hear(client), 1);
}

static void come_and_go(void)
{
    struct client goes = client_begin(fill, NULL);
    client_kill(&goes);
}

/* Clearing takes no lock that a member can hold. */
static void test_a_member_that_holds_the_lock_does_not_stop_clearing(void)
{
    size_t num_bytes;
    daemon_start(NULL, NULL);
    const unsigned char *const segment = map_segment(&num_bytes);
    struct inode_lock lock = inode_lock_take();
    come_and_go();
    if (lock.stopped == 0) { /* else there is no clearing */
        expect_soon(count_not_zero(segment, num_bytes) == 0, 10000);
    }
    inode_lock_drop(&lock);
    expect_soon(count_not_zero(segment, num_bytes) == 0, 10000);
    (void)munmap((void *)(uintptr_t)segment, num_bytes);
    daemon_stop_balanced();
}

/*
 * The scrubber waits for the lock, with pages in hand. Nobody else waits; and what it does when it
 * gets the lock, long after its server died, destroys nothing of those who have got pages since.
 */
static void test_a_member_that_holds_the_lock_stops_nobody_in_a_lazy_segment(void)
{
    size_t num_bytes;
    daemon_start("--commit", "lazy", NULL);
    const unsigned char *const segment = map_segment(&num_bytes);
    struct inode_lock lock = inode_lock_take();
    come_and_go();
    const pid_t scrubber = inode_lock_await(&lock);
    struct client owner = client_start(take_all, NULL);
    const uint64_t n_blocks = client_hear(&owner);
    expect_at_least(n_blocks, LEFT_BLOCKS);
    daemon_kill_server();
    expect_intact(&owner);
    if (lock.stopped == 0) {
        expect_true(!inode_lock_ended(scrubber)); /* not even SIGKILL ends it now */
    }
    expect_true(usage_take().free_bytes >= DIRTY_BYTES); /* it has that still in hand */
    inode_lock_drop(&lock);
    expect_soon(inode_lock_ended(scrubber), 5000);
    expect_intact(&owner);
    client_tell(&owner, 0);
    client_end(&owner);
    expect_soon(count_not_zero(segment, num_bytes) == 0, 10000);
    client_run(take_everything, NULL);
    expect_balanced();
    (void)munmap((void *)(uintptr_t)segment, num_bytes);
    daemon_stop();
}

static void test_a_daemon_ends_while_a_member_holds_the_lock(void)
{
    daemon_start("--commit", "lazy", NULL);
    struct inode_lock lock = inode_lock_take();
    come_and_go();
    (void)inode_lock_await(&lock);
    daemon_stop(); /* wants it within five seconds */
    inode_lock_drop(&lock);
}

static void test_a_daemon_is_upgraded_while_a_member_holds_the_lock(void)
{
    daemon_start("--commit", "lazy", NULL);
    struct inode_lock lock = inode_lock_take();
    come_and_go();
    (void)inode_lock_await(&lock);
    const pid_t server = daemon_server_pid();
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
    expect_soon(daemon_server_pid() != 0 && daemon_server_pid() != server, 10000);
    client_run(come_and_stay_not, NULL);
    inode_lock_drop(&lock);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_what_a_dead_process_wrote_is_cleared, 20),
    SYSTEM_TEST(test_what_a_dead_process_wrote_is_cleared_by_the_next_server, 30),
    SYSTEM_TEST(test_what_a_living_process_wrote_stays, 30),
    SYSTEM_TEST(test_a_lazy_segment_gives_its_memory_back, 20),
    SYSTEM_TEST(test_an_eager_segment_keeps_its_memory, 20),
    SYSTEM_TEST(test_neither_keeper_nor_server_maps_a_byte_of_the_segment, 20),
    SYSTEM_TEST(test_a_member_that_holds_the_lock_does_not_stop_clearing, 60),
    SYSTEM_TEST(test_a_member_that_holds_the_lock_stops_nobody_in_a_lazy_segment, 60),
    SYSTEM_TEST(test_a_daemon_ends_while_a_member_holds_the_lock, 30),
    SYSTEM_TEST(test_a_daemon_is_upgraded_while_a_member_holds_the_lock, 30),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
