/* SPDX-License-Identifier: MIT */
/* A plugin that releases what the program allocates, and the other way round. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((visibility("default"))) char *plugin_exchange(char *from_program);

__attribute__((visibility("default"))) size_t plugin_keep_books(void);

/* What is allocated here is released here. */
size_t plugin_keep_books(void)
{
    char *text = NULL;
    size_t num_bytes = 0;
    FILE *file = open_memstream(&text, &num_bytes);
    for (int i = 0; file != NULL && i < 1000; i++) {
        (void)fprintf(file, "line %d\n", i);
    }
    (void)(file != NULL ? fclose(file) : 0);
    free(text);
    return num_bytes;
}

char *plugin_exchange(char *from_program)
{
    char *copy = strdup(from_program);
    free(from_program);
    return realloc(copy, 1000);
}
