/* SPDX-License-Identifier: MIT */
/*
 * page_states.pml - pages pass between a client and the daemon, and any of them may die
 *
 * The model of proto/lease.c and of what daemon/leases.c does with it. A client takes pages out of
 * its lease and gives them back, the daemon grants pages and revokes those that are unused, and
 * neither asks the other. Beside the page states, in the ledgers of the clients, stands the daemon's
 * own table, the page words in its state file. Clients and daemon are killed between any two stores,
 * as often as one likes; a new daemon begins with what the last one left. The search goes through
 * every interleaving there is.
 *
 * WHAT IS MODELLED
 *
 *  pages      three. In C eight share a word of page states, here two: pages 0 and 1 are taken with
 *             one compare-and-swap, pages 1 and 2 with two, and the second may fail
 *  clients    two of one thread each, or with -DONE_CLIENT one of two threads. A thread takes a run
 *             of one or two pages, all or none, uses it and gives it back, for ever. There is no
 *             lock among threads, as if client/cache.c had none
 *  daemon     lets clients join, grants what is free in runs of every length, revokes what is
 *             unused in a run, and takes everything back from a client that has ended
 *  death      a thread ends after any of its stores, and a process when its last thread has. The
 *             daemon is killed after any of its stores: may_be_killed() stands at each
 *  recovery   what a new daemon does before it serves. It is not written in C yet; the model says
 *             what it must do, see `started`
 *
 * A step is one atomic operation on memory that another process reads or writes, with what the
 * process does by itself before the next one. So a load and the compare-and-swap that follows are
 * two steps. What the daemon does to the page words is one step with a death possible after each of
 * its stores, for nobody else reads them while it lives.
 *
 * Left out: LEASE_ZERO, which changes hands in the same compare-and-swap as the page; the first page
 * of the segment, which is never free; leases_return() of a part of a run; the lengths of what
 * leases_grant() thinks best; direct blocks.
 *
 * MEMORY ORDER is sequential consistency, which on x86-64 the code has: every write to a page state
 * is a locked instruction, and a locked instruction waits for the stores before it. The page words
 * are written by one process, and read by another only after the first is dead; a dead process has
 * left a prefix of its stores.
 *
 * WHAT IS PROVEN
 *
 *  - No page is used by two threads at once, nor by one when the table gives it to another client
 *    or to nobody: use(), state_commit(), check_holders().
 *  - A page goes through its states along the arrows of proto/lease.h only; REVOKED never becomes
 *    USED, FREE is never granted again: store_states().
 *  - A page word changes pages from free to an owner or back, never from owner to owner, and what is
 *    freed is in nobody's use: state_commit().
 *  - Nothing is lost. Whenever the daemon waits for the next event, however often it was killed, the
 *    runs cover the segment, free neighbours are joined, and every page that the table gives to a
 *    client is one that this client may take, or has in use, so that it can be revoked: at_rest().
 *    When all clients have ended, everything is one free run: `stopped`.
 *  - Nobody gets stuck: no invalid end state.
 *
 * WHAT THE RECOVERY MUST DO, which the selftest confirms by leaving it out: drop the ledgers of
 * slots that nobody has, join free neighbours, look who has died before it grants anything, complete
 * what was revoked, and take back what was granted but never marked FREE. Each of these can be
 * killed and done again.
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

/* -------------------------------------------------------------------- the clients' ledgers ---- */

/* proto/lease.h */
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

/* -------------------------------------------------------------------- the daemon's state file ---- */

/* daemon/state.h: whose the run is, 0 nobody's, and its length; true of a run's first page only. */
byte page_words[N_PAGES];
#define PAGE_FREE 0
#define OWNER(client) ((client) + 1)
#define PAGE_WORD(owner, n_pages) ((owner) + (n_pages) * 4)

/* What stands inside a run must not matter. A run of this length ends nowhere. */
#define PAGE_STALE PAGE_WORD(PAGE_FREE, 15)

#define RUN_OWNER(page) (page_words[page] & 3)
#define RUN_END(page) ((page) + (page_words[page] >> 2))
#define RUN_OF_1 (RUN_END(0) > 1 -> 0 : 1)
#define RUN_OF_2 (RUN_END(RUN_OF_1) > 2 -> RUN_OF_1 : 2)
#define RUN_OF(page) ((page) == 0 -> 0 : ((page) == 1 -> RUN_OF_1 : RUN_OF_2))
#define OWNER_OF(page) RUN_OWNER(RUN_OF(page))

/* struct state_client: its pid is not 0. */
bool slot_used[N_CLIENTS];

/* ------------------------------------------------------------------- what really is the case ---- */

bool alive[N_THREADS];
bool ending; /* the daemon has stopped for good */

