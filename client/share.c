/* SPDX-License-Identifier: MIT */
/*
 * The public calls about shared blocks. As in api.c each has a body that fills a struct failure;
 * SHARE_CALL() around it records the sentence under the call's name, and leaves errno alone.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <kmem/share.h>

#include "client/blocks.h"
#include "client/handle_text.h"
#include "client/link/refusal.h"
#include "client/link/share_calls.h"
#include "client/share_parts.h"

static_assert(KMEM_NAME_MAX_BYTES == SHARE_NAME_MAX_BYTES, "one bound");
static_assert(KMEM_MANY_MAX == SHARE_MANY_MAX, "one bound");
static_assert(sizeof(struct kmem_handle) == 40, "part of the interface");

static struct share_handle share_handle_of(const struct kmem_handle *handle)
{
    return (struct share_handle){handle->instance, handle->generation, handle->tag, handle->offset,
                                 handle->num_bytes};
}

static struct kmem_handle share_handle_said(const Kmem__Handle *handle)
{
    return (struct kmem_handle){handle->instance, handle->generation, handle->tag, handle->offset,
                                handle->num_bytes};
}

/* ----------------------------------------------------------------------------------- joining -- */

KMEM_MUST_USE static int share_join_as_reader(int *ret_walled, struct failure *failure)
{
    bool is_walled;
    const int r = kmem__context_join_as_reader(&is_walled, failure);
    if (r == 0 && ret_walled != NULL) {
        *ret_walled = is_walled;
    }
    return r;
}

int kmem_join_as_reader(int *ret_walled)
{
    SHARE_CALL("kmem_join_as_reader", share_join_as_reader(ret_walled, &failure));
}

/* ------------------------------------------------------------------------------------- share -- */

KMEM_MUST_USE static int share_ask(const struct conn_lock *lock, struct seg_off offset,
                                   bool read_only, struct kmem_handle *ret_handle,
                                   struct failure *failure)
{
    const Kmem__Response *response = NULL;
    const struct share_request request = {
        .kind = SHARE_SHARE, .offset = offset.bytes, .read_only = read_only};
    struct about about;
    int r = kmem__about_begin(lock, offset, &about, failure);
    if (r < 0) {
        return r;
    }
    r = kmem__sharing_ask(lock, &request, &response, failure);
    if (r == CONN_E_REFUSED) {
        kmem__about_undo(lock, &about);
        return kmem__refusal_of_block(response->error, offset, failure);
    }
    if (r < 0) {
        if (kmem__share_calls_is_doubtful(lock->conn)) {
            kmem__about_shared(lock, &about, NULL);
        } else {
            kmem__about_undo(lock, &about); /* the daemon was not asked */
        }
        return r;
    }
    kmem__about_shared(lock, &about, response->shared->handle);
    *ret_handle = share_handle_said(response->shared->handle);
    return 0;
}

KMEM_MUST_USE static int share_share(const void *mem, int flags, struct kmem_handle *ret_handle,
                                     struct failure *failure)
{
    struct conn_lock lock;
    struct seg_off offset;
    if (ret_handle == NULL) {
        return kmem__share_refuse(failure, "NULL is no place for the handle");
    }
    int r = kmem__share_check_flags(flags, KMEM_READ_ONLY, failure);
    r = r < 0 ? r : kmem__share_enter_about(&lock, mem, &offset, failure);
    if (r < 0) {
        return r;
    }
    r = share_ask(&lock, offset, (flags & KMEM_READ_ONLY) != 0, ret_handle, failure);
    kmem__context_leave(&lock);
    return r;
}

int kmem_share(const void *mem, int flags, struct kmem_handle *ret_handle)
{
    SHARE_CALL("kmem_share", share_share(mem, flags, ret_handle, &failure));
}

/* ------------------------------------------------------------------------------------ attach -- */

KMEM_MUST_USE static int attach_ask(const struct conn_lock *lock,
                                    const struct share_request *request, void **ret_mems,
                                    struct failure *failure)
{
    const Kmem__Response *response = NULL;
    const int r = kmem__sharing_ask(lock, request, &response, failure);
    if (r == CONN_E_REFUSED) {
        return kmem__refusal_of_handle(response->error, failure);
    }
    for (uint32_t i = 0; r == 0 && i < request->n_handles; i++) {
        pointer_put(&ret_mems[i], kmem__sharing_attached(lock, response->attached->blocks[i]));
    }
    return r;
}

