/* SPDX-License-Identifier: MIT */
/*
 * fuzz_inherit.c - what a child is to have of a ledger that other threads are in the midst of
 *
 * The bytes are a row of acts on a ledger: slabs and large blocks are carved, blocks are taken and
 * given back; and words of it become any others, as a thread that is half done leaves them, or one
 * that writes where it should not. Then everything is copied. What the records say lies in the
 * segment, in memory that is there, and is what it was; of a sound ledger no block is missing.
 */
#include <string.h>
#include <sys/mman.h>

#include "client/context.h"
#include "client/estate.h"
#include "client/heap/shared.h"
#include "client/inherit.h"
#include "proto/lease.h"
#include "tests/fuzz/fuzz.h"

/* 62: what is behind the last page would be in another word of each table. */
#define N_PAGES 62
#define SEGMENT_BYTES ((uint64_t)N_PAGES << PAGE_SHIFT)
#define ACTS_MAX 100

static struct guard guard; /* all zero: everything is open */
static struct segment segment = {.num_bytes = SEGMENT_BYTES, .guard = &guard};
static struct allocator allocator = {.guard = &guard, .num_bytes = SEGMENT_BYTES};
static struct ledger_layout layout;
static void *ledger_file;
static bool is_sound; /* no word was spoilt */

/* In the place of client/context.c. */
struct allocator *kmem__context_allocator(void)
{
    return &allocator;
}

const struct segment *kmem__context_segment(void)
{
    return &segment;
}

bool kmem__context_has_connection(void)
{
    return false;
}

void kmem__context_forget(void)
{
}

/* ------------------------------------------------------------------------------ the ledger --- */

static void *map(uint64_t n_bytes, int flags)
{
    void *mapping = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);
    EXPECT(mapping != MAP_FAILED);
    return mapping;
}

/* Each eight bytes of the segment are where they are. */
static void prepare(void)
{
    ledger_layout_init(&layout, N_PAGES);
    ledger_file = map(layout.total_bytes, MAP_PRIVATE | MAP_NORESERVE);
    segment.base = map(SEGMENT_BYTES, MAP_SHARED);
    allocator.base = segment.base;
    for (uint64_t at = 0; at < SEGMENT_BYTES; at += sizeof(at)) {
        memcpy(segment.base + at, &at, sizeof(at));
    }
}

static void begin(void)
{
    EXPECT(madvise(ledger_file, layout.total_bytes, MADV_DONTNEED) == 0);
    ledger_format(&allocator.ledger, ledger_file, N_PAGES);
    lease_grant(allocator.ledger.states, 1, N_PAGES - 1, true);
    is_sound = true;
}

static void carve(struct choices *choices, uint32_t page)
{
    const uint32_t size_class = choose_below(choices, N_SIZE_CLASSES);
    const uint32_t span = size_classes[size_class].span_pages;
    bool is_zero;
    if (page + span <= N_PAGES && lease_take(allocator.ledger.states, page, span, &is_zero)) {
        ledger_slab_open(&allocator.ledger, page, size_class);
        lease_open_slab(allocator.ledger.states, page, span);
    }
}

static void carve_large(struct choices *choices, uint32_t page)
{
    const uint32_t span = 1 + choose_below(choices, 8);
    bool is_zero;
    if (page + span <= N_PAGES && lease_take(allocator.ledger.states, page, span, &is_zero)) {
        ledger_large_open(&allocator.ledger, page, span);
    }
}

/* A block of what begins at a page, if it is sound still. */
static void take(struct choices *choices, uint32_t page)
{
    struct ledger *ledger = &allocator.ledger;
    const struct ledger_head *head = &ledger->heads[page];
    const uint32_t kind = atomic_load(&head->kind);
    const bool has_room = kind == HEAD_LARGE  ? head->n_used == 0
                          : kind == HEAD_SLAB ? !ledger_slab_is_full(head)
                                              : false;
    if (is_sound && has_room) {
        const uint64_t most_bytes = ledger_block_bytes(ledger, page);
        (void)ledger_take(ledger, page, 1 + choose_raw(choices, 3) % most_bytes, 0, 0, 0);
    }
}

static void give(struct choices *choices, uint32_t page)
{
    struct ledger_block block;
    const struct seg_off at = {((uint64_t)page << PAGE_SHIFT) + choose_raw(choices, 2) * 16};
    if (is_sound && at.bytes < SEGMENT_BYTES && ledger_find(&allocator.ledger, at, &block) == 0 &&
        ENTRY_NUM_BYTES(atomic_load(&block.entry->word)) != 0) {
        ledger_give(&allocator.ledger, &block);
    }
}

