/* SPDX-License-Identifier: MIT */
/*
 * every_answer.c - the server is killed at each place of each request about shared blocks
 *
 * A place is a store that outlives the server, or a crash point between two of them. The client
 * comes back and asks again, with the same sequence number; and once more behind the answer, of
 * another server. The answers are what they would have been, and so is what is shared. A crash
 * point of the table that no request meets fails, and so does a request that no act asks.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/crash_point.h"
#include "proto/limits.h"
#include "proto/store.h"
#include "tests/crash/about_sharing.h"
#include "tests/unit/share_talk.h"

#define NEVER UINT32_MAX

static struct point {
    const char *name;
    const char *what;
    bool is_met;
} points[] = {
    {"server.attach.intended", "attaching is intended, nothing is held", false},
    {"server.attach.one", "one of many is held", false},
    {"server.release.intended", "a release is intended, not done", false},
    {"server.release.many", "the next of many releases is intended", false},
    {"server.transfer.intended", "an offer is intended, not made", false},
    {"server.publish.intended", "a version is taken, the name not set", false},
    {"server.published", "the name is set, no bell rung", false},
    {"server.publish.gives", "the name is set, its publisher still holds the block", false},
    {"server.unpublish.intended", "the name is to go, and is still there", false},
    {"server.next.intended", "the newer block is to be held, and is not", false},
    {"server.next.releases", "the older one is to be let go of, nothing else is done", false},
};

static jmp_buf killed;
static uint32_t kill_at = NEVER;
static uint32_t n_places;

static void place(void)
{
    if (n_places++ == kill_at) {
        kill_at = NEVER;
        longjmp(killed, 1);
    }
}

void store_hook(void)
{
    place();
}

void crash_point(const char *name)
{
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        points[i].is_met = points[i].is_met || strcmp(points[i].name, name) == 0;
    }
    place();
}

void store_prepare_bytes(void *where, const void *bytes, size_t n_bytes)
{
    place();
    memcpy(where, bytes, n_bytes / 2);
    place();
    memcpy((unsigned char *)where + n_bytes / 2, (const unsigned char *)bytes + n_bytes / 2,
           n_bytes - n_bytes / 2);
}

/* ------------------------------------------------------------------------------- the scene -- */

static struct share_handle shared;  /* Alice's, and Bob holds it */
static struct share_handle leased;  /* likewise */
static struct share_handle offered; /* by Alice, to anybody */
static uint64_t own;                /* Alice's, not shared */
static uint64_t own_leased;         /* likewise */
static uint64_t older;              /* Bob holds what "name" meant then */
static uint64_t older_version;

static void scene_begin(void)
{
    (void)share_talk_setup(NULL);
    const uint32_t size_class = size_class_of(64);
    const uint32_t page =
        fixture_lease(&talk.fixture, alice.client, size_classes[size_class].span_pages);
    fixture_carve(&talk.fixture, alice.client, page, size_class);
    own = allocate(&alice, 100);
    shared = share(&alice, allocate(&alice, 200));
    leased = share(&alice, fixture_take(&talk.fixture, alice.client, page, 64).bytes);
    own_leased = fixture_take(&talk.fixture, alice.client, page, 64).bytes;
    attach(&bob, &shared);
    attach(&bob, &leased);
    assert_int_equal(ask_transfer(&alice, allocate(&alice, 300), true), DISPATCH_OK);
    offered = said_handle();
    older = allocate(&alice, 400);
    older_version = publish(&alice, older, "name", GIVE);
    assert_int_equal(ask_next(&bob, &(struct asked_next){.name = "name"}), DISPATCH_OK);
    (void)publish(&alice, allocate(&alice, 500), "name", GIVE);
}

/* --------------------------------------------------------------------------------- the acts -- */

static int share_own(void)
{
    return ask_share(&alice, own, false);
}

static int share_leased(void)
{
    return ask_share(&alice, own_leased, true);
}

static int attach_two(void)
{
    const struct share_handle handles[] = {shared, leased};
    return ask_attach(&carol, handles, 2, true);
}

static int attach_offered(void)
{
    return ask_attach(&carol, &offered, 1, false);
}

static int attach_none(void)
{
    struct share_handle handles[] = {shared, leased};
    handles[1].tag++;
    return ask_attach(&carol, handles, 2, false);
}

