/* SPDX-License-Identifier: MIT */
/*
 * test_dispatch_resize.c - the administrator asks for another size, or for what the configuration
 * says now, and is told what became of it
 */
#include <stdio.h>

#include "daemon/core/resize.h"
#include "proto/limits.h"
#include "proto/lease.h"
#include "tests/unit/conversation.h"
#include "tests/unit/unit.h"

#define N_PAGES 256
#define LIMIT 3
#define MIB (UINT64_C(1) << 20)

/* What the shell was asked for. */
static struct shell {
    bool has_memory;
    uint64_t at;
    uint64_t num_bytes;
    unsigned n_taken;
    unsigned n_resized;
    unsigned n_reloaded;
    uint64_t before_bytes;
} shell;

static bool take_memory(uint64_t at, uint64_t num_bytes, char *ret_why, size_t why_bytes,
                        void *user)
{
    struct shell *asked = user;
    asked->at = at;
    asked->num_bytes = num_bytes;
    asked->n_taken++;
    (void)snprintf(ret_why, why_bytes, "there is none");
    return asked->has_memory;
}

static void resized(uint64_t before_bytes, void *user)
{
    struct shell *asked = user;
    asked->before_bytes = before_bytes;
    asked->n_resized++;
}

static int talk_setup(void **state)
{
    talk_begin(N_PAGES, LIMIT);
    shell = (struct shell){.has_memory = true};
    talk.core->config.resize_user = &shell;
    talk.core->config.resized = resized;
    return 0;
}

static int ask_resize(struct peer *peer, uint64_t num_bytes)
{
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Resize resize = KMEM__RESIZE__INIT;
    resize.num_bytes = num_bytes;
    request.body_case = KMEM__REQUEST__BODY_RESIZE;
    request.resize = &resize;
    return ask_request(&talk, peer, &request);
}

static void assert_size(uint64_t segment_bytes, bool is_pending)
{
    assert_body(&talk, KMEM__RESPONSE__BODY_RESIZED);
    assert_int_equal(talk.reply->response.resized->segment_bytes, segment_bytes);
    assert_int_equal(talk.reply->response.resized->most_bytes, N_PAGES * PAGE_BYTES);
    assert_int_equal(talk.reply->response.resized->pending, is_pending);
    assert_int_equal(core_check(talk.core), 0);
    assert_int_equal(core_segment_bytes(talk.core), segment_bytes);
}

static void test_dispatch_resize_shrinks_and_grows(void **state)
{
    assert_int_equal(ask_resize(&alice, MIB), DISPATCH_OK);
    assert_size(MIB, false);
    assert_int_equal(shell.before_bytes, 4 * MIB);
    assert_int_equal(talk_statistic("segment_bytes"), MIB);
    assert_int_equal(talk_statistic("most_bytes"), 4 * MIB);
    assert_int_equal(ask_allocate(&talk, &bob, 2 * MIB, "frames", 6), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, "kmemctl resize");
    assert_int_equal(ask_resize(&alice, 3 * MIB), DISPATCH_OK);
    assert_size(3 * MIB, false);
    assert_int_equal(ask_allocate(&talk, &bob, 2 * MIB, "frames", 6), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_ALLOCATED);
    assert_int_equal(shell.n_resized, 2);
}

static void test_dispatch_resize_to_what_there_is_changes_nothing(void **state)
{
    assert_int_equal(ask_resize(&alice, 4 * MIB), DISPATCH_OK);
    assert_size(4 * MIB, false);
    assert_int_equal(shell.n_resized, 0);
}

static void test_dispatch_resize_is_the_administrators(void **state)
{
    bob.may_be &= ~(unsigned)ROLE_ADMIN;
    assert_int_equal(ask_resize(&bob, 2 * MIB), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_DENIED, "is no admin of segment");
    assert_int_equal(core_segment_bytes(talk.core), 4 * MIB);
}

static void test_dispatch_resize_refuses_what_can_not_be(void **state)
{
    assert_int_equal(ask_resize(&alice, 5 * MIB), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, "--max-size");
    assert_int_equal(ask_resize(&alice, 2 * MIB + 1), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, "whole pages");
    assert_int_equal(ask_resize(&alice, 0), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, "from 1.0 MiB to 4.0 MiB");
    assert_int_equal(ask_resize(&alice, UINT64_MAX), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, "--max-size");
}

