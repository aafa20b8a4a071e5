/* The stream side of the Reactor. Each socket is registered with the poller once, edge-triggered, for input. The first
 * time that the kernel accepts no more output, EPOLLOUT is added, and stays. An edge is reported once, so what it means
 * is stored in the stream's flags. */
#include "net/engine/stream_socket.h"
#include "net/reactor/reactor.h"

#include <jinduo/error.h>

enum {
    STREAM_WRITABLE = 1, /* the kernel has not said EAGAIN since the last edge */
    STREAM_PAUSED = 2,
    STREAM_READY = 4,       /* on the ready list, for one of the next two reasons or STREAM_CLOSED */
    STREAM_MAY_RECEIVE = 8, /* may have more to receive, and no edge will report it */
    STREAM_MAY_SEND = 16,   /* has used up its send budget and has more output */
    STREAM_UNSURE = 32,     /* a short receive does not mean that the kernel has no more input */
    STREAM_ENDED = 64,      /* the peer's FIN has been reported */
    STREAM_FAILED = 128,    /* nothing more can be received: reported */
    STREAM_CLOSED = 256,    /* the socket is closed; on the ready list it is reported when its place comes */
    STREAM_REGISTERED = 512,
    STREAM_WATCHES_OUTPUT = 1024, /* registered for EPOLLOUT */
    STREAM_OUTPUT_FAILED = 2048,  /* nothing more can be sent: reported */
    STREAM_END_SEEN = 4096,       /* an edge has reported the peer's FIN, which may be behind bytes */
    STREAM_ERROR_SEEN = 8192,     /* an edge has reported an error, which may be behind bytes */
    STREAM_MANY_BLOCKS = 16384,   /* the last receive filled a block: the next one may fill several */
};

/* A range of a file may use so many budgets (stream_send_next_budget). */
enum { FILE_BUDGETS = 4 };

/* Without EPOLLOUT: a new socket is writable, so each would begin with a useless event. */
static const uint32_t events_watched = EPOLLIN | EPOLLRDHUP | EPOLLPRI | (uint32_t)EPOLLET;

/* After these events, a short receive does not mean that the kernel has no more: the FIN or an error may follow
 * the bytes; urgent data ends a receive early, with more bytes behind it and no further edge (tcp(7), "out-of-band
 * data"). */
static const uint32_t events_unsure = EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI;

int reactor_adopt(struct engine *engine, struct stream *stream, socket_handle socket)
{
    stream->socket = socket;
    /* On a Unix-domain socket, a receive ends early where descriptors were sent along (unix(7), SCM_RIGHTS). */
    set_flag(stream, has_flag(stream, STREAM_LOCAL) ? STREAM_WRITABLE | STREAM_UNSURE : STREAM_WRITABLE);
    return 0;
}

static int stream_start(struct stream *stream)
{
    struct reactor *reactor = reactor_of_loop(stream->loop);
    int result =
        poller_add(&reactor->poller, stream->socket, events_watched, reactor_token(TOKEN_STREAM, stream_token(stream)));

    if (result == 0)
        set_flag(stream, STREAM_REGISTERED);
    return result;
}

/* why: STREAM_MAY_RECEIVE or STREAM_MAY_SEND. */
static void stream_put_on_ready_list(struct stream *stream, unsigned why)
{
    struct reactor *reactor = reactor_of_loop(stream->loop);

    set_flag(stream, why);
    if (has_flag(stream, STREAM_READY))
        return;
    set_flag(stream, STREAM_READY);
    stream->engine_next = NULL;
    *reactor->ready_link = stream;
    reactor->ready_link = &stream->engine_next;
}

static void stream_pause(struct stream *stream)
{
    set_flag(stream, STREAM_PAUSED);
    if (has_flag(stream, STREAM_END_SEEN | STREAM_ERROR_SEEN) && !has_flag(stream, STREAM_CLOSED))
        stream_put_on_ready_list(stream, STREAM_MAY_RECEIVE); /* stream_notice_end */
}

/* The ready list, because no new edge reports bytes that arrived during the pause. */
static void stream_resume(struct stream *stream)
{
    if (!has_flag(stream, STREAM_PAUSED))
        return;
    clear_flag(stream, STREAM_PAUSED);
    stream_put_on_ready_list(stream, STREAM_MAY_RECEIVE);
}

