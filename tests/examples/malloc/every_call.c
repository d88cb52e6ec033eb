/* SPDX-License-Identifier: MIT */
/*
 * A program that knows nothing of kmem and uses malloc() in every way that there is. It is run by
 * `kmemctl run --malloc`; each test is a process of its own.
 *
 *      every_call TEST
 *
 * That it is served from a segment, and not from libc, shows in what no other malloc() does: a
 * block is as large as was asked for, to the byte.
 */
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define SEED UINT64_C(20221122)

#define assert_true(condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s:%d: not true: %s\n", __FILE__, __LINE__, #condition);        \
            _exit(EXIT_FAILURE);                                                                   \
        }                                                                                          \
    } while (0)

/* Keeps the compiler from knowing what a pointer or a size is, or that a block is never used. */
static void *opaque_block(void *block)
{
    static _Thread_local void *volatile passing;
    passing = block;
    return passing;
}

static size_t opaque_size(size_t number)
{
    static _Thread_local volatile size_t passing;
    passing = number;
    return passing;
}

/* xorshift64*, the same in each run. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

/* Bytes by which a block is known again. */
static unsigned char pattern_at(uint64_t seed, size_t at)
{
    return (unsigned char)((seed + at) * 0x9d + (at >> 8));
}

static void fill(unsigned char *bytes, size_t from, size_t to, uint64_t seed)
{
    for (size_t at = from; at < to; at++) {
        bytes[at] = pattern_at(seed, at);
    }
}

static bool has_pattern(const unsigned char *bytes, size_t num_bytes, uint64_t seed)
{
    for (size_t at = 0; at < num_bytes; at++) {
        if (bytes[at] != pattern_at(seed, at)) {
            return false;
        }
    }
    return true;
}

static bool is_zero(const unsigned char *bytes, size_t num_bytes)
{
    size_t at = 0;
    while (at < num_bytes && bytes[at] == 0) {
        at++;
    }
    return at == num_bytes;
}

static size_t least(size_t one, size_t other)
{
    return one < other ? one : other;
}

/* ------------------------------------------------------------------------------ one by one ---- */

static void test_malloc_is_served_from_the_segment(void)
{
    for (size_t num_bytes = 1; num_bytes < 200000; num_bytes += num_bytes / 3 + 1) {
        void *block = opaque_block(malloc(num_bytes));
        assert_true(block != NULL);
        assert_true(malloc_usable_size(block) == num_bytes);
        assert_true((uintptr_t)block % (num_bytes < 64 ? 16 : 64) == 0);
        free(block);
    }
}

static void test_malloc_of_zero_bytes_is_a_block_of_its_own(void)
{
    /* NOLINTNEXTLINE(clang-analyzer-optin.portability.UnixAPI): that is the test */
    void *one = opaque_block(malloc(opaque_size(0)));
    void *other = opaque_block(calloc(opaque_size(0), 8));
    assert_true(one != NULL && other != NULL && one != other);
    free(one);
    free(other);
    free(NULL);
}

static void test_malloc_of_too_much_is_ENOMEM(void)
{
    const size_t sizes[] = {SIZE_MAX, PTRDIFF_MAX, PTRDIFF_MAX - 4096, SIZE_MAX / 1024};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        errno = 0;
        assert_true(malloc(opaque_size(sizes[i])) == NULL && errno == ENOMEM);
        errno = 0;
        assert_true(memalign(4096, opaque_size(sizes[i])) == NULL && errno == ENOMEM);
    }
    errno = 0;
    assert_true(calloc(opaque_size(SIZE_MAX / 2), 3) == NULL && errno == ENOMEM);
    errno = 0;
    assert_true(pvalloc(opaque_size(SIZE_MAX)) == NULL && errno == ENOMEM);
    char *block = strdup("stays");
    errno = 0;
    assert_true(realloc(block, opaque_size(PTRDIFF_MAX)) == NULL && errno == ENOMEM);
    errno = 0;
    assert_true(reallocarray(block, opaque_size(SIZE_MAX / 4), 8) == NULL && errno == ENOMEM);
    assert_true(strcmp(block, "stays") == 0);
    free(block);
}

