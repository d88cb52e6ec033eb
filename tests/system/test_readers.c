/* SPDX-License-Identifier: MIT */
/*
 * test_readers.c - processes that are given the segment for reading only, and what they can not do
 *
 * Three users try to write, in every way there is: one that is neither the daemon's nor a member's,
 * one that is the daemon's, and root. What the wall keeps out, it keeps out for the first alone;
 * that the others come through is what the daemon says of them: no wall. Without root the daemon's
 * own user is the only one there is, and the tests that need another say so. Who is let in at all:
 * test_reader_roles.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/limits.h"
#include "tests/system/daemon.h"
#include "tests/system/sharing.h"
#include "tests/system/usage.h"
#include "tests/system/users.h"
#include "tests/wire/wire.h"

/* Numbers that no user of the machine has; nothing needs them to have a name. */
#define OWNER 54321 /* the daemon's */
#define STRANGER 54322

/* Only root can; its /proc is its own then, as it is behind an exec. */
static void become_reader(uid_t uid)
{
    if (geteuid() == 0) {
        become(uid, OWNER);
    }
    expect_call(prctl(PR_SET_DUMPABLE, 1) == 0);
}

/* The daemon runs as OWNER, whose group may read. */
static void daemon_start_as_owner(const char *readers)
{
    const struct daemon_setting setting = {.program = harness_program("secluded")};
    expect_call(setenv("SECLUDED_PROGRAM", harness_program("kmemd"), 1) == 0);
    expect_call(setenv("SECLUDED_UID", "54321", 1) == 0);
    expect_call(chown(harness_path("."), OWNER, OWNER) == 0);
    expect_call(chmod(harness_path("."), 0711) == 0);
    daemon_start_as(&setting, OPTIONS("--reader-group", "54321", "--readers", readers));
}

/* ---------------------------------------------------------------------- the ways to write -- */

/* Who tries, and what the kernel answers to a process of that user. */
struct trial {
    uid_t uid;
    bool is_walled;
};

static const struct trial stranger = {STRANGER, true};
static const struct trial owner = {OWNER, false};
static const struct trial root = {0, false};

/* Want a call to fail with one of two errors. */
#define expect_refused(call, error, other)                                                         \
    do {                                                                                           \
        errno = 0;                                                                                 \
        const long long got_ = (long long)(call);                                                  \
        if (got_ >= 0 || (errno != (error) && errno != (other))) {                                 \
            fail("%s gave %lld, %s", #call, got_, strerror(errno));                                \
        }                                                                                          \
    } while (0)

/* Maps for writing; -1 if that is refused. */
static int map_for_writing(int fd)
{
    void *const at = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED) {
        (void)munmap(at, PAGE_BYTES);
    }
    return at != MAP_FAILED ? 0 : -1;
}

static void try_through_the_mapping(int fd, uint64_t segment_bytes)
{
    unsigned char *const at = mmap(NULL, segment_bytes, PROT_READ, MAP_SHARED, fd, 0);
    expect_call(at != MAP_FAILED);
    expect_refused(map_for_writing(fd), EACCES, EACCES);
    expect_refused(mprotect(at, PAGE_BYTES, PROT_READ | PROT_WRITE), EACCES, EACCES);
    expect_refused(madvise(at, PAGE_BYTES, MADV_REMOVE), EACCES, EACCES);
    /* With the force that a debugger has. */
    const int memory_fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    if (memory_fd >= 0) {
        expect_refused(pwrite(memory_fd, "X", 1, (off_t)(uintptr_t)at), EIO, EFAULT);
        (void)close(memory_fd);
    } else {
        expect_equal(errno, EACCES);
    }
    char byte = 'X';
    const struct iovec from = {&byte, 1};
    const struct iovec to = {at, 1};
    expect_refused(process_vm_writev(getpid(), &from, 1, &to, 1, 0), EFAULT, EPERM);
    const int fault_fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    if (fault_fd >= 0) { /* else the system gives none to this user */
        struct uffdio_api api = {.api = UFFD_API};
        struct uffdio_register all = {.range = {(uintptr_t)at, PAGE_BYTES},
                                      .mode = UFFDIO_REGISTER_MODE_MISSING};
        expect_call(ioctl(fault_fd, UFFDIO_API, &api) == 0);
        expect_refused(ioctl(fault_fd, UFFDIO_REGISTER, &all), EPERM, EINVAL);
        (void)close(fault_fd);
    } else {
        expect_true(errno == EPERM || errno == ENOSYS);
    }
    expect_equal(at[0], at[0]); /* it can be read */
    (void)munmap(at, segment_bytes);
}

