/* SPDX-License-Identifier: MIT */
#include "client/ctl/machine.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/membarrier.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/ctl/format.h"

#define PATH_BYTES 4096

/* ----------------------------------------------------------------------------------- files ---- */

/* The first line of a file, without its end. Return: whether there is one. */
static bool read_line(const struct machine *machine, const char *path, char *ret_line,
                      size_t line_bytes)
{
    char whole[PATH_BYTES];
    (void)snprintf(whole, sizeof(whole), "%s%s", machine->root, path); /* cut: not found */
    FILE *file = fopen(whole, "re");
    const bool is_there = file && fgets(ret_line, (int)line_bytes, file);
    if (file) {
        (void)fclose(file); /* only read */
    }
    if (is_there) {
        ret_line[strcspn(ret_line, "\n")] = '\0';
    }
    return is_there;
}

/* A line of a file that begins so. Return: what follows in it, in ret_line; NULL: there is none. */
static const char *find_line(const struct machine *machine, const char *path, const char *begin,
                             char *ret_line, size_t line_bytes)
{
    char whole[PATH_BYTES];
    const char *found = NULL;
    (void)snprintf(whole, sizeof(whole), "%s%s", machine->root, path); /* cut: not found */
    FILE *file = fopen(whole, "re");
    while (file && !found && fgets(ret_line, (int)line_bytes, file)) {
        ret_line[strcspn(ret_line, "\n")] = '\0';
        found = strncmp(ret_line, begin, strlen(begin)) == 0 ? ret_line + strlen(begin) : NULL;
    }
    if (file) {
        (void)fclose(file); /* only read */
    }
    return found;
}

/* Return: whether the file has a number. */
static bool read_number(const struct machine *machine, const char *path, uint64_t *ret_number)
{
    char line[64];
    char *end = line;
    if (!read_line(machine, path, line, sizeof(line))) {
        return false;
    }
    *ret_number = strtoull(line, &end, 10);
    return end != line;
}

/* The path of a file of the process whose state counts. */
static const char *of_process(const struct machine *machine, const char *name, char *buffer,
                              size_t buffer_bytes)
{
    if (machine->daemon_pid == 0) {
        (void)snprintf(buffer, buffer_bytes, "/proc/self/%s", name);
    } else {
        (void)snprintf(buffer, buffer_bytes, "/proc/%" PRIu32 "/%s", machine->daemon_pid, name);
    }
    return buffer;
}

/* ---------------------------------------------------------------------------------- memory ---- */

static void check_made_of(const struct machine *machine, struct findings *findings)
{
    const struct label all = format_bytes(machine->segment_bytes, false);
    if (machine->huge_bytes > 0) {
        (void)findings_add(findings, LEVEL_OK, "huge pages",
                           "%s of %s of the segment are made of 2 MiB pages",
                           format_bytes(machine->huge_bytes, false).text, all.text);
    } else if (machine->resident_bytes < machine->segment_bytes) {
        (void)findings_add(findings, LEVEL_OK, "huge pages",
                           "the segment takes its memory when it is used (--commit lazy), not in "
                           "2 MiB pages");
    } else {
        struct finding *finding =
            findings_add(findings, LEVEL_WARN, "huge pages",
                         "none of the segment is made of 2 MiB pages, so far at least");
        finding_fix(finding, "kmemd makes them when it starts: it takes Linux 6.1 with "
                             "CONFIG_TRANSPARENT_HUGEPAGE, and memory that is free in such pieces; "
                             "its log says what was missing");
    }
}

/* kmemd collapses pages, which only "deny" forbids. */
static void check_huge_pages(const struct machine *machine, struct findings *findings)
{
    static const char path[] = "/sys/kernel/mm/transparent_hugepage/shmem_enabled";
    char line[128];
    if (machine->tells_huge) {
        check_made_of(machine, findings);
    } else if (!read_line(machine, path, line, sizeof(line))) {
        struct finding *finding =
            findings_add(findings, LEVEL_WARN, "huge pages",
                         "the kernel has no transparent huge pages for shared memory");
        finding_fix(finding, "a kernel with CONFIG_TRANSPARENT_HUGEPAGE; without it, the first use "
                             "of memory and what misses the TLB take longer");
    } else if (strstr(line, "[deny]")) {
        struct finding *finding = findings_add(findings, LEVEL_WARN, "huge pages",
                                               "shared memory gets none: shmem_enabled is deny");
        finding_fix(finding, "echo never > %s", path);
    } else {
        (void)findings_add(findings, LEVEL_OK, "huge pages",
                           "kmemd can make a segment of them, from Linux 6.1 on");
    }
}

