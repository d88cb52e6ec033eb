/* SPDX-License-Identifier: MIT */
/*
 * dispatch_names.c - Publish, Unpublish, Next, Watch
 *
 * Each happens once, however often it is asked for:
 *
 *      Publish     its version is in the intent; the intent says so when the name has it. Who
 *                  unpublishes the name then, or publishes another block, is not undone
 *      Unpublish   the version that the name had: another one is another's
 *      Next        the share and the version that were found, before the caller lets go of the old
 *                  block and attaches the new one: who holds that share had got it so
 *
 * A Next that waits, or a Watch, stands on a list, and is looked at when the name's bell is rung:
 * waits.h.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/core/dispatch_blocks.h"
#include "daemon/core/dispatch_changes.h"
#include "daemon/core/dispatch_share.h"
#include "daemon/core/replay.h"
#include "proto/crash_point.h"
#include "proto/limits.h"
#include "proto/notice.h"
#include "proto/text.h"

#define OK DISPATCH_OK

/* Of the word `at` of a Next's intent: the version, and whether others keep what was let go of. */
#define NEXT_KEPT (UINT64_C(1) << 62)
#define NEXT_AT(version, kept) ((uint64_t)(version) | ((kept) ? NEXT_KEPT : 0))
#define NEXT_AT_VERSION(at) ((at) & (NEXT_KEPT - 1))

/* ------------------------------------------------------------------------------------- names -- */

#define ESCAPED_NAME_BYTES (4 * SHARE_NAME_MAX_BYTES + 1)

static const char *escape_name(const char *text, size_t n_bytes, char escaped[ESCAPED_NAME_BYTES])
{
    return text_escape(text, n_bytes, escaped, ESCAPED_NAME_BYTES);
}

static bool name_is_good(const struct call *call, ProtobufCBinaryData name)
{
    static const char a_name_is[] = "a name is 1 to 100 bytes of UTF-8 without NUL";
    static_assert(SHARE_NAME_MAX_BYTES == 100, "as the sentence says");
    struct reply *reply = call->reply;
    if (name.len == 0) {
        reply_error(reply, KMEM__ERROR_CODE__ERROR_INVALID, "the name is empty; %s", a_name_is);
    } else if (name.len > SHARE_NAME_MAX_BYTES) {
        reply_error(reply, KMEM__ERROR_CODE__ERROR_INVALID, "the name has %zu bytes; %s", name.len,
                    a_name_is);
    } else if (memchr(name.data, 0, name.len)) {
        reply_error(reply, KMEM__ERROR_CODE__ERROR_INVALID, "the name has a NUL in it; %s",
                    a_name_is);
    } else if (!text_is_utf8(name.data, name.len)) {
        reply_error(reply, KMEM__ERROR_CODE__ERROR_INVALID, "the name is not UTF-8; %s", a_name_is);
    } else {
        return true;
    }
    return false;
}

/* Whose a name is: "process 4711 (worker)". */
static void owner_text(const struct core *core, uint32_t name, char *text, size_t text_bytes)
{
    const uint32_t slot = names_owner(&core->names, name);
    if (slot == SLOT_NONE) {
        (void)snprintf(text, text_bytes, "a process that has ended");
        return;
    }
    char pid[PID_TEXT_BYTES];
    char command[4 * COMMAND_BYTES + 1];
    const struct client_identity *owner = &clients_get(&core->clients, slot)->identity;
    (void)snprintf(text, text_bytes, "process %s (%s)", client_pid_text(owner->pid, pid),
                   text_escape(owner->command, strlen(owner->command), command, sizeof(command)));
}

/* It is another's: `what` can not be done with it, and what to do instead. */
static int refuse_owned(const struct call *call, Kmem__ErrorCode code, ProtobufCBinaryData name,
                        const char *format)
{
    const char *text = (const char *)name.data;
    char escaped[ESCAPED_NAME_BYTES];
    char owner[128];
    const uint32_t found = names_find(&call->core->names, text, name.len);
    owner_text(call->core, found, owner, sizeof(owner));
    reply_error(call->reply, code, format, escape_name(text, name.len, escaped), owner);
    return OK;
}

