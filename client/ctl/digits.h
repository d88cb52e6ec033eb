/* SPDX-License-Identifier: MIT */
/*
 * digits.h - a number as a program reads it
 */
#ifndef CTL_DIGITS_H
#define CTL_DIGITS_H

#include <stddef.h>
#include <stdint.h>

/* 2^64, and the NUL. */
#define DIGITS_MAX_BYTES 21

/** digits_write() - "1234567", into DIGITS_MAX_BYTES. Return: how many digits. */
size_t digits_write(uint64_t number, char *ret_digits);

#endif
