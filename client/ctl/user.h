/* SPDX-License-Identifier: MIT */
/*
 * user.h - what users are called
 */
#ifndef CTL_USER_H
#define CTL_USER_H

#include <stdbool.h>
#include <stdint.h>

/* 64: what useradd allows is half of it; a longer name is cut. */
struct user_name {
    char text[64];
};

/** user_name() - the name of a user; the uid's digits if it has none. The last ones are kept. */
struct user_name user_name(uint32_t uid);

/** user_find() - the uid of a name, or of its digits. Return: whether there is one. */
bool user_find(const char *name, uint32_t *ret_uid);

#endif
