/* SPDX-License-Identifier: MIT */
#include "client/heap/site.h"

void kmem__site_learn(struct kmem_site *site, const char *reason, uint64_t word, uint64_t epoch)
{
    const char *nobodys = NULL;
    /* Acquire and release: of two reasons one gets the site, and the other sees whose it is. */
    const bool is_first = __atomic_compare_exchange_n(&site->reason, &nobodys, reason, false,
                                                      __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    if (is_first || nobodys == reason) {
        KMEM_CHECK((word & SITE_EPOCH_MASK) == 0);
        /* Release: pairs with kmem__site_knows(). */
        __atomic_store_n(&site->word, word | epoch, __ATOMIC_RELEASE);
    }
}
