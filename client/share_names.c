/* SPDX-License-Identifier: MIT */
/*
 * The public calls about names. One that waits has the connection only while it asks: it sleeps at
 * the name's bell, which the server rings when the name means something else (proto/notice.h).
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <kmem/share.h>

#include "client/blocks.h"
#include "client/link/notice.h"
#include "client/link/refusal.h"
#include "client/link/share_calls.h"
#include "client/share_parts.h"

static void share_copy_name(struct share_request *request, const char *name)
{
    (void)snprintf(request->name, sizeof(request->name), "%s", name);
}

/* ----------------------------------------------------------------------------------- publish -- */

/* The block as it is published; if it is given, it is let go of. */
struct publishing {
    struct about about;
    struct letting letting; /* if it is given */
    bool gives;
};

static void publish_end(const struct conn_lock *lock, const struct publishing *publishing,
                        const Kmem__Published *published)
{
    if (!publishing->gives) {
        kmem__about_shared(lock, &publishing->about, NULL);
        return;
    }
    kmem__sharing_end(lock, &publishing->letting,
                      published == NULL || published->kept ? LET_KEPT : LET_FREED,
                      published != NULL ? published->num_bytes : 0);
}

static void publish_undo(const struct conn_lock *lock, const struct publishing *publishing)
{
    if (publishing->gives && publishing->letting.how == LETTING_DROPPED) {
        kmem__holds_end(lock->holds, publishing->letting.offset, false);
    } else if (publishing->gives) {
        kmem__sharing_end(lock, &publishing->letting, LET_STAYS, 0);
    }
    kmem__about_undo(lock, &publishing->about);
}

/* The daemon was not asked: a caller that gives the block is to know that it has it still. */
KMEM_MUST_USE static int publish_not_asked(int r, struct failure *failure)
{
    if (r == -ETIMEDOUT) {
        failure->error = EAGAIN;
        kmem__failure_add(failure, "; nothing was published or given");
    }
    return r == -ETIMEDOUT ? -EAGAIN : r;
}

KMEM_MUST_USE static int publish_ask(const struct conn_lock *lock, struct seg_off offset,
                                     const char *name, int flags, uint64_t *ret_version,
                                     struct failure *failure)
{
    const Kmem__Response *response = NULL;
    struct publishing publishing = {.gives = (flags & KMEM_GIVE) != 0};
    struct share_request request = {
        .kind = SHARE_PUBLISH,
        .offset = offset.bytes,
        .keep = (flags & KMEM_KEEP) != 0,
        .exclusive = (flags & KMEM_EXCLUSIVE) != 0,
    };
    int r = kmem__about_begin(lock, offset, &publishing.about, failure);
    if (r < 0) {
        return r;
    }
    if (publishing.gives) {
        publishing.letting = kmem__sharing_begin(lock, offset);
        request.give = publishing.letting.how != LETTING_DROPPED;
    }
    share_copy_name(&request, name);
    r = kmem__sharing_ask(lock, &request, &response, failure);
    if (r == CONN_OK) {
        publish_end(lock, &publishing, response->published);
        if (ret_version != NULL) {
            *ret_version = response->published->version;
        }
        return 0;
    }
    if (r < 0 && kmem__share_calls_is_doubtful(lock->conn)) {
        publish_end(lock, &publishing, NULL);
        return r;
    }
    publish_undo(lock, &publishing);
    if (r < 0) {
        return lock->conn->is_cut ? r : publish_not_asked(r, failure);
    }
    return kmem__refusal_of_block(response->error, offset, failure);
}

KMEM_MUST_USE static int share_publish(const void *mem, const char *name, int flags,
                                       uint64_t *ret_version, struct failure *failure)
{
    struct conn_lock lock;
    struct seg_off offset;
    int r = kmem__share_check_flags(flags, KMEM_GIVE | KMEM_KEEP | KMEM_EXCLUSIVE, failure);
    r = r < 0 ? r : kmem__share_check_name(name, failure);
    r = r < 0 ? r : kmem__share_enter_about(&lock, mem, &offset, failure);
    if (r < 0) {
        return publish_not_asked(r, failure);
    }
    r = publish_ask(&lock, offset, name, flags, ret_version, failure);
    kmem__context_leave(&lock);
    return r;
}

