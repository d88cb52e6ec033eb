/* SPDX-License-Identifier: MIT */
/*
 * test_lease_abuse.c - a client that writes what it likes into its ledger
 *
 * It may: the ledger is its own. What it writes there is told as what it is, the word of a client;
 * the daemon goes on, the others notice nothing, and the pages come back when it ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "proto/ledger.h"
#include "tests/support/seeded.h"
#include "tests/system/bystander.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"

#define SEGMENT_PAGES 1024 /* 16 MiB */
#define STRANGER 54321

/* ----------------------------------------------------------------------------- scribblers ---- */

enum scribble { ZEROS, ONES, RANDOM, PLAUSIBLE, N_SCRIBBLES };

struct victim {
    struct wire_descriptors descriptors;
    uint64_t *words; /* the ledger */
    uint64_t n_words;
    struct ledger_layout layout;
    struct wire_run run;
    int fd;
};

static struct victim join_with_a_lease(void)
{
    Kmem__ErrorCode error;
    struct victim victim;
    victim.fd = wire_member_with(&victim.descriptors);
    const uint32_t most_pages = (uint32_t)(usage_take().most_bytes / PAGE_BYTES);
    ledger_layout_init(&victim.layout, most_pages);
    victim.n_words = victim.layout.total_bytes / sizeof(uint64_t);
    victim.words = mmap(NULL, victim.layout.total_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                        victim.descriptors.fds[WIRE_LEDGER], 0);
    expect_call(victim.words != MAP_FAILED);
    victim.run = wire_try_lease(victim.fd, 64, 64, &error);
    expect_equal(victim.run.n_pages, 64);
    return victim;
}

/* Heads and entries that pass for real ones: in pages not in use, or not its own, or too many. */
static void scribble_plausibly(const struct victim *victim, struct seeded *seeded)
{
    struct ledger ledger;
    expect_equal(
        ledger_attach(&ledger, victim->words, (uint32_t)(usage_take().most_bytes / PAGE_BYTES)), 0);
    for (uint32_t page = 1; page < SEGMENT_PAGES; page++) {
        struct ledger_head *const head = &ledger.heads[page];
        head->size_class = (uint16_t)(seeded_next(seeded) % (N_SIZE_CLASSES + 2));
        head->span_pages = (uint32_t)seeded_next(seeded) % 3 == 0
                               ? (uint32_t)seeded_next(seeded)
                               : 1 + (uint32_t)seeded_next(seeded) % 8;
        head->n_carved = (uint16_t)seeded_next(seeded);
        atomic_store(&head->kind, (uint32_t)seeded_next(seeded) % 8);
        for (uint32_t i = 0; i < 16; i++) {
            atomic_store(&ledger.planes[0][page * 16 + i].word, seeded_next(seeded) >> 20);
        }
    }
    for (uint32_t i = 0; i < SEGMENT_PAGES / 8; i++) {
        atomic_store(&ledger.states[i], UINT64_C(0x0202020202020202)); /* all in use */
    }
}

static void scribble(const struct victim *victim, enum scribble kind, struct seeded *seeded)
{
    if (kind == PLAUSIBLE) {
        scribble_plausibly(victim, seeded);
        return;
    }
    for (uint64_t i = 0; i < victim->n_words; i++) {
        victim->words[i] = kind == ZEROS ? 0 : kind == ONES ? UINT64_MAX : seeded_next(seeded);
    }
}

static void scribble_once(const void *argument)
{
    const enum scribble kind = *(const enum scribble *)argument;
    struct seeded seeded = {20260713};
    const struct victim victim = join_with_a_lease();
    scribble(&victim, kind, &seeded);
    client_pause();
    /* The daemon still serves it, and only gives it what is nobody's. */
    Kmem__ErrorCode error;
    (void)wire_try_lease(victim.fd, 8, 16, &error);
    /* More than there is: what is unused is looked for, and taken back. */
    (void)wire_try_lease(victim.fd, SEGMENT_PAGES, 0, &error);
    scribble(&victim, kind, &seeded);
    client_pause();
}

static void ask_everything(void)
{
    static struct ledger_row rows[4096];
    (void)usage_take(); /* wants the sum to be right */
    (void)ledger_rows(KMEM__GROUP_BY__GROUP_BY_REASON, rows, 4096);
    (void)ledger_rows(KMEM__GROUP_BY__GROUP_BY_CLIENT, rows, 4096);
    (void)ledger_rows(KMEM__GROUP_BY__GROUP_BY_UID, rows, 4096);
    (void)client_row_of(1);
    (void)ledger_blocks_of(1, NULL, 0);
}

static void test_a_ledger_of_nonsense_harms_nobody(void)
{
    daemon_start(NULL, NULL);
    struct client bystander = bystander_start(64);
    for (enum scribble kind = ZEROS; kind < N_SCRIBBLES; kind++) {
        struct client scribbler = client_begin(scribble_once, &kind);
        ask_everything();
        client_resume(&scribbler);
        ask_everything();
        client_kill(&scribbler);
        expect_soon(usage_take().clients == 1, 2000);
        expect_true(obituary_of(scribbler.pid).found);
    }
    bystander_end(&bystander);
    daemon_stop_balanced();
}

static void scribble_for_ever(const void *argument)
{
    struct seeded seeded = {*(const uint64_t *)argument};
    const struct victim victim = join_with_a_lease();
    client_say(1);
    for (uint64_t i = 0;; i++) {
        /* Mostly where the daemon looks: states and heads, and what belongs to them. */
        const uint64_t random = seeded_next(&seeded);
        const uint64_t n_near = victim.layout.plane_at[0] / sizeof(uint64_t);
        const uint64_t at = random % (random % 8 == 0 ? victim.n_words : n_near);
        victim.words[at] = i % 3 == 0 ? UINT64_C(0x0201020102010201) : seeded_next(&seeded);
    }
}

