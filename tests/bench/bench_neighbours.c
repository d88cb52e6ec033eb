/* SPDX-License-Identifier: MIT */
/*
 * bench_neighbours.c - what a client feels of those beside it
 *
 * One client that behaves well, a direct allocation and its release at a time, with a pause after
 * each pair; and beside it, one after the other, peers of every bad kind there is a name for. Each
 * round trip is a sample; one that is refused ends the benchmark, as does a daemon that goes.
 *
 * The promise is a 99th percentile below 10 ms, whatever the neighbour. With --check the exit
 * status says whether it is kept. An argument picks the rows whose names begin with it. $KMEM_BIN
 * measures another kmemd. Where other work runs on the machine, `chrt -f 1` keeps it out of the
 * figures: the good neighbour and the daemon then come first, the bad ones like all others.
 *
 * The rows "hostile: ..." are the attacks of tests/hostile, as a user of their own where root runs
 * this. A neighbour is a function that never returns, run in as many processes as its row says,
 * each killed when the row is over. To add one: write it, and give it a row.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/limits.h"
#include "tests/bench/bench.h"
#include "tests/bench/peer.h"

#define SEGMENT "256MiB"
/* What one user that is not root can have: 216 MiB. */
#define QUOTA "24MiB"
#define CLIENTS_PER_UID "9"
/* 2,000 round trips: a p99 of twenty samples. Pauses of 500 us make that a second at least. */
#define N_SAMPLES 2000
#define PAUSE_NS 500000
#define LIMIT_NS 10e6
#define N_PROCESSES_MAX 16
#define N_BLOCKS 100000
#define N_CONNECTIONS 100
/* A number that no user of the machine has. */
#define ATTACKER 54325

/* ------------------------------------------------------------------------------ neighbours ---- */

/* Frames of one kind, as many as 132 KB take. */
struct frames {
    unsigned char bytes[132 << 10];
    size_t n_bytes;
};

static void frames_fill(struct frames *frames, const unsigned char *frame, size_t n_bytes)
{
    frames->n_bytes = 0;
    do {
        memcpy(frames->bytes + frames->n_bytes, frame, n_bytes);
        frames->n_bytes += n_bytes;
    } while (frames->n_bytes + n_bytes <= sizeof(frames->bytes));
}

/* Reads what there is and drops it. */
static void drain(int fd)
{
    static unsigned char bytes[1 << 16];
    while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0) {
    }
}

/* Keeps connections full of requests, and reads the answers. */
static _Noreturn void pipeline(const int *fds, size_t n_fds, const struct frames *frames)
{
    size_t at[N_CONNECTIONS] = {0};
    for (;;) {
        bool moved = false;
        for (size_t i = 0; i < n_fds; i++) {
            const ssize_t n = send(fds[i], frames->bytes + at[i], frames->n_bytes - at[i],
                                   MSG_NOSIGNAL | MSG_DONTWAIT);
            at[i] = n > 0 ? (at[i] + (size_t)n) % frames->n_bytes : at[i];
            moved = moved || n > 0;
            drain(fds[i]);
        }
        if (!moved) {
            (void)usleep(100);
        }
    }
}

static pid_t measurer; /* which alone may end the daemon */

static int join_or_fail(Kmem__Role role)
{
    int fd = -1;
    for (unsigned n = 0; n < 5000 && fd < 0; n++) {
        fd = peer_join(role);
        if (fd < 0) {
            (void)usleep(1000);
        }
    }
    if (fd < 0 && getpid() != measurer) {
        (void)fprintf(stderr, "a neighbour can not connect\n");
        _exit(1);
    }
    if (fd < 0) {
        bench_fail("the good neighbour can not connect");
    }
    return fd;
}

/* Wild offsets: what a SizeOf costs, and an error. */
static void pipeline_size_of(void)
{
    static struct frames frames;
    unsigned char frame[64];
    const int fd = join_or_fail(KMEM__ROLE__ROLE_MEMBER);
    frames_fill(&frames, frame,
                peer_encode(request_size_of(NEW_REQUEST, 64), frame, sizeof(frame)));
    pipeline(&fd, 1, &frames);
}

static void pipeline_question(Kmem__Request__BodyCase body_case, size_t n_fds)
{
    static struct frames frames;
    static int fds[N_CONNECTIONS];
    unsigned char frame[64];
    for (size_t i = 0; i < n_fds; i++) {
        fds[i] = join_or_fail(KMEM__ROLE__ROLE_OBSERVER);
    }
    frames_fill(&frames, frame,
                peer_encode(request_plain(NEW_REQUEST, body_case), frame, sizeof(frame)));
    pipeline(fds, n_fds, &frames);
}

