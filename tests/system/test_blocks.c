/* SPDX-License-Identifier: MIT */
/*
 * test_blocks.c - what several real processes get from one daemon
 *
 * Every block is filled with a pattern that only its owner can know, and read again before it is
 * released: if two blocks overlapped, or one came to somebody while another still had it, the
 * pattern would be gone.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/support/seeded.h"
#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"

#define PAGE_BYTES_OF_CPU 4096
#define N_LIVE_MAX 64
#define N_CLIENTS_MAX 500

/* --------------------------------------------------------------------------- patterns ---- */

struct held {
    unsigned char *bytes;
    size_t num_bytes;
    uint64_t key;
    size_t first; /* bytes from here on are looked at ... */
    size_t step;  /* ... 8 in every step; 8: all of them */
};

static uint64_t pattern_word(const struct held *held, size_t at)
{
    return (held->key + at) * UINT64_C(0x9e3779b97f4a7c15);
}

static size_t width_at(const struct held *held, size_t at)
{
    return held->num_bytes - at < 8 ? held->num_bytes - at : 8;
}

static void expect_word(const struct held *held, size_t at, uint64_t want, const char *what)
{
    if (memcmp(held->bytes + at, &want, width_at(held, at)) != 0) {
        fail("byte %zu of a block of %zu at offset %llu %s", at, held->num_bytes,
             (unsigned long long)kmem_offset_of(held->bytes), what);
    }
}

/* The last byte is always looked at; the steps may pass over it. */
static void expect_zero(const struct held *held)
{
    for (size_t at = held->first; at < held->num_bytes; at += held->step) {
        expect_word(held, at, 0, "is not zero");
    }
    expect_word(held, held->num_bytes - 1, 0, "is not zero");
}

static void stamp(const struct held *held)
{
    for (size_t at = held->first; at < held->num_bytes; at += held->step) {
        const uint64_t word = pattern_word(held, at);
        memcpy(held->bytes + at, &word, width_at(held, at));
    }
}

static void expect_stamp(const struct held *held)
{
    for (size_t at = held->first; at < held->num_bytes; at += held->step) {
        expect_word(held, at, pattern_word(held, at), "was changed by somebody else");
    }
}

static void expect_placed(const struct held *held, uint64_t segment_bytes)
{
    const uint64_t offset = kmem_offset_of(held->bytes);
    const uintptr_t align_bytes = held->num_bytes < 64 ? 16 : 64;
    expect_equal((uintptr_t)held->bytes % align_bytes, 0);
    expect_equal(offset % align_bytes, 0);
    expect_true(offset != 0);
    expect_at_most(offset + held->num_bytes, segment_bytes);
}

/* ---------------------------------------------------------------------- random blocks ---- */

struct random_work {
    uint64_t seed;
    uint64_t n_blocks;
    uint64_t segment_bytes;
};

/*
 * As many from 1 to 2 bytes as from 32 KiB to 64, and as from 4 MiB to 8 that many from 64 KiB to
 * 128: uniform in the logarithm. 8 MiB itself included. Of larger blocks than 64 KiB, whose zeros
 * are nearly all of the work, one in LARGE_STRIDE is taken: that leaves 38,000 of a million.
 */
#define LARGE_STRIDE 8
#define SMALL_EXPONENTS 16
#define EXPONENTS 23

static size_t random_size(struct seeded *seeded)
{
    unsigned int exponent = (unsigned int)(seeded_next(seeded) % EXPONENTS);
    if (exponent >= SMALL_EXPONENTS && seeded_next(seeded) % harness_stride(LARGE_STRIDE) != 0) {
        exponent = (unsigned int)(seeded_next(seeded) % SMALL_EXPONENTS);
    }
    return ((size_t)1 << exponent) + seeded_next(seeded) % (((size_t)1 << exponent) + 1);
}

static struct held take_block(struct seeded *seeded, uint64_t sequence, uint64_t segment_bytes)
{
    struct held held = {.num_bytes = random_size(seeded), .first = 0, .step = 8};
    held.key = seeded_next(seeded) ^ ((uint64_t)getpid() << 32);
    /* All bytes of a small block and of every 64th large one; of the others 8 in each page. */
    if (held.num_bytes > 65536 && sequence % 64 != 0) {
        held.first = seeded_next(seeded) % (PAGE_BYTES_OF_CPU / 8) * 8;
        held.step = PAGE_BYTES_OF_CPU;
    }
    held.bytes = kmem_try_allocate(held.num_bytes, "random");
    if (held.bytes == NULL) {
        fail("%s", kmem_last_error());
    }
    expect_placed(&held, segment_bytes);
    expect_zero(&held);
    stamp(&held);
    return held;
}

