/* SPDX-License-Identifier: MIT */
/*
 * Before a program trusts a daemon with its reasons, and a segment with its bytes, four questions
 * are answered, in this order:
 *
 *      does one listen?         connect(), place after place (locate.c)
 *      is it the daemon?        SO_PEERCRED: root, this user, or the owner of its directory; one
 *                               that this user namespace has no number for: if it was mounted here
 *      does it take us?         Hello, Welcome
 *      does Welcome add up?     version, sizes, exactly the descriptors that it announces
 *
 * The second stands before the third because a path in a directory that others may write to can be
 * taken by any process: an impostor would learn what the program says, and hand it memory that it
 * controls. Nothing is written to a server that fails it.
 *
 * A daemon may be busy with what this process left behind a moment ago, before an exec say, and ask
 * to come again. Only this process waits for that, so it is done here, over a new connection.
 */
#include "client/link/handshake.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "client/link/descriptor.h"
#include "client/link/image.h"
#include "client/link/locate.h"
#include "client/link/notice.h"
#include "client/link/refusal.h"
#include "proto/crash_point.h"

enum {
    HELLO_OK,
    HELLO_E_ABSENT, /* no daemon is there: try the next place */
    HELLO_E_BUSY,   /* come again */
};

/*
 * What the kernel says for a user whom this user namespace does not know. It names no user, so two
 * of them being equal proves nothing.
 */
#define OVERFLOW_UID ((uid_t)65534)

/* ------------------------------------------------------------------------ does one listen? ---- */

/* A directory that this user may not enter hides what is in it: nothing may be there, too. */
static void handshake_explain_denied(const struct place *place, struct failure *failure)
{
    const unsigned int uid = geteuid();
    struct stat there;
    if (lstat(place->path, &there) == 0) {
        kmem__failure_add(failure, "; this user (uid %u) may not use that daemon", uid);
        return;
    }
    kmem__failure_add(failure,
                      "; this user (uid %u) may not look into that directory, so that it can not "
                      "be told whether there is such a segment: join the group of its daemon, or "
                      "name another segment (KMEM_SEGMENT, KMEM_SOCKET)",
                      uid);
}

/* Return: 0; HELLO_E_ABSENT, with place->error set; or a fault. */
KMEM_MUST_USE static int handshake_judge_errno(struct place *place, int error,
                                               struct failure *failure)
{
    if (error == ENOENT || error == ENOTDIR) {
        place->error = ENOENT;
        return HELLO_E_ABSENT;
    }
    if (error == ECONNREFUSED) {
        place->error = ECONNREFUSED;
        return HELLO_E_ABSENT;
    }
    int r = kmem__failure_set(failure, error, "can not connect to %s: %s", place->path,
                              strerror(error));
    if (error == EACCES) {
        handshake_explain_denied(place, failure);
    }
    return r;
}

/* Has connect() wait no longer than that for room in the backlog. */
static void handshake_limit(const struct conn *conn, int64_t deadline_ms)
{
    int64_t left_ms = deadline_ms - kmem__monotonic_ms();
    left_ms = left_ms > 0 ? left_ms : 1; /* 0 would be for ever */
    const struct timeval left = {.tv_sec = left_ms / 1000, .tv_usec = left_ms % 1000 * 1000};
    (void)setsockopt(conn->fd, SOL_SOCKET, SO_SNDTIMEO, &left, sizeof(left)); /* it is a socket */
}

KMEM_MUST_USE static int handshake_connect(struct conn *conn, struct place *place,
                                           int64_t deadline_ms, struct failure *failure)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, place->path, sizeof(place->path));
    if (place->path[0] == '\0') {
        /* To the kernel this would be an abstract name. */
        return handshake_judge_errno(place, ENOENT, failure);
    }
    handshake_limit(conn, deadline_ms);
    while (connect(conn->fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        int error = errno;
        int64_t left_ms = deadline_ms - kmem__monotonic_ms();
        /* EAGAIN: the backlog stayed full for as long as the time limit allowed. */
        if (error == EAGAIN || (error == EINTR && left_ms <= 0)) {
            return kmem__failure_set(failure, ETIMEDOUT, "the daemon at %s accepts no connection",
                                     place->path);
        }
        if (error != EINTR) {
            return handshake_judge_errno(place, error, failure);
        }
        handshake_limit(conn, deadline_ms);
    }
    return 0;
}

