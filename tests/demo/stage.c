/* SPDX-License-Identifier: MIT */
#include "tests/demo/stage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/demo/cast.h"

/* A daemon of 16 MiB is ready in milliseconds; on a busy machine it may take seconds. */
#define READY_TIMEOUT_MS 60000
/* A few packages list the licence of each of thousands of files; a quarter of the segment each. */
#define COPYRIGHT_MAX_BYTES 131072

/* Reads the one line that the daemon prints when it is ready. */
static int wait_until_ready(struct stage *stage, int output)
{
    size_t n_bytes = 0;

    while (n_bytes + 1 < sizeof(stage->ready) && !memchr(stage->ready, '\n', n_bytes)) {
        struct pollfd polled = {.fd = output, .events = POLLIN};
        ssize_t r = poll(&polled, 1, READY_TIMEOUT_MS) == 1
                        ? read(output, stage->ready + n_bytes, sizeof(stage->ready) - 1 - n_bytes)
                        : -1;
        if (r <= 0) {
            return -1;
        }
        n_bytes += (size_t)r;
    }
    stage->ready[strcspn(stage->ready, "\n")] = '\0';
    return 0;
}

static void show_log(const struct stage *stage)
{
    FILE *log = fopen(stage->log, "re");
    char line[256];

    while (log && fgets(line, sizeof(line), log)) {
        fputs(line, stderr);
    }
    if (log) {
        fclose(log);
    }
}

static int start_daemon(struct stage *stage, const char *size)
{
    char program[4096];
    char *const argv[] = {program,    "--name",      "demo",        "--size", (char *)size,
                          "--socket", stage->socket, "--log-level", "info",   NULL};
    int output[2];

    snprintf(program, sizeof(program), "%s/kmemd", stage->bin_directory);
    int log = open(stage->log, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (log < 0 || pipe2(output, O_CLOEXEC) < 0) {
        perror(stage->directory);
        return -1;
    }
    stage->daemon = process_start(argv, -1, output[1], log);
    close(output[1]);
    close(log);
    int r = wait_until_ready(stage, output[0]);
    close(output[0]);
    if (r < 0) {
        fprintf(stderr, "demo: %s did not become ready:\n", program);
        show_log(stage);
    }
    return r;
}

int stage_open(struct stage *stage, const char *bin_directory, const char *worker_directory,
               const char *size)
{
    const char *parent = getenv("TMPDIR");

    *stage = (struct stage){.bin_directory = bin_directory, .worker_directory = worker_directory};
    /* A socket's path has room for 107 bytes. */
    if (!parent || strlen(parent) > 40) {
        parent = "/tmp";
    }
    snprintf(stage->directory, sizeof(stage->directory), "%s/kmem-demo.XXXXXX", parent);
    if (!mkdtemp(stage->directory)) {
        perror(stage->directory);
        stage->directory[0] = '\0';
        return -1;
    }
    snprintf(stage->socket, sizeof(stage->socket), "%s/demo.sock", stage->directory);
    snprintf(stage->log, sizeof(stage->log), "%s/kmemd.log", stage->directory);
    setenv("KMEM_SOCKET", stage->socket, 1);
    return start_daemon(stage, size);
}

static void remove_directory(const char *directory)
{
    DIR *listing = opendir(directory);
    struct dirent *entry;

    while (listing && (entry = readdir(listing))) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            unlinkat(dirfd(listing), entry->d_name, 0);
        }
    }
    if (listing) {
        closedir(listing);
    }
    rmdir(directory);
}

int stage_close(struct stage *stage)
{
    int status = 0;

    if (stage->daemon) {
        status = process_end(stage->daemon, SIGTERM);
        stage->daemon = 0;
    }
    if (stage->directory[0]) {
        remove_directory(stage->directory);
        stage->directory[0] = '\0';
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int stage_run(const struct stage *stage, const char *program, const char *argument)
{
    char path[4096];
    char *const argv[] = {path, (char *)argument, NULL};
    int status = 0;

    snprintf(path, sizeof(path), "%s/%s", stage->bin_directory, program);
    pid_t pid = process_start(argv, -1, STDOUT_FILENO, -1);
    if (waitpid(pid, &status, 0) != pid) {
        return 128;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ----------------------------------------------------------------------------------- files ---- */

static void files_add(struct inherited_fds *files, const char *path)
{
    files->paths = realloc(files->paths, (files->n_paths + 2) * sizeof(char *));
    char *copy = strdup(path);
    if (!files->paths || !copy) {
        perror("demo");
        exit(1);
    }
    files->paths[files->n_paths++] = copy;
    files->paths[files->n_paths] = NULL;
}

/* The size of a file that can be read and is not empty, else 0. Links are not followed. */
static size_t readable_bytes(const char *path)
{
    struct stat status;

    if (lstat(path, &status) < 0 || !S_ISREG(status.st_mode) || access(path, R_OK) < 0) {
        return 0;
    }
    return (size_t)status.st_size;
}

void files_licences(struct inherited_fds *files)
{
    glob_t found;

    *files = (struct inherited_fds){0};
    if (glob("/usr/share/common-licenses/*", 0, NULL, &found) == 0) {
        for (size_t i = 0; i < found.gl_pathc; i++) {
            if (readable_bytes(found.gl_pathv[i]) > 0) {
                files_add(files, found.gl_pathv[i]);
            }
        }
        globfree(&found);
    }
}

void files_copyrights(struct inherited_fds *files, size_t n_max, size_t n_max_bytes)
{
    glob_t found;
    size_t n_bytes = 0;

    *files = (struct inherited_fds){0};
    if (glob("/usr/share/doc/*/copyright", 0, NULL, &found) != 0) {
        return;
    }
    size_t step = found.gl_pathc / n_max + 1;
    for (size_t i = 0; i < found.gl_pathc && files->n_paths < n_max; i += step) {
        size_t more_bytes = readable_bytes(found.gl_pathv[i]);
        if (more_bytes > 0 && more_bytes <= COPYRIGHT_MAX_BYTES &&
            n_bytes + more_bytes <= n_max_bytes) {
            files_add(files, found.gl_pathv[i]);
            n_bytes += more_bytes;
        }
    }
    globfree(&found);
}

void files_free(struct inherited_fds *files)
{
    for (size_t i = 0; i < files->n_paths; i++) {
        free(files->paths[i]);
    }
    free(files->paths);
    *files = (struct inherited_fds){0};
}
