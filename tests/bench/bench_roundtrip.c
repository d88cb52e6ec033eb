/* SPDX-License-Identifier: MIT */
/*
 * bench_roundtrip.c - what a direct block costs above a bare round trip
 *
 * One sample is a pair: allocate up to 1 KiB, release it; two round trips. The same pair is timed
 * on kmemd through libkmem, and on an echo server that exchanges the same messages and does nothing
 * else (echo_server.c) through the simplest client there can be. The two take turns, a slice of
 * pairs each, so that a machine that is slow for a while is slow for both.
 *
 * A size that is used again is leased, and then costs no round trip (client/heap/hot.h). A small
 * block that is to be shared is always direct; the daemon's own count says at the end that all of
 * them were.
 *
 * Twice: with client and servers on a processor each, where most of the time is one processor
 * waking the other; and all on one processor, where every instruction counts.
 *
 * The promise is that the median pair on kmemd takes at most 1.15 times the median pair on the echo
 * server where they share a processor, and 1.25 times where not. What else runs on the machine can
 * spoil a run; so the middle one of five counts.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <kmem/query.h>
#include <kmem/share.h>

#include "proto/kmem.pb-c.h"
#include "proto/limits.h"
#include "proto/size_class.h"
#include "tests/bench/bench.h"

#define N_RUNS 5
#define N_SLICES 40
/* The classes up to 1 KiB: what is cleared costs nothing beside a round trip. */
#define N_CLASSES 15
/* 240 pairs are some 10 ms: short against what disturbs a machine, long against changing turns. */
#define PAIRS_PER_SLICE (N_CLASSES * 16)
#define LIMIT_APART 1.25
#define LIMIT_TOGETHER 1.15
#define REASON "bench/round trip"

/* ------------------------------------------------------------------------ the bare client ---- */

static int echo_connect(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        bench_fail("%s: %s", path, strerror(errno));
    }
    return fd;
}

static Kmem__Response *echo_receive(int fd)
{
    unsigned char frame[256];
    size_t n_received = 0;
    uint32_t n_bytes = 0;
    while (n_received < FRAME_HEADER_BYTES + n_bytes) {
        const ssize_t n = recv(fd, frame + n_received, sizeof(frame) - n_received, 0);
        if (n <= 0) {
            bench_fail("the echo server has ended");
        }
        n_received += (size_t)n;
        if (n_received >= FRAME_HEADER_BYTES) {
            memcpy(&n_bytes, frame, sizeof(n_bytes));
        }
    }
    return kmem__response__unpack(NULL, n_bytes, frame + FRAME_HEADER_BYTES);
}

static void echo_ask(int fd, const Kmem__Request *request)
{
    unsigned char frame[256];
    const uint32_t n_bytes = (uint32_t)kmem__request__pack(request, frame + FRAME_HEADER_BYTES);
    memcpy(frame, &n_bytes, sizeof(n_bytes));
    if (send(fd, frame, FRAME_HEADER_BYTES + n_bytes, MSG_NOSIGNAL) < 0) {
        bench_fail("the echo server has ended");
    }
    Kmem__Response *const response = echo_receive(fd);
    if (response == NULL || response->id != request->id) {
        bench_fail("the echo server answers something else");
    }
    kmem__response__free_unpacked(response, NULL);
}

static void echo_pair(int fd, uint32_t num_bytes)
{
    static uint64_t id;
    static char reason[] = REASON;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Allocate allocate = KMEM__ALLOCATE__INIT;
    Kmem__Release release = KMEM__RELEASE__INIT;
    allocate.num_bytes = num_bytes;
    allocate.reason.data = (uint8_t *)reason;
    allocate.reason.len = sizeof(reason) - 1;
    request.id = ++id;
    request.body_case = KMEM__REQUEST__BODY_ALLOCATE;
    request.allocate = &allocate;
    echo_ask(fd, &request);
    release.offset = PAGE_BYTES;
    request.id = ++id;
    request.body_case = KMEM__REQUEST__BODY_RELEASE;
    request.release = &release;
    echo_ask(fd, &request);
}

static uint64_t n_direct_pairs;

static void kmem_pair(uint32_t num_bytes)
{
    void *block = kmem_try_allocate_with(num_bytes, KMEM_SHAREABLE, REASON);
    if (block == NULL || kmem_try_release(&block) != 0) {
        bench_fail("%s", kmem_last_error());
    }
    n_direct_pairs++;
}

static int compare_allocations(const struct kmem_daemon *daemon,
                               const struct kmem_statistic *statistic, void *unused)
{
    (void)daemon;
    (void)unused;
    if (strcmp(statistic->name, "direct_allocations") == 0 && statistic->value != n_direct_pairs) {
        bench_fail("%llu blocks were to be direct, and %llu were",
                   (unsigned long long)n_direct_pairs, (unsigned long long)statistic->value);
    }
    return 0;
}

static void check_all_were_direct(void)
{
    struct kmem_query *query;
    if (kmem_query_open(NULL, &query) != 0 ||
        kmem_query_usage(query, compare_allocations, NULL) != 0) {
        bench_fail("the daemon does not say how many blocks were direct");
    }
    (void)kmem_query_close(query);
}

