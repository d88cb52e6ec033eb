/* SPDX-License-Identifier: MIT */
/*
 * fragment_play.c - each member is a process
 *
 * They do what they are told over a socket, a byte at a time, and answer with a byte: the first two
 * steps go on side by side, the others in the first process only, while the others keep what they
 * have. A short process is the child of a member, which starts the next one when it has ended.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/query.h>

#include "proto/limits.h"
#include "tests/bench/bench.h"
#include "tests/bench/fragment.h"
#include "tests/bench/job.h"

#define SAMPLES_MAX 20000
/* Half a minute. */
#define PATIENCE_STEPS 3000
#define PATIENCE_STEP_US 10000

enum order { ORDER_PLAY = 'p', ORDER_PROBE = 'b', ORDER_FILL = 'f', ORDER_END = 'e' };

/* A process, as it is seen by all. */
struct player_state {
    struct trace trace;
    uint64_t answer_bytes; /* of the last order */
    uint32_t n_samples;
    float samples_ns[SAMPLES_MAX];
};

struct stage {
    struct trace_totals totals;
    struct player_state players[REGION_MEMBERS_MAX];
};

struct actor {
    pid_t pid;
    int fd;
};

/* ------------------------------------------------------------------------------ a process ----- */

static void play_short_life(struct trace *trace)
{
    const pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        trace->region = region_kmem_new();
        while (trace_step(trace)) {
        }
        _exit(0);
    }
    int status = 1;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
        bench_fail("a short process has failed");
    }
}

static void play(const struct row *row, struct player_state *player)
{
    struct trace *trace = &player->trace;
    const uint64_t n_wanted = row->n_ops / fragment_n_members(row);
    const uint32_t n_batch = fragment_batch(row);
    while (trace->n_done < n_wanted) {
        const uint64_t n_before = trace->n_done;
        const uint64_t began_ns = bench_now_ns();
        if (trace->is_short) {
            play_short_life(trace);
        }
        for (uint32_t i = 0; i < n_batch && !trace->is_short; i++) {
            (void)trace_step(trace);
        }
        const uint64_t took_ns = bench_now_ns() - began_ns;
        /* A short process's time is that of fork() and its end. */
        if (trace->n_done > n_before && player->n_samples < SAMPLES_MAX && !trace->is_short) {
            player->samples_ns[player->n_samples++] =
                (float)((double)took_ns / (double)(trace->n_done - n_before));
        }
    }
}

KMEM_NORETURN static void serve(const struct row *row, struct player_state *player, int fd)
{
    unsigned char order;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    struct region *region = region_kmem_new();
    player->trace.region = region; /* a short life has one of its own */
    while (job_receive(fd, &order, sizeof(order))) {
        if (order == ORDER_PLAY) {
            play(row, player);
        } else if (order == ORDER_PROBE) {
            player->answer_bytes = trace_probe(&player->trace, row->segment_bytes);
        } else if (order == ORDER_FILL) {
            player->answer_bytes = trace_fill(&player->trace, FRAGMENT_FILL_REFUSALS);
        } else {
            if (!player->trace.is_short) {
                trace_fini(&player->trace);
            }
            break;
        }
        if (!job_send(fd, &order, sizeof(order))) {
            break;
        }
    }
    region->free(region);
    exit(0);
}

/* ---------------------------------------------------------------------------- the director ---- */

static void start(const struct row *row, struct player_state *player, struct actor *actor)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        bench_fail("a process can not be started");
    }
    (void)fflush(NULL);
    actor->pid = fork();
    if (actor->pid == 0) {
        (void)close(pair[0]);
        bench_forget();
        serve(row, player, pair[1]);
    }
    (void)close(pair[1]);
    actor->fd = pair[0];
}

static void order(const struct actor *actors, uint32_t n_actors, enum order what)
{
    unsigned char byte = (unsigned char)what;
    for (uint32_t i = 0; i < n_actors; i++) {
        if (!job_send(actors[i].fd, &byte, sizeof(byte))) {
            bench_fail("a process has ended");
        }
    }
    for (uint32_t i = 0; i < n_actors && what != ORDER_END; i++) {
        if (!job_receive(actors[i].fd, &byte, sizeof(byte))) {
            bench_fail("a process has ended in its trace");
        }
    }
}

