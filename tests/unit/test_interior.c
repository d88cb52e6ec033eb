/* SPDX-License-Identifier: MIT */
/*
 * test_interior.c - pointers into the middle of blocks as large as a segment
 *
 * Whatever the pointer, the answer costs some looks and no memory. Looks are counted where they are
 * reads; loads are counted by what they leave behind: the state is a sparse file here, as it is in
 * the daemon, and a load from one of its holes takes a block of it.
 */
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/core/block_iter.h"
#include "proto/lease.h"
#include "tests/unit/fixture.h"
#include "tests/unit/unit.h"
#include "tests/support/seeded.h"

/* 16 GiB. */
#define N_PAGES (UINT32_C(1) << 20)
#define BLOCK_PAGES (N_PAGES - 5000)
#define N_LOOKS 20000
/* A page number has 20 bits here: one look at each stretch that may hold the page, and one more. */
#define HEADS_MAX 21

struct file {
    void *base;
    uint64_t n_bytes;
    int fd;
};

static struct fixture fixture;
static struct file state_file;
static struct file ledger_file;
static struct ledger ledger;
static struct client *client;
static uint32_t n_reads;

static void file_open(struct file *file, uint64_t n_bytes)
{
    *file = (struct file){.n_bytes = n_bytes, .fd = memfd_create("interior", MFD_CLOEXEC)};
    assert_true(file->fd >= 0);
    assert_int_equal(ftruncate(file->fd, (off_t)n_bytes), 0);
    file->base = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
    assert_ptr_not_equal(file->base, MAP_FAILED);
}

static void file_close(struct file *file)
{
    assert_int_equal(munmap(file->base, file->n_bytes), 0);
    assert_int_equal(close(file->fd), 0);
}

static uint64_t file_used(const struct file *file)
{
    struct stat status;
    assert_int_equal(fstat(file->fd, &status), 0);
    return (uint64_t)status.st_blocks * 512;
}

static bool read_counted(void *user, uint32_t slot, uint64_t at, void *buffer, size_t n_bytes)
{
    (void)user;
    (void)slot;
    n_reads++;
    return pread(ledger_file.fd, buffer, n_bytes, (off_t)at) == (ssize_t)n_bytes;
}

static int interior_setup(void **state)
{
    fixture = (struct fixture){.now_ms = FIXTURE_BORN_MS};
    const struct core_config config = {
        .segment_name = FIXTURE_NAME,
        .n_pages = N_PAGES,
        .clients_limit = 10,
        .instance = 1,
        .ledger_read = read_counted,
    };
    ledger_layout_init(&fixture.ledger_layout, N_PAGES);
    file_open(&state_file, state_bytes(N_PAGES));
    file_open(&ledger_file, fixture.ledger_layout.total_bytes);
    assert_int_equal(core_init(&fixture.core, &config, state_file.base, FIXTURE_BORN_MS), 0);
    client = fixture_join(&fixture, 1);
    ledger_format(&ledger, ledger_file.base, N_PAGES);
    client->states = ledger.states;
    n_reads = 0;
    return 0;
}

static int interior_teardown(void **state)
{
    fixture_end(&fixture, client, false);
    core_fini(&fixture.core);
    file_close(&ledger_file);
    file_close(&state_file);
    return 0;
}

/* ---------------------------------------------------------------------------------- direct ---- */

/* Asks about places all over the segment; each must be told as `expected`. */
static void look_everywhere(int expected, uint32_t begin, uint32_t end, struct seg_off inside)
{
    struct seeded seeded = {77};
    for (uint32_t i = 0; i < N_LOOKS; i++) {
        struct block block;
        const uint64_t page = begin + seeded_below(&seeded, end - begin);
        const struct seg_off off = {page * PAGE_BYTES + 16 + seeded_below(&seeded, 1000)};
        assert_int_equal(direct_find(&fixture.core.direct, client, off, &block), expected);
        if (expected == DIRECT_E_INTERIOR) {
            assert_int_equal(block.off.bytes, inside.bytes);
        }
    }
}

