/* SPDX-License-Identifier: MIT */
#include "client/ctl/user.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 16: the users of a segment are a few; looking each up anew for a million rows takes seconds. */
#define N_KEPT 16

static struct {
    bool is_there;
    uint32_t uid;
    struct user_name name;
} kept[N_KEPT];

/* Threads of `kmemctl serve` write lists at the same time; getpwuid() has one entry for all. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct user_name name_find(uint32_t uid)
{
    struct user_name name = {.text = ""};
    if (kept[uid % N_KEPT].is_there && kept[uid % N_KEPT].uid == uid) {
        return kept[uid % N_KEPT].name;
    }
    const struct passwd *entry = getpwuid(uid);
    if (entry) {
        (void)snprintf(name.text, sizeof(name.text), "%s", entry->pw_name);
    } else {
        (void)snprintf(name.text, sizeof(name.text), "%" PRIu32, uid);
    }
    kept[uid % N_KEPT].is_there = true;
    kept[uid % N_KEPT].uid = uid;
    kept[uid % N_KEPT].name = name;
    return name;
}

struct user_name user_name(uint32_t uid)
{
    (void)pthread_mutex_lock(&lock);
    const struct user_name name = name_find(uid);
    (void)pthread_mutex_unlock(&lock);
    return name;
}

/* Return: whether there is such a user. */
static bool name_is_known(const char *name, uint32_t *ret_uid)
{
    (void)pthread_mutex_lock(&lock);
    const struct passwd *entry = getpwnam(name);
    if (entry) {
        *ret_uid = entry->pw_uid;
    }
    (void)pthread_mutex_unlock(&lock);
    return entry != NULL;
}

bool user_find(const char *name, uint32_t *ret_uid)
{
    char *end;
    if (name_is_known(name, ret_uid)) {
        return true;
    }
    errno = 0;
    const unsigned long uid = strtoul(name, &end, 10);
    *ret_uid = (uint32_t)uid;
    return *name && strspn(name, "0123456789") == strlen(name) && errno == 0 && uid <= UINT32_MAX;
}