static void end(const struct actor *actors, uint32_t n_actors)
{
    order(actors, n_actors, ORDER_END);
    for (uint32_t i = 0; i < n_actors; i++) {
        int status = 1;
        (void)close(actors[i].fd);
        if (waitpid(actors[i].pid, &status, 0) != actors[i].pid || status != 0) {
            bench_fail("a process has failed");
        }
    }
}

static int find_free(const struct kmem_daemon *daemon, const struct kmem_statistic *statistic,
                     void *of_bytes)
{
    uint64_t *free_bytes = of_bytes;
    (void)daemon;
    if (strcmp(statistic->name, "free_bytes") == 0) {
        *free_bytes = statistic->value;
    }
    return 0;
}

static uint64_t ask_free_bytes(void)
{
    struct kmem_query *query = NULL;
    uint64_t free_bytes = 0;
    if (kmem_query_open(NULL, &query) != 0 ||
        kmem_query_usage(query, find_free, &free_bytes) != 0) {
        bench_fail("the daemon does not say what is free");
    }
    (void)kmem_query_close(query);
    return free_bytes;
}

/* What processes leave behind that have ended is back soon, or something is amiss. */
static void await_all_free(uint64_t segment_bytes)
{
    for (int i = 0; ask_free_bytes() < segment_bytes - PAGE_BYTES; i++) {
        if (i == PATIENCE_STEPS) {
            bench_fail("pages are missing when all processes have ended");
        }
        (void)usleep(PATIENCE_STEP_US);
    }
}

static void add_up(const struct row *row, const struct stage *stage, struct figures *figures)
{
    struct samples samples;
    samples_init(&samples, (size_t)SAMPLES_MAX * REGION_MEMBERS_MAX);
    for (uint32_t i = 0; i < fragment_n_members(row); i++) {
        const struct player_state *player = &stage->players[i];
        figures->n_ops += player->trace.n_done;
        figures->n_refused += player->trace.n_refused;
        for (uint32_t j = 0; j < player->n_samples; j++) {
            samples_add(&samples, (double)player->samples_ns[j]);
        }
    }
    figures->median_ns = samples_quantile(&samples, 0.5);
    figures->p99_ns = samples_quantile(&samples, 0.99);
    figures->first_refused_bytes = atomic_load(&stage->totals.first_refused_bytes);
    figures->live_bytes = atomic_load(&stage->totals.live_bytes);
    samples_fini(&samples);
}

void fragment_play(const struct row *row, struct figures *ret_figures)
{
    struct actor actors[REGION_MEMBERS_MAX] = {{0}};
    const uint32_t n_members = fragment_n_members(row);
    struct stage *stage = mmap(NULL, sizeof(*stage), PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stage == MAP_FAILED) {
        bench_fail("no memory for the processes' figures");
    }
    *ret_figures = (struct figures){.n_ops = 0};
    for (uint32_t i = 0; i < n_members; i++) {
        trace_init(&stage->players[i].trace, row->kind, NULL, i, fragment_share(row, i),
                   &stage->totals);
        start(row, &stage->players[i], &actors[i]);
    }
    order(actors, n_members, ORDER_PLAY);
    add_up(row, stage, ret_figures);
    ret_figures->free_bytes = ask_free_bytes();
    order(actors, 1, ORDER_PROBE);
    ret_figures->largest_bytes = stage->players[0].answer_bytes;
    order(actors, 1, ORDER_FILL);
    ret_figures->filled_first_bytes = stage->players[0].answer_bytes;
    ret_figures->filled_bytes = atomic_load(&stage->totals.live_bytes);
    end(actors, n_members);
    await_all_free(row->segment_bytes);
    for (uint32_t i = 0; i < n_members; i++) { /* the blocks are gone already */
        stage->players[i].trace.live_bytes = 0;
        trace_fini(&stage->players[i].trace);
    }
    (void)munmap(stage, sizeof(*stage));
}
