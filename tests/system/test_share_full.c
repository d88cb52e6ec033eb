/* SPDX-License-Identifier: MIT */
/*
 * test_share_full.c - as many names as there can be, and more blocks coming home than there is room
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/system/daemon.h"
#include "tests/system/sharing.h"
#include "tests/system/usage.h"
#include "tests/system/users.h"

/* ----------------------------------------------------------------------------------- names -- */

static int publish_number(const void *block, uint64_t number)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "name/%llu", (unsigned long long)number);
    return kmem_publish(block, name, 0, NULL);
}

/* Publishes one block by as many names as there can be. */
static void fill_names(const void *argument)
{
    const uint64_t n_names = *(const uint64_t *)argument;
    unsigned char *const block = filled(1000, false, 'n');
    for (uint64_t i = 0; i < n_names; i++) {
        expect_equal(publish_number(block, i), 0);
    }
    expect_equal(publish_number(block, n_names), -ENOSPC);
    harness_note("\"%s\"", kmem_last_error());
    expect_match(kmem_last_error(), "names are in use, as many as can be: [0-9]+ of them are those "
                                    "of process [0-9]+ \\(.*, user [0-9]+\\); unpublish some "
                                    "\\(kmemctl names\\), or start kmemd with a larger --names");
    expect_equal(publish_number(block, 0), 0); /* one that is there is no other */
    client_pause();
    expect_equal(publish_number(block, n_names), -ENOSPC);
    expect_equal(kmem_unpublish("name/0"), 0);
    expect_equal(publish_number(block, n_names), 0);
    client_pause();
}

static void expect_full_at(uint64_t n_names)
{
    struct client publisher = client_begin(fill_names, &n_names);
    daemon_kill_server(); /* the next one knows as many */
    client_resume(&publisher);
    client_finish(&publisher);
    daemon_stop_balanced();
}

static void test_name_beyond_those_there_can_be_is_ENOSPC(void)
{
    daemon_start(NULL, NULL);
    expect_full_at(4096);
}

static void test_name_beyond_those_that_the_option_allows_is_ENOSPC(void)
{
    daemon_start("--names=3", NULL);
    expect_full_at(3);
}

/* ------------------------------------------------------------------------- whose name it is -- */

#define GROUP 54321

static void publish_as_user(const void *argument)
{
    become(*(const uid_t *)argument, GROUP);
    expect_equal(kmem_publish(filled(1000, false, 'u'), "user's", 0, NULL), 0);
    client_pause();
}

static void unpublish_anothers(const void *argument)
{
    become(*(const uid_t *)argument, GROUP);
    expect_equal(kmem_unpublish("user's"), -EACCES);
    harness_note("\"%s\"", kmem_last_error());
    expect_match(kmem_last_error(), "is that of process [0-9]+ .*, of another user; it, that user "
                                    "or the administrator may unpublish it");
}

static void unpublish_own_users(const void *argument)
{
    const uid_t uid = *(const uid_t *)argument;
    if (uid != 0) {
        become(uid, GROUP);
    }
    expect_equal(kmem_unpublish("user's"), 0);
}

static void test_name_of_another_user_can_not_be_unpublished(void)
{
    static const uid_t users[] = {54321, 54322, 0};
    need_root();
    daemon_start("--group", "54321", NULL);
    expect_call(chmod(harness_path("."), 0711) == 0);
    for (size_t i = 0; i < 2; i++) { /* the same user may, and so may the administrator */
        struct client publisher = client_begin(publish_as_user, &users[0]);
        client_run(unpublish_anothers, &users[1]);
        client_run(unpublish_own_users, &users[i == 0 ? 0 : 2]);
        client_finish(&publisher);
        expect_soon(usage_take().clients == 0, 2000);
    }
    daemon_stop_balanced();
}

/* ----------------------------------------------------------------------------------- quota -- */

/* 60 KB each, carved by the daemon: 17 of them are 1 MiB. */
#define QUOTA_BLOCK_BYTES 60000
#define QUOTA_BLOCKS 17

/* Return: whether it was had; it is a name's then, and no process holds it. */
static bool give_to_name(uint64_t number)
{
    char name[32];
    void *block = kmem_try_allocate_with(QUOTA_BLOCK_BYTES, KMEM_SHAREABLE, "given");
    (void)snprintf(name, sizeof(name), "given/%llu", (unsigned long long)number);
    if (block) {
        expect_equal(kmem_publish(block, name, KMEM_GIVE, NULL), 0);
    }
    return block != NULL;
}

static void give_all_to_names(const void *argument)
{
    (void)argument;
    for (uint64_t i = 0; i < QUOTA_BLOCKS; i++) {
        expect_true(give_to_name(i));
    }
    for (int i = 0; i < 2; i++) {
        expect_true(!give_to_name(QUOTA_BLOCKS));
        harness_note("\"%s\"", kmem_last_error());
        expect_match(kmem_last_error(), "over the quota: .*; release some of it, unpublish names, "
                                        "or start kmemd with a larger --quota");
        client_pause();
    }
    expect_equal(kmem_unpublish("given/0"), 0);
    expect_true(give_to_name(QUOTA_BLOCKS));
}

