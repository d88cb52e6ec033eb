/* SPDX-License-Identifier: MIT */
/*
 * takeover.c - one server at a time
 *
 * A server that was killed is gone when its keeper sees it, but a keeper that was killed takes its
 * server with it only a moment later, and a supervisor may be quick. Two servers on one state would
 * spoil it; so each holds a record lock on the state's file, which the kernel drops with the
 * process and not earlier.
 */
#include "daemon/server/takeover.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/core/recover.h"
#include "daemon/core/sharing.h"
#include "daemon/inherited.h"
#include "daemon/log.h"
#include "daemon/server/loop.h"
#include "daemon/server/peer_identity.h"
#include "daemon/server/scrubber.h"
#include "proto/crash_point.h"
#include "proto/text.h"

/* 10 s: the kernel needs some ms to end a process, on a machine that swaps some more. */
#define LOCK_PATIENCE_MS 10000
#define LOCK_PAUSE_MS 5
/* 64 clients: to map and check a ledger takes some 20 us, and a thousand times that if it has been
   swapped out; fewer would be messages for nothing. */
#define ALIVE_CLIENTS 64

/* Waits for the last server's end, and says so each time it looks. */
static int state_lock(const struct takeover *takeover)
{
    static const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = STATE_LOCK_SERVER, .l_len = 1};
    int r = -EAGAIN;
    for (int waited_ms = 0; r == -EAGAIN && waited_ms < LOCK_PATIENCE_MS;
         waited_ms += LOCK_PAUSE_MS) {
        keeper_link_alive(takeover->keeper_link);
        r = fcntl(takeover->files->state_fd, F_SETLK, &lock) < 0 ? -errno : 0;
        if (r == -EACCES || r == -EAGAIN) {
            r = -EAGAIN;
            (void)nanosleep(&pause, NULL); /* shorter if a signal comes */
        }
    }
    return r;
}

static int state_map(struct takeover *takeover, uint32_t n_pages)
{
    takeover->state_bytes = state_bytes(n_pages);
    void *base = mmap(NULL, takeover->state_bytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_NORESERVE, takeover->files->state_fd, 0);
    if (base == MAP_FAILED) {
        return -errno;
    }
    takeover->state_base = base;
    return 0;
}

/*
 * Whether the file has the size that this program's layout needs. Return: 0, STATE_E_FOREIGN, or a
 * negative errno.
 */
static int state_fits(int fd, uint32_t n_pages)
{
    struct stat status;
    if (fstat(fd, &status) < 0) {
        return -errno;
    }
    return (uint64_t)status.st_size == state_bytes(n_pages) ? 0 : STATE_E_FOREIGN;
}

static void fd_drop(int *fd)
{
    if (*fd >= 0) {
        (void)close(*fd); /* the keeper's copy goes likewise */
        *fd = -1;
    }
}

/*
 * Whether a slot's files are those of another process than the one that has it now. So it is after
 * a keeper that was killed before it heard that the slot had changed hands, if a service manager
 * has kept what it had heard of. Return: 0, CLIENTS_E_GONE if they are, or a negative errno.
 */
static int files_fit(const struct state_client *stored, int pidfd)
{
    /* Relaxed: there is no other server. */
    const uint64_t word = atomic_load_explicit(&stored->pid, memory_order_relaxed);
    const uint32_t pid = PID_WORD_PID(word);
    const struct client_identity identity = {
        .pid = pid, .start_time = stored->start_time, .inode = stored->inode};
    const uint64_t inode = peer_identity_inode_of(pidfd);
    if (word != 0 && inode != 0 && stored->inode != 0) {
        return inode == stored->inode ? 0 : CLIENTS_E_GONE;
    }
    long pid_of_files = 0;
    const int r = peer_identity_pid_of(pidfd, &pid_of_files);
    if (r || pid == 0 || pid_of_files == 0) {
        return r == -ESRCH ? 0 : r; /* without a /proc nothing says that they are another's */
    }
    if (pid_of_files > 0) {
        return pid_of_files == (long)pid ? 0 : CLIENTS_E_GONE;
    }
    const int living_fd = peer_identity_open(&identity);
    if (living_fd >= 0) {
        (void)close(living_fd); /* nothing is written through it */
    }
    return living_fd >= 0 ? CLIENTS_E_GONE : (living_fd == -ESRCH ? 0 : living_fd);
}

