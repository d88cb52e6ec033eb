/* SPDX-License-Identifier: MIT */
/*
 * status.h - what kmemctl tells its caller when it ends
 *
 * The numbers are those of sysexits.h where it has one that fits. kmemctl(1) documents them; a
 * script may rely on them. `kmemctl run` ends with its program's status instead.
 */
#ifndef CTL_STATUS_H
#define CTL_STATUS_H

enum status {
    STATUS_OK = 0,
    STATUS_NEGATIVE = 1,   /* the question was answered, and the answer is no */
    STATUS_USAGE = 64,     /* the command line can not be meant */
    STATUS_NO_DAEMON = 69, /* none listens, it may not be asked, or it ended meanwhile */
    STATUS_PROTOCOL = 70,  /* it answers, but not in words that this kmemctl understands */
    STATUS_SYSTEM = 71,    /* no memory, no descriptor, no room on the disk */
    STATUS_BUSY = 75,      /* reconcile: the segment was never quiet, so the sums say nothing */
    STATUS_NOT_RUN = 126,  /* run: the program was found and can not be executed */
    STATUS_NOT_FOUND = 127 /* run: there is no such program */
};

#endif
