/* SPDX-License-Identifier: MIT */
/*
 * epilogue.h - what `kmemctl run` says at the end
 *
 * Gathering asks the daemon, writing fills a box; between them lies a plain structure.
 */
#ifndef CTL_EPILOGUE_H
#define CTL_EPILOGUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <kmem/query.h>

#include "client/ctl/box.h"
#include "client/ctl/figures.h"
#include "client/ctl/groups.h"

struct epilogue {
    const char *program; /* borrowed */
    int wait_status;     /* how it ended */
    bool serves_malloc;  /* its malloc() was served from the segment */
    struct figures figures;
    struct groups unreleased; /* by reason, of all clients that have ended */
    uint64_t unreleased_blocks;
    uint64_t unreleased_bytes;
    uint64_t n_ended;
    uint64_t n_forgotten; /* ended so long ago that the daemon has forgotten them */
    struct groups alive;  /* by client: those that still run */
};

/**
 * epilogue_gather() - wait until the daemon knows of all ends, then ask
 * @epilogue:  the first three members are set, all else is 0; epilogue_fini() is due either way
 * Return: 0, or a negative errno of the query.
 */
KMEM_MUST_USE int epilogue_gather(struct epilogue *epilogue, struct kmem_query *query);

void epilogue_fini(struct epilogue *epilogue);

/*
 * What the daemon can not have seen of the program, in sentences: those are not "no leaks".
 */
#define EPILOGUE_MAX_UNSEEN 6
#define EPILOGUE_UNSEEN_BYTES 160

struct epilogue_unseen {
    size_t n_sentences;
    char sentences[EPILOGUE_MAX_UNSEEN][EPILOGUE_UNSEEN_BYTES];
};

/** epilogue_unseen() - what that was */
struct epilogue_unseen epilogue_unseen(const struct epilogue *epilogue);

/** epilogue_write() - put it into lines */
void epilogue_write(const struct epilogue *epilogue, struct box *box);

/** epilogue_print_json() - print it as one object. Return: 0 or -ENOMEM. */
KMEM_MUST_USE int epilogue_print_json(const struct epilogue *epilogue, FILE *file);

#endif
