/* SPDX-License-Identifier: MIT */
/*
 * sharing.h - a block, held by several
 *
 * What shares.h records is done here, with what it means for pages, ledgers and charges. A block
 * that is shared stays where it is. A direct one is in the server's ledger already; of a leased one
 * the pages are pinned, so that nobody takes them, until it is home again or its owner has ended:
 * then the slab becomes a direct one (adopt.h).
 *
 *      a share is LIVE  <=>  OWNER_HOLDS, OFFERED, a hold or a name keeps it
 *      a LIVE share is of one live direct entry, or of pages leased to its owner
 *      no page of a LIVE or RETURNING share is free, or another's
 *      an entry's holder is the client that is charged: see settle.h
 *      an offer is of the owner, which does not hold the block itself, or of the one holder, which
 *      is GIVEN; nobody else holds it, and no name leads to it                    : sharing_check()
 *
 * A block is offered by its owner, or by a client that was handed it. The first to attach it may do
 * with it what the owner may, and has a hold that says so, under its own reason: a direct block is
 * nobody else's then; a leased one goes home to its owner's lease one day.
 */
#ifndef DAEMON_CORE_SHARING_H
#define DAEMON_CORE_SHARING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/core.h"
#include "proto/attributes.h"
#include "proto/share.h"

enum {
    SHARING_OK,
    SHARING_E_FULL = 64,   /* no record is left for a share, a hold or a name */
    SHARING_E_USER_SHARES, /* these three: its user has as many as one may have */
    SHARING_E_USER_HOLDS,
    SHARING_E_USER_NAMES,
    SHARING_E_STALE,   /* the handle leads to nothing: the block is gone, or never was */
    SHARING_E_DENIED,  /* the tag is another; or to write where that is not allowed; or the name
                            is another's */
    SHARING_E_HELD,    /* it can not be handed over: others hold it */
    SHARING_E_EXISTS,  /* the name is another's, and was to be new */
    SHARING_E_NONE,    /* there is no such name */
    SHARING_E_CORRUPT, /* sharing_check() */
    /* Besides, where an offset is meant: DIRECT_E_WILD, _INTERIOR, _RELEASED, _FOREIGN. */
};

/** sharing_is_full() - whether that is what an answer means: of all, or of the user's */
static inline bool sharing_is_full(int answer)
{
    return answer >= SHARING_E_FULL && answer <= SHARING_E_USER_NAMES;
}

/* A client asks for something, now. */
struct sharing {
    struct core *core;
    struct client *client;
    uint64_t sequence; /* of its request; 0: it has none */
    uint32_t now;      /* tick */
};

/* A reason of its own, for what it attaches. */
struct sharing_reason {
    const char *text; /* UTF-8, at most REASON_MAX_BYTES */
    size_t n_bytes;
};

/* What was attached. */
struct attached {
    struct share_handle handle;
    bool is_own; /* the client is its owner: it holds it as such, and no hold was made */
    bool is_writable;
};

/**
 * sharing_share() - let those who get the handle attach a block that the client owns, or was handed
 * Again with the same block: the same handle; `read_only` is what was said last.
 * Return: SHARING_OK, a SHARING_E_x that is_full(), or a DIRECT_E_x; ret_block as direct_find().
 */
KMEM_MUST_USE int sharing_share(const struct sharing *of, struct seg_off off, bool read_only,
                                struct share_handle *ret_handle, struct block *ret_block);

/** sharing_attach() - hold a block. Return: SHARING_OK, _E_STALE, _E_DENIED, or as is_full(). */
KMEM_MUST_USE int sharing_attach(const struct sharing *of, const struct share_handle *handle,
                                 bool write, struct sharing_reason reason,
                                 struct attached *ret_attached);

/* What became of a block that a client has let go of. */
enum let_go {
    LET_GO_FREED, /* it is free; or, of the client's own lease, the client may take it home */
    LET_GO_KEPT,  /* others hold it */
};

/** sharing_is_shared() - whether the block that begins there is shared, or on its way home */
bool sharing_is_shared(const struct core *core, struct seg_off off);

/**
 * sharing_look() - what would become of a shared block if the client let go of it
 * Return: SHARING_OK; DIRECT_E_FOREIGN: it does not hold it. ret_block is written.
 */
