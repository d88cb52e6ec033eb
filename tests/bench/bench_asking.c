/* SPDX-License-Identifier: MIT */
/*
 * bench_asking.c - what it takes to ask about a million blocks, and what the asked feel of it
 *
 *      ledger, blocks   whole commands: how long, until the first row, how much memory
 *      observers        sixty ask for the ledger at the same moment: until the last has it
 *      beside           direct round trips of a busy client, alone and while others ask: once a
 *                       second what a live view asks, and what a page and Prometheus ask of
 *                       `kmemctl serve`; then each question without a pause; with a client that
 *                       writes nonsense into its own ledger all the while
 *
 * A hundred clients hold ten thousand blocks each, under a thousand reasons. Bars that are missed
 * are printed. Where other work runs on the machine, `chrt -f 1` keeps it out of the figures.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <kmem/kmem.h>
#include <kmem/query.h>

#include "tests/bench/bench.h"
#include "tests/bench/daemon.h"
#include "tests/bench/peer.h"

#define N_CLIENTS 100
#define N_BLOCKS 10000 /* of each client */
#define N_REASONS 1000
#define BLOCK_BYTES 64
#define N_COMMANDS 9
#define N_OBSERVERS 60
#define N_ROUND_TRIPS 20000
/* Beside what happens once a second: some seconds of them. */
#define N_LONG (8 * N_ROUND_TRIPS)

static bool is_smoke;

static unsigned scaled(unsigned number)
{
    return is_smoke ? (number + 99) / 100 : number;
}

static void judge(const char *what, double value, double bar)
{
    (void)printf("%s %s: %.2f, at most %.2f\n", value <= bar ? "PASS" : "MISS", what, value, bar);
    (void)fflush(stdout);
}

/* ------------------------------------------------------------------------------- processes ---- */

/* What the forked process does; it says on the pipe when it is ready. */
typedef void (*child_fn)(int ready_fd);

static pid_t start(child_fn run, int ready_fd)
{
    const struct sched_param usual = {.sched_priority = 0};
    (void)fflush(NULL);
    const pid_t pid = fork();
    if (pid < 0) {
        bench_fail("fork: %s", strerror(errno));
    }
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)sched_setscheduler(0, SCHED_OTHER, &usual); /* or it is so already */
        bench_forget();
        run(ready_fd);
        _exit(0);
    }
    return pid;
}

/* Returns when it is ready. */
static pid_t start_ready(child_fn run)
{
    int ready[2];
    char byte;
    if (pipe2(ready, O_CLOEXEC) != 0) {
        bench_fail("pipe2: %s", strerror(errno));
    }
    const pid_t pid = start(run, ready[1]);
    (void)close(ready[1]);
    if (read(ready[0], &byte, 1) != 1) {
        bench_fail("a process ended before it was ready");
    }
    (void)close(ready[0]);
    return pid;
}

static void stop(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
}

static void wait_for_ever(void)
{
    for (;;) {
        (void)pause();
    }
}

static void allocate_all(void)
{
    char reason[32];
    for (unsigned n = 0; n < scaled(N_BLOCKS); n++) {
        (void)snprintf(reason, sizeof(reason), "part%u/item%u", n % 10, n % N_REASONS);
        if (kmem_try_allocate(BLOCK_BYTES, reason) == NULL) {
            (void)fprintf(stderr, "a client is refused: %s\n", kmem_last_error());
            _exit(1);
        }
    }
}

static void hold_blocks(int ready_fd)
{
    allocate_all();
    (void)write(ready_fd, "", 1);
    wait_for_ever();
}

/* ------------------------------------------------------------------------------- nonsense ---- */

/* This process's own ledger, as it is mapped. */
static uint64_t *ledger_find(size_t *ret_words)
{
    char line[512];
    uint64_t *found = NULL;
    FILE *const maps = fopen("/proc/self/maps", "re");
    while (maps != NULL && fgets(line, sizeof(line), maps) != NULL) {
        char *at = line;
        const unsigned long long from = strtoull(at, &at, 16);
        const unsigned long long to = strtoull(at + 1, &at, 16);
        if (strncmp(at, " rw-s", 5) == 0 && strstr(line, "memfd:kmemd:bench:ledger") != NULL) {
            found = (uint64_t *)(uintptr_t)from;
            *ret_words = (size_t)(to - from) / sizeof(uint64_t);
        }
    }
    if (maps != NULL) {
        (void)fclose(maps);
    }
    return found;
}

