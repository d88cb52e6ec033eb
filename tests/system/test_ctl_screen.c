/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_screen.c - what kmemctl prints on terminals of several widths
 *
 * With long reasons, long commands, large numbers and exact ones, no line of any command is wider
 * than the terminal, and in a wide table no word of a reason is split that has room in a line of
 * its own.
 */
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

/* The program, after the options of run. */
#define PROGRAM "--", harness_program("ctl_worker")
#define SEGMENT "a-segment-with-a-name"
static const char long_reason[] =
    "video/capture/frame of the front camera/left eye, undistorted/level-0 of the pyramid, kept "
    "for reference";

static const char *const long_words[] = {"capture/",     "frame",   "camera/",  "eye,",
                                         "undistorted/", "level-0", "pyramid,", "reference"};

/* Everything that was printed, until the end. Return: the exit status. */
static int show_on_terminal(unsigned short n_columns, const char *const *words, char *text,
                            size_t text_bytes)
{
    const struct winsize size = {.ws_row = 24, .ws_col = n_columns};
    size_t n_bytes = 0;
    ssize_t n;
    int fd = -1;
    int status = 0;

    (void)fflush(NULL);
    const pid_t pid = forkpty(&fd, NULL, NULL, &size);
    expect_call(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)setenv("TERM", "xterm", 1);
        (void)setenv("NO_COLOR", "1", 1);
        (void)setenv("LC_ALL", "C", 1); /* a byte is a column */
        (void)setenv("TMPDIR", harness_path("."), 1);
        (void)execv(harness_program("kmemctl"), (char *const *)words);
        _exit(99);
    }
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    while ((n = read(fd, text + n_bytes, text_bytes - 1 - n_bytes)) > 0) {
        n_bytes += (size_t)n;
    }
    text[n_bytes] = '\0';
    (void)close(fd);
    expect_call(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void expect_no_line_is_wider(const char *text, unsigned short n_columns)
{
    while (*text) {
        const size_t n_bytes = strcspn(text, "\r\n");

        if (n_bytes > n_columns) {
            fail("%u columns: %.*s", n_columns, (int)n_bytes, text);
        }
        text += n_bytes + strspn(text + n_bytes, "\r\n");
    }
}

/* Shows it at each width. What a pipe would get has the words that are looked for, or none. */
static void expect_fits(const char *const *words, bool has_reasons)
{
    static const unsigned short widths[] = {40, 60, 80, 100, 200};
    static char text[65536];

    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        expect_equal(show_on_terminal(widths[i], words, text, sizeof(text)), 0);
        expect_at_least(strlen(text), 20);
        expect_no_line_is_wider(text, widths[i]);
        for (size_t w = 0; has_reasons && w < sizeof(long_words) / sizeof(long_words[0]); w++) {
            if (strstr(text, long_words[w]) == NULL) {
                fail("\"%s\" is split at %u columns:\n%s", long_words[w], widths[i], text);
            }
        }
    }
}

#define WORDS(...) ((const char *const[]){"kmemctl", __VA_ARGS__, NULL})

static void hold_for_long_reasons(const void *argument)
{
    (void)argument;
    (void)prctl(PR_SET_NAME, "\033\033\033\033\033\033\033\033\033\033"); /* \x1b each */
    expect_call(kmem_try_allocate(6220800, long_reason) != NULL);
    expect_call(kmem_try_allocate(12345678, "a") != NULL);
    client_pause();
}

static const char *const listings[] = {"ledger", "blocks", "obituaries", "clients"};
#define N_WITH_REASONS 3

static void test_no_line_is_wider_than_the_terminal_and_no_word_is_split(void)
{
    daemon_start("--name", SEGMENT, "--size", "64MiB", NULL);
    struct client gone = client_begin(hold_for_long_reasons, NULL);
    client_kill(&gone);
    expect_soon(usage_take().clients == 0, 2000);
    struct client client = client_begin(hold_for_long_reasons, NULL);

    expect_fits(WORDS("usage"), false);
    expect_fits(WORDS("usage", "--bytes"), false);
    expect_fits(WORDS("usage", "--all"), false);
    for (size_t i = 0; i < sizeof(listings) / sizeof(listings[0]); i++) {
        expect_fits(WORDS(listings[i]), false);
        expect_fits(WORDS(listings[i], "--bytes"), false);
        expect_fits(WORDS(listings[i], "-o", "wide"), i < N_WITH_REASONS);
        expect_fits(WORDS(listings[i], "-o", "wide", "--bytes"), i < N_WITH_REASONS);
    }
    expect_fits(WORDS("ledger", "--by=client"), false);
    expect_fits(WORDS("ledger", "--by=uid", "--bytes"), false);
    expect_fits(WORDS("reconcile"), false);
    expect_fits(WORDS("limits"), false);
    expect_fits(WORDS("limits", "-o", "wide"), false);
    expect_fits(WORDS("refusals"), false);
    expect_fits(WORDS("refusals", "--counts"), false);
    expect_fits(WORDS("reasons"), false);
    expect_fits(WORDS("status"), false);
    client_finish(&client);
    daemon_stop();
}

