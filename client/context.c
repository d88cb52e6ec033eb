/* SPDX-License-Identifier: MIT */
/*
 * A process joins a segment by its first call, and again by the first call after kmem_close() and
 * by the first call in a forked child. What a child may keep and what it must not decides where
 * things are:
 *
 *      struct process   connection, its lock,   wiped in a child   (MADV_WIPEONFORK)
 *                       allocator: leases
 *      struct heap      a thread's blocks       wiped in a child
 *      the ledger       entries of the leases   not mapped there   (MADV_DONTFORK)
 *      current          the mapping             kept in a child
 *      own_...          which descriptors       kept in a child
 *
 * The kernel hands a child zeros in place of its parent's struct process. All zero means: not
 * joined, and a connection lock that no thread has, whatever the parent's threads were doing at the
 * fork. The child needs no handler, no prepared parent and no comparison; its first call finds that
 * it has not joined, and joins.
 *
 * Rejected: comparing a stored pid costs a system call (1 us) in each call, and a lock that was
 * held at the fork would still have to be made anew. pthread_atfork() is not run by _Fork() and
 * clone(); its prepare handler would have to take the lock, so that a fork would wait for a round
 * trip, or its child handler would have to make a lock anew that others hold.
 *
 * In a child, then:
 *  - The parent's connection and way back are still open in it, by other descriptors of the same
 *    sockets. They are closed without a word; one byte would end up among the parent's. They are
 *    closed only if they still are those sockets: a child may have closed all descriptors, as
 *    daemons do, and opened its own.
 *  - The parent's mapping stays, for the parent's blocks remain readable and writable. If the
 *    daemon still has the same segment the mapping becomes the child's own, and every address in it
 *    means the same block in both. If it has another one, that is mapped beside it, and the old
 *    mapping becomes `inherited`: pointers into it are the parent's.
 *
 * One thread at a time has the connection lock; the others wait no longer than for an answer: with
 * a daemon that stands still the last of many threads would else wait as many times as long. A call
 * may ask more than once, for a lease and then for a block, and has its time once.
 *
 * Cancelling a thread that has it would stop all others for ever, and poll() and recv() are places
 * where it can happen; so it is put off until the call is over.
 *
 * The library is not unloaded: blocks may be in use, and threads call its destructors at their end.
 * It is linked so (-z nodelete); a plugin that contains the archive has to be linked so, too.
 */
#include "client/context.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "client/link/descriptor.h"
#include "client/link/handshake.h"
#include "client/link/locate.h"
#include "client/map/dump.h"
#include "client/tsan.h"
#include "client/link/calls.h"
#include "proto/crash_point.h"

/* All zero in a process that has not joined. */
struct process {
    pthread_mutex_t lock; /* for moments: is_taken */
    pthread_cond_t is_free;
    bool is_taken; /* a thread has the connection, and all below */
    bool is_joined;
    bool is_reader; /* these two: as it has joined */
    bool is_walled;
    _Atomic(int) patience_ms;           /* of a call; 0: not joined yet. Relaxed: it stands alone */
    struct conn conn;                   /* if is_joined: open, or lost */
    char lease_refusal[SENTENCE_BYTES]; /* the daemon's; "": none since a lease was granted */
    struct allocator allocator;
    _Atomic(bool) has_allocator; /* release / acquire: a thread that sees it sees the allocator */
};

/*
 *  variable    written by                    read by           order
 *  own         the first call, once          every call        release / acquire
 *  current     a joining or closing thread   every call        release / acquire
 *  inherited   a joining or closing thread   every call        release / acquire
 *  own_...     a joining thread              a forked child    fd last
 *  wants_...   with the connection           likewise          relaxed; a child has its parent's
 */
static _Atomic(struct process *) own;
static _Atomic(struct segment *) current;
static _Atomic(struct segment *) inherited;
static _Atomic bool wants_to_read; /* kmem_join_as_reader() was called */

/* A struct mark that a child may read at any moment: fd is written last. fd -1: there is none. */
struct own {
    dev_t device;
    ino_t inode;
    _Atomic(int) fd;
};
static struct own own_connection = {.fd = -1};
static struct own own_way = {.fd = -1};
static struct own own_notice = {.fd = -1};

