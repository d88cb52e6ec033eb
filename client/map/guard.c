/* SPDX-License-Identifier: MIT */
/*
 * Opening is done by the thread that takes pages, whether they were granted to it or to another a
 * moment ago: a bit test if the granule is open already, else one mprotect() under the lock.
 *
 * Closing must not meet an opening. It is done where no page can become this process's: with the
 * connection locked, before a request. No thread has a reason to open what is then
 * neither leased nor a direct block's.
 *
 * Each piece that is open in the midst of what is closed costs the process two of its mappings, and
 * the kernel has a limit for these (vm.max_map_count) that the program needs for threads, files and
 * memory of its own. Where free pages lie scattered each lease is a piece. So there is a bound:
 *
 *      closed   | open |closed| open |  closed  | open |     closed        3 pieces, 7 mappings
 *      closed   |        open        |  closed  | open |     closed        2 pieces, 5 mappings
 *
 * Beyond it the narrowest gap is opened, which gives up the least. Closing goes by the same bound:
 * a gap is closed again as soon as another piece has gone, so an opening causes at most one closing
 * later, and the calls stay in proportion to the pages that are leased and revoked. A coarser
 * granule for the whole segment would give up more, and would have to be undone.
 */
#include "client/map/guard.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "client/map/dump.h"
#include "proto/lease.h"
#include "proto/limits.h"

#define GRANULES_PER_WORD 64

/* A signal handler may fork, and then hold it, in the thread that has it. It can not fail. */
static void lock_init(struct guard *guard)
{
    pthread_mutexattr_t again;
    (void)pthread_mutexattr_init(&again);
    (void)pthread_mutexattr_settype(&again, PTHREAD_MUTEX_RECURSIVE);
    (void)pthread_mutex_init(&guard->lock, &again);
    (void)pthread_mutexattr_destroy(&again);
}

int kmem__guard_init(struct guard *guard, unsigned char *base, uint64_t num_bytes,
                     uint64_t granule_bytes, bool reads_only)
{
    guard->reads_only = reads_only;
    guard->base = base;
    guard->num_bytes = num_bytes;
    guard->granule_shift = (uint32_t)__builtin_ctzll(granule_bytes);
    guard->n_granules = (uint32_t)((num_bytes + granule_bytes - 1) >> guard->granule_shift);
    guard->max_pieces = GUARD_PIECES_MAX;
    guard->open = calloc(guard->n_granules / GRANULES_PER_WORD + 1, sizeof(*guard->open));
    guard->n_direct = calloc(guard->n_granules, sizeof(*guard->n_direct));
    guard->readable = calloc(guard->n_granules / GRANULES_PER_WORD + 1, sizeof(*guard->readable));
    guard->n_reads = calloc(guard->n_granules, sizeof(*guard->n_reads));
    if (guard->open == NULL || guard->n_direct == NULL || guard->readable == NULL ||
        guard->n_reads == NULL) {
        kmem__guard_fini(guard);
        return -ENOMEM;
    }
    lock_init(guard);
    return 0;
}

void kmem__guard_fini(struct guard *guard)
{
    free((void *)guard->open);
    free(guard->n_direct);
    free((void *)guard->readable);
    free(guard->n_reads);
    *guard = (struct guard){.base = NULL};
}

/* -------------------------------------------------------------------------------- granules ---- */

static bool bit_is_set(const _Atomic uint64_t *bits, uint32_t granule)
{
    /* Acquire: pairs with bits_mark(); a thread that sees the bit may touch the bytes. */
    const uint64_t word =
        atomic_load_explicit(&bits[granule / GRANULES_PER_WORD], memory_order_acquire);
    return word >> granule % GRANULES_PER_WORD & 1;
}

static bool granule_is_open(const struct guard *guard, uint32_t granule)
{
    return bit_is_set(guard->open, granule);
}

