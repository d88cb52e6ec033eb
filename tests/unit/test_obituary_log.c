/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "daemon/server/obituary_log.h"
#include "tests/unit/captured.h"
#include "tests/unit/unit.h"

static uv_loop_t loop;
static struct obituary_log obituary_log;

static int log_setup(void **state)
{
    assert_int_equal(uv_loop_init(&loop), 0);
    obituary_log_init(&obituary_log, &loop);
    return 0;
}

static unsigned count_lines(const char *text)
{
    unsigned n_lines = 0;
    for (; *text; text++) {
        n_lines += *text == '\n';
    }
    return n_lines;
}

static void add(unsigned n_clients)
{
    const struct obituary obituary = {
        .identity = {.pid = 4242, .command = "victim"}, .n_blocks = 2, .num_bytes = 512};
    for (unsigned n = 0; n < n_clients; n++) {
        obituary_log_add(&obituary_log, &obituary);
    }
}

/* Return: what was written, when all is said. */
static const char *log_end(void)
{
    obituary_log_close(&obituary_log);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    return capture_end();
}

static void test_obituary_log_has_a_line_for_each_of_few(void **state)
{
    capture_begin();

    add(3);

    const char *log = log_end();
    assert_int_equal(count_lines(log), 3);
    assert_non_null(strstr(log, "client 4242 (victim"));
}

static void test_obituary_log_has_one_line_for_the_rest_of_many(void **state)
{
    capture_begin();

    add(OBITUARIES_LOGGED + 1000);

    const char *log = log_end();
    assert_int_equal(count_lines(log), OBITUARIES_LOGGED + 1);
    assert_non_null(strstr(log, "1000 more clients ended within a second; "
                                "they had not released 500.0 KiB in 2000 blocks"));
}

static void test_obituary_log_begins_anew_after_a_second(void **state)
{
    capture_begin();
    add(OBITUARIES_LOGGED + 1);

    while (uv_is_active((uv_handle_t *)&obituary_log.second)) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    add(1);

    const char *log = log_end();
    assert_int_equal(count_lines(log), OBITUARIES_LOGGED + 2);
    assert_non_null(strstr(log, "1 more client"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_obituary_log_has_a_line_for_each_of_few, log_setup),
        cmocka_unit_test_setup(test_obituary_log_has_one_line_for_the_rest_of_many, log_setup),
        cmocka_unit_test_setup(test_obituary_log_begins_anew_after_a_second, log_setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