static int refuse_no_name(const struct call *call, const char *text, size_t n_bytes)
{
    char escaped[ESCAPED_NAME_BYTES];
    reply_error(call->reply, KMEM__ERROR_CODE__ERROR_NO_NAME,
                "no block is published as \"%s\" in segment \"%s\"; wait for it, or look at "
                "kmemctl names",
                escape_name(text, n_bytes, escaped), call->core->config.segment_name);
    return OK;
}

static void intend(const struct call *call, uint64_t sequence, const struct intent *intent)
{
    clients_intend(&call->core->clients, call->peer->client->slot, sequence, intent);
}

/* ----------------------------------------------------------------------------------- publish -- */

/* With its last word, if a block was given: whether others keep it. */
static int answer_published(const struct call *call, uint64_t version,
                            const struct released *released)
{
    Kmem__Published *published = &call->reply->body.published;
    kmem__published__init(published);
    published->version = version;
    published->kept = released->kept;
    published->num_bytes = released->num_bytes;
    call->reply->response.body_case = KMEM__RESPONSE__BODY_PUBLISHED;
    call->reply->response.published = published;
    return OK;
}

/* The name has it, or had: what is left to do is to let go of the block, if it was given. */
static int finish_published(const struct call *call, const struct intent *published)
{
    const Kmem__Publish *publish = call->request->publish;
    const struct seg_off off = {publish->offset};
    struct intent intent = *published;
    struct released released = {.kept = false};
    struct block block;
    if (!publish->give) {
        return answer_published(call, intent.at, &released);
    }
    if (dispatch_look(call, off, &released, &block)) {
        released = (struct released){.kept = intent.n_pages != 0};
        return answer_published(call, intent.at, &released);
    }
    intent.n_pages = released.kept;
    intend(call, call->request->sequence, &intent);
    KMEM_CRASH_POINT("server.publish.gives");
    const int r = dispatch_let_go(call, off, 0, &released, &block);
    KMEM_ASSERT(r == 0); /* it was looked at */
    return answer_published(call, intent.at, &released);
}

static int refuse_publish(const struct call *call, int why, const struct block *block)
{
    const Kmem__Publish *publish = call->request->publish;
    if (why == SHARING_E_EXISTS) {
        return refuse_owned(call, KMEM__ERROR_CODE__ERROR_EXISTS, publish->name,
                            "the name \"%s\" is that of %s; choose another, or replace it by not "
                            "asking for it alone");
    }
    return sharing_is_full(why)
               ? dispatch_refuse_full(call, why)
               : dispatch_refuse_block(call, why, (struct seg_off){publish->offset}, block);
}

int dispatch_publish(const struct call *call)
{
    struct core *core = call->core;
    const Kmem__Publish *publish = call->request->publish;
    const struct sharing of = dispatch_sharing(call);
    struct intent intent;
    struct block block = {.slot = SLOT_NONE};
    if (!name_is_good(call, publish->name)) {
        return OK;
    }
    if (replay_of(call, INTENT_PUBLISHED, &intent)) {
        return finish_published(call, &intent);
    }
    const struct sharing_name name = {
        .text = (const char *)publish->name.data,
        .n_bytes = publish->name.len,
        .keep = publish->keep,
        .exclusive = publish->exclusive,
    };
    intent = (struct intent){.kind = INTENT_PUBLISH, .at = names_version(&core->names)};
    intend(call, call->request->sequence, &intent);
    KMEM_CRASH_POINT("server.publish.intended");
    const int r = sharing_publish(&of, (struct seg_off){publish->offset}, &name, intent.at, &block);
    if (r) {
        return refuse_publish(call, r, &block);
    }
    KMEM_CRASH_POINT("server.published");
    note_text(call, CHANGE_PUBLISHED, publish->offset, block.num_bytes, publish->name.data,
              publish->name.len);
    intent.kind = INTENT_PUBLISHED;
    intend(call, call->request->sequence, &intent);
    return finish_published(call, &intent);
}

