/* SPDX-License-Identifier: MIT */
/*
 * role_names.h - "alice", "@video", "1000": users and groups, as options and files name them
 */
#ifndef DAEMON_ROLE_NAMES_H
#define DAEMON_ROLE_NAMES_H

#include "daemon/options.h"
#include "proto/attributes.h"

/* A sentence's part that says what is wrong with a name. */
#define ROLE_NAME_WHY_BYTES 256

/* What the kernel shows for all that have no number in a namespace: nobody and nogroup. */
#define ROLE_NAME_OVERFLOW 65534

enum {
    ROLE_NAMES_OK,
    ROLE_NAMES_E_UNKNOWN, /* there is no such user or group, or it can not be told from others */
    ROLE_NAMES_E_FULL,    /* the list has OPTION_PRINCIPALS_MAX already */
};

/**
 * role_names_add() - add whom a name means to a list
 * @text:     a user's name or number; "@" before it: a group's, and all its members
 * @ret_why:  ROLE_NAME_WHY_BYTES: for an answer, why: "there is no user "x""
 * Return: 0, ROLE_NAMES_E_UNKNOWN or ROLE_NAMES_E_FULL.
 */
KMEM_MUST_USE int role_names_add(struct option_principals *principals, const char *text,
                                 char *ret_why);

#endif
