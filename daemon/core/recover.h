/* SPDX-License-Identifier: MIT */
/*
 * recover.h - a server begins with the state that another one left behind
 *
 * Whenever that one was killed, it left a prefix of its stores; of every prefix recover() makes a
 * core that passes core_check(). It changes nothing that anybody was told, and only finishes what
 * had been begun.
 */
#ifndef DAEMON_CORE_RECOVER_H
#define DAEMON_CORE_RECOVER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/core/core.h"
#include "proto/attributes.h"

/**
 * recover_states_fn - the mapped states of the ledger of a slot's client
 * Return: NULL if it has none any more: the client ends, unless it holds something and its process
 * lives, says config->watch().
 */
typedef _Atomic uint64_t *(*recover_states_fn)(uint32_t slot, void *user);

enum {
    RECOVER_OK,
    RECOVER_E_REFUSED, /* the file has another layout, or does not add up */
};

/**
 * recover() - make a core of a state file that is not new
 * @config:          its instance is not looked at: the file knows it; its alive() is called at
 *                   each stage, and in between as often as the work is long
 * @state_base:      a mapping of state_bytes(n_pages), the caller's
 * @states:          is asked for each client; user goes with it
 * @ret_why:         says what does not add up; why_bytes of room
 * Return: 0; a negative errno; RECOVER_E_REFUSED. After both of these nothing has to be freed.
 */
KMEM_MUST_USE int recover(struct core *core, const struct core_config *config, void *state_base,
                          recover_states_fn states, void *user, uint64_t now_ms, char *ret_why,
                          size_t why_bytes);

#endif
