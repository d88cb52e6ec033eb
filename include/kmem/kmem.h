/* SPDX-License-Identifier: MIT */
/*
 * kmem.h - shared memory in which every byte has an owner and a reason
 *
 * A daemon, kmemd, owns one region of shared memory of a fixed size: the segment. This library
 * asks it for blocks. The daemon's ledger knows every live block, its size, its owner and the
 * reason the owner gave; `kmemctl` shows it. When a process ends, however it ends, what it held
 * comes back.
 *
 *      char *bytes = kmem_allocate(101, "101 bytes");      // 101 bytes, every one 0
 *      unsigned int num_bytes = kmem_sizeof_allocation(bytes);  // 101
 *      kmem_release(&bytes);                               // bytes == NULL
 *
 * WORDS
 *
 *  segment   the fixed region of memory that one daemon owns
 *  page      16 KiB of the segment
 *  lease     pages that the daemon has given to this process to carve blocks from
 *  block     what one kmem_allocate() returns
 *  reason    the caller's words for why it needs the block; UTF-8, up to 127 bytes; longer ones are
 *            cut at a character's border, bytes that are not UTF-8 become '?'. '/' makes a
 *            hierarchy ("video/capture/scratch"); what follows '#' is a detail that roll-ups drop.
 *            65,534 different ones of a process, in all its life, are told apart; a later one is
 *            entered as what stands before its '#', if that is known, else "<other reasons>"
 *  ledger    the daemon's list of live blocks
 *  offset    a block's position in the segment: the same number in every process, never 0
 *
 * WHAT IS PROMISED
 *
 *  - A block is num_bytes consecutive bytes, all 0, 16-byte aligned; 64-byte from 64 bytes up.
 *  - No memory is taken from the system for it: the segment is all there is.
 *  - A live block is no other caller's, is never moved, and is in the ledger before its pointer is
 *    returned.
 *  - kmem_sizeof_allocation() returns the number that was asked for, never a rounded one.
 *  - A wrong call (a wild, interior, foreign or doubly released pointer) is caught, named and
 *    refused; nothing is corrupted by it. Not if two threads release the same block at the same
 *    instant: one of them may be believed as well as the other.
 *  - A read or write through a wild pointer into the segment ends in SIGSEGV unless it falls into
 *    the surroundings of a block or a lease of this process: 2 MiB where the segment is made of
 *    huge pages, else 16 KiB. What was released or taken back is closed when the process asks for
 *    its next leases, 16 pieces at a time. Three things open more. Blocks and leases that lie in
 *    more than 511 pieces: the narrowest gaps between them are opened, so that the guard never
 *    takes more than 1,023 of the process's mappings nor more than 18 system calls a lease. A
 *    process that has used up its mappings (vm.max_map_count) itself: all of the segment, once,
 *    and the guard then is content with half as many. And $KMEM_GUARD=off in the environment of
 *    the first call: all of it. No allocation fails because of the guard.
 *
 * WHAT IS NOT
 *
 *  - No protection between members of one segment: a process that may join a segment may read and
 *    write all of it. The segment is the unit of trust; what must be kept apart needs two daemons.
 *  - No constructors, no destructors: memory is for plain data, anything memset may be used on.
 *    Pointers stored in the segment mean nothing to other processes; store offsets.
 *  - No reallocation.
 *  - No core dump with blocks in it: the segment holds other processes' bytes, and may be larger
 *    than the disk, so the kernel leaves it out (MADV_DONTDUMP). A debugger shows the pointers of a
 *    program that has crashed, and not what they pointed to. $KMEM_CORE in the environment of the
 *    first call changes that: "ledger" keeps what this process knows of its own blocks, for
 *    kmem-gdb.py, some 9 % of the segment's size; "own" the bytes of its leases and direct blocks;
 *    "blocks" ledger and all bytes of the segment, other processes' too; `dontdump = off` in the
 *    daemon's configuration asks for these where it is not set. A program that wants whole CPU
 *    pages of a block dumped calls madvise() with MADV_DODUMP.
 *  - No survival of the keeper: kmemd's server may be killed and is started again without a block
 *    lost, but if kmemd as a whole ends, and no service manager keeps its descriptors, the segment
 *    has ended: see ENDS. Mapped blocks stay readable and writable as long as the process lives,
 *    but no daemon accounts for them any more.
 *
 * THE FIRST CALL of a process connects to the daemon and maps the segment. Tried, in this order:
 * the socket $KMEM_SOCKET, and nothing else if it is set; else NAME.sock, where NAME is
 * $KMEM_SEGMENT or "default", in $XDG_RUNTIME_DIR/kmemd, then in /run/kmemd. The daemon at the
 * other end must run as root, as the caller's user, or as the owner of the directory that holds
 * the socket; any other is taken for an impostor and is told nothing (EPERM). So it is if the
 * directory is another user's, or others may write to it and it is not sticky. Where a socket unit
 * starts the daemon for this very call, process 1 listens for the directory's owner. In a container
 * the daemon's user may have no number; then the socket must be a mount, or its directory be one
 * that others may not write to.
 *
 * SPEED: the first block of a size is carved by the daemon, a round trip; so are, at any time,
 * blocks above 1 MiB and a 64th of the segment. From the second on the size is carved by this
 * process, from pages that it has leased, in nanoseconds and, up to 64 KiB, with no lock between
 * threads. Leased pages that are unused stay with the process, so that the next block needs no
 * round trip; the daemon takes them back when others need them. When less than half of the segment
 * is left all of it becomes tight: blocks above 64 KiB, and those of a size of which the thread has
 * not filled a page yet, are a round trip each, packed beside those of other processes; the latter
 * also when less than half is left of what this process, its user or its unit may have. A block may
 * be released by any thread; one of another thread's goes back to that thread.
 *
 * THREADS: every function may be called from any thread, except where it says otherwise; calls
 * that need the daemon take turns on the process's one connection.
 *
 * FORK: the child of a fork inherits the mapping, so the blocks that its parent has at that moment
 * stay readable and writable in it; it owns none of them. What the parent allocates later is closed
 * in the child, as what is no block of its own is: to touch it ends in SIGSEGV, unless it lies in
 * what was open at the fork, or $KMEM_GUARD is off. Its first call connects anew, as a client of
 * its own. Releasing a parent's block in the child fails with EPERM. A child may call the library
 * whatever the parent's other threads were doing at the fork. Under `kmemctl run --malloc` what it
 * has of its parent's blocks are private copies, shared and attached ones included: kmemctl(1).
 *
 * EXEC, EXIT, SIGNALS: every descriptor is close-on-exec, and none is 0, 1 or 2, also where the
 * program has closed those. The library starts no thread, installs no
 * signal handler, and never raises SIGPIPE. No function is async-signal-safe. An exec ends the
 * mapping but not the process: its blocks stay charged to it until it ends, or until the new
 * program calls the library, which makes it another client. Exit handlers and destructors of
 * threads may call the library. dlclose() does not unload it; a plugin that has libkmem.a inside is
 * to be linked with -z nodelete. Each copy of the library in a process is a client of its own, up
 * to 16 of them: it knows the blocks that were allocated through it, and no others.
 *
 * RESTARTS: a call that needs the daemon while its server is being started again waits for it, and
 * then happens once, whether the former server had begun it or not. So it does while kmemd as a
 * whole is restarted by a service manager that keeps its descriptors. It waits for the time limit
 * below, then fails with ECONNRESET, and later calls try once without waiting; a daemon from before
 * these promises that has removed its socket is waited for one second. Calls that need no daemon
 * never wait.
 * Coming back needs neither the socket's path nor a right to it: a program may change its
 * directory, root, mounts and user. If it has closed the library's descriptors the path is needed.
 * Coming back takes one descriptor, that of the connection which was lost: if there is none the
 * call fails with EMFILE, and a later one may do. A program that closes all its descriptors comes
 * back in the same way. If it opens its own in their place, they are neither written to nor read
 * nor closed; what another thread does to them during a call that waits is seen within a second.
 *
 * ENDS: when kmemd was stopped, every allocation and every release that begins afterwards, in every
 * process and thread, leased or not, fails with ECONNRESET and a sentence that says when; nothing
 * changes by it, and it does so until kmem_close(), after which the next call connects anew. Where
 * a service manager keeps the descriptors, a stop may be half a restart: what is leased goes on
 * being allocated and released, until the manager drops them. No process is left to tell of a
 * keeper that was killed and is kept by no manager: a client finds out by its next call that needs
 * the daemon, or by one that leaves the fast path and finds the daemon's clock standing still for a
 * second, and from then on by every call. kmem_try_sizeof() of a leased block goes on being
 * answered. One more descriptor than the connection's is kept for that, far above those that
 * programs use.
 *
 * LOCKED MEMORY: after mlockall(MCL_FUTURE) what a process leases and is given is locked when it is
 * first touched, and no more than that is populated: the process's ledger, which is sparse, stays
 * so. RLIMIT_MEMLOCK counts all that is mapped all the same, 2.3 times the segment; where it does
 * not suffice the first call fails with ENOMEM and says so. mlockall(MCL_CURRENT) after the first
 * call populates everything, the ledger included, unless MCL_ONFAULT is given.
 *
 * SANITIZERS: a program that is compiled with ThreadSanitizer may link this library, which is not:
 * it tells ThreadSanitizer how blocks go from thread to thread, and is slower then. A race on a
 * block that lives is reported as any other.
 *
 * WAITING: a call that needs the daemon waits for at most $KMEM_TIMEOUT_MS milliseconds (default
 * 30,000), for its turn among the threads and for all that it asks together, then fails with
 * ETIMEDOUT. If it was an answer that did not come the connection is given up; the next call makes
 * another, and a block that the late answer would have brought is given back. The first call may
 * take as long again to connect. A thread that is cancelled meanwhile ends when the call is over.
 *
 * FAILURE: the three calls of the original interface (kmem_allocate, kmem_release,
 * kmem_sizeof_allocation) end in the failure handler, by default a message on stderr and abort().
 * Everything else returns errors. In the library itself nothing ever aborts.
 */
