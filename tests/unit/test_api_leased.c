/* SPDX-License-Identifier: MIT */
/*
 * The same calls with leased blocks, and daemons that lend nothing, or what can not be.
 *
 * A size is leased from its second block on, also if the first is what the process joins with. Each
 * test uses its size once before.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <kmem/kmem.h>

#include "client/heap/hot.h"
#include "tests/unit/api_fixture.h"
#include "tests/unit/unit.h"

#define N_DIRECT HOT_AFTER

static _Atomic(unsigned int) n_requests;
static _Atomic(unsigned int) n_lease_requests;

static bool count_requests(struct fake_peer *peer, const Kmem__Request *request)
{
    (void)peer;
    atomic_fetch_add(&n_requests, 1);
    atomic_fetch_add(&n_lease_requests, request->body_case == KMEM__REQUEST__BODY_LEASE);
    return false;
}

static int start_lender(void **state)
{
    (void)start_daemon(state);
    fake_daemon_lend(true);
    atomic_store(&n_requests, 0);
    atomic_store(&n_lease_requests, 0);
    fake_daemon_hook(count_requests);
    return 0;
}

static void use_before(size_t n_bytes)
{
    for (unsigned int i = 0; i < N_DIRECT; i++) {
        void *block = kmem_try_allocate(n_bytes, "used before");
        assert_non_null(block);
        assert_int_equal(kmem_try_release(&block), 0);
    }
}

/* ------------------------------------------------------------------------------- honestly ---- */

static void test_leased_block_is_zero_aligned_and_takes_no_request(void **state)
{
    use_before(100);
    void *first = kmem_try_allocate(100, "asks for the lease");
    assert_non_null(first);
    assert_int_equal(atomic_load(&n_lease_requests), 1);
    memset(first, 'x', 100);
    assert_int_equal(kmem_try_release(&first), 0);
    const unsigned int n_before = atomic_load(&n_requests);

    unsigned char *block = kmem_try_allocate(100, "leased");

    assert_non_null(block);
    assert_int_equal((uintptr_t)block % 64, 0);
    for (size_t i = 0; i < 100; i++) {
        assert_int_equal(block[i], 0);
    }
    assert_int_equal(kmem_sizeof_allocation(block), 100);
    kmem_release((void **)&block);
    assert_null(block);
    assert_int_equal(atomic_load(&n_requests), n_before);
    assert_int_equal(errno, UNTOUCHED);
    assert_int_equal(n_caught, 0);
}

static void test_leased_block_released_twice_is_EALREADY(void **state)
{
    use_before(100);
    void *block = kmem_try_allocate(100, "leased");
    void *copy = block;
    const uint64_t offset = kmem_offset_of(block);
    assert_int_equal(kmem_try_release(&block), 0);

    assert_int_equal(kmem_try_release(&copy), -EALREADY);

    assert_non_null(copy);
    kmem_release(&copy);
    assert_caught("kmem_release", EALREADY);
    assert_int_equal(caught.offset, offset);
}

static void test_interior_of_a_leased_block_is_EINVAL_and_named(void **state)
{
    use_before(101);
    unsigned char *block = kmem_try_allocate(101, "leased");
    void *interior = block + 5;
    size_t num_bytes = UNTOUCHED;

    assert_int_equal(kmem_try_sizeof(interior, &num_bytes), -EINVAL);
    assert_int_equal(num_bytes, UNTOUCHED);
    kmem_release(&interior);

    assert_caught("kmem_release", EINVAL);
    assert_int_equal(caught.offset, kmem_offset_of(block));
    assert_int_equal(caught.num_bytes, 101);
    assert_string_equal(caught.reason, "leased");
    assert_ptr_equal(interior, block + 5);
    assert_int_equal(kmem_sizeof_allocation(block), 101);
}

static void test_unused_page_of_a_lease_is_in_no_block(void **state)
{
    use_before(100);
    unsigned char *block = kmem_try_allocate(100, "leased");
    void *beyond = block + 2 * PAGE_BYTES;

    assert_int_equal(kmem_try_release(&beyond), -EINVAL);

    assert_non_null(strstr(kmem_last_error(), "lies in no block"));
    assert_ptr_equal(beyond, block + 2 * PAGE_BYTES);
}

static void test_large_leased_block_is_released_and_given_again(void **state)
{
    use_before(300000);
    unsigned char *block = kmem_try_allocate(300000, "large");
    void *copy = block;
    assert_non_null(block);
    memset(block, 'x', 300000);
    assert_int_equal(kmem_try_release((void **)&block), 0);
    assert_int_equal(kmem_try_release(&copy), -EALREADY);
    const unsigned int n_before = atomic_load(&n_requests);

    block = kmem_try_allocate(300000, "large");

    assert_ptr_equal(block, copy);
    assert_int_equal(block[0] | block[150000] | block[299999], 0);
    assert_int_equal(atomic_load(&n_requests), n_before);
}

