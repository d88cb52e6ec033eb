/* SPDX-License-Identifier: MIT */
/*
 * clear_trial.h - measuring which loop clears memory fastest on this machine: proto/clear.h
 *
 * The server does it for all clients, as its segment begins; another server on the same segment
 * goes by what was found. So no client spends its first millisecond on it, and a server that comes
 * after one that died does not keep clients waiting for it.
 */
#ifndef DAEMON_SERVER_CLEAR_TRIAL_H
#define DAEMON_SERVER_CLEAR_TRIAL_H

#include <stdatomic.h>
#include <stdint.h>

/** clear_trial() - measure. Waiting: half a millisecond or so. Return: a plan; 0: no memory */
uint32_t clear_trial(void);

/**
 * clear_trial_once() - measure, unless a usable plan is there
 * @clear:  in the notice file
 * Return: the plan.
 */
uint32_t clear_trial_once(_Atomic uint32_t *clear);

#endif
