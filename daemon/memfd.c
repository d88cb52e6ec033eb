/* SPDX-License-Identifier: MIT */
#include "daemon/memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/signals.h"
#include "proto/text.h"

/* 64 MiB: a call takes some 30 ms, so that a child that goes too far is killed early. */
#define COMMIT_CHUNK_BYTES (UINT64_C(64) << 20)

static int memfd_seal(int fd, uint64_t n_bytes)
{
    if (ftruncate(fd, (off_t)n_bytes) < 0) {
        return -errno;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
        return -errno;
    }
    /* A memfd is 0777: without this, whoever holds a read-only descriptor opens it for writing. */
    return fchmod(fd, 0600) < 0 ? -errno : 0;
}

int memfd_open_again(int fd)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd); /* fits */
    const int again_fd = open(path, O_RDONLY | O_CLOEXEC);
    return again_fd < 0 ? -errno : again_fd;
}

int memfd_open(const char *name, const char *kind, uint64_t n_bytes)
{
    return memfd_open_of(name, kind, n_bytes, 0);
}

int memfd_open_of(const char *name, const char *kind, uint64_t n_bytes, unsigned flags)
{
    char label[128];
    (void)snprintf(label, sizeof(label), "kmemd:%s:%s", name, kind); /* fits: the name is short */
    const int fd = memfd_create(label, MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
    if (fd < 0) {
        return -errno;
    }
    const int r = memfd_seal(fd, n_bytes);
    if (r) {
        (void)close(fd); /* the first error is the one to report */
        return r;
    }
    return fd;
}

KMEM_NORETURN static void commit_child(int fd, uint64_t n_bytes)
{
    for (uint64_t at = 0; at < n_bytes; at += COMMIT_CHUNK_BYTES) {
        const uint64_t left = n_bytes - at;
        const uint64_t chunk = left < COMMIT_CHUNK_BYTES ? left : COMMIT_CHUNK_BYTES;
        const int error = posix_fallocate(fd, (off_t)at, (off_t)chunk);
        if (error) {
            _exit(error);
        }
    }
    _exit(0);
}

/* Waits for a signal, the child's end among them. Return: whether it asks the daemon to end. */
static bool commit_is_cancelled(int signal_fd)
{
    struct pollfd readable = {.fd = signal_fd, .events = POLLIN};
    (void)poll(&readable, 1, -1); /* what it fails by is met again by waitpid() */
    const int number = signals_take(signal_fd);
    return number == SIGTERM || number == SIGINT;
}

static int commit_wait(pid_t child, int signal_fd, int *ret_status)
{
    bool is_cancelled = false;
    pid_t ended = 0;
    while (ended != child) {
        const bool may_return = signal_fd >= 0 && !is_cancelled;
        ended = waitpid(child, ret_status, may_return ? WNOHANG : 0);
        if (ended < 0 && errno != EINTR) {
            return -errno;
        }
        if (ended == 0 && commit_is_cancelled(signal_fd)) {
            is_cancelled = true;
            (void)kill(child, SIGKILL); /* ours, and not waited for yet */
        }
    }
    return is_cancelled ? -ECANCELED : 0;
}

int memfd_commit(int fd, uint64_t n_bytes, int signal_fd)
{
    const pid_t child = fork();
    if (child < 0) {
        return -errno;
    }
    if (child == 0) {
        commit_child(fd, n_bytes);
    }
    int status;
    const int r = commit_wait(child, signal_fd, &status);
    if (r) {
        return r;
    }
    if (WIFSIGNALED(status)) {
        return -ENOMEM;
    }
    return WEXITSTATUS(status) == ENOSPC ? -ENOMEM : -WEXITSTATUS(status);
}

/* The number after a key at the beginning of a line, or of the file if the key is empty. */
static bool file_number(const char *path, const char *key, uint64_t *ret_number)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        return false;
    }
    char line[256];
    bool found = false;
    while (!found && fgets(line, sizeof(line), file)) {
        if (strncmp(line, key, strlen(key)) == 0) {
            char *end;
            const char *digits = line + strlen(key);
            *ret_number = strtoull(digits, &end, 10);
            found = end != digits;
        }
    }
    (void)fclose(file); /* only read */
    return found;
}

