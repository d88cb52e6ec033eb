/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/kmem.h>

#include "client/failure.h"
#include "proto/text.h"
#include "tests/unit/unit.h"

static struct failure failure;

/* What the handler of a test was told. */
static struct kmem_failure told;
static char told_message[SENTENCE_BYTES + 64];
static unsigned int n_told;

static void remember(const struct kmem_failure *given)
{
    told = *given;
    (void)strncpy(told_message, given->message, sizeof(told_message) - 1);
    n_told++;
}

/* ------------------------------------------------------------------------------- composing ---- */

static void test_failure_set_returns_the_negative_errno(void **state)
{
    kmem__failure_about(&failure, 1, 2, "stale");

    assert_int_equal(kmem__failure_set(&failure, ENOMEM, "%d of %s", 7, "those"), -ENOMEM);

    assert_int_equal(failure.error, ENOMEM);
    assert_string_equal(failure.sentence, "7 of those");
    assert_int_equal(failure.offset, 0);
    assert_int_equal(failure.num_bytes, 0);
    assert_string_equal(failure.reason, "");
}

static void test_failure_set_for_names_the_reason(void **state)
{
    assert_int_equal(kmem__failure_set_for(&failure, EINVAL, 44, "a\x1B[m"), -EINVAL);
    assert_string_equal(failure.sentence, "for \"a\\x1b[m\": ");
    assert_string_equal(failure.reason, "a\x1B[m");
    assert_int_equal(failure.num_bytes, 44);

    assert_int_equal(kmem__failure_set_for(&failure, EINVAL, 44, ""), -EINVAL);
    assert_string_equal(failure.sentence, "for \"<no reason given>\": ");
}

static void test_failure_add_goes_on(void **state)
{
    (void)kmem__failure_set(&failure, EINVAL, "one");
    kmem__failure_add(&failure, ", %s", "two");
    assert_string_equal(failure.sentence, "one, two");
}

static void test_failure_add_foreign_is_escaped(void **state)
{
    (void)kmem__failure_set(&failure, EINVAL, "<");
    kmem__failure_add_foreign(&failure, "a\x1B]0;x\x07\\");
    kmem__failure_add(&failure, ">");
    assert_string_equal(failure.sentence, "<a\\x1b]0;x\\x07\\\\>");
}

static void test_failure_add_sentence_keeps_escapes_and_drops_controls(void **state)
{
    (void)kmem__failure_set(&failure, EINVAL, "%s", "");
    kmem__failure_add_sentence(&failure, "\"a\\x1b\" \x1B \xC2\x9B \xC2\xA7 \xFF \x7F");
    assert_string_equal(failure.sentence, "\"a\\x1b\" ? ?? \xC2\xA7 ? ?");
}

static void test_failure_add_sentence_does_not_turn_what_follows(void **state)
{
    (void)kmem__failure_set(&failure, EINVAL, "%s", "");
    /* NOLINTNEXTLINE(misc-misleading-bidirectional): it is what is tried */
    kmem__failure_add_sentence(&failure, "a\xE2\x80\xAE"
                                         "b\xD8\x9C"
                                         "c\xE2\x81\xA6 \xE6\x98\xA0");
    assert_string_equal(failure.sentence, "a???b??c??? \xE6\x98\xA0");
}

static void test_failure_sentence_is_cut_not_overrun(void **state)
{
    (void)kmem__failure_set(&failure, EINVAL, "%s", "");
    for (unsigned int i = 0; i < SENTENCE_BYTES; i++) {
        kmem__failure_add(&failure, "ab");
        kmem__failure_add_foreign(&failure, "\xE2\x82\xAC");
        kmem__failure_add_sentence(&failure, "\xE2\x82\xAC");
    }
    size_t n_bytes = strlen(failure.sentence);
    assert_true(n_bytes <= SENTENCE_BYTES - 1);
    assert_true(n_bytes >= SENTENCE_BYTES - 4);
    assert_true(text_is_utf8((const unsigned char *)failure.sentence, n_bytes));
}

static void test_failure_about_bounds_a_foreign_reason(void **state)
{
    char reason[300];
    memset(reason, 'r', sizeof(reason) - 1);
    reason[sizeof(reason) - 1] = '\0';

    kmem__failure_about(&failure, 81920, 44, reason);

    assert_int_equal(failure.offset, 81920);
    assert_int_equal(failure.num_bytes, 44);
    assert_int_equal(strlen(failure.reason), KMEM_REASON_MAX_BYTES);
}

