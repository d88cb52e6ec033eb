/* SPDX-License-Identifier: MIT */
/*
 * test_server.c - server_run() in a child process: its start, its end, and what fails in between
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/core/reap.h"
#include "daemon/keeper/socket_path.h"
#include "daemon/control.h"
#include "daemon/inherited_fds.h"
#include "daemon/memfd.h"
#include "daemon/server/server.h"
#include "proto/notice.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"
#include "tests/wire/frames.h"
#include "tests/wire/request.h"

#define SEGMENT_BYTES (UINT64_C(1) << 20)
#define N_CLIENTS 4
/* What the child ends with if it served although something failed. */
#define SERVED_ALL_THE_SAME 100
/* Nothing here takes a hundredth of that. */
#define PATIENCE_MS 60000

FAIL_WRAP(int, uv_loop_init, (uv_loop_t * loop), (loop), UV_EMFILE)
FAIL_WRAP(int, uv_check_start, (uv_check_t * handle, uv_check_cb called), (handle, called),
          UV_EINVAL)
FAIL_WRAP(ssize_t, getrandom, (void *bytes, size_t n_bytes, unsigned flags),
          (bytes, n_bytes, flags), -1)
FAIL_WRAP(void *, mmap,
          (void *address, size_t n_bytes, int protection, int flags, int fd, off_t offset),
          (address, n_bytes, protection, flags, fd, offset), MAP_FAILED)

/* A step of taking back is short, until the daemon ends. */
void __real_reap(struct core *core, uint32_t budget, reap_written_fn written, void *user);
void __wrap_reap(struct core *core, uint32_t budget, reap_written_fn written, void *user);
void __wrap_reap(struct core *core, uint32_t budget, reap_written_fn written, void *user)
{
    if (budget > 5000 && budget != UINT32_MAX) {
        abort();
    }
    __real_reap(core, budget, written, user);
}

static char directory[64];
static char path[80];
static int child_log_fd = -1; /* what the next child logs to; -1: nowhere */

struct child {
    pid_t pid;
    int control_fd;
};

/* ------------------------------------------------------------------------------ the server ---- */

static void memory_fails(int signal_number)
{
    (void)signal_number;
    /* Sent to a server that waits in epoll, not inside malloc(). */
    fail_from("memory", 1, ENOMEM); /* NOLINT(bugprone-signal-handler,cert-sig30-c) */
}

static void memory_is_back(int signal_number)
{
    (void)signal_number;
    (void)fail_end(); /* NOLINT(bugprone-signal-handler,cert-sig30-c): likewise */
}

static int serve(const char *what, unsigned nth, int control_fd)
{
    struct options options = {.name = "server",
                              .segment_bytes = SEGMENT_BYTES,
                              .asked_bytes = SEGMENT_BYTES,
                              .most_bytes = SEGMENT_BYTES};
    struct inherited_fds files;
    struct socket_path held;
    (void)snprintf(options.socket_path, sizeof(options.socket_path), "%s", path);
    if (inherited_fds_init(&files) || socket_path_take(&held, &options)) {
        return 1;
    }
    files.segment_fd = memfd_open("server", "segment", SEGMENT_BYTES);
    files.state_fd =
        memfd_open("server", "state", state_bytes((uint32_t)(SEGMENT_BYTES / PAGE_BYTES)));
    files.clock_fd = memfd_open("server", "clock", NOTICE_BYTES);
    files.listener_fd = socket_path_listen(&held);
    files.control_fd = control_fd;
    if (what) {
        fail_nth(what, nth, ENOMEM);
    }
    const struct descriptors descriptors = {.n_clients = N_CLIENTS, .n_free = 100};
    const int status = server_run(&options, &files, &descriptors, NULL);
    const bool failed = fail_end();
    inherited_fds_fini(&files);
    return status == 0 && failed ? SERVED_ALL_THE_SAME : status;
}