KMEM_MUST_USE static int share_attach(const struct kmem_handle *handles, size_t n, int flags,
                                      const char *reason, void **ret_mems, struct failure *failure)
{
    struct conn_lock lock;
    if (handles == NULL || ret_mems == NULL) {
        return kmem__share_refuse(failure, handles == NULL ? "NULL is no handle"
                                                           : "NULL is no place for the block");
    }
    if (n == 0 || n > KMEM_MANY_MAX) {
        return kmem__share_refuse(failure, "1 to 64 handles can be attached in one call");
    }
    int r = kmem__share_check_flags(flags, KMEM_WRITE, failure);
    if (r < 0) {
        return r;
    }
    struct share_request request = {
        .kind = SHARE_ATTACH, .write = (flags & KMEM_WRITE) != 0, .n_handles = (uint32_t)n};
    for (size_t i = 0; i < n; i++) {
        request.handles[i] = share_handle_of(&handles[i]);
    }
    if (kmem__sharing_again(request.handles, n, request.write, ret_mems)) {
        return 0;
    }
    kmem__share_copy_reason(&request, reason);
    r = kmem__share_enter(&lock, (uint32_t)n, failure);
    if (r < 0) {
        return r;
    }
    r = attach_ask(&lock, &request, ret_mems, failure);
    kmem__context_leave(&lock);
    return r;
}

static int attach_slowly(const struct kmem_handle *handle, int flags, const char *reason,
                         void **ret_mem)
{
    SHARE_CALL("kmem_attach", share_attach(handle, 1, flags, reason, ret_mem, &failure));
}

int(kmem_attach)(const struct kmem_handle *handle, int flags, const char *reason, void **ret_mem)
{
    if (KMEM_LIKELY(handle != NULL) && KMEM_LIKELY(ret_mem != NULL)) {
        const struct share_handle wanted = share_handle_of(handle);
        if ((flags & ~KMEM_WRITE) == 0 &&
            kmem__sharing_again(&wanted, 1, (flags & KMEM_WRITE) != 0, ret_mem)) {
            return 0;
        }
    }
    return attach_slowly(handle, flags, reason, ret_mem);
}

int kmem_attach_many(const struct kmem_handle *handles, size_t n, int flags, const char *reason,
                     void **ret_mems)
{
    SHARE_CALL("kmem_attach_many", share_attach(handles, n, flags, reason, ret_mems, &failure));
}

/* ------------------------------------------------------------------------------ release many -- */

/* What becomes of one of several. */
struct one {
    bool is_local; /* of a lease, and not shared: released without the server */
    bool is_asked; /* in the request */
    struct letting letting;
};

/* Sorts them, up to the first that is none. Return: 0, or -errno of that, and *ret_n before it. */
KMEM_MUST_USE static int many_begin(const struct conn_lock *lock, void **mems, size_t n,
                                    struct one *ones, struct share_request *request, size_t *ret_n,
                                    struct failure *failure)
{
    for (*ret_n = 0; *ret_n < n; ++*ret_n) {
        const void *mem = pointer_get(&mems[*ret_n]);
        struct one *one = &ones[*ret_n];
        struct found found;
        *one = (struct one){.is_local = false};
        if (mem == NULL) {
            continue;
        }
        const struct seg_off offset = kmem__segment_offset(lock->segment, mem);
        if (offset.bytes == 0) {
            return kmem__blocks_refuse_pointer(lock->segment, mem, failure);
        }
        const int r = kmem__blocks_leased(mem, kmem__heap_find, &found, failure);
        if (r < 0) {
            return r;
        }
        one->is_local = r == 0 && !found.is_shared;
        if (!one->is_local) {
            one->letting = kmem__sharing_begin(lock, offset);
            one->is_asked = one->letting.how != LETTING_DROPPED;
        }
        if (one->is_asked) {
            request->handles[request->n_handles++].offset = offset.bytes;
        }
    }
    return 0;
}

/* Those that were counted down are held as often as before. */
static void many_undo(const struct conn_lock *lock, const struct one *one)
{
    if (one->is_asked) {
        kmem__sharing_end(lock, &one->letting, LET_STAYS, 0);
    } else if (!one->is_local && one->letting.how == LETTING_DROPPED) {
        kmem__holds_end(lock->holds, one->letting.offset, false);
    }
}

/*
 * Ends each: the first n_released of those asked for are released, also behind one of a lease that
 * can not be. Return: 0 or -errno.
 */
KMEM_MUST_USE static int many_end(const struct conn_lock *lock, void **mems, size_t n,
                                  const struct one *ones, const Kmem__ReleasedMany *many,
                                  size_t n_released, struct failure *failure)
{
    struct found found;
    size_t n_asked = 0;
    size_t i = 0;
    int r = 0;
    for (; i < n && (!ones[i].is_asked || n_asked < n_released); i++) {
        bool is_gone = r == 0;
        if (ones[i].is_local && r == 0) {
            r = kmem__blocks_leased(pointer_get(&mems[i]), kmem__heap_release, &found, failure);
            is_gone = r == 0;
        } else if (ones[i].is_asked) {
            const Kmem__Released *said = many != NULL ? many->released[n_asked] : NULL;
            kmem__sharing_end(lock, &ones[i].letting,
                              said == NULL ? LET_KEPT : kmem__sharing_let_go(said),
                              said != NULL ? said->num_bytes : 0);
            n_asked++;
            is_gone = true;
        } else if (r < 0) {
            many_undo(lock, &ones[i]);
        }
        if (is_gone) {
            pointer_clear(&mems[i]);
        }
    }
    for (; i < n; i++) {
        many_undo(lock, &ones[i]);
    }
    return r;
}

