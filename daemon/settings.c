/* SPDX-License-Identifier: MIT */
#include "daemon/settings.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/setting_rules.h"
#include "daemon/settings_users.h"
#include "proto/text.h"

/* An hour: more is as good as never. */
#define WATCHDOG_MAX_S 3600

/* What stands for a size that follows from another. */
#define USUAL "usual"

static_assert(SHARE_NAMES_MAX == 32768 && SHARE_NAMES_USUAL == 4096, "as --help says");

/* --------------------------------------------------------------------- what is made once ---- */

static bool segment_parse(const char *text, uint64_t *ret_num_bytes, char *ret_why)
{
    uint64_t num_bytes;
    char lowest[TEXT_BYTES_MAX];
    char highest[TEXT_BYTES_MAX];
    (void)text_format_bytes(SEGMENT_MIN_BYTES, lowest, sizeof(lowest));   /* its buffer */
    (void)text_format_bytes(SEGMENT_MAX_BYTES, highest, sizeof(highest)); /* likewise */
    if (!setting_parse_bytes(text, false, &num_bytes, ret_why)) {
        return false;
    }
    if (num_bytes < SEGMENT_MIN_BYTES || num_bytes > SEGMENT_MAX_BYTES) {
        return setting_refuse(ret_why, "a segment can not have %s: it has %s to %s", text, lowest,
                              highest);
    }
    if (num_bytes % PAGE_BYTES != 0) {
        return setting_refuse(ret_why,
                              "a segment can not have %s (%llu bytes): it has whole pages of %llu",
                              text, (unsigned long long)num_bytes, (unsigned long long)PAGE_BYTES);
    }
    *ret_num_bytes = num_bytes;
    return true;
}

static bool size_parse(void *place, const char *text, char *ret_why)
{
    struct options *options = place;
    return segment_parse(text, &options->segment_bytes, ret_why);
}

static bool size_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct options *options = place;
    const uint64_t asked_bytes = options->asked_bytes; /* not what it was resized to */
    setting_print_bytes(asked_bytes > 0 ? asked_bytes : options->segment_bytes, ret_text);
    return idx == 0;
}

static bool max_size_parse(void *place, const char *text, char *ret_why)
{
    struct options *options = place;
    options->most_bytes = 0;
    return strcmp(text, USUAL) == 0 || segment_parse(text, &options->most_bytes, ret_why);
}

static bool max_size_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct options *options = place;
    if (options->is_usual_most || options->most_bytes == 0) {
        setting_print_word(USUAL, ret_text);
    } else {
        setting_print_bytes(options->most_bytes, ret_text);
    }
    return idx == 0;
}

static bool socket_parse(void *place, const char *text, char *ret_why)
{
    struct options *options = place;
    if (text[0] == '\0' || strlen(text) > SOCKET_PATH_MAX_BYTES) {
        return setting_refuse(ret_why,
                              "\"%.80s\" is no path for a socket: the kernel takes 1 to %d bytes",
                              text, SOCKET_PATH_MAX_BYTES);
    }
    (void)snprintf(options->socket_path, sizeof(options->socket_path), "%s", text); /* fits */
    return true;
}

static bool socket_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct options *options = place;
    setting_print_word(options->socket_path, ret_text);
    return idx == 0 && options->socket_path[0] != '\0';
}

static bool commit_parse(void *place, const char *text, char *ret_why)
{
    struct options *options = place;
    const bool is_lazy = strcmp(text, "lazy") == 0;
    if (!is_lazy && strcmp(text, "eager") != 0) {
        return setting_refuse(ret_why, "\"%.80s\" is not known: write eager or lazy", text);
    }
    options->lazy = is_lazy;
    return true;
}

static bool commit_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct options *options = place;
    setting_print_word(options->lazy ? "lazy" : "eager", ret_text);
    return idx == 0;
}

static const char *const hugepages_words[] = {
    [HUGEPAGES_TRY] = "try", [HUGEPAGES_NO] = "no", [HUGEPAGES_2M] = "2M", [HUGEPAGES_1G] = "1G"};

