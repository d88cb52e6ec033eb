/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/core/hash.h"
#include "daemon/core/reasons.h"
#include "tests/unit/broken.h"
#include "tests/unit/fail.h"
#include "tests/unit/unit.h"
#include "tests/support/seeded.h"

#define N_PAGES 64
#define INSTANCE UINT64_C(0x1234567890abcdef)

/* Watches what the words are hashed with, and lets all of them meet in one bucket on demand. */
static uint64_t seed_seen;
static bool all_meet;

uint32_t __real_hash_words(uint64_t seed, const void *bytes, size_t n_bytes);
uint32_t __wrap_hash_words(uint64_t seed, const void *bytes, size_t n_bytes);
uint32_t __wrap_hash_words(uint64_t seed, const void *bytes, size_t n_bytes)
{
    seed_seen = seed;
    return all_meet ? 1 : __real_hash_words(seed, bytes, n_bytes);
}

/* Users. */
#define OWNER 500
#define ALICE 1000
#define BOB 1001

static const uint32_t no_limits[N_CAPS];

static void *file;
static struct state segment;
static struct caps caps;
static struct reasons reasons;

static int reasons_setup(void **state)
{
    file = calloc(1, state_bytes(N_PAGES));
    assert_non_null(file);
    all_meet = false;
    state_format(&segment, file, N_PAGES, N_PAGES, INSTANCE, 0);
    assert_int_equal(caps_init(&caps, no_limits, OWNER), 0);
    assert_int_equal(reasons_init(&reasons, &segment, &caps), 0);
    return 0;
}

static int reasons_teardown(void **state)
{
    reasons_fini(&reasons);
    caps_fini(&caps);
    free(file);
    return 0;
}

static uint32_t ref(const char *text, uint64_t num_bytes)
{
    return reasons_ref(&reasons, ALICE, text, strlen(text), num_bytes);
}

static uint32_t ref_numbered(uint32_t number)
{
    char text[32];
    (void)snprintf(text, sizeof(text), "reason/%u", number);
    return ref(text, 1);
}

static void assert_text(uint32_t id, const char *wanted)
{
    size_t n_bytes;
    const char *text = reasons_text(&reasons, id, &n_bytes);
    assert_int_equal(n_bytes, strlen(wanted));
    assert_memory_equal(text, wanted, n_bytes);
}

static void assert_totals(uint32_t id, uint64_t n_blocks, uint64_t num_bytes)
{
    const struct reason_totals totals = reasons_totals(&reasons, id);
    assert_int_equal(totals.n_blocks, n_blocks);
    assert_int_equal(totals.num_bytes, num_bytes);
}

static void assert_sound(void)
{
    assert_int_equal(reasons_check(&reasons), 0);
}

static void test_reasons_ref_of_the_same_words_is_the_same_id(void **state)
{
    const uint32_t video = ref("video", 10);
    const uint32_t audio = ref("audio", 5);

    assert_int_equal(ref("video", 7), video);
    assert_int_not_equal(audio, video);
    assert_text(video, "video");
    assert_text(audio, "audio");
    assert_totals(video, 2, 17);
    assert_totals(audio, 1, 5);
    assert_int_equal(reasons.n_live, 2);
    assert_sound();
}

static void test_reasons_ref_tells_a_prefix_from_the_whole(void **state)
{
    const uint32_t whole = reasons_ref(&reasons, ALICE, "video", 5, 1);
    const uint32_t prefix = reasons_ref(&reasons, ALICE, "video", 4, 1);

    assert_int_not_equal(whole, prefix);
    assert_text(prefix, "vide");
    assert_sound();
}

static void test_reasons_ref_without_words_is_no_reason_given(void **state)
{
    assert_int_equal(reasons_ref(&reasons, ALICE, NULL, 0, 3), REASON_NONE);

    assert_text(REASON_NONE, NO_REASON);
    assert_totals(REASON_NONE, 1, 3);
    assert_int_equal(reasons.n_live, 1);
    reasons_unref(&reasons, ALICE, REASON_NONE, 3);
    assert_int_equal(reasons.n_live, 0);
    assert_int_equal(reasons_generation(&reasons, REASON_NONE), 1);
    assert_sound();
}

