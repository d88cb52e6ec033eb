/* SPDX-License-Identifier: MIT */
/*
 * Releasing in C: kmem_release(&pointer), whatever it points to, and the original interface's
 * kmem_release((void **)&pointer). Neither is a violation of the aliasing rules; this is optimised
 * so that one would be seen.
 *
 * Compiled by tests/examples/careful with the warnings of a strict project, as errors.
 * Exit status: 0 if every pointer is NULL behind its release.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <kmem/kmem.h>

#define CHECK(fact)                                                                                \
    ((fact) ? (void)0                                                                              \
            : (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact), exit(1)))

struct opaque;
struct holder {
    int number;
    double *block;
};

static void without_a_cast(void)
{
    struct holder holder = {.block = kmem_allocate(64, "Doubles")};
    const char *text = kmem_allocate(9);
    volatile int *flags = kmem_allocate(4);
    struct opaque *opaque = kmem_allocate(1);
    void *slots[3] = {kmem_allocate(1), kmem_allocate(2), kmem_allocate(3)};
    void **slot = slots;
    kmem_release(&holder.block);
    kmem_release(&text);
    kmem_release(&flags);
    kmem_release(&opaque);
    kmem_release(slots);
    kmem_release(slots + 1);
    CHECK(kmem_try_release(&slots[2]) == 0);
    kmem_release(slot++); /* evaluated once */
    CHECK(slot == slots + 1);
    CHECK(holder.block == NULL && text == NULL && flags == NULL && opaque == NULL);
    CHECK(slots[0] == NULL && slots[1] == NULL && slots[2] == NULL);
}

static void with_the_cast_of_the_original(void)
{
    struct holder holder = {.block = kmem_allocate(64, "Doubles")};
    int *ints = kmem_allocate(8);
    char *bytes[2] = {kmem_allocate(1), kmem_allocate(2)};
    kmem_release((void **)&holder.block);
    kmem_release((void **)&ints);
    kmem_release((void **)bytes);
    CHECK(kmem_try_release((void **)&bytes[1]) == 0);
    CHECK(holder.block == NULL && ints == NULL && bytes[0] == NULL && bytes[1] == NULL);
    if (ints == NULL)
        kmem_release((void **)&ints); /* one statement, and ignored */
    else
        exit(1);
}

static void what_is_no_pointers_address(void)
{
    char here = 'h';
    char *wild = &here;
    CHECK(kmem_try_release(NULL) == -EINVAL);
    CHECK(kmem_try_release(&wild) == -EINVAL && wild == &here);
}

/* A function's name is its address, with or without an ampersand. */
static void through_a_pointer_to_the_function(void)
{
    void (*release)(void **) = kmem_release;
    int (*try_release)(void **) = &kmem_try_release;
    void *block = kmem_allocate(44);
    release(&block);
    CHECK(block == NULL && try_release(&block) == 0);
}

int main(void)
{
    without_a_cast();
    with_the_cast_of_the_original();
    what_is_no_pointers_address();
    through_a_pointer_to_the_function();
    puts("release.c: every pointer is NULL");
    return 0;
}

#ifdef REFUSED_1 /* a block, not the address of the pointer */
void refused(char *block);
void refused(char *block)
{
    kmem_release(block);
}
#endif
#ifdef REFUSED_2
int refused(int number);
int refused(int number)
{
    return kmem_try_release(&number);
}
#endif
#ifdef REFUSED_3 /* the result is dropped */
void refused(char *block);
void refused(char *block)
{
    kmem_try_release(&block);
}
#endif
