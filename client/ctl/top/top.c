/* SPDX-License-Identifier: MIT */
/*
 * top.c - what a segment is used for, live
 *
 * Four parts: asker.c asks, model.c knows what was answered and chosen, view.c draws it, and here
 * they meet: with terminal.c, in a loop that waits for a key, an answer or a signal; or, in batch
 * mode, with a stream.
 */
#include <argp.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/ctl/command.h"
#include "client/ctl/listing.h"
#include "client/ctl/segments.h"
#include "client/ctl/signals.h"
#include "client/ctl/status.h"
#include "client/ctl/target.h"
#include "client/ctl/top/asker.h"
#include "client/ctl/top/model.h"
#include "client/ctl/top/terminal.h"
#include "client/ctl/top/view.h"

struct top {
    struct options options;
    bool is_batch;
    uint64_t n_rounds; /* 0: without end */
    const char *sort;
    const char *pattern;
    struct model model;
    struct screen screen;
    struct asker *asker;
};

/* ------------------------------------------------------------------------ the command line ---- */

enum top_key {
    TOP_BATCH = 'b',
    TOP_COUNT = 'n',
    TOP_DELAY = 'd',
    TOP_FILTER = 'f',
    TOP_LIST = 0x100, /* a long name only, as those below */
    TOP_PAGE,
    TOP_SORT,
};

static const struct argp_option top_options[] = {
    {"batch", TOP_BATCH, NULL, 0, "Print each answer as text, for files and pipes", 0},
    {"count", TOP_COUNT, "N", 0, "End after N answers", 0},
    {"delay", TOP_DELAY, "SECONDS", 0, "Ask every SECONDS: 0.1 or more, 1 unless it is said", 0},
    {"page", TOP_PAGE, "NAME", 0,
     "Begin with this page: reasons, clients, refusals, obituaries or limits", 0},
    {"sort", TOP_SORT, "COLUMN", 0, "Sort it by COLUMN, or COLUMN:asc, COLUMN:desc", 0},
    {"filter", TOP_FILTER, "TEXT", 0, "Show what has TEXT in it, or matches its * and ?", 0},
    {"list", TOP_LIST, NULL, 0, "Show reasons as a list, not as a tree", 0},
    {0},
};

static uint64_t count_or_exit(const struct argp_state *state, const char *argument)
{
    char *end;
    errno = 0;
    const unsigned long number = strtoul(argument, &end, 10);
    if (errno || *end || *argument == '-' || number < 1) {
        argp_error(state,
                   "--count takes how many answers, 1 or more, not \"%s\"; a segment is named "
                   "before the command: kmemctl -n NAME top",
                   argument);
    }
    return number;
}

static enum page_id page_or_exit(const struct argp_state *state, const char *argument)
{
    const enum page_id page = page_find(argument);
    char names[128] = "";
    for (enum page_id id = 0; id < N_PAGES; id++) {
        (void)snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%s",
                       id == 0            ? ""
                       : id + 1 < N_PAGES ? ", "
                                          : " or ",
                       page_get(id)->name);
    }
    if (page == N_PAGES) {
        argp_error(state, "--page takes %s, not \"%s\"", names, argument);
    }
    return page;
}

/* On the page of reasons it is what could have been typed: the daemon adds them all up anyway. */
static void choose_reason(struct top *top)
{
    const char *reason = top->options.filter.reason;
    if (reason && top->model.page == PAGE_REASONS) {
        (void)snprintf(top->model.views[PAGE_REASONS].pattern, PATTERN_MAX_BYTES, "%s%s", reason,
                       strpbrk(reason, "*?") ? "" : "*");
        top->options.filter.reason = NULL;
    }
}

/* Which of the segment's blocks are shown must be seen beside the figures of all. */
static void write_chosen(struct top *top)
{
    const struct filter *filter = &top->options.filter;
    char *end = top->model.chosen;
    top->model.filter = *filter;
    if (filter->has_pid) {
        end = stpcpy(stpcpy(end, " -p "), format_pid(filter->pid).text);
    }
    if (filter->has_uid) {
        end = stpcpy(stpcpy(end, " -u "), format_id(filter->uid).text);
    }
    if (filter->has_age) {
        end = stpcpy(stpcpy(end, " older than "), format_age(filter->older_than_ms).text);
    }
    if (filter->has_bytes) {
        end = stpcpy(stpcpy(end, " larger than "),
                     format_bytes(filter->larger_than_bytes, false).text);
    }
    if (end > top->model.chosen) {
        memmove(top->model.chosen, top->model.chosen + 1, (size_t)(end - top->model.chosen));
    }
}

