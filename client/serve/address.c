/* SPDX-License-Identifier: MIT */
#include "client/serve/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* 64: more wait only while all connections are in use, and then longer than anyone does. */
#define BACKLOG 64

/* A name is not longer, with its end (RFC 1035). */
#define HOST_MAX_BYTES 256

/* Splits "HOST:PORT" and "[HOST]:PORT"; without a port it is "". Return: whether it is such. */
static bool split(const char *text, char host[static HOST_MAX_BYTES], const char **ret_port)
{
    const bool is_bracketed = *text == '[';
    const char *begin = text + is_bracketed;
    const size_t n_bytes = strcspn(begin, is_bracketed ? "]" : ":");
    const char *end = begin + n_bytes;
    if (n_bytes == 0 || n_bytes >= HOST_MAX_BYTES || (is_bracketed && *end != ']')) {
        return false;
    }
    memcpy(host, begin, n_bytes);
    host[n_bytes] = '\0';
    end += is_bracketed;
    *ret_port = *end ? end + 1 : end;
    return *end == '\0' || *end == ':';
}

static bool port_parse(const char *text, in_port_t *ret_port)
{
    const unsigned long port = strtoul(text, NULL, 10);
    *ret_port = htons((in_port_t)port);
    return *text && strlen(text) <= 5 && strspn(text, "0123456789") == strlen(text) &&
           port <= UINT16_MAX;
}

int address_parse(const char *text, struct address *ret_address)
{
    char host[HOST_MAX_BYTES];
    const char *port_text;
    in_port_t port;
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    if (!split(text, host, &port_text) || !port_parse(port_text, &port)) {
        return -EINVAL;
    }
    *ret_address = (struct address){.n_bytes = 0};
    const char *number = strcasecmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    if (inet_pton(AF_INET, number, &in.sin_addr) == 1) {
        in.sin_port = port;
        ret_address->n_bytes = sizeof(in);
        memcpy(&ret_address->at, &in, sizeof(in));
    } else if (inet_pton(AF_INET6, number, &in6.sin6_addr) == 1) {
        in6.sin6_port = port;
        ret_address->n_bytes = sizeof(in6);
        memcpy(&ret_address->at, &in6, sizeof(in6));
    }
    return ret_address->n_bytes > 0 ? 0 : -EINVAL;
}

bool address_is_loopback(const struct address *address)
{
    const struct sockaddr_in *in = (const struct sockaddr_in *)&address->at;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&address->at;
    return address->at.ss_family == AF_INET ? ntohl(in->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET
                                            : IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
}

int address_listen(const struct address *address)
{
    const int on = 1;
    const int fd = socket(address->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -errno;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(fd, (const struct sockaddr *)&address->at, address->n_bytes) < 0 ||
        listen(fd, BACKLOG) < 0) {
        const int error = errno;
        (void)close(fd);
        return -error;
    }
    return fd;
}

int address_of(int fd, char *buffer, size_t buffer_bytes)
{
    struct sockaddr_storage at;
    socklen_t n_bytes = sizeof(at);
    char host[INET6_ADDRSTRLEN] = "?";
    const struct sockaddr_in *in = (const struct sockaddr_in *)&at;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&at;
    memset(&at, 0, sizeof(at));
    if (getsockname(fd, (struct sockaddr *)&at, &n_bytes) < 0) {
        return -errno;
    }
    if (at.ss_family == AF_INET) {
        (void)inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host)); /* fits */
        (void)snprintf(buffer, buffer_bytes, "%s:%u", host, ntohs(in->sin_port));
    } else {
        (void)inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host)); /* fits */
        (void)snprintf(buffer, buffer_bytes, "[%s]:%u", host, ntohs(in6->sin6_port));
    }
    return 0;
}

bool address_may_mean(const char *host, const char *const *names)
{
    char name[HOST_MAX_BYTES];
    const char *port;
    struct in6_addr number;
    if (!split(host, name, &port)) {
        return false;
    }
    if (strcasecmp(name, "localhost") == 0 || inet_pton(AF_INET, name, &number) == 1 ||
        inet_pton(AF_INET6, name, &number) == 1) {
        return true;
    }
    for (; *names; names++) {
        if (strcasecmp(name, *names) == 0) {
            return true;
        }
    }
    return false;
}
