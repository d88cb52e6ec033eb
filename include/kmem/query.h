/* SPDX-License-Identifier: MIT */
/*
 * query.h - ask a kmemd daemon what its segment is used for
 *
 * A query is a connection of its own: it maps nothing, allocates nothing from the segment and is
 * not a client in the daemon's table. `kmemctl` is written with this header and nothing else.
 *
 *      struct kmem_query *query;
 *      int r = kmem_query_open(NULL, &query);
 *      if (r == 0) {
 *          r = kmem_query_ledger(query, KMEM_BY_REASON, print_row, stdout);
 *          kmem_query_close(query);
 *      }
 *
 * CONSISTENCY: an answer is put together while clients go on. A block that lives from before the
 * question to after the answer is counted exactly once; one that comes or goes meanwhile may be
 * counted or not. The figures of kmem_query_usage() belong to one instant.
 *
 * CALLBACKS are called in the thread of the call, once a row, in the order that the function
 * documents. Strings in a row are valid until the callback returns; they are UTF-8 as clients gave
 * them and may hold control characters: kmem_query_escape() before they meet a terminal. A callback
 * that returns non-zero ends the call, which returns that number. A callback must not ask on the
 * same query (-EBUSY).
 *
 * THREADS: one thread at a time per query. FORK: a query is the parent's alone. WAITING: each
 * function waits for its answer for at most $KMEM_TIMEOUT_MS milliseconds (default 30,000).
 *
 * IDLE: a query over which nothing is asked for a minute is closed by the daemon; the next question
 * is -ECONNRESET. A program that asks less often opens a query each time.
 *
 * ERRORS, of every function that returns int: -ECONNRESET the daemon has ended; -ETIMEDOUT it did
 * not answer in time; -EPROTO it sent what is no answer; -EACCES it does not answer this user;
 * -ENOMEM no memory for the answer. kmem_query_error() has the sentence. After each of these but
 * -EACCES the query can only be closed, unless it insists: kmem_query_insist().
 */
#ifndef KMEM_QUERY_H
#define KMEM_QUERY_H

#include <stddef.h>
#include <stdint.h>

#include <kmem/kmem.h>

