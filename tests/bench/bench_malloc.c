/* SPDX-License-Identifier: MIT */
/*
 * bench_malloc [--smoke] [--rounds N] [PATTERN...] - the same program with one malloc() after the
 * other: kmem's by its preload library, libc's, and those of mimalloc, jemalloc and tcmalloc
 *
 * Each run is a process of its own, so that none finds the heap of another. All take turns within a
 * round, and a ratio is that of a round before it is a median: see contest.c. $KMEM_MALLOC is
 * another library of kmem's; $KMEM_MALLOC_BEFORE one more, which plays beside it.
 */
#include <errno.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"
#include "tests/bench/daemon.h"

#define ROUNDS_DEFAULT 9
#define ROUNDS_MAX 64

/* Of each pattern and of their geometric mean: the time over that of the fastest other. */
#define BAR_EACH 1.15
#define BAR_MEAN 1.05

/* Some 100 ms each with libc's. */
static const struct pattern {
    const char *name;
    uint64_t n;
} patterns[] = {
    {"loop", 10000000},   {"cfrac", 700000},     {"espresso", 30000},  {"slots", 2000000},
    {"strings", 2000000}, {"map", 300000},       {"xmalloc", 1000000}, {"scratch", 200000},
    {"mstress", 2000000}, {"handover", 2000000},
};

#define N_PATTERNS (sizeof(patterns) / sizeof(patterns[0]))

enum { KMEM, BEFORE, OTHERS, N_PLAYERS = OTHERS + 4 };

static struct player {
    const char *name;
    const char *library; /* NULL: it does not play */
    double ns[ROUNDS_MAX];
} players[N_PLAYERS] = {
    {.name = "kmem"},
    {.name = "before"},
    {.name = "glibc", .library = "-"},
    {.name = "mimalloc", .library = "libmimalloc.so.2"},
    {.name = "jemalloc", .library = "libjemalloc.so.2"},
    {.name = "tcmalloc", .library = "libtcmalloc_minimal.so.4"},
};

static double median(const double *values, uint32_t n)
{
    struct samples samples;
    samples_init(&samples, n);
    for (uint32_t i = 0; i < n; i++) {
        samples_add(&samples, values[i]);
    }
    const double middle = samples_quantile(&samples, 0.5);
    samples_fini(&samples);
    return middle;
}

/* Return: the pid of a player; what it says can be read from *ret_fd. */
static pid_t start(const struct player *player, const char *pattern, uint64_t n, int *ret_fd)
{
    char program[512];
    char count[32];
    int said[2];
    pid_t pid;
    posix_spawn_file_actions_t actions;
    (void)snprintf(program, sizeof(program), "%s/player_patterns", bench_programs());
    (void)snprintf(count, sizeof(count), "%llu", (unsigned long long)n);
    char *arguments[] = {program, (char *)(uintptr_t)player->library, (char *)(uintptr_t)pattern,
                         count, NULL};
    if (pipe2(said, 0) < 0) {
        bench_fail("pipe: %s", strerror(errno));
    }
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, said[1], STDOUT_FILENO);
    (void)posix_spawn_file_actions_addclose(&actions, said[0]);
    (void)posix_spawn_file_actions_addclose(&actions, said[1]);
    if (strcmp(player->library, "-") != 0) {
        (void)setenv("LD_PRELOAD", player->library, 1);
    }
    const int r = posix_spawn(&pid, program, &actions, NULL, arguments, environ);
    (void)unsetenv("LD_PRELOAD");
    (void)posix_spawn_file_actions_destroy(&actions);
    (void)close(said[1]);
    if (r != 0) {
        bench_fail("%s: %s", program, strerror(r));
    }
    *ret_fd = said[0];
    return pid;
}

/* Return: how many ns a pattern took; 0: the player's malloc() is not installed. */
static double play(const struct player *player, const char *pattern, uint64_t n)
{
    int fd;
    int status;
    char line[64] = "";
    const pid_t pid = start(player, pattern, n, &fd);
    FILE *said = fdopen(fd, "r");
    const bool has_said = said != NULL && fgets(line, sizeof(line), said) != NULL;
    const unsigned long long ns = strtoull(line, NULL, 10);
    if (said != NULL) {
        (void)fclose(said);
    }
    if (waitpid(pid, &status, 0) != pid) {
        bench_fail("waitpid: %s", strerror(errno));
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2) {
        return 0;
    }
    if (status != 0 || !has_said || ns == 0) {
        bench_fail("%s with %s ended with status %d", pattern, player->name, status);
    }
    return (double)ns;
}

/* Who is installed: the loader goes on without a library that it does not find. */
static void look_who_plays(void)
{
    const int saved = dup(STDERR_FILENO);
    if (saved < 0 || freopen("/dev/null", "w", stderr) == NULL) {
        bench_fail("/dev/null: %s", strerror(errno));
    }
    for (uint32_t i = 0; i < N_PLAYERS; i++) {
        if (players[i].library != NULL && play(&players[i], "loop", 1) == 0) {
            players[i].library = NULL;
        }
    }
    (void)fflush(stderr);
    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);
}

