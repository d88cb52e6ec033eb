/* SPDX-License-Identifier: MIT */
/*
 * test_guard.c - a wild pointer hits its culprit, and what is meant to be shared stays shared
 *
 * The guard closes whole granules, of 2 MiB where the segment is made of such pages. So what is
 * aimed at there is megabytes away from anything that the culprit has. In a lazy segment granules
 * are pages of 16 KiB, and the next one is far enough.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "client/map/guard.h"
#include "proto/limits.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define MIB ((size_t)1024 * 1024)
#define BLOCK_BYTES (8 * MIB)
/* In the middle of the block, and granules away from both of its ends. */
#define TARGET_AT (4 * MIB)

static void hold_a_pattern(const void *argument)
{
    const unsigned char want = *(const unsigned char *)argument;
    unsigned char *block = kmem_try_allocate(BLOCK_BYTES, "pattern");
    expect_call(block != NULL);
    memset(block, 'p', BLOCK_BYTES);
    client_say(kmem_offset_of(block));
    client_await();
    expect_equal(block[TARGET_AT], want);
    block[TARGET_AT] = 'p';
    for (size_t i = 0; i < BLOCK_BYTES; i++) {
        expect_equal(block[i], 'p');
    }
}

struct aim {
    const char *guard; /* $KMEM_GUARD; NULL: not set */
    uint64_t offset;
};

static void write_where_it_should_not(const void *argument)
{
    const struct aim *const aim = argument;
    const struct rlimit no_core = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would end it otherwise */
    if (aim->guard != NULL) {
        (void)setenv("KMEM_GUARD", aim->guard, 1);
    }
    unsigned char *own = kmem_try_allocate(100, "own");
    expect_call(own != NULL);
    volatile unsigned char *const wild = own - kmem_offset_of(own) + aim->offset;
    client_say(1);
    *wild = 'X';
    client_say(2);
}

static void aim_at_a_pattern(const char *guard, unsigned char want, int end_signal)
{
    struct aim aim = {.guard = guard};
    daemon_start("--size", "64MiB", NULL);
    struct client holder = client_start(hold_a_pattern, &want);
    aim.offset = client_hear(&holder) + TARGET_AT;
    struct client culprit = client_begin(write_where_it_should_not, &aim);
    if (end_signal != 0) {
        client_end_by(&culprit, end_signal);
    } else {
        client_end(&culprit);
    }
    client_finish(&holder);
    daemon_stop_balanced();
}

static void test_wild_write_into_anothers_block_ends_the_writer_only(void)
{
    aim_at_a_pattern(NULL, 'p', SIGSEGV);
    aim_at_a_pattern("on", 'p', SIGSEGV);
}

static void test_wild_write_without_the_guard_is_not_noticed(void)
{
    aim_at_a_pattern("off", 'X', 0);
}

/* Says where its own page is; then writes behind it. */
static void write_behind_its_own_page(const void *argument)
{
    (void)argument;
    const struct rlimit no_core = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would end it otherwise */
    volatile unsigned char *const own = kmem_try_allocate(PAGE_BYTES, "own");
    expect_call(own != NULL);
    own[PAGE_BYTES - 1] = 'o';
    client_say(1);
    own[PAGE_BYTES] = 'X';
    client_say(2);
}

static void test_wild_write_to_the_next_page_of_a_lazy_segment_ends_the_writer(void)
{
    daemon_start("--commit", "lazy", NULL);
    struct client culprit = client_begin(write_behind_its_own_page, NULL);
    client_end_by(&culprit, SIGSEGV);
    daemon_stop_balanced();
}

static void test_wild_write_where_nobody_is_ends_the_writer(void)
{
    const struct aim aim = {.offset = 60 * MIB};
    daemon_start("--size", "64MiB", NULL);
    struct client culprit = client_begin(write_where_it_should_not, &aim);
    client_end_by(&culprit, SIGSEGV);
    daemon_stop_balanced();
}

