/* The stream side of the Proactor. A stream has at most three operations under way: a continuous receive, one send of what
 * is first in its output queue, and, while nothing is received, a poll that notices errors. */
#include "net/socket_stream.h"
#include "proactor/proactor_engine.h"

#include <jinduo/error.h>
#include <poll.h>

enum {
    STREAM_RECEIVING = 1, /* the three operations that may be under way */
    STREAM_SENDING = 2,
    STREAM_WATCHED = 4,
    STREAM_RECEIVE_CANCELLED = 8,
    STREAM_STARVED = 16,  /* on the engine's list of that name */
    STREAM_TO_WATCH = 32, /* on the engine's list of those that have ended */
    STREAM_PAUSED = 64,
    STREAM_ENDED = 128, /* the FIN has been reported */
    STREAM_FAILED = 256,
    STREAM_CLOSING = 512,
    STREAM_RESETS = 1024, /* is closed with RST */
    STREAM_OPERATIONS = STREAM_RECEIVING | STREAM_SENDING | STREAM_WATCHED,
};

static void set_flag(struct stream *stream, unsigned flag)
{
    stream->engine_flags |= (uint16_t)flag;
}

static void clear_flag(struct stream *stream, unsigned flag)
{
    stream->engine_flags &= (uint16_t)~flag;
}

static bool has_flag(const struct stream *stream, unsigned flag)
{
    return (stream->engine_flags & flag) != 0;
}

static uint64_t token_of(const struct stream *stream, enum completion_kind kind)
{
    return proactor_token(kind, stream_token(stream));
}

static void fail(struct stream *stream, int error)
{
    set_flag(stream, STREAM_FAILED);
    stream_failed(stream, error);
}

/* ---- the engine's lists ---- */

static void put_on_list(struct stream_list *list, struct stream *stream, unsigned flag)
{
    set_flag(stream, flag);
    stream->engine_next = NULL;
    *list->link = stream;
    list->link = &stream->engine_next;
}

static struct stream *take_first(struct stream_list *list, unsigned flag)
{
    struct stream *stream = list->first;

    list->first = stream->engine_next;
    if (list->first == NULL)
        list->link = &list->first;
    clear_flag(stream, flag);
    return stream;
}

/* Streams are closed about in the order in which they came here: it is found near the front. */
static void take_from_list(struct stream_list *list, struct stream *stream, unsigned flag)
{
    struct stream **link = &list->first;

    while (*link != stream)
        link = &(*link)->engine_next;
    *link = stream->engine_next;
    if (*link == NULL)
        list->link = link;
    clear_flag(stream, flag);
}

/* ---- receiving ---- */

static int receive(struct proactor_engine *proactor, struct stream *stream)
{
    const struct operation_request request = {
        .kind = OPERATION_RECEIVE_MANY,
        .token = token_of(stream, COMPLETES_RECEIVE),
        .fd = stream->socket,
    };
    int result = proactor_submit(proactor, &request);

    if (result == 0)
        set_flag(stream, STREAM_RECEIVING);
    return result;
}

/* Not for RDHUP: a FIN is told behind the bytes before it, so when receiving goes on. */
static int watch(struct proactor_engine *proactor, struct stream *stream)
{
    const struct operation_request request = {
        .kind = OPERATION_POLL,
        .token = token_of(stream, COMPLETES_WATCH),
        .fd = stream->socket,
        .poll_events = POLLERR | POLLHUP,
    };
    int result = proactor_submit(proactor, &request);

    if (result == 0)
        set_flag(stream, STREAM_WATCHED);
    return result;
}

/* Whatever the stream's state asks for, if it is not under way: to receive, or to notice errors. */
static void receive_or_watch(struct proactor_engine *proactor, struct stream *stream)
{
    int result = 0;

    if (has_flag(stream, STREAM_FAILED | STREAM_CLOSING | STREAM_RECEIVING | STREAM_STARVED))
        return;
    if (!has_flag(stream, STREAM_PAUSED | STREAM_ENDED))
        result = receive(proactor, stream);
    else if (!has_flag(stream, STREAM_WATCHED))
        result = watch(proactor, stream);
    if (result < 0)
        fail(stream, result);
}

