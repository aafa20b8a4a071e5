/* Accepting: AcceptEx connects a socket that was opened before. Several are posted ahead on a listener, each with a socket
 * and a packet of its own, so that connections that arrive together find one. */
#include "base/memory.h"
#include "base/windows/error_code.h"
#include "base/windows/socket_options.h"
#include "proactor/iocp/iocp_backend.h"

#include <errno.h>
#include <jinduo/error.h>

enum {
    ADDRESS_BYTES = sizeof(struct sockaddr_storage) + 16, /* AcceptEx: 16 bytes more than the address */
    REFUSALS_MAX = 128, /* in a row, by unexpected codes; more are the listener's failure */
};

/* One AcceptEx. */
struct iocp_accept_slot {
    struct iocp_packet packet; /* with IOCP_ACCEPT_TOKEN */
    struct iocp_accept *accepts;
    socket_handle socket; /* SOCKET_NONE: not posted */
    unsigned char addresses[2 * ADDRESS_BYTES];
};

/* Those of one operation. */
struct iocp_accept {
    struct iocp *iocp;
    struct iocp_operation *operation;
    int family;
    int error; /* why no more are posted; 0: they are */
    bool is_cancelled;
    unsigned refusals, posted, count;
    struct iocp_accept_slot slots[];
};

static size_t accept_bytes(unsigned count)
{
    return sizeof(struct iocp_accept) + count * sizeof(struct iocp_accept_slot);
}

static int slot_post(struct iocp_accept_slot *slot)
{
    struct iocp_accept *accepts = slot->accepts;
    int result = socket_open(accepts->family, &slot->socket);
    DWORD received, code = ERROR_SUCCESS;

    if (result < 0)
        return result;
    slot->packet.overlapped = (OVERLAPPED){ 0 };
    if (!windows_calls.AcceptEx(iocp_socket(iocp_fd(accepts->operation)), iocp_socket(slot->socket), slot->addresses, 0,
                                ADDRESS_BYTES, ADDRESS_BYTES, &received, &slot->packet.overlapped))
        code = (DWORD)WSAGetLastError();
    if (code == ERROR_SUCCESS) {
        iocp_post(accepts->iocp, &slot->packet.overlapped); /* connected at once, and there is no packet */
    } else if (code != ERROR_IO_PENDING) {
        socket_close(slot->socket);
        slot->socket = SOCKET_NONE;
        return error_from_code(code);
    }
    accepts->posted++;
    return 0;
}

struct iocp *iocp_of_accept(const struct iocp_packet *packet)
{
    return ((const struct iocp_accept_slot *)packet)->accepts->iocp;
}

void iocp_accept_cancel(struct iocp_operation *operation)
{
    struct iocp_accept *accepts = operation->accepts;

    if (accepts->is_cancelled)
        return;
    accepts->is_cancelled = true;
    for (unsigned i = 0; i < accepts->count; i++)
        if (accepts->slots[i].socket != SOCKET_NONE)
            windows_calls.CancelIoEx(iocp_handle(iocp_fd(operation)), &accepts->slots[i].packet.overlapped);
}

static int listener_family(socket_handle listener)
{
    jd_endpoint endpoint;
    int result = socket_local_endpoint(listener, &endpoint);

    return result < 0 ? result : endpoint_sockaddr(&endpoint)->sa_family;
}

static struct iocp_accept *accept_create(struct iocp *iocp, struct iocp_operation *operation, int family)
{
    unsigned count = operation->opcode == OPCODE_ACCEPT ? 1 : iocp->accepts_ahead;
    struct iocp_accept *accepts = memory_allocate_zeroed(accept_bytes(count));

    if (accepts == NULL)
        return NULL;
    accepts->iocp = iocp;
    accepts->operation = operation;
    accepts->family = family;
    accepts->count = count;
    for (unsigned i = 0; i < count; i++) {
        struct iocp_accept_slot *slot = &accepts->slots[i];
        slot->packet.token = IOCP_ACCEPT_TOKEN;
        slot->accepts = accepts;
        slot->socket = SOCKET_NONE;
    }
    return accepts;
}

/* Posts what is not posted. Returns 0, or the error of the first that the system refused. */
static int accept_post_all(struct iocp_accept *accepts)
{
    int result;

    for (unsigned i = 0; accepts->posted < accepts->count && i < accepts->count; i++) {
        do
            result = accepts->slots[i].socket == SOCKET_NONE ? slot_post(&accepts->slots[i]) : 0;
        while (socket_is_connection_error(result) && ++accepts->refusals <= REFUSALS_MAX);
        if (result < 0)
            return result;
    }
    return 0;
}