#ifndef KMEM_KMEM_H
#define KMEM_KMEM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KMEM_API __attribute__((visibility("default")))
#define KMEM_MUST_USE __attribute__((warn_unused_result))

/** The reason that the ledger shows for a block that was allocated without one. */
#define KMEM_NO_REASON "<no reason given>"

/** The longest reason, in bytes, without the terminating NUL. */
#define KMEM_REASON_MAX_BYTES 127

/* ----------------------------------------------------------------- the original interface ---- */

/**
 * kmem_allocate() - allocate zeroed bytes, or end in the failure handler
 * @num_bytes:  1 to INT_MAX
 * @reason:     briefly why, "Scratch buffer" say; copied. NULL is KMEM_NO_REASON. May be left out:
 *              kmem_allocate(44) compiles in C and in C++
 *
 * Ownership: the caller's until kmem_release().
 * Waiting:   for the daemon if the size is not hot or no lease has room; the first call also
 *            connects. Else not at all.
 *
 * Return: the block. If there is no room, num_bytes is not positive, or no daemon answers, the
 * failure handler is called; if that returns, NULL and errno as kmem_try_allocate() sets it.
 */
#ifdef __cplusplus
KMEM_API void *kmem_allocate(const int num_bytes, const char *const reason = nullptr);
#else
KMEM_API void *kmem_allocate(const int num_bytes, const char *const reason);
#define kmem_allocate(...) KMEM__SECOND(__VA_ARGS__, KMEM__GIVEN, KMEM__NONE, 0)(__VA_ARGS__)
#define KMEM__SECOND(first, second, chosen, ...) chosen
#define KMEM__GIVEN(num_bytes, reason)                                                             \
    (__builtin_constant_p(reason) ? kmem_allocate_at((num_bytes), (reason), KMEM__SITE)            \
                                  : (kmem_allocate)((num_bytes), (reason)))
