/* SPDX-License-Identifier: MIT */
/*
 * idle_slabs.pml - the daemon takes a slab without a live block; proto/lease.h has the protocol
 *
 * One slab of one block and one page, one thread that allocates and releases, and a daemon that
 * asks, reads and takes, or lets it be. Either may be killed between any two steps. The processor
 * of the client has a store buffer: its entry becomes visible to the daemon at any time after it
 * was written, and not later than the daemon's membarrier(). What it changes by compare-and-swap
 * empties the buffer, as on every machine that has one.
 *
 * A block that its thread has, and the daemon's taking of its page: never both.
 *
 * The steps that MUTATE_ macros spoil are those that the proof rests upon.
 */

#define FREE 0     /* the page's states: leased and unused */
#define OPEN 1     /* in use, of an open slab */
#define ASKED 2    /* the daemon is about to read the entry */
#define REVOKED 3  /* on its way back */
#define NONE 4     /* another's */

byte page = FREE;
bool stale;        /* stands beside the state */
bool entry;        /* as the daemon sees it: a block is live */
bool asked;        /* the mark, its lower half */
bool is_counted;    /* its upper half is not as it was when lease_hush() loaded it */

bool is_buffered;  /* the client's store of its entry is not visible yet */
bool buffered;     /* what it stores */

bool has_block;    /* the thread has a pointer to its block, and writes there */
bool is_anothers;  /* the page may be written by another client */
bool is_dead;      /* the client */

#define SEEN_BY_CLIENT (is_buffered -> buffered : entry)

inline check() { assert(!has_block || !is_anothers || is_dead) }

inline drain() {
    if
    :: is_buffered -> entry = buffered; is_buffered = false; buffered = false
    :: else
    fi
}

/* The store becomes visible by itself. */
active proctype processor()
{
end:
    do
    :: atomic { is_buffered -> drain() }
    :: is_dead -> break
    od
}

active proctype client()
{
    byte was;
    bool has_slab; /* on the thread's lists, its block ready or live */
end:
    do
    :: atomic { !has_slab && page == FREE && !stale && !is_dead -> /* lease_take(), slab_open() */
           assert(!is_buffered);
           page = OPEN;
           has_slab = true
       }
    :: atomic { has_slab && !has_block && !is_dead -> /* kmem__heap_enter() */
           drain(); /* one place in the buffer */
           is_buffered = true;
           buffered = true
       };
       if
       :: atomic { !asked -> has_block = true; check() }
       :: atomic { true -> /* the clock stands still: withdraw, whatever was asked */
              drain();
              is_buffered = true;
              buffered = false
          }
       :: atomic { asked -> skip };
keep:      atomic { /* lease_keep(): load */
               was = page;
#ifdef MUTATE_KEEP_BLIND
               if
               :: was == ASKED -> was = OPEN
               :: else
               fi
#endif
           };
           if
           :: atomic { was == OPEN -> has_block = true; check() }
           :: atomic { was == ASKED && page == ASKED -> /* compare-and-swap */
                  drain();
                  page = OPEN;
                  goto keep
              }
           :: atomic { was == ASKED && page != ASKED -> goto keep }
           :: atomic { was != OPEN && was != ASKED -> /* it is taken: withdraw, forget */
                  drain();
                  is_buffered = true;
                  buffered = false
              };
              atomic { /* lease_close_slab() */
                  drain();
                  stale = false;
                  has_slab = false
              }
           fi
       fi;
       was = 0
    :: atomic { has_slab && has_block && !is_dead -> /* release */
           has_block = false;
           drain();
           is_buffered = true;
           buffered = false
       }
    :: atomic { has_slab && !has_block && !is_dead && !SEEN_BY_CLIENT -> /* slab_close() */
           drain();
           if
           :: page == OPEN || page == ASKED -> page = FREE
           :: else -> stale = false
           fi;
           has_slab = false
       }
    :: atomic { !is_dead -> is_dead = true; drain() }; /* killed, in a pause; its pages are reaped */
       atomic { is_dead -> break }
    od
}

/* Another thread, which has a buffer of its own, and nothing in it. */
active proctype other_thread()
{
end:
    do
    :: atomic { asked && !is_dead -> is_counted = false }; /* lease_hush(): load */
       if
#ifdef MUTATE_HUSH_BLIND
       :: true ->
#else
       :: atomic { page != ASKED && !stale -> skip }; /* no page is */
#endif
          atomic { /* compare-and-swap */
              if
              :: !is_counted -> asked = false
              :: else
              fi
          }
#ifndef MUTATE_HUSH_BLIND
       :: atomic { page == ASKED || stale -> skip }
#endif
       fi
    :: is_dead -> break
    od
}

/* The page goes to another client, and comes back later by another lease. */
active proctype daemon()
{
    bool is_idle;
started: /* recovery: what is REVOKED comes back, in the table first */
    atomic {
        is_idle = false;
        if
        :: page == REVOKED -> is_anothers = true; check(); page = NONE
        :: else
        fi
    };
end:
    do
    :: atomic { !is_dead && (page == OPEN || page == ASKED) ->
#ifdef MUTATE_READ_BEFORE_ASK
           is_idle = !entry;
#endif
#ifdef MUTATE_ANNOUNCE_BEFORE_ASK
           asked = true;
           is_counted = true
#else
           page = ASKED /* lease_ask() */
#endif
       };
       if
       :: goto started /* killed */
       :: true
       fi;
       atomic {
#ifdef MUTATE_ANNOUNCE_BEFORE_ASK
           if
           :: page == OPEN -> page = ASKED
           :: else
           fi
#else
           asked = true; /* lease_announce() */
           is_counted = true
#endif
       };
       if
       :: goto started
       :: true
       fi;
#ifndef MUTATE_NO_BARRIER
       atomic { drain() };
#endif
#ifndef MUTATE_READ_BEFORE_ASK
       atomic { is_idle = !entry };
#endif
       if
       :: goto started
       :: true
       fi;
       atomic { /* lease_seize(), or lease_unask() */
           if
#ifdef MUTATE_SEIZE_BLIND
           :: is_idle -> page = REVOKED; stale = true
#elif defined(MUTATE_NO_STALE)
           :: is_idle && page == ASKED -> page = REVOKED
#else
           :: is_idle && page == ASKED -> page = REVOKED; stale = true
#endif
           :: !is_idle && page == ASKED -> page = OPEN
           :: else
           fi;
           is_idle = false
       };
       if
       :: goto started
       :: true
       fi;
       atomic { /* stretch_come_back() */
           if
           :: page == REVOKED -> is_anothers = true; check(); page = NONE
           :: else
           fi
       }
    :: atomic { page == NONE && is_anothers && !is_dead ->
           /* The other gives it up, and this client leases it: with STALE, too, if the server that
              looks is another than the one that took it. */
           is_anothers = false;
           page = FREE
       }
    :: atomic { page == FREE && !is_dead -> page = REVOKED }; /* lease_revoke() */
       atomic { page == REVOKED -> is_anothers = true; check(); page = NONE }
    :: atomic { is_dead -> break }
    od
}
