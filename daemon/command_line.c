/* SPDX-License-Identifier: MIT */
#include "daemon/command_line.h"

#include <argp.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/complaints.h"
#include "daemon/config.h"
#include "daemon/config_text.h"
#include "daemon/log.h"
#include "daemon/origins.h"
#include "daemon/settings.h"

/* What is an option alone: which files to read, and what to do. */
enum {
    OPTION_CONFIG = 256,
    OPTION_DEFAULT,
    OPTION_COMPARE,
    OPTION_CHECK,
    OPTION_DUMP,
    OPTION_SETTINGS, /* the first of them */
};

static const struct argp_option own_options[] = {
    {"name", 'n', "NAME", 0, "Name of the segment (default: default)", 0},
    {"config", OPTION_CONFIG, "FILE", 0,
     "Read this configuration file and no other (default: conf.d/*.conf, NAME.conf and "
     "NAME.conf.d/*.conf in /etc/kmemd, or in $XDG_CONFIG_HOME/kmemd for a user's own daemon)",
     0},
    {"default", OPTION_DEFAULT, "KEY=VALUE", 0,
     "What is so unless a configuration file says otherwise: a line of such a file, read before "
     "all "
     "others",
     0},
    {"compare", OPTION_COMPARE, "PID", 0,
     "Serve nothing, but say which of these options the daemon PID was not started with", 0},
    {"check", OPTION_CHECK, NULL, 0,
     "Serve nothing, but read all, and say what is wrong, or which files were read", 0},
    {"dump-config", OPTION_DUMP, NULL, 0,
     "Serve nothing, but print every setting as a configuration file, with where it comes from", 0},
    {NULL, 'h', NULL, OPTION_HIDDEN, NULL, 0}, /* beside argp's own -? and --help */
};
#define N_OWN_OPTIONS (sizeof(own_options) / sizeof(own_options[0]))

/* 64: the number of settings, twice. */
#define N_SETTINGS_MAX 64

struct command_line {
    struct options *options;
    struct origins *origins;
    struct complaints *complaints;
    struct config *defaults; /* where --default goes; NULL: it is there already */
    struct complaints *defaults_complaints;
    bool is_given[N_SETTINGS_MAX]; /* a list is begun anew by its first option */
};

/* ---------------------------------------------------------------------- the command line ---- */

static void name_parse(struct command_line *line, const char *text)
{
    const size_t n_bytes = strlen(text);
    bool valid = n_bytes >= 1 && n_bytes <= NAME_MAX_BYTES && isalnum((unsigned char)text[0]);
    for (size_t i = 0; i < n_bytes && valid; i++) {
        valid = isalnum((unsigned char)text[i]) || strchr("._-", text[i]);
    }
    if (!valid) {
        complaints_add(
            line->complaints,
            "--name: \"%s\" is no name for a segment: use letters, digits, '.', '_' and '-', "
            "at most %d, a letter or digit first",
            text, NAME_MAX_BYTES);
        return;
    }
    (void)snprintf(line->options->name, sizeof(line->options->name), "%s", text); /* fits */
}

static void config_parse(struct command_line *line, const char *text)
{
    struct options *options = line->options;
    if (text[0] == '\0' || strlen(text) >= sizeof(options->config_path)) {
        complaints_add(line->complaints, "--config: \"%s\" is no path of a file", text);
        return;
    }
    (void)snprintf(options->config_path, sizeof(options->config_path), "%s", text); /* fits */
}

static void default_parse(struct command_line *line, const char *text)
{
    if (line->defaults && config_add(line->defaults, CONFIG_DEFAULT, text)) {
        complaints_note(line->defaults_complaints, ENOMEM);
        complaints_add(line->defaults_complaints, "--default: %s", strerror(ENOMEM));
    }
}

static void compare_parse(struct command_line *line, const char *text)
{
    char *end;
    const long pid = strtol(text, &end, 10);
    if (*end != '\0' || pid <= 0 || pid > INT_MAX) {
        complaints_add(line->complaints, "--compare takes the number of a process, not \"%s\"",
                       text);
        return;
    }
    line->options->compare_pid = (pid_t)pid;
}

static void value_parse(struct command_line *line, const struct setting *setting, const char *text)
{
    char why[SETTING_TEXT_BYTES];
    if (!setting->parse(line->options, text, why)) {
        complaints_add(line->complaints, "--%s: %s", setting->key, why);
    }
}

