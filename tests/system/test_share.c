/* SPDX-License-Identifier: MIT */
/*
 * test_share.c - a block that several processes hold: its bytes stay as long as one of them does
 *
 * Each is tried with a block that the server carved and with one of the owner's lease, small and
 * large.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/system/daemon.h"
#include "tests/system/sharing.h"
#include "tests/system/usage.h"

struct kind {
    size_t num_bytes;
    bool is_leased;
};

static const struct kind kinds[] = {
    {100, false}, {100, true}, {40000, true}, {200000, false}, {200000, true}};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* ------------------------------------------------------------------------ owners and holders -- */

/* Shares a block, and does as it is told: 'r' releases it, 'c' changes it, 0 ends. */
static void own(const void *argument)
{
    const struct kind *kind = argument;
    unsigned char *block = filled(kind->num_bytes, kind->is_leased, 'a');
    struct kmem_handle handle;
    struct kmem_handle again;
    expect_equal(kmem_share(block, 0, &handle), 0);
    expect_equal(kmem_share(block, 0, &again), 0);
    expect_equal(memcmp(&handle, &again, sizeof(handle)), 0);
    expect_equal(handle.num_bytes, kind->num_bytes);
    expect_equal(handle.offset, kmem_offset_of(block));
    say_handle(&handle);
    for (uint64_t what; (what = client_await()) != 0;) {
        if (what == 'r') {
            expect_equal(kmem_try_release(&block), 0);
            expect_true(block == NULL);
        } else {
            memset(block, (int)what, kind->num_bytes);
        }
        client_say(what);
    }
}

static void do_as_told(const struct client *client, uint64_t what)
{
    client_tell(client, what);
    expect_equal(client_hear(client), what);
}

/* Attaches what it is told; then: a letter: its bytes are that; 'R' releases; 0 ends. */
static void hold(const void *argument)
{
    (void)argument;
    const struct kmem_handle handle = await_handle();
    unsigned char *block = attach(&handle, KMEM_READ);
    size_t num_bytes = 0;
    expect_equal(kmem_try_sizeof(block, &num_bytes), 0);
    expect_equal(num_bytes, handle.num_bytes);
    client_say(1);
    for (uint64_t what; (what = client_await()) != 0;) {
        if (what == 'R') {
            expect_equal(kmem_try_release(&block), 0);
        } else {
            expect_filled(block, num_bytes, (int)what);
        }
        client_say(what);
    }
}

static struct client hold_start(const struct kmem_handle *handle)
{
    struct client holder = client_start(hold, NULL);
    tell_handle(&holder, handle);
    expect_equal(client_hear(&holder), 1);
    return holder;
}

static void finish(struct client *client)
{
    client_tell(client, 0);
    client_end(client);
}

static void test_a_holder_sees_the_owners_bytes(void)
{
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < N_KINDS; i++) {
        struct client owner = client_start(own, &kinds[i]);
        const struct kmem_handle handle = hear_handle(&owner);
        struct client holder = hold_start(&handle);
        do_as_told(&holder, 'a');
        do_as_told(&owner, 'b');
        do_as_told(&holder, 'b');
        do_as_told(&holder, 'R');
        do_as_told(&owner, 'r');
        finish(&holder);
        finish(&owner);
        expect_balanced();
    }
    daemon_stop_balanced();
}

static void test_a_block_outlives_its_owners_release(void)
{
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < N_KINDS; i++) {
        struct client owner = client_start(own, &kinds[i]);
        const struct kmem_handle handle = hear_handle(&owner);
        struct client holder = hold_start(&handle);
        do_as_told(&owner, 'r');
        do_as_told(&holder, 'a');
        finish(&owner);
        do_as_told(&holder, 'a');
        finish(&holder);
        expect_balanced();
    }
    daemon_stop_balanced();
}

static void test_a_block_outlives_its_owner_that_is_killed(void)
{
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < N_KINDS; i++) {
        struct client owner = client_start(own, &kinds[i]);
        const struct kmem_handle handle = hear_handle(&owner);
        struct client holder = hold_start(&handle);
        struct client second = hold_start(&handle);
        client_kill(&owner);
        do_as_told(&holder, 'a');
        do_as_told(&holder, 'R');
        struct client late = hold_start(&handle); /* the second has it still */
        do_as_told(&second, 'a');
        client_kill(&second);
        do_as_told(&late, 'a');
        finish(&late);
        finish(&holder);
        expect_balanced();
    }
    daemon_stop_balanced();
}

