/* SPDX-License-Identifier: MIT */
/*
 * test_calls.c - a connection that is lost in the middle of a request, and the same client over
 * the next one.
 *
 * The daemon here remembers the last change by its sequence number, as the real one does, and is
 * cut off before or after it makes one, as often as the test wants.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "client/link/conn.h"
#include "tests/unit/fake_daemon.h"
#include "tests/unit/unit.h"

#define NONCE UINT64_C(0x123456789abcdef)
#define SLOT 7

enum fate {
    ANSWER,
    CUT_BEFORE, /* the change is not made */
    CUT_AFTER,  /* it is made, and nobody is told */
    SILENCE,    /* the same, and the connection stays open */
    DEAFNESS,   /* it is not made, and the connection stays open */
};

/* Written by the test before its call and by the daemon's thread during it. */
static struct {
    enum fate fate;        /* of the next changes */
    unsigned int n_left;   /* how many of them; then all are answered */
    unsigned int n_before; /* that are answered first */
    uint64_t last_sequence;
    uint64_t last_offset;
    unsigned int n_changes;
    unsigned int n_repeated;
    unsigned int n_resumed;
    int n_live;
    uint64_t next_offset;
    Kmem__ErrorCode hello_refusal; /* of one who comes back; 0: none */
    uint32_t slot;                 /* that one who comes back is told */
    unsigned int n_goodbyes_cut;   /* how many of the next are not answered */
    bool goodbye_is_taken;         /* whether such a one ends the client */
    unsigned int n_hellos_cut;     /* how many of the next are not answered */
    unsigned int hello_delay_ms;   /* how long the first such waits before it is cut */
} it;

static bool hello(struct fake_peer *peer, const Kmem__Request *request)
{
    int fds[WELCOME_DESCRIPTORS];
    const bool comes_back = request->hello->resume_nonce != 0;
    if (it.n_hellos_cut > 0) {
        it.n_hellos_cut--;
        (void)usleep(it.hello_delay_ms * 1000);
        it.hello_delay_ms = 0;
        (void)shutdown(peer->fd, SHUT_RDWR);
        return true;
    }
    if (comes_back && it.hello_refusal != 0) {
        fake_send_error(peer, request, it.hello_refusal, "Nobody knows that client.");
        return true;
    }
    if (comes_back && request->hello->resume_nonce != NONCE) {
        fake_send_error(peer, request, KMEM__ERROR_CODE__ERROR_DENIED, "That is not the nonce.");
        return true;
    }
    it.n_resumed += comes_back;
    Kmem__Welcome welcome = fake_welcome();
    welcome.resume_nonce = NONCE;
    welcome.resumed = comes_back;
    welcome.slot = comes_back ? it.slot : SLOT;
    fake_descriptors(peer, fds);
    fake_send_welcome(peer, request, &welcome, fds, WELCOME_DESCRIPTORS);
    (void)close(fds[1]);
    return true;
}

/* Makes the change, unless its sequence number says that it is made already. */
static void change(const Kmem__Request *request)
{
    if (request->sequence == it.last_sequence) {
        it.n_repeated++;
        return;
    }
    it.n_changes++;
    it.last_sequence = request->sequence;
    if (request->body_case == KMEM__REQUEST__BODY_ALLOCATE) {
        it.last_offset = it.next_offset;
        it.next_offset += 4096;
        it.n_live++;
    } else {
        it.n_live--;
    }
}

static void tell(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__Allocated allocated = KMEM__ALLOCATED__INIT;
    Kmem__Released released = KMEM__RELEASED__INIT;
    allocated.offset = it.last_offset;
    if (request->body_case == KMEM__REQUEST__BODY_ALLOCATE) {
        response.body_case = KMEM__RESPONSE__BODY_ALLOCATED;
        response.allocated = &allocated;
    } else {
        response.body_case = KMEM__RESPONSE__BODY_RELEASED;
        response.released = &released;
    }
    fake_send(peer, request, &response, NULL, 0);
}

