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
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/control.h"
#include "daemon/server/peer_identity.h"
#include "daemon/inherited.h"
#include "daemon/log.h"
#include "daemon/core/recover.h"
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
static int state_lock(const struct server *server)
{
    static const struct timespec pause = {.tv_nsec = LOCK_PAUSE_MS * 1000000L};
    struct flock lock = {
        .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = STATE_LOCK_SERVER, .l_len = 1};
    int r = -EAGAIN;
    for (int waited_ms = 0; r == -EAGAIN && waited_ms < LOCK_PATIENCE_MS;
         waited_ms += LOCK_PAUSE_MS) {
        keeper_link_alive(&server->keeper_link);
        r = fcntl(server->state_fd, F_SETLK, &lock) < 0 ? -errno : 0;
        if (r == -EACCES || r == -EAGAIN) {
            r = -EAGAIN;
            (void)nanosleep(&pause, NULL); /* shorter if a signal comes */
        }
    }
    return r;
}

static int state_map(struct server *server, uint32_t n_pages)
{
    server->state_bytes = state_bytes(n_pages);
    void *base = mmap(NULL, server->state_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                      server->state_fd, 0);
    if (base == MAP_FAILED) {
        return -errno;
    }
    server->state_base = base;
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
    const uint64_t inode = identity_inode_of(pidfd);
    if (word != 0 && inode != 0 && stored->inode != 0) {
        return inode == stored->inode ? 0 : CLIENTS_E_GONE;
    }
    long pid_of_files = 0;
    const int r = identity_pid_of(pidfd, &pid_of_files);
    if (r || pid == 0 || pid_of_files == 0) {
        return r == -ESRCH ? 0 : r; /* without a /proc nothing says that they are another's */
    }
    if (pid_of_files > 0) {
        return pid_of_files == (long)pid ? 0 : CLIENTS_E_GONE;
    }
    const int living_fd = identity_open(&identity);
    if (living_fd >= 0) {
        (void)close(living_fd); /* nothing is written through it */
    }
    return living_fd >= 0 ? CLIENTS_E_GONE : (living_fd == -ESRCH ? 0 : living_fd);
}

