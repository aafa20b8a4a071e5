/* Channel: readiness of a descriptor of the user's own (a pipe, a timerfd, another library's socket) on a loop. */
#ifndef JINDUO_CHANNEL_H
#define JINDUO_CHANNEL_H

#include <jinduo/types.h>

JD_BEGIN_DECLS

enum {
    JD_READABLE = 1, /* asked for and told: reading would not block (data, or the end) */
    JD_WRITABLE = 2, /* asked for and told: writing would not block */
    JD_EDGE = 4,     /* asked for: tell only changes (epoll(7), edge-triggered) instead of the level */
    JD_HANGUP = 8,   /* told: the other end is gone, or an error waits on the descriptor */
};

/* events: what is ready, of JD_READABLE, JD_WRITABLE, JD_HANGUP. */
typedef void (*jd_channel_callback)(jd_channel *channel, jd_handle handle, unsigned events, void *arg);

/* Calls callback in the loop's thread whenever fd is ready for one of events (0: only JD_HANGUP). fd stays the
 * caller's: it is never read, written, closed or switched to non-blocking here, and must stay open until
 * jd_channel_destroy. In the loop's thread. Returns 0, JD_EINVAL, JD_EPERM (wrong thread, or fd is a plain file),
 * JD_EEXIST (fd is already watched by this loop), JD_ENOMEM, JD_ECANCELED (the loop is being destroyed), -EBADF (fd is
 * not open). */
JD_API int jd_channel_create(jd_channel **channel, jd_event_loop *loop, jd_handle handle, unsigned events,
                             jd_channel_callback callback, void *arg);

/* Changes what is waited for. In the loop's thread. Returns 0, JD_EINVAL, JD_EPERM, JD_ENOMEM. */
JD_API int jd_channel_set_events(jd_channel *channel, unsigned events);

/* Stops watching and frees the channel; no callback comes any more, not even for an event already collected. Allowed in
 * any callback, this channel's own too. In the loop's thread; before jd_event_loop_destroy. NULL is allowed. */
JD_API void jd_channel_destroy(jd_channel *channel);

JD_END_DECLS
#endif
