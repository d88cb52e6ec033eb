/* SPDX-License-Identifier: MIT */
/*
 * test_options.c - what is accepted, and what is refused with which words and which exit status
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/command_line.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

#define ARGUMENTS_MAX 24
/* What the child ends with if command_line_parse() returns. */
#define RETURNED 99

static uid_t effective_user;

uid_t __wrap_geteuid(void);
uid_t __wrap_geteuid(void)
{
    return effective_user;
}

FAIL_WRAP(char *, strdup, (const char *text), (text), NULL)

static int options_setup(void **state)
{
    effective_user = 1000;
    return setenv("XDG_RUNTIME_DIR", "/run/user/1000", 1);
}

/* The arguments behind the program's name; the last is NULL. */
static int split(const char *const *arguments, char **ret_argv)
{
    int argc = 0;
    ret_argv[argc++] = (char *)"kmemd";
    for (; arguments[argc - 1]; argc++) {
        assert_true(argc < ARGUMENTS_MAX);
        ret_argv[argc] = (char *)arguments[argc - 1];
    }
    ret_argv[argc] = NULL;
    return argc;
}

static struct options parse_all(const char *const *arguments)
{
    char *argv[ARGUMENTS_MAX + 1];
    struct options options;
    const int argc = split(arguments, argv);
    command_line_parse(&options, argc, argv, &(struct config){.n_files = 0},
                       &(struct complaints){.say = command_line_complain});
    return options;
}

/* Parses in a child process. Return: its exit status; ret_text gets what it wrote. */
static int exit_status_of(const char *const *arguments, char *ret_text, size_t text_bytes)
{
    const int file = memfd_create("output", MFD_CLOEXEC);
    assert_true(file >= 0);
    (void)fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)dup2(file, STDOUT_FILENO);
        (void)dup2(file, STDERR_FILENO);
        (void)parse_all(arguments);
        _exit(RETURNED);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    const ssize_t n_bytes = pread(file, ret_text, text_bytes - 1, 0);
    assert_true(n_bytes >= 0);
    ret_text[n_bytes] = '\0';
    assert_int_equal(close(file), 0);
    return WEXITSTATUS(status);
}

#define parse(...) parse_all((const char *const[]){__VA_ARGS__, NULL})
#define assert_refused(words, ...)                                                                 \
    assert_refused_all(words, (const char *const[]){__VA_ARGS__, NULL})

