/* SPDX-License-Identifier: MIT */
/*
 * test_client_ledger.c - a reader of ledgers that says only what can be so, whatever stands in them
 *
 * The ledger is a file in memory, mapped by "the client" and read as the daemon does.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "daemon/core/client_ledger.h"
#include "proto/lease.h"
#include "proto/text.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"
#include "tests/support/seeded.h"

#define N_PAGES 128
/* The run that the page table says is the client's. */
#define BEGIN 16
#define END 112
#define SLOT 5

static int ledger_fd;
static struct ledger_layout layout;
static struct ledger ledger;
static struct client_ledger client_ledger;
static struct client client;
static bool unreadable;
static uint32_t reads_left; /* before one fails, */
static bool fails_once;     /* and no other does */

static bool ledger_read(void *user, uint32_t slot, uint64_t at, void *buffer, size_t n_bytes)
{
    assert_ptr_equal(user, &ledger);
    assert_int_equal(slot, SLOT);
    const bool fails = unreadable || reads_left == 0;
    reads_left -= reads_left > 0 || fails_once;
    return !fails && pread(ledger_fd, buffer, n_bytes, (off_t)at) == (ssize_t)n_bytes;
}

static int ledger_setup(void **state)
{
    ledger_layout_init(&layout, N_PAGES);
    ledger_fd = memfd_create("ledger", MFD_CLOEXEC);
    assert_true(ledger_fd >= 0);
    assert_int_equal(ftruncate(ledger_fd, (off_t)layout.total_bytes), 0);
    void *base = mmap(NULL, layout.total_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, ledger_fd, 0);
    assert_ptr_not_equal(base, MAP_FAILED);
    ledger_format(&ledger, base, N_PAGES);
    client = (struct client){.slot = SLOT, .states = ledger.states};
    unreadable = false;
    reads_left = UINT32_MAX;
    fails_once = false;
    assert_int_equal(client_ledger_init(&client_ledger, N_PAGES, ledger_read, &ledger), 0);
    lease_grant(ledger.states, BEGIN, END - BEGIN, false);
    return 0;
}

static int ledger_teardown(void **state)
{
    client_ledger_fini(&client_ledger);
    assert_int_equal(munmap(ledger.header, layout.total_bytes), 0);
    assert_int_equal(close(ledger_fd), 0);
    return 0;
}

/* ------------------------------------------------------------------------------ what is told -- */

struct heard {
    uint64_t n_blocks;
    uint64_t num_bytes;
    uint64_t last_end; /* blocks follow one another */
    struct block last;
};

/* What holds for every block, whatever the ledger says. */
static void hear_block(const struct block *block, struct heard *heard)
{
    assert_true(block->leased);
    assert_int_equal(block->slot, SLOT);
    assert_true(block->num_bytes >= 1);
    assert_true(block->off.bytes % BLOCK_ALIGN_BYTES == 0);
    assert_true(block->off.bytes >= BEGIN * PAGE_BYTES);
    assert_true(block->off.bytes + block->num_bytes <= END * PAGE_BYTES);
    assert_true(block->off.bytes >= heard->last_end);
    heard->last_end = block->off.bytes + block->num_bytes;
    heard->n_blocks++;
    heard->num_bytes += block->num_bytes;
    heard->last = *block;
}

/* What the ledger says of the slab that begins at a page. Return: the page behind it. */
static uint32_t hear_slab(uint32_t page, uint32_t *spent, struct heard *heard)
{
    struct ledger_head head;
    struct slab slab;
    struct block block;
    if (lease_state_of(client.states, page) != LEASE_USED ||
        !client_ledger_heads(&client_ledger, SLOT, page, 1, &head)) {
        return page + 1;
    }
    *spent += client_ledger_slab(&client_ledger, &client, &head, page, END, &slab);
    for (uint32_t i = 0; i < slab.n_blocks; i++) {
        if (client_ledger_block(&slab, i, &block)) {
            hear_block(&block, heard);
        }
    }
    return page + (slab.n_blocks > 0 ? slab.span_pages : 1);
}

static struct heard hear(void)
{
    struct heard heard = {.n_blocks = 0};
    uint32_t page = BEGIN;
    uint32_t spent = 0;
    while (page < END) {
        page = hear_slab(page, &spent, &heard);
    }
    assert_int_equal(page, END);
    assert_true(heard.num_bytes <= (END - BEGIN) * PAGE_BYTES);
    assert_in_range(spent, 0, (END - BEGIN) * (1 + PAGE_BYTES / BLOCK_ALIGN_BYTES));
    return heard;
}