int kmem_publish(const void *mem, const char *name, int flags, uint64_t *ret_version)
{
    SHARE_CALL("kmem_publish", share_publish(mem, name, flags, ret_version, &failure));
}

KMEM_MUST_USE static int share_unpublish(const char *name, struct failure *failure)
{
    struct conn_lock lock;
    const Kmem__Response *response = NULL;
    struct share_request request = {.kind = SHARE_UNPUBLISH};
    int r = kmem__share_check_name(name, failure);
    r = r < 0 ? r : kmem__share_enter(&lock, 0, failure);
    if (r < 0) {
        return r;
    }
    share_copy_name(&request, name);
    r = kmem__context_refuse_reader(&lock, "unpublish a name", failure);
    r = r < 0 ? r : kmem__sharing_ask(&lock, &request, &response, failure);
    if (r == CONN_E_REFUSED) {
        r = kmem__refusal_of_handle(response->error, failure);
    } else if (r < 0 && kmem__share_calls_is_doubtful(lock.conn)) {
        r = 0; /* it will be, before anything else */
    }
    kmem__context_leave(&lock);
    return r;
}

int kmem_unpublish(const char *name)
{
    SHARE_CALL("kmem_unpublish", share_unpublish(name, &failure));
}

/* -------------------------------------------------------------------------------------- next -- */

/* A call that takes what a name means, or waits for it. */
struct taking {
    const char *name;
    const char *reason;
    bool write;
    bool only_wait;
    uint64_t after;
    uint32_t wait_ms; /* how long the daemon may keep the question */
    const void *old;  /* to be let go of; NULL: nothing, or it has been */
    void *mem;        /* these two: what was found */
    uint64_t version;
};

enum { TAKE_E_NONE = 1, TAKE_E_OLD }; /* there is nothing newer, of this name, or in it */

/* Begins to let go of the old block. Return: 0; or -errno: it is none of this process's. */
KMEM_MUST_USE static int take_begin(const struct conn_lock *lock, struct taking *taking,
                                    struct share_request *request, struct letting *ret_letting,
                                    struct failure *failure)
{
    struct found found;
    *ret_letting = (struct letting){.how = LETTING_DROPPED};
    if (taking->old == NULL) {
        return 0;
    }
    const struct seg_off offset = kmem__segment_offset(lock->segment, taking->old);
    if (offset.bytes == 0) {
        return kmem__blocks_refuse_pointer(lock->segment, taking->old, failure);
    }
    const int r = kmem__blocks_leased(taking->old, kmem__heap_release, &found, failure);
    if (r == BLOCKS_E_ASK) {
        *ret_letting = kmem__sharing_begin(lock, offset);
        request->offset = ret_letting->how == LETTING_DROPPED ? 0 : offset.bytes;
    }
    if (r >= 0 && request->offset == 0) {
        taking->old = NULL;
    }
    return r < 0 ? r : 0;
}

/* The answer has said what became of the old block. */
static void take_end(const struct conn_lock *lock, struct taking *taking,
                     const struct letting *letting, const Kmem__Released *released)
{
    if (letting->how == LETTING_DROPPED) {
        return;
    }
    if (released != NULL) {
        kmem__sharing_end(lock, letting, kmem__sharing_let_go(released), released->num_bytes);
        taking->old = NULL;
    } else {
        kmem__sharing_end(lock, letting, LET_STAYS, 0);
    }
}

/* Return: 0, TAKE_E_NONE, TAKE_E_OLD or -errno. */
KMEM_MUST_USE static int take_refused(const struct share_request *request, const Kmem__Error *error,
                                      struct failure *failure)
{
    if (error->code == KMEM__ERROR_CODE__ERROR_OLD ||
        error->code == KMEM__ERROR_CODE__ERROR_NO_NAME) {
        (void)kmem__refusal_of_handle(error, failure); /* the sentence */
        return error->code == KMEM__ERROR_CODE__ERROR_OLD ? TAKE_E_OLD : TAKE_E_NONE;
    }
    return error->released == NULL && request->offset != 0
               ? kmem__refusal_of_block(error, (struct seg_off){request->offset}, failure)
               : kmem__refusal_of_handle(error, failure);
}

