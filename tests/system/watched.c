/* SPDX-License-Identifier: MIT */
/*
 * watched.c - a program that is compiled with ThreadSanitizer, and a library that is not
 *
 *      watched handoff   blocks of all sizes go from thread to thread; every access is in order
 *      watched race      two threads write to one block at the same time
 *
 * ThreadSanitizer makes the exit status 66 if it has anything to report.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <kmem/kmem.h>

#define N_THREADS 4
#define N_SLOTS 64
#define N_ROUNDS 2000
#define N_LIVES 3
#define LARGE_BYTES 300000

struct slot {
    unsigned char *block;
    size_t num_bytes;
};

static struct slot slots[N_SLOTS];
static pthread_mutex_t slots_lock = PTHREAD_MUTEX_INITIALIZER;

/* Marsaglia's xorshift: each thread has its own. */
static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static size_t some_size(uint32_t *seed)
{
    const uint32_t kind = next_random(seed) % 64;
    const size_t limit = kind == 0 ? LARGE_BYTES : kind < 8 ? 20000 : 1500;
    return 1 + next_random(seed) % limit;
}

/* Whose it was last wrote it all; so does who has it now. */
static void use_up(struct slot slot)
{
    if (slot.block != NULL) {
        memset(slot.block, 1, slot.num_bytes);
        kmem_release((void **)&slot.block);
    }
}

static void *pass_on(void *argument)
{
    uint32_t seed = (uint32_t)(uintptr_t)argument;
    for (int i = 0; i < N_ROUNDS; i++) {
        struct slot slot = {.num_bytes = some_size(&seed)};
        slot.block = kmem_allocate((int)slot.num_bytes, i % 2 != 0 ? "passed on" : "handed over");
        if (slot.block[0] != 0 || slot.block[slot.num_bytes - 1] != 0 ||
            kmem_sizeof_allocation(slot.block) != slot.num_bytes) {
            abort();
        }
        memset(slot.block, 2, slot.num_bytes);
        const uint32_t at = next_random(&seed) % N_SLOTS;
        (void)pthread_mutex_lock(&slots_lock);
        const struct slot former = slots[at];
        slots[at] = slot;
        (void)pthread_mutex_unlock(&slots_lock);
        use_up(former);
    }
    return NULL;
}

static void run_threads(void *(*run)(void *), unsigned int life)
{
    pthread_t threads[N_THREADS];
    for (uintptr_t i = 0; i < N_THREADS; i++) {
        if (pthread_create(&threads[i], NULL, run, (void *)((uintptr_t)N_THREADS * life + i + 1)) !=
            0) {
            abort();
        }
    }
    for (int i = 0; i < N_THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
}

/* Threads end and their heaps go to others; the process leaves and joins again. */
static void hand_off(void)
{
    for (unsigned int life = 0; life < N_LIVES; life++) {
        run_threads(pass_on, 2 * life);
        run_threads(pass_on, 2 * life + 1);
        for (int i = 0; i < N_SLOTS; i++) {
            use_up(slots[i]);
            slots[i].block = NULL;
        }
        if (kmem_close() != 0) {
            abort();
        }
    }
}

static unsigned char *shared;

static void *write_unordered(void *argument)
{
    shared[0] = (unsigned char)(uintptr_t)argument;
    return NULL;
}

static void race(void)
{
    for (int i = 0; i < 100; i++) {
        shared = kmem_allocate(1000, "shared");
        run_threads(write_unordered, 0);
        kmem_release((void **)&shared);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "race") == 0) {
        race();
    } else {
        hand_off();
    }
    return 0;
}