static void carve(uint32_t page, uint32_t size_class)
{
    bool zero;
    assert_true(lease_take(ledger.states, page, size_classes[size_class].span_pages, &zero));
    ledger_slab_open(&ledger, page, size_class);
}

static void carve_large(uint32_t page, uint32_t n_pages, uint64_t num_bytes)
{
    bool zero;
    assert_true(lease_take(ledger.states, page, n_pages, &zero));
    ledger_large_open(&ledger, page, n_pages);
    (void)ledger_take(&ledger, page, num_bytes, 7, 99, 0);
}

static void test_client_ledger_slab_of_unused_pages_tells_nothing(void **state)
{
    assert_int_equal(hear().n_blocks, 0);
}

static void test_client_ledger_slab_tells_each_block(void **state)
{
    uint64_t num_bytes = 0;
    uint32_t page = BEGIN;
    uint32_t n_blocks = 0;
    for (uint32_t size_class = 0; size_class < N_SIZE_CLASSES; size_class++) {
        if (page + size_classes[size_class].span_pages > END - 4) {
            break;
        }
        carve(page, size_class);
        for (uint32_t i = 0; i < 3 && i < size_classes[size_class].n_blocks; i++) {
            const uint64_t block_bytes = size_classes[size_class].block_bytes - i;
            (void)ledger_take(&ledger, page, block_bytes, 3, 50, 0);
            num_bytes += block_bytes;
            n_blocks++;
        }
        page += size_classes[size_class].span_pages;
    }
    carve_large(END - 4, 3, 2 * PAGE_BYTES + 1);

    const struct heard heard = hear();

    assert_true(n_blocks > 30);
    assert_int_equal(heard.n_blocks, n_blocks + 1);
    assert_int_equal(heard.num_bytes, num_bytes + 2 * PAGE_BYTES + 1);
    assert_int_equal(heard.last.off.bytes, (END - 4) * PAGE_BYTES);
    assert_int_equal(heard.last.reason, 7);
    assert_int_equal(heard.last.born, 99);
}

static void test_client_ledger_slab_leaves_out_what_was_given_back(void **state)
{
    struct ledger_block block;
    carve(BEGIN, 0);
    for (uint32_t i = 0; i < 10; i++) {
        (void)ledger_take(&ledger, BEGIN, 16, 3, 50, 0);
    }
    const struct seg_off fourth = {BEGIN * PAGE_BYTES + UINT64_C(3) * size_classes[0].block_bytes};
    assert_int_equal(ledger_find(&ledger, fourth, &block), 0);
    ledger_give(&ledger, &block);

    assert_int_equal(hear().n_blocks, 9);
}

static void test_client_ledger_slab_of_what_can_not_be_read_tells_nothing(void **state)
{
    carve_large(BEGIN, 10, 5);
    unreadable = true;

    assert_int_equal(hear().n_blocks, 0);
}

/* -------------------------------------------------------------------------------- nonsense ---- */

/* Fills all of the ledger but the states, which say that all pages are in use. */
static void fill(struct seeded *seeded, unsigned char byte)
{
    unsigned char *bytes = (unsigned char *)ledger.heads;
    const size_t n_bytes = layout.total_bytes - layout.heads_at;
    memset(bytes, byte, n_bytes);
    for (size_t at = 0; seeded && at + 8 <= n_bytes; at += 8) {
        const uint64_t random = seeded_next(seeded);
        memcpy(bytes + at, &random, sizeof(random));
    }
    for (uint32_t page = 0; page < N_PAGES / LEASE_PAGES_PER_WORD; page++) {
        atomic_store(&ledger.states[page], UINT64_C(0x0202020202020202));
    }
}

static void test_client_ledger_slab_of_all_zeros_tells_nothing(void **state)
{
    fill(NULL, 0);

    assert_int_equal(hear().n_blocks, 0);
}

static void test_client_ledger_slab_of_all_ones_tells_nothing(void **state)
{
    fill(NULL, 0xff);

    assert_int_equal(hear().n_blocks, 0);
}

