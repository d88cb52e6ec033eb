/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "proto/limits.h"
#include "proto/size_class.h"
#include "tests/unit/unit.h"

static uint64_t slab_bytes(const struct size_class *size_class)
{
    return size_class->span_pages * PAGE_BYTES;
}

static void test_size_class_of_every_size_is_the_smallest_that_fits(void **state)
{
    for (uint32_t num_bytes = 1; num_bytes <= SMALL_MAX_BYTES; num_bytes++) {
        const uint32_t at = size_class_of(num_bytes);
        assert_true(at < N_SIZE_CLASSES);
        assert_true(size_classes[at].block_bytes >= num_bytes);
        assert_true(at == 0 || size_classes[at - 1].block_bytes < num_bytes);
    }
}

static void test_size_class_index_divides_every_pair(void **state)
{
    for (uint32_t at = 0; at < N_SIZE_CLASSES; at++) {
        const struct size_class *size_class = &size_classes[at];
        for (uint32_t within_bytes = 0; within_bytes < UINT32_C(1) << 17; within_bytes++) {
            if (size_class_index(size_class, within_bytes) !=
                within_bytes / size_class->block_bytes) {
                fail_msg("%u / %u", within_bytes, size_class->block_bytes);
            }
        }
    }
    assert_true(UINT64_C(1) << 17 >= 8 * PAGE_BYTES);
}

static void test_size_classes_align_blocks(void **state)
{
    for (uint32_t at = 0; at < N_SIZE_CLASSES; at++) {
        const uint32_t block_bytes = size_classes[at].block_bytes;
        assert_int_equal(block_bytes % BLOCK_ALIGN_BYTES, 0);
        assert_true(block_bytes < BLOCK_LINE_BYTES || block_bytes % BLOCK_LINE_BYTES == 0);
    }
    assert_int_equal(PAGE_BYTES % BLOCK_LINE_BYTES, 0);
}

static void test_size_classes_are_close_together(void **state)
{
    assert_int_equal(size_classes[0].block_bytes, 16);
    for (uint32_t at = 1; at < N_SIZE_CLASSES; at++) {
        const uint32_t below = size_classes[at - 1].block_bytes;
        const uint32_t step = size_classes[at].block_bytes - below;
        if (below < 64) {
            assert_int_equal(step, 16);
        } else if (below < 512) {
            assert_int_equal(step, 64);
        }
        /* 25 % of what lies below. */
        assert_true(below < 256 || step * 4 <= below);
    }
    assert_int_equal(size_classes[N_SIZE_CLASSES - 1].block_bytes, SMALL_MAX_BYTES);
    /* The first large block, too: one page more than SMALL_MAX_BYTES. */
    assert_true(PAGE_BYTES * 4 <= SMALL_MAX_BYTES);
}

static uint64_t tail_bytes(uint64_t span_bytes, uint32_t block_bytes)
{
    return span_bytes % block_bytes;
}

static void test_size_classes_span_the_fewest_pages_with_a_small_tail(void **state)
{
    for (uint32_t at = 0; at < N_SIZE_CLASSES; at++) {
        const struct size_class *size_class = &size_classes[at];
        const uint32_t block_bytes = size_class->block_bytes;
        assert_true(size_class->span_pages >= 1 && size_class->span_pages <= 8);
        assert_true(tail_bytes(slab_bytes(size_class), block_bytes) * 16 <= slab_bytes(size_class));
        for (uint64_t pages = 1; pages < size_class->span_pages; pages++) {
            assert_true(pages * PAGE_BYTES < block_bytes ||
                        tail_bytes(pages * PAGE_BYTES, block_bytes) * 16 > pages * PAGE_BYTES);
        }
    }
}

static void test_size_classes_carve_as_many_blocks_as_fit(void **state)
{
    for (uint32_t at = 0; at < N_SIZE_CLASSES; at++) {
        const struct size_class *size_class = &size_classes[at];
        assert_int_equal(size_class->n_blocks, slab_bytes(size_class) / size_class->block_bytes);
        assert_true(size_class->n_blocks >= 1);
    }
}

static void test_size_classes_have_the_smallest_plane_with_an_entry_a_block(void **state)
{
    for (uint32_t at = 0; at < N_SIZE_CLASSES; at++) {
        const struct size_class *size_class = &size_classes[at];
        const uint32_t plane = size_class->plane;
        assert_true(plane < N_PLANES);
        assert_true(size_class->span_pages << PLANE_SHIFT(plane) >= size_class->n_blocks);
        assert_true(plane == 0 ||
                    size_class->span_pages << PLANE_SHIFT(plane - 1) < size_class->n_blocks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size_class_of_every_size_is_the_smallest_that_fits),
        cmocka_unit_test(test_size_class_index_divides_every_pair),
        cmocka_unit_test(test_size_classes_align_blocks),
        cmocka_unit_test(test_size_classes_are_close_together),
        cmocka_unit_test(test_size_classes_span_the_fewest_pages_with_a_small_tail),
        cmocka_unit_test(test_size_classes_carve_as_many_blocks_as_fit),
        cmocka_unit_test(test_size_classes_have_the_smallest_plane_with_an_entry_a_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
