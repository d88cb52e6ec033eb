/* SPDX-License-Identifier: MIT */
/*
 * test_backing.c - the memory behind the segment: what is refused, and what is done
 *
 * Reserved huge pages are tried as far as every machine can: by asking for more than there are.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <linux/capability.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"

#define N_BYTES ((size_t)4 << 20)

static const struct daemon_setting as_usual = {.max_fds = 0};

static struct daemon_end try_with(const struct daemon_setting *setting, const char *size,
                                  const char *option)
{
    return daemon_try(setting, OPTIONS("--name", "test", "--size", size, "--socket",
                                       harness_path("test.sock"), option));
}

static void expect_refused(const struct daemon_end *end, int exit_status, const char *pattern)
{
    expect_equal(end->exit_status, exit_status);
    expect_match(end->log, pattern);
    expect_equal(access(harness_path("test.sock"), F_OK), -1);
}

static void test_reserved_pages_that_are_missing_are_counted_and_how_to_reserve_them_said(void)
{
    struct daemon_end end = try_with(&as_usual, "1T", "--hugepages=2M");
    expect_refused(&end, 71,
                   "it needs 524288 reserved pages of 2 MiB, and [0-9]+ are free: [0-9]+ too few; "
                   "reserve them \\(as root: echo [0-9]+ > "
                   "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages, or sysctl "
                   "vm.nr_hugepages\\), or use --hugepages try");
    end = try_with(&as_usual, "1T", "--hugepages=1G");
    expect_refused(&end, 71, "it needs 1024 reserved pages of 1 GiB, and .*hugepages-1048576kB");
}

static void test_what_does_not_fit_together_is_refused_with_64(void)
{
    struct daemon_end end = try_with(&as_usual, "3M", "--hugepages=2M");
    expect_refused(&end, 64, "--hugepages: .*--size is to be a multiple of 2MiB");
    end = daemon_try(&as_usual, OPTIONS("--socket", harness_path("test.sock"), "--lock",
                                        "--hugepages=1G", "--size=1G", "--commit=lazy"));
    expect_refused(&end, 64, "--hugepages=1G takes pages that are reserved already, and --commit");
    expect_match(end.log, "--lock keeps all of the segment in memory, and --commit=lazy");
}

static void test_node_that_is_not_there_is_refused_with_those_that_are(void)
{
    struct daemon_end end = try_with(&as_usual, "16M", "--numa=node 1000");
    expect_refused(&end, 71, "--numa: there is no node 1000 with memory; there is 0");
    end = daemon_try(&as_usual, OPTIONS("--socket", harness_path("test.sock"), "--numa",
                                        "node 1000", "--check"));
    expect_refused(&end, 64, "--numa: there is no node 1000 with memory");
}

/* A container may forbid mbind(), which is said then. */
static void test_nodes_are_chosen_or_it_is_said_what_forbids_that(void)
{
    const struct daemon_end end = try_with(&as_usual, "16M", "--numa=interleave");
    if (end.exit_status == 71) {
        expect_match(end.log, "--numa: the nodes can not be chosen \\(mbind: .*SystemCallFilter");
    } else {
        expect_match(end.out, "ready");
    }
}

/* As one that may not lock more than 64 KiB, whoever runs the tests. */
static void allow_little_locked(void)
{
    const struct rlimit limit = {65536, 65536};
    (void)prctl(PR_CAPBSET_DROP, CAP_IPC_LOCK, 0, 0, 0); /* fails for whom it needs not */
    (void)setrlimit(RLIMIT_MEMLOCK, &limit);             /* lower: it does not fail */
}

static void test_lock_beyond_the_limit_is_refused_with_the_limit(void)
{
    const struct daemon_setting limited = {.prepare = allow_little_locked};
    const struct daemon_end end = try_with(&limited, "16M", "--lock");
    expect_refused(&end, 71,
                   "--lock: 16.0 MiB can not be locked in memory: .*; RLIMIT_MEMLOCK is 64.0 KiB: "
                   "raise it \\(ulimit -l, or LimitMEMLOCK= in a unit\\), or use --lock=off");
}

