/* SPDX-License-Identifier: MIT */
/*
 * command.h - the words that kmemctl knows
 *
 * A query command names its options and one function that asks and prints; connecting, complaining
 * and ending are main.c's. A command that is no query has a main function of its own.
 */
#ifndef CTL_COMMAND_H
#define CTL_COMMAND_H

#include <argp.h>
#include <stdbool.h>

#include <kmem/query.h>

#include "client/ctl/options.h"
#include "client/ctl/screen.h"
#include "client/ctl/shape.h"

/*
 * Asks, and prints the answer on the screen.
 * Return: an exit status (enum status); a negative errno of the query if it failed.
 */
typedef int (*command_show_fn)(struct kmem_query *query, const struct options *options,
                               const struct screen *screen);

/* argv[0] is "kmemctl NAME"; options are those before it. Return: the exit status. */
typedef int (*command_main_fn)(int argc, char **argv, const struct options *options);

/* What the rows of a command that lists are. */
typedef const struct listing_shape *(*command_shape_fn)(const struct options *options);

/* Whether a query command asks the daemon that the options name; else its show gets no query. */
typedef bool (*command_asks_fn)(const struct options *options);

struct command {
    const char *name;
    const char *summary;               /* one sentence for the help */
    const struct argp_option *special; /* a query's own options; NULL if it has none */
    const char *argument;              /* what a query's arguments may be; NULL: it takes none */
    bool filters; /* it takes the options that choose blocks, though it lists no rows */
    unsigned least_arguments;
    unsigned most_arguments; /* OPTIONS_MAX_ARGUMENTS at most */
    command_shape_fn shape;  /* NULL if it lists no rows */
    command_show_fn show;    /* NULL if it is no query */
    command_asks_fn asks;    /* whether it asks one daemon; NULL: it does */
    command_main_fn main;    /* NULL if it is a query */
};

/* Those of the commands that are queries: command_show_fn, each in a file of its name, but for
 * status_show(), which is in health.c. */
extern const struct argp_option blocks_options[];
extern const struct argp_option diff_options[];
extern const struct argp_option history_options[];
extern const struct argp_option export_options[];
extern const struct argp_option leaks_options[];
extern const struct argp_option ledger_options[];
extern const struct argp_option limits_options[];
extern const struct argp_option reasons_options[];
extern const struct argp_option refusals_options[];
extern const struct argp_option follow_options[];
extern const struct argp_option map_options[];
extern const struct argp_option record_options[];
extern const struct argp_option usage_options[];
int advise_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen);
int blocks_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen);
int clients_show(struct kmem_query *query, const struct options *options,
                 const struct screen *screen);
int diff_show(struct kmem_query *query, const struct options *options, const struct screen *screen);
int doctor_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen);
int history_show(struct kmem_query *query, const struct options *options,
                 const struct screen *screen);
int follow_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen);
int export_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen);
int holders_show(struct kmem_query *query, const struct options *options,
                 const struct screen *screen);
int leaks_show(struct kmem_query *query, const struct options *options,
               const struct screen *screen);
int ledger_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen);
int reload_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen);
int limits_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen);
int map_show(struct kmem_query *query, const struct options *options, const struct screen *screen);
int names_show(struct kmem_query *query, const struct options *options,
               const struct screen *screen);
int obituaries_show(struct kmem_query *query, const struct options *options,
                    const struct screen *screen);
int reasons_show(struct kmem_query *query, const struct options *options,
                 const struct screen *screen);
int reconcile_show(struct kmem_query *query, const struct options *options,
                   const struct screen *screen);
int record_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen);
int refusals_show(struct kmem_query *query, const struct options *options,
                  const struct screen *screen);
int resize_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen);
int segments_show(struct kmem_query *query, const struct options *options,
                  const struct screen *screen);
int snapshot_show(struct kmem_query *query, const struct options *options,
                  const struct screen *screen);
int status_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen);
int usage_show(struct kmem_query *query, const struct options *options,
               const struct screen *screen);
int why_show(struct kmem_query *query, const struct options *options, const struct screen *screen);

/* Those of them that may ask no daemon, or none alone: command_asks_fn. */
bool advise_asks(const struct options *options);
bool doctor_asks(const struct options *options);
bool diff_asks(const struct options *options);
bool segments_asks(const struct options *options);

/* What those of them that list rows say of these: command_shape_fn. */
const struct listing_shape *blocks_shape(const struct options *options);
const struct listing_shape *clients_shape(const struct options *options);
const struct listing_shape *diff_shape(const struct options *options);
const struct listing_shape *history_shape(const struct options *options);
const struct listing_shape *follow_shape(const struct options *options);
const struct listing_shape *holders_shape(const struct options *options);
const struct listing_shape *leaks_shape(const struct options *options);
const struct listing_shape *ledger_shape(const struct options *options);
const struct listing_shape *reload_shape(const struct options *options);
const struct listing_shape *limits_shape(const struct options *options);
const struct listing_shape *names_shape(const struct options *options);
const struct listing_shape *obituaries_shape(const struct options *options);
const struct listing_shape *reasons_shape(const struct options *options);
const struct listing_shape *refusals_shape(const struct options *options);
const struct listing_shape *segments_shape(const struct options *options);

/** replay_main() - a command_main_fn */
int replay_main(int argc, char **argv, const struct options *before);

/** run_main() - a command_main_fn. Return: the program's exit status, or an enum status. */
int run_main(int argc, char **argv, const struct options *before);

/** top_main() - a command_main_fn. Return: an enum status. */
int top_main(int argc, char **argv, const struct options *before);

/** serve_main() - a command_main_fn. Return: an enum status, if it can not become kmemctl-serve. */
int serve_main(int argc, char **argv, const struct options *before);

#endif
