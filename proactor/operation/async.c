/* The jd_async functions of one part: accept, connect, receive, send, read, write, timeout, close. */
#include "base/log.h"
#include "proactor/operation/operation.h"

#include <jinduo/error.h>

enum { NS_PER_MS = 1000000 };

int jd_socket_listen(jd_socket *listener, const jd_endpoint *endpoint, jd_endpoint *bound)
{
    static const struct socket_options defaults;

    socket_handle opened;
    int result = socket_listen(&opened, endpoint, &defaults, bound, NULL);

    if (result == 0)
        *listener = opened;
    return result;
}

/* ---- accept, connect ---- */

static int operation_begin_without_buffers(struct operation *operation)
{
    struct operation_request request = { 0 };

    return operation_submit(operation, &request);
}

static const struct operation_type accept_type = { .begin = operation_begin_without_buffers, .opcode = OPCODE_ACCEPT };
static const struct operation_type accept_multishot_type = {
    .begin = operation_begin_without_buffers,
    .opcode = OPCODE_ACCEPT_MULTISHOT,
    .is_multishot = true,
};

static int operation_begin_on_handle(jd_event_loop *loop, jd_operation *memory, const struct operation_type *type,
                                     jd_handle handle, jd_completion_handler handler, void *arg)
{
    struct operation wanted = { .type = type, .handle = (socket_handle)handle, .handler = handler, .arg = arg };

    return handle < 0 ? JD_EINVAL : operation_begin(loop, memory, &wanted);
}

int jd_async_accept(jd_event_loop *loop, jd_operation *operation, jd_socket listener, jd_completion_handler handler,
                    void *arg)
{
    return operation_begin_on_handle(loop, operation, &accept_type, listener, handler, arg);
}

int jd_async_accept_multishot(jd_event_loop *loop, jd_operation *operation, jd_socket listener,
                              jd_completion_handler handler, void *arg)
{
    return operation_begin_on_handle(loop, operation, &accept_multishot_type, listener, handler, arg);
}

/* The socket is the operation's own until it is connected, and then its result. Until then operation->result holds
 * it. */
static int connect_begin(struct operation *operation)
{
    struct backend *backend = operations_of(operation->loop)->backend;
    struct operation_request request = {
        .opcode = OPCODE_CONNECT,
        .token = operation_token(operation),
        .address = endpoint_sockaddr(operation->endpoint),
        .address_length = operation->endpoint->length,
    };
    static const struct socket_options defaults;
    static const jd_endpoint anywhere;
    int result = socket_open_to_connect(&request.fd, operation->endpoint, &anywhere, &defaults);

    if (result < 0)
        return result;
    operation->result = request.fd;
    result = backend->ops->submit(backend, &request);
    if (result < 0)
        socket_close(request.fd);
    return result;
}

static bool connect_advance(struct operation *operation, int64_t *result)
{
    socket_handle socket = (socket_handle)operation->result;

    if (*result >= 0)
        *result = socket;
    else
        socket_close(socket);
    return false;
}

static void connect_cancel(struct operation *operation)
{
    struct backend *backend = operations_of(operation->loop)->backend;

    backend->ops->cancel(backend, (socket_handle)operation->result, operation_token(operation));
}

static const struct operation_type connect_type = {
    .begin = connect_begin,
    .advance = connect_advance,
    .cancel = connect_cancel,
    .opcode = OPCODE_CONNECT,
};

int jd_async_connect(jd_event_loop *loop, jd_operation *operation, const jd_endpoint *endpoint,
                     jd_completion_handler handler, void *arg)
{
    struct operation wanted = {
        .type = &connect_type, .handle = JD_HANDLE_NONE, .endpoint = endpoint, .handler = handler, .arg = arg
    };

    if (endpoint == NULL || endpoint->length == 0)
        return log_invalid("jd_async_connect: the endpoint is empty");
    return operation_begin(loop, operation, &wanted);
}

/* ---- receive, send, read, write ---- */

static int operation_begin_with_buffers(struct operation *operation)
{
    return operation_submit_buffers(operation, 0);
}

static const struct operation_type receive_type = { .begin = operation_begin_with_buffers, .opcode = OPCODE_RECEIVE };
static const struct operation_type send_type = { .begin = operation_begin_with_buffers, .opcode = OPCODE_SEND };
static const struct operation_type read_type = { .begin = operation_begin_with_buffers, .opcode = OPCODE_READ };
static const struct operation_type write_type = { .begin = operation_begin_with_buffers, .opcode = OPCODE_WRITE };
static const struct operation_type receive_multishot_type = {
    .begin = operation_begin_without_buffers,
    .opcode = OPCODE_RECEIVE_MULTISHOT,
    .is_multishot = true,
};

int operation_begin_buffer(jd_event_loop *loop, jd_operation *memory, struct operation *wanted, const void *data,
                           size_t length)
{
    wanted->single_buffer = (jd_iovec){ .data = (void *)(uintptr_t)data, .length = length };
    if (wanted->handle < 0 || !operation_buffers_are_valid(&wanted->single_buffer, 1))
        return JD_EINVAL;
    return operation_begin(loop, memory, wanted);
}

