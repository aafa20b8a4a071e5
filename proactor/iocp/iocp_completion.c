/* What a packet of the port means: the operation's result, its status from its OVERLAPPED. */
#include "base/windows/error_code.h"
#include "base/windows/socket_options.h"
#include "proactor/iocp/iocp_backend.h"

#include <jinduo/error.h>

/* OVERLAPPED.Internal is the NTSTATUS, InternalHigh the number of bytes. */
static int packet_error(const struct iocp_packet *packet)
{
    return error_from_status((uint32_t)packet->overlapped.Internal);
}

static int64_t packet_bytes(const struct iocp_packet *packet)
{
    return (int64_t)packet->overlapped.InternalHigh;
}

void iocp_report_last(struct iocp *iocp, struct iocp_operation *operation, int64_t result)
{
    struct completion completion = { .token = operation->token, .result = result };

    iocp_end_operation(iocp, operation); /* before: the receiver may close the handle */
    proactor_completed(iocp->backend.owner, &completion);
}

/* ---- one-shot operations ---- */

/* A cancelled operation may have moved bytes before. The end of a file is no error, and a system without memory for a
 * receive must not be taken for one without a block. */
static int64_t transfer_result(const struct iocp_operation *operation)
{
    int error = packet_error(&operation->packet);
    int64_t bytes = packet_bytes(&operation->packet);

    if (bytes > 0)
        return bytes;
    if (error == 0)
        return operation->opcode == OPCODE_SEND_FILE ? JD_ENODATA : 0; /* less than was asked for: the file has ended */
    return error == JD_ENODATA && operation->opcode == OPCODE_READ ? 0 : error;
}

static int64_t connect_result(const struct iocp_operation *operation)
{
    int error = packet_error(&operation->packet);

    return error < 0 ? error : socket_update_connected(iocp_fd(operation));
}

/* ---- multishot receives ---- */

static unsigned receive_report(struct iocp *iocp, struct iocp_operation *operation, struct block *block, int64_t bytes)
{
    struct completion completion = { .token = operation->token, .result = bytes, .more = true, .block = &block };

    block->begin = 0;
    block->end = (uint32_t)bytes;
    operation->state = IOCP_IN_CALLBACK;
    proactor_completed(iocp->backend.owner, &completion);
    iocp_put_block(iocp, block);
    return 1;
}

/* Receives what there is. Returns the bytes; 0: the end; JD_EAGAIN: nothing is left; JD_ENOBUFS; or an error. */
static int64_t receive_once(struct iocp *iocp, const struct iocp_operation *operation, struct block **block)
{
    int64_t received;

    *block = iocp_get_block(iocp);
    if (*block == NULL)
        return JD_ENOBUFS;
    received = socket_receive(iocp_fd(operation), (*block)->data, (*block)->capacity);
    if (received <= 0)
        iocp_put_block(iocp, *block);
    return received;
}

/* What a receive without room for its bytes reports is JD_ENOBUFS; nothing else may look like that. */
static int receive_error(int64_t error)
{
    return error == JD_ENOBUFS ? JD_ENOMEM : (int)error;
}

static unsigned receive_completed(struct iocp *iocp, struct iocp_operation *operation)
{
    int error = operation->cancelled ? JD_ECANCELED : packet_error(&operation->packet);
    unsigned count = 0;

    if (error < 0) {
        iocp_report_last(iocp, operation, receive_error(error));
        return 1;
    }
    while (count < IOCP_BLOCKS_IN_A_ROW) {
        struct block *block;
        int64_t received = receive_once(iocp, operation, &block);
        bool is_full = received > 0 && (uint32_t)received == block->capacity;

        if (received == JD_EAGAIN)
            break;
        if (received <= 0) {
            iocp_report_last(iocp, operation, block == NULL ? received : receive_error(received));
            return count + 1;
        }
        count += receive_report(iocp, operation, block, received);
        if (operation->cancelled) {
            iocp_complete(iocp, operation, JD_ECANCELED);
            return count;
        }
        if (!is_full || !socket_has_input(iocp_fd(operation)))
            break;
    }
    error = iocp_await_input(iocp, operation);
    if (error < 0)
        iocp_complete(iocp, operation, receive_error(error));
    return count;
}