static struct child child_start(const char *what, unsigned nth)
{
    int ends[2];
    assert_int_equal(control_pair(ends), 0);
    (void)unlink(path);
    (void)fflush(NULL);
    struct child child = {.pid = fork(), .control_fd = ends[0]};
    assert_true(child.pid >= 0);
    if (child.pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)signal(SIGPIPE, SIG_IGN); /* as main.c does */
        (void)signal(SIGUSR1, memory_fails);
        (void)signal(SIGUSR2, memory_is_back);
        (void)close(ends[0]);
        const int log_fd =
            child_log_fd >= 0 ? child_log_fd : open("/dev/null", O_WRONLY | O_CLOEXEC);
        (void)dup2(log_fd, STDERR_FILENO);
        const int status = serve(what, nth, ends[1]);
        if (status != 0) {
            _exit(status); /* not all was given back, and need not be */
        }
        exit(0); /* here a leak would be found */
    }
    assert_int_equal(close(ends[1]), 0);
    return child;
}

static bool wait_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, PATIENCE_MS) == 1;
}

/* The next message of the child; false if it has ended. What it hands over is closed. */
static bool child_says(const struct child *child, uint32_t *ret_kind)
{
    struct control_message message = {.n_fds = 0};
    assert_true(wait_readable(child->control_fd));
    if (control_receive(child->control_fd, &message)) {
        return false;
    }
    control_close_fds(&message);
    *ret_kind = message.kind;
    return true;
}

/* Return: whether the child sent a heartbeat, and is ready; else it has ended. */
static bool child_is_ready(const struct child *child)
{
    uint32_t kind = CONTROL_ALIVE;
    uint32_t n_alive = 0;
    for (; kind == CONTROL_ALIVE; n_alive++) {
        if (!child_says(child, &kind)) {
            return false;
        }
    }
    assert_int_equal(kind, CONTROL_READY);
    assert_true(n_alive > 1);
    return true;
}

