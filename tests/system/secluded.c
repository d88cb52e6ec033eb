/* SPDX-License-Identifier: MIT */
/*
 * secluded.c - become another program behind walls: what its /proc shows, and as whom it runs
 *
 *      $SECLUDED_PROGRAM  what to run, with the arguments as they are
 *      $SECLUDED_PROC     "hidepid": its /proc shows a user's own processes only
 *      $SECLUDED_UID      the user and group it runs as
 *
 * Needs root.
 */
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "tests/system/walls.h"

static void must(int r, const char *what)
{
    if (r < 0) {
        perror(what);
        exit(127);
    }
}

static void seclude_proc(const char *how)
{
    if (how != NULL && strcmp(how, "hidepid") == 0) {
        must(walls_own_mounts(), "mounts of its own");
        must(mount("proc", "/proc", "proc", 0, "hidepid=2"), "mount /proc");
    }
}

int main(int argc, char **argv)
{
    (void)argc;
    const char *const uid_text = getenv("SECLUDED_UID");
    const char *const program = getenv("SECLUDED_PROGRAM");
    const int program_fd = program != NULL ? walls_open_program(program) : -1;
    must(program_fd, "open");
    seclude_proc(getenv("SECLUDED_PROC"));
    if (uid_text != NULL) {
        const unsigned int uid = (unsigned int)strtoul(uid_text, NULL, 10);
        must(setgroups(0, NULL), "setgroups");
        must(setresgid(uid, uid, uid), "setresgid");
        must(setresuid(uid, uid, uid), "setresuid");
    }
    walls_exec(program_fd, program, (const char *const *)argv);
    must(-1, "exec");
}