static bool hugepages_parse(void *place, const char *text, char *ret_why)
{
    struct options *options = place;
    for (size_t i = 0; i < sizeof(hugepages_words) / sizeof(hugepages_words[0]); i++) {
        if (strcmp(text, hugepages_words[i]) == 0) {
            options->hugepages = (enum hugepages)i;
            return true;
        }
    }
    return setting_refuse(ret_why, "\"%.80s\" is not known: write no, try, 2M or 1G", text);
}

static bool hugepages_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct options *options = place;
    setting_print_word(hugepages_words[options->hugepages], ret_text);
    return idx == 0;
}

static bool numa_parse(void *place, const char *text, char *ret_why)
{
    struct options *options = place;
    char *end = NULL;
    const bool is_node = strncmp(text, "node ", 5) == 0 && isdigit((unsigned char)text[5]);
    const unsigned long node = is_node ? strtoul(text + 5, &end, 10) : 0;
    if (is_node && *end == '\0' && node < UINT32_MAX) {
        options->numa = NUMA_NODE;
        options->numa_node = (uint32_t)node;
    } else if (strcmp(text, "local") == 0 || strcmp(text, "interleave") == 0) {
        options->numa = text[0] == 'l' ? NUMA_LOCAL : NUMA_INTERLEAVE;
    } else {
        return setting_refuse(
            ret_why, "\"%.80s\" is not known: write local, interleave or \"node 0\"", text);
    }
    return true;
}

static bool numa_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct options *options = place;
    if (options->numa == NUMA_NODE) {
        (void)snprintf(ret_text, SETTING_TEXT_BYTES, "node %u", options->numa_node); /* fits */
    } else {
        setting_print_word(options->numa == NUMA_LOCAL ? "local" : "interleave", ret_text);
    }
    return idx == 0;
}

static bool lock_parse(void *place, const char *text, char *ret_why)
{
    struct options *options = place;
    return setting_parse_switch(text, &options->lock, ret_why);
}

static bool lock_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct options *options = place;
    setting_print_word(options->lock ? "on" : "off", ret_text);
    return idx == 0;
}

static bool scrub_parse(void *place, const char *text, char *ret_why)
{
    struct options *options = place;
    bool is_on = !options->no_scrub;
    const bool is_known = setting_parse_switch(text, &is_on, ret_why);
    options->no_scrub = !is_on;
    return is_known;
}

static bool scrub_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct options *options = place;
    setting_print_word(options->no_scrub ? "off" : "on", ret_text);
    return idx == 0;
}

static bool dontdump_parse(void *place, const char *text, char *ret_why)
{
    struct options *options = place;
    bool is_on = !options->dumps;
    const bool is_known = setting_parse_switch(text, &is_on, ret_why);
    options->dumps = !is_on;
    return is_known;
}

static bool dontdump_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct options *options = place;
    setting_print_word(options->dumps ? "off" : "on", ret_text);
    return idx == 0;
}

/* -------------------------------------------------------------------------- who may join ---- */

static bool group_parse(void *place, const char *text, char *ret_why)
{
    struct options *options = place;
    return setting_parse_group(text, &options->has_group, &options->group, ret_why);
}

static bool group_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct options *options = place;
    setting_print_group(options->has_group, options->group, ret_text);
    return idx == 0;
}

static bool reader_group_parse(void *place, const char *text, char *ret_why)
{
    struct options *options = place;
    return setting_parse_group(text, &options->has_reader_group, &options->reader_group, ret_why);
}

static bool reader_group_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct options *options = place;
    setting_print_group(options->has_reader_group, options->reader_group, ret_text);
    return idx == 0;
}

static bool readers_parse(void *place, const char *text, char *ret_why)
{
    struct options *options = place;
    const bool none = strcmp(text, "none") == 0;
    const bool walled = strcmp(text, "walled") == 0;
    if (!none && !walled && strcmp(text, "any") != 0) {
        return setting_refuse(ret_why, "\"%.80s\" is not known: write any, none or walled", text);
    }
    options->no_readers = none;
    options->walled_readers = walled;
    return true;
}

