/* SPDX-License-Identifier: MIT */
#include "daemon/core/waits.h"

#include <stddef.h>

#include "proto/attributes.h"

void waits_add(struct waits *waits, struct wait *wait, uint32_t bell)
{
    struct wait **list = &waits->lists[bell % WAIT_LISTS];
    KMEM_ASSERT(wait->at == NULL);
    wait->bell = bell;
    wait->at = list;
    wait->next = *list;
    if (wait->next) {
        wait->next->at = &wait->next;
    }
    *list = wait;
    waits->n++;
}

void waits_remove(struct waits *waits, struct wait *wait)
{
    if (wait->at == NULL) {
        return;
    }
    *wait->at = wait->next;
    if (wait->next) {
        wait->next->at = wait->at;
    }
    wait->at = NULL;
    wait->next = NULL;
    waits->n--;
}

void waits_ring(struct waits *waits, uint32_t bell, waits_fn woken, void *user)
{
    struct wait *wait = waits->lists[bell % WAIT_LISTS];
    while (wait) {
        struct wait *next = wait->next;
        if (wait->bell == bell) {
            waits_remove(waits, wait);
            if (woken) {
                woken(wait, user);
            }
        }
        wait = next;
    }
}
