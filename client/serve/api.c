/* SPDX-License-Identifier: MIT */
#include "client/serve/api.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/document.h"
#include "client/ctl/listing.h"
#include "client/ctl/measure.h"
#include "client/ctl/user.h"

/* What a page shows; who wants more says so. */
#define TOP_USUAL 1000

static const struct topic topics[] = {
    {"usage", usage_show, NULL, 0, "all"},
    {"ledger", ledger_show, ledger_shape, TOP_USUAL, "by"},
    {"blocks", blocks_show, blocks_shape, TOP_USUAL, "after"},
    {"clients", clients_show, clients_shape, TOP_USUAL, NULL},
    {"names", names_show, names_shape, TOP_USUAL, NULL},
    {"holders", holders_show, holders_shape, TOP_USUAL, NULL},
    {"limits", limits_show, limits_shape, TOP_USUAL, NULL},
    {"refusals", refusals_show, refusals_shape, TOP_USUAL, "counts"},
    {"history", history_show, history_shape, API_TOP_MAX, "since steps"},
    {"leaks", leaks_show, leaks_shape, TOP_USUAL, NULL},
    {"map", map_show, NULL, 0, NULL},
    {"obituaries", obituaries_show, obituaries_shape, TOP_USUAL, NULL},
};

static const struct topic sample = {"sample", NULL, NULL, 0, NULL};

const struct topic *api_topic(const char *path)
{
    for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
        if (strcmp(topics[i].name, path) == 0) {
            return &topics[i];
        }
    }
    return NULL;
}

const struct topic *api_sample(void)
{
    return &sample;
}

void api_begin(const struct topic *topic, struct question *ret_question)
{
    *ret_question = (struct question){
        .topic = topic,
        .options = {.format = FORMAT_JSON, .exact_bytes = true, .top = topic->top_usual},
    };
}

/* ----------------------------------------------------------------------------- parameters ---- */

__attribute__((format(printf, 2, 3))) static int complain(struct complaint *complaint,
                                                          const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(complaint->text, sizeof(complaint->text), format, arguments);
    va_end(arguments);
    return -EINVAL;
}

static bool number_parse(const char *text, uint64_t most, uint64_t *ret_number)
{
    char *end;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 0);
    *ret_number = number;
    return *text >= '0' && *text <= '9' && errno == 0 && !*end && number <= most;
}

static int set_top(struct question *question, const char *value, struct complaint *complaint)
{
    uint64_t top;
    if (!number_parse(value, API_TOP_MAX, &top) || top == 0) {
        return complain(complaint, "top: takes a number from 1 to %d", API_TOP_MAX);
    }
    question->options.top = (uint32_t)top;
    return 0;
}

static int set_pid(struct question *question, const char *value, struct complaint *complaint)
{
    uint64_t pid;
    if (!number_parse(value, INT32_MAX, &pid)) {
        return complain(complaint, "pid: takes the number of a process");
    }
    question->options.filter.pid = (uint32_t)pid;
    question->options.filter.has_pid = true;
    return 0;
}

static int set_user(struct question *question, const char *value, struct complaint *complaint)
{
    question->options.filter.has_uid = true;
    return user_find(value, &question->options.filter.uid)
               ? 0
               : complain(complaint, "user: takes the name of a user, or a uid");
}

static int set_older(struct question *question, const char *value, struct complaint *complaint)
{
    question->options.filter.has_age = true;
    return measure_age(value, &question->options.filter.older_than_ms)
               ? 0
               : complain(complaint, "older-than: takes an age, as 500ms, 90s, 5m, 2h30m or 7d");
}

static int set_larger(struct question *question, const char *value, struct complaint *complaint)
{
    question->options.filter.has_bytes = true;
    return measure_bytes(value, &question->options.filter.larger_than_bytes)
               ? 0
               : complain(complaint, "larger-than: takes a size, as 4096, 64KiB or 1.5M");
}

static int set_after(struct question *question, const char *value, struct complaint *complaint)
{
    return number_parse(value, UINT64_MAX, &question->options.filter.after)
               ? 0
               : complain(complaint, "after: takes the offset of the last block of a page");
}

static int set_by(struct question *question, const char *value, struct complaint *complaint)
{
    static const char *const words[] = {
        [KMEM_BY_REASON] = "reason", [KMEM_BY_CLIENT] = "client", [KMEM_BY_UID] = "uid",
        [KMEM_BY_SIZE] = "size",     [KMEM_BY_AGE] = "age",       [KMEM_BY_UNIT] = "unit"};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(words[i], value) == 0) {
            question->options.by = (enum kmem_group_by)i;
            return 0;
        }
    }
    return complain(complaint, "by: takes reason, client, uid, size, age or unit");
}

/* A week is what a daemon remembers. */
#define SINCE_MAX_MS (UINT64_C(7) * 24 * 3600000)
/* 1,000: finer than a picture is wide; of 24 series, more rows than are given at once. */
#define STEPS_MAX 1000

