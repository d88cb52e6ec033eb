/* SPDX-License-Identifier: MIT */
/*
 * test_allocate_with.c - KMEM_UNINITIALIZED leaves this process's bytes and no other's;
 *                        KMEM_SHAREABLE gives small blocks shareable neighbours alone
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/limits.h"
#include "tests/system/daemon.h"
#include "tests/system/sharing.h"
#include "tests/system/usage.h"

/* Thirteen pages, of which the last is not full. */
#define BLOCK_BYTES ((size_t)200000)
#define OWN_BYTES (BLOCK_BYTES / PAGE_BYTES * PAGE_BYTES)

static unsigned char *allocate_with(size_t num_bytes, int flags)
{
    unsigned char *block = kmem_try_allocate_with(num_bytes, flags, "with");
    if (block == NULL) {
        fail("%zu bytes, flags %#x: %s", num_bytes, (unsigned)flags, kmem_last_error());
    }
    return block;
}

/* The size is one of those that this process carves itself, and then the last block comes back. */
static unsigned char *allocate_warm(void)
{
    for (unsigned int i = 0; i < SHARING_HOT; i++) {
        release(allocate_with(BLOCK_BYTES, KMEM_UNINITIALIZED));
    }
    return allocate_with(BLOCK_BYTES, KMEM_UNINITIALIZED);
}

static size_t count_of(const unsigned char *block, size_t num_bytes, int what)
{
    size_t n = 0;
    for (size_t i = 0; i < num_bytes; i++) {
        n += block[i] == what;
    }
    return n;
}

/* ------------------------------------------------------------------------------------- flags -- */

static void refuse_flags(const void *argument)
{
    (void)argument;
    static const int unknown[] = {KMEM_WRITE, KMEM_KEEP, KMEM_SHAREABLE | 1, 1 << 30, -1};
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        errno = 0;
        expect_true(kmem_try_allocate_with(100, unknown[i], "with") == NULL);
        expect_equal(errno, EINVAL);
        expect_true(strstr(kmem_last_error(), "kmem_try_allocate_with: flags ") != NULL);
    }
    errno = 0;
    expect_true(kmem_try_allocate_with(0, KMEM_SHAREABLE, "with") == NULL);
    expect_equal(errno, EINVAL);
    expect_true(kmem_try_allocate_with((size_t)1 << 40, KMEM_UNINITIALIZED, "with") == NULL);
    expect_equal(errno, EINVAL);
    expect_true(kmem_try_allocate_with((size_t)16 << 20, KMEM_UNINITIALIZED, "with") == NULL);
    expect_equal(errno, ENOMEM);
    errno = 77;
    unsigned char *block = allocate_with(100, KMEM_SHAREABLE | KMEM_UNINITIALIZED);
    expect_equal(errno, 77);
    size_t num_bytes = 0;
    expect_equal(kmem_try_sizeof(block, &num_bytes), 0);
    expect_equal(num_bytes, 100);
    release(block);
}

static void test_allocate_with_unknown_flags_is_EINVAL(void)
{
    daemon_start(NULL, NULL);
    client_run(refuse_flags, NULL);
    daemon_stop_balanced();
}

/* ----------------------------------------------------------------------------- uninitialized -- */

static void find_own_bytes(const void *argument)
{
    (void)argument;
    unsigned char *block = allocate_warm();
    memset(block, 'o', BLOCK_BYTES);
    release(block);
    block = allocate_with(BLOCK_BYTES, KMEM_UNINITIALIZED);
    expect_equal(count_of(block, BLOCK_BYTES, 'o'), OWN_BYTES); /* it is really not cleared */
    expect_equal(count_of(block, BLOCK_BYTES, 0), BLOCK_BYTES - OWN_BYTES);
    release(block);
    block = allocate(BLOCK_BYTES, "with");
    expect_filled(block, BLOCK_BYTES, 0);
    release(block);
}