/* When all options are known: what one of them means may depend on another. */
static void choose_or_exit(const struct argp_state *state, struct top *top)
{
    struct model *model = &top->model;
    const enum page_id page = model->page;
    char *pattern = model->views[page].pattern;
    if (top->options.format != FORMAT_TABLE) {
        argp_error(state, "it draws screens: --output means nothing to it; for programs there is "
                          "\"ledger --watch=1 -o jsonl\"");
    }
    if (top->sort && !model_sort(model, page, top->sort)) {
        char names[512];
        argp_error(state, "--sort: the page of %s has no column \"%s\"; it has %s",
                   page_get(page)->name, top->sort,
                   listing_columns(page_shape(page_get(page)), names, sizeof(names)));
    }
    const struct listing_shape *shape = page_shape(page_get(page));
    const char *meaningless =
        page == PAGE_REASONS
            ? NULL /* they are added up of blocks, which have all columns */
            : filter_meaningless(&top->options.filter, shape->columns, shape->n_columns);
    if (meaningless) {
        argp_error(state, "%s means nothing on the page of %s: no column is about that",
                   meaningless, page_get(page)->name);
    }
    if (top->pattern) {
        (void)snprintf(pattern, PATTERN_MAX_BYTES, "%s", top->pattern);
    }
    choose_reason(top);
    write_chosen(top);
}

static error_t top_key(int key, char *argument, struct argp_state *state)
{
    struct top *top = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = &top->options;
        state->child_inputs[1] = &top->options;
        return 0;
    case TOP_BATCH:
        top->is_batch = true;
        return 0;
    case TOP_COUNT:
        top->n_rounds = count_or_exit(state, argument);
        return 0;
    case TOP_DELAY:
        top->options.watch_ms = options_seconds(state, "--delay", argument);
        return 0;
    case TOP_PAGE:
        top->model.page = page_or_exit(state, argument);
        return 0;
    case TOP_SORT:
        top->sort = argument;
        return 0;
    case TOP_FILTER:
        top->pattern = argument;
        return 0;
    case TOP_LIST:
        top->model.is_flat = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "what is \"%s\"? This command takes options only", argument);
        return 0;
    case ARGP_KEY_END:
        choose_or_exit(state, top);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void parse(int argc, char **argv, struct top *top)
{
    const struct argp_child children[] = {
        {&options_common, 0, "Common options:", 10}, {&options_filter, 0, "Which rows:", 5}, {0}};
    char columns[256];
    char doc[768];
    (void)snprintf(doc, sizeof(doc),
                   "Show what the segment is used for, live.\v"
                   "Inside, h explains the keys. top has meanings of its own for -b and -n: the "
                   "segment's name can stand before the command.\n\nColumns: %s",
                   listing_columns(page_shape(page_get(PAGE_REASONS)), columns, sizeof(columns)));
    const struct argp argp = {
        .options = top_options, .parser = top_key, .doc = doc, .children = children};
    options_read(&argp, argc, argv, 0, top);
}

/* ------------------------------------------------------------------------------ batch mode ---- */

static void end_at_once(int number)
{
    (void)number;
    _exit(STATUS_OK); /* an answer is written in one piece */
}

/* Return: 0; -ENOMEM, and nothing is printed. */
static int print(const struct top *top)
{
    struct canvas canvas = {.max_columns = top->screen.n_columns, .unicode = top->screen.unicode};
    view_draw(&top->model, 0, &canvas);
    const int r = canvas.has_failed ? -ENOMEM : 0;
    if (r == 0) {
        canvas_print(&canvas, &top->screen);
    }
    canvas_fini(&canvas);
    return r;
}

/* Return: STATUS_OK, or how it is to end. */
static int batch_round(struct top *top, struct kmem_query *query, bool is_first)
{
    struct sample sample;
    sample_take(&sample, query, top->model.page, &top->options.filter, asker_now_ms());
    int status = STATUS_OK;
    if (sample.error < 0) {
        status = target_complain(sample.error, kmem_query_error(query));
    }
    if (status == STATUS_OK && is_first) {
        asker_past(&sample.past, &top->options);
    }
    if (status == STATUS_OK && model_take(&top->model, &sample) < 0) {
        status = target_complain(-ENOMEM, "");
    }
    sample_fini(&sample);
    live_tree_open_all(&top->model.tree, true);
    if (status == STATUS_OK) {
        (void)fputs(is_first ? "" : "\n", stdout);
        if (model_arrange(&top->model) < 0 || print(top) < 0) {
            status = target_complain(-ENOMEM, "");
        }
    }
    if (status == STATUS_OK && fflush(stdout) != 0) {
        (void)fprintf(stderr, "kmemctl top: cannot write the answer: %s\n", strerror(errno));
        status = STATUS_ERROR;
    }
    return status;
}

static int batch(struct top *top, struct kmem_query *query)
{
    const unsigned interval_ms = top->model.interval_ms;
    const struct timespec interval = {interval_ms / 1000, (long)(interval_ms % 1000) * 1000000};
    const struct sigaction action = {.sa_handler = end_at_once};
    int status = STATUS_OK;
    (void)sigaction(SIGINT, &action, NULL);
    for (uint64_t i = 0; status == STATUS_OK && (top->n_rounds == 0 || i < top->n_rounds); i++) {
        if (i > 0) {
            (void)nanosleep(&interval, NULL);
        }
        status = batch_round(top, query, i == 0);
    }
    return status;
}