/* Of a group's memory, what repeats what is in files: the kernel takes it back when it has to. */
static uint64_t cgroup_cache(const char *directory)
{
    char path[4096 + 64];
    uint64_t active_bytes = 0;
    uint64_t inactive_bytes = 0;
    (void)snprintf(path, sizeof(path), "%s/memory.stat", directory); /* cut: not found */
    (void)file_number(path, "active_file ", &active_bytes);          /* none: 0 */
    (void)file_number(path, "inactive_file ", &inactive_bytes);      /* likewise */
    return active_bytes + inactive_bytes;
}

static uint64_t cgroup_free(const char *directory)
{
    char path[4096 + 64];
    uint64_t max_bytes;
    uint64_t current_bytes;
    (void)snprintf(path, sizeof(path), "%s/memory.max", directory); /* cut: not found */
    if (!file_number(path, "", &max_bytes)) {
        return UINT64_MAX; /* no such file, or "max" */
    }
    (void)snprintf(path, sizeof(path), "%s/memory.current", directory); /* as above */
    if (!file_number(path, "", &current_bytes)) {
        return max_bytes;
    }
    const uint64_t cache_bytes = cgroup_cache(directory);
    const uint64_t taken_bytes = current_bytes > cache_bytes ? current_bytes - cache_bytes : 0;
    return max_bytes > taken_bytes ? max_bytes - taken_bytes : 0;
}

/* The narrowest limit from our own cgroup (version 2) up to the root. */
static uint64_t cgroup_room_narrowest(void)
{
    char line[2048];
    char directory[4096] = "";
    FILE *file = fopen("/proc/self/cgroup", "re");
    if (!file) {
        return UINT64_MAX;
    }
    while (fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "0::/", 4) == 0) {
            (void)snprintf(directory, sizeof(directory), "/sys/fs/cgroup%s", line + 3); /* fits */
        }
    }
    (void)fclose(file); /* only read */
    uint64_t narrowest = UINT64_MAX;
    while (strlen(directory) >= strlen("/sys/fs/cgroup")) {
        const uint64_t memory = cgroup_free(directory);
        narrowest = memory < narrowest ? memory : narrowest;
        *strrchr(directory, '/') = '\0';
    }
    return narrowest;
}

void free_memory_read(struct free_memory *ret_room)
{
    uint64_t available_kib;
    *ret_room = (struct free_memory){UINT64_MAX, cgroup_room_narrowest()};
    if (file_number("/proc/meminfo", "MemAvailable:", &available_kib)) {
        ret_room->available_bytes = available_kib * 1024;
    }
}

int free_memory_check(const struct free_memory *memory, uint64_t n_bytes, char *ret_sentence,
                      size_t sentence_bytes)
{
    char wanted[TEXT_BYTES_MAX];
    char there[TEXT_BYTES_MAX];
    (void)text_format_bytes(n_bytes, wanted, sizeof(wanted)); /* its buffer */
    if (n_bytes > memory->cgroup_bytes) {
        (void)snprintf(ret_sentence, sentence_bytes,
                       "cannot commit %s: the memory cgroup has room for %s; lower --size, or "
                       "raise memory.max",
                       wanted, text_format_bytes(memory->cgroup_bytes, there, sizeof(there)));
        return -ENOMEM;
    }
    if (n_bytes > memory->available_bytes) {
        (void)snprintf(ret_sentence, sentence_bytes,
                       "cannot commit %s: the machine has %s available; lower --size", wanted,
                       text_format_bytes(memory->available_bytes, there, sizeof(there)));
        return -ENOMEM;
    }
    return 0;
}