/* Return: the first granule in [from, end) whose bit is set, or is not; end: there is none. */
static uint32_t bits_next(const _Atomic uint64_t *bits, uint32_t from, uint32_t end, bool is_set)
{
    const uint64_t flip = is_set ? 0 : UINT64_MAX;
    while (from < end) {
        /* Acquire: as bit_is_set(). */
        const uint64_t word =
            (atomic_load_explicit(&bits[from / GRANULES_PER_WORD], memory_order_acquire) ^ flip) >>
            from % GRANULES_PER_WORD;
        if (word != 0) {
            const uint32_t found = from + (uint32_t)__builtin_ctzll(word);
            return found < end ? found : end;
        }
        from = (from / GRANULES_PER_WORD + 1) * GRANULES_PER_WORD;
    }
    return end;
}

static uint32_t granules_next(const struct guard *guard, uint32_t from, uint32_t end, bool is_open)
{
    return bits_next(guard->open, from, end, is_open);
}

static void bits_mark(_Atomic uint64_t *marked, uint32_t first, uint32_t end, bool is_set)
{
    while (first < end) {
        const uint32_t at = first % GRANULES_PER_WORD;
        const uint32_t room = GRANULES_PER_WORD - at;
        const uint32_t n = end - first < room ? end - first : room;
        const uint64_t bits = UINT64_MAX >> (GRANULES_PER_WORD - n) << at;
        _Atomic uint64_t *word = &marked[first / GRANULES_PER_WORD];
        /* Release: pairs with bit_is_set(). Access is there; or no thread has the pages,
         * and the state that grants them again leads back here. */
        if (is_set) {
            (void)atomic_fetch_or_explicit(word, bits, memory_order_release);
        } else {
            (void)atomic_fetch_and_explicit(word, ~bits, memory_order_release);
        }
        first += n;
    }
}

/* How many stretches of readable granules begin before `end` and end behind `from`. */
static uint32_t stretches_count(const struct guard *guard, uint32_t from, uint32_t end)
{
    uint32_t n_stretches = 0;
    while ((from = bits_next(guard->readable, from, end, true)) < end) {
        from = bits_next(guard->readable, from, end, false);
        n_stretches++;
    }
    return n_stretches;
}

/* Says that [first, end) can be read and not written, or not any more. */
static void stretches_mark(struct guard *guard, uint32_t first, uint32_t end, bool is_readable)
{
    const uint32_t before = first > 0 ? first - 1 : 0;
    const uint32_t behind = end < guard->n_granules ? end + 1 : end;
    guard->n_stretches -= stretches_count(guard, before, behind);
    bits_mark(guard->readable, first, end, is_readable);
    guard->n_stretches += stretches_count(guard, before, behind);
}

static void granules_mark(struct guard *guard, uint32_t first, uint32_t end, bool is_open)
{
    if (guard->n_stretches > 0) {
        stretches_mark(guard, first, end, false);
    }
    bits_mark(guard->open, first, end, is_open);
}

/* The part of the segment that the granules [first, end) are. Return: 0 or -errno. */
static int granules_protect(const struct guard *guard, uint32_t first, uint32_t end, int protection)
{
    if (guard->is_off) {
        return 0;
    }
    const uint64_t from = (uint64_t)first << guard->granule_shift;
    const uint64_t to = (uint64_t)end << guard->granule_shift;
    const uint64_t num_bytes = (to < guard->num_bytes ? to : guard->num_bytes) - from;
    if (mprotect(guard->base + from, num_bytes, protection) < 0) {
        return -errno;
    }
    if (guard->dumps_open && (protection & PROT_WRITE) != 0) {
        kmem__dump_keep(guard->base + from, num_bytes);
    } else if (guard->dumps_open) {
        kmem__dump_leave_out(guard->base + from, num_bytes);
    }
    return 0;
}

/* ---------------------------------------------------------------------------------- pieces ---- */

