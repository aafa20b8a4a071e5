/* Shared: constant bytes with a reference count, which any number of connections send without a copy for each
 * (jd_tcp_connection_send_shared). To broadcast a frame, encode it into a buffer (jd_codec_encode) and share the
 * buffer's bytes. */
#ifndef JINDUO_SHARED_H
#define JINDUO_SHARED_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

/* Creates a shared object with a copy of length bytes of data. The caller owns its one reference. Returns 0 or
 * JD_ENOMEM. May be called from any thread. */
JD_API int jd_shared_create(jd_shared **shared, const void *data, size_t length);

/* Creates a shared object that refers to data without a copy. The memory must stay valid and unchanged until
 * release(arg) is invoked: exactly once, in the thread that returns the last reference (in jd_shared_unref, or at the
 * end of a turn of a loop that sent the bytes). release may be free, with data as arg; NULL: nothing is invoked. The
 * caller owns the object's one reference. Returns 0, or JD_ENOMEM, and then release is not invoked. May be called from
 * any thread. */
JD_API int jd_shared_create_owned(jd_shared **shared, const void *data, size_t length, jd_release release, void *arg);

/* Takes a reference (ref, returns shared) or returns one (unref; NULL is allowed). The caller of ref must hold a
 * reference. May be called from any thread. */
JD_API jd_shared *jd_shared_ref(jd_shared *shared);
JD_API void jd_shared_unref(jd_shared *shared);

/* Return the bytes and their number. The bytes are valid as long as the caller holds a reference. May be called from any
 * thread. */
JD_API const void *jd_shared_data(const jd_shared *shared);
JD_API size_t jd_shared_length(const jd_shared *shared);

JD_END_DECLS
#endif
