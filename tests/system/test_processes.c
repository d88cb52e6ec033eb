/* SPDX-License-Identifier: MIT */
/*
 * test_processes.c - fork, exec, threads and signals in the processes that use the library
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/wire/wire.h"

static void wait_for_exit_0(pid_t pid)
{
    int status = -1;
    expect_call(waitpid(pid, &status, 0) == pid);
    expect_equal(status, 0);
}

/* ------------------------------------------------------------------------------- fork ---- */

static void fork_and_allocate(const void *argument)
{
    (void)argument;
    char *parents = kmem_try_allocate(44, "parent");
    expect_call(parents != NULL);
    (void)snprintf(parents, 44, "written before the fork");
    const pid_t child = fork();
    if (child == 0) {
        expect_text(parents, "written before the fork");
        char *own = kmem_try_allocate(101, "child");
        expect_call(own != NULL);
        own[100] = 1;
        (void)snprintf(parents, 44, "written by the child");
        client_say(2); /* the line is inherited */
        client_await();
        expect_equal(kmem_try_release((void **)&own), 0);
        exit(0);
    }
    wait_for_exit_0(child);
    expect_text(parents, "written by the child");
    expect_equal(kmem_try_release((void **)&parents), 0);
}

static void test_child_of_a_fork_is_a_client_of_its_own(void)
{
    daemon_start(NULL, NULL);
    struct client parent = client_begin(fork_and_allocate, NULL);
    expect_equal(usage_take().clients, 2);
    expect_usage(44 + 101, 2);
    expect_equal(client_row_of(parent.pid).num_bytes, 44);
    client_finish(&parent);
    daemon_stop_balanced();
}

static void fork_and_release_the_parents(const void *argument)
{
    (void)argument;
    void *parents = kmem_try_allocate(44, "parent");
    expect_call(parents != NULL);
    const pid_t child = fork();
    if (child == 0) {
        void *const same = parents;
        size_t num_bytes = 0;
        expect_equal(kmem_try_release(&parents), -EPERM);
        expect_true(parents == same);
        expect_match(kmem_last_error(), "^kmem_try_release: .*\"parent\"");
        expect_equal(kmem_try_sizeof(parents, &num_bytes), -EPERM);
        exit(0);
    }
    wait_for_exit_0(child);
    expect_equal(kmem_sizeof_allocation(parents), 44);
    expect_equal(kmem_try_release(&parents), 0);
}

static void test_child_releasing_its_parents_block_is_EPERM(void)
{
    daemon_start(NULL, NULL);
    client_run(fork_and_release_the_parents, NULL);
    daemon_stop_balanced();
}

/* The child does not call the library, but holds the socket that it inherited. */
static void fork_a_child_that_only_lives(const void *argument)
{
    (void)argument;
    expect_call(kmem_try_allocate(44, "of a parent that dies") != NULL);
    if (fork() == 0) {
        client_say((uint64_t)getpid());
        client_await();
        _exit(0);
    }
    client_await();
}

static void test_blocks_of_a_dead_parent_come_back_though_a_child_holds_its_socket(void)
{
    daemon_start(NULL, NULL);
    struct client parent = client_start(fork_a_child_that_only_lives, NULL);
    const pid_t child = (pid_t)client_hear(&parent);
    client_kill_only(&parent);
    expect_soon(usage_take().blocks == 0, 100);
    expect_soon(usage_take().clients == 0, 100);
    expect_call(kill(child, 0) == 0); /* it lives */
    client_tell(&parent, 1);
    client_end_by(&parent, SIGKILL);
    daemon_stop_balanced();
}

/* The child goes on speaking over the connection that its dead parent made. */
static void fork_a_child_that_goes_on_speaking(const void *argument)
{
    (void)argument;
    const int fd = wire_member();
    wire_allocate(fd, 44, "of a parent that dies");
    if (fork() == 0) {
        client_say((uint64_t)getpid());
        client_await();
        wire_send(fd, request_allocate(NEW_REQUEST, 1000, NULL, 0));
        Kmem__Response *const response = wire_try_receive(fd);
        const bool served =
            response != NULL && response->body_case == KMEM__RESPONSE__BODY_ALLOCATED;
        wire_free(response);
        client_say(served);
        client_await();
        _exit(0);
    }
    client_await();
}

static void test_nobody_allocates_in_the_name_of_the_dead(void)
{
    daemon_start(NULL, NULL);
    struct client parent = client_begin(fork_a_child_that_goes_on_speaking, NULL);
    client_kill_only(&parent);
    expect_soon(usage_take().clients == 0, 100);
    client_tell(&parent, 1);
    expect_equal(client_hear(&parent), false);
    expect_usage(0, 0);
    client_tell(&parent, 1);
    client_end_by(&parent, SIGKILL);
    daemon_stop_balanced();
}

