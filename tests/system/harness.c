/* SPDX-License-Identifier: MIT */
/*
 * harness.c - one process and one directory per test, and nothing left of either
 *
 *      main, the supervisor ── waits with a deadline, prints the logs, removes the directory
 *        └── the test ── runs the test's function, then checks its own descriptors and children
 *              ├── kmemd
 *              └── clients
 *
 * Every process below the supervisor is killed by the kernel when its parent ends
 * (PR_SET_PDEATHSIG), so a test that fails half way leaves nothing. The supervisor is the subreaper
 * of whatever outlives its parent nevertheless; after a test that passed, that is a failure.
 */
#include "tests/system/harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <poll.h>
#include <regex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define EXIT_SKIPPED 77
/* Whatever it is that a test waits for, a busy machine may need so long to start a process. */
#define PATIENT_LEAST_MS 30000
/* A process that has been told to end, and outlives its test, was not waited for. */
#define REMAINING_LIMIT_MS 2000
/* Enough of a log to see what led to the failure; debug logs are long. */
#define LOG_TAIL_BYTES 6000

static char directory[PATH_MAX];
static const char *test_name = "?";
static pid_t test_pid;

/* ---------------------------------------------------------------------- for the tests ---- */

void harness_fail(const char *file, int line, const char *format, ...)
{
    char message[4096];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    (void)fprintf(stderr, "%s:%d: %s (pid %d): %s\n", file, line, test_name, (int)getpid(),
                  message);
    (void)fflush(NULL);
    /* Not exit(): what a failed test has allocated would be reported as leaks on top. */
    _exit(1);
}

void harness_skip(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)printf("skipped: ");
    (void)vprintf(format, arguments);
    (void)printf("\n");
    va_end(arguments);
    (void)fflush(NULL);
    _exit(EXIT_SKIPPED);
}

void harness_note(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)printf("  ");
    (void)vprintf(format, arguments);
    (void)printf("\n");
    va_end(arguments);
    (void)fflush(stdout);
}

static const char *join_path(const char *folder, const char *name)
{
    /* A few paths live at the same time in one expression; eight are more than any test uses. */
    static char paths[8][PATH_MAX];
    static unsigned int next;
    char *const path = paths[next++ % 8];
    if (snprintf(path, PATH_MAX, "%s/%s", folder, name) >= PATH_MAX) {
        fail("the path of %s is too long", name);
    }
    return path;
}

const char *harness_path(const char *name)
{
    return join_path(directory, name);
}

const char *harness_program(const char *name)
{
    const char *const folders[] = {getenv("KMEM_BIN"), getenv("KMEM_TEST_BIN"), KMEM_BIN_DEFAULT,
                                   KMEM_TEST_BIN_DEFAULT};
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        if (folders[i] != NULL && access(join_path(folders[i], name), X_OK) == 0) {
            return join_path(folders[i], name);
        }
    }
    fail("no program %s in $KMEM_BIN or $KMEM_TEST_BIN", name);
}

uint64_t harness_scaled(uint64_t count)
{
    static bool said;
    if (!HARNESS_SANITIZED) {
        return count;
    }
    if (!said && getpid() == test_pid) {
        harness_note("sanitizer build: counts are a tenth of those in a release build");
        said = true;
    }
    return count < 10 ? 1 : count / 10;
}

unsigned int harness_stride(unsigned int usual)
{
    const char *const given = getenv("KMEM_TEST_STRIDE");
    const unsigned long number = given != NULL ? strtoul(given, NULL, 10) : 0;
    return number > 0 ? (unsigned int)number : usual;
}

unsigned int harness_count_fds(int pid)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
    DIR *const entries = opendir(path);
    if (entries == NULL) {
        fail("%s: %s", path, strerror(errno));
    }
    unsigned int n_fds = 0;
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        n_fds += entry->d_name[0] != '.';
    }
    closedir(entries);
    return pid == getpid() ? n_fds - 1 : n_fds; /* without the one that was open for reading */
}