static void test_a_holder_that_is_killed_lets_go(void)
{
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < N_KINDS; i++) {
        struct client owner = client_start(own, &kinds[i]);
        const struct kmem_handle handle = hear_handle(&owner);
        struct client holder = hold_start(&handle);
        do_as_told(&owner, 'r');
        client_kill(&holder);
        finish(&owner);
        expect_balanced();
    }
    daemon_stop_balanced();
}

static void test_holds_outlive_a_killed_server(void)
{
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < N_KINDS; i++) {
        struct client owner = client_start(own, &kinds[i]);
        const struct kmem_handle handle = hear_handle(&owner);
        daemon_kill_server();
        struct client holder = hold_start(&handle);
        daemon_kill_server();
        do_as_told(&owner, 'r');
        daemon_kill_server();
        do_as_told(&holder, 'a');
        client_kill(&owner);
        daemon_kill_server();
        do_as_told(&holder, 'a');
        do_as_told(&holder, 'R');
        finish(&holder);
        expect_balanced();
    }
    daemon_stop_balanced();
}

/* ---------------------------------------------------------------------------- counted locally -- */

#define N_ATTACHES 500

static void attach_often(const void *argument)
{
    (void)argument;
    const struct kmem_handle handle = await_handle();
    unsigned char *blocks[N_ATTACHES];
    for (size_t i = 0; i < N_ATTACHES; i++) {
        blocks[i] = attach(&handle, KMEM_READ);
        expect_true(blocks[i] == blocks[0]);
    }
    client_say(1);
    (void)client_await();
    for (size_t i = 1; i < N_ATTACHES; i++) {
        expect_equal(kmem_try_release((void **)&blocks[i]), 0);
    }
    expect_filled(blocks[0], handle.num_bytes, 'a');
    client_say(1);
    (void)client_await();
    expect_equal(kmem_try_release((void **)&blocks[0]), 0);
    client_say(1);
    (void)client_await();
    expect_equal(kmem_close(), 0);
}

/* So many requests are those of usage_take() itself. */
static uint64_t requests_of_a_look(void)
{
    const uint64_t before = usage_take().requests;
    return usage_take().requests - before;
}

static void test_500_attaches_are_one_round_trip_and_so_are_their_releases(void)
{
    daemon_start(NULL, NULL);
    struct client owner = client_start(own, &kinds[1]);
    const struct kmem_handle handle = hear_handle(&owner);
    const uint64_t look = requests_of_a_look();
    struct client holder = client_start(attach_often, NULL);
    uint64_t before = usage_take().requests;
    tell_handle(&holder, &handle);
    expect_equal(client_hear(&holder), 1);
    uint64_t now = usage_take().requests;
    expect_equal(now - before - look, 2); /* Hello and Attach */
    before = now;
    client_tell(&holder, 1);
    expect_equal(client_hear(&holder), 1);
    now = usage_take().requests;
    expect_equal(now - before - look, 0);
    before = now;
    client_tell(&holder, 1);
    expect_equal(client_hear(&holder), 1);
    now = usage_take().requests;
    expect_equal(now - before - look, 1);
    client_tell(&holder, 1);
    client_end(&holder);
    finish(&owner);
    daemon_stop_balanced();
}

static void attach_own(const void *argument)
{
    const struct kind *kind = argument;
    unsigned char *block = filled(kind->num_bytes, kind->is_leased, 'a');
    struct kmem_handle handle;
    expect_equal(kmem_share(block, 0, &handle), 0);
    unsigned char *again = attach(&handle, KMEM_WRITE);
    expect_true(again == block);
    expect_equal(kmem_try_release(&block), 0);
    expect_filled(again, kind->num_bytes, 'a');
    expect_equal(kmem_try_release(&again), 0);
    void *gone = NULL;
    expect_equal(kmem_attach(&handle, KMEM_READ, "gone", &gone), -ESTALE);
    expect_true(gone == NULL);
    expect_equal(kmem_close(), 0);
}

