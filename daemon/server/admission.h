/* SPDX-License-Identifier: MIT */
/*
 * admission.h - a connection has come
 */
#ifndef DAEMON_SERVER_ADMISSION_H
#define DAEMON_SERVER_ADMISSION_H

#include <stdbool.h>

#include "proto/attributes.h"

struct server;
struct session;

/** admission_begin() - read from a session's peer if it may join, else refuse and close it */
void admission_begin(struct session *session, int fd);

/**
 * admission_charge() - charge the session to its process and user
 * @is_back:  a client's, that comes back by its way: it has its place
 * Return: 0, an answer of users_charge(), or a negative errno.
 */
KMEM_MUST_USE int admission_charge(struct session *session, bool is_back);

/** admission_refuse_unseen() - say that there is no descriptor for a connection; closes fd */
void admission_refuse_unseen(struct server *server, int fd);

#endif
