/* SPDX-License-Identifier: MIT */
/*
 * connections.h - no connection lives for ever
 *
 * A peer that sends a byte now and then, or reads one, would keep a connection and its thread: the
 * library's timeout begins anew with each byte. So the beginning of each is noted, and what is too
 * old is shut down; its thread ends it then.
 */
#ifndef SERVE_CONNECTIONS_H
#define SERVE_CONNECTIONS_H

#include <pthread.h>
#include <stdint.h>

/* 128: twice the sixty observers that are to be served at once; each has a thread. */
#define CONNECTIONS_MAX 128
/* 30 s: a megabyte over a slow line; there is one request and one answer on each. */
#define CONNECTION_LIFE_MS UINT64_C(30000)

struct connections {
    pthread_mutex_t lock;
    struct {
        int fd; /* -1: none */
        uint64_t since_ms;
    } all[CONNECTIONS_MAX];
};

void connections_init(struct connections *connections);
void connections_fini(struct connections *connections);

/** connections_add() - note one that begins; one that there is no place for is not noted */
void connections_add(struct connections *connections, int fd, uint64_t now_ms);

/** connections_remove() - forget one that is about to be closed */
void connections_remove(struct connections *connections, int fd);

/** connections_expire() - shut down what is too old */
void connections_expire(struct connections *connections, uint64_t now_ms);

#endif