static void test_an_owner_that_attaches_its_own_block_counts_locally(void)
{
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < N_KINDS; i++) {
        client_run(attach_own, &kinds[i]);
    }
    daemon_stop_balanced();
}

/* --------------------------------------------------------------------------------- coming home -- */

#define N_FRAMES 50

/* Lends frames; each is taken home before the next is carved, so they are few. */
static void lend_frames(const void *argument)
{
    const struct kind *kind = argument;
    uint64_t offsets[2 * SHARING_HOT];
    size_t n_offsets = 0;
    unsigned char *warm = filled(kind->num_bytes, true, 0);
    release(warm);
    for (size_t i = 0; i < N_FRAMES; i++) {
        unsigned char *frame = allocate(kind->num_bytes, "frame");
        const uint64_t offset = kmem_offset_of(frame);
        size_t at = 0;
        while (at < n_offsets && offsets[at] != offset) {
            at++;
        }
        expect_true(at < 2 * SHARING_HOT); /* else none comes home */
        offsets[at] = offset;
        n_offsets += at == n_offsets;
        struct kmem_handle handle;
        expect_filled(frame, kind->num_bytes, 0);
        memset(frame, 'f', kind->num_bytes);
        expect_equal(kmem_share(frame, 0, &handle), 0);
        say_handle(&handle);
        (void)client_await(); /* it is attached */
        expect_equal(kmem_try_release(&frame), 0);
        client_say(1);
        (void)client_await(); /* it is let go of */
    }
    expect_equal(kmem_close(), 0);
}

static void take_frames(const void *argument)
{
    (void)argument;
    for (size_t i = 0; i < N_FRAMES; i++) {
        const struct kmem_handle handle = await_handle();
        unsigned char *frame = attach(&handle, KMEM_READ);
        client_say(1);
        (void)client_await();
        expect_filled(frame, handle.num_bytes, 'f');
        expect_equal(kmem_try_release(&frame), 0);
        client_say(1);
    }
}

static void test_a_lent_block_comes_home_when_its_holder_lets_go(void)
{
    daemon_start(NULL, NULL);
    static const struct kind of[] = {{100, true}, {40000, true}, {200000, true}};
    for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
        struct client owner = client_start(lend_frames, &of[i]);
        struct client taker = client_start(take_frames, NULL);
        for (size_t frame = 0; frame < N_FRAMES; frame++) {
            const struct kmem_handle handle = hear_handle(&owner);
            tell_handle(&taker, &handle);
            expect_equal(client_hear(&taker), 1);
            do_as_told(&owner, 1);
            do_as_told(&taker, 1);
            client_tell(&owner, 1);
            if (frame % 10 == 0) {
                daemon_kill_server();
            }
        }
        client_end(&taker);
        client_end(&owner);
    }
    daemon_stop_balanced();
}

/* -------------------------------------------------------------------------------------- errors -- */

static void be_stale(const void *argument)
{
    const struct kind *kind = argument;
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
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < N_KINDS; i++) {
        client_run(be_stale, &kinds[i]);
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
    struct client owner = client_start(own, &kinds[1]);
    const struct kmem_handle handle = hear_handle(&owner);
    struct client other = client_start(try_wrong_handles, NULL);
    tell_handle(&other, &handle);
    client_end(&other);
    finish(&owner);
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
    do_as_told(&owner, 1);
    do_as_told(&writer, 1);
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
    expect_filled(block, handle.num_bytes, 'a');
    *(volatile unsigned char *)block = 'w';
}

static void test_a_write_through_a_reading_attach_ends_in_SIGSEGV(void)
{
    daemon_start(NULL, NULL);
    struct client owner = client_start(own, &kinds[4]);
    const struct kmem_handle handle = hear_handle(&owner);
    struct client writer = client_start(write_what_it_reads, NULL);
    tell_handle(&writer, &handle);
    client_end_by(&writer, SIGSEGV);
    finish(&owner);
    daemon_stop_balanced();
}