#define KMEM__NONE(num_bytes) (kmem_allocate)((num_bytes), (const char *)0)
#endif

/**
 * struct kmem_site - what the library remembers of a place that allocates with a literal
 *
 * The text of a literal can not change, so the library need not compare it each time. In C the
 * macros kmem_allocate() and kmem_try_allocate() make a site of their own wherever the reason is a
 * literal; a program has nothing to do with it. Begins as zeros; the members are the library's.
 */
struct kmem_site {
    const char *reason;
    uint64_t word;
};

#define KMEM__SITE                                                                                 \
    __extension__({                                                                                \
        static struct kmem_site kmem__site;                                                        \
        &kmem__site;                                                                               \
    })

/**
 * kmem_allocate_at() - kmem_allocate() with a reason whose text never changes
 * @num_bytes:  1 to INT_MAX
 * @reason:     a literal, or other text that stays as it is as long as the process lives
 * @site:       zeros at first, and this call's alone; it must outlive every call with it
 *
 * For wrappers that pass literals on. In everything else as kmem_allocate().
 */
KMEM_API void *kmem_allocate_at(const int num_bytes, const char *const reason,
                                struct kmem_site *const site);

/**
 * kmem_release() - give a block back, and set the caller's pointer to NULL
 * @mem:  the address of the pointer to the block; a pointer that is NULL already is ignored
 *
 * Ownership: the block is gone; other copies of the pointer dangle.
 * Waiting:   if it needs the daemon, at most $KMEM_TIMEOUT_MS; see WAITING.
 *
 * A pointer that is wild, interior, another's or released before ends in the failure handler; if
 * that returns, *mem is as it was.
 *
 * The pointer may be of any type: kmem_release(&bytes) compiles in C and in C++, and what is no
 * address of a pointer does not. The library copies the pointer's bytes, so no aliasing rule is
 * broken by that; nor, in C, by the cast (void **)&bytes of the original interface, about which
 * -Wstrict-aliasing=2 would warn elsewhere. In C++ the cast is not needed either, and
 * kmem_release(bytes) does the same.
 */
