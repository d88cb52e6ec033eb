/* SPDX-License-Identifier: MIT */
/*
 * test_options.c - options and places that kmemd can not work with
 *
 * Each is refused before anything is made, with an exit status that a supervisor can tell apart and
 * a message that names the value: 64 the option is wrong, 71 the system can not, 73 the socket can
 * not be made, 77 not allowed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/system/daemon.h"
#include "tests/system/harness.h"

static const struct daemon_setting as_usual = {.max_fds = 0};

static void expect_refusal(const struct daemon_end *end, int exit_status, const char *pattern)
{
    if (end->exit_status != exit_status) {
        fail("exit status %d, expected %d; on stderr: %s", end->exit_status, exit_status, end->log);
    }
    expect_text(end->out, "");
    expect_match(end->log, "^kmemd: ");
    expect_match(end->log, pattern);
}

static void refuse_size(const char *size, int exit_status, const char *pattern)
{
    const struct daemon_end end =
        daemon_try(&as_usual, OPTIONS("--name", "test", "--socket", harness_path("test.sock"),
                                      "--size", size));
    expect_refusal(&end, exit_status, pattern);
    expect_equal(access(harness_path("test.sock"), F_OK), -1);
}

static void test_size_that_is_no_size_is_refused_with_64(void)
{
    refuse_size("junk", 64, "junk");
    refuse_size("", 64, "size");
    refuse_size("16MiX", 64, "16MiX");
    refuse_size("16 apples", 64, "16 apples");
    refuse_size("-1", 64, "-1");
    refuse_size("0x1000000", 64, "0x1000000");
    refuse_size("16MiB 1", 64, "16MiB 1");
}

static void test_size_too_small_is_refused_with_64_and_the_least(void)
{
    refuse_size("0", 64, "1(\\.0)? MiB");
    refuse_size("1", 64, "1(\\.0)? MiB");
    refuse_size("1023K", 64, "1(\\.0)? MiB");
}

static void test_size_too_large_is_refused_with_64_and_the_most(void)
{
    refuse_size("9223372036854775808", 64, "1(\\.0)? TiB");
    refuse_size("18446744073709551615", 64, "1(\\.0)? TiB");
    refuse_size("18446744073709551616", 64, "18446744073709551616");
    refuse_size("2T", 64, "1(\\.0)? TiB");
}

static void test_size_beyond_memory_is_refused_with_71_and_what_there_is(void)
{
    refuse_size("1T", 71, "cannot commit 1(\\.0)? TiB.*(available|room for)");
}

static void test_size_that_is_not_whole_pages_is_refused_with_64(void)
{
    refuse_size("1048577", 64, "1048577.*16384");
    refuse_size("1025K", 64, "16384");
}

static void refuse_name(const char *name)
{
    const struct daemon_end end = daemon_try(
        &as_usual, OPTIONS("--size", "1M", "--socket", harness_path("test.sock"), "--name", name));
    expect_refusal(&end, 64, "name");
}

static void test_name_that_could_be_no_file_name_is_refused_with_64(void)
{
    refuse_name("");
    refuse_name("a/b");
    refuse_name("..");
    refuse_name(".hidden");
    refuse_name("two words");
    refuse_name("line\nfeed");
    refuse_name("\033[31mred");
    refuse_name("0123456789012345678901234567890123456789012345678901234567890123"); /* 64 */
}

static void test_longest_name_is_taken(void)
{
    const char *const name = "012345678901234567890123456789012345678901234567890123456789012";
    const struct daemon_end end = daemon_try(
        &as_usual, OPTIONS("--size", "1M", "--socket", harness_path("test.sock"), "--name", name));
    expect_equal(end.exit_status, 0);
    expect_match(end.out, name);
}

static void test_unknown_group_is_refused_with_64(void)
{
    const struct daemon_end end =
        daemon_try(&as_usual, OPTIONS("--size", "1M", "--socket", harness_path("test.sock"),
                                      "--group", "no-such-group"));
    expect_refusal(&end, 64, "no-such-group");
}

static void test_wrong_words_are_refused_with_64(void)
{
    const char *const socket_path = harness_path("test.sock");
    struct daemon_end end;
    end = daemon_try(&as_usual, OPTIONS("--socket", socket_path, "--commit", "sometimes"));
    expect_refusal(&end, 64, "sometimes");
    end = daemon_try(&as_usual, OPTIONS("--socket", socket_path, "--log-level", "loud"));
    expect_refusal(&end, 64, "loud");
    end = daemon_try(&as_usual, OPTIONS("--socket", socket_path, "--no-such-option"));
    expect_refusal(&end, 64, "no-such-option");
    end = daemon_try(&as_usual, OPTIONS("--socket", socket_path, "stray"));
    expect_refusal(&end, 64, "stray|[Aa]rgument");
}

/* --------------------------------------------------------------------- socket's place ---- */

static struct daemon_end try_socket(const char *path)
{
    return daemon_try(&as_usual, OPTIONS("--size", "1M", "--socket", path));
}

static void test_socket_path_over_107_bytes_is_refused_with_64(void)
{
    char path[200];
    const int n = snprintf(path, sizeof(path), "%s/", harness_path("."));
    memset(path + n, 's', 108 - (size_t)n);
    path[108] = '\0';
    const struct daemon_end end = try_socket(path);
    expect_refusal(&end, 64, "107");
}

