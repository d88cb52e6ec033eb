/* SPDX-License-Identifier: MIT */
/*
 * test_clock.c - the wall clock is set, the machine is suspended, seconds outgrow 32 bits; and how
 * a server with clients waits
 */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "proto/limits.h"
#include "proto/notice.h"
#include "tests/system/client.h"
#include "tests/system/clocks.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define HOUR_S INT64_C(3600)
#define YEAR_S INT64_C(31536000)
/* The first second that 32 bits do not hold: in February 2106. */
#define END_OF_32_BITS_S (INT64_C(1) << 32)
/* Of a size that is leased, and of one that is not. */
#define N_HOT 40
#define N_BLOCKS (N_HOT + 1)
#define N_ROWS ((size_t)2 * N_BLOCKS)

/* Half an hour: what a busy machine adds to an age is less, an age that is wrong is hours off. */
#define SLACK_MS (HOUR_S * 1000 / 2)

static void allocate_all(const char *reason)
{
    for (unsigned int i = 0; i < N_HOT; i++) {
        expect_call(kmem_try_allocate(64, reason) != NULL);
    }
    expect_call(kmem_try_allocate(100000, reason) != NULL);
}

/* Blocks from before the clock was set, and from afterwards. */
static void live_through_it(const void *argument)
{
    (void)argument;
    allocate_all("before");
    client_pause();
    allocate_all("after");
    client_say(2);
    (void)client_await();
}

static void start_shifted(void)
{
    daemon_start_as(&(struct daemon_setting){.program = harness_program("kmemd_shifted")},
                    OPTIONS("--watchdog", "5"));
}

/* Wants the ages of all blocks of a reason to be at least lowest_ms, and little more. */
static void expect_ages(const struct client *client, const char *reason, uint64_t lowest_ms)
{
    static struct block_row rows[N_ROWS];
    const size_t n_rows = ledger_blocks_of(client->pid, rows, N_ROWS);
    size_t n_found = 0;
    expect_at_most(n_rows, N_ROWS);
    for (size_t i = 0; i < n_rows; i++) {
        if (strcmp(rows[i].reason, reason) == 0) {
            expect_at_least(rows[i].age_ms, lowest_ms);
            expect_at_most(rows[i].age_ms, lowest_ms + SLACK_MS);
            n_found++;
        }
    }
    expect_equal(n_found, N_BLOCKS);
}

/* Relaxed, all three: the daemon reads whenever it does. */
static void set_wall_clock(struct clocks *clocks, int64_t shift_s)
{
    atomic_store_explicit(&clocks->wall_s, shift_s, memory_order_relaxed);
}

static void suspend_for(struct clocks *clocks, int64_t duration_s)
{
    atomic_store_explicit(&clocks->boot_s, duration_s, memory_order_relaxed);
}

static uint32_t clock_tick(int clock_fd)
{
    uint32_t tick = 0;
    expect_equal(pread(clock_fd, &tick, sizeof(tick), CLOCK_TICK_AT), sizeof(tick));
    return tick;
}

/* Until the clock that clients read, which the daemon moves ten times a second, has come so far. */
static void await_age(int64_t segment_s)
{
    const uint32_t last = TICK_STOPPED - 1;
    const uint32_t tick = segment_s * 10 < last ? (uint32_t)(segment_s * 10) : last;
    const int clock_fd = daemon_open_memfd("clock");
    expect_soon(clock_tick(clock_fd) >= tick, 1000);
    (void)close(clock_fd);
}

static void expect_wall_clock_unasked(struct clocks *clocks)
{
    expect_equal(atomic_load_explicit(&clocks->n_wall, memory_order_relaxed), 0);
    expect_at_least(atomic_load_explicit(&clocks->n_asked, memory_order_relaxed), 1);
}

/* A client lives for a second with the clock as it is, and then with each of these shifts. */
static void expect_ages_through(const int64_t *shifts_s, size_t n_shifts)
{
    struct clocks *const clocks = clocks_prepare();
    start_shifted();
    const pid_t server = daemon_server_pid();
    struct client client = client_begin(live_through_it, NULL);
    harness_sleep_ms(1000);
    for (size_t i = 0; i < n_shifts; i++) {
        set_wall_clock(clocks, shifts_s[i]);
        harness_sleep_ms(500);
        expect_ages(&client, "before", 900 + i * 500);
    }
    client_resume(&client);
    expect_ages(&client, "after", 0);
    daemon_kill_server(); /* the next one knows no more of the wall clock */
    expect_ages(&client, "before", 900 + n_shifts * 500);
    expect_ages(&client, "after", 0);
    expect_true(daemon_server_pid() != server);
    client_finish(&client);
    expect_balanced();
    expect_log_line("client .* ended after [1-9][0-9]{0,2}\\.[0-9] s:");
    expect_wall_clock_unasked(clocks);
    daemon_stop();
}

static void test_ages_stay_right_when_the_wall_clock_goes_back_an_hour(void)
{
    const int64_t shifts_s[] = {-HOUR_S, 0};
    expect_ages_through(shifts_s, 2);
}