static void test_close_forgets_leases(void **state)
{
    use_before(100);
    assert_non_null(kmem_try_allocate(100, "leased"));
    assert_int_equal(kmem_close(), 0);

    void *block = kmem_try_allocate(100, "cold again");

    assert_non_null(block);
    assert_int_equal(atomic_load(&n_lease_requests), 1);
    assert_int_equal(fake_daemon_n_live(), 1);
}

/* ---------------------------------------------------------------------- nothing to be had ---- */

static void test_refused_lease_leaves_direct_blocks(void **state)
{
    fake_daemon_lend(false);
    use_before(100);

    void *block = kmem_try_allocate(100, "direct");

    assert_non_null(block);
    assert_int_equal(atomic_load(&n_lease_requests), 1);
    assert_int_equal(fake_daemon_n_live(), 1);
    assert_int_equal(errno, UNTOUCHED);
    assert_non_null(kmem_try_allocate(100, "does not ask again at once"));
    assert_int_equal(atomic_load(&n_lease_requests), 1);
}

/* What the next requests are refused with; NULL: they are answered honestly. */
static const char *lease_refusal;
static const char *block_refusal;

static bool refuse(struct fake_peer *peer, const Kmem__Request *request)
{
    const char *why = request->body_case == KMEM__REQUEST__BODY_LEASE      ? lease_refusal
                      : request->body_case == KMEM__REQUEST__BODY_ALLOCATE ? block_refusal
                                                                           : NULL;
    if (why != NULL) {
        fake_send_error(peer, request, KMEM__ERROR_CODE__ERROR_NO_MEMORY, why);
    }
    return why != NULL;
}

static void refuse_with(const char *of_lease, const char *of_block)
{
    lease_refusal = of_lease;
    block_refusal = of_block;
    fake_daemon_hook(refuse);
}

static void test_refused_lease_is_explained_where_the_block_fails_too(void **state)
{
    use_before(100);
    refuse_with("no lease:\x1b pages are scarce", "no block");

    assert_null(kmem_try_allocate(100, "frames"));

    assert_int_equal(errno, ENOMEM);
    assert_string_equal(kmem_last_error(), "kmem_try_allocate: for \"frames\": no block; the last "
                                           "lease was refused: no lease:? pages are scarce");
}

static void test_refused_lease_is_explained_as_long_as_it_was_the_last(void **state)
{
    use_before(100);
    refuse_with("no lease", NULL);
    assert_non_null(kmem_try_allocate(100, "direct"));
    refuse_with(NULL, "no block");

    assert_null(kmem_try_allocate(100, "does not ask for a lease so soon"));

    assert_non_null(strstr(kmem_last_error(), "no block; the last lease was refused: no lease"));
    kmem_allocate(100, "the same for the handler");
    assert_caught("kmem_allocate", ENOMEM);
    assert_non_null(strstr(kmem_last_error(), "; the last lease was refused: no lease"));
}

static void test_refused_lease_that_says_the_same_is_not_repeated(void **state)
{
    use_before(100);
    refuse_with("no room", "no room");

    assert_null(kmem_try_allocate(100, "frames"));

    assert_string_equal(kmem_last_error(), "kmem_try_allocate: for \"frames\": no room");
}

static void test_refused_lease_is_forgotten_when_one_is_granted(void **state)
{
    use_before(100);
    use_before(300000);
    assert_non_null(kmem_try_allocate(300000, "all that there is of that length"));
    refuse_with("no lease", "no block");
    assert_null(kmem_try_allocate(300000, "large"));
    assert_non_null(strstr(kmem_last_error(), "no lease"));
    refuse_with(NULL, "no block");
    assert_non_null(kmem_try_allocate(100, "fewer pages: leased"));

    assert_null(kmem_try_allocate(70000, "never used before: direct"));

    assert_string_equal(kmem_last_error(),
                        "kmem_try_allocate: for \"never used before: direct\": no block");
}

static void test_refused_lease_is_forgotten_by_closing(void **state)
{
    use_before(100);
    refuse_with("no lease", NULL);
    assert_non_null(kmem_try_allocate(100, "direct"));
    assert_int_equal(kmem_close(), 0);
    refuse_with(NULL, "no block");

    assert_null(kmem_try_allocate(100, "another membership"));

    assert_string_equal(kmem_last_error(),
                        "kmem_try_allocate: for \"another membership\": no block");
}

static Kmem__Leased lie;

