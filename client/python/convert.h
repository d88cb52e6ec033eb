/* SPDX-License-Identifier: MIT */
/* What Python and the library say in different words: errors, handles, rows, time. */
#ifndef CLIENT_PYTHON_CONVERT_H
#define CLIENT_PYTHON_CONVERT_H

#include <stdbool.h>

#include "client/python/python.h"
#include <kmem/share.h>

/** convert_open() - find kmem._errors and kmem._rows. Return: 0; -1 and an exception */
int convert_open(void);

/** convert_class() - one of them, borrowed; NULL and an exception */
PyObject *convert_class(const char *name);

/**
 * convert_raise() - raise what a call of the library has returned
 * @error:     a negative errno
 * @sentence:  why, as a whole sentence
 *
 * Return: NULL.
 */
PyObject *convert_raise(int error, const char *sentence);

/** convert_raise_last() - the same, with kmem_last_error(). Return: NULL. */
PyObject *convert_raise_last(int error);

/** convert_raise_late() - there was no room in the time that was given. Return: NULL. */
PyObject *convert_raise_late(const char *sentence);

/** convert_from_handle() - a kmem.Handle. Return: a new reference; NULL and an exception */
PyObject *convert_from_handle(const struct kmem_handle *handle);

/** convert_to_handle() - from a kmem.Handle, or from its text. Return: 0; -1 and an exception */
int convert_to_handle(PyObject *object, struct kmem_handle *ret_handle);

/** convert_text() - from UTF-8, which may be wrong. Return: a new reference; NULL, an exception */
PyObject *convert_text(const char *text);

#define CONVERT_FOR_EVER (-1)

/** convert_timeout() - seconds, or None, as milliseconds. Return: 0; -1 and an exception */
int convert_timeout(PyObject *object, int64_t *ret_timeout_ms);

#endif
