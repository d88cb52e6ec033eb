/* SPDX-License-Identifier: MIT */
/*
 * client_files.h - the ledger files of clients, and the notice that they read: proto/notice.h
 *
 * The daemon maps of a ledger only the states of its pages and the returns, which it changes, and
 * what its client counts, which it looks at often; the rest it reads.
 */
#ifndef DAEMON_SERVER_CLIENT_FILES_H
#define DAEMON_SERVER_CLIENT_FILES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/core.h"
#include "proto/attributes.h"
#include "proto/ledger.h"

struct client_files_file;

struct client_files {
    const char *name;                /* of the segment */
    struct client_files_file *files; /* by slot */
    struct ledger_layout layout;
    uint32_t n_pages;
    _Atomic uint32_t *tick;  /* in the clock's page */
    _Atomic uint32_t *bells; /* behind it */
    int clock_fd;            /* of the same file, for reading only */
};

/**
 * client_files_init() - no ledger yet
 * @clock_fd:  a file of NOTICE_BYTES, of zeros when the segment is new; the caller's
 * Return: 0 or a negative errno: -EPROTO if it has another size.
 */
KMEM_MUST_USE int client_files_init(struct client_files *ledgers, const char *name,
                                    uint32_t n_pages, int clock_fd);

/** client_files_configure() - that a core reads ledgers here, and which loops clients clear by */
void client_files_configure(struct client_files *ledgers, struct core_config *config);

/** client_files_fini() - asserts that no ledger is open */
void client_files_fini(struct client_files *ledgers);

/**
 * client_files_open() - make a slot's ledger, unless it has one
 * @ret_fd:      the file; the ledgers' own
 * @ret_states:  the mapped states of its pages, until client_files_close()
 * Return: 0 or a negative errno.
 */
KMEM_MUST_USE int client_files_open(struct client_files *ledgers, uint32_t slot, int *ret_fd,
                                    _Atomic uint64_t **ret_states);

/**
 * client_files_adopt() - go on with the ledger that a slot has had
 * @fd:  its file; the ledgers' own from now on, also on error
 * Return: 0 or a negative errno: -EPROTO if it is no ledger of such a segment.
 */
KMEM_MUST_USE int client_files_adopt(struct client_files *ledgers, uint32_t slot, int fd);

/** client_files_states() - the mapped states of a slot's ledger; NULL: it has none */
_Atomic uint64_t *client_files_states(const struct client_files *ledgers, uint32_t slot);

/** client_files_counts() - what the client of a slot counts, mapped; NULL: it has no ledger */
const struct ledger_counts *client_files_counts(const struct client_files *ledgers, uint32_t slot);

/** client_files_returns() - where blocks come home to it, mapped; NULL: it has no ledger */
struct ledger_returns *client_files_returns(const struct client_files *ledgers, uint32_t slot);

/** client_files_close() - the slot is free; nothing if it has no ledger */
void client_files_close(struct client_files *ledgers, uint32_t slot);

/** client_files_read() - client_ledger_read_fn; user is the ledgers */
bool client_files_read(void *user, uint32_t slot, uint64_t at, void *buffer, size_t n_bytes);

/** client_files_set_spare() - how many pages may be used before memory is short */
void client_files_set_spare(struct client_files *ledgers, uint32_t n_pages);

/** client_files_set_pages() - what the segment has now */
void client_files_set_pages(struct client_files *ledgers, uint32_t n_pages);

/** client_files_set_tick() - what clients put into their entries from now on */
void client_files_set_tick(struct client_files *ledgers, uint32_t tick);

/** client_files_set_budgets() - which budgets deny, by a number: struct notice */
void client_files_set_budgets(struct client_files *ledgers, uint32_t generation);

#endif
