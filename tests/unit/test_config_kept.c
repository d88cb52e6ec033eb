/* SPDX-License-Identifier: MIT */
/*
 * test_config_kept.c - the configuration in force, in a memfd: what is read is what was written,
 *                      and what is no such file is refused
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/config_kept.h"
#include "daemon/config_print.h"
#include "daemon/config_text.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

#define VERSION "kmemd-config 1"
#define KEPT_MAX_BYTES (64 << 20)

FAIL_WRAP(char *, strdup, (const char *text), (text), NULL)
FAIL_WRAP(FILE *, fmemopen, (void *bytes, size_t n_bytes, const char *mode), (bytes, n_bytes, mode),
          NULL)
FAIL_WRAP(int, memfd_create, (const char *name, unsigned flags), (name, flags), -1)

void *__real_reallocarray(void *bytes, size_t n, size_t n_bytes);
void *__wrap_reallocarray(void *bytes, size_t n, size_t n_bytes);
void *__wrap_reallocarray(void *bytes, size_t n, size_t n_bytes)
{
    return fail_now("memory") ? NULL : __real_reallocarray(bytes, n, n_bytes);
}

/* The stream is gone in any case. */
int __real_fclose(FILE *file);
int __wrap_fclose(FILE *file);
int __wrap_fclose(FILE *file)
{
    const int r = __real_fclose(file);
    return fail_now("fclose") ? EOF : r;
}

ssize_t __real_pwrite(int fd, const void *bytes, size_t n_bytes, off_t at);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n_bytes, off_t at);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t n_bytes, off_t at)
{
    if (fail_now("pwrite")) {
        return -1;
    }
    return __real_pwrite(fd, bytes, fail_now("half") ? n_bytes / 2 : n_bytes, at);
}

static struct config config;
static unsigned n_fds;

static int kept_setup(void **state)
{
    config = (struct config){.fixed = NULL};
    n_fds = count_fds();
    assert_int_equal(config_add(&config, "/etc/kmemd/video.conf", "names = 7\n"), 0);
    assert_int_equal(config_add(&config, CONFIG_DEFAULT, ""), 0);
    return 0;
}

static int kept_teardown(void **state)
{
    config_fini(&config);
    assert_int_equal(count_fds(), n_fds);
    return 0;
}

/* A file of bytes that config_kept_open() has not made. */
static int foreign(const void *bytes, size_t n_bytes)
{
    const int fd = memfd_create("foreign", 0);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, n_bytes, 0), n_bytes);
    return fd;
}

static void assert_not_read(int fd, int error)
{
    struct config read = {.fixed = NULL};
    assert_int_equal(config_kept_read(fd, &read), error);
    assert_int_equal(read.n_files, 0);
    assert_null(read.fixed);
    if (fd >= 0) {
        assert_int_equal(close(fd), 0);
    }
}

/* --------------------------------------------------------------------------- well and good ---- */

static void assert_comes_back(const char *wanted_fixed)
{
    struct config read = {.fixed = NULL};
    const int fd = config_kept_open(&config, "video");
    assert_true(fd >= 0);
    assert_int_equal(config_kept_read(fd, &read), 0);
    assert_int_equal(read.n_files, 2);
    assert_string_equal(read.files[0].path, "/etc/kmemd/video.conf");
    assert_string_equal(read.files[0].text, "names = 7\n");
    assert_string_equal(read.files[1].path, CONFIG_DEFAULT);
    assert_string_equal(read.files[1].text, "");
    assert_string_equal(read.fixed, wanted_fixed);
    config_fini(&read);
    assert_int_equal(close(fd), 0);
}

static void test_config_kept_read_has_what_was_kept(void **state)
{
    assert_comes_back("");
    config.fixed = strdup("commit = lazy\n");
    assert_comes_back("commit = lazy\n");
}

static void test_config_kept_renew_takes_what_waits_and_no_files(void **state)
{
    struct config fresh = {.fixed = NULL};
    assert_int_equal(config_kept_renew(&fresh, &config), 0);
    assert_null(fresh.fixed); /* nothing is */
    config.fixed = strdup("commit = lazy\n");
    assert_int_equal(config_kept_renew(&fresh, &config), 0);
    assert_string_equal(fresh.fixed, "commit = lazy\n");
    assert_int_equal(fresh.n_files, 0);
    config_fini(&fresh);
}

