/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/core/hash.h"
#include "tests/unit/broken.h"
#include "tests/unit/fail.h"
#include "tests/unit/records.h"

/* Lets everything meet in one bucket on demand. */
static bool all_meet;

uint32_t __real_hash_words(uint64_t seed, const void *bytes, size_t n_bytes);
uint32_t __wrap_hash_words(uint64_t seed, const void *bytes, size_t n_bytes);
uint32_t __wrap_hash_words(uint64_t seed, const void *bytes, size_t n_bytes)
{
    return all_meet ? 1 : __real_hash_words(seed, bytes, n_bytes);
}

static struct records records;
static struct shares *const shares = &records.shares;
static struct names *const names = &records.names;

static uint32_t first_share;
static uint32_t second_share;

static uint32_t share_block(uint64_t offset)
{
    const struct share_new fresh = {
        .off = {offset}, .num_bytes = 8, .owner = 1, .tag = 5, .reason = "", .n_reason_bytes = 0};
    uint32_t share;
    assert_int_equal(shares_add(shares, &fresh, &share), 0);
    return share;
}

static int setup(bool meet)
{
    all_meet = meet;
    records_open(&records);
    first_share = share_block(PAGE_BYTES);
    second_share = share_block(2 * PAGE_BYTES);
    return 0;
}

static int names_setup(void **state)
{
    (void)state;
    return setup(false);
}

static int meeting_setup(void **state)
{
    (void)state;
    return setup(true);
}

static int names_teardown(void **state)
{
    (void)state;
    records_close(&records);
    return 0;
}

static void assert_sound(void)
{
    assert_int_equal(records_check(&records), 0);
}

static void restart(void)
{
    const char *why;
    records_abandon(&records);
    assert_int_equal(records_recover(&records, &why), 0);
    assert_null(why);
    assert_sound();
}

static int set(const char *text, uint32_t share, uint32_t owner, bool keep, uint32_t *ret_former)
{
    *ret_former = UINT32_MAX;
    return names_set(names, text, strlen(text), share, names_version(names), owner, keep,
                     ret_former);
}

/* It is new. Return: the record. */
static uint32_t publish(const char *text, uint32_t share, uint32_t owner, bool keep)
{
    uint32_t former;
    assert_int_equal(set(text, share, owner, keep, &former), 0);
    assert_int_equal(former, 0);
    assert_sound();
    return names_find(names, text, strlen(text));
}

static void assert_name(uint32_t name, uint32_t share, uint32_t owner, bool keep)
{
    assert_int_equal(names_share(names, name), share);
    assert_int_equal(names_owner(names, name), owner);
    assert_int_equal(names_keep(names, name), keep);
}

static void test_names_set_says_what_it_means(void **state)
{
    (void)state;

    const uint32_t name = publish("camera0/latest", first_share, 3, false);

    const struct state_name *record = names_record(names, name);
    assert_int_equal(record->n_bytes, 14);
    assert_memory_equal(record->bytes, "camera0/latest", 14);
    assert_name(name, first_share, 3, false);
    assert_int_equal(names_version_of(names, name), 1);
    assert_int_equal(shares_n_names(shares, first_share), 1);
    assert_int_equal(names->n_names, 1);
    assert_int_equal(names_first_of(names, 3), name);
    assert_int_equal(names_next(names, 0), name);
    assert_int_equal(names_next(names, name + 1), NAME_NONE);
    restart();
    assert_name(name, first_share, 3, false);
    assert_int_equal(names_version_of(names, name), 1);
}

static void test_names_find_tells_a_name_from_what_it_begins_with(void **state)
{
    (void)state;
    char longest[SHARE_NAME_MAX_BYTES + 1];
    memset(longest, 'x', sizeof(longest));
    longest[SHARE_NAME_MAX_BYTES] = '\0';

    const uint32_t name = publish(longest, first_share, 1, false);

    assert_int_equal(names_find(names, longest, SHARE_NAME_MAX_BYTES - 1), NAME_NONE);
    assert_int_equal(names_find(names, "y", 1), NAME_NONE);
    assert_int_equal(names_find(names, longest, SHARE_NAME_MAX_BYTES), name);
    longest[SHARE_NAME_MAX_BYTES - 1] = '\0';
    assert_int_not_equal(publish(longest, second_share, 1, false), name);
}

static void test_names_set_without_words_or_with_too_many_is_a_bug(void **state)
{
    (void)state;
    char longer[SHARE_NAME_MAX_BYTES + 2];
    uint32_t former;
    memset(longer, 'x', sizeof(longer));
    longer[SHARE_NAME_MAX_BYTES + 1] = '\0';

    assert_broken((void)set("", first_share, 1, false, &former));
    assert_broken((void)set(longer, first_share, 1, false, &former));
    assert_broken((void)set("name", second_share + 1, 1, false, &former));
    assert_broken((void)set("name", first_share, SLOT_NONE, true, &former));
}