static void pipeline_on_100_connections(void)
{
    pipeline_question(KMEM__REQUEST__BODY_OBITUARIES, N_CONNECTIONS);
}

static void ask_for_blocks(void)
{
    pipeline_question(KMEM__REQUEST__BODY_BLOCKS, 16);
}

static void ask_for_usage(void)
{
    pipeline_question(KMEM__REQUEST__BODY_USAGE, 16);
}

static void ask_for_ledgers(void)
{
    pipeline_question(KMEM__REQUEST__BODY_LEDGER, 16);
}

static void ask_for_clients(void)
{
    pipeline_question(KMEM__REQUEST__BODY_CLIENTS, 16);
}

static void pipeline_leases(void)
{
    static struct frames frames;
    unsigned char frame[64];
    const int fd = join_or_fail(KMEM__ROLE__ROLE_MEMBER);
    frames_fill(&frames, frame,
                peer_encode(request_lease(NEW_REQUEST, 1, UINT32_MAX), frame, sizeof(frame)));
    pipeline(&fd, 1, &frames);
}

static void connect_and_close(void)
{
    for (;;) {
        const int fd = peer_connect();
        if (fd >= 0) {
            (void)close(fd);
        }
    }
}

static void say_hello_and_close(void)
{
    unsigned char frame[64];
    const size_t n_bytes =
        peer_encode(request_hello(NEW_REQUEST, KMEM__ROLE__ROLE_OBSERVER, 0), frame, sizeof(frame));
    for (;;) {
        const int fd = peer_connect();
        if (fd >= 0) {
            (void)peer_send(fd, frame, n_bytes);
            (void)close(fd);
        }
    }
}

static void hear_nothing(void)
{
    unsigned char frame[64];
    const size_t n_bytes =
        peer_encode(request_hello(NEW_REQUEST, KMEM__ROLE__ROLE_MEMBER, 0), frame, sizeof(frame));
    for (;;) {
        const int fd = peer_connect();
        if (fd >= 0) {
            (void)shutdown(fd, SHUT_RD);
            (void)peer_send(fd, frame, n_bytes);
            (void)close(fd);
        }
    }
}

static void close_half(void)
{
    unsigned char frame[64];
    const size_t n_bytes =
        peer_encode(request_hello(NEW_REQUEST, KMEM__ROLE__ROLE_OBSERVER, 0), frame, sizeof(frame));
    for (;;) {
        const int fd = peer_connect();
        if (fd >= 0) {
            (void)peer_send(fd, frame, n_bytes);
            (void)shutdown(fd, SHUT_WR);
            (void)peer_receive(fd, NULL);
            (void)close(fd);
        }
    }
}

static void send_frames_that_are_too_long(void)
{
    const unsigned char frame[] = {0xff, 0xff, 0xff, 0xff, 1, 2, 3};
    for (;;) {
        const int fd = peer_connect();
        if (fd >= 0) {
            (void)peer_send(fd, frame, sizeof(frame));
            (void)peer_receive(fd, NULL);
            (void)close(fd);
        }
    }
}

/* Many connections that end at once, again and again. */
static void close_100_at_once(void)
{
    for (;;) {
        int fds[N_CONNECTIONS];
        for (size_t i = 0; i < N_CONNECTIONS; i++) {
            fds[i] = peer_join(KMEM__ROLE__ROLE_OBSERVER);
        }
        for (size_t i = 0; i < N_CONNECTIONS; i++) {
            if (fds[i] >= 0) {
                (void)close(fds[i]);
            }
        }
    }
}

static void allocate_some(int fd, unsigned n_blocks)
{
    unsigned char frame[128];
    const size_t n_bytes =
        peer_encode(request_allocate(NEW_REQUEST, 1000, "neighbour", 9), frame, sizeof(frame));
    for (unsigned n = 0; n < n_blocks && peer_send(fd, frame, n_bytes); n++) {
        (void)peer_receive(fd, NULL);
    }
}

static void join_and_leave(void)
{
    unsigned char frame[64];
    const size_t n_bytes =
        peer_encode(request_plain(NEW_REQUEST, KMEM__REQUEST__BODY_GOODBYE), frame, sizeof(frame));
    for (;;) {
        const int fd = join_or_fail(KMEM__ROLE__ROLE_MEMBER);
        allocate_some(fd, 3);
        (void)peer_send(fd, frame, n_bytes);
        (void)peer_receive(fd, NULL);
        (void)close(fd);
    }
}

