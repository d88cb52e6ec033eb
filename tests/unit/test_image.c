/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <sys/auxv.h>

#include "client/link/image.h"
#include "tests/unit/unit.h"

/* What the kernel gave to this program; NULL: nothing. */
static unsigned char key[16];
static const unsigned char *given;

unsigned long __wrap_getauxval(unsigned long type);
unsigned long __wrap_getauxval(unsigned long type)
{
    assert_int_equal(type, AT_RANDOM);
    return (unsigned long)(uintptr_t)given;
}

static int image_setup(void **state)
{
    for (unsigned i = 0; i < sizeof(key); i++) {
        key[i] = (unsigned char)i;
    }
    given = key;
    return 0;
}

static void test_image_is_the_same_as_long_as_the_program_runs(void **state)
{
    const struct image first = kmem__image();
    const struct image second = kmem__image();

    assert_true(first.program != 0);
    assert_true(first.copy != first.program);
    assert_memory_equal(&first, &second, sizeof(first));
}

static void test_image_after_an_exec_is_another(void **state)
{
    const struct image before = kmem__image();
    key[15] ^= 1;
    const struct image after = kmem__image();

    assert_true(before.program != after.program);
    assert_true(before.copy != after.copy);
}

/* Half of what the reference implementation of SipHash-2-4 makes of eight bytes of 0. */
static void test_image_tells_nothing_of_the_random_bytes_but_a_siphash(void **state)
{
    assert_true(kmem__image().program == UINT32_C(0xa07681a7));
}

static void test_image_where_the_kernel_gives_nothing_says_nothing(void **state)
{
    given = NULL;

    assert_int_equal(kmem__image().program, 0);
    assert_int_equal(kmem__image().copy, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_image_is_the_same_as_long_as_the_program_runs, image_setup),
        cmocka_unit_test_setup(test_image_after_an_exec_is_another, image_setup),
        cmocka_unit_test_setup(test_image_tells_nothing_of_the_random_bytes_but_a_siphash,
                               image_setup),
        cmocka_unit_test_setup(test_image_where_the_kernel_gives_nothing_says_nothing, image_setup),
    };
    return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
