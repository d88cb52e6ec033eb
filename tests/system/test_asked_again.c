/* SPDX-License-Identifier: MIT */
/*
 * test_asked_again.c - servers end in the midst of answers, and the next ones go on with them
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/history.h>
#include <kmem/kmem.h>
#include <kmem/observe.h>
#include <kmem/query.h>

#include "tests/system/client.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"

/* Of each page of an answer one is the first: 1,300 are three pages. */
#define N_BLOCKS 1300
#define ROWS_A_PAGE 512

static void hold_blocks(const void *argument)
{
    (void)argument;
    for (unsigned int i = 0; i < N_BLOCKS; i++) {
        char reason[96];
        (void)snprintf(reason, sizeof(reason), "held/%060u", i);
        expect_call(kmem_try_allocate(64, reason) != NULL);
    }
    client_say(1);
    (void)client_await();
}

static struct client begin(void)
{
    daemon_start(NULL, NULL);
    struct client holder = client_start(hold_blocks, NULL);
    (void)client_hear(&holder);
    return holder;
}

static void end(struct client *holder)
{
    client_kill(holder);
    daemon_stop();
}

static struct kmem_query *open_insisting(void)
{
    struct kmem_query *query = NULL;
    expect_call(kmem_query_open(NULL, &query) == 0);
    kmem_query_insist(query, NULL, NULL);
    return query;
}

/* -------------------------------------------------------------------------------- the rows ---- */

struct rows {
    bool kills; /* a server with the first row of each page */
    size_t n_rows;
    uint64_t offsets[N_BLOCKS + 1];
};

static int note_block(const struct kmem_block *block, void *user)
{
    struct rows *rows = user;
    if (rows->kills && rows->n_rows % ROWS_A_PAGE == 0) {
        daemon_kill_server();
    }
    expect_true(rows->n_rows < N_BLOCKS);
    rows->offsets[rows->n_rows++] = block->offset;
    return 0;
}

static void test_blocks_go_on_behind_the_last_row(void)
{
    static struct rows before;
    static struct rows rows = {.kills = true};
    struct client holder = begin();
    struct kmem_query *query = open_insisting();
    expect_equal(kmem_query_blocks(query, note_block, &before), 0);
    expect_equal(before.n_rows, N_BLOCKS);
    expect_equal(kmem_query_blocks(query, note_block, &rows), 0);
    expect_equal(rows.n_rows, N_BLOCKS);
    expect_true(memcmp(rows.offsets, before.offsets, sizeof(rows.offsets)) == 0);
    (void)kmem_query_close(query);
    end(&holder);
}

static int count_group(const struct kmem_ledger_row *row, void *user)
{
    size_t *n_rows = user;
    (void)row;
    if ((*n_rows)++ == 0) {
        daemon_kill_server();
    }
    return 0;
}

/* Its order was the server's that has ended. */
static void test_ledger_in_the_midst_is_for_the_caller_to_ask_anew(void)
{
    struct client holder = begin();
    struct kmem_query *query = open_insisting();
    size_t n_rows = 0;
    expect_equal(kmem_query_ledger(query, KMEM_BY_REASON, count_group, &n_rows), -ECONNRESET);
    expect_true(n_rows > 0 && n_rows < N_BLOCKS);
    n_rows = 1; /* and none is killed */
    expect_equal(kmem_query_ledger(query, KMEM_BY_REASON, count_group, &n_rows), 0);
    expect_equal(n_rows, 1 + N_BLOCKS);
    (void)kmem_query_close(query);
    end(&holder);
}

/* --------------------------------------------------------------------------- all questions ---- */

static int ignore(const void *row, void *user)
{
    (void)row;
    (void)user;
    return 0;
}

static int ignore_statistic(const struct kmem_daemon *daemon,
                            const struct kmem_statistic *statistic, void *user)
{
    (void)daemon;
    return ignore(statistic, user);
}

#define EACH(type) ((type)(void (*)(void))ignore)

