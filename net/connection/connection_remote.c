/* Orders to a connection from other threads than its loop's: each a message that holds a reference and whose bytes are
 * counted from the moment of the call. */
#include "base/memory.h"
#include "net/connection/tcp_connection.h"

#include <jinduo/error.h>
#include <string.h>

struct connection_message {
    struct task_node task;
    jd_tcp_connection *connection;
    enum connection_order order;
    size_t reserved; /* in queued_elsewhere */
    size_t size;     /* of the message, to free it */
    union {
        struct output_reference reference;
        uint8_t data[sizeof(struct output_reference)]; /* of bytes as many as are reserved */
    };
};

/* data_bytes: what it is to hold. */
static struct connection_message *make_message(jd_tcp_connection *connection, enum connection_order order,
                                               size_t data_bytes)
{
    size_t size = offsetof(struct connection_message, data) + data_bytes;
    struct connection_message *message = data_bytes < SIZE_MAX / 2 ? memory_allocate(size) : NULL;

    if (message == NULL)
        return NULL;
    message->connection = jd_tcp_connection_ref(connection);
    message->order = order;
    message->reserved = 0;
    message->size = size;
    return message;
}

static void free_message(struct connection_message *message)
{
    jd_tcp_connection *connection = message->connection;

    memory_release(message, message->size);
    jd_tcp_connection_unref(connection);
}

static int append_bytes(jd_tcp_connection *connection, const struct connection_message *message)
{
    jd_iovec part = { .data = (void *)(uintptr_t)message->data, .length = message->reserved };

    return output_queue_append(&connection->stream.output, &connection_loop(connection)->blocks.output, &part, 1,
                               message->reserved, 0);
}

static int append_reference(jd_tcp_connection *connection, const struct connection_message *message)
{
    return output_queue_append_reference(&connection->stream.output, &connection_loop(connection)->blocks.output,
                                         &message->reference);
}

/* What is sent joins the output queue before it leaves the count of what is on its way: no byte is ever uncounted. */
static void receive_output(jd_tcp_connection *connection, const struct connection_message *message)
{
    jd_event_loop *loop = connection_loop(connection);
    bool is_reference = message->order == ORDER_SEND_REFERENCE;
    uint64_t length = is_reference ? message->reference.length : message->reserved;
    size_t before = output_queue_bytes(&connection->stream.output);
    int result = JD_ENOTCONN;

    if (connection_state(connection) < CONNECTION_CLOSING) {
        result = is_reference ? append_reference(connection, message) : append_bytes(connection, message);
        if (result < 0)
            connection_begin_close(connection, result);
        else
            connection_output_added(connection, before, length);
    }
    if (result < 0) {
        counter_add(&loop->counters.bytes_queued, length);
        counter_add(&loop->counters.bytes_dropped, length);
    }
    atomic_fetch_sub(&connection->queued_elsewhere, message->reserved);
    if (result < 0 && is_reference && message->reference.release != NULL)
        message->reference.release(message->reference.arg);
}

static void run_message(struct task_node *task)
{
    struct connection_message *message = (struct connection_message *)task;
    jd_tcp_connection *connection = message->connection;

    if (message->order == ORDER_SEND || message->order == ORDER_SEND_REFERENCE)
        receive_output(connection, message);
    else
        connection_carry_out(connection, message->order);
    free_message(message);
}

/* Returns 0, or JD_ENOTCONN when the loop is gone: the message is the caller's still. */
static int push_message(struct connection_message *message)
{
    message->task.run = run_message;
    return event_loop_push(connection_loop(message->connection), &message->task) ? 0 : JD_ENOTCONN;
}

int connection_post_order(jd_tcp_connection *connection, enum connection_order order)
{
    struct connection_message *message;

    if (connection_state(connection) == CONNECTION_DISCONNECTED)
        return order == ORDER_SHUTDOWN ? JD_ENOTCONN : 0;
    message = make_message(connection, order, 0);
    if (message == NULL)
        return JD_ENOMEM;
    if (order == ORDER_SHUTDOWN && !connection_set_disconnecting(connection)) {
        free_message(message);
        return JD_ENOTCONN;
    }
    if (push_message(message) < 0)
        free_message(message);
    return 0;
}

/* Takes a reservation back. A shutdown that saw it may be waiting for bytes that will never come: the message tells it
 * to look again. */
static void withdraw(struct connection_message *message)
{
    jd_tcp_connection *connection = message->connection;

    atomic_fetch_sub(&connection->queued_elsewhere, message->reserved);
    message->order = ORDER_FINISH;
    if (atomic_load(&connection->state) != CONNECTION_DISCONNECTING || push_message(message) < 0)
        free_message(message);
}

/* Reserves what the message counts for and sends it on its way. */
static int push_reserved(struct connection_message *message, size_t counts)
{
    jd_tcp_connection *connection = message->connection;
    size_t limit = connection->profile->output_limit;
    size_t reserved;
    int result;

    message->reserved = counts;
    /* Reserved before the state is read, as a shutdown sets the state before it reads the reservations (both sequentially
     * consistent): either the send is refused, or the FIN waits for its bytes. */
    reserved = atomic_fetch_add(&connection->queued_elsewhere, counts);
    if (atomic_load(&connection->state) != CONNECTION_CONNECTED)
        result = JD_ENOTCONN;
    else if (reserved + output_queue_bytes(&connection->stream.output) > limit - counts)
        result = JD_ENOBUFS;
    else
        result = push_message(message);
    if (result < 0)
        withdraw(message);
    return result;
}

int connection_post_send(jd_tcp_connection *connection, const jd_iovec *parts, int count, size_t length)
{
    struct connection_message *message;
    uint8_t *end;

    if (connection_state(connection) != CONNECTION_CONNECTED)
        return JD_ENOTCONN;
    if (length == 0)
        return 0;
    if (length > connection->profile->output_limit)
        return JD_ENOBUFS;
    message = make_message(connection, ORDER_SEND, length);
    if (message == NULL)
        return JD_ENOMEM;
    end = message->data;
    for (int i = 0; i < count; i++) {
        memcpy(end, parts[i].data, parts[i].length);
        end += parts[i].length;
    }
    return push_reserved(message, length);
}

int connection_post_reference(jd_tcp_connection *connection, const struct output_reference *reference, size_t counts)
{
    struct connection_message *message;

    if (connection_state(connection) != CONNECTION_CONNECTED)
        return JD_ENOTCONN;
    if (counts > connection->profile->output_limit)
        return JD_ENOBUFS;
    message = make_message(connection, ORDER_SEND_REFERENCE, sizeof(*reference));
    if (message == NULL)
        return JD_ENOMEM;
    message->reference = *reference;
    return push_reserved(message, counts);
}