KMEM_MUST_USE static int many_ask(const struct conn_lock *lock, void **mems, size_t n,
                                  struct failure *failure)
{
    struct one ones[KMEM_MANY_MAX];
    struct share_request request = {.kind = SHARE_RELEASE};
    const Kmem__Response *response = NULL;
    struct failure refusal;
    size_t n_begun;
    const int why = many_begin(lock, mems, n, ones, &request, &n_begun, &refusal);
    int r =
        request.n_handles == 0 ? CONN_OK : kmem__sharing_ask(lock, &request, &response, failure);
    const bool will_be = r < 0 && kmem__share_calls_is_doubtful(lock->conn);
    const Kmem__ReleasedMany *many =
        r == CONN_OK && response != NULL ? response->released_many : NULL;
    const size_t n_released = will_be ? request.n_handles : many != NULL ? many->n_released : 0;
    if (r == CONN_E_REFUSED) {
        r = kmem__refusal_of_handle(response->error, failure);
    } else if (many != NULL && many->refused != NULL) {
        r = kmem__refusal_of_block(
            many->refused, (struct seg_off){request.handles[many->n_released].offset}, failure);
    } else if (will_be) {
        r = 0;
    }
    struct failure later = {.error = 0}; /* the first that is not released is told */
    const int ended =
        many_end(lock, mems, n_begun, ones, many, n_released, r < 0 ? &later : failure);
    r = r < 0 ? r : ended;
    if (r == 0 && why < 0) {
        *failure = refusal;
    }
    return r < 0 ? r : why;
}

KMEM_MUST_USE static int share_release_many(void **mems, size_t n, struct failure *failure)
{
    struct conn_lock lock;
    if (mems == NULL) {
        return kmem__share_refuse(failure, "NULL is no array of pointers");
    }
    if (n == 0 || n > KMEM_MANY_MAX) {
        return kmem__share_refuse(failure, "1 to 64 blocks can be released in one call");
    }
    int r = kmem__share_enter(&lock, 0, failure);
    if (r < 0) {
        return r;
    }
    r = many_ask(&lock, mems, n, failure);
    kmem__context_leave(&lock);
    return r;
}

int kmem_release_many(void **mems, size_t n)
{
    SHARE_CALL("kmem_release_many", share_release_many(mems, n, &failure));
}

/* ---------------------------------------------------------------------------------- transfer -- */

/* It may have been handed over: this process has it until it is taken back. */
static void transfer_doubt(const struct conn_lock *lock, const struct letting *letting,
                           const struct about *about)
{
    kmem__sharing_end(lock, letting, LET_STAYS, 0);
    kmem__about_shared(lock, about, NULL);
}

KMEM_MUST_USE static int transfer_ask(const struct conn_lock *lock, struct seg_off offset,
                                      bool keep, struct kmem_handle *ret_handle,
                                      struct failure *failure)
{
    const Kmem__Response *response = NULL;
    const struct share_request request = {
        .kind = SHARE_TRANSFER, .offset = offset.bytes, .keep = keep};
    struct about about;
    int r = kmem__about_begin(lock, offset, &about, failure);
    if (r < 0) {
        return r;
    }
    const struct letting letting = kmem__sharing_begin(lock, offset);
    if (letting.how == LETTING_DROPPED) {
        kmem__holds_end(lock->holds, offset, false);
        r = kmem__failure_set(failure, EBUSY,
                              "the block at offset %llu is held %u times by this process itself; "
                              "release all but one",
                              (unsigned long long)offset.bytes, letting.hold.count + 1);
        kmem__failure_about(failure, offset.bytes, letting.hold.num_bytes, NULL);
        return r;
    }
    r = kmem__sharing_ask(lock, &request, &response, failure);
    if (r == CONN_OK) {
        const Kmem__Handle *handle = response->shared->handle;
        kmem__sharing_end(lock, &letting, LET_KEPT, handle->num_bytes);
        *ret_handle = share_handle_said(handle);
        return 0;
    }
    if (r < 0 && kmem__share_calls_is_doubtful(lock->conn)) {
        transfer_doubt(lock, &letting, &about);
        return r;
    }
    kmem__sharing_end(lock, &letting, LET_STAYS, 0);
    kmem__about_undo(lock, &about);
    return r < 0 ? r : kmem__refusal_of_block(response->error, offset, failure);
}

