/* SPDX-License-Identifier: MIT */
/*
 * Does Welcome add up? Version, sizes, exactly the descriptors that it announces; of those a client
 * may lack the last, its way back, if this process can have no more.
 */
#include "client/link/welcome.h"

#include <errno.h>
#include <unistd.h>

#include "proto/text.h"

KMEM_MUST_USE static int welcome_refuse(const struct conn *conn, struct failure *failure,
                                        const char *what)
{
    return kmem__failure_set(failure, EPROTO, "the daemon at %s welcomes with %s", conn->path,
                             what);
}

KMEM_MUST_USE static int welcome_check_sizes(const struct conn *conn, const Kmem__Welcome *said,
                                             struct failure *failure)
{
    if (PROTOCOL_MAJOR(said->version) != PROTOCOL_MAJOR(PROTOCOL_VERSION)) {
        return kmem__failure_set(failure, EPROTONOSUPPORT,
                                 "the daemon at %s speaks protocol version %u, this library %u; "
                                 "install the same version of both",
                                 conn->path, PROTOCOL_MAJOR(said->version),
                                 PROTOCOL_MAJOR(PROTOCOL_VERSION));
    }
    if (said->page_bytes != PAGE_BYTES) {
        return welcome_refuse(conn, failure, "pages of another size");
    }
    if (said->segment_bytes < SEGMENT_MIN_BYTES || said->segment_bytes > SEGMENT_MAX_BYTES ||
        said->segment_bytes % PAGE_BYTES != 0) {
        return welcome_refuse(conn, failure, "a segment of an impossible size");
    }
    if (said->granule_bytes < PAGE_BYTES || said->granule_bytes > GRANULE_MAX_BYTES ||
        (said->granule_bytes & (said->granule_bytes - 1)) != 0) {
        return welcome_refuse(conn, failure, "an impossible granule");
    }
    return 0;
}

/* A client that comes back has mapped the files already. */
static bool welcome_needs_files(const struct conn *conn, const Kmem__Welcome *said)
{
    return conn->ticket.nonce == 0 || !said->resumed;
}

/* How many descriptors there must be. One more, if it is there, is a way back. */
static unsigned int welcome_n_wanted(const struct conn *conn, const Kmem__Welcome *said,
                                     Kmem__Role role)
{
    if (conn->is_way) {
        return 1; /* the connection */
    }
    return role != KMEM__ROLE__ROLE_OBSERVER && welcome_needs_files(conn, said)
               ? WELCOME_DESCRIPTORS
               : 0;
}

KMEM_MUST_USE static int welcome_check_descriptors(const struct conn *conn,
                                                   const Kmem__Welcome *said, Kmem__Role role,
                                                   const struct descriptors *descriptors,
                                                   struct failure *failure)
{
    const unsigned int n_wanted = welcome_n_wanted(conn, said, role);
    const unsigned int n_most = role != KMEM__ROLE__ROLE_OBSERVER ? WELCOME_DESCRIPTORS_MAX : 0;
    if (descriptors->is_truncated && descriptors->n_fds < n_wanted) {
        return kmem__failure_set(failure, EMFILE,
                                 "this process can not have another descriptor for the %s; "
                                 "raise its RLIMIT_NOFILE",
                                 conn->is_way ? "connection" : "segment");
    }
    if (descriptors->n_fds < n_wanted || said->n_descriptors > n_most ||
        (descriptors->is_truncated ? descriptors->n_fds >= said->n_descriptors
                                   : descriptors->n_fds != said->n_descriptors)) {
        return welcome_refuse(conn, failure, "other descriptors than it should");
    }
    return 0;
}

/* What came is the welcome's now; see welcome_check_descriptors(). */
static void welcome_take_descriptors(const struct conn *conn, const struct descriptors *descriptors,
                                     struct welcome *ret_welcome)
{
    const int n_fds = (int)descriptors->n_fds;
    const int *fd = descriptors->fd;
    ret_welcome->segment_fd = !conn->is_way && n_fds > 0 ? fd[0] : -1;
    ret_welcome->ledger_fd = !conn->is_way && n_fds > 1 ? fd[1] : -1;
    ret_welcome->clock_fd = !conn->is_way && n_fds > 2 ? fd[2] : -1;
    ret_welcome->way_fd = conn->is_way ? fd[0] : (n_fds > 3 ? fd[3] : -1);
}

int kmem__welcome_check(const struct conn *conn, const Kmem__Welcome *said, Kmem__Role role,
                        const struct descriptors *descriptors, struct welcome *ret_welcome,
                        struct failure *failure)
{
    int r = welcome_check_sizes(conn, said, failure);
    r = r ? r : welcome_check_descriptors(conn, said, role, descriptors, failure);
    if (r == 0) {
        (void)text_clean(said->segment_name, ret_welcome->segment_name,
                         sizeof(ret_welcome->segment_name));
        ret_welcome->segment_bytes = said->segment_bytes;
        ret_welcome->instance = said->instance;
        ret_welcome->granule_bytes = said->granule_bytes;
        ret_welcome->slot = said->slot;
        ret_welcome->nonce = said->resume_nonce;
        ret_welcome->is_resumed = said->resumed;
        ret_welcome->is_reader = role == KMEM__ROLE__ROLE_READER;
        ret_welcome->is_walled = said->walled;
        ret_welcome->dumps = said->dumps;
        welcome_take_descriptors(conn, descriptors, ret_welcome);
    }
    return r;
}

void kmem__welcome_close(struct welcome *welcome)
{
    int *const fds[] = {&welcome->segment_fd, &welcome->ledger_fd, &welcome->clock_fd,
                        &welcome->way_fd};
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (*fds[i] >= 0) {
            (void)close(*fds[i]); /* nothing was written through it */
            *fds[i] = -1;
        }
    }
}
