/* SPDX-License-Identifier: MIT */
#include "tests/unit/shares_fixture.h"

struct records records;
struct shares *const shares = &records.shares;

int shares_setup(void **state)
{
    (void)state;
    records_open(&records);
    return 0;
}

int shares_teardown(void **state)
{
    (void)state;
    records_close(&records);
    return 0;
}

void assert_sound(void)
{
    assert_int_equal(records_check(&records), 0);
}

/* Of a block of 100 bytes at a number of KiB, in the second half of the segment. */
struct share_new fresh_at(uint32_t kib)
{
    return (struct share_new){
        .off = {(UINT64_C(1) << 20) + kib * UINT64_C(1024)},
        .num_bytes = 100,
        .owner = 3,
        .tag = UINT64_C(0xfeedfacecafebeef) + kib,
        .reason = "camera",
        .n_reason_bytes = 6,
        .now = 77,
    };
}

/* Of a block in a slab of four pages, of IN_SLAB_CLASS. */
struct share_new fresh_in(uint32_t slab_page, uint32_t index)
{
    struct share_new fresh = fresh_at(0);
    const struct size_class *of = &size_classes[IN_SLAB_CLASS];
    fresh.off.bytes = ((uint64_t)slab_page << PAGE_SHIFT) + (uint64_t)index * of->block_bytes;
    fresh.place = (struct share_place){slab_page, of->span_pages, index, IN_SLAB_CLASS};
    return fresh;
}

uint32_t add(struct share_new fresh)
{
    uint32_t share;
    assert_int_equal(shares_add(shares, &fresh, &share), 0);
    assert_sound();
    return share;
}

uint32_t hold(uint32_t share, uint32_t slot)
{
    const struct hold_new fresh = {.slot = slot, .reason = "track", .n_reason_bytes = 5, .now = 78};
    uint32_t added;
    assert_int_equal(shares_hold(shares, share, &fresh, &added), 0);
    assert_sound();
    return added;
}

void let_go(uint32_t held)
{
    shares_let_go(shares, held);
    assert_sound();
}

void remove_share(uint32_t share)
{
    shares_remove(shares, share);
    assert_sound();
}

void restart(void)
{
    const char *why;
    records_abandon(&records);
    assert_int_equal(records_recover(&records, &why), 0);
    assert_null(why);
    assert_sound();
}

void assert_text(uint32_t reason, const char *wanted)
{
    size_t n_bytes;
    const char *text = reasons_text(&records.reasons, reason, &n_bytes);
    assert_int_equal(n_bytes, strlen(wanted));
    assert_memory_equal(text, wanted, n_bytes);
}