static void set_nonsense(const void *argument)
{
    (void)argument;
    (void)setenv("KMEM_GUARD", "perhaps", 1);
    expect_true(kmem_try_allocate(44, "guarded?") == NULL);
    expect_equal(errno, EINVAL);
    expect_text(kmem_last_error(), "kmem_try_allocate: $KMEM_GUARD is \"perhaps\", neither \"on\" "
                                   "nor \"off\"");
    (void)setenv("KMEM_GUARD", "on", 1);
    expect_call(kmem_try_allocate(44, "guarded") != NULL);
}

static void test_guard_that_is_neither_on_nor_off_is_EINVAL(void)
{
    daemon_start(NULL, NULL);
    client_run(set_nonsense, NULL);
    daemon_stop_balanced();
}

#define N_INHERITED 200

/* Reads what the parent wrote, and answers; first without a call of the library, then with. */
static int be_the_child(unsigned char *const *blocks, unsigned char *large)
{
    for (size_t i = 0; i < N_INHERITED; i++) {
        if (blocks[i][0] != (unsigned char)i) {
            return 1;
        }
        blocks[i][99] = (unsigned char)(i + 1);
    }
    large[BLOCK_BYTES - 1] = 'c';
    char *own = kmem_try_allocate(100, "the child's own");
    if (own == NULL || blocks[N_INHERITED - 1][0] != N_INHERITED - 1) {
        return 2;
    }
    large[BLOCK_BYTES - 2] = 'd';
    return kmem_try_release((void **)&own) == 0 ? 0 : 3;
}

/* The first 16 are direct, the others are leased. */
static void be_the_parent(const void *argument)
{
    (void)argument;
    unsigned char *blocks[N_INHERITED];
    unsigned char *large = kmem_try_allocate(BLOCK_BYTES, "inherited");
    expect_call(large != NULL);
    for (size_t i = 0; i < N_INHERITED; i++) {
        blocks[i] = kmem_try_allocate(100, "inherited");
        expect_call(blocks[i] != NULL);
        blocks[i][0] = (unsigned char)i;
    }
    const pid_t child = fork();
    if (child == 0) {
        _exit(be_the_child(blocks, large));
    }
    int status = -1;
    expect_equal(waitpid(child, &status, 0), child);
    expect_equal(status, 0);
    expect_equal(large[BLOCK_BYTES - 1], 'c');
    expect_equal(large[BLOCK_BYTES - 2], 'd');
    for (size_t i = 0; i < N_INHERITED; i++) {
        expect_equal(blocks[i][99], (unsigned char)(i + 1));
        expect_equal(kmem_try_release((void **)&blocks[i]), 0);
    }
}

static void test_forked_child_reads_and_writes_its_parents_blocks(void)
{
    daemon_start("--size", "64MiB", NULL);
    client_run(be_the_parent, NULL);
    daemon_stop_balanced();
}

