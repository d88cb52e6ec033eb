/* SPDX-License-Identifier: MIT */
/*
 * test_serve_metrics.c - from samples to what Prometheus reads, whatever clients wrote
 */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/serve/metrics.h"
#include "tests/unit/unit.h"

#define TEXT(literal) ((char *)(uintptr_t)(literal))

static struct figure figures[] = {
    {TEXT("used_bytes"), TEXT("gauge"), TEXT("bytes"), TEXT("live blocks"), 4096},
    {TEXT("refusals"), TEXT("counter"), TEXT("count"), TEXT("a \"b\" \\ c"), 7},
    {TEXT("revoked_bytes"), TEXT("counter"), TEXT("bytes"), TEXT("taken back"), 16384},
    {TEXT("uptime_ms"), TEXT("gauge"), TEXT("milliseconds"), TEXT("since"), 61005},
    {TEXT("no name"), TEXT("gauge"), TEXT("count"), TEXT("left out"), 1},
};

static struct sample_limit limits[] = {
    {TEXT("quota"), TEXT("bytes"), TEXT(""), 100, 0},
    {TEXT("clients"), TEXT("count"), TEXT(""), 3, 4096},
};

static struct sample_refusals refusals[] = {{TEXT("block"), TEXT("no_room"), 5}};

static struct group reasons[] = {
    {.key = TEXT("a\"} 1\nkmemd_up{segment=\"x"), .n_blocks = 2, .num_bytes = 50, .oldest_ms = 1},
    {.key = TEXT("caf\xE9\\"), .n_blocks = 1, .num_bytes = 40, .oldest_ms = 1500},
};

static const struct sample sample = {
    .figures = {.version = TEXT("1.2"), .n_figures = 5, .figures = figures},
    .reasons = {.groups = reasons, .n_groups = 2},
    .n_limits = 2,
    .limits = limits,
    .n_refusals = 1,
    .refusals = refusals,
};

/* Return: the text of it; to be freed. */
static char *written(enum exposition_format format, const struct metrics_segment *segments,
                     size_t n_segments)
{
    char *text = NULL;
    size_t n_bytes = 0;
    FILE *file = open_memstream(&text, &n_bytes);
    assert_non_null(file);
    metrics_write(&(struct exposition){file, format}, segments, n_segments);
    assert_int_equal(fclose(file), 0);
    return text;
}

static size_t count(const char *text, const char *word)
{
    size_t n = 0;
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word)) {
        n++;
    }
    return n;
}

static const struct metrics_segment two[] = {{"video", &sample, 250, 12}, {"audio", NULL, 0, 1000}};

static void test_metrics_write_names_figures_as_prometheus_wants(void **state)
{
    char *text = written(EXPOSITION_OPENMETRICS, two, 2);
    assert_non_null(strstr(text, "# TYPE kmemd_used_bytes gauge\n# UNIT kmemd_used_bytes bytes\n"
                                 "# HELP kmemd_used_bytes live blocks\n"
                                 "kmemd_used_bytes{segment=\"video\"} 4096\n"));
    assert_non_null(strstr(text, "# TYPE kmemd_refusals counter\n"));
    assert_non_null(strstr(text, "kmemd_refusals_total{segment=\"video\"} 7\n"));
    assert_non_null(strstr(text, "# UNIT kmemd_revoked_bytes bytes\n"));
    assert_non_null(strstr(text, "kmemd_revoked_bytes_total{segment=\"video\"} 16384\n"));
    assert_non_null(strstr(text, "kmemd_uptime_seconds{segment=\"video\"} 61.005\n"));
    assert_non_null(strstr(text, "kmemd_info{segment=\"video\",version=\"1.2\"} 1\n"));
    assert_null(strstr(text, "no name"));
    assert_string_equal(text + strlen(text) - 6, "# EOF\n");
    free(text);
}

static void test_metrics_write_of_the_older_format_describes_samples(void **state)
{
    char *text = written(EXPOSITION_PROMETHEUS, two, 2);
    assert_non_null(strstr(text, "# TYPE kmemd_refusals_total counter\n"
                                 "# HELP kmemd_refusals_total a \"b\" \\\\ c\n"));
    assert_non_null(strstr(text, "# TYPE kmemd_info gauge\n"));
    assert_null(strstr(text, "# UNIT"));
    assert_null(strstr(text, "# EOF"));
    free(text);
}

