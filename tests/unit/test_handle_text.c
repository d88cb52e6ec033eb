/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "client/handle_text.h"
#include "tests/support/seeded.h"
#include "tests/unit/unit.h"

static struct failure failure;

static void test_handle_parse_reads_what_handle_print_prints(void **state)
{
    struct seeded seeded = {5};
    for (unsigned int i = 0; i < 1000; i++) {
        char text[256];
        struct handle_text read;
        struct handle_text handle = {.host = "host-1.example", .segment = "seg_2"};
        handle.handle.offset = 1 + seeded_next(&seeded) / 2;
        handle.handle.num_bytes = 1 + seeded_below(&seeded, 1000);
        handle.handle.generation = UINT64_MAX - seeded_below(&seeded, 1000);
        handle.handle.tag = seeded_next(&seeded) >> seeded_below(&seeded, 64);
        assert_in_range(kmem__handle_print(&handle, text, sizeof(text)), 30, 255);
        assert_int_equal(kmem__handle_parse(text, &read, &failure), 0);
        assert_memory_equal(&read, &handle, sizeof(handle));
    }
}

static void test_handle_print_of_the_longest_fits(void **state)
{
    char text[256];
    struct handle_text handle = {.handle = {0, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}};
    memset(handle.host, 'h', HOST_MAX_BYTES);
    memset(handle.segment, 's', NAME_MAX_BYTES);
    assert_in_range(kmem__handle_print(&handle, text, sizeof(text)), 1, sizeof(text) - 1);
    assert_int_equal(kmem__handle_parse(text, &handle, &failure), 0);
}

struct wrong {
    const char *text;
    size_t at; /* the byte that is wrong */
    const char *wanted;
};

static void test_handle_parse_says_where_a_text_ends_to_be_a_handle(void **state)
{
    static const struct wrong wrongs[] = {
        {"", 0, "kmem://"},
        {"http://h/s/16+1@1/0123456789abcdef", 0, "kmem://"},
        {"kmem:/h/s/16+1@1/0123456789abcdef", 6, "kmem://"},
        {"kmem:///s/16+1@1/0123456789abcdef", 7, "a host's name"},
        {"kmem://h h/s/16+1@1/0123456789abcdef", 8, "'/'"},
        {"kmem://h//16+1@1/0123456789abcdef", 9, "a segment's name"},
        {"kmem://h/s", 10, "'/'"},
        {"kmem://h/s/", 11, "an offset"},
        {"kmem://h/s/0+1@1/0123456789abcdef", 11, "an offset"},
        {"kmem://h/s/016+1@1/0123456789abcdef", 11, "an offset"},
        {"kmem://h/s/-16+1@1/0123456789abcdef", 11, "an offset"},
        {"kmem://h/s/0x10+1@1/0123456789abcdef", 11, "an offset"},
        {"kmem://h/s/16 +1@1/0123456789abcdef", 13, "'+'"},
        {"kmem://h/s/16+0@1/0123456789abcdef", 14, "a size"},
        {"kmem://h/s/16+1/0123456789abcdef", 15, "'@'"},
        {"kmem://h/s/16+1@/0123456789abcdef", 16, "a generation"},
        {"kmem://h/s/18446744073709551616+1@1/0123456789abcdef", 30, "2^64"},
        {"kmem://h/s/16+1@1/0123456789abcde", 33, "a tag"},
        {"kmem://h/s/16+1@1/0123456789ABCDEF", 28, "a tag"},
        {"kmem://h/s/16+1@1/0123456789abcdef0", 34, "the end"},
        {"kmem://h/s/16+1@1/0123456789abcdef ", 34, "the end"},
        {"kmem://h/s/16+1@1/0123456789abcdef\n", 34, "the end"},
    };
    for (size_t i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++) {
        char where[64];
        struct handle_text read;
        (void)snprintf(where, sizeof(where), "where its byte %zu is", wrongs[i].at);
        assert_int_equal(kmem__handle_parse(wrongs[i].text, &read, &failure), -EINVAL);
        if (strstr(failure.sentence, where) == NULL ||
            strstr(failure.sentence, wrongs[i].wanted) == NULL) {
            fail_msg("%s: %s", wrongs[i].text, failure.sentence);
        }
    }
}

/* Of a text with any byte changed, or cut short, none is taken for the same handle. */
static void test_handle_parse_takes_no_changed_text_for_the_same_handle(void **state)
{
    static const char good[] = "kmem://host/segment/16384+100@131073/00c0ffee00c0ffee";
    struct handle_text handle;
    struct handle_text read;
    assert_int_equal(kmem__handle_parse(good, &handle, &failure), 0);
    for (size_t at = 0; at < strlen(good); at++) {
        for (int byte = 0; byte < 256; byte++) {
            char text[sizeof(good)];
            memcpy(text, good, sizeof(good));
            text[at] = (char)byte;
            if (text[at] != good[at] && kmem__handle_parse(text, &read, &failure) == 0) {
                assert_memory_not_equal(&read, &handle, sizeof(handle));
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handle_parse_reads_what_handle_print_prints),
        cmocka_unit_test(test_handle_print_of_the_longest_fits),
        cmocka_unit_test(test_handle_parse_says_where_a_text_ends_to_be_a_handle),
        cmocka_unit_test(test_handle_parse_takes_no_changed_text_for_the_same_handle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