static void return_block(struct held *held, uint64_t sequence)
{
    size_t num_bytes = 0;
    expect_stamp(held);
    if (sequence % 16 == 0) {
        expect_equal(kmem_try_sizeof(held->bytes, &num_bytes), 0);
        expect_equal(num_bytes, held->num_bytes);
    }
    expect_equal(kmem_try_release((void **)&held->bytes), 0);
    expect_true(held->bytes == NULL);
}

static void churn_random_blocks(const void *argument)
{
    const struct random_work *const work = argument;
    struct held live[N_LIVE_MAX] = {{.bytes = NULL}};
    struct seeded seeded = {work->seed};
    for (uint64_t sequence = 1; sequence <= work->n_blocks; sequence++) {
        struct held *const held = &live[seeded_next(&seeded) % N_LIVE_MAX];
        if (held->bytes != NULL) {
            return_block(held, sequence);
        }
        *held = take_block(&seeded, sequence, work->segment_bytes);
        if (sequence == work->n_blocks / 2) {
            client_say(sequence);
            client_await();
        }
    }
    for (size_t i = 0; i < N_LIVE_MAX; i++) {
        if (live[i].bytes != NULL) {
            return_block(&live[i], i);
        }
    }
}

static void test_a_million_random_blocks_are_zero_aligned_inside_and_apart(void)
{
    const uint64_t n_blocks = harness_scaled(1000000);
    daemon_start("--size", "256MiB", NULL);
    struct random_work work = {.n_blocks = n_blocks / 2,
                               .segment_bytes = usage_take().segment_bytes};
    struct client clients[2];
    for (size_t i = 0; i < 2; i++) {
        work.seed = 20240229 + i;
        clients[i] = client_start(churn_random_blocks, &work);
    }
    harness_note("%llu blocks, seeds 20240229 and 20240230", (unsigned long long)n_blocks);
    for (size_t i = 0; i < 2; i++) {
        client_hear(&clients[i]);
    }
    expect_ledger_sound(); /* both hold some 60 blocks and wait */
    for (size_t i = 0; i < 2; i++) {
        client_tell(&clients[i], 1);
    }
    for (size_t i = 0; i < 2; i++) {
        client_end(&clients[i]);
    }
    daemon_stop_balanced();
}

/* ------------------------------------------------------------------------------ sizes ---- */

static void expect_exact_size(size_t num_bytes)
{
    void *block = kmem_try_allocate(num_bytes, "sized");
    size_t got_bytes = 0;
    if (block == NULL) {
        fail("%zu bytes: %s", num_bytes, kmem_last_error());
    }
    expect_equal(kmem_try_sizeof(block, &got_bytes), 0);
    expect_equal(got_bytes, num_bytes);
    expect_equal(kmem_sizeof_allocation(block), num_bytes);
    expect_equal(kmem_try_release(&block), 0);
}

static void ask_exact_sizes(const void *argument)
{
    (void)argument;
    for (size_t num_bytes = 1; num_bytes <= 1100; num_bytes++) {
        expect_exact_size(num_bytes);
    }
    for (unsigned int shift = 10; shift <= 23; shift++) {
        for (size_t above = 0; above < 3; above++) {
            expect_exact_size(((size_t)1 << shift) - 1 + above);
            expect_exact_size(((size_t)3 << (shift - 1)) - 1 + above);
        }
    }
}

static void test_sizes_are_exact(void)
{
    daemon_start("--size", "64MiB", NULL);
    client_run(ask_exact_sizes, NULL);
    daemon_stop_balanced();
}

static void hold_the_whole_segment(const void *argument)
{
    const uint64_t *const num_bytes = argument;
    unsigned char *block = kmem_try_allocate(*num_bytes, "everything");
    expect_call(block != NULL);
    block[*num_bytes - 1] = 1;
    client_pause();
    expect_equal(kmem_try_release((void **)&block), 0);
}

