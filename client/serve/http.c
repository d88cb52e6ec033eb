/* SPDX-License-Identifier: MIT */
/*
 * http.c - paths in, replies out
 *
 *      /              the page
 *      /metrics       all segments, for Prometheus
 *      /api/v1/TOPIC  one segment: what `kmemctl TOPIC --json` prints
 *
 * libmicrohttpd parses; each connection has a thread, so that one that waits for a daemon, or for a
 * slow reader, keeps no other waiting.
 */
#include "client/serve/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/ctl/command.h"
#include "client/ctl/document.h"
#include "client/ctl/listing.h"
#include "client/ctl/segments.h"
#include "client/serve/address.h"
#include "client/serve/api.h"
#include "client/serve/connections.h"
#include "client/serve/metrics.h"
#include "client/serve/reply.h"

#define API "/api/v1/"
/* 16 KiB: a request's headers; a browser's are 1 KiB. */
#define REQUEST_MAX_BYTES 16384
/* 10 s without a byte: the network's trouble, not ours. */
#define SILENCE_MAX_S 10

struct http {
    struct MHD_Daemon *daemon;
    struct sources *sources;
    const char *const *names;
    struct connections connections;
};

/* -------------------------------------------------------------------- all segments at once ---- */

struct look {
    size_t n_sources;
    struct source_wait waits[SOURCES_MAX];
    struct answer *answers[SOURCES_MAX]; /* NULL: none in time */
};

/* The segments are asked at the same time; all of them together have a second. */
static void look_begin(struct look *look, struct sources *sources)
{
    const uint64_t now_ms = source_now_ms();
    struct question question;
    api_begin(api_sample(), &question);
    look->n_sources = sources_count(sources);
    for (size_t i = 0; i < look->n_sources; i++) {
        source_begin(sources_get(sources, i), &question, now_ms, &look->waits[i]);
    }
    for (size_t i = 0; i < look->n_sources; i++) {
        look->answers[i] = source_finish(&look->waits[i], now_ms + SOURCE_FRESH_MS);
    }
    question_fini(&question);
}

static void look_end(struct look *look)
{
    for (size_t i = 0; i < look->n_sources; i++) {
        answer_unref(look->answers[i]);
    }
}

static void write_metrics(FILE *file, enum exposition_format format, struct sources *sources)
{
    const struct exposition exposition = {.file = file, .format = format};
    struct metrics_segment segments[SOURCES_MAX];
    struct look look;
    look_begin(&look, sources);
    const uint64_t now_ms = source_now_ms();
    for (size_t i = 0; i < look.n_sources; i++) {
        const struct answer *answer = look.answers[i];
        segments[i] = (struct metrics_segment){
            .label = sources_label(sources, i),
            .sample = answer && answer->error == 0 ? &answer->sample : NULL,
            .age_ms = answer ? now_ms - answer->began_ms : 0,
            .took_ms = answer ? answer->took_ms : SOURCE_FRESH_MS,
        };
    }
    metrics_write(&exposition, segments, look.n_sources);
    look_end(&look);
}

static int write_segments(FILE *file, struct sources *sources)
{
    const struct options options = {.format = FORMAT_JSON};
    const struct screen screen = {.file = file, .notes = stderr, .unicode = true};
    struct listing listing;
    struct look look;
    int r = listing_begin(&listing, segments_shape(&options), &options, &screen);
    if (r < 0) {
        return r;
    }
    look_begin(&look, sources);
    for (size_t i = 0; r >= 0 && i < look.n_sources; i++) {
        const struct answer *answer = look.answers[i];
        struct segment_row row = {
            .name = sources_label(sources, i),
            .socket = source_socket(sources_get(sources, i)),
            .version = "",
            .error = answer ? answer->error : -ETIMEDOUT,
        };
        if (row.error == 0) {
            segments_fill(&row, &answer->sample.figures);
        }
        r = listing_add(&listing, &row);
    }
    r = listing_end(&listing, r < 0 ? r : 0);
    look_end(&look);
    return r;
}

static bool wants_openmetrics(struct MHD_Connection *connection)
{
    const char *accept =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
    return accept && strstr(accept, "application/openmetrics-text");
}

static enum MHD_Result reply_metrics(const struct http *http, struct MHD_Connection *connection)
{
    const bool is_open = wants_openmetrics(connection);
    struct document document;
    if (document_open(&document) < 0) {
        return MHD_NO;
    }
    write_metrics(document.file, is_open ? EXPOSITION_OPENMETRICS : EXPOSITION_PROMETHEUS,
                  http->sources);
    if (document_close(&document) < 0) {
        return MHD_NO;
    }
    return reply_give(connection, MHD_HTTP_OK,
                      is_open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                              : "text/plain; version=0.0.4; charset=utf-8",
                      document.text, document.n_bytes);
}

static enum MHD_Result reply_segments(const struct http *http, struct MHD_Connection *connection)
{
    struct document document;
    if (document_open(&document) < 0) {
        return MHD_NO;
    }
    const int r = write_segments(document.file, http->sources);
    if (document_close(&document) < 0 || r < 0) {
        free(document.text);
        return MHD_NO;
    }
    return reply_give(connection, MHD_HTTP_OK, REPLY_JSON, document.text, document.n_bytes);
}

/* ----------------------------------------------------------------------------- one segment ---- */

/* What is being read from a request. */
struct reading {
    struct question question;
    const char *segment; /* NULL: the first one */
    struct complaint complaint;
    int r;
};