char harness_state_of(int pid)
{
    char path[64];
    char line[512] = "";
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    FILE *const file = fopen(path, "re");
    if (file != NULL) {
        (void)!fgets(line, sizeof(line), file);
        (void)fclose(file);
    }
    const char *const command_end = strrchr(line, ')');
    return command_end != NULL ? command_end[2] : '\0';
}

uint64_t harness_now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

void harness_sleep_ms(unsigned int duration_ms)
{
    const struct timespec duration = {duration_ms / 1000, (long)(duration_ms % 1000) * 1000000};
    (void)nanosleep(&duration, NULL);
}

int harness_patient_ms(uint64_t limit_ms)
{
    const uint64_t patient_ms = limit_ms * HARNESS_PATIENCE;
    const uint64_t least_ms = patient_ms < PATIENT_LEAST_MS ? PATIENT_LEAST_MS : patient_ms;
    return least_ms > INT_MAX ? INT_MAX : (int)least_ms;
}

uint64_t harness_deadline_us(uint64_t limit_ms)
{
    return harness_now_us() + (uint64_t)harness_patient_ms(limit_ms) * 1000;
}

struct stopwatch stopwatch_start(void)
{
    return (struct stopwatch){.began_us = harness_now_us()};
}

double stopwatch_ms(const struct stopwatch *stopwatch)
{
    return (double)(harness_now_us() - stopwatch->began_us) / 1000;
}

bool harness_matches(const char *text, const char *pattern)
{
    regex_t regex;
    if (regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB | REG_NEWLINE) != 0) {
        fail("not a regular expression: %s", pattern);
    }
    const int r = regexec(&regex, text, 0, NULL, 0);
    regfree(&regex);
    return r == 0;
}

void harness_expect_match(const char *file, int line, const char *text, const char *pattern)
{
    if (!harness_matches(text, pattern)) {
        harness_fail(file, line, "no match for\n    %s\nin\n%s", pattern, text);
    }
}

/* -------------------------------------------------------------------- inside the test ---- */

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit); /* tests that need more than they get say so */
    }
}

KMEM_NORETURN static void run_test(const struct system_test *test)
{
    test_name = test->name;
    test_pid = getpid();
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGPIPE, SIG_DFL);
    raise_descriptor_limit();
    const unsigned int n_fds = harness_count_fds(getpid());
    test->run();
    if (harness_count_fds(getpid()) != n_fds) {
        fail("the test began with %u descriptors and ends with %u", n_fds,
             harness_count_fds(getpid()));
    }
    if (waitpid(-1, NULL, WNOHANG) != -1 || errno != ECHILD) {
        fail("the test ends with processes that it did not wait for");
    }
    exit(0); /* not _exit(): LeakSanitizer looks now */
}

/* --------------------------------------------------------------------- the supervisor ---- */

static void print_log_tail(const char *path)
{
    static char bytes[LOG_TAIL_BYTES];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return;
    }
    const off_t end = lseek(fd, 0, SEEK_END);
    const off_t from = end > LOG_TAIL_BYTES ? end - LOG_TAIL_BYTES : 0;
    const ssize_t n = pread(fd, bytes, sizeof(bytes), from);
    (void)close(fd);
    if (n > 0) {
        (void)fprintf(stderr, "---- %s%s\n%.*s----\n", path, from > 0 ? " (its end)" : "", (int)n,
                      bytes);
    }
}

