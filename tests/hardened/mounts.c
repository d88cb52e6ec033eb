/* SPDX-License-Identifier: MIT */
/*
 * mounts.c - the files that kmemd sees
 *
 * A directory that must stay as it is, is taken as a detached copy of its mount before anything is
 * made read-only or covered, and laid on top again at the end.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/hardened/hardened.h"

struct kept {
    char path[PATH_MAX];
    int fd;
};

static struct kept kept_writable;
static struct kept kept_programs;

static void keep(struct kept *kept, const char *path)
{
    (void)snprintf(kept->path, sizeof(kept->path), "%s", path);
    kept->fd = open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
    if (kept->fd < 0) {
        hardened_give_up(path);
    }
}

void mounts_take(const char *writable, const char *programs)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        hardened_give_up("mounts of its own");
    }
    keep(&kept_writable, writable);
    keep(&kept_programs, programs);
}

/* What lies on the way is there already, but for what was covered. */
static void make_way_to(char *path)
{
    for (char *at = strchr(path + 1, '/'); at != NULL; at = strchr(at + 1, '/')) {
        *at = '\0';
        (void)mkdir(path, 0755);
        *at = '/';
    }
    (void)mkdir(path, 0755);
}

static void lay(struct kept *kept)
{
    make_way_to(kept->path);
    if (move_mount(kept->fd, "", AT_FDCWD, kept->path, MOVE_MOUNT_F_EMPTY_PATH) < 0) {
        hardened_give_up(kept->path);
    }
    (void)close(kept->fd);
}

static void set_read_only(const char *path)
{
    struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};
    if (mount_setattr(AT_FDCWD, path, AT_RECURSIVE, &attributes, sizeof(attributes)) < 0) {
        hardened_give_up(path);
    }
}

void mounts_give(void)
{
    /* Not below what is writable: that would be read-only in it. */
    if (strncmp(kept_writable.path, kept_programs.path, strlen(kept_writable.path)) != 0) {
        lay(&kept_programs);
        set_read_only(kept_programs.path);
    }
    lay(&kept_writable);
}

/* All but /proc, /sys and /dev, which have directives of their own. */
void mounts_read_only(const char *value)
{
    static const char *const but[] = {"/proc", "/sys", "/dev"};
    struct mount_attr writable = {.attr_clr = MOUNT_ATTR_RDONLY};
    (void)value;
    set_read_only("/");
    for (size_t i = 0; i < sizeof(but) / sizeof(but[0]); i++) {
        (void)mount_setattr(AT_FDCWD, but[i], 0, &writable, sizeof(writable)); /* where mounted */
    }
}

static void cover(const char *path, const char *options)
{
    if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0 && errno != ENOENT) {
        hardened_give_up(path);
    }
}

void mounts_private_tmp(const char *value)
{
    (void)value;
    cover("/tmp", "mode=1777");
    cover("/var/tmp", "mode=1777");
}

/* 0711, where systemd has 0: a build in a home directory is laid over it again. */
void mounts_no_home(const char *value)
{
    (void)value;
    cover("/home", "mode=0711");
    cover("/root", "mode=0711");
    cover("/run/user", "mode=0711");
}

static void bind_into(const char *directory, const char *name)
{
    char from[64];
    char to[PATH_MAX];
    struct stat status;
    (void)snprintf(from, sizeof(from), "/dev/%s", name);
    (void)snprintf(to, sizeof(to), "%s/%s", directory, name);
    if (stat(from, &status) < 0) {
        return;
    }
    const int r = S_ISDIR(status.st_mode) ? mkdir(to, 0755) : mknod(to, S_IFREG | 0600, 0);
    if (r < 0 || mount(from, to, NULL, MS_BIND | MS_REC, NULL) < 0) {
        hardened_give_up(from);
    }
}

void mounts_private_devices(const char *value)
{
    static const char *const names[] = {"null", "zero", "full",   "random",   "urandom",
                                        "tty",  "shm",  "mqueue", "hugepages"};
    char directory[] = "/tmp/hardened-dev-XXXXXX";
    (void)value;
    if (mkdtemp(directory) == NULL ||
        mount("tmpfs", directory, "tmpfs", MS_NOSUID, "mode=0755") < 0) {
        hardened_give_up(directory);
    }
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        bind_into(directory, names[i]);
    }
    if (mount(directory, "/dev", NULL, MS_MOVE, NULL) < 0 || rmdir(directory) < 0) {
        hardened_give_up("/dev");
    }
}

/* A directory that is no mount becomes one, to be read-only beside its neighbours. */
static void bind_read_only(const char *path)
{
    if (access(path, F_OK) < 0) {
        return;
    }
    if (mount(path, path, NULL, MS_BIND | MS_REC, NULL) < 0) {
        hardened_give_up(path);
    }
    set_read_only(path);
}

void mounts_read_only_kernel(const char *value)
{
    static const char *const paths[] = {
        "/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus", "/proc/fs", "/sys"};
    (void)value;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        bind_read_only(paths[i]);
    }
}

void mounts_read_only_cgroups(const char *value)
{
    (void)value;
    bind_read_only("/sys/fs/cgroup");
}
