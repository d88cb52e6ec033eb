/* SPDX-License-Identifier: MIT */
#include "daemon/server/reload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "daemon/changed.h"
#include "daemon/command_line.h"
#include "daemon/config_kept.h"
#include "daemon/log.h"

/* 400: there are some dozen settings; the rest are those of sections. */
#define ROWS_MAX 400
/* What a row says of a value: lists are cut. */
#define VALUE_BYTES 255
/* 500: those who hold what lies in the way. */
#define WAITS_BYTES 500

/* A configuration that has been read, and what it makes of the options. */
struct reading {
    struct config config;
    struct options wanted;   /* if nothing had to wait */
    struct options in_force; /* what will be */
    struct complaints complaints;
    char first[COMPLAINT_BYTES];
};

static void reading_complain(const char *sentence, void *user)
{
    struct reading *reading = user;
    log_error("%s", sentence);
    if (reading->complaints.n == 1) {
        (void)snprintf(reading->first, sizeof(reading->first), "%s", sentence); /* fits */
    }
}

/* Return: 0, or a negative errno; reading->complaints says what else is wrong. */
static int reading_make(struct reading *reading, const struct reload_source *source)
{
    struct complaints unheard = {.n = 0};
    reading->complaints = (struct complaints){.say = reading_complain, .user = reading};
    command_line_read_files(&reading->config, source->argc, source->argv, &reading->complaints);
    command_line_read(&reading->wanted, source->argc, source->argv, &reading->config, NULL,
                      &reading->complaints);
    const int r = config_kept_renew(&reading->config, source->config);
    command_line_read(&reading->in_force, source->argc, source->argv, &reading->config, NULL,
                      &unheard);
    if (!options_adopt_size(&reading->in_force, source->options->most_bytes,
                            source->options->segment_bytes, false)) {
        return -EPROTO;
    }
    return r;
}

/* The next server starts with it. Return: 0 or a negative errno. */
static int reading_hand_over(const struct reading *reading, const struct reload *reload)
{
    const int fd = config_kept_open(&reading->config, reading->in_force.name);
    if (fd < 0) {
        return fd;
    }
    const int r = keeper_link_config(reload->keeper_link, fd);
    (void)close(fd); /* the keeper has its own */
    return r;
}

/* The size is the one setting that the segment's clients decide on. */
struct rows {
    struct reply *reply;
    char size_waits[WAITS_BYTES]; /* "": it is applied */
};

/* changed_fn */
static void reload_row(const struct changed *changed, void *user)
{
    struct rows *rows = user;
    struct reply *reply = rows->reply;
    Kmem__Reloaded *reloaded = &reply->body.reloaded;
    struct changed told = *changed;
    if (strcmp(changed->key, "size") == 0 && rows->size_waits[0] != '\0') {
        told.waits = rows->size_waits;
    }
    const char *waits = told.waits ? told.waits : "";
    const size_t n_text_bytes = strlen(changed->key) + (size_t)2 * VALUE_BYTES + strlen(waits);
    changed_log(&told, NULL);
    if (reloaded->n_changes == ROWS_MAX || !reply_row_fits(reply, n_text_bytes)) {
        reloaded->n_left_out++;
        return;
    }
    Kmem__SettingChange *row = reply_take(reply, sizeof(*row));
    kmem__setting_change__init(row);
    row->key = reply_string(reply, changed->key, strlen(changed->key));
    row->was = reply_string(reply, changed->old, strnlen(changed->old, VALUE_BYTES));
    row->now = reply_string(reply, changed->now, strnlen(changed->now, VALUE_BYTES));
    row->waits = reply_string(reply, waits, strlen(waits));
    reloaded->changes[reloaded->n_changes++] = row;
}

static void reload_refuse(const struct reading *reading, int error, struct reply *reply)
{
    if (reading->complaints.n > 0) {
        reply_error(reply, KMEM__ERROR_CODE__ERROR_INVALID, "%s%s; nothing is changed",
                    reading->first,
                    reading->complaints.n > 1 ? " (and more: see the log, or kmemd --check)" : "");
    } else {
        log_error("the configuration can not be read anew: %s; nothing is changed",
                  strerror(-error));
        reply_error(reply, KMEM__ERROR_CODE__ERROR_BUSY,
                    "the configuration can not be read anew: %s; nothing is changed",
                    strerror(-error));
    }
}

/* What is in force becomes what was read. */
static void reload_adopt(const struct reload *reload, struct reading *reading, struct reply *reply)
{
    const struct reload_source *source = reload->source;
    struct rows rows = {.reply = reply};
    kmem__reloaded__init(&reply->body.reloaded);
    reply->body.reloaded.changes = reply_take(reply, ROWS_MAX * sizeof(Kmem__SettingChange *));
    if (reading->wanted.asked_bytes != source->options->asked_bytes) {
        sizing_ask(reload->sizing, reading->wanted.asked_bytes, rows.size_waits,
                   sizeof(rows.size_waits));
    }
    (void)changed_settings(source->options, &reading->wanted, reload_row, &rows);
    if (rows.size_waits[0] != '\0') {
        reading->in_force.asked_bytes = source->options->asked_bytes; /* the next one asks again */
    }
    *source->options = reading->in_force;
    config_fini(source->config);
    *source->config = reading->config;
    reading->config = (struct config){.n_files = 0};
    reload->apply(reload->user);
    reply->response.body_case = KMEM__RESPONSE__BODY_RELOADED;
    reply->response.reloaded = &reply->body.reloaded;
}

void reload_answer(struct reply *reply, void *user)
{
    const struct reload *reload = user;
    struct reading reading = {.config = {.n_files = 0}};
    if (!reload->source) {
        reply_error(reply, KMEM__ERROR_CODE__ERROR_INVALID, "this daemon has no configuration");
        return;
    }
    log_info("the configuration is read anew");
    int r = reading_make(&reading, reload->source);
    r = r || reading.complaints.n > 0 ? r : reading_hand_over(&reading, reload);
    if (r || reading.complaints.n > 0) {
        reload_refuse(&reading, r, reply);
    } else {
        reload_adopt(reload, &reading, reply);
    }
    config_fini(&reading.config);
}
