/* SPDX-License-Identifier: MIT */
/*
 * config_text.c - libconfuse, and what it leaves to do
 *
 * libconfuse tells of each value when it has read it, with its line; the value is given to the
 * setting's parser there and then. It knows lists and sections, but
 *  - counts the line of a comment twice: comments are blanked before;
 *  - knows no comma between settings: those are blanked, too;
 *  - says nothing of an empty list: that gets one empty value;
 *  - lets a key be repeated: who was seen on which line is noted here;
 *  - stops at an unknown key: a statement that has one is blanked, and the text is read again;
 *  - ends the process, with status 2, if its scanner gets no memory: config_end().
 */
#include "daemon/config_text.h"

#include <confuse.h>
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/nearest.h"

/* A setting, or a section if there is none, that this file has set. */
struct seen {
    const struct setting *setting;
    const void *place;
    int line;
    unsigned n_values; /* that were given to its parser */
};

struct config_text {
    const struct setting_table *table;
    const char *path;
    char *text; /* as libconfuse gets it */
    struct options *options;
    struct origins *origins;
    struct complaints *complaints;
    cfg_t *root;
    cfg_opt_t *opts; /* all there are: the top's, and those of each section */
    struct seen *seen;
    size_t n_seen;
    cfg_t *section_cfg; /* of the section that is read; NULL: none */
    void *place;        /* its; NULL: its title was refused */
    bool is_final;      /* no key is unknown any more: values are set */
    char *unknown;      /* the key that was met; NULL: none */
    int unknown_line;
};

/* libconfuse has no place for a pointer of its user's. */
static struct config_text *reading;

/* -------------------------------------------------------------- what libconfuse can read ---- */

/* Blanks a comment at `at`, but its line ends. Return: where it ends; `at` if there is none. */
static char *comment_blank(char *at)
{
    char *end = at;
    if (at[0] == '#' || (at[0] == '/' && at[1] == '/')) {
        end = at + strcspn(at, "\n");
    } else if (at[0] == '/' && at[1] == '*') {
        char *close = strstr(at + 2, "*/");
        end = close ? close + 2 : at + strlen(at);
    }
    for (; at < end; at++) {
        *at = *at == '\n' ? '\n' : ' ';
    }
    return end;
}

/* Return: the end of a string in quotes, or of a word without. */
static char *word_end(char *at)
{
    const char quote = *at;
    if (quote != '"' && quote != '\'') {
        return at + strcspn(at, " \t\r\n\"'={}(),+#");
    }
    for (at++; *at != '\0' && *at != quote; at++) {
        at += at[0] == '\\' && at[1] != '\0';
    }
    return *at == '\0' ? at : at + 1;
}

/*
 * What libconfuse reads as it is meant. Room for two more bytes for each brace is needed.
 * An equals sign before a brace makes a list of it; a section has none.
 */
static void text_clean_up(char *text, char *ret_text)
{
    bool is_list = false;
    char last = '\0'; /* what is no space */
    while (*text != '\0') {
        char *end = comment_blank(text);
        end = end > text ? end : word_end(text);
        if (end > text) {
            last = *text == ' ' ? last : 'w';
            ret_text = mempcpy(ret_text, text, (size_t)(end - text));
            text = end;
            continue;
        }
        if (*text == '{') {
            is_list = last == '=';
        } else if (*text == '}') {
            ret_text = is_list && last == '{' ? stpcpy(ret_text, "\"\"") : ret_text;
            is_list = false;
        }
        const bool is_blank = *text == '\r' || (*text == ',' && !is_list);
        last = isspace((unsigned char)*text) ? last : *text;
        *ret_text++ = (char)(is_blank ? ' ' : *text);
        text++;
    }
    *ret_text = '\0';
}

/* Return: the text, cleaned up, the caller's; NULL: no memory. */
static char *text_dup_clean(const char *text)
{
    size_t n_braces = 0;
    for (const char *at = text; *at != '\0'; at++) {
        n_braces += *at == '}';
    }
    char *copy = strdup(text);
    char *clean = malloc(strlen(text) + 2 * n_braces + 1);
    if (copy && clean) {
        text_clean_up(copy, clean);
    }
    free(copy);
    return clean;
}