/* Random bytes, but in each head what makes it pass for one: else nothing would be looked at. */
static void heads_disguise(struct seeded *seeded)
{
    for (uint32_t page = BEGIN; page < END; page++) {
        struct ledger_head *head = &ledger.heads[page];
        const uint32_t size_class = seeded_below(seeded, N_SIZE_CLASSES + 1);
        atomic_store(&head->kind, seeded_below(seeded, 7));
        head->size_class = (uint16_t)size_class;
        head->n_carved = (uint16_t)seeded_next(seeded);
        head->span_pages = size_class < N_SIZE_CLASSES ? size_classes[size_class].span_pages
                                                       : 1 + seeded_below(seeded, 40);
    }
}

static void test_client_ledger_slab_of_random_bytes_tells_what_can_be_so(void **state)
{
    struct seeded seeded = {20261122};
    print_message("seed %llu\n", (unsigned long long)seeded.state);
    uint64_t n_blocks = 0;

    for (uint32_t i = 0; i < 10; i++) {
        fill(&seeded, 0);
        n_blocks += hear().n_blocks;
        for (uint32_t n = 0; n < 20; n++) {
            heads_disguise(&seeded);
            n_blocks += hear().n_blocks;
        }
    }
    fill(NULL, 0);
    for (uint32_t i = 0; i < N_PAGES * 1024; i++) {
        ledger.planes[3][i].word = seeded_log(&seeded, 50);
        ledger.planes[0][i % (N_PAGES * 16)].word = seeded_log(&seeded, 50);
    }
    for (uint32_t n = 0; n < 200; n++) {
        heads_disguise(&seeded);
        n_blocks += hear().n_blocks;
    }
    assert_true(n_blocks > 1000);
}

static void test_client_ledger_slab_of_a_count_beyond_capacity_tells_the_slabs_blocks(void **state)
{
    carve(BEGIN, 0);
    for (uint32_t i = 0; i < 1500; i++) {
        ledger.planes[3][BEGIN * 1024 + i].word = ENTRY_WORD(16, 1);
    }
    ledger.heads[BEGIN].n_carved = UINT16_MAX;

    assert_int_equal(hear().n_blocks, size_classes[0].n_blocks);
}

static void test_client_ledger_slab_leaves_out_heads_that_can_not_be_so(void **state)
{
    carve_large(BEGIN, 10, 5);
    struct ledger_head *head = &ledger.heads[BEGIN];
    const struct ledger_head sound = *head;
    assert_int_equal(hear().n_blocks, 1);

    head->span_pages = 0;
    assert_int_equal(hear().n_blocks, 0);
    head->span_pages = END - BEGIN + 1;
    assert_int_equal(hear().n_blocks, 0);
    head->span_pages = UINT32_MAX;
    assert_int_equal(hear().n_blocks, 0);
    *head = sound;
    atomic_store(&head->kind, HEAD_SLAB); /* of class 0, which has one page */
    head->n_carved = 1;
    assert_int_equal(hear().n_blocks, 0);
    head->size_class = N_SIZE_CLASSES;
    assert_int_equal(hear().n_blocks, 0);
    for (uint32_t kind = HEAD_INTERIOR; kind < 10; kind++) {
        *head = sound;
        atomic_store(&head->kind, kind);
        assert_int_equal(hear().n_blocks, 0);
    }
}

static void test_client_ledger_slab_leaves_out_sizes_that_can_not_be_so(void **state)
{
    carve_large(BEGIN, 3, 3 * PAGE_BYTES);
    struct ledger_entry *entry = &ledger.planes[0][(size_t)BEGIN * 16];
    assert_int_equal(hear().num_bytes, 3 * PAGE_BYTES);

    atomic_store(&entry->word, ENTRY_WORD(3 * PAGE_BYTES + 1, 1));
    assert_int_equal(hear().n_blocks, 0);
    atomic_store(&entry->word, ENTRY_WORD(0, 1));
    assert_int_equal(hear().n_blocks, 0);
    atomic_store(&entry->word, UINT64_MAX);
    assert_int_equal(hear().n_blocks, 0);
    atomic_store(&entry->word, ENTRY_WORD(1, ENTRY_REASONS_MAX - 1));
    atomic_store(&entry->born, UINT32_MAX);
    assert_int_equal(hear().last.reason, ENTRY_REASONS_MAX - 1);
}

