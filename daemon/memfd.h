/* SPDX-License-Identifier: MIT */
/*
 * memfd.h - files in memory: sealed, private, and backed before anybody relies on it
 */
#ifndef DAEMON_MEMFD_H
#define DAEMON_MEMFD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"

/**
 * memfd_open() - a memfd "kmemd:NAME:KIND" of n_bytes zeros
 *
 * Mode 0600, sealed against shrinking, growing and further sealing before anybody else can see it,
 * close-on-exec. Sparse until memfd_commit().
 *
 * Return: the descriptor, or a negative errno.
 */
KMEM_MUST_USE int memfd_open(const char *name, const char *kind, uint64_t n_bytes);

/** memfd_open_of() - the same, of other pages: MFD_HUGETLB and its sizes */
KMEM_MUST_USE int memfd_open_of(const char *name, const char *kind, uint64_t n_bytes,
                                unsigned flags);

/**
 * memfd_open_again() - another open file of a memfd, for reading only: what clients are given
 * Return: the descriptor, close-on-exec, or a negative errno.
 */
KMEM_MUST_USE int memfd_open_again(int fd);

/**
 * memfd_commit() - take the file's memory from the system now
 *
 * In a child process, because a memory cgroup kills whoever goes over its limit.
 * @signal_fd:  of signals_open(): SIGTERM and SIGINT end the work; -1: nothing does
 *
 * Return: 0, or a negative errno: -ENOMEM if there is not enough, or the child was killed;
 * -ECANCELED if a signal, which is taken, has ended it.
 */
KMEM_MUST_USE int memfd_commit(int fd, uint64_t n_bytes, int signal_fd);

/** What limits memory here, in bytes; UINT64_MAX where nothing does. */
struct free_memory {
    uint64_t available_bytes; /* /proc/meminfo */
    uint64_t cgroup_bytes;    /* the narrowest on the way up: memory.max - memory.current + cache */
};

/** free_memory_read() - ask the kernel */
void free_memory_read(struct free_memory *ret_room);

/**
 * free_memory_check() - whether n_bytes can be committed
 * @ret_sentence:  says why not; sentence_bytes of room
 * Return: 0 or -ENOMEM.
 */
KMEM_MUST_USE int free_memory_check(const struct free_memory *memory, uint64_t n_bytes,
                                    char *ret_sentence, size_t sentence_bytes);

#endif
