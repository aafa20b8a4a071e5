/* Frames handled by a thread pool: the work for each frame runs outside the loops, and the responses of a connection
 * keep the order of its frames. */
#ifndef EXAMPLES_FRAME_POOL_H
#define EXAMPLES_FRAME_POOL_H

#include "examples/program.h"

enum {
    FRAME_POOL_FRAMES = 16, /* in the pool for one connection, at most; then reading from it pauses */
    FRAME_POOL_CONNECTIONS =
        4096, /* at most; the pool's task limit is the product, so submitting a frame never fails for it */
};

struct frame_pool;

/* Creates a pool of threads that spends work_us microseconds of CPU time on each frame, and sets program's callbacks
 * and its graceful shutdown to use it. Call after program_prepare, with server_options.max_connections at most
 * FRAME_POOL_CONNECTIONS. Exits with an error line on failure. */
struct frame_pool *frame_pool_create(struct program *program, const jd_codec *codec, unsigned threads,
                                     uint32_t work_us);

/* Call after program_serve. NULL is allowed. */
void frame_pool_destroy(struct frame_pool *pool);

/* Uses the CPU for work_us microseconds. */
void frame_work(uint32_t work_us);

#endif