/* Direct, so that it lies in nothing that is open already; from then on the child is on its own. */
static void touch_what_the_parent_allocates_later(const void *argument)
{
    (void)argument;
    int line[2];
    unsigned char *later = NULL;
    expect_call(kmem_try_allocate(BLOCK_BYTES, "before") != NULL);
    expect_call(pipe(line) == 0);
    const pid_t child = fork();
    if (child == 0) {
        (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer has a handler of its own */
        if (read(line[0], (void *)&later, sizeof(later)) == sizeof(later)) {
            later[BLOCK_BYTES / 2] = 'c';
        }
        _exit(later[BLOCK_BYTES / 2] == 'c' ? 0 : 1);
    }
    later = kmem_try_allocate(BLOCK_BYTES, "after");
    expect_call(later != NULL);
    expect_equal(write(line[1], (const void *)&later, sizeof(later)), sizeof(later));
    int status = -1;
    expect_equal(waitpid(child, &status, 0), child);
    expect_equal(later[BLOCK_BYTES / 2], 0);
    expect_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    (void)close(line[0]);
    (void)close(line[1]);
}

static void test_forked_child_that_touches_what_its_parent_allocates_later_ends_by_SIGSEGV(void)
{
    daemon_start("--size", "64MiB", NULL);
    client_run(touch_what_the_parent_allocates_later, NULL);
    daemon_stop_balanced();
}

static long minor_faults(void)
{
    struct rusage usage;
    expect_call(getrusage(RUSAGE_SELF, &usage) == 0);
    return usage.ru_minflt;
}

/* 100 large blocks, once such are leased: what comes with a grant is mapped in one call. */
static void touch_what_is_leased(const void *argument)
{
    static unsigned char *blocks[100];
    (void)argument;
    long n_faults = 0;
    for (size_t i = 0; i < 100; i++) {
        blocks[i] = kmem_try_allocate(16 * PAGE_BYTES, "touched");
        expect_call(blocks[i] != NULL);
        const long n_before = minor_faults();
        for (size_t at = 0; at < 16 * PAGE_BYTES && i >= 16; at += 4096) {
            blocks[i][at] = 't';
        }
        n_faults += minor_faults() - n_before;
    }
    harness_note("%ld faults", n_faults);
    /* Of 5,376 pages of the CPU; AddressSanitizer touches an eighth as much of its own for them. */
    expect_true(n_faults < (HARNESS_SANITIZED ? 1000 : 5));
}

static void test_populated_lease_is_touched_without_a_fault(void)
{
    daemon_start("--size", "64MiB", "--commit", "lazy", NULL);
    client_run(touch_what_is_leased, NULL);
    daemon_stop_balanced();
}

/* Whether the mapping of an address is one of those that a core dump leaves out ("dd"). */
static bool is_left_out(const void *address)
{
    char line[512];
    bool is_inside = false;
    bool is_left_out = false;
    FILE *smaps = fopen("/proc/self/smaps", "r");
    expect_call(smaps != NULL);
    while (fgets(line, sizeof(line), smaps) != NULL) {
        char *behind = NULL;
        const uintptr_t from = strtoull(line, &behind, 16);
        if (*behind == '-') {
            const uintptr_t to = strtoull(behind + 1, NULL, 16);
            is_inside = (uintptr_t)address >= from && (uintptr_t)address < to;
        } else if (is_inside && strncmp(line, "VmFlags:", 8) == 0) {
            is_left_out = strstr(line, " dd") != NULL;
        }
    }
    (void)fclose(smaps);
    return is_left_out;
}

static void dump_a_block(const void *argument)
{
    (void)argument;
    unsigned char *block = kmem_try_allocate(BLOCK_BYTES, "dumped");
    expect_call(block != NULL);
    expect_true(is_left_out(block));
    expect_true(is_left_out(block + BLOCK_BYTES - 1));
    unsigned char *page = block + (-(uintptr_t)block & 4095);
    expect_call(madvise(page, 4096, MADV_DODUMP) == 0);
    expect_true(!is_left_out(page));
    expect_true(is_left_out(page + 4096));
}

static void test_blocks_are_left_out_of_core_dumps_unless_the_program_asks(void)
{
    daemon_start("--size", "64MiB", NULL);
    client_run(dump_a_block, NULL);
    daemon_stop_balanced();
}

/* ------------------------------------------------- where free pages are in single pieces ------ */

#define N_SEGMENT_PAGES 4096 /* 64 MiB */

/* The library's calls arrive here, the C library's own do not. */
static unsigned n_protects;
__attribute__((visibility("default"))) int mprotect(void *addr, size_t len, int prot)
{
    n_protects++;
    return (int)syscall(SYS_mprotect, addr, len, prot);
}

/* Takes all there is, page by page, and gives every second back. */
static void leave_every_second_page(const void *argument)
{
    static void *blocks[N_SEGMENT_PAGES];
    uint32_t n = 0;
    (void)argument;
    while ((blocks[n] = kmem_try_allocate(PAGE_BYTES, "scattered")) != NULL) {
        n++;
    }
    expect_true(n > N_SEGMENT_PAGES * 9 / 10);
    for (uint32_t i = 0; i < n; i += 2) {
        expect_equal(kmem_try_release(&blocks[i]), 0);
    }
    client_pause();
}

/* Mappings of the segment, which is a file without a name of its own. */
static uint32_t count_mappings(void)
{
    char line[512];
    uint32_t n_mappings = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    expect_call(maps != NULL);
    while (fgets(line, sizeof(line), maps) != NULL) {
        n_mappings += strstr(line, ":segment (deleted)") != NULL;
    }
    (void)fclose(maps);
    return n_mappings;
}

static void *do_nothing(void *argument)
{
    return argument;
}

/* Each of the blocks is a lease of one page, once the first are there. */
static void take_scattered_pages(const void *argument)
{
    const uint32_t n_blocks = N_SEGMENT_PAGES / 3;
    (void)argument;
    const struct rlimit no_core = {0, 0};
    unsigned most = 0;
    unsigned char *block = NULL;
    pthread_t thread;
    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would end it otherwise */
    for (uint32_t i = 0; i < n_blocks; i++) {
        const unsigned n_before = n_protects;
        block = kmem_try_allocate(PAGE_BYTES, "single");
        expect_call(block != NULL);
        block[0] = 's';
        most = n_protects - n_before > most ? n_protects - n_before : most;
    }
    harness_note("%u calls for %" PRIu32 " leases, %u at most for one; %" PRIu32 " mappings",
                 n_protects, n_blocks, most, count_mappings());
    expect_true(n_protects > GUARD_PIECES_MAX);
    expect_true(most <= GUARD_SWEEP_CALLS_MAX + 2);
    expect_true(count_mappings() > GUARD_PIECES_MAX);
    expect_true(count_mappings() <= 2 * GUARD_PIECES_MAX + 1);
    expect_equal(pthread_create(&thread, NULL, do_nothing, NULL), 0);
    expect_equal(pthread_join(thread, NULL), 0);
    client_say(1);
    *(block - kmem_offset_of(block)) = 'X'; /* the header, before every page of ours */
    client_say(2);
}

static void test_leases_of_single_pages_take_bounded_calls_and_mappings(void)
{
    daemon_start("--size", "64MiB", "--commit", "lazy", NULL);
    struct client holder = client_begin(leave_every_second_page, NULL);
    struct client taker = client_start(take_scattered_pages, NULL);
    expect_equal(client_hear(&taker), 1);
    client_end_by(&taker, SIGSEGV);
    client_finish(&holder);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_leases_of_single_pages_take_bounded_calls_and_mappings, 20),
    SYSTEM_TEST(test_guard_that_is_neither_on_nor_off_is_EINVAL, 10),
    SYSTEM_TEST(test_blocks_are_left_out_of_core_dumps_unless_the_program_asks, 10),
    SYSTEM_TEST(test_wild_write_where_nobody_is_ends_the_writer, 10),
    SYSTEM_TEST(test_wild_write_to_the_next_page_of_a_lazy_segment_ends_the_writer, 10),
    SYSTEM_TEST(test_populated_lease_is_touched_without_a_fault, 10),
    SYSTEM_TEST(test_wild_write_into_anothers_block_ends_the_writer_only, 20),
    SYSTEM_TEST(test_wild_write_without_the_guard_is_not_noticed, 10),
    SYSTEM_TEST(test_forked_child_reads_and_writes_its_parents_blocks, 10),
    SYSTEM_TEST(test_forked_child_that_touches_what_its_parent_allocates_later_ends_by_SIGSEGV, 10),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
