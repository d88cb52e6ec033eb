/* SPDX-License-Identifier: MIT */
/*
 * document.h - a text that is written as a file, and kept in memory
 *
 * What open_memstream() is for. But where that has no memory for a piece, the text lacks the piece,
 * and neither ferror() nor fclose() tells; here the text is whole, or there is none.
 *
 *      text[n_bytes] == '\0', n_bytes < capacity_bytes, once anything was written
 */
#ifndef CTL_DOCUMENT_H
#define CTL_DOCUMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include <kmem/kmem.h>

struct document {
    FILE *file; /* to write to; whoever has opened the document closes it */
    char *text;
    size_t n_bytes;
    size_t capacity_bytes;
    bool has_failed; /* a piece is lost */
};

/** document_open() - begin a text. It stays where it is until it is closed. Return: 0 or -ENOMEM */
KMEM_MUST_USE int document_open(struct document *document);

/**
 * document_close() - end it
 *
 * Return: 0, and text is the caller's to free; -ENOMEM, and it is NULL.
 */
KMEM_MUST_USE int document_close(struct document *document);

#endif
