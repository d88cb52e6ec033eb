/* SPDX-License-Identifier: MIT */
/*
 * Two things outlive a failed call: the sentence that kmem_last_error() returns, one per thread,
 * and the program's failure handler, one per process.
 *
 * The sentence's buffer is thread-local rather than allocated, so that a failure can be told when
 * no memory is left, and so that a thread that ends leaves nothing behind. The handler is given a
 * copy: it may call the library, and a call that fails in it overwrites the thread's sentence.
 */
#include "client/failure.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <kmem/kmem.h>

#include "proto/text.h"

/* The longest name of a call, ": ", and a sentence. */
#define MESSAGE_BYTES (SENTENCE_BYTES + 32)

static _Thread_local char last_message[MESSAGE_BYTES];

/* NULL: print and abort. Relaxed: it is one word, and nothing else is published with it. */
static _Atomic(kmem_failure_handler) installed;

/* ------------------------------------------------------------------------------- composing ---- */

int kmem__failure_set(struct failure *failure, int error, const char *format, ...)
{
    va_list arguments;
    failure->error = error;
    kmem__failure_about(failure, 0, 0, NULL);
    va_start(arguments, format);
    /* Cut if it is too long: a sentence without its end is better than none. */
    (void)vsnprintf(failure->sentence, sizeof(failure->sentence), format, arguments);
    va_end(arguments);
    return -error;
}

int kmem__failure_set_for(struct failure *failure, int error, uint64_t num_bytes,
                          const char *reason)
{
    (void)kmem__failure_set(failure, error, "for \"");
    kmem__failure_add_foreign(failure, reason[0] != '\0' ? reason : KMEM_NO_REASON);
    kmem__failure_add(failure, "\": ");
    kmem__failure_about(failure, 0, num_bytes, reason);
    return -error;
}

void kmem__failure_add(struct failure *failure, const char *format, ...)
{
    size_t used_bytes = strlen(failure->sentence);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(failure->sentence + used_bytes, sizeof(failure->sentence) - used_bytes, format,
                    arguments);
    va_end(arguments);
}

void kmem__failure_add_foreign(struct failure *failure, const char *text)
{
    size_t used_bytes = strlen(failure->sentence);
    (void)text_escape(text, strlen(text), failure->sentence + used_bytes,
                      sizeof(failure->sentence) - used_bytes);
}

static bool is_c1(const char *character)
{
    return (unsigned char)character[0] == 0xC2 && (unsigned char)character[1] < 0xA0;
}

static bool is_control(char c)
{
    return ((unsigned char)c < 0x20) || c == 0x7F;
}

/*
 * Escaping it again would double its backslashes. A control character in it is a mistake of the
 * daemon's; it does not reach a terminal all the same.
 */
void kmem__failure_add_sentence(struct failure *failure, const char *sentence)
{
    size_t used_bytes = strlen(failure->sentence);
    char *added = failure->sentence + used_bytes;
    (void)text_clean(sentence, added, sizeof(failure->sentence) - used_bytes);
    for (size_t i = 0; added[i] != '\0'; i++) {
        if (is_c1(added + i)) {
            added[i] = '?';
            added[i + 1] = '?';
        } else if (is_control(added[i])) {
            added[i] = '?';
        }
    }
}

void kmem__failure_about(struct failure *failure, uint64_t offset, uint64_t num_bytes,
                         const char *reason)
{
    failure->offset = offset;
    failure->num_bytes = num_bytes;
    (void)text_clean(reason != NULL ? reason : "", failure->reason, sizeof(failure->reason));
}

/* --------------------------------------------------------------------------------- telling ---- */

void kmem__failure_record(const struct failure *failure, const char *call)
{
    (void)snprintf(last_message, sizeof(last_message), "%s: %s", call, failure->sentence);
}

static void failure_tell(const struct kmem_failure *failure)
{
    kmem_failure_handler chosen = atomic_load_explicit(&installed, memory_order_relaxed);
    if (chosen != NULL) {
        chosen(failure);
        return;
    }
    (void)fprintf(stderr, "%s\n", failure->message);
    abort();
}

void kmem__failure_raise(const struct failure *failure, const char *call)
{
    char message[MESSAGE_BYTES];
    kmem__failure_record(failure, call);
    memcpy(message, last_message, sizeof(message));
    const struct kmem_failure told = {
        .struct_bytes = sizeof(told),
        .call = call,
        .message = message,
        .error = failure->error,
        .offset = failure->offset,
        .num_bytes = failure->num_bytes,
        .reason = failure->reason,
    };
    failure_tell(&told);
}

void kmem_fail(const struct kmem_failure *failure)
{
    struct kmem_failure told = {0};
    size_t known_bytes = failure->struct_bytes;
    memcpy(&told, failure, known_bytes < sizeof(told) ? known_bytes : sizeof(told));
    /* A copy: the message may be this thread's last one, which a call of the handler overwrites. */
    char message[MESSAGE_BYTES];
    (void)snprintf(message, sizeof(message), "%s", failure->message);
    memcpy(last_message, message, strlen(message) + 1);
    told.struct_bytes = sizeof(told);
    told.message = message;
    failure_tell(&told);
}

const char *kmem_last_error(void)
{
    return last_message;
}

kmem_failure_handler kmem_set_failure_handler(kmem_failure_handler handler)
{
    return atomic_exchange_explicit(&installed, handler, memory_order_relaxed);
}
