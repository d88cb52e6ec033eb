/* SPDX-License-Identifier: MIT */
#include "daemon/changed.h"

#include <stdio.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/settings.h"

struct comparison {
    const struct options *old;
    const struct options *now;
    changed_fn each;
    void *user;
    uint32_t n;
};

/* What a row says of a value; of a list of none as of a section that is not there. */
static void value_print(const struct setting *setting, const void *place, char *ret_text)
{
    ret_text[0] = '\0';
    if (place) {
        (void)settings_value(setting, place, ret_text, CHANGED_TEXT_BYTES); /* its buffer */
    }
    if (ret_text[0] == '\0') {
        (void)snprintf(ret_text, CHANGED_TEXT_BYTES, "none"); /* fits */
    }
}

/* @section, @title: NULL: it stands in none. A place of NULL: there is no such section. */
static void settings_compare(struct comparison *comparison, const struct setting *setting,
                             const char *section, const char *title, const void *old,
                             const void *now)
{
    char key[SETTING_TEXT_BYTES];
    char old_text[CHANGED_TEXT_BYTES];
    char now_text[CHANGED_TEXT_BYTES];
    for (; setting->key; setting++) {
        value_print(setting, old, old_text);
        value_print(setting, now, now_text);
        if (strcmp(old_text, now_text) == 0) {
            continue;
        }
        (void)snprintf(key, sizeof(key), "%s%s%s%s%s", title ? section : "", title ? " \"" : "",
                       title ? title : "", title ? "\" " : "", setting->key); /* too long: cut */
        const struct changed changed = {key, old_text, now_text, setting->waits};
        comparison->each(&changed, comparison->user);
        comparison->n++;
    }
}

static const void *section_place(const struct setting_section *section,
                                 const struct options *options, const char *title)
{
    const char *one = NULL;
    const void *place = section->get(options, 0, &one);
    for (uint32_t i = 1; place && strcmp(one, title) != 0; i++) {
        place = section->get(options, i, &one);
    }
    /* cppcheck-suppress returnDanglingLifetime ; it lies in the options */
    return place;
}

static void sections_compare(struct comparison *comparison, const struct setting_section *section)
{
    const char *title;
    const void *now = section->get(comparison->now, 0, &title);
    for (uint32_t i = 1; now; i++) {
        settings_compare(comparison, section->settings, section->name, title,
                         section_place(section, comparison->old, title), now);
        now = section->get(comparison->now, i, &title);
    }
    const void *old = section->get(comparison->old, 0, &title);
    for (uint32_t i = 1; old; i++) {
        if (!section_place(section, comparison->now, title)) {
            settings_compare(comparison, section->settings, section->name, title, old, NULL);
        }
        old = section->get(comparison->old, i, &title);
    }
}

uint32_t changed_settings(const struct options *old, const struct options *now, changed_fn each,
                          void *user)
{
    const struct setting_table *table = settings_table();
    struct comparison comparison = {.old = old, .now = now, .each = each, .user = user};
    settings_compare(&comparison, table->settings, NULL, NULL, old, now);
    for (const struct setting_section *section = table->sections; section->name; section++) {
        sections_compare(&comparison, section);
    }
    return comparison.n;
}

void changed_log(const struct changed *changed, void *user)
{
    (void)user;
    if (changed->waits) {
        log_warning("%s = %s waits for a restart, %s stays in force: %s", changed->key,
                    changed->now, changed->old, changed->waits);
    } else {
        log_info("%s is %s now, and was %s", changed->key, changed->now, changed->old);
    }
}