static void print_logs(void)
{
    DIR *const entries = opendir(directory);
    if (entries == NULL) {
        return;
    }
    const struct dirent *entry;
    while ((entry = readdir(entries)) != NULL) {
        if (harness_matches(entry->d_name, "\\.log$")) {
            print_log_tail(harness_path(entry->d_name));
        }
    }
    (void)closedir(entries);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

static void make_directory(void)
{
    const char *const parent = getenv("TMPDIR");
    (void)snprintf(directory, sizeof(directory), "%s/kmemd-test-XXXXXX",
                   parent != NULL ? parent : "/tmp");
    if (mkdtemp(directory) == NULL) {
        (void)fprintf(stderr, "%s: %s\n", directory, strerror(errno));
        exit(1);
    }
}

/* Reads what /proc calls the children of this thread: those that were orphaned included. */
static unsigned int kill_remaining_children(void)
{
    char path[64];
    char pids[4096] = "";
    unsigned int n_children = 0;
    (void)snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)!read(fd, pids, sizeof(pids) - 1);
        (void)close(fd);
    }
    char *at = pids;
    for (long pid = strtol(at, &at, 10); pid > 0; pid = strtol(at, &at, 10)) {
        n_children++;
        (void)kill((pid_t)pid, SIGKILL);
    }
    return n_children;
}

/* Return: how many processes outlived the test, though there was time. */
static unsigned int reap_remaining(void)
{
    const uint64_t until_us = harness_deadline_us(REMAINING_LIMIT_MS);
    while (harness_now_us() < until_us) {
        if (waitpid(-1, NULL, WNOHANG) == -1) {
            return 0;
        }
        harness_sleep_ms(1);
    }
    const unsigned int n_left = kill_remaining_children();
    for (pid_t pid = 0; pid != -1;) {
        pid = waitpid(-1, NULL, 0);
    }
    return n_left;
}

/* Return: the wait status of the test; that of a SIGKILL if it missed its deadline. */
static int wait_with_deadline(pid_t pid, unsigned int deadline_s)
{
    struct pollfd ended = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    if (poll(&ended, 1, (int)deadline_s * 1000) == 0) {
        (void)fprintf(stderr, "not finished after %u s\n", deadline_s);
        (void)kill(pid, SIGKILL);
    }
    (void)close(ended.fd);
    int status = -1;
    (void)waitpid(pid, &status, 0);
    return status;
}

static int supervise(const struct system_test *test)
{
    const uint64_t begin_us = harness_now_us();
    make_directory();
    (void)printf("%s\n", test->name);
    (void)fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        run_test(test);
    }
    const int status = wait_with_deadline(pid, test->deadline_s * HARNESS_PATIENCE);
    const unsigned int n_left = reap_remaining();
    int result = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    if (WIFSIGNALED(status)) {
        (void)fprintf(stderr, "ended by signal %d\n", WTERMSIG(status));
    }
    if (result == 0 && n_left > 0) {
        (void)fprintf(stderr, "%u processes outlived the test\n", n_left);
        result = 1;
    }
    if (result != 0 && result != EXIT_SKIPPED) {
        print_logs();
        result = 1;
    }
    (void)nftw(directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    (void)printf("%s %s (%.1f s)\n",
                 result == 0              ? "ok"
                 : result == EXIT_SKIPPED ? "SKIPPED"
                                          : "FAILED",
                 test->name, (double)(harness_now_us() - begin_us) / 1e6);
    return result;
}

static bool is_wanted(const char *name, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], name) == 0) {
            return true;
        }
    }
    return argc < 2;
}

int harness_run(const struct system_test *tests, size_t n_tests, int argc, char **argv)
{
    unsigned int n_passed = 0;
    unsigned int n_failed = 0;
    unsigned int n_skipped = 0;
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (size_t i = 0; i < n_tests; i++) {
        if (is_wanted(tests[i].name, argc, argv)) {
            const int result = supervise(&tests[i]);
            n_passed += result == 0;
            n_failed += result == 1;
            n_skipped += result == EXIT_SKIPPED;
        }
    }
    if (n_passed + n_failed + n_skipped == 0) {
        (void)fprintf(stderr, "%s: no such test\n", argv[1]);
        return 1;
    }
    if (n_failed > 0) {
        return 1;
    }
    return n_passed == 0 ? EXIT_SKIPPED : 0;
}
