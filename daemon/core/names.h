/* SPDX-License-Identifier: MIT */
/*
 * names.h - names for shared blocks
 *
 * A name leads to one share at a time; which, and since which version, is one word of its record.
 * Versions come from one counter for all names, and never repeat in a segment.
 *
 *      every used record has a LIVE share, and is found by its bytes; no two have the same
 *      a share's n_names              == the used records that lead to it
 *      n_names                        == the used records
 *      a record with an owner is on that owner's chain, of n_of_owner records
 *      a record is on one of its share's two chains: with an owner, or without
 *      versions are at most the last that was given                          : names_check()
 */
#ifndef DAEMON_CORE_NAMES_H
#define DAEMON_CORE_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/shares.h"
#include "daemon/core/state.h"
#include "proto/attributes.h"

#define NAME_NONE UINT32_MAX

/* What is derived of a record; NAME_NONE: none. */
struct name_links {
    uint32_t next; /* of its bucket, or of the free ones */
    uint32_t next_of_owner;
    uint32_t prev_of_owner;
    uint32_t next_of_share; /* these two in a ring: behind the last is the first */
    uint32_t prev_of_share;
};

/* The names of a share: 1 more than the first record of each ring; 0: there is none. */
struct share_names {
    uint32_t of_clients;
    uint32_t of_ended; /* their publishers have, and they are kept */
};

struct names {
    struct state *state;
    struct shares *shares;
    struct name_links *links;
    uint32_t *buckets; /* hash: the first record; as many as `limit` */
    uint32_t n_buckets;
    uint32_t *of_owner; /* by slot: the first that it published, and how many */
    uint32_t *n_of_owner;
    struct share_names *of_share; /* by share */
    uint32_t free;                /* the first free record below n_records */
    uint32_t n_records;
    uint32_t n_names;
    uint32_t limit; /* how many there may be; there are more if it was larger before */
    struct state_numbers versions;
};

enum {
    NAMES_OK,
    NAMES_E_FULL,
    NAMES_E_CORRUPT,
};

/** names_init() - no names, and from 1 to SHARE_NAMES_MAX at most. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int names_init(struct names *names, struct state *state, struct shares *shares,
                             uint32_t limit);

void names_fini(struct names *names);

/** names_find() - the record of a name; NAME_NONE: there is none */
uint32_t names_find(const struct names *names, const char *text, size_t n_bytes);

/** names_version() - the version that is given next; reserved beyond a restart */
uint64_t names_version(struct names *names);

/**
 * names_set() - a name means this share from one store on
 * @version:    from names_version()
 * @owner:      who publishes it
 * @ret_former: the share that it meant before; 0: none
 *
 * Return: 0 or NAMES_E_FULL.
 */
KMEM_MUST_USE int names_set(struct names *names, const char *text, size_t n_bytes, uint32_t share,
                            uint64_t version, uint32_t owner, bool keep, uint32_t *ret_former);

/** names_remove() - the name means nothing any more. Return: the share that it meant. */
uint32_t names_remove(struct names *names, uint32_t name);

/** names_disown() - who published it has ended, and it is kept */
void names_disown(struct names *names, uint32_t name);

/** names_record() - what is stored of it */
const struct state_name *names_record(const struct names *names, uint32_t name);

/** names_bell() - the number of its bell: proto/notice.h */
uint32_t names_bell(const struct names *names, uint32_t name);

/** names_share() - what it means. names_version_of(): since when */
uint32_t names_share(const struct names *names, uint32_t name);
uint64_t names_version_of(const struct names *names, uint32_t name);

/** names_owner() - who published it; SLOT_NONE: it has ended */
uint32_t names_owner(const struct names *names, uint32_t name);

/** names_uid() - the user of who published it */
uint32_t names_uid(const struct names *names, uint32_t name);
/** names_keep() - whether it outlives that */
bool names_keep(const struct names *names, uint32_t name);

/** names_first_of() - a name that the client of a slot owns; NAME_NONE: none */
uint32_t names_first_of(const struct names *names, uint32_t slot);

/** names_publisher() - the client that published a name of a share, of several the first;
    SLOT_NONE: there is no name, or all publishers have ended */
uint32_t names_publisher(const struct names *names, uint32_t share);

/** names_of_share() - a name that means a share; NAME_NONE: none does */
uint32_t names_of_share(const struct names *names, uint32_t share);

/** names_count_of() - how many names the client of a slot owns */
uint32_t names_count_of(const struct names *names, uint32_t slot);

/** names_next() - the first used record from one on; NAME_NONE: none */
uint32_t names_next(const struct names *names, uint32_t name);

/** names_recover() - read the records, behind shares_recover(). Return: 0; NAMES_E_CORRUPT, and
    *ret_why says why. */
KMEM_MUST_USE int names_recover(struct names *names, const char **ret_why);

/** names_check() - recount. Return: 0 or NAMES_E_CORRUPT. */
KMEM_MUST_USE int names_check(const struct names *names);

#endif