KMEM_API void kmem_release(void **mem);
#ifndef __cplusplus
#define kmem_release(mem) (kmem_release)(KMEM__POINTER_AT(mem))
#define KMEM__POINTER_AT(mem)                                                                      \
    __extension__({                                                                                \
        _Pragma("GCC diagnostic push");                                                            \
        _Pragma("GCC diagnostic ignored \"-Wstrict-aliasing\"");                                   \
        _Static_assert(KMEM__IS_POINTER(*KMEM__TYPED(mem)), "pass the address of a pointer");      \
        void *kmem__address = (mem);                                                               \
        void **kmem__at = kmem__address;                                                           \
        _Pragma("GCC diagnostic pop");                                                             \
        kmem__at;                                                                                  \
    })
#define KMEM__IS_POINTER(value) (__builtin_classify_type(value) == 5)
/* NULL is a void *: nothing can be told of what it points to. It is refused when called. */
#define KMEM__TYPED(mem) _Generic((mem), void * : (void **)0, default : (mem))
#endif

/**
 * kmem_sizeof_allocation() - how many bytes were asked for
 * @mem:  a block of this process; NULL ends in the failure handler, as every other wrong pointer
 *
 * Waiting: if it needs the daemon, at most $KMEM_TIMEOUT_MS; see WAITING.
 *
 * Return: the number given to kmem_allocate(), never a rounded figure. A block of 4 GiB or more,
 * which only kmem_try_allocate() can make, ends in the failure handler: use kmem_try_sizeof().
 * If the handler returns, 0.
 */
