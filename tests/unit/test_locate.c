/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/link/locate.h"
#include "tests/unit/unit.h"

static struct places places;
static struct failure failure;

static int forget_environment(void **state)
{
    (void)unsetenv("KMEM_SOCKET");
    (void)unsetenv("KMEM_SEGMENT");
    (void)unsetenv("KMEM_TIMEOUT_MS");
    (void)unsetenv("KMEM_GUARD");
    (void)unsetenv("KMEM_ROLE");
    (void)unsetenv("XDG_RUNTIME_DIR");
    memset(&places, 0, sizeof(places));
    memset(&failure, 0, sizeof(failure));
    return 0;
}

/* ------------------------------------------------------------------------------ the places ---- */

static void test_locate_socket_default_is_run_kmemd(void **state)
{
    assert_int_equal(kmem__locate_socket(NULL, &places, &failure), 0);
    assert_int_equal(places.n_places, 1);
    assert_string_equal(places.place[0].path, "/run/kmemd/default.sock");
    assert_string_equal(places.segment_name, "default");
}

static void test_locate_socket_runtime_directory_comes_first(void **state)
{
    (void)setenv("XDG_RUNTIME_DIR", "/run/user/1000", 1);
    (void)setenv("KMEM_SEGMENT", "video", 1);

    assert_int_equal(kmem__locate_socket(NULL, &places, &failure), 0);

    assert_int_equal(places.n_places, 2);
    assert_string_equal(places.place[0].path, "/run/user/1000/kmemd/video.sock");
    assert_string_equal(places.place[1].path, "/run/kmemd/video.sock");
    assert_string_equal(places.segment_name, "video");
}

/* The last of these tests: it is for the rest of the process. */
static void test_locate_remember_is_tried_without_KMEM_SOCKET(void **state)
{
    kmem__locate_remember("/tmp/joined.sock");
    kmem__locate_remember("/tmp/joined-later.sock");
    (void)setenv("KMEM_SEGMENT", "video", 1);

    assert_int_equal(kmem__locate_socket(NULL, &places, &failure), 0);
    assert_int_equal(places.n_places, 1);
    assert_string_equal(places.place[0].path, "/tmp/joined.sock");
    (void)setenv("KMEM_SOCKET", "/tmp/x.sock", 1);
    assert_int_equal(kmem__locate_socket(NULL, &places, &failure), 0);
    assert_string_equal(places.place[0].path, "/tmp/x.sock");
}

static void test_locate_socket_KMEM_SOCKET_and_nothing_else(void **state)
{
    (void)setenv("XDG_RUNTIME_DIR", "/run/user/1000", 1);
    (void)setenv("KMEM_SEGMENT", "video", 1);
    (void)setenv("KMEM_SOCKET", "/tmp/x.sock", 1);

    assert_int_equal(kmem__locate_socket(NULL, &places, &failure), 0);

    assert_int_equal(places.n_places, 1);
    assert_string_equal(places.place[0].path, "/tmp/x.sock");
    assert_string_equal(places.segment_name, "");
}

static void test_locate_socket_given_path_beats_the_environment(void **state)
{
    (void)setenv("KMEM_SOCKET", "/tmp/x.sock", 1);

    assert_int_equal(kmem__locate_socket("/tmp/given.sock", &places, &failure), 0);

    assert_int_equal(places.n_places, 1);
    assert_string_equal(places.place[0].path, "/tmp/given.sock");
}

static void test_locate_socket_empty_variables_are_not_set(void **state)
{
    (void)setenv("XDG_RUNTIME_DIR", "", 1);
    (void)setenv("KMEM_SEGMENT", "", 1);
    (void)setenv("KMEM_SOCKET", "", 1);

    assert_int_equal(kmem__locate_socket(NULL, &places, &failure), 0);

    assert_int_equal(places.n_places, 1);
    assert_string_equal(places.place[0].path, "/run/kmemd/default.sock");
}

