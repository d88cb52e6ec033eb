/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_follow.c - what `kmemctl watch` prints of changes that are not as they should be
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/command.h"
#include "tests/unit/captured.h"
#include "tests/unit/shown.h"
#include "tests/unit/unit.h"

/* There is no daemon to be found anew. */
int kmem_query_open(const char *socket_path, struct kmem_query **ret_query)
{
    (void)socket_path;
    (void)ret_query;
    return -ENOENT;
}

struct kmem_query *kmem_query_close(struct kmem_query *query)
{
    (void)query;
    return NULL;
}

const char *kmem_query_error(const struct kmem_query *query)
{
    (void)query;
    return "";
}

const char *kmem_last_error(void)
{
    return "";
}

static char *follow(struct kmem_change change)
{
    change.number = 1;
    struct kmem_query query = {.changes = &change, .n_changes = 1, .error = -EIO};
    capture_begin(); /* that the stream has ended */
    const struct shown shown = show(follow_show, query, (struct options){.top = 0});
    (void)capture_end();
    return shown.text;
}

static void test_watch_escapes_each_text(void **state)
{
    char *text = follow((struct kmem_change){.kind = "\x1b[31m",
                                             .command = "\x1b[32m",
                                             .reason = "\xE2\x80\x8B",
                                             .name = "\x07",
                                             .why = "\n"});
    (void)state;
    assert_null(strchr(text, '\x1b'));
    assert_non_null(strstr(text, "\\x1b[31m"));
    assert_non_null(strstr(text, "\\x1b[32m"));
    assert_non_null(strstr(text, " \\x0a \\x07 \\u200b\n"));
    free(text);
}

static void test_watch_of_a_change_older_than_the_clock_has_a_time(void **state)
{
    char *text = follow((struct kmem_change){
        .kind = "died", .command = "", .reason = "", .name = "", .why = "", .ms_ago = UINT64_MAX});
    (void)state;
    assert_int_equal(strncmp(text, "00:00:00.000  died ", strlen("00:00:00.000  died ")), 0);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watch_escapes_each_text),
        cmocka_unit_test(test_watch_of_a_change_older_than_the_clock_has_a_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
