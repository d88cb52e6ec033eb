/* SPDX-License-Identifier: MIT */
#include "tests/system/blocks.h"
#include "tests/system/workload.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <kmem/share.h>

#include "tests/system/client.h"
#include "tests/system/harness.h"
#include "tests/wire/wire.h"

static void misuse(unsigned char **kept)
{
    static unsigned char elsewhere;
    unsigned char *leased = kept[KEPT_BLOCKS - 1];
    unsigned char *direct = kept[0];
    size_t num_bytes;
    void *wrong = leased + 1;
    expect_equal(kmem_try_release(&wrong), -EINVAL); /* by the library */
    expect_equal(kmem_try_sizeof(wrong, &num_bytes), -EINVAL);
    wrong = &elsewhere;
    expect_equal(kmem_try_release(&wrong), -EINVAL);
    release(leased);
    wrong = leased;
    expect_equal(kmem_try_release(&wrong), -EALREADY);
    wrong = direct + 1;
    expect_equal(kmem_try_release(&wrong), -EINVAL); /* by the server */
    release(direct);
    wrong = direct;
    expect_equal(kmem_try_release(&wrong), -EALREADY);
}

static void want_too_much(void)
{
    expect_true(kmem_try_allocate(SEGMENT_BYTES + 1, "figures/too large") == NULL);
    expect_true(kmem_try_allocate(0, "figures/nothing") == NULL);
    expect_true(kmem_try_allocate(QUOTA_BYTES, "figures/over quota") == NULL);
    expect_equal(errno, ENOMEM);
}

void workload_work(const void *argument)
{
    static unsigned char *kept[KEPT_BLOCKS];
    (void)argument;
    for (size_t i = 0; i < KEPT_BLOCKS; i++) {
        kept[i] = allocate(KEPT_BYTES, "figures/kept");
    }
    for (size_t i = 0; i < PAIRS; i++) {
        release(allocate(PAIR_BYTES, "figures/pair"));
    }
    for (size_t i = 0; i < LARGE_BLOCKS; i++) {
        (void)allocate(LARGE_BYTES, "figures/large");
    }
    client_pause();
    misuse(kept);
    want_too_much();
    client_say(2);
    (void)client_await();
    /* There is no room for it. */
    expect_true(kmem_try_allocate(4 * MIB, "figures/no room") == NULL);
    expect_equal(errno, ENOMEM);
    client_say(3);
    (void)client_await();
}

void workload_hold_big(const void *argument)
{
    (void)argument;
    Kmem__ErrorCode error;
    const int fd = wire_member();
    (void)wire_allocate(fd, BIG_BYTES, "figures/big#1");
    (void)wire_try_lease(fd, QUOTA_BYTES / PAGE_BYTES, QUOTA_BYTES / PAGE_BYTES, &error);
    expect_equal(error, KMEM__ERROR_CODE__ERROR_QUOTA);
    (void)wire_lease(fd, SPARE_PAGES);
    client_pause();
    (void)close(fd);
}

static const ProtobufCBinaryData shared_name = {6, (uint8_t *)"figure"};

/* Asks, and wants an answer of this kind. */
static void ask(int fd, const Kmem__Request *request, Kmem__Response__BodyCase kind)
{
    Kmem__Response *const response = wire_ask(fd, request);
    expect_equal(response->body_case, kind);
    wire_free(response);
}

void workload_publish(const void *argument)
{
    (void)argument;
    Kmem__Publish publish = KMEM__PUBLISH__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    const int fd = wire_member();
    publish.offset = wire_allocate(fd, BIG_BYTES, "figures/shared");
    publish.name = shared_name;
    publish.give = true;
    publish.keep = true;
    request.body_case = KMEM__REQUEST__BODY_PUBLISH;
    request.publish = &publish;
    ask(fd, &request, KMEM__RESPONSE__BODY_PUBLISHED);
    client_say(1);
    (void)client_await();
    (void)close(fd);
}

void workload_follow(const void *argument)
{
    (void)argument;
    Kmem__Next next = KMEM__NEXT__INIT;
    Kmem__Handle no_handle = KMEM__HANDLE__INIT;
    Kmem__Handle *handles[] = {&no_handle};
    Kmem__Attach attach = KMEM__ATTACH__INIT;
    Kmem__Request request = KMEM__REQUEST__INIT;
    const int fd = wire_member();
    attach.n_handles = 1;
    attach.handles = handles;
    request.body_case = KMEM__REQUEST__BODY_ATTACH;
    request.attach = &attach;
    ask(fd, &request, KMEM__RESPONSE__BODY_ERROR);
    next.name = shared_name;
    request.body_case = KMEM__REQUEST__BODY_NEXT;
    request.next = &next;
    ask(fd, &request, KMEM__RESPONSE__BODY_NEXTED);
    client_say(1);
    (void)client_await();
    (void)close(fd);
}

void workload_unpublish(const void *argument)
{
    (void)argument;
    expect_equal(kmem_unpublish((const char *)shared_name.data), 0);
}

void workload_pass_through(const void *argument)
{
    static void *blocks[PASSING_BLOCKS];
    (void)argument;
    for (size_t i = 0; i < PASSING_BLOCKS; i++) {
        blocks[i] = allocate(PASSING_BYTES, "figures/passing");
    }
    for (size_t i = 0; i < PASSING_BLOCKS; i++) {
        release(blocks[i]);
    }
    client_pause();
    expect_equal(kmem_close(), 0);
}

void workload_connect_in_vain(const void *argument)
{
    int fds[CONNECTIONS];
    uint64_t n_refused = 0;
    (void)argument;
    for (size_t i = 0; i < CONNECTIONS; i++) {
        fds[i] = wire_connect();
    }
    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct pollfd readable = {.fd = fds[i], .events = POLLIN};
        expect_equal(poll(&readable, 1, harness_patient_ms(UINT64_C(3) * HELLO_TIMEOUT_MS)), 1);
        Kmem__Response *const response = wire_receive(fds[i]);
        expect_equal(response->body_case, KMEM__RESPONSE__BODY_ERROR);
        n_refused += strstr(response->error->message, "did not come in time") == NULL;
        wire_free(response);
        expect_closed(fds[i], HELLO_TIMEOUT_MS);
        (void)close(fds[i]);
    }
    client_say(n_refused);
    (void)client_await();
}

void workload_speak_nonsense(const void *argument)
{
    (void)argument;
    const int fd = wire_connect();
    wire_send_bytes(fd, "\x04\x00\x00\x00\xff\xff\xff\xff", 8);
    expect_closed(fd, 5000);
    (void)close(fd);
}

void workload_fill_hole(const void *of_bytes)
{
    Kmem__ErrorCode error = KMEM__ERROR_CODE__ERROR_UNSPECIFIED;
    const int fd = wire_member();
    const uint64_t num_bytes = *(const uint64_t *)of_bytes;
    const uint64_t offset = wire_try_allocate(fd, num_bytes, "hole", 4, &error);
    client_say(offset != 0 ? num_bytes : 0);
    wire_goodbye(fd);
    (void)close(fd);
}