KMEM_API unsigned int kmem_sizeof_allocation(const void *const mem);

/* ------------------------------------------------------ the same, with errors and without ---- */
/* ------------------------------------------------------ a limit at 2 GiB                  ---- */

/**
 * kmem_try_allocate() - allocate zeroed bytes, or say why not
 * @num_bytes:  1 to the segment's size
 * @reason:     why the memory is needed; copied. NULL is KMEM_NO_REASON
 *
 * Ownership: the caller's until kmem_release() or kmem_try_release().
 * Waiting:   if it needs the daemon, at most $KMEM_TIMEOUT_MS; see WAITING.
 *
 * Return: the block, or NULL and errno:
 *   EINVAL      num_bytes is 0 or larger than the segment
 *   ENOMEM      no room, or a rule is against it: a quota of this process, its user or its unit, a
 *               reserve of others, or a budget of such reasons, which is for honest programs: what
 *               a reason says is not checked. kmem_last_error() says which, what is free, who
 *               holds the most, and what would help; and why the last lease was refused, if none
 *               was granted since. It costs a round trip: to release something and try again is a
 *               normal path
 *   ECONNREFUSED, ENOENT, EACCES, EPERM, EUSERS, EPROTONOSUPPORT
 *               the first call, and no daemon: none listens, none may be asked, it is an impostor,
 *               it has no room for another client, or it speaks another version
 *   EINVAL, ENAMETOOLONG, EMFILE, ENFILE, ENOMEM, ENOSYS
 *               the first call, and it can not be made: a variable is no name or number, the
 *               socket's path is too long, this process or the system has no descriptor left, no
 *               address space for the segment, or the kernel is older than Linux 4.14
 *   EPROTO      what the daemon answered can not be; the connection is given up
 *   ECONNRESET  the segment has ended since (see ENDS), or its daemon did not come back
 *   ETIMEDOUT   the daemon did not answer in time
 */
KMEM_API KMEM_MUST_USE void *kmem_try_allocate(size_t num_bytes, const char *reason);

/** kmem_try_allocate_at() - kmem_try_allocate() with a site, as kmem_allocate_at() */
KMEM_API KMEM_MUST_USE void *kmem_try_allocate_at(size_t num_bytes, const char *reason,
                                                  struct kmem_site *site);
#ifndef __cplusplus
#define kmem_try_allocate(num_bytes, reason)                                                       \
    (__builtin_constant_p(reason) ? kmem_try_allocate_at((num_bytes), (reason), KMEM__SITE)        \
                                  : (kmem_try_allocate)((num_bytes), (reason)))
#endif

/**
 * kmem_wait_allocate() - allocate zeroed bytes, and wait until there is room
 * @num_bytes:   1 to the segment's size
 * @reason:      why the memory is needed; copied. NULL is KMEM_NO_REASON
 * @timeout_ms:  how long to wait; 0: not at all, as kmem_try_allocate(); negative: for ever
 *
 * Ownership: the caller's until kmem_release() or kmem_try_release().
 * Waiting:   for @timeout_ms; a call of its own to the daemon takes $KMEM_TIMEOUT_MS at most. Other
 *            threads may call the library meanwhile.
 *
 * Requests that wait are served in the order in which they came, in all processes: a small one does
 * not pass a large one that waits. One that a quota or a budget is against waits for what that is
 * about, and lets others pass. Calls that do not wait, and what this process carves from its
 * leases, take what is free. When the daemon's server is started anew, those that wait go on in the
 * order in which they ask again. A process that is stopped lets others pass.
 *
 * Return: the block, or NULL and errno as kmem_try_allocate() sets it: ENOMEM when the time is up,
 * and at once if it can not be had however long it waits.
 */