/* Return: whether the connection is cut in place of an answer. */
static bool cut_goodbye(const struct fake_peer *peer)
{
    if (it.n_goodbyes_cut == 0) {
        return false;
    }
    it.n_goodbyes_cut--;
    it.hello_refusal = it.goodbye_is_taken ? KMEM__ERROR_CODE__ERROR_GONE : 0;
    (void)shutdown(peer->fd, SHUT_RDWR);
    return true;
}

static bool daemon_that_dies(struct fake_peer *peer, const Kmem__Request *request)
{
    if (request->body_case == KMEM__REQUEST__BODY_HELLO) {
        return hello(peer, request);
    }
    if (request->body_case == KMEM__REQUEST__BODY_GOODBYE) {
        return cut_goodbye(peer);
    }
    if (request->body_case != KMEM__REQUEST__BODY_ALLOCATE &&
        request->body_case != KMEM__REQUEST__BODY_RELEASE) {
        return false;
    }
    const enum fate fate = it.n_before == 0 && it.n_left > 0 ? it.fate : ANSWER;
    it.n_left -= it.n_before == 0 && it.n_left > 0;
    it.n_before -= it.n_before > 0;
    if (fate != CUT_BEFORE && fate != DEAFNESS) {
        change(request);
    }
    if (fate == ANSWER) {
        tell(peer, request);
    } else if (fate != SILENCE && fate != DEAFNESS) {
        (void)shutdown(peer->fd, SHUT_RDWR);
    }
    return true;
}

static void cut(enum fate fate, unsigned int n)
{
    it.fate = fate;
    it.n_left = n;
}

/*
 * How long a connection's calls wait is read when it is made. Short: some call is to be late, and
 * all others are to be in time on a machine with ten busy loops.
 */
static void wait_long(void)
{
    (void)setenv("KMEM_TIMEOUT_MS", "30000", 1);
}

static void wait_shortly(void)
{
    (void)setenv("KMEM_TIMEOUT_MS", "2000", 1);
}

static int start(void **state)
{
    wait_long();
    memset(&it, 0, sizeof(it));
    it.next_offset = PAGE_BYTES;
    it.slot = SLOT;
    fake_daemon_start();
    fake_daemon_hook(daemon_that_dies);
    return 0;
}

static int stop(void **state)
{
    const int r = kmem_close();
    fake_daemon_stop();
    return r == 0 || r == -ECONNRESET ? 0 : r;
}

/* --------------------------------------------------------------------- one change, one death -- */

static void test_allocate_is_asked_again_if_it_was_not_made(void **state)
{
    cut(CUT_BEFORE, 1);
    void *block = kmem_try_allocate(100, "first");
    assert_non_null(block);
    assert_int_equal(it.n_live, 1);
    assert_int_equal(it.n_repeated, 0);
    assert_int_equal(it.n_resumed, 1);
    assert_int_equal(kmem_try_release(&block), 0);
    assert_int_equal(it.n_live, 0);
}

static void test_allocate_is_not_doubled_if_it_was_made(void **state)
{
    cut(CUT_AFTER, 1);
    void *block = kmem_try_allocate(100, "once");
    assert_non_null(block);
    assert_int_equal(kmem_offset_of(block), PAGE_BYTES);
    assert_int_equal(it.n_live, 1);
    assert_int_equal(it.n_repeated, 1);
    assert_int_equal(kmem_try_release(&block), 0);
}

static void test_release_is_asked_again_whether_made_or_not(void **state)
{
    static const enum fate fates[] = {CUT_BEFORE, CUT_AFTER};
    for (size_t i = 0; i < 2; i++) {
        void *block = kmem_try_allocate(100, "to be released");
        assert_non_null(block);
        cut(fates[i], 1);
        assert_int_equal(kmem_try_release(&block), 0);
        assert_null(block);
        assert_int_equal(it.n_live, 0);
    }
    assert_int_equal(it.n_repeated, 1);
    assert_int_equal(it.n_resumed, 2);
}

