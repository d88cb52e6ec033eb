/* SPDX-License-Identifier: MIT */
#include "daemon/core/reply.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/limits.h"

/*
 * Every row: its struct (an Obituary has the largest, 192 bytes), a pointer to it, and rounding;
 * and at most a response's worth of strings, rounded; and the 8 rows inside each of the few
 * obituaries that fit a response: 256 KiB in all.
 */
#define REPLY_ARENA_BYTES ((size_t)1 << 18)
/* The longest sentence names five holders, each with a reason that escaping made 4 times as long:
   what would be cut might be half a character, and protobuf strings are whole ones. */
#define SENTENCE_MAX_BYTES 4096

struct reply *reply_new(void)
{
    struct reply *reply = calloc(1, sizeof(*reply));
    void *bytes = malloc(REPLY_ARENA_BYTES);
    if (!reply || !bytes) {
        free(bytes);
        free(reply);
        return NULL;
    }
    arena_init(&reply->arena, bytes, REPLY_ARENA_BYTES);
    return reply;
}

struct reply *reply_free(struct reply *reply)
{
    if (reply) {
        free(reply->arena.bytes);
        free(reply);
    }
    return NULL;
}

void reply_reset(struct reply *reply, uint64_t id)
{
    arena_reset(&reply->arena);
    reply->encoded_bytes = 0;
    reply->response = (Kmem__Response)KMEM__RESPONSE__INIT;
    reply->response.id = id;
}

void *reply_take(struct reply *reply, size_t num_bytes)
{
    void *taken = reply->arena.allocator.alloc(reply->arena.allocator.allocator_data, num_bytes);
    KMEM_ASSERT(taken != NULL); /* reply_row_fits() bounds what is asked for */
    return taken;
}

char *reply_string(struct reply *reply, const char *text, size_t n_bytes)
{
    char *copy = reply_take(reply, n_bytes + 1);
    memcpy(copy, text, n_bytes);
    copy[n_bytes] = '\0';
    return copy;
}

void reply_error(struct reply *reply, Kmem__ErrorCode code, const char *format, ...)
{
    char *sentence = reply_take(reply, SENTENCE_MAX_BYTES);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(sentence, SENTENCE_MAX_BYTES, format, arguments);
    va_end(arguments);
    reply->body.error = (Kmem__Error)KMEM__ERROR__INIT;
    reply->body.error.code = code;
    reply->body.error.message = sentence;
    reply->response.body_case = KMEM__RESPONSE__BODY_ERROR;
    reply->response.error = &reply->body.error;
}

bool reply_row_fits(struct reply *reply, size_t n_text_bytes)
{
    const size_t row_bytes = REPLY_ROW_BYTES + n_text_bytes;
    if (reply->encoded_bytes + row_bytes > RESPONSE_MAX_BYTES - REPLY_ROW_BYTES) {
        return false;
    }
    reply->encoded_bytes += row_bytes;
    return true;
}
