/* SPDX-License-Identifier: MIT */
/*
 * test_settings.c - each setting that there is: what it prints it reads, and it is documented
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/settings.h"
#include "tests/unit/unit.h"

#define PAGE_MAX_BYTES (1 << 20)

/* The caller's. */
static char *page_read(const char *path)
{
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    char *text = calloc(1, PAGE_MAX_BYTES);
    assert_non_null(text);
    assert_in_range(fread(text, 1, PAGE_MAX_BYTES - 1, file), 1, PAGE_MAX_BYTES - 2);
    (void)fclose(file);
    return text;
}

static void assert_reads_what_it_prints(const struct setting *setting, const void *place,
                                        struct options *other)
{
    char value[SETTING_TEXT_BYTES];
    char again[SETTING_TEXT_BYTES];
    char why[SETTING_TEXT_BYTES] = "";
    for (uint32_t i = 0; setting->print(place, i, value); i++) {
        if (!setting->parse(other, value, why)) {
            fail_msg("%s = %s: %s", setting->key, value, why);
        }
        assert_true(setting->print(other, i, again));
        assert_string_equal(again, value);
        assert_true(i == 0 || setting->is_list);
    }
}

static void test_settings_read_what_they_print(void **state)
{
    struct options options;
    struct options other;
    options_set_default(&options);
    memset(&other, 0, sizeof(other));

    for (const struct setting *setting = settings_table()->settings; setting->key; setting++) {
        assert_reads_what_it_prints(setting, &options, &other);
    }
}

static void test_settings_refuse_in_a_sentence_what_is_no_value(void **state)
{
    struct options options;
    options_set_default(&options);
    for (const struct setting *setting = settings_table()->settings; setting->key; setting++) {
        char why[SETTING_TEXT_BYTES] = "";
        char before[SETTING_TEXT_BYTES];
        char after[SETTING_TEXT_BYTES];
        (void)settings_value(setting, &options, before, sizeof(before));
        assert_false(setting->parse(&options, "", why));
        assert_int_not_equal(why[0], '\0');
        (void)settings_value(setting, &options, after, sizeof(after));
        assert_string_equal(after, before);
    }
}

static void test_settings_have_keys_of_their_own_and_reasons_why_they_wait(void **state)
{
    for (const struct setting *setting = settings_table()->settings; setting->key; setting++) {
        assert_ptr_equal(settings_find(settings_table()->settings, setting->key), setting);
        assert_non_null(setting->help);
        assert_non_null(setting->argument);
        assert_int_equal(setting->is_list, setting->clear != NULL);
        assert_true(setting->waits == NULL || strlen(setting->waits) > 20);
    }
}

static void test_settings_are_documented(void **state)
{
    char *conf = page_read(KMEM_SOURCE_DIR "/docs/man/kmemd.conf.5");
    char *page = page_read(KMEM_SOURCE_DIR "/docs/man/kmemd.8");
    for (const struct setting *setting = settings_table()->settings; setting->key; setting++) {
        char line[SETTING_TEXT_BYTES];
        (void)snprintf(line, sizeof(line), "\n.It Cm %s\n", setting->key);
        if (!strstr(conf, line)) {
            fail_msg("kmemd.conf(5) says nothing of %s", setting->key);
        }
        (void)snprintf(line, sizeof(line), "Fl -%s", setting->key);
        if (!strstr(page, line)) {
            fail_msg("kmemd(8) says nothing of --%s", setting->key);
        }
    }
    free(conf);
    free(page);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settings_read_what_they_print),
        cmocka_unit_test(test_settings_refuse_in_a_sentence_what_is_no_value),
        cmocka_unit_test(test_settings_have_keys_of_their_own_and_reasons_why_they_wait),
        cmocka_unit_test(test_settings_are_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
