/* SPDX-License-Identifier: MIT */
#include "client/ctl/document.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* 4 KiB: most answers, and a page of memory; what is longer doubles it a few times. */
#define FIRST_CAPACITY_BYTES 4096

/* Makes room for so many bytes more, and the end. Return: whether there is. */
static bool document_grow(struct document *document, size_t n_bytes)
{
    size_t capacity_bytes =
        document->capacity_bytes ? document->capacity_bytes : FIRST_CAPACITY_BYTES;
    while (capacity_bytes - document->n_bytes <= n_bytes) {
        capacity_bytes *= 2;
    }
    char *text = realloc(document->text, capacity_bytes);
    if (text) {
        document->text = text;
        document->capacity_bytes = capacity_bytes;
    }
    return text != NULL;
}

/* A cookie_write_function_t. What follows a piece that is lost is lost as well. */
static ssize_t document_write(void *cookie, const char *bytes, size_t n_bytes)
{
    struct document *document = cookie;
    if (document->has_failed || (document->capacity_bytes - document->n_bytes <= n_bytes &&
                                 !document_grow(document, n_bytes))) {
        document->has_failed = true;
        return 0;
    }
    memcpy(document->text + document->n_bytes, bytes, n_bytes);
    document->n_bytes += n_bytes;
    document->text[document->n_bytes] = '\0';
    return (ssize_t)n_bytes;
}

int document_open(struct document *document)
{
    *document = (struct document){.file = NULL};
    document->file = fopencookie(document, "w", (cookie_io_functions_t){.write = document_write});
    return document->file ? 0 : -ENOMEM;
}

int document_close(struct document *document)
{
    (void)fclose(document->file); /* what it could not write is noted already */
    document->file = NULL;
    if (document->has_failed || (!document->text && !document_grow(document, 0))) {
        free(document->text);
        document->text = NULL;
        return -ENOMEM;
    }
    document->text[document->n_bytes] = '\0';
    return 0;
}
