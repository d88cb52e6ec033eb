/* SPDX-License-Identifier: MIT */
/*
 * bench_sharing.c - what sharing costs, beside a pipe, shm_open(), Boost.Interprocess and iceoryx
 *
 *      attach again    a process that holds a block attaches it once more, and lets go of that
 *      name            from before kmem_publish() until a consumer that was asleep has the block,
 *                      beside a round trip to a server that was asleep and does nothing
 *      camera          1920 x 1080 x 4 bytes, 60 frames a second, three consumers, of which one is
 *                      killed each second: the processor time of all processes together
 *
 * A frame's first and last byte are touched, no more: what is left is what passing it costs. Of
 * shm_open() that is the least there can be, for a real camera would have each page of each frame
 * made anew.
 *
 * Each is asked for in ratios of this run; bars that are missed are printed. Round trips and copies
 * are counted, by system.round_trips.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/share.h>

#include "proto/kmem.pb-c.h"
#include "tests/bench/bench.h"
#include "tests/bench/camera.h"
#include "tests/bench/daemon.h"

#define BATCH 1000
#define N_BATCHES 300
#define N_NAMES 500
#define ASLEEP_US 2000 /* until the next: all others sleep by then */
#define CAMERA_SECONDS 5

static FILE *results;

static void must(int r)
{
    if (r < 0) {
        bench_fail("%s", kmem_last_error());
    }
}

static void say(const char *what, const char *who, double value, const char *unit)
{
    (void)printf("%-14s %-10s %12.3f %s\n", what, who, value, unit);
    (void)fflush(stdout);
    if (results != NULL) {
        (void)fprintf(results, "%s\t%s\t%.4f\t%s\n", what, who, value, unit);
    }
}

static void judge(const char *what, double value, double bar, bool is_most)
{
    const bool is_met = is_most ? value <= bar : value >= bar;
    (void)printf("%s %s: %.2f, %s %.2f\n", is_met ? "PASS" : "MISS", what, value,
                 is_most ? "at most" : "at least", bar);
    if (results != NULL) {
        (void)fprintf(results, "# %s %s: %.2f, %s %.2f\n", is_met ? "PASS" : "MISS", what, value,
                      is_most ? "at most" : "at least", bar);
    }
}

/* --------------------------------------------------------------------------- attach again ---- */

static void measure_again(void)
{
    struct kmem_handle handle;
    struct samples samples;
    samples_init(&samples, N_BATCHES);
    void *block = kmem_try_allocate(1000, "bench/again");
    must(kmem_share(block, 0, &handle));
    for (unsigned i = 0; i < N_BATCHES; i++) {
        const uint64_t begun_ns = bench_now_ns();
        for (unsigned n = 0; n < BATCH; n++) {
            void *again = NULL;
            must(kmem_attach(&handle, KMEM_READ, "bench/again", &again));
            must(kmem_try_release(&again));
        }
        samples_add(&samples, (double)(bench_now_ns() - begun_ns) / BATCH);
    }
    say("attach again", "kmem", samples_quantile(&samples, 0.5), "ns");
    say("attach again", "kmem p99", samples_quantile(&samples, 0.99), "ns");
    judge("attach again and release, ns", samples_quantile(&samples, 0.5), 40, true);
    samples_fini(&samples);
    must(kmem_try_release(&block));
}

/* ----------------------------------------------------------------------------------- name ---- */

/* Says when each block was had: the producer has written into it when it was published. */
static void follow(int fd)
{
    const uint64_t *block = NULL;
    uint64_t seen = 0;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    while (kmem_next("bench/name", KMEM_READ, "bench/follow", &seen, &block, -1) == 0) {
        const uint64_t took_ns = bench_now_ns() - *block;
        if (write(fd, &took_ns, sizeof(took_ns)) != (ssize_t)sizeof(took_ns)) {
            break;
        }
    }
    _exit(0);
}

/* The bare server of bench_roundtrip. Return: a connection to it. */
static int start_echo(void)
{
    char program[512];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(program, sizeof(program), "%s/echo_server", bench_programs());
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s/echo.sock", bench_directory());
    bench_start_server((const char *const[]){program, address.sun_path, NULL});
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) != 0) {
        bench_fail("%s: %s", address.sun_path, strerror(errno));
    }
    return fd;
}

static pid_t start(void (*run)(int fd), int *ret_fd)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) {
        bench_fail("socketpair: %s", strerror(errno));
    }
    const pid_t pid = fork();
    if (pid == 0) {
        bench_forget();
        (void)close(fds[0]);
        run(fds[1]);
    }
    (void)close(fds[1]);
    *ret_fd = fds[0];
    return pid;
}