/* --------------------------------------------------------------------------------- telling ---- */

static void test_last_error_is_the_whole_sentence(void **state)
{
    (void)kmem__failure_set(&failure, EINVAL, "what is wrong");
    kmem__failure_record(&failure, "kmem_try_release");
    assert_string_equal(kmem_last_error(), "kmem_try_release: what is wrong");
}

static void *look_at_last_error(void *user)
{
    (void)user;
    return strcmp(kmem_last_error(), "") == 0 ? (void *)(uintptr_t)1 : NULL;
}

static void test_last_error_is_empty_in_a_thread_without_failures(void **state)
{
    pthread_t thread;
    void *was_empty = NULL;
    (void)kmem__failure_set(&failure, EINVAL, "what is wrong");
    kmem__failure_record(&failure, "kmem_try_release");

    assert_int_equal(pthread_create(&thread, NULL, look_at_last_error, NULL), 0);
    assert_int_equal(pthread_join(thread, &was_empty), 0);

    assert_non_null(was_empty);
    assert_string_equal(kmem_last_error(), "kmem_try_release: what is wrong");
}

static bool mmap_fails;

void *__real_mmap(void *at, size_t num_bytes, int protection, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t num_bytes, int protection, int flags, int fd, off_t offset);

void *__wrap_mmap(void *at, size_t num_bytes, int protection, int flags, int fd, off_t offset)
{
    if (mmap_fails) {
        errno = ENOMEM;
        return MAP_FAILED;
    }
    return __real_mmap(at, num_bytes, protection, flags, fd, offset);
}

/* In a thread of its own, in which nothing has failed yet. Return: NULL, or what was told. */
static void *fail_with_and_without_memory(void *user)
{
    struct failure *own = user;
    mmap_fails = true;
    errno = 77;
    kmem__failure_record(own, "kmem_try_release");
    mmap_fails = false;
    if (errno != 77 ||
        strcmp(kmem_last_error(), "there is no memory to say what went wrong") != 0) {
        return (void *)(uintptr_t)kmem_last_error();
    }
    kmem__failure_record(own, "kmem_try_release");
    const bool is_told = strcmp(kmem_last_error(), "kmem_try_release: what is wrong") == 0;
    return is_told ? NULL : (void *)(uintptr_t)kmem_last_error();
}

static void test_last_error_without_memory_says_so_and_leaves_errno_alone(void **state)
{
    pthread_t thread;
    void *told_instead = NULL;
    (void)kmem__failure_set(&failure, EINVAL, "what is wrong");
    assert_int_equal(pthread_create(&thread, NULL, fail_with_and_without_memory, &failure), 0);
    assert_int_equal(pthread_join(thread, &told_instead), 0);
    assert_null(told_instead);
}

/* The key's destructor is called before this one, and this one fails again. */
static void fail_again(void *value)
{
    (void)value;
    kmem__failure_record(&failure, "kmem_try_sizeof");
    if (strcmp(kmem_last_error(), "kmem_try_sizeof: what is wrong") != 0) {
        abort();
    }
}

static void *fail_and_end(void *user)
{
    kmem__failure_record(&failure, "kmem_try_release");
    (void)pthread_setspecific(*(const pthread_key_t *)user, user);
    return NULL;
}

