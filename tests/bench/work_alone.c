/* SPDX-License-Identifier: MIT */
#include "tests/bench/work_malloc.h"

#include <stdlib.h>
#include <string.h>

/* Keeps the compiler from leaving a block out that nobody reads. */
static inline void *kept(void *block)
{
    __asm__ volatile("" : : "r"(block) : "memory");
    return block;
}

/* ------------------------------------------------------------------------------------ loop ---- */

uint64_t work_loop(uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        unsigned char *block = kept(malloc(16 + i % 8 * 16));
        block[0] = 1;
        free(kept(block));
    }
    return n;
}

/* ----------------------------------------------------------------------------------- cfrac ---- */

/*
 * The continued fraction of a square root, as factoring by continued fractions goes through it.
 * Each result of an operation is a new block, and each operand that is used up is released.
 */
struct number {
    uint32_t n_digits;
    uint32_t digits[];
};

static struct number *number_new(uint32_t n_digits)
{
    struct number *number = kept(malloc(sizeof(*number) + n_digits * sizeof(uint32_t)));
    number->n_digits = n_digits;
    return number;
}

static struct number *number_of(uint64_t value)
{
    struct number *number = number_new(value >> 32 != 0 ? 2 : 1);
    number->digits[0] = (uint32_t)value;
    if (number->n_digits == 2) {
        number->digits[1] = (uint32_t)(value >> 32);
    }
    return number;
}

static void number_trim(struct number *number)
{
    while (number->n_digits > 1 && number->digits[number->n_digits - 1] == 0) {
        number->n_digits--;
    }
}

/* a and b stay. */
static struct number *number_times(const struct number *a, const struct number *b)
{
    struct number *product = number_new(a->n_digits + b->n_digits);
    memset(product->digits, 0, product->n_digits * sizeof(uint32_t));
    for (uint32_t i = 0; i < a->n_digits; i++) {
        uint64_t carry = 0;
        for (uint32_t k = 0; k < b->n_digits; k++) {
            carry += (uint64_t)a->digits[i] * b->digits[k] + product->digits[i + k];
            product->digits[i + k] = (uint32_t)carry;
            carry >>= 32;
        }
        product->digits[i + b->n_digits] = (uint32_t)carry;
    }
    number_trim(product);
    return product;
}

/* a and b are used up. */
static struct number *number_plus(struct number *a, struct number *b)
{
    struct number *longer = a->n_digits >= b->n_digits ? a : b;
    const struct number *shorter = longer == a ? b : a;
    struct number *sum = number_new(longer->n_digits + 1);
    uint64_t carry = 0;
    for (uint32_t i = 0; i < longer->n_digits; i++) {
        carry += (uint64_t)longer->digits[i] + (i < shorter->n_digits ? shorter->digits[i] : 0);
        sum->digits[i] = (uint32_t)carry;
        carry >>= 32;
    }
    sum->digits[longer->n_digits] = (uint32_t)carry;
    number_trim(sum);
    free(a);
    free(b);
    return sum;
}

/* a is used up. */
static struct number *number_modulo(struct number *a, uint64_t modulus)
{
    __extension__ typedef unsigned __int128 wide;
    uint64_t rest = 0;
    for (uint32_t i = a->n_digits; i-- > 0;) {
        rest = (uint64_t)(((wide)rest << 32 | a->digits[i]) % modulus);
    }
    free(a);
    return number_of(rest);
}

uint64_t work_cfrac(uint64_t n)
{
    const uint64_t modulus = UINT64_C(1152921504606846883); /* below 2^60 */
    const uint64_t root = UINT64_C(1073741823);
    uint64_t p = 0;
    uint64_t q = 1;
    struct number *before = number_of(0);
    struct number *convergent = number_of(1);
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t quotient = (root + p) / q;
        p = quotient * q - p;
        const uint64_t next = (modulus - p * p) / q;
        q = next != 0 ? next : 1;
        struct number *factor = number_of(quotient);
        struct number *sum = number_plus(number_times(factor, convergent), before);
        free(factor);
        before = convergent;
        convergent = number_modulo(sum, modulus);
        struct number *square = number_modulo(number_times(convergent, convergent), modulus);
        free(square);
    }
    const uint64_t last = convergent->digits[0];
    free(before);
    free(convergent);
    return last;
}

/* -------------------------------------------------------------------------------- espresso ---- */

/*
 * Covers of cubes: a cube is a set of bits, and how many depends on the function that is minimized.
 * A step makes a cover of the intersections of two, and releases one that is older.
 */
#define COVERS_MAX 24

struct cover {
    uint32_t n_cubes;
    uint32_t n_words; /* of a cube */
    uint64_t **cubes;
};

static struct cover *cover_new(uint32_t n_words)
{
    struct cover *cover = kept(malloc(sizeof(*cover)));
    *cover = (struct cover){0, n_words, NULL};
    return cover;
}

