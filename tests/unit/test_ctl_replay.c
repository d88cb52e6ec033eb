/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_replay.c - `kmemctl replay` on a daemon that counts bytes,
 * and gives all but its first page
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/ctl/command.h"
#include "client/ctl/engine.h"
#include "client/ctl/private.h"
#include "client/ctl/status.h"
#include "tests/unit/captured.h"
#include "tests/unit/unit.h"

#define MIB (UINT64_C(1) << 20)

/* ------------------------------------------------------------- the daemon, and its engine ---- */

static struct {
    uint64_t size_bytes;
    uint64_t used_bytes;
    int open_r; /* what private_open() returns; likewise the next */
    int engine_r;
    int release_r;
    unsigned n_open;
} fake;

int private_open(const struct private_options *options, const struct signals *signals,
                 struct private_daemon **ret_private, int *ret_signal)
{
    (void)signals;
    *ret_private = NULL;
    if (fake.open_r != 0) {
        *ret_signal = 15;
        return fake.open_r;
    }
    fake.size_bytes = strtoull(options->size, NULL, 10);
    fake.used_bytes = 16384; /* the first page */
    fake.n_open++;
    return 0;
}

struct private_daemon *private_close(struct private_daemon *private)
{
    fake.n_open--;
    return private;
}

const char *private_socket(const struct private_daemon *private)
{
    (void)private;
    return "";
}

int engine_open(struct engine *engine, const char *socket_path)
{
    (void)socket_path;
    engine->fd = -1;
    return fake.engine_r;
}

void engine_close(struct engine *engine)
{
    (void)engine;
}

/* Blocks are never released by where they are, but by how many bytes they have. */
int engine_allocate(struct engine *engine, uint64_t num_bytes, const char *reason,
                    uint64_t *ret_offset)
{
    (void)engine;
    (void)reason;
    if (fake.used_bytes + num_bytes > fake.size_bytes) {
        return ENGINE_E_REFUSED;
    }
    fake.used_bytes += num_bytes;
    *ret_offset = num_bytes;
    return 0;
}

int engine_release(struct engine *engine, uint64_t offset)
{
    (void)engine;
    fake.used_bytes -= offset;
    return fake.release_r;
}

/* ------------------------------------------------------------------------------- playing ---- */

#define HEAD "{\"kmem_record\": 1, \"segment\": \"x\", \"segment_bytes\": 8388608}\n"
#define LEASE(offset, bytes)                                                                       \
    "{\"t\": 5, \"k\": \"leased\", \"p\": 7, \"o\": " offset ", \"n\": " bytes "}\n"
#define TAKE(offset, bytes)                                                                        \
    "{\"t\": 5, \"k\": \"allocated\", \"p\": 7, \"o\": " offset ", \"n\": " bytes                  \
    ", \"r\": \"a\\u001b\"}\n"
#define GIVE(offset, bytes)                                                                        \
    "{\"t\": 9, \"k\": \"released\", \"p\": 7, \"o\": " offset ", \"n\": " bytes "}\n"

/* 3 MiB and 2 MiB at once, and then 3 MiB less. */
#define FIVE_MIB TAKE("16384", "3145728") TAKE("4194304", "2097152") GIVE("16384", "3145728")

static char path[64];
static char said[4096];
static char shown[8192];

static int replay_with(const char *text, enum format format, char *first, char *second)
{
    const struct options before = {.format = format};
    char name[] = "kmemctl replay";
    char *arguments[] = {name, path, first, second, NULL};
    const int n_arguments = 2 + (first != NULL) + (second != NULL);
    (void)stpcpy(path, "/tmp/test_ctl_replay.XXXXXX");
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(close(fd), 0);
    const int out = memfd_create("out", MFD_CLOEXEC);
    const int usual = dup(STDOUT_FILENO);
    (void)fflush(stdout);
    assert_true(dup2(out, STDOUT_FILENO) >= 0);
    capture_begin();
    const int status = replay_main(n_arguments, arguments, &before);
    (void)snprintf(said, sizeof(said), "%s", capture_end());
    (void)fflush(stdout);
    assert_true(dup2(usual, STDOUT_FILENO) >= 0);
    const ssize_t n_bytes = pread(out, shown, sizeof(shown) - 1, 0);
    assert_true(n_bytes >= 0);
    shown[n_bytes] = '\0';
    assert_int_equal(close(out) + close(usual) + unlink(path), 0);
    assert_int_equal(fake.n_open, 0); /* each daemon has been ended */
    return status;
}

static void assert_in(const char *text, const char *wanted)
{
    if (!strstr(text, wanted)) {
        fail_msg("no \"%s\" in:\n%s", wanted, text);
    }
}

