/* SPDX-License-Identifier: MIT */
/*
 * test_obituary_kept.c - what others hold of an ended client's memory lives on, and its obituary
 * says with whom, beside what was taken back
 */
#include <stdio.h>
#include <string.h>

#include "daemon/core/sharing.h"
#include "tests/unit/core_fixture.h"
#include "tests/unit/unit.h"

#define N_PAGES 512

/* How often a name was looked at from outside of names.c. */
static uint32_t n_looks;

uint32_t __real_names_next(const struct names *names, uint32_t name);
uint32_t __wrap_names_next(const struct names *names, uint32_t name);
uint32_t __wrap_names_next(const struct names *names, uint32_t name)
{
    n_looks++;
    return __real_names_next(names, name);
}

const struct state_name *__real_names_record(const struct names *names, uint32_t name);
const struct state_name *__wrap_names_record(const struct names *names, uint32_t name);
const struct state_name *__wrap_names_record(const struct names *names, uint32_t name)
{
    n_looks++;
    return __real_names_record(names, name);
}

static struct client *owner;
static struct client *holder;
static struct client *other;

static int kept_setup(void **state)
{
    fixture_init(&fixture, N_PAGES, 8);
    owner = fixture_join(&fixture, 1);
    holder = fixture_join(&fixture, 2);
    other = fixture_join(&fixture, 4);
    return 0;
}

static void attach(struct client *client, const struct share_handle *handle)
{
    const struct sharing of = fixture_sharing(&fixture, client);
    struct attached attached;
    assert_int_equal(sharing_attach(&of, handle, false, (struct sharing_reason){"", 0}, &attached),
                     0);
}

static struct share_handle share(struct seg_off off)
{
    const struct sharing of = fixture_sharing(&fixture, owner);
    struct share_handle handle;
    struct block block;
    assert_int_equal(sharing_share(&of, off, false, &handle, &block), 0);
    return handle;
}

/* A direct block of the owner's, that another process holds as well. */
static struct share_handle lend(uint64_t num_bytes, struct client *client)
{
    const struct share_handle handle = share(fixture_allocate(&fixture, owner, num_bytes, "frame"));
    attach(client, &handle);
    return handle;
}

static void publish(struct seg_off off, const char *text, bool keep)
{
    const struct sharing of = fixture_sharing(&fixture, owner);
    const struct sharing_name name = {.text = text, .n_bytes = strlen(text), .keep = keep};
    struct block block;
    assert_int_equal(sharing_publish(&of, off, &name, names_version(&core->names), &block), 0);
}

/* In steps as small as can be. */
static const struct obituary *owner_ends(void)
{
    core_end(core, owner, false, fixture.now_ms);
    while (core_has_dead(core)) {
        fixture_reap(&fixture, 1);
        assert_int_equal(core_check(core), 0);
    }
    return &fixture.last;
}

static void assert_kept(const struct obituary *obituary, uint64_t n_blocks, uint64_t num_bytes)
{
    assert_int_equal(obituary->kept.n_blocks, n_blocks);
    assert_int_equal(obituary->kept.num_bytes, num_bytes);
}

static void assert_line(const struct obituary *obituary, const char *wanted)
{
    char line[5120];
    assert_string_equal(obituary_format(obituary, false, line, sizeof(line)), wanted);
}

static void test_obituary_of_direct_blocks_says_which_process_has_the_largest(void **state)
{
    (void)lend(1000, holder);
    (void)lend(3000, other);
    (void)lend(2000, holder);
    (void)fixture_allocate(&fixture, owner, 44, "scratch");

    const struct obituary *obituary = owner_ends();

    assert_kept(obituary, 3, 6000);
    assert_int_equal(obituary->kept.largest_bytes, 3000);
    assert_int_equal(obituary->kept.pid, 4);
    assert_int_equal(obituary->n_blocks, 1); /* what was taken back is the rest */
    assert_int_equal(obituary->num_bytes, 44);
    assert_int_equal(core->direct.n_blocks, 3);
    assert_line(obituary, "client 1 (worker-1, uid 1001) ended after 0.0 s: 1 block, 44 B taken "
                          "back: scratch 44 B (1); 3 blocks, 5.9 KiB, live on, the largest "
                          "(2.9 KiB) with process 4 (worker-4)");
}

