/* SPDX-License-Identifier: MIT */
#include "tests/crash/armed.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/system/harness.h"

void armed_begin(void)
{
    char directory[ARMED_PATH_BYTES];
    (void)snprintf(directory, sizeof(directory), "%s", harness_path(""));
    expect_call(setenv(ARMED_DIRECTORY, directory, 1) == 0);
    (void)unlink(harness_path(ARMED_FILE));       /* there may be none */
    (void)unlink(harness_path(ARMED_FIRED_FILE)); /* likewise */
}

void armed_set(const struct armed *armed)
{
    char path[ARMED_PATH_BYTES];
    (void)snprintf(path, sizeof(path), "%s", harness_path("arming"));
    (void)unlink(harness_path(ARMED_FIRED_FILE)); /* there may be none */
    FILE *const file = fopen(path, "we");
    expect_call(file != NULL);
    (void)fprintf(file, "%s %d %s %d %d\n", armed->point, armed->nth, armed->action, armed->value,
                  armed->pid);
    expect_call(fclose(file) == 0);
    expect_call(rename(path, harness_path(ARMED_FILE)) == 0);
}

bool armed_has_fired(void)
{
    return access(harness_path(ARMED_FIRED_FILE), F_OK) == 0;
}
