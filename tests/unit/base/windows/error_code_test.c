/* Each code has its error: the rows of both tables, by the names of the system's headers. */
#define WIN32_NO_STATUS
#include "base/windows/error_code.h"
#include "tests/support/check_main.h"

#include <jinduo/error.h>

#include <winsock2.h>
#include <winternl.h>
#undef WIN32_NO_STATUS
#include <ntstatus.h>

static const struct {
    uint32_t code;
    int error;
} codes[] = {
    { ERROR_FILE_NOT_FOUND, JD_ENOENT },
    { ERROR_PATH_NOT_FOUND, JD_ENOENT },
    { ERROR_TOO_MANY_OPEN_FILES, JD_EMFILE },
    { ERROR_ACCESS_DENIED, JD_EACCES },
    { ERROR_INVALID_HANDLE, -EBADF },
    { ERROR_NOT_ENOUGH_MEMORY, JD_ENOMEM },
    { ERROR_OUTOFMEMORY, JD_ENOMEM },
    { ERROR_SHARING_VIOLATION, JD_EBUSY },
    { ERROR_LOCK_VIOLATION, JD_EBUSY },
    { ERROR_HANDLE_EOF, JD_ENODATA },
    { ERROR_HANDLE_DISK_FULL, -ENOSPC },
    { ERROR_DISK_FULL, -ENOSPC },
    { ERROR_NOT_SUPPORTED, JD_ENOTSUP },
    { ERROR_NETNAME_DELETED, JD_ECONNRESET },
    { ERROR_INVALID_PARAMETER, JD_EINVAL },
    { ERROR_BROKEN_PIPE, JD_EPIPE },
    { ERROR_SEM_TIMEOUT, JD_ETIMEDOUT },
    { ERROR_BUSY, JD_EBUSY },
    { ERROR_OPERATION_ABORTED, JD_ECANCELED },
    { ERROR_NOT_FOUND, JD_ENOENT },
    { ERROR_CONNECTION_REFUSED, JD_ECONNREFUSED },
    { ERROR_NETWORK_UNREACHABLE, -ENETUNREACH },
    { ERROR_HOST_UNREACHABLE, -EHOSTUNREACH },
    { ERROR_PORT_UNREACHABLE, JD_ECONNREFUSED },
    { ERROR_CONNECTION_ABORTED, JD_ECONNABORTED },
    { ERROR_NO_SYSTEM_RESOURCES, JD_ENOBUFS },
    { ERROR_WORKING_SET_QUOTA, JD_ENOBUFS },
    { ERROR_COMMITMENT_LIMIT, JD_ENOMEM },
    { ERROR_NOT_ENOUGH_QUOTA, JD_ENOBUFS },
    { WSAEINTR, JD_EINTR },
    { WSAEBADF, -EBADF },
    { WSAEACCES, JD_EACCES },
    { WSAEFAULT, -EFAULT },
    { WSAEINVAL, JD_EINVAL },
    { WSAEMFILE, JD_EMFILE },
    { WSAEWOULDBLOCK, JD_EAGAIN },
    { WSAEINPROGRESS, -EINPROGRESS },
    { WSAEALREADY, JD_EALREADY },
    { WSAENOTSOCK, -ENOTSOCK },
    { WSAEDESTADDRREQ, -EDESTADDRREQ },
    { WSAEMSGSIZE, JD_EMSGSIZE },
    { WSAEPROTOTYPE, -EPROTOTYPE },
    { WSAENOPROTOOPT, -ENOPROTOOPT },
    { WSAEPROTONOSUPPORT, -EPROTONOSUPPORT },
    { WSAEOPNOTSUPP, -EOPNOTSUPP },
    { WSAEAFNOSUPPORT, -EAFNOSUPPORT },
    { WSAEADDRINUSE, JD_EADDRINUSE },
    { WSAEADDRNOTAVAIL, JD_EADDRNOTAVAIL },
    { WSAENETDOWN, -ENETDOWN },
    { WSAENETUNREACH, -ENETUNREACH },
    { WSAENETRESET, -ENETRESET },
    { WSAECONNABORTED, JD_ECONNABORTED },
    { WSAECONNRESET, JD_ECONNRESET },
    { WSAENOBUFS, JD_ENOBUFS },
    { WSAEISCONN, -EISCONN },
    { WSAENOTCONN, JD_ENOTCONN },
    { WSAESHUTDOWN, JD_EPIPE },
    { WSAETIMEDOUT, JD_ETIMEDOUT },
    { WSAECONNREFUSED, JD_ECONNREFUSED },
    { WSAEHOSTDOWN, -EHOSTUNREACH },
    { WSAEHOSTUNREACH, -EHOSTUNREACH },
    { WSAEDISCON, JD_ENOTCONN },
};

