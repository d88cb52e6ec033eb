/* SPDX-License-Identifier: MIT */
/* The functions of the module that allocate, attach, and wait. */
#ifndef CLIENT_PYTHON_CALLS_H
#define CLIENT_PYTHON_CALLS_H

#include "client/python/python.h"

extern PyMethodDef calls_methods[];

#endif