/* Fewer than were asked for are enough: the others' places are filled when one has completed. */
int iocp_accept_begin(struct iocp *iocp, struct iocp_operation *operation)
{
    int family = listener_family(iocp_fd(operation)), result;
    struct iocp_accept *accepts = family < 0 ? NULL : accept_create(iocp, operation, family);

    if (accepts == NULL)
        return family < 0 ? family : JD_ENOMEM;
    result = accept_post_all(accepts);
    if (accepts->posted == 0) {
        memory_release(accepts, accept_bytes(accepts->count));
        return result;
    }
    operation->accepts = accepts;
    operation->state = IOCP_IN_KERNEL;
    return 0;
}

/* The system reports the failure of a connection that it was going to accept by many codes. All are the connection's, but for
 * those of the listener and of a shortage. */
static int completion_error(const struct iocp_accept_slot *slot)
{
    int error = error_from_status((uint32_t)slot->packet.overlapped.Internal);

    switch (-error) {
    case 0:
    case EBADF:
    case ECANCELED:
    case EINVAL:
    case EMFILE:
    case ENOBUFS:
    case ENOMEM:
    case ENOTSOCK:
        return error;
    default:
        if (socket_is_connection_error(error) || ++slot->accepts->refusals > REFUSALS_MAX)
            return error;
        return JD_ECONNABORTED;
    }
}

/* Returns the socket of a slot that has completed, or the error for which there is none. */
static int64_t slot_take(struct iocp_accept_slot *slot)
{
    socket_handle socket = slot->socket;
    int error = completion_error(slot);

    slot->socket = SOCKET_NONE;
    if (error == 0)
        error = socket_finish_accept(socket, iocp_fd(slot->accepts->operation));
    if (error == 0)
        return socket;
    socket_close(socket);
    return error;
}

static bool accept_is_multishot(const struct iocp_accept *accepts)
{
    return accepts->operation->opcode == OPCODE_ACCEPT_MULTISHOT;
}

/* Whether the slot is posted again. */
static bool accept_goes_on(struct iocp_accept *accepts, int64_t result)
{
    bool is_over = result < 0 && !socket_is_connection_error((int)result);

    if (result >= 0)
        accepts->refusals = 0;
    if (is_over && accepts->error == 0)
        accepts->error = (int)result;
    return accepts->error == 0 && !accepts->operation->cancelled && (accept_is_multishot(accepts) || result < 0);
}

/* Reports a socket, or that a connection has failed. Not the last completion. */
static unsigned accept_report(struct iocp *iocp, const struct iocp_accept *accepts, int64_t result)
{
    struct completion completion = { .token = accepts->operation->token, .result = result, .more = true };

    if (result < 0 && !(accept_is_multishot(accepts) && socket_is_connection_error((int)result)))
        return 0;
    accepts->operation->state = IOCP_IN_CALLBACK;
    proactor_completed(iocp->backend.owner, &completion);
    accepts->operation->state = IOCP_IN_KERNEL;
    return 1;
}

/* None is posted any more: the operation ends. */
static unsigned accept_end(struct iocp *iocp, struct iocp_accept *accepts, int64_t result)
{
    struct iocp_operation *operation = accepts->operation;

    if (result < 0)
        result = operation->cancelled ? JD_ECANCELED : accepts->error;
    memory_release(accepts, accept_bytes(accepts->count));
    iocp_report_last(iocp, operation, result);
    return 1;
}

/* A slot that has completed is posted again before its connection is reported: the report may take long. If that fails, the others
 * that are posted go on; only without any the operation ends, and the listener pauses. */
unsigned iocp_accept_completed(struct iocp *iocp, struct iocp_packet *packet)
{
    struct iocp_accept_slot *slot = (struct iocp_accept_slot *)packet;
    struct iocp_accept *accepts = slot->accepts;
    int64_t result = slot_take(slot);
    unsigned count;
    int error = 0;

    accepts->posted--;
    if (accept_goes_on(accepts, result))
        error = accept_post_all(accepts);
    if (accepts->posted == 0 && accepts->error == 0)
        accepts->error = error;
    if (accepts->error < 0)
        iocp_accept_cancel(accepts->operation);
    if (accepts->posted == 0)
        return accept_end(iocp, accepts, result);
    count = accept_report(iocp, accepts, result);
    if (accepts->operation->cancelled)
        iocp_accept_cancel(accepts->operation);
    return count;
}
