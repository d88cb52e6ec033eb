/* SPDX-License-Identifier: MIT */
/*
 * test_lost.c - a client's files are sent to the keeper, which does not get as far as to keep them
 *
 * The client has been answered by then, and may have leased.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/faults.h"
#include "tests/system/harness.h"
#include "tests/system/holder.h"
#include "tests/system/store.h"
#include "tests/system/usage.h"

#define GUEST_BLOCKS 3000
#define GUEST_BLOCK_BYTES 1000

static unsigned char guest_byte(unsigned int block)
{
    return (unsigned char)(block * 7 + 1);
}

/* Leases and fills, and wants its bytes to stay what they are; whatever its calls return. */
static void be_a_guest(const void *argument)
{
    static unsigned char *blocks[GUEST_BLOCKS];
    (void)argument;
    client_await();
    for (unsigned int i = 0; i < GUEST_BLOCKS; i++) {
        blocks[i] = kmem_try_allocate(GUEST_BLOCK_BYTES, "guest");
        expect_call(blocks[i] != NULL);
        memset(blocks[i], guest_byte(i), GUEST_BLOCK_BYTES);
    }
    client_pause();
    /* Its keeper is another now. What needs the daemon fails, and what does not goes on. */
    void *const large = kmem_try_allocate(1 << 20, "guest, later");
    expect_true(large == NULL);
    expect_equal(errno, ECONNRESET);
    expect_match(kmem_last_error(), "the ledger of this process was lost");
    for (unsigned int i = 0; i < GUEST_BLOCKS; i++) {
        for (size_t at = 0; at < GUEST_BLOCK_BYTES; at++) {
            expect_equal(blocks[i][at], guest_byte(i));
        }
    }
    client_pause();
}

/* Takes all there is, and writes to it. */
static void take_everything(const void *argument)
{
    static unsigned char *blocks[2000];
    unsigned int n_blocks = 0;
    (void)argument;
    for (size_t num_bytes = 1 << 20; num_bytes >= 16384; num_bytes /= 2) {
        unsigned char *block;
        while (n_blocks < 2000 && (block = kmem_try_allocate(num_bytes, "everything")) != NULL) {
            memset(block, 0, num_bytes);
            blocks[n_blocks++] = block;
        }
    }
    expect_true(n_blocks > 0 && blocks[0] != NULL);
    client_pause();
}

static void kill_the_keeper(void)
{
    daemon_kill();
    /* Whatever it has said before it was killed. */
    (void)store_count();
    const struct daemon_setting kept = store_setting();
    daemon_start_as(&kept, OPTIONS(NULL));
    expect_log_line("going on with the segment that was kept");
}

/* Whatever others take, the guest's bytes are its own until it ends; then all of it comes back. */
static void expect_guest_undisturbed(struct client *guest)
{
    const char *const lost = "the ledger of process [0-9]+ \\(.*\\) was lost";
    expect_log_line(lost);
    expect_at_least(usage_take().leased_bytes, 2 << 20);
    struct client other = client_begin(take_everything, NULL);
    client_resume(guest);
    daemon_kill_server(); /* the next one finds it as well */
    expect_equal(usage_take().clients, 2);
    client_finish(&other);
    client_finish(guest);
    expect_soon(usage_take().clients == 0, 2000);
    expect_usage(0, 0);
    expect_equal(usage_take().leased_bytes, 0);
}

static void test_a_client_whose_files_the_killed_keeper_had_not_heard_of_keeps_its_pages(void)
{
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    store_open();
    const struct daemon_setting first = store_first_setting();
    daemon_start_as(&first, OPTIONS(NULL));
    struct client guest = client_start(be_a_guest, NULL);
    expect_soon(store_count() == 4, 2000);
    expect_call(kill(daemon_pid(), SIGSTOP) == 0);
    client_resume(&guest);
    kill_the_keeper();
    expect_guest_undisturbed(&guest);
    store_close();
    daemon_stop();
}

static void come_and_go(const void *argument)
{
    (void)argument;
    expect_call(kmem_try_allocate(GUEST_BLOCK_BYTES, "former") != NULL);
    client_pause();
}

/* The keeper has heard neither of the end of one client nor of the next one in its slot. */
static void test_files_of_the_former_client_of_a_slot_are_not_taken_for_those_of_the_next(void)
{
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    store_open();
    const struct daemon_setting first = store_first_setting();
    daemon_start_as(&first, OPTIONS(NULL));
    struct client former = client_start(come_and_go, NULL);
    struct client guest = client_start(be_a_guest, NULL);
    client_hear(&former);
    expect_soon(store_count() == 7, 2000);
    expect_call(kill(daemon_pid(), SIGSTOP) == 0);
    client_finish(&former);
    expect_soon(usage_take().clients == 0, 2000);
    client_resume(&guest);
    kill_the_keeper();
    expect_guest_undisturbed(&guest);
    store_close();
    daemon_stop();
}

/* ----------------------------------------------------------- the keeper lives, and can not ---- */

static void limit_descriptors(pid_t pid, rlim_t n_fds)
{
    struct rlimit limit;
    expect_call(prlimit(pid, RLIMIT_NOFILE, NULL, &limit) == 0);
    limit.rlim_cur = n_fds;
    expect_call(prlimit(pid, RLIMIT_NOFILE, &limit, NULL) == 0);
}

static void test_a_client_for_whose_files_the_keeper_has_no_descriptor_keeps_its_pages(void)
{
    daemon_start(NULL, NULL);
    struct client guest = client_start(be_a_guest, NULL);
    const pid_t server = daemon_server_pid();
    expect_call(kill(daemon_pid(), SIGSTOP) == 0);
    client_resume(&guest);
    limit_descriptors(daemon_pid(), 8); /* more than poll() is given, less than it has */
    expect_call(kill(daemon_pid(), SIGCONT) == 0);
    expect_soon(daemon_server_pid() != server, 5000);
    limit_descriptors(daemon_pid(), 1024);
    expect_log_line("RLIMIT_NOFILE is too low for its clients");
    expect_soon(harness_matches(daemon_log(), "recovered in"), 5000);
    expect_guest_undisturbed(&guest);
    daemon_stop();
}

static void test_what_a_dead_server_has_left_behind_is_heard_when_that_is_possible_again(void)
{
    struct daemon_end end;
    faults_begin(FAULT_CALL);
    if (!faults_start(OPTIONS(NULL), &end)) {
        fail("status %d: %s", end.exit_status, end.log);
    }
    daemon_remember_idle();
    expect_call(kill(daemon_pid(), SIGSTOP) == 0);
    struct client holder = holder_start();
    const struct fault fault = {
        .role = FAULT_KEEPER, .nth = 1, .for_good = true, .only = SYS_recvmsg};
    faults_arm(&fault);
    daemon_signal_server(SIGKILL);
    expect_call(kill(daemon_pid(), SIGCONT) == 0);
    expect_soon(faults_n_failed() >= 6, 5000);
    (void)faults_disarm();
    holder_expect_held(&holder);
    expect_log_line("cannot hear the server: .*; trying again");
    holder_end(&holder);
    faults_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_a_client_whose_files_the_killed_keeper_had_not_heard_of_keeps_its_pages, 60),
    SYSTEM_TEST(test_files_of_the_former_client_of_a_slot_are_not_taken_for_those_of_the_next, 60),
    SYSTEM_TEST(test_a_client_for_whose_files_the_keeper_has_no_descriptor_keeps_its_pages, 60),
    SYSTEM_TEST(test_what_a_dead_server_has_left_behind_is_heard_when_that_is_possible_again, 60),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
