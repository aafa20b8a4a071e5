/* Pipes with jinduo: a channel for each. */
#include "benchmarks/peers/pipes.h"

#include <jinduo/jinduo.h>
#include <stdint.h>
#include <stdlib.h>

static jd_event_loop *loop;

static void on_readable(jd_channel *channel, jd_handle handle, unsigned events, void *arg)
{
    if (pipes_readable((unsigned)(uintptr_t)arg))
        jd_event_loop_quit(loop);
}

int pipes_prepare(const int *fds, unsigned count)
{
    if (jd_event_loop_create(&loop, NULL) < 0)
        return -1;
    for (unsigned i = 0; i < count; i++) {
        jd_channel *channel;
        if (jd_channel_create(&channel, loop, fds[i], JD_READABLE, on_readable, (void *)(uintptr_t)i) < 0)
            return -1;
    }
    return 0;
}

void pipes_run(void)
{
    if (jd_event_loop_run(loop) < 0)
        abort();
}
