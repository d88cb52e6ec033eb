/* SPDX-License-Identifier: MIT */
#include "tests/system/inode_lock.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tests/system/daemon.h"
#include "tests/system/harness.h"

#define CPU_PAGE_BYTES ((size_t)4096)
/* 200, or as many ms: making a huge page takes some, and may wait for a disk. */
#define N_LOOKS 200

/* In the client. */
static struct {
    int segment_fd;
    int faults_fd;
    void *page; /* that is not there */
} holding;

/* Return: whether this user may have pages that somebody else delivers to the kernel. */
static bool open_faults(void)
{
    holding.faults_fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    struct uffdio_api api = {.api = UFFD_API};
    return holding.faults_fd >= 0 && ioctl(holding.faults_fd, UFFDIO_API, &api) == 0;
}

static void make_page(void)
{
    holding.page =
        mmap(NULL, CPU_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    expect_call(holding.page != MAP_FAILED);
    struct uffdio_register registered = {.range = {(uintptr_t)holding.page, CPU_PAGE_BYTES},
                                         .mode = UFFDIO_REGISTER_MODE_MISSING};
    expect_call(ioctl(holding.faults_fd, UFFDIO_REGISTER, &registered) == 0);
}

/* To the first page, where nobody's block is. */
static void *write_slowly(void *unused)
{
    const ssize_t n = pwrite(holding.segment_fd, holding.page, 8, CPU_PAGE_BYTES);
    (void)unused;
    expect_equal(n, 8);
    return NULL;
}

static void hold(const void *unused)
{
    pthread_t thread;
    (void)unused;
    if (!open_faults()) {
        client_say(0);
        return;
    }
    holding.segment_fd = daemon_open_memfd("segment");
    make_page();
    expect_equal(pthread_create(&thread, NULL, write_slowly, NULL), 0);
    struct pollfd asked = {.fd = holding.faults_fd, .events = POLLIN};
    expect_call(poll(&asked, 1, -1) == 1);
    client_pause();
    struct uffdio_zeropage delivered = {.range = {(uintptr_t)holding.page, CPU_PAGE_BYTES}};
    expect_call(ioctl(holding.faults_fd, UFFDIO_ZEROPAGE, &delivered) == 0);
    expect_equal(pthread_join(thread, NULL), 0);
}

/* ---------------------------------------------------------------------------- in the test ---- */

static void read_text(const char *format, int pid, char *text, size_t text_bytes)
{
    char path[80];
    (void)snprintf(path, sizeof(path), format, pid, pid);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd < 0 ? 0 : read(fd, text, text_bytes - 1);
    if (fd >= 0) {
        (void)close(fd);
    }
    text[n > 0 ? n : 0] = '\0';
}

/* The server's only child; 0: it has none just now. */
static pid_t scrubber_of(pid_t server)
{
    char text[64];
    read_text("/proc/%d/task/%d/children", (int)server, text, sizeof(text));
    return (pid_t)strtol(text, NULL, 10);
}

struct inode_lock inode_lock_take(void)
{
    struct inode_lock lock = {.client = client_start(hold, NULL)};
    if (client_hear(&lock.client) == 0) {
        client_end(&lock.client);
        expect_soon(scrubber_of(daemon_server_pid()) != 0, 5000);
        lock.stopped = scrubber_of(daemon_server_pid());
        expect_call(kill(lock.stopped, SIGSTOP) == 0);
        harness_note("without userfaultfd: the scrubber is stopped instead");
    }
    return lock;
}

pid_t inode_lock_await(const struct inode_lock *lock)
{
    const char waits = lock->stopped != 0 ? 'T' : 'D';
    unsigned int n_in_a_row = 0;
    while (n_in_a_row < N_LOOKS) {
        n_in_a_row =
            harness_state_of(scrubber_of(daemon_server_pid())) == waits ? n_in_a_row + 1 : 0;
        harness_sleep_ms(1);
    }
    return scrubber_of(daemon_server_pid());
}

bool inode_lock_ended(pid_t scrubber)
{
    const char state = harness_state_of(scrubber);
    return state == '\0' || state == 'Z';
}

void inode_lock_drop(struct inode_lock *lock)
{
    if (lock->stopped != 0) {
        (void)kill(lock->stopped, SIGCONT); /* it may have ended with its server */
        return;
    }
    client_finish(&lock->client);
}