int operation_begin_buffers(jd_event_loop *loop, jd_operation *memory, struct operation *wanted,
                            const jd_iovec *buffers, int count)
{
    if (wanted->handle < 0 || !operation_buffers_are_valid(buffers, count))
        return JD_EINVAL;
    wanted->buffers = buffers;
    wanted->buffer_count = (uint8_t)count;
    return operation_begin(loop, memory, wanted);
}

int jd_async_receive(jd_event_loop *loop, jd_operation *operation, jd_socket socket, void *data, size_t size,
                     uint32_t timeout_ms, jd_completion_handler handler, void *arg)
{
    struct operation wanted = {
        .type = &receive_type, .handle = (socket_handle)socket, .timeout_ms = timeout_ms, .handler = handler, .arg = arg
    };

    return operation_begin_buffer(loop, operation, &wanted, data, size);
}

int jd_async_receive_buffers(jd_event_loop *loop, jd_operation *operation, jd_socket socket, const jd_iovec *buffers,
                             int count, jd_completion_handler handler, void *arg)
{
    struct operation wanted = {
        .type = &receive_type, .handle = (socket_handle)socket, .handler = handler, .arg = arg
    };

    return operation_begin_buffers(loop, operation, &wanted, buffers, count);
}

int jd_async_receive_multishot(jd_event_loop *loop, jd_operation *operation, jd_socket socket,
                               jd_completion_handler handler, void *arg)
{
    return operation_begin_on_handle(loop, operation, &receive_multishot_type, socket, handler, arg);
}

int jd_async_send(jd_event_loop *loop, jd_operation *operation, jd_socket socket, const void *data, size_t length,
                  jd_completion_handler handler, void *arg)
{
    struct operation wanted = { .type = &send_type, .handle = (socket_handle)socket, .handler = handler, .arg = arg };

    return operation_begin_buffer(loop, operation, &wanted, data, length);
}

int jd_async_send_buffers(jd_event_loop *loop, jd_operation *operation, jd_socket socket, const jd_iovec *buffers,
                          int count, jd_completion_handler handler, void *arg)
{
    struct operation wanted = { .type = &send_type, .handle = (socket_handle)socket, .handler = handler, .arg = arg };

    return operation_begin_buffers(loop, operation, &wanted, buffers, count);
}

/* offset + length must fit into off_t, which is signed. */
static int operation_begin_on_file(jd_event_loop *loop, jd_operation *operation, struct operation *wanted,
                                   uint64_t offset, const void *data, size_t length)
{
    if (offset > (uint64_t)INT64_MAX - length)
        return JD_EINVAL;
    wanted->offset = offset;
    return operation_begin_buffer(loop, operation, wanted, data, length);
}

int jd_async_read(jd_event_loop *loop, jd_operation *operation, jd_file file, uint64_t offset, void *data, size_t size,
                  jd_completion_handler handler, void *arg)
{
    struct operation wanted = { .type = &read_type, .handle = (socket_handle)file, .handler = handler, .arg = arg };

    return operation_begin_on_file(loop, operation, &wanted, offset, data, size);
}

int jd_async_write(jd_event_loop *loop, jd_operation *operation, jd_file file, uint64_t offset, const void *data,
                   size_t length, jd_completion_handler handler, void *arg)
{
    struct operation wanted = { .type = &write_type, .handle = (socket_handle)file, .handler = handler, .arg = arg };

    return operation_begin_on_file(loop, operation, &wanted, offset, data, length);
}

/* ---- timeouts: by the loop's timers, on every backend ---- */

static void timeout_fired(void *arg)
{
    struct operation *operation = arg;

    operation->timer = 0;
    operation_finish(operation, 0);
}

static int timeout_begin(struct operation *operation)
{
    return jd_event_loop_run_at(operation->loop, operation->when, timeout_fired, operation, &operation->timer);
}

static void timeout_cancel(struct operation *operation)
{
    operation_finish(operation, JD_ECANCELED);
}

static const struct operation_type timeout_type = { .begin = timeout_begin, .cancel = timeout_cancel };

int jd_async_timeout_at(jd_event_loop *loop, jd_operation *operation, jd_timestamp when, jd_completion_handler handler,
                        void *arg)
{
    struct operation wanted = {
        .type = &timeout_type, .handle = JD_HANDLE_NONE, .when = when, .handler = handler, .arg = arg
    };

    return operation_begin(loop, operation, &wanted);
}

int jd_async_timeout(jd_event_loop *loop, jd_operation *operation, uint64_t delay_ms, jd_completion_handler handler,
                     void *arg)
{
    jd_timestamp now = event_loop_clock(loop);
    bool is_endless = delay_ms > (uint64_t)(INT64_MAX - now) / NS_PER_MS;

    return jd_async_timeout_at(loop, operation, is_endless ? INT64_MAX : now + (jd_timestamp)delay_ms * NS_PER_MS,
                               handler, arg);
}

int jd_async_close(jd_event_loop *loop, jd_operation *operation, jd_handle handle, jd_completion_handler handler,
                   void *arg)
{
    return operation_begin_on_handle(loop, operation, &operation_close_type, handle, handler, arg);
}
