/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_export.c - what is written for other programs, whatever reasons say
 */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/ctl/command.h"
#include "client/ctl/status.h"
#include "tests/unit/fake_segment.h"
#include "tests/unit/unit.h"

static const struct kmem_ledger_row hostile[] = {
    {"a;b c/</script><!--", 2, 300, 1, 0, 0},
    {"a;b c", 1, 20, 1, 0, 0},
    {"/tmp/x\n", 1, 5, 1, 0, 0},
};

static char *exported(enum export_format format)
{
    struct kmem_query query = fake_segment();
    const struct options options = {.export_format = format};
    char *text = NULL;
    size_t n_bytes = 0;
    struct screen screen = {.file = open_memstream(&text, &n_bytes)};
    query.ledgers[KMEM_BY_REASON] = hostile;
    query.n_ledgers[KMEM_BY_REASON] = 3;
    assert_int_equal(export_show(&query, &options, &screen), STATUS_OK);
    assert_int_equal(fclose(screen.file), 0);
    return text;
}

static void test_export_folded_lets_no_reason_look_like_two(void **state)
{
    char *text = exported(EXPORT_FOLDED);
    assert_string_equal(text, "a:b c 20\na:b c;<;script><!-- 300\n/tmp;x\\x0a 5\n");
    free(text);
}

/* What a reason says ends no element: each '<' of the data is an escape. */
static void test_export_page_lets_no_reason_end_its_script(void **state)
{
    char *text = exported(EXPORT_HTML);
    const char *data = strstr(text, "type=\"application/json\">");
    assert_non_null(data);
    const char *end = strstr(data, "</script>");
    assert_non_null(end);
    assert_null(memmem(data + 25, (size_t)(end - data) - 25, "<", 1));
    assert_non_null(strstr(data, "a;b c/\\u003c/script>\\u003c!--"));
    assert_null(strstr(text, "KMEM_DATA"));
    assert_null(strstr(text, "http:"));
    assert_null(strstr(text, "https:"));
    free(text);
}

static void test_export_to_a_file_that_can_not_be_written_is_an_error(void **state)
{
    struct kmem_query query = fake_segment();
    struct screen screen = {.file = stdout};
    for (int format = EXPORT_FOLDED; format <= EXPORT_HTML; format++) {
        struct options options = {.export_format = (enum export_format)format,
                                  .arguments = {"/dev/full"}};
        assert_int_equal(export_show(&query, &options, &screen), STATUS_ERROR);
        options.arguments[0] = "/nonexistent/x";
        assert_int_equal(export_show(&query, &options, &screen), STATUS_ERROR);
    }
    query.error = -ECONNRESET;
    assert_int_equal(export_show(&query, &(struct options){.top = 0}, &screen), -ECONNRESET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_export_folded_lets_no_reason_look_like_two),
        cmocka_unit_test(test_export_page_lets_no_reason_end_its_script),
        cmocka_unit_test(test_export_to_a_file_that_can_not_be_written_is_an_error),
    };
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
