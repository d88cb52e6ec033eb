/* SPDX-License-Identifier: MIT */
/*
 * admission.c - who a connection is of, and whether it may stay
 *
 * It is decided before a byte is read. A peer that is refused is told why, and so is the log.
 */
#include "daemon/server/admission.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/server/loop.h"
#include "daemon/server/peer_identity.h"
#include "daemon/server/session_host.h"
#include "proto/crash_point.h"

static void admission_hello_late(uv_timer_t *timer)
{
    struct session *session = timer->data;
    if (log_shows(LOG_LEVEL_DEBUG) && session_may_log(session)) {
        char pid[PID_TEXT_BYTES];
        log_debug("process %s connected and did not say Hello within %d ms",
                  client_pid_text(session->peer.identity.pid, pid), HELLO_TIMEOUT_MS);
    }
    session_hang_up(session, "Hello did not come in time");
}

/* Answers before anything was asked, and ends the connection. */
static void admission_refuse(struct session *session, Kmem__ErrorCode code, const char *why)
{
    struct session_host *host = session->host;
    const struct client_identity *who = &session->peer.identity;
    char pid[PID_TEXT_BYTES];
    host->core->state.counters->connections_refused++;
    (void)client_pid_text(who->pid, pid); /* its buffer */
    if (session_may_log(session)) {
        log_write_about(LOG_LEVEL_WARNING, &(struct journal_about){.client_pid = who->pid},
                        "process %s of user %u is refused: %s", pid, who->uid, why);
    }
    reply_reset(host->reply, 0);
    reply_error(host->reply, code, "kmemd refuses process %s of user %u: %s", pid, who->uid, why);
    (void)session_answer(session, false); /* closed in any case */
    session_close(session);
}

static void reply_no_descriptor(struct reply *reply)
{
    reply_reset(reply, 0);
    reply_error(reply, KMEM__ERROR_CODE__ERROR_LIMIT,
                "kmemd has no descriptor left for another connection; try again, or raise its "
                "RLIMIT_NOFILE, or the system's fs.file-max");
}

void admission_refuse_unseen(struct session_host *host, int fd)
{
    host->core->state.counters->connections_refused++;
    reply_no_descriptor(host->reply);
    const size_t n_bytes = session_host_encode(host);
    (void)send(fd, host->frame, n_bytes, MSG_NOSIGNAL | MSG_DONTWAIT); /* closed in any case */
    (void)close(fd);                                                   /* likewise */
}

/* Tells the peer why its connection may not stay, for whom it would be one too many. */
static void admission_refuse_more(struct session *session, int why)
{
    const struct users_limits *limits = &session->host->users->limits;
    Kmem__ErrorCode code = KMEM__ERROR_CODE__ERROR_LIMIT;
    char sentence[256] = "there are as many connections as RLIMIT_NOFILE of kmemd allows";
    if (why == USERS_E_USER) {
        (void)snprintf(sentence, sizeof(sentence),
                       "it has as many connections as --connections-per-uid allows one user, %u",
                       limits->n_connections); /* fits */
    } else if (why == USERS_E_PROCESS) {
        (void)snprintf(sentence, sizeof(sentence),
                       "the process has more connections than any needs, %d",
                       PROCESS_CONNECTIONS_MAX); /* fits */
    } else if (why == USERS_E_USER_PENDING) {
        code = KMEM__ERROR_CODE__ERROR_BUSY;
        (void)snprintf(sentence, sizeof(sentence),
                       "it has as many connections that have not said Hello as "
                       "--handshakes-per-uid allows one user, %u; try again",
                       limits->n_pending_of_user); /* fits */
    } else if (why == USERS_E_PENDING) {
        code = KMEM__ERROR_CODE__ERROR_BUSY;
        (void)snprintf(sentence, sizeof(sentence),
                       "%u connections of all users have not said Hello, as many as may while "
                       "RLIMIT_NOFILE of kmemd is what it is; try again",
                       limits->n_pending); /* fits */
    }
    admission_refuse(session, code, sentence);
}

/* One that can not be seen is known by its inode; its user's processes share the rest. */
static uint32_t arrival_pid(const struct client_identity *identity)
{
    return identity->pid != 0 ? identity->pid : (uint32_t)identity->inode;
}

/*
 * Return: 0, an answer of users_charge(), or a negative errno. A client that comes back by its way
 * has a place.
 */
int admission_charge(struct session *session, bool is_back)
{
    struct session_host *host = session->host;
    struct clients *clients = &host->core->clients;
    const struct client_identity *identity = &session->peer.identity;
    const struct arrival arrival = {
        .pid = arrival_pid(identity),
        .uid = identity->uid,
        .is_admin = core_is_admin(host->core, identity->uid),
        .is_client = is_back || clients_find_away(clients, identity) != NULL,
        .is_back = is_back,
        .n_clients = clients->n_live + clients->n_ended,
    };
    session->charge.session = session;
    return users_charge(host->users, &arrival, &session->charge);
}

