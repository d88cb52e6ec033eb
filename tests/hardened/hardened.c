/* SPDX-License-Identifier: MIT */
/*
 * hardened.c - become kmemd, in the sandbox that kmemd@.service describes
 *
 *      hardened WORD...    as kmemd WORD...
 *
 * A service manager would start kmemd in that sandbox; a test has none, and wants to be the parent.
 * So the unit is read, and each of its lines done as systemd does it. A line that is not known here
 * ends the launcher: the unit and its double can not come to differ unnoticed.
 *
 * The program is $KMEM_LAUNCHED, or the kmemd of this build; the directory of its socket, which is
 * its own, $KMEM_LAUNCH_DIRECTORY, or that of --socket, or $XDG_RUNTIME_DIR. It has a user of its
 * own that no file belongs to but that directory.
 *
 * A test that has made itself another user already, or has taken its own rights, can not be given
 * mounts and a user; it gets everything else.
 */
#include "tests/hardened/hardened.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* No user or group of a Debian has it. */
#define OWN_ID 61183
#define N_LINES_MAX 128
#define LINE_BYTES 256

enum phase {
    PHASE_NONE, /* the service manager's part */
    PHASE_LIMITS,
    PHASE_MOUNTS,
    PHASE_NETWORK,
    PHASE_USER,
    PHASE_FILTERS,
};

struct rule {
    const char *key;
    const char *value; /* the only one that is known; NULL: any */
    enum phase phase;
    void (*apply)(const char *value);
};

void hardened_give_up(const char *what)
{
    (void)fprintf(stderr, "hardened: %s: %s\n", what, strerror(errno));
    _exit(HARDENED_FAILED);
}

/* ------------------------------------------------------------------------ small rules ---- */

static void limit_set(__rlimit_resource_t resource, const char *value)
{
    struct rlimit limit;
    const rlim_t wanted = strtoul(value, NULL, 10);
    if (getrlimit(resource, &limit) < 0) {
        hardened_give_up("getrlimit");
    }
    /* A test that has less wants it so. */
    if (limit.rlim_max > wanted) {
        limit = (struct rlimit){.rlim_cur = limit.rlim_cur < wanted ? limit.rlim_cur : wanted,
                                .rlim_max = wanted};
        (void)setrlimit(resource, &limit);
    }
}

static void limit_descriptors(const char *value)
{
    limit_set(RLIMIT_NOFILE, value);
}

static void limit_core(const char *value)
{
    limit_set(RLIMIT_CORE, value);
}

static void set_umask(const char *value)
{
    (void)umask((mode_t)strtoul(value, NULL, 8) | umask(0777));
}

static void no_network(const char *value)
{
    (void)value;
    if (unshare(CLONE_NEWNET) < 0) {
        hardened_give_up("a network of its own");
    }
}

/* Of the groups that the options name: an administrator gives such a unit SupplementaryGroups=. */
static gid_t more_groups[4];
static size_t n_more_groups;

static void groups_take(char **argv)
{
    for (; argv[0] != NULL && argv[1] != NULL && n_more_groups < 4; argv++) {
        if (strcmp(argv[0], "--group") == 0 || strcmp(argv[0], "--reader-group") == 0) {
            const struct group *const group = getgrnam(argv[1]);
            const gid_t number = (gid_t)strtoul(argv[1], NULL, 10);
            const gid_t more = group != NULL ? group->gr_gid : number;
            more_groups[n_more_groups] = more;
            n_more_groups += more != (gid_t)-1; /* that is nobody's, as kmemd is about to say */
        }
    }
}

/* Changed credentials make the kernel forget whose end is its end. */
static void become_own_user(const char *value)
{
    int signal_number = 0;
    (void)value;
    (void)prctl(PR_GET_PDEATHSIG, &signal_number);
    if (setgroups(n_more_groups, more_groups) < 0 || setresgid(OWN_ID, OWN_ID, OWN_ID) < 0 ||
        setresuid(OWN_ID, OWN_ID, OWN_ID) < 0) {
        hardened_give_up("a user of its own");
    }
    (void)prctl(PR_SET_PDEATHSIG, signal_number);
}

static void drop_capabilities(const char *value)
{
    (void)value;
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++) {
        if (prctl(PR_CAPBSET_DROP, capability) < 0) {
            hardened_give_up("PR_CAPBSET_DROP");
        }
    }
}

