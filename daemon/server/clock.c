/* SPDX-License-Identifier: MIT */
#include "daemon/server/clock.h"

#include <time.h>

#include "daemon/core/counted.h"
#include "daemon/core/queue.h"
#include "daemon/core/sampler.h"
#include "daemon/core/tick.h"
#include "daemon/log.h"
#include "daemon/server/loop.h"
#include "proto/text.h"

static void clock_tick(void *user)
{
    struct clock *clock = user;
    struct core *core = clock->core;
    const struct now now = loop_now();
    shortage_tick(&core->shortage);
    core_tick_changes(core, now.ms);
    queue_tick(core);
    client_files_set_budgets(clock->ledgers, core->budgets.generation);
    client_files_set_spare(clock->ledgers, core->shortage.n_spare_pages);
    client_files_set_tick(clock->ledgers, core_tick(core, now.ms));
    history_note_peak(&core->history, counted_note_peaks(&core->clients, core->state.counters));
    sampler_tick(core, now);
    if (sampler_has_work(core)) {
        clock->work(clock->user);
    }
    if (core->clients.n_live == 0 && !sampler_is_due(core)) {
        alarm_stop(&clock->alarm);
    }
}

int clock_open(struct clock *clock, uv_loop_t *loop)
{
    return alarm_open(&clock->alarm, loop, clock_tick, clock);
}

void clock_start(struct clock *clock)
{
    if (!alarm_is_set(&clock->alarm)) {
        clock_tick(clock);
        alarm_set(&clock->alarm, TICK_MS, TICK_MS);
    }
}

void clock_close(struct clock *clock)
{
    alarm_close(&clock->alarm);
}

bool clock_has_work(const struct clock *clock)
{
    return sampler_has_work(clock->core);
}

/* What this thread took of the processor: on a busy machine a step lasts longer than it costs. */
static uint64_t processor_us(void)
{
    struct timespec time;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time); /* it can not fail */
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

/* Budgets that warn, which more than they have has been seen of. */
static void tell_exceeded(const struct budgets *budgets, uint32_t exceeded)
{
    for (; exceeded != 0; exceeded &= exceeded - 1) {
        const uint32_t budget = (uint32_t)__builtin_ctz(exceeded);
        const struct rules_budget *rule = &budgets->rules->budgets[budget];
        const struct journal_about about = {
            .reason = rule->pattern, .has_bytes = true, .num_bytes = budget_bytes(budgets, budget)};
        char used[TEXT_BYTES_MAX];
        char most[TEXT_BYTES_MAX];
        log_write_about(LOG_LEVEL_WARNING, &about,
                        "budget \"%s\" is exceeded: blocks with such reasons have %s of %s; see "
                        "kmemctl usage --by reason",
                        rule->pattern, text_format_bytes(about.num_bytes, used, sizeof(used)),
                        text_format_bytes(rule->max_bytes, most, sizeof(most)));
    }
}

void clock_step(struct clock *clock)
{
    const uint64_t began_us = processor_us();
    tell_exceeded(&clock->core->budgets, sampler_work(clock->core, loop_now()));
    sampler_worked(clock->core, processor_us() - began_us, loop_now());
}