/* -------------------------------------------------------------------------- is it the one? ---- */

/* What holds the socket. */
static void directory_path(const char *path, char ret_directory[static SOCKET_PATH_BYTES])
{
    (void)snprintf(ret_directory, SOCKET_PATH_BYTES, "%s", path);
    char *slash = strrchr(ret_directory, '/');
    if (slash == NULL) {
        (void)snprintf(ret_directory, SOCKET_PATH_BYTES, ".");
    } else {
        /* The root directory keeps its slash. */
        slash[slash == ret_directory] = '\0';
    }
}

/*
 * A directory that others may write to, or that is another's, proves nothing: the socket may have
 * been put there in the place of the daemon's, and lead to a segment of theirs.
 */
KMEM_MUST_USE static int handshake_verify_directory(const struct conn *conn, uid_t server,
                                                    const struct stat *directory,
                                                    struct failure *failure)
{
    const uid_t owner = directory->st_uid;
    const bool is_sticky = (directory->st_mode & S_ISVTX) != 0;
    if (!is_sticky && (directory->st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return kmem__failure_set(failure, EPERM,
                                 "others than its owner may replace files in the directory of %s; "
                                 "chmod go-w it",
                                 conn->path);
    }
    /* One without a number here can be root, whom this user namespace does not know. */
    if (owner != 0 && owner != geteuid() && owner != server && owner != OVERFLOW_UID) {
        return kmem__failure_set(failure, EPERM,
                                 "the directory of %s is uid %u's, who is neither root nor this "
                                 "user nor the daemon's; its socket is told nothing",
                                 conn->path, (unsigned int)owner);
    }
    return 0;
}

/*
 * A container knows few users, and the daemon's may be none of them. What vouches for it then is
 * the mount: root of the container, or the process that made it, has put it there. Of a mounted
 * directory only if none but its owner can put a socket into it: /tmp is a mount, too.
 */
KMEM_MUST_USE static int handshake_verify_unknown(const struct conn *conn, const char *path,
                                                  const struct stat *directory,
                                                  struct failure *failure)
{
    const bool is_open = (directory->st_mode & (S_IWGRP | S_IWOTH)) != 0;
    if (kmem__locate_is_mount(conn->path) || (kmem__locate_is_mount(path) && !is_open)) {
        return handshake_verify_directory(conn, OVERFLOW_UID, directory, failure);
    }
    return kmem__failure_set(failure, EPERM,
                             "%s is served by a user that has no number here (uid %u), and neither "
                             "the socket nor a directory that only its owner may write to was "
                             "mounted there; it is told nothing",
                             conn->path, (unsigned int)OVERFLOW_UID);
}

KMEM_MUST_USE static int handshake_verify_server(const struct conn *conn, struct failure *failure)
{
    struct ucred server;
    socklen_t num_bytes = sizeof(server);
    if (getsockopt(conn->fd, SOL_SOCKET, SO_PEERCRED, &server, &num_bytes) < 0) {
        int error = errno;
        return kmem__failure_set(failure, error, "can not tell who listens at %s: %s", conn->path,
                                 strerror(error));
    }
    char path[SOCKET_PATH_BYTES];
    struct stat directory;
    directory_path(conn->path, path);
    const bool is_known = stat(path, &directory) == 0;
    const bool is_owner = is_known && server.uid == directory.st_uid && server.uid != OVERFLOW_UID;
    if (server.uid == 0 && server.pid == 1 && is_known) {
        /* The service manager listens for a daemon that is about to begin: the directory's. */
        return handshake_verify_directory(conn, directory.st_uid, &directory, failure);
    }
    if (server.uid == 0 || server.uid == geteuid() || is_owner) {
        return is_known ? handshake_verify_directory(conn, server.uid, &directory, failure) : 0;
    }
    if (is_known && server.uid == OVERFLOW_UID) {
        return handshake_verify_unknown(conn, path, &directory, failure);
    }
    /* In a container of root the service's user has its number, and shows by its directory. */
    const bool is_alone = is_known && kmem__locate_is_mount(conn->path);
    return kmem__failure_set(failure, EPERM,
                             "%s is served by uid %u, who is neither root nor this user nor the "
                             "owner of its directory; it is told nothing%s",
                             conn->path, (unsigned int)server.uid,
                             is_alone ? "; mount its directory, not the socket alone" : "");
}

/* ------------------------------------------------------------------------ does it take us? ---- */

/* Return: HELLO_OK, HELLO_E_BUSY or a fault. */
KMEM_MUST_USE static int handshake_introduce(struct conn *conn, Kmem__Role role,
                                             struct welcome *ret_welcome, struct failure *failure)
{
    struct descriptors descriptors = {.n_fds = 0};
    const Kmem__Response *response = NULL;
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Hello hello = KMEM__HELLO__INIT;
    hello.version = PROTOCOL_VERSION;
    hello.role = role;
    hello.resume_nonce = conn->ticket.nonce;
    const struct image image = kmem__image();
    hello.program = image.program;
    hello.copy = image.copy;
    hello.wants_way = role != KMEM__ROLE__ROLE_OBSERVER;
    request.body_case = KMEM__REQUEST__BODY_HELLO;
    request.hello = &hello;
    int r = kmem__conn_ask(conn, &request, KMEM__RESPONSE__BODY_WELCOME, &descriptors, &response,
                           failure);
    if (r == CONN_E_REFUSED) {
        r = kmem__refusal_of_hello(response->error, conn->path, failure);
        return response->error->code == KMEM__ERROR_CODE__ERROR_BUSY ? HELLO_E_BUSY : r;
    }
    if (r < 0) {
        return r;
    }
    r = kmem__welcome_check(conn, response->welcome, role, &descriptors, ret_welcome, failure);
    if (r < 0) {
        kmem__descriptors_close(&descriptors);
    }
    return r;
}

/* ---------------------------------------------------------------------------- all together ---- */

KMEM_MUST_USE static int handshake_at_numbers(struct conn *conn, struct place *place,
                                              Kmem__Role role, int64_t deadline_ms,
                                              struct welcome *ret_welcome, struct failure *failure)
{
    int64_t left_ms = deadline_ms - kmem__monotonic_ms();
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        int error = errno;
        return kmem__failure_set(failure, error, "can not make a socket: %s", strerror(error));
    }
    fd = kmem__descriptor_raise(fd);
    int r = kmem__conn_open(conn, fd, place->path, left_ms > 0 ? (int)left_ms : 1, failure);
    r = r ? r : handshake_connect(conn, place, deadline_ms, failure);
    KMEM_CRASH_POINT("client.connected");
    r = r ? r : handshake_verify_server(conn, failure);
    r = r ? r : handshake_introduce(conn, role, ret_welcome, failure);
    if (r != HELLO_OK) {
        kmem__conn_close(conn);
    }
    return r;
}