static void test_dispatch_resize_names_who_is_in_the_way(void **state)
{
    assert_int_equal(ask_allocate(&talk, &bob, 3 * MIB, "frames", 6), DISPATCH_OK);
    const uint64_t offset = talk_offset();
    assert_int_equal(ask_allocate(&talk, &alice, 100000, "notes", 5), DISPATCH_OK);
    assert_int_equal(ask_release(&talk, &bob, offset), DISPATCH_OK);
    assert_int_equal(ask_resize(&alice, 2 * MIB), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_HELD,
                 "can not shrink to 2.0 MiB: 1 block (97.7 KiB) lies there; 1 of process 1 "
                 "(worker-1), \"notes\": 97.7 KiB");
    assert_int_equal(core_segment_bytes(talk.core), 4 * MIB);
}

/* Memory takes time: who asks waits, others are told, and asking again waits on. */
static void test_dispatch_resize_waits_for_memory(void **state)
{
    assert_int_equal(ask_resize(&alice, MIB), DISPATCH_OK);
    talk.core->config.take_memory = take_memory;
    assert_int_equal(ask_resize(&alice, 2 * MIB), DISPATCH_WAITING);
    assert_int_equal(shell.at, MIB);
    assert_int_equal(shell.num_bytes, MIB);
    assert_int_equal(core_segment_bytes(talk.core), MIB);
    assert_int_equal(ask_resize(&bob, 3 * MIB), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_BUSY, "is growing to 2.0 MiB");
    assert_int_equal(ask_resize(&bob, MIB), DISPATCH_OK); /* as large as it is still */
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_BUSY, "is growing to 2.0 MiB");
    talk.fixture.now_ms += 1000;
    assert_int_equal(ask_continue(&talk, &alice), DISPATCH_OK);
    assert_size(MIB, true);
    assert_int_equal(ask_resize(&alice, 2 * MIB), DISPATCH_WAITING);
    assert_int_equal(shell.n_taken, 1);
    resize_taken(talk.core, NULL);
    assert_int_equal(ask_continue(&talk, &alice), DISPATCH_OK);
    assert_size(2 * MIB, false);
}

static void test_dispatch_resize_says_why_there_is_no_memory(void **state)
{
    assert_int_equal(ask_resize(&alice, MIB), DISPATCH_OK);
    talk.core->config.take_memory = take_memory;
    shell.has_memory = false;
    assert_int_equal(ask_resize(&alice, 2 * MIB), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_NO_MEMORY,
                 "can not grow to 2.0 MiB: there is none");
    shell.has_memory = true;
    assert_int_equal(ask_resize(&alice, 2 * MIB), DISPATCH_WAITING);
    resize_taken(talk.core, "it was taken by others");
    assert_int_equal(ask_continue(&talk, &alice), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_NO_MEMORY, "it was taken by others");
    assert_int_equal(core_segment_bytes(talk.core), MIB);
    assert_int_equal(ask_resize(&alice, 2 * MIB), DISPATCH_WAITING);
    resize_taken(talk.core, NULL);
    assert_int_equal(ask_continue(&talk, &alice), DISPATCH_OK);
    assert_size(2 * MIB, false);
}

/* Who asked is gone: what was begun is done all the same. */
static void test_dispatch_resize_goes_on_without_who_asked(void **state)
{
    struct peer observer;
    assert_int_equal(ask_resize(&alice, MIB), DISPATCH_OK);
    talk.core->config.take_memory = take_memory;
    peer_open_observer(&talk, &observer, 4); /* of alice's user */
    assert_int_equal(ask_resize(&observer, 2 * MIB), DISPATCH_WAITING);
    peer_close(&talk, &observer);
    resize_taken(talk.core, NULL);
    assert_int_equal(ask_resize(&alice, 2 * MIB), DISPATCH_OK);
    assert_size(2 * MIB, false);
}

static bool barrier(void)
{
    return true;
}

/* There is a slab to look at, and behind it a block in the way. Return: the block's offset. */
static uint64_t fill_behind_a_slab(void)
{
    (void)fixture_ledger(&talk.fixture, bob.client);
    lease_open_slab(bob.client->states, fixture_lease(&talk.fixture, bob.client, 1), 1);
    talk.core->reclaim.barrier = barrier;
    assert_int_equal(ask_allocate(&talk, &bob, 3 * MIB, "frames", 6), DISPATCH_OK);
    return talk_offset();
}