static void try_through_the_descriptor(int fd)
{
    char byte = 'X';
    expect_refused(write(fd, &byte, 1), EBADF, EBADF);
    expect_refused(pwrite(fd, &byte, 1, 0), EBADF, EBADF);
    expect_refused(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE_BYTES), EBADF,
                   EBADF);
    expect_refused(ftruncate(fd, 0), EINVAL, EINVAL);
    expect_refused(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM, EPERM);
    expect_refused(fcntl(fd, F_SETFL, O_RDWR) == 0 ? write(fd, &byte, 1) : -1, EBADF, EBADF);
}

/* What only the file's mode bars: and so the daemon's user, and root, may. */
static void try_to_open_it_anew(int fd, bool is_walled)
{
    char path[64];
    struct stat status;
    expect_call(fstat(fd, &status) == 0);
    expect_equal(status.st_mode & 0777, 0600);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    const int again_fd = open(path, O_RDWR | O_CLOEXEC);
    expect_equal(again_fd < 0, is_walled);
    expect_true(again_fd >= 0 || errno == EACCES);
    if (again_fd >= 0) {
        (void)close(again_fd);
    }
    expect_equal(fchmod(fd, 0600) < 0, is_walled);
    if (is_walled) {
        expect_refused(chmod(path, 0666), EPERM, EPERM);
    }
}

static void try_to_write(const void *argument)
{
    const struct trial *const trial = argument;
    struct wire_descriptors with;
    become_reader(trial->uid);
    const int fd = wire_connect();
    Kmem__Response *const answer = wire_hello(fd, PROTOCOL_VERSION, KMEM__ROLE__ROLE_READER, &with);
    expect_equal(answer->body_case, KMEM__RESPONSE__BODY_WELCOME);
    expect_equal(answer->welcome->walled, trial->is_walled);
    expect_equal(with.n_fds, WELCOME_DESCRIPTORS);
    const int segment_fd = with.fds[WIRE_SEGMENT];
    for (unsigned int i = 0; i < with.n_fds; i++) {
        expect_equal(fcntl(with.fds[i], F_GETFL) & O_ACCMODE, O_RDONLY);
        try_through_the_descriptor(with.fds[i]);
        try_to_open_it_anew(with.fds[i], trial->is_walled);
    }
    try_through_the_mapping(segment_fd, answer->welcome->segment_bytes);
    wire_free(answer);
    wire_close_descriptors(&with);
    (void)close(fd);
}

static void test_reader_of_another_user_can_not_write_by_any_way(void)
{
    need_root();
    daemon_start_as_owner("any");
    client_run(try_to_write, &stranger);
    daemon_stop_balanced();
}

static void test_reader_of_the_daemons_user_can_open_it_anew_and_is_told_so(void)
{
    need_root();
    daemon_start_as_owner("any");
    client_run(try_to_write, &owner);
    daemon_stop_balanced();
}

static void test_reader_that_is_root_can_open_it_anew_and_is_told_so(void)
{
    need_root();
    daemon_start_as_owner("any");
    client_run(try_to_write, &root);
    daemon_stop_balanced();
}

static void test_reader_of_the_tests_own_user_can_not_write_through_what_it_is_given(void)
{
    const struct trial self = {getuid(), false};
    daemon_start(NULL, NULL);
    client_run(try_to_write, &self);
    daemon_stop_balanced();
}

