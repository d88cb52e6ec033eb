/* SPDX-License-Identifier: MIT */
/*
 * segment_files.h - the segment's files: made when kmemd starts, or gone on with if they were kept
 *
 * What is wrong is logged here. A status is the process's exit status.
 */
#ifndef DAEMON_SEGMENT_FILES_H
#define DAEMON_SEGMENT_FILES_H

#include <stdbool.h>

#include "daemon/inherited_fds.h"
#include "daemon/options.h"
#include "proto/attributes.h"

/**
 * segment_files_check_limits() - whether the limits allow the largest
 *
 * Where they do not allow what nothing was said of, the segment can not grow. Return: 0 or a
 * status.
 */
KMEM_MUST_USE int segment_files_check_limits(struct options *options);

/**
 * segment_files_are_kept() - whether there is a segment to go on with
 *
 * One of another size than what is wanted, in which no client lives, is given up. Return: false:
 * there is nothing but the listener then.
 */
KMEM_MUST_USE bool segment_files_are_kept(struct inherited_fds *files,
                                          const struct options *options);

/**
 * segment_files_make() - make the segment and what belongs to it
 * @signal_fd:  while the segment's memory is taken, a signal ends that
 * Return: 0, -ECANCELED for a signal, or the process's exit status.
 */
KMEM_MUST_USE int segment_files_make(struct inherited_fds *files, const struct options *options,
                                     int signal_fd);

/** segment_files_adopt() - go on with what was kept. Return: 0 or the process's exit status. */
KMEM_MUST_USE int segment_files_adopt(const struct inherited_fds *files, struct options *options);

/** segment_files_adopt_size() - take its size, whatever was asked for. Return: likewise. */
KMEM_MUST_USE int segment_files_adopt_size(const struct inherited_fds *files,
                                           struct options *options);

#endif
