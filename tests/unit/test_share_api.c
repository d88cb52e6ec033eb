/* SPDX-License-Identifier: MIT */
/*
 * test_share_api.c - what kmem/share.h promises where there is no place for an answer, and where
 *                    the daemon refuses what is asked of shared blocks, or answers oddly
 */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <kmem/share.h>

#include "tests/unit/api_fixture.h"

#define N_SHARED 3
#define SHARED_BYTES 1000

/* How it answers what is asked of shared blocks. */
static enum {
    HONEST,
    REFUSES,        /* all of it */
    REFUSES_SECOND, /* of several: the first is released */
    NEITHER_NOR,    /* releases nothing, and refuses nothing */
} how;

static unsigned n_releases;

static uint64_t offset_of(size_t i)
{
    return PAGE_BYTES * (i + 1);
}

static void answer_attach(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__Attached attached = KMEM__ATTACHED__INIT;
    Kmem__AttachedBlock blocks[N_SHARED];
    Kmem__AttachedBlock *all[N_SHARED];
    for (size_t i = 0; i < request->attach->n_handles; i++) {
        kmem__attached_block__init(&blocks[i]);
        blocks[i].offset = request->attach->handles[i]->offset;
        blocks[i].num_bytes = SHARED_BYTES;
        blocks[i].generation = request->attach->handles[i]->generation;
        all[i] = &blocks[i];
    }
    attached.blocks = all;
    attached.n_blocks = request->attach->n_handles;
    response.body_case = KMEM__RESPONSE__BODY_ATTACHED;
    response.attached = &attached;
    fake_send(peer, request, &response, NULL, 0);
}

static void answer_release(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    Kmem__ReleasedMany many = KMEM__RELEASED_MANY__INIT;
    Kmem__Error error = KMEM__ERROR__INIT;
    Kmem__Released released = KMEM__RELEASED__INIT;
    Kmem__Released *all[N_SHARED] = {&released, &released, &released};
    error.code = KMEM__ERROR_CODE__ERROR_FOREIGN;
    error.message = (char *)(uintptr_t) "is another's";
    released.num_bytes = SHARED_BYTES;
    many.released = all;
    many.n_released = how == HONEST           ? request->release_many->n_offsets
                      : how == REFUSES_SECOND ? 1
                                              : 0;
    many.refused = how == REFUSES_SECOND ? &error : NULL;
    response.body_case = KMEM__RESPONSE__BODY_RELEASED_MANY;
    response.released_many = &many;
    fake_send(peer, request, &response, NULL, 0);
}

static bool answer(struct fake_peer *peer, const Kmem__Request *request)
{
    const bool is_release = request->body_case == KMEM__REQUEST__BODY_RELEASE_MANY;
    n_releases += is_release;
    if (request->body_case == KMEM__REQUEST__BODY_ATTACH) {
        answer_attach(peer, request);
        return true;
    }
    if (!is_release && request->body_case != KMEM__REQUEST__BODY_WATCH) {
        return false;
    }
    if (how == REFUSES) {
        fake_send_error(peer, request, KMEM__ERROR_CODE__ERROR_BUSY, "does not want to");
    } else if (is_release) {
        answer_release(peer, request);
    }
    return true;
}

static int start_sharing(void **state)
{
    how = HONEST;
    n_releases = 0;
    const int r = start_daemon(state);
    fake_daemon_hook(answer);
    return r;
}

static void attach_all(void **mems)
{
    struct kmem_handle handles[N_SHARED];
    const Kmem__Welcome welcome = fake_welcome();
    for (size_t i = 0; i < N_SHARED; i++) {
        handles[i] = (struct kmem_handle){welcome.instance, i + 1, 7, offset_of(i), SHARED_BYTES};
    }
    assert_int_equal(kmem_attach_many(handles, N_SHARED, 0, "shared", mems), 0);
    for (size_t i = 0; i < N_SHARED; i++) {
        assert_int_equal(kmem_offset_of(mems[i]), offset_of(i));
    }
}

/* ---------------------------------------------------------------------- no place, no block ---- */

static void assert_refused(int r, const char *words)
{
    assert_int_equal(r, -EINVAL);
    if (strstr(kmem_last_error(), words) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", kmem_last_error(), words);
    }
}

