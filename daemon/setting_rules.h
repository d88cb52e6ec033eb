/* SPDX-License-Identifier: MIT */
/*
 * setting_rules.h - the sections user, unit and budget, and the quotas where they say nothing
 */
#ifndef DAEMON_SETTING_RULES_H
#define DAEMON_SETTING_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/setting.h"

/* Settings of the options. */
bool quota_parse(void *place, const char *text, char *ret_why);
bool quota_print(const void *place, uint32_t idx, char *ret_text);
bool quota_per_uid_parse(void *place, const char *text, char *ret_why);
bool quota_per_uid_print(const void *place, uint32_t idx, char *ret_text);
bool quota_per_unit_parse(void *place, const char *text, char *ret_why);
bool quota_per_unit_print(const void *place, uint32_t idx, char *ret_text);

/* Settings of a rule, and of a budget. */
extern const struct setting rule_settings[];
extern const struct setting budget_settings[];

/* What struct setting_section has of each. */
void *user_open(struct options *options, const char *title, char *ret_why);
const void *user_get(const struct options *options, uint32_t idx, const char **ret_title);
void *unit_open(struct options *options, const char *title, char *ret_why);
const void *unit_get(const struct options *options, uint32_t idx, const char **ret_title);
void *budget_open(struct options *options, const char *title, char *ret_why);
const void *budget_get(const struct options *options, uint32_t idx, const char **ret_title);

#endif
