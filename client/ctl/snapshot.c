/* SPDX-License-Identifier: MIT */
#include "client/ctl/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "client/ctl/command.h"
#include "client/ctl/json.h"
#include "client/ctl/status.h"

void snapshot_fini(struct snapshot *snapshot)
{
    free(snapshot->segment_name);
    figures_fini(&snapshot->figures);
    groups_fini(&snapshot->groups);
    *snapshot = (struct snapshot){0};
}

/* ---------------------------------------------------------------------------------- taking ---- */

static uint64_t now_ms(void)
{
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int snapshot_take(struct snapshot *snapshot, struct kmem_query *query)
{
    *snapshot = (struct snapshot){.taken_ms = now_ms()};
    int r = figures_init(&snapshot->figures, query);
    r = r ? r : groups_ask(&snapshot->groups, query, KMEM_BY_REASON);
    if (r != 0) {
        return r;
    }
    snapshot->instance = snapshot->figures.instance;
    snapshot->segment_name = strdup(snapshot->figures.segment_name);
    return snapshot->segment_name ? 0 : -ENOMEM;
}

/* --------------------------------------------------------------------------------- writing ---- */

static void add_group(struct json_row *row, const struct group *group)
{
    struct json_row one;
    json_row_init(&one);
    json_row_text(&one, "reason", group->key);
    json_row_number(&one, "n_blocks", group->n_blocks);
    json_row_number(&one, "num_bytes", group->num_bytes);
    json_row_number(&one, "oldest_ms", group->oldest_ms);
    json_row_append(row, "ledger", &one);
}

static int write_document(const struct snapshot *snapshot, FILE *file)
{
    char instance[32];
    char taken_at[32] = "";
    const time_t seconds = (time_t)(snapshot->taken_ms / 1000);
    struct tm utc;
    struct json_row row;
    if (gmtime_r(&seconds, &utc)) {
        (void)strftime(taken_at, sizeof(taken_at), "%Y-%m-%dT%H:%M:%SZ", &utc);
    }
    (void)snprintf(instance, sizeof(instance), "%016" PRIx64, snapshot->instance);
    json_row_init(&row);
    json_row_number(&row, "kmem_snapshot", SNAPSHOT_VERSION);
    json_row_text(&row, "segment_name", snapshot->segment_name);
    json_row_text(&row, "instance", instance); /* 64 bits: too many for some readers of JSON */
    json_row_text(&row, "version", snapshot->figures.version);
    json_row_number(&row, "pid", snapshot->figures.pid);
    json_row_text(&row, "taken_at", taken_at);
    json_row_number(&row, "taken_ms", snapshot->taken_ms);
    figures_json(&snapshot->figures, &row);
    json_row_list(&row, "ledger");
    for (size_t i = 0; i < snapshot->groups.n_groups; i++) {
        add_group(&row, &snapshot->groups.groups[i]);
    }
    int r = json_row_print(&row, file);
    if (r == 0 && (fflush(file) != 0 || ferror(file))) {
        r = -errno;
    }
    return r;
}

/* Beside the file, so that a snapshot is there whole, or the one before it is. */
static int write_beside(const struct snapshot *snapshot, const char *path)
{
    char beside[PATH_MAX];
    const int n_bytes = snprintf(beside, sizeof(beside), "%s.XXXXXX", path);
    if (n_bytes < 0 || (size_t)n_bytes >= sizeof(beside)) {
        return -ENAMETOOLONG;
    }
    const int fd = mkostemp(beside, O_CLOEXEC);
    const mode_t mask = umask(0);
    (void)umask(mask);
    FILE *file = fd < 0 || fchmod(fd, 0666 & ~mask) < 0 ? NULL : fdopen(fd, "w");
    int r = file ? write_document(snapshot, file) : -errno;
    if (file && fclose(file) != 0 && r == 0) {
        r = -errno;
    } else if (!file && fd >= 0) {
        (void)close(fd);
    }
    if (r == 0 && rename(beside, path) < 0) {
        r = -errno;
    }
    if (r < 0 && fd >= 0) {
        (void)unlink(beside);
    }
    return r;
}

/* A device or a pipe is written to, and not replaced. */
int snapshot_write(const struct snapshot *snapshot, const char *path)
{
    struct stat there;
    if (strcmp(path, "-") == 0) {
        return write_document(snapshot, stdout);
    }
    if (stat(path, &there) < 0 || S_ISREG(there.st_mode)) {
        return write_beside(snapshot, path);
    }
    FILE *file = fopen(path, "we");
    int r = file ? write_document(snapshot, file) : -errno;
    if (file && fclose(file) != 0 && r == 0) {
        r = -errno;
    }
    return r;
}

/* --------------------------------------------------------------------------------- reading ---- */

static int is_no_snapshot(char *ret_why, const char *why)
{
    (void)snprintf(ret_why, SNAPSHOT_WHY_BYTES, "it is no snapshot: %s", why);
    return -EINVAL;
}

static struct json_object *member(const struct json_object *object, const char *key,
                                  enum json_type type)
{
    struct json_object *found = NULL;
    const bool is_there = json_object_object_get_ex(object, key, &found);
    return is_there && json_object_is_type(found, type) ? found : NULL;
}

/* 2^44: 16 times the largest segment, and what 65,534 reasons of it add up to is a number still. */
#define FIGURE_MAX (INT64_C(1) << 44)

static bool is_figure(const struct json_object *number)
{
    const int64_t value = json_object_get_int64(number);
    return value >= 0 && value <= FIGURE_MAX;
}

static int read_group(struct snapshot *snapshot, const struct json_object *said, char *ret_why)
{
    const struct json_object *reason = member(said, "reason", json_type_string);
    const struct json_object *n_blocks = member(said, "n_blocks", json_type_int);
    const struct json_object *num_bytes = member(said, "num_bytes", json_type_int);
    const struct json_object *oldest_ms = member(said, "oldest_ms", json_type_int);
    if (!reason || !n_blocks || !num_bytes || !oldest_ms) {
        return is_no_snapshot(ret_why, "a row of its ledger is not complete");
    }
    if (!is_figure(n_blocks) || !is_figure(num_bytes)) {
        return is_no_snapshot(ret_why, "a row of its ledger has more than any segment");
    }
    const struct kmem_ledger_row row = {
        .key = json_object_get_string((struct json_object *)(uintptr_t)reason),
        .n_blocks = json_object_get_uint64(n_blocks),
        .num_bytes = json_object_get_uint64(num_bytes),
        .oldest_ms = json_object_get_uint64(oldest_ms),
    };
    return groups_add(&row, &snapshot->groups);
}

static int read_head(struct snapshot *snapshot, const struct json_object *document, char *ret_why)
{
    const struct json_object *version = member(document, "kmem_snapshot", json_type_int);
    const struct json_object *name = member(document, "segment_name", json_type_string);
    const struct json_object *instance = member(document, "instance", json_type_string);
    const struct json_object *taken_ms = member(document, "taken_ms", json_type_int);
    if (!version) {
        return is_no_snapshot(ret_why, "\"kmemctl snapshot FILE\" writes one");
    }
    if (json_object_get_int64(version) != SNAPSHOT_VERSION) {
        (void)snprintf(ret_why, SNAPSHOT_WHY_BYTES,
                       "it is a snapshot of version %" PRId64
                       ", and this kmemctl reads version %d; use the kmemctl that wrote it",
                       json_object_get_int64(version), SNAPSHOT_VERSION);
        return -EINVAL;
    }
    if (!name || !instance || !taken_ms) {
        return is_no_snapshot(ret_why, "it does not say of which segment, or when it was taken");
    }
    snapshot->taken_ms = json_object_get_uint64(taken_ms);
    snapshot->instance =
        strtoull(json_object_get_string((struct json_object *)(uintptr_t)instance), NULL, 16);
    snapshot->segment_name = strdup(json_object_get_string((struct json_object *)(uintptr_t)name));
    return snapshot->segment_name ? 0 : -ENOMEM;
}

static int read_document(struct snapshot *snapshot, const struct json_object *document,
                         char *ret_why)
{
    int r = read_head(snapshot, document, ret_why);
    const struct json_object *ledger = member(document, "ledger", json_type_array);
    if (r == 0 && !ledger) {
        r = is_no_snapshot(ret_why, "it has no ledger");
    }
    const size_t n_rows = r == 0 ? json_object_array_length(ledger) : 0;
    for (size_t i = 0; r == 0 && i < n_rows; i++) {
        r = read_group(snapshot, json_object_array_get_idx(ledger, i), ret_why);
    }
    if (r == 0) {
        groups_join(&snapshot->groups);
    }
    return r;
}

/* 256 MiB: of 65,534 reasons of a hundred processes each that is one; nothing else is that long. */
#define FILE_MAX_BYTES (INT64_C(256) << 20)

int snapshot_read(struct snapshot *snapshot, const char *path, char *ret_why)
{
    struct stat there;
    *snapshot = (struct snapshot){0};
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &there) < 0) {
        const int error = errno;
        (void)snprintf(ret_why, SNAPSHOT_WHY_BYTES, "it can not be read: %s", strerror(error));
        if (fd >= 0) {
            (void)close(fd);
        }
        return -error;
    }
    int r = 0;
    struct json_object *document = NULL;
    if (!S_ISREG(there.st_mode) || there.st_size > FILE_MAX_BYTES) {
        r = is_no_snapshot(ret_why, "it is no regular file, or larger than any snapshot");
    } else {
        document = json_object_from_fd(fd);
        r = document && json_object_is_type(document, json_type_object)
                ? read_document(snapshot, document, ret_why)
                : is_no_snapshot(ret_why, "it is no JSON document");
    }
    if (r == -ENOMEM) {
        (void)snprintf(ret_why, SNAPSHOT_WHY_BYTES, "there is no memory for it");
    }
    json_object_put(document);
    (void)close(fd);
    return r;
}

