/* SPDX-License-Identifier: MIT */
/*
 * test_lease_threads.c - a client's threads and the daemon at the same page states at once
 *
 * Each page has a plain variable, that only who has the page may touch: a client thread between
 * take and give, the daemon between revoke and grant. Two of them at once is a wrong number in any
 * build, and a data race in one for ThreadSanitizer. At the end every page is accounted for once.
 */
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "proto/lease.h"
#include "tests/support/seeded.h"
#include "tests/unit/unit.h"

#define N_PAGES 203
#define N_WORDS ((N_PAGES + 7) / 8)
#define N_THREADS 3
/* Of the daemon, at least; the threads go on until it has made them. A build without NDEBUG is one
   for sanitizers and debuggers. */
#ifdef NDEBUG
#define N_ROUNDS 150000
#else
#define N_ROUNDS 30000
#endif
/* What each thread has taken when the test may end. */
#define N_TAKEN_MIN 10000

/* Whose a page is; thread i is i + 2. */
enum { NOBODY, DAEMON };

#define N_BEFORE (LEASE_GIVEN_BEFORE_BYTES / sizeof(uint64_t))
static _Atomic uint64_t before_and_states[N_BEFORE + N_WORDS];
static _Atomic uint64_t *const states = before_and_states + N_BEFORE;
static uint32_t owner[N_PAGES]; /* plain: written by who has the page */
static _Atomic uint32_t n_warm; /* threads that have taken N_TAKEN_MIN pages */
static _Atomic bool ends;
static _Atomic uint32_t n_wrong;

struct thread {
    pthread_t id;
    uint32_t number;
    uint64_t n_taken;
};

static void expect(bool condition)
{
    /* Relaxed: a count that is read when the threads have ended. */
    atomic_fetch_add_explicit(&n_wrong, !condition, memory_order_relaxed);
}

/* Pages change hands: they were `from`'s, or nobody's. */
static void pass(uint32_t page, uint32_t n_pages, uint32_t from, uint32_t to)
{
    for (uint32_t i = page; i < page + n_pages; i++) {
        expect(owner[i] == from);
        owner[i] = to;
    }
}

/* ---------------------------------------------------------------------------------- clients -- */

#define RUNS_HELD 8

static void *client_work(void *user)
{
    struct thread *thread = user;
    struct seeded seeded = {thread->number};
    struct run held[RUNS_HELD] = {{.n_pages = 0}};
    while (!atomic_load(&ends)) {
        struct run *run = &held[seeded_below(&seeded, RUNS_HELD)];
        bool zero;
        if (run->n_pages != 0) {
            pass(run->page, run->n_pages, thread->number, NOBODY);
            lease_give(states, run->page, run->n_pages);
            run->n_pages = 0;
            continue;
        }
        const uint32_t n_pages = 1 + seeded_below(&seeded, seeded_below(&seeded, 4) ? 4 : 24);
        uint32_t page;
        if (lease_find(states, seeded_below(&seeded, N_PAGES), N_PAGES, n_pages, &page) &&
            lease_take(states, page, n_pages, &zero)) {
            pass(page, n_pages, NOBODY, thread->number);
            *run = (struct run){page, n_pages};
            const bool was_warm = thread->n_taken >= N_TAKEN_MIN;
            thread->n_taken += n_pages;
            atomic_fetch_add(&n_warm, !was_warm && thread->n_taken >= N_TAKEN_MIN);
        }
    }
    for (struct run *run = held; run < held + RUNS_HELD; run++) {
        pass(run->page, run->n_pages, thread->number, NOBODY);
        lease_give(states, run->page, run->n_pages);
    }
    return NULL;
}

/* ----------------------------------------------------------------------------------- daemon -- */

static bool granted[N_PAGES]; /* the daemon's table */

static void daemon_grant(struct seeded *seeded)
{
    const uint32_t page = seeded_below(seeded, N_PAGES);
    uint32_t n_pages = 0;
    while (page + n_pages < N_PAGES && n_pages < 20 && !granted[page + n_pages]) {
        expect(lease_state_of(states, page + n_pages) == LEASE_NONE);
        granted[page + n_pages] = true;
        n_pages++;
    }
    if (n_pages > 0) {
        pass(page, n_pages, DAEMON, NOBODY);
        lease_grant(states, page, n_pages, false);
    }
}

static uint64_t daemon_revoke(struct seeded *seeded)
{
    uint32_t page = seeded_below(seeded, N_PAGES);
    const uint32_t end = page + 1 + seeded_below(seeded, N_PAGES - page);
    const uint32_t n_pages = lease_revoke(states, &page, end);
    if (n_pages > 0) {
        pass(page, n_pages, NOBODY, DAEMON);
        for (uint32_t i = page; i < page + n_pages; i++) {
            expect(granted[i]);
            granted[i] = false;
        }
        lease_forget(states, page, n_pages);
    }
    return n_pages;
}

static void assert_every_page_is_accounted_for_once(void)
{
    for (uint32_t page = 0; page < N_PAGES; page++) {
        const uint32_t page_state = lease_state_of(states, page);
        assert_int_equal(page_state, granted[page] ? LEASE_FREE : LEASE_NONE);
        assert_int_equal(owner[page], granted[page] ? NOBODY : DAEMON);
    }
}

static void test_lease_of_many_threads_gives_each_page_to_one(void **state)
{
    struct thread threads[N_THREADS];
    struct seeded seeded = {1};
    uint64_t n_revoked = 0;
    for (uint32_t page = 0; page < N_PAGES; page++) {
        owner[page] = DAEMON;
    }
    print_message("seeds 1 to %d\n", N_THREADS + 1);
    for (uint32_t i = 0; i < N_THREADS; i++) {
        threads[i] = (struct thread){.number = i + 2};
        assert_int_equal(pthread_create(&threads[i].id, NULL, client_work, &threads[i]), 0);
    }

    for (uint32_t round = 0; round < N_ROUNDS || atomic_load(&n_warm) < N_THREADS; round++) {
        daemon_grant(&seeded);
        daemon_grant(&seeded);
        n_revoked += daemon_revoke(&seeded);
        if (round % 64 == 0) {
            (void)sched_yield(); /* or on few cores nobody else gets far */
        }
    }
    atomic_store(&ends, true);

    for (uint32_t i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_join(threads[i].id, NULL), 0);
        assert_true(threads[i].n_taken >= N_TAKEN_MIN);
    }
    print_message("%llu, %llu, %llu pages taken, %llu revoked\n",
                  (unsigned long long)threads[0].n_taken, (unsigned long long)threads[1].n_taken,
                  (unsigned long long)threads[2].n_taken, (unsigned long long)n_revoked);
    assert_int_equal(atomic_load(&n_wrong), 0);
    assert_true(n_revoked > N_ROUNDS / 10);
    assert_every_page_is_accounted_for_once();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lease_of_many_threads_gives_each_page_to_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
