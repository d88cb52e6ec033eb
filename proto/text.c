/* SPDX-License-Identifier: MIT */
/*
 * A reason comes from a program that may be broken or hostile, lives in the ledger, and ends on
 * somebody's terminal. Three steps keep it harmless, each at its own border:
 *
 *      client:  text_clean()    what the program gave becomes valid UTF-8 of bounded length
 *      daemon:  text_is_utf8()  what is not that is refused, never repaired
 *      output:  text_escape()   what a terminal would obey becomes visible
 *
 * The ledger keeps control characters as they are: they are valid text, and dropping them early
 * would make two reasons look like one.
 */
#include "proto/text.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------------------ characters ---- */

static bool is_continuation(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

/* Three bytes: not below U+0800 (overlong), no surrogate. */
static bool is_second_of_three(unsigned char first, unsigned char second)
{
    return is_continuation(second) && !(first == 0xE0 && second < 0xA0) &&
           !(first == 0xED && second > 0x9F);
}

/* Four bytes: not below U+10000 (overlong), not above U+10FFFF. */
static bool is_second_of_four(unsigned char first, unsigned char second)
{
    return is_continuation(second) && !(first == 0xF0 && second < 0x90) &&
           !(first == 0xF4 && second > 0x8F);
}

/*
 * Return: how many bytes the well-formed character at bytes has, 1 to 4; 0 if there is none, or if
 * it is NUL. Never looks past n_bytes, nor past a NUL.
 */
static size_t character_bytes(const unsigned char *bytes, size_t n_bytes)
{
    if (n_bytes == 0) {
        return 0;
    }
    unsigned char first = bytes[0];
    if (first < 0x80) {
        return first != 0;
    }
    if (first >= 0xC2 && first <= 0xDF) {
        return n_bytes >= 2 && is_continuation(bytes[1]) ? 2 : 0;
    }
    if (first >= 0xE0 && first <= 0xEF) {
        bool good =
            n_bytes >= 3 && is_second_of_three(first, bytes[1]) && is_continuation(bytes[2]);
        return good ? 3 : 0;
    }
    if (first >= 0xF0 && first <= 0xF4) {
        bool good = n_bytes >= 4 && is_second_of_four(first, bytes[1]) &&
                    is_continuation(bytes[2]) && is_continuation(bytes[3]);
        return good ? 4 : 0;
    }
    return 0;
}

/* How many bytes from the first on are ASCII, eight at a time: reasons mostly are, to the end. */
static size_t plain_bytes(const unsigned char *bytes, size_t n_bytes)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    size_t at = 0;
    for (uint64_t word; n_bytes - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&word, bytes + at, sizeof(word));
        if (((word | (word - ones)) & ones << 7) != 0) {
            break;
        }
    }
    return at;
}

bool text_is_utf8(const unsigned char *bytes, size_t n_bytes)
{
    size_t at = plain_bytes(bytes, n_bytes);
    while (at < n_bytes) {
        size_t length = character_bytes(bytes + at, n_bytes - at);
        if (length == 0) {
            return false;
        }
        at += length;
    }
    return true;
}

size_t text_clean(const char *text, char *buffer, size_t buffer_bytes)
{
    const unsigned char *from = (const unsigned char *)text;
    size_t written = plain_bytes(from, strnlen(text, buffer_bytes - 1));
    memcpy(buffer, text, written);
    from += written;
    while (*from != 0) {
        /* 4: the longest character; character_bytes() stops at the NUL by itself. */
        size_t length = character_bytes(from, 4);
        size_t wanted = length == 0 ? 1 : length;
        if (written + wanted >= buffer_bytes) {
            break;
        }
        if (length == 0) {
            buffer[written] = '?';
        } else {
            memcpy(buffer + written, from, length);
        }
        written += wanted;
        from += wanted;
    }
    buffer[written] = '\0';
    return written;
}

/* -------------------------------------------------------------------------------- escaping ---- */

/* "\u202e" */
#define ESCAPED_BYTES 6

static const char digits[] = "0123456789abcdef";

static size_t escape_byte(unsigned char byte, char *ret_escaped)
{
    ret_escaped[0] = '\\';
    ret_escaped[1] = 'x';
    ret_escaped[2] = digits[byte >> 4];
    ret_escaped[3] = digits[byte & 0x0F];
    return 4;
}

/* One of four digits. */
static size_t escape_character(uint32_t character, char *ret_escaped)
{
    ret_escaped[0] = '\\';
    ret_escaped[1] = 'u';
    for (unsigned i = 0; i < 4; i++) {
        ret_escaped[2 + i] = digits[character >> (12 - 4 * i) & 0x0F];
    }
    return ESCAPED_BYTES;
}

