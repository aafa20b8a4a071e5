#include "examples/frame_pool.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STEPS = 1000 }; /* between looks at the clock: about a microsecond */

struct frame_pool {
    struct program *program;
    const jd_codec *codec;
    jd_thread_pool *threads;
    uint32_t work_us;
    atomic_bool finishing; /* no more frames are taken */
    atomic_size_t waiting; /* what the end waits for: frames at work, and finish itself */
};

/* A connection's context. Its strand keeps its answers in order. */
struct worker {
    jd_strand *strand;
    unsigned frames; /* at work */
};

struct request {
    struct frame_pool *pool;
    jd_connection_id connection; /* may be gone by the time of the answer; its id then finds nothing */
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

static void stop_program(void *arg)
{
    program_stop(arg);
}

static void end_waiting(struct frame_pool *pool)
{
    if (atomic_fetch_sub(&pool->waiting, 1) == 1 && atomic_load(&pool->finishing))
        jd_event_loop_queue_in_loop(pool->program->loop, stop_program, pool->program);
}

/* In a thread of the pool: touches nothing but the request. */
static void work(void *arg)
{
    const struct request *request = arg;

    frame_work(request->pool->work_us);
}

static void send_answer(jd_tcp_connection *connection, const struct request *request)
{
    struct worker *worker = jd_tcp_connection_context(connection);

    if (jd_codec_send(request->pool->codec, connection, request->data, request->length) == JD_ENOBUFS)
        jd_tcp_connection_close(connection);
    if (worker->frames-- == FRAME_POOL_FRAMES && !atomic_load(&request->pool->finishing))
        jd_tcp_connection_resume_reading(connection);
}

/* In the connection's loop. */
static void answer(int error, void *arg)
{
    struct request *request = arg;
    jd_tcp_connection *connection = error == 0 ? jd_tcp_connection_find(request->connection) : NULL;

    if (connection != NULL)
        send_answer(connection, request);
    end_waiting(request->pool);
    free(request);
}

static void on_frame(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received, void *arg)
{
    struct worker *worker = jd_tcp_connection_context(connection);
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
    atomic_fetch_add(&pool->waiting, 1);
    if (jd_strand_submit(worker->strand, work, request, jd_tcp_connection_loop(connection), answer, request) < 0) {
        jd_tcp_connection_close(connection);
        end_waiting(pool);
        free(request);
    } else if (++worker->frames == FRAME_POOL_FRAMES)
        jd_tcp_connection_pause_reading(connection);
}

static void destroy_worker(void *arg)
{
    struct worker *worker = arg;

    jd_strand_destroy(worker->strand);
    free(worker);
}

static void on_connection(jd_tcp_connection *connection, void *arg)
{
    struct frame_pool *pool = arg;
    struct worker *worker;

    if (!jd_tcp_connection_is_connected(connection))
        return;
    worker = calloc(1, sizeof(*worker));
    if (worker == NULL || jd_strand_create(&worker->strand, pool->threads) < 0) {
        free(worker);
        jd_tcp_connection_close(connection);
        return;
    }
    jd_tcp_connection_set_context(connection, worker, destroy_worker);
    if (atomic_load(&pool->finishing))
        jd_tcp_connection_pause_reading(connection);
}

static void pause_reading(jd_tcp_connection *connection, void *arg)
{
    jd_tcp_connection_pause_reading(connection);
}

static void paused_all(void *arg)
{
    end_waiting(arg);
}

/* A server that stops closes connections for which nothing is queued, and does not know of answers that are at work
 * still. So these come first: nothing more is read, and the server stops when the last of them is sent. */
static void finish(struct program *program)
{
    struct frame_pool *pool = program->extension;

    atomic_fetch_add(&pool->waiting, 1);
    atomic_store(&pool->finishing, true);
    if (jd_tcp_server_for_each(program->server, pause_reading, NULL, paused_all, pool) < 0)
        end_waiting(pool);
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
        program_fail(program, "cannot make the pool", result);
    pool->program = program;
    pool->codec = codec;
    pool->work_us = work_us;
    program->extension = pool;
    program->finish = finish;
    program->release = release;
    jd_tcp_server_set_connection_callback(program->server, on_connection, pool);
    jd_tcp_server_set_codec(program->server, codec, on_frame, pool);
    return pool;
}

void frame_pool_destroy(struct frame_pool *pool)
{
    free(pool);
}
