/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_top.c - kmemctl top on a terminal
 *
 * The terminal is a pseudo-terminal whose bytes the test reads. top sends what has changed, so the
 * test asks for a whole screen (Ctrl-L) when it wants to read one, and looks for words that no
 * movement of the cursor divides. A process stands between the two, as a shell does: without one
 * there is no stopping by Ctrl-Z.
 */
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "tests/system/client.h"
#include "tests/system/ctl.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define CTRL_C "\003"
#define CTRL_L "\014"
#define CTRL_Z "\032"
#define ESCAPE "\033"
#define DOWN "\033OB"
#define RIGHT "\033OC"
#define LEFT "\033OD"
#define UP "\033OA"
#define HOME "\033OH"
#define END "\033OF"
#define PAGE_UP "\033[5~"
#define PAGE_DOWN "\033[6~"
#define DELETE "\033[3~"
#define BACK_TAB "\033[Z"
#define F1 "\033OP"

/* What a terminal is told when top takes it, and when it gives it back. */
#define TAKES "\033[?1049h"
#define GIVES_BACK "\033[?1049l"
/* How a whole screen begins. */
#define ERASES "\033[H\033[2J"

/* --------------------------------------------------------------------------- the terminal ---- */

static struct terminal {
    pid_t shell; /* the process in between */
    int fd;
    struct termios before;
    char text[1 << 20];
    size_t n_bytes;
    size_t looked_at; /* what came before was looked at */
} terminal;

/* Runs top in a group of its own, and says how it ends or stops: 's', 'e' and its status. */
static void be_shell(const char *const *words)
{
    int status = 0;
    const pid_t top = fork();
    if (top == 0) {
        (void)setpgid(0, 0);
        (void)signal(SIGTTOU, SIG_IGN);
        (void)tcsetpgrp(STDIN_FILENO, getpid());
        (void)signal(SIGTTOU, SIG_DFL);
        (void)signal(SIGTSTP, SIG_DFL); /* who ran the test may have ignored it */
        (void)execv(harness_program("kmemctl"), (char *const *)words);
        _exit(99);
    }
    (void)signal(SIGTTOU, SIG_IGN);
    (void)signal(SIGTSTP, SIG_IGN);
    while (waitpid(top, &status, WUNTRACED) == top && WIFSTOPPED(status)) {
        (void)tcsetpgrp(STDIN_FILENO, getpid());
        (void)printf("<stopped>\n");
        (void)fflush(stdout);
        (void)getchar(); /* a line: go on */
        (void)tcsetpgrp(STDIN_FILENO, top);
        (void)kill(top, SIGCONT);
    }
    (void)tcsetpgrp(STDIN_FILENO, getpid());
    if (WIFSIGNALED(status)) {
        (void)printf("<signal %d>\n", WTERMSIG(status));
    } else {
        (void)printf("<status %d>\n", WEXITSTATUS(status));
    }
    (void)fflush(stdout);
    _exit(0);
}

static void top_start(unsigned short n_columns, const char *type, const char *const *words)
{
    const struct winsize size = {.ws_row = 24, .ws_col = n_columns};
    terminal = (struct terminal){0};
    (void)fflush(NULL);
    terminal.shell = forkpty(&terminal.fd, NULL, NULL, &size);
    expect_call(terminal.shell >= 0);
    if (terminal.shell == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)setenv("TERM", type, 1);
        (void)setenv("LC_ALL", "C.UTF-8", 1);
        be_shell(words);
    }
    (void)fcntl(terminal.fd, F_SETFD, FD_CLOEXEC);
    expect_call(tcgetattr(terminal.fd, &terminal.before) == 0);
}

#define TOP(...) ((const char *const[]){"kmemctl", "top", "--delay", "0.2", __VA_ARGS__, NULL})

static void press(const char *keys)
{
    expect_call(write(terminal.fd, keys, strlen(keys)) == (ssize_t)strlen(keys));
}

/* Reads what comes. Return: false at the end. */
static bool read_more(void)
{
    struct pollfd readable = {.fd = terminal.fd, .events = POLLIN};
    if (sizeof(terminal.text) - 1 - terminal.n_bytes < 4096) {
        fail("too much on the terminal");
    }
    if (poll(&readable, 1, harness_patient_ms(3000)) != 1) {
        fail("nothing more on the terminal than\n%s", terminal.text + terminal.looked_at);
    }
    const ssize_t n = read(terminal.fd, terminal.text + terminal.n_bytes, 4095);
    if (n > 0) {
        terminal.n_bytes += (size_t)n;
    }
    terminal.text[terminal.n_bytes] = '\0';
    return n > 0;
}

