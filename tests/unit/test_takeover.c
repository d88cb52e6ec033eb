/* SPDX-License-Identifier: MIT */
/*
 * test_takeover.c - a server goes on with what the last one has left, whoever the files belong to
 *
 * State and core are true ones, in a memfd. What is known of processes, and who is handed a
 * client's files, is this test's: a process may have ended, be another, or be seen by nobody.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/core/recover.h"
#include "daemon/inherited.h"
#include "daemon/server/loop.h"
#include "daemon/server/peer_identity.h"
#include "daemon/server/scrubber.h"
#include "daemon/server/takeover.h"
#include "tests/unit/captured.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/unit.h"

#define N_PAGES 512
#define ALICE 11
#define INODE 77
/* A slot that nobody has. */
#define FREE_SLOT 5

static struct inherited_fds files;
static struct takeover takeover;
static struct client *alice;
static unsigned n_fds;

/* What the kernel and the rest of the server say. */
static struct {
    uint64_t inode; /* of a pidfd; 0: it is not known */
    int pid_error;
    long pid; /* of a pidfd; -1: it has none any more */
    int open_error;
    bool has_ended;
    int adopt_error;
    int way_error;
    int watch_error;
    pid_t last_server; /* holds the lock until it has been waited for three times */
    unsigned n_alive;
    unsigned n_dropped; /* by the keeper */
    bool is_adopted[CLIENTS_MAX];
    int watched_slot; /* -1: none */
    bool has_way;
} fake;

