/* Frames answered by a thread pool: the work on each is done off the loop, and the answers of a connection keep the
 * order of its frames. */
#ifndef EXAMPLES_FRAME_POOL_H
#define EXAMPLES_FRAME_POOL_H

#include "examples/program.h"

enum {
    FRAME_POOL_FRAMES = 16,        /* of one connection at work; then reading from it pauses */
    FRAME_POOL_CONNECTIONS = 4096, /* the pool's task limit is the product: so it never refuses a frame */
};

struct frame_pool;

/* Makes the pool, whose work takes work_us microseconds of CPU a frame, and sets program's callbacks and orderly end to
 * go by it. After program_prepare with server_options.max_connections of at most FRAME_POOL_CONNECTIONS. Ends the
 * program if it cannot. */
struct frame_pool *frame_pool_create(struct program *program, const jd_codec *codec, unsigned threads,
                                     uint32_t work_us);

/* After program_serve. */
void frame_pool_destroy(struct frame_pool *pool);

/* Computes for so long. */
void frame_work(uint32_t work_us);

#endif