KMEM_MUST_USE int sharing_look(const struct sharing *of, struct seg_off off,
                               enum let_go *ret_let_go, struct block *ret_block);

/* What a release that is asked for again came to is in its intent: INTENT_RELEASE, `at` is the
   offset, and n_pages this; 0: of a block that was not shared. */
#define SHARING_INTENT(let_go) (1 + (uint32_t)(let_go))

/**
 * sharing_release() - the client, an owner or a holder, lets go of a shared block
 * Return: SHARING_OK; DIRECT_E_FOREIGN: it is neither.
 */
KMEM_MUST_USE int sharing_release(const struct sharing *of, struct seg_off off,
                                  enum let_go *ret_let_go, struct block *ret_block);

/**
 * sharing_transfer() - hand a block over: the first to attach owns it
 * Until then it is charged to the client, and freed when that ends, unless `keep`.
 * Return: SHARING_OK, _E_HELD, that it is_full(), or a DIRECT_E_x.
 */
KMEM_MUST_USE int sharing_transfer(const struct sharing *of, struct seg_off off, bool keep,
                                   struct share_handle *ret_handle, struct block *ret_block);

/* A name, as it is published. */
struct sharing_name {
    const char *text;
    size_t n_bytes;
    bool keep;      /* it outlives the client */
    bool exclusive; /* it may not be another's */
};

/**
 * sharing_publish() - let a name mean a block that the client holds
 * @version:  from names_version(): the caller has written it into the client's intent
 * Return: SHARING_OK, _E_EXISTS, that it is_full(), or a DIRECT_E_x.
 */
KMEM_MUST_USE int sharing_publish(const struct sharing *of, struct seg_off off,
                                  const struct sharing_name *name, uint64_t version,
                                  struct block *ret_block);

/** sharing_unpublish() - the name means nothing. Return: SHARING_OK, _E_NONE or _E_DENIED. */
KMEM_MUST_USE int sharing_unpublish(const struct sharing *of, const char *text, size_t n_bytes);

/** sharing_has_any() - whether a client owns, holds or has named anything that is shared */
bool sharing_has_any(const struct core *core, uint32_t slot);

/**
 * sharing_deliver() - tell a client, in its ledger, which of its blocks have come home
 * What finds no room there waits. Called after each change, and when the client asks for anything.
 */
void sharing_deliver(struct core *core, struct client *client);

/**
 * sharing_reap() - an ended client lets go of its names, offers and holds
 * @spent:  some for each of them; it ends when it has come to `budget`, and at least one is done
 *
 * What others hold of its lease goes into the server's own ledger; of direct blocks another holder
 * is charged. Whatever is charged to it afterwards is nobody else's: client->has_let_go.
 * Return: whether it has none any more.
 */
KMEM_MUST_USE bool sharing_reap(struct core *core, struct client *client, uint32_t budget,
                                uint32_t *spent);

/** sharing_fini() - the segment ends, no client is left: what names and offers kept ends with it */
void sharing_fini(struct core *core);

/**
 * sharing_recover() - after all runs were read: finish what was begun
 * Return: 0 or SHARING_E_CORRUPT, and *ret_why says what does not add up.
 */
KMEM_MUST_USE int sharing_recover(struct core *core, const char **ret_why);

/* ----------------------------------------------------- what the files of this header share ---- */

/**
 * sharing_find_held() - the share of a block that a client holds; made, if it holds it alone
 * Return: 0, that it is_full(), or a DIRECT_E_x.
 */
KMEM_MUST_USE int sharing_find_held(const struct sharing *of, struct seg_off off,
                                    uint32_t *ret_share, struct block *ret_block);

/**
 * sharing_end_offer() - an offer has been taken up: who made it, and is no owner, holds it no more
 * @flags:  SHARE_OWNER_HOLDS: by the owner; 0: by who has a hold that says so
 */
void sharing_end_offer(struct core *core, uint32_t share, uint64_t flags);

/** sharing_check() - want the equations above. Return: 0 or SHARING_E_CORRUPT. */
KMEM_MUST_USE int sharing_check(const struct core *core);

#endif
