/* SPDX-License-Identifier: MIT */
/*
 * A program that uses kmem and malloc(), and forks, under `kmemctl run --malloc`: what it shares is
 * shared by its handle, and every pointer of the parent's leads to a copy. Exit status: 0 if every
 * fact holds.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <kmem/share.h>

#define CHECK(fact)                                                                                \
    ((fact) ? (void)0                                                                              \
            : (fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact), _exit(1)))

static struct kmem_handle handle;
static char *shared;
static char *own;

/* Each block has room for it. */
static void write_text(char *block, const char *text)
{
    (void)snprintf(block, 40, "%s", text);
}

/* In the child. */
static void use_both(void)
{
    void *attached = NULL;
    void *pointer = own;
    CHECK(strcmp(shared, "the parent's") == 0 && strcmp(own, "its own") == 0);
    write_text(shared, "a copy's");
    write_text(own, "a copy's");
    CHECK(kmem_try_release(&pointer) == -EPERM);
    CHECK(kmem_attach(&handle, KMEM_WRITE, "child", &attached) == 0);
    CHECK(attached != shared && strcmp(attached, "the parent's") == 0);
    write_text(attached, "the child's");
    CHECK(kmem_try_release(&attached) == 0);
    CHECK(strcmp(shared, "a copy's") == 0);
}

static void run_for(size_t num_bytes, int flags)
{
    int status = -1;
    void *pointer;
    shared = kmem_try_allocate_with(num_bytes, flags, "shared");
    own = kmem_try_allocate(num_bytes, "own");
    CHECK(shared != NULL && own != NULL);
    write_text(shared, "the parent's");
    write_text(own, "its own");
    CHECK(kmem_share(shared, 0, &handle) == 0);
    const pid_t pid = fork();
    if (pid == 0) {
        use_both();
        _exit(0);
    }
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK(strcmp(shared, "the child's") == 0 && strcmp(own, "its own") == 0);
    pointer = shared;
    CHECK(kmem_try_release(&pointer) == 0);
    pointer = own;
    CHECK(kmem_try_release(&pointer) == 0);
}

int main(void)
{
    for (int i = 0; i < 40; i++) { /* carved by the daemon at first, leased in the end */
        run_for(40, 0);
        run_for(300000, 0);
        run_for(40, KMEM_SHAREABLE);
    }
    return 0;
}