static int release_by_owner(void)
{
    return ask_release(&talk, &alice, shared.offset);
}

static int release_by_holder(void)
{
    return ask_release(&talk, &bob, shared.offset);
}

static int release_leased_by_owner(void)
{
    return ask_release(&talk, &alice, leased.offset);
}

static int release_the_last(void)
{
    return ask_release(&talk, &bob, older);
}

static int release_many(void)
{
    const uint64_t offsets[] = {own, shared.offset, leased.offset};
    return ask_release_many(&alice, offsets, 3);
}

static int release_many_by_holder(void)
{
    const uint64_t offsets[] = {older, shared.offset, own};
    return ask_release_many(&bob, offsets, 3); /* the last is not his */
}

static int transfer(void)
{
    return ask_transfer(&alice, own, true);
}

static int transfer_leased(void)
{
    return ask_transfer(&alice, own_leased, false);
}

static int transfer_what_is_held(void)
{
    return ask_transfer(&alice, shared.offset, false);
}

static int publish_new(void)
{
    return ask_publish(&alice, own, "new", GIVE);
}

static int publish_in_place(void)
{
    return ask_publish(&bob, leased.offset, "name", GIVE | KEEP);
}

static int unpublish(void)
{
    return ask_unpublish(&alice, "name");
}

static int next_newer(void)
{
    return ask_next(&bob, &(struct asked_next){
                              .name = "name", .after = older_version, .release_offset = older});
}

static int next_of_nothing_newer(void)
{
    return ask_next(
        &bob, &(struct asked_next){.name = "name", .after = UINT32_MAX, .release_offset = older});
}

static const struct {
    const char *name;
    int (*ask)(void);
} acts[] = {
    {"share_own", share_own},
    {"share_leased", share_leased},
    {"attach_two", attach_two},
    {"attach_offered", attach_offered},
    {"attach_none", attach_none},
    {"release_by_owner", release_by_owner},
    {"release_by_holder", release_by_holder},
    {"release_leased_by_owner", release_leased_by_owner},
    {"release_the_last", release_the_last},
    {"release_many", release_many},
    {"release_many_by_holder", release_many_by_holder},
    {"transfer", transfer},
    {"transfer_leased", transfer_leased},
    {"transfer_what_is_held", transfer_what_is_held},
    {"publish_new", publish_new},
    {"publish_in_place", publish_in_place},
    {"unpublish", unpublish},
    {"next_newer", next_newer},
    {"next_of_nothing_newer", next_of_nothing_newer},
};

/* ------------------------------------------------------------------------- what is compared -- */

/* What of an answer, and of what is shared, does not depend on when the server was killed. */
struct outcome {
    Kmem__Response__BodyCase body_case;
    Kmem__ErrorCode error;
    uint64_t offsets; /* the sum of those that were attached */
    uint64_t kept;    /* a bit for each that was let go of */
    uint32_t n_rows;
    bool is_newest; /* the version is the name's */
    uint32_t n_shares;
    uint32_t n_holds;
    uint32_t n_names;
    uint64_t n_blocks;
    uint64_t num_bytes_of[3]; /* that is charged to each */
};

static bool is_version_of(const char *name, uint64_t version)
{
    const uint32_t found = names_find(&talk.core->names, name, strlen(name));
    return found != NAME_NONE && names_version_of(&talk.core->names, found) == version;
}

