/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_place.c - which byte is meant
 */
#include <string.h>

#include "client/ctl/place.h"
#include "client/ctl/status.h"
#include "tests/unit/fake_query.h"
#include "tests/unit/unit.h"

static void test_place_reads_a_line_of_maps(void **state)
{
    struct place_mapping mapping;

    assert_true(place_parse_mapping("7f00000000-7f00400000 rw-s 00010000 00:01 1234   "
                                    "/memfd:kmemd:video:segment (deleted)\n",
                                    &mapping));

    assert_true(mapping.begin == 0x7f00000000 && mapping.end == 0x7f00400000);
    assert_true(mapping.offset == 0x10000);
    assert_string_equal(mapping.name, "/memfd:kmemd:video:segment (deleted)");
    assert_true(place_parse_mapping("1000-2000 r-xp 00000000 00:00 0 \n", &mapping));
    assert_string_equal(mapping.name, "");
    assert_false(place_parse_mapping("", &mapping));
    assert_false(place_parse_mapping("no line of that kind\n", &mapping));
}

static void test_place_knows_a_segment_by_what_is_mapped(void **state)
{
    char name[PLACE_NAME_BYTES];

    assert_true(place_segment_of("/memfd:kmemd:video:segment (deleted)", name));
    assert_string_equal(name, "video");
    assert_true(place_segment_of("/memfd:kmemd:a.b-c:segment", name));
    assert_string_equal(name, "a.b-c");
    assert_false(place_segment_of("/memfd:kmemd:video:ledger (deleted)", name));
    assert_false(place_segment_of("/memfd:kmemd:video:segment2 (deleted)", name));
    assert_false(place_segment_of("/memfd:other:video:segment (deleted)", name));
    assert_false(place_segment_of("/memfd:kmemd:video", name));
    assert_false(place_segment_of("", name));
}

static void test_place_of_an_offset_is_it(void **state)
{
    struct kmem_query query = {.error = 0};
    struct place place;

    assert_int_equal(place_find("0x4000", &query, &place), 0);
    assert_true(place.offset == 0x4000 && place.pid == 0);
    assert_int_equal(place_find("16385", &query, &place), 0);
    assert_true(place.offset == 16385);
    assert_int_equal(query.n_questions, 0);
}

static void test_place_of_a_handle_is_where_its_block_is(void **state)
{
    const struct kmem_holder holder = {.offset = 16384, .generation = 7};
    struct kmem_query query = {.holders = &holder, .n_holders = 1};
    struct place place;

    assert_int_equal(place_find("kmem://host/video/16384+10@7/00ff", &query, &place), 0);
    assert_true(place.offset == 16384);
    assert_int_equal(place_find("kmem://host/video/16384+10@8/00ff", &query, &place), STATUS_ERROR);
    assert_int_equal(place_find("kmem://host/video/16384", &query, &place), STATUS_USAGE);
    assert_int_equal(place_find("kmem://", &query, &place), STATUS_USAGE);
}

static void test_place_that_is_none_is_a_misuse(void **state)
{
    static const char *const wrong[] = {"abc",   "-1",   "0x",  "1:",     ":1",
                                        "1:2:3", "0:16", "1 2", "1:abcd", "99999999999999999999",
                                        "0x10g"};
    struct kmem_query query = {.error = 0};
    struct place place;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_int_equal(place_find(wrong[i], &query, &place), STATUS_USAGE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_place_reads_a_line_of_maps),
        cmocka_unit_test(test_place_knows_a_segment_by_what_is_mapped),
        cmocka_unit_test(test_place_of_an_offset_is_it),
        cmocka_unit_test(test_place_of_a_handle_is_where_its_block_is),
        cmocka_unit_test(test_place_that_is_none_is_a_misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
