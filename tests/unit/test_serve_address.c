/* SPDX-License-Identifier: MIT */
/*
 * test_serve_address.c - where to listen, and which names are ours
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

static void test_address_parse_refuses_a_host_longer_than_any(void **state)
{
    char text[300];
    struct address address;
    memset(text, 'a', sizeof(text));
    (void)snprintf(text + 256, sizeof(text) - 256, ":80");
    assert_int_equal(address_parse(text, &address), -EINVAL);
}

static void test_address_listen_says_why_it_can_not(void **state)
{
    struct address address;
    char at[64];
    assert_int_equal(address_parse("127.0.0.1:0", &address), 0);
    const int fd = address_listen(&address);
    assert_true(fd >= 0);
    assert_int_equal(address_of(fd, at, sizeof(at)), 0);
    assert_int_equal(address_parse(at, &address), 0);
    assert_int_equal(address_listen(&address), -EADDRINUSE);
    assert_int_equal(close(fd), 0);
    address.at.ss_family = AF_UNSPEC;
    assert_int_equal(address_listen(&address), -EAFNOSUPPORT);
}

static void test_address_of_what_is_no_socket(void **state)
{
    char at[64] = "as it was";
    assert_int_equal(address_of(-1, at, sizeof(at)), -EBADF);
    const int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(address_of(fd, at, sizeof(at)), -ENOTSOCK);
    assert_int_equal(close(fd), 0);
    assert_string_equal(at, "as it was");
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
        cmocka_unit_test(test_address_parse_refuses_a_host_longer_than_any),
        cmocka_unit_test(test_address_listen_says_why_it_can_not),
        cmocka_unit_test(test_address_of_what_is_no_socket),
        cmocka_unit_test(test_address_may_mean_takes_what_no_dns_can_rebind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