/* Children that join, hold something, and end all at once. */
static void die_64_at_once(void)
{
    for (;;) {
        int gate[2];
        if (pipe2(gate, O_CLOEXEC) != 0) {
            _exit(1);
        }
        for (unsigned n = 0; n < 64; n++) {
            const pid_t pid = fork();
            if (pid == 0) {
                char byte;
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void)close(gate[1]);
                allocate_some(join_or_fail(KMEM__ROLE__ROLE_MEMBER), 20);
                _exit(read(gate[0], &byte, 1) == 0 ? 0 : 1);
            }
        }
        (void)close(gate[0]);
        (void)usleep(100000);
        (void)close(gate[1]);
        while (wait(NULL) > 0) {
        }
    }
}

static void hold_idle_connections(void)
{
    for (unsigned n = 0; n < 5000; n++) {
        (void)peer_join(KMEM__ROLE__ROLE_OBSERVER); /* or is refused */
    }
    for (;;) {
        (void)pause();
    }
}

static const struct neighbour {
    const char *name;
    void (*run)(void);
    unsigned n_processes;
} neighbours[] = {
    {"alone", NULL, 0},
    {"size_of, sent ahead", pipeline_size_of, 1},
    {"size_of, sent ahead by 8 processes", pipeline_size_of, 8},
    {"100 connections full of questions", pipeline_on_100_connections, 1},
    {"usage over 16 connections", ask_for_usage, 1},
    {"ledger over 16 connections", ask_for_ledgers, 1},
    {"blocks over 16 connections", ask_for_blocks, 1},
    {"clients over 16 connections", ask_for_clients, 1},
    {"leases, and unused pages taken back", pipeline_leases, 1},
    {"connect, close", connect_and_close, 1},
    {"connect, close, by 4 processes", connect_and_close, 4},
    {"Hello, close", say_hello_and_close, 1},
    {"Hello with a closed ear", hear_nothing, 1},
    {"Hello, half close", close_half, 1},
    {"frames that are too long", send_frames_that_are_too_long, 1},
    {"100 connections closed at once", close_100_at_once, 1},
    {"join, leave", join_and_leave, 1},
    {"64 clients that die at once", die_64_at_once, 1},
    {"as many idle connections as there may be", hold_idle_connections, 1},
};

/* Every attack of tests/hostile, with its full counts, as a user of its own if that can be. */
static const char *const attacks[] = {
#define ATTACK(name, family, what) #name,
#include "tests/hostile/attacks.def"
#undef ATTACK
};

static const char *attack; /* of the row that is played */

static void run_attack(void)
{
    const char *const arguments[] = {"hostile", attack, "--full", "--for", "3600", NULL};
    const int program_fd = open(BENCH_HOSTILE, O_PATH | O_CLOEXEC);
    (void)setresuid(ATTACKER, ATTACKER, ATTACKER); /* or as this one */
    (void)fexecve(program_fd, (char *const *)arguments, environ);
    (void)fprintf(stderr, "%s: %s\n", BENCH_HOSTILE, strerror(errno));
    _exit(1);
}

/* --------------------------------------------------------------------- the good neighbour ---- */

static double ask(int fd, const unsigned char *frame, size_t n_bytes,
                  Kmem__Response__BodyCase wanted, Kmem__Allocated *ret_allocated)
{
    const uint64_t begin_ns = bench_now_ns();
    const bool sent = peer_send(fd, frame, n_bytes);
    const Kmem__Response__BodyCase body_case =
        sent ? peer_receive(fd, ret_allocated) : KMEM__RESPONSE__BODY__NOT_SET;
    if (body_case != wanted) {
        bench_fail("the good neighbour is refused what is its own");
    }
    return (double)(bench_now_ns() - begin_ns);
}

static void behave_well(int fd, struct samples *samples)
{
    static const struct timespec pause = {.tv_nsec = PAUSE_NS};
    unsigned char frame[128];
    for (unsigned n = 0; n < N_SAMPLES; n += 2) {
        Kmem__Allocated allocated;
        size_t n_bytes = peer_encode(request_allocate(NEW_REQUEST, 100, "good neighbour", 14),
                                     frame, sizeof(frame));
        samples_add(samples, ask(fd, frame, n_bytes, KMEM__RESPONSE__BODY_ALLOCATED, &allocated));
        n_bytes = peer_encode(request_release(NEW_REQUEST, allocated.offset), frame, sizeof(frame));
        samples_add(samples, ask(fd, frame, n_bytes, KMEM__RESPONSE__BODY_RELEASED, NULL));
        (void)nanosleep(&pause, NULL);
    }
}