/* The segment has 64 MiB here: see CMakeLists.txt. */
static void test_malloc_in_a_full_segment_is_ENOMEM(void)
{
    enum { N_MAX = 100 };
    void *blocks[N_MAX];
    for (int round = 0; round < 3; round++) {
        int n = 0;
        errno = 0;
        while (n < N_MAX && (blocks[n] = malloc(1 << 20)) != NULL) {
            n++;
        }
        assert_true(n >= 40 && n < 64 && errno == ENOMEM);
        errno = 0;
        assert_true(memalign(65536, 1 << 20) == NULL && errno == ENOMEM);
        while (n > 0) {
            free(blocks[--n]);
        }
    }
}

static void test_calloc_is_zero_in_used_memory(void)
{
    uint64_t state = SEED;
    for (int i = 0; i < 20000; i++) {
        const size_t num_bytes = next_random(&state) % 3000 + 1;
        unsigned char *block = calloc(num_bytes, 1);
        assert_true(block != NULL && is_zero(block, num_bytes));
        memset(block, 0xff, num_bytes);
        free(opaque_block(block));
    }
}

static void test_errno_is_left_alone_by_success(void)
{
    errno = EDOM;
    void *block = opaque_block(malloc(77));
    block = realloc(block, 5000);
    assert_true(errno == EDOM);
    free(block);
    assert_true(errno == EDOM);
    assert_true(posix_memalign(&block, 3, 8) == EINVAL && errno == EDOM);
    assert_true(posix_memalign(&block, 64, opaque_size(PTRDIFF_MAX)) == ENOMEM && errno == EDOM);
}

/* --------------------------------------------------------------------------------- realloc ---- */

static void test_realloc_of_NULL_and_to_zero(void)
{
    char *block = realloc(NULL, 10);
    assert_true(block != NULL && malloc_usable_size(block) == 10);
    /* NOLINTNEXTLINE(clang-analyzer-optin.portability.UnixAPI): that is the test */
    assert_true(realloc(block, opaque_size(0)) == NULL);
    assert_true(malloc_usable_size(NULL) == 0);
}

/* A buffer that is appended to is not copied each time. */
static void test_realloc_that_grows_stays_mostly_in_place(void)
{
    unsigned char *buffer = NULL;
    int n_moves = 0;
    for (size_t num_bytes = 0; num_bytes < 1 << 20; num_bytes += 100) {
        unsigned char *grown = realloc(opaque_block(buffer), num_bytes + 100);
        assert_true(grown != NULL && malloc_usable_size(grown) >= num_bytes + 100);
        n_moves += grown != buffer;
        fill(grown, num_bytes, num_bytes + 100, SEED);
        buffer = grown;
    }
    assert_true(has_pattern(buffer, 1 << 20, SEED));
    assert_true(n_moves < 60);
    /* And gives its memory back when it shrinks. */
    buffer = realloc(buffer, 1000);
    assert_true(malloc_usable_size(buffer) < 2000 && has_pattern(buffer, 1000, SEED));
    free(buffer);
}

struct slot {
    unsigned char *bytes;
    size_t num_bytes;
    uint64_t seed;
};

/* Half of them small, some of some hundred KiB. */
static size_t random_size(uint64_t *state)
{
    const uint64_t random = next_random(state);
    const unsigned int log2 = (unsigned int)(random % 18);
    return (random >> 32) % ((UINT64_C(2) << log2)) + (random % 37 != 0);
}

static void slot_refill(struct slot *slot, unsigned char *bytes, size_t num_bytes, uint64_t seed)
{
    *slot = (struct slot){bytes, num_bytes, seed};
    fill(bytes, 0, num_bytes, seed);
}

static unsigned char *new_by_any_call(uint64_t random, size_t num_bytes)
{
    switch (random % 4) {
    case 0:
        return calloc(1, num_bytes);
    case 1:
        return memalign((size_t)1 << (4 + random / 4 % 13), num_bytes);
    default:
        return malloc(num_bytes);
    }
}

