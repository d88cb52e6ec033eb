/* SPDX-License-Identifier: MIT */
/*
 * test_client_files.c - what files clients are given, and what the daemon sees in them
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/server/client_files.h"
#include "daemon/memfd.h"
#include "proto/clear.h"
#include "proto/lease.h"
#include "proto/notice.h"
#include "tests/unit/broken.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

#define N_PAGES 64

FAIL_WRAP(int, memfd_create, (const char *name, unsigned flags), (name, flags), -1)
FAIL_WRAP(int, ftruncate, (int fd, off_t n_bytes), (fd, n_bytes), -1)
FAIL_WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode), -1)
FAIL_WRAP(ssize_t, pwrite, (int fd, const void *bytes, size_t n_bytes, off_t at),
          (fd, bytes, n_bytes, at), -1)
FAIL_WRAP(void *, mmap,
          (void *address, size_t n_bytes, int protection, int flags, int fd, off_t offset),
          (address, n_bytes, protection, flags, fd, offset), MAP_FAILED)

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, mode_t mode);
int __wrap_open(const char *path, int flags, mode_t mode)
{
    return fail_now("open") ? -1 : __real_open(path, flags, mode);
}

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, long argument);
int __wrap_fcntl(int fd, int command, long argument)
{
    return fail_now("fcntl") ? -1 : __real_fcntl(fd, command, argument);
}

static struct client_files ledgers;
static unsigned n_fds;

static int ledgers_setup(void **state)
{
    n_fds = count_fds();
    const int clock_fd = memfd_open("test", "clock", NOTICE_BYTES);
    assert_int_equal(client_files_init(&ledgers, "test", N_PAGES, clock_fd), 0);
    assert_int_equal(close(clock_fd), 0);
    return 0;
}

static int ledgers_teardown(void **state)
{
    client_files_fini(&ledgers);
    assert_int_equal(count_fds(), n_fds);
    return 0;
}

static int open_slot(uint32_t slot, _Atomic uint64_t **ret_states)
{
    int fd;
    assert_int_equal(client_files_open(&ledgers, slot, &fd, ret_states), 0);
    return fd;
}

/* What a client makes of the descriptor that it is given. */
static struct ledger attach(int fd)
{
    struct ledger ledger;
    void *base = mmap(NULL, ledgers.layout.total_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(base, MAP_FAILED);
    assert_int_equal(ledger_attach(&ledger, base, N_PAGES), 0);
    return ledger;
}

static void detach(struct ledger *ledger)
{
    assert_int_equal(munmap(ledger->header, ledgers.layout.total_bytes), 0);
}

/* ---------------------------------------------------------------------------------- ledgers -- */

static void test_client_files_open_makes_a_ledger_that_the_client_can_attach(void **state)
{
    _Atomic uint64_t *states;
    struct stat status;
    const int fd = open_slot(3, &states);

    struct ledger ledger = attach(fd);

    assert_int_equal(ledger.n_pages, N_PAGES);
    assert_int_equal(atomic_load(&ledger.header->n_reasons), REASONS_RESERVED);
    assert_int_equal(fstat(fd, &status), 0);
    assert_int_equal(status.st_size, ledgers.layout.total_bytes);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_true(status.st_blocks * 512 < 65536); /* it is sparse */
    detach(&ledger);
    client_files_close(&ledgers, 3);
}

static void test_client_files_open_gives_the_states_to_both_sides(void **state)
{
    _Atomic uint64_t *states;
    bool zero;
    struct ledger ledger = attach(open_slot(0, &states));

    lease_grant(states, 0, N_PAGES, true);
    assert_true(lease_take(ledger.states, N_PAGES - 3, 3, &zero));

    assert_true(zero);
    assert_int_equal(lease_count_free(states, 0, N_PAGES), N_PAGES - 3);
    detach(&ledger);
    client_files_close(&ledgers, 0);
}

static void test_client_files_open_of_a_slot_that_has_one_is_the_same(void **state)
{
    _Atomic uint64_t *states;
    _Atomic uint64_t *again;
    const int fd = open_slot(4095, &states);

    assert_int_equal(open_slot(4095, &again), fd);

    assert_ptr_equal(again, states);
    client_files_close(&ledgers, 4095);
}

static void test_client_files_open_after_close_begins_anew(void **state)
{
    _Atomic uint64_t *states;
    (void)open_slot(1, &states);
    lease_grant(states, 0, N_PAGES, false);
    client_files_close(&ledgers, 1);
    client_files_close(&ledgers, 1); /* of none: nothing */

    (void)open_slot(1, &states);

    assert_int_equal(lease_count_free(states, 0, N_PAGES), 0);
    client_files_close(&ledgers, 1);
}

static void test_client_files_can_not_be_shrunk_grown_or_sealed_by_a_client(void **state)
{
    _Atomic uint64_t *states;
    const int fd = open_slot(1, &states);
    const off_t total_bytes = (off_t)ledgers.layout.total_bytes;

    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(fd, total_bytes + 1), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
    assert_int_equal(errno, EPERM);
    client_files_close(&ledgers, 1);
}

/* ------------------------------------------------------------------------------------- read -- */

static void test_client_files_read_sees_what_the_client_wrote(void **state)
{
    _Atomic uint64_t *states;
    struct ledger ledger = attach(open_slot(2, &states));
    struct ledger_reason reason;
    const uint64_t at = ledgers.layout.reasons_at + 5 * sizeof(reason);
    ledger.reasons[5].n_bytes = 3;
    memcpy(ledger.reasons[5].bytes, "why", 3);

    assert_true(client_files_read(&ledgers, 2, at, &reason, sizeof(reason)));

    assert_int_equal(reason.n_bytes, 3);
    assert_memory_equal(reason.bytes, "why", 3);
    detach(&ledger);
    client_files_close(&ledgers, 2);
}

static void test_client_files_read_of_what_is_not_there_is_false(void **state)
{
    _Atomic uint64_t *states;
    unsigned char bytes[16];
    (void)open_slot(2, &states);
    const uint64_t total_bytes = ledgers.layout.total_bytes;

    assert_true(client_files_read(&ledgers, 2, total_bytes - 16, bytes, 16));
    assert_false(client_files_read(&ledgers, 2, total_bytes - 15, bytes, 16));
    assert_false(client_files_read(&ledgers, 2, total_bytes, bytes, 1));
    assert_false(client_files_read(&ledgers, 2, UINT64_MAX, bytes, 1));
    assert_false(client_files_read(&ledgers, 3, 0, bytes, 1));
    client_files_close(&ledgers, 2);
    assert_false(client_files_read(&ledgers, 2, 0, bytes, 1));
}

/* ------------------------------------------------------------------------------------ clock -- */

static void test_client_files_set_tick_is_seen_through_the_clocks_descriptor(void **state)
{
    const unsigned char *page = mmap(NULL, CLOCK_BYTES, PROT_READ, MAP_SHARED, ledgers.clock_fd, 0);
    assert_ptr_not_equal(page, MAP_FAILED);
    const _Atomic uint32_t *clock = (const void *)(page + CLOCK_TICK_AT);
    assert_int_equal(atomic_load(clock), 0);

    client_files_set_tick(&ledgers, 12345);

    assert_int_equal(atomic_load(clock), 12345);
    assert_int_equal(munmap((void *)(uintptr_t)page, CLOCK_BYTES), 0);
}

static void test_client_files_init_with_a_clock_of_another_size_is_EPROTO(void **state)
{
    (void)state;
    static const uint64_t sizes[] = {CLOCK_BYTES, NOTICE_BYTES - 1, NOTICE_BYTES + 1};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct client_files other;
        const int clock_fd = memfd_open("other", "clock", sizes[i]);
        const unsigned n_before = count_fds();
        assert_int_equal(client_files_init(&other, "other", N_PAGES, clock_fd), -EPROTO);
        assert_int_equal(count_fds(), n_before);
        assert_int_equal(close(clock_fd), 0);
    }
}