static void test_reasons_ref_of_the_longest_words(void **state)
{
    char longest[REASON_MAX_BYTES + 2];
    memset(longest, 'x', sizeof(longest));

    const uint32_t id = reasons_ref(&reasons, ALICE, longest, REASON_MAX_BYTES, 1);

    size_t n_bytes;
    assert_memory_equal(reasons_text(&reasons, id, &n_bytes), longest, REASON_MAX_BYTES);
    assert_int_equal(n_bytes, REASON_MAX_BYTES);
    assert_broken((void)reasons_ref(&reasons, ALICE, longest, REASON_MAX_BYTES + 1, 1));
    assert_sound();
}

static void test_reasons_unref_of_the_last_block_frees_the_id_for_another(void **state)
{
    const uint32_t id = ref("first reason", 1);
    const uint32_t generation = reasons_generation(&reasons, id);

    reasons_unref(&reasons, ALICE, id, 1);
    assert_sound();

    assert_int_equal(ref("second", 2), id);
    assert_int_not_equal(reasons_generation(&reasons, id), generation);
    assert_text(id, "second");
    assert_int_not_equal(ref("first reason", 1), id);
    assert_sound();
}

static void test_reasons_unref_of_more_than_there_is_is_a_bug(void **state)
{
    const uint32_t id = ref("one block", 10);

    assert_broken(reasons_unref(&reasons, ALICE, id, 11));
    reasons_unref(&reasons, ALICE, id, 10);
    assert_broken(reasons_unref(&reasons, ALICE, id, 0));
    assert_broken(reasons_unref(&reasons, ALICE, REASONS_MAX - 1, 0));
}

static uint32_t hold_reason(const char *text)
{
    return reasons_hold(&reasons, ALICE, text, strlen(text));
}

static void test_reasons_hold_keeps_the_words_and_is_no_block(void **state)
{
    (void)state;
    const uint32_t id = ref("camera", 10);

    assert_int_equal(hold_reason("camera"), id);
    assert_int_equal(hold_reason("camera"), id);
    assert_totals(id, 1, 10);
    reasons_unref(&reasons, ALICE, id, 10);
    assert_sound();

    assert_totals(id, 0, 0);
    assert_int_equal(reasons.n_live, 0);
    assert_text(id, "camera");
    assert_int_equal(ref("camera", 5), id);
    assert_totals(id, 1, 5);
    assert_int_equal(reasons.n_live, 1);
    reasons_unref(&reasons, ALICE, id, 5);
    reasons_drop(&reasons, ALICE, id);
    assert_int_not_equal(ref("another", 1), id);
    reasons_drop(&reasons, ALICE, id);
    assert_sound();
    assert_int_equal(ref("a third", 1), id);
}

static void test_reasons_hold_without_words_is_no_reason_given(void **state)
{
    (void)state;

    assert_int_equal(hold_reason(""), REASON_NONE);
    assert_sound();
    assert_totals(REASON_NONE, 0, 0);
    reasons_drop(&reasons, ALICE, REASON_NONE);
    assert_sound();
    assert_text(REASON_NONE, NO_REASON);
}

static void test_reasons_drop_of_what_no_record_has_is_a_bug(void **state)
{
    (void)state;
    const uint32_t id = ref("of a block", 1);

    assert_broken(reasons_drop(&reasons, ALICE, id));
    assert_broken(reasons_drop(&reasons, ALICE, id + 1));
    assert_broken(reasons_drop(&reasons, ALICE, REASON_OTHER));
    (void)hold_reason("of a record");
    assert_broken(reasons_unref(&reasons, ALICE, id + 1, 0));
    assert_broken((void)reasons_hold(&reasons, ALICE, "", REASON_MAX_BYTES + 1));
}

static void test_reasons_recover_hold_finds_the_words_of_before(void **state)
{
    (void)state;
    const uint32_t id = hold_reason("held");
    const uint32_t of_block = ref("block", 3);
    reasons_fini(&reasons);
    assert_int_equal(reasons_init(&reasons, &segment, &caps), 0);

    assert_int_equal(reasons_recover_hold(&reasons, ALICE, id), 0);
    assert_int_equal(reasons_recover_hold(&reasons, ALICE, id), 0);
    assert_int_equal(reasons_recover(&reasons, ALICE, of_block, 3), 0);
    assert_int_equal(reasons_recover_hold(&reasons, ALICE, of_block + 1), REASONS_E_CORRUPT);
    assert_int_equal(reasons_recover_hold(&reasons, ALICE, REASONS_MAX), REASONS_E_CORRUPT);
    reasons_recovered(&reasons);

    assert_sound();
    assert_int_equal(hold_reason("held"), id);
    assert_totals(id, 0, 0);
    for (uint32_t i = 0; i < 3; i++) {
        reasons_drop(&reasons, ALICE, id);
    }
    assert_sound();
    assert_int_equal(ref("new", 1), id);
}