/* ------------------------------------------------------------------------ reads that fail ---- */

#define OFF_OF(page) ((struct seg_off){(uint64_t)(page) << PAGE_SHIFT})

static bool find(uint32_t page)
{
    struct block block;
    struct slab slab;
    return client_ledger_find(&client_ledger, &client, BEGIN, END, OFF_OF(page), &block, &slab);
}

static uint32_t n_blocks_of_slab_of(uint32_t page)
{
    struct slab slab;
    (void)client_ledger_slab_of(&client_ledger, &client, BEGIN, page, END, &slab);
    return slab.n_blocks;
}

/* More reads than any question needs. */
#define READS_MAX 100

/* Return: of READS_MAX, how often it was found, when another read fails each time. */
static uint32_t find_when_reads_fail(uint32_t page, bool once)
{
    uint32_t n_found = 0;
    fails_once = once;
    for (uint32_t n = 0; n < READS_MAX; n++) {
        reads_left = n;
        const bool is_found = find(page);
        reads_left = n;
        const uint32_t n_blocks = n_blocks_of_slab_of(page);
        assert_true(n_blocks <= 1);
        n_found += is_found && n_blocks == 1;
    }
    reads_left = UINT32_MAX;
    return n_found;
}

static void test_client_ledger_finds_nothing_or_the_block_whichever_read_fails(void **state)
{
    carve_large(BEGIN, 10, 10 * PAGE_BYTES);
    const uint32_t page = BEGIN + 9;

    assert_in_range(find_when_reads_fail(page, false), 1, READS_MAX - 1);
    assert_in_range(find_when_reads_fail(page, true), 1, READS_MAX);
    assert_true(find(page));
    assert_int_equal(n_blocks_of_slab_of(page), 1);
}

static void test_client_ledger_slab_of_whichever_read_fails_tells_the_slab_or_nothing(void **state)
{
    const uint32_t size_class = N_SIZE_CLASSES - 1; /* of several pages */
    carve(BEGIN, size_class);
    (void)ledger_take(&ledger, BEGIN, size_classes[size_class].block_bytes, 7, 99, 0);
    const uint32_t page = BEGIN + size_classes[size_class].span_pages - 1;
    uint32_t n_told = 0;

    for (uint32_t n = 0; n < READS_MAX; n++) {
        reads_left = n;
        const uint32_t n_blocks = n_blocks_of_slab_of(page);
        assert_true(n_blocks <= size_classes[size_class].n_blocks);
        n_told += n_blocks > 0;
    }

    assert_in_range(n_told, 1, READS_MAX - 1);
}

static void test_client_ledger_of_what_can_not_be_read_is_not_idle_nor_fenced(void **state)
{
    carve(BEGIN, 0);
    assert_true(client_ledger_slab_is_idle(&client_ledger, SLOT, BEGIN, 0));
    assert_false(client_ledger_slab_is_idle(&client_ledger, SLOT, BEGIN, 1));
    assert_false(client_ledger_slab_is_idle(&client_ledger, SLOT, BEGIN + 1, 0));
    assert_in_range(client_ledger_n_used_pages(&client_ledger, SLOT), 0, N_PAGES);
    reads_left = 1;
    assert_false(client_ledger_slab_is_idle(&client_ledger, SLOT, BEGIN, 0));
    unreadable = true;
    assert_false(client_ledger_slab_is_idle(&client_ledger, SLOT, BEGIN, 0));
    assert_false(client_ledger_is_fenced(&client_ledger, SLOT));
    assert_int_equal(client_ledger_n_used_pages(&client_ledger, SLOT), UINT32_MAX);
    unreadable = false;
    reads_left = UINT32_MAX;
    ledger.header->n_used_pages = N_PAGES + 1;
    assert_int_equal(client_ledger_n_used_pages(&client_ledger, SLOT), UINT32_MAX);
}

/* ----------------------------------------------------------------------- a client that races -- */

static _Atomic bool race_ends;