static void test_locate_socket_bad_segment_name_is_EINVAL(void **state)
{
    static const char *const bad[] = {
        "a/b",      "..",
        ".hidden",  "-x",
        "a b",      "a\nb",
        "\xC3\xA9", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", /* 64 */
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        (void)setenv("KMEM_SEGMENT", bad[i], 1);
        places.n_places = 77;
        assert_int_equal(kmem__locate_socket(NULL, &places, &failure), -EINVAL);
        assert_int_equal(places.n_places, 77);
        assert_non_null(strstr(failure.sentence, "$KMEM_SEGMENT is \""));
        assert_null(strchr(failure.sentence, '\n'));
    }
}

static void test_locate_socket_longest_segment_name_is_good(void **state)
{
    (void)setenv("KMEM_SEGMENT", "_Video.2-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                 1);
    assert_int_equal(kmem__locate_socket(NULL, &places, &failure), 0);
    assert_int_equal(strlen(places.segment_name), NAME_MAX_BYTES);
}

static void test_locate_socket_long_path_is_ENAMETOOLONG(void **state)
{
    char path[SOCKET_PATH_BYTES + 1];
    memset(path, 'a', sizeof(path));
    path[SOCKET_PATH_BYTES] = '\0';
    assert_int_equal(kmem__locate_socket(path, &places, &failure), -ENAMETOOLONG);
    assert_non_null(strstr(failure.sentence, "108 bytes"));

    path[SOCKET_PATH_BYTES - 1] = '\0';
    assert_int_equal(kmem__locate_socket(path, &places, &failure), 0);
    assert_string_equal(places.place[0].path, path);
}

static void test_locate_socket_long_runtime_directory_is_ENAMETOOLONG(void **state)
{
    char directory[5000];
    memset(directory, 'a', sizeof(directory));
    directory[sizeof(directory) - 1] = '\0';
    (void)setenv("XDG_RUNTIME_DIR", directory, 1);
    assert_int_equal(kmem__locate_socket(NULL, &places, &failure), -ENAMETOOLONG);
}

/* ----------------------------------------------------------------------------- explanation ---- */

static void test_locate_explain_names_every_place_and_how_to_start(void **state)
{
    (void)setenv("XDG_RUNTIME_DIR", "/run/user/1000", 1);
    (void)setenv("KMEM_SEGMENT", "video", 1);
    assert_int_equal(kmem__locate_socket(NULL, &places, &failure), 0);
    places.place[0].error = ENOENT;
    places.place[1].error = ENOENT;

    assert_int_equal(kmem__locate_explain(&places, &failure), -ENOENT);

    assert_string_equal(failure.sentence,
                        "no daemon answers: tried /run/user/1000/kmemd/video.sock (no such socket) "
                        "and /run/kmemd/video.sock (no such socket); start one with \"kmemd --name "
                        "video\" or \"systemctl start kmemd@video\", or run the program under "
                        "\"kmemctl run\"");
}

static void test_locate_explain_a_stale_socket_is_ECONNREFUSED(void **state)
{
    assert_int_equal(kmem__locate_socket("/tmp/x.sock", &places, &failure), 0);
    places.place[0].error = ECONNREFUSED;

    assert_int_equal(kmem__locate_explain(&places, &failure), -ECONNREFUSED);

    assert_string_equal(failure.sentence,
                        "no daemon answers: tried /tmp/x.sock (nobody listens there); start one "
                        "with \"kmemd --socket /tmp/x.sock\", or run the program under "
                        "\"kmemctl run\"");
}

/* --------------------------------------------------------------------------------- timeout ---- */

static void test_locate_timeout_default_is_30_s(void **state)
{
    int timeout_ms = 0;
    assert_int_equal(kmem__locate_timeout(&timeout_ms, &failure), 0);
    assert_int_equal(timeout_ms, 30000);
}

static void test_locate_timeout_from_the_environment(void **state)
{
    int timeout_ms = 0;
    (void)setenv("KMEM_TIMEOUT_MS", "250", 1);
    assert_int_equal(kmem__locate_timeout(&timeout_ms, &failure), 0);
    assert_int_equal(timeout_ms, 250);
}

static void test_locate_timeout_junk_is_EINVAL(void **state)
{
    static const char *const junk[] = {
        "0", "-1", " 5", "5s", "1.5", "never", "+5", "2147483648", "99999999999999999999"};
    for (size_t i = 0; i < sizeof(junk) / sizeof(junk[0]); i++) {
        int timeout_ms = 77;
        (void)setenv("KMEM_TIMEOUT_MS", junk[i], 1);
        assert_int_equal(kmem__locate_timeout(&timeout_ms, &failure), -EINVAL);
        assert_int_equal(timeout_ms, 77);
        assert_non_null(strstr(failure.sentence, "$KMEM_TIMEOUT_MS"));
    }
}

/* ------------------------------------------------------------------------------- the guard ---- */

static void test_locate_guard_is_on_unless_it_is_off(void **state)
{
    static const struct {
        const char *text;
        bool is_guarded;
    } said[] = {{"on", true}, {"off", false}};
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        bool is_guarded = !said[i].is_guarded;
        (void)setenv("KMEM_GUARD", said[i].text, 1);
        assert_int_equal(kmem__locate_guard(&is_guarded, &failure), 0);
        assert_int_equal(is_guarded, said[i].is_guarded);
    }
    bool is_guarded = false;
    (void)unsetenv("KMEM_GUARD");
    assert_int_equal(kmem__locate_guard(&is_guarded, &failure), 0);
    assert_true(is_guarded);
}

