/* SPDX-License-Identifier: MIT */
/*
 * Two things outlive a failed call: the sentence that kmem_last_error() returns, one per thread,
 * and the program's failure handler, one per process.
 *
 * The sentence has a page of its own, mapped at a thread's first failure and unmapped at its end;
 * if there is none, the thread is told that. Rejected: a thread-local buffer. What threads are
 * given for libraries that plugins bring along is 512 bytes for all of them together, and one with
 * more could not be loaded. And malloc(): a program's own may be built on this library.
 *
 * The handler is given a copy: it may call the library, and a call that fails in it overwrites the
 * thread's sentence.
 */
#include "client/failure.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <kmem/kmem.h>

#include "client/tsan.h"
#include "proto/text.h"

/* The longest name of a call, ": ", and a sentence. */
#define MESSAGE_BYTES (SENTENCE_BYTES + 32)

/* NULL: nothing has failed in this thread. */
static _Thread_local char *last_message __attribute__((tls_model("initial-exec")));

/* In place of the sentence; never written to. */
static char no_message[] = "there is no memory to say what went wrong";

static pthread_key_t message_key;
static pthread_once_t message_key_once = PTHREAD_ONCE_INIT;

/* NULL: print and abort. Relaxed: it is one word, and nothing else is published with it. */
static _Atomic(kmem_failure_handler) installed;

/* ------------------------------------------------------------------------------- composing ---- */

int kmem__failure_set(struct failure *failure, int error, const char *format, ...)
{
    va_list arguments;
    /* The kernel's other word for it, of sockets; programs are promised one. */
    error = error == ENOBUFS ? ENOMEM : error;
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

/*
 * Escaping it again would double its backslashes. A control character in it is a mistake of the
 * daemon's, or its malice; it does not reach a terminal all the same.
 */
void kmem__failure_add_sentence(struct failure *failure, const char *sentence)
{
    size_t used_bytes = strlen(failure->sentence);
    char *added = failure->sentence + used_bytes;
    (void)text_clean(sentence, added, sizeof(failure->sentence) - used_bytes);
    text_mute(added);
}

void kmem__failure_about(struct failure *failure, uint64_t offset, uint64_t num_bytes,
                         const char *reason)
{
    failure->offset = offset;
    failure->num_bytes = num_bytes;
    (void)text_clean(reason != NULL ? reason : "", failure->reason, sizeof(failure->reason));
}

/* -------------------------------------------------------------------- a thread's sentence ---- */

static void message_on_thread_end(void *message)
{
    last_message = NULL; /* a destructor that runs later may fail as well */
    (void)munmap(message, MESSAGE_BYTES);
}

static void message_make_key(void)
{
    /* Without one, or if the thread can not be noted below, its page stays: no harm. */
    (void)pthread_key_create(&message_key, message_on_thread_end);
}

/* Return: this thread's place for a sentence; NULL if there is no memory for it. errno stays. */
static char *message_get(void)
{
    if (last_message != NULL && last_message != no_message) {
        return last_message;
    }
    const int saved_errno = errno;
    char *message = kmem__tsan_map(NULL, MESSAGE_BYTES, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS, -1);
    errno = saved_errno;
    if (message == MAP_FAILED) {
        last_message = no_message;
        return NULL;
    }
    last_message = message; /* before what may call a malloc() that is built on this library */
    (void)pthread_once(&message_key_once, message_make_key);
    (void)pthread_setspecific(message_key, message);
    return message;
}

static void message_set(const char *text)
{
    char *message = message_get();
    if (message != NULL) {
        (void)snprintf(message, MESSAGE_BYTES, "%s", text);
    }
}

/* --------------------------------------------------------------------------------- telling ---- */

void kmem__failure_record(const struct failure *failure, const char *call)
{
    char *message = message_get();
    if (message != NULL) {
        (void)snprintf(message, MESSAGE_BYTES, "%s: %s", call, failure->sentence);
    }
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
    (void)snprintf(message, sizeof(message), "%s: %s", call, failure->sentence);
    message_set(message);
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
    message_set(message);
    told.struct_bytes = sizeof(told);
    told.message = message;
    failure_tell(&told);
}

const char *kmem_last_error(void)
{
    return last_message != NULL ? last_message : "";
}

kmem_failure_handler kmem_set_failure_handler(kmem_failure_handler handler)
{
    return atomic_exchange_explicit(&installed, handler, memory_order_relaxed);
}