/* How many pieces begin before `end` and end behind `from`. */
static uint32_t pieces_count(const struct guard *guard, uint32_t from, uint32_t end)
{
    uint32_t n_pieces = 0;
    while ((from = granules_next(guard, from, end, true)) < end) {
        from = granules_next(guard, from, end, false);
        n_pieces++;
    }
    return n_pieces;
}

/* Return: 0, the granules are open; or -errno, nothing has changed. */
static int pieces_open(struct guard *guard, uint32_t first, uint32_t end)
{
    const uint32_t before = first > 0 ? first - 1 : 0;
    const uint32_t behind = end < guard->n_granules ? end + 1 : end;
    const uint32_t n_joined = pieces_count(guard, before, behind);
    const int protection = guard->reads_only ? PROT_READ : PROT_READ | PROT_WRITE;
    const int r = granules_protect(guard, first, end, protection);
    if (r == 0) {
        granules_mark(guard, first, end, true);
        guard->n_pieces += 1 - n_joined;
    }
    return r;
}

/* Opens the narrowest gap between two pieces; all, if there is but one. Return: 0 or -errno. */
static int pieces_condense(struct guard *guard)
{
    const uint32_t n = guard->n_granules;
    uint32_t first = 0;
    uint32_t end = n;
    uint32_t gap = granules_next(guard, granules_next(guard, 0, n, true), n, false);
    for (uint32_t next; (next = granules_next(guard, gap, n, true)) < n && end - first > 1;) {
        if (next - gap < end - first) {
            first = gap;
            end = next;
        }
        gap = granules_next(guard, next, n, false);
    }
    return pieces_open(guard, first, end);
}

/*
 * The kernel refuses: the process has no mapping left. Everything is opened, which needs none and
 * gives those of the guard back to the program; and the guard is content with less from now on.
 */
static void pieces_give_way(struct guard *guard)
{
    if (guard->max_pieces > 1) {
        guard->max_pieces /= 2;
    }
    if (guard->dumps_open) {
        /* Of one piece all would be in a core. */
        guard->dumps_open = false;
        kmem__dump_leave_out(guard->base, guard->num_bytes);
    }
    (void)pieces_open(guard, 0, guard->n_granules); /* one piece is always possible */
}

/* --------------------------------------------------------------------------------- opening ---- */

static void guard_open(struct guard *guard, uint32_t first, uint32_t end)
{
    int r = pieces_open(guard, first, end);
    if (r == 0 && guard->n_pieces > guard->max_pieces) {
        r = pieces_condense(guard);
    }
    if (r < 0) {
        pieces_give_way(guard);
    }
}

void kmem__guard_open(struct guard *guard, struct seg_off offset, uint64_t num_bytes)
{
    if (guard->open == NULL) {
        return;
    }
    uint32_t first = (uint32_t)(offset.bytes >> guard->granule_shift);
    uint32_t end = (uint32_t)((offset.bytes + num_bytes - 1) >> guard->granule_shift) + 1;
    if (granules_next(guard, first, end, false) == end) {
        return;
    }
    (void)pthread_mutex_lock(&guard->lock);
    first = granules_next(guard, first, end, false);
    if (first < end) { /* else another thread has opened them meanwhile */
        guard_open(guard, first, end);
    }
    (void)pthread_mutex_unlock(&guard->lock);
}

static void direct_count(struct guard *guard, struct seg_off offset, uint64_t num_bytes, int change)
{
    const uint32_t first = (uint32_t)(offset.bytes >> guard->granule_shift);
    const uint32_t last = (uint32_t)((offset.bytes + num_bytes - 1) >> guard->granule_shift);
    for (uint32_t granule = first; granule <= last; granule++) {
        guard->n_direct[granule] += (uint32_t)change;
    }
}

void kmem__guard_add_direct(struct guard *guard, struct seg_off offset, uint64_t num_bytes)
{
    if (guard->open != NULL) {
        direct_count(guard, offset, num_bytes, 1);
        kmem__guard_open(guard, offset, num_bytes);
    }
}

