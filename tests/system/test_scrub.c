/* SPDX-License-Identifier: MIT */
/*
 * What a process wrote does not outlast it: pages that came back are zero again soon, or not there.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "proto/limits.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define BLOCK_BYTES ((size_t)1 << 20)
#define N_BLOCKS 12

/* Direct blocks at first, leased ones later. */
static void fill(const void *argument)
{
    (void)argument;
    for (unsigned int i = 0; i < N_BLOCKS; i++) {
        void *const block = kmem_try_allocate(BLOCK_BYTES, "filled");
        expect_true(block != NULL);
        (void)memset(block, 0xa5, BLOCK_BYTES);
    }
    client_say(1);
    (void)client_await();
}

static const unsigned char *map_segment(size_t *ret_num_bytes)
{
    struct stat status;
    const int fd = daemon_open_segment();
    expect_call(fstat(fd, &status) == 0);
    *ret_num_bytes = (size_t)status.st_size;
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
    struct client client = client_start(fill, NULL);
    client_hear(&client);
    expect_equal(count_not_zero(segment, num_bytes), N_BLOCKS * BLOCK_BYTES);
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
    struct client client = client_start(fill, NULL);
    client_hear(&client);
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
    struct client stays = client_start(fill, NULL);
    client_hear(&stays);
    for (unsigned int i = 0; i < 5; i++) {
        struct client goes = client_start(fill, NULL);
        client_hear(&goes);
        client_kill(&goes);
        expect_soon(count_not_zero(segment, num_bytes) == N_BLOCKS * BLOCK_BYTES, 5000);
    }
    client_tell(&stays, 1);
    client_end(&stays);
    expect_balanced();
    (void)munmap((void *)(uintptr_t)segment, num_bytes);
    daemon_stop();
}

static uint64_t memory_of_segment(void)
{
    struct stat status;
    const int fd = daemon_open_segment();
    expect_call(fstat(fd, &status) == 0);
    (void)close(fd);
    return (uint64_t)status.st_blocks * 512;
}

static void test_a_lazy_segment_gives_its_memory_back(void)
{
    daemon_start("--commit", "lazy", NULL);
    const uint64_t before = memory_of_segment();
    struct client client = client_start(fill, NULL);
    client_hear(&client);
    expect_at_least(memory_of_segment(), before + N_BLOCKS * BLOCK_BYTES);
    client_kill(&client);
    expect_soon(memory_of_segment() <= before, 5000);
    expect_balanced();
    daemon_stop();
}

static void test_an_eager_segment_keeps_its_memory(void)
{
    daemon_start(NULL, NULL);
    const uint64_t before = memory_of_segment();
    struct client client = client_start(fill, NULL);
    client_hear(&client);
    client_kill(&client);
    harness_sleep_ms(500); /* longer than it takes to clear */
    expect_equal(memory_of_segment(), before);
    expect_balanced();
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_what_a_dead_process_wrote_is_cleared, 20),
    SYSTEM_TEST(test_what_a_dead_process_wrote_is_cleared_by_the_next_server, 30),
    SYSTEM_TEST(test_what_a_living_process_wrote_stays, 30),
    SYSTEM_TEST(test_a_lazy_segment_gives_its_memory_back, 20),
    SYSTEM_TEST(test_an_eager_segment_keeps_its_memory, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