static bool bar(bool is_met, const char *what, double standing, const char *fastest, double asked)
{
    (void)printf("# %s  malloc %-12s  %.2f x %-10s asked: at most %.2f\n", is_met ? "PASS" : "MISS",
                 what, standing, fastest, asked);
    return is_met;
}

static double ratio(const struct player *one, const struct player *other, uint32_t n_rounds)
{
    double ratios[ROUNDS_MAX];
    for (uint32_t i = 0; i < n_rounds; i++) {
        ratios[i] = one->ns[i] / other->ns[i];
    }
    return median(ratios, n_rounds);
}

static const struct player *fastest_other(uint32_t n_rounds)
{
    const struct player *fastest = NULL;
    for (uint32_t i = OTHERS; i < N_PLAYERS; i++) {
        if (players[i].library != NULL &&
            (fastest == NULL || median(players[i].ns, n_rounds) < median(fastest->ns, n_rounds))) {
            fastest = &players[i];
        }
    }
    return fastest;
}

/* Return: kmem's time over that of the fastest. */
static double contest(const struct pattern *pattern, uint32_t n_rounds, uint64_t n)
{
    for (uint32_t round = 0; round < n_rounds; round++) {
        for (uint32_t i = 0; i < N_PLAYERS; i++) {
            if (players[i].library != NULL) {
                players[i].ns[round] = play(&players[i], pattern->name, n);
            }
        }
    }
    const struct player *fastest = fastest_other(n_rounds);
    (void)printf("%-10s", pattern->name);
    for (uint32_t i = 0; i < N_PLAYERS; i++) {
        if (players[i].library != NULL) {
            (void)printf("  %9.2f", median(players[i].ns, n_rounds) / (double)n);
        } else if (i != BEFORE) {
            (void)printf("  %9s", "-");
        }
    }
    const double of_kmem = ratio(&players[KMEM], fastest, n_rounds);
    (void)printf("  %5.2f %s\n", of_kmem, fastest->name);
    (void)fflush(stdout);
    return of_kmem;
}

static bool is_wanted(const char *name, char **names)
{
    bool is_in = *names == NULL;
    for (; *names != NULL; names++) {
        is_in = is_in || strcmp(*names, name) == 0;
    }
    return is_in;
}

static void print_head(void)
{
    bench_print_machine(stdout, "# ");
    (void)printf("# ns of a step, median; kmem over the fastest of the others\n%-10s", "pattern");
    for (uint32_t i = 0; i < N_PLAYERS; i++) {
        if (i != BEFORE || players[i].library != NULL) {
            (void)printf("  %9s", players[i].name);
        }
    }
    (void)printf("  ratio\n");
}

/* Return: how many bars were missed. */
static uint32_t contests(uint32_t n_rounds, uint64_t divisor, char **names)
{
    double ratios[N_PATTERNS];
    const char *played[N_PATTERNS];
    double log_sum = 0;
    uint32_t n = 0;
    uint32_t n_missed = 0;
    for (uint32_t i = 0; i < N_PATTERNS; i++) {
        if (is_wanted(patterns[i].name, names)) {
            ratios[n] = contest(&patterns[i], n_rounds, patterns[i].n / divisor);
            log_sum += log(ratios[n]);
            played[n++] = patterns[i].name;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        n_missed += !bar(ratios[i] <= BAR_EACH, played[i], ratios[i], "the fastest", BAR_EACH);
    }
    if (n == N_PATTERNS) {
        const double mean = exp(log_sum / (double)n);
        n_missed += !bar(mean <= BAR_MEAN, "mean of ten", mean, "the fastest", BAR_MEAN);
    }
    return n_missed;
}

int main(int argc, char **argv)
{
    uint32_t n_rounds = ROUNDS_DEFAULT;
    uint64_t divisor = 1;
    int at = 1;
    if (at < argc && strcmp(argv[at], "--smoke") == 0) {
        n_rounds = 1;
        divisor = 1000;
        at++;
    }
    if (at + 1 < argc && strcmp(argv[at], "--rounds") == 0) {
        const unsigned long wanted = strtoul(argv[at + 1], NULL, 10);
        n_rounds = wanted >= 1 && wanted <= ROUNDS_MAX ? (uint32_t)wanted : ROUNDS_DEFAULT;
        at += 2;
    }
    const char *chosen = getenv("KMEM_MALLOC");
    players[KMEM].library = chosen != NULL ? chosen : BENCH_KMEM_MALLOC;
    players[BEFORE].library = getenv("KMEM_MALLOC_BEFORE");
    daemon_start(divisor > 1 ? "256MiB" : "1GiB");
    look_who_plays();
    if (players[KMEM].library == NULL) {
        bench_fail("%s can not be loaded", BENCH_KMEM_MALLOC);
    }
    print_head();
    (void)contests(n_rounds, divisor, argv + at);
    return 0;
}