static int ask(struct kmem_query *query, unsigned int number)
{
    const struct kmem_block_filter filter = {.struct_bytes = sizeof(filter), .reason = "held/*"};
    switch (number) {
    case 0:
        return kmem_query_usage(query, ignore_statistic, NULL);
    case 1:
        return kmem_query_ledger(query, KMEM_BY_UID, EACH(kmem_ledger_fn), NULL);
    case 2:
        return kmem_query_clients(query, EACH(kmem_client_fn), NULL);
    case 3:
        return kmem_query_obituaries(query, EACH(kmem_obituary_fn), NULL);
    case 4:
        return kmem_query_limits(query, EACH(kmem_limit_fn), NULL);
    case 5:
        return kmem_query_refusals(query, EACH(kmem_refusal_fn), NULL);
    case 6:
        return kmem_query_holders(query, 0, EACH(kmem_holder_fn), NULL);
    case 7:
        return kmem_query_names(query, EACH(kmem_name_fn), NULL);
    case 8:
        return kmem_query_pages(query, 0, EACH(kmem_pages_fn), NULL);
    case 9:
        return kmem_query_lifetimes(query, EACH(kmem_lifetimes_fn), NULL);
    default:
        return kmem_query_blocks_where(query, &filter, EACH(kmem_block_fn), NULL);
    }
}

static void test_every_question_is_asked_of_the_next_server(void)
{
    struct client holder = begin();
    struct kmem_query *query = open_insisting();
    for (unsigned int number = 0; number <= 10; number++) {
        daemon_kill_server();
        expect_equal(ask(query, number), 0);
    }
    (void)kmem_query_close(query);
    end(&holder);
}

/* A caller that watches is to know that another server counts from here on. */
static void test_changes_are_not_asked_for_again(void)
{
    struct kmem_change_position position = {.number = KMEM_CHANGES_FROM_NOW};
    struct client holder = begin();
    struct kmem_query *query = open_insisting();
    expect_equal(kmem_query_changes(query, &position, 0, EACH(kmem_change_fn), NULL), 0);
    daemon_kill_server();
    expect_equal(kmem_query_changes(query, &position, 0, EACH(kmem_change_fn), NULL), -ECONNRESET);
    (void)kmem_query_close(query);
    end(&holder);
}

/* --------------------------------------------------------------------------- there is none ---- */

static void test_daemon_that_ends_for_good_is_told(void)
{
    struct client holder = begin();
    struct kmem_query *query = open_insisting();
    client_kill(&holder);
    daemon_stop();
    expect_equal(ask(query, 0), -ECONNRESET);
    expect_match(kmem_query_error(query),
                 "kmem_query_usage: the daemon at .* has ended, and none came back");
    (void)kmem_query_close(query);
}

static void test_another_segment_answers_no_question_about_the_first(void)
{
    struct client holder = begin();
    struct kmem_query *query = open_insisting();
    client_kill(&holder);
    daemon_stop();
    daemon_start(NULL, NULL);
    expect_equal(ask(query, 0), -ECONNRESET);
    expect_match(kmem_query_error(query), ".* has ended, and another segment is served there now");
    (void)kmem_query_close(query);
    daemon_stop();
}

/* --------------------------------------------------------------------------------- kmemctl ---- */

struct lister {
    pid_t pid;
    int out_fd;
    int err_fd;
    size_t n_bytes;
    char text[128 * N_BLOCKS];
};

static struct lister lister;

#define AWAY "kmemctl: the daemon's server has ended; waiting for the next one\n"

/* With a pipe that takes 4 KiB of its text: a page of rows is ten times that, so that it is in the
   first of them while we look, and has not asked for the last one yet. */