static void test_last_error_in_a_destructor_of_a_thread(void **state)
{
    pthread_t thread;
    pthread_key_t key;
    (void)kmem__failure_set(&failure, EINVAL, "what is wrong");
    kmem__failure_record(&failure, "kmem_try_release"); /* its key is the older one */
    assert_int_equal(pthread_key_create(&key, fail_again), 0);
    assert_int_equal(pthread_create(&thread, NULL, fail_and_end, &key), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(pthread_key_delete(key), 0);
    assert_string_equal(kmem_last_error(), "kmem_try_release: what is wrong");
}

static void test_set_failure_handler_returns_the_one_before(void **state)
{
    assert_null(kmem_set_failure_handler(remember));
    assert_ptr_equal(kmem_set_failure_handler(NULL), remember);
    assert_null(kmem_set_failure_handler(NULL));
}

static void test_failure_raise_tells_the_handler_everything(void **state)
{
    (void)kmem_set_failure_handler(remember);
    n_told = 0;
    (void)kmem__failure_set(&failure, EALREADY, "released before");
    kmem__failure_about(&failure, 16384, 101, "video");

    kmem__failure_raise(&failure, "kmem_release");

    (void)kmem_set_failure_handler(NULL);
    assert_int_equal(n_told, 1);
    assert_int_equal(told.struct_bytes, sizeof(struct kmem_failure));
    assert_string_equal(told.call, "kmem_release");
    assert_string_equal(told_message, "kmem_release: released before");
    assert_string_equal(kmem_last_error(), "kmem_release: released before");
    assert_int_equal(told.error, EALREADY);
    assert_int_equal(told.offset, 16384);
    assert_int_equal(told.num_bytes, 101);
    assert_string_equal(told.reason, "video");
}

static void fail_in_handler(const struct kmem_failure *given)
{
    struct failure another;
    (void)kmem__failure_set(&another, EINVAL, "another failure");
    kmem__failure_record(&another, "kmem_try_sizeof");
    remember(given);
}

static void test_failure_raise_handler_may_fail_without_losing_the_message(void **state)
{
    (void)kmem_set_failure_handler(fail_in_handler);
    (void)kmem__failure_set(&failure, EINVAL, "the first failure");

    kmem__failure_raise(&failure, "kmem_release");

    (void)kmem_set_failure_handler(NULL);
    assert_string_equal(told_message, "kmem_release: the first failure");
}

static jmp_buf way_out;

static void jump_out(const struct kmem_failure *given)
{
    (void)given;
    longjmp(way_out, 1);
}

static void test_failure_raise_handler_may_jump(void **state)
{
    (void)kmem_set_failure_handler(jump_out);
    (void)kmem__failure_set(&failure, EINVAL, "somewhere else");
    if (setjmp(way_out) == 0) {
        kmem__failure_raise(&failure, "kmem_release");
        fail_msg("the handler did not jump");
    }
    (void)kmem_set_failure_handler(NULL);
    assert_string_equal(kmem_last_error(), "kmem_release: somewhere else");
}

static void die_by_default_handler(int stderr_fd)
{
    const struct rlimit no_core = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)signal(SIGABRT, SIG_DFL);
    (void)dup2(stderr_fd, STDERR_FILENO);
    (void)kmem__failure_set(&failure, EINVAL, "-5 bytes are no block");
    kmem__failure_raise(&failure, "kmem_allocate");
    _exit(0);
}

static void test_failure_raise_default_prints_and_aborts(void **state)
{
    char printed[256] = "";
    int ends[2];
    int status = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        die_by_default_handler(ends[1]);
    }
    (void)close(ends[1]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(read(ends[0], printed, sizeof(printed) - 1) > 0);
    (void)close(ends[0]);

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
    assert_string_equal(printed, "kmem_allocate: -5 bytes are no block\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure_set_returns_the_negative_errno),
        cmocka_unit_test(test_failure_set_for_names_the_reason),
        cmocka_unit_test(test_failure_add_goes_on),
        cmocka_unit_test(test_failure_add_foreign_is_escaped),
        cmocka_unit_test(test_failure_add_sentence_keeps_escapes_and_drops_controls),
        cmocka_unit_test(test_failure_add_sentence_does_not_turn_what_follows),
        cmocka_unit_test(test_failure_sentence_is_cut_not_overrun),
        cmocka_unit_test(test_failure_about_bounds_a_foreign_reason),
        cmocka_unit_test(test_last_error_is_the_whole_sentence),
        cmocka_unit_test(test_last_error_is_empty_in_a_thread_without_failures),
        cmocka_unit_test(test_last_error_without_memory_says_so_and_leaves_errno_alone),
        cmocka_unit_test(test_last_error_in_a_destructor_of_a_thread),
        cmocka_unit_test(test_set_failure_handler_returns_the_one_before),
        cmocka_unit_test(test_failure_raise_tells_the_handler_everything),
        cmocka_unit_test(test_failure_raise_handler_may_fail_without_losing_the_message),
        cmocka_unit_test(test_failure_raise_handler_may_jump),
        cmocka_unit_test(test_failure_raise_default_prints_and_aborts),
    };
    return cmocka_run_group_tests_name("failure", tests, NULL, NULL);
}