static void test_metrics_write_of_a_segment_that_is_down_says_so(void **state)
{
    char *text = written(EXPOSITION_OPENMETRICS, two, 2);
    assert_non_null(strstr(text, "kmemd_up{segment=\"video\"} 1\nkmemd_up{segment=\"audio\"} 0\n"));
    assert_non_null(strstr(text, "kmemd_scrape_duration_seconds{segment=\"audio\"} 1.000\n"));
    assert_int_equal(count(text, "audio"), 2);
    free(text);
}

static void test_metrics_write_keeps_hostile_reasons_in_their_quotes(void **state)
{
    char *text = written(EXPOSITION_OPENMETRICS, two, 1);
    assert_non_null(strstr(text, "kmemd_reason_bytes{segment=\"video\",reason="
                                 "\"a\\\"} 1\\nkmemd_up{segment=\\\"x\"} 50\n"));
    assert_non_null(strstr(text, "reason=\"caf\xEF\xBF\xBD\\\\\"} 1.500\n"));
    assert_int_equal(count(text, "\nkmemd_up{"), 1);
    free(text);
}

static void test_metrics_write_tells_limits_with_their_use(void **state)
{
    char *text = written(EXPOSITION_OPENMETRICS, two, 1);
    assert_non_null(
        strstr(text, "kmemd_limit_used_bytes{segment=\"video\",limit=\"quota\"} 100\n"));
    assert_non_null(strstr(text, "kmemd_limit_bytes{segment=\"video\",limit=\"quota\"} +Inf\n"));
    assert_non_null(strstr(text, "kmemd_limit_used{segment=\"video\",limit=\"clients\"} 3\n"));
    assert_non_null(strstr(text, "kmemd_limit{segment=\"video\",limit=\"clients\"} 4096\n"));
    assert_non_null(
        strstr(text, "kmemd_refused_total{segment=\"video\",asked=\"block\",why=\"no_room\"} 5\n"));
    free(text);
}

static void test_metrics_write_has_each_family_once(void **state)
{
    const struct metrics_segment both[] = {{"a", &sample, 0, 0}, {"b", &sample, 0, 0}};
    char *text = written(EXPOSITION_OPENMETRICS, both, 2);
    assert_int_equal(count(text, "# TYPE kmemd_used_bytes "), 1);
    assert_non_null(strstr(text, "kmemd_used_bytes{segment=\"a\"} 4096\n"
                                 "kmemd_used_bytes{segment=\"b\"} 4096\n"));
    free(text);
}

static void test_metrics_write_of_nothing_ends_all_the_same(void **state)
{
    char *text = written(EXPOSITION_OPENMETRICS, NULL, 0);
    assert_int_equal(count(text, "{"), 0);
    assert_string_equal(text + strlen(text) - 6, "# EOF\n");
    free(text);
}

static void test_exposition_is_name_takes_what_prometheus_takes(void **state)
{
    assert_true(exposition_is_name("used_bytes"));
    assert_true(exposition_is_name("_2"));
    assert_false(exposition_is_name(""));
    assert_false(exposition_is_name("2x"));
    assert_false(exposition_is_name("a{b"));
    assert_false(exposition_is_name("caf\xC3\xA9"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_metrics_write_names_figures_as_prometheus_wants),
        cmocka_unit_test(test_metrics_write_of_the_older_format_describes_samples),
        cmocka_unit_test(test_metrics_write_of_a_segment_that_is_down_says_so),
        cmocka_unit_test(test_metrics_write_keeps_hostile_reasons_in_their_quotes),
        cmocka_unit_test(test_metrics_write_tells_limits_with_their_use),
        cmocka_unit_test(test_metrics_write_has_each_family_once),
        cmocka_unit_test(test_metrics_write_of_nothing_ends_all_the_same),
        cmocka_unit_test(test_exposition_is_name_takes_what_prometheus_takes),
    };
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
