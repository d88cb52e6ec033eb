/* SPDX-License-Identifier: MIT */
#include "client/ctl/recording.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "client/ctl/format.h"
#include "client/ctl/status.h"
#include "client/ctl/taken.h"

static uint64_t number_of(struct json_object *object, const char *key)
{
    struct json_object *value;
    return json_object_object_get_ex(object, key, &value) ? json_object_get_uint64(value) : 0;
}

static const char *text_of(struct json_object *object, const char *key)
{
    struct json_object *value;
    const char *text =
        json_object_object_get_ex(object, key, &value) ? json_object_get_string(value) : NULL;
    return text ? text : "";
}

static enum event_kind kind_of(const char *word)
{
    static const struct {
        const char *word;
        enum event_kind kind;
    } kinds[] = {{"allocated", EVENT_TAKE}, {"leased", EVENT_TAKE}, {"released", EVENT_GIVE},
                 {"returned", EVENT_GIVE},  {"died", EVENT_END},    {"left", EVENT_END},
                 {"missed", EVENT_MISSED}};
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(word, kinds[i].word) == 0) {
            return kinds[i].kind;
        }
    }
    return EVENT_OTHER;
}

static int event_add(struct recording *recording, struct json_object *object)
{
    const char *kind = text_of(object, "k");
    if (recording->n_events == recording->capacity) {
        const size_t capacity = recording->capacity ? 2 * recording->capacity : 1024;
        struct event *larger = realloc(recording->events, capacity * sizeof(*larger));
        if (!larger) {
            return -ENOMEM;
        }
        recording->events = larger;
        recording->capacity = capacity;
    }
    struct event *event = &recording->events[recording->n_events];
    *event = (struct event){
        .at_ms = number_of(object, "t"),
        .kind = kind_of(kind),
        .is_lease = strcmp(kind, "leased") == 0 || strcmp(kind, "returned") == 0,
        .pid = (uint32_t)number_of(object, "p"),
        .offset = number_of(object, "o"),
        .num_bytes = number_of(object, "n"),
        .n_missed = number_of(object, "m"),
        .reason = strdup(text_of(object, "r")),
    };
    if (!event->reason) {
        return -ENOMEM;
    }
    recording->n_events++;
    recording->n_missed += event->n_missed;
    return 0;
}

/* A line. Return: 0, -EINVAL: it is none of these; -ENOMEM. */
static int line_add(struct recording *recording, const char *line, bool is_first)
{
    struct json_object *object = json_tokener_parse(line);
    int r = -EINVAL;
    if (object && json_object_is_type(object, json_type_object)) {
        const bool is_good = !is_first || number_of(object, "kmem_record") == RECORDING_VERSION;
        if (is_first && is_good) {
            recording->segment_bytes = number_of(object, "segment_bytes");
            r = 0;
        } else if (!is_first && *text_of(object, "k")) {
            r = event_add(recording, object);
        }
    }
    (void)json_object_put(object);
    return r;
}

/* The most that was taken at once. */
static int peak_find(struct recording *recording)
{
    struct taken taken;
    int r = taken_init(&taken);
    for (size_t i = 0; r == 0 && i < recording->n_events; i++) {
        const struct event *event = &recording->events[i];
        r = taken_apply(&taken, event);
        if (taken.num_bytes > recording->peak_bytes) {
            recording->peak_bytes = taken.num_bytes;
            recording->peak_ms = event->at_ms;
        }
        if (event->kind == EVENT_TAKE && event->num_bytes > recording->largest_bytes) {
            recording->largest_bytes = event->num_bytes;
        }
    }
    taken_fini(&taken);
    return r;
}

static int lines_read(struct recording *recording, FILE *file, size_t *ret_line)
{
    char *line = NULL;
    size_t capacity = 0;
    int r = 0;
    *ret_line = 0;
    while (r == 0 && getline(&line, &capacity, file) > 0) {
        (*ret_line)++;
        r = line_add(recording, line, *ret_line == 1);
    }
    free(line);
    return r == 0 && *ret_line == 0 ? -EINVAL : r;
}

int recording_read(struct recording *recording, const char *path, const char *command)
{
    const struct escaped name = format_escaped(path);
    size_t line = 0;
    FILE *file = fopen(path, "re");
    *recording = (struct recording){.n_events = 0};
    if (!file) {
        (void)fprintf(stderr, "kmemctl %s: cannot read %s: %s\n", command, name.text,
                      strerror(errno));
        return STATUS_ERROR;
    }
    int r = lines_read(recording, file, &line);
    r = r ? r : peak_find(recording);
    (void)fclose(file); /* it was read */
    if (r == -EINVAL) {
        (void)fprintf(stderr,
                      "kmemctl %s: %s, line %zu: that is no record of version %d, as \"kmemctl "
                      "record\" writes it\n",
                      command, name.text, line, RECORDING_VERSION);
    } else if (r) {
        (void)fprintf(stderr, "kmemctl %s: %s: %s\n", command, name.text, strerror(-r));
    }
    if (r) {
        recording_fini(recording);
        return STATUS_ERROR;
    }
    return STATUS_OK;
}

void recording_fini(struct recording *recording)
{
    for (size_t i = 0; i < recording->n_events; i++) {
        free(recording->events[i].reason);
    }
    free(recording->events);
    recording->events = NULL;
    recording->n_events = 0;
}
