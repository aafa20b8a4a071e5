/* The user's descriptors on a Proactor's loop (net/engine/channel.h): an optional part of the engine. How readiness is found
 * is a matter of the system, so the engine knows this table only. Each loop has a part of its own, opened with the loop's first
 * channel.
 *
 * Everything here happens in the loop's thread. */
#ifndef PROACTOR_CHANNEL_OPS_H
#define PROACTOR_CHANNEL_OPS_H

#include "proactor/backend.h"

#include <jinduo/channel.h>

struct proactor_channels; /* the part's own */

struct proactor_channel_ops {
    /* Nothing is watched yet. Returns 0 or a negative error. */
    int (*open)(struct proactor_channels **channels, struct backend *backend);

    /* No channel is left, and the backend has been destroyed. */
    void (*close)(struct proactor_channels *channels);

    /* As engine_ops.watch and unwatch (net/engine/engine.h). */
    int (*watch)(struct proactor_channels *channels, jd_channel *channel);
    void (*unwatch)(struct proactor_channels *channels, jd_channel *channel);

    /* Before a wait: submits what makes that wait end when a channel is ready. Returns 0 or a negative error. */
    int (*poll)(struct proactor_channels *channels);

    /* From the wait, when an operation of COMPLETES_CHANNELS (proactor/completion_token.h) has completed: reports which
     * channels are ready (channel_ready), and those let go of. User callbacks run here. Returns 0 or a negative error. */
    int (*ready)(struct proactor_channels *channels);
};

#endif
