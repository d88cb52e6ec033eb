/* SPDX-License-Identifier: MIT */
/*
 * test_no_room_true.c - each figure in the sentence of a refusal is what the core has then
 *
 * What a sentence should say is counted here from single pages and single blocks, after random
 * allocations and releases of several clients; the sentence must have it word by word.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/block_iter.h"
#include "daemon/core/no_room.h"
#include "proto/lease.h"
#include "proto/text.h"
#include "tests/support/seeded.h"
#include "tests/unit/conversation.h"
#include "tests/unit/unit.h"

#define N_PAGES 4096
#define N_PEERS 8
#define N_REASONS 9
#define N_HELD 600
#define N_HOLDERS 5

static struct core *core;
static struct peer peers[N_PEERS];
static struct {
    uint64_t offset; /* 0: nothing */
    uint32_t peer;
} held[N_HELD];

/* Of a holder: its words in the sentence, and by what it is put in order. */
struct holder {
    char name[REASON_MAX_BYTES + 64];
    uint64_t num_bytes;
    uint64_t n_blocks;
};

static int true_setup(void **state)
{
    talk_begin(N_PAGES, 100);
    core = talk.core;
    memset(held, 0, sizeof(held));
    for (uint32_t i = 0; i < N_PEERS; i++) {
        peer_open_member(&talk, &peers[i], 10 + i);
    }
    return 0;
}

static int true_teardown(void **state)
{
    while (no_room_has_work(core)) {
        no_room_work(core, (struct now){talk.fixture.now_ms, talk.fixture.now_ms * 1000});
    }
    for (uint32_t i = 0; i < N_PEERS; i++) {
        peer_close(&talk, &peers[i]);
    }
    return talk_teardown(state);
}

static const char *refused(uint64_t num_bytes)
{
    assert_int_equal(ask_allocate(&talk, &bob, num_bytes, "", 0), DISPATCH_OK);
    assert_error(&talk, KMEM__ERROR_CODE__ERROR_NO_MEMORY, "no room");
    return talk.reply->response.error->message;
}

KMEM_PRINTF(2, 3)
static void assert_says(const char *sentence, const char *format, ...)
{
    char words[1024];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(words, sizeof(words), format, arguments);
    va_end(arguments);
    if (!strstr(sentence, words)) {
        print_error("not in \"%s\": \"%s\"\n", sentence, words);
    }
    assert_non_null(strstr(sentence, words));
}

/* ------------------------------------------------------------------------------- the truth ---- */

struct pages_counted {
    uint64_t free_bytes;
    uint64_t largest_bytes;
};

static struct pages_counted pages_count(void)
{
    struct pages_counted counted = {0};
    for (uint32_t page = 0; page < N_PAGES;) {
        const uint64_t word = pages_word(&core->pages, page);
        const uint64_t num_bytes = PAGE_WORD_PAGES(word) * PAGE_BYTES;
        const bool is_free = PAGE_WORD_STATE(word) == PAGE_FREE;
        counted.free_bytes += is_free ? num_bytes : 0;
        if (is_free && num_bytes > counted.largest_bytes) {
            counted.largest_bytes = num_bytes;
        }
        page += PAGE_WORD_PAGES(word);
    }
    return counted;
}

static int holder_compare(const void *a, const void *b)
{
    const struct holder *x = a;
    const struct holder *y = b;
    if (x->num_bytes != y->num_bytes) {
        return x->num_bytes < y->num_bytes ? 1 : -1;
    }
    return strcmp(x->name, y->name);
}

static void holder_add(struct holder *holders, uint32_t *n_holders, const char *name,
                       uint64_t num_bytes)
{
    uint32_t at = 0;
    while (at < *n_holders && strcmp(holders[at].name, name) != 0) {
        at++;
    }
    if (at == *n_holders) {
        assert_true(at < 32);
        holders[at] = (struct holder){.num_bytes = 0};
        (void)snprintf(holders[at].name, sizeof(holders[at].name), "%s", name);
        ++*n_holders;
    }
    holders[at].num_bytes += num_bytes;
    holders[at].n_blocks++;
}

