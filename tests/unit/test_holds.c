/* SPDX-License-Identifier: MIT */
/* The table of what this process holds, beside a naive one. */
#include <errno.h>
#include <string.h>

#include "client/map/holds.h"
#include "tests/support/seeded.h"
#include "tests/unit/unit.h"

#define N_PLACES 3000

static struct holds holds;

static struct hold hold_at(uint64_t place, uint32_t count)
{
    return (struct hold){.offset = 16 * (place + 1),
                         .generation = place + 100,
                         .tag = place ^ 0xabcd,
                         .num_bytes = 10 + place,
                         .count = count,
                         .access = HOLD_READS};
}

static struct share_handle handle_at(uint64_t place)
{
    const struct hold hold = hold_at(place, 0);
    return (struct share_handle){1, hold.generation, hold.tag, hold.offset, hold.num_bytes};
}

static struct seg_off off_at(uint64_t place)
{
    return (struct seg_off){16 * (place + 1)};
}

static void put(uint64_t place, uint32_t count)
{
    const struct hold hold = hold_at(place, count);
    assert_int_equal(kmem__holds_reserve(&holds, 1), 0);
    kmem__holds_add(&holds, &hold);
}

static int teardown(void **state)
{
    kmem__holds_fini(&holds);
    return 0;
}

static void test_holds_all_zero_hold_nothing(void **state)
{
    struct hold hold;
    const struct share_handle handle = handle_at(1);
    assert_false(kmem__holds_again(&holds, &handle, 1, false));
    assert_false(kmem__holds_drop(&holds, off_at(1)));
    assert_false(kmem__holds_find(&holds, off_at(1), &hold));
    assert_int_equal(kmem__holds_begin(&holds, off_at(1), &hold), HOLDS_NONE);
    kmem__holds_end(&holds, off_at(1), true);
    assert_true(kmem__holds_check(&holds));
}

static void test_holds_again_wants_every_number_of_the_handle(void **state)
{
    put(7, 1);
    struct share_handle handle = handle_at(7);
    assert_true(kmem__holds_again(&holds, &handle, 1, false));
    assert_false(kmem__holds_again(&holds, &handle, 1, true)); /* it may not be written */
    handle.tag++;
    assert_false(kmem__holds_again(&holds, &handle, 1, false));
    handle = handle_at(7);
    handle.generation++;
    assert_false(kmem__holds_again(&holds, &handle, 1, false));
    handle = handle_at(7);
    handle.num_bytes++;
    assert_false(kmem__holds_again(&holds, &handle, 1, false));
    handle = handle_at(7);
    handle.offset += 16;
    assert_false(kmem__holds_again(&holds, &handle, 1, false));
    assert_true(kmem__holds_drop(&holds, off_at(7)));
    assert_false(kmem__holds_drop(&holds, off_at(7))); /* it was counted twice, no more */
}

static void test_holds_again_counts_all_or_none(void **state)
{
    struct hold hold;
    const struct share_handle handles[] = {handle_at(1), handle_at(2)};
    put(1, 1);
    assert_false(kmem__holds_again(&holds, handles, 2, false));
    assert_true(kmem__holds_find(&holds, off_at(1), &hold));
    assert_int_equal(hold.count, 1);
    put(2, 1);
    assert_true(kmem__holds_again(&holds, handles, 2, false));
    assert_true(kmem__holds_find(&holds, off_at(1), &hold));
    assert_int_equal(hold.count, 2);
}

static void test_holds_of_a_handle_that_is_not_known_are_asked_for(void **state)
{
    const struct hold unknown = {.offset = 16, .count = 1};
    const struct share_handle handle = {.offset = 16};
    assert_int_equal(kmem__holds_reserve(&holds, 1), 0);
    kmem__holds_add(&holds, &unknown);
    assert_false(kmem__holds_again(&holds, &handle, 1, false));
}