static void test_reasons_ref_beyond_the_table_is_other_reasons(void **state)
{
    for (uint32_t number = 2; number < REASONS_MAX; number++) {
        assert_int_equal(ref_numbered(number), number);
    }
    assert_int_equal(reasons.state->counters->other_reasons, 0);

    assert_int_equal(ref("one too many", 6), REASON_OTHER);
    assert_int_equal(ref("another", 7), REASON_OTHER);

    assert_int_equal(reasons.state->counters->other_reasons, 2);
    assert_totals(REASON_OTHER, 2, 13);
    assert_text(REASON_OTHER, OTHER_REASONS);
    assert_int_equal(ref_numbered(777), 777); /* those in the table are found as ever */
    assert_sound();
    reasons_unref(&reasons, ALICE, REASON_OTHER, 6);
    reasons_unref(&reasons, ALICE, REASON_OTHER, 7);
    reasons_unref(&reasons, ALICE, 1234, 1);
    assert_int_equal(ref("one too many", 6), 1234);
    assert_int_equal(ref("another", 6), REASON_OTHER);
    assert_sound();
}

static void test_reasons_ref_of_a_million_words_one_by_one_uses_one_id(void **state)
{
    for (uint32_t number = 0; number < 1000000; number++) {
        const uint32_t id = ref_numbered(number);
        assert_int_equal(id, 2);
        reasons_unref(&reasons, ALICE, id, 1);
    }

    assert_int_equal(reasons.n_ids, 3);
    assert_int_equal(reasons.n_live, 0);
    assert_sound();
}

static void test_reasons_init_without_memory_fails_cleanly(void **state)
{
    struct reasons other;

    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        const int r = reasons_init(&other, &segment, &caps);
        assert_int_equal(r, fail_end() ? -ENOMEM : 0);
    }
    reasons_fini(&other);
}

/* Enough reasons to make the hash table grow twice. */
#define N_TO_GROW 400

static void test_reasons_ref_without_memory_is_other_reasons_for_now(void **state)
{
    unsigned n_failures = 0;

    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        uint32_t ids[N_TO_GROW];
        uint32_t n_others = 0;
        for (uint32_t i = 0; i < N_TO_GROW; i++) {
            ids[i] = ref_numbered(i);
            n_others += ids[i] == REASON_OTHER;
        }
        const bool failed = fail_end();
        n_failures += failed;
        assert_int_equal(n_others, failed ? 1 : 0);
        assert_sound();
        assert_totals(REASON_OTHER, n_others, n_others);
        for (uint32_t i = 0; i < N_TO_GROW; i++) {
            reasons_unref(&reasons, ALICE, ids[i], 1);
        }
        assert_int_equal(reasons.n_live, 0);
        assert_sound();
    }
    assert_true(n_failures >= 3);
}

static void test_reasons_ref_without_memory_for_good_is_other_reasons(void **state)
{
    const uint32_t known = ref("known before", 1);

    fail_from("memory", 1, ENOMEM);
    const uint32_t again = ref("known before", 1);
    for (uint32_t i = 0; i < N_TO_GROW; i++) {
        (void)ref_numbered(i);
    }

    assert_true(fail_end());
    assert_int_equal(again, known);
    assert_true(reasons.state->counters->other_reasons > 0);
    assert_sound();
}

/* -------------------------------------------------------------------------- like the model ---- */

#define N_TEXTS 300
#define N_STEPS 100000