/* The peer can not be served, or not now. */
static void admission_refuse_unknown(struct session *session, int why)
{
    if (session_is_out_of_descriptors(why)) {
        session->host->core->state.counters->connections_refused++;
        reply_no_descriptor(session->host->reply);
        (void)session_answer(session, false); /* closed in any case */
        session_close(session);
    } else if (why == IDENTITY_E_ENDED) {
        admission_refuse(session, KMEM__ERROR_CODE__ERROR_DENIED,
                         "it ended after it had connected; who has its socket now connects anew");
    } else if (why == IDENTITY_E_UNSEEN) {
        admission_refuse(
            session, KMEM__ERROR_CODE__ERROR_DENIED,
            "kmemd can not see it (another pid namespace, hidepid=, no /proc), and this "
            "kernel can not tell when it ends; Linux 6.5 can");
    } else {
        admission_refuse(session, KMEM__ERROR_CODE__ERROR_BUSY, uv_strerror(why));
    }
}

/*
 * Of clients with the pid of a process that lives, ends those that are dead: the pid was another
 * process's before the loop has told of the first one's end.
 */
static void admission_end_namesakes(const struct admission *admission, uint32_t pid)
{
    const struct clients *clients = &admission->host->core->clients;
    const struct client *client = clients_next(clients, 0);
    for (; client && pid != 0; client = clients_next(clients, client->slot + 1)) {
        if (client->identity.pid == pid && client->client_state == CLIENT_LIVE) {
            pidfd_watch_look(admission->pidfds, client->slot);
        }
    }
}

static_assert(OPTION_PRINCIPALS_MAX + 1 == PRINCIPALS_MAX, "those of an option, and its group");

static void roles_add_all(struct roles *roles, enum role_list list,
                          const struct option_principals *principals)
{
    for (uint32_t i = 0; i < principals->n; i++) {
        const struct principal principal = {principals->list[i].is_group, principals->list[i].id};
        const int r = roles_add(roles, list, principal);
        KMEM_ASSERT(r == 0);
    }
}

void admission_roles(const struct options *options, uint32_t owner_uid, struct roles *ret_roles)
{
    struct option_principals group = {.list = {{true, options->group}}, .n = options->has_group};
    *ret_roles = (struct roles){.owner_uid = owner_uid};
    roles_add_all(ret_roles, ROLES_MEMBERS, &group);
    roles_add_all(ret_roles, ROLES_MEMBERS, &options->members);
    group.list[0].id = options->reader_group;
    group.n = options->has_reader_group;
    roles_add_all(ret_roles, ROLES_READERS, &group);
    roles_add_all(ret_roles, ROLES_READERS, &options->reader_users);
    roles_add_all(ret_roles, ROLES_OBSERVERS, &options->observers);
    roles_add_all(ret_roles, ROLES_ADMINS, &options->admins);
}

/*
 * What the peer may be is noted. Return: whether it may ask for anything. A client that comes back
 * may whatever its user is named in by now: it joined when that was allowed.
 */
static bool admission_allows(const struct admission *admission, struct session *session, int fd)
{
    struct peer *peer = &session->peer;
    peer->may_be = peer_identity_roles(fd, &peer->identity, admission->roles);
    return peer->may_be != 0 ||
           clients_find_away(&admission->host->core->clients, &peer->identity) != NULL;
}

/* Reads from the peer if it may join, else refuses and closes it. */
static void admission_begin(const struct admission *admission, struct session *session, int fd)
{
    struct client_identity identity = {.command = "?"};
    uint64_t nonce = 0;
    KMEM_CRASH_POINT("server.accepted");
    int r = loop_reserve(admission->host->loop, fd);
    r = r ? r : peer_identity_read(fd, &identity, &session->pidfd);
    if (r == 0 && getrandom(&nonce, sizeof(nonce), 0) < 0) {
        r = -errno;
    }
    nonce += nonce == 0; /* 0 stands for none */
    peer_init(&session->peer, &identity, nonce);
    if (r) {
        admission_refuse_unknown(session, r);
        return;
    }
    admission_end_namesakes(admission, identity.pid);
    if (!admission_allows(admission, session, fd)) {
        admission_refuse(session, KMEM__ERROR_CODE__ERROR_DENIED,
                         "only root, the daemon's user and the group given with --group may join, "
                         "and for reading that given with --reader-group; beside them those that "
                         "members, reader-users, observers and admins name");
        return;
    }
    r = admission_charge(session, false);
    if (r > 0) {
        admission_refuse_more(session, r);
        return;
    }
    if (r || uv_timer_start(&session->timer, admission_hello_late, HELLO_TIMEOUT_MS, 0)) {
        session->host->core->state.counters->connections_refused++;
        session_close(session);
        return;
    }
    if (session->charge.n_descriptors == 0) {
        session_close_pidfd(session); /* its client's process is watched already */
    }
    session_read_start(session);
}

int admission_accept(const struct admission *admission)
{
    struct session *session = session_new(admission->host);
    if (!session) {
        return -ENOMEM;
    }
    const int fd = listener_accept(admission->listener);
    if (fd < 0) {
        free(session);
        return fd;
    }
    if (session_open(session, fd) == 0) {
        admission_begin(admission, session, fd);
    }
    return 0;
}