/* Return: 0, also if the slot's files are of no use and closed; or a negative errno. */
static int kept_take(const struct takeover *takeover, const struct state_client *stored,
                     uint32_t slot)
{
    int *ledger_fd = &takeover->files->ledger_fds[slot];
    int r = files_fit(stored, takeover->files->pidfds[slot]);
    if (r < 0) {
        return r;
    }
    if (r == CLIENTS_E_GONE) {
        fd_drop(ledger_fd);
        fd_drop(&takeover->files->way_fds[slot]);
        return 0;
    }
    r = client_files_adopt(takeover->ledgers, slot, *ledger_fd);
    *ledger_fd = -1; /* the ledgers' */
    if (r) {
        log_error("slot %u: its ledger can not be used: %s", slot, strerror(-r));
    }
    return r == -EPROTO ? 0 : r;
}

/*
 * A client needs both its files; a slot that has one of them was between two messages to the
 * keeper or to a service manager. All of them are mapped before anything is concluded: for want of
 * memory nobody is taken for dead. Return: 0 or a negative errno.
 */
static int client_files_take(const struct takeover *takeover, const struct core_config *config)
{
    struct state state;
    if (state_attach(&state, takeover->state_base, config->n_pages)) {
        return 0; /* recover() refuses it */
    }
    for (uint32_t slot = 0; slot < CLIENTS_MAX; slot++) {
        if (takeover->files->ledger_fds[slot] < 0 || takeover->files->pidfds[slot] < 0) {
            continue;
        }
        if (slot % ALIVE_CLIENTS == 0) {
            keeper_link_alive(takeover->keeper_link);
        }
        const int r = kept_take(takeover, &state.clients[slot], slot);
        if (r) {
            return r;
        }
    }
    return 0;
}

/* core_watch_fn: one without a ledger. Its descriptor is among the files until takeover_watch(). */
static int watch_lost(uint32_t slot, const struct client_identity *identity, void *user)
{
    const struct takeover *takeover = user;
    int *kept = &takeover->files->pidfds[slot];
    const bool is_kept =
        *kept >= 0 && identity->inode != 0 && peer_identity_inode_of(*kept) == identity->inode;
    const int pidfd = is_kept ? *kept : peer_identity_open(identity);
    if (is_kept && peer_identity_has_ended(pidfd)) {
        return CLIENTS_E_GONE;
    }
    if (pidfd < 0 && pidfd != -EOPNOTSUPP) {
        return pidfd == -ESRCH ? CLIENTS_E_GONE : pidfd;
    }
    if (!is_kept) {
        fd_drop(kept); /* of another, or the same */
        *kept = pidfd >= 0 ? pidfd : -1;
    }
    char pid[PID_TEXT_BYTES];
    log_write_about(LOG_LEVEL_ERROR, &(struct journal_about){.client_pid = identity->pid},
                    "the ledger of process %s (%s) was lost: it keeps what it has until %s ends, "
                    "and can have no more",
                    client_pid_text(identity->pid, pid), identity->command,
                    pidfd >= 0 ? "it" : "the daemon, which can not see the process,");
    return 0;
}

static _Atomic uint64_t *states_of(uint32_t slot, void *user)
{
    const struct takeover *takeover = user;
    return client_files_states(takeover->ledgers, slot);
}

static int core_recover(struct takeover *takeover, const struct core_config *config,
                        struct core *core)
{
    char why[256];
    const struct now before = loop_now();
    struct core_config watching = *config;
    watching.watch = watch_lost;
    watching.watch_user = takeover;
    int r = client_files_take(takeover, config);
    r = r ? r
          : recover(core, &watching, takeover->state_base, states_of, takeover, before.ms, why,
                    sizeof(why));
    if (r > 0) {
        log_error("segment \"%s\" can not be served: its state does not add up: %s",
                  config->segment_name, why);
        return EXIT_STATE;
    }
    if (r) {
        log_error("cannot start: %s%s", strerror(-r), inherited_explain(-r));
        return EXIT_SYSTEM;
    }
    struct client *client = clients_next(&core->clients, 0);
    for (; client; client = clients_next(&core->clients, client->slot + 1)) {
        client->counts = client_files_counts(takeover->ledgers, client->slot);
        client->returns = client_files_returns(takeover->ledgers, client->slot);
        core_find_unit(core, client);
        sharing_deliver(core, client); /* what the last server was about to */
    }
    char direct[TEXT_BYTES_MAX];
    char leased[TEXT_BYTES_MAX];
    log_info("recovered in %.1f ms: %u clients, %llu direct blocks (%s), %s leased",
             (double)(loop_now().us - before.us) / 1000.0,
             core->clients.n_live + core->clients.n_ended,
             (unsigned long long)core->direct.n_blocks,
             text_format_bytes(core->direct.used_bytes, direct, sizeof(direct)),
             text_format_bytes(core->leases.n_pages << PAGE_SHIFT, leased, sizeof(leased)));
    return 0;
}