static void test_the_report_of_run_fits_the_terminal(void)
{
    expect_fits(WORDS("run", "--size", "16MiB", harness_program("ctl_worker"), "allocate", "44",
                      long_reason, "end"),
                true);
}

static void test_help_fits_the_terminal(void)
{
    expect_fits(WORDS("--help"), false);
    expect_fits(WORDS("usage", "--help"), false);
    expect_fits(WORDS("ledger", "-h"), false);
    expect_fits(WORDS("run", "-h"), false);
}

/* ----------------------------------------------------------------------------- a terminal ---- */

struct terminal {
    pid_t pid;
    int fd;
    char text[16384];
    size_t n_bytes;
};

/* Its program ends at once, or after a Ctrl-C. */
static void terminal_start(struct terminal *terminal, const char *no_color, bool wants_a_key)
{
    const struct winsize size = {.ws_row = 24, .ws_col = 80};

    *terminal = (struct terminal){0};
    (void)fflush(NULL);
    terminal->pid = forkpty(&terminal->fd, NULL, NULL, &size);
    expect_call(terminal->pid >= 0);
    if (terminal->pid == 0) {
        (void)setenv("TERM", "xterm", 1);
        (void)setenv("LC_ALL", "C.UTF-8", 1);
        (void)setenv("NO_COLOR", no_color, 1);
        (void)setenv("TMPDIR", harness_path("."), 1);
        (void)execl(harness_program("kmemctl"), "kmemctl", "run", "--size", "16MiB", PROGRAM,
                    "allocate", "44", "映像", wants_a_key ? "count" : "end", "2", "400", "end",
                    (char *)NULL);
        _exit(99);
    }
    (void)fcntl(terminal->fd, F_SETFD, FD_CLOEXEC);
}

/* Reads until a text has come, or the end. */
static bool terminal_await(struct terminal *terminal, const char *text)
{
    while (strstr(terminal->text, text) == NULL) {
        struct pollfd readable = {.fd = terminal->fd, .events = POLLIN};
        const size_t room = sizeof(terminal->text) - 1 - terminal->n_bytes;

        if (poll(&readable, 1, harness_patient_ms(20000)) != 1) {
            fail("nothing more on the terminal than\n%s", terminal->text);
        }
        const ssize_t n = read(terminal->fd, terminal->text + terminal->n_bytes, room);
        if (n <= 0) {
            return false;
        }
        terminal->n_bytes += (size_t)n;
        terminal->text[terminal->n_bytes] = '\0';
    }
    return true;
}

static int terminal_end(struct terminal *terminal)
{
    int status = 0;

    (void)terminal_await(terminal, "\004"); /* never comes: until all is read */
    expect_call(waitpid(terminal->pid, &status, 0) == terminal->pid);
    (void)close(terminal->fd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void test_run_draws_a_box_on_a_terminal(void)
{
    static struct terminal terminal;

    terminal_start(&terminal, "1", false);
    expect_equal(terminal_end(&terminal), 0);
    expect_match(terminal.text, "^╭─ kmem (─)+╮\r$");
    expect_match(terminal.text, "^│ unreleased   44 B in 1 block +│\r$");
    expect_match(terminal.text, "^│ +44 B        1  映像 +│\r$");
    expect_match(terminal.text, "^╰(─)+╯\r$");
    expect_true(strchr(terminal.text, '\033') == NULL);
}

static void test_run_colours_the_box_unless_asked_not_to(void)
{
    static struct terminal terminal;

    terminal_start(&terminal, "", false);
    expect_equal(terminal_end(&terminal), 0);
    expect_true(strstr(terminal.text, "\033[33munreleased") != NULL);
}

static void test_run_leaves_Ctrl_C_to_the_program(void)
{
    static struct terminal terminal;

    terminal_start(&terminal, "1", true);
    expect_true(terminal_await(&terminal, "counting"));
    expect_equal(write(terminal.fd, "\003", 1), 1);
    expect_equal(terminal_end(&terminal), 0);
    expect_match(terminal.text, "^(\\^C)?1\r$"); /* once: not forwarded on top */
    expect_match(terminal.text, "unreleased   44 B in 1 block");
    expect_equal(ctl_private_daemons(), 0);
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_no_line_is_wider_than_the_terminal_and_no_word_is_split, 60),
    SYSTEM_TEST(test_the_report_of_run_fits_the_terminal, 60),
    SYSTEM_TEST(test_help_fits_the_terminal, 60),
    SYSTEM_TEST(test_run_draws_a_box_on_a_terminal, 10),
    SYSTEM_TEST(test_run_colours_the_box_unless_asked_not_to, 10),
    SYSTEM_TEST(test_run_leaves_Ctrl_C_to_the_program, 10),
};

int main(int argc, char **argv)
{
    (void)unsetenv("XDG_RUNTIME_DIR"); /* private directories go where the test removes them */
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
