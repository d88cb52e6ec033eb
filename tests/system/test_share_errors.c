/* SPDX-License-Identifier: MIT */
/* test_share_errors.c - what can not be attached or shared, by the name of each error */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/system/daemon.h"
#include "tests/system/sharing.h"
#include "tests/system/usage.h"

/* ------------------------------------------------------------------------------------ errors -- */

static void be_stale(const void *argument)
{
    const struct sharing_kind *kind = argument;
    unsigned char *block = filled(kind->num_bytes, kind->is_leased, 'a');
    struct kmem_handle handle;
    expect_equal(kmem_share(block, 0, &handle), 0);
    const uint64_t offset = handle.offset;
    expect_equal(kmem_try_release(&block), 0);
    for (size_t i = 0; i < 3; i++) { /* the place is another block's, which is shared as well */
        unsigned char *other = allocate(kind->num_bytes, "another");
        struct kmem_handle of_other;
        void *attached = NULL;
        expect_equal(kmem_share(other, 0, &of_other), 0);
        expect_equal(of_other.offset, offset);
        expect_equal(kmem_attach(&handle, KMEM_READ, "stale", &attached), -ESTALE);
        expect_true(strstr(kmem_last_error(), "is gone, or never was") != NULL);
        expect_true(attached == NULL);
        expect_equal(kmem_try_release(&other), 0);
    }
}

static void test_attach_of_a_stale_handle_is_ESTALE_also_when_its_place_is_used_again(void)
{
    daemon_start("--scrub=off", NULL); /* what is being cleared is not to be had */
    for (size_t i = 0; i < SHARING_KINDS; i++) {
        client_run(be_stale, &sharing_kinds[i]);
    }
    daemon_stop_balanced();
}

static void try_wrong_handles(const void *argument)
{
    (void)argument;
    const struct kmem_handle good = await_handle();
    void *block = NULL;
    struct kmem_handle bad = good;
    bad.tag ^= 1;
    expect_equal(kmem_attach(&bad, KMEM_READ, "x", &block), -EACCES);
    expect_true(strstr(kmem_last_error(), "its tag is wrong") != NULL);
    bad = good;
    bad.generation += UINT64_C(1) << 17;
    expect_equal(kmem_attach(&bad, KMEM_READ, "x", &block), -ESTALE);
    bad = good;
    bad.instance ^= 1;
    expect_equal(kmem_attach(&bad, KMEM_READ, "x", &block), -ESTALE);
    expect_true(strstr(kmem_last_error(), "another segment") != NULL);
    bad = good;
    bad.offset += 16;
    expect_equal(kmem_attach(&bad, KMEM_READ, "x", &block), -ESTALE);
    bad = good;
    bad.num_bytes++;
    expect_equal(kmem_attach(&bad, KMEM_READ, "x", &block), -ESTALE);
    expect_equal(kmem_attach(&good, KMEM_KEEP, "x", &block), -EINVAL);
    expect_equal(kmem_attach(NULL, KMEM_READ, "x", &block), -EINVAL);
    expect_equal((kmem_attach)(&good, KMEM_READ, "x", NULL), -EINVAL);
    expect_equal(kmem_attach_many(&good, 0, KMEM_READ, "x", &block), -EINVAL);
    expect_equal(kmem_attach_many(&good, KMEM_MANY_MAX + 1, KMEM_READ, "x", &block), -EINVAL);
    expect_true(block == NULL);
    const struct kmem_handle both[2] = {good, bad};
    void *blocks[2] = {NULL, NULL};
    expect_equal(kmem_attach_many(both, 2, KMEM_READ, "x", blocks), -ESTALE);
    expect_true(strstr(kmem_last_error(), "handle 2 of 2") != NULL);
    expect_true(blocks[0] == NULL);
    /* Held by now, the others are as wrong as before. */
    block = attach(&good, KMEM_READ);
    bad = good;
    bad.tag ^= 1;
    void *other = NULL;
    expect_equal(kmem_attach(&bad, KMEM_READ, "x", &other), -EACCES);
    release(block);
    expect_equal(kmem_try_release(&block), -EPERM);
}

static void test_attach_with_another_tag_is_EACCES_and_with_other_numbers_ESTALE(void)
{
    daemon_start(NULL, NULL);
    struct client owner = client_start(sharing_own, &sharing_kinds[1]);
    const struct kmem_handle handle = hear_handle(&owner);
    struct client other = client_start(try_wrong_handles, NULL);
    tell_handle(&other, &handle);
    client_end(&other);
    sharing_finish(&owner);
    daemon_stop_balanced();
}

static void share_read_only(const void *argument)
{
    (void)argument;
    unsigned char *block = filled(40000, true, 'a');
    struct kmem_handle handle;
    expect_equal(kmem_share(block, KMEM_READ_ONLY, &handle), 0);
    say_handle(&handle);
    (void)client_await();
    expect_equal(kmem_share(block, 0, &handle), 0);
    client_say(1);
    (void)client_await();
}

static void attach_for_writing(const void *argument)
{
    (void)argument;
    const struct kmem_handle handle = await_handle();
    void *block = NULL;
    expect_equal(kmem_attach(&handle, KMEM_WRITE, "x", &block), -EACCES);
    expect_true(strstr(kmem_last_error(), "for reading only") != NULL);
    unsigned char *readable = attach(&handle, KMEM_READ);
    expect_equal(kmem_attach(&handle, KMEM_WRITE, "x", &block), -EACCES);
    client_say(1);
    (void)client_await();
    unsigned char *writable = attach(&handle, KMEM_WRITE);
    expect_true(writable == readable);
    memset(writable, 'w', handle.num_bytes);
    expect_equal(kmem_try_release(&writable), 0);
    expect_equal(kmem_try_release(&readable), 0);
    client_say(1);
}

