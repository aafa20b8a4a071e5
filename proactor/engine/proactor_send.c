/* The stream side of the Proactor: sending, and the end. Receiving is in proactor_receive.c. */
#include "proactor/engine/proactor_stream.h"

int proactor_adopt(struct engine *engine, struct stream *stream, socket_handle socket)
{
    stream->socket = socket;
    stream->engine_flags = 0;
    stream->engine_data = NULL;
    return 0;
}

/* ---- sending ---- */

/* Of the pieces so many that they make at most bytes. */
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

/* What is sent of a file is read first, so that a disk holds nobody up. */
static int read_file(struct stream *stream)
{
    const struct output_reference *file = output_queue_first_file(&stream->output);
    jd_iovec room;
    struct operation_request request = {
        .opcode = OPCODE_READ,
        .token = token_of(stream, COMPLETES_FILE),
        .fd = file->fd,
        .offset = (uint64_t)file->offset,
        .buffers = &room,
        .buffer_count = 1,
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
static int send_pieces(struct stream *stream, jd_iovec *pieces, int count, size_t total, bool more, bool is_rest)
{
    struct proactor_engine *proactor = proactor_of_loop(stream->loop);
    size_t budget = stream_budget(stream), bytes = total < budget ? total : budget;
    struct zero_copy_send *lent =
        has_flag(stream, STREAM_COPIES) ? NULL : proactor_begin_zero_copy(proactor, stream, bytes);
    bool quiet = total <= budget && total == output_queue_bytes(&stream->output) && !stream_is_awaited(stream);
    const struct operation_request request = {
        .opcode = OPCODE_SEND,
        .zero_copy = lent != NULL,
        .more_follows = more,
        .token = lent != NULL ? proactor_zero_copy_token(lent) : token_of(stream, COMPLETES_SEND),
        .fd = stream->socket,
        .buffers = pieces,
        .buffer_count = cut_pieces(pieces, count, bytes),
        .completion_optional = quiet,
        /* What was lent is to come back at once; and the socket may be full if this is the rest. */
        .unsignaled = quiet && !is_rest && output_queue_only_block(&stream->output) != NULL,
    };
    int result = proactor_submit(proactor, &request);

    if (result == 0)
        set_flag(stream, STREAM_SENDING);
    else if (lent != NULL)
        proactor_end_zero_copy(proactor, lent);
    return result;
}

/* One at a time, or their order would be lost; it completes in a later turn, so a turn's budget is that of one send. */
static void send_next(struct stream *stream, bool is_rest)
{
    jd_iovec pieces[SEND_PIECES];
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
    proactor_limit_zero_copy(proactor, stream);
    socket_stream_close(stream, reset);
    proactor_descriptor_freed(proactor);
    if (!proactor_has_zero_copy(proactor, stream))
        stream_closed(stream);
}

bool proactor_is_closing(struct proactor_engine *proactor, struct stream *stream)
{
    if (!has_flag(stream, STREAM_CLOSING))
        return false;
    close_if_idle(proactor, stream);
    return true;
}

static void cancel_send(struct proactor_engine *proactor, struct stream *stream)
{
    const struct zero_copy_send *lent = proactor_send_zero_copy(proactor, stream);

    proactor_cancel(proactor, stream->socket,
                    lent != NULL ? proactor_zero_copy_token(lent) : token_of(stream, COMPLETES_SEND));
}

static void stream_close(struct stream *stream, bool reset)
{
    struct proactor_engine *proactor = proactor_of_loop(stream->loop);

    set_flag(stream, reset ? STREAM_CLOSING | STREAM_RESETS : STREAM_CLOSING);
    proactor_stop_receiving(proactor, stream);
    if (has_flag(stream, STREAM_SENDING)) {
        proactor->awaits_sends = true;
        cancel_send(proactor, stream);
    }
    /* A read of a file ends soon by itself. */
    close_if_idle(proactor, stream);
}

/* ---- completions ---- */

static int tell_sent(struct stream *stream, int64_t result, struct block_chain *lent)
{
    if (result > 0 && lent != NULL)
        return stream_sent_zero_copy(stream, (size_t)result, lent);
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
    if (proactor_is_closing(proactor, stream))
        return;
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
    if (proactor_is_closing(proactor, stream))
        return;
    if (result < 0 && !is_passing(result) && !has_flag(stream, STREAM_FAILED))
        fail(stream, result);
    send_next(stream, true);
}

const struct stream_ops proactor_stream_ops = {
    .start = proactor_stream_start,
    .pause = proactor_stream_pause,
    .resume = proactor_stream_resume,
    .flush = stream_flush,
    .shutdown_write = stream_shutdown_write,
    .close = stream_close,
};
