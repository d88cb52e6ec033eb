/* SPDX-License-Identifier: MIT */
/*
 * filters.c - the system calls that kmemd may make
 *
 * The sets of systemd ("@system-service") are read from what `systemd-analyze syscall-filter` of
 * this machine has printed when the tests were built, so they are systemd's own. What other
 * directives forbid is what seccomp-util.c of systemd 252 forbids for them.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <seccomp.h>

#include "tests/hardened/hardened.h"

#define NAME_BYTES 64
/* A set within a set within a set; systemd has no deeper ones. */
#define DEPTH_MAX 4

static struct {
    bool allowed[1024]; /* by number: x86_64 and arm64 have fewer than 600 */
    bool begun;         /* the first set says what is allowed, those with "~" what is not */
    int error;
} set = {.error = EPERM};

static void filter_end(scmp_filter_ctx filter, int r)
{
    errno = -r;
    if (r < 0 || (r = seccomp_load(filter)) < 0) {
        errno = -r;
        hardened_give_up("seccomp");
    }
    seccomp_release(filter);
}

static scmp_filter_ctx filter_begin(uint32_t action)
{
    scmp_filter_ctx filter = seccomp_init(action);
    if (filter == NULL || seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0) < 0) {
        hardened_give_up("seccomp_init");
    }
    return filter;
}

/* --------------------------------------------------------------------- SystemCallFilter ---- */

/* A set is headed by its name, at the beginning of the line, and ends with an empty one. */
static bool line_read(FILE *file, char *word, bool *ret_is_head)
{
    char line[256];
    if (fgets(line, sizeof(line), file) == NULL) {
        return false;
    }
    word[0] = '\0';
    *ret_is_head = line[0] == '@';
    (void)sscanf(line, " %63s", word);
    return true;
}

static void call_set(const char *name, bool is_allowed)
{
    const int number = seccomp_syscall_resolve_name(name);
    if (number >= 0 && (size_t)number < sizeof(set.allowed)) {
        set.allowed[number] = is_allowed;
    } /* else another architecture's, or newer than this machine's libseccomp */
}

/* NOLINTNEXTLINE(misc-no-recursion): sets name sets, DEPTH_MAX deep */
static void group_set(const char *wanted, bool is_allowed, unsigned int depth)
{
    FILE *const file = fopen(HARDENED_SETS, "re");
    char word[NAME_BYTES];
    bool is_in = false;
    bool is_found = false;
    bool is_head = false;
    while (file != NULL && line_read(file, word, &is_head)) {
        if (is_head) {
            is_in = strcmp(word, wanted) == 0;
            is_found = is_found || is_in;
        } else if (is_in && word[0] == '@' && depth < DEPTH_MAX) {
            group_set(word, is_allowed, depth + 1);
        } else if (is_in && word[0] >= 'a' && word[0] <= 'z') {
            call_set(word, is_allowed);
        }
    }
    if (!is_found) {
        errno = ENOENT;
        hardened_give_up(wanted);
    }
    (void)fclose(file);
}

void filters_set(const char *value)
{
    const bool is_allowed = value[0] != '~';
    char words[1024];
    char *rest = NULL;
    if (!set.begun && !is_allowed) {
        errno = ENOTSUP;
        hardened_give_up("a SystemCallFilter= that begins with ~");
    }
    set.begun = true;
    (void)snprintf(words, sizeof(words), "%s", value + !is_allowed);
    for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        if (word[0] == '@') {
            group_set(word, is_allowed, 0);
        } else {
            call_set(word, is_allowed);
        }
    }
}

void filters_error(const char *value)
{
    if (strcmp(value, "EPERM") != 0) {
        errno = ENOTSUP;
        hardened_give_up(value);
    }
}

void filters_load(void)
{
    if (!set.begun) {
        return;
    }
    scmp_filter_ctx filter = filter_begin(SCMP_ACT_ERRNO((uint16_t)set.error));
    int r = 0;
    group_set("@default", true, 0); /* which systemd adds to every such list */
    for (size_t number = 0; r == 0 && number < sizeof(set.allowed); number++) {
        if (set.allowed[number]) {
            r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, (int)number, 0);
        }
    }
    filter_end(filter, r);
}

/* --------------------------------------------------------------------------- the others ---- */

