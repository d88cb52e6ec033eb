/* SPDX-License-Identifier: MIT */
/*
 * A client is a process, as the kernel names it. Two things can not be seen from there: an exec,
 * after which the process is another program that knows nothing of the former one's blocks; and a
 * second copy of the library in one program (two plugins with libkmem.a inside, dlmopen()), which
 * knows nothing of the first one's. The library says which it is. A process that lies about it
 * confuses its own clients, no other's.
 *
 * The kernel hands each program 16 random bytes (AT_RANDOM). The C library makes its stack
 * protector's canary of them, so they must stay secret: they are the key under which SipHash-2-4
 * turns a label, or the address of a variable of this copy, into a number.
 */
#include "client/link/image.h"

#include <stddef.h>
#include <string.h>
#include <sys/auxv.h>

#define KEY_BYTES 16

struct sip {
    uint64_t v0;
    uint64_t v1;
    uint64_t v2;
    uint64_t v3;
};

static uint64_t rotate_left(uint64_t word, unsigned int n_bits)
{
    return word << n_bits | word >> (64 - n_bits);
}

static void sip_rounds(struct sip *sip, unsigned int n_rounds)
{
    for (; n_rounds > 0; n_rounds--) {
        sip->v0 += sip->v1;
        sip->v2 += sip->v3;
        sip->v1 = rotate_left(sip->v1, 13) ^ sip->v0;
        sip->v3 = rotate_left(sip->v3, 16) ^ sip->v2;
        sip->v0 = rotate_left(sip->v0, 32);
        sip->v2 += sip->v1;
        sip->v0 += sip->v3;
        sip->v1 = rotate_left(sip->v1, 17) ^ sip->v2;
        sip->v3 = rotate_left(sip->v3, 21) ^ sip->v0;
        sip->v2 = rotate_left(sip->v2, 32);
    }
}

/* Half of SipHash-2-4 of one word. The constants are its own. */
static uint32_t sip_hash(const unsigned char key[KEY_BYTES], uint64_t word)
{
    uint64_t k0;
    uint64_t k1;
    memcpy(&k0, key, sizeof(k0));
    memcpy(&k1, key + sizeof(k0), sizeof(k1));
    struct sip sip = {
        .v0 = k0 ^ UINT64_C(0x736f6d6570736575),
        .v1 = k1 ^ UINT64_C(0x646f72616e646f6d),
        .v2 = k0 ^ UINT64_C(0x6c7967656e657261),
        .v3 = k1 ^ UINT64_C(0x7465646279746573),
    };
    const uint64_t words[] = {word, (uint64_t)sizeof(word) << 56};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        sip.v3 ^= words[i];
        sip_rounds(&sip, 2);
        sip.v0 ^= words[i];
    }
    sip.v2 ^= 0xff;
    sip_rounds(&sip, 4);
    return (uint32_t)(sip.v0 ^ sip.v1 ^ sip.v2 ^ sip.v3);
}

struct image kmem__image(void)
{
    static const char of_this_copy;
    const unsigned char *key = (const unsigned char *)getauxval(AT_RANDOM);
    if (key == NULL) {
        return (struct image){.program = 0};
    }
    const uint32_t program = sip_hash(key, 0);
    return (struct image){
        .program = program != 0 ? program : 1,
        .copy = sip_hash(key, (uint64_t)(uintptr_t)&of_this_copy),
    };
}
