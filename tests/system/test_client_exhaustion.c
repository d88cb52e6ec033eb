/* SPDX-License-Identifier: MIT */
/*
 * test_client_exhaustion.c - every system call and every allocation of a client fails, one after
 * the other
 *
 * What test_exhaustion.c does to kmemd. A sweep plays one scene (scenes.h) again and again, each
 * time in a new process: the first time the first call fails that the process makes in it, the next
 * time the second, until the scene is over before; either that call alone, or that kind of call for
 * good, as long as the act lasts. The calls are those of libkmem and what it calls; the scene
 * itself makes none. A sweep takes each call where $KMEM_TEST_STRIDE is 1, as `make torture` has
 * it, else one in so many.
 *
 * What is wanted each time: each public call succeeds, or fails with an errno that its header has
 * and a sentence; the same again, with nothing failing, succeeds, and what was held before is as it
 * was; in the end nothing is lost, in the segment, in the daemon, or of the process's descriptors.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/failing_memory.h"
#include "tests/system/faults.h"
#include "tests/system/harness.h"
#include "tests/system/scenes.h"
#include "tests/system/usage.h"

/* What a client waits for an answer. Long enough that only what fails lets it run out. */
#define PATIENCE_ONCE_MS (HARNESS_SANITIZED ? "30000" : "10000")
/* A call that fails for good is tried until then. */
#define PATIENCE_FOR_GOOD_MS "200"

static const struct scene *scene;
static struct fault fault;

static void arm(void)
{
    faults_arm(&fault);
}

static unsigned int disarm(void)
{
    const struct faults_seen seen = faults_disarm();
    const bool is_look = strcmp(seen.name, "newfstatat") == 0 || strcmp(seen.name, "fstat") == 0;
    return is_look ? seen.n_failed : 0;
}

static void play(const void *argument)
{
    (void)argument;
    if (fault.kind == FAULT_MEMORY) {
        failing_memory_begin(faults_plan(), FAULT_KEEPER);
    }
    (void)setenv("KMEM_TIMEOUT_MS", fault.for_good ? PATIENCE_FOR_GOOD_MS : PATIENCE_ONCE_MS, 1);
    scene_play(scene, arm, disarm);
}

/* Printed with the logs if the test fails. */
static void fault_log(void)
{
    FILE *const file = fopen(harness_path("fault.log"), "we");
    expect_call(file != NULL);
    (void)fprintf(file, "%s: number %u, %s\n", scene->name, fault.nth,
                  fault.for_good ? "for good" : "once");
    (void)fclose(file);
}

static void sweep(enum fault_kind kind, bool for_good, unsigned int usual_stride)
{
    const struct stopwatch watch = stopwatch_start();
    const unsigned int stride = harness_stride(usual_stride);
    struct faults_seen seen = {.n_failed = 1};
    unsigned int n_failed = 0;
    fault = (struct fault){.kind = kind, .role = FAULT_KEEPER, .for_good = for_good};
    for (fault.nth = 1; seen.n_failed > 0; fault.nth += stride) {
        fault_log();
        faults_run_client(play, NULL);
        seen = faults_disarm();
        n_failed += seen.n_failed > 0;
    }
    harness_note("%s: %s, %s: %u of %u, one in %u; %.1f s", scene->name,
                 kind == FAULT_MEMORY ? "allocations" : "system calls",
                 for_good ? "for good" : "once", n_failed, seen.n_calls, stride,
                 stopwatch_ms(&watch) / 1000);
    expect_at_least(n_failed, 1);
}

static struct client producer;

static void begin(enum fault_kind kind)
{
    if (HARNESS_SANITIZED && kind == FAULT_MEMORY) {
        harness_skip("a sanitizer has its own malloc()");
    }
    faults_begin(kind);
    daemon_start("--size", "64MiB", "--commit", "lazy", "--log-level", "error", NULL);
    producer = client_begin(scenes_produce, NULL);
}

