/* SPDX-License-Identifier: MIT */
/*
 * shared_blocks.pml - a leased block that others hold, and any of them may die
 *
 * The model of what daemon/core/sharing.c, settle.c, returns.c, adopt.c and sharing_reap.c do with
 * one block of one page, which is in the lease of its owner. The owner uses it, shares it, lets go
 * of it, attaches it again, and takes it home from the ring in its ledger. Two holders attach it
 * and let go of it. The server answers one request at a time, takes back what the dead had, and
 * grants and revokes the page. Owner, holders and server are killed between any two stores, as
 * often as one likes; the next server goes on with the state file and the ledger, clients ask again
 * what was not answered, and other processes join in the place of those that were reaped.
 *
 * A step is one store that outlives the server, or one access of what two processes share. The
 * server alone writes and reads its state, and a server that is dead has left a prefix of its
 * stores, so memory order does not matter there; the ring's is release and acquire, see
 * proto/returns.h.
 *
 * With -DLIAR there is one holder, and the owner may say that a page is unused whose block is
 * shared: that harms the owner alone.
 *
 * WHAT IS PROVEN
 *
 *  - A client that was told that it holds the block has a hold on a live share, and the page of a
 *    live share that something keeps is in its owner's lease or the server's own: check(). So no
 *    such page is free or another's, and the owner does not use the block anew meanwhile.
 *  - The block goes home exactly once for each time that it was shared: take_home(). It is not
 *    lost: at_rest().
 *  - Whenever the server waits for the next event, holds are of clients that are there, a live
 *    share is kept by something, a direct block is shared: at_rest(). So no hold survives its
 *    holder, and nothing is charged to nobody for ever.
 *
 * A MUTATE_ macro spoils one step, or swaps two stores; tests/model/mutations expects each of them
 * to be found. Names and offers keep a block as holds do, and are left out; so is what is derived
 * in memory. What follows is for tests/model/check: processes end never, and no client that keeps
 * to the rules is refused a release.
 *
 * unreached: owner "-end-"
 * unreached: holder "-end-"
 * unreached: server "-end-"
 * unreached: server "to_say = 6"
 */

#define OWNER 0
#ifdef LIAR
#define N_CLIENTS 2
#define KEPT_BY_OTHERS hold[1]
#else
#define N_CLIENTS 3
#define KEPT_BY_OTHERS (hold[1] || hold[2])
#endif

/* -------------------------------------------------- the state file, and the ring beside it ---- */

#define FREE 0
#define LEASED 1 /* to the owner */
#define DIRECT 2 /* the server's own, with the block in it */
#define OTHERS 3
byte page = FREE;

#define NONE 0
#define LIVE 1
#define RETURNING 2
#define NUMBERED 3 /* RETURNING, with a number */
byte share = NONE; /* these four are one word */
bool is_leased;    /* else direct */
bool owner_holds;
bit number;

bool hold[N_CLIENTS];
bool known[N_CLIENTS]; /* a client that was not buried */
bool owner_ended;      /* a holder's end has no other store before those of its holds */

/* The owner's intent: holders do not ask whether others keep what they let go of. */
bool begun[N_CLIENTS]; /* it is of the request that is asked now */
bool intent_kept;

bit n_put; /* in the owner's ledger: the ring has one place, and both numbers go round at 2 */
bit n_taken;
bool is_of_another; /* what is in the ring is another block of the owner's */
#define HAS_ROOM (n_put == n_taken)
#define HAS_BEEN_PUT (share == NUMBERED && n_put == number) /* the record is to go */

/* -------------------------------------------------------------- clients, and what they ask ---- */

bool alive[N_CLIENTS];
bool has[N_CLIENTS]; /* it uses the block, and may */
bool at_home;        /* of the owner's lease, and in nobody's use */
bool is_marked;      /* the owner's entry says that the block is shared */
bool lied;

#define SHARE 1 /* asked */
#define ATTACH 2
#define RELEASE 3
#define DONE 4 /* answered */
#define KEPT 5
#define REFUSED 6
byte line[N_CLIENTS];
#define ASKS(client) (line[client] != 0 && line[client] < DONE)
#define IS_TOLD(client) (line[client] >= DONE)

#define IS_KEPT (owner_holds || KEPT_BY_OTHERS)

/* ------------------------------------------------------------------------------ properties ---- */

inline check_holder(who) {
    assert(!(alive[who] && has[who]) || (hold[who] && share == LIVE))
}