static void share_what_is_none(const void *argument)
{
    (void)argument;
    struct kmem_handle handle;
    int local = 0;
    for (size_t i = 0; i < N_KINDS; i++) {
        unsigned char *block = filled(kinds[i].num_bytes, kinds[i].is_leased, 'a');
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
    for (size_t i = 0; i < N_KINDS; i++) {
        struct client owner = client_start(own, &kinds[i]);
        const struct kmem_handle handle = hear_handle(&owner);
        struct client holder = client_start(share_anothers, NULL);
        tell_handle(&holder, &handle);
        client_end(&holder);
        finish(&owner);
    }
    daemon_stop_balanced();
}

/* ------------------------------------------------------------------------------------ transfer -- */

static void hand_over(const void *argument)
{
    const struct kind *kind = argument;
    unsigned char *block = filled(kind->num_bytes, kind->is_leased, 'a');
    struct kmem_handle handle;
    expect_equal(kmem_transfer(&block, 0, &handle), 0);
    expect_true(block == NULL);
    say_handle(&handle);
    (void)client_await();
}

/* Takes it over, hands it on to the test, or keeps it. */
static void take_over(const void *argument)
{
    (void)argument;
    struct kmem_handle handle = await_handle();
    unsigned char *block = attach(&handle, KMEM_WRITE);
    expect_filled(block, handle.num_bytes, 'a');
    expect_equal(kmem_share(block, 0, &handle), 0);
    client_say(1);
    (void)client_await();
    expect_filled(block, handle.num_bytes, 'a');
    expect_equal(kmem_transfer(&block, 0, &handle), 0);
    say_handle(&handle);
    (void)client_await();
}

static void test_the_first_to_attach_what_is_transferred_owns_it(void)
{
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < N_KINDS; i++) {
        struct client first = client_start(hand_over, &kinds[i]);
        struct kmem_handle handle = hear_handle(&first);
        struct client second = client_start(take_over, NULL);
        tell_handle(&second, &handle);
        expect_equal(client_hear(&second), 1);
        client_kill(&first);
        client_tell(&second, 1);
        handle = hear_handle(&second);
        struct client third = hold_start(&handle);
        client_kill(&second);
        do_as_told(&third, 'a');
        do_as_told(&third, 'R');
        finish(&third);
        expect_balanced();
    }
    daemon_stop_balanced();
}

static void attach_stale(const void *argument)
{
    (void)argument;
    const struct kmem_handle handle = await_handle();
    void *block = NULL;
    expect_equal(kmem_attach(&handle, KMEM_READ, "late", &block), -ESTALE);
}

static void test_an_offer_ends_with_its_sender(void)
{
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < N_KINDS; i++) {
        struct client sender = client_start(hand_over, &kinds[i]);
        const struct kmem_handle handle = hear_handle(&sender);
        client_kill(&sender);
        expect_balanced();
        struct client late = client_start(attach_stale, NULL);
        tell_handle(&late, &handle);
        client_end(&late);
    }
    daemon_stop_balanced();
}

static void hand_over_to_keep(const void *argument)
{
    const struct kind *kind = argument;
    unsigned char *block = filled(kind->num_bytes, kind->is_leased, 'a');
    struct kmem_handle handle;
    expect_equal(kmem_transfer(&block, KMEM_KEEP, &handle), 0);
    say_handle(&handle);
}

static void test_an_offer_that_is_kept_outlives_its_sender(void)
{
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < N_KINDS; i++) {
        struct client sender = client_start(hand_over_to_keep, &kinds[i]);
        const struct kmem_handle handle = hear_handle(&sender);
        client_end(&sender);
        daemon_kill_server();
        struct client holder = hold_start(&handle);
        do_as_told(&holder, 'a');
        do_as_told(&holder, 'R');
        finish(&holder);
        expect_balanced();
    }
    daemon_stop_balanced();
}

