/* SPDX-License-Identifier: MIT */
/*
 * parley.h - several peers that talk to one core, as the server lets them, by the choices of a
 *            fuzzer
 *
 * The core is the real one, in the unit tests' fixture; requests go through dispatch(), answers are
 * encoded as a session would. What the server does beside it is done here: ledgers for who has
 * joined, a connection that is replaced ends, processes die, time goes on, the core is recovered.
 *
 * A request is made field by field from the message's descriptor, so a new one is talked about
 * without a word here. A field is a number that an answer had in it (an offset, a nonce, a version,
 * a handle), one beside it, or any other.
 */
#ifndef TESTS_FUZZ_PARLEY_H
#define TESTS_FUZZ_PARLEY_H

#include "tests/fuzz/fuzz.h"
#include "tests/unit/conversation.h"

#define PARLEY_PAGES 40
#define PARLEY_CLIENTS 8
#define PARLEY_PEERS 6
#define PARLEY_PIDS 5
/* Numbers and handles that answers had in them. */
#define PARLEY_KNOWN 16

struct parley_peer {
    struct peer peer;
    bool is_open;
    int outcome; /* of the last request */
};

struct parley {
    struct conversation conversation;
    struct parley_peer peers[PARLEY_PEERS];
    uint64_t known[PARLEY_KNOWN];
    uint32_t n_known; /* that were ever noted */
    Kmem__Handle handles[PARLEY_KNOWN];
    uint32_t n_handles;
    uint64_t last_nonce;
    size_t taken_bytes; /* of the heap, before it began; 0: it is not known */
    size_t begun_bytes; /* likewise, with all tables, before anything was said */
};

/** parley_begin() - an empty segment, to which all peers are connected; none said Hello */
void parley_begin(struct parley *parley);

/** parley_end() - all connections end, then all processes; wants the core to be as it was */
void parley_end(struct parley *parley);

/** parley_join() - a peer says Hello as a new connection of a process */
void parley_join(struct parley *parley, uint32_t peer, uint32_t pid, Kmem__Role role);

/** parley_ask() - a request by choice, unless the peer's last answer is pending */
void parley_ask(struct parley *parley, uint32_t peer, struct choices *choices);

/** parley_say() - the payload of a frame, whatever it is, likewise */
void parley_say(struct parley *parley, uint32_t peer, const uint8_t *payload, size_t n_bytes);

/** parley_query() - goes on until it is answered. Return: whether it was: the answer is there. */
bool parley_query(struct parley *parley, uint32_t peer, Kmem__Request *request);

/** parley_go_on() - some steps of the answer that is pending, if one is */
void parley_go_on(struct parley *parley, uint32_t peer, uint32_t n_steps);

/** parley_connect() - a peer's connection ends, and another one of a process begins */
void parley_connect(struct parley *parley, uint32_t peer, uint32_t pid);

/** parley_die() - a process ends, and all its connections with it */
void parley_die(struct parley *parley, uint32_t pid);

/** parley_tick() - time goes on, and the server does what it does now and then */
void parley_tick(struct parley *parley, uint64_t for_ms);

/** parley_restart() - another core goes on with the state; all connections are lost */
void parley_restart(struct parley *parley);

/** parley_use_lease() - a member carves what it has leased: takes pages, blocks, gives them back */
void parley_use_lease(struct parley *parley, uint32_t peer, struct choices *choices);

/** parley_check() - recount everything, the memory too */
void parley_check(const struct parley *parley);

#endif