static void test_direct_find_inside_a_block_of_16_GiB_takes_no_memory(void **state)
{
    const struct seg_off off = fixture_allocate(&fixture, client, BLOCK_PAGES * PAGE_BYTES, "all");
    const uint32_t begin = (uint32_t)(off.bytes / PAGE_BYTES);
    const uint64_t used = file_used(&state_file);

    look_everywhere(DIRECT_E_INTERIOR, begin, begin + BLOCK_PAGES, off);
    look_everywhere(DIRECT_E_WILD, begin + BLOCK_PAGES, N_PAGES, off);

    assert_int_equal(file_used(&state_file), used);
    fixture_release(&fixture, client, off);
}

static void test_direct_find_of_what_was_never_a_block_takes_no_memory(void **state)
{
    const uint64_t used = file_used(&state_file);
    look_everywhere(DIRECT_E_WILD, 1, N_PAGES, (struct seg_off){0});
    /* But for the bits that say where heads are: a bit for 2 MiB of the segment. */
    assert_in_range(file_used(&state_file) - used, 0, 4096);

    (void)fixture_lease(&fixture, client, BLOCK_PAGES);
    const uint64_t used_leased = file_used(&state_file);
    look_everywhere(DIRECT_E_WILD, 1, N_PAGES, (struct seg_off){0});
    assert_int_equal(file_used(&state_file), used_leased);
}

/* What is remembered of blocks that were released is remembered still. */
static void test_direct_find_remembers_a_released_block_after_a_restart(void **state)
{
    struct block block;
    const struct seg_off large = fixture_allocate(&fixture, client, 5000 * PAGE_BYTES, "large");
    const struct seg_off small = fixture_allocate(&fixture, client, 100, "small");
    fixture_release(&fixture, client, large);
    fixture_release(&fixture, client, small);
    assert_int_equal(direct_find(&fixture.core.direct, client, large, &block), DIRECT_E_RELEASED);

    core_abandon(&fixture.core);
    struct core_config config = fixture.core.config;
    fixture.core = (struct core){.config = config};
    assert_int_equal(state_attach(&fixture.core.state, state_file.base, N_PAGES), 0);
    assert_int_equal(core_open(&fixture.core), 0);
    clients_recover(&fixture.core.clients);
    client = clients_get(&fixture.core.clients, 0);

    assert_int_equal(direct_find(&fixture.core.direct, client, large, &block), DIRECT_E_RELEASED);
    assert_int_equal(direct_find(&fixture.core.direct, client, small, &block), DIRECT_E_RELEASED);
}

/* ---------------------------------------------------------------------------------- leased ---- */

/* One large block of the client's, in a lease of nearly all there is. */
static uint32_t carve_all(void)
{
    bool zero;
    const uint32_t page = fixture_lease(&fixture, client, BLOCK_PAGES);
    assert_true(lease_take(ledger.states, page, BLOCK_PAGES, &zero));
    ledger_large_open(&ledger, page, BLOCK_PAGES);
    (void)ledger_take(&ledger, page, BLOCK_PAGES * PAGE_BYTES, REASON_NONE, 0, 0);
    return page;
}

static void
test_block_find_leased_names_a_leased_block_of_16_GiB_from_each_of_its_pages(void **state)
{
    struct seeded seeded = {78};
    const uint32_t page = carve_all();

    for (uint32_t i = 0; i < N_LOOKS; i++) {
        struct block block;
        struct slab slab;
        const uint64_t at = page + seeded_below(&seeded, BLOCK_PAGES);
        n_reads = 0;
        assert_true(
            block_find_leased(&fixture.core, (struct seg_off){at * PAGE_BYTES + 5}, &block, &slab));
        assert_int_equal(block.off.bytes, page * PAGE_BYTES);
        /* The block is looked at once: its head and its entry. */
        assert_in_range(n_reads, 1, HEADS_MAX + 2);
    }
}

