/* SPDX-License-Identifier: MIT */
/*
 * The daemon refuses with a code, the block that it means and a sentence. The code becomes the
 * errno that kmem.h documents. The sentence is passed on, for the daemon knows most: the
 * block's owner, the largest holders. What only this side knows is added: what the memory was for,
 * and what the program should do instead.
 */
#include "client/link/refusal.h"

#include <errno.h>
#include <inttypes.h>

static int refusal_errno(Kmem__ErrorCode code)
{
    switch (code) {
    case KMEM__ERROR_CODE__ERROR_VERSION:
        return EPROTONOSUPPORT;
    case KMEM__ERROR_CODE__ERROR_DENIED:
        return EACCES;
    case KMEM__ERROR_CODE__ERROR_LIMIT:
        return EUSERS;
    case KMEM__ERROR_CODE__ERROR_NO_MEMORY:
    case KMEM__ERROR_CODE__ERROR_QUOTA:
    case KMEM__ERROR_CODE__ERROR_BUDGET:
        return ENOMEM;
    case KMEM__ERROR_CODE__ERROR_INVALID:
    case KMEM__ERROR_CODE__ERROR_WILD:
    case KMEM__ERROR_CODE__ERROR_INTERIOR:
        return EINVAL;
    case KMEM__ERROR_CODE__ERROR_RELEASED:
        return EALREADY;
    case KMEM__ERROR_CODE__ERROR_FOREIGN:
        return EPERM;
    case KMEM__ERROR_CODE__ERROR_BUSY:
        return EBUSY;
    case KMEM__ERROR_CODE__ERROR_GONE:
        return ECONNRESET;
    case KMEM__ERROR_CODE__ERROR_STALE:
        return ESTALE;
    case KMEM__ERROR_CODE__ERROR_HELD:
        return EBUSY;
    case KMEM__ERROR_CODE__ERROR_EXISTS:
        return EEXIST;
    case KMEM__ERROR_CODE__ERROR_NO_NAME:
        return ENOENT;
    case KMEM__ERROR_CODE__ERROR_OLD:
        return EAGAIN;
    case KMEM__ERROR_CODE__ERROR_FULL:
        return ENOSPC;
    case KMEM__ERROR_CODE__ERROR_UNSPECIFIED:
    case KMEM__ERROR_CODE__ERROR_PROTOCOL:
    case _KMEM__ERROR_CODE_IS_INT_SIZE:
        break;
    }
    /* A code of a newer daemon, too. */
    return EPROTO;
}

/* What the program should do instead; "" if the daemon's sentence says all there is to say. */
static const char *refusal_advice(Kmem__ErrorCode code)
{
    switch (code) {
    case KMEM__ERROR_CODE__ERROR_WILD:
        return "; pass a pointer that an allocation of this process returned";
    case KMEM__ERROR_CODE__ERROR_INTERIOR:
        return "; pass the pointer that the allocation returned";
    case KMEM__ERROR_CODE__ERROR_RELEASED:
        return "; another copy of the pointer was used";
    case KMEM__ERROR_CODE__ERROR_FOREIGN:
        return "; only its owner may do this, and the child of a fork owns none of its parent's "
               "blocks";
    case KMEM__ERROR_CODE__ERROR_UNSPECIFIED:
    case KMEM__ERROR_CODE__ERROR_PROTOCOL:
    case KMEM__ERROR_CODE__ERROR_VERSION:
    case KMEM__ERROR_CODE__ERROR_DENIED:
    case KMEM__ERROR_CODE__ERROR_LIMIT:
    case KMEM__ERROR_CODE__ERROR_INVALID:
    case KMEM__ERROR_CODE__ERROR_NO_MEMORY:
    case KMEM__ERROR_CODE__ERROR_BUSY:
    case KMEM__ERROR_CODE__ERROR_QUOTA:
    case KMEM__ERROR_CODE__ERROR_GONE:
    case KMEM__ERROR_CODE__ERROR_STALE:
    case KMEM__ERROR_CODE__ERROR_HELD:
    case KMEM__ERROR_CODE__ERROR_EXISTS:
    case KMEM__ERROR_CODE__ERROR_NO_NAME:
    case KMEM__ERROR_CODE__ERROR_OLD:
    case KMEM__ERROR_CODE__ERROR_FULL:
    case KMEM__ERROR_CODE__ERROR_BUDGET:
    case _KMEM__ERROR_CODE_IS_INT_SIZE:
        break;
    }
    return "";
}

int kmem__refusal_of_block(const Kmem__Error *error, struct seg_off offset, struct failure *failure)
{
    int r = kmem__failure_set(failure, refusal_errno(error->code), "%s", "");
    kmem__failure_add_sentence(failure, error->message);
    kmem__failure_add(failure, "%s", refusal_advice(error->code));
    kmem__failure_about(failure, error->offset != 0 ? error->offset : offset.bytes,
                        error->num_bytes, error->reason);
    return r;
}

int kmem__refusal_of_leased(Kmem__ErrorCode code, struct seg_off offset,
                            const struct leased_block *block, struct failure *failure)
{
    int r = kmem__failure_set(failure, refusal_errno(code), "%s", "");
    if (code == KMEM__ERROR_CODE__ERROR_INTERIOR) {
        kmem__failure_add(failure,
                          "offset %" PRIu64 " lies %" PRIu64 " bytes inside the block at offset "
                          "%" PRIu64 " (%" PRIu64 " bytes, \"",
                          offset.bytes, offset.bytes - block->offset.bytes, block->offset.bytes,
                          block->num_bytes);
        kmem__failure_add_foreign(failure, block->reason);
        kmem__failure_add(failure, "\"), not at its start");
        kmem__failure_about(failure, block->offset.bytes, block->num_bytes, block->reason);
    } else {
        kmem__failure_add(failure,
                          code == KMEM__ERROR_CODE__ERROR_WILD
                              ? "offset %" PRIu64 " lies in no block"
                              : "the block at offset %" PRIu64 " has been released already",
                          offset.bytes);
        kmem__failure_about(failure, offset.bytes, 0, NULL);
    }
    kmem__failure_add(failure, "%s", refusal_advice(code));
    return r;
}

int kmem__refusal_of_room(const Kmem__Error *error, uint64_t num_bytes, const char *reason,
                          struct failure *failure)
{
    int r = kmem__failure_set_for(failure, refusal_errno(error->code), num_bytes, reason);
    kmem__failure_add_sentence(failure, error->message);
    return r;
}

int kmem__refusal_of_handle(const Kmem__Error *error, struct failure *failure)
{
    int r = kmem__failure_set(failure, refusal_errno(error->code), "%s", "");
    kmem__failure_add_sentence(failure, error->message);
    kmem__failure_about(failure, error->offset, error->num_bytes, error->reason);
    return r;
}

int kmem__refusal_of_lease(const Kmem__Error *error, struct failure *failure)
{
    int r = kmem__failure_set(failure, refusal_errno(error->code), "%s", "");
    kmem__failure_add_sentence(failure, error->message);
    return r;
}

int kmem__refusal_of_hello(const Kmem__Error *error, const char *path, struct failure *failure)
{
    int r = kmem__failure_set(failure, refusal_errno(error->code),
                              "the daemon at %s admits no client: ", path);
    kmem__failure_add_sentence(failure, error->message);
    return r;
}

int kmem__refusal_of_query(const Kmem__Error *error, struct failure *failure)
{
    int r = kmem__failure_set(failure, refusal_errno(error->code), "the daemon refuses: ");
    kmem__failure_add_sentence(failure, error->message);
    return r;
}