/* A request that finds it waiting shares its pass over idle slabs, and begins none anew. */
static void test_dispatch_resize_waits_for_a_pass_until_it_is_answered(void **state)
{
    const struct reclaim *reclaim = &talk.core->reclaim;
    struct peer observer;
    (void)fill_behind_a_slab();
    assert_int_equal(ask_resize(&alice, 2 * MIB), DISPATCH_PENDING);
    assert_int_equal(reclaim->n_waiting, 1);
    assert_int_equal(ask_continue(&talk, &alice), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_HELD, "can not shrink to 2.0 MiB");
    assert_int_equal(reclaim->n_waiting, 0);
    assert_int_equal(ask_resize(&alice, 2 * MIB), DISPATCH_PENDING);
    talk.fixture.now_ms += 1000;
    while (ask_continue(&talk, &alice) == DISPATCH_PENDING) {
    }
    assert_int_equal(reclaim->n_waiting, 0);
    peer_open_observer(&talk, &observer, 4); /* of alice's user */
    assert_int_equal(ask_resize(&observer, 2 * MIB), DISPATCH_PENDING);
    assert_int_equal(reclaim->n_waiting, 1);
    peer_close(&talk, &observer);
    assert_int_equal(reclaim->n_waiting, 0);
}

/* Another has made that size meanwhile. */
static void test_dispatch_resize_leaves_a_pass_that_it_needs_no_more(void **state)
{
    struct peer observer;
    const uint64_t offset = fill_behind_a_slab();
    peer_open_observer(&talk, &observer, 4); /* of alice's user */
    assert_int_equal(ask_resize(&alice, 2 * MIB), DISPATCH_PENDING);
    assert_int_equal(ask_release(&talk, &bob, offset), DISPATCH_OK);
    assert_int_equal(ask_resize(&observer, 2 * MIB), DISPATCH_OK);
    assert_size(2 * MIB, false);
    assert_int_equal(ask_continue(&talk, &alice), DISPATCH_OK);
    assert_size(2 * MIB, false);
    assert_int_equal(talk.core->reclaim.n_waiting, 0);
    peer_close(&talk, &observer);
}

static void reload(struct reply *reply, void *user)
{
    struct shell *asked = user;
    asked->n_reloaded++;
    reply_error(reply, KMEM__ERROR_CODE__ERROR_INVALID, "line 1 is wrong");
}

/* What the shell makes of it is the answer. */
static void test_reload_is_the_shells_where_there_is_a_configuration(void **state)
{
    Kmem__Request request = KMEM__REQUEST__INIT;
    Kmem__Reload body = KMEM__RELOAD__INIT;
    request.body_case = KMEM__REQUEST__BODY_RELOAD;
    request.reload = &body;
    talk.core->config.owner_uid = alice.identity.uid;
    assert_int_equal(ask_request(&talk, &alice, &request), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, "there is no configuration");
    talk.core->config.reload = reload;
    talk.core->config.reload_user = &shell;
    assert_int_equal(ask_request(&talk, &alice, &request), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_INVALID, "line 1 is wrong");
    assert_int_equal(shell.n_reloaded, 1);
}

#define RESIZE_TEST(test) cmocka_unit_test_setup_teardown(test, talk_setup, talk_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RESIZE_TEST(test_dispatch_resize_shrinks_and_grows),
        RESIZE_TEST(test_dispatch_resize_to_what_there_is_changes_nothing),
        RESIZE_TEST(test_dispatch_resize_is_the_administrators),
        RESIZE_TEST(test_dispatch_resize_refuses_what_can_not_be),
        RESIZE_TEST(test_dispatch_resize_names_who_is_in_the_way),
        RESIZE_TEST(test_dispatch_resize_waits_for_memory),
        RESIZE_TEST(test_dispatch_resize_says_why_there_is_no_memory),
        RESIZE_TEST(test_dispatch_resize_goes_on_without_who_asked),
        RESIZE_TEST(test_dispatch_resize_waits_for_a_pass_until_it_is_answered),
        RESIZE_TEST(test_dispatch_resize_leaves_a_pass_that_it_needs_no_more),
        RESIZE_TEST(test_reload_is_the_shells_where_there_is_a_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
