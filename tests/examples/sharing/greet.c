/* SPDX-License-Identifier: MIT */
/* greet.c NAME TEXT - publish a text under a name, and copy input to output until it ends */
#include <stdio.h>
#include <string.h>

#include <kmem/share.h>

int main(int argc, char **argv)
{
    if (argc != 3) {
        (void)fprintf(stderr, "usage: greet NAME TEXT\n");
        return 2;
    }
    const size_t n_bytes = strlen(argv[2]) + 1;
    char *text = kmem_try_allocate_with(n_bytes, KMEM_SHAREABLE, "greet/text");
    if (text != NULL) {
        memcpy(text, argv[2], n_bytes);
    }
    if (text == NULL || kmem_publish(text, argv[1], KMEM_GIVE, NULL) < 0) {
        (void)fprintf(stderr, "greet: %s\n", kmem_last_error());
        return 1;
    }
    for (int c = getchar(); c != EOF; c = getchar()) {
        (void)putchar(c);
    }
    return 0; /* its name ends with the process */
}
