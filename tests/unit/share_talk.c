/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/limits.h"
#include "tests/unit/share_talk.h"

struct peer carol;

int share_talk_setup(void **state)
{
    (void)state;
    conversation_init(&talk, SHARE_TALK_PAGES, SHARE_TALK_CLIENTS);
    talk.sequence = 0;
    peer_open_member(&talk, &alice, 1);
    peer_open_member(&talk, &bob, 2);
    peer_open_member(&talk, &carol, 3);
    (void)fixture_ledger(&talk.fixture, alice.client);
    (void)fixture_ledger(&talk.fixture, bob.client);
    (void)fixture_ledger(&talk.fixture, carol.client);
    return 0;
}

int share_talk_teardown(void **state)
{
    (void)state;
    assert_int_equal(core_check(talk.core), 0);
    peer_close(&talk, &alice);
    peer_close(&talk, &bob);
    peer_close(&talk, &carol);
    assert_int_equal(talk.core->waits.n, 0);
    struct client *client = clients_next(&talk.core->clients, 0);
    for (; client; client = clients_next(&talk.core->clients, client->slot + 1)) {
        core_end(talk.core, client, false, talk.fixture.now_ms);
    }
    while (core_has_dead(talk.core)) {
        fixture_reap(&talk.fixture, UINT32_MAX);
    }
    uint32_t name;
    while ((name = names_next(&talk.core->names, 0)) != NAME_NONE) { /* what was to be kept */
        struct client *last = fixture_join(&talk.fixture, 1);
        const struct state_name *record = names_record(&talk.core->names, name);
        const struct sharing of = {.core = talk.core, .client = last};
        last->identity.uid = 0;
        assert_int_equal(sharing_unpublish(&of, record->bytes, record->n_bytes), 0);
        fixture_end(&talk.fixture, last, true);
    }
    conversation_fini(&talk);
    return 0;
}

void share_talk_come_back(struct peer *peer)
{
    const uint32_t pid = peer->identity.pid;
    peer_close(&talk, peer);
    peer_open(peer, pid);
    const uint64_t sequence = talk.sequence;
    talk.sequence = 0;
    assert_int_equal(ask_resume(&talk, peer, FIXTURE_NONCE(pid)), DISPATCH_JOINED);
    talk.sequence = sequence;
}

void share_talk_restart(void)
{
    char why[FIXTURE_WHY_BYTES] = "";
    struct peer *const peers[] = {&alice, &bob, &carol};
    for (size_t i = 0; i < 3; i++) {
        peer_close(&talk, peers[i]);
    }
    if (fixture_restart(&talk.fixture, why)) {
        fail_msg("%s", why);
    }
    for (size_t i = 0; i < 3; i++) {
        share_talk_come_back(peers[i]);
    }
}

/* ----------------------------------------------------------------------------------- asking -- */

#define ASK(body, name)                                                                            \
    Kmem__Request request = KMEM__REQUEST__INIT;                                                   \
    request.body_case = KMEM__REQUEST__BODY_##name;                                                \
    request.body = &body