static void test_reasons_ref_and_unref_like_the_model(void **state)
{
    struct seeded seeded = {4711};
    print_message("seed %llu\n", (unsigned long long)seeded.state);
    static struct reason_totals wanted[N_TEXTS];
    static uint32_t ids[N_TEXTS];
    static uint32_t n_records[N_TEXTS];

    for (uint32_t step = 0; step < N_STEPS; step++) {
        const uint32_t number = seeded_below(&seeded, N_TEXTS);
        /* Phases of growing and shrinking, so that ids go round. */
        const bool grows = seeded_below(&seeded, 10) < (step / 5000 % 2 ? 7 : 3);
        const bool is_named = wanted[number].n_blocks > 0 || n_records[number] > 0;
        if (seeded_below(&seeded, 3) == 0) {
            if (grows && is_named) {
                size_t n_bytes;
                const char *text = reasons_text(&reasons, ids[number], &n_bytes);
                assert_int_equal(reasons_hold(&reasons, ALICE, text, n_bytes), ids[number]);
                n_records[number]++;
            } else if (n_records[number] > 0) {
                reasons_drop(&reasons, ALICE, ids[number]);
                n_records[number]--;
            }
        } else if (grows) {
            const uint32_t id = ref_numbered(number);
            assert_true(!is_named || ids[number] == id);
            ids[number] = id;
            wanted[number].n_blocks++;
            wanted[number].num_bytes++;
        } else if (wanted[number].n_blocks > 0) {
            reasons_unref(&reasons, ALICE, ids[number], 1);
            wanted[number].n_blocks--;
            wanted[number].num_bytes--;
        }
        if (wanted[number].n_blocks > 0) {
            assert_totals(ids[number], wanted[number].n_blocks, wanted[number].num_bytes);
        }
        if (step % 100 == 0) {
            assert_sound();
        }
    }
    assert_true(reasons.n_ids <= N_TEXTS + 2);
    assert_sound();
}

static void test_reasons_check_finds_what_is_wrong(void **state)
{
    const uint32_t id = ref("words", 1);
    reasons_unref(&reasons, ALICE, ref("gone", 1), 1);
    assert_sound();

    reasons.n_live++;
    assert_int_equal(reasons_check(&reasons), REASONS_E_CORRUPT);
    reasons.n_live--;
    segment.reasons[id].bytes[0] = 'W'; /* the words changed under their reason */
    assert_int_equal(reasons_check(&reasons), REASONS_E_CORRUPT);
    segment.reasons[id].bytes[0] = 'w';
    reasons.free_ids[0] = id; /* free, and named */
    assert_int_equal(reasons_check(&reasons), REASONS_E_CORRUPT);
    reasons.free_ids[0] = REASON_OTHER;
    assert_int_equal(reasons_check(&reasons), REASONS_E_CORRUPT);
    reasons.free_ids[0] = id + 1;
    reasons.n_free_ids = 0; /* an id is lost */
    assert_int_equal(reasons_check(&reasons), REASONS_E_CORRUPT);
    reasons.n_free_ids = 1;
    assert_sound();
}

/* Who finds words that meet in one bucket finds them for one segment. */
static void test_reasons_are_hashed_with_the_segments_instance(void **state)
{
    seed_seen = 0;
    const uint32_t id = ref("words", 1);
    assert_int_equal(seed_seen, INSTANCE);
    seed_seen = 0;
    assert_sound();
    assert_int_equal(seed_seen, INSTANCE);

    assert_int_not_equal(__real_hash_words(INSTANCE, "words", 5), __real_hash_words(1, "words", 5));
    reasons_unref(&reasons, ALICE, id, 1);
}

static void test_reasons_that_meet_in_one_bucket_are_told_apart(void **state)
{
    all_meet = true;
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(ref_numbered(i), REASONS_RESERVED + i);
    }

    assert_int_equal(ref_numbered(77), REASONS_RESERVED + 77);
    assert_sound();
}

/* The second allocation for a new reason is a larger table of words, where one is due. */
static uint32_t ref_without_larger_table(uint32_t number)
{
    fail_nth("memory", 2, ENOMEM);
    const uint32_t id = ref_numbered(number);
    (void)fail_end();
    assert_sound();
    return id;
}

static void test_reasons_ref_without_memory_for_a_larger_table_is_other_reasons(void **state)
{
    uint32_t n_others = 0;
    for (uint32_t i = 0; i < N_TO_GROW; i++) {
        n_others += ref_without_larger_table(i) == REASON_OTHER;
    }
    assert_int_not_equal(n_others, 0);
    assert_totals(REASON_OTHER, n_others, n_others);
}

