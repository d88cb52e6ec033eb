/* SPDX-License-Identifier: MIT */
/*
 * dump.h - what of a segment a core of this process holds: $KMEM_CORE
 *
 * A program whose malloc() is served from a segment has its heap there, and a core without it is of
 * no use: DUMP_OWN is what it gets if nothing is said. What is in a core then is what the guard has
 * open for writing, for that is a flag of the same mappings, which cost no more of them so: the
 * leases of this process and its direct blocks, and of others what lies in the same granules. A
 * core is as large as that at most, not as the segment; the ledger, whose file is sparse and would
 * be filled, is not in it.
 */
#ifndef CLIENT_MAP_DUMP_H
#define CLIENT_MAP_DUMP_H

#include <stdbool.h>
#include <stdint.h>

enum dump {
    DUMP_NONE,   /* neither */
    DUMP_LEDGER, /* "ledger": what is in the segment, for kmem-gdb.py: some 9 % of its size */
    DUMP_OWN,    /* "own": the bytes of what this process has open for writing */
    DUMP_BLOCKS, /* "blocks": and the bytes of all of the segment */
};

/**
 * kmem__dump_wanted() - from the environment; what is none of these words is DUMP_NONE
 * @otherwise:  if nothing is said
 */
enum dump kmem__dump_wanted(enum dump otherwise);

/** kmem__dump_serves_malloc() - whether libkmem-malloc.so is in this process */
bool kmem__dump_serves_malloc(void);

/** kmem__dump_leave_out() - cores do without it, if the kernel can do that */
void kmem__dump_leave_out(void *at, uint64_t num_bytes);

/** kmem__dump_keep() - the CPU pages of a range that is left out are in cores all the same */
void kmem__dump_keep(void *at, uint64_t num_bytes);

#endif
