/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_reconcile.c - each way in which the figures can contradict each other is noticed, and a
 * segment that moves is not accused
 */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/ctl/command.h"
#include "client/ctl/status.h"
#include "tests/unit/fake_segment.h"
#include "tests/unit/unit.h"

#define N_ELEMENTS(array) (sizeof(array) / sizeof((array)[0]))

/* An accusation asks twenty times, with pauses; the fakes answer the same however long it waits. */
int __wrap_nanosleep(const struct timespec *duration, struct timespec *left);
int __wrap_nanosleep(const struct timespec *duration, struct timespec *left)
{
    (void)duration;
    (void)left;
    return 0;
}

/* One copy of each array, so that a test can make one figure wrong. */
static struct {
    struct kmem_statistic statistics[32];
    struct kmem_ledger_row ledgers[3][8];
    struct kmem_block blocks[8];
    struct kmem_client clients[8];
} copy;

static struct kmem_query fake_segment_copy(void)
{
    struct kmem_query query = fake_segment();

    memcpy(copy.statistics, query.statistics, query.n_statistics * sizeof(copy.statistics[0]));
    query.statistics = copy.statistics;
    for (size_t by = 0; by < 3; by++) {
        memcpy(copy.ledgers[by], query.ledgers[by],
               query.n_ledgers[by] * sizeof(copy.ledgers[by][0]));
        query.ledgers[by] = copy.ledgers[by];
    }
    memcpy(copy.blocks, query.blocks, query.n_blocks * sizeof(copy.blocks[0]));
    query.blocks = copy.blocks;
    memcpy(copy.clients, query.clients, query.n_clients * sizeof(copy.clients[0]));
    query.clients = copy.clients;
    return query;
}

static struct kmem_statistic *statistic(const char *name)
{
    for (size_t i = 0; i < N_ELEMENTS(copy.statistics); i++) {
        if (copy.statistics[i].name && strcmp(copy.statistics[i].name, name) == 0) {
            return &copy.statistics[i];
        }
    }
    fail_msg("there is no figure %s", name);
    return NULL;
}

/* What a daemon says that knows direct blocks: of the five, those that are not leased. */
static void tell_direct(struct kmem_query *query)
{
    const struct kmem_statistic told[] = {
        {"direct_bytes", "gauge", "bytes", "", 0},
        {"direct_blocks", "gauge", "count", "", 0},
    };

    memcpy(&copy.statistics[query->n_statistics], told, sizeof(told));
    query->n_statistics += N_ELEMENTS(told);
    for (size_t i = 0; i < query->n_blocks; i++) {
        copy.blocks[i].leased = copy.blocks[i].pid == 4243;
        if (!copy.blocks[i].leased) {
            statistic("direct_bytes")->value += copy.blocks[i].num_bytes;
            statistic("direct_blocks")->value++;
        }
    }
}

/* Wants the status, a line that accuses this check, and these words; NULL: none. */
static void assert_verdict_of(struct kmem_query query, int status, const char *accused,
                              const char *words)
{
    const struct options options = {0};
    char *text = NULL;
    char line[64];
    size_t n_bytes = 0;
    struct screen screen = {.file = open_memstream(&text, &n_bytes)};

    assert_int_equal(reconcile_show(&query, &options, &screen), status);
    (void)fclose(screen.file);
    (void)snprintf(line, sizeof(line), "WRONG %s", accused ? accused : "");
    if (accused) {
        assert_non_null(strstr(text, line));
    } else {
        assert_null(strstr(text, "WRONG"));
    }
    if (words && !strstr(text, words)) {
        fail_msg("\"%s\" does not say \"%s\"", text, words);
    }
    assert_true(status != STATUS_ERROR || !words || strstr(words, "fault of kmemd") ||
                !strstr(text, "fault of kmemd"));
    free(text);
}

static void assert_verdict(struct kmem_query query, int status, const char *accused)
{
    assert_verdict_of(query, status, accused, NULL);
}

static void test_reconcile_of_a_sound_segment_is_0(void **state)
{
    assert_verdict(fake_segment_copy(), STATUS_OK, NULL);
    assert_verdict(fake_segment_empty(), STATUS_OK, NULL);
}

static void test_reconcile_notices_a_segment_that_does_not_add_up(void **state)
{
    struct kmem_query query = fake_segment_copy();

    statistic("free_bytes")->value -= 16384;
    assert_verdict(query, STATUS_ERROR, "segment");
}

static void test_reconcile_notices_parts_that_do_not_add_up(void **state)
{
    struct kmem_query query = fake_segment_copy();

    statistic("slab_bytes")->value++;
    assert_verdict_of(query, STATUS_ERROR, "overhead", "fault of kmemd");
    query = fake_segment_copy();
    statistic("scattered_bytes")->value--;
    assert_verdict_of(query, STATUS_ERROR, "free", "fault of kmemd");
}

