/* SPDX-License-Identifier: MIT */
/*
 * files.c - what can be done to a file that one has a descriptor of
 *
 * What the kernel can be asked to forbid, it forbids: size, seals, mode, another open file. What it
 * can not, locks and holes, stops nobody who does nothing with the file but map it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/hostile/hostile.h"

enum { SEGMENT, LEDGER, CLOCK, N_FILES };

#define DESCRIPTORS_SENT 100
#define MIB (UINT64_C(1) << 20)

/* A request with descriptors attached, which nobody wants. */
static bool send_with_descriptors(int fd, const int *fds, size_t n_fds)
{
    unsigned char frame[64];
    union {
        struct cmsghdr header;
        char space[CMSG_SPACE(DESCRIPTORS_SENT * sizeof(int))];
    } control;
    struct iovec part = {frame, request_pack(request_usage(NEW_REQUEST), frame, sizeof(frame))};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = &control,
                             .msg_controllen = CMSG_SPACE(n_fds * sizeof(int))};
    memset(&control, 0, sizeof(control));
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
    memcpy(CMSG_DATA(&control.header), fds, n_fds * sizeof(int));
    return sendmsg(fd, &message, MSG_NOSIGNAL) >= 0;
}

void attack_descriptors_in(void)
{
    int fds[DESCRIPTORS_SENT];
    int fd = hostile_join(KMEM__ROLE__ROLE_OBSERVER);
    for (size_t i = 0; i < DESCRIPTORS_SENT; i++) {
        fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        must(fds[i] >= 0);
    }
    for (uint64_t n = 0; n < many(200, 20000) && fd >= 0; n++) {
        if (!send_with_descriptors(fd, fds, DESCRIPTORS_SENT) || hostile_hear(fd) < 0) {
            (void)close(fd); /* it may end the connection for that */
            fd = hostile_join(KMEM__ROLE__ROLE_OBSERVER);
        }
    }
    for (size_t i = 0; i < DESCRIPTORS_SENT; i++) {
        (void)close(fds[i]);
    }
    (void)close(fd);
}

static void try_to_change(int fd)
{
    struct stat before;
    struct stat after;
    must(fstat(fd, &before) == 0);
    must(ftruncate(fd, 0) < 0);
    must(ftruncate(fd, before.st_size * 2) < 0);
    must(fallocate(fd, 0, before.st_size, 4096) < 0);
    must(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 4096) < 0);
    must(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) < 0);
    must(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0);
    must(fchmod(fd, 0777) < 0);
    must(fchown(fd, getuid(), getgid()) < 0);
    must(fcntl(fd, F_SETLEASE, F_WRLCK) < 0);
    must(fstat(fd, &after) == 0);
    must(before.st_size == after.st_size && before.st_mode == after.st_mode &&
         before.st_uid == after.st_uid);
}

void attack_seals(void)
{
    struct wire_descriptors descriptors;
    const int fd = hostile_member(&descriptors);
    for (uint64_t n = 0; n < many(20, 5000); n++) {
        for (size_t i = SEGMENT; i < N_FILES; i++) {
            try_to_change(descriptors.fds[i]);
        }
    }
    must(pwrite(descriptors.fds[CLOCK], "x", 1, CLOCK_TICK_AT) < 0);
    must(mmap(NULL, CLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, descriptors.fds[CLOCK], 0) ==
         MAP_FAILED);
    hostile_drop(fd, &descriptors);
}

static void must_not_open(const char *format, int first, int second)
{
    static const int ways[] = {O_RDONLY, O_RDWR, O_WRONLY | O_TRUNC};
    char path[64];
    (void)snprintf(path, sizeof(path), format, first, second);
    for (size_t i = 0; i < 3; i++) {
        must(open(path, ways[i] | O_CLOEXEC) < 0);
    }
}

void attack_reopen(void)
{
    struct wire_descriptors descriptors;
    struct ucred server;
    socklen_t n_bytes = sizeof(server);
    const int fd = hostile_member(&descriptors);
    must(getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &server, &n_bytes) == 0);
    for (uint64_t n = 0; n < many(20, 5000); n++) {
        for (size_t i = SEGMENT; i < N_FILES; i++) {
            must_not_open("/proc/%d/fd/%d", (int)getpid(), descriptors.fds[i]);
        }
        must_not_open("/proc/%d/fd/%d", (int)server.pid, (int)(n % 32)); /* the keeper's */
        must_not_open("/proc/%d/mem", (int)server.pid, 0);
    }
    hostile_drop(fd, &descriptors);
}

