/* Errors: a function that can fail returns 0 (or a count) or one of these, all of them negative. Where errno has a
 * name for it, the value is errno's, negated (errno(3)); any other negative errno of the system may be returned too. */
#ifndef JINDUO_ERROR_H
#define JINDUO_ERROR_H

#include <errno.h>
#include <jinduo/types.h>

JD_BEGIN_DECLS

enum {
    JD_OK = 0,
    JD_EPERM = -EPERM,   /* not from this thread; or refused by the system */
    JD_ENOENT = -ENOENT, /* nothing found */
    JD_EINTR = -EINTR,
    JD_EAGAIN = -EAGAIN,
    JD_ENOMEM = -ENOMEM, /* memory could not be had */
    JD_EACCES = -EACCES,
    JD_EBUSY = -EBUSY,
    JD_EEXIST = -EEXIST,
    JD_EINVAL = -EINVAL, /* an argument makes no sense */
    JD_ENFILE = -ENFILE,
    JD_EMFILE = -EMFILE, /* out of descriptors */
    JD_EPIPE = -EPIPE,
    JD_ENODATA = -ENODATA, /* a file ended before all that was to be sent of it */
    JD_ERANGE = -ERANGE,
    JD_ENOSYS = -ENOSYS,
    JD_EPROTO = -EPROTO,     /* the peer broke the protocol */
    JD_EMSGSIZE = -EMSGSIZE, /* a frame, or a line, is longer than its maximum */
    JD_ENOTSUP = -ENOTSUP,   /* this engine cannot do it */
    JD_EADDRINUSE = -EADDRINUSE,
    JD_EADDRNOTAVAIL = -EADDRNOTAVAIL,
    JD_ECONNABORTED = -ECONNABORTED,
    JD_ECONNRESET = -ECONNRESET,
    JD_ENOBUFS = -ENOBUFS,   /* a limit on queued bytes is reached */
    JD_ENOTCONN = -ENOTCONN, /* the connection is closing or closed */
    JD_ETIMEDOUT = -ETIMEDOUT,
    JD_ECONNREFUSED = -ECONNREFUSED,
    JD_EALREADY = -EALREADY,
    JD_ECANCELED = -ECANCELED,
};

/* The error in words, e.g. "connection reset by peer". A static string, never NULL, for any value; an errno
 * that was not negated means the same. From any thread. */
JD_API const char *jd_strerror(int error);

JD_END_DECLS
#endif