static enum MHD_Result read_parameter(void *user, enum MHD_ValueKind kind, const char *key,
                                      const char *value)
{
    struct reading *reading = user;
    (void)kind;
    if (strcmp(key, "segment") == 0) {
        reading->segment = value ? value : "";
    } else {
        reading->r = api_set(&reading->question, key, value ? value : "", &reading->complaint);
    }
    return reading->r == 0 ? MHD_YES : MHD_NO;
}

static enum MHD_Result reply_failure(struct MHD_Connection *connection, const char *label,
                                     const struct answer *answer)
{
    char sentence[512];
    if (answer && answer->error > 0) {
        return reply_error(connection, MHD_HTTP_BAD_REQUEST, "the question can not be meant");
    }
    (void)snprintf(sentence, sizeof(sentence), "segment \"%.256s\": %s", label,
                   answer ? strerror(-answer->error) : "its daemon did not answer in time");
    return reply_error(connection, MHD_HTTP_SERVICE_UNAVAILABLE, sentence);
}

static enum MHD_Result reply_question(const struct http *http, struct MHD_Connection *connection,
                                      const struct question *question, size_t idx)
{
    const uint64_t now_ms = source_now_ms();
    struct source_wait wait;
    source_begin(sources_get(http->sources, idx), question, now_ms, &wait);
    struct answer *answer = source_finish(&wait, now_ms + SOURCE_FRESH_MS);
    const enum MHD_Result r =
        answer && answer->error == 0
            ? reply_answer(connection, answer)
            : reply_failure(connection, sources_label(http->sources, idx), answer);
    answer_unref(answer);
    return r;
}

static enum MHD_Result reply_topic(const struct http *http, struct MHD_Connection *connection,
                                   const struct topic *topic)
{
    struct reading reading = {.segment = NULL};
    enum MHD_Result r;
    api_begin(topic, &reading.question);
    (void)MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, read_parameter, &reading);
    if (reading.r == 0) {
        reading.r = api_check(&reading.question, &reading.complaint);
    }
    const size_t n_sources = sources_count(http->sources);
    const size_t idx = reading.segment ? sources_find(http->sources, reading.segment) : 0;
    if (reading.r != 0) {
        r = reply_error(connection, MHD_HTTP_BAD_REQUEST,
                        reading.r == -EINVAL ? reading.complaint.text : strerror(-reading.r));
    } else if (idx >= n_sources) {
        r = reply_error(connection, MHD_HTTP_NOT_FOUND, "there is no such segment here");
    } else {
        r = reply_question(http, connection, &reading.question, idx);
    }
    question_fini(&reading.question);
    return r;
}

/* ---------------------------------------------------------------------------------- routes ---- */

static enum MHD_Result route(const struct http *http, struct MHD_Connection *connection,
                             const char *path)
{
    const bool is_api = strncmp(path, API, strlen(API)) == 0;
    const struct topic *topic = is_api ? api_topic(path + strlen(API)) : NULL;
    if (topic) {
        return reply_topic(http, connection, topic);
    }
    if (strcmp(path, API "segments") == 0) {
        return reply_segments(http, connection);
    }
    if (strcmp(path, "/metrics") == 0) {
        return reply_metrics(http, connection);
    }
    if (strcmp(path, "/") == 0) {
        return reply_page(connection);
    }
    return reply_error(connection, MHD_HTTP_NOT_FOUND,
                       "there is nothing here; /, /metrics and " API "... are what there is");
}

/* A request without a name is from no browser. */
static bool may_be_for_us(const struct http *http, struct MHD_Connection *connection)
{
    const char *host =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
    return !host || address_may_mean(host, http->names);
}

/* NOLINTBEGIN(readability-non-const-parameter): the type is libmicrohttpd's */
static enum MHD_Result handle(void *user, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_bytes, void **state)
/* NOLINTEND(readability-non-const-parameter) */
{
    const struct http *http = user;
    (void)version;
    (void)upload;
    (void)upload_bytes;
    (void)state;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0) {
        return reply_error(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD are served");
    }
    if (!may_be_for_us(http, connection)) {
        return reply_error(connection, MHD_HTTP_MISDIRECTED_REQUEST,
                           "this server does not have that name; --host NAME gives it one");
    }
    return route(http, connection, path);
}

/* -------------------------------------------------------------------------------- its life ---- */

static void note_connection(void *user, struct MHD_Connection *connection, void **state,
                            enum MHD_ConnectionNotificationCode code)
{
    struct http *http = user;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    (void)state;
    if (info && code == MHD_CONNECTION_NOTIFY_STARTED) {
        connections_add(&http->connections, info->connect_fd, source_now_ms());
    } else if (info) {
        connections_remove(&http->connections, info->connect_fd);
    }
}

int http_start(int fd, struct sources *sources, const char *const *names, struct http **ret_http)
{
    struct http *http = calloc(1, sizeof(*http));
    if (!http) {
        (void)close(fd);
        return -ENOMEM;
    }
    http->sources = sources;
    http->names = names;
    connections_init(&http->connections);
    http->daemon = MHD_start_daemon(
        MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
            MHD_USE_ITC,
        0, NULL, NULL, handle, http, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)SILENCE_MAX_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)REQUEST_MAX_BYTES, MHD_OPTION_NOTIFY_CONNECTION,
        note_connection, http, MHD_OPTION_END);
    if (!http->daemon) {
        const int error = errno ? errno : ENOMEM;
        (void)close(fd);
        connections_fini(&http->connections);
        free(http);
        return -error;
    }
    *ret_http = http;
    return 0;
}

void http_expire(struct http *http)
{
    connections_expire(&http->connections, source_now_ms());
}

struct http *http_stop(struct http *http)
{
    if (http) {
        MHD_stop_daemon(http->daemon);
        connections_fini(&http->connections);
        free(http);
    }
    return NULL;
}