static void spoil(struct choices *choices, uint32_t page)
{
    const struct ledger *ledger = &allocator.ledger;
    const size_t width = (size_t)1 << choose_below(choices, 4);
    const uint32_t plane = choose_below(choices, N_PLANES);
    const uint32_t at = choose_byte(choices);
    unsigned char *to =
        (unsigned char *)&ledger->planes[plane][(uint64_t)page << PLANE_SHIFT(plane)];
    switch (choose_below(choices, 3)) {
    case 0:
        to = (unsigned char *)ledger->states + page;
        break;
    case 1:
        to = (unsigned char *)&ledger->heads[page] + at % sizeof(struct ledger_head);
        break;
    default:
        to += at;
        break;
    }
    const uint64_t number = choose_number(choices);
    memcpy(to, &number, width);
    is_sound = false;
}

/* ---------------------------------------------------------------------------- what is wanted -- */

/* The bytes at an offset are the segment's, or cleared where the ledger does not say USED. */
static void check_bytes(const struct inherit_copy *copy, uint64_t begin, uint64_t num_bytes)
{
    static const unsigned char zeros[64];
    EXPECT(num_bytes <= SEGMENT_BYTES);
    EXPECT(begin <= SEGMENT_BYTES - num_bytes);
    const uint64_t n_looked = num_bytes < sizeof(zeros) ? num_bytes : sizeof(zeros);
    const uint64_t places[] = {begin, begin + num_bytes - n_looked};
    for (size_t i = 0; i < 2; i++) {
        const unsigned char *at = copy->area + places[i];
        const bool is_whole = places[i] / PAGE_BYTES == (places[i] + n_looked - 1) / PAGE_BYTES;
        EXPECT(memcmp(at, segment.base + places[i], n_looked) == 0 ||
               (!is_sound && (!is_whole || memcmp(at, zeros, n_looked) == 0)));
    }
}

static void check_records(const struct inherit_copy *copy)
{
    const struct estate *estate = copy->estate;
    EXPECT(estate->n_runs <= RUNS_MAX);
    EXPECT(estate->n_pieces <= estate->max_pieces);
    EXPECT(estate->n_slacks <= estate->max_slacks);
    for (uint32_t i = 0; i < estate->n_runs; i++) {
        EXPECT(estate->runs[i].begin < estate->runs[i].end);
        EXPECT(estate->runs[i].end <= N_PAGES);
        EXPECT(i == 0 || estate->runs[i].begin > estate->runs[i - 1].end);
    }
    for (uint32_t i = 0; i < estate->n_pieces; i++) {
        const struct piece *piece = &estate->pieces[i];
        EXPECT(i == 0 || piece->offset > piece[-1].offset);
        EXPECT(piece->n_blocks <= estate->n_slacks - piece->first_slack);
        for (uint32_t block = 0; block < piece->n_blocks; block++) {
            const uint64_t offset = piece->offset + block * piece->block_bytes;
            const uint64_t num_bytes = kmem__estate_sizeof(estate, offset);
            EXPECT(num_bytes <= piece->block_bytes);
            if (num_bytes > 0) {
                check_bytes(copy, offset, num_bytes);
            }
        }
    }
}

/* Every block of a sound ledger has its size. */
static void check_all(const struct estate *estate)
{
    const struct ledger *ledger = &allocator.ledger;
    for (uint32_t page = 1; page < N_PAGES; page++) {
        const uint32_t kind = atomic_load(&ledger->heads[page].kind);
        const bool is_open = kind == HEAD_LARGE || kind == HEAD_SLAB;
        for (uint32_t i = 0; is_open && i < ledger_n_blocks(ledger, page); i++) {
            const uint64_t word = atomic_load(&ledger_entries(ledger, page)[i].word);
            EXPECT(kmem__estate_sizeof(estate, ledger_offset(ledger, page, i).bytes) ==
                   ENTRY_NUM_BYTES(word));
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct inherit_copy copy;
    struct choices choices = choices_of(bytes, n_bytes);
    if (!ledger_file) {
        prepare();
    }
    begin();
    for (uint32_t n = 0; has_choices(&choices) && n < ACTS_MAX; n++) {
        const uint8_t act = choose_byte(&choices);
        const uint32_t page = 1 + choose_below(&choices, N_PAGES - 1);
        if (act < 50) {
            carve(&choices, page);
        } else if (act < 90) {
            carve_large(&choices, page);
        } else if (act < 160) {
            take(&choices, page);
        } else if (act < 190) {
            give(&choices, page);
        } else {
            spoil(&choices, page);
        }
    }
    EXPECT(kmem__inherit_try() == 0);
    EXPECT(kmem__inherit_copy(&copy) == 0);
    check_records(&copy);
    if (is_sound) {
        check_all(copy.estate);
    }
    kmem__inherit_drop(&copy);
    return 0;
}
