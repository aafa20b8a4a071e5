/* The stream side of the Proactor. A stream has at most three operations under way: a continuous receive, one send of what
 * is first in its output queue, and, while nothing is received, a poll that notices errors. */
#include "net/socket_stream.h"
#include "proactor/proactor_engine.h"

#include <assert.h>
#include <jinduo/error.h>
#include <poll.h>

enum {
    STREAM_RECEIVING = 1, /* the three operations that may be under way */
    STREAM_SENDING = 2,
    STREAM_WATCHED = 4,
    STREAM_RECEIVE_CANCELLED = 8,
    STREAM_STARVED = 16,  /* on the list of that name or of those behind; or was, and has not received anything since */
    STREAM_TO_WATCH = 32, /* on the engine's list of those that have ended */
    STREAM_PAUSED = 64,
    STREAM_ENDED = 128, /* the FIN has been reported */
    STREAM_FAILED = 256,
    STREAM_CLOSING = 512,
    STREAM_RESETS = 1024, /* is closed with RST */
    STREAM_HOLDS = 2048,  /* blocks beyond its budget: on the engine's list of such */
    STREAM_END_HELD = 4096,
    STREAM_ERROR_SEEN = 8192, /* by the watch, while the receive had not ended yet */
    STREAM_READING = 16384,   /* from the file that is first in the output queue: under way, too, instead of a send */
    STREAM_COPIES = 32768,    /* it can send in no other way */
    STREAM_OPERATIONS = STREAM_RECEIVING | STREAM_SENDING | STREAM_WATCHED | STREAM_READING,
};

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

void stream_list_init(struct stream_list *list)
{
    list->first = NULL;
    list->link = &list->first;
}

