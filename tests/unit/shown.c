/* SPDX-License-Identifier: MIT */
#include "tests/unit/shown.h"

#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/status.h"
#include "tests/unit/unit.h"

#define GOLDEN_MAX_BYTES 16384

/* ----------------------------------------------------------------------------------- users ---- */

/* On any machine the users are root, and alice, whose name would colour a terminal. */
struct passwd *__wrap_getpwuid(uid_t uid);
struct passwd *__wrap_getpwuid(uid_t uid)
{
    static char names[][8] = {"root", "al\033ice"};
    static struct passwd entry;
    entry.pw_name = names[uid == 1000];
    return uid == 0 || uid == 1000 ? &entry : NULL;
}

/* --------------------------------------------------------------------------------- showing ---- */

struct shown show_at(unsigned n_columns, command_show_fn command, struct kmem_query query,
                     struct options options)
{
    struct shown shown = {0};
    size_t n_bytes = 0;
    struct screen screen = {.unicode = true, .n_columns = n_columns};

    screen.file = open_memstream(&shown.text, &n_bytes);
    screen.notes = screen.file;
    shown.status = command(&query, &options, &screen);
    (void)fclose(screen.file);
    return shown;
}

struct shown show(command_show_fn command, struct kmem_query query, struct options options)
{
    return show_at(0, command, query, options);
}

static char *golden_path(const char *name, char *path, size_t capacity_bytes)
{
    (void)snprintf(path, capacity_bytes, "%s/%s", KMEM_GOLDEN_DIR, name);
    return path;
}

void assert_golden(const char *name, struct shown shown)
{
    bool writes = getenv("KMEM_GOLDEN_WRITE") != NULL;
    char path[512];
    char wanted[GOLDEN_MAX_BYTES];
    FILE *file = fopen(golden_path(name, path, sizeof(path)), writes ? "w" : "r");

    assert_non_null(file);
    assert_int_equal(shown.status, STATUS_OK);
    if (writes) {
        (void)fputs(shown.text, file);
    } else {
        size_t n_bytes = fread(wanted, 1, sizeof(wanted) - 1, file);

        wanted[n_bytes] = '\0';
        assert_string_equal(shown.text, wanted);
    }
    (void)fclose(file);
    free(shown.text);
}

void assert_shows(command_show_fn command, struct kmem_query query, struct options options,
                  const char *wanted)
{
    struct shown shown = show(command, query, options);

    assert_string_equal(shown.text, wanted);
    assert_int_equal(shown.status, STATUS_OK);
    free(shown.text);
}
