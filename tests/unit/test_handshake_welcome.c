/* SPDX-License-Identifier: MIT */
/*
 * Welcomes that do not add up, and members that have no room for what comes with them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client/link/handshake.h"
#include "tests/unit/fake_daemon.h"
#include "tests/unit/unit.h"

static struct conn conn;
static struct failure failure;
static struct welcome welcome;
static struct rlimit real_limit;

static void (*spoil)(Kmem__Welcome *welcome);
static size_t n_fds_sent;

static bool welcome_wrongly(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Welcome spoilt = fake_welcome();
    int fds[16];
    for (size_t i = 0; i < n_fds_sent; i++) {
        fds[i] = fake_daemon_segment_fd();
    }
    spoil(&spoilt);
    fake_send_welcome(peer, request, &spoilt, fds, n_fds_sent);
    return true;
}

static void start(void)
{
    (void)setenv("KMEM_TIMEOUT_MS", "60000", 1);
    memset(&failure, 0, sizeof(failure));
    memset(&conn, 0, sizeof(conn));
    welcome.segment_fd = 77;
    fake_daemon_start();
    fake_daemon_hook(welcome_wrongly);
}

static int hello(void)
{
    return kmem__handshake(&conn, NULL, KMEM__ROLE__ROLE_MEMBER, &welcome, &failure);
}

static void assert_spoilt_is(void (*spoiler)(Kmem__Welcome *), size_t n_fds, int error)
{
    start();
    spoil = spoiler;
    n_fds_sent = n_fds;
    unsigned int n_before = fake_count_fds();
    assert_int_equal(hello(), -error);
    assert_int_equal(conn.fd, -1);
    assert_int_equal(welcome.segment_fd, 77);
    while (fake_daemon_n_open() > 0) {
        (void)usleep(1000);
    }
    /* The descriptors that came are closed; only the daemon's end of the connection is left. */
    assert_int_equal(fake_count_fds(), n_before + 1);
    fake_daemon_stop();
}

static void leave_as_is(Kmem__Welcome *spoilt)
{
    (void)spoilt;
}

static void spoil_version(Kmem__Welcome *spoilt)
{
    spoilt->version = PROTOCOL_VERSION + 0x10000;
}

static void spoil_page_bytes(Kmem__Welcome *spoilt)
{
    spoilt->page_bytes = 4096;
}

static uint64_t impossible_bytes;

static void spoil_size(Kmem__Welcome *spoilt)
{
    spoilt->segment_bytes = impossible_bytes;
}

static void announce_none(Kmem__Welcome *spoilt)
{
    spoilt->n_descriptors = 0;
}

static void announce_four(Kmem__Welcome *spoilt)
{
    spoilt->n_descriptors = 4;
}

static void announce_five(Kmem__Welcome *spoilt)
{
    spoilt->n_descriptors = 5;
}

static void test_hello_welcome_of_another_version_is_EPROTONOSUPPORT(void **state)
{
    assert_spoilt_is(spoil_version, 3, EPROTONOSUPPORT);
}

static void test_hello_welcome_with_other_pages_is_EPROTO(void **state)
{
    assert_spoilt_is(spoil_page_bytes, 3, EPROTO);
}

static void test_hello_welcome_with_an_impossible_size_is_EPROTO(void **state)
{
    static const uint64_t impossible[] = {0, FAKE_SEGMENT_BYTES + PAGE_BYTES / 2,
                                          UINT64_MAX - PAGE_BYTES + 1};
    for (size_t i = 0; i < sizeof(impossible) / sizeof(impossible[0]); i++) {
        impossible_bytes = impossible[i];
        assert_spoilt_is(spoil_size, 3, EPROTO);
    }
}

static void test_hello_welcome_with_other_descriptors_is_EPROTO(void **state)
{
    assert_spoilt_is(leave_as_is, 0, EPROTO);   /* announced, not sent */
    assert_spoilt_is(leave_as_is, 1, EPROTO);   /* as before there were ledgers */
    assert_spoilt_is(announce_none, 3, EPROTO); /* sent, not announced */
    assert_spoilt_is(leave_as_is, 4, EPROTO);
    assert_spoilt_is(announce_five, 5, EPROTO); /* more than a member gets */
    assert_spoilt_is(announce_four, 9, EPROTO);
}

/* Lets this process have n_more descriptors. */
static void limit_descriptors(unsigned int n_more)
{
    struct rlimit limit = real_limit;
    int fd = 0;
    while (n_more > 0) {
        n_more -= fcntl(fd, F_GETFD) < 0;
        fd++;
    }
    limit.rlim_cur = (rlim_t)fd;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static void assert_hello_fails_with_descriptors_for(unsigned int n_more, size_t n_sent, int error)
{
    start();
    spoil = leave_as_is;
    n_fds_sent = n_sent;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &real_limit), 0);
    limit_descriptors(n_more);
    int r = hello();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &real_limit), 0);
    assert_int_equal(r, -error);
    assert_int_equal(welcome.segment_fd, 77);
    fake_daemon_stop();
}

static void test_hello_no_descriptor_left_for_what_comes_is_EMFILE(void **state)
{
    /* Two: both ends of the connection. Three, four: the segment, the ledger as well. */
    for (unsigned int n_more = 2; n_more <= 4; n_more++) {
        assert_hello_fails_with_descriptors_for(n_more, 3, EMFILE);
        assert_non_null(strstr(failure.sentence, "RLIMIT_NOFILE"));
    }
}

static void test_hello_welcome_that_was_cut_is_EPROTO(void **state)
{
    /* The fake daemon's next accept() has one. Of four that come three are taken, as announced. */
    assert_hello_fails_with_descriptors_for(6, 4, EPROTO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello_welcome_of_another_version_is_EPROTONOSUPPORT),
        cmocka_unit_test(test_hello_welcome_with_other_pages_is_EPROTO),
        cmocka_unit_test(test_hello_welcome_with_an_impossible_size_is_EPROTO),
        cmocka_unit_test(test_hello_welcome_with_other_descriptors_is_EPROTO),
        cmocka_unit_test(test_hello_no_descriptor_left_for_what_comes_is_EMFILE),
        cmocka_unit_test(test_hello_welcome_that_was_cut_is_EPROTO),
    };
    return cmocka_run_group_tests_name("hello_welcome", tests, NULL, NULL);
}
