/* SPDX-License-Identifier: MIT */
/* Python's headers, with what is the same in every later 3: the extension is built once for all. */
#ifndef CLIENT_PYTHON_PYTHON_H
#define CLIENT_PYTHON_PYTHON_H

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030b0000 /* 3.11, the first in which the buffer protocol is part of it */
#include <Python.h>

#endif