KMEM_API KMEM_MUST_USE void *kmem_wait_allocate(size_t num_bytes, const char *reason,
                                                int timeout_ms);

/** kmem_wait_fn - Return: 0: do not wait any longer. It may not call the library. */
typedef int (*kmem_wait_fn)(void *user);

/**
 * kmem_wait_allocate_while() - kmem_wait_allocate() for a caller that may change its mind
 * @num_bytes:   these three: as there
 * @reason:      "
 * @timeout_ms:  "
 * @goes_on:     called in this thread, before each look for room, ten times a second at the least
 * @user:        passed on to it
 *
 * Its place among those that wait is kept meanwhile.
 *
 * Return: as kmem_wait_allocate(); NULL and EINTR when goes_on() has returned 0 and the look behind
 * that, which is the last, has found no room either.
 */
KMEM_API KMEM_MUST_USE void *kmem_wait_allocate_while(size_t num_bytes, const char *reason,
                                                      int timeout_ms, kmem_wait_fn goes_on,
                                                      void *user);

/**
 * kmem_try_release() - give a block back, or say why not
 * @mem:  the address of the pointer to the block, as for kmem_release(); set to NULL on success. A
 *        pointer that is NULL already is ignored
 *
 * Ownership: on success the block is gone. On an error nothing has changed, but for -ECONNRESET,
 *            after which the library can not say.
 * Waiting:   if it needs the daemon, at most $KMEM_TIMEOUT_MS; see WAITING.
 *
 * Return: 0, or a negative errno:
 *   -EINVAL    mem is NULL; or the pointer is wild (in no block) or interior (inside one)
 *   -EALREADY  the block was released before
 *   -EPERM     the block is another process's; a parent's, say
 *   -ECONNRESET, -ETIMEDOUT, -EPROTO and those of connecting, as kmem_try_allocate()
 *
 * If the daemon was asked and does not answer in time, the block is given up all the same, and 0 is
 * returned: this process asks for nothing else before that release has happened. To try again would
 * be wrong, as another thread may have been given a block at the same place by then. That such a
 * pointer was wild, say, is found too late, and not said. -ETIMEDOUT is for a release that could
 * not be asked for, behind an earlier one for instance.
 */
KMEM_API KMEM_MUST_USE int kmem_try_release(void **mem);
#ifndef __cplusplus
#define kmem_try_release(mem) (kmem_try_release)(KMEM__POINTER_AT(mem))
#endif

/**
 * kmem_try_sizeof() - how many bytes were asked for, or why that can not be said
 * @mem:            a block of this process
 * @ret_num_bytes:  the number; written on success only
 *
 * Waiting: if it needs the daemon, at most $KMEM_TIMEOUT_MS; see WAITING.
 *
 * Return: 0, or a negative errno as kmem_try_release(); -EINVAL also if mem or ret_num_bytes is
 * NULL.
 */
KMEM_API KMEM_MUST_USE int kmem_try_sizeof(const void *mem, size_t *ret_num_bytes);

/**
 * kmem_offset_of() - a pointer's position in the segment
 * @mem:  any address inside the segment, at the start of a block or within one
 *
 * The offset is the same in every process of the segment; a pointer is not. No round trip: the
 * offset of a released block is computed as well as that of a live one.
 *
 * Return: the offset, or 0 if the address is not in the segment or this process has not connected;
 * a forked child that has not connected yet knows the offsets of its parent's segment.
 */
KMEM_API uint64_t kmem_offset_of(const void *mem);

/**
 * kmem_last_error() - what went wrong last in this thread, as a whole sentence
 *
 * Ownership: the library's. Valid until the next call into the library from this thread.
 *
 * Return: the sentence, "" if nothing has failed yet. A call that succeeds does not change it.
 */
KMEM_API const char *kmem_last_error(void);

/* ----------------------------------------------------------------------- failure handling ---- */