/* Writes whole words all over the ledger while it is read. */
static void *race(void *user)
{
    struct seeded seeded = {*(const uint64_t *)user};
    _Atomic uint64_t *words = (void *)ledger.heads;
    const uint32_t n_head_words = N_PAGES * sizeof(struct ledger_head) / 8;
    while (!atomic_load_explicit(&race_ends, memory_order_relaxed)) {
        const uint32_t page = BEGIN + seeded_below(&seeded, END - BEGIN);
        const uint32_t size_class = seeded_below(&seeded, N_SIZE_CLASSES);
        const uint64_t first = HEAD_SLAB + seeded_below(&seeded, 2) +
                               ((uint64_t)size_classes[size_class].span_pages << 32);
        atomic_store(&words[(size_t)page * 4], first);
        atomic_store(&words[(size_t)page * 4 + 1], size_class | seeded_next(&seeded) << 32);
        atomic_store(&words[seeded_below(&seeded, n_head_words)], seeded_next(&seeded));
        const uint32_t entry = seeded_below(&seeded, N_PAGES * 1024);
        atomic_store(&ledger.planes[3][entry].word, seeded_log(&seeded, 20));
        atomic_store(&ledger.planes[0][entry % (N_PAGES * 16)].word, seeded_log(&seeded, 20));
        atomic_store(&ledger.states[seeded_below(&seeded, N_PAGES / 8)],
                     UINT64_C(0x0202020202020202) + seeded_below(&seeded, 4));
    }
    return NULL;
}

static void test_client_ledger_slab_while_the_client_writes_tells_what_can_be_so(void **state)
{
    uint64_t seed = 42;
    print_message("seed %llu\n", (unsigned long long)seed);
    pthread_t writer;
    uint64_t n_blocks = 0;
    fill(NULL, 0);
    atomic_store(&race_ends, false);
    assert_int_equal(pthread_create(&writer, NULL, race, &seed), 0);

    /* Until enough has been told; the bound ends it if nothing ever is. */
    for (uint32_t i = 0; i < 20000 && (i < 500 || n_blocks < 10000); i++) {
        n_blocks += hear().n_blocks;
    }

    atomic_store(&race_ends, true);
    assert_int_equal(pthread_join(writer, NULL), 0);
    assert_true(n_blocks >= 10000);
}

/* --------------------------------------------------------------------------------- reasons ---- */

static void put_reason(uint32_t id, const char *bytes, uint8_t n_bytes)
{
    memset(&ledger.reasons[id], 0, sizeof(ledger.reasons[id]));
    ledger.reasons[id].n_bytes = n_bytes;
    memcpy(ledger.reasons[id].bytes, bytes, n_bytes < 127 ? n_bytes : 127);
}

static void assert_told(uint32_t id, const char *words)
{
    char text[REASON_MAX_BYTES + 1];
    memset(text, 'x', sizeof(text));
    const size_t n_bytes = client_ledger_reason(&client_ledger, SLOT, id, text);
    assert_int_equal(n_bytes, strlen(words));
    assert_memory_equal(text, words, n_bytes);
    assert_int_equal(text[REASON_MAX_BYTES], 'x');
}

static void test_client_ledger_reason_is_what_the_client_wrote(void **state)
{
    char longest[REASON_MAX_BYTES + 1];
    memset(longest, 'r', sizeof(longest));
    longest[REASON_MAX_BYTES] = '\0';
    put_reason(2, "video/frame", 11);
    put_reason(LEDGER_REASONS_MAX - 1, longest, REASON_MAX_BYTES);

    assert_told(2, "video/frame");
    assert_told(LEDGER_REASONS_MAX - 1, longest);
}

static void test_client_ledger_reason_that_can_not_be_so_is_unverified(void **state)
{
    char filled[128];
    memset(filled, 'r', sizeof(filled));
    put_reason(2, filled, 0);
    put_reason(3, filled, 128); /* as if it went on into the next one */
    put_reason(4, filled, 255);
    put_reason(5, "a\0b", 3);
    put_reason(6, "\xff\xfe", 2);
    put_reason(7, "half\xc3", 5);

    for (uint32_t id = 2; id <= 7; id++) {
        assert_told(id, "<unverified>");
    }
    assert_told(LEDGER_REASONS_MAX, "<unverified>");
    assert_told(UINT32_MAX, "<unverified>");
    unreadable = true;
    put_reason(2, "fine", 4);
    assert_told(2, "<unverified>");
}

