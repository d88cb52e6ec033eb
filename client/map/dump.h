/* SPDX-License-Identifier: MIT */
/*
 * dump.h - what of a segment a core of this process holds: $KMEM_CORE
 */
#ifndef CLIENT_MAP_DUMP_H
#define CLIENT_MAP_DUMP_H

#include <stdint.h>

enum dump {
    DUMP_NONE,   /* neither */
    DUMP_LEDGER, /* "ledger": what is in the segment, for kmem-gdb.py: some 9 % of its size */
    DUMP_BLOCKS, /* "blocks": and the bytes of all of the segment */
};

/** kmem__dump_wanted() - from the environment; what is none of these words is DUMP_NONE */
enum dump kmem__dump_wanted(void);

/** kmem__dump_leave_out() - cores do without it, if the kernel can do that */
void kmem__dump_leave_out(void *at, uint64_t num_bytes);

/** kmem__dump_keep() - the CPU pages of a range that is left out are in cores all the same */
void kmem__dump_keep(void *at, uint64_t num_bytes);

#endif
