/* SPDX-License-Identifier: MIT */
/*
 * segments.c - every segment of this machine that the caller may see
 *
 * A segment is known by its daemon's socket, and sockets are where the library looks for one:
 * $KMEM_SOCKET, $XDG_RUNTIME_DIR/kmemd and /run/kmemd; and in the runtime directories of all users,
 * as far as the caller may enter them. Each is asked how it is. A socket that is reached by two
 * paths is one segment.
 */
#include "client/ctl/segments.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "client/ctl/command.h"
#include "client/ctl/figures.h"
#include "client/ctl/listing.h"
#include "client/ctl/target.h"

#define SYSTEM_DIRECTORY "/run/kmemd"
#define USERS_DIRECTORY "/run/user"
#define SUFFIX ".sock"
/* 2 s for a daemon that hangs, where the user has not said otherwise: the others are waiting. */
#define PATIENCE_MS "2000"

/* ------------------------------------------------------------------------------- the rows ---- */

static const char *state_text(const void *row)
{
    const struct segment_row *segment = row;
    switch (-segment->error) {
    case 0:
        return "running";
    case ECONNREFUSED:
    case ECONNRESET:
    case ENOENT:
        return "no daemon";
    case EACCES:
    case EPERM:
        return "not permitted";
    case ETIMEDOUT:
        return "no answer";
    default:
        return "not understood";
    }
}

/* Of a segment that does not answer there are no figures. */
static const char *unknown_text(const void *row)
{
    const struct segment_row *segment = row;
    return segment->error ? "-" : NULL;
}

#define AT(member) COLUMN_AT(struct segment_row, member)

static const struct column columns[] = {
    {"NAME", "name", COLUMN_TEXT, AT(name)},
    {"STATE", "state", COLUMN_WORD, .word = state_text, .drop = 1},
    {"SIZE", "segment_bytes", COLUMN_BYTES, AT(segment_bytes), .word = unknown_text,
     .filter = FILTER_SIZE, .drop = 3},
    {"USED", "used_bytes", COLUMN_BYTES, AT(used_bytes), .word = unknown_text, .drop = 2},
    {"FREE", "free_bytes", COLUMN_BYTES, AT(free_bytes), .word = unknown_text, .drop = 5},
    {"CLIENTS", "clients", COLUMN_COUNT, AT(clients), .word = unknown_text, .drop = 4},
    {"PID", "pid", COLUMN_PID, AT(pid), .word = unknown_text, .filter = FILTER_PID, .drop = 6},
    {"VERSION", "version", COLUMN_TEXT, AT(version), .drop = 8},
    {"SOCKET", "socket", COLUMN_TEXT, AT(socket), .drop = 7, .may_flow = true},
};

static const struct listing_shape shape = {
    .name = "segments",
    .nothing = "no segments",
    .nothing_chosen = "no segments of that kind",
    .columns = columns,
    .n_columns = sizeof(columns) / sizeof(columns[0]),
    .table = "NAME,SIZE,USED,CLIENTS,STATE,SOCKET",
    .wide = "NAME,SIZE,USED,FREE,CLIENTS,STATE,PID,VERSION,SOCKET",
    .row_bytes = sizeof(struct segment_row),
};

/* It asks all of them. */
bool segments_asks(const struct options *options)
{
    (void)options;
    return false;
}

const struct listing_shape *segments_shape(const struct options *options)
{
    (void)options;
    return &shape;
}

/* -------------------------------------------------------------------------------- looking ---- */

typedef int (*segment_fn)(const struct segment_row *segment, void *user);

struct search {
    const char *only_name; /* NULL: all */
    segment_fn each;       /* of each that is found it is asked; NULL: they are not asked, but */
    segments_found_fn found;
    void *user;
    struct stat *seen; /* the sockets that were found already */
    size_t n_seen;
};

/* Return: 1 if it was not seen before, 0, or -ENOMEM. */
static int see(struct search *search, const char *path)
{
    struct stat found;
    if (stat(path, &found) < 0) {
        return errno == EACCES; /* that there is one is known from its directory, or was said */
    }
    if (!S_ISSOCK(found.st_mode)) {
        return 0;
    }
    for (size_t i = 0; i < search->n_seen; i++) {
        if (search->seen[i].st_ino == found.st_ino && search->seen[i].st_dev == found.st_dev) {
            return 0;
        }
    }
    struct stat *grown = realloc(search->seen, (search->n_seen + 1) * sizeof(*grown));
    if (!grown) {
        return -ENOMEM;
    }
    search->seen = grown;
    search->seen[search->n_seen++] = found;
    return 1;
}

void segments_fill(struct segment_row *segment, const struct figures *figures)
{
    segment->version = figures->version;
    segment->pid = figures->pid;
    segment->segment_bytes = figures_get(figures, "segment_bytes");
    segment->used_bytes = figures_get(figures, "used_bytes");
    segment->free_bytes = figures_get(figures, "free_bytes");
    segment->clients = figures_get(figures, "clients");
}

/* Asks one daemon. Return: that of each(). */
static int ask(const struct search *search, const char *path, const char *name)
{
    struct segment_row segment = {.name = name, .socket = path, .version = ""};
    struct figures figures = {0};
    struct kmem_query *query = NULL;
    segment.error = kmem_query_open(path, &query);
    if (segment.error == 0) {
        segment.error = figures_init(&figures, query);
    }
    if (segment.error == 0) {
        segment.name = figures.segment_name;
        segments_fill(&segment, &figures);
    }
    kmem_query_close(query);
    const bool is_wanted = !search->only_name || strcmp(search->only_name, segment.name) == 0;
    int r = is_wanted ? search->each(&segment, search->user) : 0;
    figures_fini(&figures);
    return r;
}