KMEM_MUST_USE static int share_transfer(void **mem, int flags, struct kmem_handle *ret_handle,
                                        struct failure *failure)
{
    struct conn_lock lock;
    struct seg_off offset;
    if (mem == NULL || ret_handle == NULL) {
        return kmem__share_refuse(failure, mem == NULL
                                               ? "NULL is no pointer's address; pass &pointer"
                                               : "NULL is no place for the handle");
    }
    int r = kmem__share_check_flags(flags, KMEM_KEEP, failure);
    r = r < 0 ? r : kmem__share_enter_about(&lock, pointer_get(mem), &offset, failure);
    if (r < 0) {
        return r;
    }
    r = transfer_ask(&lock, offset, (flags & KMEM_KEEP) != 0, ret_handle, failure);
    kmem__context_leave(&lock);
    if (r == 0) {
        pointer_clear(mem);
    }
    return r;
}

int(kmem_transfer)(void **mem, int flags, struct kmem_handle *ret_handle)
{
    SHARE_CALL("kmem_transfer", share_transfer(mem, flags, ret_handle, &failure));
}

/* ------------------------------------------------------------------------------ handles as text */

/* Says on which host and in which segment this process is. Return: 0 or -errno. */
KMEM_MUST_USE static int text_of_here(struct handle_text *ret_here, struct failure *failure)
{
    struct conn_lock lock;
    const int r = kmem__share_enter(&lock, 0, failure);
    if (r < 0) {
        return r;
    }
    if (gethostname(ret_here->host, sizeof(ret_here->host) - 1) < 0) {
        const int error = errno;
        kmem__context_leave(&lock);
        return kmem__failure_set(failure, error, "this host's name can not be told: %s",
                                 strerror(error));
    }
    if (ret_here->host[0] == '\0') {
        (void)snprintf(ret_here->host, sizeof(ret_here->host), "localhost");
    }
    (void)snprintf(ret_here->segment, sizeof(ret_here->segment), "%s", lock.segment->name);
    ret_here->handle.instance = lock.segment->instance;
    kmem__context_leave(&lock);
    return 0;
}

KMEM_MUST_USE static int share_to_text(const struct kmem_handle *handle, char *text,
                                       size_t text_bytes, struct failure *failure)
{
    struct handle_text here = {.host = ""};
    if (handle == NULL || text == NULL || text_bytes < KMEM_HANDLE_TEXT_BYTES) {
        return kmem__share_refuse(failure, handle == NULL ? "NULL is no handle"
                                           : text == NULL
                                               ? "NULL is no place for the text"
                                               : "a handle's text needs KMEM_HANDLE_TEXT_BYTES");
    }
    int r = text_of_here(&here, failure);
    if (r < 0) {
        return r;
    }
    if (handle->instance != here.handle.instance) {
        return kmem__failure_set(failure, ESTALE,
                                 "the handle is of another segment than \"%s\", or of one of that "
                                 "name that has ended",
                                 here.segment);
    }
    here.handle = share_handle_of(handle);
    (void)kmem__handle_print(&here, text, text_bytes);
    return 0;
}

int kmem_handle_to_text(const struct kmem_handle *handle, char *text, size_t text_bytes)
{
    SHARE_CALL("kmem_handle_to_text", share_to_text(handle, text, text_bytes, &failure));
}

KMEM_MUST_USE static int share_from_text(const char *text, struct kmem_handle *ret_handle,
                                         struct failure *failure)
{
    struct handle_text handle;
    struct handle_text here = {.host = ""};
    if (text == NULL || ret_handle == NULL) {
        return kmem__share_refuse(failure, text == NULL ? "NULL is no text"
                                                        : "NULL is no place for the handle");
    }
    int r = kmem__handle_parse(text, &handle, failure);
    r = r < 0 ? r : text_of_here(&here, failure);
    if (r < 0) {
        return r;
    }
    if (strcmp(handle.host, here.host) != 0 || strcmp(handle.segment, here.segment) != 0) {
        return kmem__failure_set(failure, ESTALE,
                                 "the handle is of segment \"%s\" on host %s; this process is in "
                                 "segment \"%s\" on host %s",
                                 handle.segment, handle.host, here.segment, here.host);
    }
    const struct share_handle *of = &handle.handle;
    *ret_handle = (struct kmem_handle){here.handle.instance, of->generation, of->tag, of->offset,
                                       of->num_bytes};
    return 0;
}

int kmem_handle_from_text(const char *text, struct kmem_handle *ret_handle)
{
    SHARE_CALL("kmem_handle_from_text", share_from_text(text, ret_handle, &failure));
}