int proactor_adopt(struct engine *engine, struct stream *stream, socket_handle socket)
{
    stream->socket = socket;
    stream->engine_flags = 0;
    return 0;
}

static int stream_start(struct stream *stream)
{
    return receive(proactor_of_loop(stream->loop), stream);
}

static void stream_pause(struct stream *stream)
{
    struct proactor_engine *proactor = proactor_of_loop(stream->loop);

    set_flag(stream, STREAM_PAUSED);
    if (!has_flag(stream, STREAM_RECEIVING) || has_flag(stream, STREAM_RECEIVE_CANCELLED))
        return;
    set_flag(stream, STREAM_RECEIVE_CANCELLED);
    proactor_cancel(proactor, stream->socket, token_of(stream, COMPLETES_RECEIVE));
}

/* The watching goes on: it costs nothing, and the next pause is not far. */
static void stream_resume(struct stream *stream)
{
    if (!has_flag(stream, STREAM_PAUSED))
        return;
    clear_flag(stream, STREAM_PAUSED);
    receive_or_watch(proactor_of_loop(stream->loop), stream);
}

/* Most that end are closed in the same turn: only those that are still there with the next wait are worth a poll. */
static void end(struct proactor_engine *proactor, struct stream *stream)
{
    set_flag(stream, STREAM_ENDED);
    if (!has_flag(stream, STREAM_WATCHED))
        put_on_list(&proactor->ended, stream, STREAM_TO_WATCH);
    stream_ended(stream);
}

void proactor_continue_streams(struct proactor_engine *proactor)
{
    const struct backend *backend = proactor->backend;

    while (proactor->ended.first != NULL)
        receive_or_watch(proactor, take_first(&proactor->ended, STREAM_TO_WATCH));
    if (proactor->starved.first == NULL)
        return;
    for (unsigned room = backend->ops->receive_room(backend); room > 0 && proactor->starved.first != NULL; room--)
        receive_or_watch(proactor, take_first(&proactor->starved, STREAM_STARVED));
}

/* ---- sending ---- */

/* Of the pieces so many that they make at most bytes. */
static int cut_pieces(struct iovec *pieces, int count, size_t bytes)
{
    for (int i = 0; i < count; i++) {
        if (bytes <= pieces[i].iov_len) {
            pieces[i].iov_len = bytes;
            return i + 1;
        }
        bytes -= pieces[i].iov_len;
    }
    return count;
}

/* One at a time, or their order would be lost; it completes in a later turn, so a turn's budget is that of one send. */
static void stream_flush(struct stream *stream)
{
    struct iovec pieces[SEND_PIECES];
    struct operation_request request = { .kind = OPERATION_SEND, .fd = stream->socket, .pieces = pieces };
    size_t total;
    int result;

    if (has_flag(stream, STREAM_SENDING | STREAM_FAILED | STREAM_CLOSING) || output_queue_bytes(&stream->output) == 0)
        return;
    request.piece_count = output_queue_pieces(&stream->output, pieces, SEND_PIECES, &total);
    request.piece_count = cut_pieces(pieces, request.piece_count, stream_budget(stream));
    request.token = token_of(stream, COMPLETES_SEND);
    result = proactor_submit(proactor_of_loop(stream->loop), &request);
    if (result == 0)
        set_flag(stream, STREAM_SENDING);
    else
        fail(stream, result);
}

static void stream_shutdown_write(struct stream *stream)
{
    int result = has_flag(stream, STREAM_FAILED) ? 0 : socket_stream_shut_down(stream);

    if (result < 0)
        fail(stream, result);
}

/* ---- the end ---- */

/* When the last operation has completed: until then the kernel may read the output queue, and receives. */
static void close_if_idle(struct proactor_engine *proactor, struct stream *stream)
{
    bool reset = has_flag(stream, STREAM_RESETS);

    if (has_flag(stream, STREAM_OPERATIONS))
        return;
    if (!reset && !has_flag(stream, STREAM_FAILED))
        socket_stream_settle(stream, has_flag(stream, STREAM_ENDED));
    socket_stream_close(stream, reset);
    proactor->descriptor_freed = true;
    stream_closed(stream);
}

