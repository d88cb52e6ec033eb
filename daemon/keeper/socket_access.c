/* SPDX-License-Identifier: MIT */
#include "daemon/keeper/socket_access.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/log.h"

/* A user, or a second group, opens the socket: a file has one group, and no list of users. */
static void note_principal(struct socket_access *access, bool is_group, uint32_t id)
{
    access->is_open = access->is_open || !is_group || (access->has_group && access->group != id);
    if (is_group && !access->has_group) {
        access->has_group = true;
        access->group = id;
    }
}

static void note_principals(struct socket_access *access,
                            const struct option_principals *principals)
{
    for (uint32_t i = 0; i < principals->n; i++) {
        note_principal(access, principals->list[i].is_group, principals->list[i].id);
    }
}

void socket_access_note(struct socket_access *access, const struct options *options)
{
    if (options->has_group) {
        note_principal(access, true, options->group);
    }
    if (options->has_reader_group) {
        note_principal(access, true, options->reader_group);
    }
    note_principals(access, &options->members);
    note_principals(access, &options->reader_users);
    note_principals(access, &options->observers);
    note_principals(access, &options->admins);
}

int socket_access_admit_directory(const struct socket_access *access, const char *directory)
{
    /* Of what everybody may connect to, the group does not matter. */
    if (access->has_group && chown(directory, (uid_t)-1, access->group) < 0) {
        const int error = errno;
        log_error("cannot give %s to group %u: %s", directory, access->group, strerror(error));
        return -error;
    }
    if (chmod(directory, access->is_open ? 0751 : 0750) < 0) { /* the umask may have cut it */
        const int error = errno;
        log_error("cannot set the mode of %s: %s", directory, strerror(error));
        return -error;
    }
    return 0;
}

void socket_access_warn(const struct socket_access *access, const char *directory, mode_t mode)
{
    if (access->is_open && (mode & S_IXOTH) == 0) {
        log_warning("%s lets only its owner and its group pass, and others may join by now: "
                    "chmod o+x it",
                    directory);
    }
}

mode_t socket_access_mode(const struct socket_access *access)
{
    return access->is_open ? 0666 : access->has_group ? 0660 : 0600;
}

int socket_access_admit(const struct socket_access *access, const char *path)
{
    struct stat status;
    const mode_t wanted = socket_access_mode(access);
    if (lstat(path, &status) < 0) {
        return -errno;
    }
    const bool is_groups = !access->has_group || status.st_gid == access->group;
    const bool is_everybodys = (status.st_mode & 0006) == 0006;
    if ((status.st_mode & wanted) == wanted && (is_groups || is_everybodys)) {
        return 0;
    }
    /* Of what everybody may connect to, the group does not matter. */
    if (access->has_group && chown(path, (uid_t)-1, access->group) < 0 && !access->is_open) {
        const int error = errno;
        if (error == EPERM) {
            log_error("--group: only root may give %s to group %u, of which kmemd's user is no "
                      "member: let it be one (SupplementaryGroups= of a unit), or name another",
                      path, access->group);
        }
        return -error;
    }
    return chmod(path, (status.st_mode & 0666) | wanted) < 0 ? -errno : 0;
}
