/* SPDX-License-Identifier: MIT */
/*
 * fuzz_conversation.c - whole conversations: several peers of several users, one core
 *
 * The bytes are a row of acts: a peer asks, repeats, says bytes of its own (a recorded frame is
 * one of these), goes on, connects anew, carves its lease; a process dies; time goes on; another
 * server takes over. The core is recounted every few acts, and at the end everything must have come
 * back.
 */
#include "tests/fuzz/parley.h"

/* 4: an act that spoils the core is found close to it, and most of the time goes into acts. */
#define ACTS_BETWEEN_CHECKS 4
/* 200: longer conversations find nothing that shorter ones of the same length together do not. */
#define ACTS_MAX 200

enum act {
    ACT_ASK,
    ACT_ASK_TOO, /* what is most of a conversation has most of the numbers */
    ACT_ASK_AS_WELL,
    ACT_SAY, /* a length of two bytes and a frame's payload */
    ACT_GO_ON,
    ACT_JOIN,
    ACT_CONNECT,
    ACT_USE_LEASE,
    ACT_TICK,
    ACT_DIE,
    ACT_RESTART,
    ACTS,
};

static void say(struct parley *parley, uint32_t peer, struct choices *choices)
{
    const uint8_t *payload = choices->at + 2;
    const size_t n_wanted = choose_raw(choices, 2);
    const size_t n_left = (size_t)(choices->end - choices->at);
    const size_t n_bytes = n_wanted < n_left ? n_wanted : n_left;
    if (n_bytes > 0) {
        parley_say(parley, peer, payload, n_bytes);
    }
    choices->at += n_bytes;
}

static void act(struct parley *parley, struct choices *choices)
{
    const uint8_t first = choose_byte(choices);
    const uint32_t peer = first / ACTS % PARLEY_PEERS;
    switch (first % ACTS) {
    case ACT_SAY:
        say(parley, peer, choices);
        break;
    case ACT_GO_ON:
        parley_go_on(parley, peer, 1 + choose_below(choices, 16));
        break;
    case ACT_JOIN:
        parley_join(parley, peer, choose_byte(choices), (Kmem__Role)(1 + choose_below(choices, 3)));
        break;
    case ACT_CONNECT:
        parley_connect(parley, peer, choose_byte(choices));
        break;
    case ACT_USE_LEASE:
        parley_use_lease(parley, peer, choices);
        break;
    case ACT_TICK:
        parley_tick(parley, choose_number(choices) % (UINT64_C(1) << 20));
        break;
    case ACT_DIE:
        parley_die(parley, choose_byte(choices));
        break;
    case ACT_RESTART:
        parley_restart(parley);
        break;
    default:
        parley_ask(parley, peer, choices);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static struct parley parley;
    struct choices choices = choices_of(bytes, n_bytes);
    parley_begin(&parley);
    for (uint32_t n = 1; has_choices(&choices) && n <= ACTS_MAX; n++) {
        act(&parley, &choices);
        if (n % ACTS_BETWEEN_CHECKS == 0) {
            parley_check(&parley);
        }
    }
    parley_end(&parley);
    return 0;
}