/* What the segment holds in each row: a holder's blocks, which scans have to look at. */
static void hold_many_blocks(void)
{
    char reason[32];
    unsigned char frame[128];
    const int fd = join_or_fail(KMEM__ROLE__ROLE_MEMBER);
    for (unsigned n = 0; n < N_BLOCKS; n++) {
        (void)snprintf(reason, sizeof(reason), "held/%u", n % 1000);
        const size_t n_bytes = peer_encode(
            request_allocate(NEW_REQUEST, 64, reason, strlen(reason)), frame, sizeof(frame));
        if (!peer_send(fd, frame, n_bytes) ||
            peer_receive(fd, NULL) != KMEM__RESPONSE__BODY_ALLOCATED) {
            (void)fprintf(stderr, "the segment can not be filled\n");
            _exit(1);
        }
    }
}

static pid_t start(void (*run)(void), int done_fd)
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
        run();
        (void)close(done_fd);
        for (;;) {
            (void)pause();
        }
    }
    return pid;
}

/* A process of its own, so that what it holds is another's than the good neighbour's. */
static void start_holder(void)
{
    int done[2];
    char byte;
    if (pipe2(done, O_CLOEXEC) != 0) {
        bench_fail("pipe2: %s", strerror(errno));
    }
    (void)start(hold_many_blocks, done[1]);
    (void)close(done[1]);
    (void)read(done[0], &byte, 1); /* 0: its end is closed */
    (void)close(done[0]);
}

static void stop(const pid_t *pids, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (waitpid(pids[i], NULL, WNOHANG) != 0) {
            bench_fail("a neighbour has ended before it was told to");
        }
        (void)kill(pids[i], SIGKILL);
        (void)waitpid(pids[i], NULL, 0);
    }
}

/* Return: the 99th percentile. */
static double row(const struct neighbour *neighbour, int fd)
{
    pid_t pids[N_PROCESSES_MAX] = {0};
    struct samples samples;
    samples_init(&samples, N_SAMPLES);
    for (unsigned i = 0; i < neighbour->n_processes; i++) {
        pids[i] = start(neighbour->run, -1);
    }
    (void)usleep(500000); /* they are in full swing */
    behave_well(fd, &samples);
    stop(pids, neighbour->n_processes);
    const double p99_ns = samples_quantile(&samples, 0.99);
    (void)printf("%-42s median %8.1f us   p99 %9.1f us   longest %9.1f us\n", neighbour->name,
                 samples_quantile(&samples, 0.5) / 1000, p99_ns / 1000,
                 samples_quantile(&samples, 1) / 1000);
    (void)fflush(stdout);
    samples_fini(&samples);
    (void)usleep(500000); /* what they held comes back */
    return p99_ns;
}

static void start_daemon(void)
{
    char kmemd[512];
    char path[100];
    (void)snprintf(kmemd, sizeof(kmemd), "%s/kmemd", bench_bin());
    (void)snprintf(path, sizeof(path), "%s/kmemd.sock", bench_directory());
    (void)chmod(bench_directory(),
                0711); /* for attackers of another user, members by their group */
    bench_start_server((const char *const[]){
        kmemd, "--name", "bench", "--size", SEGMENT, "--log-level", "info", "--socket", path,
        "--group", "0", "--quota", QUOTA, "--clients-per-uid", CLIENTS_PER_UID, NULL});
    (void)setenv("KMEM_SOCKET", path, 1);
}

int main(int argc, char **argv)
{
    const bool check = argc > 1 && strcmp(argv[1], "--check") == 0;
    const char *picked = argc > 1 && !check ? argv[1] : "";
    double worst_ns = 0;
    size_t n_rows = 0;
    measurer = getpid();
    bench_print_machine(stdout, "");
    (void)printf("round trips of one client, %d in each row, beside\n", N_SAMPLES);
    start_daemon();
    start_holder();
    const int fd = join_or_fail(KMEM__ROLE__ROLE_MEMBER);
    for (size_t i = 0; i < sizeof(neighbours) / sizeof(neighbours[0]); i++) {
        if (strncmp(neighbours[i].name, picked, strlen(picked)) == 0) {
            const double p99_ns = row(&neighbours[i], fd);
            worst_ns = p99_ns > worst_ns ? p99_ns : worst_ns;
            n_rows++;
        }
    }
    for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++) {
        char name[64];
        attack = attacks[i];
        (void)snprintf(name, sizeof(name), "hostile: %s", attack);
        if (strncmp(name, picked, strlen(picked)) == 0) {
            const double p99_ns = row(&(struct neighbour){name, run_attack, 1}, fd);
            worst_ns = p99_ns > worst_ns ? p99_ns : worst_ns;
            n_rows++;
        }
    }
    if (n_rows == 0) {
        bench_fail("no row begins with \"%s\"; without a word all are played", picked);
    }
    (void)printf("the worst p99 is %.1f ms; at most %.0f\n", worst_ns / 1e6, LIMIT_NS / 1e6);
    (void)close(fd);
    return check && worst_ns > LIMIT_NS ? 1 : 0;
}