static unsigned long locked_kib(pid_t pid)
{
    char path[64];
    char line[256];
    unsigned long kib = 0;
    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    expect_call(file != NULL);
    while (fgets(line, sizeof(line), file)) {
        if (strncmp(line, "VmLck:", 6) == 0) {
            kib = strtoul(line + 6, NULL, 10);
        }
    }
    (void)fclose(file);
    return kib;
}

static void allow_all_locked(void)
{
    const struct rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    (void)setrlimit(RLIMIT_MEMLOCK, &limit); /* root's; another user has 8 MiB, and needs 4 */
}

static void test_lock_locks_the_segment_in_the_keeper(void)
{
    daemon_start_as(&(struct daemon_setting){.prepare = allow_all_locked},
                    OPTIONS("--size", "4MiB", "--lock"));
    expect_equal(locked_kib(daemon_pid()), 4096);
    daemon_stop();
}

/* ------------------------------------------------------------------------------ clients ------ */

static void write_and_release(const void *argument)
{
    char *block = kmem_allocate(N_BYTES, "written");
    (void)argument;
    memset(block, 0xee, N_BYTES);
    kmem_release(&block);
}

static void expect_zeros(const void *argument)
{
    const char *block = kmem_allocate(N_BYTES, "read");
    (void)argument;
    for (size_t i = 0; i < N_BYTES; i++) {
        expect_equal(block[i], 0);
    }
}

static void test_without_scrub_no_client_gets_what_another_one_wrote(void)
{
    daemon_start("--scrub=off", "--hugepages=no", NULL);
    for (int i = 0; i < 3; i++) {
        client_run(write_and_release, NULL);
        client_run(expect_zeros, NULL);
    }
    daemon_stop();
}

static bool is_left_out_of_cores(const char *block)
{
    char line[512];
    bool is_inside = false;
    bool is_left_out = false;
    FILE *smaps = fopen("/proc/self/smaps", "re");
    expect_call(smaps != NULL);
    while (fgets(line, sizeof(line), smaps)) {
        char *end;
        const unsigned long from = strtoul(line, &end, 16);
        if (end > line && *end == '-') {
            const unsigned long to = strtoul(end + 1, NULL, 16);
            is_inside = (uintptr_t)block >= from && (uintptr_t)block < to;
        } else if (is_inside && strncmp(line, "VmFlags:", 8) == 0) {
            is_left_out = strstr(line, " dd") != NULL;
        }
    }
    (void)fclose(smaps);
    return is_left_out;
}

static void say_whether_left_out(const void *argument)
{
    const char *core = argument;
    expect_call(core ? setenv("KMEM_CORE", core, 1) == 0 : unsetenv("KMEM_CORE") == 0);
    const char *block = kmem_allocate(N_BYTES, "dumped");
    client_say(is_left_out_of_cores(block));
}

static uint64_t left_out(const char *core)
{
    struct client client = client_start(say_whether_left_out, core);
    const uint64_t is_left_out = client_hear(&client);
    client_end(&client);
    return is_left_out;
}

static void test_dontdump_is_the_daemons_wish_and_the_clients_word(void)
{
    daemon_start("--dontdump=off", NULL);
    expect_equal(left_out(NULL), 0);
    expect_equal(left_out("none"), 1);
    daemon_stop();
    daemon_start("--dontdump", NULL);
    expect_equal(left_out(NULL), 1);
    expect_equal(left_out("blocks"), 0);
    expect_equal(left_out("own"), 0);
    expect_equal(left_out("none"), 1);
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_reserved_pages_that_are_missing_are_counted_and_how_to_reserve_them_said, 10),
    SYSTEM_TEST(test_what_does_not_fit_together_is_refused_with_64, 10),
    SYSTEM_TEST(test_node_that_is_not_there_is_refused_with_those_that_are, 10),
    SYSTEM_TEST(test_nodes_are_chosen_or_it_is_said_what_forbids_that, 10),
    SYSTEM_TEST(test_lock_beyond_the_limit_is_refused_with_the_limit, 10),
    SYSTEM_TEST(test_lock_locks_the_segment_in_the_keeper, 10),
    SYSTEM_TEST(test_without_scrub_no_client_gets_what_another_one_wrote, 10),
    SYSTEM_TEST(test_dontdump_is_the_daemons_wish_and_the_clients_word, 10),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