static void test_one_block_can_be_all_that_is_free(void)
{
    daemon_start(NULL, NULL);
    const uint64_t hole_bytes = usage_take().largest_hole_bytes;
    expect_at_least(hole_bytes, (16 << 20) - (1 << 16));
    struct client client = client_begin(hold_the_whole_segment, &hole_bytes);
    expect_usage(hole_bytes, 1);
    expect_equal(usage_take().largest_hole_bytes, 0);
    client_finish(&client);
    daemon_stop_balanced();
}

/* ------------------------------------------------------------------ several processes ---- */

static void take_ten_sizes(unsigned int number, void **blocks)
{
    for (unsigned int i = 0; i < 10; i++) {
        /* Ten different sizes from 1 to 1,000; another ten for most clients. */
        blocks[i] = kmem_try_allocate(1 + (number * 37 + i * 101) % 1000, "ten sizes");
        if (blocks[i] == NULL) {
            fail("client %u, block %u: %s", number, i, kmem_last_error());
        }
    }
}

/* And when it is told to, another of each. */
static void hold_ten_sizes(const void *argument)
{
    const unsigned int number = *(const unsigned int *)argument;
    void *blocks[20];
    take_ten_sizes(number, blocks);
    client_pause();
    take_ten_sizes(number, blocks + 10);
    client_pause();
    for (unsigned int i = 0; i < 20; i++) {
        expect_equal(kmem_try_release(&blocks[i]), 0);
    }
}

/* Of pages with a live block: the others are taken back when memory gets short, as with 500. */
static uint64_t bytes_of_used_leases(void)
{
    const struct usage usage = usage_take();
    return usage.leased_bytes - usage.idle_bytes;
}

static void test_500_clients_with_ten_sizes_each_fit_16_mib(void)
{
    static struct client clients[N_CLIENTS_MAX];
    const unsigned int n_clients = (unsigned int)harness_scaled(500);
    uint64_t num_bytes = 0;
    daemon_start("--size", "16MiB", NULL);
    for (unsigned int number = 0; number < n_clients; number++) {
        clients[number] = client_begin(hold_ten_sizes, &number);
        for (unsigned int i = 0; i < 10; i++) {
            num_bytes += 1 + (number * 37 + i * 101) % 1000;
        }
    }
    const struct usage usage = usage_take();
    harness_note("%u clients hold %llu bytes; overhead %llu, free %llu", n_clients,
                 (unsigned long long)usage.used_bytes, (unsigned long long)usage.overhead_bytes,
                 (unsigned long long)usage.free_bytes);
    expect_usage(num_bytes, UINT64_C(10) * n_clients);
    expect_equal(usage.clients, n_clients);
    expect_equal(usage.leased_bytes, 0); /* a page for each of them would be too much */
    expect_ledger_sound();
    for (unsigned int number = 0; number < n_clients; number++) {
        client_resume(&clients[number]);
    }
    expect_usage(2 * num_bytes, UINT64_C(20) * n_clients);
    /* The first had pages of their own, until half of the segment was in use. */
    expect_at_least(usage_take().leased_bytes, 1);
    expect_soon(bytes_of_used_leases() <= 8 << 20, 5000);
    expect_ledger_sound();
    for (unsigned int number = 0; number < n_clients; number++) {
        client_finish(&clients[number]);
    }
    daemon_stop_balanced();
}

/* At least so often; and whether it was told is asked now and then. */
static void churn_until_told(const void *argument)
{
    struct seeded seeded = {*(const uint64_t *)argument};
    void *live[32] = {NULL};
    const uint64_t n_least = harness_scaled(2000000);
    bool is_told = false;
    for (uint64_t i = 0; i < n_least || !is_told; i++) {
        is_told = is_told || (i % 1024 == 0 && client_was_told());
        void **const block = &live[seeded_next(&seeded) % 32];
        expect_equal(kmem_try_release(block), 0);
        *block = kmem_try_allocate(1 + seeded_next(&seeded) % 20000, "churn/worker#1");
        expect_call(*block != NULL);
    }
    for (unsigned int i = 0; i < 32; i++) {
        expect_equal(kmem_try_release(&live[i]), 0);
    }
    void *const kept[2] = {kmem_try_allocate(44, "kept/first"),
                           kmem_try_allocate(101, "kept/second#of two")};
    expect_true(kept[0] != NULL && kept[1] != NULL);
    client_pause();
}

