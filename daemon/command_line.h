/* SPDX-License-Identifier: MIT */
/*
 * command_line.h - the options of a daemon, from its configuration files and its command line
 */
#ifndef DAEMON_COMMAND_LINE_H
#define DAEMON_COMMAND_LINE_H

#include "daemon/complaints.h"
#include "daemon/config.h"
#include "daemon/options.h"
#include "daemon/origins.h"

/** command_line_read_files() - the files that are meant: those that there are, or --config */
void command_line_read_files(struct config *config, int argc, char **argv,
                             struct complaints *complaints);

/**
 * command_line_read() - the defaults, then what the files say, then what the command line says
 * @config:   the files that were read
 * @origins:  NULL: they are not wanted; else they borrow from config
 *
 * --help, --version and an option that is none end the process, as argp(3) does. The options are of
 * no use if there is a complaint.
 */
void command_line_read(struct options *options, int argc, char **argv, const struct config *config,
                       struct origins *origins, struct complaints *complaints);

/**
 * command_line_parse() - the same, for a process that begins: exits if there is a complaint
 * @complaints:  said so far, of the files; the status is EXIT_USAGE
 */
void command_line_parse(struct options *options, int argc, char **argv, const struct config *config,
                        struct complaints *complaints);

/** command_line_complain() - a complaint to standard error, for a person */
void command_line_complain(const char *sentence, void *user);

/** command_line_log() - likewise, to the log */
void command_line_log(const char *sentence, void *user);

#endif
