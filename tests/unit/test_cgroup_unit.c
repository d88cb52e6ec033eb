/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "daemon/server/cgroup_unit.h"
#include "proto/text.h"
#include "tests/unit/unit.h"

static void assert_unit(const char *cgroup, const char *expected)
{
    char unit[UNIT_NAME_BYTES];
    cgroup_unit(cgroup, unit);
    assert_string_equal(unit, expected);
    assert_true(text_is_utf8((const unsigned char *)unit, strlen(unit)));
}

static void test_unit_is_the_last_service_or_scope(void **state)
{
    assert_unit("0::/system.slice/nginx.service\n", "nginx.service");
    assert_unit("0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope");
    assert_unit("0::/user.slice/user-1000.slice/user@1000.service/app.slice/a-b.service\n",
                "a-b.service");
    assert_unit("0::/system.slice/kmemd@x.service/payload/deeper\n", "kmemd@x.service");
    assert_unit("0::/system.slice/a.service", "a.service"); /* the file was cut */
}

static void test_unit_without_a_service_is_the_path(void **state)
{
    assert_unit("0::/\n", "/");
    assert_unit("0::/docker/0123abc\n", "/docker/0123abc");
    assert_unit("0::/a.slice/b\n", "/a.slice/b");
    assert_unit("0::/.service/b\n", "/.service/b"); /* which is no name of one */
    assert_unit("0::/../../x\n", "/../../x");
}

static void test_unit_of_the_first_version_is_systemds_own(void **state)
{
    assert_unit("12:cpu,cpuacct:/x\n1:name=systemd:/system.slice/a.service\n0::/\n", "a.service");
    assert_unit("12:cpu,cpuacct:/x.service\n1:name=systemd:/y\n", "/y");
}

static void test_unit_of_what_says_nothing_is_unknown(void **state)
{
    assert_unit("", "?");
    assert_unit("\n", "?");
    assert_unit("4:memory:/x\n", "?");
}

static void test_unit_that_is_long_is_told_by_its_end(void **state)
{
    char cgroup[4096];
    char unit[UNIT_NAME_BYTES];
    memset(cgroup, 'x', sizeof(cgroup));
    memcpy(cgroup, "0::/", 4);
    memcpy(cgroup + 4000, ".service\n", 10);
    cgroup_unit(cgroup, unit);
    assert_int_equal(strlen(unit), UNIT_NAME_BYTES - 1);
    assert_string_equal(unit + UNIT_NAME_BYTES - 1 - 8, ".service");
}

static void test_unit_of_any_bytes_is_utf8(void **state)
{
    assert_unit("0::/\xff\xfe.service\n", "??.service");
    assert_unit("0::/\xc3\xa9.scope\n", "\xc3\xa9.scope");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unit_is_the_last_service_or_scope),
        cmocka_unit_test(test_unit_without_a_service_is_the_path),
        cmocka_unit_test(test_unit_of_the_first_version_is_systemds_own),
        cmocka_unit_test(test_unit_of_what_says_nothing_is_unknown),
        cmocka_unit_test(test_unit_that_is_long_is_told_by_its_end),
        cmocka_unit_test(test_unit_of_any_bytes_is_utf8),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
