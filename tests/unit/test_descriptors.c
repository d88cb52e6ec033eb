/* SPDX-License-Identifier: MIT */

#include "daemon/server/descriptors.h"
#include "daemon/server/loop.h"
#include "daemon/core/users.h"
#include "proto/limits.h"
#include "tests/unit/unit.h"

static void test_descriptors_of_too_few_is_no_client(void **state)
{
    assert_int_equal(descriptors_of(0).n_clients, 0);
    assert_int_equal(descriptors_of(DESCRIPTORS_RESERVED + CLIENT_DESCRIPTORS - 1).n_clients, 0);
    assert_int_equal(descriptors_of(DESCRIPTORS_RESERVED + CLIENT_DESCRIPTORS).n_clients, 1);
}

/* Whatever the limit is: all clients, the administrator, and as many again as it is reserved. */
static void test_descriptors_of_any_limit_add_up(void **state)
{
    const rlim_t limits[] = {132, 133, 134, 188, 256, 1024, 4096, 16511, 16512, 16513, 32768};

    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        const struct descriptors descriptors = descriptors_of(limits[i]);
        const rlim_t of_clients = (rlim_t)CLIENT_DESCRIPTORS * descriptors.n_clients;
        assert_int_equal(descriptors.n_free + DESCRIPTORS_FIXED, limits[i]);
        assert_true(descriptors.n_free >= of_clients + 2 * (rlim_t)ADMIN_DESCRIPTORS);
    }
}

static void test_descriptors_of_no_limit_is_what_the_loop_has_a_table_for(void **state)
{
    const struct descriptors descriptors = descriptors_of(RLIM_INFINITY);

    assert_int_equal(descriptors.n_clients, CLIENTS_MAX);
    assert_int_equal(descriptors.n_free, LOOP_DESCRIPTORS - DESCRIPTORS_FIXED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descriptors_of_too_few_is_no_client),
        cmocka_unit_test(test_descriptors_of_any_limit_add_up),
        cmocka_unit_test(test_descriptors_of_no_limit_is_what_the_loop_has_a_table_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
