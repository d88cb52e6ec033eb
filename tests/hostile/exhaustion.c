/* SPDX-License-Identifier: MIT */
/*
 * exhaustion.c - all that there is of something, and words that are no words
 *
 * What one user can get is bounded by the daemon's limits; the attacks take it all, and a little
 * more, in as many processes as they are let.
 */
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "tests/hostile/hostile.h"

#define N_PROCESSES 6
#define MIB (UINT64_C(1) << 20)

static void take_memory(void)
{
    const int fd = hostile_join(KMEM__ROLE__ROLE_MEMBER);
    static const uint64_t sizes[] = {MIB, 65536, 4096, 64};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]) && fd >= 0; i++) {
        for (uint64_t n = 0; n < many(100, 20000); n++) {
            if (hostile_allocate(fd, sizes[i], "all there is") == 0) {
                break;
            }
        }
    }
    for (uint64_t n = 0; n < many(300, 20000) && fd >= 0; n++) {
        (void)hostile_answer(fd, request_lease(NEW_REQUEST, 1, LEASE_MAX_PAGES));
        (void)hostile_allocate(fd, MIB >> n % 12, "what comes back to others");
    }
    (void)close(fd);
}

void attack_all_memory(void)
{
    hostile_crew(N_PROCESSES, take_memory);
}

static void take_shares(void)
{
    const int fd = hostile_join(KMEM__ROLE__ROLE_MEMBER);
    for (uint64_t n = 0; n < many(1500, 140000) && fd >= 0; n++) {
        struct request request;
        const uint64_t offset = hostile_allocate(fd, 16, "shared with nobody");
        (void)request_plain(&request, KMEM__REQUEST__BODY_SHARE);
        request.share.offset = offset;
        if (offset == 0 || hostile_answer(fd, &request.base) != ANSWER_OK) {
            break;
        }
    }
    (void)close(fd);
}

void attack_all_shares(void)
{
    hostile_crew(N_PROCESSES, take_shares);
}

static int publish(int fd, uint64_t offset, const char *name)
{
    struct request request;
    (void)request_plain(&request, KMEM__REQUEST__BODY_PUBLISH);
    request.publish.offset = offset;
    request.publish.name.data = (uint8_t *)(uintptr_t)name;
    request.publish.name.len = strlen(name);
    return hostile_answer(fd, &request.base);
}

static void take_names(void)
{
    const int fd = hostile_join(KMEM__ROLE__ROLE_MEMBER);
    const uint64_t offset = fd < 0 ? 0 : hostile_allocate(fd, 16, "named");
    for (uint64_t n = 0; n < many(1500, 40000) && offset != 0; n++) {
        char name[64];
        (void)snprintf(name, sizeof(name), "mine/%d/%llu", (int)getpid(), (unsigned long long)n);
        (void)publish(fd, offset, name); /* or there are no more: what others let go of is next */
    }
    (void)close(fd);
}

void attack_all_names(void)
{
    hostile_crew(N_PROCESSES, take_names);
}

static void take_reasons(void)
{
    const int fd = hostile_join(KMEM__ROLE__ROLE_MEMBER);
    for (uint64_t n = 0; n < many(1500, 70000) && fd >= 0; n++) {
        char reason[REASON_MAX_BYTES + 1];
        (void)snprintf(reason, sizeof(reason), "reason %d %llu", (int)getpid(),
                       (unsigned long long)n);
        const uint64_t offset = hostile_allocate(fd, 16, reason);
        if (offset != 0 && n % 4 == 0) { /* some live, some come and go */
            must(hostile_answer(fd, request_release(NEW_REQUEST, offset)) == ANSWER_OK);
        }
    }
    (void)close(fd);
}

void attack_all_reasons(void)
{
    hostile_crew(N_PROCESSES, take_reasons);
}

/* Colours, a title, the screen cleared, an answer typed for the reader; bytes that are no text. */
void attack_escapes(void)
{
    static const char backwards[] = {(char)0xe2, (char)0x80, (char)0xae, 'x', '\0'};
    static const char *const words[] = {"\x1b[31mred\x1b[2J", "\x1b]0;title\x07", "\x1b[6n\x9b",
                                        "two\nlines\rand \x7f", backwards};
    (void)prctl(PR_SET_NAME, "\x1b[31mhostile\x07");
    for (uint64_t n = 0; n < many(5, 500); n++) {
        const char *const word = words[n % 5];
        const int fd = hostile_join(KMEM__ROLE__ROLE_MEMBER);
        if (fd >= 0) {
            const uint64_t offset = hostile_allocate(fd, 1000, word);
            (void)publish(fd, offset, word);
            (void)hostile_answer(fd, request_allocate(NEW_REQUEST, UINT64_C(1) << 35, word,
                                                      strlen(word))); /* refused, and told */
            (void)close(fd);
        }
    }
}
