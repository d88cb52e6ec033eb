/* SPDX-License-Identifier: MIT */
#include "client/ctl/top/terminal.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define NCURSES_WIDECHAR 1
#include <curses.h>

#include "client/ctl/format.h"
#include "client/ctl/status.h"
#include "client/ctl/top/model.h"
#include "client/ctl/top/terminfo.h"

/* The pairs of colours of styles that are one. */
enum pair {
    PAIR_GOOD = 1,
    PAIR_WARN,
    PAIR_BAD,
};

static struct terminal {
    SCREEN *screen;
    bool has_colour;
    int stop_fd; /* a signalfd; -1 while Ctrl-Z is not ours */
} terminal = {.stop_fd = -1};

/* 50 ms after Esc: the rest of a key's sequence is there by then, even from far away. */
#define ESCAPE_MS 50

#define HINT "-b prints what there is to see as text"

/* Return: whether it is connected to a terminal of some type; else a message is printed. */
static bool is_terminal(void)
{
    const char *type = getenv("TERM");
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        (void)fprintf(stderr, "kmemctl top: %s is no terminal; " HINT "\n",
                      isatty(STDOUT_FILENO) ? "the standard input" : "the standard output");
        return false;
    }
    if (!type || !*type) {
        (void)fputs("kmemctl top: TERM is not set, so the terminal's type is not known; " HINT "\n",
                    stderr);
        return false;
    }
    return true;
}

static void colours_init(bool is_wanted)
{
    terminal.has_colour = is_wanted && has_colors() && start_color() == OK;
    if (!terminal.has_colour) {
        return;
    }
    const short background = use_default_colors() == OK ? -1 : COLOR_BLACK;
    (void)init_pair(PAIR_GOOD, COLOR_GREEN, background);
    (void)init_pair(PAIR_WARN, COLOR_YELLOW, background);
    (void)init_pair(PAIR_BAD, COLOR_RED, background);
}

/* ---------------------------------------------------------------------------------- Ctrl-Z ---- */

static void never_called(int number)
{
    (void)number;
}

static void handle_stop(void (*handler)(int))
{
    const struct sigaction action = {.sa_handler = handler};
    (void)sigaction(SIGTSTP, &action, NULL); /* can not fail: the number is right */
}

static sigset_t stop_set(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTSTP);
    return set;
}

/*
 * ncurses' own way is to ignore the signal while it draws: what is pressed then is lost. It leaves
 * it alone if there is a handler already. In all threads that are yet to begin it is blocked.
 */
static void stops_open(void)
{
    const sigset_t set = stop_set();
    struct sigaction before;
    if (sigaction(SIGTSTP, NULL, &before) == 0 && before.sa_handler == SIG_DFL) {
        terminal.stop_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    }
    if (terminal.stop_fd >= 0) {
        (void)sigprocmask(SIG_BLOCK, &set, NULL);
        handle_stop(never_called);
    }
}

static void stops_close(void)
{
    const sigset_t set = stop_set();
    if (terminal.stop_fd >= 0) {
        (void)close(terminal.stop_fd);
        terminal.stop_fd = -1;
        handle_stop(SIG_DFL);
        (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
    }
}

int terminal_stop_fd(void)
{
    return terminal.stop_fd;
}

void terminal_stop(void)
{
    const sigset_t set = stop_set();
    struct signalfd_siginfo info;
    if (read(terminal.stop_fd, &info, sizeof(info)) != (ssize_t)sizeof(info)) {
        return;
    }
    (void)endwin();
    handle_stop(SIG_DFL);
    (void)kill(getpid(), SIGTSTP);
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL); /* here it stands until it is continued */
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    handle_stop(never_called);
    (void)def_shell_mode(); /* what was changed meanwhile is how it is to be given back */
    terminal_redraw();
    (void)refresh();
}

int terminal_open(bool has_colour)
{
    if (!is_terminal()) {
        return STATUS_USAGE;
    }
    stops_open();
    const bool is_known = terminfo_knows();
    terminal.screen = is_known ? newterm(NULL, stdout, stdin) : NULL;
    if (!terminal.screen || !terminfo_can_draw()) {
        terminal_close();
        (void)fprintf(stderr, "kmemctl top: a terminal of the type %s %s (TERM); " HINT "\n",
                      format_escaped(getenv("TERM")).text,
                      is_known ? "can not be drawn on" : "is not known here");
        return STATUS_USAGE;
    }
    /* What fails of these leaves a terminal that does without. */
    (void)set_escdelay(ESCAPE_MS);
    (void)cbreak();
    (void)noecho();
    (void)nonl();
    (void)nodelay(stdscr, TRUE);
    (void)keypad(stdscr, TRUE);
    (void)curs_set(0);
    colours_init(has_colour);
    return 0;
}

