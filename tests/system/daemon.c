/* SPDX-License-Identifier: MIT */
/*
 * daemon.c - kmemd as a child process
 *
 * Its stdout is a pipe, so that the ready line ends the wait for it; its stderr is a file in the
 * test's directory, so that it can log at any length while nobody reads.
 */
#include "tests/system/daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/system/cradle.h"
#include "tests/system/harness.h"
#include "tests/system/last_process.h"
#include "tests/system/usage.h"
#include "tests/system/walls.h"
#include "tests/wire/wire.h"

/* Under a sanitizer and with a busy neighbour; a release build takes some 50 ms for 256 MiB. */
#define READY_TIMEOUT_MS 20000
#define STOP_TIMEOUT_MS 5000
#define TRY_TIMEOUT_MS 10000
#define N_OPTIONS_MAX 32
#define LOG_BYTES_MAX (1024 * 1024)

struct process {
    pid_t pid;
    int pidfd;
    int out_fd; /* its stdout, non-blocking */
};

static struct {
    struct process process;
    char socket[256];
    char ready_line[512];
    unsigned int fds_at_start;
    uint64_t memory_kib_at_start;
    uint64_t free_bytes_at_start;
    bool may_crash;
} served;

/* -------------------------------------------------------------------------- processes ---- */

static void read_file(const char *path, char *text, size_t text_bytes)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? 0 : read(fd, text, text_bytes - 1);
    text[n > 0 ? n : 0] = '\0';
    if (fd >= 0) {
        (void)close(fd);
    }
}

static void set_or_unset(const char *name, const char *value)
{
    if (value != NULL) {
        (void)setenv(name, value, 1);
    } else {
        (void)unsetenv(name);
    }
}

static void apply_setting(const struct daemon_setting *setting)
{
    if (setting->max_fds != 0) {
        const struct rlimit limit = {setting->max_fds, setting->max_fds};
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    set_or_unset("NOTIFY_SOCKET", setting->notify_socket);
    set_or_unset("XDG_RUNTIME_DIR", setting->runtime_dir);
    /*
     * AddressSanitizer keeps 256 MiB of freed memory by default: the daemon would never be back
     * where it was.
     */
    char options[512];
    const char *const given = getenv("ASAN_OPTIONS");
    (void)snprintf(options, sizeof(options), "%s:quarantine_size_mb=1", given != NULL ? given : "");
    (void)setenv("ASAN_OPTIONS", options, 1);
}

/* As a service manager passes what it has kept: sd_listen_fds(3). */
static void pass_descriptors(const struct daemon_setting *setting)
{
    char number[24];
    if (setting->n_fds == 0) {
        return;
    }
    (void)snprintf(number, sizeof(number), "%u", setting->n_fds);
    (void)setenv("LISTEN_FDS", number, 1);
    (void)snprintf(number, sizeof(number), "%d", (int)getpid());
    (void)setenv("LISTEN_PID", number, 1);
    (void)setenv("LISTEN_FDNAMES", setting->fd_names, 1);
}

/* Moves the descriptors to be passed to 3 and up; the numbers they have are far above. */
static void place_descriptors(const struct daemon_setting *setting)
{
    for (unsigned int i = 0; i < setting->n_fds; i++) {
        (void)dup2(setting->fds[i], 3 + (int)i);
    }
}

KMEM_NORETURN static void become_daemon(const struct daemon_setting *setting,
                                        const char *const *arguments, int out_fd,
                                        const char *log_path)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int log_fd = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    (void)dup2(out_fd, STDOUT_FILENO);
    (void)dup2(log_fd, STDERR_FILENO);
    place_descriptors(setting);
    (void)close_range(3 + setting->n_fds, ~0U, 0);
    apply_setting(setting);
    const char *const program =
        walls_launcher(setting->program ? setting->program : harness_program("kmemd"));
    const int program_fd = walls_open_program(program);
    pass_descriptors(setting);
    if (setting->prepare != NULL) {
        setting->prepare();
    }
    cradle_lay_from_environment();
    cradle_lay(setting->cradle);
    walls_exec(program_fd, program, arguments);
    (void)fprintf(stderr, "%s: %s\n", program, strerror(errno));
    _exit(127);
}

