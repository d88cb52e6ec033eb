/* SPDX-License-Identifier: MIT */
/*
 * statistic.h - one figure of a report of the usage
 */
#ifndef TESTS_UNIT_STATISTIC_H
#define TESTS_UNIT_STATISTIC_H

#include <string.h>

#include "proto/kmem.pb-c.h"
#include "tests/unit/unit.h"

/** statistic_of() - by its name, which must be there */
static inline uint64_t statistic_of(const Kmem__UsageReport *report, const char *name)
{
    for (size_t i = 0; i < report->n_statistics; i++) {
        if (strcmp(report->statistics[i]->name, name) == 0) {
            return report->statistics[i]->value;
        }
    }
    fail_msg("no statistic %s", name);
    return 0;
}

#endif
