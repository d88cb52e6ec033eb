/* SPDX-License-Identifier: MIT */
/*
 * locate.h - where the daemon's socket may be, and how long to wait for it: the environment
 */
#ifndef CLIENT_LINK_LOCATE_H
#define CLIENT_LINK_LOCATE_H

#include <stdbool.h>

#include "client/failure.h"
#include "proto/attributes.h"
#include "proto/clear.h"
#include "proto/limits.h"

/* What fits a socket's address, with the NUL. */
#define SOCKET_PATH_BYTES 108

/* $XDG_RUNTIME_DIR/kmemd and /run/kmemd. */
#define PLACES_MAX 2

struct place {
    char path[SOCKET_PATH_BYTES];
    int error; /* why no daemon answered there, a positive errno; 0: not tried */
};

/* Tried in this order. */
struct places {
    char segment_name[NAME_MAX_BYTES + 1]; /* "" if a path was given */
    unsigned int n_places;
    struct place place[PLACES_MAX];
};

/**
 * kmem__locate_socket() - list the places where the daemon's socket may be
 * @socket_path:  the only place to try; NULL asks the environment
 * @ret_places:   the places, none tried yet
 * @failure:      receives the sentence
 *
 * Return: 0; -EINVAL if $KMEM_SEGMENT is no name; -ENAMETOOLONG if a path is too long.
 */
KMEM_MUST_USE int kmem__locate_socket(const char *socket_path, struct places *ret_places,
                                      struct failure *failure);

/**
 * kmem__locate_remember() - where this process has joined, for itself and its forked children
 *
 * For processes whose malloc() is served, which know nothing of the environment that they need, and
 * clear or overwrite it: it is tried where $KMEM_SOCKET is not set. The first one is kept.
 */
void kmem__locate_remember(const char *path);

/**
 * kmem__locate_is_mount() - whether a socket or a directory was mounted where it is
 *
 * As containers are given one (docs/containers.md). False also where the kernel can not tell,
 * before Linux 5.8.
 */
bool kmem__locate_is_mount(const char *path);

/**
 * kmem__locate_explain() - say that no place has a daemon, what was tried, and how to start one
 * Return: -ECONNREFUSED if there is a socket without a listener, else -ENOENT.
 */
KMEM_MUST_USE int kmem__locate_explain(const struct places *places, struct failure *failure);

/**
 * kmem__locate_guard() - whether to guard the mapping, from $KMEM_GUARD
 * Return: 0; -EINVAL if it is neither "on" nor "off".
 */
KMEM_MUST_USE int kmem__locate_guard(bool *ret_is_guarded, struct failure *failure);

/**
 * kmem__locate_role() - whether to join for reading only, from $KMEM_ROLE
 * Return: 0; -EINVAL if it is neither "member" nor "reader".
 */
KMEM_MUST_USE int kmem__locate_role(bool *ret_is_reader, struct failure *failure);

/**
 * kmem__locate_clear() - the loop that clears memory, from $KMEM_CLEAR; CLEAR_UNSAID: as measured
 * Return: 0; -EINVAL if it is no loop's name, or one that this processor does not have.
 */
KMEM_MUST_USE int kmem__locate_clear(enum clear_loop *ret_loop, struct failure *failure);

/**
 * kmem__locate_timeout() - how long a call may wait, from $KMEM_TIMEOUT_MS
 * Return: 0; -EINVAL if it is no number of milliseconds.
 */
KMEM_MUST_USE int kmem__locate_timeout(int *ret_timeout_ms, struct failure *failure);

#endif
