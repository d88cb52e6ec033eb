/* SPDX-License-Identifier: MIT */
/*
 * model.h - what top knows, and what the user has chosen
 *
 * The model is told answers (model_take) and keys (model_key) and decides which lines there are. It
 * touches no terminal, daemon or clock: a test drives it with calls alone.
 *
 * A selection is of a row, not of a line: it stays with its reason, process or number wherever that
 * goes, and where the row has gone it falls to the line that took its place.
 */
#ifndef CTL_TOP_MODEL_H
#define CTL_TOP_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kmem/kmem.h>

#include "client/ctl/top/flow.h"
#include "client/ctl/top/page.h"
#include "client/ctl/top/pattern.h"
#include "client/ctl/top/sample.h"
#include "client/ctl/top/live_tree.h"

/* Keys that are no character. */
enum model_key {
    KEY_IS_UP = 0x110000,
    KEY_IS_DOWN,
    KEY_IS_LEFT,
    KEY_IS_RIGHT,
    KEY_IS_PAGE_UP,
    KEY_IS_PAGE_DOWN,
    KEY_IS_HOME,
    KEY_IS_END,
    KEY_IS_ENTER,
    KEY_IS_ESCAPE,
    KEY_IS_ERASE, /* backspace */
    KEY_IS_TAB,
    KEY_IS_BACK_TAB,
    KEY_IS_NOTHING, /* one that means nothing, or has been answered */
};

/* What the user has chosen of one page; kept while another is shown. */
struct page_view {
    const struct column *by;
    bool is_descending;
    char pattern[PATTERN_MAX_BYTES]; /* "": all */
    char *selected;                  /* the identity of the row; NULL: none yet */
    size_t selected_at;              /* its line */
    size_t first_at;                 /* the line at the top of the screen */
};

struct client_key;

struct model {
    enum page_id page;
    struct page_view views[N_PAGES];
    bool is_flat; /* reasons as a list, not a tree */
    bool is_paused;
    bool is_typing; /* what is typed goes into the pattern */
    bool shows_help;
    bool exactly;
    bool unicode;
    unsigned interval_ms;
    struct filter filter; /* of rows that have a column for it; reasons come filtered */
    char chosen[128];     /* the same, as it was said; "": nothing was */

    bool has_answer;
    enum page_id answered; /* the page that the rows are of */
    char *segment_name;    /* foreign */
    struct figures figures;
    struct flow used;
    struct flow allocations;
    struct flow releases;
    struct live_tree tree;
    struct rows rows;
    struct flow *client_flows; /* of the rows of clients, by slot */
    struct client_key *client_keys;
    size_t n_client_flows;

    int error; /* of the last round; 0: none */
    char *sentence;
    uint64_t failed_since_ms;
    uint64_t waiting_ms; /* for the answer to the round that is on its way; 0: none is */
    uint64_t now_ms;

    const void **lines; /* the rows that are shown, in their order */
    size_t n_lines;
    size_t n_rows;  /* that there are, shown or not: reasons that have blocks, clients, ... */
    size_t n_found; /* of those, what the filter takes */
};

/** model_init() - nothing is known yet; model_fini() is due */
void model_init(struct model *model);
void model_fini(struct model *model);

/** model_sort() - sort a page by a column, "bytes" or "bytes:asc". Return: whether it has it. */
bool model_sort(struct model *model, enum page_id page, const char *order);

/** model_take() - an answer; takes what is in it. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int model_take(struct model *model, struct sample *sample);

/** model_fail() - no answer; what was known stays */
void model_fail(struct model *model, const struct sample *sample, uint64_t now_ms);

/** model_arrange() - decide again which lines there are. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int model_arrange(struct model *model);

/** model_scroll() - let the selected line be among those that are seen */
void model_scroll(struct model *model, size_t n_seen);

enum model_answer {
    MODEL_GOES_ON,
    MODEL_ASKS, /* another page is wanted: ask at once */
    MODEL_QUITS,
};

/**
 * model_key() - a key: a character, or an enum model_key
 * @n_seen:  how many lines the screen has
 */
enum model_answer model_key(struct model *model, uint32_t key, size_t n_seen);

/** model_view() - what is chosen of the page that is shown */
struct page_view *model_view(struct model *model);

#endif