/* ---- the poll ---- */

/* There is no poll for errors: a receive of no bytes stands for it. It completes for bytes, too; then the poll is over if
 * the socket is received from, as that notices errors; else it waits, without the system, to be cancelled. */
static unsigned poll_input_arrived(struct iocp *iocp, struct iocp_operation *operation)
{
    if (iocp_find_opcode(iocp, iocp_fd(operation), OPCODE_RECEIVE_MULTISHOT) == NULL) {
        operation->state = IOCP_PARKED;
        return 0;
    }
    iocp_report_last(iocp, operation, JD_ECANCELED);
    return 1;
}

static unsigned poll_end_arrived(struct iocp *iocp, struct iocp_operation *operation)
{
    struct completion completion = { .token = operation->token, .result = READY_PEER_ENDED, .more = true };

    operation->state = IOCP_PARKED;
    if (!operation->reports_end)
        return 0;
    operation->state = IOCP_IN_CALLBACK;
    proactor_completed(iocp->backend.owner, &completion);
    operation->state = IOCP_PARKED;
    if (operation->cancelled)
        iocp_complete(iocp, operation, JD_ECANCELED);
    return 1;
}

static unsigned poll_completed(struct iocp *iocp, struct iocp_operation *operation)
{
    int error = operation->cancelled ? JD_ECANCELED : packet_error(&operation->packet);
    char byte;
    int peeked;

    if (error == 0) {
        peeked = windows_calls.recv(iocp_socket(iocp_fd(operation)), &byte, sizeof(byte), MSG_PEEK);
        if (peeked > 0)
            return poll_input_arrived(iocp, operation);
        if (peeked == 0)
            return poll_end_arrived(iocp, operation);
        error = error_from_code((unsigned long)WSAGetLastError());
        if (error == JD_EAGAIN)
            error = iocp_await_input(iocp, operation);
        if (error == 0)
            return 0;
    }
    iocp_report_last(iocp, operation, error);
    return 1;
}

/* ---- packets ---- */

static unsigned operation_completed_in_kernel(struct iocp *iocp, struct iocp_operation *operation)
{
    switch ((enum backend_opcode)operation->opcode) {
    case OPCODE_RECEIVE_MULTISHOT:
        return receive_completed(iocp, operation);
    case OPCODE_POLL:
    case OPCODE_POLL_MULTISHOT:
        return poll_completed(iocp, operation);
    case OPCODE_CONNECT:
        iocp_report_last(iocp, operation, connect_result(operation));
        return 1;
    default:
        iocp_report_last(iocp, operation, transfer_result(operation));
        return 1;
    }
}

/* A packet without an OVERLAPPED is a wake-up. A packet of another loop's operation, on a handle that is bound to this
 * loop's port, is passed on; its OVERLAPPED holds the result. */
unsigned iocp_dispatch(struct iocp *iocp, OVERLAPPED *overlapped)
{
    struct iocp_packet *packet = (struct iocp_packet *)overlapped;
    const struct iocp *owner;
    bool is_accept;

    if (packet == NULL)
        return 0;
    is_accept = packet->token == IOCP_ACCEPT_TOKEN;
    owner = is_accept ? iocp_of_accept(packet) : iocp_of_operation((struct iocp_operation *)packet);
    if (owner != iocp) {
        iocp_post(owner, overlapped);
        return 0;
    }
    return is_accept ? iocp_accept_completed(iocp, packet)
                     : operation_completed_in_kernel(iocp, (struct iocp_operation *)packet);
}

unsigned iocp_report_completed(struct iocp *iocp)
{
    struct iocp_operation *operation = iocp->completed;
    unsigned count = 0;

    iocp->completed = NULL;
    iocp->completed_link = &iocp->completed;
    for (struct iocp_operation *next; operation != NULL; operation = next) {
        next = operation->next_completed;
        if (operation->state == IOCP_DONE) {
            count += operation_completed_in_kernel(iocp, operation);
        } else {
            iocp_report_last(iocp, operation, operation->result);
            count++;
        }
    }
    return count;
}