/* ----------------------------------------------------------------------- through a member -- */

static void hold_as_a_member(const void *argument)
{
    become_reader(*(const uid_t *)argument);
    unsigned char *block = filled(100000, false, 'm');
    client_say((uintptr_t)block);
    (void)client_await();
    expect_filled(block, 100000, 'm');
    release(block);
}

/* A process of the reader's user, which writes into the member's memory. */
static void write_into_a_member(const void *argument)
{
    (void)argument;
    int walled = -1;
    become_reader(STRANGER);
    expect_equal(kmem_join_as_reader(&walled), 0);
    const pid_t member = (pid_t)client_await();
    char byte = 'm';
    const struct iovec from = {&byte, 1};
    const struct iovec to = {(void *)(uintptr_t)client_await(), 1};
    const bool came_through = process_vm_writev(member, &from, 1, &to, 1, 0) == 1;
    client_say((uint64_t)walled);
    client_say(came_through);
}

static void expect_through(const uid_t *member_uid, bool is_walled)
{
    struct client member = client_start(hold_as_a_member, member_uid);
    const uint64_t at = client_hear(&member);
    struct client reader = client_start(write_into_a_member, NULL);
    client_tell(&reader, (uint64_t)member.pid);
    client_tell(&reader, at);
    expect_equal(client_hear(&reader), is_walled);
    const uint64_t came_through = client_hear(&reader);
    expect_at_most(came_through, !is_walled); /* a kernel may bar more: Yama does */
    harness_note("%s: %s", is_walled ? "walled" : "no wall",
                 came_through ? "it came through" : "it did not come through");
    client_end(&reader);
    client_tell(&member, 0);
    client_end(&member);
}

static void test_reader_writes_through_a_member_of_its_user_and_is_told_so(void)
{
    static const uid_t same = STRANGER;
    static const uid_t other = STRANGER + 1;
    need_root();
    daemon_start("--group", "54321", NULL);
    expect_call(chmod(harness_path("."), 0711) == 0);
    expect_through(&other, true);
    expect_soon(usage_take().clients == 0, 2000);
    expect_through(&same, false);
    daemon_stop_balanced();
}

/* ----------------------------------------------------------------------- with the library -- */

/* A member that shares blocks of both kinds, and publishes one. */
static void offer(const void *argument)
{
    (void)argument;
    unsigned char *leased = filled(40000, true, 'l');
    unsigned char *direct = filled(3 << 20, false, 'd');
    unsigned char *given = filled(1000, false, 'g');
    struct kmem_handle handle;
    expect_equal(kmem_share(leased, 0, &handle), 0);
    say_handle(&handle);
    expect_equal(kmem_publish(direct, "direct", 0, NULL), 0);
    expect_equal(kmem_transfer(&given, 0, &handle), 0);
    say_handle(&handle);
    (void)client_await();
}

#define REASON "a reader"

static void expect_denied(int r, int error, const char *words)
{
    expect_equal(r, -error);
    expect_match(kmem_last_error(), words);
}

static void try_what_members_do(const struct kmem_handle *handle, const struct kmem_handle *given,
                                void *held)
{
    struct kmem_handle fresh;
    void *block = NULL;
    uint64_t version = 0;
    for (size_t num_bytes = 100; num_bytes < 10000000; num_bytes *= 100) {
        expect_true(kmem_try_allocate(num_bytes, REASON) == NULL);
        expect_denied(-errno, EPERM, "joined as a reader .*can not allocate; a member can");
    }
    expect_denied(kmem_share(held, 0, &fresh), EPERM, "can not share");
    expect_denied(kmem_publish(held, "mine", 0, NULL), EPERM,
                  "can not share, hand over or publish");
    expect_denied(kmem_publish(held, "direct", KMEM_GIVE, NULL), EPERM, "a member can");
    void *copy = held;
    expect_denied(kmem_transfer(&copy, 0, &fresh), EPERM, "hand over");
    expect_true(copy == held);
    expect_denied(kmem_unpublish("direct"), EPERM, "can not unpublish a name");
    expect_denied(kmem_attach(handle, KMEM_WRITE, REASON, &block), EACCES,
                  "joined as a reader.*attach it for reading, or join as a member");
    expect_denied(kmem_find("direct", KMEM_WRITE, REASON, &block, NULL), EACCES, "as a reader");
    expect_denied(kmem_next("direct", KMEM_WRITE, REASON, &version, &block, 0), EACCES,
                  "as a reader");
    expect_denied(kmem_attach(given, KMEM_READ, REASON, &block), EACCES, "a reader owns none");
    expect_true(block == NULL);
}

