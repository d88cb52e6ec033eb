/* SPDX-License-Identifier: MIT */
#include "tests/unit/broken.h"

#include <stddef.h>

#include "proto/attributes.h"

jmp_buf broken_to;
bool broken_expected;
const char *broken_condition;

KMEM_NORETURN void __real_invariant_broken(const char *condition, const char *file, int line);
KMEM_NORETURN void __wrap_invariant_broken(const char *condition, const char *file, int line);
void __wrap_invariant_broken(const char *condition, const char *file, int line)
{
    if (!broken_expected) {
        __real_invariant_broken(condition, file, line);
    }
    broken_condition = condition;
    longjmp(broken_to, 1);
}