static void test_daemon_that_dies_again_and_again(void **state)
{
    void *blocks[8];
    for (unsigned int i = 0; i < 8; i++) {
        cut(i % 2 ? CUT_AFTER : CUT_BEFORE, i);
        blocks[i] = kmem_try_allocate(100, "stubborn");
        assert_non_null(blocks[i]);
        assert_int_equal(it.n_live, i + 1);
        for (unsigned int k = 0; k < i; k++) {
            assert_ptr_not_equal(blocks[k], blocks[i]);
        }
    }
    for (unsigned int i = 0; i < 8; i++) {
        cut(CUT_AFTER, 1);
        assert_int_equal(kmem_try_release(&blocks[i]), 0);
    }
    assert_int_equal(it.n_live, 0);
    assert_int_equal(it.n_changes, 16);
}

static void test_resume_leaves_no_descriptor(void **state)
{
    void *block = kmem_try_allocate(100, "before");
    assert_non_null(block);
    const unsigned int n_fds = fake_count_fds();
    cut(CUT_AFTER, 1);
    assert_int_equal(kmem_try_release(&block), 0);
    /* The daemon is in this process, too, and keeps its end of each connection. */
    assert_int_equal(fake_count_fds(), n_fds + 1);
}

static void test_first_hello_is_said_again_though_the_daemon_took_long_to_die(void **state)
{
    it.n_hellos_cut = 2;
    it.hello_delay_ms = 1200; /* longer than the patience, which begins then */
    void *block = kmem_try_allocate(100, "patient");
    assert_non_null(block);
    assert_int_equal(it.n_hellos_cut, 0);
    assert_int_equal(kmem_try_release(&block), 0);
}

static void test_goodbye_is_said_again_if_it_was_not_heard(void **state)
{
    assert_non_null(kmem_try_allocate(100, "to have joined"));
    it.n_goodbyes_cut = 2;
    assert_int_equal(kmem_close(), 0);
    assert_int_equal(it.n_goodbyes_cut, 0);
    assert_int_equal(it.n_resumed, 2);
}

static void test_goodbye_that_was_heard_is_done_though_nobody_said_so(void **state)
{
    assert_non_null(kmem_try_allocate(100, "to have joined"));
    it.n_goodbyes_cut = 1;
    it.goodbye_is_taken = true;
    assert_int_equal(kmem_close(), 0);
    assert_int_equal(it.n_resumed, 0);
}

/* --------------------------------------------------------------------------- nobody is there -- */

static void test_gone_client_is_ECONNRESET(void **state)
{
    void *block = kmem_try_allocate(100, "lost");
    assert_non_null(block);
    it.hello_refusal = KMEM__ERROR_CODE__ERROR_GONE;
    cut(CUT_BEFORE, 1);
    assert_int_equal(kmem_try_release(&block), -ECONNRESET);
    assert_non_null(block);
    const unsigned int n_peers = fake_daemon_n_peers();
    assert_int_equal(kmem_try_release(&block), -ECONNRESET);
    assert_int_equal(fake_daemon_n_peers(), n_peers); /* it does not ask again */
    it.hello_refusal = KMEM__ERROR_CODE__ERROR_UNSPECIFIED;
    assert_int_equal(kmem_close(), -ECONNRESET);
    block = kmem_try_allocate(100, "a new client");
    assert_non_null(block);
}

static void test_another_clients_welcome_is_ECONNRESET(void **state)
{
    void *block = kmem_try_allocate(100, "mine");
    assert_non_null(block);
    it.slot = SLOT + 1;
    cut(CUT_BEFORE, 1);
    assert_int_equal(kmem_try_release(&block), -ECONNRESET);
    assert_non_null(strstr(kmem_last_error(), "takes this process for another client"));
}

static void test_daemon_that_does_not_come_back_is_ECONNRESET(void **state)
{
    wait_shortly();
    void *block = kmem_try_allocate(100, "alone");
    assert_non_null(block);
    fake_daemon_end();
    const int64_t begin_ms = kmem__monotonic_ms();
    assert_int_equal(kmem_try_release(&block), -ECONNRESET);
    assert_non_null(strstr(kmem_last_error(), "none came back"));
    assert_true(kmem__monotonic_ms() - begin_ms >= 1900);
    /* A client that has waited once does not wait again: this ends, and not in a day. */
    (void)setenv("KMEM_TIMEOUT_MS", "86400000", 1);
    assert_int_equal(kmem_try_release(&block), -ECONNRESET);
}