/* Calls that fail with EPERM, all of them. */
static void forbid(const char *const *names)
{
    scmp_filter_ctx filter = filter_begin(SCMP_ACT_ALLOW);
    int r = 0;
    for (; r == 0 && *names != NULL; names++) {
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), seccomp_syscall_resolve_name(*names),
                             0);
    }
    filter_end(filter, r);
}

#define FORBID(...) forbid((const char *const[]){__VA_ARGS__, NULL})

void filters_no_modules(const char *value)
{
    (void)value;
    FORBID("init_module", "finit_module", "delete_module");
}

void filters_no_raw_io(const char *value)
{
    (void)value;
    FORBID("ioperm", "iopl");
}

void filters_no_clock(const char *value)
{
    (void)value;
    FORBID("adjtimex", "clock_adjtime", "clock_settime", "settimeofday");
}

void filters_no_log(const char *value)
{
    (void)value;
    FORBID("syslog");
}

void filters_no_hostname(const char *value)
{
    (void)value;
    FORBID("sethostname", "setdomainname");
}

void filters_only_unix(const char *value)
{
    scmp_filter_ctx filter = filter_begin(SCMP_ACT_ALLOW);
    (void)value;
    filter_end(filter, seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                                        SCMP_A0(SCMP_CMP_NE, AF_UNIX, 0)));
}

void filters_no_namespaces(const char *value)
{
    static const uint64_t flags[] = {CLONE_NEWNS,  CLONE_NEWUTS, CLONE_NEWIPC,   CLONE_NEWUSER,
                                     CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWCGROUP};
    scmp_filter_ctx filter = filter_begin(SCMP_ACT_ALLOW);
    int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(setns), 0);
    (void)value;
    for (size_t i = 0; r == 0 && i < sizeof(flags) / sizeof(flags[0]); i++) {
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(unshare), 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, flags[i], flags[i]));
        if (r == 0) {
            r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                 SCMP_A0(SCMP_CMP_MASKED_EQ, flags[i], flags[i]));
        }
    }
    if (r == 0) { /* its flags are in memory, where no filter sees them */
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
    }
    filter_end(filter, r);
}

void filters_no_realtime(const char *value)
{
    scmp_filter_ctx filter = filter_begin(SCMP_ACT_ALLOW);
    (void)value;
    int r = 0;
    for (uint64_t policy = SCHED_FIFO; r == 0 && policy <= SCHED_RR; policy++) {
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(sched_setscheduler), 1,
                             SCMP_A1(SCMP_CMP_EQ, policy, 0));
    }
    filter_end(filter, r);
}

static int no_set_id(scmp_filter_ctx filter, int number, unsigned int argument)
{
    static const uint64_t bits[] = {S_ISUID, S_ISGID};
    int r = 0;
    for (size_t i = 0; r == 0 && i < 2; i++) {
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 1,
                             SCMP_CMP(argument, SCMP_CMP_MASKED_EQ, bits[i], bits[i]));
    }
    return r;
}

void filters_no_set_id(const char *value)
{
    static const struct {
        const char *name;
        unsigned int argument;
    } calls[] = {{"chmod", 1},   {"fchmod", 1}, {"fchmodat", 2}, {"mkdir", 1},
                 {"mkdirat", 2}, {"mknod", 1},  {"mknodat", 2},  {"creat", 1}};
    scmp_filter_ctx filter = filter_begin(SCMP_ACT_ALLOW);
    int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(openat2), 0);
    (void)value;
    for (size_t i = 0; r == 0 && i < sizeof(calls) / sizeof(calls[0]); i++) {
        r = no_set_id(filter, seccomp_syscall_resolve_name(calls[i].name), calls[i].argument);
    }
    filter_end(filter, r);
}

void filters_no_written_code(const char *value)
{
    scmp_filter_ctx filter = filter_begin(SCMP_ACT_ALLOW);
    const uint64_t both = PROT_EXEC | PROT_WRITE;
    (void)value;
    int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mmap), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, both, both));
    if (r == 0) {
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mprotect), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
    }
    if (r == 0) {
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(pkey_mprotect), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
    }
    if (r == 0) {
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(shmat), 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, SHM_EXEC, SHM_EXEC));
    }
    filter_end(filter, r);
}

void filters_one_personality(const char *value)
{
    scmp_filter_ctx filter = filter_begin(SCMP_ACT_ALLOW);
    (void)value;
    filter_end(filter, seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(personality), 1,
                                        SCMP_A0(SCMP_CMP_NE, 0, 0)));
}
