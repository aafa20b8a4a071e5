/* From a request to a system call; cancelling. A call that succeeds at once queues its packet, too. */
#include "base/windows/error_code.h"
#include "proactor/iocp/iocp_backend.h"

#include <jinduo/error.h>

/* Binds the handle to the port, unless it is bound. A handle can be bound once in its life, and nothing tells whether it
 * is: ERROR_INVALID_PARAMETER means that. If it is bound to another loop's port, that loop passes the packets on
 * (iocp_dispatch). */
static int iocp_bind(struct iocp *iocp, const struct iocp_operation *operation)
{
    if (iocp_handle_is_used(iocp, operation))
        return 0;
    if (CreateIoCompletionPort(iocp_handle(operation->fd), iocp->port, 0, 0) != NULL)
        return 0;
    return GetLastError() == ERROR_INVALID_PARAMETER ? 0 : error_from_code(GetLastError());
}

/* The result of a call of the system, which has just returned. */
static int call_result(bool succeeded)
{
    DWORD code = succeeded ? ERROR_SUCCESS : GetLastError(); /* WSAGetLastError is the same */

    return succeeded || code == ERROR_IO_PENDING ? 0 : error_from_code(code);
}

/* Converts the buffers, or the first ones: an operation may always move fewer bytes than asked for. Returns how many. */
static DWORD convert_buffers(WSABUF *converted, const struct operation_request *request)
{
    size_t room = IOCP_BYTES_MAX;
    DWORD count = 0;

    for (; count < IOCP_BUFFERS_MAX && (int)count < request->buffer_count && room > 0; count++) {
        const jd_iovec *buffer = &request->buffers[count];
        size_t length = buffer->length < room ? buffer->length : room;
        converted[count] = (WSABUF){ .len = (ULONG)length, .buf = buffer->data };
        room -= length;
        if (length < buffer->length)
            return count + 1;
    }
    return count;
}

int iocp_await_input(struct iocp_operation *operation)
{
    WSABUF none = { 0 };
    int result;

    operation->packet.overlapped = (OVERLAPPED){ 0 };
    operation->flags = 0;
    operation->state = IOCP_IN_KERNEL;
    result =
        WSARecv(iocp_socket(operation->fd), &none, 1, NULL, &operation->flags, &operation->packet.overlapped, NULL);
    return call_result(result == 0);
}

static int submit_receive(struct iocp_operation *operation, const struct operation_request *request)
{
    WSABUF buffers[IOCP_BUFFERS_MAX];
    DWORD count = convert_buffers(buffers, request);
    int result = WSARecv(iocp_socket(operation->fd), buffers, count, NULL, &operation->flags,
                         &operation->packet.overlapped, NULL);

    return call_result(result == 0);
}

static int submit_send(struct iocp_operation *operation, const struct operation_request *request)
{
    WSABUF buffers[IOCP_BUFFERS_MAX];
    DWORD count = convert_buffers(buffers, request);
    int result = WSASend(iocp_socket(operation->fd), buffers, count, NULL, 0, &operation->packet.overlapped, NULL);

    return call_result(result == 0);
}

static int submit_connect(const struct iocp *iocp, struct iocp_operation *operation,
                          const struct operation_request *request)
{
    BOOL succeeded = iocp->connect(iocp_socket(operation->fd), request->address, (int)request->address_length, NULL, 0,
                                   NULL, &operation->packet.overlapped);

    return call_result(succeeded);
}

/* Into or from the first buffer: the calls that take several need whole pages. */
static int submit_file(struct iocp *iocp, struct iocp_operation *operation, const struct operation_request *request)
{
    size_t length = request->buffers->length;
    DWORD bytes = length < IOCP_BYTES_MAX ? (DWORD)length : IOCP_BYTES_MAX;
    OVERLAPPED *overlapped = &operation->packet.overlapped;
    BOOL succeeded;

    overlapped->Offset = (DWORD)request->offset;
    overlapped->OffsetHigh = (DWORD)(request->offset >> 32);
    if (request->opcode == OPCODE_READ)
        succeeded = ReadFile(iocp_handle(operation->fd), request->buffers->data, bytes, NULL, overlapped);
    else
        succeeded = WriteFile(iocp_handle(operation->fd), request->buffers->data, bytes, NULL, overlapped);
    if (!succeeded && GetLastError() == ERROR_HANDLE_EOF) {
        iocp_complete(iocp, operation, 0);
        return 0;
    }
    return call_result(succeeded);
}

/* A stream that is received from needs no watch that has reported what there was: the next pause begins a new one. */
static void end_parked_watch(struct iocp *iocp, socket_handle fd)
{
    struct iocp_operation *watch = iocp_find_opcode(iocp, fd, OPCODE_POLL_MULTISHOT);

    if (watch != NULL && watch->state == IOCP_PARKED)
        iocp_complete(iocp, watch, JD_ECANCELED);
}

static int iocp_carry_out(struct iocp *iocp, struct iocp_operation *operation, const struct operation_request *request)
{
    switch (request->opcode) {
    case OPCODE_ACCEPT:
    case OPCODE_ACCEPT_MULTISHOT:
        return iocp_accept_begin(iocp, operation);
    case OPCODE_CONNECT:
        return submit_connect(iocp, operation, request);
    case OPCODE_RECEIVE:
        return submit_receive(operation, request);
    case OPCODE_RECEIVE_MULTISHOT:
        end_parked_watch(iocp, operation->fd);
        return iocp_await_input(operation);
    case OPCODE_SEND:
        return submit_send(operation, request);
    case OPCODE_READ:
    case OPCODE_WRITE:
        return submit_file(iocp, operation, request);
    case OPCODE_POLL:
    case OPCODE_POLL_MULTISHOT:
        operation->poll_events = request->poll_events;
        return iocp_await_input(operation);
    }
    return JD_EINVAL;
}

int iocp_submit(struct backend *backend, const struct operation_request *request)
{
    struct iocp *iocp = iocp_of(backend);
    struct iocp_operation *operation;
    int result;

    if (request->timeout_ms > 0)
        return JD_ENOTSUP;
    operation = iocp_begin_operation(iocp, request);
    if (operation == NULL)
        return JD_ENOMEM;
    proactor_count_enter(backend->owner);
    result = iocp_bind(iocp, operation);
    if (result == 0)
        result = iocp_carry_out(iocp, operation, request);
    if (result < 0)
        iocp_end_operation(iocp, operation);
    return result;
}

/* If the operation has completed meanwhile, CancelIoEx finds nothing, and the packet brings the result. */
void iocp_cancel(struct backend *backend, socket_handle fd, uint64_t token)
{
    struct iocp *iocp = iocp_of(backend);
    struct iocp_operation *operation = iocp_find(iocp, fd, token);

    if (operation == NULL)
        return;
    operation->cancelled = true;
    if (operation->state == IOCP_PARKED)
        iocp_complete(iocp, operation, JD_ECANCELED);
    else if (operation->state != IOCP_IN_KERNEL)
        return;
    else if (operation->opcode == OPCODE_ACCEPT || operation->opcode == OPCODE_ACCEPT_MULTISHOT)
        iocp_accept_cancel(operation);
    else
        CancelIoEx(iocp_handle(fd), &operation->packet.overlapped);
}