static int any_fd(void)
{
    const int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

uint64_t peer_identity_inode_of(int pidfd)
{
    return pidfd >= 0 ? fake.inode : 0;
}

int peer_identity_pid_of(int pidfd, long *ret_pid)
{
    *ret_pid = fake.pid;
    return fake.pid_error;
}

int peer_identity_open(const struct client_identity *identity)
{
    return fake.open_error ? fake.open_error : any_fd();
}

bool peer_identity_has_ended(int pidfd)
{
    return fake.has_ended;
}

int client_files_adopt(struct client_files *ledgers, uint32_t slot, int fd)
{
    assert_int_equal(close(fd), 0);
    fake.is_adopted[slot] = fake.adopt_error == 0;
    return fake.adopt_error;
}

_Atomic uint64_t *client_files_states(const struct client_files *ledgers, uint32_t slot)
{
    return fake.is_adopted[slot] ? fixture.ledgers[slot].states : NULL;
}

const struct ledger_counts *client_files_counts(const struct client_files *ledgers, uint32_t slot)
{
    return fake.is_adopted[slot] ? fixture.ledgers[slot].counts : NULL;
}

struct ledger_returns *client_files_returns(const struct client_files *ledgers, uint32_t slot)
{
    return fake.is_adopted[slot] ? fixture.ledgers[slot].returns : NULL;
}

void client_files_close(struct client_files *ledgers, uint32_t slot)
{
    fake.is_adopted[slot] = false;
}

void keeper_link_alive(const struct keeper_link *keeper_link)
{
    if (++fake.n_alive == 3 && fake.last_server > 0) {
        assert_int_equal(kill(fake.last_server, SIGKILL), 0);
        assert_int_equal(waitpid(fake.last_server, NULL, 0), fake.last_server);
    }
}

void keeper_link_drop(struct keeper_link *keeper_link, uint32_t slot)
{
    fake.n_dropped++;
}

int ways_open(struct ways *ways, uint32_t slot, int fd)
{
    assert_int_equal(close(fd), 0);
    fake.has_way = true;
    return fake.way_error;
}

int pidfd_watch_watch(struct pidfd_watch *pidfds, uint32_t slot, int pidfd)
{
    assert_int_equal(close(pidfd), 0);
    fake.watched_slot = (int)slot;
    return fake.watch_error;
}

struct now loop_now(void)
{
    return (struct now){.ms = fixture.now_ms, .us = fixture.now_ms * 1000};
}

const char *inherited_explain(int error)
{
    return "";
}

/* Nobody waits for the time itself. */
int __wrap_nanosleep(const struct timespec *pause, struct timespec *left);
int __wrap_nanosleep(const struct timespec *pause, struct timespec *left)
{
    return 0;
}

/* ----------------------------------------------------------------------------------- verbs ---- */

/* A server that has one client, with a lease, and is gone. */
static int takeover_setup(void **state)
{
    n_fds = count_fds();
    memset(&fake, 0, sizeof(fake));
    fake.watched_slot = -1;
    fixture_init(&fixture, N_PAGES, 10);
    core_fini(core);
    assert_int_equal(inherited_fds_init(&files), 0);
    files.state_fd = memfd_create("state", MFD_CLOEXEC);
    assert_int_equal(ftruncate(files.state_fd, (off_t)fixture.state_bytes), 0);
    assert_ptr_equal(mmap(fixture.state_base, fixture.state_bytes, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_FIXED, files.state_fd, 0),
                     fixture.state_base);
    assert_int_equal(core_init(core, &fixture.config, fixture.state_base, FIXTURE_BORN_MS), 0);
    alice = fixture_join(&fixture, ALICE);
    (void)fixture_ledger(&fixture, alice);
    (void)fixture_lease(&fixture, alice, 8);
    takeover = (struct takeover){.files = &files};
    return 0;
}

static struct state_client *stored(void)
{
    return &core->state.clients[alice->slot];
}

static void pass_files_in(uint32_t slot)
{
    const int fds[3] = {any_fd(), any_fd(), any_fd()};
    inherited_fds_keep(&files, slot, fds);
}

/* All that it is handed is used or closed: nothing of it stays open. */
static int run(void)
{
    core_abandon(core);
    capture_begin();
    return takeover_core(&takeover, &fixture.config, core);
}

static void expect_said(const char *words)
{
    const char *said = capture_end();
    if (!strstr(said, words)) {
        fail_msg("\"%s\" does not say \"%s\"", said, words);
    }
}

/* It goes on, and alice has her ledger. */
static void expect_adopted(void)
{
    assert_int_equal(run(), 0);
    expect_said("recovered in ");
    assert_int_equal(core_check(core), 0);
    assert_int_equal(core->clients.n_live, 1);
    assert_true(fake.is_adopted[0]);
    assert_false(clients_next(&core->clients, 0)->lost);
}

/* It goes on, and alice has no ledger, but what she had. */
static void expect_lost(const char *words)
{
    assert_int_equal(run(), 0);
    expect_said(words);
    assert_int_equal(core_check(core), 0);
    assert_int_equal(core->clients.n_live, 1);
    assert_true(clients_next(&core->clients, 0)->lost);
    assert_int_equal(core->leases.n_pages, 8);
    assert_int_equal(files.ledger_fds[0], -1);
}

static void expect_refused(int status, const char *words)
{
    assert_int_equal(run(), status);
    expect_said(words);
    /* The next server, of whom nothing is refused. */
    assert_int_equal(fixture_restart(&fixture, (char[FIXTURE_WHY_BYTES]){""}), 0);
}

static int takeover_teardown(void **state)
{
    (void)core_teardown(state);
    if (takeover.state_base) {
        takeover_fini(&takeover);
    }
    inherited_fds_fini(&files);
    assert_int_equal(count_fds(), n_fds);
    return 0;
}

/* --------------------------------------------------------------------- whose the files are ---- */

static void test_takeover_of_the_same_process_goes_on_with_its_files(void **state)
{
    stored()->inode = INODE;
    fake.inode = INODE;
    pass_files_in(alice->slot);
    expect_adopted();
    assert_int_equal(takeover_watch(&takeover, core), 0);
    assert_int_equal(fake.watched_slot, 0);
    assert_true(fake.has_way);
    assert_int_equal(fake.n_dropped, 0);
}

/* The slot has changed hands, and the keeper has not heard of it. */
static void test_takeover_of_another_processs_files_takes_none_of_them(void **state)
{
    stored()->inode = INODE;
    fake.inode = INODE + 1;
    pass_files_in(alice->slot);
    expect_lost("the ledger of process 11 (worker-11) was lost: it keeps what it has until it "
                "ends");
    assert_int_equal(files.way_fds[0], -1);
    assert_int_equal(takeover_watch(&takeover, core), 0);
    assert_int_equal(fake.watched_slot, 0);
}

/* Kernels whose pidfds have no inode: what /proc says of them decides. */
static void test_takeover_on_an_older_kernel_compares_processes_by_number(void **state)
{
    fake.pid = ALICE;
    pass_files_in(alice->slot);
    expect_adopted();
}

static void test_takeover_on_an_older_kernel_takes_no_files_of_another_number(void **state)
{
    stored()->inode = INODE; /* what is stored alone says nothing */
    fake.pid = ALICE + 1;
    pass_files_in(alice->slot);
    expect_lost("was lost");
}

static void test_takeover_without_a_proc_believes_the_files(void **state)
{
    fake.inode = INODE; /* and what there is alone neither */
    fake.pid_error = -ESRCH;
    pass_files_in(alice->slot);
    expect_adopted();
}

static void test_takeover_of_a_process_of_another_namespace_believes_the_files(void **state)
{
    fake.pid = 0;
    pass_files_in(alice->slot);
    expect_adopted();
}

/* The files' process has ended. If the slot's lives, they are not its. */
static void test_takeover_of_files_whose_process_has_ended_looks_for_the_slots(void **state)
{
    fake.pid = -1;
    fake.open_error = -ESRCH;
    pass_files_in(alice->slot);
    expect_adopted(); /* its end is seen by the pidfd */
}

static void test_takeover_of_files_whose_process_has_ended_beside_the_slots_takes_none(void **state)
{
    fake.pid = -1;
    pass_files_in(alice->slot);
    expect_lost("was lost");
}

static void test_takeover_that_can_not_look_concludes_nothing(void **state)
{
    fake.pid_error = -EMFILE;
    pass_files_in(alice->slot);
    expect_refused(EXIT_SYSTEM, "cannot start: Too many open files");
    fake.pid_error = 0;
    fake.pid = -1;
    fake.open_error = -ENOMEM;
    expect_refused(EXIT_SYSTEM, "cannot start: Cannot allocate memory");
}

/* It was handed over, and never answered: nobody has it. */
static void test_takeover_drops_files_of_a_slot_that_nobody_has(void **state)
{
    pass_files_in(FREE_SLOT);
    fake.pid = ALICE;
    fake.inode = INODE;
    pass_files_in(alice->slot);
    stored()->inode = INODE;
    expect_adopted();
    assert_int_equal(takeover_watch(&takeover, core), 0);
    assert_int_equal(fake.n_dropped, 1);
    assert_false(fake.is_adopted[FREE_SLOT]);
    assert_false(inherited_fds_has(&files, FREE_SLOT));
}

/* ------------------------------------------------------------------- ledgers that are lost ---- */

static void test_takeover_of_a_ledger_that_is_none_says_so_and_goes_on(void **state)
{
    fake.pid = ALICE;
    fake.adopt_error = -EPROTO;
    pass_files_in(alice->slot);
    expect_lost("slot 0: its ledger can not be used: Protocol error");
}

static void test_takeover_of_a_ledger_without_memory_takes_nobody_for_dead(void **state)
{
    fake.pid = ALICE;
    fake.adopt_error = -ENOMEM;
    pass_files_in(alice->slot);
    expect_refused(EXIT_SYSTEM, "cannot start: Cannot allocate memory");
}

static void lose_ledger(void)
{
    pass_files_in(alice->slot);
    assert_int_equal(close(files.ledger_fds[0]), 0);
    files.ledger_fds[0] = -1;
    stored()->inode = INODE;
    fake.inode = INODE;
}

static void test_takeover_without_a_ledger_watches_the_process_by_what_was_kept(void **state)
{
    lose_ledger();
    assert_int_equal(close(files.way_fds[0]), 0);
    files.way_fds[0] = -1;     /* it has no way back */
    fake.open_error = -EMFILE; /* none is needed */
    expect_lost("until it ends");
    assert_int_equal(takeover_watch(&takeover, core), 0);
    assert_int_equal(fake.watched_slot, 0);
    assert_false(fake.has_way);
}

static void expect_buried(void)
{
    assert_int_equal(run(), 0);
    expect_said("recovered in ");
    assert_int_equal(core->clients.n_live, 0);
}

static void test_takeover_without_a_ledger_of_a_process_that_has_ended_takes_all_back(void **state)
{
    lose_ledger();
    fake.has_ended = true;
    expect_buried();
}

static void
test_takeover_without_a_ledger_of_a_process_that_is_not_there_takes_all_back(void **state)
{
    fake.open_error = -ESRCH; /* and no files at all */
    expect_buried();
}

static void
test_takeover_without_a_ledger_of_a_process_that_can_not_be_looked_for_ends(void **state)
{
    fake.open_error = -EMFILE;
    expect_refused(EXIT_SYSTEM, "cannot start: Too many open files");
}

/* In a namespace that the daemon does not see: all stays until the daemon ends. */
static void test_takeover_without_a_ledger_of_a_process_that_nobody_sees_keeps_it(void **state)
{
    fake.open_error = -EOPNOTSUPP;
    expect_lost("until the daemon, which can not see the process, ends");
    assert_int_equal(takeover_watch(&takeover, core), 0);
    assert_int_equal(fake.watched_slot, -1);
}

/* ---------------------------------------------------------------------- that can not go on ---- */

static void expect_unwatched(void)
{
    capture_begin();
    assert_int_equal(takeover_watch(&takeover, core), EXIT_SYSTEM);
    expect_said("the process in slot 0 can not be watched: Cannot allocate memory");
}

static void test_takeover_watch_that_fails_says_of_whom(void **state)
{
    fake.pid = ALICE;
    pass_files_in(alice->slot);
    expect_adopted();
    fake.way_error = -ENOMEM;
    expect_unwatched();
    fake.way_error = 0;
    fake.watch_error = -ENOMEM;
    expect_unwatched();
}

static void test_takeover_of_a_state_of_another_size_is_refused(void **state)
{
    struct core_config other = fixture.config;
    other.n_pages++;
    capture_begin();
    assert_int_equal(takeover_core(&takeover, &other, core), EXIT_STATE);
    expect_said("its state has another layout, or is of a segment of another size");
    assert_null(takeover.state_base);
}

static void test_takeover_of_a_damaged_state_is_refused_with_its_files(void **state)
{
    unsigned char *const header = fixture.state_base;
    pass_files_in(alice->slot);
    header[0] ^= 1;
    core_abandon(core);
    capture_begin();
    assert_int_equal(takeover_core(&takeover, &fixture.config, core), EXIT_STATE);
    expect_said("can not be served: its state does not add up: ");
    header[0] ^= 1;
    assert_int_equal(fixture_restart(&fixture, (char[FIXTURE_WHY_BYTES]){""}), 0);
}

/* Of a process, so that the kernel drops it with that. Return: its pid; it has the lock. */
static pid_t lock_elsewhere(void)
{
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = STATE_LOCK_SERVER, .l_len = 1};
    int ends[2];
    char byte;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)!write(ends[1], fcntl(files.state_fd, F_SETLK, &lock) == 0 ? "1" : "0", 1);
        for (;;) {
            (void)pause();
        }
    }
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(byte, '1');
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(close(ends[1]), 0);
    return child;
}

