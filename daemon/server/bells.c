/* SPDX-License-Identifier: MIT */
#include "daemon/server/bells.h"

#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proto/attributes.h"

/* 64 bells, or some 30 us if nobody sleeps there. */
#define LOOKS_A_STEP 64

void bells_init(struct bells *bells, _Atomic uint32_t *words)
{
    memset(bells, 0, sizeof(*bells));
    bells->words = words;
}

/* Return: how many were woken; more may sleep if it is BELL_WAKES. */
static long bell_wake(struct bells *bells, uint32_t bell)
{
    /* Not private: it is known by its file. It fails for no word that is mapped. */
    return syscall(SYS_futex, &bells->words[bell], FUTEX_WAKE, BELL_WAKES, NULL, NULL, 0);
}

static void bell_set_due(struct bells *bells, uint32_t bell, bool is_due)
{
    const uint64_t bit = UINT64_C(1) << bell % 64;
    uint64_t *word = &bells->due[bell / 64];
    if (is_due != ((*word & bit) != 0)) {
        *word ^= bit;
        bells->n_due += is_due ? 1U : -1U;
    }
}

static void bell_count(struct bells *bells, uint32_t bell)
{
    /* Release: who sees it asks, and finds the name changed. Partner: the client's load. */
    (void)atomic_fetch_add_explicit(&bells->words[bell], 1, memory_order_release);
}

void bells_ring(struct bells *bells, uint32_t bell)
{
    KMEM_ASSERT(bell < NOTICE_BELLS);
    bell_count(bells, bell);
    bell_set_due(bells, bell, bell_wake(bells, bell) == BELL_WAKES);
}

void bells_ring_all(struct bells *bells)
{
    for (uint32_t bell = 0; bell < NOTICE_BELLS; bell++) {
        bell_count(bells, bell);
        bell_set_due(bells, bell, true);
    }
}

static uint32_t bells_first_due(const struct bells *bells)
{
    uint32_t at = 0;
    while (bells->due[at] == 0) {
        at++;
    }
    return at * 64 + (uint32_t)__builtin_ctzll(bells->due[at]);
}

void bells_step(struct bells *bells)
{
    long n_woken = 0;
    for (uint32_t n = 0; n < LOOKS_A_STEP && n_woken < BELL_WAKES && bells->n_due > 0; n++) {
        const uint32_t bell = bells_first_due(bells);
        const long n_here = bell_wake(bells, bell);
        bell_set_due(bells, bell, n_here == BELL_WAKES);
        n_woken += n_here > 0 ? n_here : 0;
    }
}
