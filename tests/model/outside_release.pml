/* SPDX-License-Identifier: MIT */
/*
 * outside_release.pml - a leased block is let go by other processes, and comes back exactly once
 *
 * The model of kmem__slab_collect() and slab_collect_outside() in client/slab.c, with the daemon's
 * half of it. A block's owner lends it: others hold it too, by leave of the daemon, which records
 * who. Whoever lets go of it, the owner included, tells the daemon. When the last has, the daemon
 * says so with a bit in the owner's ledger, and the owner's heap takes the block back when it comes
 * by. The daemon is killed after any of its stores, as often as one likes, and the keeper starts a
 * new one on what it left.
 *
 *      entry.word   RELEASED --allocate--> LIVE --lend--> LENT
 *                      ^  ^                  |              |
 *                      |  '-- the holder ----'              |
 *                      '----- collect, when its bit is set -'
 *
 *      record       NONE --> who holds it: owner, abroad, both --> OWED --> NONE
 *                                                                    bit, n_outside
 *
 * WHAT IS MODELLED
 *
 *  blocks     two of one slab, whose bits share a word
 *  owner      the thread whose heap has the slab: allocates, releases, collects
 *  other      another thread of the process, which releases what it was handed, or lends it and
 *             then lets go of it. Its pushes meet the heap in head.remote
 *  abroad     another process. It has no memory in common with these but the segment, so that it is
 *             only a choice of the daemon's: it attaches and lets go
 *  n_outside  a bit that says whether it differs from what the heap saw last: it only grows
 *
 * A step is one atomic operation on memory that another reads or writes, with what the process does
 * by itself before the next one.
 *
 * WHAT THE PROTOCOL NEEDS, each confirmed by a mutation that leaves it out
 *
 *  - The word says that a block is LENT. Then it is not the process's own to release, however many
 *    threads try, and the bit of one tenant is never taken for the next one's.
 *  - The record says OWED before the bit is set and until n_outside has grown. A new daemon goes on
 *    with what is OWED: it sets the bit unless the block is not LENT any more, and lets n_outside
 *    grow in any case.
 *  - The bit is seen before n_outside is.
 *  - Collecting retires the word first, and clears the bit then: with the bit clear and the word
 *    LENT, a new daemon knows that the bit was never set.
 *  - The word says LENT after the record does.
 *
 * WHAT THE CODE DOES: slab_collect_outside() takes the bits first, by exchange, and then retires
 * the words. That is safe only while no daemon is killed, -DEXCHANGE_BITS -DDAEMON_LIVES. If one is
 * killed, the next may set the bit of a block that the heap is about to retire, and the bit stays
 * for the block's next tenant: -DEXCHANGE_BITS alone. Nothing lends yet, and nothing sets the bits.
 *
 * LEFT OUT: the death of the owner, for whom the daemon never waits, and after whose death nobody
 * collects: page_states.pml says what becomes of its pages. A request repeated because its answer
 * was lost: lending twice is modelled and does no harm, but that a repeated release of one share
 * does not release the next is for the share's generation to see to. Large blocks: client/large.c
 * does the same with a slab of one block. There any thread collects, the one that takes the bit; if
 * words were retired first, one at a time would have to.
 *
 * WHAT IS PROVEN
 *
 *  - A block goes back to the heap once for each time it was allocated, whoever lets go of it at
 *    the same time, and never while anybody has it: retire(), put().
 *  - Nothing is lost. When the daemon and the other thread are gone, the heap collects once more,
 *    and has all that nobody has; no bit is left: `collected`.
 *
 * A MUTATE_ macro spoils one step; tests/model/mutations expects each of them to be found.
 */
#define N_BLOCKS 2
#define BIT(block) (1 << (block))

/* --------------------------------------------------------------------- the owner's ledger ---- */

/* entry.word */
#define RELEASED 0
#define LIVE 1
#define LENT 2
byte word[N_BLOCKS];

byte next_remote[N_BLOCKS]; /* entry.holder while the block is in head.remote */
byte remote;                /* head.remote: 1 + the block */
bool is_visited;            /* heap.visited has the slab */
byte outside;               /* the slab's outside bits */
bool outside_grew;          /* header.n_outside != heap.n_outside */
bool listed[N_BLOCKS];      /* the heap has the block to give: in bin.ready, or free in its slab */

/* --------------------------------------------------------------------- the daemon's state ---- */

#define BY_OWNER 1
#define BY_ABROAD 2
#define OWED 4
byte record[N_BLOCKS];

/* A request on its way, of the one thread that makes any. */
mtype = { NOTHING, LEND, LET_GO };
mtype asked = NOTHING;
byte asked_block;