static void no_new_privileges(const char *value)
{
    (void)value;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
        hardened_give_up("PR_SET_NO_NEW_PRIVS");
    }
}

/* -------------------------------------------------------------------------- the rules ---- */

#define MANAGERS(key)                                                                              \
    {                                                                                              \
        key, NULL, PHASE_NONE, NULL                                                                \
    }

static const struct rule rules[] = {
    {"LimitNOFILE", NULL, PHASE_LIMITS, limit_descriptors},
    {"LimitCORE", NULL, PHASE_LIMITS, limit_core},
    {"UMask", NULL, PHASE_LIMITS, set_umask},
    {"ProtectSystem", "strict", PHASE_MOUNTS, mounts_read_only},
    {"PrivateTmp", "yes", PHASE_MOUNTS, mounts_private_tmp},
    {"ProtectHome", "yes", PHASE_MOUNTS, mounts_no_home},
    {"PrivateDevices", "yes", PHASE_MOUNTS, mounts_private_devices},
    {"ProtectKernelTunables", "yes", PHASE_MOUNTS, mounts_read_only_kernel},
    {"ProtectControlGroups", "yes", PHASE_MOUNTS, mounts_read_only_cgroups},
    {"PrivateNetwork", "yes", PHASE_NETWORK, no_network},
    {"CapabilityBoundingSet", "", PHASE_USER, drop_capabilities},
    {"User", "kmemd", PHASE_USER, become_own_user},
    {"NoNewPrivileges", "yes", PHASE_USER, no_new_privileges},
    {"LockPersonality", "yes", PHASE_FILTERS, filters_one_personality},
    {"MemoryDenyWriteExecute", "yes", PHASE_FILTERS, filters_no_written_code},
    {"PrivateDevices", "yes", PHASE_FILTERS, filters_no_raw_io},
    {"ProtectClock", "yes", PHASE_FILTERS, filters_no_clock},
    {"ProtectHostname", "yes", PHASE_FILTERS, filters_no_hostname},
    {"ProtectKernelLogs", "yes", PHASE_FILTERS, filters_no_log},
    {"ProtectKernelModules", "yes", PHASE_FILTERS, filters_no_modules},
    {"RestrictAddressFamilies", "AF_UNIX", PHASE_FILTERS, filters_only_unix},
    {"RestrictNamespaces", "yes", PHASE_FILTERS, filters_no_namespaces},
    {"RestrictRealtime", "yes", PHASE_FILTERS, filters_no_realtime},
    {"RestrictSUIDSGID", "yes", PHASE_FILTERS, filters_no_set_id},
    /* Other architectures have numbers of their own: seccomp(2) refuses them in every filter. */
    {"SystemCallArchitectures", "native", PHASE_FILTERS, NULL},
    {"SystemCallErrorNumber", NULL, PHASE_FILTERS, filters_error},
    {"SystemCallFilter", NULL, PHASE_FILTERS, filters_set},
    MANAGERS("Type"),
    MANAGERS("Environment"),
    MANAGERS("EnvironmentFile"),
    MANAGERS("ExecStart"),
    MANAGERS("ExecReload"),
    MANAGERS("Group"), /* with User */
    MANAGERS("RuntimeDirectory"),
    MANAGERS("RuntimeDirectoryMode"),
    MANAGERS("RuntimeDirectoryPreserve"),
    MANAGERS("Restart"),
    MANAGERS("RestartSec"),
    MANAGERS("RestartPreventExitStatus"),
    MANAGERS("KillMode"),
    MANAGERS("WatchdogSec"),
    MANAGERS("FileDescriptorStoreMax"),
    MANAGERS("MemorySwapMax"),
    MANAGERS("RemoveIPC"), /* at the end of its last process */
};
#define N_RULES (sizeof(rules) / sizeof(rules[0]))

static bool rule_is_of(const struct rule *rule, const char *key, const char *value)
{
    return strcmp(rule->key, key) == 0 && (rule->value == NULL || strcmp(rule->value, value) == 0);
}

/* --------------------------------------------------------------------------- the unit ---- */

/* The lines of its section [Service]: "KEY\0VALUE". */
static char lines[N_LINES_MAX][LINE_BYTES];
static const char *values[N_LINES_MAX];
static size_t n_lines;