/* ---- failing ---- */

static void stream_report_output_failed(struct stream *stream, int error)
{
    if (has_flag(stream, STREAM_OUTPUT_FAILED))
        return;
    set_flag(stream, STREAM_OUTPUT_FAILED);
    stream_output_failed(stream, error);
}

/* Nothing more can be received or sent. */
static void stream_fail(struct stream *stream, int error)
{
    if (has_flag(stream, STREAM_FAILED))
        return;
    set_flag(stream, STREAM_FAILED);
    stream_report_output_failed(stream, error);
    stream_failed(stream, error);
}

/* Nothing more can be sent: receiving goes on up to the end. */
static void stream_fail_output(struct stream *stream, int error)
{
    if (has_flag(stream, STREAM_ENDED) || !socket_stream_end_input(stream)) {
        stream_fail(stream, error);
        return;
    }
    stream_report_output_failed(stream, error);
    set_flag(stream, STREAM_UNSURE);
    stream_put_on_ready_list(stream, STREAM_MAY_RECEIVE);
}

/* ---- receiving ---- */

static bool stream_may_receive(const struct stream *stream)
{
    return !has_flag(stream, STREAM_PAUSED | STREAM_ENDED | STREAM_FAILED | STREAM_CLOSED);
}

/* What arrives together is received by one call and answered by one. Messages of two blocks and more would cost a call for
 * each block else, and wake the peer for each. Returns the capacity of the blocks; 0: there is no memory. */
static size_t stream_take_blocks(struct reactor *reactor, const struct stream *stream)
{
    size_t budget = stream_budget(stream), capacity = 0;
    struct block *block = reactor->block;
    unsigned count = 0;

    while (count < REACTOR_RECEIVE_BLOCKS && (count == 0 || capacity < budget)) {
        if (block == NULL)
            block = event_loop_receive_block(stream->loop);
        if (block == NULL)
            break;
        reactor->receive_blocks[count] = block;
        reactor->receive_pieces[count] = (jd_iovec){ .data = block->data, .length = block->capacity };
        capacity += block->capacity;
        block = NULL;
        count++;
    }
    reactor->receive_count = count;
    return capacity;
}

/* Releases the blocks that have no bytes, first: so the pool's next block is one that is in the cache. Then delivers the
 * bytes, block by block. */
static void stream_deliver_blocks(struct reactor *reactor, struct stream *stream, ssize_t received)
{
    size_t left = received > 0 ? (size_t)received : 0;
    struct block **blocks = reactor->receive_blocks;
    size_t capacity = blocks[0]->capacity;

    for (unsigned i = reactor->receive_count; i-- > 1 && left <= i * capacity;)
        block_release(blocks[i]);
    for (unsigned i = 0; left > 0; i++) {
        size_t length = left < capacity ? left : capacity;

        left -= length;
        blocks[i]->begin = 0;
        blocks[i]->end = (uint32_t)length;
        event_loop_delivers_more(stream->loop, left > 0);
        stream_received(stream, &blocks[i]);
        event_loop_delivers_more(stream->loop, false);
        if (i > 0 && blocks[i] != NULL)
            block_release(blocks[i]);
    }
    reactor->block = blocks[0];
}

/* A receive has found no bytes. */
__attribute__((noinline)) static void stream_receive_nothing(struct stream *stream, ssize_t received)
{
    if (!has_flag(stream, STREAM_LOCAL))
        clear_flag(stream, STREAM_UNSURE);
    if (received == 0) {
        set_flag(stream, STREAM_ENDED);
        stream_ended(stream);
    } else if (received != JD_EAGAIN) {
        stream_fail(stream, (int)received);
    }
}

/* Receives once into several blocks. is_first: nothing has been received since the event. Not inlined: the registers that it
 * needs would be saved for each message. */
