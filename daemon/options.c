/* SPDX-License-Identifier: MIT */
#include "daemon/options.h"

#include <argp.h>
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/text.h"

/* 256 MiB: a segment that any machine has room for, and most first tries fit in. */
#define DEFAULT_SEGMENT_BYTES (UINT64_C(256) << 20)

/* 16: a daemon that was started with 256 MiB can have 4 GiB. What it may have costs nothing until
   it has it, but address space; with more, clients whose address space is limited can not join. */
#define USUAL_GROWTH 16

/* 5 s: no step of the server takes a hundredth of that; clients wait six times as long. */
#define DEFAULT_WATCHDOG_MS 5000
/* 10 s: to leave, or to map the state and compare some numbers, takes a few ms; less might be short
   on a machine that swaps, and with more an upgrade that hangs would look like one that works. */
#define STEP_PATIENCE_MS 10000
/* An hour: more is as good as never. */
#define WATCHDOG_MAX_S 3600

void options_set_default(struct options *options)
{
    *options = (struct options){
        .name = "default",
        .segment_bytes = DEFAULT_SEGMENT_BYTES,
        .names_limit = SHARE_NAMES_USUAL,
        .watchdog_ms = DEFAULT_WATCHDOG_MS,
        .log_level = LOG_LEVEL_INFO,
    };
}

bool options_settle_size(struct options *options)
{
    const bool is_small = options->segment_bytes < SEGMENT_MAX_BYTES / USUAL_GROWTH;
    const bool is_reserved =
        options->hugepages == HUGEPAGES_2M || options->hugepages == HUGEPAGES_1G;
    options->asked_bytes = options->segment_bytes;
    options->is_usual_most = options->most_bytes == 0;
    if (options->is_usual_most && (options->lock || is_reserved)) {
        options->most_bytes = options->segment_bytes; /* each of its pages is taken at the start */
    } else if (options->is_usual_most) {
        options->most_bytes = is_small ? options->segment_bytes * USUAL_GROWTH : SEGMENT_MAX_BYTES;
    }
    return options->most_bytes >= options->segment_bytes;
}

/* More than there can be of either. */
#define PER_UID_MAX 1000000

enum {
    OPTION_COMMIT = 256,
    OPTION_GROUP,
    OPTION_READERS,
    OPTION_READER_GROUP,
    OPTION_NAMES,
    OPTION_QUOTA,
    OPTION_CLIENTS_PER_UID,
    OPTION_CONNECTIONS_PER_UID,
    OPTION_WATCHDOG,
    OPTION_LOG_LEVEL,
    OPTION_DEBUGGABLE,
    OPTION_COMPARE,
};

static_assert(SHARE_NAMES_MAX == 32768 && SHARE_NAMES_USUAL == 4096, "as --help says");

static const struct argp_option option_table[] = {
    {"name", 'n', "NAME", 0, "Name of the segment (default: default)", 0},
    {"size", 's', "SIZE", 0, "Size of the segment: 256MiB, 2G (default: 256MiB)", 0},
    {"socket", 'S', "PATH", 0,
     "Socket to listen on (default: NAME.sock in $XDG_RUNTIME_DIR/kmemd, or in /run/kmemd)", 0},
    {"commit", OPTION_COMMIT, "eager|lazy", 0,
     "Take the segment's memory from the system at the start, or when it is used "
     "(default: eager)",
     0},
    {"group", OPTION_GROUP, "GROUP", 0,
     "Members of this group, a name or a number, may join the segment, beside root and the "
     "daemon's own user",
     0},
    {"readers", OPTION_READERS, "any|none|walled", 0,
     "Who may join for reading only: all who may join, nobody, or those that the kernel keeps from "
     "writing: neither root, nor the daemon's user, nor any member's (default: any)",
     0},
    {"reader-group", OPTION_READER_GROUP, "GROUP", 0,
     "Members of this group, a name or a number, may join for reading only", 0},
    {"names", OPTION_NAMES, "N", 0,
     "How many names there may be for shared blocks, up to 32768 (default: 4096)", 0},
    {"quota", OPTION_QUOTA, "SIZE", 0,
     "What one client may have of the segment, leased pages included (default: all of it)", 0},
    {"clients-per-uid", OPTION_CLIENTS_PER_UID, "N", 0,
     "How many clients one user may have, root and the daemon's own user excepted (default: half "
     "of all there may be)",
     0},
    {"connections-per-uid", OPTION_CONNECTIONS_PER_UID, "N", 0,
     "How many connections that are no client's one user may have, root and the daemon's own user "
     "excepted (default: half of all there may be, at most 1024)",
     0},
    {"watchdog", OPTION_WATCHDOG, "SECONDS", 0,
     "Replace a server that has not answered for so long; 0: never (default: 5)", 0},
    {"log-level", OPTION_LOG_LEVEL, "LEVEL", 0, "error, warning, info or debug (default: info)", 0},
    {"debuggable", OPTION_DEBUGGABLE, NULL, 0,
     "Let debuggers of the daemon's own user attach, and have it leave core dumps", 0},
    {"compare", OPTION_COMPARE, "PID", 0,
     "Serve nothing, but say which of these options the daemon PID was not started with", 0},
    {NULL, 'h', NULL, OPTION_HIDDEN, NULL, 0}, /* beside argp's own -? and --help */
    {NULL, 0, NULL, 0, NULL, 0},
};

