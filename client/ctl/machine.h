/* SPDX-License-Identifier: MIT */
/*
 * machine.h - what of this machine decides whether a segment works, and how well
 *
 * Only what can be looked at without changing anything: files of /proc and /sys, and limits. Each
 * check is one finding: ok, or what does not work or works badly, and what to do about it.
 */
#ifndef CTL_MACHINE_H
#define CTL_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/ctl/findings.h"

struct machine {
    const char *root;       /* what stands before /proc and /sys: "" but in a test */
    uint32_t daemon_pid;    /* whose cgroup and limits count; 0: those of this process */
    uint64_t segment_bytes; /* 0: unknown, and nothing is compared with it */
    bool tells_huge;        /* the daemon says what the segment is made of: the next two */
    uint64_t huge_bytes;
    uint64_t resident_bytes;
};

/** machine_check() - add a finding for each check */
void machine_check(const struct machine *machine, struct findings *findings);

#endif