static const struct {
    uint32_t status;
    int error;
} statuses[] = {
    { (uint32_t)STATUS_HANDLES_CLOSED, JD_ECANCELED },
    { (uint32_t)STATUS_PAGEFILE_QUOTA, JD_ENOBUFS },
    { (uint32_t)STATUS_INVALID_HANDLE, -EBADF },
    { (uint32_t)STATUS_INVALID_PARAMETER, JD_EINVAL },
    { (uint32_t)STATUS_END_OF_FILE, JD_ENODATA },
    { (uint32_t)STATUS_NO_MEMORY, JD_ENOMEM },
    { (uint32_t)STATUS_ACCESS_DENIED, JD_EACCES },
    { (uint32_t)STATUS_SHARING_VIOLATION, JD_EBUSY },
    { (uint32_t)STATUS_QUOTA_EXCEEDED, JD_ENOBUFS },
    { (uint32_t)STATUS_FILE_LOCK_CONFLICT, JD_EBUSY },
    { (uint32_t)STATUS_DISK_FULL, -ENOSPC },
    { (uint32_t)STATUS_INSUFFICIENT_RESOURCES, JD_ENOBUFS },
    { (uint32_t)STATUS_WORKING_SET_QUOTA, JD_ENOBUFS },
    { (uint32_t)STATUS_PIPE_DISCONNECTED, JD_EPIPE },
    { (uint32_t)STATUS_IO_TIMEOUT, JD_ETIMEDOUT },
    { (uint32_t)STATUS_NOT_SUPPORTED, JD_ENOTSUP },
    { (uint32_t)STATUS_REMOTE_NOT_LISTENING, JD_ECONNREFUSED },
    { (uint32_t)STATUS_BAD_NETWORK_PATH, -ENETUNREACH },
    { (uint32_t)STATUS_NETWORK_BUSY, -ENETDOWN },
    { (uint32_t)STATUS_UNEXPECTED_NETWORK_ERROR, -ENETRESET },
    { (uint32_t)STATUS_NETWORK_NAME_DELETED, JD_ECONNRESET },
    { (uint32_t)STATUS_CANCELLED, JD_ECANCELED },
    { (uint32_t)STATUS_COMMITMENT_LIMIT, JD_ENOMEM },
    { (uint32_t)STATUS_LOCAL_DISCONNECT, JD_ECONNRESET },
    { (uint32_t)STATUS_REMOTE_DISCONNECT, JD_ECONNRESET },
    { (uint32_t)STATUS_REMOTE_RESOURCES, JD_ENOBUFS },
    { (uint32_t)STATUS_LINK_FAILED, JD_ECONNRESET },
    { (uint32_t)STATUS_LINK_TIMEOUT, JD_ETIMEDOUT },
    { (uint32_t)STATUS_INVALID_CONNECTION, JD_ENOTCONN },
    { (uint32_t)STATUS_INVALID_ADDRESS, JD_EADDRNOTAVAIL },
    { (uint32_t)STATUS_PIPE_BROKEN, JD_EPIPE },
    { (uint32_t)STATUS_USER_SESSION_DELETED, -ENETUNREACH },
    { (uint32_t)STATUS_INSUFF_SERVER_RESOURCES, JD_ENOBUFS },
    { (uint32_t)STATUS_INVALID_ADDRESS_COMPONENT, JD_EADDRNOTAVAIL },
    { (uint32_t)STATUS_INVALID_ADDRESS_WILDCARD, JD_EADDRNOTAVAIL },
    { (uint32_t)STATUS_TOO_MANY_ADDRESSES, JD_EADDRINUSE },
    { (uint32_t)STATUS_ADDRESS_ALREADY_EXISTS, JD_EADDRINUSE },
    { (uint32_t)STATUS_ADDRESS_CLOSED, JD_EADDRNOTAVAIL },
    { (uint32_t)STATUS_CONNECTION_DISCONNECTED, JD_ECONNRESET },
    { (uint32_t)STATUS_CONNECTION_RESET, JD_ECONNRESET },
    { (uint32_t)STATUS_TRANSACTION_ABORTED, JD_ECONNABORTED },
    { (uint32_t)STATUS_CONNECTION_REFUSED, JD_ECONNREFUSED },
    { (uint32_t)STATUS_GRACEFUL_DISCONNECT, JD_ENOTCONN },
    { (uint32_t)STATUS_CONNECTION_INVALID, JD_ENOTCONN },
    { (uint32_t)STATUS_CONNECTION_ACTIVE, -EISCONN },
    { (uint32_t)STATUS_NETWORK_UNREACHABLE, -ENETUNREACH },
    { (uint32_t)STATUS_HOST_UNREACHABLE, -EHOSTUNREACH },
    { (uint32_t)STATUS_PROTOCOL_UNREACHABLE, -ENETUNREACH },
    { (uint32_t)STATUS_PORT_UNREACHABLE, JD_ECONNREFUSED },
    { (uint32_t)STATUS_REQUEST_ABORTED, JD_ECANCELED },
    { (uint32_t)STATUS_CONNECTION_ABORTED, JD_ECONNABORTED },
    { (uint32_t)STATUS_HOPLIMIT_EXCEEDED, -EHOSTUNREACH },
};