static atomic_bool threads_may_end;

static void *allocate_without_pause(void *argument)
{
    while (!atomic_load(&threads_may_end)) {
        void *block = kmem_try_allocate(100, "while others fork");
        expect_call(block != NULL);
        expect_equal(kmem_try_release(&block), 0);
    }
    return argument;
}

static void fork_while_threads_are_in_the_library(const void *argument)
{
    pthread_t threads[2];
    (void)argument;
    for (size_t i = 0; i < 2; i++) {
        expect_equal(pthread_create(&threads[i], NULL, allocate_without_pause, NULL), 0);
    }
    for (unsigned int i = 0; i < harness_scaled(200); i++) {
        const pid_t child = fork();
        if (child == 0) {
            void *block = kmem_try_allocate(44, "child");
            expect_call(block != NULL);
            expect_equal(kmem_try_release(&block), 0);
            _exit(
                0); /* the threads are not in this process: exit() might wait for what they lock */
        }
        wait_for_exit_0(child);
    }
    atomic_store(&threads_may_end, true);
    for (size_t i = 0; i < 2; i++) {
        expect_equal(pthread_join(threads[i], NULL), 0);
    }
}

static void test_fork_while_another_thread_holds_the_librarys_lock(void)
{
    daemon_start(NULL, NULL);
    client_run(fork_while_threads_are_in_the_library, NULL);
    daemon_stop_balanced();
}

/* --------------------------------------------------------------------- exec and spawn ---- */

static void exec_a_shell(const void *argument)
{
    (void)argument;
    char script[512];
    expect_call(kmem_try_allocate(44, "before exec") != NULL);
    client_say(1);
    (void)snprintf(script, sizeof(script),
                   "ls -l /proc/$$/fd >%s && mv %s %s; read -r line; exit 0",
                   harness_path("fds.new"), harness_path("fds.new"), harness_path("fds"));
    /* The line to the test becomes the shell's stdin: it ends when the test lets go. */
    for (int fd = 3; fd < 64; fd++) {
        int type;
        socklen_t type_bytes = sizeof(type);
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_bytes) == 0 &&
            type == SOCK_SEQPACKET) {
            (void)dup2(fd, STDIN_FILENO);
        }
    }
    (void)execl("/bin/sh", "sh", "-c", script, NULL);
    fail("execl: %s", strerror(errno));
}

static void expect_no_descriptor_of_the_library(const char *list_path)
{
    char list[8192];
    FILE *const file = fopen(list_path, "re");
    expect_call(file != NULL);
    const size_t n_bytes = fread(list, 1, sizeof(list) - 1, file);
    (void)fclose(file);
    list[n_bytes] = '\0';
    expect_true(n_bytes > 0);
    expect_true(!harness_matches(list, "memfd:|kmemd:"));
    /* Of sockets only stdin, the line to the test. */
    expect_true(!harness_matches(list, " [1-9][0-9]* -> socket"));
}

static void test_exec_keeps_the_blocks_charged_and_no_descriptor_open(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(exec_a_shell, NULL);
    expect_soon(access(harness_path("fds"), F_OK) == 0, 5000);
    expect_no_descriptor_of_the_library(harness_path("fds"));
    expect_soon(!client_row_of(client.pid).connected, 1000);
    expect_usage(44, 1);
    client_tell(&client, 1);
    client_kill(&client);
    daemon_stop_balanced();
}

static void spawn_a_shell(const void *argument)
{
    (void)argument;
    char script[256];
    pid_t pid;
    expect_call(kmem_try_allocate(44, "before spawn") != NULL);
    (void)snprintf(script, sizeof(script), "exec ls -l /proc/$$/fd >%s", harness_path("fds"));
    char *const words[] = {(char[]){"sh"}, (char[]){"-c"}, script, NULL};
    expect_equal(posix_spawn(&pid, "/bin/sh", NULL, NULL, words, environ), 0);
    wait_for_exit_0(pid);
}

static void test_posix_spawn_leaks_no_descriptor(void)
{
    daemon_start(NULL, NULL);
    client_run(spawn_a_shell, NULL);
    expect_no_descriptor_of_the_library(harness_path("fds"));
    daemon_stop_balanced();
}

/* ---------------------------------------------------------------------------- signals ---- */