/* Streams are closed about in the order in which they came here: it is found near the front. Returns whether it was. */
static bool take_from_list(struct stream_list *list, struct stream *stream, unsigned flag)
{
    struct stream **link = &list->first;

    while (*link != stream && *link != NULL)
        link = &(*link)->engine_next;
    if (*link == NULL)
        return false;
    *link = stream->engine_next;
    if (*link == NULL)
        list->link = link;
    clear_flag(stream, flag);
    return true;
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

static int watch(struct proactor_engine *proactor, struct stream *stream)
{
    const struct operation_request request = {
        .kind = OPERATION_POLL_MANY,
        .token = token_of(stream, COMPLETES_WATCH),
        .fd = stream->socket,
        .poll_events = POLLERR | POLLHUP,
    };
    int result = proactor_submit(proactor, &request);

    if (result == 0)
        set_flag(stream, STREAM_WATCHED);
    return result;
}

static bool anyone_waits(const struct proactor_engine *proactor)
{
    return proactor->starved.first != NULL || proactor->behind.first != NULL || proactor->are_trying;
}

/* Whatever the stream's state asks for, if it is not under way: to receive, or to notice errors. */
static void continue_stream(struct proactor_engine *proactor, struct stream *stream, bool may_receive)
{
    int result = 0;

    if (has_flag(stream, STREAM_FAILED | STREAM_CLOSING | STREAM_RECEIVING | STREAM_STARVED | STREAM_HOLDS))
        return;
    if (!has_flag(stream, STREAM_PAUSED | STREAM_ENDED)) {
        if (may_receive)
            result = receive(proactor, stream);
        else
            put_on_list(&proactor->behind, stream, STREAM_STARVED);
    } else if (!has_flag(stream, STREAM_WATCHED)) {
        result = watch(proactor, stream);
    } else if (has_flag(stream, STREAM_ERROR_SEEN)) {
        result = socket_error(stream->socket);
    }
    clear_flag(stream, STREAM_ERROR_SEEN);
    if (result < 0)
        fail(stream, result);
}

/* In its turn: what is given back this one would else receive into before those that have waited longer, for ever. */
static void receive_or_watch(struct proactor_engine *proactor, struct stream *stream)
{
    continue_stream(proactor, stream, !anyone_waits(proactor));
}

int proactor_adopt(struct engine *engine, struct stream *stream, socket_handle socket)
{
    stream->socket = socket;
    stream->engine_flags = 0;
    stream->engine_data = NULL;
    return 0;
}

static int stream_start(struct stream *stream)
{
    struct proactor_engine *proactor = proactor_of_loop(stream->loop);

    if (!anyone_waits(proactor))
        return receive(proactor, stream);
    put_on_list(&proactor->behind, stream, STREAM_STARVED);
    return 0;
}

static void cancel_receive(struct proactor_engine *proactor, struct stream *stream)
{
    if (!has_flag(stream, STREAM_RECEIVING) || has_flag(stream, STREAM_RECEIVE_CANCELLED))
        return;
    set_flag(stream, STREAM_RECEIVE_CANCELLED);
    proactor_cancel(proactor, stream->socket, token_of(stream, COMPLETES_RECEIVE));
}

static void stream_pause(struct stream *stream)
{
    set_flag(stream, STREAM_PAUSED);
    cancel_receive(proactor_of_loop(stream->loop), stream);
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

/* The first of the list. It keeps its right to be first until it has received something. */
static void try_first(struct proactor_engine *proactor, struct stream_list *list)
{
    const struct backend *backend = proactor->backend;
    struct stream *stream = take_first(list, STREAM_STARVED);

    continue_stream(proactor, stream, true);
    if (!has_flag(stream, STREAM_RECEIVING))
        return;
    set_flag(stream, STREAM_STARVED);
    proactor->are_trying = true;
    proactor->tried_by = backend->ops->submitted(backend);
    proactor->tried_turn = proactor->turn;
}

void proactor_continue_streams(struct proactor_engine *proactor)
{
    const struct backend *backend = proactor->backend;
    struct stream_list *list;

    while (proactor->ended.first != NULL)
        receive_or_watch(proactor, take_first(&proactor->ended, STREAM_TO_WATCH));
    list = proactor->starved.first != NULL ? &proactor->starved : &proactor->behind;
    if (list->first == NULL || (list == &proactor->behind && proactor->are_trying))
        return;
    /* Not for all that there is room for: they find bytes at once, and others are receiving, too. */
    for (unsigned room = (backend->ops->receive_room(backend) + 1) / 2; room > 0 && list->first != NULL; room--)
        try_first(proactor, list);
}

/* ---- the budget ---- */

/* While nothing is held engine_data counts what was received in this turn, else it is the last of the held blocks, whose
 * next is the first. */
static size_t received_in_turn(const struct proactor_engine *proactor, const struct stream *stream)
{
    uint64_t count = (uint64_t)(uintptr_t)stream->engine_data;

    return count >> 32 == proactor->turn ? (size_t)(uint32_t)count : 0;
}

static void count_turns_between(struct proactor_engine *proactor, const struct stream *stream)
{
    enum { MOST = 1024 }; /* more, and it has just been idle */
    uint32_t before = (uint32_t)((uint64_t)(uintptr_t)stream->engine_data >> 32), turns = proactor->turn - before;

    if (before != 0)
        proactor->turns_between += turns < MOST ? turns : MOST;
}

static void count_received(struct proactor_engine *proactor, struct stream *stream, size_t bytes)
{
    size_t sum = received_in_turn(proactor, stream) + bytes;

    stream->engine_data = (void *)(uintptr_t)((uint64_t)proactor->turn << 32 | (sum < UINT32_MAX ? sum : UINT32_MAX));
}

static void hold(struct proactor_engine *proactor, struct stream *stream, struct block *block)
{
    struct block *last = stream->engine_data;

    if (has_flag(stream, STREAM_HOLDS)) {
        block->next = last->next;
        last->next = block;
    } else {
        block->next = block;
        put_on_list(&proactor->holding, stream, STREAM_HOLDS);
        cancel_receive(proactor, stream);
    }
    stream->engine_data = block;
}

static struct block *take_held(struct stream *stream)
{
    struct block *last = stream->engine_data, *first;

    assert(last != NULL);
    first = last->next;
    last->next = first->next;
    if (first == last) {
        stream->engine_data = NULL;
        clear_flag(stream, STREAM_HOLDS);
    }
    return first;
}

static void drop_held(struct stream *stream)
{
    while (has_flag(stream, STREAM_HOLDS))
        block_put(take_held(stream));
}

static void tell_held(struct proactor_engine *proactor, struct stream *stream, size_t budget)
{
    size_t told = 0;

    while (has_flag(stream, STREAM_HOLDS) && !has_flag(stream, STREAM_FAILED) && told < budget) {
        struct block *block = take_held(stream);
        told += block_length(block);
        stream_received(stream, &block);
        if (block != NULL)
            block_put(block);
    }
    if (!has_flag(stream, STREAM_HOLDS))
        count_received(proactor, stream, told);
}

static void continue_held(struct proactor_engine *proactor, struct stream *stream)
{
    tell_held(proactor, stream, stream_budget(stream));
    if (has_flag(stream, STREAM_FAILED))
        drop_held(stream);
    if (has_flag(stream, STREAM_HOLDS))
        put_on_list(&proactor->holding, stream, STREAM_HOLDS);
    else if (has_flag(stream, STREAM_END_HELD))
        end(proactor, stream);
    else
        receive_or_watch(proactor, stream);
}

unsigned proactor_tell_held(struct proactor_engine *proactor)
{
    struct stream *stream = proactor->holding.first;
    unsigned count = 0;

    stream_list_init(&proactor->holding);
    for (struct stream *next; stream != NULL; stream = next, count++) {
        next = stream->engine_next;
        continue_held(proactor, stream);
    }
    return count;
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

/* What is sent of a file is read first, so that a disk holds nobody up. */
static int read_file(struct stream *stream)
{
    const struct output_reference *file = output_queue_first_file(&stream->output);
    struct iovec room;
    struct operation_request request = {
        .kind = OPERATION_READ,
        .token = token_of(stream, COMPLETES_FILE),
        .fd = file->fd,
        .offset = (uint64_t)file->offset,
        .pieces = &room,
        .piece_count = 1,
    };
    int result = stream_begin_read(stream, stream_budget(stream), &room);

    if (result < 0)
        return result;
    result = proactor_submit(proactor_of_loop(stream->loop), &request);
    if (result < 0)
        stream_end_read(stream, result);
    else
        set_flag(stream, STREAM_READING);
    return result;
}

/* total: bytes of the pieces. */
static int send_pieces(struct stream *stream, struct iovec *pieces, int count, size_t total, bool more, bool is_rest)
{
    struct proactor_engine *proactor = proactor_of_loop(stream->loop);
    size_t budget = stream_budget(stream), bytes = total < budget ? total : budget;
    struct lent_send *lent = has_flag(stream, STREAM_COPIES) ? NULL : proactor_lend(proactor, stream, bytes);
    bool quiet = total <= budget && total == output_queue_bytes(&stream->output) && !stream_is_awaited(stream);
    const struct operation_request request = {
        .kind = OPERATION_SEND,
        .lends = lent != NULL,
        .more_follows = more,
        .token = lent != NULL ? proactor_lent_token(lent) : token_of(stream, COMPLETES_SEND),
        .fd = stream->socket,
        .pieces = pieces,
        .piece_count = cut_pieces(pieces, count, bytes),
        .quiet = quiet,
        /* What was lent is to come back at once; and the socket may be full if this is the rest. */
        .unheard = quiet && !is_rest && output_queue_only_block(&stream->output) != NULL,
    };
    int result = proactor_submit(proactor, &request);

    if (result == 0)
        set_flag(stream, STREAM_SENDING);
    else if (lent != NULL)
        proactor_end_lending(proactor, lent);
    return result;
}

/* One at a time, or their order would be lost; it completes in a later turn, so a turn's budget is that of one send. */
static void send_next(struct stream *stream, bool is_rest)
{
    struct iovec pieces[SEND_PIECES];
    size_t total;
    bool more;
    int count, result;

    if (has_flag(stream, STREAM_SENDING | STREAM_READING | STREAM_FAILED | STREAM_CLOSING) ||
        output_queue_bytes(&stream->output) == 0)
        return;
    count = output_queue_pieces(&stream->output, pieces, SEND_PIECES, &total, &more);
    result = count > 0 ? send_pieces(stream, pieces, count, total, more, is_rest) : read_file(stream);
    if (result < 0)
        fail(stream, result);
}

static void stream_flush(struct stream *stream)
{
    if (has_flag(stream, STREAM_SENDING))
        proactor_of_loop(stream->loop)->awaits_sends = true;
    send_next(stream, false);
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
    proactor_limit_lending(proactor, stream);
    socket_stream_close(stream, reset);
    proactor->descriptor_freed = true;
    if (!proactor_has_lent(proactor, stream))
        stream_closed(stream);
}

static void cancel_send(struct proactor_engine *proactor, struct stream *stream)
{
    const struct lent_send *lent = proactor_send_lent(proactor, stream);

    proactor_cancel(proactor, stream->socket,
                    lent != NULL ? proactor_lent_token(lent) : token_of(stream, COMPLETES_SEND));
}

static void stream_close(struct stream *stream, bool reset)
{
    struct proactor_engine *proactor = proactor_of_loop(stream->loop);

    set_flag(stream, reset ? STREAM_CLOSING | STREAM_RESETS : STREAM_CLOSING);
    if (has_flag(stream, STREAM_STARVED) && !take_from_list(&proactor->starved, stream, STREAM_STARVED))
        take_from_list(&proactor->behind, stream, STREAM_STARVED);
    if (has_flag(stream, STREAM_TO_WATCH))
        take_from_list(&proactor->ended, stream, STREAM_TO_WATCH);
    if (has_flag(stream, STREAM_HOLDS)) {
        take_from_list(&proactor->holding, stream, 0);
        drop_held(stream);
    }
    cancel_receive(proactor, stream);
    if (has_flag(stream, STREAM_SENDING)) {
        proactor->awaits_sends = true;
        cancel_send(proactor, stream);
    }
    if (has_flag(stream, STREAM_WATCHED))
        proactor_cancel(proactor, stream->socket, token_of(stream, COMPLETES_WATCH));
    /* A read of a file ends soon by itself. */
    close_if_idle(proactor, stream);
}

/* ---- completions ---- */

/* Nothing is wrong with the connection: the operation only has to be begun again. */
static bool is_passing(int64_t error)
{
    return error == JD_ECANCELED || error == JD_EINTR || error == JD_EAGAIN;
}

/* What was received before it is told first. */
static void tell_failure(struct proactor_engine *proactor, struct stream *stream, int error)
{
    if (has_flag(stream, STREAM_HOLDS)) {
        take_from_list(&proactor->holding, stream, 0);
        tell_held(proactor, stream, SIZE_MAX);
        drop_held(stream);
    }
    if (!has_flag(stream, STREAM_FAILED))
        fail(stream, error);
}

static void tell_block(struct proactor_engine *proactor, struct stream *stream, struct block **block)
{
    if (has_flag(stream, STREAM_HOLDS) || received_in_turn(proactor, stream) >= stream_budget(stream)) {
        struct block *kept = block_keep(*block);
        if (kept == NULL) {
            tell_failure(proactor, stream, JD_ENOMEM);
            return;
        }
        if (kept == *block)
            *block = NULL;
        hold(proactor, stream, kept);
        return;
    }
    count_turns_between(proactor, stream);
    count_received(proactor, stream, block_length(*block));
    stream_received(stream, block);
}

/* One that has waited in vain goes on being first. One that had its share waits behind the others, or it would take all that
 * is given back. */
static void starve(struct proactor_engine *proactor, struct stream *stream)
{
    put_on_list(has_flag(stream, STREAM_STARVED) ? &proactor->starved : &proactor->behind, stream, STREAM_STARVED);
    event_loop_starved(stream->loop);
}

static void tell_received(struct proactor_engine *proactor, struct stream *stream, struct completion *completion)
{
    if (completion->result > 0)
        tell_block(proactor, stream, completion->block);
    else if (completion->result == 0 && has_flag(stream, STREAM_HOLDS))
        set_flag(stream, STREAM_END_HELD);
    else if (completion->result == 0)
        end(proactor, stream);
    else if (completion->result == JD_ENOBUFS && !has_flag(stream, STREAM_HOLDS))
        starve(proactor, stream);
    else if (completion->result != JD_ENOBUFS && !is_passing(completion->result))
        tell_failure(proactor, stream, (int)completion->result);
}

void proactor_received(struct proactor_engine *proactor, struct stream *stream, struct completion *completion)
{
    if (!completion->more)
        clear_flag(stream, STREAM_RECEIVING | STREAM_RECEIVE_CANCELLED);
    if (completion->result != JD_ENOBUFS)
        clear_flag(stream, STREAM_STARVED);
    if (has_flag(stream, STREAM_CLOSING)) {
        close_if_idle(proactor, stream);
        return;
    }
    if (!has_flag(stream, STREAM_FAILED | STREAM_ENDED))
        tell_received(proactor, stream, completion);
    if (!has_flag(stream, STREAM_TO_WATCH))
        receive_or_watch(proactor, stream);
}

static int tell_sent(struct stream *stream, int64_t result, struct block_chain *lent)
{
    if (result > 0 && lent != NULL)
        return stream_sent_lent(stream, (size_t)result, lent);
    if (result > 0)
        stream_sent(stream, (size_t)result);
    return result < 0 ? (int)result : 0;
}

/* The socket can only copy; or memory that is lent counts as locked, and the user may have no more of it (RLIMIT_MEMLOCK,
 * io_notif_account_mem in io_uring/notif.h). */
static bool refuses_to_lend(int64_t result)
{
    return result == JD_ENOTSUP || result == JD_ENOMEM;
}

void proactor_sent(struct proactor_engine *proactor, struct stream *stream, const struct completion *completion,
                   struct block_chain *lent)
{
    int result = tell_sent(stream, completion->result, lent);

    clear_flag(stream, STREAM_SENDING);
    if (has_flag(stream, STREAM_CLOSING)) {
        close_if_idle(proactor, stream);
        return;
    }
    if (lent != NULL && refuses_to_lend(completion->result))
        set_flag(stream, STREAM_COPIES);
    else if (result < 0 && !is_passing(result) && !has_flag(stream, STREAM_FAILED))
        fail(stream, result);
    send_next(stream, true);
}

void proactor_file_read(struct proactor_engine *proactor, struct stream *stream, const struct completion *completion)
{
    int result = stream_end_read(stream, (ssize_t)completion->result);

    clear_flag(stream, STREAM_READING);
    if (has_flag(stream, STREAM_CLOSING)) {
        close_if_idle(proactor, stream);
        return;
    }
    if (result < 0 && !is_passing(result) && !has_flag(stream, STREAM_FAILED))
        fail(stream, result);
    send_next(stream, true);
}

/* A FIN may be told here, too, but is told to others behind the bytes before it: when receiving goes on. */
void proactor_watched(struct proactor_engine *proactor, struct stream *stream, const struct completion *completion)
{
    if (!completion->more)
        clear_flag(stream, STREAM_WATCHED);
    if (has_flag(stream, STREAM_CLOSING)) {
        close_if_idle(proactor, stream);
        return;
    }
    if (completion->result > 0 && completion->result & POLLERR)
        set_flag(stream, STREAM_ERROR_SEEN);
    if (completion->result < 0 && !is_passing(completion->result) && !has_flag(stream, STREAM_FAILED))
        fail(stream, (int)completion->result);
    receive_or_watch(proactor, stream);
}

const struct stream_ops proactor_stream_ops = {
    .start = stream_start,
    .pause = stream_pause,
    .resume = stream_resume,
    .flush = stream_flush,
    .shutdown_write = stream_shutdown_write,
    .close = stream_close,
};
