/* SPDX-License-Identifier: MIT */
#define N_BLOCKS 2
#ifndef N_OTHERS
#define N_OTHERS 2 /* threads of the process beside the slab's owner */
#endif
#define BIT(block) (1 << (block))

/* entry.word */
#define RELEASED 0
#define LIVE 1
#define LENT 2
byte word[N_BLOCKS];

byte next_remote[N_BLOCKS]; /* entry.holder */
byte remote;
bool is_visited;
byte outside;
bool outside_grew;
bool listed[N_BLOCKS];

/* The daemon's record */
#define NONE 0
#define SHARED 1
#define OWED 2
byte share[N_BLOCKS];
#define NO_QUESTION 9
byte asked = NO_QUESTION;
bool turn;

/* ghosts */
#define NOBODY 0
#define OWNER 1
#define ABROAD 4
byte user[N_BLOCKS];
bool accepted[N_BLOCKS];
byte n_others = N_OTHERS;
bool daemon_is_gone;

#ifdef HONEST
#define MAY_RELEASE(who, what) (user[what] == (who))
#else
#define MAY_RELEASE(who, what) true
#endif

#ifdef SAME_TIME
#define AT_ONCE }; atomic {
#else
#define AT_ONCE
#endif

inline retire(what)
{
    assert(word[what] != RELEASED);
    word[what] = RELEASED;
    accepted[what] = false
}

inline put(what)
{
    assert(word[what] == RELEASED);
    assert(!listed[what]);
    listed[what] = true
}

proctype owner()
{
    byte block, next, bits;
    bool last;
idle:
    atomic {
        if
        :: daemon_is_gone -> last = true; goto collect
        :: goto collect
        :: listed[0] -> block = 0; goto allocate
        :: listed[1] -> block = 1; goto allocate
        :: MAY_RELEASE(OWNER, 0) && word[0] == LIVE -> block = 0
        :: MAY_RELEASE(OWNER, 1) && word[1] == LIVE -> block = 1
        fi;
        /* kmem__heap_give() */
#ifdef HONEST
        user[block] = NOBODY;
#endif
        AT_ONCE
        retire(block);
        put(block);
        block = 0;
        goto idle;
allocate:
        listed[block] = false;
        assert(word[block] == RELEASED);
        word[block] = LIVE;
#ifdef HONEST
        if
        :: user[block] = OWNER
        :: user[block] = 2
        :: N_OTHERS > 1 -> user[block] = 3
        :: user[block] = ABROAD
        fi;
#endif
        block = 0;
        goto idle
    };
collect:
    atomic {
        if
        :: is_visited -> is_visited = false
        :: !is_visited -> goto collect_outside
        fi
    };
    atomic {
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
collect_outside:
    atomic {
        if
        :: outside_grew -> outside_grew = false
        :: !outside_grew -> goto collected
        fi
    };
#ifdef AS_WRITTEN
    atomic {
        bits = outside;
        outside = 0
    };
#else
    bits = outside;
#endif
next_bit:
    atomic {
        if
        :: bits == 0 -> goto collected
        :: bits != 0 -> block = ((bits & 1) != 0 -> 0 : 1)
        fi;
        bits = bits & ~BIT(block);
#ifdef AS_WRITTEN
        if
        :: word[block] == RELEASED -> block = 0; goto next_bit
        :: word[block] != RELEASED
        fi;
#else
        assert(word[block] == LENT);
#endif
        assert(accepted[block]);
        retire(block)
    };
    atomic {
#ifndef AS_WRITTEN
        outside = outside & ~BIT(block);
#endif
        put(block);
        block = 0;
        goto next_bit
    };
collected:
    if
    :: !last -> goto idle
    :: last
    fi;
    do
    :: block < N_BLOCKS ->
       assert(listed[block] || word[block] == LIVE || user[block] == ABROAD);
#ifdef HONEST
       assert(listed[block] || user[block] != NOBODY);
#endif
       block++
    :: block == N_BLOCKS -> break
    od
}

proctype other(byte me)
{
    byte block, next;
idle:
    atomic {
        if
        :: goto gone
        :: MAY_RELEASE(me, 0) && word[0] == LIVE -> block = 0
        :: MAY_RELEASE(me, 1) && word[1] == LIVE -> block = 1
#ifndef AS_WRITTEN
        :: word[0] == LIVE && !turn -> block = 0; turn = true; asked = 0; goto lend
        :: word[1] == LIVE && !turn -> block = 1; turn = true; asked = 1; goto lend
#endif
        fi;
#ifdef HONEST
        user[block] = NOBODY;
#endif
    };
    atomic {
        if
        :: word[block] == LIVE -> retire(block)
        :: word[block] != LIVE -> block = 0; goto idle
        fi
    };
push:
    atomic {
        next = remote;
        next_remote[block] = next
    };
    if
    :: atomic { remote == next -> remote = block + 1 }
    :: atomic { remote != next -> goto push }
    fi;
    atomic {
        if
        :: next == 0 -> assert(!is_visited); is_visited = true
        :: next != 0
        fi;
        block = 0;
        next = 0;
        goto idle
    };
#ifndef AS_WRITTEN
lend:
    atomic {
        asked == NO_QUESTION ->
        if
        :: word[block] == LIVE -> word[block] = LENT; user[block] = ABROAD
        :: word[block] != LIVE
        fi;
        turn = false;
        block = 0;
        goto idle
    };
#endif
gone:
    n_others--
}

inline may_be_killed()
{
    if
    :: skip
#if !defined(AS_WRITTEN) || defined(DAEMON_DIES)
    :: goto crashed
#endif
    fi
}

proctype daemon()
{
    byte block;
started:
    do
    :: block == N_BLOCKS -> break
    :: block < N_BLOCKS && share[block] != OWED -> block++
    :: block < N_BLOCKS && share[block] == OWED ->
       if
       :: (outside & BIT(block)) != 0
       :: (outside & BIT(block)) == 0 ->
          if
          :: atomic { word[block] == LENT -> outside = outside | BIT(block); may_be_killed() }
          :: word[block] != LENT
          fi
       fi;
       atomic { outside_grew = true; may_be_killed() };
       atomic { share[block] = NONE; may_be_killed() };
       block++
    od;
    block = 0;
serve:
    atomic {
        if
        :: n_others == 0 -> goto stopped
        :: asked != NO_QUESTION -> goto record
#ifdef AS_WRITTEN
        :: MAY_RELEASE(ABROAD, 0) && word[0] != RELEASED -> block = 0
        :: MAY_RELEASE(ABROAD, 1) && word[1] != RELEASED -> block = 1
#else
        :: user[0] == ABROAD && share[0] == SHARED -> block = 0
        :: user[1] == ABROAD && share[1] == SHARED -> block = 1
#endif
        fi;
        user[block] = NOBODY;
        accepted[block] = true;
#ifndef AS_WRITTEN
        share[block] = OWED;
        may_be_killed()
#endif
    };
    atomic { outside = outside | BIT(block); may_be_killed() };
    atomic { outside_grew = true; may_be_killed() };
    atomic { share[block] = NONE; may_be_killed(); block = 0; goto serve };
record:
    atomic { share[asked] = SHARED; may_be_killed();  asked = NO_QUESTION; goto serve };
crashed:
    block = 0;
    goto started;
stopped:
    daemon_is_gone = true
}

init {
    atomic {
        listed[0] = true;
        listed[1] = true;
        run owner();
        run other(2);
#if N_OTHERS > 1
        run other(3);
#endif
        run daemon()
    }
}
