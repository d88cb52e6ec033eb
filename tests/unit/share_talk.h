/* SPDX-License-Identifier: MIT */
/*
 * share_talk.h - conversations about shared blocks between three members and the core
 *
 * Alice and Dora are of one user, Bob and Carol of others: fixture_identity().
 */
#ifndef TESTS_UNIT_SHARE_TALK_H
#define TESTS_UNIT_SHARE_TALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/sharing.h"
#include "proto/share.h"
#include "tests/unit/conversation.h"

#define SHARE_TALK_PAGES 257
#define SHARE_TALK_CLIENTS (CLIENTS_MAX < 600 ? CLIENTS_MAX : 600)

extern struct peer carol;

int share_talk_setup(void **state);

/** share_talk_teardown() - asserts that the core adds up, and that nothing is left of anybody */
int share_talk_teardown(void **state);

/** share_talk_restart() - another server goes on; the peers come back with new connections */
void share_talk_restart(void);

/** share_talk_come_back() - a peer's connection is lost, and it comes back over another one */
void share_talk_come_back(struct peer *peer);

/* Each asks, and returns the outcome: the response is in talk.reply. */
int ask_share(struct peer *peer, uint64_t offset, bool read_only);
int ask_attach(struct peer *peer, const struct share_handle *handles, size_t n_handles, bool write);
int ask_attach_as(struct peer *peer, const struct share_handle *handle, const void *reason,
                  size_t n_reason_bytes);
int ask_release_many(struct peer *peer, const uint64_t *offsets, size_t n_offsets);
int ask_transfer(struct peer *peer, uint64_t offset, bool keep);

enum { GIVE = 1, KEEP = 2, EXCLUSIVE = 4 };
int ask_publish(struct peer *peer, uint64_t offset, const char *name, int flags);
int ask_publish_as(struct peer *peer, uint64_t offset, const void *name, size_t n_name_bytes);
int ask_unpublish(struct peer *peer, const char *name);

struct asked_next {
    const char *name;
    uint64_t after;
    uint64_t release_offset;
    uint32_t wait_ms;
    bool write;
    bool only_wait;
};
int ask_next(struct peer *peer, const struct asked_next *asked);

int ask_holders(struct peer *peer, uint64_t offset, uint32_t from_share, uint32_t from_holder);
int ask_names(struct peer *peer, uint32_t from_name);

/* Each asks for what must be given. */
uint64_t allocate(struct peer *peer, uint64_t num_bytes);
struct share_handle share(struct peer *peer, uint64_t offset);
void attach(struct peer *peer, const struct share_handle *handle);
/** let_go() - Return: whether others keep it. */
bool let_go(struct peer *peer, uint64_t offset);
/** publish() - Return: the version. */
uint64_t publish(struct peer *peer, uint64_t offset, const char *name, int flags);

/** said_handle() - of the Shared that was said last */
struct share_handle said_handle(void);

/** statistic() - a figure of Usage */
uint64_t statistic(const char *name);

#endif