static void give_one_to_a_name(const void *argument)
{
    (void)argument;
    expect_true(give_to_name(QUOTA_BLOCKS + 1));
}

static void test_quota_counts_what_was_given_to_names(void)
{
    daemon_start("--quota", "1MiB", NULL);
    struct client publisher = client_begin(give_all_to_names, NULL);
    client_run(give_one_to_a_name, NULL); /* the quota is each client's */
    daemon_kill_server();                 /* the next one counts the same */
    client_resume(&publisher);
    client_finish(&publisher);
    daemon_stop_balanced();
}

/* ---------------------------------------------------------------------------------- returns -- */

/* 1,024 find room in an owner's ledger: proto/returns.h. */
#define RETURNS_MAX 1024
#define N_BLOCKS (RETURNS_MAX + 160)
#define BLOCK_BYTES 1000

/* Shares many blocks of its lease, lets go of them first, and takes them home at last. */
static void share_many(const void *argument)
{
    static unsigned char *blocks[N_BLOCKS];
    (void)argument;
    for (size_t i = 0; i < N_BLOCKS; i++) {
        struct kmem_handle handle;
        blocks[i] = allocate(BLOCK_BYTES, "returns");
        expect_equal(kmem_share(blocks[i], 0, &handle), 0);
        say_handle(&handle);
    }
    (void)client_await(); /* another holds all of them */
    for (size_t i = 0; i < N_BLOCKS; i++) {
        release(blocks[i]);
    }
    client_say(1);
    (void)client_await(); /* the other has let go: they come home, as far as there is room */
    for (size_t i = 0; i < N_BLOCKS; i++) {
        blocks[i] = allocate(BLOCK_BYTES, "again");
    }
    client_say(2);
    (void)client_await();
    for (size_t i = 0; i < N_BLOCKS; i++) {
        release(blocks[i]);
    }
}

static void hold_many(const void *argument)
{
    static struct kmem_handle handles[N_BLOCKS];
    static void *held[N_BLOCKS];
    (void)argument;
    for (size_t i = 0; i < N_BLOCKS; i++) {
        handles[i] = await_handle();
    }
    for (size_t i = 0; i < N_BLOCKS; i += KMEM_MANY_MAX) {
        const size_t n = N_BLOCKS - i < KMEM_MANY_MAX ? N_BLOCKS - i : KMEM_MANY_MAX;
        expect_equal(kmem_attach_many(&handles[i], n, KMEM_READ, "many", &held[i]), 0);
    }
    client_say(1);
    (void)client_await();
    for (size_t i = 0; i < N_BLOCKS; i += KMEM_MANY_MAX) {
        const size_t n = N_BLOCKS - i < KMEM_MANY_MAX ? N_BLOCKS - i : KMEM_MANY_MAX;
        expect_equal(kmem_release_many(&held[i], n), 0);
    }
}

static void come_home(bool is_restarted)
{
    daemon_start("--size", "64MiB", NULL);
    struct client owner = client_start(share_many, NULL);
    struct client holder = client_start(hold_many, NULL);
    for (size_t i = 0; i < N_BLOCKS; i++) {
        const struct kmem_handle handle = hear_handle(&owner);
        tell_handle(&holder, &handle);
    }
    expect_equal(client_hear(&holder), 1);
    sharing_tell(&owner, 1);
    client_tell(&holder, 1);
    client_end(&holder);
    expect_soon(usage_take().clients == 1, 2000);
    if (is_restarted) {
        daemon_kill_server();
    }
    sharing_tell(&owner, 2);
    expect_ledger_row("again", N_BLOCKS, (uint64_t)N_BLOCKS * BLOCK_BYTES);
    expect_ledger_sound();
    sharing_finish(&owner);
    daemon_stop_balanced();
}

static void test_more_blocks_than_there_is_room_for_come_home_all_the_same(void)
{
    come_home(false);
}

static void test_more_blocks_than_there_is_room_for_come_home_through_a_restart(void)
{
    come_home(true);
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_name_beyond_those_there_can_be_is_ENOSPC, 20),
    SYSTEM_TEST(test_name_beyond_those_that_the_option_allows_is_ENOSPC, 10),
    SYSTEM_TEST(test_name_of_another_user_can_not_be_unpublished, 10),
    SYSTEM_TEST(test_quota_counts_what_was_given_to_names, 10),
    SYSTEM_TEST(test_more_blocks_than_there_is_room_for_come_home_all_the_same, 20),
    SYSTEM_TEST(test_more_blocks_than_there_is_room_for_come_home_through_a_restart, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