/* ---------------------------------------------------------------- what really is the case ---- */

/* Who has the block by a plain pointer, of the process's threads. */
#define NOBODY 0
#define OWNER 1
#define OTHER 2
byte user[N_BLOCKS];

bool is_due[N_BLOCKS]; /* all have let go, and it has not come back */
bool other_is_gone;
bool daemon_is_gone;

#ifdef DAEMON_LIVES
#define may_be_killed() skip
#else
inline may_be_killed()
{
    if
    :: skip
    :: goto killed
    fi
}
#endif

/* The entry's word becomes 0. From there on the block may be anybody's. */
inline retire(what, was)
{
    assert(word[what] == was);
    assert(user[what] == NOBODY);
    assert((record[what] & (BY_OWNER | BY_ABROAD)) == 0);
    assert(is_due[what] == (was == LENT));
    word[what] = RELEASED;
    is_due[what] = false
}

inline put(what)
{
    assert(word[what] == RELEASED);
    assert(!listed[what]);
    listed[what] = true
}

/* ------------------------------------------------------------------------------- the heap ---- */

proctype owner()
{
    byte block, next, bits;
    bool last;
idle:
    atomic {
        if
        :: daemon_is_gone && other_is_gone && !last -> last = true; goto collect
        :: !daemon_is_gone || !other_is_gone -> goto collect
        :: listed[0] -> block = 0; goto allocate
        :: listed[1] -> block = 1; goto allocate
        :: user[0] == OWNER -> block = 0
        :: user[1] == OWNER -> block = 1
        fi;
        /* client/heap.c: heap_give_own() */
        user[block] = NOBODY;
        retire(block, LIVE);
        put(block);
        block = 0;
        goto idle
    };
allocate: /* client/heap.c: kmem__heap_enter(). The pointer may be handed to another thread. */
    atomic {
        listed[block] = false;
        assert(word[block] == RELEASED);
        word[block] = LIVE;
        if
        :: user[block] = OWNER
        :: !other_is_gone -> user[block] = OTHER
        fi;
        block = 0;
        goto idle
    };
collect: /* client/slab.c: slab_collect_visited() */
    atomic {
        if
        :: is_visited -> is_visited = false
        :: !is_visited -> goto collect_outside
        fi
    };
    atomic { /* slab_collect_remote(): exchange */
        next = remote;
        remote = 0;
        do
        :: next != 0 ->
           block = next - 1;
           next = next_remote[block];
           put(block)
        :: next == 0 -> break
        od;
        block = 0
    };
collect_outside: /* kmem__slab_collect(): n_outside */
    atomic {
        if
        :: outside_grew -> outside_grew = false
        :: !outside_grew -> goto collected
        fi
    };
    /* slab_collect_outside() */
#ifdef EXCHANGE_BITS
    atomic {
        bits = outside;
        outside = 0
    };
#else
    bits = outside;
#endif
#ifdef MUTATE_STORE_BITS
    outside = 0;
#endif
next_bit:
    atomic {
        if
        :: bits == 0 -> goto collected
        :: bits != 0 -> block = ((bits & 1) != 0 -> 0 : 1)
        fi;
        bits = bits & ~BIT(block);
#ifdef EXCHANGE_BITS
        if
        :: word[block] != LENT -> block = 0; goto next_bit
        :: word[block] == LENT
        fi;
#endif
        retire(block, LENT)
    };
    atomic {
#if !defined(EXCHANGE_BITS) && !defined(MUTATE_STORE_BITS)
        outside = outside & ~BIT(block); /* fetch_and */
#endif
        put(block); /* slab_put() */
        block = 0;
        goto next_bit
    };
collected:
    atomic {
        if
        :: !last -> goto idle
        :: last -> assert(outside == 0 && remote == 0)
        fi;
        do
        :: block < N_BLOCKS ->
           assert(listed[block] || user[block] != NOBODY ||
                  (record[block] & (BY_OWNER | BY_ABROAD)) != 0);
           assert(!is_due[block]);
           block++
        :: block == N_BLOCKS -> break
        od
    }
}

/* ---------------------------------------------------------- another thread of the process ---- */

