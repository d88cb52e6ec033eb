/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_epilogue.c - what `kmemctl run` says at the end
 */
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "client/ctl/epilogue.h"
#include "tests/unit/fake_segment.h"
#include "tests/unit/unit.h"

#define EXITED(status) ((status) << 8)

/* The text of all lines, plainly. To be freed. */
static char *epilogue_text(struct kmem_query query, int wait_status)
{
    struct epilogue epilogue = {.program = "./demo", .wait_status = wait_status};
    struct box box = {.title = "kmem"};
    char *text = NULL;
    size_t n_bytes = 0;
    struct screen screen = {.file = open_memstream(&text, &n_bytes)};

    assert_int_equal(epilogue_gather(&epilogue, &query), 0);
    epilogue_write(&epilogue, &box);
    epilogue_fini(&epilogue);
    box_print(&box, &screen);
    (void)fclose(screen.file);
    return text;
}

static void assert_epilogue(struct kmem_query query, int wait_status, const char *wanted)
{
    char *text = epilogue_text(query, wait_status);

    assert_string_equal(text, wanted);
    free(text);
}

static void assert_epilogue_has(struct kmem_query query, int wait_status, const char *line)
{
    char *text = epilogue_text(query, wait_status);

    assert_non_null(strstr(text, line));
    free(text);
}

/* Nobody is alive: pids that no process of this test's has. */
static struct kmem_query everybody_has_ended(void)
{
    struct kmem_query query = fake_segment();

    query.n_clients = 0;
    return query;
}

#define NOT_SEEN                                                                                   \
    "kmem: not seen     memory that is not from kmem; with --malloc, malloc() is seen\n"

static void test_epilogue_names_what_was_not_released(void **state)
{
    assert_epilogue(everybody_has_ended(), EXITED(3),
                    "kmem: program      ./demo, exit status 3\n"
                    "kmem: clients      4\n"
                    "kmem: peak used    12.0 MiB of 64.0 MiB (18.8 %)\n"
                    "kmem: peak held    16.0 MiB, unused pages of leases included\n"
                    "kmem: blocks       12,345 allocated, 12,335 released\n"
                    "kmem: refused      1 allocation: the segment was full (--size)\n"
                    "kmem: refused      3 allocations: larger than the segment (--size)\n"
                    "kmem: unreleased   3.0 MiB in 5 blocks\n"
                    "kmem:      3.0 MiB        2  video/capture\n"
                    "kmem:         61 B        2  <other reasons>\n"
                    "kmem:         40 B        1  \\x1b[31mred\n" NOT_SEEN);
}

static void test_epilogue_joins_a_reason_that_several_left_behind(void **state)
{
    struct kmem_query query = everybody_has_ended();
    const struct kmem_obituary twice[] = {query.obituaries[1], query.obituaries[1]};

    query.obituaries = twice;
    query.n_obituaries = sizeof(twice) / sizeof(twice[0]);
    assert_epilogue_has(query, 0, "kmem:      6.0 MiB        4  video/capture\n");
}

static void test_epilogue_is_glad_of_nothing(void **state)
{
    struct kmem_query query = everybody_has_ended();

    query.n_obituaries = 1;
    assert_epilogue_has(query, 0, "kmem: unreleased   nothing\n");
}

static void test_epilogue_of_a_program_that_never_joined(void **state)
{
    assert_epilogue(fake_segment_empty(), 0,
                    "kmem: program      ./demo, exit status 0\n"
                    "kmem: clients      none: nothing was allocated through kmem\n" NOT_SEEN);
}

static void test_epilogue_names_the_signal(void **state)
{
    assert_epilogue_has(fake_segment_empty(), SIGKILL,
                        "kmem: program      ./demo, killed by signal 9 (SIGKILL)\n");
}

static void test_epilogue_marks_who_still_runs(void **state)
{
    struct kmem_query query = fake_segment();
    struct kmem_client alive = query.clients[0];
    char line[512];

    alive.pid = (uint32_t)getpid();
    query.clients = &alive;
    query.n_clients = 1;
    (void)snprintf(line, sizeof(line),
                   "kmem: still alive  1 process, not counted above\n"
                   "kmem:     10.0 MiB        3  pid %d (capture)\n" NOT_SEEN
                   "kmem: not seen     the end of 1 process that still runs\n",
                   getpid());
    assert_epilogue_has(query, 0, line);
}

static void bury_after_three_questions(struct kmem_query *query)
{
    if (query->n_questions > 3) {
        query->n_clients = 0;
    }
}

/* A client of which the daemon has not noticed yet that it has ended is waited for. */
static void test_epilogue_waits_until_the_daemon_knows(void **state)
{
    struct kmem_query query = fake_segment();
    struct kmem_client ended = query.clients[0];

    ended.pid = (uint32_t)fork();
    if (ended.pid == 0) {
        _exit(0);
    }
    /* It stays a zombie: ended, though nobody has reaped it. */
    assert_int_equal(waitid(P_PID, ended.pid, NULL, WEXITED | WNOWAIT), 0);
    query.clients = &ended;
    query.n_clients = 1;
    query.before_answer = bury_after_three_questions;
    char *text = epilogue_text(query, 0);
    assert_null(strstr(text, "still alive"));
    free(text);
}

static void test_epilogue_counts_what_the_daemon_has_forgotten(void **state)
{
    struct kmem_query query = everybody_has_ended();

    query.obituaries++;
    query.n_obituaries--;
    assert_epilogue_has(
        query, 0, "kmem: not seen     what the first 1 that ended left behind: forgotten by now\n");
}

static void test_epilogue_gather_forwards_what_the_query_failed_with(void **state)
{
    struct kmem_query query = everybody_has_ended();
    struct epilogue epilogue = {.program = "./demo"};

    query.error = -ECONNRESET;
    assert_int_equal(epilogue_gather(&epilogue, &query), -ECONNRESET);
    epilogue_fini(&epilogue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_epilogue_names_what_was_not_released),
        cmocka_unit_test(test_epilogue_joins_a_reason_that_several_left_behind),
        cmocka_unit_test(test_epilogue_is_glad_of_nothing),
        cmocka_unit_test(test_epilogue_of_a_program_that_never_joined),
        cmocka_unit_test(test_epilogue_names_the_signal),
        cmocka_unit_test(test_epilogue_marks_who_still_runs),
        cmocka_unit_test(test_epilogue_waits_until_the_daemon_knows),
        cmocka_unit_test(test_epilogue_counts_what_the_daemon_has_forgotten),
        cmocka_unit_test(test_epilogue_gather_forwards_what_the_query_failed_with),
    };

    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