int dispatch_unpublish(const struct call *call)
{
    struct core *core = call->core;
    const ProtobufCBinaryData name = call->request->unpublish->name;
    const struct sharing of = dispatch_sharing(call);
    struct intent intent;
    if (!name_is_good(call, name)) {
        return OK;
    }
    const char *text = (const char *)name.data;
    const uint32_t found = names_find(&core->names, text, name.len);
    const uint64_t version = found == NAME_NONE ? 0 : names_version_of(&core->names, found);
    if (!replay_of(call, INTENT_UNPUBLISH, &intent) || intent.at == version) {
        if (found == NAME_NONE) {
            return refuse_no_name(call, text, name.len);
        }
        intent = (struct intent){.kind = INTENT_UNPUBLISH, .at = version};
        intend(call, call->request->sequence, &intent);
        KMEM_CRASH_POINT("server.unpublish.intended");
        if (sharing_unpublish(&of, text, name.len)) {
            return refuse_owned(call, KMEM__ERROR_CODE__ERROR_DENIED, name,
                                "the name \"%s\" is that of %s, of another user; it, that user or "
                                "the administrator may unpublish it");
        }
        note_text(call, CHANGE_UNPUBLISHED, 0, 0, text, name.len);
    }
    kmem__unpublished__init(&call->reply->body.unpublished);
    call->reply->response.body_case = KMEM__RESPONSE__BODY_UNPUBLISHED;
    call->reply->response.unpublished = &call->reply->body.unpublished;
    return OK;
}

/* -------------------------------------------------------------------------------------- next -- */

static Kmem__Released *next_released(const struct call *call)
{
    const struct next_request *next = &call->peer->next;
    const struct released released = {next->released_bytes, next->kept, next->unwritten};
    return next->has_released ? dispatch_released(call, &released) : NULL;
}

/* The reply is an error: it says what was let go of all the same. */
static int next_refused(const struct call *call)
{
    call->reply->body.error.released = next_released(call);
    return OK;
}

static int answer_next(const struct call *call, uint64_t version, const struct attached *attached)
{
    Kmem__Nexted *nexted = &call->reply->body.nexted;
    kmem__nexted__init(nexted);
    nexted->version = version;
    nexted->block = attached ? dispatch_attached(call, attached) : NULL;
    nexted->released = next_released(call);
    call->reply->response.body_case = KMEM__RESPONSE__BODY_NEXTED;
    call->reply->response.nexted = nexted;
    return OK;
}

static int refuse_old(const struct call *call, uint32_t name)
{
    const struct next_request *next = &call->peer->next;
    if (name == NAME_NONE) {
        (void)refuse_no_name(call, next->name, next->n_name_bytes);
        return next_refused(call);
    }
    char escaped[ESCAPED_NAME_BYTES];
    const uint64_t version = names_version_of(&call->core->names, name);
    reply_error(call->reply, KMEM__ERROR_CODE__ERROR_OLD,
                "\"%s\" means nothing newer than version %llu, which it has; ask again later, or "
                "wait for it",
                escape_name(next->name, next->n_name_bytes, escaped), (unsigned long long)version);
    call->reply->body.error.version = version;
    return next_refused(call);
}

/* It is not held on either, if it was to be: what is asked to be let go of is. */
static int refused_to_take(const struct call *call, uint32_t share)
{
    const struct seg_off off = {shares_record(&call->core->shares, share)->offset};
    struct released released;
    struct block block;
    call->core->state.counters->attaches_refused++;
    if (call->peer->next.stays) {
        const int r = dispatch_let_go(call, off, 0, &released, &block);
        KMEM_ASSERT(r == 0); /* it is held */
    }
    return next_refused(call);
}

static int refuse_to_take(const struct call *call, uint32_t share, int why)
{
    if (why == SHARING_E_DENIED) {
        dispatch_refuse_read_only(call, share);
    } else {
        (void)dispatch_refuse_full(call, why);
    }
    return refused_to_take(call, share);
}

