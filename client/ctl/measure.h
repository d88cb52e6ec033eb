/* SPDX-License-Identifier: MIT */
/*
 * measure.h - sizes and ages as people write them, and as kmemctl prints them
 */
#ifndef CTL_MEASURE_H
#define CTL_MEASURE_H

#include <stdbool.h>
#include <stdint.h>

/**
 * measure_bytes() - "4096", "1,536", "64KiB", "1.5 MiB", "2G": units are powers of 1,024
 * Return: whether it is a size.
 */
bool measure_bytes(const char *text, uint64_t *ret_bytes);

/**
 * measure_age() - "90", in seconds, "500ms", "4.2 s", "2h30m", "9 d 03 h"
 * Return: whether it is an age.
 */
bool measure_age(const char *text, uint64_t *ret_ms);

/**
 * measure_permille() - what part of whole is, rounded; 0 if there is no whole
 *
 * At most 10^18: more than that is said by a server that is none.
 */
uint64_t measure_permille(double part, double whole);

#endif