static void test_names_set_of_another_share_leaves_the_former(void **state)
{
    (void)state;
    const uint32_t name = publish("latest", first_share, 3, false);
    const uint64_t version = names_version_of(names, name);
    uint32_t former;

    assert_int_equal(set("latest", second_share, 4, true, &former), 0);

    assert_sound();
    assert_int_equal(former, first_share);
    assert_int_equal(names_find(names, "latest", 6), name);
    assert_name(name, second_share, 4, true);
    assert_true(names_version_of(names, name) > version);
    assert_int_equal(shares_n_names(shares, first_share), 0);
    assert_int_equal(shares_n_names(shares, second_share), 1);
    assert_int_equal(names_first_of(names, 3), NAME_NONE);
    assert_int_equal(names_first_of(names, 4), name);
    restart();
    assert_name(name, second_share, 4, true);
}

static void test_names_set_of_the_same_share_is_a_new_version(void **state)
{
    (void)state;
    const uint32_t name = publish("latest", first_share, 3, false);
    uint32_t former;

    for (uint64_t version = 2; version < 10; version++) {
        assert_int_equal(set("latest", first_share, 3, version % 2 == 0, &former), 0);
        assert_sound();
        assert_int_equal(former, first_share);
        assert_int_equal(names_version_of(names, name), version);
        assert_name(name, first_share, 3, version % 2 == 0);
    }
    assert_int_equal(shares_n_names(shares, first_share), 1);
}

static void test_names_set_with_a_version_of_before_is_a_bug(void **state)
{
    (void)state;
    const uint64_t version = names_version(names);
    uint32_t former;
    (void)publish("latest", first_share, 3, false);

    assert_broken((void)!names_set(names, "latest", 6, first_share, version, 3, false, &former));
    assert_broken((void)!names_set(names, "other", 5, first_share, version + 2, 3, false, &former));
}

static void test_names_set_beyond_the_limit_is_full(void **state)
{
    (void)state;
    char text[16];
    uint32_t former;
    for (uint32_t i = 0; i < MODEL_NAMES; i++) {
        (void)snprintf(text, sizeof(text), "name %u", i);
        (void)publish(text, first_share, 1, false);
    }

    assert_int_equal(set("one more", first_share, 1, false, &former), NAMES_E_FULL);

    assert_sound();
    assert_int_equal(set("name 3", second_share, 1, false, &former), 0); /* it is there already */
    assert_int_equal(names_remove(names, names_find(names, "name 5", 6)), first_share);
    (void)publish("one more", first_share, 1, false);
}

static void test_names_set_fills_the_table(void **state)
{
    (void)state;
    char text[16];
    uint32_t former;
    names->limit = SHARE_NAMES_MAX;
    for (uint32_t i = 0; i < SHARE_NAMES_MAX; i++) {
        (void)snprintf(text, sizeof(text), "name %u", i);
        (void)publish(text, first_share, i % RECORDS_CLIENTS, false);
    }

    assert_int_equal(set("one more", first_share, 1, false, &former), NAMES_E_FULL);

    restart(); /* with a lower limit: those that are there stay */
    assert_int_equal(names->n_names, SHARE_NAMES_MAX);
    assert_int_equal(set("one more", first_share, 1, false, &former), NAMES_E_FULL);
}

static void test_names_remove_frees_the_record(void **state)
{
    (void)state;
    const uint32_t name = publish("latest", first_share, 3, true);

    assert_int_equal(names_remove(names, name), first_share);

    assert_sound();
    assert_int_equal(names_find(names, "latest", 6), NAME_NONE);
    assert_int_equal(names_first_of(names, 3), NAME_NONE);
    assert_int_equal(shares_n_names(shares, first_share), 0);
    assert_broken((void)names_remove(names, name));
    assert_int_equal(publish("another", second_share, 2, false), name);
    restart();
    assert_int_equal(names_find(names, "latest", 6), NAME_NONE);
}

static void test_names_disown_leaves_a_kept_name_to_all(void **state)
{
    (void)state;
    const uint32_t kept = publish("kept", first_share, 3, true);
    const uint32_t other = publish("other", first_share, 3, false);

    names_disown(names, kept);

    assert_sound();
    assert_name(kept, first_share, SLOT_NONE, true);
    assert_int_equal(names_first_of(names, 3), other);
    assert_broken(names_disown(names, other));
    restart();
    assert_name(kept, first_share, SLOT_NONE, true);
    uint32_t former;
    assert_int_equal(set("kept", second_share, 5, false, &former), 0);
    assert_sound();
    assert_name(kept, second_share, 5, false);
}