static void test_takeover_waits_for_the_last_servers_end(void **state)
{
    fake.pid = ALICE;
    pass_files_in(alice->slot);
    fake.last_server = lock_elsewhere();
    expect_adopted();
    assert_in_range(fake.n_alive, 3, 10);
}

static void test_takeover_beside_a_server_that_stays_is_refused(void **state)
{
    const pid_t server = lock_elsewhere();
    expect_refused(EXIT_SYSTEM, "cannot start: Resource temporarily unavailable");
    assert_true(fake.n_alive > 100); /* the keeper hears of it all the time */
    assert_int_equal(kill(server, SIGKILL), 0);
    assert_int_equal(waitpid(server, NULL, 0), server);
}

/* -------------------------------------------------------------------------- looked at only ---- */

static int check(uint64_t n_pages)
{
    struct options options;
    options_set_default(&options);
    options.most_bytes = n_pages << PAGE_SHIFT;
    capture_begin();
    return takeover_check(&options, &files);
}

static void test_takeover_check_tells_the_keeper_that_the_state_fits(void **state)
{
    struct control_message message;
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    files.check_fd = ends[0];
    assert_int_equal(check(N_PAGES), 0);
    assert_string_equal(capture_end(), "");
    assert_int_equal(control_receive(ends[1], &message), 0);
    assert_int_equal(message.kind, CONTROL_FITS);
    assert_int_equal(close(ends[1]), 0);
}

