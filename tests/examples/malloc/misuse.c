/* SPDX-License-Identifier: MIT */
/*
 * What a program calls wrongly ends it, in a sentence that CMakeLists.txt knows. It is run by
 * `kmemctl run --malloc`; each test is a process of its own.
 *
 *      misuse TEST
 */
#include "tests/examples/malloc/forks.h"

/* Of which the compiler knows nothing. */
static char *volatile block;
static volatile size_t num_bytes;

/* On no address that could be inside a block that was to be aligned. */
static void free_askew(void)
{
    block = malloc(4096);
    free(block + 8); /* NOLINT(clang-analyzer-unix.Malloc): that is the test */
}

static void size_of_the_inside(void)
{
    block = malloc(4096);
    num_bytes = malloc_usable_size(block + 128);
}

static void size_of_what_was_released(void)
{
    block = malloc(4096);
    free(block);
    num_bytes = malloc_usable_size(block); /* NOLINT(clang-analyzer-unix.Malloc): likewise */
}

static void size_of_what_no_child_inherits(void)
{
    block = malloc(4096);
    const pid_t pid = fork();
    if (pid == 0) {
        num_bytes = malloc_usable_size(block + 8);
    }
    (void)waitpid(pid, NULL, 0);
}

static const struct test tests[] = {
    TEST(free_askew),
    TEST(size_of_the_inside),
    TEST(size_of_what_was_released),
    TEST(size_of_what_no_child_inherits),
};

int main(int argc, char **argv)
{
    return run_tests(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
