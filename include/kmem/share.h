/* SPDX-License-Identifier: MIT */
/*
 * share.h - blocks that several processes hold
 *
 * Any block of kmem_allocate() can be shared. The process that shares it gets a handle; a process
 * that has the handle attaches the block, and holds it under a reason of its own; every holder, the
 * owner included, lets go with kmem_release(). The block is freed when the last one has let go or
 * has died, and not before. Names stand for blocks likewise: a name holds what it means.
 *
 *      // the producer                             // a consumer
 *      frame = kmem_allocate(size, "frame");       uint64_t seen = 0;
 *      fill(frame);                                const void *frame = NULL;
 *      kmem_publish(frame, "camera0/latest",       while (kmem_next("camera0/latest", KMEM_READ,
 *                   KMEM_GIVE, NULL);                      "detect", &seen, &frame, -1) == 0) {
 *                                                      look(frame);
 *                                                  }
 *
 * WHAT A HOLDER MAY RELY ON
 *
 *  - The bytes stay where they are, and stay the block's, until it lets go.
 *  - When the owner lets go or dies: nothing changes for those who hold the block. Its names end
 *    with it, and what it had handed over that no process has attached, but for KMEM_KEEP.
 *  - When kmemd's server is killed or restarted: holds, names and handles are as before; a call
 *    waits until it is back, or fails with ETIMEDOUT (TIME, below). When the whole daemon has ended
 *    the segment has: the bytes stay mapped, every call says ECONNRESET.
 *  - When the segment, or the machine, runs short: what anything holds is never taken, moved or
 *    written; others are refused, and told who holds what. There is no age at which a hold ends.
 *  - A handle that is stale, guessed, changed, or of another segment attaches nothing (ESTALE,
 *    EACCES); it never leads to another block's bytes.
 *  - What a name means changes from one block to the other at once: a consumer sees the one or the
 *    other, whole.
 *  - A block that is attached without KMEM_WRITE is mapped for reading, as far as its surroundings
 *    are (kmem.h, "a wild pointer"): a write through it ends in SIGSEGV where nothing else of this
 *    process lies within 16 KiB, or 2 MiB where the segment is made of huge pages. Not beyond 255
 *    stretches that are read so, and not with $KMEM_GUARD=off. That guards against mistakes: a
 *    member of the segment may write all of it. What was let go of stays readable until the process
 *    asks for its next lease, or has let go of 64.
 *  - kmem_close(), exec and exit let go of everything.
 *
 * Memory is counted as one process's, and against its quota (kmemd --quota), however many hold it:
 * the owner's while that holds or offers the block; else a holder's; else, while names alone keep
 * it, that of a living process that has published it, with KMEM_GIVE or without. What KMEM_KEEP
 * keeps behind the end of all these counts as no process's.
 *
 * The library does not order what two holders write: that is the programs' to agree on, with C11
 * atomics in the block, say. A block that was published and is not written any more is safe to
 * read.
 *
 * A block of the owner's lease that others hold longer than the owner stays in that lease, and
 * comes home to it when the last of them has let go: the owner's next allocations have it, without
 * a round trip. Until then it is charged to the owner; an owner that never allocates again keeps it
 * charged.
 *
 * READERS: a process that joins with kmem_join_as_reader(), or with KMEM_ROLE=reader in its
 * environment, is given the segment for reading only: the kernel makes no page of its mapping
 * writable. It may attach, find, follow, wait for and release blocks, and ask what query.h has. To
 * allocate, share, transfer, publish or unpublish fails with EPERM; to attach with KMEM_WRITE, or
 * what kmem_transfer() hands over, with EACCES. Against mistakes that is enough. Against malice it
 * is a wall only if the reader's user is neither root nor kmemd's nor any member's: others may open
 * the segment anew through /proc, or take a member's descriptor. kmemd says whether it is so,
 * `kmemctl clients` shows it, and `kmemd --readers=walled` lets in no other readers, and no member
 * that would break a reader's wall. A user is the effective one of the process that connects. A
 * process that may trace others (CAP_SYS_PTRACE) is as good as root, and what a member, or a parent
 * that was one, hands over itself no wall keeps out. A reader costs the daemon what a member does.
 *
 * TIME: a call whose answer does not come in time fails with ETIMEDOUT, and the next one that needs
 * the daemon finds out first what became of it. An attach, a find or a next that succeeded
 * meanwhile is let go of; a transfer is taken back, and the pointer is as good as before. A share
 * and a publish that the daemon was asked for happen, and with KMEM_GIVE the block is given at
 * once; a release and an unpublish that it was asked for have succeeded, and say so. As long as the
 * daemon does not answer an earlier call, it is asked for nothing: then a share and an unpublish
 * fail with ETIMEDOUT, a publish fails with EAGAIN, and nothing has happened. To share again is
 * right in either case: the handle is the same.
 *
 * THREADS: every function may be called from any thread. A block that is attached again by the same
 * process is counted in the process: as many kmem_release() calls let go of it.
 *
 * FORK: the child holds nothing of what its parent holds; its first call joins anew. What the
 * parent had attached at that moment stays as readable and writable in the child as it was, or is
 * a copy of it, where kmem.h says so.
 *
 * POINTERS: where the address of a pointer is asked for, it may be a pointer of any type, in C; in
 * C++ cast it to void **.
 */