static void end(void)
{
    client_finish(&producer);
    daemon_stop_balanced();
}

/* Those that fail for good are slower, and many are alike. */
static void sweep_both(const struct scene *wanted, enum fault_kind kind)
{
    begin(kind);
    scene = wanted;
    sweep(kind, false, kind == FAULT_MEMORY ? 1 : 3);
    sweep(kind, true, kind == FAULT_MEMORY ? 1 : 13);
    end();
}

static void test_system_calls_of_a_client_that_joins(void)
{
    sweep_both(&scene_join, FAULT_CALL);
}

static void test_system_calls_of_a_client_that_is_carved_blocks(void)
{
    sweep_both(&scene_carve, FAULT_CALL);
}

static void test_system_calls_of_a_client_that_leases(void)
{
    sweep_both(&scene_lease, FAULT_CALL);
}

static void test_system_calls_of_a_client_that_leaves(void)
{
    sweep_both(&scene_close, FAULT_CALL);
}

static void test_system_calls_of_a_client_that_shares(void)
{
    sweep_both(&scene_share, FAULT_CALL);
}

static void test_system_calls_of_a_client_that_attaches(void)
{
    sweep_both(&scene_attach, FAULT_CALL);
}

static void test_system_calls_of_a_client_that_reads(void)
{
    sweep_both(&scene_read, FAULT_CALL);
}

static void test_system_calls_of_a_client_that_watches(void)
{
    sweep_both(&scene_watch, FAULT_CALL);
}

static void test_system_calls_of_a_client_that_asks(void)
{
    sweep_both(&scene_query, FAULT_CALL);
}

static void test_system_calls_of_a_client_that_forks(void)
{
    sweep_both(&scene_fork, FAULT_CALL);
}

static void test_system_calls_of_a_client_that_comes_back(void)
{
    sweep_both(&scene_resume, FAULT_CALL);
}

static void test_allocations_of_a_client_that_joins(void)
{
    sweep_both(&scene_join, FAULT_MEMORY);
}

static void test_allocations_of_a_client_that_asks(void)
{
    sweep_both(&scene_query, FAULT_MEMORY);
}

static void test_a_client_that_has_joined_allocates_nothing(void)
{
    const struct scene *const scenes[] = {&scene_carve, &scene_lease, &scene_share, &scene_attach,
                                          &scene_resume};
    begin(FAULT_MEMORY);
    for (size_t i = 0; i < sizeof(scenes) / sizeof(scenes[0]); i++) {
        scene = scenes[i];
        fault = (struct fault){.kind = FAULT_MEMORY, .role = FAULT_KEEPER, .nth = 1};
        faults_run_client(play, NULL);
        expect_equal(faults_disarm().n_calls, 0);
    }
    end();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_system_calls_of_a_client_that_joins, 200),
    SYSTEM_TEST(test_system_calls_of_a_client_that_is_carved_blocks, 200),
    SYSTEM_TEST(test_system_calls_of_a_client_that_leases, 200),
    SYSTEM_TEST(test_system_calls_of_a_client_that_leaves, 200),
    SYSTEM_TEST(test_system_calls_of_a_client_that_shares, 200),
    SYSTEM_TEST(test_system_calls_of_a_client_that_attaches, 200),
    SYSTEM_TEST(test_system_calls_of_a_client_that_reads, 200),
    SYSTEM_TEST(test_system_calls_of_a_client_that_watches, 200),
    SYSTEM_TEST(test_system_calls_of_a_client_that_asks, 200),
    SYSTEM_TEST(test_system_calls_of_a_client_that_forks, 200),
    SYSTEM_TEST(test_system_calls_of_a_client_that_comes_back, 200),
    SYSTEM_TEST(test_allocations_of_a_client_that_joins, 200),
    SYSTEM_TEST(test_allocations_of_a_client_that_asks, 200),
    SYSTEM_TEST(test_a_client_that_has_joined_allocates_nothing, 200),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