/* Return: the exit status. */
static int child_wait(const struct child *child)
{
    int status;
    uint32_t kind;
    while (child_says(child, &kind)) {
    }
    assert_int_equal(waitpid(child->pid, &status, 0), child->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(close(child->control_fd), 0);
    return WEXITSTATUS(status);
}

static void child_tell(const struct child *child, enum control_kind kind)
{
    assert_int_equal(control_send(child->control_fd, kind, 0, NULL, 0, PATIENCE_MS), 0);
}

static int child_end(const struct child *child)
{
    child_tell(child, CONTROL_END);
    return child_wait(child);
}

static int server_setup(void **state)
{
    (void)snprintf(directory, sizeof(directory), "/tmp/kmem-server-XXXXXX");
    assert_non_null(mkdtemp(directory));
    (void)snprintf(path, sizeof(path), "%s/sock", directory);
    return 0;
}

static int server_teardown(void **state)
{
    char lock_path[96];
    (void)snprintf(lock_path, sizeof(lock_path), "%s.lock", path);
    (void)unlink(path);
    (void)unlink(lock_path);
    assert_int_equal(rmdir(directory), 0);
    return 0;
}

/* -------------------------------------------------------------------------------- a client ---- */

KMEM_NORETURN static void fail_test(const char *why)
{
    fail_msg("%s: %s", why, strerror(errno));
    abort(); /* not reached: it tells the compiler that nothing goes on */
}

const struct frames_host frames_host = {wait_readable, fail_test};

static int connection_open(void)
{
    const int fd = frames_connect(path);
    assert_true(fd >= 0);
    return fd;
}

static void say(int fd, const Kmem__Request *request)
{
    unsigned char frame[256];
    const size_t n_bytes = request_pack(request, frame, sizeof(frame));
    assert_true(n_bytes > 0);
    (void)frames_send_bytes(fd, frame, n_bytes); /* a server that has closed is seen below */
}

/* Return: what came; NOT_SET if the connection is closed. */
static Kmem__Response__BodyCase hear(int fd)
{
    Kmem__Response *response = frames_receive(fd, NULL);
    const Kmem__Response__BodyCase body_case =
        response ? response->body_case : KMEM__RESPONSE__BODY__NOT_SET;
    kmem__response__free_unpacked(response, NULL);
    return body_case;
}

static void say_hello(int fd)
{
    say(fd, request_hello(NEW_REQUEST, KMEM__ROLE__ROLE_MEMBER, 0));
}

static void say_allocate(int fd, uint64_t num_bytes)
{
    say(fd, request_allocate(NEW_REQUEST, num_bytes, "server", 6));
}

static void say_goodbye(int fd)
{
    say(fd, request_goodbye(NEW_REQUEST));
}

/* Joins, as often as it is asked to come again. Return: the connection; -1: it was closed. */
static int connection_open_member(void)
{
    for (unsigned n = 0; n < PATIENCE_MS; n++) {
        const int fd = connection_open();
        say_hello(fd);
        const Kmem__Response__BodyCase body_case = hear(fd);
        if (body_case == KMEM__RESPONSE__BODY_WELCOME) {
            return fd;
        }
        assert_int_equal(close(fd), 0);
        if (body_case != KMEM__RESPONSE__BODY_ERROR) {
            return -1;
        }
        (void)usleep(1000);
    }
    fail_msg("asked to come again for ever");
    return -1;
}

/* Joins, allocates, is refused, and leaves. Return: whether every answer was the right one. */
static bool converse(void)
{
    const int fd = connection_open_member();
    bool good = fd >= 0;
    if (good) {
        say_allocate(fd, 100);
        good = hear(fd) == KMEM__RESPONSE__BODY_ALLOCATED;
    }
    if (good) {
        say_allocate(fd, SEGMENT_BYTES);
        good = hear(fd) == KMEM__RESPONSE__BODY_ERROR;
    }
    if (good) {
        say_goodbye(fd);
        good = hear(fd) == KMEM__RESPONSE__BODY_FAREWELL;
    }
    if (fd >= 0) {
        assert_int_equal(close(fd), 0);
    }
    return good;
}

/* ------------------------------------------------------------------- the start and the end ---- */

static void test_server_run_serves_until_the_keeper_ends_it(void **state)
{
    const struct child child = child_start(NULL, 0);
    assert_true(child_is_ready(&child));
    assert_true(converse());

    assert_int_equal(child_end(&child), 0);
}

static void test_server_run_answers_a_ping(void **state)
{
    uint32_t kind = 0;
    const struct child child = child_start(NULL, 0);
    assert_true(child_is_ready(&child));

    child_tell(&child, CONTROL_PING);

    assert_true(child_says(&child, &kind));
    assert_int_equal(kind, CONTROL_ALIVE);
    assert_int_equal(child_end(&child), 0);
}

static void test_server_run_leaves_when_it_is_told_to(void **state)
{
    const struct child child = child_start(NULL, 0);
    assert_true(child_is_ready(&child));

    child_tell(&child, CONTROL_LEAVE);

    assert_int_equal(child_wait(&child), 0);
}

static void test_server_run_ends_with_its_keeper(void **state)
{
    int status;
    const struct child child = child_start(NULL, 0);
    assert_true(child_is_ready(&child));

    assert_int_equal(close(child.control_fd), 0);

    assert_int_equal(waitpid(child.pid, &status, 0), child.pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_SYSTEM);
}

static void test_server_run_ends_though_clients_hold_blocks(void **state)
{
    const struct child child = child_start(NULL, 0);
    assert_true(child_is_ready(&child));
    const int fd = connection_open();
    say_hello(fd);
    assert_int_equal(hear(fd), KMEM__RESPONSE__BODY_WELCOME);
    say_allocate(fd, 5000);
    assert_int_equal(hear(fd), KMEM__RESPONSE__BODY_ALLOCATED);
    const int silent = connection_open();

    assert_int_equal(child_end(&child), 0);

    assert_int_equal(hear(fd), KMEM__RESPONSE__BODY__NOT_SET);
    assert_int_equal(close(fd), 0);
    assert_int_equal(close(silent), 0);
}

static void test_server_run_whose_start_fails_ends_with_71(void **state)
{
    const char *const calls[] = {"uv_loop_init", "uv_check_start", "getrandom", "mmap"};

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        const struct child child = child_start(calls[i], 1);
        assert_false(child_is_ready(&child));
        assert_int_equal(child_wait(&child), EXIT_SYSTEM);
    }
}

