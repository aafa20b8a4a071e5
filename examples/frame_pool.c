/* Shows how to handle frames in a thread pool: responses in order (a strand for each connection), back-pressure
 * (reading pauses at FRAME_POOL_FRAMES frames), and connections whose end waits for the frames in the pool. */
#include "examples/frame_pool.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STEPS = 1000 }; /* additions between two readings of the clock: about a microsecond */

struct frame_pool {
    const jd_codec *codec;
    jd_thread_pool *threads;
    uint32_t work_us;
};

/* The context of a connection. The strand keeps its responses in order. */
struct connection_work {
    jd_strand *strand;
    unsigned frames; /* in the pool */
};

struct request {
    struct frame_pool *pool;
    jd_connection_id connection; /* an id, as the connection may be closed before the response is ready */
    size_t length;
    char data[];
};

void frame_work(uint32_t work_us)
{
    volatile unsigned value = 0;
    struct timespec start, now;

    if (work_us == 0)
        return;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &start);
    do {
        for (unsigned i = 0; i < STEPS; i++)
            value = value + i;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    } while ((now.tv_sec - start.tv_sec) * 1000000 + (now.tv_nsec - start.tv_nsec) / 1000 < (long)work_us);
}

/* Runs in a thread of the pool: uses only the request. */
static void handle_frame(void *arg)
{
    const struct request *request = arg;

    frame_work(request->pool->work_us);
}

static void send_response(jd_tcp_connection *connection, const struct request *request)
{
    struct connection_work *work = jd_tcp_connection_context(connection);

    if (jd_codec_send(request->pool->codec, connection, request->data, request->length) == JD_ENOBUFS)
        jd_tcp_connection_close(connection);
    jd_tcp_connection_answered(connection);
    if (work->frames-- == FRAME_POOL_FRAMES)
        jd_tcp_connection_resume_reading(connection);
}

/* Called in the connection's loop when the work is done. */
static void on_handled(int error, void *arg)
{
    struct request *request = arg;
    jd_tcp_connection *connection = error == 0 ? jd_tcp_connection_find(request->connection) : NULL;

    if (connection != NULL)
        send_response(connection, request);
    free(request);
}

static void on_frame(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received, void *arg)
{
    struct connection_work *work = jd_tcp_connection_context(connection);
    struct frame_pool *pool = arg;
    struct request *request = malloc(sizeof(*request) + length);

    if (request == NULL) {
        jd_tcp_connection_close(connection);
        return;
    }
    request->pool = pool;
    request->connection = jd_tcp_connection_id(connection);
    request->length = length;
    memcpy(request->data, data, length);
    if (jd_strand_submit(work->strand, handle_frame, request, jd_tcp_connection_loop(connection), on_handled, request) <
        0) {
        jd_tcp_connection_close(connection);
        free(request);
        return;
    }
    /* A peer that sends its FIN now still gets the response, and so does one whose server stops. */
    jd_tcp_connection_expect(connection);
    if (++work->frames == FRAME_POOL_FRAMES)
        jd_tcp_connection_pause_reading(connection);
}

static void destroy_connection_work(void *arg)
{
    struct connection_work *work = arg;

    jd_strand_destroy(work->strand);
    free(work);
}

static void on_connection(jd_tcp_connection *connection, void *arg)
{
    struct frame_pool *pool = arg;
    struct connection_work *work;

    if (!jd_tcp_connection_is_connected(connection))
        return;
    work = calloc(1, sizeof(*work));
    if (work == NULL || jd_strand_create(&work->strand, pool->threads) < 0) {
        free(work);
        jd_tcp_connection_close(connection);
        return;
    }
    jd_tcp_connection_set_context(connection, work, destroy_connection_work);
}

static void release(struct program *program)
{
    struct frame_pool *pool = program->extension;

    jd_thread_pool_destroy(pool->threads);
}

struct frame_pool *frame_pool_create(struct program *program, const jd_codec *codec, unsigned threads, uint32_t work_us)
{
    jd_thread_pool_options options = { .threads = threads, .task_limit = FRAME_POOL_CONNECTIONS * FRAME_POOL_FRAMES };
    struct frame_pool *pool = calloc(1, sizeof(*pool));
    int result = pool == NULL ? JD_ENOMEM : jd_thread_pool_create(&pool->threads, &options);

    if (result < 0)
        program_fail(program, "cannot create the thread pool", result);
    pool->codec = codec;
    pool->work_us = work_us;
    program->extension = pool;
    program->release = release;
    jd_tcp_server_set_connection_callback(program->server, on_connection, pool);
    jd_tcp_server_set_codec(program->server, codec, on_frame, pool);
    return pool;
}

void frame_pool_destroy(struct frame_pool *pool)
{
    free(pool);
}
