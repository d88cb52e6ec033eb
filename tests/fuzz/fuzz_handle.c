/* SPDX-License-Identifier: MIT */
/*
 * fuzz_handle.c - a handle as text: one text for each handle, and one handle for each text
 *
 * The first byte says which way: the rest is a text to be read, or the parts of a handle.
 */
#include <errno.h>
#include <string.h>

#include "client/handle_text.h"
#include "tests/fuzz/fuzz.h"

#define TEXT_MAX_BYTES 512

static bool is_same(const struct handle_text *one, const struct handle_text *other)
{
    return strcmp(one->host, other->host) == 0 && strcmp(one->segment, other->segment) == 0 &&
           one->handle.offset == other->handle.offset &&
           one->handle.num_bytes == other->handle.num_bytes &&
           one->handle.generation == other->handle.generation &&
           one->handle.tag == other->handle.tag;
}

/* A text that is read is the text that the handle has. */
static void read_text(const char *text)
{
    static struct failure failure;
    struct handle_text handle;
    char printed[TEXT_MAX_BYTES];
    const int r = kmem__handle_parse(text, &handle, &failure);
    if (r == 0) {
        EXPECT(kmem__handle_print(&handle, printed, sizeof(printed)) == strlen(text));
        EXPECT(strcmp(printed, text) == 0);
        return;
    }
    EXPECT(r == -EINVAL);
    EXPECT(failure.error == EINVAL);
    EXPECT(fuzz_is_safe(failure.sentence, strlen(failure.sentence)));
}

/* Names of what they are made of; a choice of bytes would hardly ever be one. */
static void choose_name(struct choices *choices, char *name, size_t most)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const size_t n_bytes = 1 + choose_below(choices, (uint32_t)most);
    for (size_t i = 0; i < n_bytes; i++) {
        name[i] = letters[choose_below(choices, sizeof(letters) - 1)];
    }
    name[n_bytes] = '\0';
}

static void print_handle(struct choices *choices)
{
    static struct failure failure;
    struct handle_text handle = {.host = ""};
    struct handle_text read;
    char text[TEXT_MAX_BYTES];
    choose_name(choices, handle.host, HOST_MAX_BYTES);
    choose_name(choices, handle.segment, NAME_MAX_BYTES);
    handle.handle.offset = choose_number(choices);
    handle.handle.num_bytes = choose_number(choices);
    handle.handle.generation = choose_number(choices);
    handle.handle.tag = choose_number(choices);
    const size_t length = kmem__handle_print(&handle, text, sizeof(text));
    EXPECT(length < sizeof(text));
    EXPECT(length == strlen(text));
    const int r = kmem__handle_parse(text, &read, &failure);
    /* No block begins at 0, none has 0 bytes, and generations begin at 1. */
    const bool is_one = handle.handle.offset && handle.handle.num_bytes && handle.handle.generation;
    EXPECT((r == 0) == is_one);
    EXPECT(r || is_same(&handle, &read));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    struct choices choices = choices_of(bytes, n_bytes);
    char text[TEXT_MAX_BYTES];
    if (choose_whether(&choices)) {
        print_handle(&choices);
        return 0;
    }
    const size_t length = choose_bytes(&choices, text, sizeof(text) - 1);
    text[length] = '\0';
    read_text(text);
    return 0;
}