/* Which thread uses a page: 1 and 2; 0 none. A thread uses what it has taken and not yet given. */
byte user[N_PAGES];
#define USER(thread) ((thread) + 1)

/* Used inside of one step only, not part of the state. */
hidden byte p;
hidden byte value;
hidden byte was;
hidden byte now_is;
hidden byte owners[N_PAGES];

/* What a living client holds the table says is its own. */
inline check_holders()
{
    p = 0;
    do
    :: p < N_PAGES ->
       assert(!(IS_ALIVE(0) && HOLDS(0, p)) || OWNER_OF(p) == OWNER(0));
#ifndef ONE_CLIENT
       assert(!(IS_ALIVE(1) && HOLDS(1, p)) || OWNER_OF(p) == OWNER(1));
#endif
       p++
    :: else -> break
    od;
    p = 0
}

/* Every write to a word of page states. Pages may go from one state to one other. */
inline store_states(whose, where, what, from_state, to_state)
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

inline may_be_killed()
{
    if
    :: skip
    :: goto killed
    fi
}

/* Every write to a page word: daemon/state.c, state_commit(). */
inline state_commit(where, what)
{
    d_step {
        value = what;
        p = 0;
        do
        :: p < N_PAGES -> owners[p] = OWNER_OF(p); p++
        :: else -> break
        od;
        page_words[where] = value;
        p = 0;
        do
        :: p < N_PAGES ->
           assert(owners[p] == OWNER_OF(p) ||
                  (user[p] == 0 && (owners[p] == PAGE_FREE || OWNER_OF(p) == PAGE_FREE)));
           if
           :: RUN_OF(p) != p && p != where -> page_words[p] = PAGE_STALE
           :: else
           fi;
           p++
        :: else -> break
        od;
        check_holders()
    };
    may_be_killed()
}

/* ----------------------------------------------------------------------------------- a thread ---- */

#define MINE WORD(CLIENT_OF(me), at)
#define CAN_TAKE ((FREE_MASK(word) & PART_MASK(at, end)) == PART_MASK(at, end))

inline use(from, till)
{
    p = from;
    do
    :: p < till -> assert(user[p] == 0); user[p] = USER(me); p++
    :: else -> break
    od
}

inline unuse(from, till)
{
    p = from;
    do
    :: p < till -> assert(user[p] == USER(me)); user[p] = 0; p++
    :: else -> break
    od
}