static struct process start_process(const struct daemon_setting *setting,
                                    const char *const *arguments, const char *log_path)
{
    int out_fds[2];
    expect_call(pipe2(out_fds, O_CLOEXEC) == 0);
    (void)fflush(NULL);
    const pid_t pid = fork();
    expect_call(pid >= 0);
    if (pid == 0) {
        become_daemon(setting, arguments, out_fds[1], log_path);
    }
    (void)close(out_fds[1]);
    (void)fcntl(out_fds[0], F_SETFL, O_NONBLOCK);
    return (struct process){
        .pid = pid, .pidfd = (int)syscall(SYS_pidfd_open, pid, 0), .out_fd = out_fds[0]};
}

/* The keeper's only child; 0: it has none just now. While another process of the keeper's ends the
   kernel may leave it out (proc(5)), so it is looked for more than once. */
static pid_t server_of(pid_t keeper)
{
    char path[80];
    char text[64] = "";
    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)keeper, (int)keeper);
    for (unsigned int i = 0; i < 3 && text[0] == '\0'; i++) {
        read_file(path, text, sizeof(text));
    }
    return (pid_t)strtol(text, NULL, 10);
}

/* Return: the exit status, 128 + the signal, or -1 if it had to be killed. */
static int end_process(struct process *process, int timeout_ms)
{
    struct pollfd ended = {.fd = process->pidfd, .events = POLLIN};
    const bool in_time = poll(&ended, 1, harness_patient_ms((uint64_t)timeout_ms)) == 1;
    if (!in_time) {
        (void)kill(process->pid, SIGKILL);
    }
    int status = 0;
    expect_call(waitpid(process->pid, &status, 0) == process->pid);
    (void)close(process->pidfd);
    (void)close(process->out_fd);
    process->pid = 0;
    if (!in_time) {
        return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Reads until a line is complete, the process closes its stdout, or time is up. */
static void read_line(const struct process *process, char *line, size_t line_bytes, int timeout_ms)
{
    const uint64_t until_us = harness_deadline_us((uint64_t)timeout_ms);
    size_t n_read = 0;
    line[0] = '\0';
    while (strchr(line, '\n') == NULL && n_read + 1 < line_bytes && harness_now_us() < until_us) {
        struct pollfd readable = {.fd = process->out_fd, .events = POLLIN};
        (void)poll(&readable, 1, 100);
        const ssize_t n = read(process->out_fd, line + n_read, line_bytes - 1 - n_read);
        if (n == 0) {
            return;
        }
        n_read += n > 0 ? (size_t)n : 0;
        line[n_read] = '\0';
    }
}

/* ------------------------------------------------------------- the daemon that serves ---- */

/*
 * The keeper says that it is ready while the server still starts its scrubber, and a connection
 * that was closed is seen a moment later. Both are over when the second of two questions on the
 * same connection is answered: the server sees all that is there before it sees what comes after.
 */
void daemon_remember_idle(void)
{
    (void)usage_take(); /* the first question makes the daemon allocate what it then keeps */
    const int fd = wire_observer();
    (void)usage_ask(fd);
    served.free_bytes_at_start = usage_ask(fd).free_bytes;
    served.fds_at_start = daemon_fds() - 1;
    served.memory_kib_at_start = daemon_memory_kib();
    (void)close(fd);
}

/*
 * For a daemon that can not say that it is ready. The keeper takes the socket before there is a
 * server, so a connection proves little: the first answer does.
 *
 * Return: whether it takes connections.
 */
static bool await_answer(void)
{
    const uint64_t until_us = harness_deadline_us(READY_TIMEOUT_MS);
    int fd = -1;
    while (fd < 0 && harness_now_us() < until_us) {
        fd = wire_try_connect();
        harness_sleep_ms(1);
    }
    if (fd >= 0) {
        (void)close(fd);
        (void)usage_take();
    }
    return fd >= 0;
}

/* Return: whether it is ready. */
static bool start_served(const struct daemon_setting *setting, const char *const *options)
{
    const char *arguments[N_OPTIONS_MAX] = {"kmemd", "--name", "test"};
    size_t n = 3;
    (void)snprintf(served.socket, sizeof(served.socket), "%s",
                   setting->socket != NULL ? setting->socket : harness_path("test.sock"));
    arguments[n++] = "--socket";
    arguments[n++] = served.socket;
    if (!setting->configured_size) {
        arguments[n++] = "--size";
        arguments[n++] = "16MiB";
    }
    for (; *options != NULL; options++) {
        expect_true(n + 1 < N_OPTIONS_MAX);
        arguments[n++] = *options;
    }
    if (geteuid() != 0) {
        expect_true(n + 1 < N_OPTIONS_MAX);
        arguments[n++] = "--debuggable"; /* the tests look at it through /proc */
    }
    (void)setenv("KMEM_SOCKET", served.socket, 1);
    last_process_await(served.socket);
    served.process = start_process(setting, arguments, harness_path("kmemd.log"));
    if (cradle_has(setting->cradle, "mute")) {
        return await_answer();
    }
    read_line(&served.process, served.ready_line, sizeof(served.ready_line), READY_TIMEOUT_MS);
    return strstr(served.ready_line, " ready on ") != NULL;
}

void daemon_start_as(const struct daemon_setting *setting, const char *const *options)
{
    if (!start_served(setting, options)) {
        fail("kmemd did not get ready; on stdout: \"%s\"", served.ready_line);
    }
    daemon_remember_idle();
}

bool daemon_try_start(const struct daemon_setting *setting, const char *const *options,
                      struct daemon_end *ret_end)
{
    if (start_served(setting, options)) {
        return true;
    }
    (void)snprintf(ret_end->out, sizeof(ret_end->out), "%s", served.ready_line);
    ret_end->exit_status = end_process(&served.process, TRY_TIMEOUT_MS);
    (void)snprintf(ret_end->log, sizeof(ret_end->log), "%s", daemon_log());
    return false;
}

void daemon_start(const char *option, ...)
{
    const char *options[N_OPTIONS_MAX] = {option};
    va_list arguments;
    va_start(arguments, option);
    for (size_t i = 0; options[i] != NULL && i + 1 < N_OPTIONS_MAX;) {
        options[++i] = va_arg(arguments, const char *);
    }
    va_end(arguments);
    daemon_start_as(&(struct daemon_setting){.max_fds = 0}, options);
}

void daemon_expect_crashes(void)
{
    served.may_crash = true;
}

/* Line by line: the log of a long test is longer than what daemon_log() keeps of it. */
static void expect_no_crash(void)
{
    FILE *const log = fopen(harness_path("kmemd.log"), "re");
    char line[1024];
    while (log != NULL && fgets(line, sizeof(line), log) != NULL) {
        if (strstr(line, "runtime error:") != NULL || strstr(line, "Sanitizer") != NULL) {
            fail("a sanitizer has found something: %s", line);
        }
        if (!served.may_crash && strstr(line, "server ") != NULL &&
            harness_matches(line, "server (was killed by signal (4|6|7|8|11) |"
                                  "ended with status [1-9])")) {
            fail("a server has crashed: %s", line);
        }
    }
    if (log != NULL) {
        (void)fclose(log);
    }
}

int daemon_try_stop(void)
{
    expect_call(kill(served.process.pid, SIGTERM) == 0);
    return end_process(&served.process, STOP_TIMEOUT_MS);
}

void daemon_stop(void)
{
    char rest[256];
    expect_call(kill(served.process.pid, SIGTERM) == 0);
    read_line(&served.process, rest, sizeof(rest), STOP_TIMEOUT_MS);
    expect_equal(end_process(&served.process, STOP_TIMEOUT_MS), 0);
    expect_text(rest, "");
    expect_equal(access(served.socket, F_OK), -1);
    expect_no_crash();
}

void daemon_signal_server(int signal_number)
{
    const pid_t pid = daemon_server_pid();
    expect_true(pid > 0); /* kill() takes 0 for the whole group */
    expect_call(kill(pid, signal_number) == 0);
}

void daemon_kill_server(void)
{
    const pid_t pid = daemon_server_pid();
    expect_call(pid > 0 && kill(pid, SIGKILL) == 0);
    pid_t next = 0; /* looked at once each time: it may be gone when it is looked at again */
    expect_soon((next = daemon_server_pid()) > 0 && next != pid, READY_TIMEOUT_MS);
}

void daemon_crash_on_and_on(void)
{
    const uint64_t until_us = harness_deadline_us(30000);
    daemon_expect_crashes();
    while (!harness_matches(daemon_log(), "safe mode")) {
        if (harness_now_us() > until_us) {
            fail("it never goes into safe mode");
        }
        const pid_t server = daemon_server_pid();
        if (server > 0) {
            (void)kill(server, SIGABRT);
        }
        harness_sleep_ms(10);
    }
}

void daemon_kill(void)
{
    expect_call(kill(served.process.pid, SIGKILL) == 0);
    expect_equal(end_process(&served.process, STOP_TIMEOUT_MS), 128 + SIGKILL);
    last_process_await(served.socket);
    expect_no_crash(); /* the next daemon begins another log */
}

pid_t daemon_pid(void)
{
    return served.process.pid;
}

const char *daemon_socket(void)
{
    return served.socket;
}

const char *daemon_ready_line(void)
{
    return served.ready_line;
}

pid_t daemon_server_pid(void)
{
    return server_of(served.process.pid);
}

unsigned int daemon_fds(void)
{
    return harness_count_fds(served.process.pid) + harness_count_fds(daemon_server_pid());
}

unsigned int daemon_fds_at_start(void)
{
    return served.fds_at_start;
}

uint64_t daemon_memory_kib_at_start(void)
{
    return served.memory_kib_at_start;
}

uint64_t daemon_free_bytes_at_start(void)
{
    return served.free_bytes_at_start;
}

static uint64_t cpu_ms(pid_t pid)
{
    char path[64];
    char text[1024];
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    read_file(path, text, sizeof(text));
    /* The command, in parentheses, may hold blanks. Fields 14 and 15 are the two times. */
    char *at = strrchr(text, ')');
    for (unsigned int field = 2; field < 14 && at != NULL; field++) {
        at = strchr(at + 1, ' ');
    }
    if (at == NULL) {
        fail("%s can not be read", path);
    }
    const uint64_t user_ticks = strtoull(at, &at, 10);
    const uint64_t system_ticks = strtoull(at, &at, 10);
    return (user_ticks + system_ticks) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK);
}

/* The path of one of its descriptors if that is a memfd of this kind; "" if it is another. */
static const char *path_of_memfd(const char *number, const char *kind)
{
    static char path[PATH_MAX];
    char target[64] = "";
    char wanted[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/fd/%s", (int)served.process.pid, number);
    (void)snprintf(wanted, sizeof(wanted), "/memfd:kmemd:test:%s", kind);
    (void)!readlink(path, target, sizeof(target) - 1);
    return strncmp(target, wanted, strlen(wanted)) == 0 ? path : "";
}

static DIR *open_directory_of(pid_t pid, const char *name)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
    DIR *const entries = opendir(path);
    if (entries == NULL) {
        fail("%s: %s", path, strerror(errno));
    }
    return entries;
}

uint64_t daemon_cpu_ms(void)
{
    return cpu_ms(served.process.pid) + cpu_ms(daemon_server_pid());
}

int daemon_open_memfd(const char *kind)
{
    DIR *const entries = open_directory_of(served.process.pid, "fd");
    const struct dirent *entry;
    int fd = -1;
    while (fd < 0 && (entry = readdir(entries)) != NULL) {
        const char *const path = path_of_memfd(entry->d_name, kind);
        if (path[0] != '\0') {
            fd = open(path, O_RDWR | O_CLOEXEC);
            expect_call(fd >= 0);
        }
    }
    (void)closedir(entries);
    if (fd < 0) {
        fail("the daemon has no descriptor of a memfd kmemd:test:%s", kind);
    }
    return fd;
}

uint64_t daemon_ledger_bytes(void)
{
    DIR *const entries = open_directory_of(served.process.pid, "fd");
    const struct dirent *entry;
    uint64_t num_bytes = 0;
    while ((entry = readdir(entries)) != NULL) {
        struct stat status;
        const char *const path = path_of_memfd(entry->d_name, "ledger.");
        if (path[0] != '\0' && stat(path, &status) == 0) {
            num_bytes += (uint64_t)status.st_blocks * 512;
        }
    }
    (void)closedir(entries);
    return num_bytes;
}

static uint64_t read_number_after(const char *path, const char *word)
{
    char text[4096];
    read_file(path, text, sizeof(text));
    const char *const line = strstr(text, word);
    if (line == NULL) {
        fail("%s has no %s", path, word);
    }
    return strtoull(line + strlen(word), NULL, 10);
}

static uint64_t memory_kib(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    return read_number_after(path, "RssAnon:");
}

uint64_t daemon_memory_kib(void)
{
    return memory_kib(served.process.pid) + memory_kib(daemon_server_pid());
}

static uint64_t wakeups(pid_t pid)
{
    DIR *const entries = open_directory_of(pid, "task");
    const struct dirent *entry;
    uint64_t n_wakeups = 0;
    while ((entry = readdir(entries)) != NULL) {
        char path[PATH_MAX];
        if (entry->d_name[0] != '.') {
            (void)snprintf(path, sizeof(path), "/proc/%d/task/%s/status", (int)pid, entry->d_name);
            n_wakeups += read_number_after(path, "\nvoluntary_ctxt_switches:");
        }
    }
    (void)closedir(entries);
    return n_wakeups;
}

uint64_t daemon_wakeups(void)
{
    return wakeups(served.process.pid) + wakeups(daemon_server_pid());
}

const char *daemon_log(void)
{
    static char text[LOG_BYTES_MAX];
    read_file(harness_path("kmemd.log"), text, sizeof(text));
    return text;
}

void daemon_expect_log(const char *file, int line, const char *pattern)
{
    const uint64_t until_us = harness_deadline_us(1000);
    while (!harness_matches(daemon_log(), pattern)) {
        if (harness_now_us() > until_us) {
            harness_fail(file, line, "no line of the log matches \"%s\"", pattern);
        }
        harness_sleep_ms(2);
    }
}

/* -------------------------------------------------------------- daemons to be refused ---- */

struct daemon_end daemon_try(const struct daemon_setting *setting, const char *const *options)
{
    const char *arguments[N_OPTIONS_MAX] = {"kmemd"};
    char log_name[32];
    struct daemon_end end;
    (void)snprintf(log_name, sizeof(log_name), "tried-by-%d.log", (int)getpid());
    for (size_t n = 1; *options != NULL; options++, n++) {
        expect_true(n + 1 < N_OPTIONS_MAX);
        arguments[n] = *options;
    }
    struct process process = start_process(setting, arguments, harness_path(log_name));
    read_line(&process, end.out, sizeof(end.out), TRY_TIMEOUT_MS);
    if (strstr(end.out, " ready on ") != NULL) {
        if (setting->hold != NULL) {
            setting->hold();
        }
        (void)kill(process.pid, SIGTERM);
    }
    end.exit_status = end_process(&process, TRY_TIMEOUT_MS);
    read_file(harness_path(log_name), end.log, sizeof(end.log));
    return end;
}
