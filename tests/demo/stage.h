/* SPDX-License-Identifier: MIT */
/*
 * stage.h - what the demo plays on: a private daemon in a private directory, and the files to read
 */
#ifndef DEMO_STAGE_H
#define DEMO_STAGE_H

#include <stddef.h>
#include <sys/types.h>

struct stage {
    const char *bin_directory;    /* kmemd and kmemctl */
    const char *worker_directory; /* the workers */
    char directory[64];           /* private; socket, lock and log are in it */
    char socket[96];
    char log[96];
    char ready[256]; /* the line that the daemon prints when it is ready */
    pid_t daemon;    /* 0: not running */
};

/* The paths of files, sorted. */
struct inherited_fds {
    char **paths;
    size_t n_paths;
};

/**
 * stage_open() - make the directory, start a daemon on a segment of this size, set $KMEM_SOCKET for
 * this process and its children. Return: 0, or -1 after a message on stderr.
 */
int stage_open(struct stage *stage, const char *bin_directory, const char *worker_directory,
               const char *size);

/** stage_close() - end the daemon, remove the directory. Return: the daemon's exit status, 0 if all
 * is well. */
int stage_close(struct stage *stage);

/** stage_run() - run a program of bin_directory in the foreground. Return: its exit status. */
int stage_run(const struct stage *stage, const char *program, const char *argument);

/** files_licences() - the licence texts of /usr/share/common-licenses, without symbolic links */
void files_licences(struct inherited_fds *files);

/** files_copyrights() - /usr/share/doc/PACKAGE/copyright, without the few huge ones; if there are
 * more than n_max, evenly chosen; n_max_bytes in total at most */
void files_copyrights(struct inherited_fds *files, size_t n_max, size_t n_max_bytes);

/** files_free() - forget them */
void files_free(struct inherited_fds *files);

#endif
