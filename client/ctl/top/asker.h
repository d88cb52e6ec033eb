/* SPDX-License-Identifier: MIT */
/*
 * asker.h - a thread that asks, so that keys are answered while kmemd is not heard
 *
 * A question waits for its answer for as long as the library lets it, half a minute; a thread of
 * its own does that. It asks once an interval, keeps one answer until that is taken, and opens
 * another connection when one has ended. No signal is delivered to it.
 */
#ifndef CTL_TOP_ASKER_H
#define CTL_TOP_ASKER_H

#include <stdbool.h>
#include <stdint.h>

#include <kmem/kmem.h>

#include "client/ctl/options.h"
#include "client/ctl/top/sample.h"

struct asker;

/**
 * asker_open() - begin to ask
 * @options:  which daemon; copied
 * Return: 0 or a negative errno.
 */
KMEM_MUST_USE int asker_open(const struct options *options, enum page_id page, unsigned interval_ms,
                             struct asker **ret_asker);

/** asker_close() - end it; one that waits for an answer ends with the process. May be NULL. */
void asker_close(struct asker *asker);

/** asker_fd() - readable when there is an answer to be taken */
int asker_fd(const struct asker *asker);

/** asker_take() - the answer, if there is one; sample_fini() is due then */
bool asker_take(struct asker *asker, struct sample *ret_sample);

/** asker_want() - ask for this page from now on, and at once */
void asker_want(struct asker *asker, enum page_id page);

/** asker_pause() - ask no more, or go on */
void asker_pause(struct asker *asker, bool is_paused);

/** asker_waiting_ms() - for how long it has waited for an answer; 0: it does not */
uint64_t asker_waiting_ms(struct asker *asker);

/**
 * asker_past() - ask for as much as a flow has points
 *
 * Over a connection of its own, for a daemon that keeps no history ends it; then there is none.
 */
void asker_past(struct past *past, const struct options *options);

/** asker_now_ms() - the clock of samples */
uint64_t asker_now_ms(void);

#endif
