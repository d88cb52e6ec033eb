/* SPDX-License-Identifier: MIT */
/*
 * test_ctl_machine.c - what the doctor says of machines that are well, and of others
 *
 * A machine is a directory with the files of /proc and /sys that are looked at. One that is well is
 * made, and then one file at a time is another.
 */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/ctl/machine.h"
#include "tests/unit/unit.h"

static char root[] = "/tmp/kmem-machine-XXXXXX";
static struct findings findings;
static struct machine machine = {
    .root = root, .daemon_pid = 77, .segment_bytes = UINT64_C(1) << 30};

#define SHMEM "/sys/kernel/mm/transparent_hugepage/shmem_enabled"
#define MOUNTS "/proc/self/mountinfo"
#define MEMORY "MemTotal:  8388608 kB\nCommitLimit:  4194304 kB\nCommitted_AS:  2097152 kB\n"

/* ---------------------------------------------------------------------------------- files ---- */

static void set(const char *path, const char *text)
{
    char whole[256];
    (void)snprintf(whole, sizeof(whole), "%s%s", root, path);
    for (char *slash = strchr(whole + strlen(root) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(whole, 0700); /* there, mostly */
        *slash = '/';
    }
    FILE *file = fopen(whole, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void make_well(void)
{
    set(SHMEM, "always within_size [advise] never deny force\n");
    set("/proc/meminfo", MEMORY);
    set("/proc/sys/vm/overcommit_memory", "0\n");
    set("/proc/sys/vm/memfd_noexec", "0\n");
    set("/proc/sys/kernel/yama/ptrace_scope", "1\n");
    set("/proc/77/cgroup", "0::/system.slice/kmemd.service\n");
    set("/proc/77/limits",
        "Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  524288  files\n");
    set("/sys/fs/cgroup/system.slice/kmemd.service/memory.max", "max\n");
    set("/sys/fs/cgroup/system.slice/memory.max", "max\n");
    set(MOUNTS, "22 1 0:21 / /proc rw,relatime - proc proc rw,hidepid=off\n");
}

static int set_up(void **state)
{
    return mkdtemp(root) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *there, int type, struct FTW *walk)
{
    return remove(path);
}

static int tear_down(void **state)
{
    return nftw(root, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* ------------------------------------------------------------------------------- findings ---- */

static const struct finding *finding_about(const char *about)
{
    findings = (struct findings){0};
    machine_check(&machine, &findings);
    for (size_t i = 0; i < findings.n_findings; i++) {
        if (strcmp(findings.findings[i].about, about) == 0) {
            return &findings.findings[i];
        }
    }
    return NULL;
}

static void assert_finding(const char *about, enum level level, const char *text, const char *fix)
{
    const struct finding *finding = finding_about(about);
    assert_non_null(finding);
    assert_int_equal(finding->level, level);
    assert_non_null(strstr(finding->text, text));
    assert_non_null(strstr(finding->fix, fix));
    assert_true((level == LEVEL_OK) || *finding->fix);
}

static void test_machine_that_is_well_has_no_warning(void **state)
{
    make_well();
    (void)finding_about("");
    assert_int_equal(findings.n_findings, 10);
    assert_int_equal(findings_worst(&findings), LEVEL_OK);
}

static void test_machine_without_huge_pages_for_shared_memory(void **state)
{
    make_well();
    set(SHMEM, "always within_size advise [never] deny force\n");
    assert_finding("huge pages", LEVEL_OK, "kmemd can make a segment of them", "");
    set(SHMEM, "always within_size advise never [deny] force\n");
    assert_finding("huge pages", LEVEL_WARN, "deny", "echo never > " SHMEM);
    set(SHMEM, "");
    assert_finding("huge pages", LEVEL_WARN, "no transparent huge pages", "CONFIG_");
}

static void test_machine_believes_the_daemon_about_huge_pages(void **state)
{
    const struct machine before = machine;
    make_well();
    set(SHMEM, "always within_size advise [never] deny force\n");
    machine.tells_huge = true;
    machine.resident_bytes = machine.segment_bytes;
    machine.huge_bytes = machine.segment_bytes;
    assert_finding("huge pages", LEVEL_OK, "of the segment are made of 2 MiB pages", "");
    machine.huge_bytes = 0;
    assert_finding("huge pages", LEVEL_WARN, "none of the segment", "Linux 6.1");
    machine.resident_bytes = 0;
    assert_finding("huge pages", LEVEL_OK, "--commit lazy", "");
    machine = before;
}

static void test_machine_that_reserves_all_memory(void **state)
{
    make_well();
    set("/proc/sys/vm/overcommit_memory", "2\n");
    assert_finding("overcommit", LEVEL_WARN, "2.0 GiB are left", "vm.overcommit_ratio");
    set("/proc/meminfo", "MemTotal: 8388608 kB\nCommitLimit: 10 kB\nCommitted_AS: 20 kB\n");
    assert_finding("overcommit", LEVEL_FAIL, "0 B are left", "vm.overcommit_ratio");
}

static void test_machine_with_less_memory_than_the_segment(void **state)
{
    make_well();
    set("/proc/meminfo", "MemTotal: 524288 kB\n");
    assert_finding("memory", LEVEL_WARN, "1.0 GiB, is larger than the memory, 512.0 MiB", "--size");
}

/* The narrowest on the way up counts. */
static void test_machine_whose_cgroup_is_too_narrow(void **state)
{
    make_well();
    set("/sys/fs/cgroup/system.slice/memory.max", "2147483648\n");
    assert_finding("cgroup", LEVEL_OK, "memory.max of /system.slice is 2.0 GiB", "");
    set("/sys/fs/cgroup/system.slice/memory.max", "536870912\n");
    assert_finding("cgroup", LEVEL_FAIL, "/system.slice is 512.0 MiB, less than the segment",
                   "MemoryMax=");
    set("/sys/fs/cgroup/system.slice/kmemd.service/memory.max", "1024\n");
    assert_finding("cgroup", LEVEL_FAIL, "/system.slice/kmemd.service is 1.0 KiB", "MemoryMax=");
}

static void test_machine_that_gives_few_descriptors(void **state)
{
    make_well();
    set("/proc/77/limits", "Max open files  1024  1024  files\n");
    assert_finding("RLIMIT_NOFILE", LEVEL_WARN, "1,024 may be open", "LimitNOFILE=4096");
}

static void test_machine_where_little_may_be_locked(void **state)
{
    struct rlimit limit;
    make_well();
    assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
    limit.rlim_cur = limit.rlim_max < 65536 ? limit.rlim_max : 65536;
    assert_int_equal(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    assert_finding("RLIMIT_MEMLOCK", LEVEL_OK, "KiB may be locked", "LimitMEMLOCK=");
}

static void test_machine_that_refuses_memfds(void **state)
{
    make_well();
    set("/proc/sys/vm/memfd_noexec", "2\n");
    assert_finding("memfd", LEVEL_FAIL, "vm.memfd_noexec is 2", "sysctl vm.memfd_noexec=1");
}

static void test_machine_that_hides_processes(void **state)
{
    make_well();
    set(MOUNTS, "22 1 0:21 / /proc rw - proc proc rw,gid=7,hidepid=invisible\n");
    assert_finding("proc", LEVEL_WARN, "hidepid=invisible", "gid=");
    set(MOUNTS, "22 1 0:21 / /other rw - proc proc rw,hidepid=2\n");
    assert_finding("proc", LEVEL_OK, "see each other", "");
}

static void test_machine_that_lets_no_debugger_attach(void **state)
{
    make_well();
    set("/proc/sys/kernel/yama/ptrace_scope", "3\n");
    assert_finding("ptrace", LEVEL_WARN, "ptrace_scope is 3", "run gdb as root");
}

/* Nothing that is looked for is there. */
static void test_machine_without_proc(void **state)
{
    const struct machine bare = {.root = "/nonexistent", .segment_bytes = 1};
    findings = (struct findings){0};
    machine_check(&bare, &findings);
    assert_int_equal(findings_count(&findings, LEVEL_FAIL), 1);
    assert_int_equal(findings_worst(&findings), LEVEL_FAIL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_machine_that_is_well_has_no_warning),
        cmocka_unit_test(test_machine_without_huge_pages_for_shared_memory),
        cmocka_unit_test(test_machine_believes_the_daemon_about_huge_pages),
        cmocka_unit_test(test_machine_that_reserves_all_memory),
        cmocka_unit_test(test_machine_with_less_memory_than_the_segment),
        cmocka_unit_test(test_machine_whose_cgroup_is_too_narrow),
        cmocka_unit_test(test_machine_that_gives_few_descriptors),
        cmocka_unit_test(test_machine_where_little_may_be_locked),
        cmocka_unit_test(test_machine_that_refuses_memfds),
        cmocka_unit_test(test_machine_that_hides_processes),
        cmocka_unit_test(test_machine_that_lets_no_debugger_attach),
        cmocka_unit_test(test_machine_without_proc),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