/* Asks once. Return: as take_refused(). */
KMEM_MUST_USE static int take_ask(const struct conn_lock *lock, struct taking *taking,
                                  struct failure *failure)
{
    const Kmem__Response *response = NULL;
    struct letting letting;
    struct share_request request = {
        .kind = SHARE_NEXT,
        .write = taking->write,
        .only_wait = taking->only_wait,
        .after = taking->after,
        .wait_ms = taking->wait_ms,
    };
    share_copy_name(&request, taking->name);
    kmem__share_copy_reason(&request, taking->reason);
    int r = take_begin(lock, taking, &request, &letting, failure);
    if (r < 0) {
        return r;
    }
    r = kmem__sharing_ask(lock, &request, &response, failure);
    if (r < 0) {
        const Kmem__Released given_up = {.kept = true};
        const bool will_be = kmem__share_calls_is_doubtful(lock->conn);
        take_end(lock, taking, &letting, will_be ? &given_up : NULL);
        return r;
    }
    take_end(lock, taking, &letting,
             r == CONN_OK ? response->nexted->released : response->error->released);
    if (r == CONN_E_REFUSED) {
        return take_refused(&request, response->error, failure);
    }
    taking->version = response->nexted->version;
    if (!taking->only_wait) {
        taking->mem = kmem__sharing_attached(lock, response->nexted->block);
    }
    return 0;
}

KMEM_MUST_USE static int take_once(struct taking *taking, struct failure *failure)
{
    struct conn_lock lock;
    kmem__context_call();
    int r = kmem__share_enter(&lock, 1, failure);
    if (r < 0) {
        return r;
    }
    r = take_ask(&lock, taking, failure);
    kmem__context_leave(&lock);
    return r;
}

static int64_t now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* NULL: this process has not joined. */
static const _Atomic uint32_t *bell_of(const char *name)
{
    const struct allocator *allocator = kmem__context_allocator();
    return allocator == NULL ? NULL
                             : (const _Atomic uint32_t *)(const void *)((const unsigned char *)
                                                                            allocator->clock_at +
                                                                        NOTICE_BELLS_AT) +
                                   notice_bell_of(name, strlen(name));
}

/*
 * 1 s: a server that is started anew rings every bell; but one that has ended rings none, and a
 * caller that waits is to be told. A round trip a second for each that waits is not felt.
 */
#define PATIENCE_MS 1000

static int64_t patience_ms(int64_t left_ms)
{
    return left_ms < 0 ? 0 : left_ms < PATIENCE_MS ? left_ms : PATIENCE_MS;
}

/* Sleeps until the bell is another than `seen`, or for a while. */
static void bell_wait(const _Atomic uint32_t *bell, uint32_t seen, int64_t left_ms)
{
    const int64_t wait_ms = patience_ms(left_ms);
    const struct timespec time = {.tv_sec = wait_ms / 1000, .tv_nsec = wait_ms % 1000 * 1000000};
    /* Woken, changed, interrupted or late: each time the caller asks. */
    (void)syscall(SYS_futex, bell, FUTEX_WAIT, seen, &time, NULL, 0);
}

/*
 * Asks, and waits, and asks. The daemon keeps the question of a process that has one thread until
 * there is an answer: a round trip a frame. With others, which would wait for the connection, it is
 * asked, waited for the bell, and asked again. Return: 0, TAKE_E_NONE, TAKE_E_OLD or -errno.
 */