#ifndef KMEM_SHARE_H
#define KMEM_SHARE_H

#include <stddef.h>
#include <stdint.h>

#include <kmem/kmem.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The longest name, in bytes, without the terminating NUL. */
#define KMEM_NAME_MAX_BYTES 100
/** How many kmem_attach_many() and kmem_release_many() take at a time. */
#define KMEM_MANY_MAX 64
/** The longest text of kmem_handle_to_text(), with the NUL. */
#define KMEM_HANDLE_TEXT_BYTES 256

/** What leads to a shared block. Plain data: it may travel in a pipe, a file, or a block. */
struct kmem_handle {
    uint64_t instance;   /* of the segment */
    uint64_t generation; /* never used twice in an instance */
    uint64_t tag;        /* random */
    uint64_t offset;     /* kmem_offset_of() the block */
    uint64_t num_bytes;  /* as asked for */
};

enum kmem_share_flags {
    KMEM_READ = 0,
    KMEM_WRITE = 1,      /* attach for writing */
    KMEM_KEEP = 2,       /* the name, or the offer, outlives this process */
    KMEM_GIVE = 4,       /* let go of the block in the same request */
    KMEM_EXCLUSIVE = 8,  /* the name may not be another process's */
    KMEM_NOWAIT = 16,    /* do not wait */
    KMEM_READ_ONLY = 32, /* kmem_share(): nobody but the owner may attach it for writing */
    KMEM_SHAREABLE = 64, /* kmem_try_allocate_with(): these two */
    KMEM_UNINITIALIZED = 128,
};

/**
 * kmem_try_allocate_with() - kmem_try_allocate() for a block that is to be shared, or overwritten
 * @num_bytes:  1 to the segment's size
 * @flags:      KMEM_SHAREABLE, KMEM_UNINITIALIZED, both or 0
 * @reason:     why the memory is needed; NULL is KMEM_NO_REASON; copied
 *
 * KMEM_SHAREABLE: a block of up to 64 KiB lies among blocks of that kind alone, of this process and
 * of others, so that what is opened for those who attach it is nothing that was not meant to be
 * shared: as far as 16 KiB go. Where the segment is made of huge pages 2 MiB are opened at a time,
 * and other blocks may lie there. It costs a round trip, each time. A larger block has pages of its
 * own in any case, and is allocated as ever. Any block can be shared without this flag.
 *
 * KMEM_UNINITIALIZED: bytes of the block may be what this process left there, in blocks that it has
 * released; all others are 0. They are never another process's: what is leased
 * anew, or was carved by the daemon, is cleared, and so is what another process has held for
 * writing, by KMEM_WRITE or by kmem_transfer(). A block that others attached for reading alone
 * comes home as it was. A process that writes where it holds nothing for writing is not noticed: a
 * forked child in what its parent had at that moment, say. Of a block of more than 64 KiB the last
 * 16 KiB are mostly cleared, and any block may be: nothing can be kept in released memory.
 *
 * Return: the block; NULL and errno as kmem_try_allocate(), and EINVAL: a flag is unknown.
 */