static void slot_step(struct slot *slot, uint64_t *state)
{
    const uint64_t random = next_random(state);
    const size_t num_bytes = random_size(state);
    assert_true(has_pattern(slot->bytes, slot->num_bytes, slot->seed));
    if (slot->bytes == NULL) {
        slot_refill(slot, new_by_any_call(random >> 8, num_bytes), num_bytes, random);
        assert_true(slot->bytes != NULL && malloc_usable_size(slot->bytes) >= num_bytes);
    } else if (random % 2 == 0 && num_bytes > 0) {
        unsigned char *bytes = realloc(slot->bytes, num_bytes);
        assert_true(bytes != NULL && malloc_usable_size(bytes) >= num_bytes);
        assert_true(has_pattern(bytes, least(num_bytes, slot->num_bytes), slot->seed));
        slot_refill(slot, bytes, num_bytes, random);
    } else {
        free(slot->bytes);
        *slot = (struct slot){NULL, 0, 0};
    }
}

static void test_realloc_against_a_model(void)
{
    static struct slot slots[300];
    const size_t n_slots = sizeof(slots) / sizeof(slots[0]);
    uint64_t state = SEED;
    for (int i = 0; i < 60000; i++) {
        slot_step(&slots[next_random(&state) % n_slots], &state);
    }
    for (size_t i = 0; i < n_slots; i++) {
        assert_true(has_pattern(slots[i].bytes, slots[i].num_bytes, slots[i].seed));
        free(slots[i].bytes);
    }
}

/* ------------------------------------------------------------------------------- alignment ---- */

static void expect_aligned(size_t alignment, size_t num_bytes)
{
    enum { N = 3 };
    unsigned char *blocks[N];
    for (size_t i = 0; i < N; i++) {
        blocks[i] = memalign(alignment, num_bytes);
        assert_true(blocks[i] != NULL && (uintptr_t)blocks[i] % alignment == 0);
        assert_true(malloc_usable_size(blocks[i]) >= num_bytes);
        fill(blocks[i], 0, malloc_usable_size(blocks[i]), i);
    }
    for (size_t i = 0; i < N; i++) {
        assert_true(has_pattern(blocks[i], malloc_usable_size(blocks[i]), i));
        unsigned char *larger = realloc(blocks[i], 2 * num_bytes + 1);
        assert_true(larger != NULL && has_pattern(larger, num_bytes, i));
        free(larger);
    }
}

static void test_memalign_of_all_powers_of_two_to_1_MiB(void)
{
    for (size_t alignment = 1; alignment <= 1 << 20; alignment *= 2) {
        const size_t sizes[] = {0,
                                1,
                                17,
                                alignment - 1,
                                alignment,
                                alignment + 1,
                                alignment * 3 / 2,
                                alignment * 3,
                                5000,
                                70000,
                                300000};
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            expect_aligned(alignment, sizes[i]);
        }
    }
}

/* Released and reused so often that origins of old blocks lie about everywhere. */
static void test_memalign_mixed_with_malloc_against_a_model(void)
{
    static struct slot slots[64];
    uint64_t state = SEED;
    for (int i = 0; i < 30000; i++) {
        const uint64_t random = next_random(&state);
        struct slot *slot = &slots[random % 64];
        const size_t num_bytes = random / 64 % 40000;
        const size_t alignment = (size_t)32768 << (random >> 62);
        assert_true(has_pattern(slot->bytes, slot->num_bytes, slot->seed));
        free(slot->bytes);
        slot_refill(slot, random >> 61 & 1 ? malloc(num_bytes) : memalign(alignment, num_bytes),
                    num_bytes, random);
    }
    for (size_t i = 0; i < 64; i++) {
        free(slots[i].bytes);
    }
}

static void test_the_other_aligned_calls(void)
{
    void *block = NULL;
    assert_true(posix_memalign(&block, 256, 1000) == 0 && (uintptr_t)block % 256 == 0);
    free(block);
    assert_true(posix_memalign(&block, 24, 1) == EINVAL && posix_memalign(&block, 4, 1) == EINVAL);
    block = aligned_alloc(1024, 4096);
    assert_true(block != NULL && (uintptr_t)block % 1024 == 0);
    free(block);
    block = memalign(opaque_size(48), 100);
    assert_true(block != NULL && (uintptr_t)block % 64 == 0);
    free(block);
    block = memalign(opaque_size(0), 100);
    assert_true(block != NULL);
    free(block);
    errno = 0;
    assert_true(memalign(opaque_size(SIZE_MAX / 2 + 2), 1) == NULL && errno == EINVAL);
    block = valloc(1);
    assert_true(block != NULL && (uintptr_t)block % 4096 == 0);
    free(block);
    block = pvalloc(4097);
    assert_true((uintptr_t)block % 4096 == 0 && malloc_usable_size(block) >= 8192);
    free(block);
}

