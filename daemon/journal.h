/* SPDX-License-Identifier: MIT */
/*
 * journal.h - a line of the log with fields, where the journal reads stderr
 *
 * $JOURNAL_STREAM names the file that the service manager has made stderr. While stderr is that,
 * a line goes to the journal's own socket, with fields that `journalctl` selects by:
 *
 *      journalctl SEGMENT=video CLIENT_PID=42
 *
 * Nobody waits for the journal: what it does not take at once is not there (sink.h).
 */
#ifndef DAEMON_JOURNAL_H
#define DAEMON_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"

#define JOURNAL_SOCKET "/run/systemd/journal/socket"
/* A line of 4,096 bytes, a reason, and fields of some 30 bytes. */
#define JOURNAL_ENTRY_BYTES 5120

/* What a line is about; of a client. */
struct journal_about {
    uint32_t client_pid; /* 0: of no client, or kmemd can not see it */
    const char *reason;  /* as the client gave it: foreign; NULL: none */
    bool has_bytes;
    uint64_t num_bytes; /* if it has any */
};

struct journal_entry {
    int priority; /* as syslog(3) numbers them: 3 is an error, 7 for debugging */
    const char *message;
    const char *segment;               /* NULL: it is not known yet */
    const struct journal_about *about; /* NULL: no client */
};

/** journal_reads_stderr() - whether stderr is the journal's now */
KMEM_MUST_USE bool journal_reads_stderr(void);

/**
 * journal_format() - an entry in the journal's protocol
 * @buffer:  JOURNAL_ENTRY_BYTES
 * Return: its bytes; 0: it does not fit.
 */
size_t journal_format(const struct journal_entry *entry, char *buffer);

/**
 * journal_put() - write an entry
 * Return: 0, or a negative errno: -ENOENT and -ECONNREFUSED if no journal listens.
 */
KMEM_MUST_USE int journal_put(const struct journal_entry *entry);

#endif
