/* SPDX-License-Identifier: MIT */
/*
 * config_kept.h - the configuration that is in force, in a memfd
 *
 * The keeper holds it and every server is handed it: a server that follows a killed one has the
 * settings that were in force, whatever stands in the files at that moment, half written perhaps.
 * In it are the texts that were read, with their paths, and not what they mean: a program of
 * another version reads them by its own settings, and so do complaints and origins.
 */
#ifndef DAEMON_CONFIG_KEPT_H
#define DAEMON_CONFIG_KEPT_H

#include "daemon/config.h"
#include "daemon/options.h"

/** config_kept_open() - write it to a new memfd. Return: the descriptor or a negative errno. */
KMEM_MUST_USE int config_kept_open(const struct config *config, const char *name);

/** config_kept_read() - read it into an empty config. Return: 0 or a negative errno. */
KMEM_MUST_USE int config_kept_read(int fd, struct config *ret_config);

/** config_kept_fix() - from now on, those of these options that wait for a restart are in force
 * Return: 0 or -ENOMEM. */
KMEM_MUST_USE int config_kept_fix(struct config *config, const struct options *options);

/** config_kept_renew() - fresh has read the files anew; what waits stays as config has it
 * Return: 0 or -ENOMEM. */
KMEM_MUST_USE int config_kept_renew(struct config *fresh, const struct config *config);

#endif
