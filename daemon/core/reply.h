/* SPDX-License-Identifier: MIT */
/*
 * reply.h - one response under construction
 *
 * Everything a response points to is taken from one block of memory that is used again for the next
 * one: answering takes no memory from the system. A response stays valid until reply_reset().
 */
#ifndef DAEMON_CORE_REPLY_H
#define DAEMON_CORE_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/attributes.h"
#include "proto/frame.h"
#include "proto/kmem.pb-c.h"

/* 512: at 120 bytes a row, the answer is about 64 KiB; see REPLY_ROW_BYTES. */
#define REPLY_ROWS_MAX 512
/* What a row may need of the 64 KiB besides its strings: tags, lengths, up to fourteen varints. */
#define REPLY_ROW_BYTES 112

struct reply {
    Kmem__Response response;
    union {
        Kmem__Error error;
        Kmem__Welcome welcome;
        Kmem__Allocated allocated;
        Kmem__Sized sized;
        Kmem__UsageReport usage;
        Kmem__LedgerReport ledger;
        Kmem__BlocksReport blocks;
        Kmem__ClientsReport clients;
        Kmem__ObituariesReport obituaries;
        Kmem__Farewell farewell;
        Kmem__Leased leased;
        Kmem__Shared shared;
        Kmem__Attached attached;
        Kmem__ReleasedMany released_many;
        Kmem__Published published;
        Kmem__Unpublished unpublished;
        Kmem__Nexted nexted;
        Kmem__HoldersReport holders;
        Kmem__NamesReport names;
        Kmem__Watched watched;
        Kmem__RefusalsReport refusals;
        Kmem__LimitsReport limits;
        Kmem__PagesReport pages;
        Kmem__AtReport at;
        Kmem__ChangesReport changes;
        Kmem__HistoryReport history;
        Kmem__LifetimesReport lifetimes;
        Kmem__Reloaded reloaded;
        Kmem__Resized resized;
    } body;
    struct arena arena;
    size_t encoded_bytes; /* an upper bound of what the rows so far will take */
};

/** reply_new() - Return: an empty reply, NULL without memory. */
KMEM_MUST_USE struct reply *reply_new(void);

/** reply_free() - Return: NULL. */
struct reply *reply_free(struct reply *reply);

/** reply_reset() - begin the response to a request */
void reply_reset(struct reply *reply, uint64_t id);

/** reply_take() - memory that lives as long as the response */
void *reply_take(struct reply *reply, size_t num_bytes);

/** reply_string() - a terminated copy of n_bytes of text */
char *reply_string(struct reply *reply, const char *text, size_t n_bytes);

/** reply_error() - make the response an error; the sentence is formatted */
KMEM_PRINTF(3, 4)
void reply_error(struct reply *reply, Kmem__ErrorCode code, const char *format, ...);

/**
 * reply_row_fits() - whether the response has room for one more row with n_text_bytes of strings
 *
 * Counts the row, if it fits.
 */
KMEM_MUST_USE bool reply_row_fits(struct reply *reply, size_t n_text_bytes);

#endif