static void test_locate_guard_neither_on_nor_off_is_EINVAL(void **state)
{
    bool is_guarded = true;
    (void)setenv("KMEM_GUARD", "maybe", 1);
    assert_int_equal(kmem__locate_guard(&is_guarded, &failure), -EINVAL);
    assert_string_equal(failure.sentence, "$KMEM_GUARD is \"maybe\", neither \"on\" nor \"off\"");
}

/* -------------------------------------------------------------------------------- the role ---- */

static void test_locate_role_is_a_members_unless_it_is_a_readers(void **state)
{
    bool is_reader = true;
    assert_int_equal(kmem__locate_role(&is_reader, &failure), 0);
    assert_false(is_reader);
    (void)setenv("KMEM_ROLE", "reader", 1);
    assert_int_equal(kmem__locate_role(&is_reader, &failure), 0);
    assert_true(is_reader);
    (void)setenv("KMEM_ROLE", "member", 1);
    assert_int_equal(kmem__locate_role(&is_reader, &failure), 0);
    assert_false(is_reader);
}

static void test_locate_role_that_is_neither_is_EINVAL(void **state)
{
    bool is_reader = true;
    (void)setenv("KMEM_ROLE", "writer", 1);
    assert_int_equal(kmem__locate_role(&is_reader, &failure), -EINVAL);
    assert_string_equal(failure.sentence,
                        "$KMEM_ROLE is \"writer\", neither \"member\" nor \"reader\"");
}

/* ------------------------------------------------------------------------------- clearing ---- */

static void test_locate_clear_is_as_measured_unless_a_loop_is_named(void **state)
{
    static const struct {
        const char *text;
        enum clear_loop loop;
    } said[] = {{"auto", CLEAR_UNSAID}, {"", CLEAR_UNSAID}, {"memset", CLEAR_MEMSET}};
    enum clear_loop loop = CLEAR_REP;
    assert_int_equal(kmem__locate_clear(&loop, &failure), 0);
    assert_int_equal(loop, CLEAR_UNSAID);
    for (size_t i = 0; i < sizeof(said) / sizeof(said[0]); i++) {
        loop = CLEAR_REP;
        (void)setenv("KMEM_CLEAR", said[i].text, 1);
        assert_int_equal(kmem__locate_clear(&loop, &failure), 0);
        assert_int_equal(loop, said[i].loop);
    }
}

