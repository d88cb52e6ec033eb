/* SPDX-License-Identifier: MIT */
/*
 * torture [--sharing] [--clients N] [--servers N] [--hangs] [--seed N] |
 *         --churn SECONDS [--without-rest] [--strict] | --soak SECONDS
 *
 * Kills clients and servers while a model watches, clients that share blocks with --sharing; kills
 * servers and measures what that costs; or kills a client a second and looks for leaks. The harness
 * gives it a directory and a deadline, and prints the daemon's log if it fails. Exit status: 0, or
 * 1 at the first violation.
 */
#include <argp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#include "tests/system/harness.h"
#include "tests/torture/campaign.h"
#include "tests/torture/churn.h"
#include "tests/torture/sharing_campaign.h"

enum {
    OPTION_CLIENTS = 256,
    OPTION_SERVERS,
    OPTION_HANGS,
    OPTION_SEED,
    OPTION_CHURN,
    OPTION_WITHOUT_REST,
    OPTION_STRICT,
    OPTION_SOAK,
    OPTION_SHARING
};

static struct {
    struct campaign campaign;
    struct churn_plan churn;
    unsigned int soak_s;
    bool shares;
} asked = {.campaign = {.n_clients = 200, .n_servers = 50, .seed = 20261123}};

static const struct argp_option options[] = {
    {"clients", OPTION_CLIENTS, "N", 0, "Clients to be killed (default: 200)", 0},
    {"servers", OPTION_SERVERS, "N", 0, "Servers to be killed (default: 50)", 0},
    {"hangs", OPTION_HANGS, NULL, 0, "Stop a server now and then, for the watchdog to find", 0},
    {"seed", OPTION_SEED, "N", 0, "Of the plan and of the workers (default: 20261123)", 0},
    {"churn", OPTION_CHURN, "SECONDS", 0, "Kill servers for so long; measure what it costs", 0},
    {"without-rest", OPTION_WITHOUT_REST, NULL, 0, "Kill for so long in one, not in turns of 2 s",
     0},
    {"strict", OPTION_STRICT, NULL, 0, "Want most kills to meet one, and a cost of less than 30 %",
     0},
    {"soak", OPTION_SOAK, "SECONDS", 0, "Kill a client a second and look for leaks", 0},
    {"sharing", OPTION_SHARING, NULL, 0, "Of clients that share their blocks", 0},
    {NULL, 0, NULL, 0, NULL, 0},
};

static uint64_t number(struct argp_state *state, const char *text)
{
    char *end;
    const uint64_t value = strtoull(text, &end, 10);
    if (end == text || *end != '\0') {
        argp_error(state, "\"%s\" is no number", text);
    }
    return value;
}

static error_t take_option(int key, char *text, struct argp_state *state)
{
    switch (key) {
    case OPTION_CLIENTS:
        asked.campaign.n_clients = number(state, text);
        break;
    case OPTION_SERVERS:
        asked.campaign.n_servers = number(state, text);
        break;
    case OPTION_HANGS:
        asked.campaign.hangs = true;
        break;
    case OPTION_SEED:
        asked.campaign.seed = number(state, text);
        break;
    case OPTION_CHURN:
        asked.churn.seconds = (unsigned int)number(state, text);
        break;
    case OPTION_WITHOUT_REST:
        asked.churn.without_rest = true;
        break;
    case OPTION_STRICT:
        asked.churn.is_strict = true;
        break;
    case OPTION_SOAK:
        asked.soak_s = (unsigned int)number(state, text);
        break;
    case OPTION_SHARING:
        asked.shares = true;
        break;
    default:
        return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

static void kills(void)
{
    asked.campaign.n_clients = harness_scaled(asked.campaign.n_clients);
    asked.campaign.n_servers = harness_scaled(asked.campaign.n_servers);
    (asked.shares ? sharing_campaign_run : campaign_run)(&asked.campaign);
}

static void churn(void)
{
    churn_survive(&asked.churn);
}

static void soak(void)
{
    churn_soak(asked.soak_s);
}

int main(int argc, char **argv)
{
    static const struct argp parser = {
        options, take_option, NULL, "Kill clients and servers; nothing may be lost",
        NULL,    NULL,        NULL};
    if (argp_parse(&parser, argc, argv, 0, NULL, NULL) != 0) {
        return 1;
    }
    /* Twice to four times what each takes on two cores. */
    const unsigned int n_kills =
        (unsigned int)(asked.campaign.n_clients + 4 * asked.campaign.n_servers);
    struct system_test test = {"kills", kills, 60 + n_kills / 8};
    if (asked.churn.seconds > 0) {
        test = (struct system_test){"churn", churn, 60 + 4 * asked.churn.seconds};
    } else if (asked.soak_s > 0) {
        test = (struct system_test){"soak", soak, 180 + 2 * asked.soak_s};
    }
    return harness_run(&test, 1, 1, argv);
}