static void hand_over_what_is_held(const void *argument)
{
    const struct kind *kind = argument;
    unsigned char *block = filled(kind->num_bytes, kind->is_leased, 'a');
    struct kmem_handle handle;
    expect_equal(kmem_share(block, 0, &handle), 0);
    say_handle(&handle);
    (void)client_await();
    expect_equal(kmem_transfer(&block, 0, &handle), -EBUSY);
    expect_true(strstr(kmem_last_error(), "1 others hold it") != NULL);
    expect_filled(block, kind->num_bytes, 'a');
    unsigned char *again = attach(&handle, KMEM_READ);
    expect_equal(kmem_transfer(&again, 0, &handle), -EBUSY);
    expect_true(strstr(kmem_last_error(), "held 2 times by this process") != NULL);
    release(again);
    release(block);
    client_say(1);
}

static void test_transfer_of_what_others_hold_is_EBUSY(void)
{
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < N_KINDS; i++) {
        struct client owner = client_start(hand_over_what_is_held, &kinds[i]);
        const struct kmem_handle handle = hear_handle(&owner);
        struct client holder = hold_start(&handle);
        client_tell(&owner, 1);
        expect_equal(client_hear(&owner), 1);
        client_end(&owner);
        finish(&holder);
        expect_balanced();
    }
    daemon_stop_balanced();
}

/* ---------------------------------------------------------------------------------------- many -- */

static void share_many(const void *argument)
{
    (void)argument;
    for (size_t i = 0; i < KMEM_MANY_MAX; i++) {
        unsigned char *block = allocate(1000 + 10 * (i % 2), "many");
        struct kmem_handle handle;
        memset(block, (int)i, 1000);
        expect_equal(kmem_share(block, 0, &handle), 0);
        say_handle(&handle);
    }
    (void)client_await();
}

static void hold_many(const void *argument)
{
    (void)argument;
    struct kmem_handle handles[KMEM_MANY_MAX];
    void *blocks[KMEM_MANY_MAX + 1];
    for (size_t i = 0; i < KMEM_MANY_MAX; i++) {
        handles[i] = await_handle();
    }
    expect_equal(kmem_attach_many(handles, KMEM_MANY_MAX, KMEM_READ, "many", blocks), 0);
    for (size_t i = 0; i < KMEM_MANY_MAX; i++) {
        expect_filled(blocks[i], 1000, (int)i);
    }
    client_say(1);
    (void)client_await();
    expect_equal(kmem_attach_many(handles, KMEM_MANY_MAX, KMEM_READ, "many", blocks), 0);
    expect_equal(kmem_release_many(blocks, KMEM_MANY_MAX), 0);
    expect_true(blocks[0] == NULL && blocks[KMEM_MANY_MAX - 1] == NULL);
    for (size_t i = 0; i < KMEM_MANY_MAX; i++) {
        blocks[i] = attach(&handles[i], KMEM_READ);
        release(blocks[i]);
    }
    client_say(1);
    (void)client_await();
    expect_equal(kmem_release_many(blocks, KMEM_MANY_MAX), 0);
    client_say(1);
    (void)client_await();
    expect_equal(kmem_release_many(blocks, 0), -EINVAL);
    expect_equal(kmem_release_many(NULL, 1), -EINVAL);
}

static void test_64_are_attached_in_one_round_trip_and_released_in_one(void)
{
    daemon_start(NULL, NULL);
    struct client owner = client_start(share_many, NULL);
    struct client holder = client_start(hold_many, NULL);
    const uint64_t look = requests_of_a_look();
    uint64_t before = 0;
    for (size_t i = 0; i < KMEM_MANY_MAX; i++) {
        const struct kmem_handle handle = hear_handle(&owner);
        before = i + 1 == KMEM_MANY_MAX ? usage_take().requests : 0;
        tell_handle(&holder, &handle);
    }
    expect_equal(client_hear(&holder), 1);
    uint64_t now = usage_take().requests;
    expect_equal(now - before - look, 2); /* Hello and Attach */
    for (size_t i = 0; i < 2; i++) {      /* again, and the last release */
        before = now;
        do_as_told(&holder, 1);
        now = usage_take().requests;
        expect_equal(now - before - look, i);
    }
    client_tell(&holder, 1);
    client_end(&holder);
    client_tell(&owner, 1);
    client_end(&owner);
    daemon_stop_balanced();
}