void terminal_close(void)
{
    if (terminal.screen) {
        (void)endwin();
        delscreen(terminal.screen);
        terminal.screen = NULL;
    }
    stops_close();
}

/* Asked each time: what changed while it was stopped came with no signal. */
void terminal_size(size_t *ret_columns, size_t *ret_lines)
{
    struct winsize size;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 0 && size.ws_col > 0 &&
        (size.ws_row != LINES || size.ws_col != COLS)) {
        (void)resizeterm(size.ws_row, size.ws_col);
    }
    *ret_columns = (size_t)COLS;
    *ret_lines = (size_t)LINES;
}

/* --------------------------------------------------------------------------------- drawing ---- */

static attr_t attributes_of(enum style style)
{
    const bool has_colour = terminal.has_colour;
    switch (style) {
    case STYLE_PLAIN:
        break;
    case STYLE_BOLD:
        return A_BOLD;
    case STYLE_DIM:
        return A_DIM;
    case STYLE_GOOD:
        return has_colour ? (attr_t)COLOR_PAIR(PAIR_GOOD) : A_NORMAL;
    case STYLE_WARN:
        return has_colour ? (attr_t)COLOR_PAIR(PAIR_WARN) : A_BOLD;
    case STYLE_BAD:
        return has_colour ? (attr_t)COLOR_PAIR(PAIR_BAD) | A_BOLD : A_BOLD;
    }
    return A_NORMAL;
}

static void draw_line(const struct canvas_line *line, int at)
{
    size_t from = 0;
    (void)move(at, 0);
    for (size_t i = 0; i < line->n_pieces; i++) {
        (void)attrset((int)attributes_of(line->pieces[i].style));
        (void)addnstr(line->text + from, (int)line->pieces[i].n_bytes);
        from += line->pieces[i].n_bytes;
    }
    (void)attrset(A_NORMAL);
    if (line->is_selected) {
        (void)mvchgat(at, 0, -1, A_REVERSE, 0, NULL);
    }
}

void terminal_draw(const struct canvas *canvas)
{
    (void)erase(); /* in memory: the terminal gets the differences */
    for (size_t i = 0; i < canvas->n_lines && i < (size_t)LINES; i++) {
        draw_line(&canvas->lines[i], (int)i);
    }
    (void)refresh();
}

void terminal_redraw(void)
{
    (void)clearok(stdscr, TRUE);
}

/* ----------------------------------------------------------------------------------- keys ---- */

static uint32_t special_key(wint_t key)
{
    switch (key) {
    case KEY_UP:
        return KEY_IS_UP;
    case KEY_DOWN:
        return KEY_IS_DOWN;
    case KEY_LEFT:
        return KEY_IS_LEFT;
    case KEY_RIGHT:
        return KEY_IS_RIGHT;
    case KEY_PPAGE:
        return KEY_IS_PAGE_UP;
    case KEY_NPAGE:
        return KEY_IS_PAGE_DOWN;
    case KEY_HOME:
        return KEY_IS_HOME;
    case KEY_END:
        return KEY_IS_END;
    case KEY_ENTER:
        return KEY_IS_ENTER;
    case KEY_BACKSPACE:
    case KEY_DC:
        return KEY_IS_ERASE;
    case KEY_BTAB:
        return KEY_IS_BACK_TAB;
    default:
        return KEY_IS_NOTHING;
    }
}

static uint32_t control_key(wint_t key)
{
    switch (key) {
    case '\r':
    case '\n':
        return KEY_IS_ENTER;
    case '\t':
        return KEY_IS_TAB;
    case 0x1b:
        return KEY_IS_ESCAPE;
    case 0x08:
    case 0x7f:
        return KEY_IS_ERASE;
    case 0x0c: /* Ctrl-L */
        terminal_redraw();
        return KEY_IS_NOTHING;
    case 0:
        return KEY_IS_NOTHING;
    default:
        return key < 0x20 ? KEY_IS_NOTHING : key;
    }
}

uint32_t terminal_key(void)
{
    wint_t key = 0;
    const int r = get_wch(&key);
    if (r == ERR) {
        return 0;
    }
    return r == KEY_CODE_YES ? special_key(key) : control_key(key);
}
