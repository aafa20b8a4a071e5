/* The part of a Proactor that watches the user's descriptors (jd_channel; net/engine/channel.h). It is optional, and
 * how readiness is found depends on the system, so the engine knows only this table. Each loop has an instance of its
 * own, opened with the loop's first channel.
 *
 * Thread rule: the loop's thread, for every function here. */
#ifndef PROACTOR_CHANNEL_OPS_H
#define PROACTOR_CHANNEL_OPS_H

#include "proactor/backend.h"

#include <jinduo/channel.h>

struct proactor_channels; /* defined by the implementation */

struct proactor_channel_ops {
    /* Creates an instance that watches nothing yet, over backend, which outlives every use of it but close. The
     * engine owns *channels until close. Returns 0 or a negative error. */
    int (*open)(struct proactor_channels **channels, struct backend *backend);

    /* Frees the instance. Called when no channel is left and the backend has already been destroyed. */
    void (*close)(struct proactor_channels *channels);

    /* As engine_ops.watch and engine_ops.unwatch (net/engine/engine.h): watch begins to watch the channel's
     * descriptor, or changes the events, and returns 0 or a negative error. After unwatch, channel_released is called
     * exactly once, from inside or from ready. */
    int (*watch)(struct proactor_channels *channels, jd_channel *channel);
    void (*unwatch)(struct proactor_channels *channels, jd_channel *channel);

    /* Called before each wait: submits an operation (COMPLETES_CHANNELS, proactor/completion_token.h) that completes
     * when a channel is ready, unless one is in flight. Returns 0 or a negative error. */
    int (*poll)(struct proactor_channels *channels);

    /* Called from wait when that operation has completed: reports each ready channel (channel_ready), and each
     * unwatched one (channel_released). User callbacks run here. Returns 0 or a negative error. */
    int (*ready)(struct proactor_channels *channels);
};

#endif