static void test_names_of_an_owner_are_all_on_its_chain(void **state)
{
    (void)state;
    const uint32_t first = publish("a", first_share, 3, false);
    const uint32_t middle = publish("b", first_share, 3, false);
    const uint32_t last = publish("c", second_share, 3, true);
    (void)publish("d", second_share, 2, true);

    assert_int_equal(names_remove(names, middle), first_share);
    assert_sound();
    assert_int_equal(names_first_of(names, 3), last);
    assert_int_equal(names_remove(names, last), second_share);
    assert_int_equal(names_first_of(names, 3), first);
    assert_int_equal(names_remove(names, first), first_share);
    assert_sound();
    assert_int_equal(names_first_of(names, 3), NAME_NONE);
}

static void test_names_publisher_is_the_first_that_has_not_ended(void **state)
{
    (void)state;
    uint32_t former;
    assert_int_equal(names_publisher(names, first_share), SLOT_NONE);
    assert_int_equal(names_of_share(names, first_share), NAME_NONE);
    const uint32_t kept = publish("a", first_share, 3, true);
    const uint32_t second = publish("b", first_share, 4, false);
    (void)publish("c", second_share, 5, true);

    assert_int_equal(names_publisher(names, first_share), 3);
    names_disown(names, kept);
    assert_sound();
    assert_int_equal(names_publisher(names, first_share), 4);
    restart();
    assert_int_equal(names_publisher(names, first_share), 4);
    assert_int_equal(names_of_share(names, first_share), second);
    assert_int_equal(names_remove(names, second), first_share);
    assert_sound();
    assert_int_equal(names_publisher(names, first_share), SLOT_NONE);
    assert_int_equal(names_of_share(names, first_share), kept);
    assert_int_equal(set("a", second_share, 6, false, &former), 0);
    assert_sound();
    assert_int_equal(names_of_share(names, first_share), NAME_NONE);
    assert_int_equal(names_publisher(names, second_share), 5);
}

static void test_names_that_meet_in_one_bucket_are_told_apart(void **state)
{
    (void)state;
    const uint32_t a = publish("a", first_share, 3, false);
    const uint32_t b = publish("b", second_share, 3, false);
    const uint32_t c = publish("c", second_share, 3, false);

    assert_int_equal(names_remove(names, b), second_share);

    assert_int_equal(names_find(names, "a", 1), a);
    assert_int_equal(names_find(names, "b", 1), NAME_NONE);
    assert_int_equal(names_find(names, "c", 1), c);
    assert_sound();
}

static void test_names_versions_never_repeat(void **state)
{
    (void)state;
    uint64_t last = 0;

    for (uint32_t i = 0; i < 3; i++) {
        for (uint32_t j = 0; j < STATE_NUMBERS_AHEAD / 2 + 10; j++) {
            const uint64_t version = names_version(names);
            assert_true(version > last);
            last = version;
        }
        restart();
    }
}

static void test_names_init_without_memory_fails_cleanly(void **state)
{
    (void)state;
    struct names other;

    for (unsigned nth = 1; fail_again("memory", nth, ENOMEM); nth++) {
        const int r = names_init(&other, &records.state, shares, 1);
        assert_int_equal(r, fail_end() ? -ENOMEM : 0);
    }
    names_fini(&other);
    assert_broken((void)!names_init(&other, &records.state, shares, SHARE_NAMES_MAX + 1));
}

/* ----------------------------------------------------------------------- what does not fit ---- */

/* Another server starts with what is in the file now, and must refuse. */
static void assert_refused(const char *wanted)
{
    static struct records other;
    const char *why;
    records_open(&other);
    records_abandon(&other);
    records_copy(&other, &records);
    assert_int_equal(records_recover(&other, &why), NAMES_E_CORRUPT);
    assert_string_equal(why, wanted);
    records_close(&other);
}

