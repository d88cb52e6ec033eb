/* SPDX-License-Identifier: MIT */
/*
 * kmemctl-serve: what segments are used for, for Prometheus and for browsers.
 *
 * `kmemctl serve` becomes this program, which is one of its own so that kmemctl itself needs no
 * HTTP. It is an ordinary client of <kmem/query.h>: it maps nothing, and what it may see is what
 * its user may see. All that connect to it see the same: so it listens where this machine alone
 * reaches it, unless it is told otherwise.
 */
#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "client/ctl/signals.h"
#include "client/ctl/status.h"
#include "client/serve/address.h"
#include "client/serve/http.h"
#include "client/serve/sources.h"

#define LISTEN_USUAL "127.0.0.1:9464"
/* 20: what a person looks at; 200 series for each of 64 segments are some 40,000. */
#define REASONS_USUAL 20
#define REASONS_MAX 200
/* 5 s: for a daemon that hangs. Those that ask wait for a second, whatever this is. */
#define PATIENCE_MS "5000"
/* The first descriptor that a service manager passes on: sd_listen_fds(3). */
#define FIRST_PASSED_FD 3

enum key {
    KEY_LISTEN = 'l',
    KEY_SOCKET = 's',
    KEY_SEGMENT = 'n',
    KEY_HOST = 0x100,
    KEY_REMOTE,
    KEY_REASONS,
    KEY_HELP = 'h',
};

struct serve {
    const char *listen;
    struct address address;
    bool allows_remote;
    size_t n_reasons;
    size_t n_hosts;
    const char *hosts[SOURCES_MAX + 1]; /* NULL at the end */
    size_t n_segments;
    struct {
        const char *name; /* NULL: it is a socket */
        const char *socket;
    } segments[SOURCES_MAX];
};

static const struct argp_option serve_options[] = {
    {"listen", KEY_LISTEN, "HOST:PORT", 0, "Listen there: " LISTEN_USUAL " if not given", 0},
    {"segment", KEY_SEGMENT, "NAME", 0,
     "Serve the segment NAME; may be given again. Without: all that you may see", 0},
    {"socket", KEY_SOCKET, "PATH", 0, "Serve the segment of that daemon; may be given again", 0},
    {"reasons", KEY_REASONS, "N", 0,
     "Have metrics of the N largest reasons, 20 if not given; the rest is \"other\"", 0},
    {"allow-remote", KEY_REMOTE, NULL, 0,
     "Listen where other machines reach it: all of them can read what it serves", 0},
    {"host", KEY_HOST, "NAME", 0,
     "Answer requests for that name of this machine; may be given again", 0},
    {NULL, KEY_HELP, NULL, OPTION_HIDDEN, NULL, 0},
    {0},
};

/* ---------------------------------------------------------------------------- command line ---- */

static size_t reasons_or_exit(const struct argp_state *state, const char *argument)
{
    char *end;
    const long number = strtol(argument, &end, 10);
    if (end == argument || *end || number < 1 || number > REASONS_MAX) {
        argp_error(state, "--reasons takes a number from 1 to %d, not \"%s\"", REASONS_MAX,
                   argument);
    }
    return (size_t)number;
}

static void add_segment(const struct argp_state *state, struct serve *serve, const char *name,
                        const char *socket)
{
    if (serve->n_segments == SOURCES_MAX) {
        argp_error(state, "%s: no more than %d segments are served",
                   name ? "--segment" : "--socket", SOURCES_MAX);
    } else if (name && (!*name || strchr(name, '/'))) {
        argp_error(state, "--segment takes the name of a segment, not \"%s\"", name);
    } else if (socket && !*socket) {
        argp_error(state, "--socket takes a path; this one is empty");
    }
    serve->segments[serve->n_segments].name = name;
    serve->segments[serve->n_segments++].socket = socket;
}

static void add_host(const struct argp_state *state, struct serve *serve, const char *name)
{
    if (serve->n_hosts == SOURCES_MAX || !*name) {
        argp_error(state, "--host takes a name, and up to %d of them", SOURCES_MAX);
    }
    serve->hosts[serve->n_hosts++] = name;
}

static void check_address_or_exit(const struct argp_state *state, struct serve *serve)
{
    if (address_parse(serve->listen, &serve->address) < 0) {
        argp_error(state,
                   "--listen takes an address and a port, as " LISTEN_USUAL
                   " or [::1]:9464; not \"%s\"",
                   serve->listen);
    } else if (!address_is_loopback(&serve->address) && !serve->allows_remote) {
        argp_error(state,
                   "--listen %s: other machines reach that, and could read the reasons and "
                   "commands of all clients; say --allow-remote if they may",
                   serve->listen);
    }
}

static error_t serve_key(int key, char *argument, struct argp_state *state)
{
    struct serve *serve = state->input;
    switch (key) {
    case KEY_LISTEN:
        serve->listen = argument;
        return 0;
    case KEY_SEGMENT:
        add_segment(state, serve, argument, NULL);
        return 0;
    case KEY_SOCKET:
        add_segment(state, serve, NULL, argument);
        return 0;
    case KEY_HOST:
        add_host(state, serve, argument);
        return 0;
    case KEY_REMOTE:
        serve->allows_remote = true;
        return 0;
    case KEY_REASONS:
        serve->n_reasons = reasons_or_exit(state, argument);
        return 0;
    case KEY_HELP:
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP); /* ends the program */
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "what is \"%s\"? This command takes options only", argument);
        return 0;
    case ARGP_KEY_END:
        check_address_or_exit(state, serve);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* -------------------------------------------------------------------------------- segments ---- */

