/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_reload.c - what `kmemctl reload` prints, and its status
 */
#include <errno.h>
#include <locale.h>
#include <stdlib.h>

#include "client/ctl/command.h"
#include "client/ctl/status.h"
#include "tests/unit/fake_segment.h"
#include "tests/unit/shown.h"
#include "tests/unit/unit.h"

static const struct options plainly = {0};

static int status_of_reload(size_t n_changes, int error)
{
    struct kmem_query query = fake_segment();
    query.n_setting_changes = n_changes;
    query.error = error;
    struct shown shown = show(reload_show, query, plainly);
    free(shown.text);
    return shown.status;
}

static void test_reload_show_is_golden_and_says_what_waits(void **state)
{
    assert_golden("reload.txt", show(reload_show, fake_segment(), plainly));
    assert_int_equal(status_of_reload(3, 0), STATUS_WAITS);
    assert_int_equal(status_of_reload(0, -EINVAL), -EBADMSG); /* a file, not the command line */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reload_show_is_golden_and_says_what_waits),
    };
    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
