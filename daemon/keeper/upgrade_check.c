/* SPDX-License-Identifier: MIT */
#include "daemon/keeper/upgrade_check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/log.h"
#include "daemon/options.h"
#include "proto/limits.h"

int upgrade_check_self(char *ret_path, size_t path_bytes)
{
    static const char deleted[] = " (deleted)";
    const ssize_t n_bytes = readlink("/proc/self/exe", ret_path, path_bytes - 1);
    if (n_bytes < 0) {
        return -errno;
    }
    ret_path[n_bytes] = '\0';
    char *end = strstr(ret_path, deleted);
    if (end && end[strlen(deleted)] == '\0') {
        *end = '\0';
    }
    const int fd = open("/proc/self/exe", O_PATH | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

bool upgrade_check_start(struct upgrade_check *check, const char *exe_path, char **argv,
                         const struct inherited_fds *files, int config_fd)
{
    *check = UPGRADE_CHECK_NONE;
    check->fd = open(exe_path, O_PATH | O_CLOEXEC);
    if (check->fd < 0) {
        log_error("SIGHUP: cannot open %s: %s; nothing is changed", exe_path, strerror(errno));
        return false;
    }
    /* The segment, for its size: another may have been asked for. */
    struct inherited_fds given = {
        files->segment_fd, files->state_fd, -1, -1, -1, -1, config_fd, -1, NULL, NULL, NULL};
    const int r = child_start(check->fd, argv, &given, &given.check_fd, &check->child);
    if (r) {
        log_error("SIGHUP: cannot start %s: %s; nothing is changed", exe_path, strerror(-r));
        (void)close(check->fd); /* only executed */
        *check = UPGRADE_CHECK_NONE;
    }
    return r == 0;
}

/* A program that understands the state, but not the protocol of its clients, does not fit. */
static bool message_fits(const char *exe_path, const struct control_message *message)
{
    const uint32_t major = PROTOCOL_MAJOR(message->slot);
    if (message->kind == CONTROL_FITS && major != PROTOCOL_MAJOR(PROTOCOL_VERSION)) {
        log_error("%s speaks version %u of the protocol, and the clients of this segment %u",
                  exe_path, major, PROTOCOL_MAJOR(PROTOCOL_VERSION));
        return false;
    }
    return message->kind == CONTROL_FITS;
}

int upgrade_check_end(struct upgrade_check *check, const char *exe_path, bool is_wanted)
{
    struct control_message message;
    while (control_receive(check->child.control_fd, &message) == 0) {
        check->fits = check->fits || message_fits(exe_path, &message);
        control_close_fds(&message);
    }
    const int status = child_wait(&check->child);
    int fd = check->fd;
    if (!is_wanted || !check->fits || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        char how[128];
        const bool is_config = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_USAGE;
        log_error("SIGHUP: %s can not go on with this %s (it %s); nothing is changed", exe_path,
                  is_config ? "configuration" : "segment",
                  child_describe_end(status, how, sizeof(how)));
        (void)close(fd); /* only executed */
        fd = -1;
    }
    *check = UPGRADE_CHECK_NONE;
    return fd;
}

void upgrade_check_drop(struct upgrade_check *check)
{
    if (check->child.pid != 0) {
        child_kill(&check->child);
        (void)child_wait(&check->child); /* with any result */
        (void)close(check->fd);          /* only executed */
    }
    *check = UPGRADE_CHECK_NONE;
}
