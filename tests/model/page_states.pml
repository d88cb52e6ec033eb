/* SPDX-License-Identifier: MIT */
/*
 * page_states.pml - pages pass between clients and the daemon, and any of them may die
 *
 * The model of proto/lease.c and of what daemon/core/leases.c does with it. A client takes pages out of
 * its lease and gives them back, the daemon grants pages and revokes those that are unused, and
 * neither asks the other. Beside the page states, in the clients' ledgers, stands the daemon's own
 * table. Clients and daemon are killed after any of their stores, as often as one likes; the keeper
 * starts a new daemon on the files that the last one left. The search goes through every
 * interleaving there is.
 *
 * WHAT IS MODELLED
 *
 *  pages      three. In C eight share a word of page states, here two: pages 0 and 1 are taken with
 *             one compare-and-swap, pages 1 and 2 with two, of which the second may fail
 *  clients    two of one thread each, or with -DONE_CLIENT one of two threads. A thread takes a run
 *             of one or two pages, all or none, uses it and gives it back, for ever. There is no
 *             lock among threads, as if client/heap/lease_cache.c had none
 *  daemon     lets clients join, grants what is free, revokes what is unused, in runs of every
 *             length, and takes everything back from a client that has ended
 *  table      whose each page is. A run changes hands with one store, as state_commit() of its
 *             first page's word does. How runs are split and joined is not modelled: that changes
 *             nobody's pages
 *  recovery   what a new daemon has to do before it serves, see `started`
 *
 * A step is one atomic operation on memory that another process reads or writes, with what the
 * process does by itself before the next one. So a load and the compare-and-swap that follows are
 * two steps.
 *
 * Left out: LEASE_ZERO and LEASE_OWN, which change hands in the same compare-and-swap as the page,
 * and direct blocks, whose pages are in the table like a client's that has no thread.
 *
 * MEMORY ORDER is sequential consistency, which on x86-64 the code has: every write to a page state
 * is a locked instruction, and a locked instruction waits for the stores before it. The table is
 * written by one process, and read by another only when the first is dead; a dead process has left
 * a prefix of its stores.
 *
 * WHAT IS PROVEN
 *
 *  - A page is never in two hands. What a living client holds (FREE or USED) the table says is its
 *    own: check_holders(). No page is used by two threads, and none that is used changes its owner,
 *    nor does any without being free in between: use(), table_store().
 *  - A page goes through its states along the arrows of proto/lease.h only: states_store().
 *  - Nothing is lost. Whenever the daemon waits for the next event, however often it was killed,
 *    each page that the table gives to a client is one that this client may take or has in use, so
 *    that it can be revoked, and all its other pages are NONE: at_rest(). When all clients have
 *    ended, everything is free: `stopped`.
 *
 * WHAT THE RECOVERY NEEDS, each confirmed by a mutation that leaves it out: complete what was
 * revoked; take back what was granted but never marked FREE, for nobody knows of it; see that a
 * slot's ledger is its client's own, and not the last one's.
 *
 * A MUTATE_ macro spoils one step; tests/model/mutations expects each of them to be found. What
 * follows is for tests/model/check, which does not accept any other statement that is never
 * reached:
 *
 * unreached: thread "-end-"
 */
#ifdef ONE_CLIENT
#define N_CLIENTS 1
#define CLIENT_OF(thread) 0
#define IS_ALIVE(client) (alive[0] || alive[1])
#else
#define N_CLIENTS 2
#define CLIENT_OF(thread) (thread)
#define IS_ALIVE(client) alive[client]
#endif
#define N_THREADS 2
#define N_PAGES 3

/* ------------------------------------------------------------------- the clients' ledgers ---- */

/* proto/lease.h: enum lease_state */
#define LEASE_NONE 0
#define LEASE_FREE 1
#define LEASE_USED 2
#define LEASE_REVOKED 3

/* LEASE_PAGES_PER_WORD is 2, and a page has two bits of a word. */
#define N_WORDS 2
byte states[N_CLIENTS * N_WORDS];

#define WORD(client, page) states[(client) * N_WORDS + (page) / 2]
#define STATE_OF(client, page) ((WORD(client, page) >> ((page) % 2 * 2)) & 3)
#define HOLDS(client, page) \
    (STATE_OF(client, page) == LEASE_FREE || STATE_OF(client, page) == LEASE_USED)

