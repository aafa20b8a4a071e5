/* Errors: a function that can fail returns 0 (or a count) on success, else a negative value. Each value is a negated errno
 * value (errno(3)). Functions may also return negated errno values of the system that have no name here. */
#ifndef JINDUO_ERROR_H
#define JINDUO_ERROR_H

#include <errno.h>
#include <jinduo/types.h>

JD_BEGIN_DECLS

enum {
    JD_OK = 0,
    JD_EPERM = -EPERM,   /* called in a wrong thread, or refused by the system */
    JD_ENOENT = -ENOENT, /* not found */
    JD_EINTR = -EINTR,
    JD_EAGAIN = -EAGAIN, /* not possible now */
    JD_ENOMEM = -ENOMEM, /* no memory */
    JD_EACCES = -EACCES,
    JD_EBUSY = -EBUSY, /* in use */
    JD_EEXIST = -EEXIST,
    JD_EINVAL = -EINVAL, /* invalid argument */
    JD_ENFILE = -ENFILE,
    JD_EMFILE = -EMFILE, /* the process has no descriptor left */
    JD_EPIPE = -EPIPE,
    JD_ENODATA = -ENODATA, /* a file became shorter than the range that is being sent */
    JD_ERANGE = -ERANGE,   /* outside the range */
    JD_ENOSYS = -ENOSYS,
    JD_EPROTO = -EPROTO,     /* protocol violation by the peer */
    JD_EMSGSIZE = -EMSGSIZE, /* a frame or a line exceeds its maximum length */
    JD_ENOTSUP = -ENOTSUP,   /* not supported by this engine or system */
    JD_EADDRINUSE = -EADDRINUSE,
    JD_EADDRNOTAVAIL = -EADDRNOTAVAIL,
    JD_ECONNABORTED = -ECONNABORTED,
    JD_ECONNRESET = -ECONNRESET,
    JD_ENOBUFS = -ENOBUFS,   /* a limit on queued bytes is reached */
    JD_ENOTCONN = -ENOTCONN, /* the connection is shut down, broken, closing or closed */
    JD_ETIMEDOUT = -ETIMEDOUT,
    JD_ECONNREFUSED = -ECONNREFUSED,
    JD_EALREADY = -EALREADY,   /* done or in progress already */
    JD_ECANCELED = -ECANCELED, /* cancelled, or the loop is being destroyed */
    JD_EFORKED = -EOWNERDEAD,  /* the loop was created before fork(2): it belongs to the parent process */
};

/* Returns a description of error, such as "connection reset by peer": a static string, never NULL, for any value. A
 * positive errno value gives the same text as its negation. May be called from any thread. */
JD_API const char *jd_strerror(int error);

/* What an error means for the program: who has to do something about it. */
enum jd_error_class {
    JD_ERROR_NONE,  /* 0: no error */
    JD_ERROR_PEER,  /* the peer, or the network, has ended the connection, or the peer has violated the protocol */
    JD_ERROR_RETRY, /* not possible now; the same call may succeed later: refused, unreachable, in use, interrupted */
    JD_ERROR_RESOURCE, /* out of memory, descriptors or disk space, or a limit is reached */
    JD_ERROR_MISUSE, /* a mistake in the program: an invalid argument, a wrong thread, an object in the wrong state, something that
                      * this engine or system does not support */
    JD_ERROR_TIMEOUT, /* a timeout has expired */
    JD_ERROR_ENDED, /* ended on this side: a connection that is closing, a cancelled operation, a loop being destroyed */
    JD_ERROR_OTHER,   /* the rest: not found, access denied, a file's error, an unknown number */
    JD_ERROR_CLASSES, /* their number */
};

/* Returns the class of error: one for every value. It is that of the usual meaning: JD_EMSGSIZE, for one, is a frame of the
 * peer that is too long (JD_ERROR_PEER), although jd_codec_send returns it for one of the program. A positive errno value has
 * the class of its negation. May be called from any thread. */
JD_API enum jd_error_class jd_error_class(int error);

JD_END_DECLS
#endif