static void name_parse(struct argp_state *state, struct options *options, const char *text)
{
    const size_t n_bytes = strlen(text);
    bool valid = n_bytes >= 1 && n_bytes <= NAME_MAX_BYTES && isalnum((unsigned char)text[0]);
    for (size_t i = 0; i < n_bytes && valid; i++) {
        valid = isalnum((unsigned char)text[i]) || strchr("._-", text[i]);
    }
    if (!valid) {
        argp_error(
            state,
            "--name: \"%s\" is no name for a segment: use letters, digits, '.', '_' and '-', "
            "at most %d, a letter or digit first",
            text, NAME_MAX_BYTES);
    }
    (void)snprintf(options->name, sizeof(options->name), "%s", text); /* fits */
}

static void size_parse(struct argp_state *state, struct options *options, const char *text)
{
    uint64_t num_bytes;
    char lowest[TEXT_BYTES_MAX];
    char highest[TEXT_BYTES_MAX];
    (void)text_format_bytes(SEGMENT_MIN_BYTES, lowest, sizeof(lowest));
    (void)text_format_bytes(SEGMENT_MAX_BYTES, highest, sizeof(highest));
    if (text_parse_bytes(text, &num_bytes)) {
        argp_error(state, "--size: \"%s\" is no size: write 4096, 256MiB, 2G or 1.5GiB", text);
    } else if (num_bytes < SEGMENT_MIN_BYTES || num_bytes > SEGMENT_MAX_BYTES) {
        argp_error(state, "--size: a segment can not have %s: it has %s to %s", text, lowest,
                   highest);
    } else if (num_bytes % PAGE_BYTES != 0) {
        argp_error(state,
                   "--size: a segment can not have %s (%llu bytes): it has whole pages of %llu",
                   text, (unsigned long long)num_bytes, (unsigned long long)PAGE_BYTES);
    }
    options->segment_bytes = num_bytes;
}

static void quota_parse(struct argp_state *state, struct options *options, const char *text)
{
    if (text_parse_bytes(text, &options->quota_bytes) || options->quota_bytes == 0) {
        argp_error(state, "--quota: \"%s\" is no quota: write a size, as 16MiB", text);
    }
}

/* A limit on how many there may be. */
static void limit_parse(struct argp_state *state, const char *option, const char *text,
                        uint32_t most, uint32_t *ret_limit)
{
    char *end;
    const unsigned long limit = isdigit((unsigned char)text[0]) ? strtoul(text, &end, 10) : 0;
    if (limit == 0 || *end != '\0' || limit > most) {
        argp_error(state, "%s takes a number from 1 to %u, not \"%s\"", option, most, text);
        return;
    }
    *ret_limit = (uint32_t)limit;
}