enum { CODES = sizeof(codes) / sizeof(codes[0]), STATUSES = sizeof(statuses) / sizeof(statuses[0]) };

START_TEST(each_code_has_its_error)
{
    for (int i = 0; i < CODES; i++)
        ck_assert_msg(error_from_code(codes[i].code) == codes[i].error, "%u: %d", (unsigned)codes[i].code,
                      error_from_code(codes[i].code));
}
END_TEST

START_TEST(each_status_has_its_error)
{
    for (int i = 0; i < STATUSES; i++)
        ck_assert_msg(error_from_status(statuses[i].status) == statuses[i].error, "%08x: %d",
                      (unsigned)statuses[i].status, error_from_status(statuses[i].status));
}
END_TEST

/* The address 0.0.0.0 as a destination: the number was once taken for another name's. */
START_TEST(a_wildcard_is_no_address_to_connect_to)
{
    ck_assert_int_eq(error_from_status(0xC0000208), JD_EADDRNOTAVAIL);
    ck_assert_int_eq(error_from_code(10049), JD_EADDRNOTAVAIL);
}
END_TEST

START_TEST(an_unknown_code_is_eio)
{
    ck_assert_int_eq(error_from_code(ERROR_INVALID_FUNCTION), -EIO);
    ck_assert_int_eq(error_from_code(0xFFFFFFFF), -EIO);
    ck_assert_int_eq(error_from_status((uint32_t)STATUS_TOO_MANY_NAMES), -EIO);
    ck_assert_int_eq(error_from_status(0xFFFFFFFF), -EIO);
}
END_TEST

START_TEST(success_and_information_are_no_errors)
{
    ck_assert_int_eq(error_from_status((uint32_t)STATUS_SUCCESS), 0);
    ck_assert_int_eq(error_from_status((uint32_t)STATUS_PENDING), 0);
    ck_assert_int_eq(error_from_status(0x40000000), 0);
}
END_TEST

const char *const suite_name = "error_code";

void suite_add_tests(Suite *suite)
{
    TCase *tests = tcase_create("error_code");

    tcase_add_test(tests, each_code_has_its_error);
    tcase_add_test(tests, each_status_has_its_error);
    tcase_add_test(tests, a_wildcard_is_no_address_to_connect_to);
    tcase_add_test(tests, an_unknown_code_is_eio);
    tcase_add_test(tests, success_and_information_are_no_errors);
    suite_add_tcase(suite, tests);
}