/* ------------------------------------------------------------------------------------ live ---- */

static void draw(struct top *top)
{
    size_t n_columns;
    size_t n_lines;
    terminal_size(&n_columns, &n_lines);
    struct canvas canvas = {.max_columns = n_columns, .unicode = top->screen.unicode};
    top->model.now_ms = asker_now_ms();
    top->model.waiting_ms = asker_waiting_ms(top->asker);
    model_scroll(&top->model, view_seen(n_lines));
    view_draw(&top->model, n_lines, &canvas);
    if (!canvas.has_failed) {
        terminal_draw(&canvas);
    }
    canvas_fini(&canvas);
}

/* All keys that were pressed. Return: whether one of them ends it; or -ENOMEM. */
static int answer_keys(struct top *top)
{
    enum model_answer answer = MODEL_GOES_ON;
    size_t n_columns;
    size_t n_lines;
    terminal_size(&n_columns, &n_lines);
    for (uint32_t key = terminal_key(); key != 0 && answer != MODEL_QUITS; key = terminal_key()) {
        const bool was_paused = top->model.is_paused;
        answer = model_key(&top->model, key, view_seen(n_lines));
        if (top->model.is_paused != was_paused) {
            asker_pause(top->asker, top->model.is_paused);
        }
        if (answer == MODEL_ASKS) {
            asker_want(top->asker, top->model.page);
        }
        int r = model_arrange(&top->model);
        if (r < 0) {
            return r;
        }
    }
    return answer == MODEL_QUITS;
}

/* Return: 0, 1 if it was the last one that was wanted, or -ENOMEM. */
static int take_answer(struct top *top)
{
    struct sample sample;
    int r = 0;
    if (!asker_take(top->asker, &sample)) {
        return 0;
    }
    if (sample.error < 0) {
        model_fail(&top->model, &sample, asker_now_ms());
    } else {
        r = model_take(&top->model, &sample);
        r = r == 0 && top->n_rounds > 0 && --top->n_rounds == 0 ? 1 : r;
    }
    sample_fini(&sample);
    return r;
}

/* A second passes on the screen, too, when nothing else happens. */
#define TICK_MS 1000

/* Return: the signal that ended it, 0 if a key or the last answer did, or -ENOMEM. */
static int serve(struct top *top, const struct signals *signals)
{
    struct pollfd events[] = {
        {.fd = STDIN_FILENO, .events = POLLIN},
        {.fd = asker_fd(top->asker), .events = POLLIN},
        {.fd = signals->fd, .events = POLLIN},
        {.fd = terminal_stop_fd(), .events = POLLIN},
    };
    while (true) {
        draw(top);
        (void)poll(events, sizeof(events) / sizeof(events[0]), TICK_MS);
        const int number = signals_take(signals, false).number;
        if (number != 0 && number != SIGCHLD) {
            return number;
        }
        if ((events[0].revents & (POLLHUP | POLLERR)) != 0) {
            return SIGHUP; /* the terminal has gone */
        }
        terminal_stop();
        int r = answer_keys(top);
        r = r == 0 ? take_answer(top) : r;
        if (r != 0) {
            return r < 0 ? r : 0;
        }
    }
}

/* The terminal is as it was: end as the signal would have ended it, had nobody looked. */
static int end_by(int number)
{
    if (number == SIGINT) {
        return STATUS_OK;
    }
    if (number < 0) {
        return target_complain(number, "");
    }
    if (number > 0) {
        signals_clear();
        (void)signal(number, SIG_DFL);
        (void)raise(number);
    }
    return STATUS_OK;
}

static int live(struct top *top)
{
    struct signals signals;
    int status = terminal_open(top->screen.colour);
    if (status != 0) {
        return status;
    }
    int r = signals_open(&signals);
    r = r < 0 ? r : asker_open(&top->options, top->model.page, top->model.interval_ms, &top->asker);
    if (r == 0) {
        r = serve(top, &signals);
        asker_close(top->asker);
    }
    terminal_close();
    return end_by(r);
}

int top_main(int argc, char **argv, const struct options *before)
{
    struct top top = {.options = *before};
    struct kmem_query *query = NULL;
    model_init(&top.model);
    parse(argc, argv, &top);
    screen_init(&top.screen, stdout);
    screen_set_colour(&top.screen, top.options.colour);
    top.model.exactly = top.options.exact_bytes;
    top.model.unicode = top.screen.unicode;
    top.model.interval_ms = top.options.watch_ms ? top.options.watch_ms : 1000;
    int status = segments_open(&top.options, &query);
    if (status != STATUS_OK) {
        return status;
    }
    top.options.segment_name = NULL; /* the environment has it now */
    status = top.is_batch ? batch(&top, query) : STATUS_OK;
    kmem_query_close(query);
    if (!top.is_batch) {
        status = live(&top);
    }
    model_fini(&top.model);
    return status;
}
