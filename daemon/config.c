/* SPDX-License-Identifier: MIT */
#include "daemon/config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config_text.h"

void config_fini(struct config *config)
{
    for (uint32_t i = 0; i < config->n_files; i++) {
        free(config->files[i].path);
        free(config->files[i].text);
    }
    free(config->files);
    free(config->fixed);
    *config = (struct config){.files = NULL};
}

int config_add(struct config *config, const char *path, const char *text)
{
    struct config_file *files =
        reallocarray(config->files, config->n_files + 1, sizeof(*config->files));
    if (!files) {
        return -ENOMEM;
    }
    config->files = files;
    const struct config_file file = {strdup(path), strdup(text)};
    if (!file.path || !file.text) {
        free(file.path);
        free(file.text);
        return -ENOMEM;
    }
    files[config->n_files++] = file;
    return 0;
}

const char *config_directory(char *buffer, size_t buffer_bytes)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    const char *own = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    const bool is_users = geteuid() != 0 && runtime && runtime[0] == '/';
    if (is_users && own && own[0] == '/') {
        (void)snprintf(buffer, buffer_bytes, "%s/kmemd", own); /* too long: no such directory */
    } else if (is_users && home && home[0] == '/') {
        (void)snprintf(buffer, buffer_bytes, "%s/.config/kmemd", home); /* likewise */
    } else {
        (void)snprintf(buffer, buffer_bytes, "/etc/kmemd"); /* fits */
    }
    return buffer;
}

/* ------------------------------------------------------------------------------- one file ---- */

/* Why a file that was opened is not to be read. Return: NULL: it is. */
static const char *file_flaw(int fd)
{
    struct stat status;
    if (fstat(fd, &status)) {
        return strerror(errno);
    }
    if (S_ISDIR(status.st_mode)) {
        return strerror(EISDIR);
    }
    /* /dev/null is a configuration without settings. */
    if (!S_ISREG(status.st_mode) && !S_ISCHR(status.st_mode)) {
        return "it is no ordinary file";
    }
    if (S_ISREG(status.st_mode) && (status.st_mode & S_IWOTH)) {
        return "every user may write it, and so decide who may join: take that away (chmod o-w)";
    }
    return NULL;
}

/* Return: how many bytes there are, at most CONFIG_FILE_MAX_BYTES + 1; or a negative errno. */
static ssize_t file_read_all(int fd, char *text)
{
    size_t n_bytes = 0;
    ssize_t n = 1;
    while (n > 0 && n_bytes <= CONFIG_FILE_MAX_BYTES) {
        n = read(fd, text + n_bytes, CONFIG_FILE_MAX_BYTES + 1 - n_bytes);
        if (n < 0 && errno == EINTR) {
            n = 1;
            continue;
        }
        n_bytes += n > 0 ? (size_t)n : 0;
    }
    return n < 0 ? -errno : (ssize_t)n_bytes;
}

static void file_take(struct config *config, const char *path, int fd,
                      struct complaints *complaints)
{
    char *text = calloc(1, CONFIG_FILE_MAX_BYTES + 2);
    const ssize_t n_bytes = text ? file_read_all(fd, text) : -ENOMEM;
    if (n_bytes < 0) {
        complaints_note(complaints, (int)-n_bytes);
        complaints_add(complaints, "%s: %s", path, strerror((int)-n_bytes));
    } else if (n_bytes > CONFIG_FILE_MAX_BYTES) {
        complaints_add(complaints,
                       "%s: it has more than the %u bytes that a configuration may have", path,
                       CONFIG_FILE_MAX_BYTES);
    } else if (strlen(text) != (size_t)n_bytes) {
        complaints_add(complaints, "%s: it is no text: there is a NUL in it", path);
    } else if (config_add(config, path, text)) {
        complaints_note(complaints, ENOMEM);
        complaints_add(complaints, "%s: %s", path, strerror(ENOMEM));
    }
    free(text);
}

/* Return: false if the file is not there. */
static bool file_read(struct config *config, const char *path, struct complaints *complaints)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR)) {
        return false;
    }
    if (fd < 0) {
        complaints_note(complaints, errno);
    }
    const char *flaw = fd < 0 ? strerror(errno) : file_flaw(fd);
    if (flaw) {
        complaints_add(complaints, "%s: %s", path, flaw);
    } else {
        file_take(config, path, fd, complaints);
    }
    if (fd >= 0) {
        (void)close(fd); /* only read */
    }
    return true;
}

/* ---------------------------------------------------------------------------- all of them ---- */

static int is_configuration(const struct dirent *entry)
{
    const char *suffix = strrchr(entry->d_name, '.');
    return entry->d_name[0] != '.' && suffix && strcmp(suffix, ".conf") == 0;
}

/* By their bytes: in the same order whatever the locale. */
static int names_compare(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void directory_read(struct config *config, const char *path, struct complaints *complaints)
{
    struct dirent **entries;
    char file[PATH_MAX + NAME_MAX + 2];
    const int n_entries = scandir(path, &entries, is_configuration, names_compare);
    if (n_entries < 0 && errno != ENOENT && errno != ENOTDIR) {
        complaints_note(complaints, errno);
        complaints_add(complaints, "%s: %s", path, strerror(errno));
    }
    for (int i = 0; i < n_entries; i++) {
        (void)snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name); /* fits */
        (void)file_read(config, file, complaints); /* gone again: no matter */
        free(entries[i]);
    }
    if (n_entries >= 0) {
        free(entries);
    }
}

void config_read(struct config *config, const char *name, const char *only_path,
                 struct complaints *complaints)
{
    char directory[PATH_MAX - NAME_MAX];
    char path[PATH_MAX];
    if (only_path) {
        if (!file_read(config, only_path, complaints)) {
            complaints_add(complaints, "--config: %s: %s", only_path, strerror(ENOENT));
        }
        return;
    }
    (void)config_directory(directory, sizeof(directory));
    (void)snprintf(path, sizeof(path), "%s/conf.d", directory); /* fits, as all names do */
    directory_read(config, path, complaints);
    (void)snprintf(path, sizeof(path), "%s/%s.conf", directory, name);
    (void)file_read(config, path, complaints); /* it need not be there */
    (void)snprintf(path, sizeof(path), "%s/%s.conf.d", directory, name);
    directory_read(config, path, complaints);
}

void config_apply(const struct config *config, const struct setting_table *table,
                  struct options *options, struct origins *origins, struct complaints *complaints)
{
    for (uint32_t i = 0; i < config->n_files; i++) {
        config_text_apply(table, config->files[i].path, config->files[i].text, options, origins,
                          complaints);
    }
}
