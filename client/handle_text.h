/* SPDX-License-Identifier: MIT */
/*
 * handle_text.h - kmem://host/segment/offset+size@generation/tag
 *
 * One text for each handle: numbers in decimal without leading zeros, the tag in 16 lower-case
 * hexadecimal digits. The instance is not in it: it is that of the segment of this name.
 */
#ifndef CLIENT_HANDLE_TEXT_H
#define CLIENT_HANDLE_TEXT_H

#include <stddef.h>

#include "client/failure.h"
#include "proto/attributes.h"
#include "proto/limits.h"
#include "proto/share.h"

/* HOST_NAME_MAX of Linux. */
#define HOST_MAX_BYTES 64

struct handle_text {
    char host[HOST_MAX_BYTES + 1];
    char segment[NAME_MAX_BYTES + 1];
    struct share_handle handle; /* its instance is not read */
};

/** kmem__handle_print() - text has room for all there can be. Return: its length. */
size_t kmem__handle_print(const struct handle_text *handle, char *text, size_t text_bytes);

/**
 * kmem__handle_parse() - read such a text
 * @failure:  receives where it ends to be one, and what should be there
 * Return: 0 or -EINVAL.
 */
KMEM_MUST_USE int kmem__handle_parse(const char *text, struct handle_text *ret_handle,
                                     struct failure *failure);

#endif