static void watchdog_parse(struct argp_state *state, struct options *options, const char *text)
{
    char *end;
    const double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !(seconds >= 0 && seconds <= WATCHDOG_MAX_S)) {
        argp_error(state, "--watchdog takes seconds, from 0 (never) to %d, not \"%s\"",
                   WATCHDOG_MAX_S, text);
        return;
    }
    options->watchdog_ms = (uint64_t)(seconds * 1000);
}

static void socket_set(struct argp_state *state, struct options *options, const char *path)
{
    if (path[0] == '\0' || strlen(path) > SOCKET_PATH_MAX_BYTES) {
        argp_error(state,
                   "--socket: \"%s\" is no path for a socket: the kernel takes 1 to %d bytes", path,
                   SOCKET_PATH_MAX_BYTES);
    }
    (void)snprintf(options->socket_path, sizeof(options->socket_path), "%s", path); /* fits */
}

static void compare_parse(struct argp_state *state, struct options *options, const char *text)
{
    char *end;
    const long pid = strtol(text, &end, 10);
    if (*end != '\0' || pid <= 0 || pid > INT_MAX) {
        argp_error(state, "--compare takes the number of a process, not \"%s\"", text);
        return;
    }
    options->compare_pid = (pid_t)pid;
}

static void commit_parse(struct argp_state *state, struct options *options, const char *text)
{
    options->lazy = strcmp(text, "lazy") == 0;
    if (!options->lazy && strcmp(text, "eager") != 0) {
        argp_error(state, "--commit is eager or lazy, not \"%s\"", text);
    }
}

/* The number of a group that need not have a name, as in a container. */
static bool gid_parse(const char *text, gid_t *ret_gid)
{
    char *end;
    errno = 0;
    const unsigned long long number = strtoull(text, &end, 10);
    /* The last one means "leave it as it is" to chown(). */
    if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno || number >= (gid_t)-1) {
        return false;
    }
    *ret_gid = (gid_t)number;
    return true;
}

static void group_parse(struct argp_state *state, const char *option, const char *text,
                        bool *ret_has_group, gid_t *ret_group)
{
    const struct group *group = getgrnam(text);
    *ret_has_group = true;
    if (group) {
        *ret_group = group->gr_gid;
    } else if (!gid_parse(text, ret_group)) {
        argp_error(state, "%s: there is no group \"%s\"", option, text);
    }
}

static void readers_parse(struct argp_state *state, struct options *options, const char *text)
{
    options->no_readers = strcmp(text, "none") == 0;
    options->walled_readers = strcmp(text, "walled") == 0;
    if (!options->no_readers && !options->walled_readers && strcmp(text, "any") != 0) {
        argp_error(state, "--readers is any, none or walled, not \"%s\"", text);
    }
}

/* Where the socket is if nobody said. */
static void socket_default(struct argp_state *state, struct options *options)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char path[4096];
    if (runtime && runtime[0] == '/') {
        (void)snprintf(path, sizeof(path), "%s/kmemd/%s.sock", runtime, options->name); /* cut */
    } else if (geteuid() == 0) {
        (void)snprintf(path, sizeof(path), "/run/kmemd/%s.sock", options->name); /* fits */
    } else {
        argp_error(state, "where to listen? $XDG_RUNTIME_DIR is not set; use --socket PATH");
        return;
    }
    socket_set(state, options, path);
}

/* Who may join. */
static void access_parse(int key, struct argp_state *state, struct options *options,
                         const char *text)
{
    if (key == OPTION_GROUP) {
        group_parse(state, "--group", text, &options->has_group, &options->group);
    } else if (key == OPTION_READER_GROUP) {
        group_parse(state, "--reader-group", text, &options->has_reader_group,
                    &options->reader_group);
    } else {
        readers_parse(state, options, text);
    }
}

/* What has to fit together. */
static void options_end(struct argp_state *state, struct options *options)
{
    if (options->no_readers && options->has_reader_group) {
        argp_error(state, "--reader-group lets its members read, and --readers=none nobody: leave "
                          "one of them out");
    }
    if (options->socket_path[0] == '\0') {
        socket_default(state, options);
    }
}