/* --------------------------------------------------------------- what a fork does not copy ---- */

KMEM_MUST_USE static struct process *process_new(struct failure *failure)
{
    struct process *process = kmem__tsan_map(NULL, sizeof(*process), PROT_READ | PROT_WRITE,
                                             MAP_PRIVATE | MAP_ANONYMOUS, -1);
    if (process == MAP_FAILED) {
        (void)kmem__failure_set(failure, ENOMEM, "no memory for the connection's state");
        return NULL;
    }
    if (madvise(process, sizeof(*process), MADV_WIPEONFORK) < 0) {
        if (errno == EINVAL) {
            (void)kmem__failure_set(failure, ENOSYS,
                                    "this kernel has no MADV_WIPEONFORK; Linux 4.14 is needed");
        } else {
            (void)kmem__failure_set(failure, ENOMEM, "no memory for the connection's state: %s",
                                    strerror(errno));
        }
        (void)munmap(process, sizeof(*process));
        return NULL;
    }
    return process;
}

/* Return: this process's state; NULL if there is no memory for it. */
static struct process *process_get(struct failure *failure)
{
    /* Acquire: pairs with the release below. */
    struct process *process = atomic_load_explicit(&own, memory_order_acquire);
    if (KMEM_LIKELY(process != NULL)) {
        return process;
    }
    struct process *made = process_new(failure);
    if (made == NULL) {
        return NULL;
    }
    /* Release: another thread sees a page that is advised. It may have been faster. */
    if (!atomic_compare_exchange_strong_explicit(&own, &process, made, memory_order_acq_rel,
                                                 memory_order_acquire)) {
        (void)munmap(made, sizeof(*made));
        return process;
    }
    return made;
}

/* When this thread's call has waited long enough; 0: it has not waited yet. */
static _Thread_local int64_t call_until_ms __attribute__((tls_model("initial-exec")));

void kmem__context_call(void)
{
    call_until_ms = 0;
}

/* Whether this thread has the connection. */
static _Thread_local bool has_connection __attribute__((tls_model("initial-exec")));

bool kmem__context_has_connection(void)
{
    return has_connection;
}

/* Waits, with the mutex, until it may be free or the call's time is over: ETIMEDOUT. */
static int conn_lock_wait(struct process *process)
{
    if (call_until_ms == 0) {
        const int patience_ms = atomic_load_explicit(&process->patience_ms, memory_order_relaxed);
        call_until_ms = kmem__monotonic_ms() + (patience_ms > 0 ? patience_ms : ANSWER_TIMEOUT_MS);
    }
    const struct timespec until = {.tv_sec = call_until_ms / 1000,
                                   .tv_nsec = call_until_ms % 1000 * 1000000};
    return pthread_cond_clockwait(&process->is_free, &process->lock, CLOCK_MONOTONIC, &until);
}

/* Return: 0; or -ETIMEDOUT, and there is nothing to release. */
KMEM_MUST_USE static int conn_lock_take(struct conn_lock *lock, struct process *process,
                                        struct failure *failure)
{
    int r = 0;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &lock->cancel_state);
    (void)pthread_mutex_lock(&process->lock);
    while (process->is_taken && r == 0) {
        r = conn_lock_wait(process);
    }
    const bool is_mine = !process->is_taken; /* also if that came at the last moment */
    process->is_taken = true;
    (void)pthread_mutex_unlock(&process->lock);
    if (!is_mine) {
        (void)pthread_setcancelstate(lock->cancel_state, &r);
        return kmem__failure_set(failure, ETIMEDOUT,
                                 "the daemon does not answer other threads of this process, which "
                                 "have asked it before");
    }
    has_connection = true;
    lock->process = process;
    lock->holds = &process->allocator.holds;
    lock->conn = &process->conn;
    return 0;
}

static void conn_lock_release(struct conn_lock *lock)
{
    int ignored;
    has_connection = false;
    (void)pthread_mutex_lock(&lock->process->lock);
    lock->process->is_taken = false;
    (void)pthread_cond_signal(&lock->process->is_free);
    (void)pthread_mutex_unlock(&lock->process->lock);
    (void)pthread_setcancelstate(lock->cancel_state, &ignored);
}