static void test_obituary_of_a_leased_slab_counts_each_of_its_blocks_that_lives_on(void **state)
{
    const uint32_t size_class = size_class_of(1000);
    (void)fixture_ledger(&fixture, owner);
    const uint32_t lease = fixture_lease(&fixture, owner, 40);
    fixture_carve(&fixture, owner, lease, size_class);
    struct seg_off offs[4];
    for (size_t i = 0; i < 4; i++) {
        offs[i] = fixture_take(&fixture, owner, lease, 1000);
    }
    for (size_t i = 0; i < 2; i++) {
        const struct share_handle handle = share(offs[i]);
        attach(holder, &handle);
    }
    (void)share(offs[2]); /* with nobody */

    const struct obituary *obituary = owner_ends();

    assert_kept(obituary, 2, 2000);
    assert_int_equal(obituary->n_blocks, 2);
    assert_int_equal(obituary->num_bytes, 2000);
    assert_int_equal(core->direct.n_blocks, 2);
}

static void test_obituary_counts_what_was_released_and_lives_on(void **state)
{
    const struct share_handle handle = lend(1000, holder);
    const struct sharing of = fixture_sharing(&fixture, owner);
    enum let_go let_go;
    struct block block;
    assert_int_equal(sharing_release(&of, (struct seg_off){handle.offset}, &let_go, &block), 0);

    const struct obituary *obituary = owner_ends();

    assert_kept(obituary, 1, 1000);
    assert_line(obituary, "client 1 (worker-1, uid 1001) ended after 0.0 s, nothing taken back; "
                          "1 block, 1000 B, lives on with process 2 (worker-2)");
}

static void test_obituary_of_a_kept_name_says_the_name(void **state)
{
    const struct seg_off kept = fixture_allocate(&fixture, owner, 1000, "poster");
    publish(fixture_allocate(&fixture, owner, 500, "frame"), "ends", false);
    publish(fixture_allocate(&fixture, owner, 400, "frame"), "another", true);
    publish(kept, "poster/\x1b", true);

    const struct obituary *obituary = owner_ends();

    assert_kept(obituary, 2, 1400);
    assert_int_equal(obituary->kept.kept_by, KEPT_BY_NAME);
    assert_int_equal(obituary->n_blocks, 1);
    assert_int_equal(obituary->num_bytes, 500);
    assert_line(obituary, "client 1 (worker-1, uid 1001) ended after 0.0 s: 1 block, 500 B taken "
                          "back: frame 500 B (1); 2 blocks, 1.4 KiB, live on, the largest "
                          "(1000 B) by the name \"poster/\\x1b\"");
}

/* The last that was shared is looked at first: each is larger then, and its name is wanted. */
static void test_obituary_looks_at_one_name_of_each_block_however_many_there_are(void **state)
{
    (void)state;
    (void)fixture_ledger(&fixture, owner);
    const uint32_t lease = fixture_lease(&fixture, owner, 16);
    fixture_carve(&fixture, owner, lease, size_class_of(1000));
    for (uint32_t i = 0; i < 10; i++) {
        const struct seg_off off = fixture_take(&fixture, owner, lease, 999 - i);
        for (uint32_t j = 0; j < 100; j++) {
            char text[16];
            (void)snprintf(text, sizeof(text), "%u/%u", i, j);
            publish(off, text, true);
        }
    }
    core_end(core, owner, false, fixture.now_ms);
    while (shares_first_of(&core->shares, owner->slot) != 0) { /* the last of these steps adopts */
        n_looks = 0;
        fixture_reap(&fixture, 1);
        assert_in_range(n_looks, 0, 10);
    }

    assert_int_equal(n_looks, 10);
    assert_int_equal(core->names.n_names, 1000);
    while (core_has_dead(core)) {
        fixture_reap(&fixture, 1);
    }
    assert_kept(&fixture.last, 10, 10 * 999 - 45);
    assert_int_equal(core_check(core), 0);
}