static void check_overcommit(const struct machine *machine, struct findings *findings)
{
    uint64_t mode = 0;
    char limit[128];
    char committed[128];
    if (!read_number(machine, "/proc/sys/vm/overcommit_memory", &mode) || mode != 2) {
        (void)findings_add(
            findings, LEVEL_OK, "overcommit",
            "vm.overcommit_memory is %" PRIu64 ": memory is reserved when it is used", mode);
        return;
    }
    const char *limit_kib =
        find_line(machine, "/proc/meminfo", "CommitLimit:", limit, sizeof(limit));
    const char *committed_kib =
        find_line(machine, "/proc/meminfo", "Committed_AS:", committed, sizeof(committed));
    const uint64_t limit_bytes = limit_kib ? strtoull(limit_kib, NULL, 10) * 1024 : 0;
    const uint64_t taken_bytes = committed_kib ? strtoull(committed_kib, NULL, 10) * 1024 : 0;
    const uint64_t left_bytes = limit_bytes > taken_bytes ? limit_bytes - taken_bytes : 0;
    const bool is_short = left_bytes < machine->segment_bytes;
    struct finding *finding =
        findings_add(findings, is_short ? LEVEL_FAIL : LEVEL_WARN, "overcommit",
                     "vm.overcommit_memory is 2, and %s are left to be committed",
                     format_bytes(left_bytes, false).text);
    finding_fix(finding, "raise vm.overcommit_ratio or vm.overcommit_kbytes, or let "
                         "vm.overcommit_memory be 0");
}

static void check_memory(const struct machine *machine, struct findings *findings)
{
    char line[128];
    const char *kib = find_line(machine, "/proc/meminfo", "MemTotal:", line, sizeof(line));
    const uint64_t total_bytes = kib ? strtoull(kib, NULL, 10) * 1024 : 0;
    if (total_bytes == 0) {
        return; /* no /proc: check_proc() says so */
    }
    if (machine->segment_bytes > total_bytes) {
        struct finding *finding = findings_add(findings, LEVEL_WARN, "memory",
                                               "the segment, %s, is larger than the memory, %s",
                                               format_bytes(machine->segment_bytes, false).text,
                                               format_bytes(total_bytes, false).text);
        finding_fix(finding, "lower --size of kmemd: what is beyond is swapped, or not to be had");
        return;
    }
    (void)findings_add(findings, LEVEL_OK, "memory", "the machine has %s",
                       format_bytes(total_bytes, false).text);
}

/* The narrowest limit from the cgroup (version 2) up to the root. Return: its group; "": none. */
static const char *narrowest_group(const struct machine *machine, char *directory,
                                   size_t directory_bytes, uint64_t *ret_bytes)
{
    static char narrowest[PATH_BYTES];
    char path[64];
    char line[2048];
    const char *group = find_line(machine, of_process(machine, "cgroup", path, sizeof(path)),
                                  "0::", line, sizeof(line));
    *narrowest = '\0';
    *ret_bytes = UINT64_MAX;
    (void)snprintf(directory, directory_bytes, "/sys/fs/cgroup%s", group ? group : "/");
    while (strlen(directory) >= strlen("/sys/fs/cgroup")) {
        char file[PATH_BYTES];
        uint64_t max_bytes = UINT64_MAX;
        (void)snprintf(file, sizeof(file), "%.3900s/memory.max", directory);
        if (read_number(machine, file, &max_bytes) && max_bytes < *ret_bytes) {
            *ret_bytes = max_bytes;
            (void)snprintf(narrowest, sizeof(narrowest), "%s",
                           directory + strlen("/sys/fs/cgroup"));
        }
        *strrchr(directory, '/') = '\0';
    }
    return *ret_bytes == UINT64_MAX ? "" : *narrowest ? narrowest : "/";
}

static void check_cgroup(const struct machine *machine, struct findings *findings)
{
    char directory[PATH_BYTES];
    uint64_t max_bytes = 0;
    const char *group = narrowest_group(machine, directory, sizeof(directory), &max_bytes);
    if (!*group) {
        (void)findings_add(findings, LEVEL_OK, "cgroup", "no memory.max limits kmemd");
        return;
    }
    const bool is_short = max_bytes < machine->segment_bytes;
    struct finding *finding = findings_add(
        findings, is_short ? LEVEL_FAIL : LEVEL_OK, "cgroup", "memory.max of %.512s is %s%s",
        format_escaped(group).text, format_bytes(max_bytes, false).text,
        is_short ? ", less than the segment: a client that uses the rest is killed" : "");
    if (is_short) {
        finding_fix(finding, "raise it (MemoryMax= of the unit), or lower --size of kmemd");
    }
}

/* ---------------------------------------------------------------------------------- limits ---- */

/* 4,096: descriptors for a thousand clients; the usual 1,024 are enough for 250. */
#define DESCRIPTORS_WANTED 4096

static void check_descriptors(const struct machine *machine, struct findings *findings)
{
    char path[64];
    char line[256];
    struct rlimit own = {0};
    const char *said = find_line(machine, of_process(machine, "limits", path, sizeof(path)),
                                 "Max open files", line, sizeof(line));
    char *end = NULL;
    uint64_t hard = 0;
    if (said) {
        (void)strtoull(said, &end, 10);
        hard = strtoull(end, NULL, 10); /* kmemd raises the soft one itself */
    } else if (getrlimit(RLIMIT_NOFILE, &own) == 0) {
        hard = own.rlim_max;
    }
    struct finding *finding =
        findings_add(findings, hard < DESCRIPTORS_WANTED ? LEVEL_WARN : LEVEL_OK, "RLIMIT_NOFILE",
                     "%s may be open: enough for some %s clients, four each",
                     format_count(hard).text, format_count(hard / 4).text);
    if (hard < DESCRIPTORS_WANTED) {
        finding_fix(finding, "LimitNOFILE=%d in the unit of kmemd, or ulimit -Hn",
                    DESCRIPTORS_WANTED);
    }
}