/* Says when what this thread asks now is given up. */
static void conn_lock_limit(const struct conn_lock *lock, int64_t begin_ms)
{
    const int64_t until_ms = begin_ms + lock->conn->ticket.timeout_ms;
    if (call_until_ms == 0 || call_until_ms > until_ms) {
        call_until_ms = until_ms;
    }
    lock->conn->until_ms = call_until_ms;
}

/* -------------------------------------------------------------------- inherited sockets ---- */

/* Remembers a descriptor for children; writes nothing if it is known already. */
static void own_remember(struct own *which, const struct mark *mark)
{
    const int fd = mark->inode != 0 ? mark->fd : -1;
    /* Relaxed: this thread has the connection; no other writes. */
    if (which->inode != mark->inode ||
        atomic_load_explicit(&which->fd, memory_order_relaxed) != fd) {
        which->device = mark->device;
        which->inode = mark->inode;
        /* Release: a child that sees fd sees what it is. */
        atomic_store_explicit(&which->fd, fd, memory_order_release);
    }
}

static void own_remember_sockets(const struct conn *conn)
{
    own_remember(&own_connection, &conn->mark);
    own_remember(&own_way, &conn->ticket.way);
}

/* In a child: closes the parent's, if the descriptor still is that. */
static void own_close_inherited(struct own *which)
{
    /* Acquire: pairs with the release above, in the parent. */
    const int fd = atomic_exchange_explicit(&which->fd, -1, memory_order_acquire);
    struct mark mark = {fd, which->device, which->inode};
    kmem__mark_close(&mark);
}

static void own_close_all_inherited(void)
{
    own_close_inherited(&own_connection);
    own_close_inherited(&own_way);
    own_close_inherited(&own_notice);
}

/* --------------------------------------------------------------------------------- joining ---- */

static struct segment *segment_load(_Atomic(struct segment *) *which)
{
    /* Acquire: pairs with the release of segment_exchange(). */
    return atomic_load_explicit(which, memory_order_acquire);
}

static struct segment *segment_exchange(_Atomic(struct segment *) *which, struct segment *segment)
{
    /* Release: a thread that sees the pointer sees the mapping's description. */
    return atomic_exchange_explicit(which, segment, memory_order_acq_rel);
}

/* Keeps the mapping that is there if it is of the same segment, else makes one. */
KMEM_MUST_USE static int context_map(const struct welcome *welcome, bool is_reader,
                                     struct failure *failure)
{
    struct segment *segment = segment_load(&current);
    if (segment != NULL && segment->instance == welcome->instance &&
        segment->num_bytes == welcome->segment_bytes && segment->reads_only == is_reader) {
        kmem__segment_inherit(segment);
        return 0;
    }
    struct segment_file file = {
        .fd = welcome->segment_fd,
        .name = welcome->segment_name,
        .num_bytes = welcome->segment_bytes,
        .granule_bytes = welcome->granule_bytes,
        .instance = welcome->instance,
        .reads_only = is_reader,
        .dumps = welcome->dumps,
    };
    int r = kmem__locate_guard(&file.is_guarded, failure);
    r = r < 0 ? r : kmem__segment_new(&file, &segment, failure);
    if (r == 0) {
        struct segment *old = segment_exchange(&current, segment);
        if (old != NULL) {
            /* What was inherited before that stays mapped, unknown: it is a grandparent's. */
            (void)segment_exchange(&inherited, old);
        }
    }
    return r;
}

/* A block that is carved by the daemon may do; where that fails too, the caller is told of both. */
static void lease_refusal_keep(struct process *process, const char *sentence)
{
    (void)snprintf(process->lease_refusal, sizeof(process->lease_refusal), "%s", sentence);
}

void kmem__context_add_refusal(const struct conn_lock *lock, struct failure *failure)
{
    const char *refusal = lock->process->lease_refusal;
    if (refusal[0] != '\0' && strstr(failure->sentence, refusal) == NULL) {
        kmem__failure_add(failure, "; the last lease was refused: %s", refusal);
    }
}