static void test_locate_clear_of_a_loop_that_the_processor_may_not_have(void **state)
{
    for (enum clear_loop named = CLEAR_MEMSET; named < N_CLEAR_LOOPS; named++) {
        enum clear_loop loop = CLEAR_UNSAID;
        (void)setenv("KMEM_CLEAR", clear_loop_name(named), 1);
        const int r = kmem__locate_clear(&loop, &failure);
        if (clear_loop_function(named) != NULL) {
            assert_int_equal(r, 0);
            assert_int_equal(loop, named);
        } else {
            assert_int_equal(r, -EINVAL);
            assert_int_equal(loop, CLEAR_UNSAID);
            assert_non_null(strstr(failure.sentence, "which this processor does not have"));
        }
    }
}

static void test_locate_clear_of_no_loop_is_EINVAL(void **state)
{
    enum clear_loop loop = CLEAR_REP;
    (void)setenv("KMEM_CLEAR", "quickly", 1);
    assert_int_equal(kmem__locate_clear(&loop, &failure), -EINVAL);
    assert_int_equal(loop, CLEAR_REP);
    assert_string_equal(failure.sentence,
                        "$KMEM_CLEAR is \"quickly\", none of \"auto\", \"memset\", "
                        "\"loop32\", \"loop64\" and \"rep\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_locate_role_is_a_members_unless_it_is_a_readers,
                               forget_environment),
        cmocka_unit_test_setup(test_locate_role_that_is_neither_is_EINVAL, forget_environment),
        cmocka_unit_test_setup(test_locate_socket_default_is_run_kmemd, forget_environment),
        cmocka_unit_test_setup(test_locate_socket_runtime_directory_comes_first,
                               forget_environment),
        cmocka_unit_test_setup(test_locate_socket_KMEM_SOCKET_and_nothing_else, forget_environment),
        cmocka_unit_test_setup(test_locate_socket_given_path_beats_the_environment,
                               forget_environment),
        cmocka_unit_test_setup(test_locate_socket_empty_variables_are_not_set, forget_environment),
        cmocka_unit_test_setup(test_locate_socket_bad_segment_name_is_EINVAL, forget_environment),
        cmocka_unit_test_setup(test_locate_socket_longest_segment_name_is_good, forget_environment),
        cmocka_unit_test_setup(test_locate_socket_long_path_is_ENAMETOOLONG, forget_environment),
        cmocka_unit_test_setup(test_locate_socket_long_runtime_directory_is_ENAMETOOLONG,
                               forget_environment),
        cmocka_unit_test_setup(test_locate_explain_names_every_place_and_how_to_start,
                               forget_environment),
        cmocka_unit_test_setup(test_locate_explain_a_stale_socket_is_ECONNREFUSED,
                               forget_environment),
        cmocka_unit_test_setup(test_locate_timeout_default_is_30_s, forget_environment),
        cmocka_unit_test_setup(test_locate_timeout_from_the_environment, forget_environment),
        cmocka_unit_test_setup(test_locate_timeout_junk_is_EINVAL, forget_environment),
        cmocka_unit_test_setup(test_locate_guard_is_on_unless_it_is_off, forget_environment),
        cmocka_unit_test_setup(test_locate_clear_is_as_measured_unless_a_loop_is_named,
                               forget_environment),
        cmocka_unit_test_setup(test_locate_clear_of_a_loop_that_the_processor_may_not_have,
                               forget_environment),
        cmocka_unit_test_setup(test_locate_clear_of_no_loop_is_EINVAL, forget_environment),
        cmocka_unit_test_setup(test_locate_guard_neither_on_nor_off_is_EINVAL, forget_environment),
        cmocka_unit_test_setup(test_locate_remember_is_tried_without_KMEM_SOCKET,
                               forget_environment),
    };
    return cmocka_run_group_tests_name("locate", tests, NULL, NULL);
}
