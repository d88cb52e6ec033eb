/* SPDX-License-Identifier: MIT */
/*
 * lease_steps.h - steps of the model test that are about leases, and the clients' part in them
 *
 * Clients carve their leases as the library does, by the operations of proto/lease.h and
 * proto/ledger.h on their ledgers. Between any two of their steps the daemon may take back what
 * they leave unused.
 */
#ifndef TESTS_UNIT_LEASE_STEPS_H
#define TESTS_UNIT_LEASE_STEPS_H

#include <stdbool.h>
#include <stdint.h>

void lease_steps_grant(void);  /* a client is granted a lease, or refused one */
void lease_steps_carve(void);  /* a client makes a slab or a large block of unused pages */
void lease_steps_clear(void);  /* a client releases all of one, and leaves the pages unused */
void lease_steps_return(void); /* a client returns what it does not use in some range */

/** lease_steps_make_room() - as dispatch does when there is none. Return: whether there is now. */
bool lease_steps_make_room(uint32_t n_pages);

/** lease_steps_reaped() - take leases and blocks out of the model that the core has taken back */
void lease_steps_reaped(void);

/** lease_steps_check() - every page is whose the model says, in the table and in its ledger */
void lease_steps_check(void);

#endif