static void release_many_mixed(const void *argument)
{
    (void)argument;
    struct kmem_handle handle;
    void *blocks[6] = {
        filled(100, true, 0),  filled(200000, false, 0), NULL, filled(100, true, 0), NULL,
        filled(40000, true, 0)};
    expect_equal(kmem_share(blocks[3], 0, &handle), 0);
    blocks[4] = attach(&handle, KMEM_READ);
    expect_equal(kmem_release_many(blocks, 6), 0);
    for (size_t i = 0; i < 6; i++) {
        expect_true(blocks[i] == NULL);
    }
    void *first = filled(100, true, 0);
    void *last = filled(100, true, 0);
    void *some[3] = {first, (char *)first + 16, last};
    expect_equal(kmem_release_many(some, 3), -EINVAL);
    expect_true(some[0] == NULL && some[1] != NULL && some[2] == last);
    release(last);
    void *direct = filled(200000, false, 0);
    void *more[3] = {direct, direct, filled(100, true, 0)};
    expect_equal(kmem_release_many(more, 3), -EALREADY);
    expect_true(more[0] == NULL && more[1] != NULL && more[2] != NULL);
    release(more[2]);
    expect_equal(kmem_close(), 0);
}

static void test_release_many_releases_up_to_the_first_that_is_refused(void)
{
    daemon_start(NULL, NULL);
    client_run(release_many_mixed, NULL);
    daemon_stop_balanced();
}

/* ------------------------------------------------------------------------------- fork and text -- */

static void fork_with_holds(const void *argument)
{
    (void)argument;
    const struct kmem_handle handle = await_handle();
    unsigned char *block = attach(&handle, KMEM_READ);
    const pid_t child = fork();
    expect_call(child >= 0);
    if (child == 0) {
        unsigned char *copy = block;
        expect_filled(block, handle.num_bytes, 'a');
        expect_equal(kmem_try_release(&copy), -EPERM);
        copy = attach(&handle, KMEM_READ);
        expect_true(copy == block);
        expect_equal(kmem_try_release(&copy), 0);
        expect_equal(kmem_close(), 0);
        _exit(0);
    }
    int status = 0;
    expect_call(waitpid(child, &status, 0) == child);
    expect_equal(status, 0);
    expect_filled(block, handle.num_bytes, 'a');
    expect_equal(kmem_close(), 0); /* lets go of everything */
    client_say(1);
    (void)client_await();
}

static void test_a_child_holds_nothing_of_its_parents_and_close_lets_go_of_all(void)
{
    daemon_start(NULL, NULL);
    struct client owner = client_start(own, &kinds[2]);
    const struct kmem_handle handle = hear_handle(&owner);
    struct client holder = client_start(fork_with_holds, NULL);
    tell_handle(&holder, &handle);
    expect_equal(client_hear(&holder), 1);
    do_as_told(&owner, 'r'); /* nobody holds it: it is free */
    struct client late = client_start(attach_stale, NULL);
    tell_handle(&late, &handle);
    client_end(&late);
    client_tell(&holder, 1);
    client_end(&holder);
    finish(&owner);
    daemon_stop_balanced();
}

static void write_handles(const void *argument)
{
    (void)argument;
    char text[KMEM_HANDLE_TEXT_BYTES];
    char changed[KMEM_HANDLE_TEXT_BYTES];
    unsigned char *block = filled(1000, true, 'a');
    struct kmem_handle handle;
    struct kmem_handle read;
    expect_equal(kmem_share(block, 0, &handle), 0);
    expect_equal(kmem_handle_to_text(&handle, text, sizeof(text)), 0);
    expect_equal(kmem_handle_from_text(text, &read), 0);
    expect_equal(memcmp(&handle, &read, sizeof(handle)), 0);
    expect_equal(kmem_handle_to_text(&handle, text, 10), -EINVAL);
    expect_equal(kmem_handle_to_text(NULL, text, sizeof(text)), -EINVAL);
    expect_equal(kmem_handle_from_text(NULL, &read), -EINVAL);
    expect_equal(kmem_handle_from_text("kmem://nowhere/test/16+1@1/0123456789abcdef", &read),
                 -ESTALE);
    expect_true(strstr(kmem_last_error(), "on host nowhere") != NULL);
    expect_equal(kmem_handle_from_text("kmem:/x", &read), -EINVAL);
    expect_true(strstr(kmem_last_error(), "byte 6") != NULL);
    handle.instance++;
    expect_equal(kmem_handle_to_text(&handle, changed, sizeof(changed)), -ESTALE);
    release(block);
    expect_equal(kmem_handle_from_text(text, &read), 0);
    void *gone = NULL;
    expect_equal(kmem_attach(&read, KMEM_READ, "gone", &gone), -ESTALE);
}