static char *space_end(char *at)
{
    return at + strspn(at, " \t\r\n");
}

/* Blanks `key = value`, or `key = {values}`. Return: whether it is one of these. */
static bool statement_blank(char *at, const char *key)
{
    char *end = word_end(at);
    const bool is_it = (size_t)(end - at) == strlen(key) && memcmp(at, key, strlen(key)) == 0;
    end = space_end(end);
    if (!is_it || *end != '=') {
        return false;
    }
    end = space_end(end + 1);
    for (bool in_list = *end == '{'; in_list && *end != '\0' && *end != '}';) {
        char *next = word_end(end);
        end = next > end ? next : end + 1;
    }
    end = *end == '}' ? end + 1 : word_end(end);
    for (; at < end; at++) {
        *at = *at == '\n' ? '\n' : ' ';
    }
    return true;
}

/* Blanks the statement that begins with this key on this line. Return: whether there is one. */
static bool text_blank_key(char *text, int line, const char *key)
{
    for (int n = 1; n < line && text; n++) {
        text = strchr(text, '\n');
        text = text ? text + 1 : NULL;
    }
    while (text && *text != '\0' && *text != '\n') {
        if (statement_blank(text, key)) {
            return true;
        }
        char *end = word_end(text);
        text = end > text ? end : text + 1;
    }
    return false;
}

/* --------------------------------------------------------------------- what it has found ---- */

static void config_complain(struct config_text *config, int line, const char *what, const char *why)
{
    complaints_add(config->complaints, "%s:%d: %s%s%s", config->path, line, what,
                   what[0] != '\0' ? ": " : "", why);
}

/* Return: what there is of this file already. */
static struct seen *seen_find(const struct config_text *config, const struct setting *setting,
                              const void *place)
{
    for (size_t i = 0; i < config->n_seen; i++) {
        struct seen *seen = &config->seen[i];
        if (seen->setting == setting && seen->place == place) {
            return seen;
        }
    }
    return NULL;
}

/* Return: NULL: there is no memory, which is a complaint. */
static struct seen *seen_add(struct config_text *config, const struct setting *setting,
                             const void *place, int line)
{
    struct seen *all = reallocarray(config->seen, config->n_seen + 1, sizeof(*all));
    if (!all) {
        complaints_note(config->complaints, ENOMEM);
        config_complain(config, line, "", strerror(ENOMEM));
        return NULL;
    }
    config->seen = all;
    all[config->n_seen] = (struct seen){.setting = setting, .place = place, .line = line};
    return &all[config->n_seen++];
}

static void config_complain_repeated(struct config_text *config, int line, const char *what,
                                     int first_line)
{
    char why[SETTING_TEXT_BYTES];
    (void)snprintf(why, sizeof(why), "it is set on line %d already: leave one of the two out",
                   first_line); /* fits */
    config_complain(config, line, what, why);
}

/* "user "alice" quota": as the operator finds it. Return: buffer, SETTING_TEXT_BYTES. */
static const char *key_describe(cfg_t *cfg, const char *key, char *buffer)
{
    const char *title = cfg_title(cfg);
    if (!title) {
        return key;
    }
    (void)snprintf(buffer, SETTING_TEXT_BYTES, "%s \"%s\"%s%s", cfg_name(cfg), title,
                   key[0] != '\0' ? " " : "", key); /* too long: cut */
    return buffer;
}

static const struct setting_section *section_find(const struct setting_table *table,
                                                  const char *name)
{
    const struct setting_section *section = table->sections;
    while (section->name && strcmp(section->name, name) != 0) {
        section++;
    }
    return section->name ? section : NULL;
}

/* A section begins: its place is found, once. */
static void config_enter(struct config_text *config, cfg_t *cfg)
{
    char why[SETTING_TEXT_BYTES] = "";
    char what[SETTING_TEXT_BYTES];
    const struct setting_section *section = section_find(config->table, cfg_name(cfg));
    const int line = config->root->line; /* its brace's, until it ends */
    config->section_cfg = cfg;
    config->place = section->open(config->options, cfg_title(cfg), why);
    if (!config->place) {
        config_complain(config, line, key_describe(cfg, "", what), why);
        return;
    }
    const struct seen *seen = seen_find(config, NULL, config->place);
    if (seen) {
        config_complain_repeated(config, line, key_describe(cfg, "", what), seen->line);
        config->place = NULL;
    } else {
        (void)seen_add(config, NULL, config->place, line); /* else it has complained */
    }
}