/* Return: HELLO_OK, and conn is open; or HELLO_E_ABSENT, HELLO_E_BUSY or a fault, and it is not. */
KMEM_MUST_USE static int handshake_at(struct conn *conn, struct place *place, Kmem__Role role,
                                      int64_t deadline_ms, struct welcome *ret_welcome,
                                      struct failure *failure)
{
    struct standard standard;
    kmem__standard_occupy(&standard);
    const int r = handshake_at_numbers(conn, place, role, deadline_ms, ret_welcome, failure);
    kmem__standard_vacate(&standard);
    return r;
}

/* Return: HELLO_OK, HELLO_E_BUSY or a fault. */
KMEM_MUST_USE static int handshake_somewhere(struct conn *conn, struct places *places,
                                             Kmem__Role role, int64_t deadline_ms,
                                             struct welcome *ret_welcome, struct failure *failure)
{
    for (unsigned int i = 0; i < places->n_places; i++) {
        int r = handshake_at(conn, &places->place[i], role, deadline_ms, ret_welcome, failure);
        if (r != HELLO_E_ABSENT) {
            return r;
        }
    }
    return kmem__locate_explain(places, failure);
}

/* 10 ms: what a daemon needs to finalize clients; more would be felt, less keep it from that. */
#define BUSY_PAUSE_MS INT64_C(10)

static void handshake_pause(void)
{
    const struct timespec pause = {.tv_nsec = BUSY_PAUSE_MS * 1000000};
    (void)nanosleep(&pause, NULL);
}

