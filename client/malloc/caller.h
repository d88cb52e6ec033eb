/* SPDX-License-Identifier: MIT */
/*
 * caller.h - the reason of a block that malloc() hands out: which module asked for it
 */
#ifndef CLIENT_MALLOC_CALLER_H
#define CLIENT_MALLOC_CALLER_H

/**
 * caller_reason() - "malloc/" and the name of the module that an address is in
 * @address:  where malloc() returns to
 *
 * Allocates from libc only, once for each module; takes no lock. Any thread.
 *
 * Return: the reason, valid for ever.
 */
const char *caller_reason(const void *address);

#endif
