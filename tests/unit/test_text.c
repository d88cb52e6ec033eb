/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/text.h"
#include "tests/unit/unit.h"

#define N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

static bool is_utf8(const char *text)
{
    return text_is_utf8((const unsigned char *)text, strlen(text));
}

static void test_text_is_utf8_accepts_every_length_at_its_borders(void **state)
{
    static const char *const good[] = {
        "",
        "a",
        "\x7F",
        "\xC2\x80",
        "\xDF\xBF",
        "\xE0\xA0\x80",
        "\xED\x9F\xBF",
        "\xEE\x80\x80",
        "\xEF\xBF\xBF",
        "\xF0\x90\x80\x80",
        "\xF4\x8F\xBF\xBF",
        "video/capture \xE2\x82\xAC#1",
    };
    for (size_t i = 0; i < N_ELEMENTS(good); i++) {
        assert_true(is_utf8(good[i]));
    }
}

static void test_text_is_utf8_refuses_what_is_not(void **state)
{
    static const char *const bad[] = {
        "\x80",             /* a continuation alone */
        "\xC2",             /* cut */
        "\xC2 ",            /* cut by another character */
        "\xC0\x80",         /* NUL, overlong */
        "\xC1\xBF",         /* overlong */
        "\xE0\x9F\xBF",     /* overlong */
        "\xE2\x82",         /* cut */
        "\xED\xA0\x80",     /* a surrogate */
        "\xF0\x8F\xBF\xBF", /* overlong */
        "\xF0\x9F\x98",     /* cut */
        "\xF0\x9F\x98 ",    /* cut by another character */
        "\xF4\x90\x80\x80", /* above U+10FFFF */
        "\xF5\x80\x80\x80",
        "\xFE",
        "\xFF",
        "a\xFF",
    };
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        assert_false(is_utf8(bad[i]));
    }
}

static void test_text_is_utf8_refuses_nul(void **state)
{
    assert_false(text_is_utf8((const unsigned char *)"a\0b", 3));
    assert_true(text_is_utf8((const unsigned char *)"a\0b", 1));
}

static void test_text_is_utf8_does_not_look_past_the_end(void **state)
{
    unsigned char *cut = malloc(2);
    assert_non_null(cut);
    memcpy(cut, "\xE2\x82", 2);
    assert_false(text_is_utf8(cut, 2));
    free(cut);
}

static void test_text_clean_keeps_good_text(void **state)
{
    char buffer[32];
    assert_int_equal(text_clean("camera \xE2\x82\xAC", buffer, sizeof(buffer)), 10);
    assert_string_equal(buffer, "camera \xE2\x82\xAC");
}

static void test_text_clean_replaces_each_bad_byte(void **state)
{
    char buffer[32];
    assert_int_equal(text_clean("a\xFF\xE2\x82z\xC0\x80", buffer, sizeof(buffer)), 7);
    assert_string_equal(buffer, "a???z??");
}

static void test_text_clean_does_not_look_past_the_nul(void **state)
{
    char *cut = strdup("\xF0\x9F\x98");
    char buffer[8];
    assert_non_null(cut);
    assert_int_equal(text_clean(cut, buffer, sizeof(buffer)), 3);
    assert_string_equal(buffer, "???");
    free(cut);
}

static void test_text_clean_cuts_at_a_characters_border(void **state)
{
    char buffer[6];
    assert_int_equal(text_clean("abcdefgh", buffer, sizeof(buffer)), 5);
    assert_string_equal(buffer, "abcde");
    assert_int_equal(text_clean("abc\xE2\x82\xAC", buffer, sizeof(buffer)), 3);
    assert_string_equal(buffer, "abc");
    assert_int_equal(text_clean("ab\xE2\x82\xAC", buffer, sizeof(buffer)), 5);
    assert_int_equal(text_clean("abc", buffer, 1), 0);
    assert_string_equal(buffer, "");
}

static void assert_escaped(const char *text, size_t n_bytes, const char *expected)
{
    char buffer[64];
    assert_ptr_equal(text_escape(text, n_bytes, buffer, sizeof(buffer)), buffer);
    assert_string_equal(buffer, expected);
}

static void test_text_escape_leaves_what_is_visible(void **state)
{
    assert_escaped("video/\xE2\x82\xAC #1", 12, "video/\xE2\x82\xAC #1");
    assert_escaped("", 0, "");
}

static void test_text_escape_shows_controls(void **state)
{
    assert_escaped("\x1B[31m", 5, "\\x1b[31m");
    assert_escaped("a\nb\tc", 5, "a\\x0ab\\x09c");
    assert_escaped("a\0b", 3, "a\\x00b");
    assert_escaped("\x7F", 1, "\\x7f");
    assert_escaped("\xC2\x9B"
                   "2J",
                   4, "\\x9b2J");
    assert_escaped("\xC2\xA0", 2, "\xC2\xA0");
}