/* The way that a Welcome has brought is the ticket's from now on. */
static void ticket_take_way(struct ticket *ticket, struct welcome *welcome)
{
    if (welcome->way_fd >= 0) {
        kmem__mark_close(&ticket->way);
        ticket->way = kmem__mark_of(kmem__descriptor_raise(welcome->way_fd));
        ticket->way_id = 0;
        welcome->way_fd = -1;
    }
}

static void ticket_begin(struct ticket *ticket, struct welcome *welcome, Kmem__Role role,
                         int timeout_ms)
{
    *ticket = (struct ticket){
        .nonce = welcome->nonce,
        .sequence = 1,
        .instance = welcome->instance,
        .segment_bytes = welcome->segment_bytes,
        .slot = welcome->slot,
        .is_reader = role == KMEM__ROLE__ROLE_READER,
        .timeout_ms = timeout_ms,
    };
    ticket_take_way(ticket, welcome);
}

/*
 * 1 s: a server that is killed while it answers is followed by another within some 10 ms, which may
 * be killed as well. A listener that closes each connection without a word for longer is no daemon.
 */
#define CUT_PATIENCE_MS 1000

/* Until a daemon welcomes or refuses. Return: HELLO_OK or a fault. */
KMEM_MUST_USE static int handshake_until(struct conn *conn, struct places *places, Kmem__Role role,
                                         int64_t deadline_ms, struct welcome *ret_welcome,
                                         struct failure *failure)
{
    int64_t cut_until_ms = INT64_MAX;
    for (;;) {
        const int r = handshake_somewhere(conn, places, role, deadline_ms, ret_welcome, failure);
        const int64_t now_ms = kmem__monotonic_ms();
        const bool is_cut = r == -ECONNRESET && conn->is_cut && now_ms < cut_until_ms;
        if (is_cut && cut_until_ms == INT64_MAX) {
            /* From the first one: before it, this may have waited for a server to be started. */
            cut_until_ms = now_ms + CUT_PATIENCE_MS;
        }
        /* Behind the pause there must be time for an answer. */
        const bool has_time = now_ms + 2 * BUSY_PAUSE_MS < deadline_ms;
        if ((r != HELLO_E_BUSY && !is_cut) || (is_cut && !has_time)) {
            return r;
        }
        if (!has_time) {
            failure->error = ETIMEDOUT;
            return -ETIMEDOUT;
        }
        handshake_pause();
    }
}

int kmem__handshake(struct conn *conn, const char *socket_path, Kmem__Role role,
                    struct welcome *ret_welcome, struct failure *failure)
{
    struct places places = {.n_places = 0};
    int timeout_ms = 0;
    int r = kmem__locate_timeout(&timeout_ms, failure);
    r = r ? r : kmem__locate_socket(socket_path, &places, failure);
    if (r < 0) {
        return r;
    }
    const int64_t deadline_ms = kmem__monotonic_ms() + timeout_ms;
    r = handshake_until(conn, &places, role, deadline_ms, ret_welcome, failure);
    if (r == HELLO_OK && role != KMEM__ROLE__ROLE_OBSERVER) {
        ticket_begin(&conn->ticket, ret_welcome, role, timeout_ms);
    }
    conn->timeout_ms = timeout_ms; /* from here on the whole time for each answer */
    return r;
}

/* ----------------------------------------------------------------------------- coming back ---- */

int kmem__handshake_observe_again(struct conn *conn, int64_t deadline_ms,
                                  struct welcome *ret_welcome, struct failure *failure)
{
    for (;;) {
        struct places places = {.n_places = 1};
        memcpy(places.place[0].path, conn->path, sizeof(conn->path));
        const int r = handshake_until(conn, &places, KMEM__ROLE__ROLE_OBSERVER, deadline_ms,
                                      ret_welcome, failure);
        const bool is_away = r == -ENOENT || r == -ECONNREFUSED || r == -ECONNRESET;
        if (!is_away || kmem__monotonic_ms() + BUSY_PAUSE_MS >= deadline_ms) {
            return r;
        }
        handshake_pause();
    }
}

static Kmem__Role ticket_role(const struct ticket *ticket)
{
    return ticket->is_reader ? KMEM__ROLE__ROLE_READER : KMEM__ROLE__ROLE_MEMBER;
}

