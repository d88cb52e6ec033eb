/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_json.c - the text of a row, compared with what json-c prints of the same values
 */
#include <errno.h>
#include <json-c/json.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/json.h"
#include "client/ctl/utf8.h"
#include "tests/support/seeded.h"
#include "tests/unit/unit.h"

#define SPACED (JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE)

/* What is printed of a row, without the line feed. The caller frees it. */
static char *printed(struct json_row *row)
{
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *const file = open_memstream(&text, &n_bytes);
    assert_non_null(file);
    assert_int_equal(json_row_print(row, file), 0);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(text[n_bytes - 1], '\n');
    text[n_bytes - 1] = '\0';
    return text;
}

static void assert_printed(struct json_row *row, const char *expected)
{
    char *text = printed(row);
    assert_string_equal(text, expected);
    free(text);
}

static void test_json_row_of_nothing(void **state)
{
    struct json_row row;
    json_row_init(&row);
    assert_printed(&row, "{ }");
}

static void test_json_row_has_every_kind_of_value(void **state)
{
    struct json_row row;
    json_row_init(&row);
    json_row_number(&row, "least", 0);
    json_row_number(&row, "most", UINT64_MAX);
    json_row_signed(&row, "low", INT64_MIN);
    json_row_signed(&row, "high", INT64_MAX);
    json_row_bool(&row, "yes", true);
    json_row_bool(&row, "no", false);
    json_row_text(&row, "text", "a/b");
    assert_printed(&row, "{ \"least\": 0, \"most\": 18446744073709551615, "
                         "\"low\": -9223372036854775808, \"high\": 9223372036854775807, "
                         "\"yes\": true, \"no\": false, \"text\": \"a/b\" }");
}

static void test_json_row_has_objects_and_lists(void **state)
{
    struct json_row row;
    struct json_row one;
    json_row_init(&row);
    json_row_list(&row, "none");
    json_row_list(&row, "some");
    for (unsigned i = 1; i <= 2; i++) {
        json_row_init(&one);
        json_row_number(&one, "n", i);
        json_row_append(&row, "some", &one);
    }
    json_row_list(&row, "words");
    json_row_append_text(&row, "words", "a");
    json_row_append_text(&row, "words", "b");
    json_row_init(&one);
    json_row_list(&one, "empty");
    json_row_row(&row, "inside", &one);
    assert_printed(&row, "{ \"none\": [ ], \"some\": [ { \"n\": 1 }, { \"n\": 2 } ], "
                         "\"words\": [ \"a\", \"b\" ], \"inside\": { \"empty\": [ ] } }");
}

static void test_json_row_append_to_another_list_than_the_last_is_no_row(void **state)
{
    struct json_row row;
    json_row_init(&row);
    json_row_list(&row, "first");
    json_row_list(&row, "second");
    json_row_append_text(&row, "first", "a");
    assert_int_equal(json_row_print(&row, stdout), -ENOMEM);
}

/* Bytes of all kinds, many of which are no UTF-8. */
static void fill_text(struct seeded *seeded, char *text, size_t room)
{
    static const char *const pieces[] = {"\"",
                                         "\\",
                                         "/",
                                         "\b\f\n\r\t",
                                         "\v\x01\x1f\x7f",
                                         "\xC3\xA4",
                                         "\xE2\x82\xAC",
                                         "\xF0\x9F\x98\x80",
                                         "\xE2\x82",
                                         "\xFF",
                                         "plain"};
    char *end = text;
    for (size_t n = seeded_next(seeded) % 20; n > 0; n--) {
        const char *piece = pieces[seeded_next(seeded) % (sizeof(pieces) / sizeof(pieces[0]))];
        assert_true((size_t)(end - text) + strlen(piece) < room);
        end = stpcpy(end, piece);
    }
    *end = '\0';
}

static void test_json_row_is_what_json_c_prints(void **state)
{
    struct seeded seeded = {11};
    print_message("seed %llu\n", (unsigned long long)seeded.state);
    assert_non_null(setlocale(LC_CTYPE, "C.UTF-8"));
    for (unsigned i = 0; i < 2000; i++) {
        char text[256];
        struct json_row row;
        fill_text(&seeded, text, sizeof(text));
        char *valid = utf8_dup_valid(text);
        struct json_object *object = json_object_new_object();
        (void)json_object_object_add(object, valid, json_object_new_uint64(i));
        (void)json_object_object_add(object, "text", json_object_new_string(valid));
        json_row_init(&row);
        json_row_number(&row, valid, i); /* a key is valid as it comes */
        json_row_text(&row, "text", text);
        assert_printed(&row, json_object_to_json_string_ext(object, SPACED));
        json_object_put(object);
        free(valid);
    }
}

static void test_json_row_longer_than_its_first_room(void **state)
{
    char text[4096];
    char expected[4200];
    struct json_row row;
    memset(text, 'r', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    (void)snprintf(expected, sizeof(expected), "{ \"a\": 1, \"text\": \"%s\" }", text);
    json_row_init(&row);
    json_row_number(&row, "a", 1);
    json_row_text(&row, "text", text);
    assert_printed(&row, expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_row_of_nothing),
        cmocka_unit_test(test_json_row_has_every_kind_of_value),
        cmocka_unit_test(test_json_row_has_objects_and_lists),
        cmocka_unit_test(test_json_row_append_to_another_list_than_the_last_is_no_row),
        cmocka_unit_test(test_json_row_is_what_json_c_prints),
        cmocka_unit_test(test_json_row_longer_than_its_first_room),
    };
    return cmocka_run_group_tests_name("ctl_json", tests, NULL, NULL);
}