proctype other()
{
    byte block, next;
idle:
    atomic {
        if
        :: user[0] == OTHER -> block = 0
        :: user[1] == OTHER -> block = 1
        :: user[0] != OTHER && user[1] != OTHER -> goto gone
        fi;
        if
        :: word[block] == LENT -> goto let_go
        :: word[block] == LIVE -> goto lend
        :: word[block] == LIVE
        fi;
release:
        user[block] = NOBODY
    };
    atomic { retire(block, LIVE) }; /* client/heap.c, kmem__heap_release(): exchanged for 0 */
push: /* client/slab.c: kmem__slab_push() */
    atomic {
        next = remote; /* load */
        next_remote[block] = next
    };
    if
    :: atomic { remote == next -> remote = block + 1 } /* compare-and-swap, which succeeds */
    :: atomic { remote != next -> goto push }          /* and which fails */
    fi;
    atomic { /* slab_visit() */
        if
        :: next == 0 -> assert(!is_visited); is_visited = true
        :: next != 0
        fi;
        block = 0;
        next = 0;
        goto idle
    };
lend: /* The daemon records it, and answers; then the word says so; then others may be told. */
    atomic {
#ifdef MUTATE_LENT_FIRST
        word[block] = LENT;
#endif
        asked = LEND;
        asked_block = block
    };
    atomic {
        asked == NOTHING ->
        assert(word[block] != RELEASED);
        word[block] = LENT;
        block = 0;
        goto idle
    };
let_go: /* What is LENT is the daemon's to release. */
    atomic {
#ifdef MUTATE_RELEASE_LENT
        word[block] = LIVE;
        goto release;
#endif
        asked = LET_GO;
        asked_block = block;
        user[block] = NOBODY
    };
    atomic {
        asked == NOTHING ->
        block = 0;
        goto idle
    };
gone:
    other_is_gone = true
}

/* ----------------------------------------------------------------------------- the daemon ---- */

#ifdef MUTATE_RECOVER_ANY
#define IS_UNPAID true
#else
#define IS_UNPAID (word[block] == LENT)
#endif

proctype daemon()
{
    byte block, holder;
#ifndef DAEMON_LIVES
started: /* What is OWED may or may not have its bit, and that may have been collected. */
    do
    :: block == N_BLOCKS -> break
    :: block < N_BLOCKS && record[block] != OWED -> block++
    :: block < N_BLOCKS && record[block] == OWED ->
       if
       :: (outside & BIT(block)) != 0
       :: (outside & BIT(block)) == 0 ->
          if
          :: IS_UNPAID -> atomic { outside = outside | BIT(block); may_be_killed() }
          :: !IS_UNPAID
          fi
       fi;
#ifndef MUTATE_RECOVER_NO_N_OUTSIDE
       atomic { outside_grew = true; may_be_killed() };
#endif
       atomic { record[block] = 0; may_be_killed() };
       block++
    od;
    block = 0;
#endif
serve:
    atomic {
        if
        :: other_is_gone -> goto stopped
        :: asked == LEND -> goto lend
        :: asked == LET_GO -> block = asked_block; holder = BY_OWNER
        :: asked != LEND && (record[0] & BY_ABROAD) != 0 -> block = 0; holder = BY_ABROAD
        :: asked != LEND && (record[1] & BY_ABROAD) != 0 -> block = 1; holder = BY_ABROAD
        :: asked != LEND && record[0] == BY_OWNER && word[0] == LENT -> block = 0; goto attach
        :: asked != LEND && record[1] == BY_OWNER && word[1] == LENT -> block = 1; goto attach
        fi;
        if
        :: record[block] != holder -> /* others have it yet */
           record[block] = record[block] & ~holder;
           asked = (holder == BY_OWNER -> NOTHING : asked);
           may_be_killed();
           block = 0;
           holder = 0;
           goto serve
        :: record[block] == holder ->
           is_due[block] = true;
           asked = (holder == BY_OWNER -> NOTHING : asked);
           holder = 0
        fi;
#ifdef MUTATE_NOT_OWED
        record[block] = 0;
#else
        record[block] = OWED;
#endif
        may_be_killed()
    };
#ifdef MUTATE_N_OUTSIDE_FIRST
    atomic { outside_grew = true; may_be_killed() };
#endif
    atomic { outside = outside | BIT(block); may_be_killed() }; /* fetch_or */
#if !defined(MUTATE_N_OUTSIDE_FIRST) && !defined(MUTATE_NO_N_OUTSIDE)
    atomic { outside_grew = true; may_be_killed() };
#endif
    atomic { record[block] = 0; may_be_killed(); block = 0; goto serve };
lend:
    atomic { record[asked_block] = BY_OWNER; may_be_killed(); asked = NOTHING; goto serve };
attach: /* The block's owner has told another process of it. */
    atomic { record[block] = BY_OWNER | BY_ABROAD; may_be_killed(); block = 0; goto serve };
#ifndef DAEMON_LIVES
killed: /* Of all that it knew, nothing is left. The keeper starts the next one. */
    atomic { block = 0; holder = 0; goto started };
#endif
stopped:
    daemon_is_gone = true
}

init {
    atomic {
        listed[0] = true;
        listed[1] = true;
        run owner();
        run other();
        run daemon()
    }
}
