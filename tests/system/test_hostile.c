/* SPDX-License-Identifier: MIT */
/*
 * test_hostile.c - every attack of tests/hostile, beside a victim, and judged
 *
 * Attacker, victim and daemon are three users. While the attack runs the victim does
 * what a client does: it allocates, writes, looks and releases, and asks. It counts what it is
 * refused, and looks for bytes that are not its own. When the attack is over the same server has to
 * be there, its books have to add up, and when the victim has ended everything has to be as it was:
 * free memory, descriptors, the daemon's own memory. How long the victim waited is printed, and
 * compared with nothing here: tests/bench/bench_hostile.c does that.
 */
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/kmem.h>
#include <kmem/query.h>
#include <kmem/share.h>

#include "tests/system/client.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/system/users.h"
#include "tests/system/walls.h"

/* Numbers that no user of the machine has. */
#define VICTIM 54324
#define ATTACKER 54325

#define N_BLOCKS 24
#define SAMPLES_MAX 20000

struct attack_row {
    const char *verb;
    const char *family;
};

static const struct attack_row attacks[] = {
#define ATTACK(name, family, what) {#name, #family},
#include "tests/hostile/attacks.def"
#undef ATTACK
};

static gid_t members(void)
{
    const struct group *const group = getgrnam("games");
    if (group == NULL) {
        harness_skip("this machine has no group \"games\"");
    }
    return group->gr_gid;
}

/* ------------------------------------------------------------------------------ the victim ---- */

static struct {
    unsigned char *blocks[N_BLOCKS];
    uint64_t samples_us[SAMPLES_MAX];
    uint64_t n_samples;
    uint64_t n_calls;
    uint64_t n_refused;
    uint64_t n_spoiled;
} victim;

/* From a few bytes to what only the daemon carves. */
static size_t bytes_of(size_t index)
{
    return (size_t)40 << (index % 14);
}

static void took(const struct stopwatch *watch, bool is_served)
{
    victim.samples_us[victim.n_samples] = (uint64_t)(stopwatch_ms(watch) * 1000);
    victim.n_samples += victim.n_samples + 1 < SAMPLES_MAX;
    victim.n_calls++;
    if (!is_served) {
        (void)fprintf(stderr, "the victim is refused: %s\n", kmem_last_error());
        victim.n_refused++;
    }
}

static bool is_all(const unsigned char *bytes, size_t n_bytes, unsigned char value)
{
    for (size_t i = 0; i < n_bytes; i++) {
        if (bytes[i] != value) {
            return false;
        }
    }
    return true;
}

static void replace(size_t index, bool looks)
{
    const size_t n_bytes = bytes_of(index);
    const unsigned char value = (unsigned char)(index + 1);
    unsigned char **const block = &victim.blocks[index];
    victim.n_spoiled += looks && *block != NULL && !is_all(*block, n_bytes, value);
    struct stopwatch watch = stopwatch_start();
    took(&watch, kmem_try_release((void **)block) == 0);
    watch = stopwatch_start();
    *block = kmem_try_allocate(n_bytes, "of a victim");
    took(&watch, *block != NULL);
    if (*block != NULL) {
        victim.n_spoiled += looks && !is_all(*block, n_bytes, 0);
        memset(*block, value, n_bytes);
    }
}

static int ignore(const struct kmem_daemon *daemon, const struct kmem_statistic *statistic,
                  void *user)
{
    (void)daemon;
    (void)statistic;
    (void)user;
    return 0;
}

static void ask(void)
{
    struct kmem_query *query = NULL;
    const struct stopwatch watch = stopwatch_start();
    int r = kmem_query_open(NULL, &query);
    r = r < 0 ? r : kmem_query_usage(query, ignore, NULL);
    took(&watch, r == 0);
    (void)kmem_query_close(query);
}

/* A new name each time. */
static void publish(size_t index, size_t number)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "victim/%zu", number);
    struct stopwatch watch = stopwatch_start();
    took(&watch, kmem_publish(victim.blocks[index], name, 0, NULL) == 0);
    watch = stopwatch_start();
    took(&watch, kmem_unpublish(name) == 0);
}