static void test_text_escape_shows_what_is_not_seen_or_turns_text(void **state)
{
    static const char turned[] = {'\xE2', '\x80', '\xAE', 'g', '\xE2', '\x81', '\xA6'};
    assert_escaped(turned, sizeof(turned), "\\u202eg\\u2066");
    assert_escaped("a\xE2\x80\x8B\xEF\xBB\xBF", 7, "a\\u200b\\ufeff");
    assert_escaped("\xD8\x9C\xE2\x80\xA8", 5, "\\u061c\\u2028");
    assert_escaped("\xE2\x80\x90\xE2\x80\xAF", 6, "\xE2\x80\x90\xE2\x80\xAF");
}

static void test_text_escape_doubles_backslashes(void **state)
{
    assert_escaped("\\x1b", 4, "\\\\x1b");
}

static void test_text_escape_shows_bytes_that_are_not_utf8(void **state)
{
    assert_escaped("\xFF\xC2", 2, "\\xff\\xc2");
}

static void test_text_escape_cuts_at_a_characters_border(void **state)
{
    char buffer[6];
    assert_string_equal(text_escape("abc\x1B", 4, buffer, sizeof(buffer)), "abc");
    assert_string_equal(text_escape("abc\xE2\x82\xAC", 6, buffer, sizeof(buffer)), "abc");
    assert_string_equal(text_escape("abcd\\", 5, buffer, sizeof(buffer)), "abcd");
    assert_string_equal(text_escape("abc", 3, buffer, 1), "");
}

static void test_text_format_bytes_rounds_to_one_decimal(void **state)
{
    static const struct {
        uint64_t num_bytes;
        const char *text;
    } rows[] = {
        {0, "0 B"},
        {44, "44 B"},
        {1023, "1023 B"},
        {1024, "1.0 KiB"},
        {1536, "1.5 KiB"},
        {2998927, "2.9 MiB"},
        {1587, "1.5 KiB"},
        {1588, "1.6 KiB"},
        {1048524, "1023.9 KiB"},
        {1048525, "1.0 MiB"},
        {1048575, "1.0 MiB"},
        {UINT64_C(16) << 20, "16.0 MiB"},
        {UINT64_C(1) << 40, "1.0 TiB"},
        {UINT64_C(0xfcccccccccccccc0), "15.8 EiB"},
        {UINT64_MAX, "16.0 EiB"},
    };
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        char buffer[TEXT_BYTES_MAX];
        assert_string_equal(text_format_bytes(rows[i].num_bytes, buffer, sizeof(buffer)),
                            rows[i].text);
    }
}

static void test_text_format_bytes_has_every_digit(void **state)
{
    for (uint32_t number = 1; number < 1024; number++) {
        char expected[TEXT_BYTES_MAX];
        char buffer[TEXT_BYTES_MAX];
        (void)snprintf(expected, sizeof(expected), "%u B", number);
        assert_string_equal(text_format_bytes(number, buffer, sizeof(buffer)), expected);
        (void)snprintf(expected, sizeof(expected), "%u.0 MiB", number);
        assert_string_equal(text_format_bytes((uint64_t)number << 20, buffer, sizeof(buffer)),
                            expected);
    }
}

static void test_text_format_bytes_is_cut_where_the_buffer_ends(void **state)
{
    char buffer[] = "xxxxxxxx";
    assert_string_equal(text_format_bytes(1536, buffer, 4), "1.5");
    assert_int_equal(buffer[4], 'x');
    assert_string_equal(text_format_bytes(1536, buffer, 1), "");
}

static void test_text_parse_bytes_reads_every_form(void **state)
{
    static const struct {
        const char *text;
        uint64_t num_bytes;
    } rows[] = {
        {"0", 0},
        {"4096", 4096},
        {"44B", 44},
        {"44 b", 44},
        {"1k", 1024},
        {"256MiB", UINT64_C(256) << 20},
        {"2G", UINT64_C(2) << 30},
        {"1.5 GiB", UINT64_C(3) << 29},
        {"0.5T", UINT64_C(1) << 39},
        {"1.0", 1},
        {"16mib", UINT64_C(16) << 20},
        {"18446744073709551615", UINT64_MAX},
    };
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        uint64_t num_bytes = 0;
        assert_int_equal(text_parse_bytes(rows[i].text, &num_bytes), 0);
        assert_int_equal(num_bytes, rows[i].num_bytes);
    }
}

