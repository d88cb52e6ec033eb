/* SPDX-License-Identifier: MIT */
/*
 * map.h - mappings of this library, most of which are sparse
 *
 * A ledger of the daemon's has 1.3 times the segment's size, most of it holes, and the tables that
 * lead into it grow with the segment. In a program that has called mlockall(MCL_FUTURE) the kernel
 * populates every new mapping, holes and all. It can not populate what can not be accessed: so a
 * mapping begins without access and is then opened, which does not populate a shared one, nor a
 * private one that is to be locked page by page as it is touched (MLOCK_ONFAULT). What is in use is
 * locked, as the program wants it.
 */
#ifndef CLIENT_MAP_MAP_H
#define CLIENT_MAP_MAP_H

#include <stdint.h>

#include "client/failure.h"

/**
 * kmem__map_sparse() - mmap(), of which nothing is populated
 * @at:     an address that is reserved, with MAP_FIXED in flags; else NULL
 * Return: MAP_FAILED and errno if it fails, and nothing is mapped then.
 */
void *kmem__map_sparse(void *at, uint64_t num_bytes, int protection, int flags, int fd);

/* A file that is to be mapped. One that is no regular file has no bytes, and no seals. */
struct map_file {
    uint64_t num_bytes;
    unsigned int seals;
};

/**
 * kmem__map_look() - what a descriptor of the daemon's is
 *
 * Return: 0, also if it is nothing that can be mapped; or -errno: the system can not say, which is
 * no fault of the daemon's.
 */
KMEM_MUST_USE int kmem__map_look(int fd, struct map_file *ret_file, struct failure *failure);

/**
 * kmem__map_failed() - say why `what` could not be mapped, with its size
 * Return: -ENOMEM where the program has locked all its memory and may lock no more; else -error.
 */
int kmem__map_failed(struct failure *failure, int error, const char *what, uint64_t num_bytes);

#endif
