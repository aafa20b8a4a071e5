/* The public functions that set a server's and a client's callbacks: the same for both, stored in the profile that
 * their connections share. A file that uses DEFINE_SET_CALLBACKS(OWNER) defines OWNER_profile(), which checks that
 * callbacks may be set now and returns the profile. */
#ifndef NET_CONNECTION_CONNECTION_CALLBACKS_H
#define NET_CONNECTION_CONNECTION_CALLBACKS_H

#include "net/connection/tcp_connection.h"

/* jd_tcp_OWNER_set_NAME_callback, for each callback that is set by itself and its argument alone. */
#define DEFINE_SET_CALLBACK(owner, name, type)                                                                         \
    void jd_tcp_##owner##_set_##name##_callback(jd_tcp_##owner *object, type callback, void *arg)                      \
    {                                                                                                                  \
        struct connection_profile *profile = owner##_profile(object);                                                  \
                                                                                                                       \
        profile->on_##name = callback;                                                                                 \
        profile->on_##name##_arg = arg;                                                                                \
    }

#define DEFINE_SET_CALLBACKS(owner)                                                                                    \
    DEFINE_SET_CALLBACK(owner, connection, jd_connection_callback)                                                     \
    DEFINE_SET_CALLBACK(owner, message, jd_message_callback)                                                           \
    DEFINE_SET_CALLBACK(owner, write_complete, jd_write_complete_callback)                                             \
    DEFINE_SET_CALLBACK(owner, high_watermark, jd_watermark_callback)                                                  \
    DEFINE_SET_CALLBACK(owner, low_watermark, jd_watermark_callback)                                                   \
    DEFINE_SET_CALLBACK(owner, heartbeat, jd_heartbeat_callback)                                                       \
    DEFINE_SET_CALLBACK(owner, half_close, jd_half_close_callback)                                                     \
    DEFINE_SET_CALLBACK(owner, peer_gone, jd_peer_gone_callback)                                                       \
    DEFINE_SET_CALLBACK(owner, frame_error, jd_frame_error_callback)                                                   \
    void jd_tcp_##owner##_set_session(jd_tcp_##owner *object, const jd_session_callbacks *callbacks, void *arg)        \
    {                                                                                                                  \
        connection_profile_set_session(owner##_profile(object), callbacks, arg);                                       \
    }                                                                                                                  \
    void jd_tcp_##owner##_set_codec(jd_tcp_##owner *object, const jd_codec *codec, jd_frame_callback callback,         \
                                    void *arg)                                                                         \
    {                                                                                                                  \
        connection_profile_set_codec(owner##_profile(object), codec, callback, arg);                                   \
    }

#endif
