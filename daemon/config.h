/* SPDX-License-Identifier: MIT */
/*
 * config.h - the configuration files of a segment: which there are, and what they say
 *
 *      --default KEY=VALUE                  the command line's, each as a file of that line
 *      DIR/conf.d/(anything).conf           all segments, by name
 *      DIR/NAME.conf
 *      DIR/NAME.conf.d/(anything).conf      by name
 *
 * What is read later overrides what was read before; all other options override them all. DIR is
 * /etc/kmemd; of a user's own daemon, that has a runtime directory of its user's and is not root's,
 * it is $XDG_CONFIG_HOME/kmemd or ~/.config/kmemd, and /etc/kmemd is not read: what is written
 * there is meant for the machine's segments, whose groups and sizes a user may not have.
 */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include <stdint.h>

#include "daemon/complaints.h"
#include "daemon/options.h"
#include "daemon/origins.h"
#include "daemon/settings.h"
#include "proto/attributes.h"

/* 1 MiB: a thousand sections; more is no configuration but another file. */
#define CONFIG_FILE_MAX_BYTES (1u << 20)

/* In the place of a path: a line of the command line's. */
#define CONFIG_DEFAULT "--default"

struct config_file {
    char *path; /* or CONFIG_DEFAULT */
    char *text;
};

struct config {
    struct config_file *files; /* in the order in which they are applied */
    uint32_t n_files;
    char *fixed; /* settings that are in force whatever the files say by now; NULL: none */
};

/** config_fini() - forget the files; the config may be used again */
void config_fini(struct config *config);

/** config_add() - one more file. Ownership: its strings are copied. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int config_add(struct config *config, const char *path, const char *text);

/**
 * config_read() - read all files that there are for a segment, after what the config has
 * @only_path:  this file instead, which must be there; NULL: those above
 *
 * A file that can not be read, or that others may write, is a complaint.
 */
void config_read(struct config *config, const char *name, const char *only_path,
                 struct complaints *complaints);

/** config_apply() - set what they say; origins, or NULL, borrow their paths */
void config_apply(const struct config *config, const struct setting_table *table,
                  struct options *options, struct origins *origins, struct complaints *complaints);

/** config_directory() - DIR. Return: buffer. */
const char *config_directory(char *buffer, size_t buffer_bytes);

#endif