KMEM_API KMEM_MUST_USE void *kmem_try_allocate_with(size_t num_bytes, int flags,
                                                    const char *reason);

/**
 * kmem_join_as_reader() - join the segment now, for reading only
 * @ret_walled:  written on success, 1 or 0: whether the reader's user is neither root nor kmemd's,
 *               nor any member's, at the moment of joining. May be NULL
 *
 * To be called before any other call of the library, or behind kmem_close(), which ends it. A child
 * that is forked off later joins as a reader, too. Called again it says the same again.
 *
 * Return: 0, or a negative errno:
 *   -EISCONN  this process has joined as a member already
 *   -EACCES   kmemd lets no readers in (--readers=none), or only walled ones
 *   and those of connecting: kmem.h
 */
KMEM_API KMEM_MUST_USE int kmem_join_as_reader(int *ret_walled);

/**
 * kmem_share() - let processes that have the handle attach a block
 * @mem:         a block that this process allocated, or was handed by kmem_transfer()
 * @flags:       0 or KMEM_READ_ONLY
 * @ret_handle:  written on success; the same one again for the same block
 *
 * What @flags say of reading and writing is true of attaches from then on; it can be said anew.
 *
 * Ownership: the caller goes on holding the block.
 * Waiting:   a round trip, at most $KMEM_TIMEOUT_MS.
 *
 * Return: 0, or a negative errno:
 *   -EINVAL, -EALREADY, -EPERM   as kmem_try_release(): no block, or not this process's to share:
 *              only its owner may, which is the process that allocated it or was handed it. -EPERM
 *              also of a reader
 *   -ENOSPC    131,071 blocks are shared already, or as many of its user's as kmemd
 *              --shares-per-uid allows, half of them by default
 *   and those of a call that needs the daemon
 */
KMEM_API KMEM_MUST_USE int kmem_share(const void *mem, int flags, struct kmem_handle *ret_handle);

/**
 * kmem_attach() - hold a shared block
 * @handle:   where it is
 * @flags:    KMEM_READ or KMEM_WRITE
 * @reason:   why this process wants it; copied. NULL is KMEM_NO_REASON
 * @ret_mem:  the block; written on success only
 *
 * Ownership: the caller's hold, until kmem_release() or kmem_try_release().
 * Waiting:   a round trip; none if this process holds the block already.
 *
 * Return: 0, or a negative errno; nothing has changed then:
 *   -ESTALE   the block is gone, or never was; or the handle is of another segment
 *   -EACCES   the tag is wrong; or KMEM_WRITE, and only reading is allowed, or this process is a
 *             reader; or it is one, and the block is handed over by kmem_transfer()
 *   -ENOSPC   1,048,575 holds are there already, or as many of its user's as kmemd --holds-per-uid
 *             allows, half of them by default
 *   -EINVAL   a flag is unknown, or a pointer is NULL
 *   -ENOMEM   this process has no memory to note the hold
 *   and those of a call that needs the daemon
 */
KMEM_API KMEM_MUST_USE int kmem_attach(const struct kmem_handle *handle, int flags,
                                       const char *reason, void **ret_mem);

/**
 * kmem_attach_many() - hold several, or none of them, in one round trip
 * @handles:   where they are
 * @n:         how many: 1 to KMEM_MANY_MAX
 * @flags:     as of kmem_attach(), for all of them
 * @reason:    likewise
 * @ret_mems:  n blocks; written on success only
 *
 * Return: 0, or as kmem_attach(); kmem_last_error() says which one.
 */
KMEM_API KMEM_MUST_USE int kmem_attach_many(const struct kmem_handle *handles, size_t n, int flags,
                                            const char *reason, void **ret_mems);

/**
 * kmem_release_many() - kmem_try_release() for several blocks, in one round trip at most
 * @mems:  pointers; each is set to NULL when its block is released
 * @n:     how many: 1 to KMEM_MANY_MAX
 *
 * Return: 0, or as kmem_try_release() for the first that is not released; those after it are not,
 * unless their pointer is NULL: one that is there twice is found only when others are released.
 */
KMEM_API KMEM_MUST_USE int kmem_release_many(void **mems, size_t n);

