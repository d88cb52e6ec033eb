/* SPDX-License-Identifier: MIT */
/*
 * share.h - what names a shared block, and the bounds of sharing
 */
#ifndef PROTO_SHARE_H
#define PROTO_SHARE_H

#include <stdint.h>

/* Blocks that are shared at a time: 8 MiB of state when full. 17 bits in a hold and in a name. */
#ifndef SHARES_MAX
#define SHARES_MAX UINT32_C(131072)
#endif
#define SHARE_INDEX_BITS 17

/* Holders of all shared blocks at a time: 16 MiB of state when full. */
#ifndef HOLDS_MAX
#define HOLDS_MAX UINT32_C(1048576)
#endif

/* Records for names: 4 MiB of state when full; what is not used costs nothing. How many names there
   may be at a time is kmemd's to say (--names): no more than records, and usually 4,096. */
#ifndef SHARE_NAMES_MAX
#define SHARE_NAMES_MAX UINT32_C(32768)
#endif
#define SHARE_NAMES_USUAL (SHARE_NAMES_MAX < 4096 ? SHARE_NAMES_MAX : UINT32_C(4096))

/* A name is 1 to 100 bytes of UTF-8 without NUL: what a record of 128 bytes has room for. */
#define SHARE_NAME_MAX_BYTES 100

/* 64: what one request attaches or releases at most; their handles fill 2.5 of its 4 KiB. */
#define SHARE_MANY_MAX 64

/* 60 s: a Next that waits longer asks again; so an answer that is never read ends by itself. */
#define NEXT_WAIT_MAX_MS 60000

/*
 * What a holder is given: it leads to the block as long as the block is shared, and to nothing
 * afterwards. The server goes by its own record; offset and num_bytes are compared with it.
 */
struct share_handle {
    uint64_t instance;   /* of the segment */
    uint64_t generation; /* never used twice in an instance; its low bits are the record's number */
    uint64_t tag;        /* random: who has not been given it can not guess it */
    uint64_t offset;
    uint64_t num_bytes;
};

#endif