static void lister_start(void)
{
    int out[2];
    expect_call(pipe2(out, O_CLOEXEC) == 0);
    expect_call(fcntl(out[1], F_SETPIPE_SZ, 4096) > 0);
    lister.out_fd = out[0];
    lister.err_fd = open(harness_path("lister.err"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    expect_call(lister.err_fd >= 0);
    lister.pid = fork();
    expect_call(lister.pid >= 0);
    if (lister.pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(out[1], STDOUT_FILENO);
        (void)dup2(lister.err_fd, STDERR_FILENO);
        (void)execl(harness_program("kmemctl"), "kmemctl", "blocks", "-o", "csv", "--columns",
                    "offset,reason", (char *)NULL);
        _exit(127);
    }
    (void)close(out[1]);
}

/* Takes what it has printed, if it does so soon. Return: false: it will print no more. */
static bool lister_read(int patience_ms)
{
    struct pollfd polled = {.fd = lister.out_fd, .events = POLLIN};
    if (poll(&polled, 1, patience_ms) != 1) {
        return true;
    }
    const ssize_t n_read =
        read(lister.out_fd, lister.text + lister.n_bytes, sizeof(lister.text) - 1 - lister.n_bytes);
    expect_call(n_read >= 0);
    lister.n_bytes += (size_t)n_read;
    return n_read > 0;
}

static void lister_read_all(void)
{
    while (lister_read(-1)) {
    }
}

/* How many rows it has printed; wants each offset to be greater than the last. */
static size_t lister_rows(void)
{
    unsigned long long last = 0;
    size_t n_rows = 0;
    const char *line = strchr(lister.text, '\n'); /* behind the titles */
    expect_true(line != NULL);
    for (line++; *line != '\0'; line = strchr(line, '\n') + 1) {
        const unsigned long long offset = strtoull(line, NULL, 10);
        expect_true(offset > last);
        last = offset;
        n_rows++;
    }
    return n_rows;
}

static const char *lister_err(void)
{
    static char text[4096];
    const ssize_t n_bytes = pread(lister.err_fd, text, sizeof(text) - 1, 0);
    text[n_bytes > 0 ? n_bytes : 0] = '\0';
    return text;
}

static int lister_end(void)
{
    int status = 0;
    expect_call(waitpid(lister.pid, &status, 0) == lister.pid);
    (void)close(lister.out_fd);
    (void)close(lister.err_fd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void test_kmemctl_lists_on_over_a_killed_server(void)
{
    struct client holder = begin();
    lister_start();
    expect_true(lister_read(harness_patient_ms(10000)));
    daemon_kill_server();
    lister_read_all();
    if (lister_err()[0] != '\0') {
        expect_text(lister_err(), AWAY); /* on a machine where a start takes a second */
    }
    expect_equal(lister_rows(), N_BLOCKS);
    expect_equal(lister_end(), 0);
    end(&holder);
}

static bool lister_has_said(const char *sentence)
{
    (void)lister_read(0);
    return strcmp(lister_err(), sentence) == 0;
}

static void test_kmemctl_says_that_it_waits_for_a_server(void)
{
    struct client holder = begin();
    lister_start();
    expect_true(lister_read(harness_patient_ms(10000)));
    const pid_t server = daemon_server_pid();
    expect_call(kill(daemon_pid(), SIGSTOP) == 0);
    expect_call(kill(server, SIGKILL) == 0);
    expect_soon(lister_has_said(AWAY), 10000);
    expect_call(kill(daemon_pid(), SIGCONT) == 0);
    lister_read_all();
    expect_equal(lister_rows(), N_BLOCKS);
    expect_equal(lister_end(), 0);
    end(&holder);
}

static void test_kmemctl_ends_with_a_sentence_if_there_is_no_server_any_more(void)
{
    struct client holder = begin();
    lister_start();
    expect_true(lister_read(harness_patient_ms(10000)));
    daemon_stop();
    client_kill(&holder);
    lister_read_all();
    expect_match(lister_err(), "kmemctl: the daemon at .* has ended, and none came back\n");
    expect_equal(lister_end(), 3);
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_blocks_go_on_behind_the_last_row, 20),
    SYSTEM_TEST(test_ledger_in_the_midst_is_for_the_caller_to_ask_anew, 20),
    SYSTEM_TEST(test_every_question_is_asked_of_the_next_server, 20),
    SYSTEM_TEST(test_changes_are_not_asked_for_again, 20),
    SYSTEM_TEST(test_daemon_that_ends_for_good_is_told, 20),
    SYSTEM_TEST(test_another_segment_answers_no_question_about_the_first, 20),
    SYSTEM_TEST(test_kmemctl_lists_on_over_a_killed_server, 20),
    SYSTEM_TEST(test_kmemctl_says_that_it_waits_for_a_server, 20),
    SYSTEM_TEST(test_kmemctl_ends_with_a_sentence_if_there_is_no_server_any_more, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