static void test_client_ledger_reason_of_random_bytes_is_text(void **state)
{
    struct seeded seeded = {7};
    print_message("seed %llu\n", (unsigned long long)seeded.state);
    for (uint32_t i = 0; i < 5000; i++) {
        uint64_t words[sizeof(struct ledger_reason) / 8];
        for (size_t word = 0; word < sizeof(words) / sizeof(words[0]); word++) {
            words[word] = seeded_next(&seeded) & UINT64_C(0x7f7f7f7f7f7f7f7f);
        }
        memcpy(&ledger.reasons[2], words, sizeof(words));
        char text[REASON_MAX_BYTES];
        const size_t n_bytes = client_ledger_reason(&client_ledger, SLOT, 2, text);
        assert_in_range(n_bytes, 1, REASON_MAX_BYTES);
        assert_true(text_is_utf8((const unsigned char *)text, n_bytes));
    }
}

static void assert_told_of_many(struct ledger_reasons_read *read, uint32_t id, const char *words)
{
    char text[REASON_MAX_BYTES];
    const size_t n_bytes = client_ledger_reason_of_many(&client_ledger, read, SLOT, id, text);
    assert_int_equal(n_bytes, strlen(words));
    assert_memory_equal(text, words, n_bytes);
}

static void test_client_ledger_reason_of_many_reads_neighbours_at_once(void **state)
{
    struct ledger_reasons_read read;
    client_ledger_reasons_init(&read);
    put_reason(16, "a", 1);
    put_reason(23, "b", 1);
    put_reason(16 + LEDGER_REASONS_A_READ * LEDGER_REASON_READS, "c", 1);
    reads_left = 2;
    for (unsigned i = 0; i < 3; i++) {
        assert_told_of_many(&read, 16, "a");
        assert_told_of_many(&read, 23, "b");
    }
    assert_told_of_many(&read, 16 + LEDGER_REASONS_A_READ * LEDGER_REASON_READS, "c");
    assert_told_of_many(&read, 16, "<unverified>"); /* its place is taken; it can not be read */
    assert_told_of_many(&read, 23, "<unverified>");
    assert_told_of_many(&read, LEDGER_REASONS_MAX, "<unverified>");
}

static void test_client_ledger_init_without_memory_is_ENOMEM(void **state)
{
    struct client_ledger other;

    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        const int r = client_ledger_init(&other, N_PAGES, ledger_read, &ledger);
        assert_int_equal(r, fail_end() ? -ENOMEM : 0);
    }
    client_ledger_fini(&other);
}

#define LEDGER_TEST(test) cmocka_unit_test_setup_teardown(test, ledger_setup, ledger_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEDGER_TEST(test_client_ledger_slab_of_unused_pages_tells_nothing),
        LEDGER_TEST(test_client_ledger_slab_tells_each_block),
        LEDGER_TEST(test_client_ledger_slab_leaves_out_what_was_given_back),
        LEDGER_TEST(test_client_ledger_slab_of_what_can_not_be_read_tells_nothing),
        LEDGER_TEST(test_client_ledger_slab_of_all_zeros_tells_nothing),
        LEDGER_TEST(test_client_ledger_slab_of_all_ones_tells_nothing),
        LEDGER_TEST(test_client_ledger_slab_of_random_bytes_tells_what_can_be_so),
        LEDGER_TEST(test_client_ledger_slab_of_a_count_beyond_capacity_tells_the_slabs_blocks),
        LEDGER_TEST(test_client_ledger_slab_leaves_out_heads_that_can_not_be_so),
        LEDGER_TEST(test_client_ledger_slab_leaves_out_sizes_that_can_not_be_so),
        LEDGER_TEST(test_client_ledger_finds_nothing_or_the_block_whichever_read_fails),
        LEDGER_TEST(test_client_ledger_slab_of_whichever_read_fails_tells_the_slab_or_nothing),
        LEDGER_TEST(test_client_ledger_of_what_can_not_be_read_is_not_idle_nor_fenced),
        LEDGER_TEST(test_client_ledger_slab_while_the_client_writes_tells_what_can_be_so),
        LEDGER_TEST(test_client_ledger_reason_is_what_the_client_wrote),
        LEDGER_TEST(test_client_ledger_reason_that_can_not_be_so_is_unverified),
        LEDGER_TEST(test_client_ledger_reason_of_many_reads_neighbours_at_once),
        LEDGER_TEST(test_client_ledger_reason_of_random_bytes_is_text),
        LEDGER_TEST(test_client_ledger_init_without_memory_is_ENOMEM),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