__attribute__((noinline)) static size_t stream_receive_many(struct reactor *reactor, struct stream *stream,
                                                            bool is_first)
{
    size_t capacity = stream_take_blocks(reactor, stream);
    ssize_t received;

    if (capacity == 0) {
        stream_fail(stream, JD_ENOMEM);
        return 0;
    }
    received = socket_receive_pieces(stream->socket, reactor->receive_pieces, (int)reactor->receive_count);
    if (is_first && received >= 0 && (size_t)received < reactor->receive_blocks[0]->capacity)
        clear_flag(stream, STREAM_MANY_BLOCKS);
    stream_deliver_blocks(reactor, stream, received);
    if (received > 0)
        return (size_t)received < capacity && !has_flag(stream, STREAM_UNSURE) ? 0 : (size_t)received;
    stream_receive_nothing(stream, received);
    return 0;
}

/* Receives once and delivers. Returns the number of bytes, or 0 if nothing more can be received now. */
static size_t stream_receive_once(struct reactor *reactor, struct stream *stream)
{
    struct block *block = reactor->block != NULL ? reactor->block : event_loop_receive_block(stream->loop);
    ssize_t received;
    size_t capacity;

    reactor->block = block;
    if (block == NULL) {
        stream_fail(stream, JD_ENOMEM);
        return 0;
    }
    capacity = block->capacity;
    received = socket_receive(stream->socket, block->data, capacity);
    if (received <= 0) {
        stream_receive_nothing(stream, received);
        return 0;
    }
    block->begin = 0;
    block->end = (uint32_t)received;
    stream_received(stream, &reactor->block);
    if ((size_t)received < capacity)
        return has_flag(stream, STREAM_UNSURE) ? (size_t)received : 0;
    set_flag(stream, STREAM_MANY_BLOCKS);
    return (size_t)received;
}

/* Receives until the kernel has no more, or until the budget is used up: then the stream waits on the ready list. */
static void stream_receive(struct reactor *reactor, struct stream *stream)
{
    size_t received = 0;

    while (stream_may_receive(stream)) {
        size_t count = has_flag(stream, STREAM_MANY_BLOCKS) ? stream_receive_many(reactor, stream, received == 0)
                                                            : stream_receive_once(reactor, stream);
        if (count == 0)
            return;
        received += count;
        if (received >= stream_budget(stream)) {
            stream_put_on_ready_list(stream, STREAM_MAY_RECEIVE);
            return;
        }
    }
}

/* ---- sending ---- */

/* The kernel accepts no more output. An edge since then is not lost: EPOLL_CTL_MOD checks readiness at once
 * (epoll_ctl(2)). */
static void stream_wait_for_output_edge(struct stream *stream)
{
    struct reactor *reactor = reactor_of_loop(stream->loop);
    uint64_t token = reactor_token(TOKEN_STREAM, stream_token(stream));
    int result = 0;

    clear_flag(stream, STREAM_WRITABLE);
    if (!has_flag(stream, STREAM_WATCHES_OUTPUT))
        result = poller_modify(&reactor->poller, stream->socket, events_watched | EPOLLOUT, token);
    if (result == 0)
        set_flag(stream, STREAM_WATCHES_OUTPUT);
    else
        stream_fail_output(stream, result);
}

/* Sends until the kernel accepts no more (EAGAIN), as only then an edge will report that it accepts more; or until the
 * budget is used up: then the stream waits on the ready list. */
static void stream_send_output(struct stream *stream, size_t budget)
{
    while (output_queue_bytes(&stream->output) > 0 && has_flag(stream, STREAM_WRITABLE) &&
           !has_flag(stream, STREAM_OUTPUT_FAILED | STREAM_CLOSED)) {
        ssize_t sent = socket_stream_send(stream, budget);

        if (sent == JD_EAGAIN) {
            stream_wait_for_output_edge(stream);
        } else if (sent < 0) {
            stream_fail_output(stream, (int)sent);
        } else {
            stream_sent(stream, (size_t)sent);
            if ((size_t)sent >= budget && output_queue_bytes(&stream->output) > 0) {
                stream_put_on_ready_list(stream, STREAM_MAY_SEND);
                return;
            }
            budget -= (size_t)sent < budget ? (size_t)sent : budget;
        }
    }
}

static void stream_flush(struct stream *stream)
{
    /* On the ready list for sending: the budget of this turn is used up. */
    if (!has_flag(stream, STREAM_MAY_SEND))
        stream_send_output(stream, stream_budget(stream));
}

/* Sends the next budget of a stream that has used one up. A file gets FILE_BUDGETS of them: its bytes are not copied,
 * but each piece costs two or three system calls besides its own (base/posix/pipe_signal.h). */