static void test_attach_for_writing_of_what_is_shared_read_only_is_EACCES(void)
{
    daemon_start(NULL, NULL);
    struct client owner = client_start(share_read_only, NULL);
    const struct kmem_handle handle = hear_handle(&owner);
    struct client writer = client_start(attach_for_writing, NULL);
    tell_handle(&writer, &handle);
    expect_equal(client_hear(&writer), 1);
    sharing_tell(&owner, 1);
    sharing_tell(&writer, 1);
    client_tell(&owner, 1);
    client_end(&writer);
    client_end(&owner);
    daemon_stop_balanced();
}

static void write_what_it_reads(const void *argument)
{
    (void)argument;
    const struct kmem_handle handle = await_handle();
    unsigned char *block = attach(&handle, KMEM_READ);
    const struct rlimit no_core = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer has its own */
    expect_filled(block, handle.num_bytes, 'a');
    *(volatile unsigned char *)block = 'w';
}

static void test_a_write_through_a_reading_attach_ends_in_SIGSEGV(void)
{
    daemon_start(NULL, NULL);
    struct client owner = client_start(sharing_own, &sharing_kinds[4]);
    const struct kmem_handle handle = hear_handle(&owner);
    struct client writer = client_start(write_what_it_reads, NULL);
    tell_handle(&writer, &handle);
    client_end_by(&writer, SIGSEGV);
    sharing_finish(&owner);
    daemon_stop_balanced();
}

static void share_what_is_none(const void *argument)
{
    (void)argument;
    struct kmem_handle handle;
    int local = 0;
    for (size_t i = 0; i < SHARING_KINDS; i++) {
        unsigned char *block = filled(sharing_kinds[i].num_bytes, sharing_kinds[i].is_leased, 'a');
        unsigned char *copy = block;
        expect_equal(kmem_share(block + 16, 0, &handle), -EINVAL);
        expect_equal(kmem_share(block, KMEM_WRITE, &handle), -EINVAL);
        expect_equal(kmem_share(block, 0, NULL), -EINVAL);
        release(block);
        expect_equal(kmem_share(copy, 0, &handle), -EALREADY);
        expect_equal(kmem_transfer(&copy, 0, &handle), -EALREADY);
    }
    expect_equal(kmem_share(&local, 0, &handle), -EINVAL);
    expect_equal(kmem_share(NULL, 0, &handle), -EINVAL);
}

static void test_share_of_what_is_no_block_is_EINVAL_and_of_a_released_one_EALREADY(void)
{
    daemon_start(NULL, NULL);
    client_run(share_what_is_none, NULL);
    daemon_stop_balanced();
}

static void share_anothers(const void *argument)
{
    (void)argument;
    const struct kmem_handle handle = await_handle();
    struct kmem_handle mine;
    unsigned char *block = attach(&handle, KMEM_WRITE);
    expect_equal(kmem_share(block, 0, &mine), -EPERM);
    expect_equal(kmem_transfer(&block, 0, &mine), -EPERM);
    expect_true(block != NULL);
    release(block);
}

static void test_share_by_a_holder_is_EPERM(void)
{
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < SHARING_KINDS; i++) {
        struct client owner = client_start(sharing_own, &sharing_kinds[i]);
        const struct kmem_handle handle = hear_handle(&owner);
        struct client holder = client_start(share_anothers, NULL);
        tell_handle(&holder, &handle);
        client_end(&holder);
        sharing_finish(&owner);
    }
    daemon_stop_balanced();
}

/* The server is asked about the last one before the others are released. */
static void release_one_twice(const void *argument)
{
    (void)argument;
    struct kmem_handle handle;
    unsigned char *mine = filled(100, true, 'a');
    unsigned char *shared = filled(200000, false, 'b');
    expect_equal(kmem_share(shared, 0, &handle), 0);
    void *blocks[] = {mine, mine, shared};
    expect_equal(kmem_release_many(blocks, 3), -EALREADY);
    expect_true(blocks[0] == NULL);
    expect_true(blocks[1] == mine);
    if (blocks[2] != NULL) {
        expect_equal(kmem_try_release(&blocks[2]), 0); /* it is held still */
    }
    void *again = NULL;
    expect_equal(kmem_attach(&handle, KMEM_READ, "again", &again), -ESTALE);
}

static void test_release_many_with_one_twice_loses_no_other(void)
{
    daemon_start(NULL, NULL);
    client_run(release_one_twice, NULL);
    daemon_stop_balanced();
}

int main(int argc, char **argv)
{
    static const struct system_test tests[] = {
        SYSTEM_TEST(test_attach_of_a_stale_handle_is_ESTALE_also_when_its_place_is_used_again, 10),
        SYSTEM_TEST(test_attach_with_another_tag_is_EACCES_and_with_other_numbers_ESTALE, 10),
        SYSTEM_TEST(test_attach_for_writing_of_what_is_shared_read_only_is_EACCES, 10),
        SYSTEM_TEST(test_a_write_through_a_reading_attach_ends_in_SIGSEGV, 10),
        SYSTEM_TEST(test_share_of_what_is_no_block_is_EINVAL_and_of_a_released_one_EALREADY, 10),
        SYSTEM_TEST(test_share_by_a_holder_is_EPERM, 10),
        SYSTEM_TEST(test_release_many_with_one_twice_loses_no_other, 10),
    };
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