static void test_a_handle_is_passed_on_as_text(void)
{
    daemon_start(NULL, NULL);
    client_run(write_handles, NULL);
    daemon_stop_balanced();
}

/* ------------------------------------------------------------- answers that come too late ---- */

/* Waits for the test to stop the server, and after the call to let it go on. */
static void while_it_hangs(int (*call)(const struct kmem_handle *handle, void *block),
                           const struct kmem_handle *handle, void *block, int want)
{
    client_say(1);
    (void)client_await();
    expect_equal(call(handle, block), want);
    client_say(1);
    (void)client_await();
}

static void be_impatient(void)
{
    expect_call(setenv("KMEM_TIMEOUT_MS", "300", 1) == 0);
    release(allocate(100, "joins"));
}

static int attach_late(const struct kmem_handle *handle, void *block)
{
    void *late = NULL;
    (void)block;
    const int r = kmem_attach(handle, KMEM_READ, "late", &late);
    expect_true(late == NULL);
    return r;
}

static int release_late(const struct kmem_handle *handle, void *block)
{
    (void)handle;
    return kmem_try_release(&block);
}

static int transfer_late(const struct kmem_handle *handle, void *block)
{
    struct kmem_handle none;
    (void)handle;
    const int r = kmem_transfer(&block, 0, &none);
    expect_true(block != NULL);
    return r;
}

static int give_late(const struct kmem_handle *handle, void *block)
{
    (void)handle;
    return kmem_publish(block, "late", KMEM_GIVE, NULL);
}

static void wait_patiently(void)
{
    /* The next change finds out what became of the last one. */
    void *block = NULL;
    for (unsigned int i = 0; block == NULL && i < 100; i++) {
        block = kmem_try_allocate(12345, "settles");
    }
    expect_true(block != NULL);
    release(block);
}

static void attach_too_late(const void *argument)
{
    (void)argument;
    be_impatient();
    const struct kmem_handle handle = await_handle();
    while_it_hangs(attach_late, &handle, NULL, -ETIMEDOUT);
    wait_patiently();
    client_say(1);
    (void)client_await();
}

static void hang_once(const struct client *client)
{
    expect_equal(client_hear(client), 1);
    daemon_signal_server(SIGSTOP);
    client_tell(client, 1);
    expect_equal(client_hear(client), 1);
    daemon_signal_server(SIGCONT);
    client_tell(client, 1);
}

static void test_a_hold_whose_answer_came_too_late_is_let_go_of(void)
{
    daemon_start("--watchdog", "0", NULL);
    for (size_t i = 0; i < N_KINDS; i++) {
        struct client owner = client_start(own, &kinds[i]);
        const struct kmem_handle handle = hear_handle(&owner);
        struct client holder = client_start(attach_too_late, NULL);
        tell_handle(&holder, &handle);
        hang_once(&holder);
        expect_equal(client_hear(&holder), 1);
        do_as_told(&owner, 'r'); /* it was the last that held it */
        struct client late = client_start(attach_stale, NULL);
        tell_handle(&late, &handle);
        client_end(&late);
        client_tell(&holder, 1);
        client_end(&holder);
        finish(&owner);
        expect_balanced();
    }
    daemon_stop_balanced();
}