static void stream_send_next_budget(struct stream *stream)
{
    size_t budget = stream_budget(stream);

    if (output_queue_first_file(&stream->output) != NULL)
        budget = budget < SIZE_MAX / FILE_BUDGETS ? budget * FILE_BUDGETS : SIZE_MAX;
    stream_send_output(stream, budget);
}

static void stream_shutdown_write(struct stream *stream)
{
    int result = has_flag(stream, STREAM_OUTPUT_FAILED) ? 0 : socket_stream_shutdown_write(stream);

    if (result < 0)
        stream_fail_output(stream, result);
}

/* A stream that is paused or has ended is not received from: the error or FIN that an edge has reported is noticed here. */
static void stream_notice_end(struct stream *stream)
{
    int error = 0;

    if (stream_may_receive(stream) || has_flag(stream, STREAM_OUTPUT_FAILED | STREAM_CLOSED))
        return;
    if (has_flag(stream, STREAM_ERROR_SEEN))
        error = socket_error(stream->socket);
    clear_flag(stream, STREAM_ERROR_SEEN);
    if (error < 0)
        stream_fail_output(stream, error);
    else if (has_flag(stream, STREAM_END_SEEN) && !has_flag(stream, STREAM_ENDED))
        stream_end_seen(stream);
}

/* ---- the ready list ---- */

unsigned reactor_run_ready(struct reactor *reactor)
{
    struct stream *stream = reactor->ready_first;
    unsigned count = 0;

    reactor->ready_first = NULL;
    reactor->ready_link = &reactor->ready_first;
    for (struct stream *next; stream != NULL; stream = next, count++) {
        unsigned why = stream->flags;
        next = stream->engine_next;
        clear_flag(stream, STREAM_READY | STREAM_MAY_RECEIVE | STREAM_MAY_SEND);
        if (why & STREAM_CLOSED)
            stream_closed(stream);
        if (why & STREAM_MAY_SEND)
            stream_send_next_budget(stream);
        if (why & STREAM_MAY_RECEIVE) {
            stream_receive(reactor, stream);
            stream_notice_end(stream);
        }
    }
    return count;
}

/* ---- events ---- */

void reactor_stream_event(struct reactor *reactor, struct stream *stream, uint32_t events)
{
    if (has_flag(stream, STREAM_FAILED | STREAM_CLOSED))
        return;
    if (events & EPOLLOUT && !has_flag(stream, STREAM_WRITABLE)) {
        set_flag(stream, STREAM_WRITABLE);
        stream_flush(stream);
    }
    if (events & events_unsure)
        set_flag(stream, STREAM_UNSURE | (events & (EPOLLRDHUP | EPOLLHUP) ? STREAM_END_SEEN : 0) |
                             (events & EPOLLERR ? STREAM_ERROR_SEEN : 0));
    /* A stream that is on the ready list for receiving has used its budget in this turn, or is served in the next. */
    if (events & (EPOLLIN | events_unsure) && !has_flag(stream, STREAM_MAY_RECEIVE))
        stream_receive(reactor, stream);
    if (events & events_unsure)
        stream_notice_end(stream);
}

/* ---- close ---- */

static void stream_close(struct stream *stream, bool reset)
{
    struct reactor *reactor = reactor_of_loop(stream->loop);

    if (!reset && !has_flag(stream, STREAM_OUTPUT_FAILED))
        socket_stream_prepare_close(stream, has_flag(stream, STREAM_ENDED));
    /* close(2) removes the socket from the poller, unless a duplicate of the descriptor exists (epoll(7), question
     * 6). */
    if (has_flag(stream, STREAM_SHARED_DESCRIPTOR) && has_flag(stream, STREAM_REGISTERED))
        poller_remove(&reactor->poller, stream->socket);
    socket_stream_close(stream, reset);
    set_flag(stream, STREAM_CLOSED);
    reactor->descriptor_freed = true;
    if (!has_flag(stream, STREAM_READY))
        stream_closed(stream);
}

const struct stream_ops reactor_stream_ops = {
    .start = stream_start,
    .pause = stream_pause,
    .resume = stream_resume,
    .flush = stream_flush,
    .shutdown_write = stream_shutdown_write,
    .close = stream_close,
};
