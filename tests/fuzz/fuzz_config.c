/* SPDX-License-Identifier: MIT */
/*
 * fuzz_config.c - the text of a configuration file, whatever it is
 *
 * The first byte says how the rest is a text: as it is, or as words: keys of the table, values,
 * signs. What is taken without a complaint is printed and read again: it gives the same options,
 * and the same text. Every complaint is one line that a terminal may see.
 */
#include <stdio.h>
#include <string.h>

#include "daemon/config_print.h"
#include "daemon/config_text.h"
#include "tests/fuzz/fuzz.h"

#define TEXT_MAX_BYTES 2048
#define PRINTED_MAX_BYTES 65536

static char text[TEXT_MAX_BYTES];

static void say(const char *sentence, void *user)
{
    (void)user;
    EXPECT(sentence[0] != '\0');
    EXPECT(fuzz_is_safe(sentence, strlen(sentence)));
}

static uint32_t apply(const char *what, struct options *options)
{
    struct complaints complaints = {.say = say};
    config_text_apply(settings_table(), "/fuzz.conf", what, options, NULL, &complaints);
    return complaints.n;
}

static void print(const struct options *options, char *ret_printed)
{
    static struct origins none;
    FILE *file = fmemopen(ret_printed, PRINTED_MAX_BYTES, "w");
    EXPECT(file);
    config_print(file, options, &none);
    EXPECT(fclose(file) == 0);
    EXPECT(strlen(ret_printed) < PRINTED_MAX_BYTES - 1);
}

static void check_again(const struct options *options)
{
    static char printed[PRINTED_MAX_BYTES];
    static char printed_again[PRINTED_MAX_BYTES];
    static struct options again;
    print(options, printed);
    options_set_default(&again);
    EXPECT(apply(printed, &again) == 0);
    print(&again, printed_again);
    EXPECT(strcmp(printed, printed_again) == 0);
}

/* A key, a section's name, or one of the other words and signs. */
static const char *choose_word(struct choices *choices)
{
    static const char *const words[] = {
        " = ",
        "\n",
        ", ",
        "{",
        "}",
        "\"",
        "# ",
        "/*",
        "*/",
        "//",
        "0",
        "1",
        "64MiB",
        "1.5G",
        "on",
        "off",
        "none",
        "\\",
        "=",
        "'",
        "\"a\"",
        "{\"root\"}",
        "@root",
        "eager",
        "lazy",
        "no",
        "${A}",
        "+=",
        ";",
        "1T",
        "10s",
        "include(\"/etc/passwd\")",
        "\x1b[31m",
        "\xff",
        "500ms",
        "warn",
        "user \"root\" ",
    };
    const size_t n_words = sizeof(words) / sizeof(words[0]);
    const struct setting *settings = settings_table()->settings;
    const uint8_t which = choose_byte(choices);
    if (which < n_words) {
        return words[which];
    }
    size_t n_keys = 0;
    while (settings[n_keys].key) {
        n_keys++;
    }
    return n_keys == 0 ? "" : settings[(which - n_words) % n_keys].key;
}

static void choose_text(struct choices *choices)
{
    size_t n = 0;
    if (choose_whether(choices)) {
        n = choose_bytes(choices, text, sizeof(text) - 1);
    }
    while (has_choices(choices)) {
        const char *word = choose_word(choices);
        if (n + strlen(word) >= sizeof(text)) {
            break;
        }
        memcpy(text + n, word, strlen(word));
        n += strlen(word);
    }
    text[n] = '\0';
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes)
{
    static struct options options;
    struct choices choices = choices_of(bytes, n_bytes);
    choose_text(&choices);
    options_set_default(&options);
    if (apply(text, &options) == 0) {
        check_again(&options);
    }
    return 0;
}