static void stop(pid_t pid, int fd)
{
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    (void)close(fd);
}

static double name_once(int fd)
{
    uint64_t took_ns = 0;
    uint64_t *block = kmem_try_allocate(1000, "bench/name");
    must(block != NULL ? 0 : -1);
    *block = bench_now_ns();
    must(kmem_publish(block, "bench/name", KMEM_GIVE, NULL));
    if (read(fd, &took_ns, sizeof(took_ns)) != (ssize_t)sizeof(took_ns)) {
        bench_fail("the consumer has ended");
    }
    return (double)took_ns;
}

static double echo_once(int fd)
{
    unsigned char frame[256];
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Release release = KMEM__RELEASE__INIT;
    request.body_case = KMEM__REQUEST__BODY_RELEASE;
    request.release = &release;
    release.offset = 1;
    const uint32_t n_bytes = (uint32_t)kmem__request__pack(&request, frame + sizeof(n_bytes));
    memcpy(frame, &n_bytes, sizeof(n_bytes));
    const uint64_t begun_ns = bench_now_ns();
    if (write(fd, frame, sizeof(n_bytes) + n_bytes) < 0 || read(fd, frame, sizeof(frame)) <= 0) {
        bench_fail("the echo server has ended");
    }
    return (double)(bench_now_ns() - begun_ns);
}

static void measure_name(unsigned n_names)
{
    struct samples names;
    struct samples echoes;
    int name_fd;
    samples_init(&names, N_NAMES);
    samples_init(&echoes, N_NAMES);
    const pid_t follower = start(follow, &name_fd);
    const int echo_fd = start_echo();
    for (unsigned i = 0; i < n_names; i++) {
        (void)usleep(ASLEEP_US);
        samples_add(&names, name_once(name_fd) / 1000);
        (void)usleep(ASLEEP_US);
        samples_add(&echoes, echo_once(echo_fd) / 1000);
    }
    stop(follower, name_fd);
    (void)close(echo_fd);
    must(kmem_unpublish("bench/name"));
    say("name", "kmem", samples_quantile(&names, 0.5), "us");
    say("name", "kmem p99", samples_quantile(&names, 0.99), "us");
    say("name", "bare", samples_quantile(&echoes, 0.5), "us");
    say("name", "bare p99", samples_quantile(&echoes, 0.99), "us");
    judge("publish to attached, bare round trips",
          samples_quantile(&names, 0.5) / samples_quantile(&echoes, 0.5), 2.2, true);
    samples_fini(&names);
    samples_fini(&echoes);
}

/* --------------------------------------------------------------------------------- camera ---- */

static double measure_camera(const struct camera *camera, unsigned seconds)
{
    if (camera->name == NULL) {
        (void)printf("another one is not installed: tests/setup bench\n");
        return 0;
    }
    double seen = 0;
    const double busy = 100 * camera_run(camera, seconds, &seen);
    say("camera", camera->name, busy, "% of a processor");
    say("frames seen", camera->name, 100 * seen, "%");
    return busy;
}

static void measure_cameras(unsigned seconds)
{
    const double kmem = measure_camera(&camera_kmem, seconds);
    const double by_pipe = measure_camera(&camera_pipe, seconds);
    (void)measure_camera(&camera_shm, seconds);
    (void)measure_camera(&camera_boost, seconds);
    (void)measure_camera(&camera_iceoryx, seconds);
    judge("camera, % of a processor", kmem, 1.5, true);
    judge("camera, times less than a pipe", by_pipe / kmem, 50, false);
}

int main(int argc, char **argv)
{
    const bool is_smoke = argc > 1 && strcmp(argv[1], "--smoke") == 0;
    const char *const path = argc > 1 && !is_smoke ? argv[1] : NULL;
    if (argc > 2 || (path != NULL && path[0] == '-')) {
        (void)fprintf(stderr, "usage: bench_sharing [--smoke | FILE]\n");
        return 2;
    }
    bench_print_machine(stdout, "");
    results = path != NULL ? fopen(path, "we") : NULL;
    if (results != NULL) {
        bench_print_machine(results, "# ");
        (void)fprintf(results, "what\twho\tvalue\tunit\n");
    }
    daemon_start("1GiB");
    measure_again();
    measure_name(is_smoke ? 10 : N_NAMES);
    must(kmem_close());
    measure_cameras(is_smoke ? 1 : CAMERA_SECONDS);
    if (results != NULL) {
        (void)fclose(results);
    }
    return 0;
}