/* -------------------------------------------------------------------------- without memory ---- */

static void test_server_run_survives_whichever_allocation_fails(void **state)
{
    unsigned n_starts = 0;
    unsigned n_served = 0;

    for (unsigned nth = 1;; nth++) {
        const struct child child = child_start("memory", nth);
        if (!child_is_ready(&child)) {
            assert_int_equal(child_wait(&child), EXIT_SYSTEM);
            n_starts++;
            continue;
        }
        unsigned n_good = 0;
        for (unsigned n = 0; n < 3; n++) {
            n_good += converse();
        }
        assert_true(n_good >= 2); /* one allocation spoils one conversation at most */
        const int status = child_end(&child);
        if (status == 0) {
            break;
        }
        assert_int_equal(status, SERVED_ALL_THE_SAME);
        n_served++;
    }
    assert_true(n_starts > 15);
    assert_true(n_served > 5);
}

/* Reads a log until it says so. */
static void await_logged(int log_fd, const char *what)
{
    char text[4096] = "";
    size_t n_read = 0;
    while (!strstr(text, what)) {
        assert_true(n_read + 1 < sizeof(text));
        assert_true(wait_readable(log_fd));
        const ssize_t n = read(log_fd, text + n_read, sizeof(text) - 1 - n_read);
        assert_true(n > 0);
        n_read += (size_t)n;
        text[n_read] = '\0';
    }
}

/* Of two signals that wait, the handler of the second one runs first: each is waited for. */
static void test_server_run_accepts_when_there_is_memory_again(void **state)
{
    int log_fds[2];
    assert_int_equal(pipe2(log_fds, O_CLOEXEC), 0);
    child_log_fd = log_fds[1];
    const struct child child = child_start(NULL, 0);
    child_log_fd = -1;
    assert_int_equal(close(log_fds[1]), 0);
    assert_true(child_is_ready(&child));
    assert_int_equal(kill(child.pid, SIGUSR1), 0);
    const int fd = connection_open();
    say_hello(fd);
    await_logged(log_fds[0], "a connection can not be accepted");
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&poll_fd, 1, 0), 0); /* neither answered nor closed */

    assert_int_equal(kill(child.pid, SIGUSR2), 0);

    assert_int_equal(hear(fd), KMEM__RESPONSE__BODY_WELCOME);
    say_goodbye(fd);
    assert_int_equal(hear(fd), KMEM__RESPONSE__BODY_FAREWELL);
    assert_int_equal(close(fd), 0);
    assert_true(converse());
    assert_int_equal(child_end(&child), SERVED_ALL_THE_SAME);
    assert_int_equal(close(log_fds[0]), 0);
}

#define SERVER_TEST(test) cmocka_unit_test_setup_teardown(test, server_setup, server_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER_TEST(test_server_run_serves_until_the_keeper_ends_it),
        SERVER_TEST(test_server_run_answers_a_ping),
        SERVER_TEST(test_server_run_leaves_when_it_is_told_to),
        SERVER_TEST(test_server_run_ends_with_its_keeper),
        SERVER_TEST(test_server_run_ends_though_clients_hold_blocks),
        SERVER_TEST(test_server_run_whose_start_fails_ends_with_71),
        SERVER_TEST(test_server_run_survives_whichever_allocation_fails),
        SERVER_TEST(test_server_run_accepts_when_there_is_memory_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