static void stream_close(struct stream *stream, bool reset)
{
    struct proactor_engine *proactor = proactor_of_loop(stream->loop);

    set_flag(stream, reset ? STREAM_CLOSING | STREAM_RESETS : STREAM_CLOSING);
    if (has_flag(stream, STREAM_STARVED))
        take_from_list(&proactor->starved, stream, STREAM_STARVED);
    if (has_flag(stream, STREAM_TO_WATCH))
        take_from_list(&proactor->ended, stream, STREAM_TO_WATCH);
    if (has_flag(stream, STREAM_RECEIVING) && !has_flag(stream, STREAM_RECEIVE_CANCELLED))
        proactor_cancel(proactor, stream->socket, token_of(stream, COMPLETES_RECEIVE));
    if (has_flag(stream, STREAM_SENDING))
        proactor_cancel(proactor, stream->socket, token_of(stream, COMPLETES_SEND));
    if (has_flag(stream, STREAM_WATCHED))
        proactor_cancel(proactor, stream->socket, token_of(stream, COMPLETES_WATCH));
    close_if_idle(proactor, stream);
}

/* ---- completions ---- */

/* Nothing is wrong with the connection: the operation only has to be begun again. */
static bool is_passing(int64_t error)
{
    return error == JD_ECANCELED || error == JD_EINTR || error == JD_EAGAIN;
}

static void tell_received(struct proactor_engine *proactor, struct stream *stream, struct completion *completion)
{
    if (completion->result > 0)
        stream_received(stream, completion->block);
    else if (completion->result == 0)
        end(proactor, stream);
    else if (completion->result == JD_ENOBUFS)
        put_on_list(&proactor->starved, stream, STREAM_STARVED);
    else if (!is_passing(completion->result))
        fail(stream, (int)completion->result);
}

void proactor_received(struct proactor_engine *proactor, struct stream *stream, struct completion *completion)
{
    if (!completion->more)
        clear_flag(stream, STREAM_RECEIVING | STREAM_RECEIVE_CANCELLED);
    if (has_flag(stream, STREAM_CLOSING)) {
        close_if_idle(proactor, stream);
        return;
    }
    if (!has_flag(stream, STREAM_FAILED | STREAM_ENDED))
        tell_received(proactor, stream, completion);
    if (!has_flag(stream, STREAM_TO_WATCH))
        receive_or_watch(proactor, stream);
}

void proactor_sent(struct proactor_engine *proactor, struct stream *stream, const struct completion *completion)
{
    clear_flag(stream, STREAM_SENDING);
    if (completion->result > 0)
        stream_sent(stream, (size_t)completion->result);
    if (has_flag(stream, STREAM_CLOSING)) {
        close_if_idle(proactor, stream);
        return;
    }
    if (completion->result < 0 && !is_passing(completion->result) && !has_flag(stream, STREAM_FAILED))
        fail(stream, (int)completion->result);
    stream_flush(stream);
}

void proactor_watched(struct proactor_engine *proactor, struct stream *stream, const struct completion *completion)
{
    int error = 0;

    clear_flag(stream, STREAM_WATCHED);
    if (has_flag(stream, STREAM_CLOSING)) {
        close_if_idle(proactor, stream);
        return;
    }
    /* While something is received, that tells of errors, too: each is told once only (socket(7), SO_ERROR). */
    if (has_flag(stream, STREAM_FAILED | STREAM_RECEIVING | STREAM_STARVED))
        return;
    if (completion->result < 0 && !is_passing(completion->result))
        error = (int)completion->result;
    else if (completion->result > 0 && completion->result & POLLERR)
        error = socket_error(stream->socket);
    if (error < 0)
        fail(stream, error);
    else if (completion->result <= 0)
        receive_or_watch(proactor, stream);
    /* Else both sides have ended, after which nothing is left to be noticed. */
}

const struct stream_ops proactor_stream_ops = {
    .start = stream_start,
    .pause = stream_pause,
    .resume = stream_resume,
    .flush = stream_flush,
    .shutdown_write = stream_shutdown_write,
    .close = stream_close,
};