/* By reason, or by process; block by block. Return: how many. */
static uint32_t holders_count(struct holder *holders, bool by_reason)
{
    uint32_t n_holders = 0;
    struct block_iter iter;
    struct block block;
    block_iter_init(&iter, core, BLOCKS_ALL, (struct seg_off){0}, UINT32_MAX);
    while (block_iter_next(&iter, &block)) {
        char name[REASON_MAX_BYTES + 1];
        const struct client *client = clients_get(&core->clients, block.slot);
        if (by_reason) {
            name[block_reason(core, &block, name)] = '\0';
        } else {
            (void)snprintf(name, sizeof(name), "process %u (%s)", client->identity.pid,
                           client->identity.command);
        }
        holder_add(holders, &n_holders, name, block.num_bytes);
    }
    qsort(holders, n_holders, sizeof(*holders), holder_compare);
    return n_holders;
}

/* The five largest, as the sentence has them. */
static void holders_say(const struct holder *holders, uint32_t n_holders, bool by_reason,
                        char *words, size_t n_bytes)
{
    size_t at = 0;
    words[0] = '\0';
    for (uint32_t i = 0; i < n_holders && i < N_HOLDERS; i++) {
        char size[TEXT_BYTES_MAX];
        const char *comma = i == 0 ? "" : ",";
        (void)text_format_bytes(holders[i].num_bytes, size, sizeof(size));
        const int n =
            by_reason
                ? snprintf(words + at, n_bytes - at, "%s \"%s\" %s in %" PRIu64 " block%s", comma,
                           holders[i].name, size, holders[i].n_blocks,
                           holders[i].n_blocks == 1 ? "" : "s")
                : snprintf(words + at, n_bytes - at, "%s %s %s", comma, holders[i].name, size);
        at += (size_t)n;
    }
}

/* The whole sentence up to its advice. */
static void assert_is_true(const char *sentence, uint64_t asked_bytes, bool by_reason)
{
    struct holder holders[32];
    const struct pages_counted counted = pages_count();
    const uint32_t n_holders = holders_count(holders, by_reason);
    char words[800];
    char asked[TEXT_BYTES_MAX];
    char free_text[TEXT_BYTES_MAX];
    char extent[TEXT_BYTES_MAX];
    assert_true(n_holders > N_HOLDERS);
    holders_say(holders, n_holders, by_reason, words, sizeof(words));
    assert_says(sentence,
                "no room for %s in segment \"fixture\": %s of 64.0 MiB free, largest extent %s; "
                "largest holders%s:%s; ",
                text_format_bytes(asked_bytes, asked, sizeof(asked)),
                text_format_bytes(counted.free_bytes, free_text, sizeof(free_text)),
                text_format_bytes(counted.largest_bytes, extent, sizeof(extent)),
                by_reason ? "" : ", by process", words);
}

/* --------------------------------------------------------------------------------- the acts --- */

static void churn(struct seeded *seeded, uint32_t n_acts)
{
    for (uint32_t i = 0; i < n_acts; i++) {
        const uint32_t at = seeded_below(seeded, N_HELD);
        if (held[at].offset != 0) {
            assert_int_equal(ask_release(&talk, &peers[held[at].peer], held[at].offset),
                             DISPATCH_OK);
            held[at].offset = 0;
            continue;
        }
        char reason[16];
        held[at].peer = seeded_below(seeded, N_PEERS);
        (void)snprintf(reason, sizeof(reason), "reason/%u", seeded_below(seeded, N_REASONS));
        assert_int_equal(ask_allocate(&talk, &peers[held[at].peer],
                                      1 + seeded_below(seeded, 200000), reason, strlen(reason)),
                         DISPATCH_OK);
        if (talk.reply->response.body_case == KMEM__RESPONSE__BODY_ALLOCATED) {
            held[at].offset = talk_offset();
        }
    }
}

