/* SPDX-License-Identifier: MIT */
/*
 * test_config.c - configuration files: what they set, and every complaint with file and line
 *
 * Lists and sections are tried with a table of this test's own.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/config.h"
#include "daemon/config_text.h"
#include "daemon/setting_values.h"
#include "tests/unit/unit.h"

#define TOLD_BYTES 8192

static char told[TOLD_BYTES];

static void tell(const char *sentence, void *user)
{
    (void)user;
    const size_t n_told = strlen(told);
    (void)snprintf(told + n_told, sizeof(told) - n_told, "%s\n", sentence); /* or it is cut */
}

/* ----------------------------------------------------------------- a table of the test's ---- */

#define USERS_MAX 4
#define MEMBERS_MAX 8

static struct user {
    char title[64];
    uint64_t quota_bytes;
    bool denies;
    char members[MEMBERS_MAX][32];
    uint32_t n_members;
} users[USERS_MAX];

static uint32_t n_users;
static struct user top; /* its list alone */

static bool member_parse(void *place, const char *text, char *ret_why)
{
    struct user *user = place;
    if (strcmp(text, "nobody") == 0) {
        return setting_refuse(ret_why, "there is no user \"%s\"", text);
    }
    (void)snprintf(user->members[user->n_members++], sizeof(user->members[0]), "%s", text);
    return true;
}

static bool member_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct user *user = place;
    if (idx < user->n_members) {
        setting_print_word(user->members[idx], ret_text);
    }
    return idx < user->n_members;
}

static void member_clear(void *place)
{
    struct user *user = place;
    user->n_members = 0;
}

static bool top_member_parse(void *place, const char *text, char *ret_why)
{
    (void)place;
    return member_parse(&top, text, ret_why);
}

static bool top_member_print(const void *place, uint32_t idx, char *ret_text)
{
    (void)place;
    return member_print(&top, idx, ret_text);
}

static void top_member_clear(void *place)
{
    (void)place;
    member_clear(&top);
}

static bool max_parse(void *place, const char *text, char *ret_why)
{
    struct user *user = place;
    return setting_parse_bytes(text, true, &user->quota_bytes, ret_why);
}

static bool max_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct user *user = place;
    setting_print_bytes(user->quota_bytes, ret_text);
    return idx == 0;
}

static bool action_parse(void *place, const char *text, char *ret_why)
{
    struct user *user = place;
    user->denies = strcmp(text, "deny") == 0;
    return user->denies || strcmp(text, "warn") == 0 ||
           setting_refuse(ret_why, "\"%s\" is not known: write deny or warn", text);
}

static bool action_print(const void *place, uint32_t idx, char *ret_text)
{
    const struct user *user = place;
    setting_print_word(user->denies ? "deny" : "warn", ret_text);
    return idx == 0;
}

static void *user_open(struct options *options, const char *title, char *ret_why)
{
    (void)options;
    if (iscntrl((unsigned char)title[0])) {
        (void)setting_refuse(ret_why, "there is no user \"%s\"", title);
        return NULL;
    }
    for (uint32_t i = 0; i < n_users; i++) {
        if (strcmp(users[i].title, title) == 0) {
            return &users[i];
        }
    }
    if (n_users == USERS_MAX) {
        (void)setting_refuse(ret_why, "there are %d already", USERS_MAX);
        return NULL;
    }
    (void)snprintf(users[n_users].title, sizeof(users[0].title), "%s", title);
    return &users[n_users++];
}

static const void *user_get(const struct options *options, uint32_t idx, const char **ret_title)
{
    (void)options;
    *ret_title = idx < n_users ? users[idx].title : NULL;
    return idx < n_users ? &users[idx] : NULL;
}

static const struct setting user_settings[] = {
    {.key = "max", .parse = max_parse, .print = max_print},
    {.key = "action", .parse = action_parse, .print = action_print},
    {.key = "members",
     .is_list = true,
     .parse = member_parse,
     .print = member_print,
     .clear = member_clear},
    {.key = NULL},
};

static const struct setting_table *own_table(void)
{
    static struct setting settings[64];
    static const struct setting_section sections[] = {
        {.name = "user", .settings = user_settings, .open = user_open, .get = user_get},
        {.name = NULL},
    };
    static struct setting_table table = {settings, sections};
    size_t n = 0;
    for (const struct setting *own = settings_table()->settings; own->key; own++) {
        settings[n++] = *own;
    }
    settings[n++] = (struct setting){.key = "guests",
                                     .is_list = true,
                                     .parse = top_member_parse,
                                     .print = top_member_print,
                                     .clear = top_member_clear};
    settings[n] = (struct setting){.key = NULL};
    return &table;
}

/* --------------------------------------------------------------------------------- verbs ---- */

