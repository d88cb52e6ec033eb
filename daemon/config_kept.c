/* SPDX-License-Identifier: MIT */
#include "daemon/config_kept.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config_print.h"
#include "daemon/memfd.h"

/* Another version's file is not understood, and its configuration is read from the disk. */
#define KEPT_VERSION "kmemd-config 1"
/* 64 MiB: no one has so many files of so many bytes; what is larger is no such memfd. */
#define KEPT_MAX_BYTES (64u << 20)
/* 1 MiB: a hundred settings, of which a few are paths. */
#define FIXED_MAX_BYTES ((size_t)1 << 20)

/* Return: the place behind it. */
static char *string_put(char *at, const char *string)
{
    return stpcpy(at, string) + 1;
}

/* Strings, each with its NUL: the version, what is fixed, then path and text of each file. */
static char *kept_write(const struct config *config, size_t *ret_num_bytes)
{
    const char *fixed = config->fixed ? config->fixed : "";
    size_t n_bytes = sizeof(KEPT_VERSION) + strlen(fixed) + 1;
    for (uint32_t i = 0; i < config->n_files; i++) {
        n_bytes += strlen(config->files[i].path) + 1 + strlen(config->files[i].text) + 1;
    }
    char *bytes = malloc(n_bytes);
    if (!bytes) {
        return NULL;
    }
    char *at = string_put(string_put(bytes, KEPT_VERSION), fixed);
    for (uint32_t i = 0; i < config->n_files; i++) {
        at = string_put(string_put(at, config->files[i].path), config->files[i].text);
    }
    *ret_num_bytes = n_bytes;
    return bytes;
}

int config_kept_open(const struct config *config, const char *name)
{
    size_t n_bytes = 0;
    char *bytes = kept_write(config, &n_bytes);
    int fd = bytes ? memfd_open(name, "config", n_bytes) : -ENOMEM;
    const ssize_t n_written = fd >= 0 ? pwrite(fd, bytes, n_bytes, 0) : 0;
    if (fd >= 0 && n_written != (ssize_t)n_bytes) {
        const int error = n_written < 0 ? errno : EIO; /* a part that is written sets no errno */
        (void)close(fd);                               /* nothing relies on it yet */
        fd = -error;
    }
    free(bytes);
    return fd;
}

/* Return: the strings, the caller's; NULL: there are none, or errno says why not. */
static char *kept_load(int fd, size_t *ret_num_bytes)
{
    struct stat status;
    errno = EPROTO;
    if (fstat(fd, &status) < 0 || status.st_size < 1 || status.st_size > KEPT_MAX_BYTES) {
        return NULL;
    }
    const size_t n_bytes = (size_t)status.st_size;
    char *bytes = malloc(n_bytes);
    if (bytes && pread(fd, bytes, n_bytes, 0) == (ssize_t)n_bytes && bytes[n_bytes - 1] == '\0' &&
        strcmp(bytes, KEPT_VERSION) == 0) {
        *ret_num_bytes = n_bytes;
        return bytes;
    }
    free(bytes);
    return NULL;
}

int config_kept_read(int fd, struct config *ret_config)
{
    size_t n_bytes = 0;
    char *bytes = kept_load(fd, &n_bytes);
    if (!bytes) {
        return -errno;
    }
    const char *strings[2] = {"", NULL};
    size_t at = strlen(bytes) + 1;
    unsigned n_strings = 0;
    int r = 0;
    for (; at < n_bytes && r == 0; at += strlen(bytes + at) + 1) {
        if (!ret_config->fixed) {
            ret_config->fixed = strdup(bytes + at);
            r = ret_config->fixed ? 0 : -ENOMEM;
            continue;
        }
        strings[n_strings++] = bytes + at;
        if (n_strings == 2) {
            r = config_add(ret_config, strings[0], strings[1]);
            n_strings = 0;
        }
    }
    free(bytes);
    return r;
}

/* Not open_memstream(): without memory for a piece the text lacks it, and no call fails. */
int config_kept_fix(struct config *config, const struct options *options)
{
    char *text = malloc(FIXED_MAX_BYTES);
    FILE *file = text ? fmemopen(text, FIXED_MAX_BYTES, "w") : NULL;
    if (!file) {
        free(text);
        return -ENOMEM;
    }
    config_print_fixed(file, options);
    const bool is_whole = ferror(file) == 0;
    if (fclose(file) || !is_whole) {
        free(text);
        return -ENOMEM;
    }
    char *fixed = strdup(text);
    free(text);
    if (!fixed) {
        return -ENOMEM;
    }
    free(config->fixed);
    config->fixed = fixed;
    return 0;
}

int config_kept_renew(struct config *fresh, const struct config *config)
{
    fresh->fixed = config->fixed ? strdup(config->fixed) : NULL;
    return config->fixed && !fresh->fixed ? -ENOMEM : 0;
}
