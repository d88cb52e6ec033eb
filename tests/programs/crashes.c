/* SPDX-License-Identifier: MIT */
/*
 * Ends with a core of it, in which these strings of its heap are to be read. With an argument it is
 * a child's core, with strings that it inherited.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

char *small_text;
char *large_text;

int main(int argc, char **argv)
{
    const size_t num_bytes = 300000;
    (void)argv;
    small_text = strdup("of a small block");
    large_text = malloc(num_bytes);
    if (small_text == NULL || large_text == NULL) {
        return EXIT_FAILURE;
    }
    memset(large_text, '.', num_bytes);
    memcpy(large_text + num_bytes - 100, "of a large one", sizeof("of a large one"));
    large_text += num_bytes - 100;
    const pid_t child = argc > 1 ? fork() : 0;
    if (child == 0) {
        abort();
    }
    int status = 0;
    (void)waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? EXIT_SUCCESS : EXIT_FAILURE;
}