static void config_set(struct config_text *config, cfg_t *cfg, cfg_opt_t *opt,
                       const struct setting *setting, void *place)
{
    char why[SETTING_TEXT_BYTES];
    char what[SETTING_TEXT_BYTES];
    const unsigned n_values = cfg_opt_size(opt);
    struct seen *seen = seen_find(config, setting, place);
    if (!(opt->flags & CFGF_MODIFIED)) {
        return; /* the closing brace of a list */
    }
    opt->flags &= ~CFGF_MODIFIED; /* until the next value */
    if (seen && n_values == 1) {
        config_complain_repeated(config, cfg->line, key_describe(cfg, setting->key, what),
                                 seen->line);
    }
    if (seen && n_values != seen->n_values + 1) {
        return;
    }
    if (!seen && setting->is_list) {
        setting->clear(place);
    }
    seen = seen ? seen : seen_add(config, setting, place, cfg->line);
    if (!seen) {
        return;
    }
    seen->n_values = n_values;
    const char *value = cfg_opt_getnstr(opt, n_values - 1);
    const bool is_empty = setting->is_list && value[0] == '\0';
    if (!is_empty && !setting->parse(place, value, why)) {
        config_complain(config, cfg->line, key_describe(cfg, setting->key, what), why);
    }
    if (config->origins) {
        origins_note(config->origins,
                     &(struct origin){setting, (size_t)((char *)place - (char *)config->options),
                                      config->path, seen->line});
    }
}

/* cfg_validate_callback_t: a value was read, or a section to its end. */
static int config_found(cfg_t *cfg, cfg_opt_t *opt)
{
    struct config_text *config = reading;
    if (!config->is_final) {
        return 0;
    }
    const bool is_top = !cfg_title(cfg);
    if (opt->type == CFGT_SEC) {
        cfg_t *ended = cfg_opt_getnsec(opt, cfg_opt_size(opt) - 1);
        if (config->section_cfg == NULL) {
            config_enter(config, ended); /* an empty one */
        }
        config->section_cfg = NULL;
        return 0;
    }
    if (!is_top && config->section_cfg != cfg) {
        config_enter(config, cfg);
    }
    void *place = is_top ? config->options : config->place;
    const struct setting *settings =
        is_top ? config->table->settings : section_find(config->table, cfg_name(cfg))->settings;
    if (place) {
        config_set(config, cfg, opt, settings_find(settings, opt->name), place);
    }
    return 0;
}

static void config_complain_unknown(struct config_text *config, cfg_t *cfg, const char *key)
{
    char why[SETTING_TEXT_BYTES];
    struct nearest nearest = {.typed = key};
    const struct setting_section *within =
        cfg_title(cfg) ? section_find(config->table, cfg_name(cfg)) : NULL;
    const struct setting *setting = within ? within->settings : config->table->settings;
    for (; setting->key; setting++) {
        nearest_try(&nearest, setting->key);
    }
    for (const struct setting_section *section = config->table->sections; !within && section->name;
         section++) {
        nearest_try(&nearest, section->name);
    }
    (void)snprintf(why, sizeof(why), "there is no setting \"%.64s\"%s%s%s%s%s%s", key,
                   within ? " in a section \"" : "", within ? within->name : "", within ? "\"" : "",
                   nearest.meant ? "; did you mean \"" : "", nearest.meant ? nearest.meant : "",
                   nearest.meant ? "\"?" : "; see kmemd.conf(5)"); /* fits */
    config_complain(config, cfg->line, "", why);
}

/* cfg_errfunc_t: it reads no further. */
__attribute__((format(printf, 2, 0))) static void config_failed(cfg_t *cfg, const char *format,
                                                                va_list args)
{
    struct config_text *config = reading;
    char why[SETTING_TEXT_BYTES];
    va_list again;
    va_copy(again, args);
    if (strncmp(format, "no such option '%s'", sizeof("no such option '%s'") - 1) == 0) {
        const char *key = va_arg(again, const char *);
        if (!config->is_final) {
            config->unknown = strdup(key);
            config->unknown_line = cfg->line;
            config_complain_unknown(config, cfg, key);
        }
    } else if (config->is_final) {
        (void)vsnprintf(why, sizeof(why), format, args); /* too long: cut */
        config_complain(config, cfg->line, "", why);
    }
    va_end(again);
}