/* Waits until a text has come that was not there when the test looked last. */
static void await(const char *text)
{
    const char *found;
    while ((found = strstr(terminal.text + terminal.looked_at, text)) == NULL) {
        if (!read_more()) {
            fail("\"%s\" has not come:\n%s", text, terminal.text + terminal.looked_at);
        }
    }
    terminal.looked_at = (size_t)(found - terminal.text) + strlen(text);
}

/* Starts it, and waits until it reads keys. */
static void top_begin(unsigned short n_columns)
{
    top_start(n_columns, "xterm", TOP(NULL));
    await(TAKES);
    await("q quit");
}

/* Whether a whole screen has the text; it ends where the next one begins. */
static bool screen_has(const char *text)
{
    press(CTRL_L);
    await(ERASES);
    const size_t from = terminal.looked_at;
    press(CTRL_L);
    await(ERASES);
    const char *found = strstr(terminal.text + from, text);
    if (found && found < terminal.text + terminal.looked_at) {
        return true;
    }
    terminal.n_bytes -= terminal.looked_at; /* what was looked at in vain is not kept */
    memmove(terminal.text, terminal.text + terminal.looked_at, terminal.n_bytes + 1);
    terminal.looked_at = 0;
    return false;
}

#define await_on_screen(text) expect_soon(screen_has(text), 5000)

static void expect_given_back(void)
{
    struct termios now;
    expect_call(tcgetattr(terminal.fd, &now) == 0);
    expect_equal(now.c_lflag, terminal.before.c_lflag);
    expect_equal(now.c_iflag, terminal.before.c_iflag);
    expect_equal(now.c_oflag, terminal.before.c_oflag);
}

/* Top has ended so, and has given the terminal back before. */
static void top_ends(const char *how)
{
    await(how);
    expect_given_back();
    expect_call(waitpid(terminal.shell, NULL, 0) == terminal.shell);
    (void)close(terminal.fd);
}

/* ------------------------------------------------------------------------------- the tests ---- */

static void hold_for_reasons(const void *argument)
{
    (void)argument;
    (void)prctl(PR_SET_NAME, "studio");
    expect_call(kmem_try_allocate(3 << 20, "camera/frame") != NULL);
    expect_call(kmem_try_allocate(2 << 20, "index/thumbnail") != NULL);
    expect_call(kmem_try_allocate(1 << 20, "text\033[31m") != NULL);
    client_pause();
}

static void test_keys_open_filter_sort_and_turn_pages(void)
{
    daemon_start("--size", "64MiB", NULL);
    struct client client = client_begin(hold_for_reasons, NULL);
    top_begin(80);
    await_on_screen("text\\x1b[31m");
    await_on_screen("\xe2\x96\xb8 camera"); /* closed */
    press(RIGHT);
    await_on_screen("frame");
    press("/thu"); /* as it is typed */
    await_on_screen("filter: thu");
    await_on_screen("thumbnail");
    press("\r");
    await_on_screen("filter: thu");
    press(ESCAPE);
    await_on_screen("camera");
    press(">");
    await_on_screen("by SHARE");
    press("2");
    await_on_screen("studio");
    press("3");
    await_on_screen("nothing was refused");
    press("4");
    await_on_screen("nobody has ended");
    press("5");
    await_on_screen("connections");
    press("h");
    await_on_screen("Keys");
    press("1");
    await_on_screen("camera");
    press("p");
    await_on_screen("paused");
    press("q");
    await(GIVES_BACK);
    top_ends("<status 0>");
    client_finish(&client);
    daemon_stop();
}

static void test_keys_of_a_whole_keyboard_move_and_erase(void)
{
    daemon_start("--size", "64MiB", NULL);
    struct client client = client_begin(hold_for_reasons, NULL);
    top_begin(80);
    await_on_screen("\xe2\x96\xb8 camera"); /* closed */
    press(DOWN RIGHT);
    await_on_screen("thumbnail");
    press(LEFT UP RIGHT);
    await_on_screen("frame");
    press(END PAGE_UP HOME LEFT PAGE_DOWN);
    await_on_screen("\xe2\x96\xb8 camera");
    press(BACK_TAB);
    await_on_screen("connections");
    press("\t");
    await_on_screen("camera");
    press("/camXYZ\x7f" DELETE "\x08");
    await_on_screen("filter: cam");
    expect_true(!screen_has("filter: camX"));
    press("\n" F1);
    await_on_screen("camera");
    press("Q");
    press("q");
    await(GIVES_BACK);
    top_ends("<status 0>");
    client_finish(&client);
    daemon_stop();
}

