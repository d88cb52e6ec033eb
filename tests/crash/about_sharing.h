/* SPDX-License-Identifier: MIT */
/*
 * about_sharing.h - the requests that every_answer.c asks; every_store.c asks all others
 */
#ifndef TESTS_CRASH_ABOUT_SHARING_H
#define TESTS_CRASH_ABOUT_SHARING_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/kmem.pb-c.h"

static inline bool is_about_sharing(uint32_t request)
{
    switch (request) {
    case KMEM__REQUEST__BODY_SHARE:
    case KMEM__REQUEST__BODY_ATTACH:
    case KMEM__REQUEST__BODY_RELEASE_MANY:
    case KMEM__REQUEST__BODY_TRANSFER:
    case KMEM__REQUEST__BODY_PUBLISH:
    case KMEM__REQUEST__BODY_UNPUBLISH:
    case KMEM__REQUEST__BODY_NEXT:
        return true;
    default:
        return false;
    }
}

#endif