/* A round takes some milliseconds. */
#define N_ROUNDS (HARNESS_SANITIZED ? 40 : 200)

static void test_a_ledger_that_changes_while_it_is_read_harms_nobody(void)
{
    struct client scribblers[2];
    daemon_start(NULL, NULL);
    struct client bystander = bystander_start(64);
    for (uint64_t i = 0; i < 2; i++) {
        const uint64_t seed = 4711 + i;
        scribblers[i] = client_begin(scribble_for_ever, &seed);
    }
    for (unsigned int i = 0; i < N_ROUNDS; i++) {
        ask_everything();
    }
    for (size_t i = 0; i < 2; i++) {
        client_kill(&scribblers[i]);
    }
    bystander_end(&bystander);
    daemon_stop_balanced();
}

/* ---------------------------------------------------------------------------- descriptors ---- */

static void become_stranger(void)
{
    expect_call(setgroups(0, NULL) == 0);
    expect_call(setresgid(STRANGER, STRANGER, STRANGER) == 0);
    expect_call(setresuid(STRANGER, STRANGER, STRANGER) == 0);
}

static void expect_error_of(int result, int error)
{
    expect_equal(result, -1);
    expect_equal(errno, error);
}

static void expect_reopen_is_refused(int fd, int flags)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    expect_error_of(open(path, flags | O_CLOEXEC), EACCES);
}

static void try_to_spoil(const void *argument)
{
    (void)argument;
    struct wire_descriptors given;
    const int fd = wire_member_with(&given);
    const int ledger_fd = given.fds[WIRE_LEDGER];
    const int clock_fd = given.fds[WIRE_CLOCK];
    struct stat status;
    become_stranger();
    expect_call(fstat(ledger_fd, &status) == 0);
    expect_error_of(ftruncate(ledger_fd, 0), EPERM);
    expect_error_of(ftruncate(ledger_fd, status.st_size - 4096), EPERM);
    expect_error_of(ftruncate(ledger_fd, status.st_size + 4096), EPERM);
    expect_error_of(fallocate(ledger_fd, 0, status.st_size, 4096), EPERM);
    expect_error_of(fcntl(ledger_fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), EPERM);
    expect_error_of(fchmod(ledger_fd, 0666), EPERM);
    expect_reopen_is_refused(ledger_fd, O_RDWR);
    expect_error_of(ftruncate(clock_fd, 0), EINVAL); /* it is not open for writing */
    expect_error_of(fchmod(clock_fd, 0666), EPERM);
    expect_error_of(fcntl(clock_fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
    expect_true(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, clock_fd, 0) == MAP_FAILED);
    expect_equal(errno, EACCES);
    expect_error_of((int)write(clock_fd, "x", 1), EBADF);
    expect_reopen_is_refused(clock_fd, O_RDWR);
    unsigned char *page = mmap(NULL, CLOCK_BYTES, PROT_READ, MAP_SHARED, clock_fd, 0);
    expect_call(page != MAP_FAILED);
    expect_error_of(mprotect(page, CLOCK_BYTES, PROT_READ | PROT_WRITE), EACCES);
    const _Atomic uint32_t *clock = (const void *)(page + CLOCK_TICK_AT);
    const uint32_t tick = atomic_load(clock);
    expect_soon(atomic_load(clock) != tick, 2000); /* it goes on */
    wire_close_descriptors(&given);
    (void)close(fd);
}

static void test_ledger_and_clock_can_not_be_truncated_grown_or_reopened(void)
{
    if (geteuid() != 0) {
        harness_skip("only root can become another user");
    }
    daemon_start(NULL, NULL);
    client_run(try_to_spoil, NULL);
    daemon_stop_balanced();
}

/* ------------------------------------------------------------------------------- requests ---- */

static void ask_for_impossible_leases(const void *argument)
{
    (void)argument;
    Kmem__ErrorCode error;
    const int fd = wire_member();
    const uint32_t impossible[] = {0, SEGMENT_PAGES + 1, UINT32_MAX};
    for (size_t i = 0; i < sizeof(impossible) / sizeof(impossible[0]); i++) {
        expect_equal(wire_try_lease(fd, impossible[i], 1, &error).n_pages, 0);
        expect_equal(error, KMEM__ERROR_CODE__ERROR_INVALID);
    }
    expect_equal(wire_try_lease(fd, SEGMENT_PAGES, 1, &error).n_pages, 0); /* one is the daemon's */
    expect_equal(error, KMEM__ERROR_CODE__ERROR_NO_MEMORY);
    const struct wire_run run = wire_try_lease(fd, 4, UINT32_MAX, &error);
    expect_at_least(run.n_pages, 4);
    expect_at_most(run.n_pages, SEGMENT_PAGES / 8);
    client_say(run.n_pages);
    client_await();
    (void)close(fd);
}

static void test_impossible_leases_are_refused(void)
{
    daemon_start(NULL, NULL);
    struct client bystander = bystander_start(64);
    struct client asker = client_start(ask_for_impossible_leases, NULL);
    const uint64_t n_pages = client_hear(&asker);
    expect_equal(client_row_of(asker.pid).leased_bytes, n_pages * PAGE_BYTES);
    client_finish(&asker);
    bystander_end(&bystander);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_impossible_leases_are_refused, 10),
    SYSTEM_TEST(test_ledger_and_clock_can_not_be_truncated_grown_or_reopened, 10),
    SYSTEM_TEST(test_a_ledger_of_nonsense_harms_nobody, 60),
    SYSTEM_TEST(test_a_ledger_that_changes_while_it_is_read_harms_nobody, 60),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