static ProtobufCBinaryData text_of(const char *text)
{
    return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

int ask_share(struct peer *peer, uint64_t offset, bool read_only)
{
    Kmem__Share share = KMEM__SHARE__INIT;
    ASK(share, SHARE);
    share.offset = offset;
    share.read_only = read_only;
    return ask_request(&talk, peer, &request);
}

static int ask_attach_all(struct peer *peer, const struct share_handle *handles, size_t n_handles,
                          bool write, ProtobufCBinaryData reason)
{
    Kmem__Handle rows[SHARE_MANY_MAX + 1];
    Kmem__Handle *pointers[SHARE_MANY_MAX + 1];
    Kmem__Attach attach = KMEM__ATTACH__INIT;
    ASK(attach, ATTACH);
    assert_true(n_handles <= SHARE_MANY_MAX + 1);
    for (size_t i = 0; i < n_handles; i++) {
        rows[i] = (Kmem__Handle)KMEM__HANDLE__INIT;
        rows[i].instance = handles[i].instance;
        rows[i].generation = handles[i].generation;
        rows[i].tag = handles[i].tag;
        rows[i].offset = handles[i].offset;
        rows[i].num_bytes = handles[i].num_bytes;
        pointers[i] = &rows[i];
    }
    attach.n_handles = n_handles;
    attach.handles = pointers;
    attach.write = write;
    attach.reason = reason;
    return ask_request(&talk, peer, &request);
}

int ask_attach(struct peer *peer, const struct share_handle *handles, size_t n_handles, bool write)
{
    return ask_attach_all(peer, handles, n_handles, write, text_of("looks"));
}

int ask_attach_as(struct peer *peer, const struct share_handle *handle, const void *reason,
                  size_t n_reason_bytes)
{
    return ask_attach_all(peer, handle, 1, false,
                          (ProtobufCBinaryData){n_reason_bytes, (uint8_t *)(uintptr_t)reason});
}

int ask_release_many(struct peer *peer, const uint64_t *offsets, size_t n_offsets)
{
    Kmem__ReleaseMany release_many = KMEM__RELEASE_MANY__INIT;
    ASK(release_many, RELEASE_MANY);
    release_many.n_offsets = n_offsets;
    release_many.offsets = (uint64_t *)(uintptr_t)offsets;
    return ask_request(&talk, peer, &request);
}

int ask_transfer(struct peer *peer, uint64_t offset, bool keep)
{
    Kmem__Transfer transfer = KMEM__TRANSFER__INIT;
    ASK(transfer, TRANSFER);
    transfer.offset = offset;
    transfer.keep = keep;
    return ask_request(&talk, peer, &request);
}

static int ask_publish_all(struct peer *peer, uint64_t offset, ProtobufCBinaryData name, int flags)
{
    Kmem__Publish publish = KMEM__PUBLISH__INIT;
    ASK(publish, PUBLISH);
    publish.offset = offset;
    publish.name = name;
    publish.give = (flags & GIVE) != 0;
    publish.keep = (flags & KEEP) != 0;
    publish.exclusive = (flags & EXCLUSIVE) != 0;
    return ask_request(&talk, peer, &request);
}

int ask_publish(struct peer *peer, uint64_t offset, const char *name, int flags)
{
    return ask_publish_all(peer, offset, text_of(name), flags);
}

int ask_publish_as(struct peer *peer, uint64_t offset, const void *name, size_t n_name_bytes)
{
    return ask_publish_all(peer, offset,
                           (ProtobufCBinaryData){n_name_bytes, (uint8_t *)(uintptr_t)name}, 0);
}

int ask_unpublish(struct peer *peer, const char *name)
{
    Kmem__Unpublish unpublish = KMEM__UNPUBLISH__INIT;
    ASK(unpublish, UNPUBLISH);
    unpublish.name = text_of(name);
    return ask_request(&talk, peer, &request);
}

int ask_next(struct peer *peer, const struct asked_next *asked)
{
    Kmem__Next next = KMEM__NEXT__INIT;
    ASK(next, NEXT);
    next.name = text_of(asked->name);
    next.after = asked->after;
    next.write = asked->write;
    next.only_wait = asked->only_wait;
    next.release_offset = asked->release_offset;
    next.wait_ms = asked->wait_ms;
    next.reason = text_of("follows");
    return ask_request(&talk, peer, &request);
}

int ask_holders(struct peer *peer, uint64_t offset, uint32_t from_share, uint32_t from_holder)
{
    Kmem__Holders holders = KMEM__HOLDERS__INIT;
    ASK(holders, HOLDERS);
    holders.offset = offset;
    holders.from_share = from_share;
    holders.from_holder = from_holder;
    return ask_request(&talk, peer, &request);
}

int ask_names(struct peer *peer, uint32_t from_name)
{
    Kmem__Names names = KMEM__NAMES__INIT;
    ASK(names, NAMES);
    names.from_name = from_name;
    return ask_request(&talk, peer, &request);
}

/* ------------------------------------------------------------------------- what is answered -- */

uint64_t allocate(struct peer *peer, uint64_t num_bytes)
{
    const uint64_t sequence = talk.sequence;
    talk.sequence = 0;
    assert_int_equal(ask_allocate(&talk, peer, num_bytes, "frame", 5), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_ALLOCATED);
    talk.sequence = sequence;
    return talk.reply->response.allocated->offset;
}

struct share_handle said_handle(void)
{
    assert_body(&talk, KMEM__RESPONSE__BODY_SHARED);
    const Kmem__Handle *said = talk.reply->response.shared->handle;
    return (struct share_handle){said->instance, said->generation, said->tag, said->offset,
                                 said->num_bytes};
}

struct share_handle share(struct peer *peer, uint64_t offset)
{
    assert_int_equal(ask_share(peer, offset, false), DISPATCH_OK);
    return said_handle();
}

void attach(struct peer *peer, const struct share_handle *handle)
{
    assert_int_equal(ask_attach(peer, handle, 1, false), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_ATTACHED);
}

bool let_go(struct peer *peer, uint64_t offset)
{
    assert_int_equal(ask_release(&talk, peer, offset), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_RELEASED);
    return talk.reply->response.released->kept;
}

uint64_t publish(struct peer *peer, uint64_t offset, const char *name, int flags)
{
    assert_int_equal(ask_publish(peer, offset, name, flags), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_PUBLISHED);
    return talk.reply->response.published->version;
}

uint64_t statistic(const char *name)
{
    assert_int_equal(ask_usage(&talk, &alice), DISPATCH_OK);
    assert_body(&talk, KMEM__RESPONSE__BODY_USAGE);
    const Kmem__UsageReport *report = talk.reply->response.usage;
    for (size_t i = 0; i < report->n_statistics; i++) {
        if (strcmp(report->statistics[i]->name, name) == 0) {
            return report->statistics[i]->value;
        }
    }
    fail_msg("no statistic %s", name);
    return 0;
}
