/* SPDX-License-Identifier: MIT */
/*
 * rival.h - another malloc() that the program brings
 */
#ifndef CLIENT_MALLOC_RIVAL_H
#define CLIENT_MALLOC_RIVAL_H

#include <stdbool.h>

/**
 * rival_found() - look for another malloc() in this process, and say on standard error what it is
 *
 * Ends the process with status 126 if it can not go on with two. To be called once, before the
 * process joins. Return: whether there is one that the program uses: there is nothing to serve.
 */
bool rival_found(void);

#endif