/* Which programs lock their memory is not to be seen from here: no more than what to do is said. */
static void check_locked(const struct machine *machine, struct findings *findings)
{
    struct rlimit own = {0};
    (void)getrlimit(RLIMIT_MEMLOCK, &own);
    if (own.rlim_cur == RLIM_INFINITY) {
        (void)findings_add(findings, LEVEL_OK, "RLIMIT_MEMLOCK", "memory may be locked");
        return;
    }
    struct finding *finding = findings_add(findings, LEVEL_OK, "RLIMIT_MEMLOCK",
                                           "%s may be locked by a program that is started here",
                                           format_bytes(own.rlim_cur, false).text);
    if (own.rlim_cur < machine->segment_bytes) {
        finding_fix(finding, "a program that calls mlockall(MCL_FUTURE) needs as much as the "
                             "segment: LimitMEMLOCK=, ulimit -l, or mlockall() after its first "
                             "allocation");
    }
}

/* --------------------------------------------------------------------------------- kernel ---- */

static void check_barrier(struct findings *findings)
{
    const long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);
    if (commands >= 0 && (commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED)) {
        (void)findings_add(findings, LEVEL_OK, "membarrier", "it is to be had");
        return;
    }
    struct finding *finding =
        findings_add(findings, LEVEL_WARN, "membarrier",
                     "the system denies it: what idle threads keep can not be taken back");
    finding_fix(finding, "let the sandbox (SystemCallFilter=, seccomp) allow membarrier()");
}

static void check_memfd(const struct machine *machine, struct findings *findings)
{
    uint64_t mode = 0;
    if (!read_number(machine, "/proc/sys/vm/memfd_noexec", &mode) || mode < 2) {
        (void)findings_add(findings, LEVEL_OK, "memfd", "memfd_create() is to be had");
        return;
    }
    struct finding *finding = findings_add(
        findings, LEVEL_FAIL, "memfd", "vm.memfd_noexec is 2: the kernel refuses kmemd's memory");
    finding_fix(finding, "sysctl vm.memfd_noexec=1");
}

static void check_ptrace(const struct machine *machine, struct findings *findings)
{
    uint64_t scope = 0;
    if (!read_number(machine, "/proc/sys/kernel/yama/ptrace_scope", &scope) || scope < 2) {
        (void)findings_add(findings, LEVEL_OK, "ptrace", "debuggers may attach to clients");
        return;
    }
    struct finding *finding = findings_add(
        findings, LEVEL_WARN, "ptrace",
        "kernel.yama.ptrace_scope is %" PRIu64 ": debuggers can not attach to clients", scope);
    finding_fix(finding, "run gdb as root, or sysctl kernel.yama.ptrace_scope=1; kmem needs "
                         "neither");
}

/* The options of /proc in mountinfo: "... - proc proc rw,hidepid=invisible". */
static void check_proc(const struct machine *machine, struct findings *findings)
{
    char path[PATH_BYTES];
    char line[2048];
    const char *hidden = NULL;
    (void)snprintf(path, sizeof(path), "%s/proc/self/mountinfo", machine->root);
    FILE *file = fopen(path, "re");
    if (!file) {
        struct finding *finding =
            findings_add(findings, LEVEL_FAIL, "proc", "/proc is not mounted, or not to be read");
        finding_fix(finding,
                    "mount -t proc proc /proc; without it kmemd can not tell who a client is");
        return;
    }
    while (!hidden && fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = '\0';
        hidden = strstr(line, " /proc ") ? strstr(line, "hidepid=") : NULL;
    }
    (void)fclose(file); /* only read */
    if (!hidden || strncmp(hidden, "hidepid=0", 9) == 0 ||
        strncmp(hidden, "hidepid=off", 11) == 0) {
        (void)findings_add(findings, LEVEL_OK, "proc", "processes see each other in /proc");
        return;
    }
    struct finding *finding =
        findings_add(findings, LEVEL_WARN, "proc",
                     "/proc is mounted with %.*s: kmemd can not see who other users' clients are",
                     (int)strcspn(hidden, ", "), hidden);
    finding_fix(finding, "mount it with gid= of a group that kmemd is in");
}

/* ------------------------------------------------------------------------------------- all ---- */

void machine_check(const struct machine *machine, struct findings *findings)
{
    check_memory(machine, findings);
    check_cgroup(machine, findings);
    check_overcommit(machine, findings);
    check_huge_pages(machine, findings);
    check_descriptors(machine, findings);
    check_locked(machine, findings);
    check_memfd(machine, findings);
    check_barrier(findings);
    check_proc(machine, findings);
    check_ptrace(machine, findings);
}
