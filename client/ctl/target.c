/* SPDX-License-Identifier: MIT */
#include "client/ctl/target.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A sentence that names two paths of 107 bytes, or five reasons, has room to spare. */
#define SENTENCE_MAX_BYTES 4096

/* The library looks a segment up by the environment, and so does every client that gets to it. */
static int environment_name(const char *segment_name)
{
    if (setenv("KMEM_SEGMENT", segment_name, 1) < 0 || unsetenv("KMEM_SOCKET") < 0) {
        return -errno;
    }
    return 0;
}

int target_open(const struct options *options, struct kmem_query **ret_query)
{
    if (options->segment_name) {
        int r = environment_name(options->segment_name);
        if (r < 0) {
            return r;
        }
    }
    return kmem_query_open(options->socket_path, ret_query);
}

int target_status(int error)
{
    switch (-error) {
    case EINVAL: /* a name or a path that no daemon can have */
    case ENAMETOOLONG:
        return STATUS_USAGE;
    case ECONNREFUSED:
    case ENOENT:
    case ECONNRESET:
    case ETIMEDOUT:
        return STATUS_NO_DAEMON;
    case EACCES:
    case EPERM:
        return STATUS_NOT_PERMITTED;
    default:
        return STATUS_ERROR;
    }
}

/* The library's sentences begin with the function that failed, which is nothing to a user. */
const char *target_sentence(const char *sentence)
{
    size_t n_bytes = strspn(sentence, "abcdefghijklmnopqrstuvwxyz_");
    return strncmp(sentence, "kmem_", 5) == 0 && strncmp(sentence + n_bytes, ": ", 2) == 0
               ? sentence + n_bytes + 2
               : sentence;
}

/* The sentence may quote a reason, or a path: it is foreign. */
int target_complain(int error, const char *sentence)
{
    char escaped[SENTENCE_MAX_BYTES];
    sentence = *sentence ? target_sentence(sentence) : strerror(-error);
    kmem_query_escape(sentence, escaped, sizeof(escaped));
    (void)fprintf(stderr, "kmemctl: %s\n", escaped);
    return target_status(error);
}
