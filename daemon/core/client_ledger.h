/* SPDX-License-Identifier: MIT */
/*
 * client_ledger.h - what clients' ledgers tell about their leases
 *
 * A client writes its ledger at will, while it is read, and perhaps to deceive. So every piece is
 * copied once, the copy is checked, and the copy is used; a piece that does not fit what the page
 * table says is left out. Nothing is decided from it: it is shown, and added up for those who ask.
 */
#ifndef DAEMON_CORE_CLIENT_LEDGER_H
#define DAEMON_CORE_CLIENT_LEDGER_H

#include <stddef.h>
#include <stdint.h>

#include "daemon/core/direct.h"
#include "proto/attributes.h"
#include "proto/ledger.h"

/**
 * client_ledger_read_fn - copy n_bytes at an offset of the ledger file of a slot's client
 * Return: false if they can not be read; then nothing is told.
 */
typedef bool (*client_ledger_read_fn)(void *user, uint32_t slot, uint64_t at, void *buffer,
                                      size_t n_bytes);

/*
 * What one read costs, in entries looked at: a system call takes some 0.5 us, an entry some 10 ns.
 * Budgets count both: who reads a ledger of many slabs with one block each, or of as many reasons
 * as blocks, makes hardly anything but system calls.
 */
#define CLIENT_LEDGER_READ_COST 50

struct client_ledger {
    client_ledger_read_fn read;
    void *user;
    struct ledger_layout layout;
    uint32_t n_pages;
    struct ledger_entry *entries; /* room for a slab's, while it is looked at */
};

/** client_ledger_init() - read with this function. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int client_ledger_init(struct client_ledger *ledger, uint32_t n_pages,
                                     client_ledger_read_fn read, void *user);

void client_ledger_fini(struct client_ledger *ledger);

/**
 * client_ledger_walk_run() - visit the blocks that a client says it has in its leased run
 * @page:    the first page to look at, where a slab begins or nothing does; on return the first one
 *           that was not looked at
 * @until:   look at no slab that begins here or later
 * @end:     the end of the run
 * @from:    blocks before this offset are left out
 * @each:    returns false to stop before the block it was given
 * @spent:   the entries and pages looked at are added, and CLIENT_LEDGER_READ_COST for each read
 * Return: where it stopped, and *page is where that slab begins; 0 if it did not.
 */
KMEM_MUST_USE struct seg_off client_ledger_walk_run(const struct client_ledger *ledger,
                                                    const struct client *client, uint32_t *page,
                                                    uint32_t until, uint32_t end,
                                                    struct seg_off from, block_fn each, void *user,
                                                    uint32_t *spent);

/**
 * client_ledger_find() - the block that a client says an offset is in
 * @begin, @end:  its leased run, which the offset is in
 *
 * As ledger_find() looks for it: at most some 26 heads are read, and a head and an entry for each
 * of them that leads somewhere, however large the block is. Return: false: it tells of none.
 */
KMEM_MUST_USE bool client_ledger_find(const struct client_ledger *ledger,
                                      const struct client *client, uint32_t begin, uint32_t end,
                                      struct seg_off off, struct block *ret_block);

/** told_heads() - copies of what a client's ledger says of n_heads pages. Return: if it does. */
KMEM_MUST_USE bool told_heads(const struct client_ledger *ledger, uint32_t slot, uint32_t page,
                              uint32_t n_heads, struct ledger_head *ret_heads);

/**
 * client_ledger_is_fenced() - whether a client says that membarrier() reaches it: see
 * proto/lease.h
 */
KMEM_MUST_USE bool client_ledger_is_fenced(const struct client_ledger *ledger, uint32_t slot);

/** client_ledger_n_used_pages() - as the client says; UINT32_MAX: it says nothing */
uint32_t client_ledger_n_used_pages(const struct client_ledger *ledger, uint32_t slot);

/** told_entries_are_idle() - whether a slab of this class that begins here has no live block */
KMEM_MUST_USE bool told_entries_are_idle(const struct client_ledger *ledger, uint32_t slot,
                                         uint32_t page, uint32_t size_class);

/** client_ledger_slab_is_idle() - the same, and whether there is such a slab */
KMEM_MUST_USE bool client_ledger_slab_is_idle(const struct client_ledger *ledger, uint32_t slot,
                                              uint32_t page, uint32_t size_class);

/**
 * client_ledger_reason() - a reason out of a client's own table
 * @ret_text:  REASON_MAX_BYTES of room; "<unverified>" if there is no such reason
 * Return: its length, not terminated.
 */
size_t client_ledger_reason(const struct client_ledger *ledger, uint32_t slot, uint32_t id,
                            char *ret_text);

#endif
