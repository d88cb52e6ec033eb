/* SPDX-License-Identifier: MIT */
/*
 * sharing_talk.h - three clients that share, as a transcript: core_check() after each line
 */
#ifndef TESTS_UNIT_SHARING_TALK_H
#define TESTS_UNIT_SHARING_TALK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/core/settle.h"
#include "daemon/core/sharing.h"
#include "tests/unit/fixture.h"

#define N_PAGES 256
#define BLOCK_BYTES 1000

extern struct fixture fixture;
extern struct core *const core;
extern struct client *alice;
extern struct client *bob; /* of another user than alice and carol */
extern struct client *carol;
extern uint32_t lease; /* alice's: a slab for BLOCK_BYTES, and behind it a large block */
extern uint32_t large;

#define SHARING_TEST(test) cmocka_unit_test_setup_teardown(test, sharing_setup, sharing_teardown)

int sharing_setup(void **state);
int sharing_teardown(void **state);
void check(void);
struct seg_off off_of(uint32_t page);
struct seg_off new_direct(void);
struct seg_off leased_block(void);
struct share_handle share(struct client *client, struct seg_off off);
int try_attach(struct client *client, const struct share_handle *handle, bool write,
               struct attached *ret_attached);
struct attached attach(struct client *client, const struct share_handle *handle);
int try_release(struct client *client, struct seg_off off, enum let_go *ret_let_go);
enum let_go release(struct client *client, struct seg_off off);
int try_transfer(struct client *client, struct seg_off off, bool keep,
                 struct share_handle *ret_handle);
struct share_handle transfer(struct client *client, struct seg_off off, bool keep);
int try_publish(struct client *client, struct seg_off off, const char *text, bool keep,
                bool exclusive);
void publish(struct client *client, struct seg_off off, const char *text);
int next(struct client *client, const char *text, uint64_t *version);
int unpublish(struct client *client, const char *text);
void die(struct client *client);
void restart(void);
uint32_t payer_of(struct seg_off off);
bool is_there(struct seg_off off);

#endif
