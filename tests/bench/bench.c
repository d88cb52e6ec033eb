/* SPDX-License-Identifier: MIT */
/*
 * bench.c - servers run beside the measurement, as children that die with it
 */
#include "tests/bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SERVERS_MAX 4

#ifdef __clang__
#define COMPILER "clang"
#else
#define COMPILER "gcc"
#endif

static pid_t servers[SERVERS_MAX];
static size_t n_servers;
static char directory[64];

void bench_fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
    exit(1);
}

/* ---------------------------------------------------------------------------- the machine ---- */

static void read_processor_name(char *name, size_t name_bytes)
{
    char line[512];
    FILE *const file = fopen("/proc/cpuinfo", "re");
    (void)snprintf(name, name_bytes, "unknown processor");
    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        const char *const colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) == 0 && colon != NULL) {
            (void)snprintf(name, name_bytes, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
            break;
        }
    }
    if (file != NULL) {
        (void)fclose(file);
    }
}

/* What git says; "unknown" outside a repository. */
static void read_commit(char *commit, size_t commit_bytes)
{
    int fds[2];
    (void)snprintf(commit, commit_bytes, "unknown");
    if (pipe2(fds, O_CLOEXEC) != 0) {
        return;
    }
    const pid_t pid = fork();
    if (pid == 0) {
        const int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
        (void)dup2(fds[1], STDOUT_FILENO);
        (void)dup2(null_fd, STDERR_FILENO);
        (void)execlp("git", "git", "-C", BENCH_SOURCE_DIR, "describe", "--always", "--dirty", NULL);
        _exit(127);
    }
    (void)close(fds[1]);
    char text[64] = "";
    const ssize_t n = read(fds[0], text, sizeof(text) - 1);
    (void)close(fds[0]);
    (void)waitpid(pid, NULL, 0);
    if (n > 0) {
        (void)snprintf(commit, commit_bytes, "%.*s", (int)strcspn(text, "\n"), text);
    }
}

void bench_print_machine(FILE *to, const char *before)
{
    struct utsname system;
    char processor[256];
    char commit[64];
    char date[32];
    const time_t now = time(NULL);
    struct tm day;
    (void)strftime(date, sizeof(date), "%Y-%m-%d", gmtime_r(&now, &day));
    (void)uname(&system);
    read_processor_name(processor, sizeof(processor));
    read_commit(commit, sizeof(commit));
    (void)fprintf(to, "%smachine: %ld x %s\n", before, sysconf(_SC_NPROCESSORS_ONLN), processor);
    (void)fprintf(to, "%skernel: Linux %s\n", before, system.release);
    (void)fprintf(to, "%scompiler: " COMPILER " %s\n", before, __VERSION__);
    (void)fprintf(to, "%scommit: %s\n", before, commit);
    (void)fprintf(to, "%sdate: %s\n", before, date);
}

uint64_t bench_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* -------------------------------------------------------------------------------- servers ---- */

const char *bench_bin(void)
{
    const char *const bin = getenv("KMEM_BIN");
    return bin != NULL ? bin : KMEM_BIN_DEFAULT;
}

const char *bench_programs(void)
{
    const char *const programs = getenv("KMEM_TEST_BIN");
    return programs != NULL ? programs : KMEM_TEST_BIN_DEFAULT;
}

static bool keep_on(pid_t pid, size_t processor)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(processor, &one);
    return sched_setaffinity(pid, sizeof(one), &one) == 0;
}

/* Who answers for kmemd is a child of the process that was started. */
static bool keep_children_on(pid_t pid, size_t processor)
{
    char path[64];
    char text[256] = "";
    bool kept = true;
    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *const children = fopen(path, "re");
    if (children == NULL) {
        return false;
    }
    (void)!fgets(text, sizeof(text), children); /* there may be none */
    (void)fclose(children);
    char *at = text;
    for (long child = strtol(at, &at, 10); child > 0; child = strtol(at, &at, 10)) {
        kept = kept && keep_on((pid_t)child, processor);
    }
    return kept;
}

bool bench_place(size_t own_processor, size_t servers_processor)
{
    static cpu_set_t allowed; /* before the first call kept us on one */
    if (CPU_COUNT(&allowed) == 0 && sched_getaffinity(0, sizeof(allowed), &allowed) != 0) {
        return false;
    }
    if (!CPU_ISSET(own_processor, &allowed) || !CPU_ISSET(servers_processor, &allowed)) {
        return false;
    }
    bool placed = keep_on(0, own_processor);
    for (size_t i = 0; i < n_servers; i++) {
        placed = placed && keep_on(servers[i], servers_processor) &&
                 keep_children_on(servers[i], servers_processor);
    }
    return placed;
}

static void end_servers(void)
{
    for (size_t i = 0; i < n_servers; i++) {
        (void)kill(servers[i], SIGTERM);
        (void)waitpid(servers[i], NULL, 0);
    }
    n_servers = 0;
    if (directory[0] != '\0') {
        char log_path[sizeof(directory) + sizeof("/" BENCH_LOG)];
        (void)snprintf(log_path, sizeof(log_path), "%s/" BENCH_LOG, directory);
        (void)unlink(log_path);
        (void)rmdir(directory); /* each server removes its socket */
    }
}

void bench_forget(void)
{
    n_servers = 0;
    directory[0] = '\0';
}

const char *bench_directory(void)
{
    if (directory[0] == '\0') {
        (void)snprintf(directory, sizeof(directory), "/tmp/kmemd-bench-XXXXXX");
        if (mkdtemp(directory) == NULL) {
            bench_fail("%s: %s", directory, strerror(errno));
        }
        (void)atexit(end_servers);
    }
    return directory;
}

void bench_start_server(const char *const *arguments)
{
    int fds[2];
    char line[256];
    char log_path[100];
    (void)snprintf(log_path, sizeof(log_path), "%s/" BENCH_LOG, bench_directory());
    if (n_servers == SERVERS_MAX || pipe2(fds, O_CLOEXEC) != 0) {
        bench_fail("%s can not be started", arguments[0]);
    }
    (void)fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(fds[1], STDOUT_FILENO);
        (void)dup2(open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600), STDERR_FILENO);
        (void)execv(arguments[0], (char *const *)(uintptr_t)arguments);
        _exit(127);
    }
    servers[n_servers++] = pid;
    (void)close(fds[1]);
    if (read(fds[0], line, sizeof(line)) <= 0) {
        bench_fail("%s did not start", arguments[0]);
    }
    (void)close(fds[0]);
}

/* -------------------------------------------------------------------------------- samples ---- */

void samples_init(struct samples *samples, size_t capacity)
{
    *samples = (struct samples){.ns = calloc(capacity, sizeof(*samples->ns)), .capacity = capacity};
    if (samples->ns == NULL) {
        bench_fail("no memory for %zu samples", capacity);
    }
}

void samples_fini(struct samples *samples)
{
    free(samples->ns);
    *samples = (struct samples){.ns = NULL};
}

void samples_add(struct samples *samples, double ns)
{
    if (samples->n == samples->capacity) {
        bench_fail("more than %zu samples", samples->capacity);
    }
    samples->ns[samples->n++] = ns;
}

static int compare_ns(const void *left, const void *right)
{
    const double a = *(const double *)left;
    const double b = *(const double *)right;
    return a < b ? -1 : a > b;
}

double samples_quantile(struct samples *samples, double quantile)
{
    if (samples->n == 0) {
        bench_fail("nothing was measured");
    }
    qsort(samples->ns, samples->n, sizeof(*samples->ns), compare_ns);
    return samples->ns[(size_t)((double)(samples->n - 1) * quantile)];
}
