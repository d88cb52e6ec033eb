/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_rows.c - which rows kmemctl shows, in what order, how, and again and again
 */
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

/* ------------------------------------------------------------------------------- processes ---- */

/* Holds what a camera would. */
static void be_camera(const void *argument)
{
    (void)argument;
    (void)prctl(PR_SET_NAME, "camera");
    expect_call(kmem_try_allocate(1 << 20, "video/capture") != NULL);
    expect_call(kmem_try_allocate(100, "video/index#1") != NULL);
    expect_call(kmem_try_allocate(200, "video/index#2") != NULL);
    client_say(1);
    (void)client_await();
}

static void be_recorder(const void *argument)
{
    (void)argument;
    (void)prctl(PR_SET_NAME, "recorder");
    expect_call(kmem_try_allocate(4096, "audio") != NULL);
    client_say(1);
    (void)client_await();
}

struct cast {
    struct client camera;
    struct client recorder;
    char camera_pid[16];
};

static struct cast enter(void)
{
    struct cast cast;
    daemon_start("--size", "16MiB", NULL);
    cast.camera = client_start(be_camera, NULL);
    (void)client_hear(&cast.camera);
    cast.recorder = client_start(be_recorder, NULL);
    (void)client_hear(&cast.recorder);
    (void)snprintf(cast.camera_pid, sizeof(cast.camera_pid), "%d", (int)cast.camera.pid);
    return cast;
}

static void leave(struct cast *cast)
{
    client_kill(&cast->camera);
    client_kill(&cast->recorder);
    expect_soon(usage_take().clients == 0, 10000);
    daemon_stop();
}

#define ROWS "--no-headers", "--columns"

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *at = strstr(text, part); at != NULL; at = strstr(at + 1, part)) {
        n++;
    }
    return n;
}

/* -------------------------------------------------------------------------------- choosing ---- */

static void test_ctl_blocks_chooses_by_all_that_a_block_has(void)
{
    char uid[16];
    struct cast cast = enter();
    (void)snprintf(uid, sizeof(uid), "%u", getuid());
    expect_text(ctl("blocks", "-p", cast.camera_pid, "--sort=bytes", ROWS, "reason")->out,
                "video/capture\nvideo/index#2\nvideo/index#1\n");
    expect_match(ctl("blocks", "-u", uid)->out, "^4 blocks, ");
    expect_text(ctl("blocks", "-u", "4294967294")->out, "no live blocks of that kind\n");
    expect_text(ctl("blocks", "--reason", "*#1", ROWS, "num_bytes", "-b")->out, "100\n");
    expect_text(ctl("blocks", "--reason", "*o", ROWS, "num_bytes", "-b")->out, "4,096\n");
    expect_match(ctl("blocks", "--larger-than", "200")->out, "^2 blocks, ");
    expect_match(ctl("blocks", "--larger-than", "4KiB")->out, "^1 block, ");
    expect_text(ctl("blocks", "--older-than", "1d")->out, "no live blocks of that kind\n");
    expect_match(ctl("blocks", "--older-than=0", "--top=1")->out, "^1 of [0-4] blocks, |^no live");
    leave(&cast);
}

static void test_ctl_ledger_rolls_up_the_blocks_that_are_chosen(void)
{
    struct cast cast = enter();
    expect_text(ctl("ledger", "-p", cast.camera_pid, ROWS, "num_bytes,n_blocks,reason", "-b")->out,
                "1,048,576  1  video/capture\n      300  2  video/index\n");
    expect_text(ctl("ledger", "--larger-than=150", "-d1", ROWS, "blocks,reason")->out,
                "2  video\n1  audio\n");
    expect_text(ctl("ledger", "--reason=audio", "--by=client", ROWS, "command")->out, "recorder\n");
    expect_text(ctl("ledger", "--reason=nothing")->out, "no live blocks of that kind\n");
    leave(&cast);
}