static void test_options_that_can_not_be_meant_are_named(void)
{
    static const struct {
        const char *words[4];
        const char *sentence;
    } lines[] = {
        {{"top", "--count", "0"}, "--count takes how many answers"},
        {{"top", "--count", "-1"}, "--count takes how many answers"},
        {{"top", "--count", "2x"}, "--count takes how many answers"},
        {{"top", "--count", "99999999999999999999"}, "--count takes how many answers"},
        {{"top", "--page", "moon"}, "--page takes reasons, .* or limits, not \"moon\""},
        {{"top", "--json"}, "--output means nothing to it"},
        {{"top", "--sort", "weight"}, "the page of reasons has no column \"weight\"; it has "},
        {{"top", "--sort", "bytes:up"}, "has no column \"bytes:up\""},
        {{"top", "moon"}, "what is \"moon\"\\? This command takes options only"},
    };
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        const struct ctl_end *end = ctl_run(lines[i].words);
        expect_equal(end->exit_status, 2);
        expect_match(end->err, lines[i].sentence);
        expect_text(end->out, "");
    }
}

static void test_it_follows_the_size_of_its_terminal(void)
{
    const struct winsize wide = {.ws_row = 30, .ws_col = 150};
    const struct winsize narrow = {.ws_row = 12, .ws_col = 60};
    daemon_start("--size", "64MiB", NULL);
    struct client client = client_begin(hold_for_reasons, NULL);
    top_begin(80);
    await_on_screen("camera");
    expect_call(ioctl(terminal.fd, TIOCSWINSZ, &wide) == 0);
    await_on_screen("OLDEST");
    expect_call(ioctl(terminal.fd, TIOCSWINSZ, &narrow) == 0);
    await_on_screen("camera");
    press("q");
    top_ends("<status 0>");
    client_finish(&client);
    daemon_stop();
}

static void test_signals_give_the_terminal_back(void)
{
    static const int numbers[] = {SIGTERM, SIGHUP, SIGQUIT};
    char how[32];
    daemon_start("--size", "64MiB", NULL);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        top_begin(80);
        await_on_screen("no live blocks");
        expect_call(kill(-tcgetpgrp(terminal.fd), numbers[i]) == 0);
        await(GIVES_BACK);
        (void)snprintf(how, sizeof(how), "<signal %d>", numbers[i]);
        top_ends(how);
    }
    top_begin(80);
    await_on_screen("no live blocks");
    press(CTRL_C);
    await(GIVES_BACK);
    top_ends("<status 0>");
    daemon_stop();
}

static void test_it_stops_at_ctrl_z_and_goes_on(void)
{
    daemon_start("--size", "64MiB", NULL);
    top_begin(80);
    await_on_screen("no live blocks");
    for (unsigned int i = 0; i < 5; i++) { /* while it draws, or waits */
        press(CTRL_Z);
        await(GIVES_BACK);
        await("<stopped>");
        expect_given_back();
        press("\n");
        await(TAKES);
        await_on_screen("no live blocks");
    }
    press("q");
    top_ends("<status 0>");
    daemon_stop();
}

/* A server is followed by the next; a daemon by what the last line says, until there is another. */
static void test_it_says_when_the_daemon_has_ended_and_finds_the_next(void)
{
    daemon_start("--size", "64MiB", NULL);
    struct client client = client_begin(hold_for_reasons, NULL);
    top_begin(120);
    await_on_screen("camera");
    daemon_kill_server();
    await_on_screen("camera");
    client_finish(&client);
    daemon_stop();
    await("does not answer, asked again for");
    daemon_start("--size", "32MiB", NULL);
    await_on_screen("no live blocks");
    await_on_screen("32.0 MiB");
    press("q");
    top_ends("<status 0>");
    daemon_stop();
}

/* A server that is stopped answers nothing; keys are answered all the same. */
static void test_keys_are_answered_while_the_daemon_is_not_heard(void)
{
    daemon_start("--size", "64MiB", "--watchdog", "0", NULL);
    top_begin(80);
    await_on_screen("no live blocks");
    daemon_signal_server(SIGSTOP);
    for (unsigned i = 0; i < 3; i++) {
        press("h");
        await("Keys");
        press("h");
        await("no live blocks");
    }
    press("q");
    top_ends("<status 0>");
    daemon_signal_server(SIGCONT);
    daemon_stop();
}

static void expect_refused(const char *type, const char *sentence)
{
    top_start(80, type, TOP(NULL));
    await(sentence);
    await("-b prints");
    top_ends("<status 2>");
}