/* proto/lease.c: part_at(), free_mask() */
#define PART_PAGES(page, end) ((page) % 2 == 0 && (end) - (page) >= 2 -> 2 : 1)
#define PART_MASK(page, end) ((page) % 2 == 1 -> 12 : ((end) - (page) >= 2 -> 15 : 3))
#define EVERY(state) ((state) * 5)
#define FREE_MASK(word) (((word) & ~((word) >> 1) & EVERY(1)) * 3)
#define WITH(word, mask, state) (((word) & ~(mask)) | (EVERY(state) & (mask)))

/* ---------------------------------------------------------------- the daemon's state file ---- */

/* daemon/core/state.h: the page words, one page each. */
byte owner[N_PAGES];
#define PAGE_FREE 0
#define LEASED_TO(client) ((client) + 1)

/* daemon/core/state.h, struct state_client: a slot that is in use. */
bool slot_used[N_CLIENTS];

/* ---------------------------------------------------------------- what really is the case ---- */

bool alive[N_THREADS];

/* Which thread uses a page: 1 or 2; 0 none. A thread uses what it has taken and not yet given. */
byte user[N_PAGES];
#define USER(thread) ((thread) + 1)

/* Used inside of one step only, not part of the state. */
hidden byte p;
hidden byte value;
hidden byte was;
hidden byte now_is;

/* What a living client holds the table says is its own. */
inline check_holders()
{
    p = 0;
    do
    :: p < N_PAGES ->
       assert(!(IS_ALIVE(0) && HOLDS(0, p)) || owner[p] == LEASED_TO(0));
#ifndef ONE_CLIENT
       assert(!(IS_ALIVE(1) && HOLDS(1, p)) || owner[p] == LEASED_TO(1));
#endif
       p++
    :: else -> break
    od;
    p = 0
}

/* Every write to a word of page states. Pages go from one state to one other. */
inline states_store(whose, where, what, from_state, to_state)
{
    value = what;
    p = 0;
    do
    :: p < 2 ->
       was = (WORD(whose, where) >> (p * 2)) & 3;
       now_is = (value >> (p * 2)) & 3;
       assert(was == now_is || (was == from_state && now_is == to_state));
       p++
    :: else -> break
    od;
    WORD(whose, where) = value;
    check_holders()
}

/* Every write to the table: state_commit() in daemon/core/state.c. The range changes hands at once. */
inline table_store(begin, until, whose)
{
    p = begin;
    do
    :: p < until ->
       assert(user[p] == 0 && (owner[p] == PAGE_FREE || whose == PAGE_FREE));
       owner[p] = whose;
       p++
    :: else -> break
    od;
    check_holders()
}

inline may_be_killed()
{
    if
    :: skip
    :: goto killed
    fi
}

/* ------------------------------------------------------------------------------- a thread ---- */

#define MINE WORD(CLIENT_OF(me), at)
#define CAN_TAKE ((FREE_MASK(word) & PART_MASK(at, end)) == PART_MASK(at, end))

#ifdef MUTATE_TAKE_BLIND
#define IS_UNCHANGED true
#else
#define IS_UNCHANGED (MINE == word)
#endif

inline use(begin, until)
{
    p = begin;
    do
    :: p < until ->
       assert(user[p] == 0 && owner[p] == LEASED_TO(CLIENT_OF(me)));
       user[p] = USER(me);
       p++
    :: else -> break
    od;
    p = 0
}

inline unuse(begin, until)
{
    p = begin;
    do
    :: p < until ->
       assert(user[p] == USER(me) && owner[p] == LEASED_TO(CLIENT_OF(me)));
       user[p] = 0;
       p++
    :: else -> break
    od;
    p = 0
}