/* ----------------------------------------------------------------------------- the command ---- */

static void tell(const struct snapshot *snapshot, const char *path, const struct screen *screen)
{
    const struct group total = groups_total(&snapshot->groups);
    if (strcmp(path, "-") == 0) {
        return;
    }
    (void)fprintf(screen->file, "segment \"%s\": %s %s, %s in %s %s, written to %s\n",
                  format_escaped(snapshot->segment_name).text,
                  format_count(snapshot->groups.n_groups).text,
                  snapshot->groups.n_groups == 1 ? "reason" : "reasons",
                  format_bytes(total.num_bytes, false).text, format_count(total.n_blocks).text,
                  total.n_blocks == 1 ? "block" : "blocks", format_escaped(path).text);
}

int snapshot_show(struct kmem_query *query, const struct options *options,
                  const struct screen *screen)
{
    const char *path = options->arguments[0];
    struct snapshot snapshot;
    int r = snapshot_take(&snapshot, query);
    if (r == 0) {
        r = snapshot_write(&snapshot, path);
        if (r < 0) {
            (void)fprintf(stderr, "kmemctl snapshot: cannot write %s: %s\n",
                          format_escaped(path).text, strerror(-r));
            r = STATUS_ERROR;
        } else if (options->format == FORMAT_TABLE || options->format == FORMAT_WIDE) {
            tell(&snapshot, path, screen);
        }
    }
    snapshot_fini(&snapshot);
    return r;
}
