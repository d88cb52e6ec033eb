/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_exhaustion.c - every allocation that kmemctl makes fails, one after the other
 *
 * What test_client_exhaustion.c does to a client. A sweep runs one command again and again: the
 * first time its first allocation fails, the next time the second, until it ends before. A sweep
 * takes each one where $KMEM_TEST_STRIDE is 1, else one in so many.
 *
 * What is wanted each time: the command answers as if nothing had failed, as many lines as ever, or
 * it ends with another status than then and a sentence that says why. It is never killed. Commands
 * that say what they could not look at, as doctor, are not among them, nor those that start others.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kmem/kmem.h>
#include <kmem/share.h>

#include "tests/system/client.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/faults.h"
#include "tests/system/harness.h"

#define N_WORDS_MAX 10

struct line {
    const char *words[N_WORDS_MAX];
    bool moves; /* what it says is of its moment: its lines are not counted */
};

#define LINE(...)                                                                                  \
    {                                                                                              \
        .words = { __VA_ARGS__ }                                                                   \
    }
#define MOVING(...)                                                                                \
    {                                                                                              \
        .words = {__VA_ARGS__}, .moves = true                                                      \
    }

static struct client holder;

/* --------------------------------------------------------------------------- what there is ---- */

static void allocate_and_leave(const void *argument)
{
    (void)argument;
    (void)!kmem_try_allocate(1 << 20, "video/lost");
    (void)!kmem_try_allocate(15 << 20, "too much");
    client_say(1);
    (void)client_await();
}

/* Blocks of several reasons, one of them shared, under a name, and of another that is kept. */
static void hold(const void *argument)
{
    static const char *const reasons[] = {"video/capture", "video/index#3", "audio", "audio/in"};
    void *shared = kmem_try_allocate(1 << 20, "camera/frame");
    (void)argument;
    for (size_t i = 0; i < 40; i++) {
        expect_call(kmem_try_allocate(100 * (i + 1) * (i + 1), reasons[i % 4]) != NULL);
    }
    expect_call(shared != NULL);
    expect_equal(kmem_publish(shared, "camera", 0, NULL), 0);
    client_say(1);
    (void)client_await();
}

static void begin(void)
{
    if (HARNESS_SANITIZED) {
        harness_skip("a sanitizer has its own malloc()");
    }
    faults_begin(FAULT_MEMORY);
    daemon_start("--size", "16MiB", "--log-level", "error", NULL);
    struct client ended = client_start(allocate_and_leave, NULL);
    (void)client_hear(&ended);
    client_finish(&ended);
    holder = client_start(hold, NULL);
    (void)client_hear(&holder);
    expect_soon(strstr(ctl("obituaries")->out, "video/lost") != NULL, 10000);
}

static void end(void)
{
    client_finish(&holder);
    daemon_stop();
}

/* ------------------------------------------------------------------------------ the sweeps ---- */

static size_t count_lines(const char *text)
{
    size_t n_lines = 0;
    for (; *text; text++) {
        n_lines += *text == '\n';
    }
    return n_lines;
}

/* Runs it with the nth allocation failing; 0: none does. */
static const struct ctl_end *run(const struct line *line, unsigned int nth)
{
    faults_arm(&(struct fault){.kind = FAULT_MEMORY, .role = FAULT_KEEPER, .nth = nth});
    expect_call(setenv("LD_PRELOAD", harness_program("failing_memory.so"), 1) == 0);
    const struct ctl_end *const end = ctl_run(line->words);
    (void)unsetenv("LD_PRELOAD");
    return end;
}

static void sweep(const struct line *line, unsigned int usual_stride)
{
    const unsigned int stride = harness_stride(usual_stride);
    const struct ctl_end *end = run(line, 0);
    const int usual_status = end->exit_status;
    const size_t usual_lines = count_lines(end->out);
    unsigned int n_failed = 0;
    struct faults_seen seen = faults_disarm();
    for (unsigned int nth = 1; nth == 1 || seen.n_failed > 0; nth += stride) {
        end = run(line, nth);
        seen = faults_disarm();
        n_failed += seen.n_failed > 0;
        if (end->exit_status >= 128 ||
            (end->exit_status != usual_status && !strchr(end->err, '\n')) ||
            (end->exit_status == usual_status && !line->moves &&
             count_lines(end->out) != usual_lines)) {
            fail("kmemctl %s %s: allocation %u: status %d, not %d; %zu lines, not %zu; \"%s\"",
                 line->words[0], line->words[1] ? line->words[1] : "", nth, end->exit_status,
                 usual_status, count_lines(end->out), usual_lines, end->err);
        }
    }
    harness_note("kmemctl %s: %u of %u", line->words[0], n_failed, seen.n_calls);
    expect_at_least(n_failed, 1);
}

static void sweep_all(const struct line *lines, size_t n_lines, unsigned int usual_stride)
{
    for (size_t i = 0; i < n_lines; i++) {
        sweep(&lines[i], usual_stride);
    }
}

#define sweep_each(lines, stride) sweep_all(lines, sizeof(lines) / sizeof((lines)[0]), stride)

/* Without names of users: glibc does not survive it if it has no memory to look for one. */
static void test_lists(void)
{
    static const struct line lines[] = {
        LINE("ledger"),
        LINE("ledger", "--by", "client", "--json"),
        LINE("reasons", "--sort", "bytes"),
        LINE("blocks", "--columns", "bytes,reason", "--sort", "bytes", "--top", "3"),
        LINE("blocks", "--reason", "video/**", "--larger-than", "1KiB", "--output", "csv"),
        LINE("names", "--json"),
        LINE("holders", "camera", "--json"),
        LINE("clients", "--output", "jsonl"),
        LINE("limits", "--json"),
        LINE("refusals", "--output", "jsonl"),
        LINE("refusals", "--counts"),
        LINE("obituaries", "--columns", "command,cause,bytes"),
        LINE("segments"),
    };
    begin();
    sweep_each(lines, 2);
    end();
}

static void test_reports(void)
{
    static const struct line lines[] = {
        MOVING("status"),
        MOVING("status", "--json"),
        LINE("usage"),
        LINE("usage", "--all", "--json"),
        MOVING("history", "--since", "1m", "--steps", "3"),
        MOVING("leaks"),
    };
    begin();
    sweep_each(lines, 5);
    end();
}

static void test_pictures(void)
{
    static const struct line lines[] = {
        LINE("map"),
        LINE("map", "--json"),
        LINE("why", "0x200000"),
        LINE("why", "0x200000", "--json"),
        LINE("export"),
        LINE("export", "--format", "pprof"),
        LINE("export", "--format", "html"),
    };
    begin();
    sweep_each(lines, 7);
    end();
}

/* Without those that read one: json-c does not survive it if it has no memory for that. */
static void test_files(void)
{
    begin();
    char before[PATH_MAX];
    char recorded[PATH_MAX];
    (void)snprintf(before, sizeof(before), "%s", harness_path("before.json"));
    (void)snprintf(recorded, sizeof(recorded), "%s", harness_path("recorded"));
    const struct line lines[] = {
        LINE("snapshot", before),
        LINE("record", "--for", "1ms", recorded),
    };
    sweep_each(lines, 5);
    end();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_lists, 200),
    SYSTEM_TEST(test_reports, 200),
    SYSTEM_TEST(test_pictures, 200),
    SYSTEM_TEST(test_files, 200),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
