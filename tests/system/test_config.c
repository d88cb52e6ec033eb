/* SPDX-License-Identifier: MIT */
/*
 * test_config.c - configuration files: checked, printed, and read anew while clients are served
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

static const struct daemon_setting as_usual = {.max_fds = 0};

/* Writes a file of the test's directory. Return: its path. */
static const char *file_write(const char *name, const char *text, mode_t mode)
{
    const char *path = harness_path(name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    expect_call(fd >= 0);
    expect_call(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    expect_call(fchmod(fd, mode) == 0);
    (void)close(fd);
    return path;
}

static const char *config_path(void)
{
    static char path[256];
    (void)snprintf(path, sizeof(path), "%s", harness_path("test.conf"));
    return path;
}

static void config_write(const char *text)
{
    (void)file_write("test.conf", text, 0644);
}

static struct daemon_end show(const char *how)
{
    return daemon_try(&as_usual, OPTIONS("--name", "test", "--socket", harness_path("test.sock"),
                                         "--config", config_path(), how));
}

/* ----------------------------------------------------------------------------- check, dump ---- */

static void test_check_names_the_files_that_were_read(void)
{
    char pattern[512];
    config_write("quota = 4MiB\n");
    const struct daemon_end end = show("--check");

    expect_equal(end.exit_status, 0);
    (void)snprintf(pattern, sizeof(pattern), "^kmemd: ok: %s\n$", config_path());
    expect_match(end.out, pattern);
    expect_text(end.log, "");
    expect_equal(access(harness_path("test.sock"), F_OK), -1);
}

static void test_check_tells_all_that_is_wrong_with_file_and_line(void)
{
    config_write("# mine\nquota = lots\nsizes = 4\nquota = 1MiB\n");
    const struct daemon_end end = show("--check");

    expect_equal(end.exit_status, 64);
    expect_text(end.out, "");
    expect_match(end.log, "/test.conf:3: there is no setting \"sizes\"; did you mean \"size\"\\?");
    expect_match(end.log, "/test.conf:2: quota: \"lots\" is no size: write 4096, 256MiB, 2G");
    expect_match(end.log, "/test.conf:4: quota: it is set on line 2 already");
}

static void test_the_example_is_right(void)
{
    const char *example = KMEM_SOURCE_DIR "/docs/kmemd.conf";
    const struct daemon_end end = daemon_try(
        &as_usual, OPTIONS("--socket", harness_path("test.sock"), "--config", example, "--check"));
    expect_equal(end.exit_status, 0);
    expect_text(end.log, "");
}

static void test_start_with_a_wrong_line_is_refused_with_64(void)
{
    config_write("names = many\n");
    const struct daemon_end end =
        daemon_try(&as_usual, OPTIONS("--socket", harness_path("test.sock"), "--config",
                                      config_path(), "--readers", "some"));

    expect_equal(end.exit_status, 64);
    expect_match(end.log, "/test.conf:1: names: \"many\" is no number from 1 to 32768");
    expect_match(end.log, "--readers: \"some\" is not known");
    expect_equal(access(harness_path("test.sock"), F_OK), -1);
}

static void test_file_that_is_not_there_or_anybody_may_write_is_refused_with_64(void)
{
    struct daemon_end end = show("--check");
    expect_equal(end.exit_status, 64);
    expect_match(end.log, "--config: .*/test.conf: No such file");

    (void)file_write("test.conf", "quota = 4MiB\n", 0666);
    end = show("--check");
    expect_equal(end.exit_status, 64);
    expect_match(end.log, "/test.conf: every user may write it, .*chmod o-w");

    expect_call(unlink(config_path()) == 0 && mkdir(config_path(), 0755) == 0);
    end = show("--check");
    expect_equal(end.exit_status, 64);
    expect_match(end.log, "/test.conf: Is a directory");
}

/* Its values, without where they come from. */
static void values_of(const char *dump, char *ret_values, size_t values_bytes)
{
    size_t n_bytes = 0;
    for (const char *line = dump; *line != '\0'; line += strcspn(line, "\n") + 1) {
        const char *comment = strstr(line, " # ");
        const size_t n = comment && *line != '#' ? (size_t)(comment - line) : 0;
        expect_true(n_bytes + n + 2 < values_bytes);
        memcpy(ret_values + n_bytes, line, n);
        n_bytes += n;
        ret_values[n_bytes++] = '\n';
    }
    ret_values[n_bytes] = '\0';
}

static void test_dump_says_where_each_comes_from_and_gives_the_same_again(void)
{
    char values[4096];
    char again[4096];
    config_write("# mine\n\nquota = 1536KiB\nreaders = walled\nwatchdog = 0.25\n");
    struct daemon_end end =
        daemon_try(&as_usual, OPTIONS("--name", "test", "--socket", harness_path("a b#c.sock"),
                                      "--config", config_path(), "--names", "7", "--dump-config"));

    expect_equal(end.exit_status, 0);
    expect_match(end.out, "\nquota = 1536KiB # .*/test.conf:3\n");
    expect_match(end.out, "\nreaders = walled # .*/test.conf:4\n");
    expect_match(end.out, "\nnames = 7 # command line\n");
    expect_match(end.out, "\nsize = 256MiB # default\n");
    expect_match(end.out, "\nsocket = \".*/a b#c.sock\" # command line\n");
    values_of(end.out, values, sizeof(values));
    config_write(end.out);
    end = daemon_try(&as_usual,
                     OPTIONS("--name", "test", "--config", config_path(), "--dump-config"));
    expect_equal(end.exit_status, 0);
    values_of(end.out, again, sizeof(again));
    expect_text(again, values);
}

static void test_default_is_what_files_and_other_options_override(void)
{
    config_write("watchdog = 7\n");
    struct daemon_end end = daemon_try(
        &as_usual, OPTIONS("--name", "test", "--socket", harness_path("test.sock"), "--config",
                           config_path(), "--names", "9", "--default", "names=8",
                           "--default=watchdog=6", "--default", "quota = 4MiB", "--dump-config"));
    expect_equal(end.exit_status, 0);
    expect_match(end.out, "\nnames = 9 # command line\n");
    expect_match(end.out, "\nquota = 4MiB # --default:1\n");
    expect_match(end.out, "\nwatchdog = 7 # .*/test.conf:1\n");

    end = daemon_try(&as_usual, OPTIONS("--socket", harness_path("test.sock"), "--config",
                                        config_path(), "--default", "nam=8", "--check"));
    expect_equal(end.exit_status, 64);
    expect_match(end.log, "--default:1: there is no setting \"nam\"");
}

/* ------------------------------------------------------------------------------ read anew ---- */

static void start_with(const char *text)
{
    config_write(text);
    daemon_start("--config", config_path(), NULL);
}

static void expect_limit(const char *name, const char *limit)
{
    char pattern[128];
    (void)snprintf(pattern, sizeof(pattern), "(^|\n)%s,%s\r?\n", name, limit);
    const struct ctl_end *end = ctl("limits", "-o", "csv", "--columns", "name,limit");
    expect_equal(end->exit_status, 0);
    expect_match(end->out, pattern);
}

static void hang_up(void)
{
    expect_call(kill(daemon_pid(), SIGHUP) == 0);
}

static void test_sighup_applies_what_can_and_says_what_waits(void)
{
    start_with("quota = 4MiB\n");
    expect_limit("quota", "4194304");
    config_write("quota = 2MiB\nnames = 9\nsize = 64MiB\ncommit = lazy\nwatchdog = 7\n");
    hang_up();

    expect_log_line("quota is 2MiB now, and was 4MiB");
    expect_log_line("watchdog is 7 now, and was 5");
    expect_log_line("commit = lazy waits for a restart, eager stays in force: the segment's mem");
    expect_limit("quota", "2097152");
    expect_limit("names", "9");
    daemon_kill_server();
    expect_limit("quota", "2097152");
    daemon_stop();
}

static void test_sighup_with_a_wrong_file_changes_nothing(void)
{
    start_with("quota = 4MiB\n");
    config_write("quota = 2MiB\nnam");
    hang_up();

    expect_log_line("/test.conf:2: there is no setting \"nam\"");
    expect_log_line("SIGHUP: .*can not go on with this configuration.*nothing is changed");
    expect_limit("quota", "4194304");
    expect_call(unlink(config_path()) == 0);
    hang_up();
    expect_log_line("--config: .*/test.conf: No such file");
    expect_log_line("SIGHUP: the configuration can not be read anew; nothing is changed");
    expect_limit("quota", "4194304");
    daemon_stop();
}

static void test_server_that_follows_a_killed_one_has_what_was_in_force(void)
{
    start_with("quota = 4MiB\n");
    config_write("quota = ");
    daemon_kill_server();
    expect_limit("quota", "4194304");
    config_write("quota = 1MiB\n");
    daemon_kill_server();
    expect_limit("quota", "4194304");
    daemon_stop();
}

/* -------------------------------------------------------------------------------- reload ---- */

static void test_reload_applies_at_once_and_tells_what_waits(void)
{
    start_with("quota = 4MiB\nlog-level = info\n");
    const pid_t server = daemon_server_pid();
    const struct ctl_end *end = ctl("reload");
    expect_equal(end->exit_status, 0);
    expect_match(end->out, "nothing has changed");

    config_write("quota = 2MiB\nreaders = none\nadmins = {root}\n");
    end = ctl("reload", "-o", "csv");
    expect_equal(end->exit_status, 0);
    expect_match(end->out, "readers,any,none,applied,");
    expect_match(end->out, "admins,none,root,applied,");
    expect_match(end->out, "quota,4MiB,2MiB,applied,");
    expect_limit("quota", "2097152");

    config_write("quota = 1MiB\nsize = 64MiB\ncommit = lazy\nnames = 3\nclients-per-uid = 5\n"
                 "connections-per-uid = 6\nwatchdog = 9\nlog-level = debug\n");
    end = ctl("reload", "-o", "csv");
    expect_equal(end->exit_status, 6);
    expect_match(end->out, "commit,eager,lazy,waits,the segment's memory is taken when it is made");
    expect_match(end->out, "names,4096,3,applied,");
    expect_match(end->out, "watchdog,5,9,applied,");
    expect_limit("names", "3");
    expect_limit("clients_of_user", "5");
    expect_limit("connections_of_user", "6");
    expect_equal(daemon_server_pid(), server);
    daemon_kill_server();
    expect_limit("quota", "1048576");
    expect_limit("names", "3");
    daemon_stop();
}

static void expect_reload(const char *text, int exit_status, const char *row)
{
    config_write(text);
    const struct ctl_end *end = ctl("reload", "-o", "csv");
    harness_note("%s%s", end->out, end->err);
    expect_equal(end->exit_status, exit_status);
    expect_match(end->out, row);
}

/* What lies in the way of a segment that is to shrink: the client's block is beyond 2 MiB. */
static void holder_of_4_mib(const void *argument)
{
    (void)argument;
    (void)client_await();
    expect_true(kmem_try_allocate(4 << 20, "config/in the way") != NULL);
    client_say(1);
    (void)client_await();
}

static void test_reload_gives_the_segment_its_size(void)
{
    const struct daemon_setting setting = {.configured_size = true};
    config_write("size = 16MiB\nmax-size = 64MiB\n");
    daemon_start_as(&setting, OPTIONS("--config", config_path()));
    struct client client = client_start(holder_of_4_mib, NULL);
    client_tell(&client, 1);
    expect_equal(client_hear(&client), 1);

    expect_reload("size = 32MiB\nmax-size = 64MiB\n", 0, "size,16MiB,32MiB,applied,\r?\n");
    expect_log_line("the segment has 32\\.0 MiB now, and had 16\\.0 MiB");
    expect_equal(usage_take().segment_bytes, 32 << 20);
    expect_reload("size = 2MiB\nmax-size = 64MiB\n", 6,
                  "size,32MiB,2MiB,waits,.*1 block .4\\.0 MiB. lies there; 1 of process .*in the "
                  "way.*kmemctl resize 2\\.0 MiB, when they are gone");
    expect_equal(usage_take().segment_bytes, 32 << 20);
    expect_reload("size = 128MiB\nmax-size = 128MiB\n", 6,
                  "size,32MiB,128MiB,waits,the segment may have 64\\.0 MiB: more takes a start");
    expect_equal(usage_take().waiting_bytes, 128 << 20);

    expect_reload("size = 32MiB\nmax-size = 64MiB\n", 0, "^key,was,now,state,waits\r?\n$");
    expect_equal(usage_take().waiting_bytes, 0);
    expect_equal(ctl("resize", "48MiB")->exit_status, 0);
    daemon_kill_server();
    expect_reload("size = 32MiB\nmax-size = 64MiB\nquota = 9MiB\n", 0,
                  "waits\r?\nquota,none,9MiB,applied,\r?\n$");
    expect_equal(usage_take().segment_bytes, 48 << 20);
    client_tell(&client, 0);
    client_end(&client);
    daemon_stop();
}

static void test_reload_of_a_wrong_file_changes_nothing_and_says_the_line(void)
{
    start_with("quota = 4MiB\n");
    config_write("quota = 1MiB\nnames = 0\nnam = 1\n");
    const struct ctl_end *end = ctl("reload");

    expect_equal(end->exit_status, 1);
    expect_match(end->err, "/test.conf:3: there is no setting \"nam\".*and more.*nothing is chan");
    expect_log_line("/test.conf:2: names: \"0\" is no number");
    expect_limit("quota", "4194304");
    daemon_kill_server();
    expect_limit("quota", "4194304");
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_check_names_the_files_that_were_read, 10),
    SYSTEM_TEST(test_check_tells_all_that_is_wrong_with_file_and_line, 10),
    SYSTEM_TEST(test_the_example_is_right, 10),
    SYSTEM_TEST(test_start_with_a_wrong_line_is_refused_with_64, 10),
    SYSTEM_TEST(test_file_that_is_not_there_or_anybody_may_write_is_refused_with_64, 10),
    SYSTEM_TEST(test_dump_says_where_each_comes_from_and_gives_the_same_again, 10),
    SYSTEM_TEST(test_default_is_what_files_and_other_options_override, 10),
    SYSTEM_TEST(test_sighup_applies_what_can_and_says_what_waits, 20),
    SYSTEM_TEST(test_sighup_with_a_wrong_file_changes_nothing, 20),
    SYSTEM_TEST(test_server_that_follows_a_killed_one_has_what_was_in_force, 20),
    SYSTEM_TEST(test_reload_applies_at_once_and_tells_what_waits, 20),
    SYSTEM_TEST(test_reload_gives_the_segment_its_size, 30),
    SYSTEM_TEST(test_reload_of_a_wrong_file_changes_nothing_and_says_the_line, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
