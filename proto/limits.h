/* SPDX-License-Identifier: MIT */
/*
 * limits.h - every bound that both sides of the socket rely on
 *
 * A number that comes from a peer is compared with a name from this file before it is used.
 */
#ifndef PROTO_LIMITS_H
#define PROTO_LIMITS_H

#include <stdint.h>

/* The upper 16 bits change when an old peer can not be served any more. Tests have others. */
#ifndef PROTOCOL_VERSION
#define PROTOCOL_VERSION UINT32_C(0x00010001) /* 1.1: shared blocks */
#endif
#define PROTOCOL_MAJOR(version) ((version) >> 16)

/*
 * 16 KiB: four CPU pages. Smaller pages mean more page words (8 bytes each) for the same segment;
 * larger ones leave more of a seldom used size class empty: with 500 clients and ten cold sizes the
 * slabs of direct blocks must fit 16 MiB.
 */
#define PAGE_SHIFT 14
#define PAGE_BYTES (UINT64_C(1) << PAGE_SHIFT)

/*
 * Slabs begin where a CPU page does, so do their first blocks. Processors compare the lowest 12
 * bits of addresses first to tell whether a load depends on a store before it: what every
 * allocation and release loads must not begin there as well, or each load waits for the stores that
 * cleared the block before (measured: 64 bytes 6.8 ns, and 4.9). So the clock's tick, a slab's
 * entries and the library's own tables begin 3 KiB into a CPU page, all of them: where a large
 * block meets one it meets all, and the others none.
 */
#define CPU_PAGE_SKEW_BYTES 0xc00

/* The clock is the first CPU page of its file: proto/notice.h. */
#define CLOCK_BYTES 4096
#define CLOCK_TICK_AT (CPU_PAGE_SKEW_BYTES + 0x80)
/* CLOCK_SPARE_NONE + how many pages may be used from now on before memory is short:
   daemon/core/shortage.h; 0: the daemon does not say. Its place is that many words
   behind the tick. */
#define CLOCK_SPARE 3
#define CLOCK_SPARE_NONE 1 /* memory is short */
/* Likewise: how many pages the segment has now, of those that its file has room for; 0: all. */
#define CLOCK_PAGES 12

/* The largest piece in which clients open and close access to the segment. */
#define GRANULE_MAX_BYTES (UINT64_C(1) << 30)

/* 1 MiB: below that, bookkeeping is most of what the daemon would own. */
#define SEGMENT_MIN_BYTES (UINT64_C(1) << 20)
/* 1 TiB: page numbers stay below 2^26, sizes below 2^40; what fits the packed words. */
#define SEGMENT_MAX_BYTES (UINT64_C(1) << 40)

/* 16: half a cache line would waste the small classes; less does not hold a long double. */
#define BLOCK_ALIGN_BYTES 16
/* 64: from one cache line up, a block shares its lines with no other. */
#define BLOCK_LINE_BYTES 64

/* A request of the library is under 200 bytes; 4 KiB bounds what a decoder can be made to do. */
#define REQUEST_MAX_BYTES 4096
/* 64 KiB: some 500 ledger rows a round trip; more would hold the loop's thread for too long. */
#define RESPONSE_MAX_BYTES 65536
/* A frame's length, little-endian. */
#define FRAME_HEADER_BYTES 4

/* Without the NUL. 127 + length byte is two cache lines in the table of reasons. */
#define REASON_MAX_BYTES 127
#define NO_REASON "<no reason given>"
/* A pattern for reasons: the longest reason with every byte escaped. */
#define GLOB_MAX_BYTES 254

/* A segment's name: it becomes part of a memfd's name and of a file name. */
#define NAME_MAX_BYTES 63

/* A task's command as the kernel keeps it, with the NUL. */
#define COMMAND_BYTES 16
/* A systemd unit's name with the NUL: a container's is its 64 digits and some words. */
#define UNIT_NAME_BYTES 96

/* Both may be given otherwise to a test that makes a daemon's core every 30 us. */
#ifndef CLIENTS_MAX
/* Clients in one segment. Each costs the daemon four descriptors and 128 bytes of state. */
#define CLIENTS_MAX 4096
#endif
/* 16: as many copies of the library as a program with plugins may have; more would let one process
   have a good part of all clients. */
#define COPIES_MAX 16
#ifndef REASONS_MAX
/* Distinct reasons of live direct blocks: 8 MiB of state when full. Then OTHER_REASONS. */
#define REASONS_MAX 65536
#endif
#define OTHER_REASONS "<other reasons>"

/*
 * 65,536 pages, 1 GiB: what one request may lease. Each page is a word in the client's ledger: some
 * 4 ns, so that others wait for 0.3 ms at most. A larger block is the daemon's to carve, which
 * costs it the same whatever the size.
 */
#define LEASE_MAX_PAGES 65536

/* Hello must come within this time, so that idle connections do not use up the descriptors. */
#define HELLO_TIMEOUT_MS 5000
/* 60 s: an observer that asks nothing for so long is closed, and may connect again. A figure that
   is wanted once a minute is worth a connection each time; less would break programs that ask each
   half minute, more would let those that never ask keep what others need. */
#define OBSERVER_TIMEOUT_MS 60000
/* The segment, the client's ledger, the clock. */
#define WELCOME_DESCRIPTORS 3
/* These and a way back, for those who want one. */
#define WELCOME_DESCRIPTORS_MAX 4
/* 10 s: how long an answer about changes may wait for one. Longer, and a program with a short
   $KMEM_TIMEOUT_MS would take a quiet segment for a daemon that hangs. */
#define CHANGES_WAIT_MAX_MS 10000
/* How long the library waits for any answer. */
#define ANSWER_TIMEOUT_MS 30000

#endif
