/* SPDX-License-Identifier: MIT */
/*
 * A daemon is found by its socket's path. Tried, in this order:
 *
 *      $KMEM_SOCKET, and nothing else if it is set
 *      $XDG_RUNTIME_DIR/kmemd/NAME.sock     the user's own daemon
 *      /run/kmemd/NAME.sock                 the machine's
 *
 * where NAME is $KMEM_SEGMENT or "default". A variable that is empty counts as not set. A program
 * that runs with more rights than its caller does not listen to the caller's environment
 * (secure_getenv): the caller could name a daemon of his own.
 *
 * A process whose malloc() is served, and that has joined, tries where it has, in place of the last
 * two.
 *
 * Only absence leads on from one place to the next. A daemon that is there and refuses, or an
 * impostor, ends the search: going on would hide it.
 */
#include "client/link/locate.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEFAULT_SEGMENT "default"

/* Written once, with the connection; known_at: release, pairs with kmem__locate_socket(). */
static char known_path[SOCKET_PATH_BYTES];
static _Atomic(const char *) known_at;

static const char *environment(const char *variable)
{
    const char *value = secure_getenv(variable);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* ------------------------------------------------------------------------------ the places ---- */

/* The name becomes part of a path: letters, digits, '.', '_' and '-', not hidden, no option. */
static bool is_segment_name(const char *name)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                  "0123456789._-";
    size_t n_bytes = strlen(name);
    return n_bytes >= 1 && n_bytes <= NAME_MAX_BYTES && name[0] != '.' && name[0] != '-' &&
           strspn(name, allowed) == n_bytes;
}

KMEM_MUST_USE static int places_add(struct places *places, const char *directory, const char *name,
                                    const char *suffix, struct failure *failure)
{
    struct place *place = &places->place[places->n_places];
    int n_bytes = snprintf(place->path, sizeof(place->path), "%s%s%s", directory, name, suffix);
    if (n_bytes < 0 || (size_t)n_bytes >= sizeof(place->path)) {
        return kmem__failure_set(failure, ENAMETOOLONG,
                                 "the socket's path %s%s%s has %d bytes; %d is the most there can "
                                 "be",
                                 directory, name, suffix, n_bytes, SOCKET_PATH_BYTES - 1);
    }
    place->error = 0;
    places->n_places++;
    return 0;
}

KMEM_MUST_USE static int places_of_segment(struct places *places, const char *name,
                                           struct failure *failure)
{
    if (!is_segment_name(name)) {
        int r = kmem__failure_set(failure, EINVAL, "$KMEM_SEGMENT is \"");
        kmem__failure_add_foreign(failure, name);
        kmem__failure_add(failure,
                          "\", which is no segment's name: up to %d letters, digits and \"._-\", "
                          "the first a letter, a digit or \"_\"",
                          NAME_MAX_BYTES);
        return r;
    }
    (void)snprintf(places->segment_name, sizeof(places->segment_name), "%s", name);
    const char *runtime = environment("XDG_RUNTIME_DIR");
    if (runtime != NULL) {
        char directory[PATH_MAX];
        (void)snprintf(directory, sizeof(directory), "%s/kmemd/", runtime);
        int r = places_add(places, directory, name, ".sock", failure);
        if (r < 0) {
            return r;
        }
    }
    return places_add(places, "/run/kmemd/", name, ".sock", failure);
}

int kmem__locate_socket(const char *socket_path, struct places *ret_places, struct failure *failure)
{
    struct places places = {.n_places = 0};
    int r;
    if (socket_path == NULL) {
        socket_path = environment("KMEM_SOCKET");
    }
    if (socket_path == NULL) {
        socket_path = atomic_load_explicit(&known_at, memory_order_acquire);
    }
    if (socket_path != NULL) {
        r = places_add(&places, socket_path, "", "", failure);
    } else {
        const char *name = environment("KMEM_SEGMENT");
        r = places_of_segment(&places, name != NULL ? name : DEFAULT_SEGMENT, failure);
    }
    if (r == 0) {
        *ret_places = places;
    }
    return r;
}

void kmem__locate_remember(const char *path)
{
    /* Relaxed: none but this thread writes it now. */
    if (atomic_load_explicit(&known_at, memory_order_relaxed) == NULL) {
        (void)snprintf(known_path, sizeof(known_path), "%s", path);
        atomic_store_explicit(&known_at, known_path, memory_order_release);
    }
}

/* ---------------------------------------------------------------------------------- mounts ---- */