static void test_client_files_clock_can_not_be_written_through_its_descriptor(void **state)
{
    const uint32_t tick = 1;

    assert_ptr_equal(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ledgers.clock_fd, 0),
                     MAP_FAILED);
    assert_int_equal(errno, EACCES);
    assert_int_equal(pwrite(ledgers.clock_fd, &tick, sizeof(tick), 0), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(ftruncate(ledgers.clock_fd, 0), -1);
}

/* ----------------------------------------------------------------------------------- adopt -- */

static void test_client_files_adopt_shows_the_states_that_were_there(void **state)
{
    _Atomic uint64_t *states;
    const int fd = dup(open_slot(3, &states));
    atomic_store(&states[1], 0x0101);
    atomic_store(&client_files_returns(&ledgers, 3)->offsets[RETURNS_MAX - 1], 0x4000);
    client_files_close(&ledgers, 3);

    assert_int_equal(client_files_adopt(&ledgers, 3, fd), 0);

    states = client_files_states(&ledgers, 3);
    assert_non_null(states);
    assert_int_equal(atomic_load(&states[1]), 0x0101);
    assert_int_equal(atomic_load(&client_files_returns(&ledgers, 3)->offsets[RETURNS_MAX - 1]),
                     0x4000);
    client_files_close(&ledgers, 3);
    assert_null(client_files_states(&ledgers, 3));
    assert_null(client_files_returns(&ledgers, 3));
}

static void test_client_files_adopt_of_a_file_of_another_size_is_refused(void **state)
{
    const int fd = memfd_open("test", "other", CLOCK_BYTES);

    assert_int_equal(client_files_adopt(&ledgers, 3, fd), -EPROTO);

    assert_null(client_files_states(&ledgers, 3));
}

