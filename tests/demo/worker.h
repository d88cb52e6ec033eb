/* SPDX-License-Identifier: MIT */
/*
 * worker.h - what the demo's worker processes have in common
 *
 * A worker is a process with a job: it reads files into kmem blocks, works on them and holds the
 * result until its standard input ends; then it releases everything. It speaks to the conductor in
 * lines on standard output, the first word of which says what the rest is:
 *
 *      at WORDS            what it is doing, for its row on the screen
 *      say WORDS           something that the audience should read
 *      progress N OF       how far it is
 *      result KEY VALUE    something that the conductor checks by other means
 *      done                the result stands; waiting for the end of standard input
 *      bye                 everything is released
 *
 * Any failure ends the worker with a message on stderr and status 1: this is a demo, not a library.
 */
#ifndef DEMO_WORKER_H
#define DEMO_WORKER_H

#include <stddef.h>

/* A file in a kmem block. The byte after the last is 0. */
struct text {
    char *bytes;
    size_t n_bytes;
    char name[64]; /* the path's last part, or the one before if that is "copyright" */
};

/** worker_tell() - one line to the conductor, at once */
void worker_tell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/** worker_pause() - time for people to see what has happened; the work itself takes less */
void worker_pause(int pause_ms);

/** worker_fail() - say on stderr what went wrong, and end */
void worker_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/** worker_take() - a zeroed block, or the end of the process. Ownership: the caller's. */
void *worker_take(size_t num_bytes, const char *reason_format, ...)
    __attribute__((format(printf, 2, 3), malloc, warn_unused_result));

/** worker_give() - release a block; NULL is ignored */
void worker_give(void *block);

/** worker_leave() - leave the segment, so that the end of the process is no death, and say "bye" */
void worker_leave(void);

/** worker_hold() - tell the conductor "done" and sleep until it closes standard input */
void worker_hold(void);

/**
 * text_load() - read a file into a block whose reason is "demo/WORKER/WHAT" and the file's name
 * @what:  "text#" rolls all files up into one row of the ledger, "text/" makes a row of each
 */
void text_load(struct text *text, const char *path, const char *what);

/** text_drop() - release the block */
void text_drop(struct text *text);

/**
 * text_next_word() - the next run of letters, in lower case
 * @at:    where to read on; moved behind the word
 * @word:  receives it, cut to word_bytes - 1 letters
 *
 * Return: its length; 0 if there is none.
 */
size_t text_next_word(const struct text *text, size_t *at, char *word, size_t word_bytes);

#endif
