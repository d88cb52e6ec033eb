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
#include "proto/limits.h"

int candidate_self(char *ret_path, size_t path_bytes)
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

bool candidate_start(struct candidate *candidate, const char *exe_path, char **argv,
                     const struct inherited_fds *files)
{
    *candidate = CANDIDATE_NONE;
    candidate->fd = open(exe_path, O_PATH | O_CLOEXEC);
    if (candidate->fd < 0) {
        log_error("SIGHUP: cannot open %s: %s; nothing is changed", exe_path, strerror(errno));
        return false;
    }
    /* The segment, for its size: another may have been asked for. */
    struct inherited_fds given = {
        files->segment_fd, files->state_fd, -1, -1, -1, -1, NULL, NULL, NULL};
    const int r = child_start(candidate->fd, argv, &given, &given.check_fd, &candidate->child);
    if (r) {
        log_error("SIGHUP: cannot start %s: %s; nothing is changed", exe_path, strerror(-r));
        (void)close(candidate->fd); /* only executed */
        *candidate = CANDIDATE_NONE;
    }
    return r == 0;
}

/* Who understands the state, but not those who are in it, is of no use to them. */
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

int candidate_end(struct candidate *candidate, const char *exe_path, bool is_wanted)
{
    struct control_message message;
    while (control_receive(candidate->child.control_fd, &message) == 0) {
        candidate->fits = candidate->fits || message_fits(exe_path, &message);
        control_close_fds(&message);
    }
    const int status = child_wait(&candidate->child);
    int fd = candidate->fd;
    if (!is_wanted || !candidate->fits || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        char how[128];
        log_error("SIGHUP: %s can not go on with this segment (it %s); nothing is changed",
                  exe_path, child_describe_end(status, how, sizeof(how)));
        (void)close(fd); /* only executed */
        fd = -1;
    }
    *candidate = CANDIDATE_NONE;
    return fd;
}

void candidate_drop(struct candidate *candidate)
{
    if (candidate->child.pid != 0) {
        child_kill(&candidate->child);
        (void)child_wait(&candidate->child); /* whatever it found */
        (void)close(candidate->fd);          /* only executed */
    }
    *candidate = CANDIDATE_NONE;
}