/* Asks the daemon for a lease: see lend_function. */
static int context_lend(void *unused, uint32_t n_pages, uint32_t want_pages, struct run *ret_run)
{
    struct failure failure = {.error = 0};
    struct conn_lock lock = {.segment = NULL};
    (void)unused;
    int r = kmem__context_enter(&lock, &failure);
    if (r < 0) {
        return r;
    }
    KMEM_ASSERT(lock.segment != NULL); /* it has joined */
    if (lock.process->is_reader) {
        kmem__context_leave(&lock);
        return -EPERM; /* what is asked for next says why */
    }
    if (lock.conn->fd >= 0) {
        /* Else the server may still grant a lease that an earlier call has given up. */
        kmem__guard_sweep(lock.segment->guard, lock.process->allocator.ledger.states);
    }
    bool is_tight = false;
    r = kmem__calls_lease(lock.conn, lock.segment, n_pages, want_pages, ret_run, &is_tight,
                          &failure);
    if (r == 0) {
        kmem__allocator_set_tight(&lock.process->allocator, is_tight);
    }
    if (r >= 0) {
        lease_refusal_keep(lock.process, r == CONN_E_REFUSED ? failure.sentence : "");
    }
    kmem__context_leave(&lock);
    KMEM_CRASH_POINT("client.leased");
    if (r == 0) {
        kmem__guard_open(lock.segment->guard, kmem__page_offset(ret_run->page),
                         (uint64_t)ret_run->n_pages << PAGE_SHIFT);
        kmem__segment_populate(lock.segment, ret_run->page, ret_run->n_pages);
    }
    return r;
}

KMEM_MUST_USE static int context_settle(struct process *process, struct welcome *welcome,
                                        struct failure *failure)
{
    int r = context_map(welcome, process->is_reader, failure);
    if (r < 0) {
        return r;
    }
    r = kmem__allocator_open(&process->allocator, welcome, segment_load(&current), context_lend,
                             NULL, failure);
    if (r == 0) {
        process->conn.ticket.notice = &process->allocator.notice;
        own_remember(&own_notice, &process->allocator.notice.mark);
        /* Release: pairs with kmem__context_allocator(). */
        atomic_store_explicit(&process->has_allocator, true, memory_order_release);
    }
    return r;
}

KMEM_MUST_USE static int context_join(struct process *process, struct failure *failure)
{
    struct welcome welcome;
    own_close_all_inherited();
    int r = kmem__locate_role(&process->is_reader, failure);
    if (r < 0) {
        return r;
    }
    /* Relaxed: this thread has the connection. */
    process->is_reader |= atomic_load_explicit(&wants_to_read, memory_order_relaxed);
    r = kmem__handshake(&process->conn, NULL,
                        process->is_reader ? KMEM__ROLE__ROLE_READER : KMEM__ROLE__ROLE_MEMBER,
                        &welcome, failure);
    if (r < 0) {
        return r;
    }
    process->is_walled = welcome.is_walled;
    KMEM_CRASH_POINT("client.welcomed");
    r = context_settle(process, &welcome, failure);
    KMEM_CRASH_POINT("client.settled");
    kmem__welcome_close(&welcome);
    if (r < 0) {
        kmem__conn_close(&process->conn);
        /* Nothing is mapped: the next call joins as one that has never been here. */
        kmem__ticket_end(&process->conn.ticket);
        return r;
    }
    own_remember_sockets(&process->conn);
    if (kmem__dump_serves_malloc()) {
        kmem__locate_remember(process->conn.path);
    }
    atomic_store_explicit(&process->patience_ms, process->conn.ticket.timeout_ms,
                          memory_order_relaxed);
    process->is_joined = true;
    return 0;
}

/* Takes the connection, whether this process has joined or not. Return: 0 or -errno. */
KMEM_MUST_USE static int context_take(struct conn_lock *lock, struct failure *failure)
{
    struct process *process = process_get(failure);
    if (process == NULL) {
        const int r = -failure->error;
        return r < 0 ? r : -ENOMEM;
    }
    return conn_lock_take(lock, process, failure);
}

int kmem__context_enter(struct conn_lock *lock, struct failure *failure)
{
    int r = context_take(lock, failure);
    if (r < 0) {
        return r;
    }
    const int64_t begin_ms = kmem__monotonic_ms();
    if (KMEM_UNLIKELY(!lock->process->is_joined)) {
        r = context_join(lock->process, failure);
        if (r < 0) {
            conn_lock_release(lock);
            return r;
        }
    }
    conn_lock_limit(lock, begin_ms);
    lock->segment = segment_load(&current);
    return 0;
}

