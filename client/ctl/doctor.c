/* SPDX-License-Identifier: MIT */
/*
 * doctor.c - checks the daemon and the machine, and says the fix
 *
 * It goes on where another command would end: that no daemon answers is a finding, and the machine
 * is looked at all the same.
 */
#include "client/ctl/command.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/ctl/figures.h"
#include "client/ctl/findings.h"
#include "client/ctl/format.h"
#include "client/ctl/machine.h"
#include "client/ctl/status.h"
#include "client/ctl/target.h"

/* It opens a query itself: that there is none is an answer, too. */
bool doctor_asks(const struct options *options)
{
    (void)options;
    return false;
}

/* ----------------------------------------------------------------------------- the sockets ---- */

/* Where sockets are: what others could write into, they could put a socket of their own into. */
static void check_directory(const char *path, struct findings *findings)
{
    struct stat there;
    const struct escaped shown = format_escaped(path);
    if (stat(path, &there) < 0) {
        if (errno == EACCES) {
            struct finding *finding = findings_add(findings, LEVEL_FAIL, "sockets",
                                                   "%s may not be looked into", shown.text);
            finding_fix(finding, "ask its owner for access, or name a socket with --socket");
        }
        return; /* that there is none is no fault: there are several */
    }
    if ((there.st_mode & S_IWOTH) && !(there.st_mode & S_ISVTX)) {
        struct finding *finding = findings_add(
            findings, LEVEL_FAIL, "sockets",
            "%s is writable for everybody, who may put another socket there", shown.text);
        finding_fix(finding, "chmod o-w %s", shown.text);
    } else if (access(path, X_OK) < 0) {
        struct finding *finding =
            findings_add(findings, LEVEL_WARN, "sockets", "this user may not enter %s", shown.text);
        finding_fix(finding, "join the group that kmemd was started with: adduser USER GROUP");
    } else {
        (void)findings_add(findings, LEVEL_OK, "sockets", "%s is safe", shown.text);
    }
}

static void check_directories(struct findings *findings)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (runtime && *runtime) {
        char path[512];
        (void)snprintf(path, sizeof(path), "%s/kmemd", runtime);
        check_directory(path, findings);
    }
    check_directory("/run/kmemd", findings);
}

/* ------------------------------------------------------------------------------ the daemon ---- */

static void check_version(const struct figures *figures, struct findings *findings)
{
    const struct escaped version = format_escaped(figures->version);
    if (strcmp(figures->version, KMEM_VERSION) == 0) {
        (void)findings_add(findings, LEVEL_OK, "version", "kmemd and this kmemctl are both %s",
                           KMEM_VERSION);
        return;
    }
    struct finding *finding =
        findings_add(findings, LEVEL_WARN, "version", "kmemd is %s, and this kmemctl %s",
                     version.text, KMEM_VERSION);
    finding_fix(finding, "install both of one version; a new kmemd goes on with the segment");
}

static void found_no_daemon(int error, const char *sentence, struct findings *findings)
{
    const bool is_denied = target_status(error) == STATUS_NOT_PERMITTED;
    struct finding *finding =
        findings_add(findings, LEVEL_FAIL, "daemon", "%.700s",
                     format_escaped(*sentence ? sentence : strerror(-error)).text);
    finding_fix(finding, "%s",
                is_denied ? "join the group that kmemd was started with (kmemd --group)"
                          : "start one: kmemd, or systemctl start kmemd@default; \"kmemctl "
                            "segments\" says which there are");
}

/* Return: 0 or a negative errno; then it is a finding. */
static int ask_daemon(struct kmem_query *query, struct machine *machine, struct findings *findings)
{
    struct figures figures;
    int r = figures_init(&figures, query);
    if (r == 0) {
        (void)findings_add(findings, LEVEL_OK, "daemon",
                           "segment \"%s\" answers: kmemd, pid %" PRIu32,
                           format_escaped(figures.segment_name).text, figures.pid);
        machine->daemon_pid = figures.pid;
        machine->segment_bytes = figures_get(&figures, "segment_bytes");
        machine->tells_huge = figures_has(&figures, "huge_bytes");
        machine->huge_bytes = figures_get(&figures, "huge_bytes");
        machine->resident_bytes = figures_get(&figures, "resident_bytes");
        check_version(&figures, findings);
    } else {
        found_no_daemon(r, kmem_query_error(query), findings);
    }
    figures_fini(&figures);
    return r;
}

static void check_daemon(const struct options *options, struct machine *machine,
                         struct findings *findings)
{
    struct kmem_query *query = NULL;
    int r = target_open(options, &query);
    if (r < 0) {
        found_no_daemon(r, target_sentence(kmem_last_error()), findings);
        return;
    }
    (void)ask_daemon(query, machine, findings);
    kmem_query_close(query);
}

/* --------------------------------------------------------------------------------- showing ---- */

static int print(const struct findings *findings, const struct options *options,
                 const struct screen *screen)
{
    struct json_row row;
    const enum level worst = findings_worst(findings);
    if (options->format == FORMAT_JSON || options->format == FORMAT_JSONL) {
        json_row_init(&row);
        json_row_bool(&row, "well", worst < LEVEL_FAIL);
        findings_json(findings, LEVEL_OK, "checks", &row);
        return json_row_print(&row, screen->file);
    }
    findings_print(findings, LEVEL_OK, screen);
    const size_t n_fails = findings_count(findings, LEVEL_FAIL);
    const size_t n_warns = findings_count(findings, LEVEL_WARN);
    (void)fprintf(screen->file, "\n%zu %s, %zu failed, %zu %s\n", findings->n_findings,
                  findings->n_findings == 1 ? "check" : "checks", n_fails, n_warns,
                  n_warns == 1 ? "warning" : "warnings");
    return 0;
}

int doctor_show(struct kmem_query *query, const struct options *options,
                const struct screen *screen)
{
    struct machine machine = {.root = ""};
    struct findings *findings = calloc(1, sizeof(*findings)); /* 100 KiB: not on a stack */
    (void)query;
    if (!findings) {
        return -ENOMEM;
    }
    check_daemon(options, &machine, findings);
    check_directories(findings);
    machine_check(&machine, findings);
    int r = print(findings, options, screen);
    if (r == 0 && findings_worst(findings) == LEVEL_FAIL) {
        r = STATUS_ERROR;
    }
    free(findings);
    return r;
}
