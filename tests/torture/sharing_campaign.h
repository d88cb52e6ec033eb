/* SPDX-License-Identifier: MIT */
/*
 * sharing_campaign.h - so many sharers and servers killed, and nothing that is held is lost
 */
#ifndef TESTS_TORTURE_SHARING_CAMPAIGN_H
#define TESTS_TORTURE_SHARING_CAMPAIGN_H

#include "tests/torture/campaign.h"

/** sharing_campaign_run() - with a daemon of its own; fails at the first violation */
void sharing_campaign_run(const struct campaign *campaign);

#endif
