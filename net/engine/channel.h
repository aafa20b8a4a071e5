/* The members of a channel, and the functions by which engines report to it. All in the loop's thread. */
#ifndef NET_ENGINE_CHANNEL_H
#define NET_ENGINE_CHANNEL_H

#include <jinduo/channel.h>

struct jd_channel {
    jd_event_loop *loop;
    jd_channel *next, *previous; /* in the loop's list of channels; next also in its list of dead channels */
    jd_channel_callback callback;
    void *arg;
    jd_handle fd;
    unsigned events;
    void *engine_data; /* engine's */
    bool watched;      /* engine_ops.watch has succeeded before: the next call changes the events */
    bool dead;         /* jd_channel_destroy was called: no callback any more */
};

/* Reports that the descriptor is ready for events (JD_READABLE, JD_WRITABLE, JD_HANGUP). Invokes the user's
 * callback. */
void channel_ready(jd_channel *channel, unsigned events);

/* Reports the end of engine_ops.unwatch: after this turn, no event that the engine has collected refers to the channel.
 * The loop frees it at the end of the turn. */
void channel_released(jd_channel *channel);

/* Frees the released channels. */
void channels_free_dead(jd_event_loop *loop);

/* Destroys all channels of a loop that is being destroyed. */
void channels_destroy_all(jd_event_loop *loop);

#endif