/* The blocks of the second client, as if names alone kept them. */
static struct kmem_query fake_segment_kept(void)
{
    struct kmem_query query = fake_segment_copy();
    const struct kmem_client *gone = &copy.clients[--query.n_clients];
    copy.statistics[query.n_statistics++] =
        (struct kmem_statistic){"kept_blocks", "gauge", "count", "", gone->n_blocks};
    copy.statistics[query.n_statistics++] =
        (struct kmem_statistic){"kept_bytes", "gauge", "bytes", "", gone->num_bytes};
    for (size_t i = 0; i < query.n_blocks; i++) {
        copy.blocks[i].pid = copy.blocks[i].pid == gone->pid ? 0 : copy.blocks[i].pid;
    }
    return query;
}

static void test_reconcile_counts_what_no_process_holds(void **state)
{
    assert_verdict(fake_segment_kept(), STATUS_OK, NULL);
    struct kmem_query query = fake_segment_kept();
    statistic("kept_bytes")->value++;
    assert_verdict(query, STATUS_ERROR, "clients");
    query = fake_segment_kept();
    statistic("kept_blocks")->value--;
    assert_verdict(query, STATUS_ERROR, "clients");
}

static void test_reconcile_notices_a_block_that_is_not_listed(void **state)
{
    struct kmem_query query = fake_segment_copy();

    query.n_blocks--;
    assert_verdict(query, STATUS_ERROR, "blocks");
}

static void test_reconcile_notices_each_roll_up_that_differs(void **state)
{
    static const char *const accused[] = {"ledger by reason", "ledger by client", "ledger by uid"};

    for (size_t by = 0; by < 3; by++) {
        struct kmem_query query = fake_segment_copy();

        copy.ledgers[by][0].num_bytes++;
        assert_verdict(query, STATUS_ERROR, accused[by]);
        query = fake_segment_copy();
        copy.ledgers[by][1].n_blocks--;
        assert_verdict(query, STATUS_ERROR, accused[by]);
    }
}

static void test_reconcile_notices_clients_that_hold_something_else(void **state)
{
    struct kmem_query query = fake_segment_copy();

    copy.clients[2].num_bytes = 43;
    assert_verdict(query, STATUS_ERROR, "clients");
}

static void test_reconcile_notices_blocks_that_overlap(void **state)
{
    struct kmem_query query = fake_segment_copy();

    copy.blocks[4].offset = copy.blocks[3].offset + copy.blocks[3].num_bytes - 1;
    assert_verdict(query, STATUS_ERROR, "places");
}

static void test_reconcile_notices_a_block_outside_the_segment(void **state)
{
    struct kmem_query query = fake_segment_copy();

    copy.blocks[4].offset = statistic("segment_bytes")->value - copy.blocks[4].num_bytes + 1;
    assert_verdict(query, STATUS_ERROR, "places");
}

/* --------------------------------------------------------------------- while clients go on ---- */

static unsigned n_moves_left;

/* One more block is allocated and released; the ledger is asked in between and differs. */
static void move_once(struct kmem_query *query)
{
    (void)query;
    copy.ledgers[KMEM_BY_UID][0].num_bytes = 10 * 1048576 + 1536;
    if (n_moves_left > 0) {
        n_moves_left--;
        statistic("allocations")->value++;
        statistic("releases")->value++;
        copy.ledgers[KMEM_BY_UID][0].num_bytes += 64;
    }
}

static void test_reconcile_asks_again_until_the_segment_is_quiet(void **state)
{
    struct kmem_query query = fake_segment_copy();

    query.before_answer = move_once;
    n_moves_left = 9; /* the second question of the second try */
    assert_verdict(query, STATUS_OK, NULL);
    assert_int_equal(n_moves_left, 0);
}

static void test_reconcile_of_a_restless_segment_is_busy(void **state)
{
    struct kmem_query query = fake_segment_copy();

    query.before_answer = move_once;
    n_moves_left = UINT32_MAX;
    assert_verdict(query, STATUS_BUSY, NULL);
}

/* Seven questions to a try. The row is another one in each of the first `n_odd_tries`. */
static unsigned n_odd_tries;
static uint64_t n_blocks_of_row;

static void differ_unseen(struct kmem_query *query)
{
    const unsigned n_tries = (query->n_questions - 1) / 7;
    copy.ledgers[KMEM_BY_UID][0].n_blocks =
        n_blocks_of_row + (n_tries < n_odd_tries ? n_tries + 1 : 0);
}

static struct kmem_query fake_segment_that_differs(unsigned n_tries)
{
    struct kmem_query query = fake_segment_copy();

    query.before_answer = differ_unseen;
    n_odd_tries = n_tries;
    n_blocks_of_row = copy.ledgers[KMEM_BY_UID][0].n_blocks;
    return query;
}

