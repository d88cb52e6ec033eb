/* SPDX-License-Identifier: MIT */
/*
 * status.h - what kmemctl tells its caller when it ends
 *
 * Few: each is another thing for a script to do. kmemctl(1) documents them; a script may rely on
 * them. `kmemctl run` ends with its program's status instead.
 */
#ifndef CTL_STATUS_H
#define CTL_STATUS_H

enum status {
    STATUS_OK = 0,
    STATUS_ERROR = 1,         /* the answer is no, there is none, or it could not be written */
    STATUS_USAGE = 2,         /* the command line can not be meant */
    STATUS_NO_DAEMON = 3,     /* none listens, or it ended meanwhile */
    STATUS_NOT_PERMITTED = 4, /* it does not answer this user */
    STATUS_THRESHOLD = 5,     /* usage --fail-above: it is fuller; replay: something was refused */
    STATUS_WAITS = 6,         /* reload: a setting waits for a restart of the daemon */
    STATUS_BUSY = 75,         /* reconcile: never quiet, so the sums say nothing: neither 0 nor 1 */
    STATUS_NOT_RUN = 126,     /* run: the program was found and can not be executed */
    STATUS_NOT_FOUND = 127    /* run: there is no such program */
};

#endif