/**
 * kmem_transfer() - hand a block over: the first process to attach it owns it
 * @mem:         the address of the pointer to it; set to NULL on success
 * @flags:       0; or KMEM_KEEP: the block does not end with this process
 * @ret_handle:  written on success
 *
 * Until a process attaches it the block is charged to this one, and ends with it. With KMEM_KEEP it
 * stays when this process has ended, and nothing but the handle leads to it: if that is lost, the
 * block stays until the segment ends.
 *
 * Return: 0, or as kmem_share(); -EBUSY: other processes hold the block, or a name, or this process
 * more than once.
 */
KMEM_API KMEM_MUST_USE int kmem_transfer(void **mem, int flags, struct kmem_handle *ret_handle);

/**
 * kmem_publish() - let a name mean a block, in the place of what it meant before
 * @mem:          a block that this process owns or holds
 * @name:         UTF-8, 1 to KMEM_NAME_MAX_BYTES bytes; copied
 * @flags:        KMEM_GIVE: this process lets go of the block, and its pointers to it dangle;
 *                KMEM_KEEP: the name outlives this process; KMEM_EXCLUSIVE
 * @ret_version:  of what the name means now: greater than any before. May be NULL
 *
 * The name holds the block. A name that is not kept ends with the process that published it.
 *
 * Return: 0, or as kmem_share(); -EEXIST: with KMEM_EXCLUSIVE, the name is another process's;
 * -ENOSPC also if there are as many names as there can be: kmemd --names, 4,096 by default,
 * or as many of its user's as --names-per-uid allows, half of them by default;
 * -EAGAIN: the time was over before the daemon was asked, because it did not answer earlier calls:
 * nothing is published, nothing given.
 */
KMEM_API KMEM_MUST_USE int kmem_publish(const void *mem, const char *name, int flags,
                                        uint64_t *ret_version);

/**
 * kmem_unpublish() - the name means nothing any more; processes that hold the block go on
 * Return: 0; -ENOENT: there is no such name; -EACCES: it is another user's; -EPERM: this process is
 * a reader; or as kmem_attach().
 */
KMEM_API KMEM_MUST_USE int kmem_unpublish(const char *name);

/**
 * kmem_find() - hold what a name means now
 * @name:         as of kmem_publish()
 * @flags:        KMEM_READ or KMEM_WRITE
 * @reason:       why this process wants it; copied. NULL is KMEM_NO_REASON
 * @ret_mem:      the block; written on success only
 * @ret_version:  likewise, which publication it is; may be NULL
 *
 * Return: 0, -ENOENT, or as kmem_attach().
 */
KMEM_API KMEM_MUST_USE int kmem_find(const char *name, int flags, const char *reason,
                                     void **ret_mem, uint64_t *ret_version);

/**
 * kmem_next() - a consumer's call: let go of the last block, wait for a newer one, and hold that
 * @name:        may mean nothing yet: that is waited for as well
 * @flags:       KMEM_READ or KMEM_WRITE; KMEM_NOWAIT
 * @reason:      why this process wants it; copied. NULL is KMEM_NO_REASON
 * @version:     what was seen last; 0: nothing was. The new one on success
 * @mem:         the address of the block that is let go of, whatever the result is: NULL or a block
 *               of this process; and then of the new one
 * @timeout_ms:  how long to wait; 0 or KMEM_NOWAIT: not at all; negative: for ever
 *
 * One round trip a frame, if there is a newer one; else one more when it comes, and one for each
 * second that it waits.
 *
 * Return: 0; -EAGAIN: there is no newer one in that time; -ECONNRESET: the segment has ended
 * meanwhile; or as kmem_attach(). If *mem is no block of this process, as kmem_try_release() of it:
 * then it is as before.
 */
KMEM_API KMEM_MUST_USE int kmem_next(const char *name, int flags, const char *reason,
                                     uint64_t *version, void **mem, int timeout_ms);

/**
 * kmem_wait() - wait until a name means something newer than a version
 * @name:         may mean nothing yet
 * @after:        the version; 0: any
 * @timeout_ms:   as of kmem_next()
 * @ret_version:  which it is; written on success only. May be NULL
 *
 * Return: 0; -EAGAIN: not in that time; or those of a call that needs the daemon.
 */
