/* SPDX-License-Identifier: MIT */
/*
 * config_text.h - the text of one configuration file, applied to the options
 *
 *      size = 4GiB                             # to the end of the line; also // and slash-star
 *      members = {"alice", "@video"}
 *      budget "scratch/" { max = 64MiB, action = deny }
 *
 * A value may stand in quotes. Between settings may be commas. Nothing is read but the text.
 */
#ifndef DAEMON_CONFIG_TEXT_H
#define DAEMON_CONFIG_TEXT_H

#include "daemon/complaints.h"
#include "daemon/options.h"
#include "daemon/origins.h"
#include "daemon/settings.h"

/**
 * config_text_apply() - set what the text says
 * @path:     how the file is called in complaints and origins; borrowed by the latter
 * @origins:  NULL: they are not wanted
 *
 * Every wrong value, unknown and repeated key is a complaint, "PATH:LINE: key: why"; what is no
 * settings at all ends the reading. The options are of no use if there was one. Not for two
 * threads.
 */
void config_text_apply(const struct setting_table *table, const char *path, const char *text,
                       struct options *options, struct origins *origins,
                       struct complaints *complaints);

#endif
