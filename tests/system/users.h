/* SPDX-License-Identifier: MIT */
/*
 * users.h - for tests that are about who somebody is: to become another user
 */
#ifndef TESTS_SYSTEM_USERS_H
#define TESTS_SYSTEM_USERS_H

#include <grp.h>
#include <unistd.h>

#include "tests/system/harness.h"

static inline void need_root(void)
{
    if (geteuid() != 0) {
        harness_skip("only root can become another user");
    }
}

static inline void become(uid_t uid, gid_t gid)
{
    expect_call(setgroups(0, NULL) == 0);
    expect_call(setresgid(gid, gid, gid) == 0);
    expect_call(setresuid(uid, uid, uid) == 0);
}

#endif
