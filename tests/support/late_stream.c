#include "tests/support/late_stream.h"

#include "net/engine/stream_socket.h"
#include "tests/support/check_main.h"

#include <jinduo/error.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { CLOSE_TURNS_MAX = 4, DROPS_MAX = 16 };

/* ---- stream_ops ---- */

void late_stream_adopt(struct late_streams *streams, struct stream *stream, socket_handle socket)
{
    struct late_stream *late_stream = malloc(sizeof(*late_stream));

    ck_assert_ptr_nonnull(late_stream);
    memset(late_stream, 0, offsetof(struct late_stream, data));
    late_stream->stream = stream;
    late_stream->turns_to_close = (unsigned)random_below(&streams->random, CLOSE_TURNS_MAX);
    late_stream->next = streams->first;
    streams->first = late_stream;
    stream->engine_data = late_stream;
    stream->socket = socket;
}

static struct late_stream *late_stream_of(const struct stream *stream)
{
    return stream->engine_data;
}

static int late_start(struct stream *stream)
{
    late_stream_of(stream)->started = true;
    return 0;
}

static void late_pause(struct stream *stream)
{
    late_stream_of(stream)->pause_asked = true;
}

static void late_resume(struct stream *stream)
{
    late_stream_of(stream)->pause_asked = false;
}

static void late_flush(struct stream *stream)
{
    late_stream_of(stream)->flush_asked = true;
}

static void late_shutdown_write(struct stream *stream)
{
    ck_assert_uint_eq(output_queue_bytes(&stream->output), 0);
    late_stream_of(stream)->shutdown_asked = true;
}

static void late_close(struct stream *stream, bool reset)
{
    struct late_stream *late_stream = late_stream_of(stream);

    ck_assert(!late_stream->closing);
    late_stream->closing = true;
    late_stream->with_reset = reset;
}

const struct stream_ops late_stream_ops = {
    .start = late_start,
    .pause = late_pause,
    .resume = late_resume,
    .flush = late_flush,
    .shutdown_write = late_shutdown_write,
    .close = late_close,
};

/* ---- failing ---- */

/* Nothing more can be received or sent. */
static void late_stream_fail(struct late_stream *late_stream, int error)
{
    late_stream->failure = error;
    if (late_stream->output_failure == 0)
        late_stream->output_failure = error;
}

static void late_stream_fail_output(struct late_stream *late_stream, int error)
{
    if (late_stream->output_failure == 0)
        late_stream->output_failure = error;
    if (late_stream->end_reported || !socket_stream_end_input(late_stream->stream))
        late_stream->failure = error;
    late_stream->hung_up = false; /* there is more to be read, or the end */
}

/* ---- receiving ---- */

/* Mostly 1; sometimes many, so that a test with megabytes ends. */
static size_t random_length(struct late_streams *streams, size_t most)
{
    uint64_t kind = random_below(&streams->random, 16);
    size_t bound = kind < 12 ? 1 : kind < 14 ? 16 : kind < 15 ? 1024 : READ_AHEAD_BYTES;
    size_t bytes = 1 + random_below(&streams->random, bound);

    return bytes < most ? bytes : most;
}

static void late_stream_deliver(struct late_streams *streams, struct late_stream *late_stream)
{
    size_t budget = stream_budget(late_stream->stream);
    size_t bytes = random_length(streams, late_stream->end - late_stream->begin);
    struct block *block = event_loop_receive_block(late_stream->stream->loop);

    if (block == NULL) {
        late_stream->begin = late_stream->end;
        late_stream_fail(late_stream, JD_ENOMEM);
        return;
    }
    if (bytes > budget)
        bytes = budget;
    if (bytes > block->capacity)
        bytes = block->capacity;
    memcpy(block->data, late_stream->data + late_stream->begin, bytes);
    block->begin = 0;
    block->end = (uint32_t)bytes;
    late_stream->begin += bytes;
    stream_received(late_stream->stream, &block);
    if (block != NULL)
        block_release(block);
}

static bool late_stream_may_read_ahead(const struct late_stream *late_stream)
{
    return !late_stream->paused && !late_stream->end_read && late_stream->end - late_stream->begin < READ_AHEAD_BYTES;
}

static void late_stream_read_ahead(struct late_stream *late_stream)
{
    ssize_t received;

    memmove(late_stream->data, late_stream->data + late_stream->begin, late_stream->end - late_stream->begin);
    late_stream->end -= late_stream->begin;
    late_stream->begin = 0;
    received = socket_receive(late_stream->stream->socket, late_stream->data + late_stream->end,
                              READ_AHEAD_BYTES - late_stream->end);
    if (received > 0)
        late_stream->end += (size_t)received;
    else if (received == 0)
        late_stream->end_read = true;
    else if (received != JD_EAGAIN)
        late_stream_fail(late_stream, (int)received);
}