static void cover_add(struct cover *cover, uint64_t *cube)
{
    if (cover->n_cubes % 8 == 0) {
        cover->cubes = realloc(cover->cubes, (cover->n_cubes + 8) * sizeof(uint64_t *));
    }
    cover->cubes[cover->n_cubes++] = cube;
}

static void cover_free(struct cover *cover)
{
    for (uint32_t i = 0; cover != NULL && i < cover->n_cubes; i++) {
        free(cover->cubes[i]);
    }
    if (cover != NULL) {
        free(cover->cubes);
    }
    free(cover);
}

static struct cover *cover_random(uint64_t *state)
{
    struct cover *cover = cover_new(1 + (uint32_t)(work_random(state) >> 32) % 24);
    const uint32_t n_cubes = 4 + (uint32_t)(work_random(state) >> 32) % 28;
    for (uint32_t i = 0; i < n_cubes; i++) {
        uint64_t *cube = kept(malloc(cover->n_words * sizeof(uint64_t)));
        for (uint32_t k = 0; k < cover->n_words; k++) {
            cube[k] = work_random(state);
        }
        cover_add(cover, cube);
    }
    return cover;
}

/* Return: those intersections of two cubes that have enough in common. */
static struct cover *cover_intersect(const struct cover *a, const struct cover *b)
{
    struct cover *both = cover_new(a->n_words < b->n_words ? a->n_words : b->n_words);
    for (uint32_t i = 0; i < a->n_cubes; i++) {
        uint64_t *cube = kept(malloc(both->n_words * sizeof(uint64_t)));
        uint32_t n_bits = 0;
        for (uint32_t k = 0; k < both->n_words; k++) {
            cube[k] = a->cubes[i][k] & b->cubes[i % b->n_cubes][k];
            n_bits += (uint32_t)__builtin_popcountll(cube[k]);
        }
        if (n_bits >= both->n_words * 16) {
            cover_add(both, cube);
        } else {
            free(cube);
        }
    }
    return both;
}

uint64_t work_espresso(uint64_t n)
{
    struct cover *covers[COVERS_MAX] = {NULL};
    uint64_t state = 20221122;
    uint64_t n_cubes = 0;
    for (uint32_t i = 0; i < COVERS_MAX; i++) {
        covers[i] = cover_random(&state);
    }
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t which = work_random(&state) >> 32;
        struct cover *both =
            cover_intersect(covers[which % COVERS_MAX], covers[which / 32 % COVERS_MAX]);
        n_cubes += both->n_cubes;
        cover_free(both);
        cover_free(covers[i % COVERS_MAX]);
        covers[i % COVERS_MAX] = cover_random(&state);
    }
    for (uint32_t i = 0; i < COVERS_MAX; i++) {
        cover_free(covers[i]);
    }
    return n_cubes;
}

/* ----------------------------------------------------------------------------------- slots ---- */

#define N_SLOTS 65536

uint64_t work_slots(uint64_t n)
{
    unsigned char **slots = calloc(N_SLOTS, sizeof(*slots));
    uint64_t state = 1;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t random = work_random(&state);
        unsigned char **slot = &slots[random % N_SLOTS];
        if (*slot != NULL) {
            sum += **slot;
            free(*slot);
            *slot = NULL;
            continue;
        }
        /* Twice as large is half as likely: 1 to 1,024 bytes and more. */
        const uint32_t log2 = (uint32_t)__builtin_ctzll(random >> 20 | 0x400);
        const size_t num_bytes = ((size_t)1 << log2) + (random >> 40) % ((size_t)1 << log2);
        *slot = kept(malloc(num_bytes));
        (*slot)[0] = (unsigned char)random;
        (*slot)[num_bytes - 1] = 1;
    }
    for (uint32_t i = 0; i < N_SLOTS; i++) {
        free(slots[i]);
    }
    free(slots);
    return sum;
}

/* --------------------------------------------------------------------------------- strings ---- */

#define N_STRINGS 256

/* Return: how many bytes a string was appended to. */
static size_t string_append(char **string, size_t *n_bytes, const char *word)
{
    const size_t n_more = strlen(word);
    *string = realloc(*string, *n_bytes + n_more + 1);
    memcpy(*string + *n_bytes, word, n_more + 1);
    *n_bytes += n_more;
    return *n_bytes;
}

uint64_t work_strings(uint64_t n)
{
    static const char *const words[] = {"a", "set", "of", "strings", "that", "grow, ", "word by "};
    char *strings[N_STRINGS] = {NULL};
    size_t n_bytes[N_STRINGS] = {0};
    uint64_t state = 7;
    uint64_t sum = 0;
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t random = work_random(&state) >> 32;
        const uint32_t at = (uint32_t)random % N_STRINGS;
        sum += string_append(&strings[at], &n_bytes[at], words[random / N_STRINGS % 7]);
        if (n_bytes[at] > 64 + random % 4096) {
            free(strings[at]);
            strings[at] = NULL;
            n_bytes[at] = 0;
        }
    }
    for (uint32_t i = 0; i < N_STRINGS; i++) {
        free(strings[i]);
    }
    return sum;
}
