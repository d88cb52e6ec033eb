/* SPDX-License-Identifier: MIT */
/* kmem.Block: one hold of this process, and the views that look through it. */
#ifndef CLIENT_PYTHON_BLOCK_H
#define CLIENT_PYTHON_BLOCK_H

#include <stdbool.h>

#include "client/python/python.h"
#include <kmem/share.h>

/** block_open() - make the class. Return: a new reference; NULL and an exception */
PyObject *block_open(void);

/** What a block begins with. */
struct block_start {
    void *mem;                        /* the hold goes to the object */
    const struct kmem_handle *handle; /* NULL: unknown */
    const char *reason;               /* NULL: none was given */
    uint64_t version;                 /* of the name that led to it; 0: none did */
    bool is_writable;
};

/** block_new() - Return: a new reference; NULL and an exception, and the block is let go of */
PyObject *block_new(const struct block_start *start);

/** block_is() - whether it is one */
bool block_is(PyObject *object);

/** block_version() - of the name that led to it */
uint64_t block_version(PyObject *object);

/**
 * block_take() - give a block up, and have what a call lets go of in its stead
 * @object:   the block
 * @ret_mem:  the hold, which is the caller's; NULL: there is none any more, or views live, and the
 *            last of them lets go of it
 */
void block_take(PyObject *object, void **ret_mem);

/** block_put_back() - undo block_take(), of a hold that was not let go of */
void block_put_back(PyObject *object, void *mem);

#endif
