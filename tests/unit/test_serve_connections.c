/* SPDX-License-Identifier: MIT */
#include "client/serve/connections.h"

#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/unit.h"

static struct connections connections;

/* Both ends of a connection: ours, and the peer's. */
struct pair {
    int fd;
    int peer;
};

static struct pair pair_open(uint64_t now_ms)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    connections_add(&connections, fds[0], now_ms);
    return (struct pair){.fd = fds[0], .peer = fds[1]};
}

static void pair_close(struct pair pair)
{
    (void)close(pair.fd);
    (void)close(pair.peer);
}

/* What the peer learns: 0 is the end of the connection. */
static bool is_cut(struct pair pair)
{
    char byte;
    return recv(pair.peer, &byte, 1, 0) == 0;
}

static int begin(void **state)
{
    (void)state;
    connections_init(&connections);
    return 0;
}

static int end(void **state)
{
    (void)state;
    connections_fini(&connections);
    return 0;
}

static void test_connections_expire_cuts_one_that_is_too_old(void **state)
{
    (void)state;
    const struct pair pair = pair_open(1000);
    connections_expire(&connections, 1000 + CONNECTION_LIFE_MS);
    assert_false(is_cut(pair));
    connections_expire(&connections, 1001 + CONNECTION_LIFE_MS);
    assert_true(is_cut(pair));
    pair_close(pair);
}

static void test_connections_expire_cuts_one_that_sends_a_byte_now_and_then(void **state)
{
    (void)state;
    const struct pair pair = pair_open(0);
    for (uint64_t now_ms = 0; now_ms <= CONNECTION_LIFE_MS; now_ms += 1000) {
        assert_int_equal(send(pair.peer, "G", 1, 0), 1);
        connections_expire(&connections, now_ms);
        assert_false(is_cut(pair));
    }
    connections_expire(&connections, CONNECTION_LIFE_MS + 1000);
    assert_true(is_cut(pair));
    pair_close(pair);
}

static void test_connections_expire_leaves_a_younger_one(void **state)
{
    (void)state;
    const struct pair old = pair_open(0);
    const struct pair young = pair_open(CONNECTION_LIFE_MS);
    connections_expire(&connections, CONNECTION_LIFE_MS + 1);
    assert_true(is_cut(old));
    assert_false(is_cut(young));
    pair_close(old);
    pair_close(young);
}

static void test_connections_remove_forgets_a_descriptor_that_another_gets(void **state)
{
    (void)state;
    const struct pair pair = pair_open(0);
    connections_remove(&connections, pair.fd);
    connections_expire(&connections, 2 * CONNECTION_LIFE_MS);
    assert_false(is_cut(pair));
    connections_add(&connections, pair.fd, 2 * CONNECTION_LIFE_MS);
    connections_expire(&connections, 3 * CONNECTION_LIFE_MS);
    assert_false(is_cut(pair));
    pair_close(pair);
}

/* There are not more: the library refuses them before. */
static void test_connections_add_has_places_for_all_that_may_be(void **state)
{
    (void)state;
    struct pair pairs[CONNECTIONS_MAX + 1];
    for (size_t i = 0; i <= CONNECTIONS_MAX; i++) {
        pairs[i] = pair_open(0);
    }
    connections_expire(&connections, CONNECTION_LIFE_MS + 1);
    for (size_t i = 0; i <= CONNECTIONS_MAX; i++) {
        assert_int_equal(is_cut(pairs[i]), i < CONNECTIONS_MAX);
        pair_close(pairs[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_connections_expire_cuts_one_that_is_too_old, begin,
                                        end),
        cmocka_unit_test_setup_teardown(
            test_connections_expire_cuts_one_that_sends_a_byte_now_and_then, begin, end),
        cmocka_unit_test_setup_teardown(test_connections_expire_leaves_a_younger_one, begin, end),
        cmocka_unit_test_setup_teardown(
            test_connections_remove_forgets_a_descriptor_that_another_gets, begin, end),
        cmocka_unit_test_setup_teardown(test_connections_add_has_places_for_all_that_may_be, begin,
                                        end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
