/* Sends and commands from threads other than the connection's loop thread. Each is a message to the loop that owns a
 * reference to the connection. Its bytes are reserved from the moment of the call. */
#include "base/memory.h"
#include "net/connection/tcp_connection.h"

#include <jinduo/error.h>
#include <string.h>

struct connection_message {
    struct task_node task;
    jd_tcp_connection *connection;
    enum connection_command command;
    size_t reserved; /* bytes of connection.reserved */
    size_t size;     /* of the message in bytes, to free it */
    union {
        struct output_reference reference;
        uint8_t data[sizeof(struct output_reference)]; /* COMMAND_SEND: reserved bytes */
        uint32_t linger_ms;                            /* COMMAND_CLOSE_AFTER_OUTPUT */
    };
};

/* Creates a message that has room for data_bytes and owns a new reference to connection. Returns NULL without
 * memory. */
static struct connection_message *message_create(jd_tcp_connection *connection, enum connection_command command,
                                                 size_t data_bytes)
{
    size_t size = offsetof(struct connection_message, data) + data_bytes;
    struct connection_message *message = data_bytes < SIZE_MAX / 2 ? memory_allocate(size) : NULL;

    if (message == NULL)
        return NULL;
    message->connection = jd_tcp_connection_ref(connection);
    message->command = command;
    message->reserved = 0;
    message->size = size;
    return message;
}

static void message_free(struct connection_message *message)
{
    jd_tcp_connection *connection = message->connection;

    memory_release(message, message->size);
    jd_tcp_connection_unref(connection);
}

static bool message_is_file(const struct connection_message *message)
{
    return message->command == COMMAND_SEND_REFERENCE && message->reference.kind == OUTPUT_FILE;
}

static int message_append_bytes(jd_tcp_connection *connection, const struct connection_message *message)
{
    jd_iovec part = { .data = (void *)(uintptr_t)message->data, .length = message->reserved };

    return output_queue_append(&connection->stream.output, &connection_loop(connection)->blocks.output, &part, 1,
                               message->reserved, 0);
}

static int message_append_reference(jd_tcp_connection *connection, const struct connection_message *message)
{
    return output_queue_append_reference(&connection->stream.output, &connection_loop(connection)->blocks.output,
                                         &message->reference);
}

static void connection_unreserve(jd_tcp_connection *connection, size_t counted_bytes, bool is_file)
{
    struct connection_totals *totals = connection_profile_of(connection)->totals;

    atomic_fetch_sub(&connection->reserved, counted_bytes + (is_file ? CONNECTION_RESERVED_FILE : 0));
    if (totals != NULL)
        connection_totals_unreserve(totals, counted_bytes);
}

/* The bytes join the output queue before their reservation ends: so output_limit counts every byte at any time. */
static void message_queue_output(jd_tcp_connection *connection, const struct connection_message *message)
{
    jd_event_loop *loop = connection_loop(connection);
    bool is_reference = message->command == COMMAND_SEND_REFERENCE;
    uint64_t length = is_reference ? message->reference.length : message->reserved;
    struct connection_totals *totals = connection->profile->totals;
    size_t before = output_queue_bytes(&connection->stream.output);
    uint64_t file = message_is_file(message) ? CONNECTION_RESERVED_FILE : 0;
    int result = JD_ENOTCONN;

    /* The server's total first: these bytes must not count twice there, as pressure would begin. */
    if (totals != NULL)
        connection_totals_unreserve(totals, message->reserved);
    if (connection_state(connection) < CONNECTION_BROKEN) {
        result =
            is_reference ? message_append_reference(connection, message) : message_append_bytes(connection, message);
        if (result < 0)
            connection_begin_close(connection, result);
        else
            connection_output_added(connection, before, length);
        if (loop->blocks.output.files_released > 0) /* an empty range */
            connection_files_released(connection);
        if (is_reference && result == 0 && message->reference.kind == OUTPUT_FILE)
            connection_file_added(connection);
    }
    if (result < 0) {
        counter_add(&loop->counters.bytes_queued, length);
        counter_add(&loop->counters.bytes_dropped, length);
    }
    atomic_fetch_sub(&connection->reserved, message->reserved + (result < 0 ? file : 0));
    if (result < 0 && is_reference && message->reference.release != NULL)
        message->reference.release(message->reference.arg);
}

static void message_run(struct task_node *task)
{
    struct connection_message *message = (struct connection_message *)task;
    jd_tcp_connection *connection = message->connection;

    if (message->command == COMMAND_SEND || message->command == COMMAND_SEND_REFERENCE)
        message_queue_output(connection, message);
    else
        connection_execute_command(connection, message->command,
                                   message->command == COMMAND_CLOSE_AFTER_OUTPUT ? message->linger_ms : 0);
    message_free(message);
}

