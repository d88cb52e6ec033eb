/* SPDX-License-Identifier: MIT */
/*
 * suggest.h - which command was meant by a word that is none
 */
#ifndef CTL_SUGGEST_H
#define CTL_SUGGEST_H

#include <stddef.h>

/**
 * suggest_distance() - how many typing mistakes lie between two words
 *
 * A mistake is a letter too many, too few, wrong, or changed over with its neighbour. Words longer
 * than SUGGEST_MAX_BYTES are as far apart as they are long.
 */
size_t suggest_distance(const char *typed, const char *meant);

/* No command is half as long. */
#define SUGGEST_MAX_BYTES 31

/* Two mistakes are typing; with three, "run" would be meant by half of all short words. */
#define SUGGEST_MAX_DISTANCE 2

#endif