static void test_ctl_refuses_what_chooses_nothing_and_names_the_option(void)
{
    expect_match(ctl("blocks", "--older-than", "soon")->err,
                 "^kmemctl blocks: --older-than takes an age, as .*; not \"soon\"$");
    expect_match(ctl("ledger", "--larger-than", "-5")->err,
                 "^kmemctl ledger: --larger-than takes a size, as .*; not \"-5\"$");
    expect_match(ctl("blocks", "-u", "nobody at all")->err, "--user takes .* \"nobody at all\" is");
    expect_match(ctl("blocks", "--top", "0")->err, "--top takes a number from 1 to .*not \"0\"$");
    expect_match(ctl("blocks", "-o", "xml")->err,
                 "--output takes table, wide, json, jsonl or csv, not \"xml\"$");
    expect_match(ctl("blocks", "--color=blue")->err, "--color takes auto, always or never, not ");
    expect_match(ctl("usage", "-w", "0")->err, "--watch takes seconds, .*not \"0\"$");
    expect_match(ctl("usage", "-w", "1s")->err, "--watch takes seconds, .*not \"1s\"$");
    /* Before a daemon is asked, and there is none. */
    expect_match(
        ctl("blocks", "--columns=pid,size")->err,
        "^kmemctl blocks: --columns: there is no column \"size\" here; there are OFFSET, ");
    expect_match(ctl("blocks", "--sort=pid:up")->err,
                 "^kmemctl blocks: --sort takes .*\"pid:up\"$");
    expect_match(ctl("names", "--older-than=1s")->err,
                 "^kmemctl names: --older-than means nothing");
    expect_equal(ctl("names", "--older-than=1s")->exit_status, 2);
    expect_equal(ctl("reconcile", "-o", "csv")->exit_status, 2);
    expect_equal(ctl("usage", "--top=1")->exit_status, 2);
}

/* --------------------------------------------------------------------------------- writing ---- */

static void test_ctl_writes_csv_and_lines_of_json(void)
{
    struct cast cast = enter();
    expect_match(ctl("blocks", "-o", "csv")->out,
                 "^offset,num_bytes,reason,pid,command,uid,age_ms,shared,n_holders,n_names$");
    expect_match(ctl("-o", "csv", "blocks")->out, "^[0-9]+,4096,audio,[0-9]+,recorder,");
    expect_text(ctl("blocks", "-o", "jsonl", "--columns=num_bytes", "--sort=bytes:asc", "-t2")->out,
                "{ \"num_bytes\": 100 }\n{ \"num_bytes\": 200 }\n");
    expect_match(ctl("usage", "-o", "csv")->out, "^segment_bytes,16777216,gauge,bytes,");
    expect_match(ctl("usage", "-o", "jsonl")->out, "^\\{ \"segment_name\": \"test\", ");
    expect_match(ctl("clients", "-o", "wide")->out, "^SLOT +PID +UID +USER ");
    leave(&cast);
}

static void test_ctl_colours_what_it_is_told_to(void)
{
    struct cast cast = enter();
    expect_true(strchr(ctl("ledger")->out, '\033') == NULL);
    expect_true(strstr(ctl("ledger", "--color=always")->out, "\033[1m") != NULL);
    expect_true(strstr(ctl("ledger", "--color")->out, "\033[1m") != NULL);
    (void)setenv("NO_COLOR", "1", 1);
    expect_true(strchr(ctl("ledger", "--color=auto")->out, '\033') == NULL);
    expect_true(strstr(ctl("ledger", "--color=always")->out, "\033[1m") != NULL);
    (void)unsetenv("NO_COLOR");
    leave(&cast);
}

/* -------------------------------------------------------------------------------- segments ---- */

/* A directory of sockets: one of the daemon, by two names, one that none listens on, and a file. */
static void make_sockets(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    expect_call(mkdir(harness_path("kmemd"), 0700) == 0);
    expect_call(symlink(daemon_socket(), harness_path("kmemd/test.sock")) == 0);
    expect_call(symlink(daemon_socket(), harness_path("kmemd/alias.sock")) == 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s",
                   harness_path("kmemd/gone.sock"));
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    expect_call(bind(listener, (const struct sockaddr *)&address, sizeof(address)) == 0);
    (void)close(listener);
    FILE *const file = fopen(harness_path("kmemd/file.sock"), "we");
    expect_call(file != NULL);
    (void)fclose(file);
    (void)setenv("XDG_RUNTIME_DIR", harness_path("."), 1);
    (void)unsetenv("KMEM_SOCKET");
}

static void test_ctl_segments_shows_each_segment_once_and_its_state(void)
{
    struct cast cast = enter();
    make_sockets();
    expect_call(setenv("KMEM_TIMEOUT_MS", "60000", 1) == 0); /* not its own 2 s */
    const struct ctl_end *end = ctl("segments", "--sort=name");
    expect_equal(end->exit_status, 0);
    expect_match(end->out, "^NAME +SIZE +USED +CLIENTS  STATE +SOCKET$");
    expect_match(end->out, "^gone +- +- +-  no daemon +/.*/kmemd/gone\\.sock$");
    expect_match(end->out, "^test  16\\.0 MiB +1\\.0 MiB +2  running +/.*\\.sock$");
    expect_equal(count(end->out, "\ntest "), 1);
    expect_equal(count(end->out, "\nfile "), 0);
    expect_text(ctl("segments", "-n", "test", ROWS, "state,clients")->out, "running  2\n");
    expect_match(ctl("segments", "-o", "jsonl", "-n", "gone")->out,
                 "^\\{ \"name\": \"gone\", \"state\": \"no daemon\", \"segment_bytes\": 0, ");
    (void)setenv("KMEM_SOCKET", daemon_socket(), 1);
    leave(&cast);
}

