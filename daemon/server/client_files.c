/* SPDX-License-Identifier: MIT */
#include "daemon/server/client_files.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/memfd.h"
#include "daemon/server/clear_trial.h"
#include "proto/limits.h"
#include "proto/notice.h"

struct client_files_file {
    int fd;                 /* 0: no ledger; 0 is never a ledger's descriptor, it is stdin's */
    unsigned char *mapping; /* of the counts and, behind them, the returns and the states */
};

static size_t mapping_bytes(const struct client_files *ledgers)
{
    return ledgers->layout.heads_at - ledgers->layout.counts_at;
}

static _Atomic uint64_t *file_states(const struct client_files *ledgers,
                                     const struct client_files_file *file)
{
    return (void *)(file->mapping + (ledgers->layout.states_at - ledgers->layout.counts_at));
}

/* The file is sealed: one of another version can not grow. */
static int clock_check(int clock_fd)
{
    struct stat status;
    if (fstat(clock_fd, &status) < 0) {
        return -errno;
    }
    return (uint64_t)status.st_size == NOTICE_BYTES ? 0 : -EPROTO;
}

static int clock_map(struct client_files *ledgers, int fd)
{
    const int r = clock_check(fd);
    if (r) {
        return r;
    }
    const int clock_fd = memfd_open_again(fd);
    if (clock_fd < 0) {
        return clock_fd;
    }
    unsigned char *notice = mmap(NULL, NOTICE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (notice == MAP_FAILED) {
        const int error = errno;
        (void)close(clock_fd); /* only read */
        return -error;
    }
    ledgers->clock_fd = clock_fd;
    ledgers->tick = (void *)(notice + CLOCK_TICK_AT);
    ledgers->bells = (void *)(notice + NOTICE_BELLS_AT);
    return 0;
}

int client_files_init(struct client_files *ledgers, const char *name, uint32_t n_pages,
                      int clock_fd)
{
    *ledgers = (struct client_files){.name = name, .n_pages = n_pages, .clock_fd = -1};
    ledger_layout_init(&ledgers->layout, n_pages);
    ledgers->files = calloc(CLIENTS_MAX, sizeof(*ledgers->files));
    const int r = ledgers->files ? clock_map(ledgers, clock_fd) : -ENOMEM;
    if (r) {
        free(ledgers->files);
        ledgers->files = NULL;
    }
    return r;
}

void client_files_configure(struct client_files *ledgers, struct core_config *config)
{
    config->ledger_read = client_files_read;
    config->ledger_user = ledgers;
    config->clear_plan =
        clear_trial_once(ledgers->tick + offsetof(struct notice, clear) / sizeof(uint32_t));
}

void client_files_fini(struct client_files *ledgers)
{
    for (uint32_t slot = 0; slot < CLIENTS_MAX; slot++) {
        KMEM_ASSERT(ledgers->files[slot].fd == 0);
    }
    free(ledgers->files);
    (void)munmap((unsigned char *)ledgers->tick - CLOCK_TICK_AT, NOTICE_BYTES); /* it is mapped */
    (void)close(ledgers->clock_fd);                                             /* only read */
}

static int file_map(const struct client_files *ledgers, int fd, unsigned char **ret_mapping)
{
    void *mapping = mmap(NULL, mapping_bytes(ledgers), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                         (off_t)ledgers->layout.counts_at);
    if (mapping == MAP_FAILED) {
        return -errno;
    }
    *ret_mapping = mapping;
    return 0;
}

static int file_begin(const struct client_files *ledgers, int fd, unsigned char **ret_mapping)
{
    struct ledger_header header;
    ledger_header_init(&header, ledgers->n_pages);
    if (pwrite(fd, &header, sizeof(header), 0) != (ssize_t)sizeof(header)) {
        return -EIO;
    }
    return file_map(ledgers, fd, ret_mapping);
}

/* The file is sealed: its size is the one thing about it that its client can not have changed. */
int client_files_adopt(struct client_files *ledgers, uint32_t slot, int fd)
{
    struct client_files_file *file = &ledgers->files[slot];
    KMEM_ASSERT(file->fd == 0);
    struct stat status;
    int r = fstat(fd, &status) < 0 ? -errno : 0;
    if (r == 0 && (uint64_t)status.st_size != ledgers->layout.total_bytes) {
        r = -EPROTO;
    }
    r = r ? r : file_map(ledgers, fd, &file->mapping);
    if (r) {
        (void)close(fd); /* the first error is the one to report */
        return r;
    }
    file->fd = fd;
    return 0;
}

_Atomic uint64_t *client_files_states(const struct client_files *ledgers, uint32_t slot)
{
    const struct client_files_file *file = &ledgers->files[slot];
    return file->fd != 0 ? file_states(ledgers, file) : NULL;
}

const struct ledger_counts *client_files_counts(const struct client_files *ledgers, uint32_t slot)
{
    const struct client_files_file *file = &ledgers->files[slot];
    return file->fd != 0 ? (const void *)file->mapping : NULL;
}

struct ledger_returns *client_files_returns(const struct client_files *ledgers, uint32_t slot)
{
    const struct client_files_file *file = &ledgers->files[slot];
    const uint64_t at = ledgers->layout.returns_at - ledgers->layout.counts_at;
    return file->fd != 0 ? (void *)(file->mapping + at) : NULL;
}

int client_files_open(struct client_files *ledgers, uint32_t slot, int *ret_fd,
                      _Atomic uint64_t **ret_states)
{
    struct client_files_file *file = &ledgers->files[slot];
    if (file->fd == 0) {
        char kind[32];
        (void)snprintf(kind, sizeof(kind), "ledger.%u", slot); /* fits */
        const int fd = memfd_open(ledgers->name, kind, ledgers->layout.total_bytes);
        if (fd < 0) {
            return fd;
        }
        const int r = file_begin(ledgers, fd, &file->mapping);
        if (r) {
            (void)close(fd); /* the first error is the one to report */
            return r;
        }
        file->fd = fd;
    }
    *ret_fd = file->fd;
    *ret_states = file_states(ledgers, file);
    return 0;
}

void client_files_close(struct client_files *ledgers, uint32_t slot)
{
    struct client_files_file *file = &ledgers->files[slot];
    if (file->fd != 0) {
        (void)munmap(file->mapping, mapping_bytes(ledgers)); /* fails for no mapping only */
        (void)close(file->fd);                               /* its bytes are nobody's now */
        *file = (struct client_files_file){.fd = 0};
    }
}

bool client_files_read(void *user, uint32_t slot, uint64_t at, void *buffer, size_t n_bytes)
{
    const struct client_files *ledgers = user;
    const int fd = ledgers->files[slot].fd;
    return fd != 0 && pread(fd, buffer, n_bytes, (off_t)at) == (ssize_t)n_bytes;
}

void client_files_set_spare(struct client_files *ledgers, uint32_t n_pages)
{
    /* Relaxed: a hint. */
    atomic_store_explicit(ledgers->tick + CLOCK_SPARE, n_pages + CLOCK_SPARE_NONE,
                          memory_order_relaxed);
}

void client_files_set_pages(struct client_files *ledgers, uint32_t n_pages)
{
    /* Relaxed: a hint. */
    atomic_store_explicit(ledgers->tick + CLOCK_PAGES, n_pages, memory_order_relaxed);
}

void client_files_set_tick(struct client_files *ledgers, uint32_t tick)
{
    /* Relaxed: a time, that orders nothing. Partner: the load in the clients' allocation. */
    atomic_store_explicit(ledgers->tick, tick, memory_order_relaxed);
}

void client_files_set_budgets(struct client_files *ledgers, uint32_t generation)
{
    /* Relaxed: a hint to ask anew. */
    atomic_store_explicit(ledgers->tick + offsetof(struct notice, budgets) / sizeof(uint32_t),
                          generation, memory_order_relaxed);
}