#ifdef __cplusplus
extern "C" {
#endif

struct kmem_query;

/**
 * kmem_query_open() - connect to a daemon in order to ask
 * @socket_path:  the daemon's socket; NULL looks where kmem.h says that a first call looks
 * @ret_query:    the connection; written on success only
 *
 * Ownership: the caller's until kmem_query_close().
 *
 * Return: 0, or a negative errno as kmem_try_allocate() has them for connecting; kmem_last_error()
 * has the sentence.
 */
KMEM_API KMEM_MUST_USE int kmem_query_open(const char *socket_path, struct kmem_query **ret_query);

/**
 * kmem_query_close() - end the connection and free it
 * @query:  may be NULL
 *
 * Return: NULL.
 */
KMEM_API struct kmem_query *kmem_query_close(struct kmem_query *query);

/**
 * kmem_query_error() - what went wrong last on this query, as a whole sentence
 *
 * Ownership: the query's; valid until its next call. Return: the sentence, "" if none.
 */
KMEM_API const char *kmem_query_error(const struct kmem_query *query);

/**
 * kmem_query_away_fn - the server has ended, and no other has answered within a second
 *
 * Called once for each that has ended, in the thread of the call; it must not ask on that query.
 */
typedef void (*kmem_query_away_fn)(void *user);

/**
 * kmem_query_insist() - let questions outlive the server that was asked
 * @query:  from now on, when its server ends, another is waited for and asked
 * @away:   called when that takes long; NULL: nothing is
 * @user:   passed on to it
 *
 * A daemon goes on with its segment when its server is killed, restarted or upgraded. An answer
 * goes on with the row behind the last that was handed on: rows that come from the next server are
 * of its moment. Where it can not, in the midst of kmem_query_ledger() and kmem_query_lifetimes(),
 * the call is -ECONNRESET, and may be made again. kmem_query_changes(), kmem_query_reload() and
 * kmem_query_resize() are never repeated. For each page of an answer $KMEM_TIMEOUT_MS are waited,
 * a second where the daemon's socket is gone; if no server comes, or one of another segment, or
 * four have died of the question, the call is -ECONNRESET. IDLE does not matter then.
 */
KMEM_API void kmem_query_insist(struct kmem_query *query, kmem_query_away_fn away, void *user);

/** The daemon that answers. Members are added at the end. */
struct kmem_daemon {
    const char *segment_name;
    const char *version;
    uint32_t pid;
    uint64_t instance; /* of the segment: another number for every segment that ever was, the same
                          for all its daemons; 0 from an older daemon */
};

/** One figure of kmem_query_usage(). Members are added at the end. */
struct kmem_statistic {
    const char *name; /* "used_bytes"; lower case, never renamed */
    const char *kind; /* "gauge" goes up and down, "counter" only grows, while the segment lives */
    const char *unit; /* "bytes", "count" or "milliseconds" */
    const char *text; /* one line that explains it */
    uint64_t value;
};

typedef int (*kmem_statistic_fn)(const struct kmem_daemon *daemon,
                                 const struct kmem_statistic *statistic, void *user);

/**
 * kmem_query_usage() - every figure the daemon keeps, taken at one instant
 *
 * A daemon newer than this library may have figures that this text does not know. Always there:
 *
 *      segment_bytes  = used_bytes + overhead_bytes + free_bytes
 *      overhead_bytes = rounding_bytes + slab_bytes + first_page_bytes
 *      free_bytes     = idle_bytes + largest_extent_bytes + scattered_bytes
 *
 *  used_bytes            live blocks, as asked for
 *  rounding_bytes        what these blocks are larger: sizes are rounded up to a size class, above
 *                        64 KiB to whole pages
 *  slab_bytes            free blocks, and what no block fits into, in slabs that have a live block
 *  first_page_bytes      the segment's first page, which is never given out
 *  idle_bytes            leased pages in which no block lives, and which any process can have: they
 *                        are taken back when another needs them. unused_bytes of it are in no use,
 *                        the rest is slabs whose blocks have all been released
 *  largest_extent_bytes  the longest stretch of pages that are free, and leased by no client
 *  scattered_bytes       all other pages that are free, and leased by no client
 *
 * rounding_bytes and slab_bytes are internal fragmentation, scattered_bytes is external
 * fragmentation. largest_hole_bytes is the largest block that there is room for once what is idle
 * has been taken back. The sums hold in every answer. What is said of free pages is exact at that
 * moment; of leases it is what a pass over clients' ledgers saw a moment before, and never more
 * than the leases are. And, when nothing moves, allocations = releases + blocks.
 *
 * What a client carves from its leases only the client can count: each writes what it has counted
 * into its own ledger, where a broken or hostile one may write anything. direct_allocations and
 * direct_releases are the daemon's own.
 */
KMEM_API KMEM_MUST_USE int kmem_query_usage(struct kmem_query *query, kmem_statistic_fn each,
                                            void *user);

/** One limit of the daemon. Members are added at the end. */
struct kmem_limit {
    const char *name; /* "clients"; lower case, never renamed */
    const char *unit; /* "bytes" or "count" */
    const char *text; /* one line that explains it, with the option that sets it */
    uint64_t used;    /* what of it is in use now; of a limit for each, by the one with the most */
    uint64_t limit;   /* 0: there is none */
};

typedef int (*kmem_limit_fn)(const struct kmem_limit *limit, void *user);

/**
 * kmem_query_limits() - every limit of the daemon, and how near it is, taken at one instant
 *
 * A daemon newer than this library may have limits that this text does not know. `descriptors` and
 * `connections` count this query's own connection.
 */
KMEM_API KMEM_MUST_USE int kmem_query_limits(struct kmem_query *query, kmem_limit_fn each,
                                             void *user);

/** A setting that the configuration has changed. Members are added at the end. */
struct kmem_setting_change {
    const char *key;   /* "quota"; `user "alice" quota` of a section */
    const char *was;   /* what is in force, or was until now */
    const char *now;   /* what the configuration says */
    const char *waits; /* why it waits for a restart of the daemon; NULL: it is in force */
};

typedef int (*kmem_setting_change_fn)(const struct kmem_setting_change *change, void *user);

/**
 * kmem_query_reload() - have the daemon read its configuration files anew
 *
 * Is told of each setting that differs from what is in force. Only an admin may ask (-EPERM): root,
 * the daemon's user, and those that its configuration names. -EINVAL if a file is wrong;
 * kmem_query_error() says file and line, and nothing is changed.
 */
KMEM_API KMEM_MUST_USE int kmem_query_reload(struct kmem_query *query, kmem_setting_change_fn each,
                                             void *user);

/**
 * kmem_query_resize() - give the segment another size, while it is served
 * @query:      the caller's; not from a callback of it
 * @num_bytes:  whole pages of 16 KiB, at most the figure most_bytes of kmem_query_usage()
 *
 * For the administrator: root, or the user that the daemon runs as. Processes that have joined need
 * not do anything: they find more memory, or less. To grow takes memory from the system, which
 * takes time; it goes on if the caller does not wait. To shrink takes back what is leased at the
 * segment's end and holds no block; blocks are not moved. The size stays over restarts of the
 * daemon that go on with the segment.
 *
 * Waiting: until it is done. To ask for the size that there is changes nothing.
 *
 * Return: 0, or a negative errno, and kmem_query_error() has the sentence:
 *   -EACCES  the caller is no administrator
 *   -EINVAL  the segment can not have that size
 *   -ENOMEM  the system has no memory for it; what was taken is given back
 *   -EBUSY   blocks lie where the segment would end, the largest holders are named; or another size
 *            is being made
 */
KMEM_API KMEM_MUST_USE int kmem_query_resize(struct kmem_query *query, uint64_t num_bytes);

enum kmem_group_by {
    KMEM_BY_REASON, /* what follows '#' is dropped */
    KMEM_BY_CLIENT,
    KMEM_BY_UID,
    KMEM_BY_SIZE, /* by size class, above 64 KiB by doublings: "131072" is all above 65536 up to
                     that */
    KMEM_BY_AGE,  /* in milliseconds from "0", "1000", "10000", "60000", "600000", "3600000",
                     "86400000" or "604800000" on, up to the next of these */
    KMEM_BY_UNIT, /* the systemd unit of the client, as in struct kmem_client */
};

/** One group of live blocks. Members are added at the end. */
struct kmem_ledger_row {
    const char *key; /* the reason, the command, the unit; in digits: the user id, the most bytes
                        that a block of the group has, or the least age */
    uint64_t n_blocks;
    uint64_t num_bytes; /* as asked for, unrounded */
    uint64_t oldest_ms; /* age of the oldest block */
    uint32_t pid;       /* by client; 0: kmemd can not see it; else 0 */
    uint32_t uid;       /* by client and by uid, else 0 */
};

typedef int (*kmem_ledger_fn)(const struct kmem_ledger_row *row, void *user);

/**
 * kmem_query_ledger() - the live blocks, rolled up; the group with the most bytes first
 *
 * By what an older daemon does not group: -EINVAL. Ages are those when it began to look.
 */
KMEM_API KMEM_MUST_USE int kmem_query_ledger(struct kmem_query *query, enum kmem_group_by by,
                                             kmem_ledger_fn each, void *user);

/** One live block. Members are added at the end. */
struct kmem_block {
    uint64_t offset;
    uint64_t num_bytes; /* as asked for */
    const char *reason;
    uint32_t pid; /* the owner; 0: kmemd can not see it */
    uint32_t uid;
    const char *command; /* the owner's, as the kernel knew it when it connected */
    uint64_t age_ms;
    int leased; /* 1: carved by its owner, whose ledger says so; the daemon does not verify it */
    int shared; /* 1: others may hold it: kmem/share.h; the owner is then who is charged for it */
    uint32_t n_holders; /* of a shared block: how many processes hold it; 0: names alone, an offer
                           whose sender has ended, or it is on its way home to its owner */
    uint32_t n_names;   /* of a shared block: how many names mean it */
};

typedef int (*kmem_block_fn)(const struct kmem_block *block, void *user);

/** kmem_query_blocks() - every live block, by offset */
KMEM_API KMEM_MUST_USE int kmem_query_blocks(struct kmem_query *query, kmem_block_fn each,
                                             void *user);

enum kmem_block_kind {
    KMEM_BLOCKS_ANY,
    KMEM_BLOCKS_DIRECT, /* carved by the daemon */
    KMEM_BLOCKS_LEASED, /* carved by their owners */
};

enum kmem_block_sharing { KMEM_SHARING_ANY, KMEM_SHARING_SHARED, KMEM_SHARING_UNSHARED };

/**
 * Which blocks are wanted: those that all of it is true of. What is 0 asks for nothing.
 *
 *      struct kmem_block_filter filter = {
 *          .struct_bytes = sizeof(filter),
 *          .reason = "decoder*",
 *          .older_than_ms = 60000,
 *      };
 *
 * More members may follow; struct_bytes says how many there are.
 */
struct kmem_block_filter {
    size_t struct_bytes; /* sizeof(struct kmem_block_filter) where the caller was built */
    int by_pid;          /* 1: of the process `pid` alone */
    uint32_t pid;        /* 0: of those that kmemd can not see */
    int by_uid;          /* 1: of the user `uid` alone */
    uint32_t uid;
    const char *reason;     /* a pattern; NULL or "": any reason */
    uint64_t older_than_ms; /* its age_ms is more than that; 0: any age */
    uint64_t larger_than;   /* its num_bytes are more than that; 0: any size */
    enum kmem_block_kind kind;
    enum kmem_block_sharing sharing;
};

/**
 * kmem_query_blocks_where() - the live blocks that a filter takes, by offset
 * @query:   where to ask
 * @filter:  what is wanted; read before the first row comes
 * @each:    called with each of those blocks
 * @user:    passed on to it
 *
 * The daemon selects; what is not wanted does not travel. In a pattern for reasons `*` stands for
 * any number of characters, `/` too, `?` for one, and after a backslash each for itself; all of the
 * reason has to match. What follows '#' in a reason, which the ledger drops, is compared only if
 * the pattern has a '#' as well: "camera/frame" takes what the ledger's row of that name counts.
 *
 * Return: as said above; -EINVAL if the filter can not be meant: a pattern that is no UTF-8 or has
 * more than 254 bytes, a kind that there is not, struct_bytes of no such struct; -EPROTONOSUPPORT
 * if the daemon is so old that it selects nothing.
 */
KMEM_API KMEM_MUST_USE int kmem_query_blocks_where(struct kmem_query *query,
                                                   const struct kmem_block_filter *filter,
                                                   kmem_block_fn each, void *user);

/** One client. Members are added at the end. */
struct kmem_client {
    uint32_t slot; /* its place in the daemon's table */
    uint32_t pid;  /* 0: it is in a pid namespace that kmemd can not see */
    uint32_t uid;
    uint32_t gid;
    const char *command;
    int connected; /* 0: its connection is gone, the process lives and keeps its blocks */
    uint64_t n_blocks;
    uint64_t num_bytes;       /* as asked for */
    uint64_t peak_bytes;      /* the most that was charged to it at once: the direct blocks and the
                            leases, whatever of those was in use; what a quota is compared with */
    uint64_t age_ms;          /* since it joined the segment */
    uint64_t leased_bytes;    /* pages that it carves up itself */
    uint64_t unused_bytes;    /* of those, pages in no use */
    uint64_t peak_used_bytes; /* the most that num_bytes was seen to be; 0 from an older daemon */
    uint64_t idle_bytes;      /* those, and slabs without a live block: what is taken back when
                            another process needs it; 0 from an older daemon */
    int is_reader;            /* it joined for reading only, and has no descriptor to write with */
    int is_walled;    /* of a reader, now: its user is neither root nor kmemd's, nor any member's */
    const char *unit; /* when it joined, or when the server began: the last service or scope of
                         systemd that it was in; else the path of its control group; "?": kmemd can
                         not see it; "" from an older daemon */
};

typedef int (*kmem_client_fn)(const struct kmem_client *client, void *user);

/** kmem_query_clients() - every client, by slot */
KMEM_API KMEM_MUST_USE int kmem_query_clients(struct kmem_query *query, kmem_client_fn each,
                                              void *user);

/** How a shared block is held. A newer daemon may have other numbers. */
enum kmem_holder_kind {
    KMEM_HOLDER_OWNER,    /* by the process that allocated it, or was handed it */
    KMEM_HOLDER_ATTACHED, /* by a process that attached it */
    KMEM_HOLDER_NAME,     /* by a name that means it */
    KMEM_HOLDER_OFFER,    /* by kmem_transfer(): no process has attached it yet */
};

/** A client that has ended. Members are added at the end. */
struct kmem_obituary {
    uint64_t number; /* counted from 1 since the segment was made */
    uint32_t pid;    /* 0: it is in a pid namespace that kmemd can not see */
    uint32_t uid;
    const char *command;
    int left; /* 1: it said so (kmem_close); 0: it died */
    uint64_t lived_ms;
    uint64_t ended_ms_ago;
    uint64_t n_blocks; /* what it never released, and the daemon took back */
    uint64_t num_bytes;
    uint64_t peak_bytes; /* as in struct kmem_client */
    uint64_t n_reasons;  /* how many reasons those blocks had */
    size_t n_rows;       /* how many of them, the largest, follow */
    const struct kmem_ledger_row *rows;
    uint64_t peak_used_bytes; /* as in struct kmem_client */
    uint64_t n_kept; /* blocks of its memory that it had shared, and others hold: they live on, and
                        were not taken back */
    uint64_t kept_bytes;
    uint64_t largest_kept_bytes;        /* one of those blocks; what follows is about it */
    enum kmem_holder_kind kept_by_kind; /* _ATTACHED, _NAME, or _OFFER */
    uint32_t kept_by_pid;               /* of the process that holds it; 0: as above */
    const char *kept_by;                /* that process's command; or the name that means it */
};

typedef int (*kmem_obituary_fn)(const struct kmem_obituary *obituary, void *user);

/**
 * kmem_query_obituaries() - the clients that have ended, oldest first
 *
 * The daemon remembers the last 1,024.
 */
KMEM_API KMEM_MUST_USE int kmem_query_obituaries(struct kmem_query *query, kmem_obituary_fn each,
                                                 void *user);

/** What was asked for, and refused. Members are added at the end. */
struct kmem_refusal {
    uint64_t number; /* counted from 1 since the segment was made */
    const char
        *asked;      /* "block", "lease", "sharing" or "joining"; a newer daemon may have others */
    const char *why; /* "no_room", "quota", ...: kmem_query_refusal_counts() explains each */
    uint32_t pid;    /* of the process that asked; 0: kmemd can not see it */
    uint32_t uid;
    const char *command;
    const char *reason;    /* that was given for the block; "" if none was */
    uint64_t n_times;      /* how often, in a row or nearly so, the same was refused to it */
    uint64_t first_ms_ago; /* the first of those times */
    uint64_t last_ms_ago;  /* the last; what follows was so then */
    uint64_t num_bytes;    /* asked for; of a lease the pages that were needed; 0: of no memory */
    uint64_t free_bytes;   /* as of kmem_query_usage(), but what is idle in leases */
    uint64_t largest_extent_bytes;
    uint64_t used;  /* what stood against it: the bytes charged to the process, or how many clients,
                       names, ... there were */
    uint64_t limit; /* how much or how many of that there may be; 0: it is not about a number */
};

typedef int (*kmem_refusal_fn)(const struct kmem_refusal *refusal, void *user);

/**
 * kmem_query_refusals() - what was asked for and refused, oldest first
 *
 * The daemon remembers the last 256, whatever its server dies of. What a process is refused again
 * and again for the same cause, under the same reason, is one row. A refusal after which the
 * library gives back what it keeps unused, and asks once more, is none.
 */
KMEM_API KMEM_MUST_USE int kmem_query_refusals(struct kmem_query *query, kmem_refusal_fn each,
                                               void *user);

/** How often something was refused for one cause. Members are added at the end. */
struct kmem_refusal_count {
    const char *asked; /* as in struct kmem_refusal */
    const char *why;
    const char *text; /* why, in words */
    uint64_t n_times; /* since the segment was made */
};

typedef int (*kmem_refusal_count_fn)(const struct kmem_refusal_count *count, void *user);

/** kmem_query_refusal_counts() - what was refused, all of it, by what was asked and why */
KMEM_API KMEM_MUST_USE int kmem_query_refusal_counts(struct kmem_query *query,
                                                     kmem_refusal_count_fn each, void *user);

/** One holder of a shared block. Members are added at the end. */
struct kmem_holder {
    uint64_t offset; /* of the block */
    uint64_t num_bytes;
    uint64_t generation;      /* of its handle */
    const char *block_reason; /* the block's own, from its allocation */
    enum kmem_holder_kind kind;
    uint32_t pid; /* the holder; of a name, the process that published it, of an offer the one that
                     made it. 0: that has ended, or kmemd can not see it */
    uint32_t uid;
    const char *command; /* "" if the process has ended */
    const char *reason;  /* why it is held: what was said when it was attached; of a name, the name;
                            else the block's own */
    uint64_t age_ms;     /* since it was attached; of an owner and an offer, since it was shared; of
                            a name 0: kmem_query_names() has its version */
    int write;           /* 1: the holder may write to it */
};

typedef int (*kmem_holder_fn)(const struct kmem_holder *holder, void *user);

/**
 * kmem_query_holders() - who holds the shared blocks, block by block
 * @query:   where to ask
 * @offset:  of the first byte of one block; 0: all that are shared
 * @each:    called with each holder
 * @user:    passed on to it
 *
 * Of one block its owner comes first, then names, then the other holders. A holder that holds on
 * from before the question to after the answer is told once. A block that nobody shares has no row.
 */
KMEM_API KMEM_MUST_USE int kmem_query_holders(struct kmem_query *query, uint64_t offset,
                                              kmem_holder_fn each, void *user);

/** One name. Members are added at the end. */
struct kmem_name {
    const char *name;
    uint64_t version; /* since which it means this block; greater than any before */
    uint64_t offset;  /* of the block */
    uint64_t num_bytes;
    const char *block_reason; /* the block's own, from its allocation */
    uint32_t pid; /* of the process that published it; 0: that has ended, or kmemd can not see it */
    uint32_t uid;
    const char *command; /* "" if that process has ended */
    int keep;            /* 1: the name outlives that process */
    uint32_t n_holders;  /* how many processes hold the block; 0: names alone keep it */
};

typedef int (*kmem_name_fn)(const struct kmem_name *name, void *user);

/** kmem_query_names() - every name, and what it means; in no order that says anything */
KMEM_API KMEM_MUST_USE int kmem_query_names(struct kmem_query *query, kmem_name_fn each,
                                            void *user);

/**
 * kmem_query_escape() - make a foreign string safe to print on a terminal
 * @text:          UTF-8, perhaps with control characters
 * @buffer:        receives the text with every control character, C1 included, as \xNN, every one
 *                 that is not seen or turns the direction of text as \uNNNN, and every backslash
 *                 doubled; always terminated; cut at a character's border if it is full
 * @buffer_bytes:  at least 1
 *
 * Return: buffer.
 */
KMEM_API char *kmem_query_escape(const char *text, char *buffer, size_t buffer_bytes);

/**
 * kmem_query_format_bytes() - "0 B", "44 B", "1.5 KiB", "16.0 MiB", rounded to the nearest tenth
 * @num_bytes:     a number of bytes
 * @buffer:        receives the text; 16 bytes are always enough
 * @buffer_bytes:  at least 1
 *
 * Return: buffer.
 */
KMEM_API char *kmem_query_format_bytes(uint64_t num_bytes, char *buffer, size_t buffer_bytes);

#ifdef __cplusplus
}
#endif

#endif