static void assert_refused_all(const char *words, const char *const *arguments)
{
    char text[8192];
    assert_int_equal(exit_status_of(arguments, text, sizeof(text)), EXIT_USAGE);
    if (strstr(text, words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", text, words);
    }
}

static char complained[1024];

static void note_complaint(const char *sentence, void *user)
{
    const size_t n_bytes = strlen(complained);
    (void)snprintf(complained + n_bytes, sizeof(complained) - n_bytes, "%s\n", sentence);
}

static void test_options_parse_of_nothing_is_the_default(void **state)
{
    const struct options options = parse(NULL);

    assert_string_equal(options.name, "default");
    assert_string_equal(options.socket_path, "/run/user/1000/kmemd/default.sock");
    assert_int_equal(options.segment_bytes, 256 << 20);
    assert_false(options.lazy);
    assert_int_equal(options.quota_bytes, 0);
    assert_int_equal(options.clients_per_uid, 0);
    assert_int_equal(options.connections_per_uid, 0);
    assert_false(options.has_group);
    assert_int_equal(options.names_limit, 4096);
    assert_false(options.has_reader_group);
    assert_false(options.no_readers);
    assert_false(options.walled_readers);
    assert_int_equal(options.log_level, LOG_LEVEL_INFO);
}

static void test_options_parse_of_everything(void **state)
{
    const struct options options =
        parse("--name", "video", "--size=2G", "--socket", "/tmp/x.sock", "--commit=lazy", "--group",
              "root", "--log-level", "debug", "--quota", "16MiB", "--clients-per-uid=20",
              "--connections-per-uid", "30", "--readers", "walled", "--reader-group", "4242",
              "--names=32768");

    assert_string_equal(options.name, "video");
    assert_int_equal(options.segment_bytes, UINT64_C(2) << 30);
    assert_string_equal(options.socket_path, "/tmp/x.sock");
    assert_true(options.lazy);
    assert_true(options.has_group);
    assert_int_equal(options.group, 0);
    assert_true(options.has_reader_group);
    assert_int_equal(options.reader_group, 4242);
    assert_false(options.no_readers);
    assert_true(options.walled_readers);
    assert_int_equal(options.log_level, LOG_LEVEL_DEBUG);
    assert_int_equal(options.quota_bytes, 16 << 20);
    assert_int_equal(options.clients_per_uid, 20);
    assert_int_equal(options.names_limit, 32768);
    assert_int_equal(options.connections_per_uid, 30);
}

static void test_options_parse_of_short_options(void **state)
{
    const struct options options = parse("-n", "video", "-s1MiB", "-S", "x.sock");

    assert_string_equal(options.name, "video");
    assert_int_equal(options.segment_bytes, 1 << 20);
    assert_string_equal(options.socket_path, "x.sock");
}

static void test_options_parse_of_an_option_twice_takes_the_last(void **state)
{
    const struct options options =
        parse("--commit=lazy", "--commit=eager", "--size=1G", "--size=2MiB", "-n", "a", "-n", "b");

    assert_false(options.lazy);
    assert_int_equal(options.segment_bytes, 2 << 20);
    assert_string_equal(options.name, "b");
    assert_string_equal(options.socket_path, "/run/user/1000/kmemd/b.sock");
}

static void test_options_parse_of_the_smallest_and_the_largest_size(void **state)
{
    assert_int_equal(parse("--size=1048576").segment_bytes, SEGMENT_MIN_BYTES);
    assert_int_equal(parse("--size=1TiB").segment_bytes, SEGMENT_MAX_BYTES);
    assert_int_equal(parse("--size=1040KiB").segment_bytes, 65 * PAGE_BYTES);
}

static void test_options_parse_of_a_wrong_size_is_refused(void **state)
{
    assert_refused("\"\" is no size", "--size=");
    assert_refused("\"lots\" is no size", "--size=lots");
    assert_refused("\"-1\" is no size", "--size=-1");
    assert_refused("\"256MB\" is no size", "--size=256MB");
    assert_refused("\"12 34\" is no size", "--size=12 34");
    assert_refused("\"9223372036854775808G\" is no size", "--size=9223372036854775808G");
    assert_refused("it has 1.0 MiB to 1.0 TiB", "--size=0");
    assert_refused("it has 1.0 MiB to 1.0 TiB", "--size=1");
    assert_refused("it has 1.0 MiB to 1.0 TiB", "--size=1032192");
    assert_refused("it has 1.0 MiB to 1.0 TiB", "--size=9223372036854775808");
    assert_refused("it has 1.0 MiB to 1.0 TiB", "--size=1025G");
    assert_refused("(1048577 bytes): it has whole pages of 16384", "--size=1048577");
    assert_refused("requires an argument", "--size");
}

static void test_options_parse_of_a_wrong_name_is_refused(void **state)
{
    const char longest[] = "a23456789012345678901234567890123456789012345678901234567890.-_";
    assert_int_equal(strlen(longest), NAME_MAX_BYTES);

    assert_string_equal(parse("--name", longest).name, longest);
    assert_refused("is no name for a segment", "--name", "");
    assert_refused("is no name for a segment", "--name", "a/b");
    assert_refused("is no name for a segment", "--name", "..");
    assert_refused("is no name for a segment", "--name", ".hidden");
    assert_refused("is no name for a segment", "--name", "with space");
    assert_refused("is no name for a segment", "--name", "caf\xc3\xa9");
    assert_refused("at most 63",
                   "--name=a234567890123456789012345678901234567890123456789012345678901234");
}

static void
test_options_parse_of_a_socket_path_that_the_kernel_does_not_take_is_refused(void **state)
{
    char path[SOCKET_PATH_MAX_BYTES + 2];
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[SOCKET_PATH_MAX_BYTES + 1] = '\0';

    assert_refused("the kernel takes 1 to 107 bytes", "--socket", path);
    assert_refused("the kernel takes 1 to 107 bytes", "--socket", "");
    path[SOCKET_PATH_MAX_BYTES] = '\0';
    assert_string_equal(parse("--socket", path).socket_path, path);
}

static void test_options_parse_of_other_wrong_values_is_refused(void **state)
{
    assert_refused("--commit: \"maybe\" is not known: write eager or lazy", "--commit=maybe");
    assert_refused("--quota: \"0\" is no size", "--quota=0");
    assert_refused("\"much\" is no size: write 4096, 256MiB, 2G or 1.5GiB, or none", "--quota",
                   "much");
    assert_refused("is no number from 1 to 1000000, nor half", "--clients-per-uid=0");
    assert_refused("--names: \"0\" is no number from 1 to 32768", "--names=0");
    assert_refused("--names: \"32769\" is no number from 1 to 32768", "--names=32769");
    assert_refused("--names: \"many\" is no number from 1 to 32768", "--names", "many");
    assert_refused("is no number from 1 to 1000000, nor half", "--clients-per-uid=-1");
    assert_refused("is no number from 1 to 1000000, nor half", "--clients-per-uid", "");
    assert_refused("--connections-per-uid: \"1000001\" is no number from 1 to 1000000",
                   "--connections-per-uid=1000001");
    assert_refused("--connections-per-uid: \"10x\" is no number", "--connections-per-uid=10x");
    assert_refused("there is no group \"no-such-group\"", "--group", "no-such-group");
    assert_refused("--reader-group: there is no group \"no-such-group\"", "--reader-group",
                   "no-such-group");
    assert_refused("--readers: \"some\" is not known: write any, none or walled", "--readers=some");
    assert_refused("leave one of them out", "--readers=none", "--reader-group=1");
    assert_refused("--log-level: \"loud\" is not known", "--log-level=loud");
    assert_refused("\"extra\" is no option", "extra");
    assert_refused("unrecognized option", "--no-such-option");
}

static void test_options_parse_of_a_group_by_number(void **state)
{
    assert_int_equal(parse("--group=4242").group, 4242);
    assert_int_equal(parse("--group=4294967294").group, 4294967294);
    assert_refused("there is no group \"4294967295\"", "--group", "4294967295"); /* "leave it" */
    assert_refused("there is no group \"-1\"", "--group", "-1");
    assert_refused("there is no group \"42x\"", "--group", "42x");
    assert_refused("there is no group \"\"", "--group", "");
    assert_refused("--group: group \"65534\" is 65534, which stands for every group that has no",
                   "--group", "65534");
    assert_refused("--reader-group: group \"nogroup\" is 65534", "--reader-group", "nogroup");
}

static void test_options_parse_of_a_process_to_compare_with(void **state)
{
    assert_int_equal(parse("--compare=17").compare_pid, 17);
    assert_refused("--compare takes the number of a process", "--compare", "0");
    assert_refused("--compare takes the number of a process", "--compare", "17x");
    assert_refused("--compare takes the number of a process", "--compare", "2147483648");
}

static void test_options_adopt_size_keeps_what_was_applied_or_is_too_large(void **state)
{
    struct options options = parse("--size=2MiB");

    assert_true(options_adopt_size(&options, 32 << 20, 2 << 20, true));
    assert_int_equal(options.segment_bytes, 2 << 20);
    assert_true(options_adopt_size(&options, 32 << 20, 8 << 20, false)); /* is to be applied */
    assert_int_equal(options.segment_bytes, 2 << 20);
    assert_true(options_adopt_size(&options, 32 << 20, 8 << 20, true)); /* was resized since */
    assert_int_equal(options.segment_bytes, 8 << 20);
    assert_int_equal(options.waiting_bytes, 0);

    struct options larger = parse("--size=4MiB");
    assert_true(options_adopt_size(&larger, 2 << 20, 1 << 20, false));
    assert_int_equal(larger.most_bytes, 2 << 20);
    assert_int_equal(larger.segment_bytes, 1 << 20);
    assert_int_equal(larger.waiting_bytes, 4 << 20);
    assert_false(options_adopt_size(&options, 0, 0, false));
    assert_false(options_adopt_size(&options, (4 << 20) + 1, 0, false));
    assert_false(options_adopt_size(&options, 2 * SEGMENT_MAX_BYTES, 0, false));
    assert_false(options_adopt_size(&options, 2 << 20, 4 << 20, false));
    assert_false(options_adopt_size(&options, 2 << 20, 1, false));
    assert_true(options_adopt_size(&larger, 2 << 20, 0, true)); /* it is not known */
    assert_int_equal(larger.segment_bytes, 2 << 20);
}

static void test_options_parse_takes_what_the_segment_may_grow_to(void **state)
{
    assert_int_equal(parse("--size=2MiB").most_bytes, 32 << 20);
    assert_true(parse("--size=2MiB").is_usual_most);
    assert_int_equal(parse("--size=1TiB").most_bytes, SEGMENT_MAX_BYTES);
    assert_int_equal(parse("--size=2MiB", "--max-size=3MiB").most_bytes, 3 << 20);
    assert_false(parse("--size=2MiB", "--max-size=3MiB").is_usual_most);
    assert_refused("--max-size is less than --size", "--size=2MiB", "--max-size=1MiB");
    assert_refused("--max-size: \"x\" is no size", "--max-size", "x");
}

static void test_options_parse_finds_a_place_for_the_socket(void **state)
{
    effective_user = 0;

    assert_int_equal(setenv("XDG_RUNTIME_DIR", "relative", 1), 0);
    assert_string_equal(parse("-n", "a").socket_path, "/run/kmemd/a.sock");
    assert_int_equal(setenv("XDG_RUNTIME_DIR", "", 1), 0);
    assert_string_equal(parse("-n", "a").socket_path, "/run/kmemd/a.sock");
    assert_int_equal(unsetenv("XDG_RUNTIME_DIR"), 0);
    assert_string_equal(parse("-n", "a").socket_path, "/run/kmemd/a.sock");
    effective_user = 1000;
    assert_refused("where to listen? $XDG_RUNTIME_DIR is not set; use --socket PATH", "-n", "a");
    assert_string_equal(parse("--socket=/x").socket_path, "/x");
}

static void test_options_parse_with_a_runtime_directory_that_is_too_long_is_refused(void **state)
{
    char directory[6000];
    memset(directory, 'x', sizeof(directory) - 1);
    directory[sizeof(directory) - 1] = '\0';
    directory[0] = '/';
    assert_int_equal(setenv("XDG_RUNTIME_DIR", directory, 1), 0);

    assert_refused("the kernel takes 1 to 107 bytes", "-n", "a");
}

static void test_options_parse_of_a_watchdog_is_in_milliseconds(void **state)
{
    const struct options options = parse("--watchdog", "0.25");

    assert_int_equal(options.watchdog_ms, 250);
    assert_refused("is no time: write seconds", "--watchdog", "soon");
    assert_refused("is no time: write seconds", "--watchdog", "-1");
    assert_refused("is no time: write seconds", "--watchdog", "3601");
    assert_refused("is no time: write seconds", "--watchdog", "nan");
}

static void test_options_parse_of_a_list_takes_each_of_it_and_adds_to_what_was_given(void **state)
{
    const struct options options = parse("--admins=4242,,@4243", "--admins", "root");

    assert_int_equal(options.admins.n, 3);
    assert_int_equal(options.admins.list[0].id, 4242);
    assert_true(options.admins.list[1].is_group);
    assert_int_equal(options.admins.list[2].id, 0);
    assert_int_equal(parse("--admins=").admins.n, 0);
    assert_refused("--admins: there is no user \"no-such-user\"", "--admins=root,no-such-user");
}

/* What is given replaces what a file says. */
static void test_options_parse_of_a_list_forgets_that_of_the_files(void **state)
{
    struct config config = {.n_files = 0};
    struct options options;
    struct complaints complaints = {.say = NULL};
    char *argv[] = {(char *)"kmemd", (char *)"--admins=4242", NULL};
    assert_int_equal(config_add(&config, "a.conf", "admins = {1, 2}\nmembers = {3}\n"), 0);

    command_line_read(&options, 2, argv, &config, NULL, &complaints);
    assert_int_equal(options.admins.n, 1);
    assert_int_equal(options.admins.list[0].id, 4242);
    assert_int_equal(options.members.n, 1);
    config_fini(&config);
}

/* That is no fault of the line's. */
static void test_options_parse_of_a_list_without_memory_is_the_systems_fault(void **state)
{
    char text[8192];
    const char *const arguments[] = {"--admins=root", NULL};
    fail_nth("strdup", 1, ENOMEM);
    assert_int_equal(exit_status_of(arguments, text, sizeof(text)), EXIT_SYSTEM);
    (void)fail_end(); /* it was in the child that it failed */
    assert_non_null(strstr(text, "--admins: Cannot allocate memory"));
}

static void test_options_parse_of_a_file_to_read_wants_a_path(void **state)
{
    char path[PATH_MAX + 1];
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';

    assert_string_equal(parse("--config=/x.conf").config_path, "/x.conf");
    assert_refused("is no path of a file", "--config", "");
    assert_refused("is no path of a file", "--config", path);
    path[PATH_MAX - 1] = '\0';
    assert_string_equal(parse("--config", path).config_path, path);
}

static void test_options_parse_of_reserved_pages_wants_what_fits_to_them(void **state)
{
    assert_int_equal(parse("--hugepages=2M", "--size=4MiB").most_bytes, 4 << 20);
    assert_refused("a multiple of 2MiB", "--hugepages=2M", "--size=3MiB");
    assert_refused("a multiple of 1GiB", "--hugepages=1G", "--size=4MiB");
    assert_refused("--max-size is more than --size", "--hugepages=2M", "--size=4MiB",
                   "--max-size=8MiB");
    assert_refused("--max-size is more than --size", "--lock=on", "--size=4MiB", "--max-size=8MiB");
    assert_refused("--hugepages=2M takes pages", "--hugepages=2M", "--size=4MiB", "--commit=lazy");
    assert_refused("--hugepages=1G takes pages", "--hugepages=1G", "--size=1GiB", "--commit=lazy");
    assert_refused("--lock keeps all", "--lock=on", "--commit=lazy");
}

static void assert_rules_are_refused(const char *text, const char *words)
{
    struct config config = {.n_files = 0};
    struct options options;
    struct complaints complaints = {.say = note_complaint};
    char *argv[] = {(char *)"kmemd", NULL};
    assert_int_equal(config_add(&config, "a.conf", text), 0);
    complained[0] = '\0';
    command_line_read(&options, 1, argv, &config, NULL, &complaints);
    assert_string_equal(complained, words);
    config_fini(&config);
}

static void test_options_parse_of_rules_that_do_not_fit_is_refused(void **state)
{
    assert_rules_are_refused("budget b { action = warn }\nbudget c { max = 1M }\n",
                             "budget \"b\" has no max: write max = 64MiB, say\n");
    assert_rules_are_refused("size = 16MiB\nunit u { reserve = 17MiB }\n",
                             "all reserves together are 17.0 MiB, and the segment has 16.0 MiB to "
                             "give: lower them, or raise the size\n");
}

static void test_options_parse_of_version_and_help_end_with_0(void **state)
{
    char text[8192];

    assert_int_equal(exit_status_of((const char *const[]){"--version", NULL}, text, sizeof(text)),
                     0);
    assert_string_equal(text, "kmemd " KMEM_VERSION " (protocol 1.1)\n");
    assert_int_equal(exit_status_of((const char *const[]){"--help", NULL}, text, sizeof(text)), 0);
    assert_non_null(strstr(text, "--commit=eager|lazy"));
    assert_non_null(strstr(text, "71 if the"));
    assert_int_equal(exit_status_of((const char *const[]){"-h", NULL}, text, sizeof(text)), 0);
    assert_non_null(strstr(text, "--commit=eager|lazy"));
}

#define OPTIONS_TEST(test) cmocka_unit_test_setup(test, options_setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPTIONS_TEST(test_options_parse_of_a_group_by_number),
        OPTIONS_TEST(test_options_parse_of_a_process_to_compare_with),
        OPTIONS_TEST(test_options_adopt_size_keeps_what_was_applied_or_is_too_large),
        OPTIONS_TEST(test_options_parse_takes_what_the_segment_may_grow_to),
        OPTIONS_TEST(test_options_parse_of_nothing_is_the_default),
        OPTIONS_TEST(test_options_parse_of_everything),
        OPTIONS_TEST(test_options_parse_of_short_options),
        OPTIONS_TEST(test_options_parse_of_an_option_twice_takes_the_last),
        OPTIONS_TEST(test_options_parse_of_the_smallest_and_the_largest_size),
        OPTIONS_TEST(test_options_parse_of_a_wrong_size_is_refused),
        OPTIONS_TEST(test_options_parse_of_a_wrong_name_is_refused),
        OPTIONS_TEST(test_options_parse_of_a_socket_path_that_the_kernel_does_not_take_is_refused),
        OPTIONS_TEST(test_options_parse_of_other_wrong_values_is_refused),
        OPTIONS_TEST(test_options_parse_finds_a_place_for_the_socket),
        OPTIONS_TEST(test_options_parse_with_a_runtime_directory_that_is_too_long_is_refused),
        OPTIONS_TEST(test_options_parse_of_a_watchdog_is_in_milliseconds),
        OPTIONS_TEST(test_options_parse_of_a_list_takes_each_of_it_and_adds_to_what_was_given),
        OPTIONS_TEST(test_options_parse_of_a_list_forgets_that_of_the_files),
        OPTIONS_TEST(test_options_parse_of_a_list_without_memory_is_the_systems_fault),
        OPTIONS_TEST(test_options_parse_of_a_file_to_read_wants_a_path),
        OPTIONS_TEST(test_options_parse_of_reserved_pages_wants_what_fits_to_them),
        OPTIONS_TEST(test_options_parse_of_rules_that_do_not_fit_is_refused),
        OPTIONS_TEST(test_options_parse_of_version_and_help_end_with_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
