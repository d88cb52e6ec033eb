/* SPDX-License-Identifier: MIT */
/*
 * journal.c - lines of the log with fields
 *
 * An entry is a datagram. A field is "NAME=value\n", or, since a reason may hold any byte,
 * "NAME\n", the value's length in eight bytes, little-endian, the value, "\n". libsystemd is not
 * asked: its call waits for a journal that hangs, and with it would all clients.
 */
#include "daemon/journal.h"

#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* "DEVICE:INODE", as systemd.exec(5) has it. */
bool journal_reads_stderr(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat status;
    char is[64];
    if (!stream || fstat(STDERR_FILENO, &status) < 0) {
        return false;
    }
    (void)snprintf(is, sizeof(is), "%ju:%ju", (uintmax_t)status.st_dev,
                   (uintmax_t)status.st_ino); /* fits */
    return strcmp(stream, is) == 0;
}

/* ------------------------------------------------------------------------------ the entry ---- */

struct writing {
    char *at;
    size_t left_bytes;
    bool is_full;
};

static void add_bytes(struct writing *writing, const void *bytes, size_t n_bytes)
{
    if (writing->is_full || n_bytes > writing->left_bytes) {
        writing->is_full = true;
        return;
    }
    memcpy(writing->at, bytes, n_bytes);
    writing->at += n_bytes;
    writing->left_bytes -= n_bytes;
}

static void add_field(struct writing *writing, const char *name, const char *value)
{
    const uint64_t n_bytes = strlen(value);
    const uint64_t length = htole64(n_bytes);
    add_bytes(writing, name, strlen(name));
    if (strchr(value, '\n')) {
        add_bytes(writing, "\n", 1);
        add_bytes(writing, &length, sizeof(length));
    } else {
        add_bytes(writing, "=", 1);
    }
    add_bytes(writing, value, n_bytes);
    add_bytes(writing, "\n", 1);
}

static void add_number(struct writing *writing, const char *name, uint64_t number)
{
    char value[24];
    (void)snprintf(value, sizeof(value), "%ju", (uintmax_t)number); /* fits */
    add_field(writing, name, value);
}

static void add_about(struct writing *writing, const struct journal_about *about)
{
    if (about->client_pid > 0) {
        add_number(writing, "CLIENT_PID", about->client_pid);
    }
    if (about->reason) {
        add_field(writing, "REASON", about->reason);
    }
    if (about->has_bytes) {
        add_number(writing, "BYTES", about->num_bytes);
    }
}

size_t journal_format(const struct journal_entry *entry, char *buffer)
{
    struct writing writing = {.at = buffer, .left_bytes = JOURNAL_ENTRY_BYTES};
    add_field(&writing, "MESSAGE", entry->message);
    add_number(&writing, "PRIORITY", (uint64_t)entry->priority);
    add_field(&writing, "SYSLOG_IDENTIFIER", "kmemd");
    if (entry->segment) {
        add_field(&writing, "SEGMENT", entry->segment);
    }
    if (entry->about) {
        add_about(&writing, entry->about);
    }
    return writing.is_full ? 0 : (size_t)(writing.at - buffer);
}

/* ----------------------------------------------------------------------------- the socket ---- */

/* Made for each entry: a line is rare, and a descriptor would have to be kept from every exec. */
int journal_put(const struct journal_entry *entry)
{
    static const struct sockaddr_un journal = {.sun_family = AF_UNIX, .sun_path = JOURNAL_SOCKET};
    char buffer[JOURNAL_ENTRY_BYTES];
    const size_t n_bytes = journal_format(entry, buffer);
    if (n_bytes == 0) {
        return -EMSGSIZE;
    }
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -errno;
    }
    const ssize_t n = sendto(fd, buffer, n_bytes, MSG_DONTWAIT | MSG_NOSIGNAL,
                             (const struct sockaddr *)&journal, sizeof(journal));
    const int r = n < 0 ? -errno : 0;
    (void)close(fd); /* there is nothing to lose */
    return r;
}