/* --------------------------------------------------------------------------- the reading ---- */

/* At exit(): while a text is read it is the scanner's, without memory. Else nothing is done. */
static void config_end(void)
{
    if (reading) {
        log_error("cannot read the configuration: %s", strerror(ENOMEM));
        _exit(EXIT_SYSTEM);
    }
}

static size_t settings_count(const struct setting *settings)
{
    size_t n = 0;
    while (settings[n].key) {
        n++;
    }
    return n;
}

/* Return: behind the last one that was made. */
static cfg_opt_t *opts_make(cfg_opt_t *opts, const struct setting *settings)
{
    for (; settings->key; settings++) {
        *opts = settings->is_list ? (cfg_opt_t)CFG_STR_LIST(settings->key, NULL, CFGF_NODEFAULT)
                                  : (cfg_opt_t)CFG_STR(settings->key, NULL, CFGF_NODEFAULT);
        opts++->validcb = config_found;
    }
    return opts;
}

/* What libconfuse is to know. Return: 0 or -ENOMEM. */
static int config_make_opts(struct config_text *config)
{
    const struct setting_table *table = config->table;
    size_t n = settings_count(table->settings) + 1;
    for (const struct setting_section *section = table->sections; section->name; section++) {
        n += settings_count(section->settings) + 2;
    }
    config->opts = calloc(n, sizeof(*config->opts));
    if (!config->opts) {
        return -ENOMEM;
    }
    cfg_opt_t *top = opts_make(config->opts, table->settings);
    size_t n_sections = 0;
    while (table->sections[n_sections].name) {
        n_sections++;
    }
    cfg_opt_t *free_opts = top + n_sections + 1; /* calloc() has ended the top's list */
    for (size_t i = 0; i < n_sections; i++) {
        top[i] = (cfg_opt_t)CFG_SEC(table->sections[i].name, free_opts, CFGF_MULTI | CFGF_TITLE);
        top[i].validcb = config_found;
        free_opts = opts_make(free_opts, table->sections[i].settings) + 1;
    }
    return 0;
}

static void config_read_once(struct config_text *config)
{
    config->root = cfg_init(config->opts, CFGF_NONE);
    config->section_cfg = NULL;
    if (!config->root) {
        complaints_note(config->complaints, ENOMEM);
        complaints_add(config->complaints, "%s: %s", config->path, strerror(ENOMEM));
        return;
    }
    (void)cfg_set_error_function(config->root, config_failed); /* it had none */
    (void)cfg_parse_buf(config->root, config->text);           /* config_failed() has heard why */
    (void)cfg_free(config->root);                              /* always 0 */
    config->root = NULL;
}

/* Until no simple statement has an unknown key. */
static void config_find_unknown(struct config_text *config)
{
    bool is_blanked = true;
    while (is_blanked) {
        config_read_once(config);
        is_blanked =
            config->unknown && text_blank_key(config->text, config->unknown_line, config->unknown);
        free(config->unknown);
        config->unknown = NULL;
    }
}

void config_text_apply(const struct setting_table *table, const char *path, const char *text,
                       struct options *options, struct origins *origins,
                       struct complaints *complaints)
{
    struct config_text config = {
        .table = table,
        .path = path,
        .text = text_dup_clean(text),
        .options = options,
        .origins = origins,
        .complaints = complaints,
    };
    static bool is_told;
    is_told = is_told || atexit(config_end) == 0; /* or the status is another, without memory */
    reading = &config;
    if (!config.text || config_make_opts(&config)) {
        complaints_note(complaints, ENOMEM);
        complaints_add(complaints, "%s: %s", path, strerror(ENOMEM));
    } else {
        config_find_unknown(&config);
        config.is_final = true;
        config_read_once(&config);
    }
    reading = NULL;
    free(config.text);
    free(config.opts);
    free(config.seen);
}
