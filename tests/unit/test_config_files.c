/* SPDX-License-Identifier: MIT */
/*
 * test_config_files.c - which files make a configuration, and what is said of those that can not
 *
 * Each test has a directory of its own, which is the configuration directory of a user's daemon.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config.h"
#include "tests/unit/captured.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"

#define TOLD_BYTES 8192

FAIL_WRAP(char *, strdup, (const char *text), (text), NULL)
FAIL_WRAP(ssize_t, read, (int fd, void *bytes, size_t n_bytes), (fd, bytes, n_bytes), -1)
FAIL_WRAP(int, fstat, (int fd, struct stat *status), (fd, status), -1)

void *__real_reallocarray(void *bytes, size_t n, size_t n_bytes);
void *__wrap_reallocarray(void *bytes, size_t n, size_t n_bytes);
void *__wrap_reallocarray(void *bytes, size_t n, size_t n_bytes)
{
    return fail_now("memory") ? NULL : __real_reallocarray(bytes, n, n_bytes);
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, mode_t mode);
int __wrap_open(const char *path, int flags, mode_t mode)
{
    return fail_now("open") ? -1 : __real_open(path, flags, mode);
}

static uid_t euid;

uid_t __wrap_geteuid(void);
uid_t __wrap_geteuid(void)
{
    return euid;
}

static char told[TOLD_BYTES];
static char home[] = "/tmp/kmemd-config-XXXXXX";
static struct config config;
static struct complaints complaints;

static void tell(const char *sentence, void *user)
{
    const size_t n_told = strlen(told);
    (void)snprintf(told + n_told, sizeof(told) - n_told, "%s\n", sentence); /* or it is cut */
}

/* A path in the configuration directory, or, of "", that. */
static const char *path_of(const char *name)
{
    static char path[PATH_MAX];
    (void)snprintf(path, sizeof(path), "%s/kmemd%s%s", home, name[0] != '\0' ? "/" : "", name);
    return path;
}

static void make_directory(const char *name)
{
    assert_int_equal(mkdir(path_of(name), 0700), 0);
}

