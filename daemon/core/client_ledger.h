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

#include "daemon/core/block.h"
#include "daemon/core/clients.h"
#include "proto/attributes.h"
#include "proto/ledger.h"

/**
 * client_ledger_read_fn - copy n_bytes at an offset of the ledger file of a slot's client
 * Return: false if they can not be read; then it says nothing.
 */
typedef bool (*client_ledger_read_fn)(void *user, uint32_t slot, uint64_t at, void *buffer,
                                      size_t n_bytes);

/*
 * What one read costs, in entries looked at: a system call takes some 0.5 us, an entry some 10 ns.
 * Budgets count both: who reads a ledger of many slabs with one block each, or of as many reasons
 * as blocks, makes hardly anything but system calls.
 */
#define CLIENT_LEDGER_READ_COST 50

/*
 * 8: reasons that came one after the other are used one after the other, and a KiB is read in the
 * time of one of them. 16: a program's reasons, or some of each of many; more takes a page longer
 * to clear than it saves.
 */
#define LEDGER_REASONS_A_READ 8
#define LEDGER_REASON_READS 16

/*
 * Reasons that were read for one answer: its rows have the same ones again and again. It does not
 * outlive the answer: a slot may have another client then.
 */
struct ledger_reasons_read {
    struct {
        uint32_t slot;  /* SLOT_NONE: nothing is here */
        uint32_t first; /* id */
    } of[LEDGER_REASON_READS];
    struct ledger_reason reasons[LEDGER_REASON_READS][LEDGER_REASONS_A_READ];
};

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
 * client_ledger_heads() - copy what a client's ledger says of n_heads pages
 * Return: whether it can be read.
 */
KMEM_MUST_USE bool client_ledger_heads(const struct client_ledger *ledger, uint32_t slot,
                                       uint32_t page, uint32_t n_heads,
                                       struct ledger_head *ret_heads);

/**
 * client_ledger_slab() - the slab that a client says begins at a page of its leased run
 * @head:      the copy of that page's head
 * @end:       the end of the run
 * @ret_slab:  n_blocks 0: there is none that can be so. Its entries are in the ledger's buffer
 *             until the next slab is read
 * Return: what that cost, in entries looked at.
 */
uint32_t client_ledger_slab(const struct client_ledger *ledger, const struct client *client,
                            const struct ledger_head *head, uint32_t page, uint32_t end,
                            struct slab *ret_slab);

/** client_ledger_block() - the block at a place of the slab that was read last. Return: if one can
    live there. */
KMEM_MUST_USE bool client_ledger_block(const struct slab *slab, uint32_t index,
                                       struct block *ret_block);

/**
 * client_ledger_find() - the block that a client says an offset is in
 * @begin, @end:  its leased run, which the offset is in
 *
 * As ledger_find() looks for it: at most some 26 heads are read, and a head and an entry for each
 * of them that leads somewhere, however large the block is. *ret_slab is
 * the slab that it is in. Return: false: it tells of none.
 */
KMEM_MUST_USE bool client_ledger_find(const struct client_ledger *ledger,
                                      const struct client *client, uint32_t begin, uint32_t end,
                                      struct seg_off off, struct block *ret_block,
                                      struct slab *ret_slab);

/**
 * client_ledger_slab_of() - the slab that a client says a page is in, with all its entries
 * @begin, @end:  of its leased run, which the page is in: the slab lies between them
 * @ret_slab:     as client_ledger_slab(); n_blocks 0: it tells of none
 * Return: what that cost, in entries looked at, but for its entries.
 */
uint32_t client_ledger_slab_of(const struct client_ledger *ledger, const struct client *client,
                               uint32_t begin, uint32_t page, uint32_t end, struct slab *ret_slab);

/** client_ledger_is_fenced() - whether a client says membarrier() reaches it: proto/lease.h */
KMEM_MUST_USE bool client_ledger_is_fenced(const struct client_ledger *ledger, uint32_t slot);

/** client_ledger_n_used_pages() - as the client says; UINT32_MAX: it says nothing */
uint32_t client_ledger_n_used_pages(const struct client_ledger *ledger, uint32_t slot);

/**
 * client_ledger_entries_are_idle() - whether a slab of this class that begins here has no live
 * block
 */
KMEM_MUST_USE bool client_ledger_entries_are_idle(const struct client_ledger *ledger, uint32_t slot,
                                                  uint32_t page, uint32_t size_class);

/** client_ledger_slab_is_idle() - the same, and whether there is such a slab */
KMEM_MUST_USE bool client_ledger_slab_is_idle(const struct client_ledger *ledger, uint32_t slot,
                                              uint32_t page, uint32_t size_class);

/**
 * client_ledger_lifetimes() - copy what a client has noted of the blocks that it released
 * @ret_records:  LIFETIMES_MAX of them; those with a reason come first
 * Return: how many there are.
 */
uint32_t client_ledger_lifetimes(const struct client_ledger *ledger, uint32_t slot,
                                 struct ledger_lifetimes *ret_records);

/** client_ledger_reasons_init() - nothing was read yet */
void client_ledger_reasons_init(struct ledger_reasons_read *read);

/**
 * client_ledger_reason() - a reason out of a client's own table
 * @ret_text:  REASON_MAX_BYTES of room; "<unverified>" if there is no such reason
 * Return: its length, not terminated.
 */
size_t client_ledger_reason(const struct client_ledger *ledger, uint32_t slot, uint32_t id,
                            char *ret_text);

/**
 * client_ledger_reason_of_many() - likewise, for an answer that has many
 * @read:  what was read before for the same answer, and is added to; NULL: read it alone
 */
size_t client_ledger_reason_of_many(const struct client_ledger *ledger,
                                    struct ledger_reasons_read *read, uint32_t slot, uint32_t id,
                                    char *ret_text);

#endif