static void test_socket_path_of_107_bytes_is_taken(void)
{
    char path[200];
    const int n = snprintf(path, sizeof(path), "%s/", harness_path("."));
    memset(path + n, 's', 107 - (size_t)n);
    path[107] = '\0';
    const struct daemon_end end = try_socket(path);
    expect_equal(end.exit_status, 0);
    expect_match(end.out, path);
}

static void test_missing_directory_is_refused_with_73(void)
{
    const struct daemon_end end = try_socket(harness_path("missing/as well/test.sock"));
    expect_refusal(&end, 73, "missing/as well.*No such file or directory");
    expect_equal(access(harness_path("missing"), F_OK), -1);
}

static void test_the_last_directory_is_made_and_closed_to_others(void)
{
    struct stat status;
    const struct daemon_end end = try_socket(harness_path("new/test.sock"));
    expect_equal(end.exit_status, 0);
    expect_call(stat(harness_path("new"), &status) == 0);
    expect_equal(status.st_mode & 0777, 0750);
}

static void test_world_writable_directory_is_refused(void)
{
    expect_call(mkdir(harness_path("open"), 0777) == 0 && chmod(harness_path("open"), 0777) == 0);
    const struct daemon_end end = try_socket(harness_path("open/test.sock"));
    expect_refusal(&end, 77, "everybody may replace files in .*/open");
    expect_equal(access(harness_path("open/test.sock"), F_OK), -1);
}

static void test_symbolic_link_is_not_followed(void)
{
    const char *const link = harness_path("test.sock");
    expect_call(symlink(harness_path("elsewhere.sock"), link) == 0);
    const struct daemon_end end = try_socket(link);
    expect_refusal(&end, 73, "test.sock");
    expect_equal(access(harness_path("elsewhere.sock"), F_OK), -1);
    struct stat status;
    expect_call(lstat(link, &status) == 0);
    expect_true(S_ISLNK(status.st_mode));
}

static void test_symbolic_link_as_lock_is_not_followed(void)
{
    expect_call(symlink(harness_path("victim"), harness_path("test.sock.lock")) == 0);
    const struct daemon_end end = try_socket(harness_path("test.sock"));
    expect_refusal(&end, 73, "test.sock.lock");
    expect_equal(access(harness_path("victim"), F_OK), -1);
}

/* ------------------------------------------------------------------------- comparing ---- */

static struct daemon_end compare(const char *option, const char *value)
{
    char pid[24];
    (void)snprintf(pid, sizeof(pid), "%d", (int)daemon_pid());
    return daemon_try(&as_usual, OPTIONS("--name", "test", "--size", "16MiB", "--socket",
                                         daemon_socket(), option, value, "--compare", pid));
}

static void test_compare_says_what_a_running_daemon_was_not_started_with(void)
{
    daemon_start("--quota", "4MiB", NULL);
    struct daemon_end end = compare("--quota", "4MiB");
    expect_equal(end.exit_status, 0);
    expect_match(end.log, "was started with these options");
    end = compare("--quota", "8MiB");
    expect_equal(end.exit_status, 0);
    expect_match(end.log, "--quota is 8MiB now, and the daemon was started with 4MiB");
    end = compare("--size", "32MiB");
    expect_match(end.log, "--size is 32MiB now, and the daemon was started with 16MiB");
    expect_match(end.log, "--quota is none now, and the daemon was started with 4MiB");
    end = compare("--default", "quota = 2MiB");
    expect_match(end.log, "--quota is 2MiB now, and the daemon was started with 4MiB");
    end = compare("--group", "4242");
    expect_match(end.log, "--group is 4242 now, and the daemon was started with none");
    daemon_stop();
}

static void test_compare_with_a_process_that_is_not_there_is_71(void)
{
    const struct daemon_end end =
        daemon_try(&as_usual, OPTIONS("--socket", harness_path("s"), "--compare", "2147483647"));
    expect_equal(end.exit_status, 71);
    expect_match(end.log, "can not be read");
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_size_that_is_no_size_is_refused_with_64, 10),
    SYSTEM_TEST(test_size_too_small_is_refused_with_64_and_the_least, 10),
    SYSTEM_TEST(test_size_too_large_is_refused_with_64_and_the_most, 10),
    SYSTEM_TEST(test_size_beyond_memory_is_refused_with_71_and_what_there_is, 10),
    SYSTEM_TEST(test_size_that_is_not_whole_pages_is_refused_with_64, 10),
    SYSTEM_TEST(test_name_that_could_be_no_file_name_is_refused_with_64, 10),
    SYSTEM_TEST(test_longest_name_is_taken, 10),
    SYSTEM_TEST(test_unknown_group_is_refused_with_64, 10),
    SYSTEM_TEST(test_wrong_words_are_refused_with_64, 10),
    SYSTEM_TEST(test_socket_path_over_107_bytes_is_refused_with_64, 10),
    SYSTEM_TEST(test_socket_path_of_107_bytes_is_taken, 10),
    SYSTEM_TEST(test_missing_directory_is_refused_with_73, 10),
    SYSTEM_TEST(test_the_last_directory_is_made_and_closed_to_others, 10),
    SYSTEM_TEST(test_world_writable_directory_is_refused, 10),
    SYSTEM_TEST(test_symbolic_link_is_not_followed, 10),
    SYSTEM_TEST(test_symbolic_link_as_lock_is_not_followed, 10),
    SYSTEM_TEST(test_compare_says_what_a_running_daemon_was_not_started_with, 20),
    SYSTEM_TEST(test_compare_with_a_process_that_is_not_there_is_71, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