static void test_ages_stay_right_when_the_wall_clock_goes_forward_ten_years(void)
{
    const int64_t shifts_s[] = {10 * YEAR_S, -HOUR_S};
    expect_ages_through(shifts_s, 2);
}

static void test_ages_stay_right_in_the_year_2106(void)
{
    const int64_t now_s = (int64_t)time(NULL);
    const int64_t shifts_s[] = {END_OF_32_BITS_S - now_s - 3, END_OF_32_BITS_S - now_s + HOUR_S};
    expect_ages_through(shifts_s, 2);
}

/* A suspended machine is old afterwards, but its server has not hung and its client is no guest. */
static void test_ages_count_the_time_that_the_machine_is_suspended(void)
{
    struct clocks *const clocks = clocks_prepare();
    start_shifted();
    const pid_t server = daemon_server_pid();
    struct client client = client_begin(live_through_it, NULL);
    suspend_for(clocks, 8 * HOUR_S);
    await_age(8 * HOUR_S);
    client_resume(&client);
    expect_ages(&client, "before", UINT64_C(8) * HOUR_S * 1000);
    expect_ages(&client, "after", 0);
    expect_equal(daemon_server_pid(), server);
    client_finish(&client);
    expect_balanced();
    expect_wall_clock_unasked(clocks);
    daemon_stop();
}

/* Ticks last 13.6 years; later, blocks are as old as the last of them says, and all goes on. */
static void test_a_segment_that_is_older_than_its_ticks_goes_on(void)
{
    struct clocks *const clocks = clocks_prepare();
    start_shifted();
    struct client client = client_begin(live_through_it, NULL);
    suspend_for(clocks, 20 * YEAR_S);
    await_age(20 * YEAR_S);
    client_resume(&client);
    expect_ages(&client, "before", UINT32_MAX * UINT64_C(100) - SLACK_MS);
    expect_ages(&client, "after", 0);
    daemon_kill_server();
    expect_ages(&client, "after", 0);
    client_finish(&client);
    daemon_stop_balanced();
}

/* Up for longer than 32 bits of seconds: 136 years. */
static void test_ages_of_a_machine_that_has_run_for_137_years_are_right(void)
{
    struct clocks *const clocks = clocks_prepare();
    suspend_for(clocks, END_OF_32_BITS_S + YEAR_S);
    start_shifted();
    struct client client = client_begin(live_through_it, NULL);
    suspend_for(clocks, END_OF_32_BITS_S + YEAR_S + HOUR_S);
    await_age(HOUR_S);
    client_resume(&client);
    expect_ages(&client, "before", UINT64_C(1000) * HOUR_S);
    expect_ages(&client, "after", 0);
    client_finish(&client);
    daemon_stop_balanced();
}

/* Not all machines have both. */
#ifdef SYS_epoll_wait
#define CALL_EPOLL_WAIT SYS_epoll_wait
#else
#define CALL_EPOLL_WAIT SYS_epoll_pwait
#endif

/* Whether the server sleeps in epoll_wait(), and has given it no time. */
static bool server_waits_without_a_time(void)
{
    char path[64];
    long nr = -1;
    unsigned long long arguments[4] = {0};
    (void)snprintf(path, sizeof(path), "/proc/%d/syscall", (int)daemon_server_pid());
    FILE *file = fopen(path, "re");
    expect_call(file != NULL);
    /* NOLINTNEXTLINE(cert-err34-c): the kernel writes numbers, or "running" */
    const int n = fscanf(file, "%ld %llx %llx %llx %llx", &nr, &arguments[0], &arguments[1],
                         &arguments[2], &arguments[3]);
    (void)fclose(file);
    return n == 5 && (nr == SYS_epoll_pwait || nr == CALL_EPOLL_WAIT) && (int)arguments[3] == -1;
}

static void hold_a_block(const void *argument)
{
    (void)argument;
    void *block = kmem_try_allocate(100, "held");
    expect_call(block != NULL);
    client_pause();
    expect_equal(kmem_try_release(&block), 0);
}

/* While clients are there a clock ticks, and what came back is cleared: neither is the loop's. */
static void test_a_server_with_clients_waits_without_a_time(void)
{
    daemon_start("--debuggable", NULL);
    struct client client = client_begin(hold_a_block, NULL);
    for (unsigned i = 0; i < 20; i++) {
        expect_soon(server_waits_without_a_time(), 5000);
        harness_sleep_ms(10);
    }
    client_finish(&client);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_ages_stay_right_when_the_wall_clock_goes_back_an_hour, 30),
    SYSTEM_TEST(test_ages_stay_right_when_the_wall_clock_goes_forward_ten_years, 30),
    SYSTEM_TEST(test_ages_stay_right_in_the_year_2106, 30),
    SYSTEM_TEST(test_ages_count_the_time_that_the_machine_is_suspended, 30),
    SYSTEM_TEST(test_a_segment_that_is_older_than_its_ticks_goes_on, 30),
    SYSTEM_TEST(test_ages_of_a_machine_that_has_run_for_137_years_are_right, 30),
    SYSTEM_TEST(test_a_server_with_clients_waits_without_a_time, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