static void test_client_files_adopt_that_fails_leaves_the_slot_without(void **state)
{
    _Atomic uint64_t *states;
    const int fd = dup(open_slot(3, &states));
    client_files_close(&ledgers, 3);
    fail_nth("mmap", 1, ENOMEM);

    assert_int_equal(client_files_adopt(&ledgers, 3, fd), -ENOMEM);

    assert_true(fail_end());
    assert_null(client_files_states(&ledgers, 3));
}

/* --------------------------------------------------------------------------- what may fail ---- */

static void test_client_files_init_that_fails_leaves_nothing_open(void **state)
{
    static const char *const calls[] = {"memory", "open", "mmap"};
    const int clock_fd = memfd_open("other", "clock", NOTICE_BYTES);
    struct client_files other;

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        const unsigned n_before = count_fds();
        for (unsigned nth = 1; fail_again(calls[i], nth, ENOMEM); nth++) {
            const int r = client_files_init(&other, "other", N_PAGES, clock_fd);
            const bool failed = fail_end();
            assert_int_equal(r, failed ? -ENOMEM : 0);
            assert_true(failed || nth > 1);
            if (r == 0) {
                client_files_fini(&other);
            }
            assert_int_equal(count_fds(), n_before);
        }
    }
    assert_int_equal(close(clock_fd), 0);
}

static void test_client_files_open_that_fails_leaves_the_slot_without(void **state)
{
    static const char *const calls[] = {"memfd_create", "ftruncate", "fchmod",
                                        "fcntl",        "mmap",      "pwrite"};
    _Atomic uint64_t *states;
    int fd;

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        const unsigned n_before = count_fds();
        for (unsigned nth = 1; fail_again(calls[i], nth, EMFILE); nth++) {
            const int r = client_files_open(&ledgers, 7, &fd, &states);
            const bool failed = fail_end();
            assert_true(failed ? r < 0 : r == 0);
            assert_true(failed || nth > 1);
            assert_int_equal(client_files_read(&ledgers, 7, 0, &fd, 1), !failed);
            client_files_close(&ledgers, 7);
            assert_int_equal(count_fds(), n_before);
        }
    }
}

/* What clients are told of clearing is what the core shows, and stays. */
static void test_client_files_configure_tells_clients_by_which_loops_to_clear(void **state)
{
    struct core_config config = {.pid = 1};
    uint32_t plan = 0;
    client_files_configure(&ledgers, &config);
    assert_ptr_equal(config.ledger_read, client_files_read);
    assert_ptr_equal(config.ledger_user, &ledgers);
    assert_true(clear_plan_is_usable(config.clear_plan));
    assert_int_equal(pread(ledgers.clock_fd, &plan, sizeof(plan),
                           CLOCK_TICK_AT + offsetof(struct notice, clear)),
                     sizeof(plan));
    assert_int_equal(plan, config.clear_plan);
    client_files_configure(&ledgers, &config);
    assert_int_equal(config.clear_plan, plan);
}

static void test_client_files_fini_with_a_ledger_is_a_bug(void **state)
{
    _Atomic uint64_t *states;
    (void)open_slot(7, &states);

    assert_broken(client_files_fini(&ledgers));
    client_files_close(&ledgers, 7);
}

#define LEDGERS_TEST(test) cmocka_unit_test_setup_teardown(test, ledgers_setup, ledgers_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGERS_TEST(test_client_files_open_makes_a_ledger_that_the_client_can_attach),
        LEDGERS_TEST(test_client_files_open_gives_the_states_to_both_sides),
        LEDGERS_TEST(test_client_files_open_of_a_slot_that_has_one_is_the_same),
        LEDGERS_TEST(test_client_files_open_after_close_begins_anew),
        LEDGERS_TEST(test_client_files_can_not_be_shrunk_grown_or_sealed_by_a_client),
        LEDGERS_TEST(test_client_files_read_sees_what_the_client_wrote),
        LEDGERS_TEST(test_client_files_read_of_what_is_not_there_is_false),
        LEDGERS_TEST(test_client_files_set_tick_is_seen_through_the_clocks_descriptor),
        LEDGERS_TEST(test_client_files_init_with_a_clock_of_another_size_is_EPROTO),
        LEDGERS_TEST(test_client_files_clock_can_not_be_written_through_its_descriptor),
        LEDGERS_TEST(test_client_files_adopt_shows_the_states_that_were_there),
        LEDGERS_TEST(test_client_files_adopt_of_a_file_of_another_size_is_refused),
        LEDGERS_TEST(test_client_files_adopt_that_fails_leaves_the_slot_without),
        LEDGERS_TEST(test_client_files_init_that_fails_leaves_nothing_open),
        LEDGERS_TEST(test_client_files_open_that_fails_leaves_the_slot_without),
        LEDGERS_TEST(test_client_files_configure_tells_clients_by_which_loops_to_clear),
        LEDGERS_TEST(test_client_files_fini_with_a_ledger_is_a_bug),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