/* The kernel copies out of a pipe into it, or not. */
static bool can_write(void *at)
{
    int ends[2];
    expect_call(pipe(ends) == 0);
    expect_equal(write(ends[1], "X", 1), 1);
    const bool can = read(ends[0], at, 1) == 1;
    (void)close(ends[0]);
    (void)close(ends[1]);
    return can;
}

static void be_a_reader(const void *argument)
{
    const char *const guard = argument;
    int walled = 7;
    if (guard != NULL) {
        (void)setenv("KMEM_GUARD", guard, 1);
    }
    (void)setenv("KMEM_ROLE", "reader", 1);
    const struct kmem_handle handle = await_handle();
    const struct kmem_handle given = await_handle();
    unsigned char *leased = attach(&handle, KMEM_READ);
    expect_filled(leased, handle.num_bytes, 'l');
    expect_equal(kmem_join_as_reader(&walled), 0); /* as it has */
    expect_equal(walled, 0);
    unsigned char *direct = NULL;
    expect_equal(kmem_find("direct", KMEM_READ, REASON, &direct, NULL), 0);
    expect_filled(direct, 3 << 20, 'd');
    try_what_members_do(&handle, &given, leased);
    expect_true(!can_write(leased) && !can_write(direct) && !can_write(direct - 100000));
    expect_true(
        mprotect(leased - (uintptr_t)leased % PAGE_BYTES, PAGE_BYTES, PROT_READ | PROT_WRITE) < 0);
    client_pause();
    expect_filled(leased, handle.num_bytes, 'l'); /* behind a restart of the server */
    expect_equal(kmem_try_release(&leased), 0);
    uint64_t version = 0;
    expect_equal(kmem_next("direct", KMEM_READ, REASON, &version, &direct, 0), 0);
    expect_filled(direct, 3 << 20, 'd');
    try_what_members_do(&handle, &given, direct);
    expect_equal(kmem_try_release(&direct), 0);
}

static void follow_as_a_reader(const char *guard)
{
    daemon_start("--size", "64MiB", NULL);
    struct client member = client_start(offer, NULL);
    const struct kmem_handle handle = hear_handle(&member);
    const struct kmem_handle given = hear_handle(&member);
    struct client reader = client_start(be_a_reader, guard);
    tell_handle(&reader, &handle);
    tell_handle(&reader, &given);
    expect_equal(client_hear(&reader), 1); /* it pauses */
    expect_equal(client_row_of(reader.pid).leased_bytes, 0);
    daemon_kill_server();
    client_finish(&reader);
    client_tell(&member, 0);
    client_end(&member);
    daemon_stop_balanced();
}

static void test_reader_reads_what_is_shared_and_changes_nothing(void)
{
    follow_as_a_reader(NULL);
}

static void test_reader_without_a_guard_can_not_write_either(void)
{
    follow_as_a_reader("off");
}

static void write_what_is_read(const void *argument)
{
    const struct rlimit no_core = {0, 0};
    (void)argument;
    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would end it otherwise */
    expect_equal(kmem_join_as_reader(NULL), 0);
    const struct kmem_handle handle = await_handle();
    volatile unsigned char *const block = attach(&handle, KMEM_READ);
    client_say(block[0]);
    block[0] = 'X';
    client_say(0);
}

