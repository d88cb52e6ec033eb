/* SPDX-License-Identifier: MIT */
#include "daemon/server/descriptors.h"

#include "daemon/server/loop.h"
#include "daemon/core/users.h"
#include "proto/limits.h"

struct descriptors descriptors_of(rlim_t n_descriptors)
{
    if (n_descriptors < DESCRIPTORS_RESERVED + CLIENT_DESCRIPTORS) {
        return (struct descriptors){.n_clients = 0};
    }
    /* What the loop has a table for is all that is ever needed. */
    const rlim_t n_used = n_descriptors < LOOP_DESCRIPTORS ? n_descriptors : LOOP_DESCRIPTORS;
    const rlim_t n_clients = (n_used - DESCRIPTORS_RESERVED) / CLIENT_DESCRIPTORS;
    return (struct descriptors){
        .n_clients = n_clients < CLIENTS_MAX ? (uint32_t)n_clients : CLIENTS_MAX,
        .n_free = (uint32_t)n_used - DESCRIPTORS_FIXED,
    };
}

struct descriptors descriptors_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return (struct descriptors){.n_clients = 0};
    }
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 && getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return (struct descriptors){.n_clients = 0};
    }
    return descriptors_of(limit.rlim_cur);
}