/* What is advised to ask for at most can be had, and hardly more. */
static void assert_advice_helps(const char *sentence)
{
    static const char words[] = "ask for ";
    const char *advice = strstr(sentence, words);
    if (!advice) {
        return;
    }
    char size[TEXT_BYTES_MAX + 1] = "";
    uint64_t num_bytes;
    const char *end = strstr(advice, " at most");
    assert_non_null(end);
    const size_t n_bytes = (size_t)(end - advice) - strlen(words);
    assert_true(n_bytes < sizeof(size));
    memcpy(size, advice + strlen(words), n_bytes);
    assert_int_equal(text_parse_bytes(size, &num_bytes), 0);
    const uint64_t largest_bytes = core_largest_extent_bytes(core);
    assert_true(num_bytes <= largest_bytes);
    assert_true(num_bytes + num_bytes / 10 + 1 >= largest_bytes);
    assert_int_equal(ask_allocate(&talk, &bob, num_bytes, "as advised", 10), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_ALLOCATED);
    assert_int_equal(ask_release(&talk, &bob, talk_offset()), DISPATCH_OK);
}

static void test_refusal_by_reason_is_true_of_this_moment(void **state)
{
    struct seeded seeded = {1};
    for (uint32_t i = 0; i < 60; i++) {
        churn(&seeded, 400);
        talk.fixture.now_ms += seeded_below(&seeded, 3000);
        const uint64_t asked_bytes = core_largest_extent_bytes(core) + PAGE_BYTES;
        static char sentence[4096];
        (void)snprintf(sentence, sizeof(sentence), "%s", refused(asked_bytes));
        assert_is_true(sentence, asked_bytes, true);
        assert_advice_helps(sentence);
    }
}

/* There are more blocks than one step sees, and no look yet. */
static void test_refusal_by_process_is_true_of_this_moment(void **state)
{
    struct seeded seeded = {2};
    for (uint32_t i = 0; i < 5000; i++) {
        assert_int_equal(ask_allocate(&talk, &peers[i % 3], 16, "many", 4), DISPATCH_OK);
    }
    churn(&seeded, 2000);
    const uint64_t asked_bytes = core_largest_extent_bytes(core) + PAGE_BYTES;
    assert_is_true(refused(asked_bytes), asked_bytes, false);
}

/* A lease of which some is live, by its client's own count. */
static void test_refusal_tells_what_leases_hold_without_a_live_byte(void **state)
{
    bool zero;
    struct client *client = peers[0].client;
    struct ledger *ledger = fixture_ledger(&talk.fixture, client);
    client->counts = ledger->counts;
    const uint32_t page = fixture_lease(&talk.fixture, client, 1000);
    assert_true(lease_take(client->states, page, 1000, &zero));
    for (uint64_t live_bytes = 0; live_bytes < 1000 * PAGE_BYTES; live_bytes += 3000001) {
        char idle[TEXT_BYTES_MAX];
        atomic_store(&ledger->counts->live_bytes, live_bytes);
        assert_says(refused((N_PAGES - 2) * PAGE_BYTES), ", %s leased without a live byte",
                    text_format_bytes(1000 * PAGE_BYTES - live_bytes, idle, sizeof(idle)));
    }
}

/* Half of all sizes are told larger than they are, rounded to the nearest tenth. */
static void test_refusal_advises_no_more_than_there_is_in_extents_of_any_length(void **state)
{
    for (uint32_t n_pages = 65; n_pages < 1500; n_pages += 7) {
        uint64_t offsets[2];
        assert_int_equal(ask_allocate(&talk, &alice, n_pages * PAGE_BYTES, "", 0), DISPATCH_OK);
        offsets[0] = talk_offset();
        assert_int_equal(ask_allocate(&talk, &alice,
                                      core_largest_extent_bytes(core) - n_pages * PAGE_BYTES, "",
                                      0),
                         DISPATCH_OK);
        offsets[1] = talk_offset();
        assert_int_equal(ask_release(&talk, &alice, offsets[0]), DISPATCH_OK);
        const char *sentence = refused((uint64_t)2 * n_pages * PAGE_BYTES);
        assert_says(sentence, "enough is free, but not in one piece: ask for ");
        assert_advice_helps(sentence);
        assert_int_equal(ask_release(&talk, &alice, offsets[1]), DISPATCH_OK);
    }
}

#define TRUE_TEST(test) cmocka_unit_test_setup_teardown(test, true_setup, true_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TRUE_TEST(test_refusal_by_reason_is_true_of_this_moment),
        TRUE_TEST(test_refusal_by_process_is_true_of_this_moment),
        TRUE_TEST(test_refusal_tells_what_leases_hold_without_a_live_byte),
        TRUE_TEST(test_refusal_advises_no_more_than_there_is_in_extents_of_any_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