static void test_obituary_of_an_offer_that_is_kept_says_that_it_was_handed_over(void **state)
{
    const struct sharing of = fixture_sharing(&fixture, owner);
    struct share_handle handle;
    struct block block;
    for (size_t i = 0; i < 2; i++) {
        const struct seg_off off = fixture_allocate(&fixture, owner, 1000 + i, "job");
        assert_int_equal(sharing_transfer(&of, off, i == 0, &handle, &block), 0);
    }

    const struct obituary *obituary = owner_ends();

    assert_kept(obituary, 1, 1000);
    assert_int_equal(obituary->n_blocks, 1); /* an offer that was not to be kept */
    assert_line(obituary, "client 1 (worker-1, uid 1001) ended after 0.0 s: 1 block, 1001 B taken "
                          "back: job 1001 B (1); 1 block, 1000 B, lives on as an offer that no "
                          "process has attached");
}

/* It held what others own: that ends with it, and is no block of its own. */
static void test_obituary_of_a_holder_tells_nothing_of_what_it_held(void **state)
{
    (void)lend(1000, holder);
    fixture_end(&fixture, holder, false);
    assert_int_equal(fixture.last.n_blocks, 0);
    assert_kept(&fixture.last, 0, 0);
    assert_line(&fixture.last, "client 2 (worker-2, uid 1002) ended after 0.0 s, all released");
}

static void test_obituary_of_the_next_client_of_a_slot_begins_with_nothing(void **state)
{
    (void)lend(1000, holder);
    const uint32_t slot = owner->slot;
    assert_kept(owner_ends(), 1, 1000);
    struct client *next = fixture_join(&fixture, 9);
    assert_int_equal(next->slot, slot);
    fixture_end(&fixture, next, true);
    assert_kept(&fixture.last, 0, 0);
}

static void test_obituary_format_of_the_longest_with_what_lives_on_fits_a_log_line(void **state)
{
    static const uint32_t kinds[] = {KEPT_BY_PROCESS, KEPT_BY_NAME, KEPT_BY_OFFER};
    struct obituary longest = {
        .identity = {.pid = UINT32_MAX, .uid = UINT32_MAX},
        .ended = UINT32_MAX,
        .n_blocks = UINT64_MAX,
        .num_bytes = UINT64_MAX,
        .n_reasons = UINT64_MAX,
        .n_rows = OBITUARY_ROWS,
        .kept = {UINT64_MAX, UINT64_MAX, UINT64_MAX, 0, UINT32_MAX, ""},
    };
    memset(longest.identity.command, '\x1b', COMMAND_BYTES - 1);
    memset(longest.kept.text, '\x1b', SHARE_NAME_MAX_BYTES);
    for (uint32_t i = 0; i < OBITUARY_ROWS; i++) {
        memset(longest.rows[i].reason, '\x1b', REASON_MAX_BYTES);
        longest.rows[i].num_bytes = UINT64_MAX;
        longest.rows[i].n_blocks = UINT64_MAX;
    }
    for (size_t i = 0; i < 3; i++) {
        static const char *const ends[] = {"\\x1b)", "\\x1b\"", "has attached"};
        char line[5120];
        longest.kept.kept_by = kinds[i];
        (void)obituary_format(&longest, false, line, sizeof(line));
        assert_string_equal(line + strlen(line) - strlen(ends[i]), ends[i]);
    }
}

#define KEPT_TEST(test) cmocka_unit_test_setup_teardown(test, kept_setup, core_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        KEPT_TEST(test_obituary_of_direct_blocks_says_which_process_has_the_largest),
        KEPT_TEST(test_obituary_of_a_leased_slab_counts_each_of_its_blocks_that_lives_on),
        KEPT_TEST(test_obituary_counts_what_was_released_and_lives_on),
        KEPT_TEST(test_obituary_of_a_kept_name_says_the_name),
        KEPT_TEST(test_obituary_looks_at_one_name_of_each_block_however_many_there_are),
        KEPT_TEST(test_obituary_of_an_offer_that_is_kept_says_that_it_was_handed_over),
        KEPT_TEST(test_obituary_of_a_holder_tells_nothing_of_what_it_held),
        KEPT_TEST(test_obituary_of_the_next_client_of_a_slot_begins_with_nothing),
        KEPT_TEST(test_obituary_format_of_the_longest_with_what_lives_on_fits_a_log_line),
    };
    return cmocka_run_group_tests_name("obituary_kept", tests, NULL, NULL);
}
