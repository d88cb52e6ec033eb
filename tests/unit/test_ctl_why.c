/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_why.c - what `kmemctl why` says of each kind of byte, and of who holds a shared block
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/command.h"
#include "client/ctl/status.h"
#include "tests/unit/shown.h"
#include "tests/unit/unit.h"

static const struct kmem_block block = {
    .offset = 0x8000, .num_bytes = 1000, .reason = "frame", .pid = 7, .command = "camera"};
static const struct kmem_block shared = {.offset = 0x8000,
                                         .num_bytes = 1000,
                                         .reason = "frame",
                                         .pid = 7,
                                         .command = "camera",
                                         .leased = 1,
                                         .shared = 1};
static const struct kmem_pages empty = {
    .offset = 0x4000, .num_bytes = 0x4000, .command = "", .reason = ""};
static const struct kmem_pages mixed = {.offset = 0x8000,
                                        .num_bytes = 0x4000,
                                        .state = KMEM_PAGES_LEASED,
                                        .command = "camera",
                                        .reason = "frame",
                                        .pid = 7,
                                        .n_blocks = 2,
                                        .live_bytes = 2000};
static const struct kmem_pages single = {.offset = 0xc000,
                                         .num_bytes = 0x4000,
                                         .state = (enum kmem_page_state)99,
                                         .command = "camera",
                                         .reason = "frame",
                                         .pid = 7,
                                         .one_owner = 1,
                                         .one_reason = 1,
                                         .n_blocks = 1,
                                         .live_bytes = 1000};

static struct shown why_with(struct kmem_query query, struct kmem_byte byte, enum format format)
{
    byte.offset = 0x8010;
    query.bytes = &byte;
    query.n_bytes = 1;
    return show(why_show, query, (struct options){.arguments = {"0x8010"}, .format = format});
}

static void assert_says(struct kmem_byte byte, enum format format, const char *wanted)
{
    const struct shown shown = why_with((struct kmem_query){.error = 0}, byte, format);
    assert_int_equal(shown.status, STATUS_OK);
    if (!strstr(shown.text, wanted)) {
        fail_msg("no \"%s\" in:\n%s", wanted, shown.text);
    }
    free(shown.text);
}

static void test_why_has_a_sentence_for_each_kind_of_byte(void **state)
{
    assert_says((struct kmem_byte){.kind = KMEM_BYTE_FREE, .pages = &empty}, FORMAT_TABLE,
                "This is     no block; its pages: free\n");
    assert_says((struct kmem_byte){.kind = KMEM_BYTE_IDLE, .pages = &empty}, FORMAT_TABLE,
                "in a leased page that is in no use: no block is there\n");
    assert_says((struct kmem_byte){.kind = KMEM_BYTE_BLOCK, .block = &block}, FORMAT_TABLE,
                "This is     byte 16 of a block of 1,000\n");
    assert_says((struct kmem_byte){.kind = KMEM_BYTE_PLACE, .place_bytes = 64}, FORMAT_TABLE,
                "in a free place of 64 bytes of a slab, at ");
    assert_says((struct kmem_byte){.kind = KMEM_BYTE_REST}, FORMAT_TABLE,
                "at the end of a slab, where no block fits\n");
    assert_says((struct kmem_byte){.kind = KMEM_BYTE_UNKNOWN}, FORMAT_TABLE,
                "in a leased page of which its client's ledger says nothing\n");
}

/* A daemon that leaves out what the kind needs. */
static void test_why_of_a_byte_without_its_block_says_that_nothing_is_known(void **state)
{
    const char *wanted = "its client's ledger says nothing\n";
    assert_says((struct kmem_byte){.kind = KMEM_BYTE_BLOCK}, FORMAT_TABLE, wanted);
    assert_says((struct kmem_byte){.kind = KMEM_BYTE_ROUNDING}, FORMAT_TABLE, wanted);
    assert_says((struct kmem_byte){.kind = KMEM_BYTE_FREE}, FORMAT_TABLE, wanted);
    assert_says((struct kmem_byte){.kind = (enum kmem_byte_kind)99}, FORMAT_JSON,
                "\"kind\": \"?\"");
}

