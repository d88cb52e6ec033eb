/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/heap/intern.h"
#include "tests/unit/unit.h"

static struct ledger ledger;
static struct intern intern;
static struct remembered remembered[REMEMBERED_MAX];

static int set_up(void **state)
{
    struct ledger_layout layout;
    ledger_layout_init(&layout, 64);
    void *base = aligned_alloc(4096, layout.total_bytes);
    assert_non_null(base);
    memset(base, 0, layout.total_bytes);
    ledger_format(&ledger, base, 64);
    memset(&intern, 0, sizeof(intern));
    memset(remembered, 0, sizeof(remembered));
    return kmem__intern_init(&intern, &ledger);
}

static int tear_down(void **state)
{
    kmem__intern_fini(&intern);
    free(ledger.header);
    return 0;
}

/* What the fast way and the slow way make of a reason. */
static uint32_t id_of(const char *reason)
{
    const struct remembered *it = kmem__remembered_at(remembered, reason);
    const uint64_t word = kmem__remembered_matches(it, reason)
                              ? it->word
                              : kmem__intern_remember(&intern, remembered, reason);
    return (uint32_t)(word >> ENTRY_REASON_SHIFT);
}

static bool is_remembered(const char *reason)
{
    return kmem__remembered_matches(kmem__remembered_at(remembered, reason), reason);
}

static void assert_text(uint32_t id, const char *expected)
{
    const struct ledger_reason *reason = &ledger.reasons[id];
    assert_int_equal(reason->n_bytes, strlen(expected));
    assert_memory_equal(reason->bytes, expected, reason->n_bytes);
}

static void test_intern_equal_texts_have_one_number(void **state)
{
    char copy[] = "video/scratch";
    const uint32_t id = id_of("video/scratch");
    assert_int_equal(id, REASONS_RESERVED);
    assert_int_equal(id_of(copy), id);
    assert_int_not_equal(id_of("video/scratc"), id);
    assert_text(id, "video/scratch");
}

static void test_intern_empty_is_none(void **state)
{
    assert_int_equal(id_of(""), REASON_NONE);
    assert_true(is_remembered(""));
}

static void test_remembered_sees_new_text_in_the_same_buffer(void **state)
{
    char buffer[64] = "frame 1";
    const uint32_t first = id_of(buffer);
    assert_true(is_remembered(buffer));
    strcpy(buffer, "frame 2");
    assert_false(is_remembered(buffer));
    const uint32_t second = id_of(buffer);
    assert_int_not_equal(first, second);
    assert_text(second, "frame 2");
}

/* Each length at each alignment, and each change of one byte, of the length by one, is seen. */
static void test_remembered_every_length_and_alignment(void **state)
{
    static char space[2 * REASON_CHUNK_BYTES + REASON_MAX_BYTES + 2];
    for (size_t at = 0; at < 2 * REASON_CHUNK_BYTES; at++) {
        for (size_t n_bytes = 0; n_bytes <= REASON_MAX_BYTES; n_bytes++) {
            memset(space, 'x', sizeof(space));
            char *reason = space + at;
            reason[n_bytes] = '\0';
            (void)id_of(reason);
            assert_true(is_remembered(reason));
            for (size_t i = 0; i < n_bytes; i++) {
                reason[i] = 'y';
                assert_false(is_remembered(reason));
                reason[i] = '\0';
                assert_false(is_remembered(reason));
                reason[i] = 'x';
            }
            reason[n_bytes] = 'x';
            reason[n_bytes + 1] = '\0';
            assert_false(is_remembered(reason));
            reason[n_bytes] = '\0';
            space[at + n_bytes + 1] = 'z'; /* what follows is not of the text */
            assert_true(is_remembered(reason));
        }
    }
}

static void test_intern_long_reason_is_cut_and_not_remembered(void **state)
{
    char reason[200];
    char cut[REASON_MAX_BYTES + 1];
    memset(reason, 'a', sizeof(reason));
    reason[sizeof(reason) - 1] = '\0';
    memset(cut, 'a', sizeof(cut));
    cut[REASON_MAX_BYTES] = '\0';
    const uint32_t id = id_of(reason);
    assert_text(id, cut);
    assert_false(is_remembered(reason));
    assert_int_equal(id_of(cut), id);
}

static void test_intern_full_table_drops_the_detail_then_the_reason(void **state)
{
    char text[64];
    const uint32_t roll_up = id_of("job");
    for (uint32_t i = 0; i < 1000000; i++) {
        (void)snprintf(text, sizeof(text), "job#%u", i);
        const uint32_t id = id_of(text);
        if (i + REASONS_RESERVED + 1 < LEDGER_REASONS_MAX) {
            assert_int_equal(id, i + REASONS_RESERVED + 1);
        } else {
            assert_int_equal(id, roll_up);
        }
    }
    assert_int_equal(id_of("another reason"), REASON_OTHER);
    assert_int_equal(id_of("#"), REASON_OTHER);
    assert_int_equal(id_of("job#7"), 7 + REASONS_RESERVED + 1);
    assert_int_equal(atomic_load(&ledger.header->n_reasons), LEDGER_REASONS_MAX);
}

#define N_THREADS 4
#define N_TEXTS 200

static void *intern_all(void *of_thread)
{
    uint32_t *ids = of_thread;
    for (int round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < N_TEXTS; i++) {
            char text[32];
            const int n_bytes = snprintf(text, sizeof(text), "text %u", i);
            ids[i] = kmem__intern(&intern, text, (size_t)n_bytes);
        }
    }
    return NULL;
}

static void test_intern_threads_agree(void **state)
{
    static uint32_t ids[N_THREADS][N_TEXTS];
    pthread_t threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, intern_all, ids[i]), 0);
    }
    for (int i = 0; i < N_THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        assert_memory_equal(ids[i], ids[0], sizeof(ids[0]));
    }
    assert_int_equal(atomic_load(&ledger.header->n_reasons), REASONS_RESERVED + N_TEXTS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_intern_equal_texts_have_one_number, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_intern_empty_is_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_remembered_sees_new_text_in_the_same_buffer, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_remembered_every_length_and_alignment, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_intern_long_reason_is_cut_and_not_remembered, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_intern_full_table_drops_the_detail_then_the_reason,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_intern_threads_agree, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
