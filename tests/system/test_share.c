/* SPDX-License-Identifier: MIT */
/*
 * test_share.c - a block that several processes hold: its bytes stay as long as one of them does
 *
 * Each is tried with a block that the server carved and with one of the owner's lease, small and
 * large.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/system/daemon.h"
#include "tests/system/sharing.h"
#include "tests/system/usage.h"

/* ------------------------------------------------------------------------ owners and holders -- */

static void test_a_holder_sees_the_owners_bytes(void)
{
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < SHARING_KINDS; i++) {
        struct client owner = client_start(sharing_own, &sharing_kinds[i]);
        const struct kmem_handle handle = hear_handle(&owner);
        struct client holder = sharing_hold(&handle);
        sharing_tell(&holder, 'a');
        sharing_tell(&owner, 'b');
        sharing_tell(&holder, 'b');
        sharing_tell(&holder, 'R');
        sharing_tell(&owner, 'r');
        sharing_finish(&holder);
        sharing_finish(&owner);
        expect_balanced();
    }
    daemon_stop_balanced();
}

static void test_a_block_outlives_its_owners_release(void)
{
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < SHARING_KINDS; i++) {
        struct client owner = client_start(sharing_own, &sharing_kinds[i]);
        const struct kmem_handle handle = hear_handle(&owner);
        struct client holder = sharing_hold(&handle);
        sharing_tell(&owner, 'r');
        sharing_tell(&holder, 'a');
        sharing_finish(&owner);
        sharing_tell(&holder, 'a');
        sharing_finish(&holder);
        expect_balanced();
    }
    daemon_stop_balanced();
}

static void test_a_block_outlives_its_owner_that_is_killed(void)
{
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < SHARING_KINDS; i++) {
        struct client owner = client_start(sharing_own, &sharing_kinds[i]);
        const struct kmem_handle handle = hear_handle(&owner);
        struct client holder = sharing_hold(&handle);
        struct client second = sharing_hold(&handle);
        client_kill(&owner);
        sharing_tell(&holder, 'a');
        sharing_tell(&holder, 'R');
        struct client late = sharing_hold(&handle); /* the second has it still */
        sharing_tell(&second, 'a');
        client_kill(&second);
        sharing_tell(&late, 'a');
        sharing_finish(&late);
        sharing_finish(&holder);
        expect_balanced();
    }
    daemon_stop_balanced();
}

static void test_a_holder_that_is_killed_lets_go(void)
{
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < SHARING_KINDS; i++) {
        struct client owner = client_start(sharing_own, &sharing_kinds[i]);
        const struct kmem_handle handle = hear_handle(&owner);
        struct client holder = sharing_hold(&handle);
        sharing_tell(&owner, 'r');
        client_kill(&holder);
        sharing_finish(&owner);
        expect_balanced();
    }
    daemon_stop_balanced();
}

static void test_holds_outlive_a_killed_server(void)
{
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < SHARING_KINDS; i++) {
        struct client owner = client_start(sharing_own, &sharing_kinds[i]);
        const struct kmem_handle handle = hear_handle(&owner);
        daemon_kill_server();
        struct client holder = sharing_hold(&handle);
        daemon_kill_server();
        sharing_tell(&owner, 'r');
        daemon_kill_server();
        sharing_tell(&holder, 'a');
        client_kill(&owner);
        daemon_kill_server();
        sharing_tell(&holder, 'a');
        sharing_tell(&holder, 'R');
        sharing_finish(&holder);
        expect_balanced();
    }
    daemon_stop_balanced();
}

/* --------------------------------------------------------------------------- counted locally -- */

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
    struct client owner = client_start(sharing_own, &sharing_kinds[1]);
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
    sharing_finish(&owner);
    daemon_stop_balanced();
}

static void attach_own(const void *argument)
{
    const struct sharing_kind *kind = argument;
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
    for (size_t i = 0; i < SHARING_KINDS; i++) {
        client_run(attach_own, &sharing_kinds[i]);
    }
    daemon_stop_balanced();
}

/* ------------------------------------------------------------------------------- coming home -- */

#define N_FRAMES 50

/* Lends frames; each is taken home before the next is carved, so they are few. */
static void lend_frames(const void *argument)
{
    const struct sharing_kind *kind = argument;
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
        expect_true(at < (size_t)2 * SHARING_HOT); /* else none comes home */
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
    static const struct sharing_kind of[] = {{100, true}, {40000, true}, {200000, true}};
    for (size_t i = 0; i < sizeof(of) / sizeof(of[0]); i++) {
        struct client owner = client_start(lend_frames, &of[i]);
        struct client taker = client_start(take_frames, NULL);
        for (size_t frame = 0; frame < N_FRAMES; frame++) {
            const struct kmem_handle handle = hear_handle(&owner);
            tell_handle(&taker, &handle);
            expect_equal(client_hear(&taker), 1);
            sharing_tell(&owner, 1);
            sharing_tell(&taker, 1);
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

/* -------------------------------------------------------------------------------------- many -- */

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
    const uint64_t look = requests_of_a_look(); /* while no client asks */
    struct client owner = client_start(share_many, NULL);
    struct client holder = client_start(hold_many, NULL);
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
        sharing_tell(&holder, 1);
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

/* ----------------------------------------------------------------------------- fork and text -- */

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
    struct client owner = client_start(sharing_own, &sharing_kinds[2]);
    const struct kmem_handle handle = hear_handle(&owner);
    struct client holder = client_start(fork_with_holds, NULL);
    tell_handle(&holder, &handle);
    expect_equal(client_hear(&holder), 1);
    sharing_tell(&owner, 'r'); /* nobody holds it: it is free */
    struct client late = client_start(sharing_attach_stale, NULL);
    tell_handle(&late, &handle);
    client_end(&late);
    client_tell(&holder, 1);
    client_end(&holder);
    sharing_finish(&owner);
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
        SYSTEM_TEST(test_64_are_attached_in_one_round_trip_and_released_in_one, 10),
        SYSTEM_TEST(test_release_many_releases_up_to_the_first_that_is_refused, 10),
        SYSTEM_TEST(test_a_child_holds_nothing_of_its_parents_and_close_lets_go_of_all, 10),
        SYSTEM_TEST(test_a_handle_is_passed_on_as_text, 10),
    };
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
