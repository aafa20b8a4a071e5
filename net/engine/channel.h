/* The channel's inside. */
#ifndef NET_ENGINE_CHANNEL_H
#define NET_ENGINE_CHANNEL_H

#include <jinduo/channel.h>

struct jd_channel {
    jd_event_loop *loop;
    jd_channel *next, *previous; /* on the loop's list of channels; next also on that of dead ones */
    jd_channel_callback callback;
    void *arg;
    int fd;
    unsigned events;
    void *engine_data; /* the engine's */
    bool watched;      /* the engine's: watch has succeeded before */
    bool dead;
};

/* What an engine calls when the descriptor is ready. */
void channel_ready(jd_channel *channel, unsigned events);

/* The engine has let go of a channel that was unwatched: nothing that it has collected points to it after this turn. */
void channel_released(jd_channel *channel);

/* Frees those released. */
void channels_free_dead(jd_event_loop *loop);
void channels_destroy_all(jd_event_loop *loop);

#endif
