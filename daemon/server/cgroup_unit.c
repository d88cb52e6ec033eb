/* SPDX-License-Identifier: MIT */
#include "daemon/server/cgroup_unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "proto/text.h"

/* The path of a hierarchy, which begins with a slash; NULL: there is none of that name. */
static const char *path_find(const char *cgroup, const char *name)
{
    for (const char *line = cgroup; line; line = strchr(line, '\n')) {
        line += line[0] == '\n';
        const char *path = strstr(line, name);
        const char *end = strchr(line, '\n');
        if (path && (!end || path < end)) {
            return path + strlen(name);
        }
        if (!end) {
            return NULL;
        }
    }
    return NULL;
}

static bool ends_with(const char *text, size_t n_bytes, const char *end)
{
    const size_t n_end_bytes = strlen(end);
    return n_bytes > n_end_bytes && memcmp(text + n_bytes - n_end_bytes, end, n_end_bytes) == 0;
}

/* The last component that is a service or a scope; else all of it. */
static void unit_find(const char *path, size_t n_path_bytes, const char **ret_unit,
                      size_t *ret_n_bytes)
{
    *ret_unit = path;
    *ret_n_bytes = n_path_bytes;
    for (size_t at = 0; at < n_path_bytes;) {
        const char *slash = memchr(path + at, '/', n_path_bytes - at);
        const size_t end = slash ? (size_t)(slash - path) : n_path_bytes;
        if (ends_with(path + at, end - at, ".service") ||
            ends_with(path + at, end - at, ".scope")) {
            *ret_unit = path + at;
            *ret_n_bytes = end - at;
        }
        at = end + 1;
    }
}

void cgroup_unit(const char *cgroup, char *ret_unit)
{
    char unit[UNIT_NAME_BYTES];
    const char *path = path_find(cgroup, "0::");
    if (!path || path[0] != '/' || path[1] == '\n' || path[1] == '\0') {
        const char *named = path_find(cgroup, ":name=systemd:");
        path = named ? named : path;
    }
    if (!path) {
        (void)snprintf(ret_unit, UNIT_NAME_BYTES, "?"); /* fits */
        return;
    }
    size_t n_bytes;
    unit_find(path, strcspn(path, "\n"), &path, &n_bytes);
    if (n_bytes >= UNIT_NAME_BYTES) {
        path += n_bytes - (UNIT_NAME_BYTES - 1);
        n_bytes = UNIT_NAME_BYTES - 1;
    }
    memcpy(unit, path, n_bytes);
    unit[n_bytes] = '\0';
    (void)text_clean(unit, ret_unit, UNIT_NAME_BYTES); /* its length */
}
