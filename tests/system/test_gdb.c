/* SPDX-License-Identifier: MIT */
/*
 * test_gdb.c - kmem-gdb.py, on a process that lives and on a core of it, with no daemon any more
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "tests/system/daemon.h"
#include "tests/system/sharing.h"

#define N_BLOCKS 40
#define SCRIPT_BYTES 8192

/* So many that the last ones are carved from a lease. */
static void be_program(const void *argument)
{
    const char *core = argument;
    unsigned char *medium = NULL;
    unsigned char *large = NULL;
    (void)prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    if (core) {
        expect_equal(setenv("KMEM_CORE", core, 1), 0);
    }
    for (int i = 0; i < N_BLOCKS; i++) {
        medium = allocate(1000, "program/medium");
        large = allocate(100000, "program/large");
    }
    medium[17] = 0xa5;
    client_say((uint64_t)(uintptr_t)medium);
    client_say((uint64_t)(uintptr_t)large);
    (void)client_await();
}

/* What gdb prints that runs these commands on a process, or on a core. */
static const char *gdb_says(const char *target, const char *commands)
{
    static char said[65536];
    char line[SCRIPT_BYTES];
    (void)snprintf(line, sizeof(line),
                   "gdb -q -batch -nx %s -ex 'source " KMEM_GDB_SCRIPT "' %s 2>&1", target,
                   commands);
    FILE *const gdb = popen(line, "re"); /* NOLINT(cert-env33-c): the words are its own */
    expect_true(gdb != NULL);
    const size_t n_bytes = fread(said, 1, sizeof(said) - 1, gdb);
    said[n_bytes] = '\0';
    (void)pclose(gdb);
    harness_note("%s", said);
    return said;
}

struct pointers {
    struct client program;
    unsigned long long medium;
    unsigned long long large;
};

static struct pointers program_start(const char *core)
{
    struct pointers of = {.medium = 0};
    daemon_start(NULL, NULL);
    of.program = client_start(be_program, core);
    of.medium = client_hear(&of.program);
    of.large = client_hear(&of.program);
    return of;
}

static void test_gdb_explains_pointers_of_a_process_whose_daemon_is_gone(void)
{
    struct pointers of = program_start(NULL);
    char target[64];
    char commands[512];
    daemon_kill();
    (void)snprintf(target, sizeof(target), "-p %d", (int)of.program.pid);
    (void)snprintf(commands, sizeof(commands),
                   "-ex 'kmem why 0x%llx' -ex 'kmem why 0x%llx' -ex 'kmem ledger' -ex 'kmem why 8'",
                   of.medium + 17, of.large + 99999);
    const char *const said = gdb_says(target, commands);
    expect_match(said, "^byte 17 of a block of 1,000 bytes$");
    expect_match(said, "^\"program/medium\", [0-9.]+ s old$");
    expect_match(said, "^byte 99999 of a block of 100,000 bytes$");
    expect_match(said, "^ +[0-9,]+ +[0-9]+  program/large$");
    expect_match(said, "^0x8 is in no kmemd segment of this process$");
    client_kill(&of.program);
}

static const char *core_of(const struct pointers *of)
{
    static char core[512];
    char target[64];
    char commands[600];
    (void)snprintf(core, sizeof(core), "%s", harness_path("core"));
    (void)snprintf(target, sizeof(target), "-p %d", (int)of->program.pid);
    (void)snprintf(commands, sizeof(commands), "-ex 'generate-core-file %s'", core);
    (void)gdb_says(target, commands);
    (void)snprintf(commands, sizeof(commands), "%s", core);
    (void)snprintf(core, sizeof(core), "-c %.480s", commands);
    return core;
}

static void test_gdb_explains_pointers_and_shows_blocks_of_a_core_that_has_them(void)
{
    struct pointers of = program_start("blocks");
    char commands[512];
    const char *const core = core_of(&of);
    (void)snprintf(commands, sizeof(commands),
                   "-ex 'kmem why 0x%llx' -ex 'x/1xb 0x%llx' -ex 'kmem ledger'", of.medium + 17,
                   of.medium + 17);
    const char *const said = gdb_says(core, commands);
    expect_match(said, "^byte 17 of a block of 1,000 bytes$");
    expect_match(said, "^\"program/medium\"");
    expect_match(said, "0xa5$");
    expect_match(said, "^ +[0-9,]+ +[0-9]+  program/large$");
    client_kill(&of.program);
    daemon_stop();
}

static void test_gdb_says_that_a_core_has_neither_blocks_nor_ledger(void)
{
    struct pointers of = program_start(NULL);
    char commands[512];
    const char *const core = core_of(&of);
    (void)snprintf(commands, sizeof(commands), "-ex 'kmem why 0x%llx' -ex 'x/1xb 0x%llx'",
                   of.medium, of.medium);
    const char *const said = gdb_says(core, commands);
    expect_match(said, "offset 0x[0-9a-f]+ of segment");
    expect_match(said, "it is not in the core; a program that runs with KMEM_CORE=ledger");
    expect_match(said, "Cannot access memory");
    client_kill(&of.program);
    daemon_stop();
}

int main(int argc, char **argv)
{
    static const struct system_test tests[] = {
        SYSTEM_TEST(test_gdb_explains_pointers_of_a_process_whose_daemon_is_gone, 60),
        SYSTEM_TEST(test_gdb_explains_pointers_and_shows_blocks_of_a_core_that_has_them, 60),
        SYSTEM_TEST(test_gdb_says_that_a_core_has_neither_blocks_nor_ledger, 60),
    };
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