static void release_too_late(const void *argument)
{
    const struct kind *kind = argument;
    struct kmem_handle handle;
    be_impatient();
    unsigned char *block = filled(kind->num_bytes, kind->is_leased, 'a');
    expect_equal(kmem_share(block, 0, &handle), 0);
    while_it_hangs(release_late, &handle, block, 0);
    wait_patiently();
    expect_equal(kmem_try_release(&block), -EALREADY);
    block = filled(kind->num_bytes, kind->is_leased, 'a');
    expect_equal(kmem_share(block, 0, &handle), 0);
    while_it_hangs(transfer_late, &handle, block, -ETIMEDOUT);
    wait_patiently();
    unsigned char *again = attach(&handle, KMEM_WRITE); /* it has it still */
    release(again);
    expect_filled(block, kind->num_bytes, 'a');
    release(block);
    block = filled(kind->num_bytes, kind->is_leased, 'a');
    while_it_hangs(transfer_late, &handle, block, -ETIMEDOUT); /* not shared before */
    wait_patiently();
    expect_filled(block, kind->num_bytes, 'a');
    release(block);
    block = filled(kind->num_bytes, kind->is_leased, 'a');
    while_it_hangs(give_late, &handle, block, -ETIMEDOUT);
    wait_patiently();
    unsigned char *found = NULL;
    expect_equal(kmem_find("late", KMEM_READ, "found", &found, NULL), 0);
    expect_true(found == block);
    expect_equal(kmem_unpublish("late"), 0);
    expect_filled(found, kind->num_bytes, 'a');
    release(found);
    expect_equal(kmem_try_release(&block), -EALREADY);
    expect_equal(kmem_close(), 0);
}

static void test_what_was_given_up_waiting_for_happens_once_and_leaves_nothing(void)
{
    daemon_start("--watchdog", "0", NULL);
    for (size_t i = 0; i < N_KINDS; i++) {
        struct client client = client_start(release_too_late, &kinds[i]);
        for (unsigned int hang = 0; hang < 4; hang++) {
            hang_once(&client);
        }
        client_end(&client);
        expect_balanced();
    }
    daemon_stop_balanced();
}

int main(int argc, char **argv)
{
    static const struct system_test tests[] = {
        SYSTEM_TEST(test_a_holder_sees_the_owners_bytes, 20),
        SYSTEM_TEST(test_a_block_outlives_its_owners_release, 20),
        SYSTEM_TEST(test_a_block_outlives_its_owner_that_is_killed, 20),
        SYSTEM_TEST(test_a_holder_that_is_killed_lets_go, 20),
        SYSTEM_TEST(test_holds_outlive_a_killed_server, 30),
        SYSTEM_TEST(test_500_attaches_are_one_round_trip_and_so_are_their_releases, 10),
        SYSTEM_TEST(test_an_owner_that_attaches_its_own_block_counts_locally, 10),
        SYSTEM_TEST(test_a_lent_block_comes_home_when_its_holder_lets_go, 30),
        SYSTEM_TEST(test_attach_of_a_stale_handle_is_ESTALE_also_when_its_place_is_used_again, 10),
        SYSTEM_TEST(test_attach_with_another_tag_is_EACCES_and_with_other_numbers_ESTALE, 10),
        SYSTEM_TEST(test_attach_for_writing_of_what_is_shared_read_only_is_EACCES, 10),
        SYSTEM_TEST(test_a_write_through_a_reading_attach_ends_in_SIGSEGV, 10),
        SYSTEM_TEST(test_share_of_what_is_no_block_is_EINVAL_and_of_a_released_one_EALREADY, 10),
        SYSTEM_TEST(test_share_by_a_holder_is_EPERM, 10),
        SYSTEM_TEST(test_the_first_to_attach_what_is_transferred_owns_it, 20),
        SYSTEM_TEST(test_an_offer_ends_with_its_sender, 20),
        SYSTEM_TEST(test_an_offer_that_is_kept_outlives_its_sender, 20),
        SYSTEM_TEST(test_transfer_of_what_others_hold_is_EBUSY, 20),
        SYSTEM_TEST(test_64_are_attached_in_one_round_trip_and_released_in_one, 10),
        SYSTEM_TEST(test_release_many_releases_up_to_the_first_that_is_refused, 10),
        SYSTEM_TEST(test_a_child_holds_nothing_of_its_parents_and_close_lets_go_of_all, 10),
        SYSTEM_TEST(test_a_handle_is_passed_on_as_text, 10),
        SYSTEM_TEST(test_a_hold_whose_answer_came_too_late_is_let_go_of, 30),
        SYSTEM_TEST(test_what_was_given_up_waiting_for_happens_once_and_leaves_nothing, 60),
    };
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
