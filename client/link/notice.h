/* SPDX-License-Identifier: MIT */
/*
 * notice.h - whether the segment goes on: proto/notice.h, as a client reads it
 */
#ifndef CLIENT_LINK_NOTICE_H
#define CLIENT_LINK_NOTICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/link/descriptor.h"
#include "client/failure.h"
#include "proto/attributes.h"
#include "proto/limits.h"
#include "proto/notice.h"

/* What a lost segment means for a program; behind the sentence that says that it is lost. */
#define LOST_CONSEQUENCE                                                                           \
    "; blocks stay readable and writable, but nobody accounts for them; after kmem_close() the "   \
    "next call connects anew"

/*
 * All zero: there is none, and nothing is ever found to have ended.
 *
 *  field      written by            read by          order
 *  seen_tick  a call that looks     likewise         relaxed: a hint of when to ask the kernel
 *  seen_ms    likewise              likewise         relaxed: likewise
 *  all else   join and close        any call between none
 */
struct notice_file {
    unsigned char *at; /* the page, mapped for reading */
    struct mark mark;  /* its file, to ask the kernel for the lock on it */
    bool has_lock;     /* it was locked when this process joined: then the lock tells something */
    char segment_name[NAME_MAX_BYTES + 1];
    _Atomic uint32_t seen_tick;
    _Atomic int64_t seen_ms; /* when it was another one */
};

/**
 * kmem__notice_open() - begin to look
 * @at:  the mapped page; stays the caller's
 * @fd:  its file, the notice's from now on
 */
void kmem__notice_open(struct notice_file *notice, unsigned char *at, int fd,
                       const char *segment_name);

/** kmem__notice_close() - close its descriptor, if it still is that; all zero then */
void kmem__notice_close(struct notice_file *notice);

/**
 * kmem__notice_look() - whether the segment has ended, without a system call as a rule
 * Return: 0; or -ECONNRESET, with a sentence, for ever from then on.
 */
KMEM_MUST_USE int kmem__notice_look(struct notice_file *notice, struct failure *failure);

/** kmem__notice_is_suspended() - whether kmemd was stopped, and may be started again */
bool kmem__notice_is_suspended(const struct notice_file *notice);

/** kmem__notice_ask() - the same, and the kernel is asked: for a call that no daemon answers */
KMEM_MUST_USE int kmem__notice_ask(struct notice_file *notice, struct failure *failure);

#endif