/* ----------------------------------------------------------------------------- came too late -- */

static void test_allocate_that_is_late_leaves_no_block(void **state)
{
    wait_shortly();
    cut(SILENCE, 1);
    assert_null(kmem_try_allocate(100, "late"));
    assert_int_equal(errno, ETIMEDOUT);
    assert_int_equal(it.n_live, 1);
    wait_long();
    void *block = kmem_try_allocate(200, "in time");
    assert_non_null(block);
    assert_int_equal(it.n_live, 1);
    assert_int_equal(it.n_repeated, 1);
    assert_int_equal(kmem_try_release(&block), 0);
    assert_int_equal(it.n_live, 0);
}

static void test_allocate_that_is_late_leaves_no_block_though_its_release_is_late_too(void **state)
{
    wait_shortly();
    cut(SILENCE, 1);
    assert_null(kmem_try_allocate(100, "late"));
    it.n_before = 1; /* the block is asked for again, and its release not heard */
    cut(DEAFNESS, 1);
    assert_null(kmem_try_allocate(200, "late because of it"));
    assert_int_equal(errno, ETIMEDOUT);
    assert_int_equal(it.n_live, 1);
    wait_long();
    assert_non_null(kmem_try_allocate(200, "in time"));
    assert_int_equal(it.n_live, 1);
}

/*
 * The caller can not be told to try again: in the meantime another thread may have been given a
 * block at the same place.
 */
static void test_release_that_is_late_happens_before_anything_else(void **state)
{
    static const enum fate fates[] = {SILENCE, DEAFNESS};
    wait_shortly();
    for (unsigned int i = 0; i < 2; i++) {
        void *first = kmem_try_allocate(100, "to be released");
        assert_non_null(first);
        cut(fates[i], 1);
        assert_int_equal(kmem_try_release(&first), 0);
        assert_null(first);
        void *second = kmem_try_allocate(100, "next");
        assert_non_null(second);
        assert_int_equal(it.n_live, 1);
        assert_int_equal(it.n_repeated, 1); /* the first time only: then it had been made */
        assert_int_equal(kmem_try_release(&second), 0);
        assert_int_equal(it.n_live, 0);
    }
    assert_int_equal(it.n_changes, 8);
}

static void test_release_behind_one_that_is_late_changes_nothing_if_it_is_late_too(void **state)
{
    wait_shortly();
    void *first = kmem_try_allocate(100, "first");
    void *second = kmem_try_allocate(100, "second");
    assert_int_equal(it.n_live, 2);
    cut(DEAFNESS, 2);
    assert_int_equal(kmem_try_release(&first), 0);
    assert_int_equal(kmem_try_release(&second), -ETIMEDOUT);
    assert_non_null(second); /* it was never asked for */
    assert_int_equal(it.n_live, 2);
    wait_long();
    assert_int_equal(kmem_try_release(&second), 0);
    assert_int_equal(it.n_live, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(test_allocate_is_asked_again_if_it_was_not_made),
        TEST(test_allocate_is_not_doubled_if_it_was_made),
        TEST(test_release_is_asked_again_whether_made_or_not),
        TEST(test_daemon_that_dies_again_and_again),
        TEST(test_resume_leaves_no_descriptor),
        TEST(test_first_hello_is_said_again_though_the_daemon_took_long_to_die),
        TEST(test_goodbye_is_said_again_if_it_was_not_heard),
        TEST(test_goodbye_that_was_heard_is_done_though_nobody_said_so),
        TEST(test_gone_client_is_ECONNRESET),
        TEST(test_another_clients_welcome_is_ECONNRESET),
        TEST(test_daemon_that_does_not_come_back_is_ECONNRESET),
        TEST(test_allocate_that_is_late_leaves_no_block),
        TEST(test_allocate_that_is_late_leaves_no_block_though_its_release_is_late_too),
        TEST(test_release_that_is_late_happens_before_anything_else),
        TEST(test_release_behind_one_that_is_late_changes_nothing_if_it_is_late_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
