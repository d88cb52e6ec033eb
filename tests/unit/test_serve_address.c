/* SPDX-License-Identifier: MIT */
/*
 * test_serve_address.c - where to listen, and which names are ours
 */
#include <errno.h>

#include "client/serve/address.h"
#include "tests/unit/unit.h"

static void test_address_parse_takes_numbers_and_localhost(void **state)
{
    struct address address;
    assert_int_equal(address_parse("127.0.0.1:9464", &address), 0);
    assert_true(address_is_loopback(&address));
    assert_int_equal(address_parse("localhost:0", &address), 0);
    assert_true(address_is_loopback(&address));
    assert_int_equal(address_parse("[::1]:65535", &address), 0);
    assert_true(address_is_loopback(&address));
    assert_int_equal(address_parse("127.8.9.10:80", &address), 0);
    assert_true(address_is_loopback(&address));
}

static void test_address_is_loopback_knows_what_others_reach(void **state)
{
    struct address address;
    assert_int_equal(address_parse("0.0.0.0:9464", &address), 0);
    assert_false(address_is_loopback(&address));
    assert_int_equal(address_parse("[::]:9464", &address), 0);
    assert_false(address_is_loopback(&address));
    assert_int_equal(address_parse("192.0.2.1:9464", &address), 0);
    assert_false(address_is_loopback(&address));
    assert_int_equal(address_parse("[::ffff:127.0.0.1]:9464", &address), 0);
    assert_false(address_is_loopback(&address));
}

static void test_address_parse_refuses_what_is_none(void **state)
{
    static const char *const none[] = {"",
                                       "9464",
                                       ":9464",
                                       "127.0.0.1",
                                       "127.0.0.1:",
                                       "127.0.0.1:x",
                                       "127.0.0.1:65536",
                                       "127.0.0.1:-1",
                                       "example.org:9464",
                                       "[::1:9464",
                                       "::1:9464",
                                       "[::1]9464",
                                       "127.0.0.1:123456"};
    struct address address;
    for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
        assert_int_equal(address_parse(none[i], &address), -EINVAL);
    }
}

static void test_address_may_mean_takes_what_no_dns_can_rebind(void **state)
{
    static const char *const none[] = {NULL};
    static const char *const names[] = {"kmem.example", NULL};
    assert_true(address_may_mean("localhost:9464", none));
    assert_true(address_may_mean("LocalHost", none));
    assert_true(address_may_mean("127.0.0.1:9464", none));
    assert_true(address_may_mean("[::1]:1", none));
    assert_false(address_may_mean("evil.example:9464", none));
    assert_false(address_may_mean("localhost.evil.example", none));
    assert_false(address_may_mean("127.0.0.1.evil.example", none));
    assert_false(address_may_mean("", none));
    assert_false(address_may_mean("[::1", none));
    assert_false(address_may_mean("kmem.example", none));
    assert_true(address_may_mean("KMEM.example:9464", names));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address_parse_takes_numbers_and_localhost),
        cmocka_unit_test(test_address_is_loopback_knows_what_others_reach),
        cmocka_unit_test(test_address_parse_refuses_what_is_none),
        cmocka_unit_test(test_address_may_mean_takes_what_no_dns_can_rebind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
