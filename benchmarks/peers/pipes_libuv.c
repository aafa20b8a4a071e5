/* Pipes with libuv: a poll handle for each. */
#include "benchmarks/peers/pipes.h"

#include <stdint.h>
#include <stdlib.h>
#include <uv.h>

static uv_loop_t loop;

static void on_readable(uv_poll_t *handle, int status, int events)
{
    if (pipes_readable((unsigned)(uintptr_t)handle->data))
        uv_stop(&loop);
}

int pipes_prepare(const int *fds, unsigned count)
{
    uv_poll_t *handles = calloc(count, sizeof(*handles));

    if (handles == NULL || uv_loop_init(&loop) < 0)
        return -1;
    for (unsigned i = 0; i < count; i++) {
        handles[i].data = (void *)(uintptr_t)i;
        if (uv_poll_init(&loop, &handles[i], fds[i]) < 0 || uv_poll_start(&handles[i], UV_READABLE, on_readable) < 0)
            return -1;
    }
    return 0;
}

void pipes_run(void)
{
    uv_run(&loop, UV_RUN_DEFAULT);
}
