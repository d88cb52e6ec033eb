/* SPDX-License-Identifier: MIT */
/*
 * frames.h - send requests and receive responses over a socket, without the product's code for it
 */
#ifndef TESTS_WIRE_FRAMES_H
#define TESTS_WIRE_FRAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"
#include "proto/kmem.pb-c.h"
#include "proto/limits.h"

/* What the program that speaks does in its own way, and defines. */
struct frames_host {
    /* Waits until something can be received, or until it gives up. NULL: recvmsg() waits. */
    bool (*wait)(int fd);
    KMEM_NORETURN void (*fail)(const char *why);
};

extern const struct frames_host frames_host;

/* What came with an answer: of a Welcome for a member the segment, its ledger and the clock. */
struct wire_descriptors {
    size_t n_fds;
    int fds[WELCOME_DESCRIPTORS_MAX];
};

/** frames_connect() - Return: a connection to the socket at path, or a negative errno */
int frames_connect(const char *path);

/** frames_send_bytes() - send bytes as they are. Return: false if the peer has closed. */
bool frames_send_bytes(int fd, const void *bytes, size_t n_bytes);

/**
 * frames_receive() - the next response, to be freed; what came along is added to *descriptors
 *
 * Return: NULL if the peer has closed. Without *descriptors what comes along is closed.
 */
Kmem__Response *frames_receive(int fd, struct wire_descriptors *descriptors);

#endif
