/* SPDX-License-Identifier: MIT */
/*
 * options.h - what a daemon is to do: by the configuration files and the command line
 */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/rules.h"
#include "daemon/log.h"
#include "proto/limits.h"
#include "proto/share.h"

/* sysexits(3), as documented in kmemd(8). */
#define EXIT_USAGE 64       /* an option or a line of the configuration is wrong */
#define EXIT_SYSTEM 71      /* the system does not give what is needed: memory, descriptors */
#define EXIT_CANT_CREATE 73 /* the socket can not be made, or is another daemon's */
#define EXIT_TRY_AGAIN 75   /* as EXIT_SYSTEM, and a segment that was kept waits: worth a try */
#define EXIT_DENIED 77      /* no permission */
#define EXIT_STATE 78       /* the segment that is there is of another layout, or damaged */

/* sun_path without its NUL. */
#define SOCKET_PATH_MAX_BYTES 107

/* Those that have a role: as many as roles.h takes. */
#define OPTION_PRINCIPALS_MAX 64

struct option_principal {
    bool is_group; /* all its members */
    uint32_t id;
};

struct option_principals {
    struct option_principal list[OPTION_PRINCIPALS_MAX];
    uint32_t n;
};

/* What pages the segment's memory is made of. */
enum hugepages {
    HUGEPAGES_TRY, /* small ones, which are made huge while clients are served, where that goes */
    HUGEPAGES_NO,  /* small ones */
    HUGEPAGES_2M,  /* reserved ones, or no start */
    HUGEPAGES_1G,  /* likewise */
};

/* Of which nodes of the machine it is. */
enum numa {
    NUMA_LOCAL,      /* where the process runs that touches a page first */
    NUMA_INTERLEAVE, /* of all, page by page */
    NUMA_NODE,       /* of numa_node alone */
};

struct options {
    char name[NAME_MAX_BYTES + 1];
    char config_path[PATH_MAX]; /* the only file to read; "": those that there are */
    char socket_path[SOCKET_PATH_MAX_BYTES + 1];
    uint64_t segment_bytes; /* whole pages: what it has, or is to have */
    uint64_t asked_bytes;   /* of these, what the options say */
    uint64_t most_bytes;    /* what it may have: its file's size */
    bool is_usual_most;     /* which nothing was said of */
    uint64_t waiting_bytes; /* asked for, and more than what is kept may have; 0: no other */
    uint64_t quota_bytes;   /* for each client; 0: none */
    struct rules rules;     /* the other quotas, and the rules of sections */
    uint32_t names_limit;
    uint32_t clients_per_uid;     /* 0: half of all there may be */
    uint32_t connections_per_uid; /* these likewise */
    uint32_t handshakes_per_uid;
    uint32_t shares_per_uid;
    uint32_t holds_per_uid;
    uint32_t names_per_uid;
    uint32_t reasons_per_uid;
    uint64_t queued_per_uid; /* bytes; 0: half of what may wait for all */
    bool lazy;               /* commit = lazy */
    enum hugepages hugepages;
    enum numa numa;
    uint32_t numa_node;
    bool no_scrub; /* free pages are not cleared in the background */
    bool dumps;    /* cores of clients have the segment's bytes */
    bool lock;     /* its memory is never swapped out */
    bool has_group;
    gid_t group;
    bool has_reader_group;
    gid_t reader_group;               /* may join as readers */
    struct option_principals members; /* beside those of `group` */
    struct option_principals reader_users;
    struct option_principals observers;
    struct option_principals admins;
    bool no_readers;      /* these two: never both */
    bool walled_readers;  /* and no others */
    uint64_t watchdog_ms; /* a server that does not answer for so long is replaced; 0: never */
    enum log_level log_level;
    bool debuggable;   /* processes of the same user may look into the daemon */
    pid_t compare_pid; /* not to serve, but to be compared with; 0: none */
    bool check;        /* not to serve, but to say whether it could be read */
    bool dump;         /* not to serve, but to print it */
};

/** options_set_default() - what they are if nothing is said */
void options_set_default(struct options *options);

/** options_ping_ms() - how often the server is asked: two without an answer are all; 0: never */
uint64_t options_ping_ms(const struct options *options);

/** options_step_ms() - how long to leave, or to look at the state, may take */
uint64_t options_step_ms(const struct options *options);

/**
 * options_settle_size() - all options are read: what the segment may grow to if nothing was said
 * Return: whether it may have its size.
 */
KMEM_MUST_USE bool options_settle_size(struct options *options);

/**
 * options_adopt_size() - go on with a segment that is there
 * @most_bytes:   what it may have: a larger size that is asked for waits
 * @now_bytes:    what it has; 0: that is not known
 * @is_applied:   whether that has been the size that is asked for: another one is kept then
 * Return: false if no segment has such sizes.
 */
KMEM_MUST_USE bool options_adopt_size(struct options *options, uint64_t most_bytes,
                                      uint64_t now_bytes, bool is_applied);

#endif