/* Returns 0: the loop owns the message; or JD_ENOTCONN when the loop has ended: the caller still owns it. */
static int message_push(struct connection_message *message)
{
    message->task.run = message_run;
    return event_loop_push(connection_loop(message->connection), &message->task) ? 0 : JD_ENOTCONN;
}

int connection_post_command(jd_tcp_connection *connection, enum connection_command command, uint32_t linger_ms)
{
    bool disconnects = command == COMMAND_SHUTDOWN || command == COMMAND_CLOSE_AFTER_OUTPUT;
    struct connection_message *message;

    if (connection_state(connection) == CONNECTION_DISCONNECTED)
        return disconnects ? JD_ENOTCONN : 0;
    message = message_create(connection, command, sizeof(message->linger_ms));
    if (message == NULL)
        return JD_ENOMEM;
    message->linger_ms = linger_ms;
    if (disconnects && !connection_begin_disconnecting(connection, command)) {
        message_free(message);
        return JD_ENOTCONN;
    }
    if (message_push(message) < 0)
        message_free(message);
    return 0;
}

/* Cancels the reservation, and frees the message. A shutdown that saw the reservation may wait for these bytes, which
 * will never come, or a pause for the files: then the message is sent as COMMAND_FINISH instead, so that the loop checks
 * again. */
static void message_withdraw(struct connection_message *message)
{
    jd_tcp_connection *connection = message->connection;

    connection_unreserve(connection, message->reserved, message_is_file(message));
    message->command = COMMAND_FINISH;
    if (atomic_load(&connection->state) != CONNECTION_DISCONNECTING || message_push(message) < 0)
        message_free(message);
}

/* What is refused is never counted, not even for a moment: the loop may look at the count only once. */
int connection_reserve(jd_tcp_connection *connection, size_t queued_bytes, size_t counted_bytes, bool is_file)
{
    const struct connection_profile *profile = connection_profile_of(connection);
    uint64_t reserved = atomic_load(&connection->reserved);

    if (counted_bytes > 0 && profile->totals != NULL && !connection_totals_reserve(profile->totals, counted_bytes))
        return JD_ENOBUFS;
    do {
        size_t bytes = queued_bytes + connection_reserved_bytes(reserved);
        if (bytes > profile->output_limit || counted_bytes > profile->output_limit - bytes ||
            (is_file && connection_reserved_files(reserved) >= profile->max_queued_files)) {
            if (profile->totals != NULL)
                connection_totals_unreserve(profile->totals, counted_bytes);
            return JD_ENOBUFS;
        }
    } while (!atomic_compare_exchange_weak(&connection->reserved, &reserved,
                                           reserved + counted_bytes + (is_file ? CONNECTION_RESERVED_FILE : 0)));
    return 0;
}

/* Reserves counted_bytes and queues the message, which it owns from here on. */
static int message_push_reserved(struct connection_message *message, size_t counted_bytes)
{
    jd_tcp_connection *connection = message->connection;
    size_t queued = output_queue_bytes(&connection->stream.output);
    int result = connection_reserve(connection, queued, counted_bytes, message_is_file(message));

    if (result < 0) {
        message_free(message);
        return result;
    }
    message->reserved = counted_bytes;
    /* This reserves, then reads the state; shutdown sets the state, then reads the reservations. Both are sequentially
     * consistent: so either the send is refused, or the FIN waits for its bytes. */
    result = atomic_load(&connection->state) != CONNECTION_CONNECTED ? JD_ENOTCONN : message_push(message);
    if (result < 0)
        message_withdraw(message);
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
    if (length > connection_profile_of(connection)->output_limit)
        return JD_ENOBUFS;
    message = message_create(connection, COMMAND_SEND, length);
    if (message == NULL)
        return JD_ENOMEM;
    end = message->data;
    for (int i = 0; i < count; i++) {
        memcpy(end, parts[i].data, parts[i].length);
        end += parts[i].length;
    }
    return message_push_reserved(message, length);
}

int connection_post_reference(jd_tcp_connection *connection, const struct output_reference *reference,
                              size_t counted_bytes)
{
    struct connection_message *message;

    if (connection_state(connection) != CONNECTION_CONNECTED)
        return JD_ENOTCONN;
    if (counted_bytes > connection_profile_of(connection)->output_limit)
        return JD_ENOBUFS;
    message = message_create(connection, COMMAND_SEND_REFERENCE, sizeof(*reference));
    if (message == NULL)
        return JD_ENOMEM;
    message->reference = *reference;
    return message_push_reserved(message, counted_bytes);
}
