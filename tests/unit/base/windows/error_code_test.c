/* The errors of the codes on which the library's behaviour depends, by their numbers in [MS-ERREF]: the tables have names. */
#include "base/windows/error_code.h"
#include "tests/support/check_main.h"

#include <errno.h>
#include <jinduo/error.h>

static const struct {
    uint32_t code;
    int error;
} codes[] = {
    { 6, -EBADF },               /* ERROR_INVALID_HANDLE */
    { 8, JD_ENOMEM },            /* ERROR_NOT_ENOUGH_MEMORY: a packet is posted again */
    { 32, JD_EBUSY },            /* ERROR_SHARING_VIOLATION */
    { 38, JD_ENODATA },          /* ERROR_HANDLE_EOF: the end of a file */
    { 64, JD_ECONNRESET },       /* ERROR_NETNAME_DELETED */
    { 112, -ENOSPC },            /* ERROR_DISK_FULL */
    { 1450, JD_ENOBUFS },        /* ERROR_NO_SYSTEM_RESOURCES: a packet is posted again */
    { 10024, JD_EMFILE },        /* WSAEMFILE: accepting pauses */
    { 10035, JD_EAGAIN },        /* WSAEWOULDBLOCK */
    { 10048, JD_EADDRINUSE },    /* WSAEADDRINUSE */
    { 10049, JD_EADDRNOTAVAIL }, /* WSAEADDRNOTAVAIL */
    { 10053, JD_ECONNABORTED },  /* WSAECONNABORTED */
    { 10054, JD_ECONNRESET },    /* WSAECONNRESET */
    { 10055, JD_ENOBUFS },       /* WSAENOBUFS */
    { 10057, JD_ENOTCONN },      /* WSAENOTCONN */
    { 10060, JD_ETIMEDOUT },     /* WSAETIMEDOUT */
    { 10061, JD_ECONNREFUSED },  /* WSAECONNREFUSED */
    { 1, -EIO },                 /* ERROR_INVALID_FUNCTION: not in the table */
    { 0xFFFFFFFF, -EIO },
};

static const struct {
    uint32_t status;
    int error;
} statuses[] = {
    { 0, 0 },                         /* SUCCESS */
    { 0x00000103, 0 },                /* PENDING */
    { 0x40000000, 0 },                /* any information */
    { 0x8000000A, JD_ECANCELED },     /* HANDLES_CLOSED */
    { 0xC0000011, JD_ENODATA },       /* END_OF_FILE */
    { 0xC000007F, -ENOSPC },          /* DISK_FULL */
    { 0xC000009A, JD_ENOBUFS },       /* INSUFFICIENT_RESOURCES */
    { 0xC00000B5, JD_ETIMEDOUT },     /* IO_TIMEOUT */
    { 0xC00000C9, JD_ECONNRESET },    /* NETWORK_NAME_DELETED */
    { 0xC0000120, JD_ECANCELED },     /* CANCELLED */
    { 0xC000013C, JD_ECONNRESET },    /* REMOTE_DISCONNECT */
    { 0xC0000208, JD_EADDRNOTAVAIL }, /* INVALID_ADDRESS_WILDCARD: 0.0.0.0 as a destination */
    { 0xC000020D, JD_ECONNRESET },    /* CONNECTION_RESET */
    { 0xC0000236, JD_ECONNREFUSED },  /* CONNECTION_REFUSED */
    { 0xC0000241, JD_ECONNABORTED },  /* CONNECTION_ABORTED */
    { 0xC00000CD, -EIO },             /* TOO_MANY_NAMES: not in the table */
    { 0xFFFFFFFF, -EIO },
};

enum { CODES = sizeof(codes) / sizeof(codes[0]), STATUSES = sizeof(statuses) / sizeof(statuses[0]) };

START_TEST(a_code_has_its_error)
{
    ck_assert_int_eq(error_from_code(codes[_i].code), codes[_i].error);
}
END_TEST

START_TEST(a_status_has_its_error)
{
    ck_assert_int_eq(error_from_status(statuses[_i].status), statuses[_i].error);
}
END_TEST

const char *const suite_name = "error_code";

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("error_code");

    tcase_add_loop_test(tests, a_code_has_its_error, 0, CODES);
    tcase_add_loop_test(tests, a_status_has_its_error, 0, STATUSES);
    suite_add_tcase(suite, tests);
}
