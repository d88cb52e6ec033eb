/* SPDX-License-Identifier: MIT */
/*
 * crash_point.c - what a process does at a named place: tests/crash/armed.h tells it from outside
 */
#include "proto/crash_point.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/crash/armed.h"

static void path_of(const char *name, char *path, size_t path_bytes)
{
    (void)snprintf(path, path_bytes, "%s/%s", getenv(ARMED_DIRECTORY), name); /* checked there */
}

static int number_of(const char *word)
{
    return word != NULL ? (int)strtol(word, NULL, 10) : 0;
}

/* The words of a line that armed_set() has written. Return: whether there is one. */
static int parse(char *text, struct armed *armed)
{
    char *rest = text;
    const char *const point = strtok_r(text, " \n", &rest);
    if (point == NULL) {
        return 0;
    }
    (void)snprintf(armed->point, sizeof(armed->point), "%s", point); /* fits, both */
    armed->nth = number_of(strtok_r(NULL, " \n", &rest));
    const char *const action = strtok_r(NULL, " \n", &rest);
    (void)snprintf(armed->action, sizeof(armed->action), "%s", action != NULL ? action : "");
    armed->value = number_of(strtok_r(NULL, " \n", &rest));
    armed->pid = number_of(strtok_r(NULL, " \n", &rest));
    return 1;
}

static int read_armed(struct armed *armed)
{
    char path[ARMED_PATH_BYTES];
    char text[256] = "";
    path_of(ARMED_FILE, path, sizeof(path));
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    const ssize_t n_bytes = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    return n_bytes > 0 && parse(text, armed);
}

/* Of all processes and threads that come here, one takes it. */
static int take_armed(void)
{
    char from[ARMED_PATH_BYTES];
    char to[ARMED_PATH_BYTES];
    path_of(ARMED_FILE, from, sizeof(from));
    path_of(ARMED_FIRED_FILE, to, sizeof(to));
    return rename(from, to) == 0;
}

static void act(const struct armed *armed)
{
    if (strcmp(armed->action, "kill") == 0) {
        (void)kill(getpid(), SIGKILL);
    } else if (strcmp(armed->action, "stop") == 0) {
        (void)kill(getpid(), SIGSTOP);
    } else if (strcmp(armed->action, "raise") == 0) {
        (void)kill(getpid(), armed->value);
    } else if (strcmp(armed->action, "delay") == 0) {
        const struct timespec pause = {armed->value / 1000, armed->value % 1000 * 1000000L};
        (void)nanosleep(&pause, NULL);
    } else {
        abort(); /* the test has misspelt it */
    }
}

void crash_point(const char *name)
{
    static int n_met; /* since it was armed, in this process */
    struct armed armed;
    if (getenv(ARMED_DIRECTORY) == NULL || !read_armed(&armed) || strcmp(name, armed.point) != 0 ||
        (armed.pid != 0 && armed.pid != getpid())) {
        return;
    }
    if (++n_met == armed.nth && take_armed()) {
        n_met = 0;
        act(&armed);
    }
}
