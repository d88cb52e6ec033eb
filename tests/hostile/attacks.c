/* SPDX-License-Identifier: MIT */
#include "tests/hostile/hostile.h"

const struct attack attacks[] = {
#define ATTACK(name, family, what) {#name, #family, what, attack_##name},
#include "tests/hostile/attacks.def"
#undef ATTACK
};

const size_t n_attacks = sizeof(attacks) / sizeof(attacks[0]);
