/* SPDX-License-Identifier: MIT */
/*
 * address.h - where to listen, and who may mean us by what name
 *
 * A page of another site can not read our answers, as long as the browser knows that they are not
 * its own: DNS rebinding makes our address an address of its name. So a request must be for a name
 * that is ours: localhost, a number, or one that the operator has given.
 */
#ifndef SERVE_ADDRESS_H
#define SERVE_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

#include <kmem/kmem.h>

struct address {
    struct sockaddr_storage at;
    socklen_t n_bytes;
};

/**
 * address_parse() - "127.0.0.1:9464", "[::1]:9464", "localhost:9464"; port 0: any that is free
 * Return: 0, or -EINVAL if it is none: other names are not looked up.
 */
KMEM_MUST_USE int address_parse(const char *text, struct address *ret_address);

/** address_is_loopback() - whether only this machine reaches it */
bool address_is_loopback(const struct address *address);

/**
 * address_listen() - listen there
 * Ownership: the caller's descriptor. Return: it, or a negative errno.
 */
KMEM_MUST_USE int address_listen(const struct address *address);

/**
 * address_of() - what a listening socket is bound to, as text: "127.0.0.1:9464"
 * Return: 0 or a negative errno; then it is no socket.
 */
KMEM_MUST_USE int address_of(int fd, char *buffer, size_t buffer_bytes);

/**
 * address_may_mean() - whether a request's Host is a name of this server
 * @host:   "localhost:9464", "[::1]"; what is behind the name is not looked at
 * @names:  those that the operator gave, NULL at the end
 */
bool address_may_mean(const char *host, const char *const *names);

#endif
