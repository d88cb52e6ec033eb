/* SPDX-License-Identifier: MIT */
/*
 * socket_access.h - who can come so far as the server, which decides
 *
 * The socket, and the directory if the keeper makes it, belong to the group that may join; no other
 * user can enter or connect. A file has one group, and no list of users: where a user or a second
 * group has a role, everybody can connect. The server checks SO_PEERCRED for every connection.
 *
 * A socket that is there is opened to more users, by a configuration that is read anew or by the
 * next keeper, and closed to none: a client stays what it joined as, and comes back by the path.
 */
#ifndef DAEMON_KEEPER_SOCKET_ACCESS_H
#define DAEMON_KEEPER_SOCKET_ACCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "daemon/options.h"
#include "proto/attributes.h"

struct socket_access {
    bool has_group; /* the socket and the directory are a group's */
    gid_t group;
    bool is_open; /* all may connect, for several groups or users may: the server sees who does */
};

/** socket_access_note() - those that have a role by these options, beside those of before */
void socket_access_note(struct socket_access *access, const struct options *options);

/** socket_access_mode() - what the socket's file needs */
mode_t socket_access_mode(const struct socket_access *access);

/**
 * socket_access_admit() - let those connect who may; who can already still can
 *
 * Nothing is done to a file that lets them: it may be another user's.
 * Return: 0 or a negative errno.
 */
KMEM_MUST_USE int socket_access_admit(const struct socket_access *access, const char *path);

/**
 * socket_access_admit_directory() - the same for a directory that the keeper has made
 * Return: 0 or a negative errno, which is logged.
 */
int socket_access_admit_directory(const struct socket_access *access, const char *directory);

/** socket_access_warn() - say so if the directory, of that mode, keeps those out who may join */
void socket_access_warn(const struct socket_access *access, const char *directory, mode_t mode);

#endif
