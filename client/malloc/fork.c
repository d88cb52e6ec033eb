/* SPDX-License-Identifier: MIT */
/*
 * What is done around a fork, by the thread that forks:
 *
 *      fork() of the program    is there memory for a copy? else -1 and ENOMEM
 *      prepare                  the parent copies its blocks                    (client/inherit.c)
 *      the fork
 *      parent                   gives the copies up
 *      child                    puts them where the segment was; joins with its first allocation
 *
 * HANDLERS, NOT fork() ALONE. daemon(), forkpty() and libc itself fork without the name fork, and
 * run handlers; vfork(), posix_spawn(), system() and popen() share memory with their child until it
 * executes a program, and run none: they copy nothing. What needs a copy and runs none is in
 * clone.c.
 * But a handler can not make a fork fail. So fork() has a name here too, and asks for the memory
 * first; where that is not asked, or there was memory a moment ago, the child ends by SIGKILL, as
 * if it had run out of memory at its first write.
 *
 * THE FIRST HANDLER. Prepare handlers run last registered first, the others first registered first.
 * Ours is to be the first: so it copies behind the parent's other handlers, when they have
 * locked what is theirs, and before any of a child touches what is the parent's. The libraries that
 * a program needs begin before this one, so that a handler may be registered before it begins:
 * __register_atfork(), by which every pthread_atfork() ends, has a name here, too.
 *
 * SIGNALS wait meanwhile. A handler that ran in the child before the copies are in place would read
 * and write its parent's blocks, or find none; and one that forks would, in the midst of a copy,
 * begin another in its place. But for SIGSYS: a filter that traps the fork, or another call that is
 * made meanwhile, ends a process that has it blocked, in place of calling its handler. Nor is the
 * thread cancelled meanwhile: to fork is no place for that, and to look at what is protected is.
 *
 * STDIO. In the child of a process with threads libc unlocks every FILE before the handlers run,
 * and those that fopen() has made are blocks: the parent would find its own unlocked, in the midst
 * of another thread's printf(). So the list of them is empty meanwhile, which libc locks for the
 * fork anyway; and the child unlocks its copies. It is locked before the copy is made: what is on
 * it is in the copy.
 *
 * NAME SERVICES. Likewise libc unlocks its table of them in the child, which is a block as well:
 * the parent would find it unlocked, and the child, in its copy, locked for ever. It is made with
 * the first look-up; so one is made before this library serves, and the table is in libc's memory.
 */
#include "client/malloc/fork.h"

#include <aliases.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/single_threaded.h>
#include <unistd.h>

#include "client/inherit.h"
#include "client/malloc/block.h"
#include "client/malloc/inherited.h"
#include "client/malloc/next.h"

#define EXPORT __attribute__((visibility("default")))

typedef void handler(void);
typedef int register_function(handler *prepare, handler *parent, handler *child, void *module);

extern register_function __register_atfork;

/* libc's list of every FILE, and its lock, which the thread that has it may take again. */
extern FILE *_IO_list_all;
extern void _IO_list_lock(void);
extern void _IO_list_unlock(void);
extern void _IO_list_resetlock(void);
extern void *__tls_get_addr(void *index);

/* Of the forking thread, which is the child's only one. */
static _Thread_local struct {
    struct inherit_copy copy;
    bool is_served;
    bool hides_files;
    int error; /* there is no copy */
    FILE *files;
    sigset_t mask;
    int cancel_state;
} forking;

/* ------------------------------------------------------------------------------------- stdio -- */

static void files_lock(void)
{
    forking.hides_files = __libc_single_threaded == 0;
    if (forking.hides_files) {
        _IO_list_lock();
    }
}

static void files_hide(void)
{
    if (forking.hides_files) {
        forking.files = _IO_list_all;
        _IO_list_all = NULL;
    }
}

static void files_show_in_parent(void)
{
    if (forking.hides_files) {
        _IO_list_all = forking.files;
        _IO_list_unlock();
    }
}

/* As libc does it: what other threads had locked is no thread's. Behind kmem__inherit_place(). */
static void files_show_in_child(void)
{
    if (!forking.hides_files) {
        return;
    }
    const int is_locked_by_caller = 0x8000; /* _IO_USER_LOCK */
    const size_t lock_bytes = 2 * sizeof(int) + sizeof(void *);
    _IO_list_all = forking.files;
    for (FILE *file = forking.files; file != NULL; file = file->_chain) {
        if ((file->_flags & is_locked_by_caller) == 0 && file->_lock != NULL) {
            memset(file->_lock, 0, lock_bytes);
        }
    }
    _IO_list_resetlock();
}