static bool readers_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct options *options = place;
    setting_print_word(options->no_readers       ? "none"
                       : options->walled_readers ? "walled"
                                                 : "any",
                       ret_text);
    return idx == 0;
}

/* -------------------------------------------------------------------------------- limits ---- */

static bool names_parse(void *place, const char *text, char *ret_why)
{
    struct options *options = place;
    return setting_parse_number(text, NULL, SHARE_NAMES_MAX, &options->names_limit, ret_why);
}

static bool names_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct options *options = place;
    setting_print_number(options->names_limit, NULL, ret_text);
    return idx == 0;
}

/* --------------------------------------------------------------------------- the process ---- */

static bool watchdog_parse(void *place, const char *text, char *ret_why)
{
    struct options *options = place;
    char *end;
    const double seconds = strtod(text, &end);
    if (end == text || *end != '\0' || !(seconds >= 0 && seconds <= WATCHDOG_MAX_S)) {
        return setting_refuse(ret_why, "\"%.80s\" is no time: write seconds, from 0 (never) to %d",
                              text, WATCHDOG_MAX_S);
    }
    options->watchdog_ms = (uint64_t)(seconds * 1000 + 0.5);
    return true;
}

static bool watchdog_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct options *options = place;
    (void)snprintf(ret_text, SETTING_TEXT_BYTES, "%g",
                   (double)options->watchdog_ms / 1000); /* fits */
    return idx == 0;
}

static bool log_level_parse_setting(void *place, const char *text, char *ret_why)
{
    struct options *options = place;
    if (log_level_parse(text, &options->log_level)) {
        return setting_refuse(ret_why,
                              "\"%.80s\" is not known: write error, warning, info or debug", text);
    }
    return true;
}

static bool log_level_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct options *options = place;
    setting_print_word(log_level_name(options->log_level), ret_text);
    return idx == 0;
}

static bool debuggable_parse(void *place, const char *text, char *ret_why)
{
    struct options *options = place;
    return setting_parse_switch(text, &options->debuggable, ret_why);
}

static bool debuggable_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct options *options = place;
    setting_print_word(options->debuggable ? "on" : "off", ret_text);
    return idx == 0;
}

/* ----------------------------------------------------------------------------- the table ---- */

