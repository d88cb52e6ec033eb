/* SPDX-License-Identifier: MIT */
/*
 * handles.c - leading to blocks that one was never given, or has no more
 */
#include <unistd.h>

#include "tests/hostile/hostile.h"
#include "tests/support/seeded.h"

static int attach(int fd, Kmem__Handle *handle)
{
    struct request request;
    Kmem__Handle *handles[] = {handle};
    (void)request_plain(&request, KMEM__REQUEST__BODY_ATTACH);
    request.attach.n_handles = 1;
    request.attach.handles = handles;
    return hostile_answer(fd, &request.base);
}

static bool share(int fd, uint64_t offset, Kmem__Handle *ret_handle)
{
    struct request request;
    (void)request_plain(&request, KMEM__REQUEST__BODY_SHARE);
    request.share.offset = offset;
    Kmem__Response *const response = hostile_ask(fd, &request.base);
    const bool is_shared = response != NULL && response->body_case == KMEM__RESPONSE__BODY_SHARED;
    if (is_shared) {
        const Kmem__Handle *const handle = response->shared->handle;
        kmem__handle__init(ret_handle);
        ret_handle->instance = handle->instance;
        ret_handle->generation = handle->generation;
        ret_handle->tag = handle->tag;
        ret_handle->offset = handle->offset;
        ret_handle->num_bytes = handle->num_bytes;
    }
    kmem__response__free_unpacked(response, NULL);
    return is_shared;
}

/* One field is other than it was, by a bit or altogether. */
static void forge(Kmem__Handle *handle, uint64_t number, struct seeded *seeded)
{
    uint64_t *const fields[] = {&handle->instance, &handle->generation, &handle->tag,
                                &handle->offset, &handle->num_bytes};
    uint64_t *const field = fields[number % 5];
    const uint64_t was = *field;
    do {
        *field =
            number % 2 == 0 ? was ^ (UINT64_C(1) << seeded_below(seeded, 64)) : seeded_next(seeded);
    } while (*field == was);
}

void attack_forged_handles(void)
{
    struct seeded seeded = {(uint64_t)getpid()};
    Kmem__Handle handle;
    const int fd = hostile_join(KMEM__ROLE__ROLE_MEMBER);
    const uint64_t offset = fd < 0 ? 0 : hostile_allocate(fd, 100000, "bait");
    must(offset == 0 || share(fd, offset, &handle));
    for (uint64_t n = 0; n < many(2000, 1000000) && offset != 0; n++) {
        Kmem__Handle forged = handle;
        forge(&forged, n, &seeded);
        must(attach(fd, &forged) > ANSWER_OK);
    }
    (void)close(fd);
}

void attack_replayed_handles(void)
{
    Kmem__Handle old;
    Kmem__Handle handle;
    const int fd = hostile_join(KMEM__ROLE__ROLE_MEMBER);
    for (uint64_t n = 0; n < many(200, 50000) && fd >= 0; n++) {
        const uint64_t offset = hostile_allocate(fd, 100000, "shared, and gone");
        if (offset == 0) {
            break;
        }
        must(share(fd, offset, &handle));
        must(n == 0 || attach(fd, &old) == KMEM__ERROR_CODE__ERROR_STALE); /* also at this place */
        must(hostile_answer(fd, request_release(NEW_REQUEST, offset)) == ANSWER_OK);
        must(attach(fd, &handle) == KMEM__ERROR_CODE__ERROR_STALE);
        old = handle;
    }
    (void)close(fd);
}

/* Blocks that are there, as everybody may see who may join; each of them another's. */
static void release_what_is_anothers(int fd)
{
    const int observer = hostile_join(KMEM__ROLE__ROLE_OBSERVER);
    Kmem__Response *const response =
        observer < 0 ? NULL : hostile_ask(observer, request_blocks(NEW_REQUEST, 0));
    if (response != NULL && response->body_case == KMEM__RESPONSE__BODY_BLOCKS) {
        for (size_t i = 0; i < response->blocks->n_blocks; i++) {
            const Kmem__Block *const block = response->blocks->blocks[i];
            if (block->pid != (uint32_t)getpid()) {
                must(hostile_answer(fd, request_release(NEW_REQUEST, block->offset)) > ANSWER_OK);
                must(hostile_answer(fd, request_release(NEW_REQUEST, block->offset + 16)) >
                     ANSWER_OK);
            }
        }
    }
    kmem__response__free_unpacked(response, NULL);
    (void)close(observer);
}

void attack_wrong_releases(void)
{
    const int fd = hostile_join(KMEM__ROLE__ROLE_MEMBER);
    for (uint64_t n = 0; n < many(40, 5000) && fd >= 0; n++) {
        const uint64_t offset = hostile_allocate(fd, 100 + n % 40000, "released wrongly");
        if (offset == 0) {
            break;
        }
        must(hostile_answer(fd, request_release(NEW_REQUEST, offset + 16)) ==
             KMEM__ERROR_CODE__ERROR_INTERIOR);
        must(hostile_answer(fd, request_release(NEW_REQUEST, offset)) == ANSWER_OK);
        must(hostile_answer(fd, request_release(NEW_REQUEST, offset)) > ANSWER_OK);
        must(hostile_answer(fd, request_release(NEW_REQUEST, n * PAGE_BYTES + 8)) > ANSWER_OK);
        release_what_is_anothers(fd);
    }
    (void)close(fd);
}