inline check() {
    check_holder(1);
#ifndef LIAR
    check_holder(2);
#endif
    assert(share != LIVE || !IS_KEPT || page == DIRECT || (page == LEASED && is_leased));
    assert(lied || !(alive[OWNER] && has[OWNER]) || page == LEASED);
    assert(lied || !at_home || (page == LEASED && (share == NONE || HAS_BEEN_PUT)))
}

inline at_rest() {
    check();
    assert((share == LIVE) == IS_KEPT);
    assert(share == NONE || !is_leased || (page == LEASED && known[OWNER]));
    assert((page == DIRECT) == (share == LIVE && !is_leased));
    assert(share != NUMBERED);
    assert(!hold[1] || known[1]);
#ifndef LIAR
    assert(!hold[2] || known[2]);
#endif
    assert(!owner_holds || known[OWNER]);
    /* The block is at home, or in the owner's own use, or on its way. */
    assert(lied || !alive[OWNER] || page != LEASED || share != NONE || line[OWNER] != 0 ||
           at_home + has[OWNER] + (n_put != n_taken && !is_of_another) == 1)
}

/* ---------------------------------------------------------------------------------- clients ---- */

inline die(who) {
    atomic {
        alive[who] = false;
        has[who] = false;
        line[who] = 0
    }
}

inline owner_die() {
    atomic {
        alive[OWNER] = false;
        has[OWNER] = false;
        line[OWNER] = 0;
        at_home = false;
        is_marked = false;
        lied = false
    }
}

inline take_home() {
    assert(lied || (!at_home && !has[OWNER] && is_marked));
    at_home = true;
    is_marked = false
}

/* Another sequence number: what was begun was for the one before. */
#define ASK(who, what)                                                                             \
    begun[who] = false;                                                                            \
    line[who] = what

active proctype owner()
{
end:
    do
    :: atomic { !alive[OWNER] && !known[OWNER] -> /* Hello, and a ledger */
           alive[OWNER] = true;
           known[OWNER] = true;
           n_put = 0;
           n_taken = 0;
           is_of_another = false
       }
    :: atomic { alive[OWNER] && at_home -> /* kmem_allocate() */
           at_home = false;
           has[OWNER] = true;
           check()
       }
    :: atomic { alive[OWNER] && has[OWNER] && !is_marked -> /* kmem_release() */
           has[OWNER] = false;
           at_home = true;
           check()
       }
    :: atomic { alive[OWNER] && has[OWNER] && !is_marked ->
           is_marked = true;
           ASK(OWNER, SHARE)
       };
       if
       :: atomic { IS_TOLD(OWNER) ->
              is_marked = line[OWNER] == DONE;
              line[OWNER] = 0
          }
       :: owner_die()
       fi
    :: atomic { alive[OWNER] && has[OWNER] && is_marked ->
           has[OWNER] = false;
           ASK(OWNER, RELEASE)
       };
       if
       :: atomic { IS_TOLD(OWNER) ->
              if
              :: line[OWNER] == DONE -> take_home()
              :: line[OWNER] == KEPT
              fi;
              line[OWNER] = 0;
              check()
          }
       :: owner_die()
       fi
    :: atomic { alive[OWNER] && !has[OWNER] && is_marked -> ASK(OWNER, ATTACH) };
       if
       :: atomic { IS_TOLD(OWNER) ->
              has[OWNER] = line[OWNER] == DONE;
              line[OWNER] = 0;
              check()
          }
       :: owner_die()
       fi
    :: atomic { alive[OWNER] && n_put != n_taken && !is_of_another ->
           take_home();
           n_taken = n_put;
           check()
       }
    :: atomic { alive[OWNER] && n_put != n_taken && is_of_another ->
           is_of_another = false;
           n_taken = n_put
       }
#ifdef LIAR
    :: atomic { alive[OWNER] && is_marked && share == LIVE && !lied -> lied = true }
#endif
    :: atomic { alive[OWNER] -> owner_die() }
    od
}

proctype holder(byte me)
{
end:
    do
    :: atomic { !alive[me] && !known[me] -> alive[me] = true; known[me] = true }
    :: atomic { alive[me] && !has[me] -> ASK(me, ATTACH) };
       if
       :: atomic { IS_TOLD(me) -> has[me] = line[me] == DONE; line[me] = 0; check() }
       :: die(me)
       fi
    :: atomic { alive[me] && has[me] -> has[me] = false; ASK(me, RELEASE) };
       if
       :: atomic { IS_TOLD(me) -> assert(line[me] == DONE); line[me] = 0 }
       :: die(me)
       fi
    :: atomic { alive[me] -> die(me) }
    od
}