static void make_file(const char *name, const char *bytes, size_t n_bytes)
{
    FILE *file = fopen(path_of(name), "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n_bytes, file), n_bytes);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(path_of(name), 0644), 0); /* whatever the umask is */
}

static void make_text(const char *name, const char *text)
{
    make_file(name, text, strlen(text));
}

static int files_setup(void **state)
{
    memset(home + strlen(home) - 6, 'X', 6); /* as at first */
    assert_non_null(mkdtemp(home));
    assert_int_equal(setenv("XDG_CONFIG_HOME", home, 1), 0);
    assert_int_equal(setenv("XDG_RUNTIME_DIR", "/run/user/1", 1), 0);
    euid = 1;
    make_directory("");
    told[0] = '\0';
    config = (struct config){.files = NULL};
    complaints = (struct complaints){.say = tell};
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    return remove(path);
}

static int files_teardown(void **state)
{
    config_fini(&config);
    return nftw(home, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void read_files(void)
{
    config_fini(&config);
    told[0] = '\0';
    complaints = (struct complaints){.say = tell};
    config_read(&config, "video", NULL, &complaints);
}

/* Of "video.conf", whatever that is: one complaint, that ends so, and not its text. */
static void assert_refused(const char *why)
{
    char wanted[PATH_MAX + 256];
    const unsigned n_fds = count_fds();
    read_files();
    (void)snprintf(wanted, sizeof(wanted), "%s: %s\n", path_of("video.conf"), why);
    assert_string_equal(told, wanted);
    assert_int_equal(complaints.n, 1);
    assert_int_equal(config.n_files, 0);
    assert_int_equal(count_fds(), n_fds);
}

/* ----------------------------------------------------------------------------- where it is ---- */

static void assert_directory(const char *wanted)
{
    char directory[PATH_MAX];
    assert_string_equal(config_directory(directory, sizeof(directory)), wanted);
}

static void test_config_directory_is_the_users_of_a_users_own_daemon_alone(void **state)
{
    (void)setenv("XDG_CONFIG_HOME", "/own", 1);
    (void)setenv("HOME", "/home/eve", 1);
    assert_directory("/own/kmemd");
    (void)setenv("XDG_CONFIG_HOME", "relative", 1);
    assert_directory("/home/eve/.config/kmemd");
    (void)unsetenv("XDG_CONFIG_HOME");
    assert_directory("/home/eve/.config/kmemd");
    (void)setenv("HOME", "relative", 1);
    assert_directory("/etc/kmemd");
    (void)unsetenv("HOME");
    assert_directory("/etc/kmemd");

    (void)setenv("HOME", "/home/eve", 1);
    (void)setenv("XDG_RUNTIME_DIR", "relative", 1);
    assert_directory("/etc/kmemd");
    (void)unsetenv("XDG_RUNTIME_DIR");
    assert_directory("/etc/kmemd");
    (void)setenv("XDG_RUNTIME_DIR", "/run/user/0", 1);
    euid = 0; /* a root that has kept a user's environment */
    assert_directory("/etc/kmemd");
}

static void test_config_read_takes_files_from_the_general_to_the_special_by_name(void **state)
{
    const char *const wanted[] = {"conf.d/10-a.conf", "conf.d/9.conf", "video.conf",
                                  "video.conf.d/x.conf"};
    make_directory("conf.d");
    make_directory("video.conf.d");
    make_text("video.conf.d/x.conf", "quota = 3M");
    make_text("conf.d/9.conf", "quota = 1M");
    make_text("conf.d/10-a.conf", "quota = 2M");
    make_text("conf.d/.hidden.conf", "no");
    make_text("conf.d/README", "no");
    make_text("conf.d/old.conf.bak", "no");
    make_text("other.conf", "no");
    make_text("video.conf", "names = 4");

    read_files();
    assert_string_equal(told, "");
    assert_int_equal(config.n_files, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(config.files[i].path, path_of(wanted[i]));
    }
    assert_string_equal(config.files[2].text, "names = 4");
}

static void test_config_read_without_a_file_is_content(void **state)
{
    read_files();
    assert_int_equal(config.n_files, 0);
    make_text("conf.d", "a file of that name is no directory of files");
    (void)setenv("XDG_CONFIG_HOME", path_of("conf.d"), 1); /* nor is there one below it */
    read_files();
    assert_int_equal(config.n_files, 0);
    assert_int_equal(complaints.n, 0);
}

static void test_config_read_of_the_only_file_wants_it_to_be_there(void **state)
{
    char wanted[PATH_MAX + 64];
    make_text("video.conf", "names = 4");
    config_read(&config, "video", "/dev/null", &complaints); /* without settings */
    assert_int_equal(config.n_files, 1);
    assert_string_equal(config.files[0].text, "");
    config_read(&config, "video", path_of("missing"), &complaints);
    (void)snprintf(wanted, sizeof(wanted), "--config: %s: No such file or directory\n",
                   path_of("missing"));
    assert_string_equal(told, wanted);
    assert_int_equal(config.n_files, 1);
}

/* ------------------------------------------------------------------- what can not be taken ---- */

static void test_config_read_refuses_what_is_no_ordinary_file(void **state)
{
    make_directory("video.conf");
    assert_refused("Is a directory");
    assert_int_equal(rmdir(path_of("video.conf")), 0);
    assert_int_equal(mkfifo(path_of("video.conf"), 0600), 0); /* it must not be waited for */
    assert_refused("it is no ordinary file");
    assert_false(complaints.has_fault);
}

static void test_config_read_refuses_a_file_that_every_user_may_write(void **state)
{
    make_text("video.conf", "names = 4");
    assert_int_equal(chmod(path_of("video.conf"), 0646), 0);
    assert_refused("every user may write it, and so decide who may join: take that away (chmod "
                   "o-w)");
}

static void test_config_read_refuses_a_file_of_too_many_bytes_or_with_a_NUL(void **state)
{
    char *bytes = malloc(CONFIG_FILE_MAX_BYTES + 1);
    assert_non_null(bytes);
    memset(bytes, '\n', CONFIG_FILE_MAX_BYTES + 1);
    make_file("video.conf", bytes, CONFIG_FILE_MAX_BYTES + 1);
    assert_refused("it has more than the 1048576 bytes that a configuration may have");
    make_file("video.conf", bytes, CONFIG_FILE_MAX_BYTES);
    read_files();
    assert_int_equal(complaints.n, 0);
    bytes[7] = '\0';
    make_file("video.conf", bytes, 20);
    assert_refused("it is no text: there is a NUL in it");
    free(bytes);
}

static void test_config_read_of_a_directory_that_can_not_be_read_says_so(void **state)
{
    assert_int_equal(symlink("conf.d", path_of("conf.d")), 0);
    read_files();
    assert_int_equal(complaints.n, 1);
    assert_non_null(strstr(told, "/conf.d: Too many levels of symbolic links\n"));
    assert_false(complaints.has_fault); /* it is about the file */
}

/* ------------------------------------------------------------------------- calls that fail ---- */

static void test_config_read_says_of_each_call_that_fails_which_file_it_was(void **state)
{
    const struct {
        const char *call;
        int error;
        bool is_fault;
    } rows[] = {{"open", EACCES, false}, {"open", EPERM, false},        {"open", ELOOP, false},
                {"open", ENXIO, false},  {"open", ENAMETOOLONG, false}, {"open", EMFILE, true},
                {"fstat", EIO, false},   {"read", EIO, true},           {"read", EISDIR, false}};
    make_text("video.conf", "names = 4");

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fail_nth(rows[i].call, 1, rows[i].error);
        assert_refused(strerror(rows[i].error));
        assert_true(fail_end());
        assert_int_equal(complaints.has_fault, rows[i].is_fault);
    }
}

static void test_config_read_goes_on_where_a_signal_has_interrupted_it(void **state)
{
    make_text("video.conf", "names = 4");
    fail_nth("read", 1, EINTR);
    read_files();
    assert_true(fail_end());
    assert_int_equal(complaints.n, 0);
    assert_string_equal(config.files[0].text, "names = 4");
}

static void assert_memory_is_missed(const char *what)
{
    for (unsigned nth = 1; fail_again(what, nth, ENOMEM); nth++) {
        read_files();
        if (fail_end()) {
            assert_int_equal(complaints.n, 1);
            assert_non_null(strstr(told, "/video.conf: Cannot allocate memory\n"));
            assert_true(complaints.has_fault);
            assert_int_equal(config.n_files, 0);
        } else {
            assert_int_equal(complaints.n, 0);
        }
    }
}

static void test_config_read_without_memory_says_so_and_takes_nothing(void **state)
{
    make_text("video.conf", "names = 4");
    assert_memory_is_missed("memory");
    assert_memory_is_missed("strdup");
}

/* A fault stays one, whatever is wrong besides. */
static void test_complaints_note_does_not_forget_a_fault(void **state)
{
    complaints_note(&complaints, EIO);
    complaints_note(&complaints, EACCES);
    assert_true(complaints.has_fault);
    complaints.say = NULL; /* they are only counted */
    complaints_add(&complaints, "%s", "something");
    assert_int_equal(complaints.n, 1);
    assert_string_equal(told, "");
}

#define FILES_TEST(function) cmocka_unit_test_setup_teardown(function, files_setup, files_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILES_TEST(test_config_directory_is_the_users_of_a_users_own_daemon_alone),
        FILES_TEST(test_config_read_takes_files_from_the_general_to_the_special_by_name),
        FILES_TEST(test_config_read_without_a_file_is_content),
        FILES_TEST(test_config_read_of_the_only_file_wants_it_to_be_there),
        FILES_TEST(test_config_read_refuses_what_is_no_ordinary_file),
        FILES_TEST(test_config_read_refuses_a_file_that_every_user_may_write),
        FILES_TEST(test_config_read_refuses_a_file_of_too_many_bytes_or_with_a_NUL),
        FILES_TEST(test_config_read_of_a_directory_that_can_not_be_read_says_so),
        FILES_TEST(test_config_read_says_of_each_call_that_fails_which_file_it_was),
        FILES_TEST(test_config_read_goes_on_where_a_signal_has_interrupted_it),
        FILES_TEST(test_config_read_without_memory_says_so_and_takes_nothing),
        FILES_TEST(test_complaints_note_does_not_forget_a_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
