#include "tests/support/check_main.h"

#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct record {
    int count;
    jd_log_level level;
    char message[2 * LOG_MESSAGE_BYTES];
};

static void keep(jd_log_level level, const char *message, void *arg)
{
    struct record *record = arg;

    record->count++;
    record->level = level;
    snprintf(record->message, sizeof(record->message), "%s", message);
    errno = ENOTTY;
}

/* What log_message wrote to standard error, which is a pipe meanwhile. */
static void catch_stderr(char *text, size_t size, jd_log_level level, const char *message)
{
    int ends[2], before = dup(STDERR_FILENO);
    ssize_t length;

    ck_assert_int_eq(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    log_message(level, "%s", message);
    dup2(before, STDERR_FILENO);
    close(before);
    length = read(ends[0], text, size - 1);
    close(ends[0]);
    ck_assert_int_ge(length, 0);
    text[length] = '\0';
}

START_TEST(the_sink_gets_level_and_formatted_message)
{
    struct record record = { 0 };

    jd_log_set_sink(keep, &record);
    log_message(JD_LOG_ERROR, "port %d of %s", 80, "web");

    ck_assert_int_eq(record.count, 1);
    ck_assert_int_eq(record.level, JD_LOG_ERROR);
    ck_assert_str_eq(record.message, "port 80 of web");
}
END_TEST

START_TEST(at_first_warnings_and_errors_get_through_and_nothing_else)
{
    struct record record = { 0 };

    jd_log_set_sink(keep, &record);
    log_message(JD_LOG_DEBUG, "debug");
    log_message(JD_LOG_INFO, "info");
    ck_assert_int_eq(record.count, 0);
    log_message(JD_LOG_WARNING, "warning");
    log_message(JD_LOG_ERROR, "error");
    ck_assert_int_eq(record.count, 2);
}
END_TEST

START_TEST(a_lower_level_lets_more_through)
{
    struct record record = { 0 };

    jd_log_set_sink(keep, &record);
    jd_log_set_level(JD_LOG_DEBUG);
    log_message(JD_LOG_DEBUG, "debug");

    ck_assert_int_eq(record.count, 1);
}
END_TEST

START_TEST(the_level_none_silences_errors_too)
{
    struct record record = { 0 };

    jd_log_set_sink(keep, &record);
    jd_log_set_level(JD_LOG_NONE);
    log_message(JD_LOG_ERROR, "error");

    ck_assert_int_eq(record.count, 0);
}
END_TEST

START_TEST(a_long_message_is_cut)
{
    struct record record = { 0 };
    char longer[2 * LOG_MESSAGE_BYTES];

    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    jd_log_set_sink(keep, &record);
    log_message(JD_LOG_ERROR, "%s", longer);

    ck_assert_uint_eq(strlen(record.message), LOG_MESSAGE_BYTES - 1);
}
END_TEST

START_TEST(logging_leaves_errno_alone)
{
    struct record record = { 0 };

    jd_log_set_sink(keep, &record);
    errno = EXDEV;
    log_message(JD_LOG_ERROR, "error");

    ck_assert_int_eq(errno, EXDEV);
}
END_TEST

START_TEST(without_a_sink_a_line_goes_to_standard_error)
{
    char text[256];

    catch_stderr(text, sizeof(text), JD_LOG_WARNING, "low on descriptors");

    ck_assert_str_eq(text, "jinduo: warning: low on descriptors\n");
}
END_TEST

START_TEST(a_null_sink_brings_standard_error_back)
{
    struct record record = { 0 };
    char text[256];

    jd_log_set_sink(keep, &record);
    jd_log_set_sink(NULL, NULL);
    catch_stderr(text, sizeof(text), JD_LOG_ERROR, "gone wrong");

    ck_assert_str_eq(text, "jinduo: error: gone wrong\n");
    ck_assert_int_eq(record.count, 0);
}
END_TEST

START_TEST(the_longest_message_still_ends_its_line)
{
    char longer[2 * LOG_MESSAGE_BYTES], text[2 * LOG_MESSAGE_BYTES];

    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    catch_stderr(text, sizeof(text), JD_LOG_WARNING, longer);

    ck_assert_uint_eq(strlen(text), strlen("jinduo: warning: \n") + LOG_MESSAGE_BYTES - 1);
    ck_assert_int_eq(text[strlen(text) - 1], '\n');
}
END_TEST

/* Standard error becomes a pipe nobody reads. */
static void break_stderr(void)
{
    int ends[2];

    ck_assert_int_eq(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    close(ends[0]);
}

START_TEST(standard_error_without_a_reader_raises_no_signal)
{
    sigset_t pending;

    break_stderr();
    signal(SIGPIPE, SIG_DFL);
    log_message(JD_LOG_ERROR, "nobody listens");

    ck_assert_int_eq(sigpending(&pending), 0);
    ck_assert_int_eq(sigismember(&pending, SIGPIPE), 0);
}
END_TEST

START_TEST(a_pending_broken_pipe_signal_of_the_programs_own_stays_pending)
{
    sigset_t pipe_signal, pending;

    break_stderr();
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL);
    raise(SIGPIPE);
    log_message(JD_LOG_ERROR, "nobody listens");

    ck_assert_int_eq(sigpending(&pending), 0);
    ck_assert_int_eq(sigismember(&pending, SIGPIPE), 1);
}
END_TEST

enum { LOGGING_THREADS = 4, MESSAGES_PER_THREAD = 2000 };

struct counter {
    _Atomic int right, wrong;
    struct counter *own; /* itself: sink and argument belong together */
};

static void count_first(jd_log_level level, const char *message, void *arg)
{
    struct counter *counter = arg;

    if (counter->own == counter && strcmp(message, "message") == 0)
        counter->right++;
    else
        counter->wrong++;
}

static void *log_many(void *arg)
{
    for (int i = 0; i < MESSAGES_PER_THREAD; i++)
        log_message(JD_LOG_ERROR, "message");
    return NULL;
}

START_TEST(every_message_reaches_one_of_two_sinks_that_are_swapped_meanwhile)
{
    struct counter counters[2] = { { .own = &counters[0] }, { .own = &counters[1] } };
    pthread_t threads[LOGGING_THREADS];

    jd_log_set_sink(count_first, &counters[0]);
    for (int i = 0; i < LOGGING_THREADS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, log_many, NULL), 0);
    for (int i = 0; i < 1000; i++)
        jd_log_set_sink(count_first, &counters[i % 2]);
    for (int i = 0; i < LOGGING_THREADS; i++)
        pthread_join(threads[i], NULL);

    ck_assert_int_eq(counters[0].right + counters[1].right, LOGGING_THREADS * MESSAGES_PER_THREAD);
    ck_assert_int_eq(counters[0].wrong + counters[1].wrong, 0);
}
END_TEST

const char *const suite_name = "log";

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("log");

    tcase_add_test(tests, the_sink_gets_level_and_formatted_message);
    tcase_add_test(tests, at_first_warnings_and_errors_get_through_and_nothing_else);
    tcase_add_test(tests, a_lower_level_lets_more_through);
    tcase_add_test(tests, the_level_none_silences_errors_too);
    tcase_add_test(tests, a_long_message_is_cut);
    tcase_add_test(tests, logging_leaves_errno_alone);
    tcase_add_test(tests, without_a_sink_a_line_goes_to_standard_error);
    tcase_add_test(tests, a_null_sink_brings_standard_error_back);
    tcase_add_test(tests, the_longest_message_still_ends_its_line);
    tcase_add_test(tests, standard_error_without_a_reader_raises_no_signal);
    tcase_add_test(tests, a_pending_broken_pipe_signal_of_the_programs_own_stays_pending);
    tcase_add_test(tests, every_message_reaches_one_of_two_sinks_that_are_swapped_meanwhile);
    suite_add_tcase(suite, tests);
}