/* Return: 0; or -ECONNRESET: this process is not the client that it was. */
KMEM_MUST_USE static int handshake_check_ticket(struct conn *conn, const struct welcome *welcome,
                                                struct failure *failure)
{
    const struct ticket *ticket = &conn->ticket;
    if (!welcome->is_resumed || welcome->nonce != ticket->nonce ||
        welcome->instance != ticket->instance || welcome->slot != ticket->slot ||
        welcome->segment_bytes != ticket->segment_bytes) {
        conn->ticket.is_gone = true;
        return kmem__conn_lose(conn, failure, ECONNRESET, "takes this process for another client");
    }
    return 0;
}

/* Whether the way is of no use any more: the daemon is gone, the program took it, or it is none. */
static bool way_is_over(const struct conn *conn, int r)
{
    return r == -EPROTO || r == -ENOTSOCK || (r == -ECONNRESET && conn->is_cut);
}

/* A Welcome on the way back: the connection that came with it takes the place of the lost one. */
KMEM_MUST_USE static int handshake_take_connection(struct conn *conn, struct welcome *welcome,
                                                   int64_t deadline_ms, struct failure *failure)
{
    char path[SOCKET_PATH_BYTES];
    const int64_t left_ms = deadline_ms - kmem__monotonic_ms();
    memcpy(path, conn->path, sizeof(path));
    const int r = kmem__conn_open(conn, kmem__descriptor_raise(welcome->way_fd), path,
                                  left_ms > 0 ? (int)left_ms : 1, failure);
    welcome->way_fd = -1; /* the conn's */
    return r;
}

/* Asks on the way back once. Return: HELLO_OK, and conn is open; HELLO_E_BUSY; or a fault. */
KMEM_MUST_USE static int way_ask(struct conn *conn, int patience_ms, int64_t deadline_ms,
                                 struct failure *failure)
{
    struct ticket *ticket = &conn->ticket;
    struct welcome welcome = {.segment_fd = -1, .ledger_fd = -1, .clock_fd = -1, .way_fd = -1};
    conn->fd = ticket->way.fd;
    conn->mark = ticket->way;
    conn->is_way = true;
    conn->is_cut = false;
    conn->last_id = ticket->way_id;
    conn->timeout_ms = patience_ms;
    conn->blocks_ms = INT_MAX; /* it has no time limit of its own */
    struct standard standard;
    kmem__standard_occupy(&standard);
    int r = handshake_introduce(conn, ticket_role(ticket), &welcome, failure);
    ticket->way_id = conn->last_id;
    kmem__conn_close(conn); /* not the way */
    if (r == HELLO_OK) {
        r = handshake_take_connection(conn, &welcome, deadline_ms, failure);
    }
    kmem__standard_vacate(&standard);
    if (r == HELLO_OK) {
        r = handshake_check_ticket(conn, &welcome, failure);
    }
    conn->is_way = false;
    kmem__welcome_close(&welcome);
    return r;
}

/*
 * 50 ms: a server that was killed is followed by the next in less. It may have been killed with our
 * question in its hand, so that is asked again; ever more seldom, since one that is there for the
 * next server to read is enough.
 */
#define WAY_PATIENCE_MS 50

/* Comes back by the way. Return: HELLO_OK; HELLO_E_ABSENT: there is none; or a fault. */
KMEM_MUST_USE static int way_return(struct conn *conn, int64_t deadline_ms, struct failure *failure)
{
    struct ticket *ticket = &conn->ticket;
    int64_t patience_ms = WAY_PATIENCE_MS;
    while (kmem__mark_holds(&ticket->way)) {
        const int64_t left_ms = deadline_ms - kmem__monotonic_ms();
        if (left_ms <= 0) {
            return kmem__failure_set(failure, ETIMEDOUT,
                                     "the daemon at %s did not answer within "
                                     "%d ms",
                                     conn->path, ticket->timeout_ms);
        }
        const int64_t wait_ms = patience_ms < left_ms ? patience_ms : left_ms;
        const int r = way_ask(conn, (int)wait_ms, deadline_ms, failure);
        if (way_is_over(conn, r)) {
            kmem__mark_close(&ticket->way);
            return HELLO_E_ABSENT;
        }
        if (r == HELLO_E_BUSY) {
            handshake_pause();
        } else if (r == -ETIMEDOUT) {
            patience_ms *= 2;
        } else {
            return r;
        }
    }
    return HELLO_E_ABSENT;
}