/* ----------------------------------------------------------------------------------- server ---- */

/* Behind a store, in its step: the server may be killed then. */
#define MAYBE_KILLED                                                                               \
    if                                                                                             \
    :: goto started                                                                                \
    :: true                                                                                        \
    fi

/* A store. */
#define STORE(what)                                                                                \
    atomic {                                                                                       \
        what;                                                                                      \
        check();                                                                                   \
        MAYBE_KILLED                                                                               \
    }

#define SHARE_REMOVED                                                                              \
    share = NONE;                                                                                  \
    is_leased = false;                                                                             \
    owner_holds = false;                                                                           \
    number = 0

/* returns.c: the n-th to go home */
inline put() {
#ifndef MUTATE_NO_NUMBER
    STORE(share = NUMBERED; number = 1 - n_put);
#endif
#ifdef MUTATE_RECORD_BEFORE_RING
    STORE(SHARE_REMOVED);
    STORE(n_put = 1 - n_put)
#else
    STORE(n_put = 1 - n_put);
    STORE(SHARE_REMOVED)
#endif
}

/* settle.c: direct_take_back(), and then its record */
inline free_direct() {
#ifdef MUTATE_RECORD_BEFORE_BLOCK
    STORE(SHARE_REMOVED);
    STORE(page = FREE)
#else
    if
    :: page == DIRECT -> STORE(page = FREE)
    :: else /* the server before has come so far */
    fi;
    STORE(SHARE_REMOVED)
#endif
}

#define HOLDS(who) (share == LIVE && (who == OWNER -> owner_holds : hold[who]))
#define SAYS(what) to_say = what

/* sharing_release(), by the owner: if it is alone, it takes the block home itself. */
inline release_as_owner() {
    is_last = !KEPT_BY_OTHERS && is_leased;
    SAYS((is_last -> DONE : KEPT));
#ifndef MUTATE_NO_INTENT
    STORE(begun[OWNER] = true; intent_kept = !is_last);
#endif
    if
#ifndef MUTATE_LAST_BY_RING
    :: is_last -> STORE(SHARE_REMOVED)
#endif
#ifdef MUTATE_LAST_BY_RING
    :: true ->
#else
    :: else ->
#endif
       STORE(owner_holds = false)
    fi
}

inline release() {
    if
    :: HOLDS(client) && client == OWNER -> release_as_owner()
    :: HOLDS(client) && client != OWNER ->
#ifndef MUTATE_NO_INTENT
       STORE(begun[client] = true);
#endif
       STORE(hold[client] = false);
       SAYS(DONE)
    :: !HOLDS(client) && begun[client] -> SAYS((client == OWNER && intent_kept -> KEPT : DONE))
    :: else -> SAYS(REFUSED)
    fi
}

inline attach() {
    if
    :: share == LIVE && client == OWNER && is_leased ->
       STORE(owner_holds = true);
       SAYS(DONE)
    :: share == LIVE && client != OWNER ->
#ifdef MUTATE_ANSWER_BEFORE_HOLD
       atomic { line[client] = (ASKS(client) -> DONE : line[client]); MAYBE_KILLED };
#endif
       STORE(hold[client] = true);
       SAYS(DONE)
    :: else -> SAYS(REFUSED)
    fi
}

/* sharing_share(): of a block that the server finds in the owner's lease */
inline make_share() {
    if
    :: share == NONE && page == LEASED ->
       STORE(share = LIVE; is_leased = true; owner_holds = true);
       SAYS(DONE)
    :: share == LIVE && owner_holds -> SAYS(DONE) /* again */
    :: else -> SAYS(REFUSED)
    fi
}

/* adopt.c: the page word makes the entries true that were prepared */
inline adopt() {
#ifdef MUTATE_SHARE_BEFORE_PAGE
    STORE(is_leased = false; owner_holds = false);
    STORE(page = DIRECT)
#else
    STORE(page = DIRECT);
    STORE(is_leased = false; owner_holds = false)
#endif
}

inline reap_lease() {
    if
    :: page == LEASED -> STORE(page = FREE)
    :: else
    fi
}