static void test_names_recover_refuses_what_no_server_leaves_behind(void **state)
{
    (void)state;
    const uint32_t name = publish("latest", first_share, 3, false);
    (void)publish("others", second_share, 3, false);
    struct state_name *record = &records.state.names[name];
    struct state_name *next = &records.state.names[name + 1];
    const uint64_t word = atomic_load(&record->word);

    atomic_store(&records.state.header->n_names, SHARE_NAMES_MAX + 1);
    assert_refused("there are more names than there can be");
    atomic_store(&records.state.header->n_names, 2);
    record->n_bytes = 0;
    assert_refused("a name has no words");
    record->n_bytes = SHARE_NAME_MAX_BYTES + 1;
    assert_refused("a name has no words");
    record->n_bytes = 6;
    atomic_store(&record->word, NAME_WORD(second_share + 1, 0, 1));
    assert_refused("a name means no share");
    atomic_store(&record->word, NAME_WORD(0, 0, 1));
    assert_refused("a name means no share");
    atomic_store(&record->word, NAME_WORD(first_share, 0, STATE_NUMBERS_AHEAD + 1));
    assert_refused("a name has a version that was not given");
    atomic_store(&record->word, word);
    atomic_store(&record->who[0], NAME_WHO(RECORDS_CLIENTS, false));
    assert_refused("a name is owned by a client that is not there");
    atomic_store(&record->who[0], NAME_WHO(SLOT_NONE, false));
    assert_refused("a name is owned by a client that is not there");
    atomic_store(&record->who[0], NAME_WHO(3, false));
    memcpy(next->bytes, "latest", 6);
    assert_refused("a name is there twice");
    memcpy(next->bytes, "others", 6);
    restart();
}

static void test_names_check_finds_what_is_wrong(void **state)
{
    (void)state;
    const uint32_t name = publish("latest", first_share, 3, false);
    const uint32_t other = publish("other", first_share, 3, false);
    const uint32_t gone = publish("gone", first_share, 3, false);
    assert_int_equal(names_remove(names, gone), first_share);
    struct state_name *record = &records.state.names[name];
    uint32_t *const wrong[] = {
        &names->n_names,
        &names->free,
        &names->of_owner[3],
        &names->of_owner[4],
        &names->links[name].prev_of_owner,
        &names->links[other].next_of_owner,
        &names->links[other].next_of_share,
        &names->links[name].prev_of_share,
        &names->of_share[first_share].of_ended,
        &shares->links[first_share].n_names,
    };

    for (uint32_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const uint32_t was = *wrong[i];
        *wrong[i] = was == NAME_NONE ? name : was == 1 ? 2 : 1;
        assert_int_not_equal(names_check(names), 0);
        *wrong[i] = was;
        assert_sound();
    }
    names->of_share[first_share].of_clients = 0;
    assert_int_equal(names_check(names), NAMES_E_CORRUPT);
    names->of_share[first_share].of_clients = name + 1;
    assert_sound();
    names->n_records++; /* one that is nowhere */
    assert_int_equal(names_check(names), NAMES_E_CORRUPT);
    names->n_records--;
    record->bytes[0] = 'L';
    assert_int_equal(names_check(names), NAMES_E_CORRUPT);
    record->bytes[0] = 'l';
    record->n_bytes = SHARE_NAME_MAX_BYTES + 1;
    assert_int_equal(names_check(names), NAMES_E_CORRUPT);
    record->n_bytes = 6;
    atomic_fetch_xor(&record->who[0], 1);
    assert_int_equal(names_check(names), NAMES_E_CORRUPT);
    atomic_fetch_xor(&record->who[0], 1);
    names->versions.last = 0;
    assert_int_equal(names_check(names), NAMES_E_CORRUPT);
    names->versions.last = STATE_NUMBERS_AHEAD + 1;
    assert_int_equal(names_check(names), NAMES_E_CORRUPT);
}

#define NAMES_TEST(test) cmocka_unit_test_setup_teardown(test, names_setup, names_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        NAMES_TEST(test_names_set_says_what_it_means),
        NAMES_TEST(test_names_find_tells_a_name_from_what_it_begins_with),
        NAMES_TEST(test_names_set_without_words_or_with_too_many_is_a_bug),
        NAMES_TEST(test_names_set_of_another_share_leaves_the_former),
        NAMES_TEST(test_names_set_of_the_same_share_is_a_new_version),
        NAMES_TEST(test_names_set_with_a_version_of_before_is_a_bug),
        NAMES_TEST(test_names_set_beyond_the_limit_is_full),
        NAMES_TEST(test_names_set_fills_the_table),
        NAMES_TEST(test_names_remove_frees_the_record),
        NAMES_TEST(test_names_disown_leaves_a_kept_name_to_all),
        NAMES_TEST(test_names_of_an_owner_are_all_on_its_chain),
        NAMES_TEST(test_names_publisher_is_the_first_that_has_not_ended),
        cmocka_unit_test_setup_teardown(test_names_that_meet_in_one_bucket_are_told_apart,
                                        meeting_setup, names_teardown),
        NAMES_TEST(test_names_versions_never_repeat),
        NAMES_TEST(test_names_init_without_memory_fails_cleanly),
        NAMES_TEST(test_names_recover_refuses_what_no_server_leaves_behind),
        NAMES_TEST(test_names_check_finds_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