static int config_setup(void **state)
{
    (void)state;
    told[0] = '\0';
    n_users = 0;
    memset(users, 0, sizeof(users));
    memset(&top, 0, sizeof(top));
    return 0;
}

static struct options apply(const char *text)
{
    struct options options = {.segment_bytes = 1};
    struct complaints complaints = {.say = tell};
    config_text_apply(own_table(), "a.conf", text, &options, NULL, &complaints);
    return options;
}

static struct options read_well(const char *text)
{
    const struct options options = apply(text);
    assert_string_equal(told, "");
    return options;
}

static void assert_told(const char *text, const char *complaints)
{
    told[0] = '\0';
    (void)apply(text);
    assert_string_equal(told, complaints);
}

/* --------------------------------------------------------------------------------- tests ---- */

static void test_config_text_apply_sets_what_it_says(void **state)
{
    const struct options options = read_well("# for the cameras\n"
                                             "size = 1.5GiB\n"
                                             "quota = \"64 MiB\" // each\n"
                                             "commit = 'lazy' /* on\n demand */\n"
                                             "socket=/run/kmemd/x.sock\r\n"
                                             "watchdog=0.5,names=7\n"
                                             "debuggable = on");

    assert_int_equal(options.segment_bytes, UINT64_C(3) << 29);
    assert_int_equal(options.quota_bytes, 64 << 20);
    assert_true(options.lazy);
    assert_string_equal(options.socket_path, "/run/kmemd/x.sock");
    assert_int_equal(options.watchdog_ms, 500);
    assert_int_equal(options.names_limit, 7);
    assert_true(options.debuggable);
}

static void test_config_text_apply_of_nothing_sets_nothing(void **state)
{
    assert_int_equal(read_well("").segment_bytes, 1);
    assert_int_equal(read_well("\n\n# nothing\n").segment_bytes, 1);
    assert_int_equal(read_well("/* nothing").segment_bytes, 1);
}

static void test_config_text_apply_of_a_list(void **state)
{
    (void)read_well("guests = {\"alice\", '@video',\n bob}\n");
    assert_int_equal(top.n_members, 3);
    assert_string_equal(top.members[1], "@video");

    (void)read_well("guests = {carol}\n"); /* a later file */
    assert_int_equal(top.n_members, 1);
    (void)read_well("guests = dave\n");
    assert_string_equal(top.members[0], "dave");
    (void)read_well("guests = {}\n");
    assert_int_equal(top.n_members, 0);
}

static void test_config_text_apply_of_sections(void **state)
{
    (void)read_well("user \"scratch/**\" { max = 64MiB, action = deny }\n"
                    "user bob {\n"
                    "    members = {\"x\", y}, max = none\n"
                    "    action = warn\n"
                    "}\n"
                    "user \"empty\" {}\n");

    assert_int_equal(n_users, 3);
    assert_string_equal(users[0].title, "scratch/**");
    assert_int_equal(users[0].quota_bytes, 64 << 20);
    assert_true(users[0].denies);
    assert_int_equal(users[1].n_members, 2);
    assert_int_equal(users[1].quota_bytes, 0);
    assert_string_equal(users[2].title, "empty");

    (void)read_well("user bob { max = 1K }\n"); /* a later file: key by key */
    assert_int_equal(users[1].quota_bytes, 1024);
    assert_int_equal(users[1].n_members, 2);
}

static void test_config_text_apply_complains_of_each_wrong_value(void **state)
{
    assert_told("size = x\n\n# c\nnames = 0\ncommit = maybe\nquota = 4K\n",
                "a.conf:1: size: \"x\" is no size: write 4096, 256MiB, 2G or 1.5GiB\n"
                "a.conf:4: names: \"0\" is no number from 1 to 32768\n"
                "a.conf:5: commit: \"maybe\" is not known: write eager or lazy\n");
    assert_told("/* two\nlines */ group = no-such-group",
                "a.conf:2: group: there is no group \"no-such-group\": write a group's name or "
                "number, or none\n");
    assert_told("guests = {a,\n nobody,\n b}\nuser x {\n max = 1,\n action = never\n}\n",
                "a.conf:2: guests: there is no user \"nobody\"\n"
                "a.conf:6: user \"x\" action: \"never\" is not known: write deny or warn\n");
}

