/* SPDX-License-Identifier: MIT */
/*
 * campaign.h - so many clients and servers killed under a model that must stay true
 */
#ifndef TESTS_TORTURE_CAMPAIGN_H
#define TESTS_TORTURE_CAMPAIGN_H

#include <stdbool.h>
#include <stdint.h>

struct campaign {
    uint64_t n_clients; /* to be killed */
    uint64_t n_servers;
    uint64_t seed;
    bool hangs; /* servers are stopped too */
};

/** campaign_run() - with a daemon of its own; fails at the first violation */
void campaign_run(const struct campaign *campaign);

#endif