static uint64_t blocks_of(const char *key, const struct ledger_row *rows, size_t n_rows)
{
    uint64_t n_blocks = 0;
    for (size_t i = 0; i < n_rows; i++) {
        n_blocks += strcmp(rows[i].key, key) == 0 ? rows[i].n_blocks : 0;
    }
    return n_blocks;
}

/* Three at a time: so many are asked while all run. */
#define QUESTIONS_LEAST 12

static void test_ledger_is_asked_while_four_processes_run(void)
{
    struct client clients[4];
    struct ledger_row rows[16];
    unsigned int n_questions = 0;
    daemon_start("--size", "64MiB", NULL);
    for (uint64_t i = 0; i < 4; i++) {
        const uint64_t seed = 7919 + i;
        clients[i] = client_start(churn_until_told, &seed);
    }
    expect_soon(usage_take().clients == 4, 5000);
    for (uint64_t n_kept = 0; n_kept < 4;) {
        for (size_t i = 0; i < 4 && n_questions == QUESTIONS_LEAST; i++) {
            client_tell(&clients[i], 1);
        }
        (void)usage_take(); /* wants the sum to be right */
        expect_at_most(ledger_rows(KMEM__GROUP_BY__GROUP_BY_CLIENT, rows, 16), 4);
        const size_t n_rows = ledger_rows(KMEM__GROUP_BY__GROUP_BY_REASON, rows, 16);
        expect_at_most(n_rows, 3);
        n_kept = blocks_of("kept/second", rows, n_rows);
        n_questions += 3;
    }
    for (size_t i = 0; i < 4; i++) {
        client_hear(&clients[i]);
    }
    harness_note("%u questions while they ran", n_questions);
    expect_ledger_sound();
    expect_usage(UINT64_C(4) * (44 + 101), 8);
    expect_ledger_row("kept/first", 4, UINT64_C(4) * 44);
    expect_ledger_row("kept/second", 4, UINT64_C(4) * 101); /* what follows '#' is dropped */
    for (size_t i = 0; i < 4; i++) {
        expect_equal(client_row_of(clients[i].pid).num_bytes, 44 + 101);
        client_finish(&clients[i]);
    }
    daemon_stop_balanced();
}

static void write_a_greeting(const void *argument)
{
    (void)argument;
    char *block = kmem_try_allocate(101, "greeting");
    expect_call(block != NULL);
    (void)snprintf(block, 101, "written by %d", (int)getpid());
    client_say(kmem_offset_of(block));
    client_await();
    expect_text(block, "read and answered");
}

static void answer_a_greeting(const void *argument)
{
    (void)argument;
    char text[64];
    const uint64_t offset = client_await();
    const uint64_t writer = client_await();
    (void)setenv("KMEM_GUARD", "off", 1); /* it writes into another's block */
    char *own = kmem_try_allocate(1, "to learn where the segment is mapped");
    expect_call(own != NULL);
    char *const theirs = own - kmem_offset_of(own) + offset;
    (void)snprintf(text, sizeof(text), "written by %d", (int)writer);
    expect_text(theirs, text);
    (void)snprintf(theirs, 101, "read and answered");
    client_say(1);
}

static void test_an_offset_means_the_same_bytes_in_every_process(void)
{
    daemon_start(NULL, NULL);
    struct client writer = client_start(write_a_greeting, NULL);
    struct client reader = client_start(answer_a_greeting, NULL);
    client_tell(&reader, client_hear(&writer));
    client_tell(&reader, (uint64_t)writer.pid);
    client_hear(&reader);
    client_tell(&writer, 1);
    client_end(&reader);
    client_end(&writer);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_sizes_are_exact, 20),
    SYSTEM_TEST(test_one_block_can_be_all_that_is_free, 10),
    SYSTEM_TEST(test_an_offset_means_the_same_bytes_in_every_process, 10),
    SYSTEM_TEST(test_ledger_is_asked_while_four_processes_run, 60),
    SYSTEM_TEST(test_500_clients_with_ten_sizes_each_fit_16_mib, 60),
    SYSTEM_TEST(test_a_million_random_blocks_are_zero_aligned_inside_and_apart, 600),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
