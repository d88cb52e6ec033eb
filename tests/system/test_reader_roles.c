/* SPDX-License-Identifier: MIT */
/* test_reader_roles.c - who may join for reading only, and as what kmemctl shows it */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/sharing.h"
#include "tests/system/usage.h"
#include "tests/system/users.h"

/* Numbers that no user or group of the machine has; nothing needs them to have a name. */
#define OWNER 54321
#define STRANGER 54322

static void become_if_root(uid_t uid, gid_t gid)
{
    if (geteuid() == 0) {
        become(uid, gid);
    }
}

static void expect_denied(const char *words)
{
    expect_equal(errno, EACCES);
    expect_match(kmem_last_error(), words);
}

/* A reader of a user, which says what it was told; then it waits. */
static void join_to_read(const void *argument)
{
    int walled = 7;
    become_if_root(*(const uid_t *)argument, OWNER);
    const int r = kmem_join_as_reader(&walled);
    client_say(r < 0 ? (uint64_t)-r : 0);
    client_say((uint64_t)walled);
    if (r < 0) {
        harness_note("\"%s\"", kmem_last_error());
        expect_match(kmem_last_error(), "--readers=(none|walled)");
    }
    (void)client_await();
}

static void join_to_write(const void *argument)
{
    become_if_root(*(const uid_t *)argument, OWNER);
    void *block = kmem_try_allocate(100, "member");
    client_say(block != NULL ? 0 : (uint64_t)errno);
    if (block == NULL) {
        harness_note("\"%s\"", kmem_last_error());
        expect_match(kmem_last_error(), "reader");
    }
    (void)client_await();
}

static struct client reader_start(const uid_t *uid, int want, int walled)
{
    struct client reader = client_start(join_to_read, uid);
    expect_equal(client_hear(&reader), want);
    expect_equal(client_hear(&reader), walled);
    return reader;
}

static struct client member_start(const uid_t *uid, int want)
{
    struct client member = client_start(join_to_write, uid);
    expect_equal(client_hear(&member), want);
    return member;
}

static void expect_role(pid_t pid, const char *role)
{
    char pattern[64];
    (void)snprintf(pattern, sizeof(pattern), "^ *%d .*  %s  +connected", (int)pid, role);
    expect_match(ctl("clients")->out, pattern);
}

static const uid_t users[] = {STRANGER, STRANGER + 1, 0};

static void test_readers_walled_refuses_others_and_who_would_break_a_wall(void)
{
    need_root();
    daemon_start("--readers=walled", "--group", "54321", NULL);
    expect_call(chmod(harness_path("."), 0711) == 0);
    struct client reader = reader_start(&users[0], 0, 1);
    expect_role(reader.pid, "walled reader");
    struct client refused = reader_start(&users[2], EACCES, 7);
    sharing_finish(&refused);
    struct client member = member_start(&users[1], 0);
    expect_role(member.pid, "member");
    refused = reader_start(&users[1], EACCES, 7); /* a member's user */
    sharing_finish(&refused);
    refused = member_start(&users[0], EACCES); /* the reader's */
    sharing_finish(&refused);
    expect_role(reader.pid, "walled reader");
    expect_match(ctl("--json", "clients")->out, "\"reader\": true, \"walled\": true");
    daemon_kill_server(); /* the next one holds to it */
    refused = member_start(&users[0], EACCES);
    sharing_finish(&refused);
    sharing_finish(&reader);
    expect_soon(usage_take().clients == 1, 2000);
    struct client late = member_start(&users[0], 0);
    sharing_finish(&late);
    sharing_finish(&member);
    daemon_stop_balanced();
}

static void test_readers_any_shows_whose_wall_is_broken(void)
{
    need_root();
    daemon_start("--group", "54321", NULL);
    expect_call(chmod(harness_path("."), 0711) == 0);
    struct client reader = reader_start(&users[0], 0, 1);
    expect_role(reader.pid, "walled reader");
    struct client member = member_start(&users[0], 0);
    expect_role(reader.pid, "reader");
    sharing_finish(&member);
    expect_soon(usage_take().clients == 1, 2000);
    expect_role(reader.pid, "walled reader");
    sharing_finish(&reader);
    daemon_stop_balanced();
}

static void test_readers_none_lets_none_in(void)
{
    const uid_t self = getuid();
    daemon_start("--readers=none", NULL);
    struct client refused = reader_start(&self, EACCES, 7);
    sharing_finish(&refused);
    struct client member = member_start(&self, 0);
    sharing_finish(&member);
    daemon_stop_balanced();
}

/* Of the reader group alone, of both groups, of neither. */
static void join_in_groups(const void *argument)
{
    const gid_t *const gid = argument;
    become(STRANGER, *gid);
    if (*gid == 1) {
        expect_true(kmem_try_allocate(100, "stranger") == NULL);
        expect_denied("and for reading that given with --reader-group");
        return;
    }
    void *block = kmem_try_allocate(100, "member");
    expect_equal(block != NULL, *gid == OWNER);
    if (block == NULL) {
        expect_denied("reading only, by --reader-group or reader-users; set KMEM_ROLE=");
        expect_equal(kmem_join_as_reader(NULL), 0);
        return;
    }
    release(block);
}

static void test_reader_group_may_read_and_the_group_may_write(void)
{
    static const gid_t gids[] = {OWNER, STRANGER, 1};
    struct stat status;
    need_root();
    daemon_start("--group", "54321", "--reader-group", "54322", NULL);
    expect_call(chmod(harness_path("."), 0711) == 0);
    expect_call(stat(daemon_socket(), &status) == 0);
    expect_equal(status.st_gid, OWNER);
    expect_equal(status.st_mode & 0777, 0666); /* a file has one group; the server looks */
    for (size_t i = 0; i < 3; i++) {
        client_run(join_in_groups, &gids[i]);
    }
    expect_soon(usage_take().clients == 0, 2000);
    daemon_stop();
}

static void test_socket_is_the_reader_groups_where_there_is_no_other(void)
{
    static const gid_t gid = STRANGER;
    struct stat status;
    need_root();
    daemon_start("--reader-group", "54322", NULL);
    expect_call(chmod(harness_path("."), 0711) == 0);
    expect_call(stat(daemon_socket(), &status) == 0);
    expect_equal(status.st_gid, STRANGER);
    expect_equal(status.st_mode & 0777, 0660);
    client_run(join_in_groups, &gid);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_readers_walled_refuses_others_and_who_would_break_a_wall, 10),
    SYSTEM_TEST(test_readers_any_shows_whose_wall_is_broken, 10),
    SYSTEM_TEST(test_readers_none_lets_none_in, 10),
    SYSTEM_TEST(test_reader_group_may_read_and_the_group_may_write, 10),
    SYSTEM_TEST(test_socket_is_the_reader_groups_where_there_is_no_other, 10),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
