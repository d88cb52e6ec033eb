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

/* What takes or gives back lies in the segment, as the daemon told it. */
static bool event_is_possible(const struct recording *recording, const struct event *event)
{
    const bool moves = event->kind == EVENT_TAKE || event->kind == EVENT_GIVE;
    return !moves || (event->num_bytes > 0 && event->num_bytes <= recording->segment_bytes &&
                      event->offset <= recording->segment_bytes - event->num_bytes);
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
    };
    if (!event_is_possible(recording, event)) {
        return -EINVAL;
    }
    event->reason = strdup(text_of(object, "r"));
    if (!event->reason) {
        return -ENOMEM;
    }
    recording->n_events++;
    recording->n_missed += event->n_missed;
    return 0;
}

/* 2^48: no segment is larger, and with it no sum of what follows is too large for its number. */
#define SEGMENT_MAX_BYTES (UINT64_C(1) << 48)

/* The first line. */
static int head_read(struct recording *recording, struct json_object *object)
{
    recording->segment_bytes = number_of(object, "segment_bytes");
    return number_of(object, "kmem_record") == RECORDING_VERSION && recording->segment_bytes > 0 &&
                   recording->segment_bytes <= SEGMENT_MAX_BYTES
               ? 0
               : -EINVAL;
}

/* A line. Return: 0, -EINVAL: it is none of these; -ENOMEM. */
static int line_add(struct recording *recording, const char *line, bool is_first)
{
    struct json_object *object = json_tokener_parse(line);
    int r = -EINVAL;
    if (object && json_object_is_type(object, json_type_object)) {
        if (is_first) {
            r = head_read(recording, object);
        } else if (*text_of(object, "k")) {
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

/* 4 KiB: `record` writes lines of less than 1 KiB; what has longer ones is none. */
#define LINE_MAX_BYTES 4096

/* Of a recorder that was killed, or whose disk is full, the last line may be cut. */
static int lines_read(struct recording *recording, FILE *file, size_t *ret_line, bool *ret_is_cut)
{
    char line[LINE_MAX_BYTES];
    int r = 0;
    *ret_line = 0;
    *ret_is_cut = false;
    while (r == 0 && fgets(line, sizeof(line), file)) {
        const bool is_whole = strchr(line, '\n') != NULL;
        (*ret_line)++;
        const bool is_last = !is_whole && feof(file);
        r = is_whole || is_last ? line_add(recording, line, *ret_line == 1) : -EINVAL;
        *ret_is_cut = r == -EINVAL && is_last && *ret_line > 1;
        r = *ret_is_cut ? 0 : r;
    }
    if (r == 0 && ferror(file)) {
        r = -errno;
    }
    return r == 0 && *ret_line == 0 ? -EINVAL : r;
}

static void complain(const char *command, const char *path, size_t line, int error)
{
    const struct escaped name = format_escaped(path);
    if (error == -EINVAL && line == 0) {
        (void)fprintf(stderr, "kmemctl %s: %s is empty: it is no record\n", command, name.text);
    } else if (error == -EINVAL) {
        (void)fprintf(stderr,
                      "kmemctl %s: %s, line %zu: that is no record of version %d, as \"kmemctl "
                      "record\" writes it\n",
                      command, name.text, line, RECORDING_VERSION);
    } else {
        (void)fprintf(stderr, "kmemctl %s: cannot read %s: %s\n", command, name.text,
                      strerror(-error));
    }
}

int recording_read(struct recording *recording, const char *path, const char *command)
{
    const struct escaped name = format_escaped(path);
    size_t line = 0;
    bool is_cut = false;
    FILE *file = fopen(path, "re");
    *recording = (struct recording){.n_events = 0};
    if (!file) {
        (void)fprintf(stderr, "kmemctl %s: cannot read %s: %s\n", command, name.text,
                      strerror(errno));
        return STATUS_ERROR;
    }
    int r = lines_read(recording, file, &line, &is_cut);
    r = r ? r : peak_find(recording);
    (void)fclose(file); /* it was read */
    if (r) {
        complain(command, path, line, r);
        recording_fini(recording);
        return STATUS_ERROR;
    }
    if (is_cut) {
        (void)fprintf(stderr,
                      "kmemctl %s: %s: line %zu, the last, is cut, as when the recorder is killed: "
                      "it is left out\n",
                      command, name.text, line);
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