static int compare_samples(const void *left, const void *right)
{
    const uint64_t a = *(const uint64_t *)left;
    const uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void say_what_happened(void)
{
    qsort(victim.samples_us, victim.n_samples, sizeof(victim.samples_us[0]), compare_samples);
    client_say(victim.n_calls);
    client_say(victim.n_refused);
    client_say(victim.n_spoiled);
    client_say(victim.samples_us[victim.n_samples * 99 / 100]);
    (void)client_await(); /* it holds its blocks, and is at rest */
}

/* Until it is told that the attack is over. */
static void be_the_victim(const void *argument)
{
    const bool looks = *(const bool *)argument;
    become(VICTIM, members());
    for (size_t i = 0; i < N_BLOCKS; i++) {
        replace(i, looks);
    }
    client_say(1);
    for (size_t n = 0; !client_was_told(); n++) {
        replace(n % N_BLOCKS, looks);
        if (n % 16 == 0) {
            ask();
            publish(n % N_BLOCKS, n);
        }
        harness_sleep_ms(1);
    }
    for (size_t i = 0; i < N_BLOCKS; i++) {
        replace(i, looks);
    }
    say_what_happened();
}

/* ------------------------------------------------------------------------------- the judge ---- */

static void attack(const char *verb)
{
    const char *const program = harness_program("hostile");
    const int program_fd = walls_open_program(program);
    int status = 0;
    expect_call(program_fd >= 0);
    (void)fflush(NULL);
    const pid_t pid = fork();
    expect_call(pid >= 0);
    if (pid == 0) {
        become(ATTACKER, members());
        walls_exec(program_fd, program, (const char *const[]){"hostile", verb, NULL});
        _exit(127);
    }
    (void)close(program_fd);
    expect_call(waitpid(pid, &status, 0) == pid);
    if (status != 0) {
        fail("the attack \"%s\" ended with wait status 0x%x", verb, (unsigned int)status);
    }
}

static void expect_clean(const char *what, const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 && *at != '\n') {
            fail("%s has the byte 0x%02x", what, (unsigned int)*at);
        }
    }
}

/* Whether the books add up. While what an attack has left behind ends, they can not be read. */
static bool is_reconciled(void)
{
    const int status = ctl("reconcile")->exit_status;
    expect_true(status == 0 || status == 75);
    return status == 0;
}

static void judge(const char *verb, struct client *served)
{
    client_tell(served, 1);
    const uint64_t n_calls = client_hear(served);
    const uint64_t n_refused = client_hear(served);
    const uint64_t n_spoiled = client_hear(served);
    harness_note("%-18s %6llu calls of the victim, p99 %llu us", verb, (unsigned long long)n_calls,
                 (unsigned long long)client_hear(served));
    expect_at_least(n_calls, 2 * N_BLOCKS);
    expect_equal(n_refused, 0);
    expect_equal(n_spoiled, 0);
    expect_soon(is_reconciled(), 5000);
    client_finish(served);
    expect_balanced();
    expect_clean("the list of obituaries", ctl("obituaries")->out);
    expect_clean("the list of refusals", ctl("refusals")->out);
    expect_clean("the log", daemon_log());
}

static void withstand(const char *family, const char *const *options)
{
    unsigned int n_attacks = 0;
    bool looks = strcmp(family, "spoils") != 0;
    need_root();
    (void)members();
    expect_call(chmod(harness_path("."), 0755) == 0);
    daemon_start_as(&(struct daemon_setting){.max_fds = 0}, options);
    const pid_t server = daemon_server_pid();
    for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
        if (strcmp(attacks[i].family, family) == 0) {
            struct client served = client_begin(be_the_victim, &looks);
            attack(attacks[i].verb);
            judge(attacks[i].verb, &served);
            expect_equal(daemon_server_pid(), server);
            n_attacks++;
        }
    }
    expect_at_least(n_attacks, 1);
    daemon_stop();
}

static const char *const usual[] = {"--group", "games", "--size", "64MiB", NULL};

/* Five clients of one user can have 40 MiB, and half of the names: the rest is the others'. */
static const char *const bounded[] = {
    "--group",           "games", "--size",          "64MiB", "--quota", "8MiB",
    "--clients-per-uid", "5",     "--names-per-uid", "2000",  NULL};

static void test_broken_frames_harm_nobody(void)
{
    withstand("frames", usual);
}

static void test_floods_harm_nobody(void)
{
    withstand("floods", usual);
}

static void test_expensive_questions_harm_nobody(void)
{
    withstand("questions", usual);
}

static void test_what_is_done_to_files_harms_nobody(void)
{
    withstand("files", usual);
}

static void test_a_punched_segment_harms_no_more_than_its_bytes(void)
{
    withstand("spoils", usual);
}

static void test_a_spoiled_ledger_harms_nobody(void)
{
    withstand("ledger", usual);
}

static void test_wrong_handles_lead_nowhere(void)
{
    withstand("handles", usual);
}

static void test_false_identities_harm_nobody(void)
{
    withstand("identity", usual);
}

static void test_one_user_can_not_take_what_is_anothers(void)
{
    withstand("exhaustion", bounded);
}

static void test_escapes_reach_no_terminal(void)
{
    withstand("words", usual);
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_escapes_reach_no_terminal, 20),
    SYSTEM_TEST(test_wrong_handles_lead_nowhere, 20),
    SYSTEM_TEST(test_broken_frames_harm_nobody, 30),
    SYSTEM_TEST(test_false_identities_harm_nobody, 30),
    SYSTEM_TEST(test_what_is_done_to_files_harms_nobody, 30),
    SYSTEM_TEST(test_a_spoiled_ledger_harms_nobody, 30),
    SYSTEM_TEST(test_expensive_questions_harm_nobody, 30),
    SYSTEM_TEST(test_floods_harm_nobody, 30),
    SYSTEM_TEST(test_one_user_can_not_take_what_is_anothers, 30),
    SYSTEM_TEST(test_a_punched_segment_harms_no_more_than_its_bytes, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
