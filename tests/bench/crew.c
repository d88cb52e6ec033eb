/* SPDX-License-Identifier: MIT */
#include "tests/bench/crew.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/bench.h"

struct entry {
    const char *name;
    const char *program;
    const char *argument; /* the second one; NULL: the name of the shared memory */
    const char *preload;
    const char *package;
};

static const struct entry entries[N_CONTESTANTS] = {
    [CONTESTANT_KMEM] = {"kmem", "player_kmem", "", NULL, "kmemd"},
    [CONTESTANT_UNGUARDED] = {"unguarded", "player_kmem", "", NULL, "kmemd"},
    [CONTESTANT_GLIBC] = {"glibc", "player_malloc", "", NULL, "libc6"},
    [CONTESTANT_JEMALLOC] = {"jemalloc", "player_malloc", "libjemalloc", "libjemalloc.so.2",
                             "libjemalloc2"},
    [CONTESTANT_MIMALLOC] = {"mimalloc", "player_malloc", "libmimalloc", "libmimalloc.so.2",
                             "libmimalloc2.0"},
    [CONTESTANT_TCMALLOC] = {"tcmalloc", "player_malloc", "libtcmalloc", "libtcmalloc_minimal.so.4",
                             "libtcmalloc-minimal4"},
    [CONTESTANT_BOOST] = {"Boost", "player_boost", NULL, NULL, "libboost-dev"},
    [CONTESTANT_MEMSET] = {"memset", "player_memset", "", NULL, "libc6"},
};

struct member {
    pid_t pid;
    int fd;
};

static struct member members[N_CONTESTANTS][CREW_PLAYERS_MAX];
static uint32_t n_members[N_CONTESTANTS];
static bool missing[N_CONTESTANTS];
static char shared_memory[64];

const char *crew_name(enum contestant contestant)
{
    return entries[contestant].name;
}

const char *crew_missing(enum contestant contestant)
{
    return missing[contestant] ? entries[contestant].package : NULL;
}

bool crew_has(enum contestant contestant)
{
    return n_members[contestant] > 0;
}

/* ----------------------------------------------------------------------------- the players ---- */

KMEM_NORETURN static void become_player(enum contestant contestant, int fd)
{
    const struct entry *entry = &entries[contestant];
    char program[512];
    char number[16];
    const char *argument = entry->argument != NULL ? entry->argument : shared_memory;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)fcntl(fd, F_SETFD, 0); /* the only descriptor that survives the exec */
    (void)snprintf(program, sizeof(program), "%s/%s", bench_programs(), entry->program);
    (void)snprintf(number, sizeof(number), "%d", fd);
    (void)unsetenv("LD_PRELOAD");
    (void)setenv("KMEM_GUARD", contestant == CONTESTANT_UNGUARDED ? "off" : "on", 1);
    if (entry->preload != NULL) {
        /* The dynamic linker complains of what it does not find; the player notices. */
        (void)dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
        (void)setenv("LD_PRELOAD", entry->preload, 1);
    }
    (void)execl(program, program, number, argument[0] != '\0' ? argument : NULL, (char *)NULL);
    _exit(127);
}

/* Return: whether the player is one of its contestant's. */
static bool start_player(enum contestant contestant, struct member *ret_member)
{
    int pair[2];
    unsigned char ready = 0;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
        bench_fail("a player can not be started");
    }
    (void)fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        become_player(contestant, pair[1]);
    }
    (void)close(pair[1]);
    if (pid < 0 || !job_receive(pair[0], &ready, sizeof(ready)) || ready != 1) {
        (void)close(pair[0]);
        (void)waitpid(pid, NULL, 0);
        return false;
    }
    *ret_member = (struct member){.pid = pid, .fd = pair[0]};
    return true;
}

static void open_contestant(enum contestant contestant, uint32_t n_players)
{
    const struct entry *entry = &entries[contestant];
    for (uint32_t i = 0; i < n_players && !missing[contestant]; i++) {
        if (start_player(contestant, &members[contestant][i])) {
            n_members[contestant]++;
        } else if (i > 0 || contestant == CONTESTANT_KMEM || contestant == CONTESTANT_GLIBC) {
            bench_fail("%s does not play", entry->name);
        } else {
            missing[contestant] = true;
        }
    }
}

void crew_open(unsigned int set, uint32_t n_players)
{
    static unsigned int n_opened;
    (void)snprintf(shared_memory, sizeof(shared_memory), "kmemd-bench-%d-%u", (int)getpid(),
                   n_opened++);
    for (enum contestant i = 0; i < N_CONTESTANTS; i++) {
        if ((set & 1U << i) != 0) {
            open_contestant(i, n_players);
        }
    }
    /* All have it open: should this process be killed, nothing is left over. */
    (void)shm_unlink(shared_memory);
}

void crew_play(enum contestant contestant, uint32_t n_players, const struct job *job,
               struct outcome *ret_outcomes)
{
    for (uint32_t i = 0; i < n_players; i++) {
        if (!job_send(members[contestant][i].fd, job, sizeof(*job))) {
            bench_fail("%s has ended", entries[contestant].name);
        }
    }
    for (uint32_t i = 0; i < n_players; i++) {
        if (!job_receive(members[contestant][i].fd, &ret_outcomes[i], sizeof(ret_outcomes[i]))) {
            bench_fail("%s has ended in a job", entries[contestant].name);
        }
    }
}

static void end_player(const struct entry *entry, const struct member *member)
{
    int status = 0;
    (void)close(member->fd);
    if (waitpid(member->pid, &status, 0) != member->pid || status != 0) {
        bench_fail("%s ended with status %#x", entry->name, (unsigned int)status);
    }
}

void crew_close(void)
{
    for (uint32_t i = 0; i < N_CONTESTANTS; i++) {
        while (n_members[i] > 0) {
            end_player(&entries[i], &members[i][--n_members[i]]);
        }
    }
}