static void test_an_uninitialized_block_has_what_its_process_left(void)
{
    daemon_start(NULL, NULL);
    client_run(find_own_bytes, NULL);
    daemon_stop_balanced();
}

#define FLOOD_MAX 200

/* As many blocks as there is room for, leased ones too; all are looked at, and become `fill`. */
static void flood(int foreign, int fill)
{
    static unsigned char *blocks[FLOOD_MAX];
    size_t n = 0;
    while (n < FLOOD_MAX &&
           (blocks[n] = kmem_try_allocate_with(BLOCK_BYTES, KMEM_UNINITIALIZED, "flood")) != NULL) {
        expect_equal(count_of(blocks[n], BLOCK_BYTES, foreign), 0);
        memset(blocks[n], fill, BLOCK_BYTES);
        n++;
    }
    expect_true(n > 60);
    while (n > 0) {
        release(blocks[--n]);
    }
}

/* In turns with the other one, whose bytes are never to be seen. */
static void flood_in_turns(const void *argument)
{
    const int *own = argument;
    for (uint64_t n; (n = client_await()) != 0;) {
        flood(*own == 'a' ? 'b' : 'a', *own);
        client_say(n);
    }
}

/* Each has all of the segment in its turn, from the other's leases; the last time of a dead one. */
static void test_an_uninitialized_block_never_has_anothers_bytes(void)
{
    static const int fills[2] = {'a', 'b'};
    daemon_start(NULL, NULL);
    struct client clients[2] = {client_start(flood_in_turns, &fills[0]),
                                client_start(flood_in_turns, &fills[1])};
    for (uint64_t n = 1; n <= 6; n++) {
        sharing_tell(&clients[n % 2], n);
    }
    client_kill(&clients[0]);
    sharing_tell(&clients[1], 7);
    sharing_finish(&clients[1]);
    daemon_stop_balanced();
}

/* ----------------------------------------------------------------------- what others wrote ---- */

struct lending {
    int flags;       /* with which the other attaches it */
    bool owner_last; /* the owner lets go last; else the other does */
    bool hands_over; /* by kmem_transfer() */
};

static void lend(const void *argument)
{
    const struct lending *lending = argument;
    unsigned char *block = allocate_warm();
    memset(block, 'o', BLOCK_BYTES);
    struct kmem_handle handle;
    expect_equal(
        lending->hands_over ? kmem_transfer(&block, 0, &handle) : kmem_share(block, 0, &handle), 0);
    say_handle(&handle);
    (void)client_await(); /* it is attached, or let go of */
    if (block != NULL) {
        release(block);
    }
    client_say(1);
    (void)client_await(); /* the other has let go of it */
    block = allocate_with(BLOCK_BYTES, KMEM_UNINITIALIZED);
    expect_equal(kmem_offset_of(block), handle.offset);
    expect_equal(count_of(block, BLOCK_BYTES, 'x'), 0);
    client_say(count_of(block, BLOCK_BYTES, 'o'));
    release(block);
}

static void borrow(const void *argument)
{
    const struct lending *lending = argument;
    const struct kmem_handle handle = await_handle();
    unsigned char *block = attach(&handle, lending->flags);
    if ((lending->flags & KMEM_WRITE) != 0) {
        memset(block, 'x', BLOCK_BYTES);
    }
    client_say(1);
    (void)client_await();
    release(block);
    client_say(1);
    (void)client_await();
}

/* Return: how many bytes of its own the owner finds when the block is back. */
static uint64_t left_after(const struct lending *lending)
{
    struct client owner = client_start(lend, lending);
    const struct kmem_handle handle = hear_handle(&owner);
    struct client other = client_start(borrow, lending);
    tell_handle(&other, &handle);
    expect_equal(client_hear(&other), 1);
    if (lending->owner_last) {
        sharing_tell(&other, 1);
        sharing_tell(&owner, 1);
    } else {
        sharing_tell(&owner, 1);
        sharing_tell(&other, 1);
    }
    client_tell(&owner, 1);
    const uint64_t n_left = client_hear(&owner);
    client_end(&owner);
    sharing_finish(&other);
    expect_balanced();
    return n_left;
}