/* Where the library looks for it: <kmem/kmem.h>. */
static void socket_of(const char *name, char path[static PATH_MAX])
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (runtime && *runtime &&
        snprintf(path, PATH_MAX, "%s/kmemd/%s.sock", runtime, name) < PATH_MAX &&
        access(path, F_OK) == 0) {
        return;
    }
    (void)snprintf(path, PATH_MAX, "/run/kmemd/%s.sock", name);
}

/* A socket's file is called as its segment is. */
static void name_of(const char *socket, char name[static NAME_MAX + 1])
{
    const char *slash = strrchr(socket, '/');
    const char *file = slash ? slash + 1 : socket;
    const size_t n_bytes = strlen(file);
    const bool has_suffix = n_bytes > 5 && strcmp(file + n_bytes - 5, ".sock") == 0;
    (void)snprintf(name, NAME_MAX + 1, "%.*s", (int)(has_suffix ? n_bytes - 5 : n_bytes), file);
}

static int add_chosen(struct sources *sources, const struct serve *serve)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < serve->n_segments; i++) {
        if (serve->segments[i].name) {
            char path[PATH_MAX];
            socket_of(serve->segments[i].name, path);
            r = sources_add(sources, serve->segments[i].name, path);
        } else {
            char name[NAME_MAX + 1];
            name_of(serve->segments[i].socket, name);
            r = sources_add(sources, name, serve->segments[i].socket);
        }
    }
    return r;
}

/* Those that begin later are found later; that there is none now is no failure. */
static int look(struct sources *sources, const struct serve *serve)
{
    return serve->n_segments > 0 ? 0 : sources_look(sources);
}

/* --------------------------------------------------------------------------------- serving ---- */

/* From a service manager that has opened it; else there. */
static int listen_fd(const struct serve *serve)
{
    const char *pid = getenv("LISTEN_PID");
    const char *n_fds = getenv("LISTEN_FDS");
    if (pid && n_fds && strtol(pid, NULL, 10) == (long)getpid() && strcmp(n_fds, "1") == 0) {
        return FIRST_PASSED_FD;
    }
    return address_listen(&serve->address);
}

/* 2 s: how soon a segment that began is found; a look is a few calls of readdir(). */
#define LOOK_EVERY_S 2

/* Until a signal says that it is enough. */
static void run(const struct serve *serve, const struct signals *signals, struct http *http,
                struct sources *sources)
{
    struct pollfd signalled = {.fd = signals->fd, .events = POLLIN};
    for (unsigned second = 1; poll(&signalled, 1, 1000) == 0; second++) {
        http_expire(http);
        if (second % LOOK_EVERY_S == 0 && look(sources, serve) == -ENOSPC) {
            (void)fprintf(stderr,
                          "kmemctl serve: more than %d segments: the others are not "
                          "served; --segment chooses\n",
                          SOURCES_MAX);
        }
    }
}

static int complain(const char *what, const char *where, int error)
{
    (void)fprintf(stderr, "kmemctl serve: cannot %s%s: %s%s\n", what, where, strerror(-error),
                  error == -EADDRINUSE ? "; --listen HOST:PORT chooses another port" : "");
    return STATUS_ERROR;
}

static int serve_on(int fd, const struct serve *serve, const struct signals *signals,
                    struct sources *sources)
{
    struct http *http = NULL;
    char at[128];
    int r = address_of(fd, at, sizeof(at));
    if (r < 0) {
        return complain("serve on what was passed", "", r); /* it is not ours to close */
    }
    r = http_start(fd, sources, serve->hosts, &http);
    if (r < 0) {
        return complain("serve on ", at, r);
    }
    (void)printf("http://%s/\n", at);
    (void)fflush(stdout);
    run(serve, signals, http, sources);
    http_stop(http);
    return STATUS_OK;
}

static int serve_all(const struct serve *serve, const struct signals *signals)
{
    struct sources *sources = sources_new(serve->n_reasons);
    int r = sources ? add_chosen(sources, serve) : -ENOMEM;
    r = r < 0 ? r : look(sources, serve);
    int status = STATUS_ERROR;
    if (r < 0 && r != -ENOSPC) {
        status = complain("look for segments", "", r);
    } else {
        const int fd = listen_fd(serve);
        status = fd < 0 ? complain("listen on ", serve->listen, fd)
                        : serve_on(fd, serve, signals, sources);
    }
    sources_free(sources);
    return status;
}

int main(int argc, char **argv)
{
    const struct argp argp = {
        .options = serve_options,
        .parser = serve_key,
        .doc = "Serve metrics (/metrics), JSON (/api/v1/) and a page (/) over HTTP.",
    };
    struct serve serve = {.listen = LISTEN_USUAL, .n_reasons = REASONS_USUAL};
    struct signals signals;
    argp_err_exit_status = STATUS_USAGE;
    argp_program_version = "kmemctl " KMEM_VERSION;
    (void)setlocale(LC_CTYPE, "C.UTF-8"); /* what is written is UTF-8, whatever the user's is */
    const error_t error = argp_parse(&argp, argc, argv, 0, NULL, &serve);
    if (error != 0) { /* others end the program: it is memory */
        return complain("read the options", "", -error);
    }
    (void)setenv("KMEM_TIMEOUT_MS", PATIENCE_MS, 0); /* before there are threads */
    const int r = signals_open(&signals);
    if (r < 0) {
        return complain("wait for signals", "", r);
    }
    const int status = serve_all(&serve, &signals);
    signals_close(&signals);
    return status;
}