static void call_after_the_daemon_is_gone(const void *argument)
{
    (void)argument;
    (void)signal(SIGPIPE, SIG_DFL);
    expect_call(setenv("KMEM_TIMEOUT_MS", "1500", 1) == 0); /* it waits for another daemon */
    void *block = kmem_try_allocate(44, "held");
    expect_call(block != NULL);
    client_pause();
    expect_equal(kmem_try_release(&block), -ECONNRESET);
    expect_true(kmem_try_allocate(44, "again") == NULL);
    harness_note("\"%s\"", kmem_last_error());
}

static void test_lost_daemon_is_ECONNRESET_and_no_SIGPIPE(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(call_after_the_daemon_is_gone, NULL);
    daemon_kill();
    client_finish(&client);
}

static void handle(int number)
{
    (void)number;
}

static void be_interrupted(const void *argument)
{
    (void)argument;
    const struct sigaction action = {.sa_handler = handle}; /* without SA_RESTART */
    expect_call(sigaction(SIGUSR1, &action, NULL) == 0);
    client_say(1);
    for (uint64_t n = 0; !client_was_told(); n++) {
        void *block = kmem_try_allocate(1 + n % 1000, "interrupted");
        if (block == NULL) {
            fail("%s", kmem_last_error());
        }
        expect_equal(kmem_try_release(&block), 0);
    }
}

static void test_signals_during_calls_are_not_noticed(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(be_interrupted, NULL);
    for (unsigned int i = 0; i < 2000; i++) {
        expect_call(kill(client.pid, SIGUSR1) == 0);
        if (i % 8 == 0) {
            harness_sleep_ms(1);
        }
    }
    client_finish(&client);
    daemon_stop_balanced();
}

/* ---------------------------------------------------------------------------- threads ---- */

#define N_THREADS 64
#define N_EXCHANGED 256

static _Atomic(uint64_t *) exchanged[N_EXCHANGED];

static void release_stamped(uint64_t *block)
{
    if (block != NULL) {
        expect_equal(block[1], block[0] ^ (uintptr_t)block);
        expect_equal(kmem_try_release((void **)&block), 0);
    }
}

/* What this thread allocates, another one will find in the exchange and release. */
static void *allocate_for_others(void *argument)
{
    unsigned int seed = (unsigned int)(uintptr_t)argument;
    const uint64_t n_steps = harness_scaled(500);
    for (uint64_t i = 0; i < n_steps; i++) {
        uint64_t *const block = kmem_try_allocate(16 + (size_t)rand_r(&seed) % 3000, "exchanged");
        if (block == NULL) {
            fail("%s", kmem_last_error());
        }
        expect_equal(block[0], 0);
        expect_equal(block[1], 0);
        block[0] = (uint64_t)rand_r(&seed);
        block[1] = block[0] ^ (uintptr_t)block;
        release_stamped(atomic_exchange(&exchanged[(size_t)rand_r(&seed) % N_EXCHANGED], block));
    }
    return NULL;
}

static void exchange_between_64_threads(const void *argument)
{
    pthread_t threads[N_THREADS];
    (void)argument;
    for (uintptr_t i = 0; i < N_THREADS; i++) {
        expect_equal(pthread_create(&threads[i], NULL, allocate_for_others, (void *)(i + 1)), 0);
    }
    for (size_t i = 0; i < N_THREADS; i++) {
        expect_equal(pthread_join(threads[i], NULL), 0);
    }
    for (size_t i = 0; i < N_EXCHANGED; i++) {
        release_stamped(atomic_load(&exchanged[i]));
    }
    client_pause();
}

static void test_64_threads_release_each_others_blocks(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(exchange_between_64_threads, NULL);
    expect_usage(0, 0);
    client_finish(&client);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_child_of_a_fork_is_a_client_of_its_own, 10),
    SYSTEM_TEST(test_child_releasing_its_parents_block_is_EPERM, 10),
    SYSTEM_TEST(test_blocks_of_a_dead_parent_come_back_though_a_child_holds_its_socket, 10),
    SYSTEM_TEST(test_nobody_allocates_in_the_name_of_the_dead, 10),
    SYSTEM_TEST(test_fork_while_another_thread_holds_the_librarys_lock, 60),
    SYSTEM_TEST(test_exec_keeps_the_blocks_charged_and_no_descriptor_open, 10),
    SYSTEM_TEST(test_posix_spawn_leaks_no_descriptor, 10),
    SYSTEM_TEST(test_lost_daemon_is_ECONNRESET_and_no_SIGPIPE, 10),
    SYSTEM_TEST(test_signals_during_calls_are_not_noticed, 20),
    SYSTEM_TEST(test_64_threads_release_each_others_blocks, 60),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
