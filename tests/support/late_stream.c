#include "tests/support/late_stream.h"

#include "tests/support/check_main.h"

#include <jinduo/error.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { SEND_PIECES = 64, CLOSE_TURNS_MAX = 4, DROPS_MAX = 16 };

/* ---- what the connection asks ---- */

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

static struct late_stream *of(const struct stream *stream)
{
    return stream->engine_data;
}

static int late_start(struct stream *stream)
{
    of(stream)->started = true;
    return 0;
}

static void late_pause(struct stream *stream)
{
    of(stream)->pause_asked = true;
}

static void late_resume(struct stream *stream)
{
    of(stream)->pause_asked = false;
}

static void late_flush(struct stream *stream)
{
    of(stream)->flush_asked = true;
}

static void late_shutdown_write(struct stream *stream)
{
    ck_assert_uint_eq(output_queue_bytes(&stream->output), 0);
    of(stream)->shutdown_asked = true;
}

static void late_close(struct stream *stream, bool reset)
{
    struct late_stream *late_stream = of(stream);

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

/* ---- receiving ---- */

/* Mostly single bytes; sometimes many, so that megabytes end. */
static size_t some_bytes(struct late_streams *streams, size_t most)
{
    uint64_t kind = random_below(&streams->random, 16);
    size_t bound = kind < 12 ? 1 : kind < 14 ? 16 : kind < 15 ? 1024 : READ_AHEAD_BYTES;
    size_t bytes = 1 + random_below(&streams->random, bound);

    return bytes < most ? bytes : most;
}

static void receive(struct late_streams *streams, struct late_stream *late_stream)
{
    size_t budget = stream_budget(late_stream->stream);
    size_t bytes = some_bytes(streams, late_stream->end - late_stream->begin);
    struct block *block = event_loop_receive_block(late_stream->stream->loop);

    if (block == NULL) {
        late_stream->begin = late_stream->end;
        late_stream->failure = JD_ENOMEM;
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
        block_put(block);
}

static bool may_read_ahead(const struct late_stream *late_stream)
{
    return !late_stream->paused && !late_stream->end_read && late_stream->end - late_stream->begin < READ_AHEAD_BYTES;
}

static void read_ahead(struct late_stream *late_stream)
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
        late_stream->failure = (int)received;
}

/* ---- sending ---- */

static int cut_pieces(jd_iovec *pieces, int count, size_t bytes)
{
    for (int i = 0; i < count; i++) {
        if (bytes <= pieces[i].length) {
            pieces[i].length = bytes;
            return i + 1;
        }
        bytes -= pieces[i].length;
    }
    return count;
}

static void send_some(struct late_streams *streams, struct late_stream *late_stream)
{
    struct stream *stream = late_stream->stream;
    jd_iovec pieces[SEND_PIECES];
    size_t total;
    bool more;
    int count = output_queue_pieces(&stream->output, pieces, SEND_PIECES, &total, &more);
    ssize_t sent;

    if (count == 0) {
        late_stream->failure = stream_read_file(stream, some_bytes(streams, SIZE_MAX));
        return;
    }
    sent = socket_send(stream->socket, pieces, cut_pieces(pieces, count, some_bytes(streams, total)));
    if (sent >= 0)
        late_stream->sent_untold = (size_t)sent;
    else if (sent == JD_EAGAIN)
        late_stream->blocked = true;
    else
        late_stream->failure = (int)sent;
}

static void tell_sent(struct late_stream *late_stream)
{
    size_t bytes = late_stream->sent_untold;

    late_stream->sent_untold = 0;
    stream_sent(late_stream->stream, bytes);
}

static void shut_down(struct late_stream *late_stream)
{
    int result = socket_shutdown_write(late_stream->stream->socket);

    late_stream->shutdown_asked = false;
    if (result < 0)
        late_stream->failure = result;
}

/* ---- closing ---- */

/* What the kernel takes of the output that it does not have yet: a piece at a time, each told before the next. */
static void send_rest(struct late_stream *late_stream)
{
    struct stream *stream = late_stream->stream;
    jd_iovec piece;
    size_t total;
    bool more;
    ssize_t sent = 0;

    if (output_queue_bytes(&stream->output) == 0)
        late_stream->rest_sent = true;
    else if (output_queue_pieces(&stream->output, &piece, 1, &total, &more) == 0)
        late_stream->rest_sent = stream_read_file(stream, READ_AHEAD_BYTES) < 0;
    else
        sent = socket_send(stream->socket, &piece, 1);
    late_stream->rest_sent |= sent < 0;
    late_stream->sent_untold = sent > 0 ? (size_t)sent : 0;
}

/* Closing over input would send RST (see stream_ops.close). Bounded, as a peer may send for ever. */
static void drop_input(struct late_stream *late_stream)
{
    for (int i = 0; i < DROPS_MAX; i++)
        if (socket_receive(late_stream->stream->socket, late_stream->data, READ_AHEAD_BYTES) <= 0)
            return;
}

static void forget(struct late_streams *streams, struct late_stream *late_stream)
{
    struct late_stream **link = &streams->first;

    while (*link != late_stream)
        link = &(*link)->next;
    *link = late_stream->next;
    free(late_stream);
}

static void close_stream(struct late_streams *streams, struct late_stream *late_stream)
{
    struct stream *stream = late_stream->stream;

    if (late_stream->turns_to_close > 0) {
        late_stream->turns_to_close--;
        return;
    }
    if (!late_stream->with_reset && !late_stream->rest_sent && late_stream->failure == 0) {
        send_rest(late_stream);
        return;
    }
    if (late_stream->with_reset)
        socket_reset_on_close(stream->socket);
    else if (late_stream->failure == 0)
        drop_input(late_stream);
    if (stream->shared_descriptor && !late_stream->with_reset)
        socket_shutdown_write(stream->socket);
    socket_close(stream->socket);
    stream->socket = SOCKET_NONE;
    stream->engine_data = NULL;
    streams->descriptor_freed = true;
    forget(streams, late_stream);
    stream_closed(stream);
}

static void tell_failure(struct late_stream *late_stream)
{
    late_stream->failure_told = true;
    stream_failed(late_stream->stream, late_stream->failure);
}

static void tell_end(struct late_stream *late_stream)
{
    late_stream->end_told = true;
    stream_ended(late_stream->stream);
}

/* ---- what the engine asks ---- */

int late_stream_interest(const struct late_stream *late_stream)
{
    int events = (may_read_ahead(late_stream) ? POLLIN : 0) | (late_stream->blocked ? POLLOUT : 0);

    if (!late_stream->started || late_stream->closing || late_stream->failure != 0)
        return -1;
    return events != 0 || !late_stream->hung_up ? events : -1;
}

void late_stream_polled(struct late_stream *late_stream, int events)
{
    int error;

    if (events & (POLLOUT | POLLERR | POLLHUP))
        late_stream->blocked = false;
    if (events & (POLLIN | POLLERR | POLLHUP) && may_read_ahead(late_stream)) {
        read_ahead(late_stream);
        return;
    }
    if (events & POLLERR) {
        error = socket_error(late_stream->stream->socket);
        late_stream->failure = error;
    }
    if (events & (POLLERR | POLLHUP))
        late_stream->hung_up = true;
}

bool late_stream_could(const struct late_stream *late_stream, enum stream_work work)
{
    bool all_told = late_stream->begin == late_stream->end;

    /* One thing at a time: a stream that may be gone after a turn's first has no second. */
    if (work == WORK_CLOSE || late_stream->closing)
        return late_stream->closing && work == (late_stream->sent_untold > 0 ? WORK_SENT : WORK_CLOSE);
    if (late_stream->failure_told)
        return false;
    switch (work) {
    case WORK_PAUSE:
        return late_stream->paused != late_stream->pause_asked;
    case WORK_RECEIVE:
        return !all_told;
    case WORK_END:
        return late_stream->end_read && !late_stream->end_told && all_told;
    case WORK_SEND:
        return late_stream->flush_asked && late_stream->sent_untold == 0 && !late_stream->blocked &&
               late_stream->failure == 0 && output_queue_bytes(&late_stream->stream->output) > 0;
    case WORK_SENT:
        return late_stream->sent_untold > 0;
    case WORK_SHUTDOWN:
        return late_stream->shutdown_asked && late_stream->failure == 0;
    case WORK_FAIL:
        return late_stream->failure != 0 && all_told;
    default:
        return false;
    }
}

void late_stream_do(struct late_streams *streams, struct late_stream *late_stream, enum stream_work work)
{
    switch (work) {
    case WORK_PAUSE:
        late_stream->paused = late_stream->pause_asked;
        break;
    case WORK_RECEIVE:
        receive(streams, late_stream);
        break;
    case WORK_END:
        tell_end(late_stream);
        break;
    case WORK_SEND:
        send_some(streams, late_stream);
        break;
    case WORK_SENT:
        tell_sent(late_stream);
        break;
    case WORK_SHUTDOWN:
        shut_down(late_stream);
        break;
    case WORK_FAIL:
        tell_failure(late_stream);
        break;
    case WORK_CLOSE:
        close_stream(streams, late_stream);
        break;
    case STREAM_WORKS:
        break;
    }
}
