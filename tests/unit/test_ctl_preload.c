/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_preload.c - which library --malloc loads, and what it says of a program's end
 */
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/ctl/preload.h"
#include "tests/unit/captured.h"
#include "tests/unit/unit.h"

static char directory[PATH_MAX];

/* A file in the directory that $KMEM_MALLOC names. */
static const char *choose(const char *name)
{
    static char path[2 * PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    const int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(close(fd), 0);
    assert_int_equal(setenv("KMEM_MALLOC", path, 1), 0);
    return path;
}

static void assert_finds_nothing(size_t capacity_bytes, const char *why)
{
    char path[PATH_MAX];
    assert_true(capacity_bytes <= sizeof(path));
    capture_begin();
    const bool is_found = preload_find(path, capacity_bytes);
    assert_non_null(strstr(capture_end(), why));
    assert_false(is_found);
}

static void test_find_takes_what_the_user_chose(void **state)
{
    char path[PATH_MAX];
    const char *chosen = choose("chosen.so");
    assert_true(preload_find(path, sizeof(path)));
    assert_string_equal(path, chosen);
    assert_finds_nothing(strlen(chosen), "its path is too long");
    assert_int_equal(unlink(chosen), 0);
    assert_finds_nothing(sizeof(path), "/chosen.so\", and there is no such library");
}

/* The loader would take it for two, and say so in each program. */
static void test_find_refuses_what_the_loader_would_take_apart(void **state)
{
    const char *names[] = {"with space.so", "with:colon.so"};
    for (size_t i = 0; i < 2; i++) {
        const char *chosen = choose(names[i]);
        assert_finds_nothing(PATH_MAX, "no way to write a path with a space or a colon");
        assert_int_equal(unlink(chosen), 0);
    }
}

static void test_find_takes_no_empty_choice(void **state)
{
    char with[PATH_MAX] = "";
    char without[PATH_MAX] = "";
    capture_begin();
    assert_int_equal(setenv("KMEM_MALLOC", "", 1), 0);
    const bool is_found = preload_find(with, sizeof(with));
    assert_int_equal(unsetenv("KMEM_MALLOC"), 0);
    assert_int_equal(preload_find(without, sizeof(without)), is_found);
    assert_null(strstr(capture_end(), "$KMEM_MALLOC is"));
    assert_string_equal(with, without);
}

static const char *explained(int wait_status)
{
    capture_begin();
    preload_explain(wait_status);
    return capture_end();
}

static void test_explain_names_a_fault_and_nothing_else(void **state)
{
    assert_non_null(strstr(explained(SIGSEGV), "SIGSEGV may be of what --malloc does not serve"));
    assert_non_null(strstr(explained((128 + SIGBUS) << 8), "SIGBUS may be")); /* through a shell */
    assert_string_equal(explained(SIGTERM), "");
    assert_string_equal(explained(0), "");
    assert_string_equal(explained(SIGSEGV << 8), ""); /* a status, and no signal */
}

static void test_set_keeps_what_was_to_be_loaded_and_asked(void **state)
{
    const char *before = getenv("ASAN_OPTIONS");
    char kept[1024];
    (void)snprintf(kept, sizeof(kept), "%s", before ? before : "");
    assert_int_equal(unsetenv("LD_PRELOAD"), 0);
    assert_int_equal(unsetenv("ASAN_OPTIONS"), 0);
    assert_true(preload_set("/a.so"));
    assert_string_equal(getenv("LD_PRELOAD"), "/a.so");
    assert_string_equal(getenv("ASAN_OPTIONS"), "verify_asan_link_order=0");
    assert_int_equal(setenv("ASAN_OPTIONS", "", 1), 0);
    assert_true(preload_set("/b.so")); /* comes first: what it defines is taken */
    assert_string_equal(getenv("LD_PRELOAD"), "/b.so:/a.so");
    assert_string_equal(getenv("ASAN_OPTIONS"), "verify_asan_link_order=0");
    assert_int_equal(setenv("ASAN_OPTIONS", "verbosity=1", 1), 0);
    assert_true(preload_set("/c.so")); /* comes last: it is the one that holds */
    assert_string_equal(getenv("ASAN_OPTIONS"), "verbosity=1:verify_asan_link_order=0");
    assert_int_equal(unsetenv("LD_PRELOAD"), 0);
    assert_int_equal(before ? setenv("ASAN_OPTIONS", kept, 1) : unsetenv("ASAN_OPTIONS"), 0);
}

static void test_check_lets_what_can_not_be_read_fail_by_itself(void **state)
{
    capture_begin();
    const bool is_served = preload_check("no-such-program-anywhere");
    assert_string_equal(capture_end(), "");
    assert_true(is_served);
}

static int make_directory(void **state)
{
    char name[] = "/tmp/test_ctl_preload.XXXXXX";
    return mkdtemp(name) && realpath(name, directory) ? 0 : -1;
}

static int remove_directory(void **state)
{
    return rmdir(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find_takes_what_the_user_chose),
        cmocka_unit_test(test_find_refuses_what_the_loader_would_take_apart),
        cmocka_unit_test(test_find_takes_no_empty_choice),
        cmocka_unit_test(test_explain_names_a_fault_and_nothing_else),
        cmocka_unit_test(test_set_keeps_what_was_to_be_loaded_and_asked),
        cmocka_unit_test(test_check_lets_what_can_not_be_read_fail_by_itself),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