static void test_what_others_read_is_left_and_what_others_held_for_writing_is_cleared(void)
{
    daemon_start(NULL, NULL);
    for (int owner_last = 0; owner_last < 2; owner_last++) {
        const struct lending reading = {KMEM_READ, owner_last != 0, false};
        const struct lending writing = {KMEM_WRITE, owner_last != 0, false};
        expect_equal(left_after(&reading), OWN_BYTES);
        expect_equal(left_after(&writing), 0);
    }
    const struct lending over = {KMEM_WRITE, false, true};
    expect_equal(left_after(&over), 0);
    daemon_stop_balanced();
}

/* --------------------------------------------------------------------------------- shareable -- */

#define N_MIXED 600

static void allocate_mixed(const void *argument)
{
    (void)argument;
    static unsigned char *blocks[N_MIXED];
    unsigned char kinds[1024] = {0};
    for (size_t i = 0; i < N_MIXED; i++) {
        const unsigned char kind = i % 2 == 0 ? 's' : 'o';
        blocks[i] = kind == 's' ? allocate_with(64, KMEM_SHAREABLE) : allocate(64, "ordinary");
        expect_filled(blocks[i], 64, 0);
        const uint64_t page = kmem_offset_of(blocks[i]) / PAGE_BYTES;
        expect_true(page < sizeof(kinds) && (kinds[page] == 0 || kinds[page] == kind));
        kinds[page] = kind;
    }
    client_say(kmem_offset_of(blocks[0]) / PAGE_BYTES);
    (void)client_await();
    for (size_t i = 0; i < N_MIXED; i++) {
        release(blocks[i]);
    }
}

/* Attaches one for reading: what can not be written is all of what was made to be shared. */
static void attach_neighbour(const void *argument)
{
    (void)argument;
    const struct kmem_handle handle = await_handle();
    const unsigned char *block = attach(&handle, KMEM_READ);
    expect_equal(block[0], 's');
    unsigned char *own = allocate_with(64, KMEM_SHAREABLE);
    client_say(kmem_offset_of(own) / PAGE_BYTES);
    (void)client_await();
}

static void share_one(const void *argument)
{
    (void)argument;
    unsigned char *block = allocate_with(64, KMEM_SHAREABLE);
    struct kmem_handle handle;
    block[0] = 's';
    expect_equal(kmem_share(block, 0, &handle), 0);
    say_handle(&handle);
    (void)client_await();
}

static void test_small_shareable_blocks_lie_in_pages_of_their_own(void)
{
    daemon_start(NULL, NULL);
    struct client mixed = client_start(allocate_mixed, NULL);
    const uint64_t page = client_hear(&mixed);
    struct client owner = client_start(share_one, NULL);
    const struct kmem_handle handle = hear_handle(&owner);
    daemon_kill_server(); /* the next one knows which they are */
    struct client other = client_start(attach_neighbour, NULL);
    tell_handle(&other, &handle);
    expect_true(handle.offset / PAGE_BYTES >= page);
    expect_equal(client_hear(&other), handle.offset / PAGE_BYTES); /* of all processes, together */
    sharing_finish(&other);
    sharing_finish(&owner);
    sharing_finish(&mixed);
    daemon_stop_balanced();
}

int main(int argc, char **argv)
{
    static const struct system_test tests[] = {
        SYSTEM_TEST(test_allocate_with_unknown_flags_is_EINVAL, 20),
        SYSTEM_TEST(test_an_uninitialized_block_has_what_its_process_left, 20),
        SYSTEM_TEST(test_an_uninitialized_block_never_has_anothers_bytes, 60),
        SYSTEM_TEST(test_what_others_read_is_left_and_what_others_held_for_writing_is_cleared, 30),
        SYSTEM_TEST(test_small_shareable_blocks_lie_in_pages_of_their_own, 20),
    };
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