static void test_config_text_apply_complains_of_each_unknown_key(void **state)
{
    assert_told("sizes = 4G\nquota = x\ncolour = red\nlist = {a, \"}\", b}\nuser u { mx = 4 }\n"
                "clients_per_uid = 3\n",
                "a.conf:1: there is no setting \"sizes\"; did you mean \"size\"?\n"
                "a.conf:3: there is no setting \"colour\"; see kmemd.conf(5)\n"
                "a.conf:4: there is no setting \"list\"; see kmemd.conf(5)\n"
                "a.conf:5: there is no setting \"mx\" in a section \"user\"; did you mean "
                "\"max\"?\n"
                "a.conf:6: there is no setting \"clients_per_uid\"; did you mean "
                "\"clients-per-uid\"?\n"
                "a.conf:2: quota: \"x\" is no size: write 4096, 256MiB, 2G or 1.5GiB, or none\n");
    assert_told("\nusr \"alice\" { max = 4 }\n",
                "a.conf:2: there is no setting \"usr\"; did you mean \"user\"?\n");
    assert_told("name = other\n", "a.conf:1: there is no setting \"name\"; did you mean "
                                  "\"names\"?\n");
}

/* A file may be anything, and a complaint ends on a terminal. */
static void test_config_text_apply_complains_in_nothing_that_a_terminal_obeys(void **state)
{
    /* NOLINTNEXTLINE(misc-misleading-bidirectional): it is what is tried */
    static const char *const texts[] = {"si\x1b[2Jze = 1", "size = \"\xff\x9b\xe2\x80\xae\"",
                                        "a\x7f", "usr \"\x1b\x07\" { }"};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        told[0] = '\0';
        (void)apply(texts[i]);
        assert_true(strlen(told) > 0);
        for (const char *at = told; *at != '\0'; at++) {
            assert_true(*at == '\n' || (*at >= ' ' && *at <= '~'));
        }
    }
}

static void test_config_text_apply_complains_of_a_key_that_is_repeated(void **state)
{
    assert_told("size = 2M\nquota = 1M\nsize = 4M\nsize = 8M",
                "a.conf:3: size: it is set on line 1 already: leave one of the two out\n"
                "a.conf:4: size: it is set on line 1 already: leave one of the two out\n");
    assert_told("guests = {a, b}\nguests = {c}\n",
                "a.conf:2: guests: it is set on line 1 already: leave one of the two out\n");
    assert_told("guests = {a}\nguests = b\nguests = {c,\n d}\n",
                "a.conf:2: guests: it is set on line 1 already: leave one of the two out\n"
                "a.conf:3: guests: it is set on line 1 already: leave one of the two out\n");
    assert_told("guests = {}\nguests = {}\n",
                "a.conf:2: guests: it is set on line 1 already: leave one of the two out\n");
    assert_told(
        "user a { max = 1\n max = 2 }",
        "a.conf:2: user \"a\" max: it is set on line 1 already: leave one of the two out\n");
    assert_told("user a {\n max = 1 }\nuser b { max = 2 }\nuser a {\n action = deny\n}",
                "a.conf:4: user \"a\": it is set on line 1 already: leave one of the two out\n");
}

static void test_config_text_apply_complains_of_a_section_that_has_no_place(void **state)
{
    assert_told("user a { max=1 }\nuser b { max=1 }\nuser c { max=1 }\nuser d { max=1 }\n"
                "user e { max = x }\n",
                "a.conf:5: user \"e\": there are 4 already\n");
}

static void test_config_text_apply_complains_of_what_is_no_settings(void **state)
{
    assert_told("quota = 1M\nsize 4G\n", "a.conf:2: missing equal sign after option 'size'\n");
    assert_told("size =\n", "a.conf:2: premature end of file\n");
    assert_told("user { max = 4 }\n", "a.conf:1: missing title for section 'user'\n");
    assert_told("user x = 4\n", "a.conf:1: missing opening brace for section 'user'\n");
    assert_told("size = \"4G\n", "a.conf:2: premature end of file\n");
    assert_told("size = 4M\n}\n", "a.conf:2: unexpected closing brace\n");
    assert_told("quota = none\n", ""); /* nothing is left of it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_config_text_apply_sets_what_it_says, config_setup),
        cmocka_unit_test_setup(test_config_text_apply_of_nothing_sets_nothing, config_setup),
        cmocka_unit_test_setup(test_config_text_apply_of_a_list, config_setup),
        cmocka_unit_test_setup(test_config_text_apply_of_sections, config_setup),
        cmocka_unit_test_setup(test_config_text_apply_complains_of_each_wrong_value, config_setup),
        cmocka_unit_test_setup(test_config_text_apply_complains_of_each_unknown_key, config_setup),
        cmocka_unit_test_setup(test_config_text_apply_complains_in_nothing_that_a_terminal_obeys,
                               config_setup),
        cmocka_unit_test_setup(test_config_text_apply_complains_of_a_key_that_is_repeated,
                               config_setup),
        cmocka_unit_test_setup(test_config_text_apply_complains_of_a_section_that_has_no_place,
                               config_setup),
        cmocka_unit_test_setup(test_config_text_apply_complains_of_what_is_no_settings,
                               config_setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
