/* SPDX-License-Identifier: MIT */
/*
 * block.h - blocks from the segment, and from libc where the segment can not be asked
 *
 * All of them any size and alignment, in any thread, before main() and after it.
 */
#ifndef CLIENT_MALLOC_BLOCK_H
#define CLIENT_MALLOC_BLOCK_H

#include <stddef.h>

#include <kmem/kmem.h>

/**
 * block_new() - num_bytes bytes, every one 0, or NULL and ENOMEM
 * @caller:  an address in the module that is to be named as the reason
 */
KMEM_MUST_USE void *block_new(size_t num_bytes, const void *caller);

/** block_new_aligned() - num_bytes bytes on a multiple of alignment, a power of two, or as above */
KMEM_MUST_USE void *block_new_aligned(size_t alignment, size_t num_bytes, const void *caller);

/**
 * block_resize() - a block with the bytes of another, which is gone
 * @num_bytes:  1 at least
 *
 * Return: the block; or NULL and ENOMEM, and the other one is as it was.
 */
KMEM_MUST_USE void *block_resize(void *block, size_t num_bytes, const void *caller);

/** block_num_bytes() - how many bytes the program may use from there on */
size_t block_num_bytes(void *block);

/** block_free() - give one back; what is no block ends the program, as in libc. errno stays. */
void block_free(void *block);

#endif