static void test_takeover_check_of_what_does_not_fit_says_so(void **state)
{
    assert_int_equal(check(N_PAGES + 1), EXIT_STATE);
    expect_said("can not go on with segment \"default\": the state that is there has another");
    assert_int_equal(check(N_PAGES), EXIT_SYSTEM); /* there is no keeper */
    expect_said("can not look at segment \"default\": Bad file descriptor");
    const int fd = files.state_fd;
    files.state_fd = -1;
    assert_int_equal(check(N_PAGES), EXIT_SYSTEM);
    expect_said("can not look at segment");
    files.state_fd = fd;
}

#define TAKEOVER_TEST(function)                                                                    \
    cmocka_unit_test_setup_teardown(function, takeover_setup, takeover_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TAKEOVER_TEST(test_takeover_of_the_same_process_goes_on_with_its_files),
        TAKEOVER_TEST(test_takeover_of_another_processs_files_takes_none_of_them),
        TAKEOVER_TEST(test_takeover_on_an_older_kernel_compares_processes_by_number),
        TAKEOVER_TEST(test_takeover_on_an_older_kernel_takes_no_files_of_another_number),
        TAKEOVER_TEST(test_takeover_without_a_proc_believes_the_files),
        TAKEOVER_TEST(test_takeover_of_a_process_of_another_namespace_believes_the_files),
        TAKEOVER_TEST(test_takeover_of_files_whose_process_has_ended_looks_for_the_slots),
        TAKEOVER_TEST(test_takeover_of_files_whose_process_has_ended_beside_the_slots_takes_none),
        TAKEOVER_TEST(test_takeover_that_can_not_look_concludes_nothing),
        TAKEOVER_TEST(test_takeover_drops_files_of_a_slot_that_nobody_has),
        TAKEOVER_TEST(test_takeover_of_a_ledger_that_is_none_says_so_and_goes_on),
        TAKEOVER_TEST(test_takeover_of_a_ledger_without_memory_takes_nobody_for_dead),
        TAKEOVER_TEST(test_takeover_without_a_ledger_watches_the_process_by_what_was_kept),
        TAKEOVER_TEST(test_takeover_without_a_ledger_of_a_process_that_has_ended_takes_all_back),
        TAKEOVER_TEST(test_takeover_without_a_ledger_of_a_process_that_is_not_there_takes_all_back),
        TAKEOVER_TEST(test_takeover_without_a_ledger_of_a_process_that_can_not_be_looked_for_ends),
        TAKEOVER_TEST(test_takeover_without_a_ledger_of_a_process_that_nobody_sees_keeps_it),
        TAKEOVER_TEST(test_takeover_watch_that_fails_says_of_whom),
        TAKEOVER_TEST(test_takeover_of_a_state_of_another_size_is_refused),
        TAKEOVER_TEST(test_takeover_of_a_damaged_state_is_refused_with_its_files),
        TAKEOVER_TEST(test_takeover_waits_for_the_last_servers_end),
        TAKEOVER_TEST(test_takeover_beside_a_server_that_stays_is_refused),
        TAKEOVER_TEST(test_takeover_check_tells_the_keeper_that_the_state_fits),
        TAKEOVER_TEST(test_takeover_check_of_what_does_not_fit_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
