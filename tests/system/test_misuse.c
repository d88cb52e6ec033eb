/* SPDX-License-Identifier: MIT */
/*
 * test_misuse.c - every mistake is named, in these words, and does no harm
 *
 * Each program of tests/misuse makes one mistake, and runs twice on a daemon of its own: with the
 * library's failure handler, where the message is on stderr and the program ends by SIGABRT; and
 * with its own, which returns. The messages are compared whole. Offsets and sizes are as they are;
 * only an address is shown as ADDRESS, a process as PID, and the test's directory as DIR.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/system/daemon.h"
#include "tests/system/harness.h"
#include "tests/system/usage.h"

#define TEXT_BYTES 4096

/* How a program ended and what it wrote. */
struct run {
    int wait_status;
    char out[TEXT_BYTES];
    char err[TEXT_BYTES];
};

/* Replaces every occurrence of `from` by the word `to`. */
static void replace(char *text, const char *from, const char *to)
{
    char *at;
    while (from[0] != '\0' && (at = strstr(text, from)) != NULL) {
        char rest[TEXT_BYTES];
        (void)snprintf(rest, sizeof(rest), "%s", at + strlen(from));
        (void)snprintf(at, TEXT_BYTES - (size_t)(at - text), "%s%s", to, rest);
    }
}

/* Replaces what follows `before` and consists of digits; the word takes the place of both. */
static void replace_number(char *text, const char *before, const char *digits, const char *word)
{
    char *at;
    while ((at = strstr(text, before)) != NULL) {
        char number[64];
        const size_t n_digits = strspn(at + strlen(before), digits);
        (void)snprintf(number, sizeof(number), "%.*s", (int)(strlen(before) + n_digits), at);
        replace(text, number, word);
    }
}

static void read_text(const char *path, char *text)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    expect_call(fd >= 0);
    const ssize_t n = read(fd, text, TEXT_BYTES - 1);
    (void)close(fd);
    text[n > 0 ? n : 0] = '\0';
    replace(text, harness_path(""), "DIR/");
    replace_number(text, "0x", "0123456789abcdef", "ADDRESS");
    replace_number(text, "to process ", "0123456789", "to PID");
}

