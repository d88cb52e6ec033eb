/* SPDX-License-Identifier: MIT */
/*
 * segments.h - which segments there are
 */
#ifndef CTL_SEGMENTS_H
#define CTL_SEGMENTS_H

/** segments_hint() - after a daemon was not found: say on stderr which segments answer this user */
void segments_hint(void);

#endif