static error_t option_parse(int key, char *text, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case 'n':
        name_parse(state, options, text);
        return 0;
    case 's':
        size_parse(state, options, text);
        return 0;
    case 'S':
        socket_set(state, options, text);
        return 0;
    case 'h':
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP); /* ends the program */
        return 0;
    case OPTION_COMMIT:
        commit_parse(state, options, text);
        return 0;
    case OPTION_GROUP:
    case OPTION_READER_GROUP:
    case OPTION_READERS:
        access_parse(key, state, options, text);
        return 0;
    case OPTION_QUOTA:
        quota_parse(state, options, text);
        return 0;
    case OPTION_CLIENTS_PER_UID:
        limit_parse(state, "--clients-per-uid", text, PER_UID_MAX, &options->clients_per_uid);
        return 0;
    case OPTION_CONNECTIONS_PER_UID:
        limit_parse(state, "--connections-per-uid", text, PER_UID_MAX,
                    &options->connections_per_uid);
        return 0;
    case OPTION_NAMES:
        limit_parse(state, "--names", text, SHARE_NAMES_MAX, &options->names_limit);
        return 0;
    case OPTION_WATCHDOG:
        watchdog_parse(state, options, text);
        return 0;
    case OPTION_COMPARE:
        compare_parse(state, options, text);
        return 0;
    case OPTION_LOG_LEVEL:
        if (log_level_parse(text, &options->log_level)) {
            argp_error(state, "--log-level is error, warning, info or debug, not \"%s\"", text);
        }
        return 0;
    case OPTION_DEBUGGABLE:
        options->debuggable = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "\"%s\" is no option", text);
        return 0;
    case ARGP_KEY_END:
        options_end(state, options);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void version_print(FILE *stream, struct argp_state *state)
{
    (void)state;
    (void)fprintf(stream, "kmemd %s (protocol %u.%u)\n", KMEM_VERSION,
                  PROTOCOL_MAJOR(PROTOCOL_VERSION), PROTOCOL_VERSION & 0xffff);
}

uint64_t options_ping_ms(const struct options *options)
{
    return options->watchdog_ms / 2;
}

/* Twice the watchdog's time if that is less: the program may have to be loaded first. */
uint64_t options_step_ms(const struct options *options)
{
    const uint64_t watched_ms = 2 * options->watchdog_ms;
    return watched_ms > 0 && watched_ms < STEP_PATIENCE_MS ? watched_ms : STEP_PATIENCE_MS;
}

bool options_adopt_size(struct options *options, uint64_t segment_bytes)
{
    if (segment_bytes < SEGMENT_MIN_BYTES || segment_bytes > SEGMENT_MAX_BYTES ||
        segment_bytes % PAGE_BYTES != 0) {
        return false;
    }
    if (segment_bytes != options->segment_bytes) {
        options->waiting_bytes = options->segment_bytes;
        options->segment_bytes = segment_bytes;
    }
    return true;
}

void options_parse(struct options *options, int argc, char **argv)
{
    static const struct argp parser = {
        .options = option_table,
        .parser = option_parse,
        .doc = "kmemd owns a segment of shared memory and serves blocks of it to other processes, "
               "with an owner and a reason for each.\v"
               "SIGTERM and SIGINT end it, SIGHUP upgrades it to the program on disk. Exit status: "
               "0 after SIGTERM, 64 for a wrong option, 71 if the system does not give what is "
               "needed, 73 if the socket can not be made or is another daemon's, 77 without "
               "permission, 78 if it can not go on with the segment that it was given. See "
               "kmemd(8).",
    };
    argp_err_exit_status = EXIT_USAGE;
    argp_program_version_hook = version_print;
    *options = (struct options){
        .name = "default",
        .segment_bytes = DEFAULT_SEGMENT_BYTES,
        .names_limit = SHARE_NAMES_USUAL,
        .watchdog_ms = DEFAULT_WATCHDOG_MS,
        .log_level = LOG_LEVEL_INFO,
    };
    const error_t error = argp_parse(&parser, argc, argv, 0, NULL, options);
    if (error) {
        /* Whatever is wrong with an option has ended the process already. */
        log_error("cannot read the options: %s", strerror(error));
        exit(EXIT_SYSTEM);
    }
}
