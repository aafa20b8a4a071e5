/* Shared: bytes that never change, counted by references and sent on any number of connections without being copied for
 * each (jd_tcp_connection_send_shared). To broadcast frames, encode one into a buffer (jd_codec_encode) and share
 * that. */
#ifndef JINDUO_SHARED_H
#define JINDUO_SHARED_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

/* Creates one with a copy of length bytes, and one reference, the caller's. Returns 0 or JD_ENOMEM. */
JD_API int jd_shared_create(jd_shared **shared, const void *data, size_t length);

/* The same of memory that is not copied: it must stay as it is until release(arg) is called (free and the memory
 * itself, say; NULL: nothing is to be called). That happens exactly once, in the thread that gives the last reference
 * back: from jd_shared_unref, or from a loop on which it was sent, at a turn's end. Returns 0; or JD_ENOMEM, and
 * release is not called. */
JD_API int jd_shared_create_owned(jd_shared **shared, const void *data, size_t length, jd_release release, void *arg);

/* Takes and gives back a reference. From any thread; ref: by who holds one. unref takes NULL too. */
JD_API jd_shared *jd_shared_ref(jd_shared *shared);
JD_API void jd_shared_unref(jd_shared *shared);

/* The bytes, and how many. From any thread. */
JD_API const void *jd_shared_data(const jd_shared *shared);
JD_API size_t jd_shared_length(const jd_shared *shared);

JD_END_DECLS
#endif
