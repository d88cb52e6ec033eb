/* SPDX-License-Identifier: MIT */
#include "tests/torture/state_check.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/core/recover.h"
#include "daemon/core/sharing.h"
#include "proto/lease.h"
#include "tests/system/daemon.h"
#include "tests/system/harness.h"

/* No client's ledger is at hand; each of them lives. */
static _Atomic uint64_t *no_states(uint32_t slot, void *user)
{
    (void)slot;
    (void)user;
    return NULL;
}

static int lives(uint32_t slot, const struct client_identity *identity, void *user)
{
    (void)slot;
    (void)identity;
    (void)user;
    return 0;
}

static uint64_t any_number(void *user)
{
    (void)user;
    return 1;
}

void state_check(uint64_t segment_bytes)
{
    static struct core core;
    struct stat status;
    char why[256] = "";
    const int fd = daemon_open_memfd("state");
    expect_call(fstat(fd, &status) == 0);
    /* Private: what the core finishes, if there is anything, the daemon does not see. */
    void *const base = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_NORESERVE, fd, 0);
    expect_call(base != MAP_FAILED);
    (void)close(fd);
    const struct core_config config = {
        .segment_name = "test",
        .n_pages = (uint32_t)(segment_bytes / PAGE_BYTES),
        .clients_limit = CLIENTS_MAX,
        .granule_bytes = PAGE_BYTES,
        .random = any_number,
        .watch = lives,
    };
    daemon_signal_server(SIGSTOP); /* where a kill would have met it */
    const int r = recover(&core, &config, base, no_states, NULL, 0, why, sizeof(why));
    if (r != 0) {
        fail("no server would go on with the state (%d): %s", r, why);
    }
    expect_equal(pages_check(&core.pages), 0);
    expect_equal(reasons_check(&core.reasons), 0);
    expect_equal(clients_check(&core.clients), 0);
    expect_equal(shares_check(&core.shares), 0);
    expect_equal(names_check(&core.names), 0);
    expect_equal(direct_check(&core.direct), 0);
    expect_equal(leases_check(&core.leases), 0);
    expect_equal(sharing_check(&core), 0);
    expect_equal(obituaries_check(&core.obituaries), 0);
    expect_equal(core_check(&core), 0);
    daemon_signal_server(SIGCONT);
    core_abandon(&core);
    (void)munmap(base, (size_t)status.st_size);
}