/* What one asks for is not there: then one wants to know what is. */
static void test_ctl_that_finds_no_daemon_says_which_segments_there_are(void)
{
    struct cast cast = enter();
    make_sockets();
    expect_call(setenv("KMEM_TIMEOUT_MS", "60000", 1) == 0); /* not its own 2 s */
    const struct ctl_end *const end = ctl("usage");
    expect_equal(end->exit_status, 3);
    expect_match(end->err, "^kmemctl: segments that answer you: (.*, )?test(,|$)");
    expect_true(strstr(ctl("-s", "/nowhere", "usage")->err, "segments that") == NULL);
    (void)setenv("KMEM_SOCKET", daemon_socket(), 1);
    leave(&cast);
}

/* -------------------------------------------------------------------------------- watching ---- */

static void test_ctl_watch_into_a_pipe_goes_on_until_it_is_interrupted(void)
{
    const char *const words[] = {"blocks", "--watch=0.1", "--top=1", NULL};
    struct cast cast = enter();
    struct ctl_process process = ctl_start(words);
    expect_soon(count(ctl_out(&process), "OFFSET") >= 3, 20000);
    expect_call(kill(process.pid, SIGINT) == 0);
    const struct ctl_end *const end = ctl_wait(&process);
    expect_equal(end->exit_status, 0);
    expect_true(strchr(end->out, '\033') == NULL);
    /* Before each total is an empty line, and between two answers another. */
    expect_at_least(count(end->out, "\n\n"), 2 * count(end->out, "OFFSET") - 1);
    leave(&cast);
}

static void test_ctl_watch_ends_with_its_daemon(void)
{
    const char *const words[] = {"usage", "--json", "--watch=0.1", NULL};
    struct cast cast = enter();
    struct ctl_process process = ctl_start(words);
    expect_soon(count(ctl_out(&process), "\n{ ") >= 2, 20000);
    leave(&cast);
    const struct ctl_end *const end = ctl_wait(&process);
    expect_equal(end->exit_status, 3);
    expect_true(strstr(end->out, "\n\n") == NULL);
}

/* A screen of five lines: what it shows stands in the place of what it showed. */
static void test_ctl_watch_on_a_terminal_draws_in_the_same_place(void)
{
    const struct winsize size = {.ws_row = 5, .ws_col = 40};
    static char text[65536];
    size_t n_bytes = 0;
    int fd = -1;
    int status = 0;
    struct cast cast = enter();
    (void)fflush(NULL);
    const pid_t pid = forkpty(&fd, NULL, NULL, &size);
    expect_call(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)setenv("TERM", "xterm", 1);
        (void)execl(harness_program("kmemctl"), "kmemctl", "usage", "-w", "0.1", (char *)NULL);
        _exit(99);
    }
    while (count(text, "\033[H") < 3) {
        const ssize_t n = read(fd, text + n_bytes, sizeof(text) - 1 - n_bytes);
        expect_call(n > 0);
        n_bytes += (size_t)n;
        text[n_bytes] = '\0';
    }
    expect_equal(write(fd, "\003", 1), 1); /* Ctrl-C */
    while (read(fd, text + n_bytes, sizeof(text) - 1 - n_bytes) > 0) {
    }
    expect_call(waitpid(pid, &status, 0) == pid);
    (void)close(fd);
    expect_true(WIFEXITED(status));
    expect_equal(WEXITSTATUS(status), 0);
    /* Between two beginnings, four lines. */
    char *const first = strstr(text, "\033[H");
    *strstr(first + 1, "\033[H") = '\0';
    expect_equal(count(first, "\n"), 4);
    expect_true(strstr(first, "\033[J") != NULL);
    leave(&cast);
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_ctl_blocks_chooses_by_all_that_a_block_has, 20),
    SYSTEM_TEST(test_ctl_ledger_rolls_up_the_blocks_that_are_chosen, 20),
    SYSTEM_TEST(test_ctl_refuses_what_chooses_nothing_and_names_the_option, 20),
    SYSTEM_TEST(test_ctl_writes_csv_and_lines_of_json, 20),
    SYSTEM_TEST(test_ctl_colours_what_it_is_told_to, 20),
    SYSTEM_TEST(test_ctl_segments_shows_each_segment_once_and_its_state, 20),
    SYSTEM_TEST(test_ctl_that_finds_no_daemon_says_which_segments_there_are, 20),
    SYSTEM_TEST(test_ctl_watch_into_a_pipe_goes_on_until_it_is_interrupted, 20),
    SYSTEM_TEST(test_ctl_watch_ends_with_its_daemon, 20),
    SYSTEM_TEST(test_ctl_watch_on_a_terminal_draws_in_the_same_place, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