static void write_nonsense(int ready_fd)
{
    static const struct timespec pause_time = {.tv_nsec = 1000000};
    uint64_t random = UINT64_C(0x9e3779b97f4a7c15);
    size_t n_words = 0;
    allocate_all();
    volatile uint64_t *words = ledger_find(&n_words);
    if (words == NULL) {
        (void)fprintf(stderr, "no ledger is mapped that could be written\n");
        _exit(1);
    }
    (void)write(ready_fd, "", 1);
    for (;;) {
        for (unsigned n = 0; n < 200; n++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            words[random % (n_words < 100000 ? n_words : 100000)] = random;
        }
        (void)nanosleep(&pause_time, NULL);
    }
}

/* ------------------------------------------------------------------------------- commands ---- */

struct run {
    double first_ms; /* until the second line: the first row */
    double all_ms;
    double peak_mib;
};

static pid_t command_start(const char *const *words, int out_fd)
{
    const pid_t pid = fork();
    if (pid == 0) {
        char program[512];
        const char *argv[8] = {program};
        (void)snprintf(program, sizeof(program), "%s/kmemctl", bench_bin());
        for (size_t i = 0; words[i] != NULL; i++) {
            argv[i + 1] = words[i];
        }
        (void)dup2(out_fd, STDOUT_FILENO);
        (void)execv(program, (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    return pid;
}

static struct run command_run(const char *const *words)
{
    static char bytes[1 << 16];
    struct run run = {.first_ms = -1};
    struct rusage usage;
    int out[2];
    int status = 0;
    unsigned n_lines = 0;
    if (pipe2(out, O_CLOEXEC) != 0) {
        bench_fail("pipe2: %s", strerror(errno));
    }
    const uint64_t begin_ns = bench_now_ns();
    const pid_t pid = command_start(words, out[1]);
    (void)close(out[1]);
    for (ssize_t n = read(out[0], bytes, sizeof(bytes)); n > 0;
         n = read(out[0], bytes, sizeof(bytes))) {
        for (ssize_t i = 0; run.first_ms < 0 && i < n; i++) {
            n_lines += bytes[i] == '\n';
            run.first_ms = n_lines == 2 ? (double)(bench_now_ns() - begin_ns) / 1e6 : -1;
        }
    }
    (void)close(out[0]);
    (void)wait4(pid, &status, 0, &usage);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        bench_fail("kmemctl %s failed", words[0]);
    }
    run.all_ms = (double)(bench_now_ns() - begin_ns) / 1e6;
    run.peak_mib = (double)usage.ru_maxrss / 1024;
    return run;
}

static const struct command {
    const char *name;
    const char *words[6];
    double most_ms; /* 0: no bar */
    double most_first_ms;
    double most_mib;
} commands[] = {
    {"ledger", {"ledger"}, 150, 0, 0},
    {"blocks, a table", {"blocks"}, 1000, 50, 20},
    {"blocks -o csv", {"blocks", "-o", "csv"}, 1000, 50, 20},
    {"blocks -o json", {"blocks", "-o", "json"}, 1000, 50, 20},
    {"blocks -o jsonl", {"blocks", "-o", "jsonl"}, 1000, 50, 20},
    {"blocks --reason", {"blocks", "--reason", "part3/item13", "-o", "csv"}, 0, 50, 20},
    {"clients", {"clients"}, 0, 0, 0},
};

static void measure_command(const struct command *command)
{
    struct samples all;
    struct samples first;
    char what[96];
    double peak_mib = 0;
    samples_init(&all, N_COMMANDS);
    samples_init(&first, N_COMMANDS);
    for (unsigned n = 0; n < (is_smoke ? 1 : N_COMMANDS); n++) {
        const struct run run = command_run(command->words);
        samples_add(&all, run.all_ms);
        samples_add(&first, run.first_ms);
        peak_mib = run.peak_mib > peak_mib ? run.peak_mib : peak_mib;
    }
    const double all_ms = samples_quantile(&all, 0.5);
    const double first_ms = samples_quantile(&first, 0.5);
    (void)printf("%-18s median %8.1f ms   first row %8.1f ms   longest %8.1f ms   peak %5.1f MiB\n",
                 command->name, all_ms, first_ms, samples_quantile(&all, 1), peak_mib);
    const struct {
        const char *of;
        double value;
        double bar;
    } bars[] = {{"ms", all_ms, command->most_ms},
                {"ms until the first row", first_ms, command->most_first_ms},
                {"MiB at most", peak_mib, command->most_mib}};
    for (size_t i = 0; i < sizeof(bars) / sizeof(bars[0]); i++) {
        if (bars[i].bar > 0) {
            (void)snprintf(what, sizeof(what), "%s, %s", command->name, bars[i].of);
            judge(what, bars[i].value, bars[i].bar);
        }
    }
    samples_fini(&all);
    samples_fini(&first);
}

/* ------------------------------------------------------------------------------ observers ---- */

static int ledger_ignore(const struct kmem_ledger_row *row, void *user)
{
    (void)row;
    (void)user;
    return 0;
}

/* Asks once the other end of the pipe is closed. */
static void observe_once(int go_fd)
{
    struct kmem_query *query = NULL;
    char byte;
    (void)read(go_fd, &byte, 1);
    if (kmem_query_open(NULL, &query) != 0 ||
        kmem_query_ledger(query, KMEM_BY_REASON, ledger_ignore, NULL) != 0) {
        (void)fprintf(stderr, "an observer is not served: %s\n", kmem_last_error());
        _exit(1);
    }
    (void)kmem_query_close(query);
}

static void measure_observers(void)
{
    pid_t pids[N_OBSERVERS];
    int go[2];
    int n_failed = 0;
    if (pipe2(go, O_CLOEXEC) != 0) {
        bench_fail("pipe2: %s", strerror(errno));
    }
    for (unsigned i = 0; i < N_OBSERVERS; i++) {
        (void)fcntl(go[1], F_SETFD, FD_CLOEXEC);
        pids[i] = fork();
        if (pids[i] == 0) {
            (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
            bench_forget();
            (void)close(go[1]);
            observe_once(go[0]);
            _exit(0);
        }
    }
    (void)usleep(200000); /* they wait */
    const uint64_t begin_ns = bench_now_ns();
    (void)close(go[1]);
    for (unsigned i = 0; i < N_OBSERVERS; i++) {
        int status = 0;
        (void)waitpid(pids[i], &status, 0);
        n_failed += !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    }
    (void)close(go[0]);
    judge("sixty observers, ms until the last is served", (double)(bench_now_ns() - begin_ns) / 1e6,
          1000);
    judge("sixty observers, not served", n_failed, 0);
}

/* --------------------------------------------------------------------------------- beside ---- */

static void ask_again(const Kmem__Request *request, unsigned pause_us)
{
    unsigned char frame[64];
    const int fd = peer_join(KMEM__ROLE__ROLE_OBSERVER);
    const size_t n_bytes = peer_encode(request, frame, sizeof(frame));
    while (peer_send(fd, frame, n_bytes) &&
           peer_receive(fd, NULL) != KMEM__RESPONSE__BODY__NOT_SET) {
        if (pause_us > 0) {
            (void)usleep(pause_us);
        }
    }
}

static void question_again(Kmem__Request__BodyCase body_case, unsigned pause_us)
{
    ask_again(request_plain(NEW_REQUEST, body_case), pause_us);
}

static void ask_usage(int unused)
{
    (void)unused;
    question_again(KMEM__REQUEST__BODY_USAGE, 0);
}

static void ask_ledger(int unused)
{
    (void)unused;
    question_again(KMEM__REQUEST__BODY_LEDGER, 0);
}

static void ask_blocks(int unused)
{
    (void)unused;
    question_again(KMEM__REQUEST__BODY_BLOCKS, 0);
}

static void ask_clients(int unused)
{
    (void)unused;
    question_again(KMEM__REQUEST__BODY_CLIENTS, 0);
}

static void ask_limits(int unused)
{
    (void)unused;
    question_again(KMEM__REQUEST__BODY_LIMITS, 0);
}

static void ask_refusals(int unused)
{
    (void)unused;
    question_again(KMEM__REQUEST__BODY_REFUSALS, 0);
}

static void ask_pages(int unused)
{
    (void)unused;
    question_again(KMEM__REQUEST__BODY_PAGES, 0);
}

/* As a picture is: each cell has a client's blocks. */
static void ask_cells(int unused)
{
    struct request request;
    Kmem__Request *base = request_plain(&request, KMEM__REQUEST__BODY_PAGES);
    (void)unused;
    request.pages.cell_bytes = 1 << 20;
    ask_again(base, 0);
}

/* A byte in the middle of what the last of the clients holds. */
static void ask_at(int unused)
{
    struct request request;
    Kmem__Request *base = request_plain(&request, KMEM__REQUEST__BODY_AT);
    (void)unused;
    request.at.offset = 63 << 20;
    ask_again(base, 0);
}

static void ask_changes(int unused)
{
    (void)unused;
    question_again(KMEM__REQUEST__BODY_CHANGES, 0);
}

static void ask_history(int unused)
{
    (void)unused;
    question_again(KMEM__REQUEST__BODY_HISTORY, 0);
}

static void ask_lifetimes(int unused)
{
    (void)unused;
    question_again(KMEM__REQUEST__BODY_LIFETIMES, 0);
}

static void ask_each_second(int unused)
{
    (void)unused;
    question_again(KMEM__REQUEST__BODY_LEDGER, 1000000);
}

/* Ends with this process. Writes where it is: "http://127.0.0.1:1234". */
static void start_serve(char *url, int url_bytes)
{
    char program[512];
    int out[2];
    (void)snprintf(program, sizeof(program), "%s/kmemctl-serve", bench_bin());
    if (pipe2(out, O_CLOEXEC) != 0) {
        bench_fail("pipe2: %s", strerror(errno));
    }
    if (fork() == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(out[1], STDOUT_FILENO);
        (void)execl(program, program, "--listen", "127.0.0.1:0", "--socket", getenv("KMEM_SOCKET"),
                    (char *)NULL);
        _exit(1);
    }
    FILE *const said = fdopen(out[0], "r");
    (void)close(out[1]);
    if (said == NULL || fgets(url, url_bytes, said) == NULL) {
        bench_fail("kmemctl serve says nothing");
    }
    url[strcspn(url, "\n")] = '\0';
}

/* A page and a scraper, each second. */
static void ask_serve(int unused)
{
    static const char *const paths[] = {"metrics",        "api/v1/usage",   "api/v1/ledger",
                                        "api/v1/clients", "api/v1/holders", "api/v1/refusals"};
    char url[128];
    char command[256];
    (void)unused;
    start_serve(url, sizeof(url));
    for (;;) {
        for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
            (void)snprintf(command, sizeof(command), "curl -sf %s%s >/dev/null", url, paths[i]);
            if (system(command) != 0) { /* NOLINT(cert-env33-c): the words are its own */
                bench_fail("%s is not served", paths[i]);
            }
        }
        (void)usleep(1000000);
    }
}

static double round_trip(int fd, const unsigned char *frame, size_t n_bytes,
                         Kmem__Allocated *ret_allocated)
{
    const uint64_t begin_ns = bench_now_ns();
    if (!peer_send(fd, frame, n_bytes) ||
        peer_receive(fd, ret_allocated) == KMEM__RESPONSE__BODY__NOT_SET) {
        bench_fail("the busy client has lost its server");
    }
    return (double)(bench_now_ns() - begin_ns);
}

/* Return: the 99th percentile of its round trips, in us. */
static double busy_client(const char *name, int fd, unsigned n_round_trips)
{
    struct samples samples;
    unsigned char frame[128];
    const unsigned n_samples = scaled(n_round_trips);
    samples_init(&samples, n_samples + 2);
    for (unsigned n = 0; n < n_samples; n += 2) {
        Kmem__Allocated allocated = KMEM__ALLOCATED__INIT;
        size_t n_bytes =
            peer_encode(request_allocate(NEW_REQUEST, 100, "busy", 4), frame, sizeof(frame));
        samples_add(&samples, round_trip(fd, frame, n_bytes, &allocated));
        n_bytes = peer_encode(request_release(NEW_REQUEST, allocated.offset), frame, sizeof(frame));
        samples_add(&samples, round_trip(fd, frame, n_bytes, NULL));
    }
    const double p99_us = samples_quantile(&samples, 0.99) / 1000;
    (void)printf("beside %-28s median %7.1f us   p99 %8.1f us   longest %8.1f us\n", name,
                 samples_quantile(&samples, 0.5) / 1000, p99_us,
                 samples_quantile(&samples, 1) / 1000);
    (void)fflush(stdout);
    samples_fini(&samples);
    return p99_us;
}

static const struct question {
    const char *name;
    child_fn run;
} questions[] = {
    {"usage, without a pause", ask_usage},     {"ledger, without a pause", ask_ledger},
    {"blocks, without a pause", ask_blocks},   {"clients, without a pause", ask_clients},
    {"limits, without a pause", ask_limits},   {"refusals, without a pause", ask_refusals},
    {"pages, without a pause", ask_pages},     {"cells, without a pause", ask_cells},
    {"at, without a pause", ask_at},           {"changes, without a pause", ask_changes},
    {"history, without a pause", ask_history}, {"lifetimes, without a pause", ask_lifetimes},
};

static void measure_beside(int fd)
{
    const double alone_us = busy_client("nobody", fd, N_LONG);
    const pid_t live = start(ask_each_second, -1);
    (void)usleep(100000);
    const double live_us = busy_client("a question a second", fd, N_LONG);
    stop(live);
    judge("a question a second, p99 by p99 alone", live_us / alone_us, 1.1);
    const pid_t serve = start(ask_serve, -1);
    (void)usleep(500000);
    const double serve_us = busy_client("kmemctl serve, each second", fd, N_LONG);
    stop(serve);
    judge("kmemctl serve, p99 by p99 alone", serve_us / alone_us, 1.1);
    for (size_t i = 0; i < sizeof(questions) / sizeof(questions[0]); i++) {
        char what[96];
        const pid_t pid = start(questions[i].run, -1);
        (void)usleep(100000);
        const double p99_us = busy_client(questions[i].name, fd, N_ROUND_TRIPS);
        stop(pid);
        (void)snprintf(what, sizeof(what), "%s, ms that the p99 moved", questions[i].name);
        judge(what, (p99_us - alone_us) / 1000, 1);
    }
}

/* ------------------------------------------------------------------------------------ main ---- */

int main(int argc, char **argv)
{
    is_smoke = argc == 2 && strcmp(argv[1], "--smoke") == 0;
    if (argc > 1 && !is_smoke) {
        (void)fprintf(stderr, "usage: bench_asking [--smoke]\n");
        return 2;
    }
    bench_print_machine(stdout, "");
    daemon_start("512MiB");
    for (unsigned i = 1; i < scaled(N_CLIENTS); i++) {
        (void)start_ready(hold_blocks);
    }
    (void)printf("%u blocks of %u clients\n", scaled(N_CLIENTS) * scaled(N_BLOCKS),
                 scaled(N_CLIENTS));
    (void)start_ready(hold_blocks);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        measure_command(&commands[i]);
    }
    measure_observers();
    const int fd = peer_join(KMEM__ROLE__ROLE_MEMBER);
    measure_beside(fd);
    (void)start_ready(write_nonsense);
    (void)printf("and now beside a client that writes nonsense into its ledger\n");
    measure_beside(fd);
    (void)close(fd);
    return 0;
}