/* ---- sending ---- */

static int buffers_cut(jd_iovec *buffers, int count, size_t bytes)
{
    for (int i = 0; i < count; i++) {
        if (bytes <= buffers[i].length) {
            buffers[i].length = bytes;
            return i + 1;
        }
        bytes -= buffers[i].length;
    }
    return count;
}

static void late_stream_send_some(struct late_streams *streams, struct late_stream *late_stream)
{
    struct stream *stream = late_stream->stream;
    jd_iovec buffers[SEND_PIECES];
    size_t total;
    bool more;
    int count = output_queue_pieces(&stream->output, buffers, SEND_PIECES, &total, &more);
    ssize_t sent;

    if (count == 0) {
        int result = stream_read_file(stream, random_length(streams, SIZE_MAX));
        if (result < 0)
            late_stream_fail_output(late_stream, result);
        return;
    }
    sent = socket_send(stream->socket, buffers, buffers_cut(buffers, count, random_length(streams, total)));
    if (sent >= 0)
        late_stream->sent_unreported = (size_t)sent;
    else if (sent == JD_EAGAIN)
        late_stream->blocked = true;
    else
        late_stream_fail_output(late_stream, (int)sent);
}

static void late_stream_report_sent(struct late_stream *late_stream)
{
    size_t bytes = late_stream->sent_unreported;

    late_stream->sent_unreported = 0;
    stream_sent(late_stream->stream, bytes);
}

static void late_stream_shut_down(struct late_stream *late_stream)
{
    int result = socket_stream_shutdown_write(late_stream->stream);

    late_stream->shutdown_asked = false;
    if (result < 0)
        late_stream_fail_output(late_stream, result);
}

/* ---- closing ---- */

/* Sends as much of the remaining output as the kernel takes: one buffer at a time, each reported before the next. */
static void late_stream_send_rest(struct late_stream *late_stream)
{
    struct stream *stream = late_stream->stream;
    jd_iovec buffer;
    size_t total;
    bool more;
    ssize_t sent = 0;

    if (output_queue_bytes(&stream->output) == 0)
        late_stream->rest_sent = true;
    else if (output_queue_pieces(&stream->output, &buffer, 1, &total, &more) == 0)
        late_stream->rest_sent = stream_read_file(stream, READ_AHEAD_BYTES) < 0;
    else
        sent = socket_send(stream->socket, &buffer, 1);
    late_stream->rest_sent |= sent < 0;
    late_stream->sent_unreported = sent > 0 ? (size_t)sent : 0;
}

/* Closing with unread input would send RST (see stream_ops.close). Bounded, because a peer may send without end. */
static void late_stream_drop_input(struct late_stream *late_stream)
{
    for (int i = 0; i < DROPS_MAX; i++)
        if (socket_receive(late_stream->stream->socket, late_stream->data, READ_AHEAD_BYTES) <= 0)
            return;
}

static void late_stream_free(struct late_streams *streams, struct late_stream *late_stream)
{
    struct late_stream **link = &streams->first;

    while (*link != late_stream)
        link = &(*link)->next;
    *link = late_stream->next;
    free(late_stream);
}

static void late_stream_close(struct late_streams *streams, struct late_stream *late_stream)
{
    struct stream *stream = late_stream->stream;

    if (late_stream->turns_to_close > 0) {
        late_stream->turns_to_close--;
        return;
    }
    if (!late_stream->with_reset && !late_stream->rest_sent && late_stream->output_failure == 0) {
        late_stream_send_rest(late_stream);
        return;
    }
    if (late_stream->with_reset)
        socket_reset_on_close(stream->socket);
    else if (late_stream->output_failure == 0)
        late_stream_drop_input(late_stream);
    if (has_flag(stream, STREAM_SHARED_DESCRIPTOR) && !late_stream->with_reset)
        socket_shutdown_write(stream->socket);
    socket_close(stream->socket);
    stream->socket = SOCKET_NONE;
    stream->engine_data = NULL;
    streams->descriptor_freed = true;
    late_stream_free(streams, late_stream);
    stream_closed(stream);
}

static void late_stream_report_output_failure(struct late_stream *late_stream)
{
    late_stream->output_failure_reported = true;
    stream_output_failed(late_stream->stream, late_stream->output_failure);
}

static void late_stream_report_end_seen(struct late_stream *late_stream)
{
    late_stream->end_seen_reported = true;
    stream_end_seen(late_stream->stream);
}