/* Every kind of lock on each file, and use of the segment while they are held. */
void attack_locks(void)
{
    struct wire_descriptors descriptors;
    const int fd = hostile_member(&descriptors);
    for (size_t i = SEGMENT; i < N_FILES; i++) {
        struct flock whole = {.l_type = i == CLOCK ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
        (void)flock(descriptors.fds[i], LOCK_EX | LOCK_NB); /* or it is another's */
        (void)fcntl(descriptors.fds[i], F_OFD_SETLK, &whole);
        (void)fcntl(descriptors.fds[i], F_SETLEASE, F_RDLCK);
    }
    for (uint64_t n = 0; n < many(500, 50000); n++) {
        const uint64_t offset = hostile_allocate(fd, 1 + n % 50000, "while it is locked");
        must(offset == 0 || hostile_answer(fd, request_release(NEW_REQUEST, offset)) == ANSWER_OK);
        must(hostile_answer(fd, request_usage(NEW_REQUEST)) == ANSWER_OK);
    }
    hostile_drop(fd, &descriptors);
}

static int punch(int fd, uint64_t from_bytes, uint64_t n_bytes)
{
    return fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from_bytes,
                     (off_t)n_bytes);
}

static struct run_leased {
    uint64_t from_bytes;
    uint64_t n_bytes;
} lease(int fd, uint32_t n_pages)
{
    struct run_leased run = {0, 0};
    Kmem__Response *const response = hostile_ask(fd, request_lease(NEW_REQUEST, n_pages, n_pages));
    if (response != NULL && response->body_case == KMEM__RESPONSE__BODY_LEASED) {
        run.from_bytes = response->leased->page * PAGE_BYTES;
        run.n_bytes = response->leased->n_pages * PAGE_BYTES;
    }
    kmem__response__free_unpacked(response, NULL);
    return run;
}

/* Holes in its own leases, by file and by mapping, while they are written to and come back. */
void attack_own_holes(void)
{
    for (uint64_t n = 0; n < many(4, 500); n++) {
        struct wire_descriptors descriptors;
        const int fd = hostile_member(&descriptors);
        const struct run_leased run = lease(fd, 64);
        if (run.n_bytes > 0) {
            unsigned char *const mem = mmap(NULL, run.n_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                                            descriptors.fds[SEGMENT], (off_t)run.from_bytes);
            must(mem != MAP_FAILED);
            for (unsigned int i = 0; i < 20; i++) {
                memset(mem, 1, run.n_bytes);
                must(madvise(mem, run.n_bytes, MADV_REMOVE) == 0);
                memset(mem, 2, run.n_bytes / 2);
                must(punch(descriptors.fds[SEGMENT], run.from_bytes, run.n_bytes) == 0);
            }
            (void)munmap(mem, run.n_bytes);
        }
        hostile_drop(fd, &descriptors);
    }
}

/* Fills a file and takes it all away, in two calls, until its parent ends it. */
static pid_t puncher_start(int fd, uint64_t n_bytes)
{
    const pid_t pid = fork();
    must(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            (void)fallocate(fd, 0, 0, (off_t)n_bytes); /* as much as there is memory */
            (void)punch(fd, 0, n_bytes);
        }
    }
    return pid;
}

/* What the daemon maps of the ledger goes while it looks, as slowly as the kernel takes it away. */
void attack_ledger_holes(void)
{
    struct wire_descriptors descriptors;
    struct stat status;
    const int fd = hostile_member(&descriptors);
    must(fstat(descriptors.fds[LEDGER], &status) == 0);
    const uint64_t n_bytes = many(16 * MIB, (uint64_t)status.st_size);
    const pid_t puncher = puncher_start(descriptors.fds[LEDGER], n_bytes);
    for (uint64_t n = 0; n < many(40, 20000); n++) {
        (void)lease(fd, 1);
        (void)hostile_answer(fd, request_usage(NEW_REQUEST));
    }
    must(kill(puncher, SIGKILL) == 0);
    must(waitpid(puncher, NULL, 0) == puncher);
    hostile_drop(fd, &descriptors);
}

/* Other clients' bytes are gone: what a segment's members must be trusted not to do. */
void attack_punch_all(void)
{
    struct wire_descriptors descriptors;
    struct stat status;
    const int fd = hostile_member(&descriptors);
    must(fstat(descriptors.fds[SEGMENT], &status) == 0);
    for (uint64_t n = 0; n < many(10, 300); n++) {
        must(punch(descriptors.fds[SEGMENT], 0, (uint64_t)status.st_size) == 0);
        must(hostile_answer(fd, request_usage(NEW_REQUEST)) == ANSWER_OK);
    }
    hostile_drop(fd, &descriptors);
}
