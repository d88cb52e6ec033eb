/* SPDX-License-Identifier: MIT */
/*
 * test_share_exec.c - what is shared when a process becomes another program, and when a service
 * manager starts the daemon anew
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/system/daemon.h"
#include "tests/system/sharing.h"
#include "tests/system/store.h"
#include "tests/system/usage.h"

/* ------------------------------------------------------------------------------------ exec -- */

/* Becomes a program that waits, then calls the library, waits, and ends. */
static void become_another_program(void)
{
    const char *const words[] = {"ctl_worker",
                                 "touch",
                                 harness_path("is-another"),
                                 "until",
                                 harness_path("join"),
                                 "allocate",
                                 "10",
                                 "another",
                                 "touch",
                                 harness_path("has-joined"),
                                 "until",
                                 harness_path("end"),
                                 "end",
                                 NULL};
    (void)execv(harness_program("ctl_worker"), (char *const *)words);
    fail("execv: %s", strerror(errno));
}

static bool is_there(const char *name)
{
    return access(harness_path(name), F_OK) == 0;
}

static void touch(const char *name)
{
    const int fd = open(harness_path(name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    expect_call(fd >= 0);
    (void)close(fd);
}

static void forget_files(void)
{
    const char *const names[] = {"is-another", "join", "has-joined", "end"};
    for (size_t i = 0; i < 4; i++) {
        (void)unlink(harness_path(names[i]));
    }
}

static void own_and_exec(const void *argument)
{
    const struct sharing_kind *kind = argument;
    unsigned char *const block = filled(kind->num_bytes, kind->is_leased, 'a');
    struct kmem_handle handle;
    expect_equal(kmem_share(block, 0, &handle), 0);
    expect_equal(kmem_publish(block, "exec", 0, NULL), 0);
    say_handle(&handle);
    (void)client_await();
    become_another_program();
}

static void test_owner_that_execs_owns_on_until_the_program_calls_the_library(void)
{
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < SHARING_KINDS; i++) {
        struct client owner = client_start(own_and_exec, &sharing_kinds[i]);
        const struct kmem_handle handle = hear_handle(&owner);
        struct client holder = sharing_hold(&handle);
        client_tell(&owner, 1);
        expect_soon(is_there("is-another"), 2000);
        struct client late = sharing_hold(&handle); /* it leads to the block still */
        sharing_finish(&late);
        expect_at_least(client_row_of(owner.pid).num_bytes, handle.num_bytes);
        touch("join");
        expect_soon(is_there("has-joined"), 2000);
        expect_soon(client_row_of(holder.pid).num_bytes == handle.num_bytes,
                    2000); /* its own now */
        expect_equal(client_row_of(owner.pid).num_bytes, 10);
        sharing_tell(&holder, 'a');
        sharing_tell(&holder, 'R');
        expect_usage(10, 1); /* the name has ended as well */
        sharing_finish(&holder);
        touch("end");
        client_end(&owner);
        forget_files();
    }
    daemon_stop_balanced();
}

static void hold_and_exec(const void *argument)
{
    (void)argument;
    const struct kmem_handle handle = await_handle();
    (void)attach(&handle, KMEM_READ);
    client_say(1);
    (void)client_await();
    become_another_program();
}

static void test_holder_that_execs_holds_on_until_the_program_calls_the_library(void)
{
    daemon_start(NULL, NULL);
    for (size_t i = 0; i < SHARING_KINDS; i++) {
        struct client owner = client_start(sharing_own, &sharing_kinds[i]);
        const struct kmem_handle handle = hear_handle(&owner);
        struct client holder = client_start(hold_and_exec, NULL);
        tell_handle(&holder, &handle);
        expect_equal(client_hear(&holder), 1);
        client_tell(&holder, 1);
        expect_soon(is_there("is-another"), 2000);
        sharing_tell(&owner, 'r');
        struct client late = sharing_hold(&handle);
        sharing_tell(&late, 'a'); /* nobody else holds it */
        sharing_tell(&late, 'R');
        sharing_finish(&late);
        touch("join");
        expect_soon(is_there("has-joined"), 2000);
        /* Its hold went before it joined; a block of the owner's lease is on its way home. */
        struct client too_late = client_start(sharing_attach_stale, NULL);
        tell_handle(&too_late, &handle);
        client_end(&too_late);
        touch("end");
        client_end(&holder);
        sharing_finish(&owner);
        forget_files();
    }
    daemon_stop_balanced();
}

/* ------------------------------------------------------------------------ a service manager -- */

static void keep_sharing(const void *argument)
{
    (void)argument;
    unsigned char *block = filled(40000, true, 'a');
    unsigned char *kept = filled(1000, false, 'k');
    struct kmem_handle handle;
    uint64_t version = 0;
    expect_equal(kmem_share(block, 0, &handle), 0);
    expect_equal(kmem_publish(kept, "kept", KMEM_GIVE | KMEM_KEEP, &version), 0);
    say_handle(&handle);
    client_say(version);
    (void)client_await();
    expect_equal(kmem_publish(block, "late", 0, &version), 0);
    client_say(version);
    (void)client_await();
    expect_filled(block, 40000, 'a');
    release(block);
}

static void find_kept(const void *argument)
{
    (void)argument;
    unsigned char *block = NULL;
    uint64_t version = 0;
    expect_equal(kmem_find("kept", KMEM_READ, "found", &block, &version), 0);
    expect_filled(block, 1000, 'k');
    client_say(version);
    release(block);
    expect_equal(kmem_unpublish("kept"), 0);
}

static void test_restart_by_a_service_manager_keeps_shares_holds_and_names(void)
{
    if (!KMEMD_WITH_SYSTEMD) {
        harness_skip("kmemd was built without libsystemd");
    }
    store_open();
    const struct daemon_setting first = store_first_setting();
    daemon_start_as(&first, OPTIONS(NULL));
    struct client owner = client_start(keep_sharing, NULL);
    const struct kmem_handle handle = hear_handle(&owner);
    const uint64_t version = client_hear(&owner);
    struct client holder = sharing_hold(&handle);
    expect_soon(store_count() == 10, 2000); /* four of the segment, three of each client */
    daemon_kill();

    const struct daemon_setting second = store_setting();
    daemon_start_as(&second, OPTIONS(NULL));
    expect_log_line("going on with the segment that was kept");
    sharing_tell(&holder, 'a');
    struct client late = sharing_hold(&handle); /* the handle leads there still */
    sharing_tell(&late, 'a');
    sharing_finish(&late);
    struct client finder = client_start(find_kept, NULL);
    expect_equal(client_hear(&finder), version);
    client_end(&finder);
    client_tell(&owner, 1);
    expect_true(client_hear(&owner) > version); /* versions go on */
    client_tell(&owner, 1);
    client_end(&owner);
    sharing_tell(&holder, 'a'); /* it holds it alone */
    sharing_tell(&holder, 'R');
    sharing_finish(&holder);
    expect_soon(usage_take().clients == 0, 2000);
    expect_usage(0, 0);
    store_close();
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_owner_that_execs_owns_on_until_the_program_calls_the_library, 20),
    SYSTEM_TEST(test_holder_that_execs_holds_on_until_the_program_calls_the_library, 20),
    SYSTEM_TEST(test_restart_by_a_service_manager_keeps_shares_holds_and_names, 10),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
