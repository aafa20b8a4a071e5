/* From a request to a system call; cancelling. */
#include "base/log.h"
#include "base/windows/error_code.h"
#include "base/windows/handle.h"
#include "proactor/iocp/iocp_backend.h"

#include <jinduo/error.h>

/* So that no packet comes of what is carried out at once. Before the handle is bound: another loop may use it as soon as it is. */
static bool skip_packets_on_success(socket_handle fd)
{
    return SetFileCompletionNotificationModes(iocp_handle(fd), FILE_SKIP_COMPLETION_PORT_ON_SUCCESS);
}

/* Binds the handle to the port, unless it is bound. A handle can be bound once in its life, and nothing tells whether it
 * is: ERROR_INVALID_PARAMETER means that, or that it never can be. If it is bound to another loop's port, that loop passes the
 * packets on (iocp_dispatch). */
static int iocp_bind(struct iocp *iocp, const struct iocp_operation *operation)
{
    socket_handle fd = iocp_fd(operation);
    DWORD code;

    if (iocp_handle_is_used(iocp, operation))
        return 0;
    if (skip_packets_on_success(fd) && windows_calls.CreateIoCompletionPort(iocp_handle(fd), iocp->port, 0, 0) != NULL)
        return 0;
    code = GetLastError();
    if (code != ERROR_INVALID_PARAMETER)
        return error_from_code(code);
    return handle_is_synchronous(fd) ? log_invalid("iocp: the handle was opened without FILE_FLAG_OVERLAPPED") : 0;
}

/* The call of the system that begins the operation has just returned. */
static int call_result(struct iocp *iocp, struct iocp_operation *operation, bool succeeded)
{
    DWORD code = succeeded ? ERROR_SUCCESS : GetLastError(); /* WSAGetLastError is the same */

    if (succeeded)
        iocp_complete_at_once(iocp, operation);
    return succeeded || code == ERROR_IO_PENDING ? 0 : error_from_code(code);
}

static int call_receive(struct iocp *iocp, struct iocp_operation *operation, WSABUF *buffers, DWORD count)
{
    int result;

    iocp->receive_flags = 0;
    result = windows_calls.WSARecv(iocp_socket(iocp_fd(operation)), buffers, count, NULL, &iocp->receive_flags,
                                   &operation->overlapped, NULL);
    return call_result(iocp, operation, result == 0);
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

int iocp_await_input(struct iocp *iocp, struct iocp_operation *operation)
{
    WSABUF none = { 0 };

    operation->overlapped = (OVERLAPPED){ 0 };
    operation->state = IOCP_IN_KERNEL;
    return call_receive(iocp, operation, &none, 1);
}

static int submit_receive(struct iocp *iocp, struct iocp_operation *operation, const struct operation_request *request)
{
    WSABUF buffers[IOCP_BUFFERS_MAX];

    return call_receive(iocp, operation, buffers, convert_buffers(buffers, request));
}

static int submit_send(struct iocp *iocp, struct iocp_operation *operation, const struct operation_request *request)
{
    WSABUF buffers[IOCP_BUFFERS_MAX];
    DWORD count = convert_buffers(buffers, request);
    int result =
        windows_calls.WSASend(iocp_socket(iocp_fd(operation)), buffers, count, NULL, 0, &operation->overlapped, NULL);

    return call_result(iocp, operation, result == 0);
}

static int submit_connect(struct iocp *iocp, struct iocp_operation *operation, const struct operation_request *request)
{
    BOOL succeeded = windows_calls.ConnectEx(iocp_socket(iocp_fd(operation)), request->address,
                                             (int)request->address_length, NULL, 0, NULL, &operation->overlapped);

    return call_result(iocp, operation, succeeded);
}

static void set_offset(struct iocp_operation *operation, uint64_t offset)
{
    operation->overlapped.Offset = (DWORD)offset;
    operation->overlapped.OffsetHigh = (DWORD)(offset >> 32);
}

/* The file need be neither overlapped nor bound: its handle is only a source here. */
static int submit_send_file(struct iocp *iocp, struct iocp_operation *operation,
                            const struct operation_request *request)
{
    size_t length = request->buffers->length;
    BOOL succeeded;

    set_offset(operation, request->offset);
    succeeded = windows_calls.TransmitFile(iocp_socket(iocp_fd(operation)), iocp_handle(request->file),
                                           length < IOCP_BYTES_MAX ? (DWORD)length : IOCP_BYTES_MAX, 0,
                                           &operation->overlapped, NULL, 0);
    return call_result(iocp, operation, succeeded);
}

/* Into or from the first buffer: the calls that take several need whole pages. */
static int submit_file(struct iocp *iocp, struct iocp_operation *operation, const struct operation_request *request)
{
    size_t length = request->buffers->length;
    DWORD bytes = length < IOCP_BYTES_MAX ? (DWORD)length : IOCP_BYTES_MAX;
    OVERLAPPED *overlapped = &operation->overlapped;
    BOOL succeeded;

    set_offset(operation, request->offset);
    if (request->opcode == OPCODE_READ)
        succeeded =
            windows_calls.ReadFile(iocp_handle(iocp_fd(operation)), request->buffers->data, bytes, NULL, overlapped);
    else
        succeeded =
            windows_calls.WriteFile(iocp_handle(iocp_fd(operation)), request->buffers->data, bytes, NULL, overlapped);
    if (!succeeded && GetLastError() == ERROR_HANDLE_EOF) {
        iocp_complete(iocp, operation, 0);
        return 0;
    }
    return call_result(iocp, operation, succeeded);
}

/* A stream that is received from needs no watch: the next pause begins a new one. One that waits ahead of the receive might take
 * the news of input, so it ends before. */
static void end_watch(struct iocp *iocp, socket_handle fd)
{
    struct iocp_operation *watch = iocp_find_opcode(iocp, fd, OPCODE_POLL_MULTISHOT);

    if (watch != NULL && watch->state == IOCP_PARKED)
        iocp_complete(iocp, watch, JD_ECANCELED);
    else if (watch != NULL && watch->state == IOCP_IN_KERNEL)
        windows_calls.CancelIoEx(iocp_handle(fd), &watch->overlapped);
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
        return submit_receive(iocp, operation, request);
    case OPCODE_RECEIVE_MULTISHOT:
        end_watch(iocp, iocp_fd(operation));
        return iocp_await_input(iocp, operation);
    case OPCODE_SEND:
        return submit_send(iocp, operation, request);
    case OPCODE_SEND_FILE:
        return submit_send_file(iocp, operation, request);
    case OPCODE_READ:
    case OPCODE_WRITE:
        return submit_file(iocp, operation, request);
    case OPCODE_POLL:
    case OPCODE_POLL_MULTISHOT:
        operation->reports_end = (request->poll_events & READY_PEER_ENDED) != 0;
        return iocp_await_input(iocp, operation);
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
    result = iocp_begin_operation(iocp, request, &operation);
    if (result < 0)
        return result;
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
        windows_calls.CancelIoEx(iocp_handle(fd), &operation->overlapped);
}
