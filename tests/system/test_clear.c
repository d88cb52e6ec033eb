/* SPDX-License-Identifier: MIT */
/*
 * test_clear.c - blocks are zero, by whichever loop; and what is said of the loops
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

static bool is_zero(const unsigned char *block, size_t num_bytes)
{
    size_t at = 0;
    while (at < num_bytes && block[at] == 0) {
        at++;
    }
    return at == num_bytes;
}

/* What is released full of ones comes back; some of it at once, so that it is in a cache. */
static void allocate_what_was_written(void)
{
    static const size_t sizes[] = {2048, 2049, 5000, 8192, 20000, 32768, 65536, 65537, 300000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (int round = 0; round < 40; round++) {
            unsigned char *block = kmem_try_allocate(sizes[i], "clear");
            expect_true(block != NULL);
            expect_true(is_zero(block, sizes[i]));
            memset(block, 0xff, sizes[i]);
            kmem_release(&block);
        }
    }
}

/* With a loop that this machine has; or is told that it does not. */
static void clear_by(const void *loop)
{
    (void)setenv("KMEM_CLEAR", loop, 1);
    void *block = kmem_try_allocate(44, "first");
    if (block == NULL) {
        char sentence[128];
        expect_equal(errno, EINVAL);
        expect_true(strcmp(loop, "auto") != 0 && strcmp(loop, "memset") != 0);
        (void)snprintf(sentence, sizeof(sentence),
                       "kmem_try_allocate: $KMEM_CLEAR is \"%s\", which this processor does not "
                       "have; \"auto\" finds what is fastest on it",
                       (const char *)loop);
        expect_text(kmem_last_error(), sentence);
        return;
    }
    allocate_what_was_written();
    kmem_release(&block);
}

static void test_blocks_are_zero_by_every_loop(void)
{
    static const char *const loops[] = {"auto", "memset", "loop32", "loop64", "rep"};
    daemon_start("--size", "64MiB", NULL);
    for (size_t i = 0; i < sizeof(loops) / sizeof(loops[0]); i++) {
        client_run(clear_by, loops[i]);
    }
    daemon_stop_balanced();
}

static void set_nonsense(const void *argument)
{
    (void)argument;
    (void)setenv("KMEM_CLEAR", "fast", 1);
    expect_true(kmem_try_allocate(44, "cleared?") == NULL);
    expect_equal(errno, EINVAL);
    expect_text(kmem_last_error(), "kmem_try_allocate: $KMEM_CLEAR is \"fast\", none of \"auto\", "
                                   "\"memset\", \"loop32\", \"loop64\" and \"rep\"");
    (void)setenv("KMEM_CLEAR", "auto", 1);
    expect_call(kmem_try_allocate(44, "cleared") != NULL);
}

static void test_loop_that_is_none_is_EINVAL(void)
{
    daemon_start(NULL, NULL);
    client_run(set_nonsense, NULL);
    daemon_stop_balanced();
}

static void test_usage_says_which_loop_clears_and_up_to_which_size(void)
{
    daemon_start("--size", "64MiB", NULL);
    const uint64_t num_bytes = usage_clearing_bytes(); /* or it fails */
    expect_at_least(num_bytes, 4096);
    expect_at_least(512 * 1024, num_bytes);
    expect_match(ctl("usage", "--all", "-o", "wide")->out,
                 "^clear_loop_bytes .*(memset|loop32|loop64|rep) up to 512.0 KiB; memset beyond");
    daemon_kill_server();
    expect_equal(usage_clearing_bytes(), num_bytes); /* the next server believes the first */
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_blocks_are_zero_by_every_loop, 20),
    SYSTEM_TEST(test_loop_that_is_none_is_EINVAL, 10),
    SYSTEM_TEST(test_usage_says_which_loop_clears_and_up_to_which_size, 10),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
