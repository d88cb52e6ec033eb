/* SPDX-License-Identifier: MIT */
/*
 * test_handles.c - a million handles that lead nowhere: none is accepted, and nothing changes
 *
 * Made up; changed in a bit or a field; of blocks that are gone, whose records and places others
 * have by now; of another segment. They are sent as any client sends them, one by one and behind
 * good ones; every byte of the state file, but for the counters of requests, is what it was before.
 * The seed is printed; KMEM_HANDLES_SEED in the environment is another one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/core/hash.h"
#include "tests/unit/share_talk.h"
#include "tests/support/seeded.h"

/* A build without NDEBUG is one for sanitizers and debuggers: a fifth of them there. */
#ifdef NDEBUG
#define N_TRIED 1000000
#else
#define N_TRIED 200000
#endif
#define N_LIVE 32
#define N_GONE 256
/* Of so many the state is looked at as a whole. */
#define N_BETWEEN 100000

static struct seeded seeded;
static struct share_handle live[N_LIVE];
static struct share_handle gone[N_GONE];

static uint32_t below(uint32_t limit)
{
    return seeded_below(&seeded, limit);
}

/* ----------------------------------------------------------------------- what may not change -- */

/* The file but for the counters, which stand at the end of its header. */
static uint64_t digest_of_file(void)
{
    const unsigned char *base = talk.fixture.state_base;
    const uint64_t parts[] = {
        hash_words(1, base, offsetof(struct state_header, counters)),
        hash_words(2, base + sizeof(struct state_header),
                   talk.fixture.state_bytes - sizeof(struct state_header)),
        hash_words(3, talk.fixture.ledgers[alice.client->slot].returns,
                   sizeof(struct ledger_returns)),
    };
    return (uint64_t)hash_words(4, parts, sizeof(parts)) << 32 |
           hash_words(5, parts, sizeof(parts));
}

/* What is derived of it, in numbers. */
struct counted_now {
    uint64_t file;
    uint32_t n_shares;
    uint32_t n_holds;
    uint32_t n_leased;
    uint32_t n_names;
    uint32_t n_waits;
    uint64_t n_blocks;
    uint64_t num_bytes_of[3];
    uint64_t attaches;
};

static void count(struct counted_now *ret_now)
{
    const struct core *core = talk.core;
    memset(ret_now, 0, sizeof(*ret_now)); /* it is compared as bytes */
    ret_now->file = digest_of_file();
    ret_now->n_shares = core->shares.n_shares;
    ret_now->n_holds = core->shares.n_holds;
    ret_now->n_leased = core->shares.n_leased;
    ret_now->n_names = core->names.n_names;
    ret_now->n_waits = core->waits.n;
    ret_now->n_blocks = core->direct.n_blocks;
    ret_now->num_bytes_of[0] = alice.client->num_bytes;
    ret_now->num_bytes_of[1] = bob.client->num_bytes;
    ret_now->num_bytes_of[2] = carol.client->num_bytes;
    ret_now->attaches = core->state.counters->attaches;
}

/* --------------------------------------------------------------------------------- handles ---- */

/* Blocks whose handles are known, and places, records and slabs that others have by now: each is
   shared and let go of N_GONE / N_LIVE times before the one that is there. */
static void share_again_and_again(void)
{
    const uint32_t size_class = size_class_of(64);
    const uint32_t page =
        fixture_lease(&talk.fixture, alice.client, size_classes[size_class].span_pages);
    fixture_carve(&talk.fixture, alice.client, page, size_class);
    for (uint32_t i = 0; i < N_GONE; i++) {
        gone[i] = share(&alice, allocate(&alice, 100 + 100 * (i % N_LIVE)));
        attach(&bob, &gone[i]);
        (void)let_go(&alice, gone[i].offset);
        assert_false(let_go(&bob, gone[i].offset));
    }
    for (uint32_t i = 0; i < N_LIVE; i++) {
        const bool is_leased = i % 4 == 0;
        live[i] =
            share(&alice, is_leased ? fixture_take(&talk.fixture, alice.client, page, 64).bytes
                                    : allocate(&alice, 100 + 100 * i));
        if (i % 2 == 0) {
            attach(&bob, &live[i]);
        }
    }
    (void)publish(&alice, live[1].offset, "frame", 0);
}

static uint64_t *field_of(struct share_handle *handle, uint32_t which)
{
    uint64_t *const fields[] = {&handle->instance, &handle->generation, &handle->tag,
                                &handle->offset, &handle->num_bytes};
    return fields[which];
}

