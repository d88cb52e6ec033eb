/* SPDX-License-Identifier: MIT */
/* test_transfer.c - blocks that are handed over; and requests that were given up waiting for */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "tests/system/daemon.h"
#include "tests/system/sharing.h"
#include "tests/system/usage.h"

/* ---------------------------------------------------------------------------------- transfer -- */

static void hand_over(const void *argument)
{
    const struct sharing_kind *kind = argument;
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
    for (size_t i = 0; i < SHARING_KINDS; i++) {
        struct client first = client_start(hand_over, &sharing_kinds[i]);
        struct kmem_handle handle = hear_handle(&first);
        struct client second = client_start(take_over, NULL);
        tell_handle(&second, &handle);
        expect_equal(client_hear(&second), 1);
        client_kill(&first);
        client_tell(&second, 1);
        handle = hear_handle(&second);
        struct client third = sharing_hold(&handle);
        client_kill(&second);
        sharing_tell(&third, 'a');
        sharing_tell(&third, 'R');
        sharing_finish(&third);
        expect_balanced();
    }
    daemon_stop_balanced();
}

static void test_an_offer_ends_with_its_sender(void)
{
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < SHARING_KINDS; i++) {
        struct client sender = client_start(hand_over, &sharing_kinds[i]);
        const struct kmem_handle handle = hear_handle(&sender);
        client_kill(&sender);
        expect_balanced();
        struct client late = client_start(sharing_attach_stale, NULL);
        tell_handle(&late, &handle);
        client_end(&late);
    }
    daemon_stop_balanced();
}

static void hand_over_to_keep(const void *argument)
{
    const struct sharing_kind *kind = argument;
    unsigned char *block = filled(kind->num_bytes, kind->is_leased, 'a');
    struct kmem_handle handle;
    expect_equal(kmem_transfer(&block, KMEM_KEEP, &handle), 0);
    say_handle(&handle);
}

static void test_an_offer_that_is_kept_outlives_its_sender(void)
{
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < SHARING_KINDS; i++) {
        struct client sender = client_start(hand_over_to_keep, &sharing_kinds[i]);
        const struct kmem_handle handle = hear_handle(&sender);
        client_end(&sender);
        daemon_kill_server();
        struct client holder = sharing_hold(&handle);
        sharing_tell(&holder, 'a');
        sharing_tell(&holder, 'R');
        sharing_finish(&holder);
        expect_balanced();
    }
    daemon_stop_balanced();
}

static void hand_over_what_is_held(const void *argument)
{
    const struct sharing_kind *kind = argument;
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
    for (size_t i = 0; i < SHARING_KINDS; i++) {
        struct client owner = client_start(hand_over_what_is_held, &sharing_kinds[i]);
        const struct kmem_handle handle = hear_handle(&owner);
        struct client holder = sharing_hold(&handle);
        client_tell(&owner, 1);
        expect_equal(client_hear(&owner), 1);
        client_end(&owner);
        sharing_finish(&holder);
        expect_balanced();
    }
    daemon_stop_balanced();
}

/* ------------------------------------------------------------- answers that come too late ---- */

/* Of every other kind: each time the client waits for as long as it may. */

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
    expect_call(setenv("KMEM_TIMEOUT_MS", "1000", 1) == 0);
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
    for (size_t i = 0; i < SHARING_KINDS; i += 2) {
        struct client owner = client_start(sharing_own, &sharing_kinds[i]);
        const struct kmem_handle handle = hear_handle(&owner);
        struct client holder = client_start(attach_too_late, NULL);
        tell_handle(&holder, &handle);
        hang_once(&holder);
        expect_equal(client_hear(&holder), 1);
        sharing_tell(&owner, 'r'); /* it was the last that held it */
        struct client late = client_start(sharing_attach_stale, NULL);
        tell_handle(&late, &handle);
        client_end(&late);
        client_tell(&holder, 1);
        client_end(&holder);
        sharing_finish(&owner);
        expect_balanced();
    }
    daemon_stop_balanced();
}

static void release_too_late(const void *argument)
{
    const struct sharing_kind *kind = argument;
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
    for (size_t i = 0; i < SHARING_KINDS; i += 2) {
        struct client client = client_start(release_too_late, &sharing_kinds[i]);
        for (unsigned int hang = 0; hang < 4; hang++) {
            hang_once(&client);
        }
        client_end(&client);
        expect_balanced();
    }
    daemon_stop_balanced();
}

/* The name is the test's other client's. */
static int publish_alone_late(const struct kmem_handle *handle, void *block)
{
    (void)handle;
    return kmem_publish(block, "taken", KMEM_EXCLUSIVE, NULL);
}