/* "a,b": each of them. */
static void list_parse(struct command_line *line, const struct setting *setting, const char *text)
{
    char *copy = strdup(text);
    char *rest = copy;
    char *value = copy ? strsep(&rest, ",") : NULL;
    if (!copy) {
        complaints_note(line->complaints, ENOMEM);
        complaints_add(line->complaints, "--%s: %s", setting->key, strerror(ENOMEM));
    }
    for (; value; value = strsep(&rest, ",")) {
        if (value[0] != '\0') {
            value_parse(line, setting, value);
        }
    }
    free(copy);
}

static void setting_parse(struct command_line *line, size_t idx, const char *text)
{
    const struct setting *setting = &settings_table()->settings[idx];
    if (setting->is_list) {
        if (!line->is_given[idx]) {
            setting->clear(line->options);
        }
        list_parse(line, setting, text);
    } else {
        value_parse(line, setting, text ? text : "on");
    }
    line->is_given[idx] = true;
    if (line->origins) {
        origins_note(line->origins, &(struct origin){.setting = setting});
    }
}

static error_t option_parse(int key, char *text, struct argp_state *state)
{
    struct command_line *line = state->input;
    const struct setting *settings = settings_table()->settings;
    switch (key) {
    case 'n':
        name_parse(line, text);
        return 0;
    case 'h':
        argp_state_help(state, stdout, ARGP_HELP_STD_HELP); /* ends the program */
        return 0;
    case OPTION_CONFIG:
        config_parse(line, text);
        return 0;
    case OPTION_DEFAULT:
        default_parse(line, text);
        return 0;
    case OPTION_COMPARE:
        compare_parse(line, text);
        return 0;
    case OPTION_CHECK:
        line->options->check = true;
        return 0;
    case OPTION_DUMP:
        line->options->dump = true;
        return 0;
    case ARGP_KEY_ARG:
        complaints_add(line->complaints, "\"%s\" is no option", text);
        return 0;
    default:
        for (size_t i = 0; settings[i].key; i++) {
            if (key == (settings[i].letter ? settings[i].letter : OPTION_SETTINGS + (int)i)) {
                setting_parse(line, i, text);
                return 0;
            }
        }
        return ARGP_ERR_UNKNOWN;
    }
}

static void version_print(FILE *stream, struct argp_state *state)
{
    (void)state;
    (void)fprintf(stream, "kmemd %s (protocol %u.%u)\n", KMEM_VERSION,
                  PROTOCOL_MAJOR(PROTOCOL_VERSION), PROTOCOL_VERSION & 0xffff);
}

/* All options: those of the settings, and the own ones. Return: for argp. */
static const struct argp_option *options_list(void)
{
    static struct argp_option all[N_OWN_OPTIONS + N_SETTINGS_MAX + 1];
    const struct setting *setting = settings_table()->settings;
    struct argp_option *option = mempcpy(all, own_options, sizeof(own_options));
    for (int key = OPTION_SETTINGS; setting->key; setting++, key++, option++) {
        KMEM_ASSERT(key - OPTION_SETTINGS < N_SETTINGS_MAX);
        *option = (struct argp_option){
            .name = setting->key,
            .key = setting->letter ? setting->letter : key,
            .arg = setting->argument,
            .flags = setting->is_switch ? OPTION_ARG_OPTIONAL : 0,
            .doc = setting->help,
        };
    }
    *option = (struct argp_option){.name = NULL};
    return all;
}

static void line_read(struct command_line *line, int argc, char **argv)
{
    const struct argp parser = {
        .options = options_list(),
        .parser = option_parse,
        .doc = "kmemd owns a segment of shared memory and serves blocks of it to other processes, "
               "with an owner and a reason for each.\v"
               "SIGTERM and SIGINT end it, SIGHUP upgrades it to the program on disk. Exit status: "
               "0 after SIGTERM, 64 for a wrong option or configuration, 71 if the system does not "
               "give what is needed, 73 if the socket can not be made or is another daemon's, 77 "
               "without permission, 78 if it can not go on with the segment that it was given. See "
               "kmemd(8) and kmemd.conf(5).",
    };
    argp_err_exit_status = EXIT_USAGE;
    argp_program_version_hook = version_print;
    const error_t error = argp_parse(&parser, argc, argv, 0, NULL, line);
    if (error) {
        /* Whatever is wrong with an option is a complaint, or has ended the process already. */
        log_error("cannot read the options: %s", strerror(error));
        exit(EXIT_SYSTEM);
    }
}

/* ----------------------------------------------------------------------------- all of it ---- */