/* --------------------------------------------------------------------------------- threads ---- */

#define N_THREADS 8
#define N_SHARED 64

/* A block that says how large it is, and with which bytes; taken out and put back by exchange. */
struct parcel {
    size_t num_bytes;
    uint64_t seed;
    unsigned char bytes[];
};

static _Atomic(struct parcel *) shelf[N_SHARED];

static struct parcel *parcel_new(size_t num_bytes, uint64_t seed)
{
    struct parcel *parcel = seed % 16 == 0 ? memalign(32768, sizeof(*parcel) + num_bytes)
                                           : malloc(sizeof(*parcel) + num_bytes);
    assert_true(parcel != NULL);
    parcel->num_bytes = num_bytes;
    parcel->seed = seed;
    fill(parcel->bytes, 0, num_bytes, seed);
    return parcel;
}

static struct parcel *parcel_grow(struct parcel *parcel, size_t num_bytes)
{
    parcel = realloc(parcel, sizeof(*parcel) + num_bytes);
    assert_true(parcel != NULL &&
                has_pattern(parcel->bytes, least(num_bytes, parcel->num_bytes), parcel->seed));
    fill(parcel->bytes, 0, num_bytes, parcel->seed);
    parcel->num_bytes = num_bytes;
    return parcel;
}

static void parcel_check_and_free(struct parcel *parcel)
{
    assert_true(parcel == NULL || has_pattern(parcel->bytes, parcel->num_bytes, parcel->seed));
    free(parcel);
}

/* Puts parcels on the shelf, and frees or grows what others have put there. */
static void *trade(void *number)
{
    uint64_t state = SEED + (uintptr_t)number;
    for (int i = 0; i < 20000; i++) {
        const uint64_t random = next_random(&state);
        const size_t num_bytes = random % 50 == 0 ? random / 50 % 100000 : random / 50 % 600;
        struct parcel *parcel = parcel_new(num_bytes, random);
        /* Acquire and release: what is in a parcel goes with it. */
        parcel = atomic_exchange_explicit(&shelf[random % N_SHARED], parcel, memory_order_acq_rel);
        if (parcel != NULL && random >> 63 != 0) {
            parcel = parcel_grow(parcel, num_bytes / 2 + 100);
        }
        parcel_check_and_free(parcel);
    }
    return NULL;
}

static void start(pthread_t *thread, void *(*run)(void *), void *argument)
{
    assert_true(pthread_create(thread, NULL, run, argument) == 0);
}

static void empty_the_shelf(void)
{
    for (size_t i = 0; i < N_SHARED; i++) {
        parcel_check_and_free(atomic_exchange(&shelf[i], NULL));
    }
}

