/* SPDX-License-Identifier: MIT */
/*
 * test_copies.c - one process that is another program after an exec, or has the library twice
 */
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

/* ------------------------------------------------------------------------------- exec ---- */

/* A child that holds the connection of the program that forked it, and never speaks. */
static void leave_a_child_behind(void)
{
    const pid_t parent = getpid();
    const pid_t child = fork();
    expect_call(child >= 0);
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (getppid() == parent) {
            (void)pause();
        }
        _exit(0);
    }
}

static void exec_with_a_child(const void *plugin)
{
    expect_call(kmem_try_allocate(100 << 10, "of the former program") != NULL);
    leave_a_child_behind();
    client_pause();
    (void)execl(harness_program("plugin_host"), "plugin_host", harness_program(plugin), NULL);
    fail("execl: %s", strerror(errno));
}

static void test_new_program_joins_at_once_though_a_child_of_the_former_one_lives(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(exec_with_a_child, "plugin.so");
    expect_usage(100 << 10, 1);
    client_tell(&client, 1);
    client_end(&client); /* with status 0: each of its calls has worked, and none waited */
    expect_balanced();
    expect_equal(usage_take().clients_seen, 2);
    daemon_stop();
}

static void test_new_program_that_joins_just_after_the_servers_death(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(exec_with_a_child, "plugin_with_archive.so");
    daemon_kill_server();
    client_finish(&client);
    daemon_stop_balanced();
}

/* ----------------------------------------------------------------------------- copies ---- */

struct plugin {
    int (*use)(const char **ret_error);
    void *(*keep)(void);
};

static struct plugin plugin_of(void *handle)
{
    struct plugin plugin;
    if (handle == NULL) {
        fail("%s", dlerror());
    }
    void *const use = dlsym(handle, "plugin_use");
    void *const keep = dlsym(handle, "plugin_keep");
    expect_true(use != NULL && keep != NULL);
    memcpy(&plugin.use, &use, sizeof(use));
    memcpy(&plugin.keep, &keep, sizeof(keep));
    return plugin;
}

/* The library is in this program, and in a plugin once more. */
static void use_two_copies(struct plugin plugin)
{
    const char *error = "";
    char *const own = kmem_try_allocate(44, "of the program");
    expect_call(own != NULL);
    if (plugin.use(&error) != 0) {
        fail("%s", error);
    }
    char *const kept = plugin.keep();
    expect_call(kept != NULL);
    (void)snprintf(own, 44, "own");
    (void)snprintf(kept, 44, "kept");
    client_say(1);
    client_await(); /* the server is another one */
    if (plugin.use(&error) != 0) {
        fail("%s", error);
    }
    void *block = kmem_try_allocate(100 << 10, "of the program, later");
    if (block == NULL) {
        fail("%s", kmem_last_error());
    }
    expect_equal(kmem_try_release(&block), 0);
    expect_text(own, "own");
    expect_text(kept, "kept");
    client_say(2);
    client_await();
}

static void use_a_plugin_with_the_archive(const void *argument)
{
    (void)argument;
    /* As a plugin is that was linked with -Bsymbolic: it calls the library that it has inside. */
    const int flags = RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND;
    use_two_copies(plugin_of(dlopen(harness_program("plugin_with_archive.so"), flags)));
}

static void use_a_namespace_of_its_own(const void *argument)
{
    (void)argument;
    use_two_copies(plugin_of(dlmopen(LM_ID_NEWLM, harness_program("plugin.so"), RTLD_NOW)));
}

static void expect_two_clients(void (*run)(const void *argument))
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(run, NULL);
    expect_equal(usage_take().clients, 2);
    expect_usage(44 + 3000, 2);
    daemon_kill_server();
    client_resume(&client);
    expect_equal(usage_take().clients, 2); /* each has come back as itself */
    expect_usage(44 + 3000, 2);
    client_kill(&client);
    daemon_stop_balanced();
}

static void test_copy_in_a_plugin_is_a_client_beside_the_programs(void)
{
    expect_two_clients(use_a_plugin_with_the_archive);
}

static void test_copy_of_dlmopen_is_a_client_beside_the_programs(void)
{
    expect_two_clients(use_a_namespace_of_its_own);
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_new_program_joins_at_once_though_a_child_of_the_former_one_lives, 20),
    SYSTEM_TEST(test_new_program_that_joins_just_after_the_servers_death, 20),
    SYSTEM_TEST(test_copy_in_a_plugin_is_a_client_beside_the_programs, 20),
    SYSTEM_TEST(test_copy_of_dlmopen_is_a_client_beside_the_programs, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
