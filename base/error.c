#include "base/platform/error_text.h"

#include <jinduo/error.h>
#include <limits.h>

static const char *jinduo_description(int error)
{
    switch (error) {
    case JD_OK:
        return "success";
    case JD_EPERM:
        return "not permitted, or called from the wrong thread";
    case JD_ENOENT:
        return "not found";
    case JD_EINTR:
        return "interrupted by a signal";
    case JD_EAGAIN:
        return "not possible now, retry later";
    case JD_ENOMEM:
        return "out of memory";
    case JD_EACCES:
        return "permission denied";
    case JD_EBUSY:
        return "in use";
    case JD_EEXIST:
        return "already exists";
    case JD_EINVAL:
        return "invalid argument";
    case JD_ENFILE:
        return "the system is out of file descriptors";
    case JD_EMFILE:
        return "the process is out of file descriptors";
    case JD_EPIPE:
        return "broken pipe";
    case JD_EFORKED:
        return "the loop was created before fork and belongs to the parent process";
    case JD_ENODATA:
        return "file shorter than the range to be sent";
    case JD_ERANGE:
        return "value out of range";
    case JD_ENOSYS:
        return "not implemented by this system";
    case JD_EPROTO:
        return "protocol violated by peer";
    case JD_EMSGSIZE:
        return "message longer than the maximum";
    case JD_ENOTSUP:
        return "not supported by this engine or system";
    case JD_EADDRINUSE:
        return "address already in use";
    case JD_EADDRNOTAVAIL:
        return "address not available on this host";
    case JD_ECONNABORTED:
        return "connection aborted";
    case JD_ECONNRESET:
        return "connection reset by peer";
    case JD_ENOBUFS:
        return "limit on queued bytes reached";
    case JD_ENOTCONN:
        return "connection closing or closed";
    case JD_ETIMEDOUT:
        return "timed out";
    case JD_ECONNREFUSED:
        return "connection refused";
    case JD_EALREADY:
        return "already done or in progress";
    case JD_ECANCELED:
        return "cancelled";
    default:
        return NULL;
    }
}

const char *jd_strerror(int error)
{
    int negative = error > 0 ? -error : error;
    const char *text = jinduo_description(negative);

    if (text == NULL && negative != INT_MIN)
        text = error_text(-negative);
    return text != NULL ? text : "unknown error";
}

enum jd_error_class jd_error_class(int error)
{
    switch (error > 0 ? -error : error) {
    case JD_OK:
        return JD_ERROR_NONE;
    case JD_ECONNRESET:
    case JD_EPIPE:
    case JD_ECONNABORTED:
    case JD_EPROTO:
    case JD_EMSGSIZE:
    case -ENETRESET:
        return JD_ERROR_PEER;
    case JD_EAGAIN:
    case JD_EINTR:
    case JD_EBUSY:
    case JD_EADDRINUSE:
    case JD_ECONNREFUSED:
    case -EINPROGRESS:
    case -ENETDOWN:
    case -ENETUNREACH:
#ifdef EHOSTDOWN /* not on Windows */
    case -EHOSTDOWN:
#endif
    case -EHOSTUNREACH:
        return JD_ERROR_RETRY;
    case JD_ENOMEM:
    case JD_ENOBUFS:
    case JD_EMFILE:
    case JD_ENFILE:
    case -ENOSPC:
#ifdef EDQUOT /* not on Windows */
    case -EDQUOT:
#endif
        return JD_ERROR_RESOURCE;
    case JD_EINVAL:
    case JD_EPERM:
    case JD_EALREADY:
    case JD_ERANGE:
    case JD_ENOTSUP:
    case JD_EFORKED:
    case -EBADF:
    case -EFAULT:
    case -ENOTSOCK:
    case -EISCONN:
        return JD_ERROR_MISUSE;
    case JD_ETIMEDOUT:
        return JD_ERROR_TIMEOUT;
    case JD_ENOTCONN:
    case JD_ECANCELED:
        return JD_ERROR_ENDED;
    default:
        return JD_ERROR_OTHER;
    }
}