/** What a failure handler is told. More members may follow; struct_bytes says how many. */
struct kmem_failure {
    size_t struct_bytes; /* sizeof(struct kmem_failure) where the library was built */
    const char *call;    /* "kmem_release", say */
    const char *message; /* the whole sentence: call, block, what is wrong, what would help */
    int error;           /* a positive errno */
    uint64_t offset;     /* of the block that is meant; 0 if there is none */
    uint64_t num_bytes;  /* its size, or the size asked for; 0 if unknown */
    const char *reason;  /* its reason, or the reason given; "" if unknown */
};

typedef void (*kmem_failure_handler)(const struct kmem_failure *failure);

/**
 * kmem_set_failure_handler() - decide what happens when one of the original calls fails
 * @handler:  called in the thread of the failing call, with no lock of the library held: it may
 *            call the library, longjmp, throw or end the process. If it returns, the call returns
 *            as documented above. NULL restores the default: message on stderr, abort()
 *
 * Return: the handler that was installed before, NULL if it was the default.
 */
KMEM_API kmem_failure_handler kmem_set_failure_handler(kmem_failure_handler handler);

/**
 * kmem_fail() - end in the failure handler, as the original calls do
 * @failure:  what went wrong, every member set; struct_bytes is its size where the caller was built
 *
 * For wrappers of this interface, such as heap_mem.hpp: their failures go where the program has
 * decided that failures go, and message becomes this thread's kmem_last_error(). Returns if the
 * handler does.
 */
KMEM_API void kmem_fail(const struct kmem_failure *failure);

/* --------------------------------------------------------------------------------- ending ---- */

/**
 * kmem_close() - leave the segment
 *
 * Gives back every block that this process still holds, ends the connection and unmaps the segment:
 * every pointer into it dangles. The next call connects anew. Not needed before exit. No other
 * thread may be in a call of this library, or touch a block, meanwhile.
 *
 * Return: 0, also if nothing was connected; or -ECONNRESET or -ETIMEDOUT if the daemon could not be
 * told (the process has left all the same; the daemon takes the blocks back when it ends).
 */
KMEM_API int kmem_close(void);

#ifdef __cplusplus
}

/* -------------------------------------------------------- releasing typed pointers, in C++ ---- */

extern "C++" { /* should all of this be included as C */

template <typename T> inline void *kmem__untyped(T *pointer)
{
    return const_cast<void *>(static_cast<const volatile void *>(pointer));
}

/* A pointer to a pointer is taken for the address of one. */
template <typename T> struct kmem__if_block {
    using type = int;
};
template <typename T> struct kmem__if_block<T *> {
};

/** kmem_release() - for the address of a pointer of any type; else as above */
template <typename T> inline void kmem_release(T **mem)
{
    void *block = mem != nullptr ? kmem__untyped(*mem) : nullptr;
    kmem_release(mem != nullptr ? &block : nullptr);
    if (mem != nullptr) {
        *mem = static_cast<T *>(block);
    }
}

/** kmem_release() - for a pointer itself; else as above */
template <typename T, typename kmem__if_block<T>::type = 0> inline void kmem_release(T *&mem)
{
    kmem_release(&mem);
}

/** kmem_try_release() - for the address of a pointer of any type; else as above */
template <typename T> KMEM_MUST_USE inline int kmem_try_release(T **mem)
{
    void *block = mem != nullptr ? kmem__untyped(*mem) : nullptr;
    const int r = kmem_try_release(mem != nullptr ? &block : nullptr);
    if (mem != nullptr) {
        *mem = static_cast<T *>(block);
    }
    return r;
}

/** kmem_try_release() - for a pointer itself; else as above */
template <typename T, typename kmem__if_block<T>::type = 0>
KMEM_MUST_USE inline int kmem_try_release(T *&mem)
{
    return kmem_try_release(&mem);
}
}

#endif

#endif