static void test_replay_plays_on_the_size_that_was_recorded(void **state)
{
    const int status =
        replay_with(HEAD "{\"k\": \"missed\", \"m\": 3}\n" FIVE_MIB, FORMAT_TABLE, NULL, NULL);
    assert_int_equal(status, STATUS_OK);
    assert_in(shown, ": 4 events; 5.0 MiB at most was taken, after ");
    assert_in(shown, "3 changes were missed when it was recorded");
    assert_in(shown, "8.0 MiB  all fits\n");
    assert_string_equal(said, "");
}

static void test_replay_says_what_was_refused_first(void **state)
{
    char small[] = "--size=4MiB";
    char large[] = "--size=16MiB";
    assert_int_equal(replay_with(HEAD FIVE_MIB, FORMAT_TABLE, small, large), STATUS_THRESHOLD);
    assert_in(shown, "4.0 MiB  1 of 2 refused, first 2.0 MiB after ");
    assert_in(shown, ": a\\x1b\n");
    assert_in(shown, "16.0 MiB  all fits\n");
    assert_int_equal(replay_with(HEAD LEASE("16384", "4194304"), FORMAT_TABLE, small, NULL),
                     STATUS_THRESHOLD);
    assert_in(shown, ": a lease\n");
}

static void test_replay_answers_in_json(void **state)
{
    char small[] = "--size=4MiB";
    assert_int_equal(replay_with(HEAD FIVE_MIB, FORMAT_JSONL, small, NULL), STATUS_THRESHOLD);
    assert_in(shown, "\"peak_bytes\": 5242880");
    assert_in(shown, "\"fits\": false, \"n_asked\": 2, \"n_refused\": 1");
    assert_in(shown, "\"first_refused_bytes\": 2097152");
    assert_int_equal(replay_with(HEAD FIVE_MIB, FORMAT_JSON, NULL, NULL), STATUS_OK);
    assert_in(shown, "\"fits\": true, ");
    assert_null(strstr(shown, "first_refused"));
}

static void test_replay_finds_the_smallest_size(void **state)
{
    char fit[] = "--fit";
    assert_int_equal(replay_with(HEAD FIVE_MIB, FORMAT_TABLE, fit, NULL), STATUS_OK);
    assert_in(shown, "6.0 MiB  all fits\n"); /* 5 MiB and a page */
    assert_int_equal(replay_with(HEAD, FORMAT_TABLE, fit, NULL), STATUS_OK);
    assert_in(shown, "1.0 MiB  all fits\n"); /* of nothing */
}

/* --------------------------------------------------------------------------------- faults ---- */

static void test_replay_without_a_daemon_says_so_with_its_status(void **state)
{
    char fit[] = "--fit";
    fake.open_r = PRIVATE_E_NOT_FOUND;
    assert_int_equal(replay_with(HEAD FIVE_MIB, FORMAT_TABLE, NULL, NULL), STATUS_NO_DAEMON);
    fake.open_r = PRIVATE_E_SIGNAL;
    assert_int_equal(replay_with(HEAD FIVE_MIB, FORMAT_JSON, NULL, NULL), 128 + 15);
    fake.open_r = PRIVATE_E_ENDED;
    assert_int_equal(replay_with(HEAD FIVE_MIB, FORMAT_TABLE, fit, NULL), STATUS_ERROR);
}

static void test_replay_that_is_not_played_to_its_end_is_an_error(void **state)
{
    fake.engine_r = -ECONNREFUSED;
    assert_int_equal(replay_with(HEAD FIVE_MIB, FORMAT_TABLE, NULL, NULL), STATUS_ERROR);
    assert_in(said, "the private kmemd did not play it: Connection refused\n");
    fake.engine_r = 0;
    fake.release_r = ENGINE_E_REFUSED; /* of what it gave */
    assert_int_equal(replay_with(HEAD FIVE_MIB, FORMAT_TABLE, NULL, NULL), STATUS_ERROR);
    assert_in(said, "the private kmemd did not play it: Protocol error\n");
}

static int setup(void **state)
{
    memset(&fake, 0, sizeof(fake));
    return 0;
}

#define TEST(function) cmocka_unit_test_setup(function, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_replay_plays_on_the_size_that_was_recorded),
        TEST(test_replay_says_what_was_refused_first),
        TEST(test_replay_answers_in_json),
        TEST(test_replay_finds_the_smallest_size),
        TEST(test_replay_without_a_daemon_says_so_with_its_status),
        TEST(test_replay_that_is_not_played_to_its_end_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
