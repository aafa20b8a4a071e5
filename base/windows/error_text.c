#include "base/platform/error_text.h"

#include <errno.h>
#include <stdlib.h>

/* The C library's texts end before the errors of sockets, and its strerror is not static for unknown numbers. */
const char *error_text(int number)
{
    switch (number) {
    case EHOSTUNREACH:
        return "no route to host";
    case ENETUNREACH:
        return "network is unreachable";
    case ENETDOWN:
        return "network is down";
    case ENETRESET:
        return "network dropped the connection on reset";
    case ENOTSOCK:
        return "not a socket";
    case EAFNOSUPPORT:
        return "address family not supported";
    case EISCONN:
        return "already connected";
    case EINPROGRESS:
        return "in progress";
    default:
        return number >= 0 && number < _sys_nerr ? _sys_errlist[number] : NULL;
    }
}