/* Where the socket is if nothing else is said. */
static void socket_default(struct options *options, struct complaints *complaints)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    const struct setting *setting = settings_find(settings_table()->settings, "socket");
    char why[SETTING_TEXT_BYTES];
    char path[4096];
    if (runtime && runtime[0] == '/') {
        (void)snprintf(path, sizeof(path), "%s/kmemd/%s.sock", runtime, options->name); /* cut */
    } else if (geteuid() == 0) {
        (void)snprintf(path, sizeof(path), "/run/kmemd/%s.sock", options->name); /* fits */
    } else {
        complaints_add(complaints,
                       "where to listen? $XDG_RUNTIME_DIR is not set; use --socket PATH");
        return;
    }
    if (!setting->parse(options, path, why)) {
        complaints_add(complaints, "--socket: %s", why);
    }
}

static void backing_fit(const struct options *options, struct complaints *complaints)
{
    const bool is_reserved =
        options->hugepages == HUGEPAGES_2M || options->hugepages == HUGEPAGES_1G;
    const unsigned shift = options->hugepages == HUGEPAGES_1G ? 30 : 21;
    if (is_reserved && options->segment_bytes % (UINT64_C(1) << shift) != 0) {
        complaints_add(complaints,
                       "--hugepages: a segment of such pages has whole ones: --size is to be a "
                       "multiple of %s",
                       shift == 30 ? "1GiB" : "2MiB");
    }
    if ((is_reserved || options->lock) && options->most_bytes > options->segment_bytes) {
        complaints_add(complaints,
                       "--max-size is more than --size: a segment that is locked, or made of "
                       "reserved huge pages, can not grow");
    }
    if (is_reserved && options->lazy) {
        complaints_add(complaints,
                       "--hugepages=%s takes pages that are reserved already, and "
                       "--commit=lazy none: leave one of them out",
                       shift == 30 ? "1G" : "2M");
    }
    if (options->lock && options->lazy) {
        complaints_add(complaints, "--lock keeps all of the segment in memory, and --commit=lazy "
                                   "takes none before it is used: leave one of them out");
    }
}

/* What has to fit together. */
static void options_end(struct options *options, struct complaints *complaints)
{
    char why[SETTING_TEXT_BYTES];
    if (!options_settle_size(options)) {
        complaints_add(complaints,
                       "--max-size is less than --size: leave it out, or make it larger");
    }
    if (options->no_readers && options->has_reader_group) {
        complaints_add(complaints,
                       "--reader-group lets its members read, and --readers=none nobody: leave one "
                       "of them out");
    }
    backing_fit(options, complaints);
    for (uint32_t i = 0; i < options->rules.n_budgets; i++) {
        if (options->rules.budgets[i].max_bytes == 0) {
            complaints_add(complaints, "budget \"%s\" has no max: write max = 64MiB, say",
                           options->rules.budgets[i].pattern);
        }
    }
    if (rules_check(&options->rules, options->segment_bytes, why, sizeof(why))) {
        complaints_add(complaints, "%s", why);
    }
    if (options->socket_path[0] == '\0') {
        socket_default(options, complaints);
    }
}

void command_line_read_files(struct config *config, int argc, char **argv,
                             struct complaints *complaints)
{
    struct options named;
    struct complaints unheard = {.n = 0}; /* of values: command_line_read() tells of them */
    options_set_default(&named);
    line_read(&(struct command_line){.options = &named,
                                     .complaints = &unheard,
                                     .defaults = config,
                                     .defaults_complaints = complaints},
              argc, argv);
    config_read(config, named.name, named.config_path[0] != '\0' ? named.config_path : NULL,
                complaints);
}

void command_line_read(struct options *options, int argc, char **argv, const struct config *config,
                       struct origins *origins, struct complaints *complaints)
{
    options_set_default(options);
    config_apply(config, settings_table(), options, origins, complaints);
    line_read(
        &(struct command_line){.options = options, .origins = origins, .complaints = complaints},
        argc, argv);
    if (config->fixed) {
        struct complaints unheard = {.n = 0}; /* another version's settings are not in force here */
        config_text_apply(settings_table(), "", config->fixed, options, NULL, &unheard);
    }
    options_end(options, complaints);
}

void command_line_complain(const char *sentence, void *user)
{
    (void)user;
    (void)fprintf(stderr, "kmemd: %s\n", sentence); /* the exit status says it, too */
}

void command_line_log(const char *sentence, void *user)
{
    (void)user;
    log_error("%s", sentence);
}

void command_line_parse(struct options *options, int argc, char **argv, const struct config *config,
                        struct complaints *complaints)
{
    command_line_read(options, argc, argv, config, NULL, complaints);
    if (complaints->n > 0) {
        if (complaints->has_fault) {
            log_error("cannot start: the configuration can not be read");
        } else if (complaints->say == command_line_complain) {
            (void)fprintf(stderr, "Try `kmemd --help' or kmemd.conf(5) for more information.\n");
        }
        exit(complaints->has_fault ? EXIT_SYSTEM : EXIT_USAGE);
    }
}