bool kmem__locate_is_mount(const char *path)
{
    struct statx status;
    return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &status) == 0 &&
           (status.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

/* ----------------------------------------------------------------------------- explanation ---- */

static const char *absence_text(int error)
{
    return error == ECONNREFUSED ? "nobody listens there" : "no such socket";
}

/* A mount of the file stays with it when a later daemon makes another; a directory's shows that. */
static void explain_mounts(const struct places *places, struct failure *failure)
{
    for (unsigned int i = 0; i < places->n_places; i++) {
        const struct place *place = &places->place[i];
        if (place->error == ECONNREFUSED && kmem__locate_is_mount(place->path)) {
            kmem__failure_add(failure,
                              "; %s is mounted here as a file, and shows the socket of a daemon "
                              "that has ended, also when another has been started: mount its "
                              "directory instead, and start this container anew",
                              place->path);
        }
    }
}

static void explain_how_to_start(const struct places *places, struct failure *failure)
{
    const char *name = places->segment_name;
    if (name[0] == '\0') {
        kmem__failure_add(failure, "; start one with \"kmemd --socket %s\"", places->place[0].path);
    } else {
        kmem__failure_add(failure,
                          "; start one with \"kmemd --name %s\" or \"systemctl start kmemd@%s\"",
                          name, name);
    }
    kmem__failure_add(failure, ", or run the program under \"kmemctl run\"");
}

int kmem__locate_explain(const struct places *places, struct failure *failure)
{
    int error = ENOENT;
    for (unsigned int i = 0; i < places->n_places; i++) {
        if (places->place[i].error == ECONNREFUSED) {
            error = ECONNREFUSED;
        }
    }
    int r = kmem__failure_set(failure, error, "no daemon answers");
    for (unsigned int i = 0; i < places->n_places; i++) {
        const struct place *place = &places->place[i];
        kmem__failure_add(failure, "%s%s (%s)", i == 0 ? ": tried " : " and ", place->path,
                          absence_text(place->error));
    }
    explain_mounts(places, failure);
    explain_how_to_start(places, failure);
    return r;
}

/* --------------------------------------------------------------------------- guard, role ---- */

/* A variable that is one of two words; not set: the first. Return: 0 or -EINVAL. */
KMEM_MUST_USE static int locate_choice(const char *variable, const char *usual, const char *other,
                                       bool *ret_is_other, struct failure *failure)
{
    const char *text = environment(variable);
    const bool is_other = text != NULL && strcmp(text, other) == 0;
    if (text != NULL && !is_other && strcmp(text, usual) != 0) {
        int r = kmem__failure_set(failure, EINVAL, "$%s is \"", variable);
        kmem__failure_add_foreign(failure, text);
        kmem__failure_add(failure, "\", neither \"%s\" nor \"%s\"", usual, other);
        return r;
    }
    *ret_is_other = is_other;
    return 0;
}

int kmem__locate_guard(bool *ret_is_guarded, struct failure *failure)
{
    bool is_off = false;
    int r = locate_choice("KMEM_GUARD", "on", "off", &is_off, failure);
    if (r == 0) {
        *ret_is_guarded = !is_off;
    }
    return r;
}

int kmem__locate_role(bool *ret_is_reader, struct failure *failure)
{
    return locate_choice("KMEM_ROLE", "member", "reader", ret_is_reader, failure);
}

/* -------------------------------------------------------------------------------- clearing ---- */

int kmem__locate_clear(enum clear_loop *ret_loop, struct failure *failure)
{
    const char *text = environment("KMEM_CLEAR");
    const bool is_chosen = text != NULL && strcmp(text, "auto") != 0;
    const enum clear_loop loop = is_chosen ? clear_loop_find(text) : CLEAR_UNSAID;
    if (is_chosen && loop == CLEAR_UNSAID) {
        int r = kmem__failure_set(failure, EINVAL, "$KMEM_CLEAR is \"");
        kmem__failure_add_foreign(failure, text);
        kmem__failure_add(failure, "\", none of \"auto\"");
        for (enum clear_loop of = CLEAR_MEMSET; of < N_CLEAR_LOOPS; of++) {
            kmem__failure_add(failure, "%s\"%s\"", of + 1 < N_CLEAR_LOOPS ? ", " : " and ",
                              clear_loop_name(of));
        }
        return r;
    }
    if (is_chosen && clear_loop_function(loop) == NULL) {
        return kmem__failure_set(failure, EINVAL,
                                 "$KMEM_CLEAR is \"%s\", which this processor does not have; "
                                 "\"auto\" finds what is fastest on it",
                                 clear_loop_name(loop));
    }
    *ret_loop = loop;
    return 0;
}

/* --------------------------------------------------------------------------------- timeout ---- */

int kmem__locate_timeout(int *ret_timeout_ms, struct failure *failure)
{
    const char *text = environment("KMEM_TIMEOUT_MS");
    if (text == NULL) {
        *ret_timeout_ms = ANSWER_TIMEOUT_MS;
        return 0;
    }
    /* strtol() would skip spaces and take a sign. */
    char *end = NULL;
    errno = 0;
    long timeout_ms = text[0] >= '0' && text[0] <= '9' ? strtol(text, &end, 10) : 0;
    if (timeout_ms < 1 || timeout_ms > INT_MAX || errno == ERANGE || *end != '\0') {
        int r = kmem__failure_set(failure, EINVAL, "$KMEM_TIMEOUT_MS is \"");
        kmem__failure_add_foreign(failure, text);
        kmem__failure_add(failure, "\", not a number of milliseconds from 1 to %d", INT_MAX);
        return r;
    }
    *ret_timeout_ms = (int)timeout_ms;
    return 0;
}