/* What a well-formed character of two or three bytes is; 0: it has more, or fewer. */
static uint32_t character_of(const unsigned char *from, size_t length)
{
    return length == 2   ? (from[0] & 0x1Fu) << 6 | (from[1] & 0x3Fu)
           : length == 3 ? (from[0] & 0x0Fu) << 12 | (from[1] & 0x3Fu) << 6 | (from[2] & 0x3Fu)
                         : 0;
}

/*
 * What takes no room, breaks lines or turns the direction of what follows: with it a reason looks
 * like another, or a line like one that it is not. The page of `kmemctl serve` has the same.
 */
static bool is_unseen(uint32_t character)
{
    return character == 0x061C || (character >= 0x200B && character <= 0x200F) ||
           (character >= 0x2028 && character <= 0x202E) ||
           (character >= 0x2060 && character <= 0x2069) || character == 0xFEFF;
}

static bool is_control(unsigned char byte)
{
    return byte < 0x20 || byte == 0x7F;
}

static bool is_plain(unsigned char byte)
{
    return byte >= ' ' && byte <= '~' && byte != '\\';
}

/* U+0080 to U+009F: a terminal obeys them as it obeys ESC. */
static bool is_c1(const unsigned char *character, size_t length)
{
    return length == 2 && character[0] == 0xC2 && character[1] < 0xA0;
}

/*
 * What the character at `from` (length bytes; 0: not UTF-8) looks like on a terminal.
 * Return: the bytes of it written to ret_shown, which has room for ESCAPED_BYTES.
 */
static size_t show_character(const unsigned char *from, size_t length, char *ret_shown)
{
    if (length == 0 || is_control(from[0])) {
        return escape_byte(from[0], ret_shown);
    }
    if (is_c1(from, length)) {
        return escape_byte(from[1], ret_shown);
    }
    if (is_unseen(character_of(from, length))) {
        return escape_character(character_of(from, length), ret_shown);
    }
    if (from[0] == '\\') {
        memcpy(ret_shown, "\\\\", 2);
        return 2;
    }
    memcpy(ret_shown, from, length);
    return length;
}

char *text_escape(const char *text, size_t n_bytes, char *buffer, size_t buffer_bytes)
{
    const unsigned char *from = (const unsigned char *)text;
    size_t written = 0;
    size_t at = 0;
    while (at < n_bytes) {
        if (is_plain(from[at]) && written + 1 < buffer_bytes) {
            buffer[written++] = text[at++]; /* most of a million rows */
            continue;
        }
        char shown[ESCAPED_BYTES];
        size_t length = character_bytes(from + at, n_bytes - at);
        size_t shown_bytes = show_character(from + at, length, shown);
        if (written + shown_bytes >= buffer_bytes) {
            break;
        }
        memcpy(buffer + written, shown, shown_bytes);
        written += shown_bytes;
        at += length == 0 ? 1 : length;
    }
    buffer[written] = '\0';
    return buffer;
}

void text_mute(char *text)
{
    unsigned char *at = (unsigned char *)text;
    while (*at != 0) {
        /* 4: the longest character; character_bytes() stops at the NUL by itself. */
        const size_t found = character_bytes(at, 4);
        const size_t length = found == 0 ? 1 : found;
        if (found == 0 || is_control(at[0]) || is_c1(at, length) ||
            is_unseen(character_of(at, length))) {
            memset(at, '?', length);
        }
        at += length;
    }
}

/* ----------------------------------------------------------------------------------- sizes ---- */

/* Tenths of 1024 to the power of unit, 1 to 6, rounded to the nearest. */
static uint64_t tenths_of(uint64_t num_bytes, unsigned int unit)
{
    const unsigned int shift = 10 * unit;
    const uint64_t whole = num_bytes >> shift;
    const uint64_t rest = num_bytes & ((UINT64_C(1) << shift) - 1);
    return whole * 10 + ((rest * 10 + (UINT64_C(1) << (shift - 1))) >> shift);
}

/* Return: behind the digits of a number below 10,000. */
static char *put_digits(char *text, uint32_t number)
{
    for (uint32_t unit = 1000; unit > 1; unit /= 10) {
        if (number >= unit) {
            *text++ = (char)('0' + number / unit % 10);
        }
    }
    *text++ = (char)('0' + number % 10);
    return text;
}

static char *copy_cut(const char *text, char *buffer, size_t buffer_bytes)
{
    if (buffer_bytes > 0) {
        const size_t n_bytes = strnlen(text, buffer_bytes - 1);
        memcpy(buffer, text, n_bytes);
        buffer[n_bytes] = '\0';
    }
    return buffer;
}