/* Return: 0, also if the slot's files are of no use and closed; or a negative errno. */
static int kept_take(struct server *server, const struct state_client *stored, uint32_t slot)
{
    int *ledger_fd = &server->files->ledger_fds[slot];
    int r = files_fit(stored, server->files->pidfds[slot]);
    if (r < 0) {
        return r;
    }
    if (r == CLIENTS_E_GONE) {
        fd_drop(ledger_fd);
        fd_drop(&server->files->way_fds[slot]);
        return 0;
    }
    r = ledgers_adopt(&server->ledgers, slot, *ledger_fd);
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
static int ledgers_take(struct server *server, const struct core_config *config)
{
    struct state state;
    if (state_attach(&state, server->state_base, config->n_pages)) {
        return 0; /* recover() refuses it */
    }
    for (uint32_t slot = 0; slot < CLIENTS_MAX; slot++) {
        if (server->files->ledger_fds[slot] < 0 || server->files->pidfds[slot] < 0) {
            continue;
        }
        if (slot % ALIVE_CLIENTS == 0) {
            keeper_link_alive(&server->keeper_link);
        }
        const int r = kept_take(server, &state.clients[slot], slot);
        if (r) {
            return r;
        }
    }
    return 0;
}

/* core_watch_fn: one without a ledger. Its descriptor is among the files until takeover_watch(). */
static int watch_lost(uint32_t slot, const struct client_identity *identity, void *user)
{
    const struct server *server = user;
    int *kept = &server->files->pidfds[slot];
    const bool is_kept =
        *kept >= 0 && identity->inode != 0 && identity_inode_of(*kept) == identity->inode;
    const int pidfd = is_kept ? *kept : identity_open(identity);
    if (is_kept && identity_has_ended(pidfd)) {
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
    log_error("the ledger of process %s (%s) was lost: it keeps what it has until %s ends, and can "
              "have no more",
              client_pid_text(identity->pid, pid), identity->command,
              pidfd >= 0 ? "it" : "the daemon, which can not see the process,");
    return 0;
}

static _Atomic uint64_t *states_of(uint32_t slot, void *user)
{
    const struct server *server = user;
    return ledgers_states(&server->ledgers, slot);
}

static int core_recover(struct server *server, const struct core_config *config)
{
    char why[256];
    const struct now before = server_now();
    struct core_config watching = *config;
    watching.watch = watch_lost;
    watching.watch_user = server;
    int r = ledgers_take(server, config);
    r = r ? r
          : recover(&server->core, &watching, server->state_base, states_of, server, before.ms, why,
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
    const struct core *core = &server->core;
    struct client *client = clients_next(&core->clients, 0);
    for (; client; client = clients_next(&core->clients, client->slot + 1)) {
        client->counts = ledgers_counts(&server->ledgers, client->slot);
    }
    char direct[TEXT_BYTES_MAX];
    char leased[TEXT_BYTES_MAX];
    log_info("recovered in %.1f ms: %u clients, %llu direct blocks (%s), %s leased",
             (double)(server_now().us - before.us) / 1000.0,
             core->clients.n_live + core->clients.n_ended,
             (unsigned long long)core->direct.n_blocks,
             text_format_bytes(core->direct.used_bytes, direct, sizeof(direct)),
             text_format_bytes(core->leases.n_pages << PAGE_SHIFT, leased, sizeof(leased)));
    return 0;
}

int takeover(struct server *server, const struct core_config *config)
{
    int r = state_fits(server->state_fd, config->n_pages);
    if (r == STATE_E_FOREIGN) {
        log_error("segment \"%s\" can not be served: its state has another layout, or is of a "
                  "segment of another size",
                  config->segment_name);
        return EXIT_STATE;
    }
    r = r ? r : state_lock(server);
    KMEM_CRASH_POINT("server.locked");
    if (r == 0) {
        r = state_map(server, config->n_pages);
    }
    if (r == 0 && !state_is_new(server->state_base)) {
        return core_recover(server, config);
    }
    if (r == 0) {
        r = core_init(&server->core, config, server->state_base, server_now().ms);
    }
    if (r) {
        log_error("cannot start: %s%s", strerror(-r), inherited_explain(-r));
    }
    return r ? EXIT_SYSTEM : 0;
}

static int client_watch(struct server *server, uint32_t slot)
{
    struct inherited_fds *files = server->files;
    const struct client *client = clients_next(&server->core.clients, slot);
    if (!client || client->slot != slot) {
        ledgers_close(&server->ledgers, slot); /* of one that was buried, or was not answered yet */
    }
    const bool is_lost = client && client->slot == slot && client->lost;
    if (!ledgers_states(&server->ledgers, slot) && !is_lost) {
        if (inherited_fds_has(files, slot)) {
            keeper_link_drop(&server->keeper_link, slot);
        }
        inherited_fds_drop(files, slot);
        return 0;
    }
    const int way_fd = files->way_fds[slot];
    files->way_fds[slot] = -1; /* the ways' */
    const int no_way = way_fd >= 0 ? ways_open(&server->ways, slot, way_fd) : 0;
    if (no_way) {
        return no_way;
    }
    fd_drop(&files->ledger_fds[slot]); /* of another, if there is one */
    const int pidfd = files->pidfds[slot];
    files->pidfds[slot] = -1; /* the pidfd watch's */
    if (is_lost && pidfd < 0) {
        return 0; /* its end can not be seen */
    }
    return pidfd_watch_watch(&server->pidfds, slot, pidfd);
}

int takeover_watch(struct server *server)
{
    for (uint32_t slot = 0; slot < CLIENTS_MAX; slot++) {
        const int r = client_watch(server, slot);
        if (r) {
            log_error("cannot start: the process in slot %u can not be watched: %s", slot,
                      strerror(-r));
            return EXIT_SYSTEM;
        }
    }
    return 0;
}

static int state_check(const struct options *options, int fd)
{
    const uint32_t n_pages = (uint32_t)(options->segment_bytes >> PAGE_SHIFT);
    struct state state;
    const int r = state_fits(fd, n_pages);
    if (r) {
        return r;
    }
    void *base = mmap(NULL, state_bytes(n_pages), PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, 0);
    return base == MAP_FAILED ? -errno : state_attach(&state, base, n_pages);
}

int server_check(const struct options *options, const struct inherited_fds *files)
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