/* Each says which argument it is; the daemon need not be there. */
static void test_share_NULL_is_EINVAL(void **state)
{
    char text[KMEM_HANDLE_TEXT_BYTES];
    const struct kmem_handle handle = {.generation = 1};
    struct kmem_handle out;
    uint64_t version = 0;
    void *mem = NULL;

    assert_refused(kmem_transfer((void **)NULL, 0, &out), "NULL is no pointer's address");
    assert_refused(kmem_transfer(&mem, 0, NULL), "NULL is no place for the handle");
    assert_refused(kmem_next("a", 0, "why", NULL, &mem, 0), "NULL is no place for the version");
    assert_refused((kmem_next)("a", 0, "why", &version, NULL, 0), "NULL is no pointer's address");
    assert_refused(kmem_handle_to_text(NULL, text, sizeof(text)), "NULL is no handle");
    assert_refused(kmem_handle_to_text(&handle, NULL, sizeof(text)),
                   "NULL is no place for the text");
    assert_refused(kmem_handle_to_text(&handle, text, sizeof(text) - 1), "KMEM_HANDLE_TEXT_BYTES");
    assert_refused(kmem_handle_from_text(NULL, &out), "NULL is no text");
    assert_refused(kmem_handle_from_text("kmem://", NULL), "NULL is no place for the handle");
    assert_refused(kmem_release_many(NULL, 1), "NULL is no array of pointers");
    assert_refused(kmem_publish(&mem, NULL, 0, NULL), "NULL is no name");
    assert_refused(kmem_watch(NULL), "NULL is no name");
    assert_int_equal(fake_daemon_n_peers(), 0);
}

static void test_release_many_takes_1_to_64(void **state)
{
    void *mems[KMEM_MANY_MAX + 1] = {NULL};
    assert_refused(kmem_release_many(mems, 0), "1 to 64 blocks");
    assert_refused(kmem_release_many(mems, KMEM_MANY_MAX + 1), "1 to 64 blocks");
    assert_int_equal(kmem_release_many(mems, KMEM_MANY_MAX), 0); /* of NULL each is none */
    assert_int_equal(n_releases, 0);
}

static void test_release_many_ends_at_what_is_no_block(void **state)
{
    int local = 0;
    void *mems[N_SHARED + 1];
    attach_all(mems);
    mems[N_SHARED] = mems[2];
    mems[2] = &local;
    assert_int_equal(kmem_release_many(mems, N_SHARED + 1), -EINVAL);
    assert_null(mems[0]); /* those before it are released, */
    assert_null(mems[1]);
    assert_ptr_equal(mems[2], &local);
    assert_non_null(mems[3]); /* and those behind it not looked at */
    assert_int_equal(kmem_release_many(&mems[3], 1), 0);
    assert_int_equal(n_releases, 2);
}

/* -------------------------------------------------------------------- answers that are odd ---- */

static void test_release_many_refused_keeps_all(void **state)
{
    void *mems[N_SHARED];
    attach_all(mems);
    how = REFUSES;
    assert_int_equal(kmem_release_many(mems, N_SHARED), -EBUSY);
    assert_non_null(strstr(kmem_last_error(), "does not want to"));
    for (size_t i = 0; i < N_SHARED; i++) {
        assert_non_null(mems[i]);
    }
    how = HONEST;
    assert_int_equal(kmem_release_many(mems, N_SHARED), 0);
}

static void test_release_many_refused_in_part_says_which(void **state)
{
    void *mems[N_SHARED];
    attach_all(mems);
    how = REFUSES_SECOND;
    assert_int_equal(kmem_release_many(mems, N_SHARED), -EPERM);
    assert_non_null(strstr(kmem_last_error(), "is another's; only its owner may do this"));
    assert_null(mems[0]);
    assert_non_null(mems[1]);
    assert_non_null(mems[2]);
    how = HONEST;
    assert_int_equal(kmem_release_many(&mems[1], 2), 0);
}

static void test_release_of_a_shared_block_refused_says_why(void **state)
{
    void *mems[N_SHARED];
    attach_all(mems);
    how = REFUSES;
    assert_int_equal(kmem_try_release(&mems[0]), -EBUSY);
    assert_non_null(strstr(kmem_last_error(), "does not want to"));
}

static void test_release_of_a_shared_block_neither_done_nor_refused_is_EPROTO(void **state)
{
    void *mems[N_SHARED];
    attach_all(mems);
    how = NEITHER_NOR;
    assert_int_equal(kmem_try_release(&mems[0]), -EPROTO);
    assert_non_null(strstr(kmem_last_error(), "released nothing and refused nothing"));
    assert_non_null(mems[0]);
}

/* ------------------------------------------------------------------------- handles as text ---- */

