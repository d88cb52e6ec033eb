/* SPDX-License-Identifier: MIT */
/* A program outside the tree: allocates, asks, releases, and says so. */
#include <stdio.h>
#include <string.h>

#include <kmem/kmem.h>
#include <kmem/query.h>

/* The library's own function of this name is hidden: a user's may bear it too. */
int frame_encode(void);
int frame_encode(void)
{
    return 44;
}

static int n_rows;

static int see_row(const struct kmem_ledger_row *row, void *user)
{
    (void)user;
    if (strcmp(row->key, "consumer") == 0 && row->num_bytes == 44) {
        n_rows++;
    }
    return 0;
}

int main(void)
{
    void *block = kmem_allocate(frame_encode(), "consumer");
    struct kmem_query *query;
    if (kmem_sizeof_allocation(block) != 44 || kmem_query_open(NULL, &query) != 0) {
        return 1;
    }
    const int r = kmem_query_ledger(query, KMEM_BY_REASON, see_row, NULL);
    kmem_query_close(query);
    kmem_release(&block);
    if (r != 0 || n_rows != 1 || block != NULL) {
        return 1;
    }
    return puts("a block of 44 bytes was on the ledger") < 0;
}
