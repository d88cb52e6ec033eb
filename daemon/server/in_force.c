/* SPDX-License-Identifier: MIT */
#include "daemon/server/in_force.h"

#include "daemon/log.h"
#include "daemon/server/huge_pages.h"

/* 1,024, if descriptors are no matter: more than a user's processes say Hello at a time. */
#define CONNECTIONS_PER_UID 1024
/* 512, of which each waits 5 s at most: as many processes of a user as start at a time. */
#define HANDSHAKES_PER_UID 512
/* 64 MiB, a thousand answers that are not read: more than all readers that are only slow. */
#define QUEUED_BYTES (UINT64_C(64) << 20)

static uint32_t set_or(uint32_t set, uint32_t usual)
{
    return set > 0 ? set : usual;
}

static uint32_t clients_per_uid(const struct options *options, uint32_t clients_limit)
{
    return set_or(options->clients_per_uid, (clients_limit + 1) / 2);
}

static enum readers readers_of(const struct options *options)
{
    return options->no_readers       ? READERS_NONE
           : options->walled_readers ? READERS_WALLED
                                     : READERS_ANY;
}

struct users_limits in_force_connections(const struct options *options, uint32_t n_descriptors)
{
    const uint32_t half = n_descriptors / 2 / CLIENT_DESCRIPTORS;
    const uint32_t usual = half < CONNECTIONS_PER_UID ? half : CONNECTIONS_PER_UID;
    const uint32_t quarter = half < HANDSHAKES_PER_UID * 2 ? half / 2 : HANDSHAKES_PER_UID;
    return (struct users_limits){
        .n_descriptors = n_descriptors,
        .n_connections = set_or(options->connections_per_uid, usual),
        .n_pending = half > 1 ? half : 1,
        .n_pending_of_user = set_or(options->handshakes_per_uid, quarter > 1 ? quarter : 1),
        .queued_bytes = QUEUED_BYTES,
        .queued_bytes_of_user =
            options->queued_per_uid > 0 ? options->queued_per_uid : QUEUED_BYTES / 2,
    };
}

/* A page that is locked by a mapping of the keeper's loses that when it becomes part of another. */
bool in_force_collapses(const struct options *options)
{
    return options->hugepages == HUGEPAGES_TRY && !options->lazy && !options->lock;
}

/* In what pieces a client's guard gives and takes. */
static uint64_t granule_of(const struct options *options)
{
    const uint64_t page_bytes = backing_page_bytes(options);
    if (page_bytes > 0) {
        return page_bytes;
    }
    return in_force_collapses(options) ? HUGE_PAGES_HUGE_BYTES : PAGE_BYTES;
}

bool in_force_clears(const struct options *options)
{
    return options->lazy || (!options->no_scrub && backing_page_bytes(options) == 0);
}

/* Half of each table, if nothing else is said. */
static void caps_of(const struct options *options, uint32_t ret_caps[N_CAPS])
{
    ret_caps[CAP_SHARES] = set_or(options->shares_per_uid, SHARES_MAX / 2);
    ret_caps[CAP_HOLDS] = set_or(options->holds_per_uid, HOLDS_MAX / 2);
    ret_caps[CAP_NAMES] = set_or(options->names_per_uid, (options->names_limit + 1) / 2);
    ret_caps[CAP_REASONS] = set_or(options->reasons_per_uid, REASONS_MAX / 2);
}

/* What concerns no memory that is there already. */
static void live_apply(const struct options *options, struct core_config *config)
{
    config->clients_per_uid = clients_per_uid(options, config->clients_limit);
    config->readers = readers_of(options);
    caps_of(options, config->caps);
    config->quota_bytes = options->quota_bytes;
    config->rules = &options->rules;
    config->waiting_bytes = options->waiting_bytes;
    config->names_limit = options->names_limit;
    config->dumps = options->dumps;
}

void in_force_begin(const struct options *options, struct core_config *config)
{
    live_apply(options, config);
    config->granule_bytes = granule_of(options);
    config->huge_bytes = backing_page_bytes(options) > 0 ? options->segment_bytes : 0;
    config->gives_back = options->lazy;
}

void in_force_apply(const struct options *options, struct core *core, struct users *users)
{
    log_set_level(options->log_level);
    users->limits = in_force_connections(options, users->limits.n_descriptors);
    live_apply(options, &core->config);
    core_set_rules(core, &options->rules);
    caps_set(&core->caps, core->config.caps);
    core->names.limit = options->names_limit;
}