/* By hand: a million rows have a million sizes. */
char *text_format_bytes(uint64_t num_bytes, char *buffer, size_t buffer_bytes)
{
    static const char *const units[] = {" KiB", " MiB", " GiB", " TiB", " PiB", " EiB"};
    char text[TEXT_BYTES_MAX];
    if (num_bytes < 1024) {
        (void)stpcpy(put_digits(text, (uint32_t)num_bytes), " B");
        return copy_cut(text, buffer, buffer_bytes);
    }
    unsigned int unit = 1;
    uint64_t tenths = tenths_of(num_bytes, unit);
    /* Rounded first: 1024.0 KiB can not happen. */
    while (tenths >= 10240 && unit < sizeof(units) / sizeof(units[0])) {
        tenths = tenths_of(num_bytes, ++unit);
    }
    char *end = put_digits(text, (uint32_t)(tenths / 10));
    *end++ = '.';
    end = put_digits(end, (uint32_t)(tenths % 10));
    (void)stpcpy(end, units[unit - 1]);
    return copy_cut(text, buffer, buffer_bytes);
}

/* 6: a fraction of a TiB in millionths still fits 64 bits when it is multiplied out. */
#define FRACTION_DIGITS_MAX 6

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char to_lower(char c)
{
    return (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

/* Reads one or more digits at *at and moves it behind them. */
KMEM_MUST_USE static int parse_whole(const char **at, uint64_t *ret_whole)
{
    if (!is_digit(**at)) {
        return -EINVAL;
    }
    uint64_t whole = 0;
    bool fits = true;
    while (is_digit(**at)) {
        uint64_t digit = (uint64_t)(**at - '0');
        fits =
            fits && checked_mul(whole, UINT64_C(10), &whole) && checked_add(whole, digit, &whole);
        (*at)++;
    }
    *ret_whole = whole;
    return fits ? 0 : -ERANGE;
}

/* Reads ".5" at *at, if there is a point, as millionths. */
KMEM_MUST_USE static int parse_fraction(const char **at, uint64_t *ret_millionths)
{
    *ret_millionths = 0;
    if (**at != '.') {
        return 0;
    }
    (*at)++;
    uint64_t millionths = 0;
    unsigned int n_digits = 0;
    while (is_digit(**at) && n_digits < FRACTION_DIGITS_MAX) {
        millionths = millionths * 10 + (uint64_t)(**at - '0');
        n_digits++;
        (*at)++;
    }
    if (n_digits == 0) {
        return -EINVAL;
    }
    for (; n_digits < FRACTION_DIGITS_MAX; n_digits++) {
        millionths *= 10;
    }
    *ret_millionths = millionths;
    return 0;
}

/*
 * Reads "", "B", "K" or "KiB" and so on, spaces before it allowed; it must be all that is left.
 * Return: 0; -EINVAL if it is no unit.
 */
KMEM_MUST_USE static int parse_unit(const char *at, unsigned int *ret_shift)
{
    static const char letters[] = "kmgt";
    if (*at == '\0') {
        *ret_shift = 0;
        return 0;
    }
    at += strspn(at, " ");
    char first = to_lower(at[0]);
    if (first == 'b' && at[1] == '\0') {
        *ret_shift = 0;
        return 0;
    }
    const char *letter = strchr(letters, first);
    if (first == '\0' || letter == NULL) {
        return -EINVAL;
    }
    bool alone = at[1] == '\0';
    bool binary = to_lower(at[1]) == 'i' && to_lower(at[2]) == 'b' && at[3] == '\0';
    if (!alone && !binary) {
        return -EINVAL;
    }
    *ret_shift = 10 * (unsigned int)(letter - letters + 1);
    return 0;
}

int text_parse_bytes(const char *text, uint64_t *ret_num_bytes)
{
    const char *at = text;
    uint64_t whole;
    uint64_t millionths;
    unsigned int shift;
    int whole_r = parse_whole(&at, &whole);
    if (whole_r == -EINVAL || parse_fraction(&at, &millionths) != 0) {
        return -EINVAL;
    }
    if (parse_unit(at, &shift) != 0 || (millionths != 0 && shift == 0)) {
        return -EINVAL;
    }
    uint64_t unit = UINT64_C(1) << shift;
    uint64_t fraction_bytes = (millionths * unit) / UINT64_C(1000000);
    if (whole_r != 0 || !checked_mul(whole, unit, &whole) ||
        !checked_add(whole, fraction_bytes, &whole)) {
        return -ERANGE;
    }
    *ret_num_bytes = whole;
    return 0;
}
