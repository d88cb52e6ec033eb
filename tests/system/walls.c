/* SPDX-License-Identifier: MIT */
#include "tests/system/walls.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <unistd.h>

/* Each mount that can be seen from here; some can not be reached, and then nobody mounts there. */
static int make_each_private(void)
{
    FILE *const mounts = setmntent("/proc/self/mounts", "re");
    const struct mntent *entry;
    if (mounts == NULL) {
        return -1;
    }
    while ((entry = getmntent(mounts)) != NULL) {
        (void)mount(NULL, entry->mnt_dir, NULL, MS_PRIVATE, NULL);
    }
    (void)endmntent(mounts);
    return 0;
}

int walls_own_mounts(void)
{
    if (unshare(CLONE_NEWNS) < 0) {
        return -1;
    }
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0) {
        return 0;
    }
    return errno == EINVAL ? make_each_private() : -1; /* EINVAL: a chroot */
}

int walls_open_program(const char *program)
{
    return open(program, O_PATH | O_CLOEXEC);
}

void walls_exec(int program_fd, const char *program, const char *const *arguments)
{
    (void)execv(program, (char *const *)arguments);
    if (errno == EACCES) {
        (void)fexecve(program_fd, (char *const *)arguments, environ);
    }
}
