/* SPDX-License-Identifier: MIT */
#include "client/ctl/digits.h"

#include <string.h>

/* By hand: a million rows have ten million numbers. */
size_t digits_write(uint64_t number, char *ret_digits)
{
    char digits[DIGITS_MAX_BYTES];
    char *const end = digits + sizeof(digits) - 1;
    char *begin = end;
    *end = '\0';
    do {
        *--begin = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    memcpy(ret_digits, begin, (size_t)(end - begin) + 1);
    return (size_t)(end - begin);
}
