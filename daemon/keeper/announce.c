/* SPDX-License-Identifier: MIT */
#include "daemon/keeper/announce.h"

#include <string.h>
#include <sys/wait.h>

#include "daemon/keeper/child.h"
#include "daemon/log.h"
#include "daemon/keeper/notify.h"
#include "proto/text.h"

void announce_ready(const struct options *options)
{
    char size[TEXT_BYTES_MAX];
    (void)text_format_bytes(options->segment_bytes, size, sizeof(size)); /* its buffer */
    const int r = log_print("kmemd: segment \"%s\" (%s) ready on %s", options->name, size,
                            options->socket_path);
    if (r) {
        log_warning("the line that says we are ready can not be written: %s", strerror(-r));
    }
    notify_ready("Serving segment \"%s\" (%s) on %s", options->name, size, options->socket_path);
}

void announce_options(const struct options *options)
{
    log_info("SIGHUP: the program may change, the options do not: what is other in a unit or a "
             "file by now is applied by a restart (kmemd --compare says what)");
    if (options->waiting_bytes > 0) {
        char waits[TEXT_BYTES_MAX];
        log_warning("SIGHUP: --size is not applied: %s wait for a start of kmemd when no client "
                    "lives in the segment",
                    text_format_bytes(options->waiting_bytes, waits, sizeof(waits)));
    }
}

void announce_safe_mode(const char *why, const char *exe_path)
{
    log_error("safe mode: %s. No server is started any more: nobody can join, and no request is "
              "answered; what clients have stays theirs. SIGHUP starts %s, SIGTERM ends it all",
              why, exe_path);
}

void announce_last_end(int status)
{
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        char how[128];
        log_warning("the last server %s: what clients held is not in this log",
                    child_describe_end(status, how, sizeof(how)));
    }
}