proctype thread(byte me)
{
    byte page, end, at, word;
end_born:
    alive[me];
idle:
    atomic {
        /* client/heap/lease_cache.c, kmem__lease_cache_take(): any run, for what it knows is a hint. Page 0 alone
           would be page 1 alone over again. */
        if
        :: goto killed
        :: page = 1; end = 2
        :: page = 2; end = 3
        :: page = 0; end = 2
        :: page = 1; end = 3
        fi;
        at = page;
take: /* proto/lease.c, lease_take(): from word to word */
        word = MINE; /* part_take(): load */
        if
        :: !CAN_TAKE && at == page -> page = 0; end = 0; at = 0; word = 0; goto idle
        :: !CAN_TAKE && at != page -> end = at; at = page; word = 0; goto give /* all or none */
        :: else
        fi
    };
    if
    :: atomic { /* part_take(): compare-and-swap, which succeeds */
           IS_UNCHANGED ->
           d_step {
               states_store(CLIENT_OF(me), at, WITH(word, PART_MASK(at, end), LEASE_USED),
                            LEASE_FREE, LEASE_USED);
               use(at, at + PART_PAGES(at, end));
               at = at + PART_PAGES(at, end);
               word = 0
           };
           may_be_killed();
           if
           :: at < end -> goto take
           :: at == end -> at = page
           fi
       }
    :: atomic { !IS_UNCHANGED -> goto take } /* and which fails */
    fi;
give: /* proto/lease.c, lease_give(): from word to word */
    atomic {
        d_step { /* fetch_sub: USED - 1 == FREE */
            unuse(at, at + PART_PAGES(at, end));
            states_store(CLIENT_OF(me), at, MINE - (EVERY(1) & PART_MASK(at, end)), LEASE_USED,
                         LEASE_FREE);
            at = at + PART_PAGES(at, end)
        };
        may_be_killed();
        if
        :: at < end -> goto give
        :: at == end -> page = 0; end = 0; at = 0; goto idle
        fi
    };
killed: /* A process has ended when its last thread has. Another may come in its place. */
    atomic {
        d_step {
            alive[me] = false;
            p = 0;
            do
            :: p < N_PAGES -> user[p] = (user[p] == USER(me) -> 0 : user[p]); p++
            :: else -> break
            od;
            p = 0;
            page = 0;
            end = 0;
            at = 0;
            word = 0
        };
        goto end_born
    }
}

/* ----------------------------------------------------------------------------- the daemon ---- */

/* Whenever the daemon waits. Of a client that has ended only the table counts. */
inline check_rest(whose)
{
    assert(owner[p] != LEASED_TO(whose) || slot_used[whose]);
    assert(!slot_used[whose] || ended[whose] ||
           (owner[p] == LEASED_TO(whose) && HOLDS(whose, p)) ||
           (owner[p] != LEASED_TO(whose) && STATE_OF(whose, p) == LEASE_NONE))
}

inline at_rest()
{
    d_step {
        p = 0;
        do
        :: p < N_PAGES ->
           check_rest(0);
#ifndef ONE_CLIENT
           check_rest(1);
#endif
           p++
        :: else -> break
        od;
        p = 0
    }
}

/* Any range of pages. */
inline choose_range()
{
    if
    :: page = 0
    :: page = 1
    :: page = 2
    fi;
    if
    :: end = page + 1
    :: page < 2 -> end = page + 2
    :: page < 1 -> end = page + 3
    fi
}

#define RANGE_IS(whose) \
    (owner[page] == (whose) && owner[end - 1] == (whose) && owner[(page + end - 1) / 2] == (whose))

#ifdef MUTATE_REVOKE_BLIND
#define IS_STILL(word) true
#else
#define IS_STILL(word) (WORD(client, page) == word)
#endif

#if defined(MUTATE_RECOVER_NO_REVOKED)
#define IS_TO_RECOVER(state) ((state) == LEASE_NONE)
#elif defined(MUTATE_RECOVER_NO_NONE)
#define IS_TO_RECOVER(state) ((state) == LEASE_REVOKED)
#else
#define IS_TO_RECOVER(state) ((state) == LEASE_NONE || (state) == LEASE_REVOKED)
#endif

#ifdef MUTATE_REAP_UNUSED
#define IS_REAPED(page) (owner[page] == LEASED_TO(client) && STATE_OF(client, page) != LEASE_USED)
#else
#define IS_REAPED(page) (owner[page] == LEASED_TO(client))
#endif

