/* Channel: watches a descriptor of the caller's (a pipe, a timerfd, another library's socket) for readiness. */
#ifndef JINDUO_CHANNEL_H
#define JINDUO_CHANNEL_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

/* Events to watch for, and events that the callback reports. */
enum {
    JD_READABLE = 1, /* watch and report: a read would not block (data, or the end) */
    JD_WRITABLE = 2, /* watch and report: a write would not block */
    JD_EDGE = 4,     /* watch: edge-triggered (epoll(7)) instead of level-triggered */
    JD_HANGUP = 8,   /* report: the other end has closed, or the descriptor has a pending error */
};

/* Reports readiness. events: one or more of JD_READABLE, JD_WRITABLE, JD_HANGUP. Invoked in the loop's thread. */
typedef void (*jd_channel_callback)(jd_channel *channel, jd_handle handle, unsigned events, void *arg);

/* Watches handle and invokes callback in the loop's thread whenever the handle is ready for one of events: JD_READABLE,
 * JD_WRITABLE, or both, and JD_EDGE; 0: only JD_HANGUP is reported.
 *
 * Returns 0; JD_EINVAL (a negative handle, no callback, unknown events); JD_EPERM (wrong thread, or the handle cannot be
 * watched: a regular file); JD_EEXIST (this loop already watches the handle); JD_ENOMEM; JD_ECANCELED (the loop is being
 * destroyed); -EBADF (the handle is not open); JD_ENOTSUP (on Windows).
 *
 * The handle stays the caller's: the library does not read, write or close it or make it non-blocking. It must stay open
 * until jd_channel_destroy. Must be called in the loop's thread. */
JD_API int jd_channel_create(jd_channel **channel, jd_event_loop *loop, jd_handle handle, unsigned events,
                             jd_channel_callback callback, void *arg);

/* Replaces the events to watch for. Returns 0; or JD_EINVAL, JD_EPERM (wrong thread), JD_ENOMEM: the old events then stay.
 * Must be called in the loop's thread. */
JD_API int jd_channel_set_events(jd_channel *channel, unsigned events);

/* Stops watching and frees the channel. The callback is not invoked again, not even for an event of this turn. Allowed in
 * any callback, the channel's own included; NULL is allowed. Must be called in the loop's thread, before
 * jd_event_loop_destroy: that frees the channels that are left. */
JD_API void jd_channel_destroy(jd_channel *channel);

JD_END_DECLS
#endif