static int set_since(struct question *question, const char *value, struct complaint *complaint)
{
    uint64_t *since_ms = &question->options.since_ms;
    return measure_age(value, since_ms) && *since_ms >= 1000 && *since_ms <= SINCE_MAX_MS
               ? 0
               : complain(complaint, "since: takes an age from 1s to 7d");
}

static int set_steps(struct question *question, const char *value, struct complaint *complaint)
{
    uint64_t steps;
    if (!number_parse(value, STEPS_MAX, &steps) || steps == 0) {
        return complain(complaint, "steps: takes a number from 1 to %d", STEPS_MAX);
    }
    question->options.steps = (uint32_t)steps;
    return 0;
}

static int set_all(struct question *question, const char *value, struct complaint *complaint)
{
    question->options.all = strcmp(value, "1") == 0;
    return *value && strchr("01", *value) && !value[1] ? 0
                                                       : complain(complaint, "all: takes 0 or 1");
}

static int set_counts(struct question *question, const char *value, struct complaint *complaint)
{
    question->options.counts = strcmp(value, "1") == 0;
    return *value && strchr("01", *value) && !value[1]
               ? 0
               : complain(complaint, "counts: takes 0 or 1");
}

static int set_text(struct question *question, enum question_text text, const char *value)
{
    free(question->texts[text]);
    question->texts[text] = strdup(value);
    question->options.filter.reason = question->texts[QUESTION_REASON];
    question->options.sort = question->texts[QUESTION_SORT];
    question->options.columns = question->texts[QUESTION_COLUMNS];
    return question->texts[text] ? 0 : -ENOMEM;
}

/* 254 bytes: the longest pattern that a daemon takes. */
#define TEXT_MAX_BYTES 254

static int set_reason(struct question *question, const char *value, struct complaint *complaint)
{
    return strlen(value) <= TEXT_MAX_BYTES ? set_text(question, QUESTION_REASON, value)
                                           : complain(complaint, "reason: is too long");
}

static int set_sort(struct question *question, const char *value, struct complaint *complaint)
{
    return strlen(value) <= TEXT_MAX_BYTES ? set_text(question, QUESTION_SORT, value)
                                           : complain(complaint, "sort: is too long");
}

static int set_columns(struct question *question, const char *value, struct complaint *complaint)
{
    return strlen(value) <= TEXT_MAX_BYTES ? set_text(question, QUESTION_COLUMNS, value)
                                           : complain(complaint, "columns: is too long");
}

typedef int (*set_fn)(struct question *question, const char *value, struct complaint *complaint);

/* Those of lists come first; the others are one topic's. */
static const struct {
    const char *key;
    set_fn set;
    bool is_special;
} parameters[] = {
    {"top", set_top, false},          {"sort", set_sort, false},
    {"columns", set_columns, false},  {"reason", set_reason, false},
    {"pid", set_pid, false},          {"user", set_user, false},
    {"older-than", set_older, false}, {"larger-than", set_larger, false},
    {"after", set_after, true},       {"by", set_by, true},
    {"all", set_all, true},           {"counts", set_counts, true},
    {"since", set_since, true},       {"steps", set_steps, true},
};

static bool is_word_of(const char *words, const char *word)
{
    const size_t n_bytes = strlen(word);
    const char *at = words && n_bytes > 0 ? strstr(words, word) : NULL;
    return at && (at == words || at[-1] == ' ') && (at[n_bytes] == ' ' || at[n_bytes] == '\0');
}

int api_set(struct question *question, const char *key, const char *value,
            struct complaint *complaint)
{
    const struct topic *topic = question->topic;
    for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++) {
        const bool is_its_own =
            parameters[i].is_special ? is_word_of(topic->special, key) : topic->shape != NULL;
        if (strcmp(parameters[i].key, key) == 0 && is_its_own) {
            return parameters[i].set(question, value, complaint);
        }
    }
    return complain(complaint, "%s: has no parameter \"%.60s\"", topic->name, key);
}

/* "kmemctl blocks: --sort: there is no column ..." begins with "sort" here. */
static int take_sentence(const char *sentence, struct complaint *complaint)
{
    const char *option = strstr(sentence, ": --");
    (void)complain(complaint, "%s", option ? option + strlen(": --") : sentence);
    complaint->text[strcspn(complaint->text, "\n")] = '\0';
    return -EINVAL;
}

int api_check(const struct question *question, struct complaint *complaint)
{
    const struct topic *topic = question->topic;
    struct document document;
    if (!topic->shape) {
        return 0;
    }
    if (document_open(&document) < 0) {
        return -ENOMEM;
    }
    int r = listing_complain(document.file, topic->shape(&question->options), &question->options,
                             topic->name);
    if (document_close(&document) < 0) {
        return -ENOMEM;
    }
    if (r != 0) {
        r = take_sentence(document.text, complaint);
    }
    free(document.text);
    return r;
}
