/* SPDX-License-Identifier: MIT */
#include "daemon/server/obituary_log.h"

#include "daemon/log.h"
#include "daemon/core/report.h"
#include "proto/text.h"

#define SECOND_MS 1000

void obituary_log_init(struct obituary_log *log, uv_loop_t *loop)
{
    *log = (struct obituary_log){.n_written = 0};
    (void)uv_timer_init(loop, &log->second); /* always 0 */
    log->second.data = log;
}

static void rest_write(const struct obituary_log *log)
{
    if (log->n_more == 0) {
        return;
    }
    char size[TEXT_BYTES_MAX];
    log_info("%u more client%s %s; they had not released %s in %llu block%s", log->n_more,
             log->n_more == 1 ? "" : "s",
             log->outlived ? "lost the segment" : "ended within a second",
             text_format_bytes(log->num_bytes, size, sizeof(size)),
             (unsigned long long)log->n_blocks, log->n_blocks == 1 ? "" : "s");
}

static void log_begin(struct obituary_log *log)
{
    rest_write(log);
    log->n_written = 0;
    log->n_more = 0;
    log->n_blocks = 0;
    log->num_bytes = 0;
}

static void second_over(uv_timer_t *second)
{
    struct obituary_log *log = second->data;
    log_begin(log);
}

void obituary_log_outlive(struct obituary_log *log, const struct core *core)
{
    char all[TEXT_BYTES_MAX];
    char direct[TEXT_BYTES_MAX];
    char leased[TEXT_BYTES_MAX];
    const uint32_t n_clients = core->clients.n_live;
    log_begin(log);
    log->outlived = true;
    if (n_clients == 0) {
        return;
    }
    const struct held held = report_held(core);
    log_info("ending with %u client%s in the segment: %s%llu block%s, %s (%s direct, %s leased)",
             n_clients, n_clients == 1 ? "" : "s", held.is_all ? "" : "at least ",
             (unsigned long long)held.n_blocks, held.n_blocks == 1 ? "" : "s",
             text_format_bytes(held.direct_bytes + held.leased_bytes, all, sizeof(all)),
             text_format_bytes(held.direct_bytes, direct, sizeof(direct)),
             text_format_bytes(held.leased_bytes, leased, sizeof(leased)));
}

void obituary_log_add(struct obituary_log *log, const struct obituary *obituary)
{
    if (!uv_is_active((uv_handle_t *)&log->second)) {
        (void)uv_timer_start(&log->second, second_over, SECOND_MS, 0); /* it is not closing */
    }
    if (log->n_written == OBITUARIES_LOGGED) {
        log->n_more++;
        log->n_blocks += obituary->n_blocks;
        log->num_bytes += obituary->num_bytes;
        return;
    }
    char line[5120];
    const struct journal_about about = {
        .client_pid = obituary->identity.pid,
        .reason = obituary->n_rows > 0 ? obituary->rows[0].reason : NULL,
        .has_bytes = true,
        .num_bytes = obituary->num_bytes,
    };
    log->n_written++;
    log_write_about(LOG_LEVEL_INFO, &about, "%s",
                    obituary_format(obituary, log->outlived, line, sizeof(line)));
}

void obituary_log_close(struct obituary_log *log)
{
    rest_write(log);
    uv_close((uv_handle_t *)&log->second, NULL);
}
