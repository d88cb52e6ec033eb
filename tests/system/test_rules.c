/* SPDX-License-Identifier: MIT */
/*
 * test_rules.c - a greedy client beside a modest one, by each rule of the configuration
 *
 * The greedy one is another user, if the test may become one; a rule by user needs that.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kmem/kmem.h>
#include <kmem/query.h>

#include "tests/system/client.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/users.h"

#define MIB (1 << 20)
/* A number that no user of the machine has. */
#define MODEST 54322
#define MODEST_MAY "members = {\"54322\"}\n"

static const struct daemon_setting as_usual = {.max_fds = 0};

static const char *configure(const char *text)
{
    static char path[256];
    (void)snprintf(path, sizeof(path), "%s", harness_path("test.conf"));
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    expect_call(fd >= 0);
    expect_call(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    (void)close(fd);
    return path;
}

static void start_with(const char *text)
{
    daemon_start("--config", configure(text), NULL);
}

/* Takes all that it can get. Return: how many bytes. */
static size_t be_greedy(size_t num_bytes, const char *reason)
{
    size_t sum_bytes = 0;
    while (kmem_try_allocate(num_bytes, reason) != NULL) {
        sum_bytes += num_bytes;
    }
    expect_equal(errno, ENOMEM);
    return sum_bytes;
}

static void greedy(const void *argument)
{
    expect_at_most(be_greedy(MIB / 4, "greedy"), *(const size_t *)argument);
    client_pause();
}

static void modest(const void *argument)
{
    (void)argument;
    for (int i = 0; i < 3; i++) {
        expect_call(kmem_try_allocate(MIB, "modest") != NULL);
    }
}

static void test_a_quota_per_unit_leaves_room_for_others(void)
{
    const size_t most = (size_t)10 * MIB;
    start_with("quota-per-unit = 10MiB\n");
    struct client client = client_begin(greedy, &most);
    const struct ctl_end *limits = ctl("limits");
    expect_match(limits->out, "quota_of_unit +10.0 MiB +10.0 MiB +100.0 %  full");
    client_finish(&client);
    daemon_stop();
}

static void test_a_users_quota_and_reserve_hold(void)
{
    const size_t most = (size_t)12 * MIB;
    start_with("user \"root\" { quota = 12MiB }\nuser \"daemon\" { reserve = 3MiB }\n");
    struct client client = client_begin(greedy, &most);
    const struct ctl_end *limits = ctl("limits");
    expect_match(limits->out, "reserves +0 B +3.0 MiB");
    client_finish(&client);
    daemon_stop();
}

/* ---------------------------------------------------------------------------------- budgets -- */

static void by_budget(const void *argument)
{
    (void)argument;
    /* Small blocks, which get hot: none of them is carved from a lease. */
    expect_at_most(be_greedy(1000, "scratch/a"), MIB);
    expect_match(kmem_last_error(), "over budget \"scratch/\\*\\*\"");
    expect_at_most(be_greedy(100, "scratch/b#1"), 1000);
    for (int i = 0; i < 1000; i++) {
        expect_call(kmem_try_allocate(1000, "other") != NULL);
    }
    client_pause();
}

static void test_a_budget_denies_small_blocks_too(void)
{
    start_with("budget \"scratch/**\" { max = 1MiB  action = deny }\n");
    struct client client = client_begin(by_budget, NULL);
    client_run(modest, NULL);
    const struct ctl_end *limits = ctl("limits");
    expect_match(limits->out, "budget scratch/\\*\\* +1(023\\..* K|.0 M)iB +1.0 MiB");
    const struct ctl_end *refusals = ctl("refusals");
    expect_match(refusals->out, "budget");
    client_finish(&client);
    daemon_stop();
}

static void exceed(const void *argument)
{
    (void)argument;
    for (int i = 0; i < 3000; i++) {
        expect_call(kmem_try_allocate(1000, "scratch/a") != NULL);
    }
    client_pause();
}

static void test_a_budget_that_warns_tells_it_in_the_log(void)
{
    start_with("budget \"scratch/**\" { max = 1MiB  action = warn }\n");
    struct client client = client_begin(exceed, NULL);
    expect_log_line("warning: budget \"scratch/\\*\\*\" is exceeded: blocks with such reasons "
                    "have [12]\\.[0-9] MiB of 1\\.0 MiB"); /* as seen by the look that came first */
    expect_soon(harness_matches(ctl("limits")->out,
                                "budget scratch/\\*\\* +2.[0-9] MiB +1.0 MiB +[0-9.]+ %  full"),
                10000);
    client_finish(&client);
    daemon_stop();
}

/* --------------------------------------------------------------------------------- reloaded -- */

static void have_three(const void *argument)
{
    void *blocks[3];
    (void)argument;
    become(MODEST, MODEST);
    for (int i = 0; i < 3; i++) {
        blocks[i] = kmem_try_allocate(MIB, "kept");
        expect_call(blocks[i] != NULL);
    }
    client_say(1);
    (void)client_await();
    expect_true(kmem_try_allocate(MIB, "new") == NULL);
    expect_equal(errno, ENOMEM);
    expect_match(kmem_last_error(), "quota");
    for (int i = 0; i < 3; i++) {
        expect_equal(kmem_sizeof_allocation(blocks[i]), MIB);
        kmem_release(&blocks[i]);
    }
    expect_call(kmem_try_allocate(MIB, "new") != NULL);
    client_say(2);
    (void)client_await();
    expect_true(kmem_try_allocate(1000, "scratch/a") == NULL); /* a budget of 1 B */
    client_say(3);
    (void)client_await();
}

static void test_a_reload_refuses_what_is_new_and_takes_nothing_away(void)
{
    need_root();
    start_with(MODEST_MAY "quota-per-uid = 10MiB\n");
    expect_call(chmod(harness_path("."), 0711) == 0);
    struct client client = client_start(have_three, NULL);
    expect_equal(client_hear(&client), 1);
    (void)configure(MODEST_MAY "quota-per-uid = 2MiB\n");
    expect_equal(ctl("reload")->exit_status, 0);
    expect_match(ctl("limits")->out, "quota_of_user +3.0 MiB +2.0 MiB");
    client_tell(&client, 1);
    expect_equal(client_hear(&client), 2);
    (void)configure(MODEST_MAY "budget \"scratch/*\" { max = 1B }\n");
    expect_equal(ctl("reload")->exit_status, 0);
    client_tell(&client, 1);
    expect_equal(client_hear(&client), 3);
    client_tell(&client, 1);
    client_end(&client);
    daemon_stop();
}

/* --------------------------------------------------------------------------------- reserves -- */

static void take_all(const void *argument)
{
    (void)argument;
    while (kmem_try_allocate(1000, "small") != NULL) { /* leased, and then direct */
    }
    (void)be_greedy(MIB / 4, "large");
    (void)be_greedy(1, "rest");
    client_pause();
}

static void draw_reserve(const void *argument)
{
    (void)argument;
    become(MODEST, MODEST);
    for (int i = 0; i < 4; i++) {
        expect_call(kmem_try_allocate(MIB, "reserved") != NULL);
    }
}

static void test_a_victim_draws_its_whole_reserve_beside_a_greedy_client(void)
{
    need_root();
    start_with(MODEST_MAY "user \"54322\" { reserve = 4MiB }\n");
    expect_call(chmod(harness_path("."), 0711) == 0);
    struct client client = client_begin(take_all, NULL);
    client_run(draw_reserve, NULL);
    expect_match(ctl("refusals")->out, "reserved");
    client_finish(&client);
    daemon_stop();
}

/* ------------------------------------------------------------------------------- priorities -- */

struct idler {
    bool is_modest; /* and of a low priority */
};

/* Has slabs of many sizes without a live block, and sleeps. */
static void be_idle(const void *argument)
{
    const struct idler *idler = argument;
    void *blocks[24][8];
    if (idler->is_modest) {
        become(MODEST, MODEST);
    }
    for (size_t i = 0; i < 24; i++) {
        for (size_t j = 0; j < 8; j++) {
            blocks[i][j] = kmem_try_allocate(100 + i * 600, "idle");
            expect_call(blocks[i][j] != NULL);
        }
    }
    for (size_t i = 0; i < 24; i++) {
        for (size_t j = 0; j < 8; j++) {
            kmem_release(&blocks[i][j]);
        }
    }
    client_pause();
}

struct idle_bytes {
    uint64_t of_low;
    uint64_t of_high;
};

/* Without the pages that are unused. */
static int note_idle(const struct kmem_client *client, void *user)
{
    struct idle_bytes *idle = user;
    *(client->uid == MODEST ? &idle->of_low : &idle->of_high) +=
        client->idle_bytes - client->unused_bytes;
    return 0;
}

static struct idle_bytes idle_now(void)
{
    struct idle_bytes idle = {0};
    struct kmem_query *query = NULL;
    expect_call(kmem_query_open(NULL, &query) == 0);
    expect_equal(kmem_query_clients(query, note_idle, &idle), 0);
    (void)kmem_query_close(query);
    return idle;
}

static void take_until_refused(const void *argument)
{
    (void)argument;
    while (kmem_try_allocate(MIB / 4, "all") != NULL) {
        client_say(1);
        (void)client_await();
    }
    client_say(0);
    (void)client_await();
}

/* What the low one has is taken whole before any of what the high one has. */
static void test_idle_slabs_of_the_lower_priority_are_taken_first(void)
{
    const struct idler low = {.is_modest = true};
    const struct idler high = {.is_modest = false};
    need_root();
    /* What is being cleared is not to be had: one would be refused meanwhile, too soon. */
    start_with(MODEST_MAY "scrub = off\nuser \"54322\" { priority = -10 }\n");
    expect_call(chmod(harness_path("."), 0711) == 0);
    struct client high_client = client_begin(be_idle, &high);
    struct client low_client = client_begin(be_idle, &low);
    const struct idle_bytes at_first = idle_now();
    struct idle_bytes idle = at_first;
    expect_at_least(at_first.of_low, MIB / 2);
    expect_at_least(at_first.of_high, MIB / 2);
    struct client taker = client_start(take_until_refused, NULL);
    while (client_hear(&taker) != 0) {
        idle = idle_now();
        expect_true(idle.of_high == at_first.of_high || idle.of_low == 0);
        client_tell(&taker, 1);
    }
    expect_equal(idle.of_low, 0);
    expect_true(idle.of_high < at_first.of_high);
    client_tell(&taker, 1);
    client_end(&taker);
    client_finish(&low_client);
    client_finish(&high_client);
    daemon_stop();
}

/* ---------------------------------------------------------------------------------- refused -- */

static void refuse(const char *text, const char *words)
{
    const struct daemon_end end =
        daemon_try(&as_usual, OPTIONS("--size", "16MiB", "--socket", harness_path("test.sock"),
                                      "--config", configure(text), "--check"));
    expect_equal(end.exit_status, 64);
    expect_match(end.log, words);
}

static void test_rules_that_can_not_be_kept_are_refused(void)
{
    refuse("user \"no-such-user\" { quota = 1MiB }\n", "there is no user \"no-such-user\"");
    refuse("unit \"*\" { reserve = 17MiB }\n", "all reserves together are 17.0 MiB");
    refuse("user \"root\" { reserve = 2MiB  quota = 1MiB }\n", "reserve = 2.0 MiB is more");
    refuse("budget \"a/**\" { action = warn }\n", "budget \"a/\\*\\*\" has no max");
    refuse("budget \"a\" { max = 1MiB  action = ask }\n", "write deny or warn");
    refuse("unit \"*\" { priority = high }\n", "is no priority");
}

int main(int argc, char **argv)
{
    static const struct system_test tests[] = {
        SYSTEM_TEST(test_a_quota_per_unit_leaves_room_for_others, 60),
        SYSTEM_TEST(test_a_users_quota_and_reserve_hold, 60),
        SYSTEM_TEST(test_a_budget_denies_small_blocks_too, 60),
        SYSTEM_TEST(test_a_budget_that_warns_tells_it_in_the_log, 60),
        SYSTEM_TEST(test_a_reload_refuses_what_is_new_and_takes_nothing_away, 60),
        SYSTEM_TEST(test_a_victim_draws_its_whole_reserve_beside_a_greedy_client, 60),
        SYSTEM_TEST(test_idle_slabs_of_the_lower_priority_are_taken_first, 60),
        SYSTEM_TEST(test_rules_that_can_not_be_kept_are_refused, 60),
    };
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
