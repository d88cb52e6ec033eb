/* SPDX-License-Identifier: MIT */
/*
 * test_locked.c - programs that lock all their memory: mlockall(MCL_FUTURE)
 */
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define SEGMENT_BYTES ((uint64_t)64 << 20)
#define BLOCK_BYTES ((size_t)1 << 20)

/* A line of /proc/self/status, in bytes. */
static uint64_t status_of_self(const char *key)
{
    char line[256];
    uint64_t kib = 0;
    FILE *const file = fopen("/proc/self/status", "re");
    expect_call(file != NULL);
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, key, strlen(key)) == 0) {
            kib = strtoull(line + strlen(key), NULL, 10);
        }
    }
    (void)fclose(file);
    return kib << 10;
}

/* How many bytes of the mapping around an address the kernel has locked. */
static uint64_t locked_at(const void *address)
{
    char line[512];
    uint64_t kib = 0;
    bool is_here = false;
    FILE *const file = fopen("/proc/self/smaps", "re");
    expect_call(file != NULL);
    while (fgets(line, sizeof(line), file) != NULL) {
        char *end;
        const uint64_t begin = strtoull(line, &end, 16);
        if (*end == '-') {
            is_here =
                (uintptr_t)address >= begin && (uintptr_t)address < strtoull(end + 1, NULL, 16);
        } else if (is_here && strncmp(line, "Locked:", 7) == 0) {
            kib = strtoull(line + 7, NULL, 10);
        }
    }
    (void)fclose(file);
    return kib << 10;
}

/* Leased blocks of two sizes, and a direct one. Return: one of them. */
static void *use(void)
{
    void *block = NULL;
    for (int i = 0; i < 40; i++) {
        block = kmem_try_allocate(100, "small");
        expect_true(block != NULL);
    }
    for (int i = 0; i < 8; i++) {
        block = kmem_try_allocate(BLOCK_BYTES, "large");
        expect_true(block != NULL);
        memset(block, 0xa5, BLOCK_BYTES);
    }
    return block;
}

static void use_and_stay(const void *argument)
{
    const bool locks = argument != NULL;
    if (locks) {
        expect_call(mlockall(MCL_FUTURE) == 0);
    }
    const uint64_t before = status_of_self("VmRSS:");
    const void *const block = use();
    client_say(status_of_self("VmRSS:") - before);
    client_say(locked_at(block));
    (void)client_await();
}

static void test_a_ledger_stays_sparse_in_a_program_that_locks_its_memory(void)
{
    static const bool locks = true;
    daemon_start("--size", "64MiB", "--hugepages=no", NULL); /* which are mapped whole */
    struct client plain = client_start(use_and_stay, NULL);
    const uint64_t plain_rss = client_hear(&plain);
    expect_equal(client_hear(&plain), 0);
    const uint64_t plain_ledger = daemon_ledger_bytes();
    client_finish(&plain);
    expect_soon(daemon_ledger_bytes() == 0, 2000);

    struct client locked = client_start(use_and_stay, &locks);
    const uint64_t locked_rss = client_hear(&locked);
    const uint64_t locked_bytes = client_hear(&locked);
    const uint64_t locked_ledger = daemon_ledger_bytes();
    harness_note("ledger %llu and %llu KiB; resident %llu and %llu KiB, of which %llu KiB locked",
                 (unsigned long long)plain_ledger >> 10, (unsigned long long)locked_ledger >> 10,
                 (unsigned long long)plain_rss >> 10, (unsigned long long)locked_rss >> 10,
                 (unsigned long long)locked_bytes >> 10);
    expect_at_most(locked_ledger, plain_ledger + ((uint64_t)1 << 20)); /* of 87 MiB */
    expect_at_most(locked_rss, plain_rss + SEGMENT_BYTES / 16);
    expect_at_least(locked_bytes, BLOCK_BYTES); /* what is in use is locked */
    client_finish(&locked);
    daemon_stop_balanced();
}

/* Without a guard the segment is mapped accessibly, and still not populated. */
static void test_a_segment_without_a_guard_is_not_populated(void)
{
    static const bool locks = true;
    daemon_start("--size", "64MiB", NULL);
    expect_call(setenv("KMEM_GUARD", "off", 1) == 0);
    struct client locked = client_start(use_and_stay, &locks);
    expect_at_most(client_hear(&locked), SEGMENT_BYTES / 2);
    expect_at_least(client_hear(&locked), BLOCK_BYTES);
    client_finish(&locked);
    daemon_stop_balanced();
}

/* Of root, too. */
static void drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    expect_call(syscall(SYS_capset, &header, none) == 0);
}

static void ask_for_more_than_may_be_locked(const void *argument)
{
    (void)argument;
    const struct rlimit limit = {8 << 20, 8 << 20};
    expect_call(setrlimit(RLIMIT_MEMLOCK, &limit) == 0);
    drop_capabilities();
    expect_call(mlockall(MCL_FUTURE) == 0);
    expect_true(kmem_try_allocate(100, "locked out") == NULL);
    expect_equal(errno, ENOMEM);
    expect_match(kmem_last_error(), "the segment \\(1.0 GiB\\): this program has called "
                                    "mlockall\\(MCL_FUTURE\\), and its RLIMIT_MEMLOCK does not");
    expect_call(munlockall() == 0);
    expect_true(kmem_try_allocate(100, "let in") != NULL);
}

static void test_a_program_that_may_lock_no_more_is_told_so(void)
{
    daemon_start("--size", "64MiB", NULL);
    client_run(ask_for_more_than_may_be_locked, NULL);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_a_ledger_stays_sparse_in_a_program_that_locks_its_memory, 20),
    SYSTEM_TEST(test_a_segment_without_a_guard_is_not_populated, 20),
    SYSTEM_TEST(test_a_program_that_may_lock_no_more_is_told_so, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
