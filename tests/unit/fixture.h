/* SPDX-License-Identifier: MIT */
/*
 * fixture.h - a core in memory, and processes that exist for it only
 */
#ifndef TESTS_UNIT_FIXTURE_H
#define TESTS_UNIT_FIXTURE_H

#include <stdint.h>

#include "daemon/core/reap.h"
#include "daemon/core/core.h"
#include "daemon/core/sharing.h"
#include "tests/support/seeded.h"

/* The name of its segment. */
#define FIXTURE_NAME "fixture"
#define FIXTURE_BORN_MS UINT64_C(1000000)
/* So many of its clients, those of the lowest slots, can have ledgers. */
#define FIXTURE_LEDGERS 64
/* By which its processes are known again. */
#define FIXTURE_NONCE(pid) (UINT64_C(0x1000000) + (pid))

struct fixture {
    struct core core;
    struct core_config config;
    void *state_base;
    uint64_t state_bytes;
    uint64_t now_ms;      /* what the functions below take for the present */
    struct seeded seeded; /* for the core's random numbers */
    uint32_t n_rung;      /* bells, */
    uint32_t bell;        /* the last one */
    uint32_t n_buried;
    struct obituary last;                   /* buried */
    struct ledger ledgers[FIXTURE_LEDGERS]; /* by slot; header NULL: there is none */
    struct ledger_layout ledger_layout;
};

void fixture_init(struct fixture *fixture, uint32_t n_pages, uint32_t clients_limit);

/** fixture_fini() - end everybody, and assert that the segment is as it was at the beginning */
void fixture_fini(struct fixture *fixture);

/** fixture_identity() - the process `pid`: user 1000 + pid % 3, command "worker-PID" */
struct client_identity fixture_identity(uint32_t pid);

/**
 * fixture_restart() - another core goes on with the state that this one leaves behind
 * Return: what recover() returns; ret_why has FIXTURE_WHY_BYTES.
 */
int fixture_restart(struct fixture *fixture, char *ret_why);
#define FIXTURE_WHY_BYTES 256

/** fixture_states() - recover_states_fn: whoever was not given a ledger has lost it */
_Atomic uint64_t *fixture_states(uint32_t slot, void *user);

struct client *fixture_join(struct fixture *fixture, uint32_t pid);

/**
 * fixture_ledger() - the ledger of a client, as the client has it; made if there is none
 *
 * In memory; the core reads it as it would read a file. It goes with the client.
 */
struct ledger *fixture_ledger(struct fixture *fixture, struct client *client);

/** fixture_ledger_close() - a slot is free; for who does not reap with fixture_reap() */
void fixture_ledger_close(struct fixture *fixture, uint32_t slot);

/** fixture_lease() - n_pages for a client, which must have a ledger. Return: the first. */
uint32_t fixture_lease(struct fixture *fixture, struct client *client, uint32_t n_pages);

/** fixture_class_of() - the first size class whose slabs span so many pages */
uint32_t fixture_class_of(uint32_t span_pages);

/** fixture_carve() - take pages of a client's lease and make a slab of a size class there */
void fixture_carve(struct fixture *fixture, const struct client *client, uint32_t page,
                   uint32_t size_class);

/** fixture_carve_large() - likewise, one large block of n_pages; its reason is "no reason given" */
void fixture_carve_large(struct fixture *fixture, const struct client *client, uint32_t page,
                         uint32_t n_pages, uint64_t num_bytes);

/** fixture_tell() - write a reason into a client's ledger. Return: its id there. */
uint32_t fixture_tell(struct fixture *fixture, const struct client *client, const char *reason);

/** fixture_allocate() - which must succeed */
struct seg_off fixture_allocate(struct fixture *fixture, struct client *client, uint64_t num_bytes,
                                const char *reason);

/** fixture_sharing() - a client asks for something, now */
struct sharing fixture_sharing(struct fixture *fixture, struct client *client);

/* Of fixture_next(), beside what sharing_attach() answers. */
enum { FIXTURE_E_NO_NAME = 1000, FIXTURE_E_OLD };

/**
 * fixture_next() - hold what a name means, if it is newer than a version, as dispatch_names.c does
 * Return: as sharing_attach(), or one of these. All but _E_NO_NAME write *ret_version.
 */
int fixture_next(struct fixture *fixture, struct client *client, const char *text, uint64_t after,
                 struct attached *ret_attached, uint64_t *ret_version);

/**
 * fixture_take() - a client takes a block of num_bytes out of its lease, and enters it as shared
 * @page:  where a slab of its size, or a large block, is open
 */
struct seg_off fixture_take(struct fixture *fixture, const struct client *client, uint32_t page,
                            uint64_t num_bytes);

void fixture_release(struct fixture *fixture, struct client *client, struct seg_off off);

/** fixture_end() - end a client, and reap until it is buried */
void fixture_end(struct fixture *fixture, struct client *client, bool left);

/** fixture_reap() - one reap(); obituaries end up in the fixture */
void fixture_reap(struct fixture *fixture, uint32_t budget);

/** fixture_scan() - ask for a look at all blocks, and make it. Return: it; scans_leave() is due. */
struct scan *fixture_scan(struct fixture *fixture, struct scan_reader *reader, enum scan_kind kind);

/** fixture_hold() - allocate n_blocks of a size, so many that they fill several slabs */
void fixture_hold(struct fixture *fixture, struct client *client, uint32_t n_blocks,
                  uint64_t num_bytes);

/** fixture_reap_all() - reap in the smallest steps, and check after each. Return: how many. */
uint32_t fixture_reap_all(struct fixture *fixture);

#endif