static void test_reasons_recover_without_memory_for_a_larger_table_fails_cleanly(void **state)
{
    uint32_t ids[N_TO_GROW];
    uint32_t n_failures = 0;
    for (uint32_t i = 0; i < N_TO_GROW; i++) {
        ids[i] = ref_numbered(i);
    }
    reasons_fini(&reasons);
    assert_int_equal(reasons_init(&reasons, &segment, &caps), 0);
    for (uint32_t i = 0; i < N_TO_GROW; i++) {
        fail_nth("memory", 2, ENOMEM);
        const int r = reasons_recover(&reasons, ALICE, ids[i], 1);
        (void)fail_end();
        n_failures += r == -ENOMEM;
        assert_int_equal(r == 0 ? 0 : reasons_recover(&reasons, ALICE, ids[i], 1), 0);
    }
    reasons_recovered(&reasons);
    assert_int_not_equal(n_failures, 0);
    assert_sound();
}

static void test_reasons_recover_of_words_that_are_too_long_is_CORRUPT(void **state)
{
    const uint32_t id = ref("words", 1);
    reasons_fini(&reasons);
    assert_int_equal(reasons_init(&reasons, &segment, &caps), 0);
    segment.reasons[id].n_bytes = REASON_MAX_BYTES + 1;
    assert_int_equal(reasons_recover(&reasons, ALICE, id, 1), REASONS_E_CORRUPT);
    reasons_recovered(&reasons);
}

static void assert_corrupt(void)
{
    assert_int_equal(reasons_check(&reasons), REASONS_E_CORRUPT);
}

static void test_reasons_check_finds_counts_that_can_not_be(void **state)
{
    unsigned char nothing[256] = {0}; /* a reason of no block and no record */
    const uint32_t id = hold_reason("held");
    const uint32_t gone = ref("gone", 1);
    reasons_unref(&reasons, ALICE, gone, 1);
    struct reason *const was = reasons.table[id];

    reasons.table[gone] = (struct reason *)nothing;
    assert_corrupt();
    reasons.table[gone] = NULL;
    reasons.table[id] = NULL;
    assert_corrupt();
    reasons.table[id] = was;
    reasons.free_ids[0] = REASONS_MAX;
    assert_corrupt();
    reasons.free_ids[0] = gone;
    assert_sound();
    (void)ref("held", 10);
    reasons_unref(&reasons, ALICE, id, 5);
    assert_corrupt();
}

#define REASONS_TEST(test) cmocka_unit_test_setup_teardown(test, reasons_setup, reasons_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REASONS_TEST(test_reasons_ref_of_the_same_words_is_the_same_id),
        REASONS_TEST(test_reasons_ref_tells_a_prefix_from_the_whole),
        REASONS_TEST(test_reasons_ref_without_words_is_no_reason_given),
        REASONS_TEST(test_reasons_ref_of_the_longest_words),
        REASONS_TEST(test_reasons_unref_of_the_last_block_frees_the_id_for_another),
        REASONS_TEST(test_reasons_unref_of_more_than_there_is_is_a_bug),
        REASONS_TEST(test_reasons_hold_keeps_the_words_and_is_no_block),
        REASONS_TEST(test_reasons_hold_without_words_is_no_reason_given),
        REASONS_TEST(test_reasons_drop_of_what_no_record_has_is_a_bug),
        REASONS_TEST(test_reasons_recover_hold_finds_the_words_of_before),
        REASONS_TEST(test_reasons_ref_beyond_the_table_is_other_reasons),
        REASONS_TEST(test_reasons_ref_of_a_million_words_one_by_one_uses_one_id),
        REASONS_TEST(test_reasons_init_without_memory_fails_cleanly),
        REASONS_TEST(test_reasons_ref_without_memory_is_other_reasons_for_now),
        REASONS_TEST(test_reasons_ref_without_memory_for_good_is_other_reasons),
        REASONS_TEST(test_reasons_ref_and_unref_like_the_model),
        REASONS_TEST(test_reasons_check_finds_what_is_wrong),
        REASONS_TEST(test_reasons_are_hashed_with_the_segments_instance),
        REASONS_TEST(test_reasons_that_meet_in_one_bucket_are_told_apart),
        REASONS_TEST(test_reasons_ref_without_memory_for_a_larger_table_is_other_reasons),
        REASONS_TEST(test_reasons_recover_without_memory_for_a_larger_table_fails_cleanly),
        REASONS_TEST(test_reasons_recover_of_words_that_are_too_long_is_CORRUPT),
        REASONS_TEST(test_reasons_check_finds_counts_that_can_not_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
