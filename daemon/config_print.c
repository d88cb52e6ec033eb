/* SPDX-License-Identifier: MIT */
#include "daemon/config_print.h"

#include <ctype.h>
#include <string.h>

#include "proto/text.h"

/* Without quotes, if libconfuse reads it as one word so. */
static void value_print(FILE *file, const char *value)
{
    bool is_word = value[0] != '\0' && !strstr(value, "//");
    for (const char *at = value; *at != '\0' && is_word; at++) {
        is_word = isalnum((unsigned char)*at) || strchr("._/@-", *at);
    }
    (void)fputs(is_word ? "" : "\"", file); /* whose file it is looks for failures */
    for (; *value != '\0'; value++) {
        if (strchr("\"\\$", *value)) {
            (void)fprintf(file, "\\%c", *value);
        } else if ((unsigned char)*value < ' ') {
            (void)fprintf(file, "\\x%02x", (unsigned char)*value);
        } else {
            (void)fputc(*value, file);
        }
    }
    (void)fputs(is_word ? "" : "\"", file);
}

static void values_print(FILE *file, const struct setting *setting, const void *place)
{
    char value[SETTING_TEXT_BYTES];
    (void)fprintf(file, "%s = %s", setting->key, setting->is_list ? "{" : "");
    for (uint32_t i = 0; setting->print(place, i, value); i++) {
        (void)fputs(i > 0 ? ", " : "", file);
        value_print(file, value);
    }
    (void)fputs(setting->is_list ? "}" : "", file);
}

static void origin_print(FILE *file, const struct origin *origin)
{
    char path[PATH_MAX];
    if (!origin) {
        (void)fputs(" # default\n", file);
    } else if (!origin->path) {
        (void)fputs(" # command line\n", file);
    } else {
        (void)text_escape(origin->path, strlen(origin->path), path, sizeof(path)); /* cut */
        (void)fprintf(file, " # %s:%d\n", path, origin->line);
    }
}

/* @origins: NULL: those that are fixed, without. */
static void settings_print(FILE *file, const struct setting *setting, const char *indent,
                           const void *place, const struct options *options,
                           const struct origins *origins)
{
    char value[SETTING_TEXT_BYTES];
    const size_t at = (size_t)((const char *)place - (const char *)options);
    for (; setting->key; setting++) {
        const bool is_set = setting->is_list || setting->print(place, 0, value);
        if (!is_set || (!origins && (!setting->waits || setting->is_files))) {
            continue;
        }
        (void)fputs(indent, file);
        values_print(file, setting, place);
        if (origins) {
            origin_print(file, origins_find(origins, setting, at));
        } else {
            (void)fputc('\n', file);
        }
    }
}

void config_print(FILE *file, const struct options *options, const struct origins *origins)
{
    const struct setting_table *table = settings_table();
    (void)fprintf(file, "# segment \"%s\"\n", options->name);
    settings_print(file, table->settings, "", options, options, origins);
    for (const struct setting_section *section = table->sections; section->name; section++) {
        const char *title;
        const void *place = section->get(options, 0, &title);
        for (uint32_t i = 1; place; i++) {
            (void)fprintf(file, "%s ", section->name);
            value_print(file, title);
            (void)fputs(" {\n", file);
            settings_print(file, section->settings, "    ", place, options, origins);
            (void)fputs("}\n", file);
            place = section->get(options, i, &title);
        }
    }
}

void config_print_fixed(FILE *file, const struct options *options)
{
    settings_print(file, settings_table()->settings, "", options, options, NULL);
}