static void test_reader_that_writes_ends_by_SIGSEGV(void)
{
    daemon_start("--size", "64MiB", NULL);
    struct client member = client_start(offer, NULL);
    const struct kmem_handle handle = hear_handle(&member);
    (void)hear_handle(&member);
    struct client reader = client_start(write_what_is_read, NULL);
    tell_handle(&reader, &handle);
    expect_equal(client_hear(&reader), 'l');
    client_end_by(&reader, SIGSEGV);
    client_tell(&member, 0);
    client_end(&member);
    daemon_stop_balanced();
}

/* A child of a member is a reader, a child of that as well, and each is what it says. */
static void change_roles(const void *argument)
{
    (void)argument;
    int walled = 7;
    unsigned char *block = filled(1000, false, 'b');
    expect_denied(kmem_join_as_reader(&walled), EISCONN, "as a member already; call kmem_close");
    expect_equal(walled, 7);
    expect_equal(kmem_publish(block, "block", 0, NULL), 0);
    client_pause(); /* a child */
    release(block);
    expect_equal(kmem_close(), 0);
    expect_equal(kmem_join_as_reader(&walled), 0);
    expect_equal(walled, 0); /* root, or the daemon's own user */
    expect_equal(kmem_join_as_reader(&walled), 0);
    expect_true(kmem_try_allocate(100, "x") == NULL);
    expect_equal(kmem_close(), 0); /* which ends it */
    release(allocate(100, "a member again"));
}

static void test_role_ends_with_kmem_close(void)
{
    daemon_start(NULL, NULL);
    struct client client = client_begin(change_roles, NULL);
    client_finish(&client);
    daemon_stop_balanced();
}

static void fork_readers(const void *argument)
{
    (void)argument;
    unsigned char *const block = filled(1000, false, 'b');
    expect_equal(kmem_publish(block, "block", 0, NULL), 0);
    const pid_t child = fork();
    if (child == 0) { /* of a member: a reader, whose parent's blocks are as they were */
        unsigned char *read = NULL;
        bool is_good = kmem_join_as_reader(NULL) == 0 &&
                       kmem_find("block", KMEM_READ, "child", (void **)&read, NULL) == 0 &&
                       read[0] == 'b' && !can_write(read) && can_write(block);
        const pid_t grandchild = is_good ? fork() : -1;
        if (grandchild == 0) { /* of a reader: a reader */
            is_good = kmem_try_allocate(100, "x") == NULL && errno == EPERM;
            _exit(is_good ? 0 : 1);
        }
        int status = 1;
        is_good = is_good && waitpid(grandchild, &status, 0) == grandchild && status == 0;
        _exit(is_good ? 0 : 1);
    }
    int status = 1;
    expect_call(waitpid(child, &status, 0) == child);
    expect_equal(status, 0);
}

static void test_child_is_a_reader_if_it_says_so_or_its_parent_is_one(void)
{
    daemon_start(NULL, NULL);
    client_run(fork_readers, NULL);
    daemon_stop_balanced();
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_reader_of_another_user_can_not_write_by_any_way, 10),
    SYSTEM_TEST(test_reader_of_the_daemons_user_can_open_it_anew_and_is_told_so, 10),
    SYSTEM_TEST(test_reader_that_is_root_can_open_it_anew_and_is_told_so, 10),
    SYSTEM_TEST(test_reader_of_the_tests_own_user_can_not_write_through_what_it_is_given, 10),
    SYSTEM_TEST(test_reader_writes_through_a_member_of_its_user_and_is_told_so, 10),
    SYSTEM_TEST(test_reader_reads_what_is_shared_and_changes_nothing, 10),
    SYSTEM_TEST(test_reader_without_a_guard_can_not_write_either, 10),
    SYSTEM_TEST(test_reader_that_writes_ends_by_SIGSEGV, 10),
    SYSTEM_TEST(test_role_ends_with_kmem_close, 10),
    SYSTEM_TEST(test_child_is_a_reader_if_it_says_so_or_its_parent_is_one, 10),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