KMEM_MUST_USE static int take(struct taking *taking, int timeout_ms, struct failure *failure)
{
    const int64_t until_ms = timeout_ms < 0 ? INT64_MAX : now_ms() + timeout_ms;
    for (;;) {
        const bool keeps = timeout_ms != 0 && __libc_single_threaded;
        taking->wait_ms = keeps ? (uint32_t)patience_ms(until_ms - now_ms()) : 0;
        const _Atomic uint32_t *bell = bell_of(taking->name);
        /* Acquire: pairs with the server, which rings when what the name means is true. */
        const uint32_t seen = bell != NULL ? atomic_load_explicit(bell, memory_order_acquire) : 0;
        const int r = take_once(taking, failure);
        const int64_t left_ms = timeout_ms == 0 ? 0 : until_ms - now_ms();
        if ((r != TAKE_E_NONE && r != TAKE_E_OLD) || left_ms <= 0) {
            return r;
        }
        if (bell != NULL && !keeps) { /* else it has joined just now, and asks once more */
            bell_wait(bell, seen, left_ms);
        }
    }
}

/* There was nothing newer in time. */
KMEM_MUST_USE static int take_fail(int r, int error, struct failure *failure)
{
    if (r > 0) {
        failure->error = error;
    }
    return r > 0 ? -error : r;
}

KMEM_MUST_USE static int share_find(const char *name, int flags, const char *reason, void **ret_mem,
                                    uint64_t *ret_version, struct failure *failure)
{
    struct taking taking = {.name = name, .reason = reason, .write = (flags & KMEM_WRITE) != 0};
    if (ret_mem == NULL) {
        return kmem__share_refuse(failure, "NULL is no place for the block");
    }
    int r = kmem__share_check_flags(flags, KMEM_WRITE, failure);
    r = r < 0 ? r : kmem__share_check_name(name, failure);
    r = r < 0 ? r : take(&taking, 0, failure);
    if (r != 0) {
        return take_fail(r, ENOENT, failure);
    }
    pointer_put(ret_mem, taking.mem);
    if (ret_version != NULL) {
        *ret_version = taking.version;
    }
    return 0;
}

int(kmem_find)(const char *name, int flags, const char *reason, void **ret_mem,
               uint64_t *ret_version)
{
    SHARE_CALL("kmem_find", share_find(name, flags, reason, ret_mem, ret_version, &failure));
}

KMEM_MUST_USE static int share_next(const char *name, int flags, const char *reason,
                                    uint64_t *version, void **mem, int timeout_ms,
                                    struct failure *failure)
{
    if (version == NULL || mem == NULL) {
        return kmem__share_refuse(failure, version == NULL ? "NULL is no place for the version"
                                                           : "NULL is no pointer's address");
    }
    int r = kmem__share_check_flags(flags, KMEM_WRITE | KMEM_NOWAIT, failure);
    r = r < 0 ? r : kmem__share_check_name(name, failure);
    if (r < 0) {
        return r;
    }
    struct taking taking = {
        .name = name,
        .reason = reason,
        .write = (flags & KMEM_WRITE) != 0,
        .after = *version,
        .old = pointer_get(mem),
    };
    r = take(&taking, (flags & KMEM_NOWAIT) != 0 ? 0 : timeout_ms, failure);
    if (taking.old == NULL) {
        pointer_put(mem, taking.mem);
    }
    if (r == 0) {
        *version = taking.version;
    }
    return take_fail(r, EAGAIN, failure);
}

int(kmem_next)(const char *name, int flags, const char *reason, uint64_t *version, void **mem,
               int timeout_ms)
{
    SHARE_CALL("kmem_next", share_next(name, flags, reason, version, mem, timeout_ms, &failure));
}

KMEM_MUST_USE static int share_wait(const char *name, uint64_t after, int timeout_ms,
                                    uint64_t *ret_version, struct failure *failure)
{
    struct taking taking = {.name = name, .only_wait = true, .after = after};
    int r = kmem__share_check_name(name, failure);
    r = r < 0 ? r : take(&taking, timeout_ms, failure);
    if (r == 0 && ret_version != NULL) {
        *ret_version = taking.version;
    }
    return take_fail(r, EAGAIN, failure);
}

int kmem_wait(const char *name, uint64_t after, int timeout_ms, uint64_t *ret_version)
{
    SHARE_CALL("kmem_wait", share_wait(name, after, timeout_ms, ret_version, &failure));
}