int takeover_core(struct takeover *takeover, const struct core_config *config,
                  struct core *ret_core)
{
    int r = state_fits(takeover->files->state_fd, config->n_pages);
    if (r == STATE_E_FOREIGN) {
        log_error("segment \"%s\" can not be served: its state has another layout, or is of a "
                  "segment of another size",
                  config->segment_name);
        return EXIT_STATE;
    }
    r = r ? r : state_lock(takeover);
    KMEM_CRASH_POINT("server.locked");
    r = r ? r : state_map(takeover, config->n_pages);
    if (r == 0 && !state_is_new(takeover->state_base)) {
        return core_recover(takeover, config, ret_core);
    }
    r = r ? r : core_init(ret_core, config, takeover->state_base, loop_now().ms);
    if (r) {
        log_error("cannot start: %s%s", strerror(-r), inherited_explain(-r));
    }
    return r ? EXIT_SYSTEM : 0;
}

static int client_watch(const struct takeover *takeover, const struct core *core, uint32_t slot)
{
    struct inherited_fds *files = takeover->files;
    const struct client *client = clients_next(&core->clients, slot);
    if (!client || client->slot != slot) {
        /* Of a client that was finalized, or was not answered yet. */
        client_files_close(takeover->ledgers, slot);
    }
    const bool is_lost = client && client->slot == slot && client->lost;
    if (!client_files_states(takeover->ledgers, slot) && !is_lost) {
        if (inherited_fds_has(files, slot)) {
            keeper_link_drop(takeover->keeper_link, slot);
        }
        inherited_fds_drop(files, slot);
        return 0;
    }
    const int way_fd = files->way_fds[slot];
    files->way_fds[slot] = -1; /* the ways' */
    const int no_way = way_fd >= 0 ? ways_open(takeover->ways, slot, way_fd) : 0;
    if (no_way) {
        return no_way;
    }
    fd_drop(&files->ledger_fds[slot]); /* of another, if there is one */
    const int pidfd = files->pidfds[slot];
    files->pidfds[slot] = -1; /* the pidfd watch's */
    if (is_lost && pidfd < 0) {
        return 0; /* its end can not be seen */
    }
    return pidfd_watch_watch(takeover->pidfds, slot, pidfd);
}

int takeover_watch(struct takeover *takeover, const struct core *core)
{
    for (uint32_t slot = 0; slot < CLIENTS_MAX; slot++) {
        const int r = client_watch(takeover, core, slot);
        if (r) {
            log_error("cannot start: the process in slot %u can not be watched: %s", slot,
                      strerror(-r));
            return EXIT_SYSTEM;
        }
    }
    return 0;
}

void takeover_fini(struct takeover *takeover)
{
    (void)munmap(takeover->state_base, takeover->state_bytes); /* the process ends */
}

static int state_check(const struct options *options, int fd)
{
    const uint32_t n_pages = (uint32_t)(options->most_bytes >> PAGE_SHIFT);
    struct state state;
    const int r = state_fits(fd, n_pages);
    if (r) {
        return r;
    }
    void *base = mmap(NULL, state_bytes(n_pages), PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    return base == MAP_FAILED ? -errno : state_attach(&state, base, n_pages);
}

int takeover_check(const struct options *options, const struct inherited_fds *files)
{
    int r = state_check(options, files->state_fd);
    if (r > 0) {
        log_error("kmemd %s can not go on with segment \"%s\": the state that is there has another "
                  "layout, or is of a segment of another size",
                  KMEM_VERSION, options->name);
        return EXIT_STATE;
    }
    r = r ? r : control_send(files->check_fd, CONTROL_FITS, PROTOCOL_VERSION, NULL, 0, 0);
    if (r) {
        log_error("kmemd %s can not look at segment \"%s\": %s", KMEM_VERSION, options->name,
                  strerror(-r));
    }
    return r ? EXIT_SYSTEM : 0;
}