/* In the order of --help and --dump-config. */
static const struct setting own_settings[] = {
    {.key = "size",
     .letter = 's',
     .is_files = true,
     .argument = "SIZE",
     .parse = size_parse,
     .print = size_print,
     .help = "Size of the segment: 256MiB, 2G (default: 256MiB); see kmemctl resize"},
    {.key = "max-size",
     .is_files = true,
     .argument = "SIZE",
     .parse = max_size_parse,
     .print = max_size_print,
     .waits = "the segment's files are as large as they were made, while a client lives in it",
     .help = "What the segment may grow to while it is served, by kmemctl resize; that costs "
             "address space and no memory (default: usual, 16 times --size)"},
    {.key = "socket",
     .letter = 'S',
     .argument = "PATH",
     .parse = socket_parse,
     .print = socket_print,
     .waits = "clients come back by the path that they joined by",
     .help =
         "Socket to listen on (default: NAME.sock in $XDG_RUNTIME_DIR/kmemd, or in /run/kmemd)"},
    {.key = "commit",
     .argument = "eager|lazy",
     .parse = commit_parse,
     .print = commit_print,
     .waits = "the segment's memory is taken when it is made",
     .help = "Take the segment's memory from the system at the start, or when it is used (default: "
             "eager)"},
    {.key = "hugepages",
     .argument = "no|try|2M|1G",
     .parse = hugepages_parse,
     .print = hugepages_print,
     .waits = "the segment's memory is taken when it is made",
     .help = "Make the segment of small pages, of small ones that become huge where the kernel can "
             "(default: try), or of reserved ones of 2 MiB or 1 GiB"},
    {.key = "numa",
     .argument = "local|interleave|node N",
     .parse = numa_parse,
     .print = numa_print,
     .waits = "the segment's memory is taken when it is made",
     .help = "Take its memory from the node of the process that touches it first (default: local), "
             "from all nodes in turns, or from one"},
    {.key = "lock",
     .is_switch = true,
     .argument = "on|off",
     .parse = lock_parse,
     .print = lock_print,
     .waits = "the segment's memory is locked when it is made",
     .help = "Keep the segment's memory from being swapped out (default: off)"},
    {.key = "scrub",
     .is_switch = true,
     .argument = "on|off",
     .parse = scrub_parse,
     .print = scrub_print,
     .help = "Clear what came back while there is nothing else to do, so that the next client need "
             "not (default: on)"},
    {.key = "dontdump",
     .is_switch = true,
     .argument = "on|off",
     .parse = dontdump_parse,
     .print = dontdump_print,
     .help = "Leave the segment's bytes out of clients' core dumps, unless $KMEM_CORE wants them "
             "there (default: on)"},
    {.key = "group",
     .argument = "GROUP",
     .parse = group_parse,
     .print = group_print,
     .waits = "the socket and its directory are given to the group when they are made",
     .help = "Members of this group, a name or a number, may join the segment, beside root and the "
             "daemon's own user"},
    {.key = "readers",
     .argument = "any|none|walled",
     .parse = readers_parse,
     .print = readers_print,
     .help = "Who may join for reading only: all who may join, nobody, or those that the kernel "
             "keeps from writing: neither root, nor the daemon's user, nor any member's (default: "
             "any)"},
    {.key = "reader-group",
     .argument = "GROUP",
     .parse = reader_group_parse,
     .print = reader_group_print,
     .waits = "the socket and its directory are opened to other users when they are made",
     .help = "Members of this group, a name or a number, may join for reading only"},
    {.key = "members",
     .is_list = true,
     .argument = "NAME,...",
     .parse = settings_members_parse,
     .print = settings_members_print,
     .clear = settings_members_clear,
     .help = "Users, and groups as @GROUP, that may join the segment, beside --group"},
    {.key = "reader-users",
     .is_list = true,
     .argument = "NAME,...",
     .parse = settings_reader_users_parse,
     .print = settings_reader_users_print,
     .clear = settings_reader_users_clear,
     .help = "Users, and groups as @GROUP, that may join for reading only, beside --reader-group"},
    {.key = "observers",
     .is_list = true,
     .argument = "NAME,...",
     .parse = settings_observers_parse,
     .print = settings_observers_print,
     .clear = settings_observers_clear,
     .help = "Users, and groups as @GROUP, that may ask about the segment, and have none of it"},
    {.key = "admins",
     .is_list = true,
     .argument = "NAME,...",
     .parse = settings_admins_parse,
     .print = settings_admins_print,
     .clear = settings_admins_clear,
     .help = "Users, and groups as @GROUP, that may ask, and change settings of the daemon that "
             "runs, beside root and its own user"},
    {.key = "names",
     .argument = "N",
     .parse = names_parse,
     .print = names_print,
     .help = "How many names there may be for shared blocks, up to 32768 (default: 4096)"},
    {.key = "quota",
     .argument = "SIZE",
     .parse = quota_parse,
     .print = quota_print,
     .help = "What one client may have of the segment, leased pages included (default: all of it)"},
    {.key = "quota-per-uid",
     .argument = "SIZE",
     .parse = quota_per_uid_parse,
     .print = quota_per_uid_print,
     .help = "What one user's clients together may have; root and the daemon's user are exempt"},
    {.key = "quota-per-unit",
     .argument = "SIZE",
     .parse = quota_per_unit_parse,
     .print = quota_per_unit_print,
     .help = "What all clients of one systemd unit, or control group, together may have"},
    {.key = "clients-per-uid",
     .argument = "N",
     .parse = settings_clients_per_uid_parse,
     .print = settings_clients_per_uid_print,
     .help = "How many clients one user may have, root and the daemon's own user excepted "
             "(default: half of all there may be)"},
    {.key = "connections-per-uid",
     .argument = "N",
     .parse = settings_connections_per_uid_parse,
     .print = settings_connections_per_uid_print,
     .help = "How many connections that are no client's one user may have, root and the daemon's "
             "own user excepted (default: half of all there may be, at most 1024)"},
    {.key = "handshakes-per-uid",
     .argument = "N",
     .parse = settings_handshakes_per_uid_parse,
     .print = settings_handshakes_per_uid_print,
     .help = "How many connections that have not said Hello one user may have, root and the "
             "daemon's own user excepted, as in all of these (default: a quarter of all "
             "connections, at most 512)"},
    {.key = "queued-per-uid",
     .argument = "SIZE",
     .parse = settings_queued_per_uid_parse,
     .print = settings_queued_per_uid_print,
     .help = "How much of the answers to one user's processes may wait until they read (default: "
             "32MiB, half of all)"},
    {.key = "reasons-per-uid",
     .argument = "N",
     .parse = settings_reasons_per_uid_parse,
     .print = settings_reasons_per_uid_print,
     .help = "How many reasons one user's direct blocks, shares and holds may have; those beyond "
             "are <other reasons> (default: half of all)"},
    {.key = "shares-per-uid",
     .argument = "N",
     .parse = settings_shares_per_uid_parse,
     .print = settings_shares_per_uid_print,
     .help = "How many blocks one user may share (default: half of all)"},
    {.key = "holds-per-uid",
     .argument = "N",
     .parse = settings_holds_per_uid_parse,
     .print = settings_holds_per_uid_print,
     .help = "How often one user may hold shared blocks (default: half of all)"},
    {.key = "names-per-uid",
     .argument = "N",
     .parse = settings_names_per_uid_parse,
     .print = settings_names_per_uid_print,
     .help = "How many names one user may have for shared blocks (default: half of --names)"},
    {.key = "watchdog",
     .argument = "SECONDS",
     .parse = watchdog_parse,
     .print = watchdog_print,
     .help = "Replace a server that has not answered for so long; 0: never (default: 5)"},
    {.key = "log-level",
     .argument = "LEVEL",
     .parse = log_level_parse_setting,
     .print = log_level_print,
     .help = "error, warning, info or debug (default: info)"},
    {.key = "debuggable",
     .is_switch = true,
     .argument = "on|off",
     .parse = debuggable_parse,
     .print = debuggable_print,
     .waits = "the kernel is told when a process of the daemon begins",
     .help = "Let debuggers of the daemon's own user attach, and have it leave core dumps "
             "(default: off)"},
    {.key = NULL},
};

static const struct setting_section own_sections[] = {
    {"user", rule_settings, user_open, user_get},
    {"unit", rule_settings, unit_open, unit_get},
    {"budget", budget_settings, budget_open, budget_get},
    {.name = NULL},
};

const struct setting_table *settings_table(void)
{
    static const struct setting_table table = {own_settings, own_sections};
    return &table;
}

const struct setting *settings_find(const struct setting *settings, const char *key)
{
    for (; settings->key; settings++) {
        if (strcmp(settings->key, key) == 0) {
            return settings;
        }
    }
    return NULL;
}

char *settings_value(const struct setting *setting, const void *place, char *ret_text,
                     size_t text_bytes)
{
    char value[SETTING_TEXT_BYTES];
    size_t n_bytes = 0;
    ret_text[0] = '\0';
    for (uint32_t i = 0; setting->print(place, i, value) && n_bytes < text_bytes; i++) {
        const int r = snprintf(ret_text + n_bytes, text_bytes - n_bytes, "%s%s", i > 0 ? ", " : "",
                               value); /* too long: cut */
        n_bytes += (size_t)r;
    }
    return ret_text;
}
