#include "base/posix/system_calls.h"
#include "tests/support/check_main.h"
#include "tests/support/checking_memory.h"
#include "tests/support/loop_fixture.h"
#include "tests/support/sockets.h"

#include <jinduo/error.h>
#include <jinduo/log.h>
#include <jinduo/memory.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

const char *const suite_name = "event_loop_creation";

enum { LOOPS_MAX = 255 };

static char last_message[256];

static void note_message(jd_log_level level, const char *message, void *arg)
{
    strncpy(last_message, message, sizeof(last_message) - 1);
}

START_TEST(a_loop_runs_the_reactor_by_default)
{
    ck_assert_int_eq(jd_event_loop_engine(test_loop), JD_ENGINE_REACTOR);
}
END_TEST

START_TEST(the_environment_may_name_the_engine)
{
    static const char *const names[] = { "reactor", "auto", "" };
    jd_event_loop *loop;
    setenv("JINDUO_ENGINE", names[_i], 1);

    ck_assert_int_eq(jd_event_loop_create(&loop, NULL), 0);

    ck_assert_int_eq(jd_event_loop_engine(loop), JD_ENGINE_REACTOR);
    ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
}
END_TEST

START_TEST(an_unknown_engine_in_the_environment_is_an_error_and_a_message_names_it)
{
    jd_event_loop *loop = NULL;
    jd_log_set_sink(note_message, NULL);
    setenv("JINDUO_ENGINE", "kqueue", 1);

    ck_assert_int_eq(jd_event_loop_create(&loop, NULL), JD_EINVAL);

    ck_assert_ptr_null(loop);
    ck_assert_str_eq(
        last_message,
        "JINDUO_ENGINE: unknown engine 'kqueue'; allowed: auto, reactor, proactor, io_uring, simulated, iocp");
}
END_TEST

START_TEST(an_engine_asked_for_by_the_program_overrules_the_environment)
{
    const jd_event_loop_options options = { .engine = JD_ENGINE_REACTOR };
    jd_event_loop *loop;
    setenv("JINDUO_ENGINE", "kqueue", 1);

    ck_assert_int_eq(jd_event_loop_create(&loop, &options), 0);

    ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
}
END_TEST

START_TEST(options_out_of_range_are_refused)
{
    const jd_event_loop_options refused[] = {
        { .engine = (jd_engine)99 },
        { .busy_poll_us = 1000001 },
    };
    jd_event_loop *loop = NULL;

    ck_assert_int_eq(jd_event_loop_create(&loop, &refused[_i]), JD_EINVAL);
    ck_assert_ptr_null(loop);
}
END_TEST

static const struct {
    jd_engine engine;
    const char *name;
} engine_names[] = {
    { JD_ENGINE_AUTO, "auto" },         { JD_ENGINE_REACTOR, "reactor" },     { JD_ENGINE_PROACTOR, "proactor" },
    { JD_ENGINE_IO_URING, "io_uring" }, { JD_ENGINE_SIMULATED, "simulated" }, { JD_ENGINE_IOCP, "iocp" },
};

enum { ENGINE_NAMES = sizeof(engine_names) / sizeof(engine_names[0]) };

START_TEST(an_engine_is_parsed_from_its_name_and_named_by_it)
{
    jd_engine engine = (jd_engine)99;

    ck_assert_int_eq(jd_engine_parse(&engine, engine_names[_i].name), 0);

    ck_assert_int_eq(engine, engine_names[_i].engine);
    ck_assert_str_eq(jd_engine_name(engine), engine_names[_i].name);
}
END_TEST

START_TEST(the_reactor_is_always_available_and_no_engine_never)
{
    const char *reason = NULL;

    ck_assert_int_eq(jd_engine_available(JD_ENGINE_AUTO, NULL), 0);
    ck_assert_int_eq(jd_engine_available(JD_ENGINE_REACTOR, &reason), 0);
    ck_assert_int_eq(jd_engine_available((jd_engine)99, &reason), JD_EINVAL);
    ck_assert_str_eq(reason, "no such engine");
}
END_TEST

/* Whatever is built in and allowed here. */
START_TEST(an_engine_makes_a_loop_exactly_when_it_says_that_it_is_available)
{
    const jd_event_loop_options options = { .engine = engine_names[_i].engine };
    jd_event_loop *loop = NULL;
    const char *reason = NULL;
    int result = jd_engine_available(options.engine, &reason);
    jd_log_set_sink(note_message, NULL);

    ck_assert_int_eq(jd_event_loop_create(&loop, &options), result);

    ck_assert_int_eq(loop != NULL, result == 0);
    if (result < 0)
        ck_assert(strstr(last_message, reason) != NULL);
    ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
}
END_TEST

START_TEST(an_unknown_name_is_no_engine_and_leaves_the_result_untouched)
{
    jd_engine engine = JD_ENGINE_REACTOR;

    ck_assert_int_eq(jd_engine_parse(&engine, "Reactor"), JD_EINVAL);
    ck_assert_int_eq(jd_engine_parse(&engine, ""), JD_EINVAL);
    ck_assert_int_eq(engine, JD_ENGINE_REACTOR);
    ck_assert_str_eq(jd_engine_name((jd_engine)99), "unknown");
}
END_TEST

