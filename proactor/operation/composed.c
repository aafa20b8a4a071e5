/* The jd_async functions that are composed of several receives or sends. */
#include "proactor/operation/operation.h"

#include <jinduo/error.h>
#include <string.h>

enum { RECEIVE_BYTES = 4096 }; /* the most that read_until receives at once */

/* ---- read_exactly, write_all ---- */

static size_t transfer_length(const struct operation *operation)
{
    size_t bytes = 0;

    if (operation->buffer_count == 0)
        return operation->single_buffer.length;
    for (int i = 0; i < operation->buffer_count; i++)
        bytes += operation->buffers[i].length;
    return bytes;
}

static int transfer_begin_rest(struct operation *operation)
{
    return operation_submit_buffers(operation, operation->transferred);
}

static bool transfer_advance(struct operation *operation, int64_t *result)
{
    if (*result < 0)
        return false;
    operation->transferred += (size_t)*result;
    if (*result > 0 && operation->transferred < transfer_length(operation))
        return true;
    *result = (int64_t)operation->transferred;
    return false;
}

static const struct operation_type read_exactly_type = {
    .begin = transfer_begin_rest,
    .advance = transfer_advance,
    .opcode = OPCODE_RECEIVE,
};
static const struct operation_type write_all_type = {
    .begin = transfer_begin_rest,
    .advance = transfer_advance,
    .opcode = OPCODE_SEND,
};

int jd_async_read_exactly(jd_event_loop *loop, jd_operation *operation, jd_socket socket, void *data, size_t length,
                          jd_completion_handler handler, void *arg)
{
    struct operation wanted = {
        .type = &read_exactly_type, .handle = (socket_handle)socket, .handler = handler, .arg = arg
    };

    return operation_begin_buffer(loop, operation, &wanted, data, length);
}

int jd_async_write_all(jd_event_loop *loop, jd_operation *operation, jd_socket socket, const void *data, size_t length,
                       jd_completion_handler handler, void *arg)
{
    struct operation wanted = {
        .type = &write_all_type, .handle = (socket_handle)socket, .handler = handler, .arg = arg
    };

    return operation_begin_buffer(loop, operation, &wanted, data, length);
}

int jd_async_write_all_buffers(jd_event_loop *loop, jd_operation *operation, jd_socket socket, const jd_iovec *buffers,
                               int count, jd_completion_handler handler, void *arg)
{
    struct operation wanted = {
        .type = &write_all_type, .handle = (socket_handle)socket, .handler = handler, .arg = arg
    };

    return operation_begin_buffers(loop, operation, &wanted, buffers, count);
}

/* ---- read_until ---- */

/* Searches the bytes that have not been searched yet. Returns the operation's result, or JD_EAGAIN: more bytes are
 * needed. */
static int64_t read_until_search(struct operation *operation)
{
    size_t readable = jd_buffer_readable(operation->buffer);
    size_t length = operation->delimiter_length;
    size_t begin = operation->searched >= length ? operation->searched - (length - 1) : 0;
    ptrdiff_t found = jd_buffer_find(operation->buffer, operation->delimiter, length, begin);

    operation->searched = readable;
    if (found >= 0 && (size_t)found + length <= operation->limit)
        return found + (ptrdiff_t)length;
    return found >= 0 || readable >= operation->limit ? JD_EMSGSIZE : JD_EAGAIN;
}

static int read_until_receive(struct operation *operation)
{
    size_t left = operation->limit - jd_buffer_readable(operation->buffer);
    jd_iovec room = { .length = left < RECEIVE_BYTES ? left : RECEIVE_BYTES };
    struct operation_request request = { .buffers = &room, .buffer_count = 1 };
    int result;

    room.data = jd_buffer_reserve(operation->buffer, room.length);
    if (room.data == NULL)
        return JD_ENOMEM;
    result = operation_submit(operation, &request);
    if (result < 0)
        jd_buffer_commit(operation->buffer, 0);
    return result;
}

static int read_until_begin(struct operation *operation)
{
    int64_t result = read_until_search(operation);

    if (result == JD_EAGAIN)
        return read_until_receive(operation);
    operation_finish(operation, result);
    return 0;
}

static bool read_until_advance(struct operation *operation, int64_t *result)
{
    jd_buffer_commit(operation->buffer, *result > 0 ? (size_t)*result : 0);
    if (*result <= 0)
        return false;
    operation->transferred += (size_t)*result;
    return true; /* read_until_begin searches them */
}

static const struct operation_type read_until_type = {
    .begin = read_until_begin,
    .advance = read_until_advance,
    .opcode = OPCODE_RECEIVE,
};

int jd_async_read_until(jd_event_loop *loop, jd_operation *operation, jd_socket socket, jd_buffer *buffer,
                        const void *delimiter, size_t delimiter_length, size_t limit, jd_completion_handler handler,
                        void *arg)
{
    struct operation wanted = { .type = &read_until_type,
                                .handle = (socket_handle)socket,
                                .buffer = buffer,
                                .limit = limit,
                                .handler = handler,
                                .arg = arg };

    if (socket < 0 || buffer == NULL || delimiter == NULL)
        return JD_EINVAL;
    if (delimiter_length == 0 || delimiter_length > JD_DELIMITER_MAX_BYTES || limit < delimiter_length)
        return JD_EINVAL;
    memcpy(wanted.delimiter, delimiter, delimiter_length);
    wanted.delimiter_length = (uint8_t)delimiter_length;
    return operation_begin(loop, operation, &wanted);
}
