/* SPDX-License-Identifier: MIT */
#include "tests/system/trouble.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/system/daemon.h"
#include "tests/system/harness.h"

void trouble_prepare(void)
{
    expect_call(setenv(TROUBLE_VARIABLE, harness_path("trouble"), 1) == 0);
}

/* By rename, so that nobody finds half of it. */
void trouble_arm(const char *trouble)
{
    if (strcmp(trouble, TROUBLE_START_ABORTS) == 0 || strcmp(trouble, TROUBLE_START_EXITS) == 0) {
        daemon_expect_crashes();
    }
    char fresh[256];
    (void)snprintf(fresh, sizeof(fresh), "%s", harness_path("trouble.new"));
    FILE *const file = fopen(fresh, "we");
    expect_call(file != NULL && fputs(trouble, file) >= 0 && fclose(file) == 0);
    expect_call(rename(fresh, harness_path("trouble")) == 0);
}

bool trouble_is_met(void)
{
    return access(harness_path("trouble"), F_OK) < 0;
}
