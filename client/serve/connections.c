/* SPDX-License-Identifier: MIT */
#include "client/serve/connections.h"

#include <sys/socket.h>

void connections_init(struct connections *connections)
{
    (void)pthread_mutex_init(&connections->lock, NULL); /* can not fail with glibc */
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        connections->all[i].fd = -1;
    }
}

void connections_fini(struct connections *connections)
{
    (void)pthread_mutex_destroy(&connections->lock);
}

/* With the lock. */
static void replace(struct connections *connections, int fd, int new_fd, uint64_t since_ms)
{
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        if (connections->all[i].fd == fd) {
            connections->all[i].fd = new_fd;
            connections->all[i].since_ms = since_ms;
            return;
        }
    }
}

void connections_add(struct connections *connections, int fd, uint64_t now_ms)
{
    (void)pthread_mutex_lock(&connections->lock);
    replace(connections, -1, fd, now_ms);
    (void)pthread_mutex_unlock(&connections->lock);
}

void connections_remove(struct connections *connections, int fd)
{
    (void)pthread_mutex_lock(&connections->lock);
    replace(connections, fd, -1, 0);
    (void)pthread_mutex_unlock(&connections->lock);
}

void connections_expire(struct connections *connections, uint64_t now_ms)
{
    (void)pthread_mutex_lock(&connections->lock);
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        if (connections->all[i].fd >= 0 &&
            connections->all[i].since_ms + CONNECTION_LIFE_MS < now_ms) {
            (void)shutdown(connections->all[i].fd, SHUT_RDWR); /* its thread closes it */
        }
    }
    (void)pthread_mutex_unlock(&connections->lock);
}