/* The name of a segment whose socket that is, unless it says another itself. */
static int look_at(struct search *search, const char *path)
{
    char name[NAME_MAX + 1];
    const char *slash = strrchr(path, '/');
    const char *file = slash ? slash + 1 : path;
    const size_t n_bytes = strlen(file);
    const size_t n_suffix = strlen(SUFFIX);
    const bool has_suffix = n_bytes > n_suffix && strcmp(file + n_bytes - n_suffix, SUFFIX) == 0;
    (void)snprintf(name, sizeof(name), "%.*s", (int)(has_suffix ? n_bytes - n_suffix : n_bytes),
                   file);
    int r = see(search, path);
    if (r > 0) {
        r = search->each ? ask(search, path, name) : search->found(name, path, search->user);
    }
    return r;
}

static int look_into(struct search *search, const char *directory, bool tells_refusal)
{
    DIR *entries = opendir(directory);
    const struct dirent *entry;
    char path[PATH_MAX];
    int r = 0;
    if (!entries && errno == EACCES && tells_refusal && search->each) {
        (void)snprintf(path, sizeof(path), "%s/*" SUFFIX, directory);
        return search->each(
            &(struct segment_row){.name = "?", .socket = path, .version = "", .error = -EACCES},
            search->user);
    }
    while (r >= 0 && entries && (entry = readdir(entries)) != NULL) {
        const size_t n_bytes = strlen(entry->d_name);
        if (n_bytes <= strlen(SUFFIX) || entry->d_name[0] == '.' ||
            strcmp(entry->d_name + n_bytes - strlen(SUFFIX), SUFFIX) != 0) {
            continue;
        }
        if ((size_t)snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name) <
            sizeof(path)) {
            r = look_at(search, path);
        }
    }
    if (entries) {
        (void)closedir(entries);
    }
    return r;
}

static int look_into_users(struct search *search)
{
    DIR *entries = opendir(USERS_DIRECTORY);
    const struct dirent *entry;
    char directory[PATH_MAX];
    int r = 0;
    while (r >= 0 && entries && (entry = readdir(entries)) != NULL) {
        if (entry->d_name[0] != '.') {
            (void)snprintf(directory, sizeof(directory), USERS_DIRECTORY "/%s/kmemd",
                           entry->d_name);
            r = look_into(search, directory, false);
        }
    }
    if (entries) {
        (void)closedir(entries);
    }
    return r;
}

/* Calls each() with every segment. Return: 0, or a negative errno. */
static int search_all(struct search *search, const char *socket_path)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    const char *socket = socket_path ? socket_path : getenv("KMEM_SOCKET");
    (void)setenv("KMEM_TIMEOUT_MS", PATIENCE_MS, 0);
    int r = socket && *socket ? look_at(search, socket) : 0;
    if (r >= 0 && runtime && *runtime) {
        char directory[PATH_MAX];
        (void)snprintf(directory, sizeof(directory), "%s/kmemd", runtime);
        r = look_into(search, directory, true);
    }
    r = r < 0 ? r : look_into(search, SYSTEM_DIRECTORY, true);
    r = r < 0 ? r : look_into_users(search);
    free(search->seen);
    return r < 0 ? r : 0;
}

int segments_find(segments_found_fn found, void *user)
{
    struct search search = {.found = found, .user = user};
    return search_all(&search, NULL);
}

/* -------------------------------------------------------------------------------- showing ---- */

static int add_segment(const struct segment_row *segment, void *user)
{
    return listing_add(user, segment);
}

int segments_show(struct kmem_query *query, const struct options *options,
                  const struct screen *screen)
{
    struct listing listing;
    struct search search = {
        .only_name = options->segment_name, .each = add_segment, .user = &listing};
    (void)query;
    int r = listing_begin(&listing, &shape, options, screen);
    if (r < 0) {
        return r;
    }
    return listing_end(&listing, search_all(&search, options->socket_path));
}

struct hint {
    size_t n_printed;
};

static int print_name(const struct segment_row *segment, void *user)
{
    struct hint *hint = user;
    if (segment->error == 0) {
        (void)fprintf(stderr, "%s%s",
                      hint->n_printed++ ? ", " : "kmemctl: segments that answer you: ",
                      format_escaped(segment->name).text);
    }
    return 0;
}

static void print_hint(void)
{
    struct hint hint = {.n_printed = 0};
    struct search search = {.each = print_name, .user = &hint};
    (void)search_all(&search, NULL);
    if (hint.n_printed == 0) {
        (void)fputs("kmemctl: no segment of this machine answers you", stderr);
    }
    (void)fputc('\n', stderr);
}

static void tell_away(void *user)
{
    (void)user;
    (void)fflush(stdout);
    (void)fputs("kmemctl: the daemon's server has ended; waiting for the next one\n", stderr);
}

int segments_open(const struct options *options, struct kmem_query **ret_query)
{
    int r = target_open(options, ret_query);
    if (r == 0) {
        kmem_query_insist(*ret_query, tell_away, NULL);
    } else if (r < 0) {
        r = target_complain(r, kmem_last_error());
        if (!options->socket_path && r != STATUS_USAGE) {
            print_hint();
        }
    }
    return r;
}