static void test_what_is_no_terminal_is_told_of_batch_mode(void)
{
    daemon_start("--size", "64MiB", NULL);
    expect_refused("unheard-of", "a terminal of the type unheard-of is not known");
    expect_refused("dumb", "a terminal of the type dumb can not be drawn on");
    expect_refused("", "TERM is not set");
    const struct ctl_end *end = ctl("top");
    expect_equal(end->exit_status, 2);
    expect_match(end->err, "^kmemctl top: the standard output is no terminal; -b prints");
    daemon_stop();
}

static void test_batch_prints_screens_as_text(void)
{
    daemon_start("--size", "64MiB", NULL);
    struct client client = client_begin(hold_for_reasons, NULL);
    const struct ctl_end *end = ctl("top", "-b", "-n", "2", "-d", "0.1");
    expect_equal(end->exit_status, 0);
    expect_text(end->err, "");
    expect_match(end->out, "used 6.0 MiB .9.4 %.");
    expect_match(end->out, "\n +3.0 MiB +50.0 % .* camera\n");
    expect_match(end->out, "\n +3.0 MiB +50.0 % +0 B .* frame\n");
    expect_match(end->out, "text\\\\x1b\\[31m\n\nsegment ");
    end = ctl("top", "-b", "-n", "1", "--list", "-r", "index");
    expect_match(end->out, " index/thumbnail\n$");
    expect_true(!harness_matches(end->out, "camera"));
    end = ctl("top", "-b", "-n", "1", "--page=clients", "--sort=pid");
    expect_match(end->out, " studio\n$");
    client_finish(&client);
    daemon_stop();
    end = ctl("top", "-b");
    expect_equal(end->exit_status, 3);
}

static void hold_a_frame(const void *argument)
{
    (void)argument;
    expect_call(kmem_try_allocate(1 << 20, "camera/frame") != NULL);
    client_pause();
}

/* The segment's figures stay what they are; its reasons and rows are those that are chosen. */
static void test_batch_shows_what_is_chosen(void)
{
    char pid[16];
    daemon_start("--size", "64MiB", NULL);
    struct client client = client_begin(hold_for_reasons, NULL);
    struct client other = client_begin(hold_a_frame, NULL);
    (void)snprintf(pid, sizeof(pid), "%u", getuid());
    const struct ctl_end *all = ctl("top", "-b", "-n", "1", "--list", "-u", pid, "--filter", "ind");
    expect_match(all->out, "^segment \"test\"  -u [0-9]+ ");
    expect_true(!harness_matches(all->out, "camera"));
    all = ctl("top", "-b", "-n", "1", "--list", "-r", "z*x");
    expect_match(all->out, "\nno reason matches\n");
    (void)snprintf(pid, sizeof(pid), "%d", (int)other.pid);
    const struct ctl_end *end = ctl("top", "-b", "-n", "1", "--list", "-p", pid);
    expect_match(end->out, "^segment \"test\"  -p [0-9]+ ");
    expect_match(end->out, "used 7.0 MiB ");
    expect_match(end->out, "\n +1.0 MiB +100.0 % .* camera/frame\n$");
    expect_true(!harness_matches(end->out, "index"));
    end = ctl("top", "-b", "-n", "1", "--list", "--larger-than=2500KiB");
    expect_match(end->out, "\n +3.0 MiB +100.0 % .* camera/frame\n$");
    expect_match(ctl("top", "-b", "-n", "1", "--older-than", "1d")->out, "\nno reason matches\n");
    end = ctl("top", "-b", "-n", "1", "--page=clients", "-p", pid);
    expect_true(!harness_matches(end->out, "studio"));
    end = ctl("top", "-b", "-n", "1", "--page=limits", "-p", pid);
    expect_equal(end->exit_status, 2);
    expect_match(end->err, "--pid means nothing on the page of limits");
    client_finish(&other);
    client_finish(&client);
    daemon_stop();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_batch_shows_what_is_chosen, 20),
    SYSTEM_TEST(test_batch_prints_screens_as_text, 20),
    SYSTEM_TEST(test_what_is_no_terminal_is_told_of_batch_mode, 20),
    SYSTEM_TEST(test_keys_open_filter_sort_and_turn_pages, 30),
    SYSTEM_TEST(test_keys_of_a_whole_keyboard_move_and_erase, 30),
    SYSTEM_TEST(test_options_that_can_not_be_meant_are_named, 20),
    SYSTEM_TEST(test_it_follows_the_size_of_its_terminal, 20),
    SYSTEM_TEST(test_signals_give_the_terminal_back, 20),
    SYSTEM_TEST(test_it_stops_at_ctrl_z_and_goes_on, 20),
    SYSTEM_TEST(test_it_says_when_the_daemon_has_ended_and_finds_the_next, 30),
    SYSTEM_TEST(test_keys_are_answered_while_the_daemon_is_not_heard, 20),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