proctype daemon()
{
    byte client, page, end, at, word, stretch, stretch_end, n_pages;
    bool ended[2]; /* daemon/core/clients.h: CLIENT_ENDED */
started:
    /*
     * The recovery, all of it before the first request. The table is the truth. What it gives to a
     * client that does not hold it (its grant was not completed, or it was revoked) is freed, in
     * the table first; then what is REVOKED is made NONE.
     */
    atomic {
        do
        :: client == N_CLIENTS -> break
        :: client < N_CLIENTS && (!slot_used[client] || page == N_PAGES) -> client++; page = 0
        :: client < N_CLIENTS && slot_used[client] && page < N_PAGES ->
           if
           :: page == 0 -> ended[client] = !IS_ALIVE(client) /* its pidfd, polled once */
           :: else
           fi;
           if
           :: ended[client] -> page = N_PAGES /* all of it is taken back by `reap` */
           :: !ended[client] && !IS_TO_RECOVER(STATE_OF(client, page)) -> page++
           :: !ended[client] && IS_TO_RECOVER(STATE_OF(client, page)) ->
              if
              :: owner[page] == LEASED_TO(client) ->
                 end = page + 1;
                 d_step { table_store(page, end, PAGE_FREE) };
                 end = 0;
                 may_be_killed()
              :: else
              fi;
              if
              :: STATE_OF(client, page) == LEASE_REVOKED ->
                 d_step {
                     states_store(client, page,
                                  WORD(client, page) & ~PART_MASK(page, page + 1), LEASE_REVOKED,
                                  LEASE_NONE)
                 };
                 may_be_killed()
              :: else
              fi;
              page++
           fi
        od;
        client = 0
    };
serve: /* daemon/server/server.c: one event after the other */
    atomic {
        at_rest();
        client = 0;
        page = 0;
        end = 0;
        if
        :: client = 0
        :: N_CLIENTS > 1 -> client = N_CLIENTS - 1
        fi;
        if
        :: goto killed
        :: !slot_used[0] && !slot_used[N_CLIENTS - 1] -> goto stopped
        :: !slot_used[client] -> goto join
        :: slot_used[client] && !ended[client] -> goto grant
        :: slot_used[client] && !ended[client] -> goto revoke
        :: slot_used[client] && !ended[client] && !IS_ALIVE(client) ->
           ended[client] = true; /* daemon/server/pidfd_watch.c, daemon/core/core.c: core_end() */
           goto serve
        :: ended[client] -> goto reap
        fi
    };
join: /* daemon/server/client_files.c: client_files_open(), a new file of zeros; daemon/core/clients.c: clients_add() */
    atomic {
#ifndef MUTATE_KEEP_LEDGER
        WORD(client, 0) = 0;
        WORD(client, 2) = 0;
#endif
        slot_used[client] = true;
        may_be_killed(); /* and the client with it, for it has no ledger */
        d_step {
            alive[client] = true;
#ifdef ONE_CLIENT
            alive[1] = true;
#endif
            check_holders()
        };
        goto serve
    };
grant: /* daemon/core/leases.c: leases_grant() */
    atomic {
        choose_range();
        if
        :: !RANGE_IS(PAGE_FREE) -> goto serve
        :: RANGE_IS(PAGE_FREE)
        fi;
        at = page;
#ifndef MUTATE_STATES_BEFORE_TABLE
        d_step { table_store(page, end, LEASED_TO(client)) }; /* pages_take() */
        may_be_killed();
#endif
grant_word: /* proto/lease.c, lease_grant(): from word to word */
        if
        :: at == end -> at = 0;
#ifdef MUTATE_STATES_BEFORE_TABLE
           d_step { table_store(page, end, LEASED_TO(client)) };
           may_be_killed();
#endif
           goto serve
        :: at < end -> word = WORD(client, at) /* load */
        fi
    };
    if
    :: atomic { /* compare-and-swap, which succeeds */
           WORD(client, at) == word ->
           d_step {
               states_store(client, at, WITH(word, PART_MASK(at, end), LEASE_FREE), LEASE_NONE,
                            LEASE_FREE);
               at = at + PART_PAGES(at, end);
               word = 0
           };
           may_be_killed();
           goto grant_word
       }
    :: atomic { WORD(client, at) != word -> goto grant_word } /* and which fails */
    fi;
revoke: /* daemon/core/leases.c: leases_return(), run_revoke() of a range inside one run */
    atomic {
        choose_range();
        if
        :: !RANGE_IS(LEASED_TO(client)) -> goto serve
        :: RANGE_IS(LEASED_TO(client))
        fi;
#ifdef MUTATE_TABLE_BEFORE_REVOKE
        if
        :: STATE_OF(client, page) == LEASE_FREE ->
           end = page + 1;
           d_step { table_store(page, end, PAGE_FREE) };
           may_be_killed()
        :: else
        fi;
#endif
        stretch = page;
        stretch_end = page;
revoke_word: /* proto/lease.c, lease_revoke(): to the next word that has a FREE page */
        do
        :: page == end -> word = 0; goto come_back
        :: page < end ->
           word = WORD(client, page); /* part_revoke(): load */
           if
           :: (FREE_MASK(word) & PART_MASK(page, end)) == 0 -> page = page + PART_PAGES(page, end)
           :: else -> break
           fi
        od
    };
    if
    :: atomic { /* part_revoke(): compare-and-swap, which succeeds */
           IS_STILL(word) ->
           at = FREE_MASK(word) & PART_MASK(page, end); /* mask_first() */
           d_step {
               states_store(client, page, WITH(word, at, LEASE_REVOKED), LEASE_FREE,
                            LEASE_REVOKED);
               n_pages = (at == 15 -> 2 : 1);
               page = (at == 12 -> page | 1 : page);
               at = 0;
               word = 0
           };
           may_be_killed();
           /* run_revoke(): what follows the stretch joins it, and what does not ends it */
           if
           :: page != stretch_end && stretch < stretch_end -> goto come_back
           :: page != stretch_end && stretch == stretch_end -> stretch = page
           :: else
           fi;
           page = page + n_pages;
           stretch_end = page;
           n_pages = 0;
           goto revoke_word
       }
    :: atomic { !IS_STILL(word) -> goto revoke_word } /* and which fails */
    fi;
come_back: /* daemon/core/leases.c, stretch_come_back(): pages_give_part(), then lease_forget() */
    atomic {
        if
        :: stretch == stretch_end -> stretch = 0; stretch_end = 0; goto serve
        :: stretch < stretch_end ->
           d_step { table_store(stretch, stretch_end, PAGE_FREE) };
           may_be_killed();
           at = stretch
        fi
    };
forget: /* proto/lease.c, lease_forget(): from word to word */
    atomic {
        d_step { /* fetch_and */
            states_store(client, at, WORD(client, at) & ~PART_MASK(at, stretch_end), LEASE_REVOKED,
                         LEASE_NONE);
            at = at + PART_PAGES(at, stretch_end)
        };
        may_be_killed();
        if
        :: at < stretch_end -> goto forget
        :: at == stretch_end -> at = 0
        fi;
        stretch = page;
        page = page + n_pages;
        stretch_end = page;
        if
        :: n_pages > 0 -> n_pages = 0; goto revoke_word
        :: n_pages == 0 -> stretch = 0; stretch_end = 0; goto serve
        fi
    };
reap: /* daemon/core/reap.c: reap(), a run at a time: leases_reap(); at last clients_remove() */
    atomic {
        do
        :: page < N_PAGES && !IS_REAPED(page) -> page++
        :: page < N_PAGES && IS_REAPED(page) ->
           end = page + 1;
           d_step { table_store(page, end, PAGE_FREE) };
           may_be_killed();
           goto serve
        :: page == N_PAGES -> break
        od;
        slot_used[client] = false;
        ended[client] = false;
        goto serve
    };
killed: /* Of all that it knew, nothing is left. The keeper starts the next one. */
    atomic {
        client = 0;
        page = 0;
        end = 0;
        at = 0;
        word = 0;
        stretch = 0;
        stretch_end = 0;
        n_pages = 0;
        ended[0] = false;
        ended[1] = false;
        goto started
    };
stopped:
    assert(owner[0] == PAGE_FREE && owner[1] == PAGE_FREE && owner[2] == PAGE_FREE)
}

init {
    atomic {
        run thread(0);
        run thread(1);
        run daemon()
    }
}