static int give_alone_late(const struct kmem_handle *handle, void *block)
{
    (void)handle;
    return kmem_publish(block, "taken", KMEM_EXCLUSIVE | KMEM_GIVE, NULL);
}

static void be_refused_too_late(const void *argument)
{
    const struct sharing_kind *kind = argument;
    be_impatient();
    unsigned char *block = filled(kind->num_bytes, kind->is_leased, 'a');
    while_it_hangs(publish_alone_late, NULL, block, -ETIMEDOUT);
    wait_patiently();
    expect_filled(block, kind->num_bytes, 'a');
    expect_equal(kmem_try_release(&block), 0); /* it is as good as before */
    block = filled(kind->num_bytes, kind->is_leased, 'a');
    while_it_hangs(give_alone_late, NULL, block, -ETIMEDOUT);
    wait_patiently();
    expect_equal(kmem_try_release(&block), -EALREADY); /* it was given */
    expect_equal(kmem_close(), 0);
}

static unsigned char *unshared;

/* The first is in doubt then; the others are never asked. */
static int give_behind_another(const struct kmem_handle *handle, void *block)
{
    struct kmem_handle none;
    (void)handle;
    expect_equal(kmem_share(block, 0, &none), -ETIMEDOUT);
    expect_equal(kmem_share(unshared, 0, &none), -ETIMEDOUT);
    expect_equal(kmem_unpublish("stays"), -ETIMEDOUT);
    return kmem_publish(block, "unasked", KMEM_GIVE, NULL);
}

static void give_in_vain(const void *argument)
{
    const struct sharing_kind *kind = argument;
    be_impatient();
    unsigned char *named = filled(kind->num_bytes, kind->is_leased, 'n');
    expect_equal(kmem_publish(named, "stays", KMEM_GIVE, NULL), 0);
    unshared = filled(kind->num_bytes, kind->is_leased, 'u');
    unsigned char *block = filled(kind->num_bytes, kind->is_leased, 'a');
    while_it_hangs(give_behind_another, NULL, block, -EAGAIN);
    wait_patiently();
    void *found = NULL;
    expect_equal(kmem_find("unasked", KMEM_READ, "found", &found, NULL), -ENOENT);
    expect_equal(kmem_find("stays", KMEM_READ, "found", &found, NULL), 0);
    release(found);
    expect_filled(unshared, kind->num_bytes, 'u');
    release(unshared);
    expect_filled(block, kind->num_bytes, 'a');
    release(block);
}

static void test_what_was_not_asked_has_not_happened(void)
{
    daemon_start("--watchdog", "0", NULL);
    for (size_t i = 0; i < 2; i++) {
        struct client client = client_start(give_in_vain, &sharing_kinds[i]);
        hang_once(&client);
        client_end(&client);
    }
    daemon_stop_balanced();
}

static void take_a_name(const void *argument)
{
    (void)argument;
    unsigned char *block = allocate(100, "has the name");
    expect_equal(kmem_publish(block, "taken", 0, NULL), 0);
    client_say(1);
    (void)client_await();
}

static void test_what_is_refused_too_late_leaves_nothing(void)
{
    daemon_start("--watchdog", "0", NULL);
    struct client other = client_start(take_a_name, NULL);
    expect_equal(client_hear(&other), 1);
    for (size_t i = 1; i < SHARING_KINDS; i += 3) {
        struct client client = client_start(be_refused_too_late, &sharing_kinds[i]);
        hang_once(&client);
        hang_once(&client);
        client_end(&client);
    }
    client_tell(&other, 1);
    client_end(&other);
    daemon_stop_balanced();
}

int main(int argc, char **argv)
{
    static const struct system_test tests[] = {
        SYSTEM_TEST(test_the_first_to_attach_what_is_transferred_owns_it, 20),
        SYSTEM_TEST(test_an_offer_ends_with_its_sender, 20),
        SYSTEM_TEST(test_an_offer_that_is_kept_outlives_its_sender, 20),
        SYSTEM_TEST(test_transfer_of_what_others_hold_is_EBUSY, 20),
        SYSTEM_TEST(test_a_hold_whose_answer_came_too_late_is_let_go_of, 30),
        SYSTEM_TEST(test_what_was_given_up_waiting_for_happens_once_and_leaves_nothing, 60),
        SYSTEM_TEST(test_what_is_refused_too_late_leaves_nothing, 30),
        SYSTEM_TEST(test_what_was_not_asked_has_not_happened, 30),
    };
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
