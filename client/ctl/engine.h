/* SPDX-License-Identifier: MIT */
/*
 * engine.h - a daemon that is asked for blocks, and never for their bytes
 *
 * It speaks the few words of docs/protocol.md that a replay needs: Hello, Allocate, Release. So a
 * segment of any size can be tried: no byte of it is touched, mapped or cleared here.
 */
#ifndef CTL_ENGINE_H
#define CTL_ENGINE_H

#include <stdint.h>

#include <kmem/kmem.h>

struct engine {
    int fd;
    uint64_t id;
};

enum { ENGINE_OK, ENGINE_E_REFUSED };

/** engine_open() - become a member. Return: 0 or a negative errno. */
KMEM_MUST_USE int engine_open(struct engine *engine, const char *socket_path);

void engine_close(struct engine *engine);

/** engine_allocate() - Return: 0, ENGINE_E_REFUSED, or a negative errno. */
KMEM_MUST_USE int engine_allocate(struct engine *engine, uint64_t num_bytes, const char *reason,
                                  uint64_t *ret_offset);

/** engine_release() - Return: as engine_allocate(). */
KMEM_MUST_USE int engine_release(struct engine *engine, uint64_t offset);

#endif
