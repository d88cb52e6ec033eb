/* SPDX-License-Identifier: MIT */
/*
 * hash.h - a number for words that strangers choose
 */
#ifndef DAEMON_CORE_HASH_H
#define DAEMON_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

/**
 * hash_words() - where words belong in a hash table
 * @seed:  another for every segment: who finds words that meet in one bucket of a table has to
 *         begin anew with the next daemon
 */
uint32_t hash_words(uint64_t seed, const void *bytes, size_t n_bytes);

#endif