/* Attaches what the name means now. */
static int take_newer(const struct call *call, uint32_t share, uint64_t version)
{
    const struct next_request *next = &call->peer->next;
    const struct sharing of = dispatch_sharing(call);
    const struct sharing_reason reason = {next->reason, next->n_reason_bytes};
    const struct intent intent = {INTENT_NEXT, share, NEXT_AT(version, next->kept)};
    const struct share_handle handle = shares_handle(&call->core->shares, share);
    struct attached attached;
    if (!dispatch_reader_may(call, share, next->write)) {
        return refused_to_take(call, share);
    }
    intend(call, next->sequence, &intent);
    KMEM_CRASH_POINT("server.next.intended");
    const int r = sharing_attach(&of, &handle, next->write, reason, &attached);
    if (r) {
        return refuse_to_take(call, share, r);
    }
    call->core->state.counters->attaches++;
    note_text(call, CHANGE_ATTACHED, handle.offset, handle.num_bytes, next->reason,
              next->n_reason_bytes);
    return answer_next(call, version, &attached);
}

/* What the name means, if it is newer; else it is waited for, as long as it may be. */
static int look_for_newer(const struct call *call)
{
    struct core *core = call->core;
    struct peer *peer = call->peer;
    const struct next_request *next = &peer->next;
    if (!peer->client || peer->client->client_state != CLIENT_LIVE ||
        peer->client->generation != peer->generation) {
        return call_refuse(call, "the process that asked has ended");
    }
    const uint32_t name = names_find(&core->names, next->name, next->n_name_bytes);
    const uint64_t version = name == NAME_NONE ? 0 : names_version_of(&core->names, name);
    waits_remove(&core->waits, &peer->wait); /* its time may be up */
    if (name != NAME_NONE && version > next->after) {
        return next->only_wait ? answer_next(call, version, NULL)
                               : take_newer(call, names_share(&core->names, name), version);
    }
    if (call->now.ms >= peer->wait.until_ms) {
        return refuse_old(call, name);
    }
    waits_add(&core->waits, &peer->wait, notice_bell_of(next->name, next->n_name_bytes));
    peer->next_step = look_for_newer;
    return DISPATCH_WAITING;
}

static void next_keep(const struct call *call)
{
    const Kmem__Next *asked = call->request->next;
    struct peer *peer = call->peer;
    const uint64_t wait_ms = asked->wait_ms < NEXT_WAIT_MAX_MS ? asked->wait_ms : NEXT_WAIT_MAX_MS;
    peer->next = (struct next_request){
        .sequence = call->request->sequence,
        .after = asked->after,
        .write = asked->write,
        .only_wait = asked->only_wait,
        .has_released = asked->release_offset != 0,
        .n_name_bytes = (uint8_t)asked->name.len,
        .n_reason_bytes = (uint8_t)asked->reason.len,
    };
    memcpy(peer->next.name, asked->name.data, asked->name.len);
    if (asked->reason.len > 0) {
        memcpy(peer->next.reason, asked->reason.data, asked->reason.len);
    }
    peer->wait.until_ms = call->now.ms + wait_ms;
}

/*
 * Lets go of the old block, unless it is the new one as well: then it is held on. Return: 0; or a
 * DIRECT_E_x: it is not the caller's, and never was for this request.
 */
static int let_go_of_old(const struct call *call, bool replays, struct intent *intent,
                         struct block *ret_block)
{
    struct next_request *next = &call->peer->next;
    const struct seg_off off = {call->request->next->release_offset};
    struct released released;
    const uint32_t target = intent->n_pages;
    const int r = dispatch_look(call, off, &released, ret_block);
    if (r) {
        return replays ? 0 : r;
    }
    const bool stays = target != 0 && shares_at(&call->core->shares, off) == target;
    next->kept = released.kept || stays;
    next->stays = stays;
    next->released_bytes = released.num_bytes;
    intent->at = NEXT_AT(NEXT_AT_VERSION(intent->at), next->kept);
    intend(call, next->sequence, intent);
    KMEM_CRASH_POINT("server.next.releases");
    if (stays) {
        return 0;
    }
    const int gone = dispatch_let_go(call, off, 0, &released, ret_block);
    next->unwritten = gone == 0 && released.unwritten;
    return gone;
}

/* What the name means now, if it is to be attached: as an intent. */
static struct intent next_intent(const struct call *call)
{
    const struct names *names = &call->core->names;
    const struct next_request *next = &call->peer->next;
    const uint32_t name = names_find(names, next->name, next->n_name_bytes);
    const bool is_newer = name != NAME_NONE && names_version_of(names, name) > next->after;
    return (struct intent){
        .kind = INTENT_NEXT,
        .n_pages = is_newer && !next->only_wait ? names_share(names, name) : 0,
        .at = is_newer && !next->only_wait ? names_version_of(names, name) : 0,
    };
}