proctype thread(byte me)
{
    byte page, end, at, word;
born:
    if
    :: atomic { alive[me] -> goto idle }
    :: atomic { ending -> goto gone }
    fi;
idle:
    atomic {
        /* client/cache.c: any run, for what it knows is a hint */
        if
        :: goto killed
        :: page = 0; end = 1
        :: page = 1; end = 2
        :: page = 2; end = 3
        :: page = 0; end = 2
        :: page = 1; end = 3
        fi;
        at = page;
        /* lease_take(): from word to word */
take:
        word = MINE; /* part_take(): load */
        if
        :: !CAN_TAKE && at == page -> page = 0; end = 0; at = 0; word = 0; goto idle
        :: !CAN_TAKE && at != page -> end = at; at = page; word = 0; goto give /* roll back */
        :: else
        fi
    };
    if
    :: atomic { /* part_take(): compare-and-swap, which succeeds */
           MINE == word ->
           d_step {
               store_states(CLIENT_OF(me), at, WITH(word, PART_MASK(at, end), LEASE_USED),
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
    :: atomic { MINE != word -> goto take } /* and which fails */
    fi;
give: /* lease_give(): from word to word */
    atomic {
        d_step { /* fetch_sub: USED - 1 == FREE */
            unuse(at, at + PART_PAGES(at, end));
            store_states(CLIENT_OF(me), at, MINE - (EVERY(1) & PART_MASK(at, end)), LEASE_USED,
                         LEASE_FREE);
            at = at + PART_PAGES(at, end)
        };
        may_be_killed();
        if
        :: at < end -> goto give
        :: at == end -> page = 0; end = 0; at = 0; goto idle
        fi
    };
killed:
    atomic {
        d_step {
            alive[me] = false;
            p = 0;
            do
            :: p < N_PAGES -> user[p] = (user[p] == USER(me) -> 0 : user[p]); p++
            :: else -> break
            od;
            page = 0;
            end = 0;
            at = 0;
            word = 0
        };
        goto born
    };
gone:
    skip
}

/* ------------------------------------------------------------- the daemon: its own table only ---- */

/* daemon/pages.c: pages_take(). Both stores of it, and a death after each. */
inline pages_take(hole, border, taker)
{
    if
    :: RUN_END(hole) > border ->
       state_commit(border, PAGE_WORD(PAGE_FREE, RUN_END(hole) - border))
    :: else
    fi;
    state_commit(hole, PAGE_WORD(OWNER(taker), border - hole))
}

/* daemon/pages.c: run_split() */
inline run_split(border)
{
    if
    :: border < N_PAGES && RUN_OF(border) != border ->
       first = RUN_OF(border);
       state_commit(border, PAGE_WORD(RUN_OWNER(first), RUN_END(first) - border));
       state_commit(first, PAGE_WORD(RUN_OWNER(first), border - first));
       first = 0
    :: else
    fi
}

/* daemon/pages.c: pages_give() */
inline pages_give(given)
{
    behind = RUN_END(given);
    state_commit(given, PAGE_WORD(PAGE_FREE, behind - given));
    first = given;
    if
    :: behind < N_PAGES && OWNER_OF(behind) == PAGE_FREE -> behind = RUN_END(behind)
    :: else
    fi;
    if
    :: given > 0 && OWNER_OF(given - 1) == PAGE_FREE -> first = RUN_OF(given - 1)
    :: else
    fi;
    if
    :: behind != RUN_END(first) -> state_commit(first, PAGE_WORD(PAGE_FREE, behind - first))
    :: else
    fi;
    first = 0;
    behind = 0
}

/* daemon/pages.c: pages_give_part() */
inline pages_give_part(left, right)
{
    run_split(right);
    run_split(left);
    pages_give(left)
}

/* daemon/pages.c: pages_index(): joins what a daemon was killed before joining */
inline pages_index()
{
    page = RUN_END(0);
    do
    :: page == N_PAGES -> break
    :: page < N_PAGES ->
       if
       :: OWNER_OF(page) == PAGE_FREE && OWNER_OF(page - 1) == PAGE_FREE ->
          first = RUN_OF(page - 1);
          page = RUN_END(page);
          state_commit(first, PAGE_WORD(PAGE_FREE, page - first));
          first = 0
       :: else -> page = RUN_END(page)
       fi
    od;
    page = 0
}

/* The daemon's choice: a run that somebody has, from its first page to its end, or nothing. */
inline choose_run(whose)
{
    do
    :: page < N_PAGES && OWNER_OF(page) == whose -> end = RUN_END(page); break
    :: page < N_PAGES -> page = RUN_END(page)
    :: page == N_PAGES -> goto serve
    od
}

/* Whenever the daemon waits: what daemon/core.c, core_check() demands, and that nothing is stuck. */
inline at_rest()
{
    d_step {
        assert(RUN_END(RUN_OF(N_PAGES - 1)) == N_PAGES);
        p = 0;
        do
        :: p < N_PAGES ->
           assert(p == 0 || RUN_OF(p) != p || OWNER_OF(p) != PAGE_FREE ||
                  OWNER_OF(p - 1) != PAGE_FREE);
           assert(OWNER_OF(p) != OWNER(0) || (slot_used[0] && HOLDS(0, p)));
           assert(STATE_OF(0, p) != LEASE_REVOKED);
#ifndef ONE_CLIENT
           assert(OWNER_OF(p) != OWNER(1) || (slot_used[1] && HOLDS(1, p)));
           assert(STATE_OF(1, p) != LEASE_REVOKED);
#endif
           p++
        :: else -> break
        od;
        p = 0
    }
}

/* --------------------------------------------------------------- the daemon: the page states ---- */

/* proto/lease.c: lease_forget(), from word to word */
inline lease_forget(former, begin, until)
{
    at = begin;
    do
    :: atomic {
           at < until ->
           d_step { /* fetch_and */
               store_states(former, at, WORD(former, at) & ~PART_MASK(at, until), LEASE_REVOKED,
                            LEASE_NONE);
               at = at + PART_PAGES(at, until)
           };
           may_be_killed()
       }
    :: atomic { at >= until -> at = 0; break }
    od
}

/* daemon/ledgers.c: ledgers_close(). The slot's next client gets a new file, of zeros. */
inline ledgers_close(orphan)
{
    d_step {
        p = 0;
        do
        :: p < N_PAGES -> WORD(orphan, p) = 0; p++
        :: else -> break
        od;
        p = 0
    };
    may_be_killed()
}

proctype daemon()
{
    byte client, page, end, at, word, first, behind, stretch, stretch_end, n_pages;
    bool ended[2]; /* CLIENT_ENDED */
started: /* The recovery: all of it before the first request. */
    atomic {
        pages_index();
recover:
        do
        :: client == N_CLIENTS -> break
        :: client < N_CLIENTS && !slot_used[client] -> /* a file that outlived its client */
           ledgers_close(client);
           client++
        :: client < N_CLIENTS && slot_used[client] && page == N_PAGES -> client++; page = 0
        :: client < N_CLIENTS && slot_used[client] && page < N_PAGES ->
           ended[client] = !(IS_ALIVE(client)); /* its pidfd, polled once */
           if
           :: OWNER_OF(page) == OWNER(client) && !HOLDS(client, page) ->
              /* REVOKED: go on with it. NONE: its grant was not completed, and nobody knows. */
              end = page + 1;
              pages_give_part(page, end);
              end = 0
           :: else
           fi;
           if
           :: STATE_OF(client, page) == LEASE_REVOKED -> goto recover_forget
           :: else -> page++
           fi
        od;
        client = 0;
        goto serve
    };
recover_forget:
    end = page + 1;
    lease_forget(client, page, end);
    end = 0;
    page++;
    goto recover;
serve: /* One event after the other. */
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
        :: slot_used[client] -> goto revoke
        :: slot_used[client] && !ended[client] && !(IS_ALIVE(client)) ->
           ended[client] = true; /* reaper.c, core_end() */
           goto serve
        :: ended[client] -> goto reap
        fi
    };
join: /* clients_add(), ledgers_open(): a process begins to live, and has a ledger */
    atomic {
        slot_used[client] = true;
        may_be_killed();
        d_step {
            alive[client] = true;
#ifdef ONE_CLIENT
            alive[1] = true;
#endif
            check_holders()
        };
        goto serve
    };
grant: /* leases_grant() */
    atomic {
        choose_run(PAGE_FREE);
        do
        :: end > page + 1 -> end--
        :: break
        od;
        pages_take(page, end, client);
        at = page;
        /* lease_grant(): from word to word */
grant_word:
        if
        :: at == end -> at = 0; goto serve
        :: at < end -> word = WORD(client, at) /* load */
        fi
    };
    if
    :: atomic { /* compare-and-swap, which succeeds */
           WORD(client, at) == word ->
           d_step {
               store_states(client, at, WITH(word, PART_MASK(at, end), LEASE_FREE), LEASE_NONE,
                            LEASE_FREE);
               at = at + PART_PAGES(at, end);
               word = 0
           };
           may_be_killed();
           goto grant_word
       }
    :: atomic { WORD(client, at) != word -> goto grant_word } /* and which fails */
    fi;
revoke: /* leases_return(), run_revoke() */
    atomic {
        choose_run(OWNER(client));
        stretch = page;
        stretch_end = page;
        /* lease_revoke(): from word to word, to the next one that has a FREE page */
revoke_word:
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
           WORD(client, page) == word ->
           at = FREE_MASK(word) & PART_MASK(page, end); /* mask_first() */
           d_step {
               store_states(client, page, WITH(word, at, LEASE_REVOKED), LEASE_FREE,
                            LEASE_REVOKED);
               n_pages = (at == 15 -> 2 : 1);
               page = (at == 12 -> page | 1 : page);
               at = 0;
               word = 0
           };
           may_be_killed();
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
    :: atomic { WORD(client, page) != word -> goto revoke_word } /* and which fails */
    fi;
come_back: /* stretch_come_back() */
    atomic {
        if
        :: stretch < stretch_end -> pages_give_part(stretch, stretch_end)
        :: stretch == stretch_end -> stretch = 0; stretch_end = 0; goto serve
        fi
    };
    lease_forget(client, stretch, stretch_end);
    atomic {
        stretch = page;
        page = page + n_pages;
        stretch_end = page;
        if
        :: n_pages > 0 -> n_pages = 0; goto revoke_word
        :: n_pages == 0 -> stretch = 0; stretch_end = 0; goto serve
        fi
    };
reap: /* core_reap(): a run, leases_reap(); after the last one reap_bury() */
    atomic {
        do
        :: page == N_PAGES -> break
        :: page < N_PAGES && OWNER_OF(page) == OWNER(client) -> pages_give(page); goto serve
        :: page < N_PAGES && OWNER_OF(page) != OWNER(client) -> page = RUN_END(page)
        od;
        slot_used[client] = false; /* clients_remove() */
        ended[client] = false;
        may_be_killed();
        ledgers_close(client);
        goto serve
    };
killed: /* Of all that it knew, nothing is left. */
    atomic {
        client = 0;
        page = 0;
        end = 0;
        at = 0;
        word = 0;
        first = 0;
        behind = 0;
        stretch = 0;
        stretch_end = 0;
        n_pages = 0;
        ended[0] = false;
        ended[1] = false;
        goto started
    };
stopped:
    ending = true;
    assert(page_words[0] == PAGE_WORD(PAGE_FREE, N_PAGES))
}

init {
    atomic {
        page_words[0] = PAGE_WORD(PAGE_FREE, N_PAGES); /* state_format() */
        run thread(0);
        run thread(1);
        run daemon()
    }
}