void kmem__guard_drop_direct(struct guard *guard, struct seg_off offset, uint64_t num_bytes)
{
    if (guard->open != NULL && num_bytes > 0 && num_bytes <= guard->num_bytes - offset.bytes) {
        direct_count(guard, offset, num_bytes, -1);
    }
}

static void readers_count(struct guard *guard, struct seg_off offset, uint64_t num_bytes,
                          int change)
{
    const uint32_t first = (uint32_t)(offset.bytes >> guard->granule_shift);
    const uint32_t last = (uint32_t)((offset.bytes + num_bytes - 1) >> guard->granule_shift);
    for (uint32_t granule = first; granule <= last; granule++) {
        guard->n_reads[granule] += (uint32_t)change;
    }
}

static bool granule_is_leased(const struct guard *guard, uint32_t granule,
                              const _Atomic uint64_t *states)
{
    const uint32_t pages_shift = guard->granule_shift - PAGE_SHIFT;
    const uint32_t n_all = (uint32_t)(guard->num_bytes >> PAGE_SHIFT);
    const uint32_t page = granule << pages_shift;
    const uint32_t n_pages = n_all - page < 1U << pages_shift ? n_all - page : 1U << pages_shift;
    return lease_has_any(states, page, n_pages);
}

static bool granule_is_written(const struct guard *guard, uint32_t granule,
                               const _Atomic uint64_t *states)
{
    return guard->n_direct[granule] > 0 || granule_is_leased(guard, granule, states);
}

/* Lets the granules [first, end), which are all open, or none of them, be read only. */
static bool guard_make_readable(struct guard *guard, uint32_t first, uint32_t end)
{
    const bool is_open = granule_is_open(guard, first);
    const bool before = is_open && first > 0 && granule_is_open(guard, first - 1);
    const bool behind = is_open && end < guard->n_granules && granule_is_open(guard, end);
    const bool splits = before && behind && guard->n_pieces >= guard->max_pieces;
    if (guard->is_off || guard->n_stretches >= GUARD_STRETCHES_MAX || splits) {
        return false;
    }
    if (granules_protect(guard, first, end, PROT_READ) < 0) {
        pieces_give_way(guard);
        return false;
    }
    if (is_open) {
        bits_mark(guard->open, first, end, false);
        guard->n_pieces = guard->n_pieces - 1 + before + behind;
    }
    stretches_mark(guard, first, end, true);
    return true;
}

/* The end of the granules from `granule` on that are written, or readable, or open, as it is. */
static uint32_t guard_same(const struct guard *guard, uint32_t granule, uint32_t end,
                           const _Atomic uint64_t *states)
{
    const bool is_written = granule_is_written(guard, granule, states);
    uint32_t next = granule + 1;
    while (next < end && granule_is_written(guard, next, states) == is_written &&
           granule_is_open(guard, next) == granule_is_open(guard, granule) &&
           bit_is_set(guard->readable, next) == bit_is_set(guard->readable, granule)) {
        next++;
    }
    return next;
}

bool kmem__guard_add_reader(struct guard *guard, struct seg_off offset, uint64_t num_bytes,
                            const _Atomic uint64_t *states)
{
    if (guard->open == NULL) {
        return false;
    }
    readers_count(guard, offset, num_bytes, 1);
    const uint32_t end = (uint32_t)((offset.bytes + num_bytes - 1) >> guard->granule_shift) + 1;
    uint32_t next = (uint32_t)(offset.bytes >> guard->granule_shift);
    bool is_readable = true;
    if (bits_next(guard->readable, next, end, false) == end) {
        return true; /* as it is when frames come round again */
    }
    (void)pthread_mutex_lock(&guard->lock);
    while (next < end) {
        const uint32_t first = next;
        next = guard_same(guard, first, end, states);
        if (granule_is_written(guard, first, states)) {
            is_readable = false; /* something of its own is there, which is open */
        } else if (!bit_is_set(guard->readable, first) &&
                   !guard_make_readable(guard, first, next)) {
            is_readable = false;
            guard_open(guard, first, next);
        }
    }
    (void)pthread_mutex_unlock(&guard->lock);
    return is_readable;
}

