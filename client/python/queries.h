/* SPDX-License-Identifier: MIT */
/* The functions of the module that ask what the segment is used for. */
#ifndef CLIENT_PYTHON_QUERIES_H
#define CLIENT_PYTHON_QUERIES_H

#include "client/python/python.h"

extern PyMethodDef queries_methods[];

#endif
