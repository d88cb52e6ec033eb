/* SPDX-License-Identifier: MIT */
#include "tests/crash/places.h"

#include <setjmp.h>
#include <string.h>

#include "proto/crash_point.h"
#include "proto/store.h"

static jmp_buf killed;
static uint32_t kill_at = PLACE_NEVER;
static uint32_t n_places;

static void place(void)
{
    if (n_places++ == kill_at) {
        kill_at = PLACE_NEVER;
        longjmp(killed, 1);
    }
}

void store_hook(void)
{
    place();
}

void store_prepare_bytes(void *where, const void *bytes, size_t n_bytes)
{
    const size_t half = n_bytes / 2;
    place();
    memcpy(where, bytes, half);
    place();
    memcpy((unsigned char *)where + half, (const unsigned char *)bytes + half, n_bytes - half);
}

#ifdef KMEM_CRASH_POINTS
void crash_point(const char *name)
{
    (void)name;
    place();
}
#endif

bool is_killed(uint32_t at, void (*perform)(void))
{
    n_places = 0;
    kill_at = at;
    if (setjmp(killed) != 0) {
        return true;
    }
    perform();
    kill_at = PLACE_NEVER;
    return false;
}