/* ------------------------------------------------------------------------------- measuring ---- */

static void measure_echo(int fd, struct samples *samples)
{
    for (unsigned int i = 0; i < PAIRS_PER_SLICE; i++) {
        const uint64_t begin_ns = bench_now_ns();
        echo_pair(fd, size_classes[i % N_CLASSES].block_bytes);
        samples_add(samples, (double)(bench_now_ns() - begin_ns));
    }
}

static void measure_kmem(struct samples *samples)
{
    for (unsigned int i = 0; i < PAIRS_PER_SLICE; i++) {
        const uint64_t begin_ns = bench_now_ns();
        kmem_pair(size_classes[i % N_CLASSES].block_bytes);
        samples_add(samples, (double)(bench_now_ns() - begin_ns));
    }
}

static void print_row(const char *what, struct samples *samples)
{
    (void)printf("  %-5s  median %6.2f us   p99 %6.2f us", what,
                 samples_quantile(samples, 0.5) / 1000, samples_quantile(samples, 0.99) / 1000);
}

/* Return: the ratio of the medians. */
static double run(int echo_fd, unsigned int number)
{
    struct samples echo;
    struct samples kmem;
    const size_t n_pairs = (size_t)N_SLICES * (size_t)PAIRS_PER_SLICE;
    samples_init(&echo, n_pairs);
    samples_init(&kmem, n_pairs);
    for (unsigned int i = 0; i < N_SLICES; i++) {
        measure_echo(echo_fd, &echo);
        measure_kmem(&kmem);
    }
    const double ratio = samples_quantile(&kmem, 0.5) / samples_quantile(&echo, 0.5);
    (void)printf("run %u:", number);
    print_row("echo", &echo);
    print_row("kmemd", &kmem);
    (void)printf("   ratio %.3f\n", ratio);
    (void)fflush(stdout);
    samples_fini(&echo);
    samples_fini(&kmem);
    return ratio;
}

static int compare_ratios(const void *left, const void *right)
{
    const double a = *(const double *)left;
    const double b = *(const double *)right;
    return a < b ? -1 : a > b;
}

/* Return: the middle one of the runs' ratios; 0 if this machine has not the processors for it. */
static double ratio_of_runs(int echo_fd, size_t servers_processor, double limit)
{
    double ratios[N_RUNS];
    if (!bench_place(0, servers_processor)) {
        return 0;
    }
    (void)printf("%s\n", servers_processor == 0 ? "client and servers on the same processor"
                                                : "client and servers on a processor each");
    for (unsigned int i = 0; i < PAIRS_PER_SLICE; i++) { /* both warm, before anything counts */
        echo_pair(echo_fd, size_classes[i % N_CLASSES].block_bytes);
        kmem_pair(size_classes[i % N_CLASSES].block_bytes);
    }
    for (unsigned int i = 0; i < N_RUNS; i++) {
        ratios[i] = run(echo_fd, i + 1);
    }
    qsort(ratios, N_RUNS, sizeof(ratios[0]), compare_ratios);
    (void)printf("a round trip to kmemd costs %.3f times a bare one (%.3f to %.3f; at most %.2f)\n",
                 ratios[N_RUNS / 2], ratios[0], ratios[N_RUNS - 1], limit);
    return ratios[N_RUNS / 2];
}

static int start_servers(void)
{
    char kmemd[512];
    char echo_server[512];
    char kmem_socket[100];
    char echo_socket[100];
    (void)snprintf(kmemd, sizeof(kmemd), "%s/kmemd", bench_bin());
    (void)snprintf(echo_server, sizeof(echo_server), "%s/echo_server", bench_programs());
    (void)snprintf(kmem_socket, sizeof(kmem_socket), "%s/kmemd.sock", bench_directory());
    (void)snprintf(echo_socket, sizeof(echo_socket), "%s/echo.sock", bench_directory());
    bench_start_server((const char *const[]){kmemd, "--name", "bench", "--size", "16MiB",
                                             "--log-level", "warning", "--socket", kmem_socket,
                                             NULL});
    bench_start_server((const char *const[]){echo_server, echo_socket, NULL});
    (void)setenv("KMEM_SOCKET", kmem_socket, 1);
    return echo_connect(echo_socket);
}

int main(void)
{
    bench_print_machine(stdout, "");
    const int echo_fd = start_servers();
    (void)printf("allocate + release of up to 1 KiB, %d pairs a run, in slices of %d in turn\n",
                 N_SLICES * PAIRS_PER_SLICE, PAIRS_PER_SLICE);
    const double apart = ratio_of_runs(echo_fd, 1, LIMIT_APART);
    const double together = ratio_of_runs(echo_fd, 0, LIMIT_TOGETHER);
    (void)printf("%s a round trip costs at most %.2f times a bare one, on one processor %.2f\n",
                 apart > LIMIT_APART || together > LIMIT_TOGETHER ? "MISS" : "PASS", LIMIT_APART,
                 LIMIT_TOGETHER);
    check_all_were_direct();
    (void)close(echo_fd);
    (void)kmem_close(); /* the daemon ends in a moment, too */
    return 0;
}