void kmem__guard_drop_reader(struct guard *guard, struct seg_off offset, uint64_t num_bytes)
{
    if (guard->open != NULL) {
        readers_count(guard, offset, num_bytes, -1);
        guard->n_closable++;
    }
}

bool kmem__guard_wants_sweep(const struct guard *guard)
{
    return guard->n_closable >= GUARD_CLOSABLE_MAX;
}

/* Closes what is readable and is read by nobody here. Return: how many calls that took. */
static uint32_t sweep_readable(struct guard *guard)
{
    uint32_t n_calls = 0;
    uint32_t next = 0;
    while (n_calls < GUARD_SWEEP_CALLS_MAX &&
           (next = bits_next(guard->readable, next, guard->n_granules, true)) < guard->n_granules) {
        const uint32_t first = next;
        const bool is_read = guard->n_reads[first] > 0;
        while (next < guard->n_granules && bit_is_set(guard->readable, next) &&
               (guard->n_reads[next] > 0) == is_read) {
            next++;
        }
        if (!is_read) {
            if (granules_protect(guard, first, next, PROT_NONE) < 0) {
                pieces_give_way(guard);
                return GUARD_SWEEP_CALLS_MAX;
            }
            stretches_mark(guard, first, next, false);
            n_calls++;
        }
    }
    return n_calls;
}

/* The granules of a word of `open` that are open, and have nothing of this process. */
static uint64_t word_idle(const struct guard *guard, uint32_t word, const _Atomic uint64_t *states)
{
    const bool is_page = guard->granule_shift == PAGE_SHIFT;
    const uint32_t first = word * GRANULES_PER_WORD;
    /* Acquire: as bit_is_set(). */
    uint64_t idle = atomic_load_explicit(&guard->open[word], memory_order_acquire);
    if (idle != 0 && is_page) {
        const uint32_t rest = guard->n_granules - first;
        idle &= ~lease_mask(states, first, rest < GRANULES_PER_WORD ? rest : GRANULES_PER_WORD);
    }
    for (uint64_t left = idle; left != 0; left &= left - 1) {
        const uint32_t granule = first + (uint32_t)__builtin_ctzll(left);
        if (guard->n_direct[granule] > 0 || guard->n_reads[granule] > 0 ||
            (!is_page && granule_is_leased(guard, granule, states))) {
            idle &= ~(left & -left);
        }
    }
    return idle;
}

/* A walk over idle granules. No word is worked out twice. */
struct sweep {
    const struct guard *guard;
    const _Atomic uint64_t *states;
    uint32_t end;
    uint32_t word; /* the one that `idle` is of */
    uint64_t idle;
};

/* Return: the first granule from `from` on that is idle, or the first that is not; else the end. */
static uint32_t sweep_next(struct sweep *sweep, uint32_t from, bool is_idle)
{
    while (from < sweep->end) {
        if (sweep->word != from / GRANULES_PER_WORD) {
            sweep->word = from / GRANULES_PER_WORD;
            sweep->idle = word_idle(sweep->guard, sweep->word, sweep->states);
        }
        const uint64_t bits = (is_idle ? sweep->idle : ~sweep->idle) >> from % GRANULES_PER_WORD;
        if (bits != 0) {
            const uint32_t found = from + (uint32_t)__builtin_ctzll(bits);
            return found < sweep->end ? found : sweep->end;
        }
        from = (from / GRANULES_PER_WORD + 1) * GRANULES_PER_WORD;
    }
    return sweep->end;
}

/*
 * Closes the granules [first, end), which are open, unless that would make a piece too many.
 * Return: how many calls that took; GUARD_SWEEP_CALLS_MAX if the kernel refused.
 */