/* What it says is read again, by every server that follows: any path, any byte. */
static void test_config_print_is_read_as_what_was_printed(void **state)
{
    static const char *const paths[] = {
        "/run/kmemd/plain.sock", "/run//twice", "/a b",          "/quo\"te",
        "/back\\slash",          "/$HOME",      "/new\nline\x01"};
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        struct complaints complaints = {.say = NULL};
        struct origins origins = {.rows = NULL};
        struct options options;
        struct options read;
        char *text = NULL;
        size_t n_bytes = 0;
        options_set_default(&options);
        options_set_default(&read);
        memcpy(options.socket_path, paths[i], strlen(paths[i]) + 1); /* they are short */
        options.admins = (struct option_principals){.list = {{false, 0}, {true, 4000001}}, .n = 2};
        FILE *file = open_memstream(&text, &n_bytes);
        config_print(file, &options, &origins);
        assert_int_equal(fclose(file), 0);
        config_text_apply(settings_table(), "printed", text, &read, NULL, &complaints);
        assert_string_equal(read.socket_path, paths[i]);
        assert_int_equal(read.admins.n, 2);
        assert_true(read.admins.list[1].is_group);
        assert_int_equal(read.admins.list[1].id, 4000001);
        free(text);
    }
}

/* ------------------------------------------------------------------------- what is no such ---- */

static void test_config_kept_read_refuses_what_it_has_not_kept(void **state)
{
    const int large = memfd_create("large", 0);
    assert_int_equal(ftruncate(large, (off_t)KEPT_MAX_BYTES + 1), 0);

    assert_not_read(foreign("", 0), -EPROTO);
    assert_not_read(foreign("kmemd-config 2\0\0", 16), -EPROTO); /* another version */
    assert_not_read(foreign(VERSION "\0fixed, and cut", 28), -EPROTO);
    assert_not_read(large, -EPROTO);
    assert_not_read(-1, -EBADF);
}

/* ------------------------------------------------------------------------- calls that fail ---- */

static void test_config_kept_open_when_a_call_fails_says_so_and_leaves_nothing_open(void **state)
{
    const struct {
        const char *call;
        int error;
        int wanted;
    } rows[] = {{"memory", ENOMEM, -ENOMEM},
                {"memfd_create", EMFILE, -EMFILE},
                {"pwrite", ENOSPC, -ENOSPC},
                {"half", 0, -EIO}}; /* and no errno that says why */

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fail_nth(rows[i].call, 1, rows[i].error);
        assert_int_equal(config_kept_open(&config, "video"), rows[i].wanted);
        assert_true(fail_end());
        assert_int_equal(count_fds(), n_fds);
    }
}

static void assert_read_misses(const char *what, int fd)
{
    for (unsigned nth = 1; fail_again(what, nth, ENOMEM); nth++) {
        struct config read = {.fixed = NULL};
        const int r = config_kept_read(fd, &read);
        assert_int_equal(r, fail_end() ? -ENOMEM : 0);
        config_fini(&read);
    }
}

static void test_config_kept_read_without_memory_says_so(void **state)
{
    const int fd = config_kept_open(&config, "video");
    assert_true(fd >= 0);
    assert_read_misses("memory", fd);
    assert_read_misses("strdup", fd);
    assert_int_equal(close(fd), 0);
}

static void test_config_kept_fix_without_memory_keeps_what_was_fixed(void **state)
{
    const char *const calls[] = {"memory", "fmemopen", "fclose", "strdup"};
    struct options options;
    options_set_default(&options);
    config.fixed = strdup("as it was");

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        fail_nth(calls[i], 1, ENOMEM);
        assert_int_equal(config_kept_fix(&config, &options), -ENOMEM);
        assert_true(fail_end());
        assert_string_equal(config.fixed, "as it was");
    }
    assert_int_equal(config_kept_fix(&config, &options), 0);
    assert_non_null(strstr(config.fixed, "commit = eager\n"));
}

static void test_config_kept_renew_without_memory_says_so(void **state)
{
    struct config fresh = {.fixed = NULL};
    config.fixed = strdup("commit = lazy\n");
    fail_nth("strdup", 1, ENOMEM);
    assert_int_equal(config_kept_renew(&fresh, &config), -ENOMEM);
    assert_true(fail_end());
    assert_null(fresh.fixed);
}

#define KEPT_TEST(function) cmocka_unit_test_setup_teardown(function, kept_setup, kept_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        KEPT_TEST(test_config_kept_read_has_what_was_kept),
        KEPT_TEST(test_config_kept_renew_takes_what_waits_and_no_files),
        KEPT_TEST(test_config_print_is_read_as_what_was_printed),
        KEPT_TEST(test_config_kept_read_refuses_what_it_has_not_kept),
        KEPT_TEST(test_config_kept_open_when_a_call_fails_says_so_and_leaves_nothing_open),
        KEPT_TEST(test_config_kept_read_without_memory_says_so),
        KEPT_TEST(test_config_kept_fix_without_memory_keeps_what_was_fixed),
        KEPT_TEST(test_config_kept_renew_without_memory_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