/* Heads that lead to blocks which are none, at every place that is looked at. */
static void test_block_find_leased_in_a_ledger_that_lies_reads_no_more(void **state)
{
    struct block block;
    struct slab slab;
    const uint32_t page = carve_all();
    const uint32_t at = N_PAGES / 2 - 1; /* as many bits as there can be */
    for (uint32_t look = at; look != 0; look = ledger_stretch_before(look)) {
        atomic_store(&ledger.heads[look].kind, HEAD_WITHIN);
        ledger.heads[look].span_pages = 1;
    }
    atomic_store(&ledger.heads[page].kind, HEAD_NONE);

    assert_false(
        block_find_leased(&fixture.core, (struct seg_off){at * PAGE_BYTES}, &block, &slab));
    assert_in_range(n_reads, 1, 3 * HEADS_MAX);
}

/* As the client's library looks: loads, from its own ledger. */
static void test_ledger_find_inside_a_block_of_16_GiB_looks_at_some_heads(void **state)
{
    struct seeded seeded = {79};
    const uint32_t page = carve_all();

    for (uint32_t i = 0; i < N_LOOKS; i++) {
        struct ledger_block block;
        const uint64_t at = page + seeded_below(&seeded, BLOCK_PAGES);
        const uint64_t used = i < 100 ? file_used(&ledger_file) : 0;
        const struct seg_off off = {at * PAGE_BYTES + 5};
        assert_int_equal(ledger_find(&ledger, off, &block), LEDGER_E_INTERIOR);
        assert_int_equal(block.page, page);
        if (i < 100) {
            assert_in_range(file_used(&ledger_file) - used, 0, HEADS_MAX * 4096);
        }
    }
}

/* Asked for the first block that begins on the second page of a slab: before there is one, while,
   from behind the slab's first page, and after. */
static void test_client_ledger_find_is_what_the_ledger_has_there(void **state)
{
    (void)state;
    const struct client_ledger *from = &fixture.core.client_ledger;
    const uint32_t size_class = fixture_class_of(7);
    const uint32_t page = fixture_lease(&fixture, client, 7);
    const uint32_t end = page + 7;
    struct ledger_block last;
    struct block block;
    struct slab slab;
    uint32_t index = 0;
    bool zero;
    assert_true(lease_take(ledger.states, page, 7, &zero));
    ledger_slab_open(&ledger, page, size_class);
    while (ledger_offset(&ledger, page, index).bytes >> PAGE_SHIFT == page) {
        index = ledger_take(&ledger, page, 100, REASON_NONE, 0, 0) + 1;
    }
    const struct seg_off off = ledger_offset(&ledger, page, index);
    assert_false(client_ledger_find(from, client, page, end, off, &block, &slab));

    (void)ledger_take(&ledger, page, 100, REASON_NONE, 0, 0);
    assert_true(client_ledger_find(from, client, page, end, off, &block, &slab));
    assert_int_equal(block.off.bytes, off.bytes);
    assert_false(client_ledger_find(from, client, page + 1, end, off, &block, &slab));
    assert_int_equal(ledger_find(&ledger, off, &last), 0);
    ledger_give(&ledger, &last);
    assert_false(client_ledger_find(from, client, page, end, off, &block, &slab));
}

#define INTERIOR_TEST(test) cmocka_unit_test_setup_teardown(test, interior_setup, interior_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        INTERIOR_TEST(test_direct_find_inside_a_block_of_16_GiB_takes_no_memory),
        INTERIOR_TEST(test_direct_find_of_what_was_never_a_block_takes_no_memory),
        INTERIOR_TEST(test_direct_find_remembers_a_released_block_after_a_restart),
        INTERIOR_TEST(test_block_find_leased_names_a_leased_block_of_16_GiB_from_each_of_its_pages),
        INTERIOR_TEST(test_block_find_leased_in_a_ledger_that_lies_reads_no_more),
        INTERIOR_TEST(test_ledger_find_inside_a_block_of_16_GiB_looks_at_some_heads),
        INTERIOR_TEST(test_client_ledger_find_is_what_the_ledger_has_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
