/* Streams: sending, and closing. */
#include "proactor/engine/proactor_stream.h"

int proactor_adopt(struct engine *engine, struct stream *stream, socket_handle socket)
{
    stream->socket = socket;
    stream->engine_data = NULL;
    return 0;
}

/* ---- sending ---- */

/* Cuts the buffers to at most bytes in all. Returns how many buffers are left. */
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

/* A range of a file is read into memory by an operation of its own and then sent, so that a slow disk does not block
 * the loop. */
static int stream_submit_file_read(struct stream *stream)
{
    const struct output_reference *file = output_queue_first_file(&stream->output);
    jd_iovec room;
    struct operation_request request = {
        .opcode = OPCODE_READ,
        .token = stream_completion_token(stream, COMPLETES_FILE),
        .fd = (socket_handle)file->fd,
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

/* One operation reads and sends. At most a turn's budget at once: what has been sent is progress. */
static int stream_submit_file_send(struct stream *stream)
{
    const struct output_reference *file = output_queue_first_file(&stream->output);
    size_t budget = stream_budget(stream);
    const jd_iovec range = { .length = file->length < budget ? (size_t)file->length : budget };
    const struct operation_request request = {
        .opcode = OPCODE_SEND_FILE,
        .token = stream_completion_token(stream, COMPLETES_SEND),
        .fd = stream->socket,
        .file = (socket_handle)file->fd,
        .offset = (uint64_t)file->offset,
        .buffers = &range,
        .buffer_count = 1,
    };
    int result = proactor_submit(proactor_of_loop(stream->loop), &request);

    if (result == 0)
        set_flag(stream, STREAM_SENDING);
    return result;
}

static int stream_submit_file(struct stream *stream)
{
    const struct backend *backend = proactor_of_loop(stream->loop)->backend;

    return backend->files == FILES_ARE_SENT ? stream_submit_file_send(stream) : stream_submit_file_read(stream);
}

/* Sets pieces to the first bytes of the output. Returns their number, 0 if a file is first that is sent by an operation, or a
 * negative error. */
static int stream_pieces(struct stream *stream, jd_iovec *pieces, size_t *total, bool *more)
{
    int count = output_queue_pieces(&stream->output, pieces, SEND_PIECES, total, more), result;

    if (count > 0 || proactor_of_loop(stream->loop)->backend->files != FILES_ARE_READ_AT_ONCE)
        return count;
    result = stream_read_file(stream, stream_budget(stream));
    return result < 0 ? result : output_queue_pieces(&stream->output, pieces, SEND_PIECES, total, more);
}

/* total: bytes in the buffers. is_rest: called because the previous send or file read has completed. */
static int stream_submit_send(struct stream *stream, jd_iovec *buffers, int count, size_t total, bool more,
                              bool is_rest)
{
    struct proactor_engine *proactor = proactor_of_loop(stream->loop);
    size_t budget = stream_budget(stream), bytes = total < budget ? total : budget;
    struct zero_copy_send *zero_copy =
        has_flag(stream, STREAM_COPY_ONLY) ? NULL : proactor_begin_zero_copy(proactor, stream, bytes);
    bool completion_optional =
        total <= budget && total == output_queue_bytes(&stream->output) && !stream_needs_sent_report(stream);
    const struct operation_request request = {
        .opcode = OPCODE_SEND,
        .zero_copy = zero_copy != NULL,
        .more_follows = more,
        .token =
            zero_copy != NULL ? proactor_zero_copy_token(zero_copy) : stream_completion_token(stream, COMPLETES_SEND),
        .fd = stream->socket,
        .buffers = buffers,
        .buffer_count = buffers_cut(buffers, count, bytes),
        .completion_optional = completion_optional,
        /* Not with the user's memory, which is to be released as soon as it has been sent. Not behind another send:
         * the socket may be full. */
        .unsignaled = completion_optional && !is_rest && output_queue_only_block(&stream->output) != NULL,
    };
    int result = proactor_submit(proactor, &request);

    if (result == 0)
        set_flag(stream, STREAM_SENDING);
    else if (zero_copy != NULL)
        proactor_end_zero_copy(proactor, zero_copy);
    return result;
}

/* One send at a time keeps the order of the bytes. It completes in a later turn, so a stream's budget for a turn is
 * that for one send. */
static void stream_send_next(struct stream *stream, bool is_rest)
{
    jd_iovec buffers[SEND_PIECES];
    size_t total;
    bool more;
    int count, result;

    if (has_flag(stream, STREAM_SENDING | STREAM_READING | STREAM_OUTPUT_FAILED | STREAM_FAILED | STREAM_CLOSING) ||
        output_queue_bytes(&stream->output) == 0)
        return;
    count = stream_pieces(stream, buffers, &total, &more);
    if (count > 0)
        result = stream_submit_send(stream, buffers, count, total, more, is_rest);
    else
        result = count == 0 ? stream_submit_file(stream) : count;
    if (result < 0)
        proactor_fail_output(stream, result);
}

static void stream_flush(struct stream *stream)
{
    if (has_flag(stream, STREAM_SENDING))
        proactor_of_loop(stream->loop)->awaits_sends = true;
    stream_send_next(stream, false);
}

static void stream_shutdown_write(struct stream *stream)
{
    int result = has_flag(stream, STREAM_OUTPUT_FAILED) ? 0 : socket_stream_shutdown_write(stream);

    if (result < 0)
        proactor_fail_output(stream, result);
}

/* ---- closing ---- */

/* Closes the socket once the last operation has completed: until then the kernel may read the output queue and write
 * to receive blocks. */
static void stream_close_if_idle(struct proactor_engine *proactor, struct stream *stream)
{
    bool reset = has_flag(stream, STREAM_RESETS);

    if (has_flag(stream, STREAM_OPERATIONS))
        return;
    if (!reset && !has_flag(stream, STREAM_OUTPUT_FAILED | STREAM_FAILED))
        socket_stream_prepare_close(stream, has_flag(stream, STREAM_ENDED));
    proactor_limit_zero_copy(proactor, stream);
    socket_stream_close(stream, reset);
    proactor_descriptor_freed(proactor);
    if (!proactor_has_zero_copy(proactor, stream))
        stream_closed(stream);
}

bool proactor_continue_close(struct proactor_engine *proactor, struct stream *stream)
{
    if (!has_flag(stream, STREAM_CLOSING))
        return false;
    stream_close_if_idle(proactor, stream);
    return true;
}

void proactor_cancel_send(struct proactor_engine *proactor, struct stream *stream)
{
    const struct zero_copy_send *zero_copy = proactor_zero_copy_in_flight(proactor, stream);

    proactor->awaits_sends = true;
    proactor_cancel(proactor, stream->socket,
                    zero_copy != NULL ? proactor_zero_copy_token(zero_copy)
                                      : stream_completion_token(stream, COMPLETES_SEND));
}

static void stream_close(struct stream *stream, bool reset)
{
    struct proactor_engine *proactor = proactor_of_loop(stream->loop);

    set_flag(stream, reset ? STREAM_CLOSING | STREAM_RESETS : STREAM_CLOSING);
    proactor_stop_receiving(proactor, stream);
    if (has_flag(stream, STREAM_SENDING)) {
        proactor_cancel_send(proactor, stream);
    }
    /* A read of a file is not cancelled: it completes soon. */
    stream_close_if_idle(proactor, stream);
}

/* ---- completions ---- */

static int stream_report_sent(struct stream *stream, int64_t result, struct block_chain *zero_copy_blocks)
{
    if (result > 0 && zero_copy_blocks != NULL)
        return stream_sent_zero_copy(stream, (size_t)result, zero_copy_blocks);
    if (result > 0)
        stream_sent(stream, (size_t)result);
    return result < 0 ? (int)result : 0;
}

/* JD_ENOTSUP: the socket can only copy. JD_ENOMEM: the memory of a zero-copy send counts as locked, and the user's
 * limit is reached (RLIMIT_MEMLOCK in getrlimit(2); io_notif_account_mem in Linux, io_uring/notif.h). */
static bool zero_copy_was_refused(int64_t result)
{
    return result == JD_ENOTSUP || result == JD_ENOMEM;
}

/* A send or a file read has completed with result: nothing uses the output queue. */
static void stream_check_output(struct proactor_engine *proactor, struct stream *stream, int result)
{
    if (result >= 0 && !has_flag(stream, STREAM_FAILED | STREAM_ERROR_POLLED | STREAM_END_SEEN))
        return;
    if (result < 0 && !error_is_transient(result))
        proactor_fail_output(stream, result);
    else if (has_flag(stream, STREAM_FAILED))
        proactor_fail_output(stream, JD_ECONNRESET); /* the failed receive has reported its error */
    else if (has_flag(stream, STREAM_ERROR_POLLED))
        proactor_take_polled_error(proactor, stream);
    else
        proactor_notice_end(stream);
}

void proactor_sent(struct proactor_engine *proactor, struct stream *stream, const struct completion *completion,
                   struct block_chain *zero_copy_blocks)
{
    int result = stream_report_sent(stream, completion->result, zero_copy_blocks);

    clear_flag(stream, STREAM_SENDING);
    if (proactor_continue_close(proactor, stream))
        return;
    if (zero_copy_blocks != NULL && zero_copy_was_refused(completion->result)) {
        set_flag(stream, STREAM_COPY_ONLY);
        result = 0;
    }
    stream_check_output(proactor, stream, result);
    stream_send_next(stream, true);
}

void proactor_file_read(struct proactor_engine *proactor, struct stream *stream, const struct completion *completion)
{
    int result = stream_end_read(stream, (ssize_t)completion->result);

    clear_flag(stream, STREAM_READING);
    if (proactor_continue_close(proactor, stream))
        return;
    stream_check_output(proactor, stream, result);
    stream_send_next(stream, true);
}

const struct stream_ops proactor_stream_ops = {
    .start = proactor_stream_start,
    .pause = proactor_stream_pause,
    .resume = proactor_stream_resume,
    .flush = stream_flush,
    .shutdown_write = stream_shutdown_write,
    .close = stream_close,
};