/* Small numbers, numbers of the segment, and any. */
static uint64_t made_up(void)
{
    switch (below(4)) {
    case 0:
        return below(1000);
    case 1:
        return below(SHARE_TALK_PAGES) * PAGE_BYTES + below(PAGE_BYTES);
    case 2:
        return (uint64_t)below(N_GONE + 2 * N_LIVE) << SHARE_INDEX_BITS | below(2 * N_LIVE);
    default:
        return seeded_next(&seeded);
    }
}

static struct share_handle random_handle(void)
{
    struct share_handle handle;
    for (uint32_t i = 0; i < 5; i++) {
        *field_of(&handle, i) = made_up();
    }
    handle.instance = below(4) == 0 ? handle.instance : live[0].instance;
    return handle;
}

/* A good one in which one bit, or one field, is another. */
static struct share_handle changed_handle(void)
{
    struct share_handle handle = live[below(N_LIVE)];
    uint64_t *field = field_of(&handle, below(5));
    const uint64_t was = *field;
    while (*field == was) {
        *field = below(2) == 0 ? was ^ UINT64_C(1) << below(64) : made_up();
    }
    return handle;
}

/* Of what is gone, with some of it as it is now. */
static struct share_handle stale_handle(void)
{
    struct share_handle handle = gone[below(N_GONE)];
    const struct share_handle *now = &live[below(N_LIVE)];
    switch (below(4)) {
    case 0:
        handle.tag = now->tag;
        break;
    case 1:
        handle.offset = now->offset;
        handle.num_bytes = now->num_bytes;
        break;
    default:
        break;
    }
    return handle;
}

static struct share_handle foreign_handle(void)
{
    struct share_handle handle = live[below(N_LIVE)];
    while (handle.instance == live[0].instance) {
        handle.instance =
            below(2) == 0 ? seeded_next(&seeded) : live[0].instance ^ UINT64_C(1) << below(64);
    }
    return handle;
}

static struct share_handle (*const kinds[])(void) = {random_handle, changed_handle, stale_handle,
                                                     foreign_handle};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

/* A client that does not hold it asks, or one that does; alone or behind good ones. */
static Kmem__ErrorCode try_one(const struct share_handle *handle)
{
    struct peer *const asker = below(2) == 0 ? &bob : &carol;
    struct share_handle handles[4];
    const uint32_t n = below(8) == 0 ? 1 + below(4) : 1;
    for (uint32_t i = 0; i + 1 < n; i++) {
        handles[i] = live[below(N_LIVE)];
    }
    handles[n - 1] = *handle;
    assert_int_equal(ask_attach(asker, handles, n, below(2) == 0), DISPATCH_OK);
    if (talk.reply->response.body_case != KMEM__RESPONSE__BODY_ERROR) {
        fail_msg("accepted: %llx, generation %llx, tag %llx, offset %llx, %llu bytes",
                 (unsigned long long)handle->instance, (unsigned long long)handle->generation,
                 (unsigned long long)handle->tag, (unsigned long long)handle->offset,
                 (unsigned long long)handle->num_bytes);
    }
    return talk.reply->response.error->code;
}

static void try_all(uint32_t n_tried, const struct counted_now *wanted)
{
    uint32_t n_stale = 0;
    uint32_t n_denied = 0;
    for (uint32_t i = 0; i < n_tried; i++) {
        const struct share_handle handle = kinds[i % N_KINDS]();
        const Kmem__ErrorCode code = try_one(&handle);
        n_stale += code == KMEM__ERROR_CODE__ERROR_STALE;
        n_denied += code == KMEM__ERROR_CODE__ERROR_DENIED;
        if ((i + 1) % N_BETWEEN == 0) {
            struct counted_now now;
            count(&now);
            assert_memory_equal(&now, wanted, sizeof(now));
            assert_int_equal(core_check(talk.core), 0);
        }
    }
    print_message("%u were stale, %u denied\n", n_stale, n_denied);
    assert_int_equal(n_stale + n_denied, n_tried);
    assert_true(n_denied > n_tried / 100);
}

static void test_a_million_handles_that_lead_nowhere_change_nothing(void **state)
{
    const char *seed = getenv("KMEM_HANDLES_SEED");
    struct counted_now wanted;
    (void)state;
    seeded.state = seed ? strtoull(seed, NULL, 10) : 20261130;
    print_message("seed %llu\n", (unsigned long long)seeded.state);
    share_again_and_again();
    count(&wanted);
    try_all(N_TRIED / 2, &wanted);

    share_talk_restart(); /* another server knows no more of them */

    count(&wanted);
    try_all(N_TRIED / 2, &wanted);
    for (uint32_t i = 0; i < N_LIVE; i++) {
        attach(&carol, &live[i]); /* the good ones are as good as before */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_a_million_handles_that_lead_nowhere_change_nothing,
                                        share_talk_setup, share_talk_teardown),
    };
    return cmocka_run_group_tests_name("handles", tests, NULL, NULL);
}