KMEM_API KMEM_MUST_USE int kmem_wait(const char *name, uint64_t after, int timeout_ms,
                                     uint64_t *ret_version);

/**
 * kmem_watch() - a descriptor that is readable whenever a name has changed
 * @name:  may mean nothing yet
 *
 * For poll(), select(), epoll, libuv, asyncio: it is readable when the name has come to mean
 * another block, or none any more, since it was read last; and once at the beginning. So do, each
 * time that it is readable, in this order:
 *
 *      kmem_watch_read(fd)        which makes it unreadable until the next change
 *      kmem_find(), kmem_next()   what the name means now
 *
 * Level-triggered: as long as it has not been read it stays readable. However many changes there
 * were, one reading is for all of them, and a program that never reads costs the daemon nothing
 * more. Any read() of all that is there does as well as kmem_watch_read(); what the bytes say is
 * nobody's business. It can be readable without a change, once.
 *
 * When kmemd's server ends, it is readable, and kmem_watch_read() fails with ECONNRESET, as a
 * read() returns 0: close it and watch anew, which waits until the next server is there. Nothing is
 * missed so, as it is readable at the beginning.
 *
 * Ownership: the caller's, to close(). It is a socket, close-on-exec, and does not block. A forked
 *            child has the same one: who reads first has it. It is a connection to the daemon, of
 *            which one user may have some (kmemd --connections-per-uid) and one process 128.
 * Waiting:   two round trips. This process need not have joined, and does not join.
 *
 * Return: the descriptor, 3 or more; or a negative errno:
 *   -EINVAL     NULL, or no name
 *   -EUSERS     there are as many connections as there can be, or this user or process may have
 *   -ECONNRESET the daemon has another segment than the one that this process has joined
 *   -EMFILE, -ENFILE, -ENOMEM   this process, or the system, has none for it
 *   and those of connecting: kmem.h
 */
KMEM_API KMEM_MUST_USE int kmem_watch(const char *name);

/**
 * kmem_watch_read() - take note: the descriptor is readable again after the next change
 * @fd:  of kmem_watch()
 * Waiting: never. Return: 0: the name may have changed, look what it means; -EAGAIN: it has not;
 * -ECONNRESET: the watch has ended; another negative errno: it is no such descriptor.
 */
KMEM_API KMEM_MUST_USE int kmem_watch_read(int fd);

/**
 * kmem_handle_to_text() - kmem://host/segment/offset+size@generation/tag
 * @handle:      of the segment that this process has joined
 * @text:        receives it, with a NUL
 * @text_bytes:  the room there: KMEM_HANDLE_TEXT_BYTES at least
 *
 * Return: 0, -EINVAL, or those of connecting: the segment's name is asked of the daemon.
 */
KMEM_API KMEM_MUST_USE int kmem_handle_to_text(const struct kmem_handle *handle, char *text,
                                               size_t text_bytes);

/**
 * kmem_handle_from_text() - the handle that a text stands for
 * Return: 0; -EINVAL: it is none, and kmem_last_error() says where it ends to be one; -ESTALE: it
 * is of another host or segment.
 */
KMEM_API KMEM_MUST_USE int kmem_handle_from_text(const char *text, struct kmem_handle *ret_handle);

#ifdef __cplusplus
}
#else
/* The address of a pointer of any type, as for kmem_release(). */
#define kmem_attach(handle, flags, reason, ret_mem)                                                \
    (kmem_attach)((handle), (flags), (reason), KMEM__POINTER_AT(ret_mem))
#define kmem_transfer(mem, flags, ret_handle)                                                      \
    (kmem_transfer)(KMEM__POINTER_AT(mem), (flags), (ret_handle))
#define kmem_find(name, flags, reason, ret_mem, ret_version)                                       \
    (kmem_find)((name), (flags), (reason), KMEM__POINTER_AT(ret_mem), (ret_version))
#define kmem_next(name, flags, reason, version, mem, timeout_ms)                                   \
    (kmem_next)((name), (flags), (reason), (version), KMEM__POINTER_AT(mem), (timeout_ms))
#endif

#endif