static void line_check(const char *key, const char *value)
{
    for (size_t i = 0; i < N_RULES; i++) {
        if (rule_is_of(&rules[i], key, value)) {
            return;
        }
    }
    (void)fprintf(stderr,
                  "hardened: %s has %s=%s, which is not done here: give it a row in rules[] of "
                  "tests/hardened/hardened.c\n",
                  HARDENED_UNIT, key, value);
    _exit(HARDENED_FAILED);
}

static void line_take(char *line)
{
    char *const equals = strchr(line, '=');
    line[strcspn(line, "\n")] = '\0';
    if (line[0] == '#' || equals == NULL || n_lines == N_LINES_MAX) {
        return;
    }
    *equals = '\0';
    line_check(line, equals + 1);
    values[n_lines] = equals + 1;
    n_lines++;
}

static void unit_read(void)
{
    FILE *const file = fopen(HARDENED_UNIT, "re");
    bool is_service = false;
    if (file == NULL) {
        hardened_give_up(HARDENED_UNIT);
    }
    while (n_lines < N_LINES_MAX && fgets(lines[n_lines], LINE_BYTES, file) != NULL) {
        if (lines[n_lines][0] == '[') {
            is_service = strcmp(lines[n_lines], "[Service]\n") == 0;
        } else if (is_service) {
            line_take(lines[n_lines]);
        }
    }
    (void)fclose(file);
}

static void unit_apply(enum phase phase)
{
    for (size_t i = 0; i < N_RULES; i++) {
        for (size_t n = 0; n < n_lines; n++) {
            if (rules[i].phase == phase && rules[i].apply != NULL &&
                rule_is_of(&rules[i], lines[n], values[n])) {
                rules[i].apply(values[n]);
            }
        }
    }
}

/* --------------------------------------------------------------------------- becoming ---- */

static const char *directory_of_socket(char **argv)
{
    static char path[PATH_MAX];
    for (; *argv != NULL; argv++) {
        if (strcmp(argv[0], "--socket") == 0 && argv[1] != NULL) {
            (void)snprintf(path, sizeof(path), "%s", argv[1]);
            return dirname(path);
        }
    }
    return NULL;
}

/* As systemd gives a RuntimeDirectory= to the user of the unit. */
static void directory_give(const char *directory)
{
    struct stat status;
    if (directory != NULL && stat(directory, &status) == 0 && status.st_uid == 0 &&
        chown(directory, OWN_ID, OWN_ID) < 0) {
        hardened_give_up(directory);
    }
}

/* The one that is its own, and may hold others. Return: a path that the kernel would give it. */
static const char *directories_give(char **argv)
{
    static char path[PATH_MAX];
    const char *const given[] = {getenv("KMEM_LAUNCH_DIRECTORY"), directory_of_socket(argv),
                                 getenv("XDG_RUNTIME_DIR")};
    const char *const notified = getenv("NOTIFY_SOCKET");
    const char *first = NULL;
    if (notified != NULL && notified[0] == '/') {
        (void)chmod(notified, 0777); /* everybody may write to a service manager's */
    }
    for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++) {
        directory_give(given[i]);
        first = first != NULL ? first : given[i];
    }
    if (first == NULL || realpath(first, path) == NULL) {
        hardened_give_up("no directory for its socket");
    }
    return path;
}

static void sandbox_enter(char **argv)
{
    unit_apply(PHASE_LIMITS);
    if (geteuid() == 0) {
        mounts_take(directories_give(argv), HARDENED_PROGRAMS);
        unit_apply(PHASE_MOUNTS);
        mounts_give();
        unit_apply(PHASE_NETWORK);
        unit_apply(PHASE_USER);
    }
    no_new_privileges("yes");
    unit_apply(PHASE_FILTERS);
    filters_load();
}

int main(int argc, char **argv)
{
    const char *const launched = getenv("KMEM_LAUNCHED");
    const char *const program = launched != NULL ? launched : HARDENED_PROGRAMS "/bin/kmemd";
    char here[PATH_MAX];
    const unsigned int alarm_s = alarm(0); /* meant for kmemd */
    (void)argc;
    unit_read();
    groups_take(argv);
    if (getcwd(here, sizeof(here)) == NULL) {
        here[0] = '\0';
    }
    sandbox_enter(argv);
    (void)!chdir(here);
    (void)alarm(alarm_s);
    (void)unsetenv("KMEM_LAUNCHED");
    (void)unsetenv("KMEM_LAUNCH_DIRECTORY");
    (void)execv(program, argv);
    hardened_give_up(program);
}
