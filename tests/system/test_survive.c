/* SPDX-License-Identifier: MIT */
/*
 * Programs that link libkmem while servers and other programs are killed: none of their calls
 * fails, no byte of theirs changes, and the ledger is in the end what they say they hold.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"
#include "tests/support/seeded.h"

#define N_PROGRAMS 4
#define N_SLOTS 200
#define N_SERVER_KILLS 50
#define N_CLIENT_KILLS 200

struct held {
    unsigned char *block;
    size_t num_bytes;
    unsigned char first; /* each byte of the block is known from this and its place */
};

struct program {
    struct held slots[N_SLOTS];
    struct seeded seeded;
    uint64_t n_blocks;
    uint64_t num_bytes;
};

/* Sizes of all ways: direct because rare, leased and small, leased and large. */
static size_t choose_size(struct seeded *seeded)
{
    const uint32_t kind = seeded_below(seeded, 100);
    if (kind < 60) {
        return 100 + seeded_below(seeded, 20);
    }
    if (kind < 90) {
        return 1 + seeded_below(seeded, 16000);
    }
    return 70000 + seeded_below(seeded, 200000);
}

static unsigned char byte_at(const struct held *held, size_t at)
{
    return (unsigned char)(held->first + at * 7);
}

static void expect_intact(const struct held *held)
{
    for (size_t at = 0; at < held->num_bytes; at += 1 + held->num_bytes / 64) {
        expect_equal(held->block[at], byte_at(held, at));
    }
}

static void put_down(struct program *program, struct held *held)
{
    expect_intact(held);
    program->n_blocks--;
    program->num_bytes -= held->num_bytes;
    expect_equal(kmem_try_release((void **)&held->block), 0);
}

static void pick_up(struct program *program, struct held *held)
{
    held->num_bytes = choose_size(&program->seeded);
    held->first = (unsigned char)seeded_below(&program->seeded, 256);
    held->block = kmem_try_allocate(held->num_bytes, "survivor");
    if (held->block == NULL) {
        harness_note("%zu bytes: %s", held->num_bytes, kmem_last_error());
    }
    expect_call(held->block != NULL);
    expect_equal(
        held->block[0] | held->block[held->num_bytes / 2] | held->block[held->num_bytes - 1], 0);
    for (size_t at = 0; at < held->num_bytes; at++) {
        held->block[at] = byte_at(held, at);
    }
    program->n_blocks++;
    program->num_bytes += held->num_bytes;
}

static void step(struct program *program)
{
    struct held *held = &program->slots[seeded_below(&program->seeded, N_SLOTS)];
    if (held->block != NULL) {
        put_down(program, held);
    } else {
        pick_up(program, held);
    }
}

/* Works until it is told to stop, and says what it holds; then it gives all back. */
static void work(const void *argument)
{
    static struct program program;
    const uint64_t number = *(const unsigned int *)argument;
    program.seeded.state = 20261123 + number;
    uint64_t n_steps = 0;
    for (; !client_was_told(); n_steps++) {
        step(&program);
    }
    client_say(n_steps);
    client_say(program.n_blocks);
    client_say(program.num_bytes);
    (void)client_await();
    for (unsigned int i = 0; i < N_SLOTS; i++) {
        if (program.slots[i].block != NULL) {
            put_down(&program, &program.slots[i]);
        }
    }
    client_pause();
}

static void expect_all_that_is_held(struct client *clients, uint64_t *ret_steps)
{
    uint64_t n_blocks = 0;
    uint64_t num_bytes = 0;
    for (unsigned int i = 0; i < N_PROGRAMS; i++) {
        client_tell(&clients[i], 1);
        *ret_steps += client_hear(&clients[i]);
        n_blocks += client_hear(&clients[i]);
        num_bytes += client_hear(&clients[i]);
    }
    expect_usage(num_bytes, n_blocks);
}

static void start_programs(struct client *clients)
{
    static const unsigned int numbers[N_PROGRAMS] = {0, 1, 2, 3};
    for (unsigned int i = 0; i < N_PROGRAMS; i++) {
        clients[i] = client_start(work, &numbers[i]);
    }
}

static void end_programs(struct client *clients)
{
    for (unsigned int i = 0; i < N_PROGRAMS; i++) {
        client_tell(&clients[i], 1);
        expect_equal(client_hear(&clients[i]), 1);
    }
    expect_usage(0, 0);
    for (unsigned int i = 0; i < N_PROGRAMS; i++) {
        client_finish(&clients[i]);
    }
    expect_balanced();
}

static void kill_server_once(void)
{
    const pid_t server = daemon_server_pid();
    if (server != 0) {
        expect_true(kill(server, SIGKILL) == 0 || errno == ESRCH);
    }
}

static void test_programs_work_on_while_servers_are_killed(void)
{
    struct client clients[N_PROGRAMS];
    uint64_t n_steps = 0;
    daemon_start("--size", "256MiB", NULL);
    start_programs(clients);
    for (unsigned int i = 0; i < N_SERVER_KILLS; i++) {
        harness_sleep_ms(50);
        kill_server_once();
    }
    expect_soon(usage_take().allocations >= 500, 10000);
    expect_all_that_is_held(clients, &n_steps);
    harness_note("%llu allocations and releases over %d server kills", (unsigned long long)n_steps,
                 N_SERVER_KILLS);
    expect_at_least(n_steps, 500);
    end_programs(clients);
    daemon_stop();
}

static void test_programs_work_on_while_others_and_servers_are_killed(void)
{
    struct client clients[N_PROGRAMS];
    uint64_t n_steps = 0;
    static const unsigned int number = 77;
    daemon_start("--size", "256MiB", NULL);
    start_programs(clients);
    for (unsigned int i = 0; i < N_CLIENT_KILLS; i++) {
        struct client victim = client_start(work, &number);
        harness_sleep_ms(1 + i % 20);
        client_kill(&victim);
        if (i % 8 == 0) {
            kill_server_once();
        }
    }
    expect_all_that_is_held(clients, &n_steps);
    harness_note("%llu allocations and releases over %d client kills", (unsigned long long)n_steps,
                 N_CLIENT_KILLS);
    end_programs(clients);
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_programs_work_on_while_servers_are_killed, 60),
    SYSTEM_TEST(test_programs_work_on_while_others_and_servers_are_killed, 120),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