static void test_holds_begin_hides_the_last_until_it_ends(void **state)
{
    struct hold hold;
    const struct share_handle handle = handle_at(3);
    put(3, 2);
    assert_int_equal(kmem__holds_begin(&holds, off_at(3), &hold), HOLDS_DROPPED);
    assert_int_equal(kmem__holds_begin(&holds, off_at(3), &hold), HOLDS_LAST);
    assert_int_equal(hold.num_bytes, 13);
    assert_false(kmem__holds_again(&holds, &handle, 1, false));
    assert_false(kmem__holds_find(&holds, off_at(3), &hold));
    assert_int_equal(kmem__holds_begin(&holds, off_at(3), &hold), HOLDS_NONE);
    kmem__holds_end(&holds, off_at(3), false);
    assert_true(kmem__holds_again(&holds, &handle, 1, false));
    assert_true(kmem__holds_drop(&holds, off_at(3)));
    assert_int_equal(kmem__holds_begin(&holds, off_at(3), &hold), HOLDS_LAST);
    kmem__holds_end(&holds, off_at(3), true);
    assert_int_equal(holds.n_holds, 0);
}

static void test_holds_are_those_of_a_naive_table(void **state)
{
    static uint32_t counts[N_PLACES];
    struct seeded seeded = {12};
    struct hold hold;
    memset(counts, 0, sizeof(counts));
    for (uint32_t step = 0; step < 200000; step++) {
        const uint64_t place = seeded_below(&seeded, N_PLACES);
        const struct share_handle handle = handle_at(place);
        switch (seeded_below(&seeded, 4)) {
        case 0:
            put(place, 1);
            counts[place]++;
            break;
        case 1:
            assert_int_equal(kmem__holds_again(&holds, &handle, 1, false), counts[place] > 0);
            counts[place] += counts[place] > 0;
            break;
        case 2:
            assert_int_equal(kmem__holds_drop(&holds, off_at(place)), counts[place] > 1);
            counts[place] -= counts[place] > 1;
            break;
        default:
            if (kmem__holds_begin(&holds, off_at(place), &hold) == HOLDS_LAST) {
                assert_int_equal(counts[place], 1);
                kmem__holds_end(&holds, off_at(place), true);
            }
            counts[place] -= counts[place] > 0;
            break;
        }
        assert_int_equal(kmem__holds_find(&holds, off_at(place), &hold), counts[place] > 0);
        assert_true(counts[place] == 0 || hold.count == counts[place]);
        if (step % 1000 == 0) {
            assert_true(kmem__holds_check(&holds));
        }
    }
    assert_true(kmem__holds_check(&holds));
}

static void test_holds_reserve_without_memory_is_ENOMEM_and_all_is_held_still(void **state)
{
    struct hold hold;
    put(1, 1);
    assert_int_equal(kmem__holds_reserve(&holds, UINT32_C(1) << 30), -ENOMEM);
    assert_true(kmem__holds_find(&holds, off_at(1), &hold));
}

static void test_copy_has_what_is_held_as_far_as_there_is_room(void **state)
{
    static struct hold slots[64];
    struct holds copy = {.slots = slots, .n_slots = kmem__holds_slots_for(10)};
    const struct hold *hold;
    uint32_t n = 0;
    assert_int_equal(copy.n_slots, 64);
    for (uint64_t place = 0; place < 20; place++) {
        put(place, 1);
    }
    kmem__holds_copy(&holds, &copy);
    assert_int_equal(kmem__holds_count(&copy), 20);
    for (uint32_t at = 0; (hold = kmem__holds_next(&copy, &at)) != NULL; n++) {
        assert_ptr_equal(kmem__holds_peek(&copy, (struct seg_off){hold->offset}), hold);
    }
    assert_int_equal(n, 20);
    assert_null(kmem__holds_peek(&copy, off_at(20)));
    for (uint64_t place = 20; place < 100; place++) {
        put(place, 1);
    }
    kmem__holds_copy(&holds, &copy);
    assert_true(kmem__holds_check(&copy));
}

#define HOLDS_TEST(test) cmocka_unit_test_teardown(test, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOLDS_TEST(test_holds_all_zero_hold_nothing),
        HOLDS_TEST(test_holds_again_wants_every_number_of_the_handle),
        HOLDS_TEST(test_holds_again_counts_all_or_none),
        HOLDS_TEST(test_holds_of_a_handle_that_is_not_known_are_asked_for),
        HOLDS_TEST(test_holds_begin_hides_the_last_until_it_ends),
        HOLDS_TEST(test_holds_are_those_of_a_naive_table),
        HOLDS_TEST(test_holds_reserve_without_memory_is_ENOMEM_and_all_is_held_still),
        HOLDS_TEST(test_copy_has_what_is_held_as_far_as_there_is_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