START_TEST(a_process_may_have_255_loops_and_no_more_until_one_is_gone)
{
    static jd_event_loop *loops[LOOPS_MAX];
    jd_event_loop *one_more = NULL;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max < 1024 ? limit.rlim_max : 1024;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    loops[0] = test_loop;
    for (int i = 1; i < LOOPS_MAX; i++)
        ck_assert_int_eq(jd_event_loop_create(&loops[i], NULL), 0);

    ck_assert_int_eq(jd_event_loop_create(&one_more, NULL), JD_EMFILE);

    ck_assert_ptr_null(one_more);
    ck_assert_int_eq(jd_event_loop_destroy(loops[100]), 0);
    ck_assert_int_eq(jd_event_loop_create(&loops[100], NULL), 0);
    for (int i = 1; i < LOOPS_MAX; i++)
        ck_assert_int_eq(jd_event_loop_destroy(loops[i]), 0);
}
END_TEST

static int no_epoll(int flags)
{
    errno = EMFILE;
    return -1;
}

static int no_eventfd(unsigned value, int flags)
{
    errno = ENFILE;
    return -1;
}

static int no_control(int epoll, int operation, int fd, struct epoll_event *event)
{
    errno = ENOMEM;
    return -1;
}

START_TEST(what_the_system_refuses_while_a_loop_is_made_is_its_error_and_nothing_leaks)
{
    int descriptors = open_descriptors();
    size_t memory = jd_memory_in_use();
    jd_event_loop *loop;

    system_calls.epoll_create1 = no_epoll;
    ck_assert_int_eq(jd_event_loop_create(&loop, NULL), JD_EMFILE);
    system_calls_reset();
    system_calls.eventfd = no_eventfd;
    ck_assert_int_eq(jd_event_loop_create(&loop, NULL), JD_ENFILE);
    system_calls_reset();
    system_calls.epoll_ctl = no_control;
    ck_assert_int_eq(jd_event_loop_create(&loop, NULL), JD_ENOMEM);
    system_calls_reset();

    ck_assert_int_eq(open_descriptors(), descriptors);
    ck_assert_uint_eq(jd_memory_in_use(), memory);
}
END_TEST

START_TEST(a_loop_without_memory_at_any_allocation_is_not_made_and_nothing_leaks)
{
    int descriptors = open_descriptors();
    jd_event_loop *loop;
    unsigned number = 1;

    checking_memory_install();
    for (checking_memory_fail_at(number); jd_event_loop_create(&loop, NULL) != 0; checking_memory_fail_at(number)) {
        ck_assert(checking_memory_has_failed());
        ck_assert_uint_eq(jd_memory_in_use(), 0);
        ck_assert_int_eq(open_descriptors(), descriptors);
        number++;
    }
    ck_assert_uint_gt(number, 1);
    ck_assert(!checking_memory_has_failed());

    ck_assert_int_eq(jd_event_loop_destroy(loop), 0);
    checking_memory_remove();
}
END_TEST

START_TEST(destroying_no_loop_does_nothing)
{
    ck_assert_int_eq(jd_event_loop_destroy(NULL), 0);
}
END_TEST

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("event_loop_creation"), *with_memory_of_its_own = tcase_create("memory");

    suite_add_tcase(suite, tests);
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, loop_fixture_set_up, loop_fixture_tear_down);
    tcase_add_test(tests, a_loop_runs_the_reactor_by_default);
    tcase_add_loop_test(tests, the_environment_may_name_the_engine, 0, 3);
    tcase_add_test(tests, an_unknown_engine_in_the_environment_is_an_error_and_a_message_names_it);
    tcase_add_test(tests, an_engine_asked_for_by_the_program_overrules_the_environment);
    tcase_add_loop_test(tests, options_out_of_range_are_refused, 0, 2);
    tcase_add_loop_test(tests, an_engine_is_parsed_from_its_name_and_named_by_it, 0, ENGINE_NAMES);
    tcase_add_test(tests, the_reactor_is_always_available_and_no_engine_never);
    tcase_add_loop_test(tests, an_engine_makes_a_loop_exactly_when_it_says_that_it_is_available, 0, ENGINE_NAMES);
    tcase_add_test(tests, an_unknown_name_is_no_engine_and_leaves_the_result_untouched);
    tcase_add_test(tests, a_process_may_have_255_loops_and_no_more_until_one_is_gone);
    tcase_add_test(tests, what_the_system_refuses_while_a_loop_is_made_is_its_error_and_nothing_leaks);
    tcase_add_test(tests, destroying_no_loop_does_nothing);

    suite_add_tcase(suite, with_memory_of_its_own);
    tcase_set_timeout(with_memory_of_its_own, 60);
    tcase_add_test(with_memory_of_its_own, a_loop_without_memory_at_any_allocation_is_not_made_and_nothing_leaks);
}