/* Connects to the path. Return: HELLO_OK, HELLO_E_ABSENT, HELLO_E_BUSY or a fault. */
KMEM_MUST_USE static int handshake_resume_at(struct conn *conn, struct place *place,
                                             int64_t deadline_ms, struct failure *failure)
{
    struct welcome welcome = {.segment_fd = -1, .ledger_fd = -1, .clock_fd = -1, .way_fd = -1};
    memcpy(place->path, conn->path, sizeof(place->path));
    int r = handshake_at(conn, place, ticket_role(&conn->ticket), deadline_ms, &welcome, failure);
    if (r == HELLO_OK) {
        r = handshake_check_ticket(conn, &welcome, failure);
        if (r == HELLO_OK) {
            ticket_take_way(&conn->ticket, &welcome);
        }
        kmem__welcome_close(&welcome); /* of another client, if any */
    } else if (r == -ECONNRESET && conn->is_cut) {
        r = HELLO_E_ABSENT; /* it ended again */
    }
    return r;
}

/* One try. Return: HELLO_OK, HELLO_E_ABSENT, HELLO_E_BUSY or a fault. */
KMEM_MUST_USE static int handshake_resume(struct conn *conn, int64_t deadline_ms,
                                          bool *ret_is_missing, struct failure *failure)
{
    struct place place = {.error = 0};
    KMEM_CRASH_POINT("client.resuming");
    int r = way_return(conn, deadline_ms, failure);
    if (r == HELLO_E_ABSENT) {
        r = handshake_resume_at(conn, &place, deadline_ms, failure);
    }
    KMEM_CRASH_POINT("client.resumed");
    *ret_is_missing = r == HELLO_E_ABSENT && place.error == ENOENT;
    return r;
}

/* The daemon has said that it does not know this client, or that it is another's. */
static bool handshake_is_final(int r)
{
    return r == -EACCES || r == -ECONNRESET;
}

/* Of this process or the system something is used up: at another time it may do. */
static bool handshake_is_passing(int r)
{
    return r == -EMFILE || r == -ENFILE || r == -ENOMEM;
}

/*
 * 1 s: a daemon that ends as it should removes its socket, and its supervisor may start it
 * anew. One that is killed leaves the socket, which says nothing about when it comes back.
 */
#define MISSING_PATIENCE_MS 1000

int kmem__handshake_again(struct conn *conn, int64_t deadline_ms, struct failure *failure)
{
    struct ticket *ticket = &conn->ticket;
    const int64_t missing_until_ms = kmem__monotonic_ms() + MISSING_PATIENCE_MS;
    for (;;) {
        bool is_missing;
        const int r = handshake_resume(conn, deadline_ms, &is_missing, failure);
        if (r == HELLO_OK) {
            ticket->was_vain = false;
            return 0;
        }
        /* Another daemon may answer there by now: a segment that no process has has ended. */
        const int ended = ticket->notice != NULL ? kmem__notice_ask(ticket->notice, failure) : 0;
        ticket->is_gone = ticket->is_gone || ended < 0 || handshake_is_final(r);
        if (ended < 0) {
            return ended;
        }
        conn->is_cut = conn->is_cut || handshake_is_passing(r);
        if (r < 0) {
            return r;
        }
        const bool is_awaited =
            ticket->notice != NULL && kmem__notice_is_suspended(ticket->notice); /* by a restart */
        const int64_t until_ms = is_missing && !is_awaited && missing_until_ms < deadline_ms
                                     ? missing_until_ms
                                     : deadline_ms;
        if (ticket->was_vain || kmem__monotonic_ms() + BUSY_PAUSE_MS >= until_ms) {
            ticket->was_vain = true;
            conn->is_cut = true;
            return kmem__failure_set(
                failure, ECONNRESET, "the daemon at %s has ended%s, and none came back", conn->path,
                is_missing ? " and removed its socket, or this process can not see that," : "");
        }
        handshake_pause();
    }
}