/* sharing_reap(), then reap.c */
inline reap_owner() {
    STORE(owner_ended = true);
#ifdef MUTATE_LEASE_BEFORE_ADOPTION
    reap_lease();
#endif
    if
    :: share != NONE && is_leased && (share != LIVE || !KEPT_BY_OTHERS) -> STORE(SHARE_REMOVED)
    :: share == LIVE && is_leased && KEPT_BY_OTHERS -> adopt()
    :: else
    fi;
    reap_lease()
}

inline reap_holder() {
    if
#ifdef MUTATE_HOLD_OF_THE_DEAD
    :: false ->
#else
    :: hold[client] ->
#endif
       STORE(hold[client] = false)
    :: else
    fi
}

#ifdef MUTATE_REVOKE_PINNED
#define IS_PINNED false
#else
#define IS_PINNED (share != NONE && is_leased)
#endif

active proctype server()
{
    byte client;
    byte to_say;
    bool to_bury;
    bool is_last;
    atomic {
        run holder(1)
#ifndef LIAR
        ;
        run holder(2)
#endif
    };
started: /* sharing_recover() */
    atomic {
        client = 0;
        to_say = 0;
        to_bury = false;
        is_last = false
    };
    if
    :: share == LIVE && is_leased && page == DIRECT -> /* it was adopted */
       STORE(is_leased = false; owner_holds = false)
#ifndef MUTATE_PUT_AGAIN
    :: HAS_BEEN_PUT -> STORE(SHARE_REMOVED)
#endif
    :: else
    fi;
#ifdef MUTATE_NO_SETTLING
    goto end;
#endif
finish: /* settle(), of what is kept no more; returns_deliver() */
    if
    :: share == LIVE && !IS_KEPT && is_leased && !owner_ended && !HAS_ROOM ->
       STORE(share = RETURNING)
    :: share == LIVE && !IS_KEPT && is_leased && !owner_ended && HAS_ROOM -> put()
    :: (share == RETURNING || share == NUMBERED) && !owner_ended && HAS_ROOM -> put()
    :: share == LIVE && !IS_KEPT && is_leased && owner_ended -> STORE(SHARE_REMOVED)
    :: share == LIVE && !IS_KEPT && !is_leased -> free_direct()
    :: else
    fi;
    atomic {
        if
        :: ASKS(client) && to_say != 0 -> line[client] = to_say
        :: else /* it has died meanwhile, and another may be in its place one day */
        fi;
        if
        :: to_bury && client == OWNER -> known[OWNER] = false; owner_ended = false
        :: to_bury && client != OWNER -> known[client] = false
        :: else
        fi;
        client = 0;
        to_say = 0;
        to_bury = false;
        is_last = false;
        at_rest()
    };
end:
    if
    :: atomic { ASKS(0) && known[0] && !owner_ended -> client = 0; goto serve }
    :: atomic { ASKS(1) && known[1] -> client = 1; goto serve }
#ifndef LIAR
    :: atomic { ASKS(2) && known[2] -> client = 2; goto serve }
#endif
    :: atomic { known[0] && !alive[0] -> client = 0; to_bury = true };
       reap_owner();
       goto finish
    :: atomic { known[1] && !alive[1] -> client = 1; goto bury }
#ifndef LIAR
    :: atomic { known[2] && !alive[2] -> client = 2; goto bury }
#endif
    :: atomic { page == FREE && alive[OWNER] && !at_home && !has[OWNER] && !is_marked ->
           page = LEASED; /* leases_grant() */
           at_home = true;
           check();
           goto end
       }
    :: atomic { page == LEASED && alive[OWNER] && (at_home || lied) && !IS_PINNED ->
           page = FREE; /* leases_revoke() */
           at_home = false;
           check();
           goto end
       }
    :: atomic { page == FREE -> page = OTHERS; check(); goto end }
    :: atomic { page == OTHERS -> page = FREE; goto end }
    :: atomic { known[OWNER] && !owner_ended && HAS_ROOM && share != NUMBERED ->
           n_put = 1 - n_put; /* another block goes home */
           is_of_another = true;
           goto end
       }
    :: goto started /* killed while it waits */
    fi;
serve:
    if
    :: line[client] == SHARE -> make_share()
    :: line[client] == ATTACH -> attach()
    :: line[client] == RELEASE -> release()
    :: else /* it has died */
    fi;
    goto finish;
bury:
    to_bury = true;
    reap_holder();
    goto finish
}