static void test_why_says_what_of_its_pages_is_one_owners_and_what_is_most(void **state)
{
    assert_says((struct kmem_byte){.kind = KMEM_BYTE_REST, .pages = &mixed}, FORMAT_TABLE,
                "leased, most of it of process 7 (camera)");
    assert_says((struct kmem_byte){.kind = KMEM_BYTE_REST, .pages = &mixed}, FORMAT_TABLE,
                "2 blocks with 2.0 KiB, most of it \"frame\"");
    assert_says((struct kmem_byte){.kind = KMEM_BYTE_REST, .pages = &single}, FORMAT_TABLE,
                "?, of process 7 (camera)");
    assert_says((struct kmem_byte){.kind = KMEM_BYTE_REST, .pages = &single}, FORMAT_TABLE,
                "1 block with 1000 B, \"frame\"");
}

static void test_why_names_pages_beside_it_only_where_no_block_does(void **state)
{
    const struct kmem_byte without = {.kind = KMEM_BYTE_REST, .before = &mixed, .after = &single};
    const struct kmem_byte with = {.kind = KMEM_BYTE_REST,
                                   .before = &mixed,
                                   .after = &single,
                                   .block_before = &block,
                                   .block_after = &shared};
    const struct kmem_byte beside_free = {.kind = KMEM_BYTE_REST,
                                          .before = &empty,
                                          .after = &empty,
                                          .block_before = &block,
                                          .block_after = &block};
    assert_says(without, FORMAT_TABLE, "\nBefore that ");
    assert_says(without, FORMAT_TABLE, "\nBehind that ");
    assert_says(beside_free, FORMAT_TABLE, "\nBefore that ");
    assert_says(beside_free, FORMAT_TABLE, "\nBehind that ");
    const struct shown shown = why_with((struct kmem_query){.error = 0}, with, FORMAT_TABLE);
    assert_null(strstr(shown.text, "that "));
    assert_non_null(strstr(shown.text, "\nBefore it   1,000 bytes at "));
    assert_non_null(strstr(shown.text, "old, carved by its owner, shared\n"));
    free(shown.text);
}

static const struct kmem_holder holders[] = {
    {.offset = 0x8000, .pid = 7, .command = "camera", .reason = "frame"},
    {.offset = 0x8000,
     .kind = (enum kmem_holder_kind)99,
     .pid = 8,
     .command = "view",
     .reason = "live"},
    {.offset = 0x4000, .pid = 9, .command = "other", .reason = "of another block"},
};

static void test_why_of_a_shared_block_names_its_holders(void **state)
{
    const struct kmem_query query = {.holders = holders, .n_holders = 3};
    const struct kmem_byte byte = {.kind = KMEM_BYTE_BLOCK, .block = &shared, .place_bytes = 1024};
    struct shown shown = why_with(query, byte, FORMAT_TABLE);
    assert_int_equal(shown.status, STATUS_OK);
    assert_non_null(strstr(shown.text, "\nHeld by     owner 7 camera, \"frame\"\n"));
    assert_non_null(strstr(shown.text, "\n            ? 8 view, \"live\"\n"));
    assert_null(strstr(shown.text, "of another block"));
    free(shown.text);
    shown = why_with(query, byte, FORMAT_JSONL);
    assert_int_equal(shown.status, STATUS_OK);
    assert_non_null(strstr(shown.text, "\"holders\": [ { \"kind\": \"owner\", \"pid\": 7"));
    assert_non_null(strstr(shown.text, "\"byte_of_block\": 16"));
    free(shown.text);
}

static void test_why_as_csv_is_a_misuse(void **state)
{
    const struct shown shown = why_with((struct kmem_query){.error = 0},
                                        (struct kmem_byte){.kind = KMEM_BYTE_REST}, FORMAT_CSV);
    assert_int_equal(shown.status, STATUS_USAGE);
    assert_string_equal(shown.text, "");
    free(shown.text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_why_has_a_sentence_for_each_kind_of_byte),
        cmocka_unit_test(test_why_of_a_byte_without_its_block_says_that_nothing_is_known),
        cmocka_unit_test(test_why_says_what_of_its_pages_is_one_owners_and_what_is_most),
        cmocka_unit_test(test_why_names_pages_beside_it_only_where_no_block_does),
        cmocka_unit_test(test_why_of_a_shared_block_names_its_holders),
        cmocka_unit_test(test_why_as_csv_is_a_misuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