static bool lend_wrongly(struct fake_peer *peer, const Kmem__Request *request)
{
    Kmem__Response response = KMEM__RESPONSE__INIT;
    if (request->body_case != KMEM__REQUEST__BODY_LEASE) {
        return false;
    }
    response.body_case = KMEM__RESPONSE__BODY_LEASED;
    response.leased = &lie;
    fake_send(peer, request, &response, NULL, 0);
    return true;
}

static void assert_lie_is_not_believed(uint32_t page, uint32_t n_pages)
{
    kmem__leased__init(&lie);
    lie.page = page;
    lie.n_pages = n_pages;
    use_before(100);
    fake_daemon_hook(lend_wrongly);

    assert_null(kmem_try_allocate(100, "wrongly leased"));

    assert_int_equal(errno,
                     ECONNRESET); /* the lease was nobody's wish; the block was asked for next */
    assert_non_null(strstr(kmem_last_error(), "sent a lease where none can be"));
    fake_daemon_hook(NULL);
    (void)kmem_close();
}

static void test_lease_where_none_can_be_gives_the_connection_up(void **state)
{
    const uint32_t n_all = FAKE_SEGMENT_BYTES / PAGE_BYTES;
    assert_lie_is_not_believed(0, 16);
    assert_lie_is_not_believed(8, 0); /* fewer than the one that was asked for */
    assert_lie_is_not_believed(n_all - 1, 2);
    assert_lie_is_not_believed(n_all, 1);
    assert_lie_is_not_believed(UINT32_MAX, 2);
}

/* A daemon that grants what its ledger does not say: the client believes the ledger. */
static void test_lease_that_the_ledger_does_not_know_is_not_used(void **state)
{
    kmem__leased__init(&lie);
    lie.page = 100;
    lie.n_pages = 16;
    use_before(100);
    fake_daemon_hook(lend_wrongly);

    unsigned char *block = kmem_try_allocate(100, "direct after all");

    assert_non_null(block);
    assert_int_equal(fake_daemon_n_live(), 1);
}

/* ------------------------------------------------------------------------------- refused ---- */

/* How many round trips a refused allocation takes. */
static unsigned int refused(size_t n_bytes)
{
    const unsigned int n_before = atomic_load(&n_requests);
    assert_null(kmem_try_allocate(n_bytes, "refused"));
    assert_int_equal(errno, ENOMEM);
    return atomic_load(&n_requests) - n_before;
}

static void test_refused_large_allocation_is_one_request(void **state)
{
    use_before(100); /* this thread has something ready */
    void *block = kmem_try_allocate(100, "live");
    assert_non_null(block);
    fake_daemon_lend(false);
    (void)refused(FAKE_SEGMENT_BYTES - 1);
    for (unsigned int i = 0; i < 10; i++) {
        assert_int_equal(refused(FAKE_SEGMENT_BYTES - 1), 1);
    }
    assert_int_equal(kmem_try_release(&block), 0);
}

static void test_refused_small_allocation_is_one_request(void **state)
{
    use_before(20000);
    fake_daemon_lend(false);
    while (kmem_try_allocate(20000, "all there is") != NULL) {
    }
    (void)refused(20000);
    for (unsigned int i = 0; i < 10; i++) {
        assert_int_equal(refused(20000), 1);
    }
}

#define LEASED_TEST(function) cmocka_unit_test_setup_teardown(function, start_lender, stop_daemon)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LEASED_TEST(test_leased_block_is_zero_aligned_and_takes_no_request),
        LEASED_TEST(test_leased_block_released_twice_is_EALREADY),
        LEASED_TEST(test_interior_of_a_leased_block_is_EINVAL_and_named),
        LEASED_TEST(test_unused_page_of_a_lease_is_in_no_block),
        LEASED_TEST(test_large_leased_block_is_released_and_given_again),
        LEASED_TEST(test_close_forgets_leases),
        LEASED_TEST(test_refused_lease_leaves_direct_blocks),
        LEASED_TEST(test_refused_lease_is_explained_where_the_block_fails_too),
        LEASED_TEST(test_refused_lease_is_explained_as_long_as_it_was_the_last),
        LEASED_TEST(test_refused_lease_that_says_the_same_is_not_repeated),
        LEASED_TEST(test_refused_lease_is_forgotten_when_one_is_granted),
        LEASED_TEST(test_refused_lease_is_forgotten_by_closing),
        LEASED_TEST(test_lease_where_none_can_be_gives_the_connection_up),
        LEASED_TEST(test_lease_that_the_ledger_does_not_know_is_not_used),
        LEASED_TEST(test_refused_large_allocation_is_one_request),
        LEASED_TEST(test_refused_small_allocation_is_one_request),
    };
    return cmocka_run_group_tests_name("api_leased", tests, NULL, NULL);
}