static uint32_t guard_close(struct guard *guard, uint32_t first, uint32_t end)
{
    const bool before = first > 0 && granule_is_open(guard, first - 1);
    const bool behind = end < guard->n_granules && granule_is_open(guard, end);
    if (before && behind && guard->n_pieces >= guard->max_pieces) {
        return 0;
    }
    granules_mark(guard, first, end, false);
    guard->n_pieces = guard->n_pieces - 1 + before + behind;
    if (granules_protect(guard, first, end, PROT_NONE) < 0) {
        pieces_give_way(guard);
        return GUARD_SWEEP_CALLS_MAX;
    }
    return 1;
}

void kmem__guard_sweep(struct guard *guard, const _Atomic uint64_t *states)
{
    if (guard->open == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&guard->lock);
    const uint32_t n_most = GUARD_SWEEP_PAGES >> (guard->granule_shift - PAGE_SHIFT);
    uint32_t granule = guard->swept < guard->n_granules ? guard->swept : 0;
    const uint32_t rest = guard->n_granules - granule;
    struct sweep sweep = {guard, states, granule + (rest < n_most ? rest : n_most), UINT32_MAX, 0};
    uint32_t n_calls = guard->n_stretches > 0 ? sweep_readable(guard) : 0;
    /* What is left is closed by the next attaches, or stretches would get too many. */
    guard->n_closable = n_calls < GUARD_SWEEP_CALLS_MAX ? 0 : GUARD_CLOSABLE_MAX;
    for (uint32_t i = 0; i < GUARD_SWEEP_STRETCHES_MAX && n_calls < GUARD_SWEEP_CALLS_MAX; i++) {
        const uint32_t first = sweep_next(&sweep, granule, true);
        granule = sweep_next(&sweep, first, false);
        if (first == sweep.end) {
            break;
        }
        n_calls += guard_close(guard, first, granule);
    }
    guard->swept = granule;
    (void)pthread_mutex_unlock(&guard->lock);
}

void kmem__guard_keep(struct guard *guard)
{
    if (guard->open == NULL) {
        return;
    }
    /* Another thread of the parent may have had the lock when it forked, and changed bits. */
    lock_init(guard);
    guard->n_pieces = pieces_count(guard, 0, guard->n_granules);
    guard->n_stretches = stretches_count(guard, 0, guard->n_granules);
    for (uint32_t granule = 0;
         (granule = granules_next(guard, granule, guard->n_granules, true)) < guard->n_granules;) {
        guard->n_direct[granule++] = 1;
    }
    for (uint32_t granule = 0; (granule = bits_next(guard->readable, granule, guard->n_granules,
                                                    true)) < guard->n_granules;) {
        guard->n_reads[granule++] = 1;
    }
}

uint32_t kmem__guard_next_open(const struct guard *guard, uint32_t page)
{
    if (guard->open == NULL) {
        return page;
    }
    const uint32_t pages_shift = guard->granule_shift - PAGE_SHIFT;
    const uint32_t granule = page >> pages_shift;
    const uint32_t next = granules_next(guard, granule, guard->n_granules, true);
    return next == granule ? page : next << pages_shift;
}

void kmem__guard_hold(struct guard *guard)
{
    if (guard->open != NULL) {
        (void)pthread_mutex_lock(&guard->lock);
    }
}

void kmem__guard_let_go(struct guard *guard)
{
    if (guard->open != NULL) {
        (void)pthread_mutex_unlock(&guard->lock);
    }
}

bool kmem__guard_is_open(const struct guard *guard, struct seg_off offset)
{
    return guard->open == NULL ||
           granule_is_open(guard, (uint32_t)(offset.bytes >> guard->granule_shift));
}

bool kmem__guard_check(const struct guard *guard)
{
    return guard->open == NULL ||
           (guard->n_pieces == pieces_count(guard, 0, guard->n_granules) &&
            guard->n_pieces <= guard->max_pieces &&
            guard->n_stretches == stretches_count(guard, 0, guard->n_granules) &&
            guard->n_stretches <= GUARD_STRETCHES_MAX);
}