static void outcome_of_answer(struct outcome *outcome)
{
    const Kmem__Response *response = &talk.reply->response;
    outcome->body_case = response->body_case;
    if (response->body_case == KMEM__RESPONSE__BODY_ERROR) {
        outcome->error = response->error->code;
        outcome->kept = response->error->released && response->error->released->kept;
    } else if (response->body_case == KMEM__RESPONSE__BODY_ATTACHED) {
        outcome->n_rows = (uint32_t)response->attached->n_blocks;
        for (uint32_t i = 0; i < outcome->n_rows; i++) {
            outcome->offsets += response->attached->blocks[i]->offset;
        }
    } else if (response->body_case == KMEM__RESPONSE__BODY_RELEASED) {
        outcome->kept = response->released->kept != 0;
    } else if (response->body_case == KMEM__RESPONSE__BODY_RELEASED_MANY) {
        outcome->n_rows = (uint32_t)response->released_many->n_released;
        for (uint32_t i = 0; i < outcome->n_rows; i++) {
            outcome->kept |= (uint64_t)response->released_many->released[i]->kept << i;
        }
        outcome->error =
            response->released_many->refused ? response->released_many->refused->code : 0;
    } else if (response->body_case == KMEM__RESPONSE__BODY_PUBLISHED) {
        outcome->kept = response->published->kept != 0;
        outcome->is_newest = is_version_of("name", response->published->version) ||
                             is_version_of("new", response->published->version);
    } else if (response->body_case == KMEM__RESPONSE__BODY_NEXTED) {
        outcome->kept = response->nexted->released->kept != 0;
        outcome->offsets = response->nexted->block->offset;
        outcome->is_newest = is_version_of("name", response->nexted->version);
    } else if (response->body_case == KMEM__RESPONSE__BODY_SHARED) {
        const struct share_handle handle = said_handle();
        uint32_t share;
        outcome->offsets = handle.offset;
        assert_int_equal(shares_find(&talk.core->shares, &handle, &share), 0);
    }
}

static void ask(int (*asks)(void), struct outcome *ret_outcome)
{
    memset(ret_outcome, 0, sizeof(*ret_outcome)); /* it is compared as bytes */
    assert_int_equal(asks(), DISPATCH_OK);
    outcome_of_answer(ret_outcome);
    ret_outcome->n_shares = talk.core->shares.n_shares;
    ret_outcome->n_holds = talk.core->shares.n_holds;
    ret_outcome->n_names = talk.core->names.n_names;
    ret_outcome->n_blocks = talk.core->direct.n_blocks;
    ret_outcome->num_bytes_of[0] = alice.client->num_bytes;
    ret_outcome->num_bytes_of[1] = bob.client->num_bytes;
    ret_outcome->num_bytes_of[2] = carol.client->num_bytes;
}

static void assert_same(const struct outcome *outcome, const struct outcome *wanted)
{
    assert_memory_equal(outcome, wanted, sizeof(*outcome)); /* padding is 0 in both */
}

/* Killed at one place, if it has that many. Return: whether it had. */
static bool kill_and_ask_again(size_t act, uint32_t at, const struct outcome *wanted)
{
    struct outcome outcome;
    scene_begin();
    talk.sequence = 1;
    n_places = 0;
    kill_at = at;
    if (setjmp(killed) == 0) {
        ask(acts[act].ask, &outcome);
    }
    const bool was_killed = kill_at == NEVER;
    kill_at = NEVER;
    for (unsigned n = 0; n < 2; n++) {
        share_talk_restart();
        assert_int_equal(core_check(talk.core), 0);
        ask(acts[act].ask, &outcome);
        assert_same(&outcome, wanted);
    }
    talk.sequence = 0;
    (void)share_talk_teardown(NULL);
    return was_killed;
}

static void test_every_answer_is_the_same_though_the_server_is_killed(void **state)
{
    (void)state;
    for (size_t act = 0; act < sizeof(acts) / sizeof(acts[0]); act++) {
        struct outcome wanted;
        scene_begin();
        talk.sequence = 1;
        ask(acts[act].ask, &wanted);
        talk.sequence = 0;
        (void)share_talk_teardown(NULL);
        uint32_t at = 0;
        while (kill_and_ask_again(act, at, &wanted)) {
            at++;
        }
        print_message("%s: killed at %u places\n", acts[act].name, at);
    }
}

static void test_every_answer_meets_each_point(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(points) / sizeof(points[0]); i++) {
        if (!points[i].is_met) {
            fail_msg("\"%s\" (%s) was not met", points[i].name, points[i].what);
        }
    }
}

static void test_every_request_about_sharing_was_asked(void **state)
{
    (void)state;
    for (unsigned i = 0; i < kmem__request__descriptor.n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &kmem__request__descriptor.fields[i];
        if (is_about_sharing(field->id) && (conversation_asked >> field->id & 1) == 0) {
            fail_msg("the request %s was never asked", field->name);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_answer_is_the_same_though_the_server_is_killed),
        cmocka_unit_test(test_every_answer_meets_each_point),
        cmocka_unit_test(test_every_request_about_sharing_was_asked),
    };
    return cmocka_run_group_tests_name("every_answer", tests, NULL, NULL);
}