void kmem__context_leave(struct conn_lock *lock)
{
    own_remember_sockets(lock->conn); /* they may be others than at the beginning */
    conn_lock_release(lock);
}

int kmem__context_join_as_reader(bool *ret_is_walled, struct failure *failure)
{
    struct conn_lock lock;
    int r = context_take(&lock, failure);
    if (r < 0) {
        return r;
    }
    struct process *process = lock.process;
    if (!process->is_joined) {
        /* Relaxed, all: this thread has the connection; a child reads what its parent was. */
        const bool wanted = atomic_exchange_explicit(&wants_to_read, true, memory_order_relaxed);
        r = context_join(process, failure);
        if (r < 0) {
            atomic_store_explicit(&wants_to_read, wanted, memory_order_relaxed);
        }
    } else if (!process->is_reader) {
        r = kmem__failure_set(failure, EISCONN,
                              "this process has joined as a member already; call kmem_close() "
                              "first, or this before any other call");
    }
    if (r == 0) {
        *ret_is_walled = process->is_walled;
    }
    conn_lock_release(&lock);
    return r;
}

int kmem__context_refuse_reader(const struct conn_lock *lock, const char *what,
                                struct failure *failure)
{
    if (!lock->process->is_reader) {
        return 0;
    }
    return kmem__failure_set(failure, EPERM,
                             "this process has joined as a reader (kmem_join_as_reader() or "
                             "$KMEM_ROLE), and can not %s; a member can",
                             what);
}

const struct segment *kmem__context_segment(void)
{
    return segment_load(&current);
}

struct allocator *kmem__context_allocator(void)
{
    /* Acquire, both: pair with process_get() and context_settle(). */
    struct process *process = atomic_load_explicit(&own, memory_order_acquire);
    return process != NULL && atomic_load_explicit(&process->has_allocator, memory_order_acquire)
               ? &process->allocator
               : NULL;
}

struct holds *kmem__context_holds(void)
{
    struct allocator *allocator = kmem__context_allocator();
    return allocator != NULL ? &allocator->holds : NULL;
}

bool kmem__context_is_inherited(const void *address)
{
    return kmem__segment_offset(segment_load(&inherited), address).bytes != 0;
}

void kmem__context_forget(void)
{
    struct segment *old = segment_exchange(&current, NULL);
    if (old != NULL) {
        /* What was inherited before that stays as it is, unknown: it is a grandparent's. */
        (void)segment_exchange(&inherited, old);
    }
}

/* --------------------------------------------------------------------------------- leaving ---- */

KMEM_MUST_USE static int context_leave_segment(struct process *process, struct failure *failure)
{
    int r = 0;
    if (process->is_joined) {
        r = kmem__calls_leave(&process->conn, failure);
        kmem__conn_close(&process->conn);
        kmem__ticket_end(&process->conn.ticket);
        /* Relaxed: no other thread is in a call. */
        atomic_store_explicit(&process->has_allocator, false, memory_order_relaxed);
        kmem__allocator_fini(&process->allocator);
        own_remember_sockets(&process->conn); /* none */
        /* Relaxed: it only takes something away. */
        atomic_store_explicit(&own_notice.fd, -1, memory_order_relaxed);
        lease_refusal_keep(process, "");
        process->is_joined = false;
    } else {
        own_close_all_inherited();
    }
    (void)kmem__segment_free(segment_exchange(&current, NULL));
    (void)kmem__segment_free(segment_exchange(&inherited, NULL));
    /* Relaxed: this thread has the connection. */
    atomic_store_explicit(&wants_to_read, false, memory_order_relaxed);
    return r;
}

int kmem__context_close(struct failure *failure)
{
    struct conn_lock lock;
    /* Acquire: pairs with process_get(). */
    struct process *process = atomic_load_explicit(&own, memory_order_acquire);
    if (process == NULL) {
        return 0;
    }
    int r = conn_lock_take(&lock, process, failure);
    if (r < 0) {
        return r;
    }
    conn_lock_limit(&lock, kmem__monotonic_ms());
    r = context_leave_segment(process, failure);
    conn_lock_release(&lock);
    return r;
}
