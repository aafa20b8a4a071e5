#include "tests/support/check_main.h"

#include <ctype.h>
#include <jinduo/error.h>
#include <limits.h>
#include <string.h>

static const int own_errors[] = {
    JD_EPERM,   JD_ENOENT,   JD_EINTR,     JD_EAGAIN,       JD_ENOMEM,        JD_EACCES,       JD_EBUSY,
    JD_EEXIST,  JD_EINVAL,   JD_ENFILE,    JD_EMFILE,       JD_EPIPE,         JD_ERANGE,       JD_ENOSYS,
    JD_EPROTO,  JD_EMSGSIZE, JD_ENOTSUP,   JD_EADDRINUSE,   JD_EADDRNOTAVAIL, JD_ECONNABORTED, JD_ECONNRESET,
    JD_ENOBUFS, JD_ENOTCONN, JD_ETIMEDOUT, JD_ECONNREFUSED, JD_EALREADY,      JD_ECANCELED,    JD_ENODATA,
};

enum { OWN_ERRORS = sizeof(own_errors) / sizeof(own_errors[0]) };

START_TEST(each_of_the_librarys_errors_has_a_lower_case_phrase_of_its_own)
{
    const char *text = jd_strerror(own_errors[_i]);

    ck_assert_int_lt(own_errors[_i], 0);
    ck_assert_str_ne(text, "unknown error");
    ck_assert_msg(islower((unsigned char)text[0]), "%s", text);
    for (int other = 0; other < _i; other++)
        ck_assert_str_ne(text, jd_strerror(own_errors[other]));
}
END_TEST

START_TEST(a_reset_connection_is_called_that)
{
    ck_assert_str_eq(jd_strerror(JD_ECONNRESET), "connection reset by peer");
}
END_TEST

START_TEST(zero_is_success)
{
    ck_assert_str_eq(jd_strerror(JD_OK), "success");
}
END_TEST

START_TEST(an_errno_the_library_has_no_name_for_is_described_by_the_system)
{
    ck_assert_str_eq(jd_strerror(-EXDEV), strerror(EXDEV));
}
END_TEST

START_TEST(an_errno_that_was_not_negated_means_the_same)
{
    ck_assert_str_eq(jd_strerror(ECONNRESET), jd_strerror(JD_ECONNRESET));
    ck_assert_str_eq(jd_strerror(EXDEV), jd_strerror(-EXDEV));
}
END_TEST

START_TEST(a_number_that_is_no_error_is_unknown)
{
    static const int numbers[] = { 100000, -100000, INT_MAX, -INT_MAX, INT_MIN };

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        ck_assert_str_eq(jd_strerror(numbers[i]), "unknown error");
}
END_TEST

START_TEST(the_text_stays_as_it_is_when_another_is_asked_for)
{
    const char *text = jd_strerror(-EXDEV);
    char copy[64];

    strncpy(copy, text, sizeof(copy) - 1);
    copy[sizeof(copy) - 1] = '\0';
    for (int number = 0; number < 200; number++)
        jd_strerror(-number);

    ck_assert_str_eq(text, copy);
    ck_assert_ptr_eq(text, jd_strerror(-EXDEV));
}
END_TEST

/* ---- classes ---- */

START_TEST(each_class_has_the_errors_that_a_program_treats_alike)
{
    static const struct {
        enum jd_error_class expected;
        int errors[12];
    } classes[] = {
        { JD_ERROR_NONE, { JD_OK } },
        { JD_ERROR_PEER, { JD_ECONNRESET, JD_EPIPE, JD_ECONNABORTED, JD_EPROTO, JD_EMSGSIZE } },
        { JD_ERROR_RETRY,
          { JD_EAGAIN, JD_EINTR, JD_EBUSY, JD_EADDRINUSE, JD_ECONNREFUSED, -ENETUNREACH, -EHOSTUNREACH, -ENETDOWN } },
        { JD_ERROR_RESOURCE, { JD_ENOMEM, JD_ENOBUFS, JD_EMFILE, JD_ENFILE, -ENOSPC } },
        { JD_ERROR_MISUSE, { JD_EINVAL, JD_EPERM, JD_EALREADY, JD_ERANGE, JD_ENOTSUP, JD_EFORKED, -EBADF } },
        { JD_ERROR_TIMEOUT, { JD_ETIMEDOUT } },
        { JD_ERROR_ENDED, { JD_ENOTCONN, JD_ECANCELED } },
        { JD_ERROR_OTHER, { JD_ENOENT, JD_EACCES, JD_EEXIST, JD_ENODATA, JD_ENOSYS, JD_EADDRNOTAVAIL, -EIO, -EXDEV } },
    };

    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++)
        for (const int *error = classes[i].errors; *error != 0 || error == classes[i].errors; error++) {
            ck_assert_msg(jd_error_class(*error) == classes[i].expected, "%s", jd_strerror(*error));
            ck_assert_int_eq(jd_error_class(-*error), classes[i].expected);
        }
}
END_TEST

START_TEST(every_number_has_a_class)
{
    static const int extremes[] = { INT_MIN, -INT_MAX, INT_MAX, 100000, -100000 };

    for (size_t i = 0; i < sizeof(extremes) / sizeof(extremes[0]); i++)
        ck_assert_int_eq(jd_error_class(extremes[i]), JD_ERROR_OTHER);
    for (int number = 1; number < 4096; number++) {
        ck_assert_int_gt(jd_error_class(-number), JD_ERROR_NONE);
        ck_assert_int_lt(jd_error_class(-number), JD_ERROR_CLASSES);
        ck_assert_int_eq(jd_error_class(number), jd_error_class(-number));
    }
    for (size_t i = 0; i < OWN_ERRORS; i++)
        ck_assert_int_lt(jd_error_class(own_errors[i]), JD_ERROR_CLASSES);
}
END_TEST

const char *const suite_name = "error";

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("error");

    tcase_add_loop_test(tests, each_of_the_librarys_errors_has_a_lower_case_phrase_of_its_own, 0, OWN_ERRORS);
    tcase_add_test(tests, a_reset_connection_is_called_that);
    tcase_add_test(tests, zero_is_success);
    tcase_add_test(tests, an_errno_the_library_has_no_name_for_is_described_by_the_system);
    tcase_add_test(tests, an_errno_that_was_not_negated_means_the_same);
    tcase_add_test(tests, a_number_that_is_no_error_is_unknown);
    tcase_add_test(tests, the_text_stays_as_it_is_when_another_is_asked_for);
    tcase_add_test(tests, each_class_has_the_errors_that_a_program_treats_alike);
    tcase_add_test(tests, every_number_has_a_class);
    suite_add_tcase(suite, tests);
}
