/* SPDX-License-Identifier: MIT */
/*
 * serve.c - become kmemctl-serve
 *
 * It stands beside kmemctl, of the same build. That it is another program keeps kmemctl, which is
 * started for every question, free of what HTTP needs: a dozen libraries.
 */
#include "client/ctl/command.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/ctl/image.h"
#include "client/ctl/status.h"

#define PROGRAM "kmemctl-serve"

/* What stood before the command is the program's too. Return: argv for it; NULL: no memory. */
static char **arguments_new(int argc, char **argv, const struct options *before)
{
    char **all = calloc((size_t)argc + 5, sizeof(*all));
    size_t n = 0;
    if (!all) {
        return NULL;
    }
    all[n++] = argv[0];
    if (before->segment_name) {
        all[n++] = (char *)(uintptr_t) "--segment";
        all[n++] = (char *)(uintptr_t)before->segment_name;
    }
    if (before->socket_path) {
        all[n++] = (char *)(uintptr_t) "--socket";
        all[n++] = (char *)(uintptr_t)before->socket_path;
    }
    memcpy(&all[n], &argv[1], (size_t)argc * sizeof(*all)); /* with the NULL at its end */
    return all;
}

int serve_main(int argc, char **argv, const struct options *before)
{
    char path[PATH_MAX];
    if (!image_find_beside(PROGRAM, X_OK, path, sizeof(path)) &&
        !image_find(PROGRAM, path, sizeof(path))) {
        (void)fputs("kmemctl serve: " PROGRAM " is not installed: kmemctl was built without "
                    "libmicrohttpd\n",
                    stderr);
        return STATUS_NOT_FOUND;
    }
    char **all = arguments_new(argc, argv, before);
    if (all) {
        (void)execv(path, all); /* returns only if it fails */
    }
    (void)fprintf(stderr, "kmemctl serve: cannot become %s: %s\n", path, strerror(errno));
    free(all);
    return STATUS_NOT_RUN;
}
