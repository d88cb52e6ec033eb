/* SPDX-License-Identifier: MIT */
/*
 * troubled.c - what kmemd_troubled has in the place of recover() and takeover_check(): trouble.h
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "daemon/core/recover.h"
#include "daemon/server/server.h"
#include "tests/system/trouble.h"

/* An exit status that kmemd has no meaning for. */
#define STRANGE_STATUS 99
#define ALIVE_EVERY_MS 100

/* The names that the linker gives them: --wrap. */
int __real_recover(struct core *core, const struct core_config *config, void *state_base,
                   recover_states_fn states, void *user, uint64_t now_ms, char *ret_why,
                   size_t why_bytes);
int __wrap_recover(struct core *core, const struct core_config *config, void *state_base,
                   recover_states_fn states, void *user, uint64_t now_ms, char *ret_why,
                   size_t why_bytes);
int __real_takeover_check(const struct options *options, const struct inherited_fds *files);
int __wrap_takeover_check(const struct options *options, const struct inherited_fds *files);

/* Whether this trouble is armed; it is not any more afterwards. */
static bool meets(const char *trouble)
{
    const char *const path = getenv(TROUBLE_VARIABLE);
    char text[64] = "";
    FILE *const file = path != NULL ? fopen(path, "re") : NULL;
    if (file == NULL) {
        return false;
    }
    (void)!fread(text, 1, sizeof(text) - 1, file);
    (void)fclose(file);
    return strcmp(text, trouble) == 0 && unlink(path) == 0;
}

static void dawdle(const struct core_config *config)
{
    static const struct timespec pause = {.tv_nsec = ALIVE_EVERY_MS * 1000000L};
    for (int waited_ms = 0; waited_ms < TROUBLE_SLOW_MS; waited_ms += ALIVE_EVERY_MS) {
        config->alive(config->alive_user);
        (void)nanosleep(&pause, NULL);
    }
}

int __wrap_recover(struct core *core, const struct core_config *config, void *state_base,
                   recover_states_fn states, void *user, uint64_t now_ms, char *ret_why,
                   size_t why_bytes)
{
    if (meets(TROUBLE_START_ABORTS)) {
        (void)signal(SIGABRT, SIG_DFL);
        (void)raise(SIGABRT);
    }
    if (meets(TROUBLE_START_EXITS)) {
        _exit(STRANGE_STATUS);
    }
    if (meets(TROUBLE_START_STOPS)) {
        (void)raise(SIGSTOP);
    }
    if (meets(TROUBLE_START_IS_SLOW)) {
        dawdle(config);
    }
    return __real_recover(core, config, state_base, states, user, now_ms, ret_why, why_bytes);
}

int __wrap_takeover_check(const struct options *options, const struct inherited_fds *files)
{
    if (meets(TROUBLE_CHECK_STOPS)) {
        (void)raise(SIGSTOP);
    }
    return __real_takeover_check(options, files);
}