static void late_stream_report_failure(struct late_stream *late_stream)
{
    late_stream->failure_reported = true;
    stream_failed(late_stream->stream, late_stream->failure);
}

static void late_stream_report_end(struct late_stream *late_stream)
{
    late_stream->end_reported = true;
    if (late_stream->output_failure != 0)
        late_stream->failure = late_stream->output_failure;
    stream_ended(late_stream->stream);
}

/* ---- called by the engine ---- */

int late_stream_interest(const struct late_stream *late_stream)
{
    bool awaits_end = late_stream->paused && !late_stream->end_seen && !late_stream->end_read;
    int events = (late_stream_may_read_ahead(late_stream) ? POLLIN : 0) | (late_stream->blocked ? POLLOUT : 0) |
                 (awaits_end ? POLLRDHUP : 0);

    if (!late_stream->started || late_stream->closing || late_stream->failure != 0)
        return -1;
    return events != 0 || !late_stream->hung_up ? events : -1;
}

void late_stream_polled(struct late_stream *late_stream, int events)
{
    int error;

    if (events & (POLLOUT | POLLERR | POLLHUP))
        late_stream->blocked = false;
    if (events & (POLLIN | POLLERR | POLLHUP) && late_stream_may_read_ahead(late_stream)) {
        late_stream_read_ahead(late_stream);
        return;
    }
    error = events & POLLERR ? socket_error(late_stream->stream->socket) : 0;
    if (error < 0)
        late_stream_fail_output(late_stream, error);
    else if (events & (POLLRDHUP | POLLHUP))
        late_stream->end_seen = true;
    if (events & (POLLERR | POLLHUP))
        late_stream->hung_up = true;
}

bool late_stream_could(const struct late_stream *late_stream, enum stream_work work)
{
    bool all_delivered = late_stream->begin == late_stream->end;

    /* A closing stream has one item of work at a time, because that item may free it. */
    if (work == WORK_CLOSE || late_stream->closing)
        return late_stream->closing && work == (late_stream->sent_unreported > 0 ? WORK_SENT : WORK_CLOSE);
    if (late_stream->failure_reported)
        return false;
    switch (work) {
    case WORK_PAUSE:
        return late_stream->paused != late_stream->pause_asked;
    case WORK_RECEIVE:
        return !all_delivered;
    case WORK_END_SEEN:
        return (late_stream->end_seen || late_stream->end_read) && late_stream->paused &&
               !late_stream->end_seen_reported && !late_stream->end_reported && late_stream->output_failure == 0;
    case WORK_END:
        return late_stream->end_read && !late_stream->end_reported && all_delivered &&
               (late_stream->output_failure == 0 || late_stream->output_failure_reported);
    case WORK_SEND:
        return late_stream->flush_asked && late_stream->sent_unreported == 0 && !late_stream->blocked &&
               late_stream->output_failure == 0 && output_queue_bytes(&late_stream->stream->output) > 0;
    case WORK_SENT:
        return late_stream->sent_unreported > 0;
    case WORK_SHUTDOWN:
        return late_stream->shutdown_asked && late_stream->output_failure == 0;
    case WORK_FAIL_OUTPUT:
        return late_stream->output_failure != 0 && !late_stream->output_failure_reported &&
               late_stream->sent_unreported == 0;
    case WORK_FAIL:
        return late_stream->failure != 0 && all_delivered && late_stream->output_failure_reported;
    default:
        return false;
    }
}

void late_stream_do(struct late_streams *streams, struct late_stream *late_stream, enum stream_work work)
{
    switch (work) {
    case WORK_PAUSE:
        late_stream->paused = late_stream->pause_asked;
        late_stream->end_seen_reported = false;
        break;
    case WORK_RECEIVE:
        late_stream_deliver(streams, late_stream);
        break;
    case WORK_END_SEEN:
        late_stream_report_end_seen(late_stream);
        break;
    case WORK_END:
        late_stream_report_end(late_stream);
        break;
    case WORK_SEND:
        late_stream_send_some(streams, late_stream);
        break;
    case WORK_SENT:
        late_stream_report_sent(late_stream);
        break;
    case WORK_SHUTDOWN:
        late_stream_shut_down(late_stream);
        break;
    case WORK_FAIL_OUTPUT:
        late_stream_report_output_failure(late_stream);
        break;
    case WORK_FAIL:
        late_stream_report_failure(late_stream);
        break;
    case WORK_CLOSE:
        late_stream_close(streams, late_stream);
        break;
    case STREAM_WORKS:
        break;
    }
}