static void test_handle_from_text_of_elsewhere_is_ESTALE(void **state)
{
    char text[KMEM_HANDLE_TEXT_BYTES];
    char other[KMEM_HANDLE_TEXT_BYTES + 1];
    const Kmem__Welcome welcome = fake_welcome();
    const struct kmem_handle handle = {welcome.instance, 1, 7, offset_of(0), SHARED_BYTES};
    struct kmem_handle out;
    assert_int_equal(kmem_handle_to_text(&handle, text, sizeof(text)), 0);
    assert_int_equal(kmem_handle_from_text(text, &out), 0);
    assert_memory_equal(&out, &handle, sizeof(handle));

    char *const segment = strchr(text + strlen("kmem://"), '/');
    (void)snprintf(other, sizeof(other), "kmem://elsewhere%s", segment);
    assert_int_equal(kmem_handle_from_text(other, &out), -ESTALE);
    assert_non_null(strstr(kmem_last_error(), "on host elsewhere; this process is in segment"));
    (void)snprintf(other, sizeof(other), "%.*s/x%s", (int)(segment - text), text, segment + 1);
    assert_int_equal(kmem_handle_from_text(other, &out), -ESTALE);
}

static void test_handle_to_text_of_another_segment_is_ESTALE(void **state)
{
    char text[KMEM_HANDLE_TEXT_BYTES];
    const Kmem__Welcome welcome = fake_welcome();
    const struct kmem_handle handle = {welcome.instance + 1, 1, 7, offset_of(0), SHARED_BYTES};
    assert_int_equal(kmem_handle_to_text(&handle, text, sizeof(text)), -ESTALE);
    assert_non_null(strstr(kmem_last_error(), "is of another segment than"));
}

/* --------------------------------------------------------------------------------- watches ---- */

static void test_watch_refused_says_why_and_leaves_nothing_open(void **state)
{
    const unsigned n_fds = fake_count_fds();
    how = REFUSES;
    assert_int_equal(kmem_watch("a"), -EBUSY);
    assert_non_null(strstr(kmem_last_error(), "does not want to"));
    fake_daemon_stop(); /* its own end is closed with its thread */
    fake_daemon_start();
    assert_in_range(fake_count_fds(), 0, n_fds);
}

/* What this process has joined is gone: its names would be another segment's. */
static void test_watch_of_another_segment_than_was_joined_is_ECONNRESET(void **state)
{
    void *mem = kmem_try_allocate(100, "joined");
    assert_non_null(mem);
    fake_daemon_replace_segment();
    assert_int_equal(kmem_watch("a"), -ECONNRESET);
    assert_non_null(
        strstr(kmem_last_error(), "has another segment than the one that this process"));
}

static void test_watch_read_of_what_is_no_watch_says_so(void **state)
{
    int ends[2];
    assert_int_equal(kmem_watch_read(-1), -EBADF);
    assert_non_null(strstr(kmem_last_error(), "the descriptor is no watch"));
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    assert_int_equal(kmem_watch_read(ends[0]), -EAGAIN);
    assert_non_null(strstr(kmem_last_error(), "the name has not changed"));
    assert_int_equal(close(ends[1]), 0);
    assert_int_equal(kmem_watch_read(ends[0]), -ECONNRESET);
    assert_non_null(strstr(kmem_last_error(), "the watch has ended"));
    assert_int_equal(close(ends[0]), 0);
}

#define SHARE_TEST(function) cmocka_unit_test_setup_teardown(function, start_sharing, stop_daemon)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHARE_TEST(test_share_NULL_is_EINVAL),
        SHARE_TEST(test_release_many_takes_1_to_64),
        SHARE_TEST(test_release_many_ends_at_what_is_no_block),
        SHARE_TEST(test_release_many_refused_keeps_all),
        SHARE_TEST(test_release_many_refused_in_part_says_which),
        SHARE_TEST(test_release_of_a_shared_block_refused_says_why),
        SHARE_TEST(test_release_of_a_shared_block_neither_done_nor_refused_is_EPROTO),
        SHARE_TEST(test_handle_from_text_of_elsewhere_is_ESTALE),
        SHARE_TEST(test_handle_to_text_of_another_segment_is_ESTALE),
        SHARE_TEST(test_watch_refused_says_why_and_leaves_nothing_open),
        SHARE_TEST(test_watch_of_another_segment_than_was_joined_is_ECONNRESET),
        SHARE_TEST(test_watch_read_of_what_is_no_watch_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