/* It had come as far as to attach: that block is the answer again, whatever the name means now. Or
   it only was held on, for reading, and is not to be had for writing. */
static int answer_again(const struct call *call, const struct intent *intent)
{
    const struct sharing of = dispatch_sharing(call);
    const struct next_request *next = &call->peer->next;
    const struct share_handle handle = shares_handle(&call->core->shares, intent->n_pages);
    const struct sharing_reason reason = {next->reason, next->n_reason_bytes};
    struct attached attached;
    if (!dispatch_reader_may(call, intent->n_pages, next->write)) {
        return refused_to_take(call, intent->n_pages);
    }
    int r = sharing_attach(&of, &handle, next->write, reason, &attached);
    if (r == SHARING_E_DENIED) { /* the owner has forbidden it, now or before */
        r = sharing_attach(&of, &handle, false, reason, &attached);
    }
    KMEM_ASSERT(r == 0); /* it is held already */
    if (next->write && !attached.is_writable) {
        return refuse_to_take(call, intent->n_pages, SHARING_E_DENIED);
    }
    return answer_next(call, NEXT_AT_VERSION(intent->at), &attached);
}

int dispatch_next(const struct call *call)
{
    const Kmem__Next *asked = call->request->next;
    struct next_request *next = &call->peer->next;
    struct block block = {.slot = SLOT_NONE};
    struct intent intent;
    if (!name_is_good(call, asked->name) || !dispatch_reason_is_good(call, asked->reason)) {
        return OK;
    }
    next_keep(call);
    const bool replays = replay_of(call, INTENT_NEXT, &intent);
    const bool has_attached =
        replays && intent.n_pages != 0 && dispatch_holds(call, intent.n_pages);
    next->kept = replays && (intent.at & NEXT_KEPT) != 0;
    if (!has_attached) {
        intent = next_intent(call);
    }
    if (next->has_released) {
        const int r = let_go_of_old(call, replays, &intent, &block);
        if (r) {
            return dispatch_refuse_block(call, r, (struct seg_off){asked->release_offset}, &block);
        }
    }
    return has_attached ? answer_again(call, &intent) : look_for_newer(call);
}

/* ------------------------------------------------------------------------------------- watch -- */

/* The version of what the watched name means; 0: nothing. */
static uint64_t watch_version(const struct call *call)
{
    const struct names *names = &call->core->names;
    const struct next_request *watch = &call->peer->next;
    const uint32_t name = names_find(names, watch->name, watch->n_name_bytes);
    return name == NAME_NONE ? 0 : names_version_of(names, name);
}

static void watch_wait(const struct call *call, call_fn look)
{
    struct peer *peer = call->peer;
    waits_add(&call->core->waits, &peer->wait,
              notice_bell_of(peer->next.name, peer->next.n_name_bytes));
    peer->next_step = look;
}

static int answer_watched(const struct call *call)
{
    kmem__watched__init(&call->reply->body.watched);
    call->reply->response.body_case = KMEM__RESPONSE__BODY_WATCHED;
    call->reply->response.watched = &call->reply->body.watched;
    return DISPATCH_WATCHING;
}

/* The bell was rung: for this name, or for another one. */
static int look_again(const struct call *call)
{
    struct next_request *watch = &call->peer->next;
    const uint64_t version = watch_version(call);
    const bool is_another = version != watch->after;
    watch->after = version;
    watch_wait(call, look_again);
    return is_another ? answer_watched(call) : DISPATCH_WAITING;
}

int dispatch_watch(const struct call *call)
{
    const ProtobufCBinaryData name = call->request->watch->name;
    struct peer *peer = call->peer;
    if (!name_is_good(call, name)) {
        return OK;
    }
    peer->watches = true;
    peer->wait.until_ms = WAIT_FOR_EVER;
    peer->next = (struct next_request){.n_name_bytes = (uint8_t)name.len};
    memcpy(peer->next.name, name.data, name.len);
    peer->next.after = watch_version(call);
    watch_wait(call, look_again);
    return answer_watched(call);
}