/* ---------------------------------------------------------------------------------- handlers -- */

static void hold_interrupts(void)
{
    sigset_t all;
    (void)sigfillset(&all);
    (void)sigdelset(&all, SIGSYS);
    (void)pthread_sigmask(SIG_SETMASK, &all, &forking.mask);
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &forking.cancel_state);
}

static void copy(void)
{
    forking.is_served = block_can_serve();
    forking.error = forking.is_served ? -kmem__inherit_copy(&forking.copy) : 0;
}

/* Signals and cancelling, as before. */
static void let_interrupt(void)
{
    int ignored;
    (void)pthread_setcancelstate(forking.cancel_state, &ignored);
    (void)pthread_sigmask(SIG_SETMASK, &forking.mask, NULL);
}

static void prepare(void)
{
    hold_interrupts();
    files_lock();
    copy();
    files_hide();
}

static void in_parent(void)
{
    const int saved_errno = errno; /* why there is no child */
    files_show_in_parent();
    if (forking.is_served) { /* else the library may be of another build, and has another copy */
        kmem__inherit_drop(&forking.copy);
    }
    let_interrupt();
    errno = saved_errno;
}

static void begin_child(bool may_join)
{
    if (forking.is_served && forking.error == 0) {
        forking.error = -kmem__inherit_place(&forking.copy);
    }
    if (forking.error != 0) {
        inherited_end(forking.error);
    }
    files_show_in_child();
    block_begin_child(may_join && forking.is_served);
    let_interrupt();
}

static void in_child(void)
{
    begin_child(true);
}

bool fork_copy(void)
{
    hold_interrupts();
    forking.hides_files = false;
    copy();
    if (forking.error != 0) {
        in_parent();
    }
    return forking.error == 0;
}

void fork_in_parent(void)
{
    in_parent();
}

void fork_in_child(bool may_join)
{
    begin_child(may_join);
}

static struct next next_register = {.name = "__register_atfork"};
static struct next next_fork = {.name = "fork"};

static register_function *libc_register(void)
{
    return (register_function *)next_get(&next_register);
}

/* Before the first block, and before any other handler. */
static void register_handlers(void)
{
    static atomic_bool has_begun;
    /* Relaxed: it is the first library's, in the program's first thread. */
    if (!atomic_exchange_explicit(&has_begun, true, memory_order_relaxed)) {
        kmem__inherit_begin();
        (void)libc_register()(prepare, in_parent, in_child, NULL); /* there is room for the first */
    }
}

/* Of the names that programs look up least: what it begins is ended, and nothing is read. */
static void make_name_services(void)
{
    const int saved_errno = errno;
    setaliasent();
    endaliasent();
    errno = saved_errno;
}

struct fork_code fork_loader;

/* The loader's own code is where __tls_get_addr() is. */
static void find_loader(void)
{
    struct dl_find_object object;
    if (_dl_find_object((void *)(uintptr_t)&__tls_get_addr, &object) == 0) {
        fork_loader.begin = (uintptr_t)object.dlfo_map_start;
        fork_loader.num_bytes = (uintptr_t)object.dlfo_map_end - fork_loader.begin;
    }
}

__attribute__((constructor)) static void begin(void)
{
    register_handlers();
    (void)next_find(&next_fork); /* a signal handler may be the first that forks */
    find_loader();
    make_name_services();
    block_join();
}

EXPORT int __register_atfork(handler *its_prepare, handler *its_parent, handler *its_child,
                             void *module)
{
    register_handlers();
    return libc_register()(its_prepare, its_parent, its_child, module);
}

EXPORT pid_t fork(void)
{
    if (block_can_serve() && kmem__inherit_try() < 0) {
        errno = ENOMEM;
        return -1;
    }
    return ((pid_t(*)(void))next_get(&next_fork))();
}

bool fork_is_libcs(const void *address)
{
    struct dl_find_object object;
    struct dl_find_object libc;
    return _dl_find_object((void *)(uintptr_t)address, &object) == 0 &&
           _dl_find_object((void *)(uintptr_t)&_IO_list_lock, &libc) == 0 &&
           object.dlfo_link_map == libc.dlfo_link_map;
}
