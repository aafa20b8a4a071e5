/* Streams: noticing that the peer has gone, and failing. Output fails first: what the kernel has of input is still
 * received and reported. */
#include "proactor/engine/proactor_stream.h"

static bool stream_output_is_used(const struct stream *stream)
{
    return has_flag(stream, STREAM_SENDING | STREAM_READING);
}

static void stream_report_output_failed(struct stream *stream, int error)
{
    if (has_flag(stream, STREAM_OUTPUT_FAILED))
        return;
    set_flag(stream, STREAM_OUTPUT_FAILED);
    stream_output_failed(stream, error);
}

void proactor_fail(struct stream *stream, int error)
{
    if (has_flag(stream, STREAM_FAILED))
        return;
    set_flag(stream, STREAM_FAILED);
    if (!stream_output_is_used(stream))
        stream_report_output_failed(stream, error);
    else if (has_flag(stream, STREAM_SENDING)) /* reported when it completes, as when a file has been read */
        proactor_cancel_send(proactor_of_loop(stream->loop), stream);
    stream_failed(stream, error);
}

void proactor_fail_output(struct stream *stream, int error)
{
    bool is_over = has_flag(stream, STREAM_ENDED | STREAM_FAILED) || !socket_stream_end_input(stream);

    stream_report_output_failed(stream, error);
    if (is_over)
        proactor_fail(stream, error);
}

/* A receive in flight reports the error behind the bytes that it finds; a send in flight reports it, too. */
void proactor_take_polled_error(struct proactor_engine *proactor, struct stream *stream)
{
    int error;

    if (!has_flag(stream, STREAM_ERROR_POLLED) || has_flag(stream, STREAM_RECEIVING))
        return;
    if (stream_output_is_used(stream)) {
        proactor->awaits_sends = true;
        return;
    }
    clear_flag(stream, STREAM_ERROR_POLLED);
    error = socket_error(stream->socket);
    if (error < 0)
        proactor_fail_output(stream, error);
}

void proactor_notice_end(struct stream *stream)
{
    if (has_flag(stream, STREAM_END_SEEN) && has_flag(stream, STREAM_PAUSED) &&
        !has_flag(stream, STREAM_ENDED | STREAM_OUTPUT_FAILED | STREAM_FAILED))
        stream_end_seen(stream);
}