static void test_text_parse_bytes_junk_is_EINVAL(void **state)
{
    static const char *const junk[] = {
        "",      " 1", "1 ",   "-1",    "+1",     "x",   "G",     "1.",         ".5",
        "1.5",   "1X", "1KB",  "1MiBs", "1 M iB", "1Mi", "0x10",  "1e3",        "1,5G",
        "1..5G", "1P", "1 BB", "nan",   "1\n",    "1BK", "256MB", "1.0000001G",
    };
    for (size_t i = 0; i < N_ELEMENTS(junk); i++) {
        uint64_t num_bytes = 12345;
        assert_int_equal(text_parse_bytes(junk[i], &num_bytes), -EINVAL);
        assert_int_equal(num_bytes, 12345);
    }
}

static void test_text_parse_bytes_too_much_is_ERANGE(void **state)
{
    static const char *const large[] = {
        "18446744073709551616",
        "99999999999999999999999",
        "16777216T",
        "20000000000G",
    };
    for (size_t i = 0; i < N_ELEMENTS(large); i++) {
        uint64_t num_bytes = 12345;
        assert_int_equal(text_parse_bytes(large[i], &num_bytes), -ERANGE);
        assert_int_equal(num_bytes, 12345);
    }
}

/* What is not plain stands anywhere among what is: eight bytes at a time see it as one would. */
static void test_text_is_the_same_wherever_a_byte_stands(void **state)
{
    static const char *const odd[] = {"\xE2\x82\xAC", "\x80", "\xC2", "\x7F", "\x01"};
    for (size_t i = 0; i < N_ELEMENTS(odd); i++) {
        const bool is_good = is_utf8(odd[i]);
        for (size_t before = 0; before < 20; before++) {
            char text[64] = "";
            char clean[64];
            memset(text, 'a', before);
            memcpy(text + before, odd[i], strlen(odd[i]));
            memset(text + before + strlen(odd[i]), 'b', 20);
            assert_int_equal(is_utf8(text), is_good);
            assert_int_equal(text_clean(text, clean, sizeof(clean)), strlen(text));
            assert_int_equal(strcmp(text, clean) == 0, is_good);
            assert_true(text_is_utf8((const unsigned char *)text, before));
            for (size_t room = 1; room <= before; room++) {
                assert_int_equal(text_clean(text, clean, room), room - 1);
                assert_memory_equal(clean, text, room - 1);
                assert_int_equal(clean[room - 1], '\0');
            }
        }
    }
    assert_false(text_is_utf8((const unsigned char *)"aaaaaaaa\0aaaaaaa", 16));
}

static void test_text_mute_replaces_what_is_not_shown(void **state)
{
    char text[] = "a\xC3\xA4\x1B"
                  "b\xFF"
                  "c\xC2\x9B";
    text_mute(text);
    assert_string_equal(text, "a\xC3\xA4?b?c??");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_the_same_wherever_a_byte_stands),
        cmocka_unit_test(test_text_is_utf8_accepts_every_length_at_its_borders),
        cmocka_unit_test(test_text_is_utf8_refuses_what_is_not),
        cmocka_unit_test(test_text_is_utf8_refuses_nul),
        cmocka_unit_test(test_text_is_utf8_does_not_look_past_the_end),
        cmocka_unit_test(test_text_clean_keeps_good_text),
        cmocka_unit_test(test_text_clean_replaces_each_bad_byte),
        cmocka_unit_test(test_text_clean_does_not_look_past_the_nul),
        cmocka_unit_test(test_text_clean_cuts_at_a_characters_border),
        cmocka_unit_test(test_text_escape_leaves_what_is_visible),
        cmocka_unit_test(test_text_escape_shows_controls),
        cmocka_unit_test(test_text_escape_shows_what_is_not_seen_or_turns_text),
        cmocka_unit_test(test_text_escape_doubles_backslashes),
        cmocka_unit_test(test_text_escape_shows_bytes_that_are_not_utf8),
        cmocka_unit_test(test_text_escape_cuts_at_a_characters_border),
        cmocka_unit_test(test_text_format_bytes_rounds_to_one_decimal),
        cmocka_unit_test(test_text_format_bytes_has_every_digit),
        cmocka_unit_test(test_text_format_bytes_is_cut_where_the_buffer_ends),
        cmocka_unit_test(test_text_parse_bytes_reads_every_form),
        cmocka_unit_test(test_text_parse_bytes_junk_is_EINVAL),
        cmocka_unit_test(test_text_parse_bytes_too_much_is_ERANGE),
        cmocka_unit_test(test_text_mute_replaces_what_is_not_shown),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