static void test_threads_release_and_grow_each_others_blocks(void)
{
    pthread_t threads[N_THREADS];
    for (uintptr_t i = 0; i < N_THREADS; i++) {
        start(&threads[i], trade, (void *)i); /* NOLINT(performance-no-int-to-ptr): a number */
    }
    for (size_t i = 0; i < N_THREADS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    empty_the_shelf();
}

static void *make_one(void *number)
{
    return parcel_new((uintptr_t)number % 3000, (uintptr_t)number);
}

static void test_threads_that_end_leave_their_blocks(void)
{
    for (uintptr_t i = 0; i < 400; i++) {
        pthread_t thread;
        void *parcel = NULL;
        start(&thread, make_one, (void *)i); /* NOLINT(performance-no-int-to-ptr): a number */
        (void)pthread_join(thread, &parcel);
        parcel_check_and_free(parcel);
    }
}

/* ------------------------------------------------------------------------------- processes ---- */

/* What a careful child does before it becomes another program, and a careless one. */
__attribute__((noreturn)) static void become_true(char *small, char *large)
{
    char *own = opaque_block(malloc(5000));
    memcpy(own, "own", sizeof("own"));
    free(small);
    large = realloc(large, 200000);
    if (large == NULL || strcmp(large, "parent's") != 0 || strcmp(own, "own") != 0) {
        _exit(99);
    }
    free(large);
    free(own);
    (void)execlp("true", "true", (char *)NULL);
    _exit(98);
}

static void test_a_child_that_becomes_another_program_does_no_harm(void)
{
    for (int i = 0; i < 20; i++) {
        char *small = malloc(20);
        char *large = malloc(100000);
        int status = -1;
        memcpy(small, "small", sizeof("small"));
        memcpy(large, "parent's", sizeof("parent's"));
        const pid_t pid = fork();
        if (pid == 0) {
            become_true(small, large);
        }
        assert_true(waitpid(pid, &status, 0) == pid && status == 0);
        assert_true(strcmp(small, "small") == 0 && strcmp(large, "parent's") == 0);
        free(small);
        free(large);
    }
}

static void test_a_spawned_program_is_served_too(void)
{
    char *const arguments[] = {"every_call", "test_malloc_is_served_from_the_segment", NULL};
    pid_t pid;
    int status = -1;
    assert_true(posix_spawn(&pid, "/proc/self/exe", NULL, NULL, arguments, environ) == 0);
    assert_true(waitpid(pid, &status, 0) == pid && status == 0);
}

/* As a daemon does. What is leased goes on; for the rest there is libc. */
static void test_a_program_that_closes_all_descriptors_goes_on(void)
{
    static struct slot slots[200];
    uint64_t state = SEED;
    closefrom(STDERR_FILENO + 1);
    for (int i = 0; i < 20000; i++) {
        slot_step(&slots[next_random(&state) % 200], &state);
    }
    for (size_t i = 0; i < 200; i++) {
        free(slots[i].bytes);
    }
}

/* ------------------------------------------------------------------ what ends the program ---- */

static void misuse_free_twice(void)
{
    void *block = malloc(44);
    void *same = opaque_block(block);
    free(block);
    free(same); /* NOLINT(clang-analyzer-unix.Malloc): that is the test */
}

static void misuse_free_interior(void)
{
    char *block = opaque_block(malloc(4096));
    free(opaque_block(block + 128)); /* NOLINT(clang-analyzer-unix.Malloc): that is the test */
}

struct test {
    const char *name;
    void (*run)(void);
};

#define TEST(function)                                                                             \
    {                                                                                              \
#function, function                                                                        \
    }

static const struct test tests[] = {
    TEST(test_malloc_is_served_from_the_segment),
    TEST(test_malloc_of_zero_bytes_is_a_block_of_its_own),
    TEST(test_malloc_of_too_much_is_ENOMEM),
    TEST(test_malloc_in_a_full_segment_is_ENOMEM),
    TEST(test_calloc_is_zero_in_used_memory),
    TEST(test_errno_is_left_alone_by_success),
    TEST(test_realloc_of_NULL_and_to_zero),
    TEST(test_realloc_that_grows_stays_mostly_in_place),
    TEST(test_realloc_against_a_model),
    TEST(test_memalign_of_all_powers_of_two_to_1_MiB),
    TEST(test_memalign_mixed_with_malloc_against_a_model),
    TEST(test_the_other_aligned_calls),
    TEST(test_threads_release_and_grow_each_others_blocks),
    TEST(test_threads_that_end_leave_their_blocks),
    TEST(test_a_child_that_becomes_another_program_does_no_harm),
    TEST(test_a_spawned_program_is_served_too),
    TEST(test_a_program_that_closes_all_descriptors_goes_on),
    TEST(misuse_free_twice),
    TEST(misuse_free_interior),
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 2 && i < sizeof(tests) / sizeof(tests[0]); i++) {
        if (strcmp(tests[i].name, argv[1]) == 0) {
            tests[i].run();
            return EXIT_SUCCESS;
        }
    }
    (void)fputs("usage: every_call TEST\n", stderr);
    return EXIT_FAILURE;
}