KMEM_NORETURN static void become_program(const char *name, const char *argument)
{
    const struct rlimit no_core = {0, 0};
    const int out_fd = open(harness_path("out"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const int err_fd = open(harness_path("err"), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    char program[64];
    (void)snprintf(program, sizeof(program), "misuse_%s", name);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)dup2(out_fd, STDOUT_FILENO);
    (void)dup2(err_fd, STDERR_FILENO);
    (void)close_range(3, ~0U, 0);
    (void)execl(harness_program(program), program, argument, NULL);
    _exit(127);
}

static struct run run_program(const char *name, const char *argument)
{
    struct run run = {.wait_status = -1};
    (void)fflush(NULL);
    const pid_t pid = fork();
    expect_call(pid >= 0);
    if (pid == 0) {
        become_program(name, argument);
    }
    expect_call(waitpid(pid, &run.wait_status, 0) == pid);
    read_text(harness_path("out"), run.out);
    read_text(harness_path("err"), run.err);
    return run;
}

static void expect_abort(const char *name, const char *message_line)
{
    const struct run run = run_program(name, NULL);
    expect_text(run.err, message_line);
    expect_text(run.out, "");
    expect_true(WIFSIGNALED(run.wait_status));
    expect_equal(WTERMSIG(run.wait_status), SIGABRT);
}

static void expect_return(const char *name, const char *message_line)
{
    const struct run run = run_program(name, "handled");
    expect_text(run.err, "");
    expect_text(run.out, message_line);
    expect_equal(run.wait_status, 0);
}

static void expect_misuse(const char *name, const char *message)
{
    char line[TEXT_BYTES];
    (void)snprintf(line, sizeof(line), "%s\n", message);
    daemon_start("--scrub=off", NULL); /* what is being cleared is not to be had */
    expect_abort(name, line);
    expect_balanced();
    expect_return(name, line);
    daemon_stop_balanced();
}

static void test_release_of_a_wild_pointer(void)
{
    expect_misuse(
        "release_wild",
        "kmem_release: ADDRESS is not in the segment \"test\" (room for 256.0 MiB at ADDRESS); "
        "pass a pointer that an allocation of this process returned");
}

static void test_release_of_an_address_in_no_block(void)
{
    expect_misuse("release_unallocated",
                  "kmem_release: offset 49200 lies in no block; pass a pointer that an "
                  "allocation of this process returned");
}

static void test_release_of_an_interior_pointer(void)
{
    expect_misuse("release_interior",
                  "kmem_release: offset 32773 lies 5 bytes inside the block at offset 32768 "
                  "(101 bytes, \"101 bytes\"), not at its start; pass the pointer that the "
                  "allocation returned");
}

static void test_release_of_a_block_twice(void)
{
    expect_misuse("release_twice",
                  "kmem_release: the block at offset 16432 has been released already; another "
                  "copy of the pointer was used");
}

static void test_release_of_a_block_twice_by_two_threads(void)
{
    expect_misuse("release_twice_by_threads",
                  "kmem_release: the block at offset 16432 has been released already; another "
                  "copy of the pointer was used");
}

static void test_release_of_a_large_block_twice(void)
{
    expect_misuse("release_large_twice",
                  "kmem_release: the block at offset 32768 has been released already; another "
                  "copy of the pointer was used");
}

static void test_release_of_anothers_block(void)
{
    expect_misuse("release_anothers",
                  "kmem_release: the block at offset 16384 (1000 bytes, \"of another process\") "
                  "belongs to PID; only its owner may do this, and the child of a fork "
                  "owns none of its parent's blocks");
}

static void test_release_of_the_interior_of_anothers_block(void)
{
    expect_misuse("release_anothers_interior",
                  "kmem_release: offset 316384 lies 300000 bytes inside the block at offset 16384 "
                  "(400000 bytes, \"of another process\"), not at its start; pass the pointer that "
                  "the allocation returned");
}

static void test_release_of_a_parents_block(void)
{
    expect_misuse("release_parents",
                  "kmem_release: the block at offset 16384 (101 bytes, \"of the parent\") "
                  "belongs to PID; only its owner may do this, and the child of a fork "
                  "owns none of its parent's blocks");
}

static void test_release_at_null(void)
{
    expect_misuse("release_at_null", "kmem_release: NULL is no pointer's address; pass &pointer");
}

static void test_release_of_null_is_ignored(void)
{
    daemon_start(NULL, NULL);
    const struct run run = run_program("release_null", NULL);
    expect_text(run.err, "");
    expect_text(run.out, "");
    expect_equal(run.wait_status, 0);
    daemon_stop_balanced();
}

/*
 * The same mistakes with leased blocks, in the same words. The lease begins behind the page of the
 * witness; where there is none yet, at the segment's first page, where direct blocks were before.
 */

static void test_release_of_an_address_in_no_block_of_a_lease(void)
{
    expect_misuse("leased_release_unallocated",
                  "kmem_release: offset 65536 lies in no block; pass a pointer that an "
                  "allocation of this process returned");
}

static void test_release_of_an_interior_pointer_of_a_leased_block(void)
{
    expect_misuse("leased_release_interior",
                  "kmem_release: offset 32773 lies 5 bytes inside the block at offset 32768 "
                  "(101 bytes, \"101 bytes\"), not at its start; pass the pointer that the "
                  "allocation returned");
}

static void test_release_of_a_leased_block_twice(void)
{
    expect_misuse("leased_release_twice",
                  "kmem_release: the block at offset 32768 has been released already; another "
                  "copy of the pointer was used");
}

static void test_release_of_a_leased_block_twice_by_two_threads(void)
{
    expect_misuse("leased_release_twice_by_threads",
                  "kmem_release: the block at offset 32768 has been released already; another "
                  "copy of the pointer was used");
}

static void test_release_of_a_large_leased_block_twice(void)
{
    expect_misuse("leased_release_large_twice",
                  "kmem_release: the block at offset 32768 has been released already; another "
                  "copy of the pointer was used");
}

static void test_release_of_anothers_leased_block(void)
{
    expect_misuse("leased_release_anothers",
                  "kmem_release: the block at offset 16384 (1000 bytes, \"of another process\") "
                  "belongs to PID; only its owner may do this, and the child of a fork "
                  "owns none of its parent's blocks");
}

static void test_release_of_the_interior_of_anothers_leased_block(void)
{
    expect_misuse("leased_release_anothers_interior",
                  "kmem_release: offset 316384 lies 300000 bytes inside the block at offset 16384 "
                  "(400000 bytes, \"of another process\"), not at its start; pass the pointer that "
                  "the allocation returned");
}

static void test_release_of_a_parents_leased_block(void)
{
    expect_misuse("leased_release_parents",
                  "kmem_release: the block at offset 16384 (101 bytes, \"of the parent\") "
                  "belongs to PID; only its owner may do this, and the child of a fork "
                  "owns none of its parent's blocks");
}

static void test_size_of_an_interior_pointer_of_a_leased_block(void)
{
    expect_misuse("leased_sizeof_interior",
                  "kmem_sizeof_allocation: offset 32784 lies 16 bytes inside the block at "
                  "offset 32768 (44 bytes, \"Scratch buffer\"), not at its start; pass the "
                  "pointer that the allocation returned");
}

static void test_size_of_a_released_leased_block(void)
{
    expect_misuse("leased_sizeof_released",
                  "kmem_sizeof_allocation: the block at offset 32768 has been released already; "
                  "another copy of the pointer was used");
}

static void test_size_of_null(void)
{
    expect_misuse("sizeof_null", "kmem_sizeof_allocation: NULL is no block");
}

static void test_size_of_a_wild_pointer(void)
{
    expect_misuse(
        "sizeof_wild",
        "kmem_sizeof_allocation: ADDRESS is not in the segment \"test\" (room for 256.0 MiB at "
        "ADDRESS); pass a pointer that an allocation of this process returned");
}

static void test_size_of_an_interior_pointer(void)
{
    expect_misuse("sizeof_interior",
                  "kmem_sizeof_allocation: offset 16448 lies 16 bytes inside the block at "
                  "offset 16432 (44 bytes, \"Scratch buffer\"), not at its start; pass the "
                  "pointer that the allocation returned");
}

static void test_size_of_a_released_block(void)
{
    expect_misuse("sizeof_released",
                  "kmem_sizeof_allocation: the block at offset 16432 has been released already; "
                  "another copy of the pointer was used");
}

static void test_allocation_of_0_bytes(void)
{
    expect_misuse("allocate_zero",
                  "kmem_allocate: for \"nothing\": 0 bytes are no block; ask for 1 at least");
}

static void test_allocation_of_a_negative_number_of_bytes(void)
{
    expect_misuse("allocate_negative",
                  "kmem_allocate: for \"less than nothing\": -44 bytes are no block; ask for 1 "
                  "at least");
}

static void test_allocation_of_more_than_the_segment(void)
{
    expect_misuse("allocate_too_large",
                  "kmem_allocate: for \"everything and more\": 2.0 GiB is more than the segment "
                  "\"test\" may have (256.0 MiB); start kmemd with a larger --max-size");
}

static void test_allocation_of_more_than_is_free(void)
{
    expect_misuse("allocate_no_room",
                  "kmem_allocate: for \"too much\": no room for 2.0 MiB in segment \"test\": "
                  "992.0 KiB of 16.0 MiB free, largest extent 992.0 KiB; largest holders: \"most "
                  "of it\" 15.0 MiB in 1 block, \"witness\" 40 B in 1 block; release some of "
                  "it, or let the segment grow, up to 256.0 MiB: kmemctl resize");
}

static void test_no_daemon(void)
{
    const char *const line =
        "kmem_allocate: no daemon answers: tried DIR/none.sock (no such socket); start one with "
        "\"kmemd --socket DIR/none.sock\", or run the program under \"kmemctl run\"\n";
    (void)setenv("KMEM_SOCKET", harness_path("none.sock"), 1);
    expect_abort("no_daemon", line);
    expect_return("no_daemon", line);
}

static void test_no_daemon_at_the_usual_places(void)
{
    const char *const line =
        "kmem_allocate: no daemon answers: tried DIR/run/kmemd/no-such-segment.sock (no such "
        "socket) and /run/kmemd/no-such-segment.sock (no such socket); start one with \"kmemd "
        "--name no-such-segment\" or \"systemctl start kmemd@no-such-segment\", or run the "
        "program under \"kmemctl run\"\n";
    (void)unsetenv("KMEM_SOCKET");
    (void)setenv("KMEM_SEGMENT", "no-such-segment", 1);
    (void)setenv("XDG_RUNTIME_DIR", harness_path("run"), 1);
    expect_abort("no_daemon", line);
    expect_return("no_daemon", line);
}

static const struct system_test tests[] = {
    SYSTEM_TEST(test_release_of_a_wild_pointer, 10),
    SYSTEM_TEST(test_release_of_an_address_in_no_block, 10),
    SYSTEM_TEST(test_release_of_an_interior_pointer, 10),
    SYSTEM_TEST(test_release_of_a_block_twice, 10),
    SYSTEM_TEST(test_release_of_a_block_twice_by_two_threads, 10),
    SYSTEM_TEST(test_release_of_a_large_block_twice, 10),
    SYSTEM_TEST(test_release_of_anothers_block, 10),
    SYSTEM_TEST(test_release_of_the_interior_of_anothers_block, 10),
    SYSTEM_TEST(test_release_of_a_parents_block, 10),
    SYSTEM_TEST(test_release_at_null, 10),
    SYSTEM_TEST(test_release_of_null_is_ignored, 10),
    SYSTEM_TEST(test_size_of_null, 10),
    SYSTEM_TEST(test_size_of_a_wild_pointer, 10),
    SYSTEM_TEST(test_size_of_an_interior_pointer, 10),
    SYSTEM_TEST(test_size_of_a_released_block, 10),
    SYSTEM_TEST(test_release_of_an_address_in_no_block_of_a_lease, 10),
    SYSTEM_TEST(test_release_of_an_interior_pointer_of_a_leased_block, 10),
    SYSTEM_TEST(test_release_of_a_leased_block_twice, 10),
    SYSTEM_TEST(test_release_of_a_leased_block_twice_by_two_threads, 10),
    SYSTEM_TEST(test_release_of_a_large_leased_block_twice, 10),
    SYSTEM_TEST(test_release_of_anothers_leased_block, 10),
    SYSTEM_TEST(test_release_of_the_interior_of_anothers_leased_block, 10),
    SYSTEM_TEST(test_release_of_a_parents_leased_block, 10),
    SYSTEM_TEST(test_size_of_an_interior_pointer_of_a_leased_block, 10),
    SYSTEM_TEST(test_size_of_a_released_leased_block, 10),
    SYSTEM_TEST(test_allocation_of_0_bytes, 10),
    SYSTEM_TEST(test_allocation_of_a_negative_number_of_bytes, 10),
    SYSTEM_TEST(test_allocation_of_more_than_the_segment, 10),
    SYSTEM_TEST(test_allocation_of_more_than_is_free, 10),
    SYSTEM_TEST(test_no_daemon, 10),
    SYSTEM_TEST(test_no_daemon_at_the_usual_places, 10),
};

int main(int argc, char **argv)
{
    return harness_run(tests, sizeof(tests) / sizeof(tests[0]), argc, argv);
}
