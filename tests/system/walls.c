/* SPDX-License-Identifier: MIT */
#include "tests/system/walls.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include "tests/system/harness.h"

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

pid_t walls_own_pids(int *ret_former_fd)
{
    *ret_former_fd = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
    expect_call(*ret_former_fd >= 0);
    expect_call(unshare(CLONE_NEWPID) == 0);
    const pid_t first = fork();
    expect_call(first >= 0);
    if (first == 0) {
        for (;;) {
            (void)pause(); /* the namespace lives as long as this process */
        }
    }
    return first;
}

void walls_former_pids(int former_fd)
{
    expect_call(setns(former_fd, CLONE_NEWPID) == 0);
    (void)close(former_fd);
}

const char *walls_launcher(const char *program)
{
    const char *const launcher = getenv("KMEM_TEST_LAUNCHER");
    if (launcher == NULL) {
        return program;
    }
    (void)setenv("KMEM_LAUNCHED", program, 1);
    (void)setenv("KMEM_LAUNCH_DIRECTORY", harness_path(""), 1);
    return launcher;
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
