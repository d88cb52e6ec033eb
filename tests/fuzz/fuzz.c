/* SPDX-License-Identifier: MIT */
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fuzz_fail(const char *file, int line, const char *condition)
{
    (void)fprintf(stderr, "%s:%d: not true: %s\n", file, line, condition);
    abort();
}

/* Of AddressSanitizer. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

size_t fuzz_taken_bytes(void)
{
    return __sanitizer_get_current_allocated_bytes ? __sanitizer_get_current_allocated_bytes() : 0;
}

uint64_t choose_raw(struct choices *choices, unsigned n_bytes)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < n_bytes; i++) {
        number |= (uint64_t)choose_byte(choices) << (8 * i);
    }
    return number;
}

uint64_t choose_number(struct choices *choices)
{
    const uint8_t which = choose_byte(choices);
    if (which < 64) {
        return which;
    }
    if (which == 64) {
        return choose_raw(choices, 8);
    }
    if (which == 65) {
        return choose_raw(choices, 2);
    }
    const uint64_t border = UINT64_C(1) << (which - 66) / 3 % 64;
    return border + (uint64_t)(which - 66) % 3 - 1;
}

size_t choose_bytes(struct choices *choices, void *ret_bytes, size_t most)
{
    const size_t n_left = (size_t)(choices->end - choices->at);
    size_t n_bytes = most < 256 ? choose_below(choices, (uint32_t)most + 1) : most;
    n_bytes = n_bytes < n_left ? n_bytes : (size_t)(choices->end - choices->at);
    if (n_bytes > 0) {
        memcpy(ret_bytes, choices->at, n_bytes);
    }
    choices->at += n_bytes;
    return n_bytes;
}

/* ------------------------------------------------------------------------------- safe text --- */

/*
 * The character at text as RFC 3629 defines it, written anew: what checks proto/text.c must not
 * share its mistakes. Return: its bytes, 0 if it is none.
 */
static size_t character_at(const unsigned char *text, size_t n_bytes, uint32_t *ret_character)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const size_t length = text[0] < 0x80             ? 1
                          : (text[0] & 0xE0) == 0xC0 ? 2
                          : (text[0] & 0xF0) == 0xE0 ? 3
                          : (text[0] & 0xF8) == 0xF0 ? 4
                                                     : 0;
    if (length == 0 || length > n_bytes) {
        return 0;
    }
    uint32_t character = length == 1 ? text[0] : text[0] & (0x7Fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xC0) != 0x80) {
            return 0;
        }
        character = character << 6 | (text[i] & 0x3Fu);
    }
    const bool is_surrogate = character >= 0xD800 && character <= 0xDFFF;
    *ret_character = character;
    return character < least[length] || character > 0x10FFFF || is_surrogate ? 0 : length;
}

static bool is_obeyed(uint32_t character)
{
    return character < 0x20 || (character >= 0x7F && character < 0xA0) ||
           (character >= 0x202A && character <= 0x202E) ||
           (character >= 0x2066 && character <= 0x2069);
}

bool fuzz_is_safe(const char *text, size_t n_bytes)
{
    const unsigned char *at = (const unsigned char *)text;
    const unsigned char *const end = at + n_bytes;
    while (at < end) {
        uint32_t character;
        const size_t length = character_at(at, (size_t)(end - at), &character);
        if (length == 0 || is_obeyed(character)) {
            return false;
        }
        at += length;
    }
    return true;
}