/* The usage is the same before and after, and yet something has moved: blocks of leases do. */
static void test_reconcile_of_a_contradiction_that_passes_is_balanced(void **state)
{
    assert_verdict(fake_segment_that_differs(3), STATUS_OK, NULL);
}

static void test_reconcile_of_contradictions_that_change_is_busy(void **state)
{
    assert_verdict(fake_segment_that_differs(UINT32_MAX), STATUS_BUSY, NULL);
}

static void test_reconcile_accuses_a_restless_segment_of_what_one_answer_says(void **state)
{
    struct kmem_query query = fake_segment_copy();

    query.before_answer = move_once;
    n_moves_left = UINT32_MAX;
    statistic("used_bytes")->value++;
    assert_verdict(query, STATUS_ERROR, "segment");
}

/* ------------------------------------------------------------------ who is accused of it ---- */

static void test_reconcile_accuses_kmemd_of_its_own_figures(void **state)
{
    struct kmem_query query = fake_segment_copy();

    tell_direct(&query);
    assert_verdict_of(query, STATUS_OK, NULL, "balanced: every byte");
    statistic("direct_blocks")->value++;
    assert_verdict_of(query, STATUS_ERROR, "direct blocks", "fault of kmemd");
    query = fake_segment_copy();
    tell_direct(&query);
    copy.blocks[1].offset = copy.blocks[0].offset + 1;
    assert_verdict_of(query, STATUS_ERROR, "direct blocks", "fault of kmemd");
}

/* Process 4243 has leases, and what it tells of them differs from answer to answer. */
static void test_reconcile_accuses_the_client_whose_ledger_contradicts_itself(void **state)
{
    struct kmem_query query = fake_segment_copy();

    tell_direct(&query);
    copy.clients[2].num_bytes = 43;
    assert_verdict_of(query, STATUS_ERROR, "clients",
                      "the ledger of process 4243 contradicts itself; kmemd's own figures add up");
    query = fake_segment_copy();
    tell_direct(&query);
    copy.blocks[4].offset = copy.blocks[3].offset + copy.blocks[3].num_bytes - 1;
    assert_verdict_of(query, STATUS_ERROR, "places", "the ledger of a client");
}

static void test_reconcile_of_a_daemon_that_does_not_tell_accuses_nobody(void **state)
{
    struct kmem_query query = fake_segment_copy();

    copy.clients[2].num_bytes = 43;
    assert_verdict_of(query, STATUS_ERROR, "clients", "the figures contradict each other\n");
}

static unsigned cut_at; /* the question in the midst of which a server ends */

static void end_there(struct kmem_query *query)
{
    query->error = query->n_questions == cut_at ? -ECONNRESET : 0;
}

/* What the server that has ended told is not counted twice. */
static void test_reconcile_asks_the_next_server_for_a_whole_ledger(void **state)
{
    for (cut_at = 2; cut_at <= 4; cut_at++) {
        struct kmem_query query = fake_segment_copy();
        query.before_answer = end_there;
        assert_verdict_of(query, STATUS_OK, NULL, NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reconcile_of_a_sound_segment_is_0),
        cmocka_unit_test(test_reconcile_notices_a_segment_that_does_not_add_up),
        cmocka_unit_test(test_reconcile_notices_parts_that_do_not_add_up),
        cmocka_unit_test(test_reconcile_counts_what_no_process_holds),
        cmocka_unit_test(test_reconcile_notices_a_block_that_is_not_listed),
        cmocka_unit_test(test_reconcile_notices_each_roll_up_that_differs),
        cmocka_unit_test(test_reconcile_notices_clients_that_hold_something_else),
        cmocka_unit_test(test_reconcile_notices_blocks_that_overlap),
        cmocka_unit_test(test_reconcile_notices_a_block_outside_the_segment),
        cmocka_unit_test(test_reconcile_asks_again_until_the_segment_is_quiet),
        cmocka_unit_test(test_reconcile_of_a_restless_segment_is_busy),
        cmocka_unit_test(test_reconcile_of_a_contradiction_that_passes_is_balanced),
        cmocka_unit_test(test_reconcile_of_contradictions_that_change_is_busy),
        cmocka_unit_test(test_reconcile_accuses_kmemd_of_its_own_figures),
        cmocka_unit_test(test_reconcile_accuses_the_client_whose_ledger_contradicts_itself),
        cmocka_unit_test(test_reconcile_of_a_daemon_that_does_not_tell_accuses_nobody),
        cmocka_unit_test(test_reconcile_accuses_a_restless_segment_of_what_one_answer_says),
        cmocka_unit_test(test_reconcile_asks_the_next_server_for_a_whole_ledger),
    };

    (void)setlocale(LC_CTYPE, "C.UTF-8");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
