/* Sends that copy nothing: references to shared payloads, to the caller's memory, and to ranges of files. */
#include "base/platform/file.h"
#include "net/connection/tcp_connection.h"

#include <jinduo/error.h>

/* As connection_send_parts, for a reference. After an error the reference's release is not called. */
static int connection_send_output_reference(jd_tcp_connection *connection, const struct output_reference *reference)
{
    jd_event_loop *loop = connection_loop(connection);
    size_t counted_bytes = output_counts_for(reference->kind, reference->length);
    size_t before = output_queue_bytes(&connection->stream.output);
    bool is_file = reference->kind == OUTPUT_FILE;
    int result;

    if (!event_loop_is_in_loop_thread(loop))
        return connection_post_reference(connection, reference, counted_bytes);
    result = connection_may_send(connection, counted_bytes);
    if (result == 0 && is_file)
        result = connection_reserve(connection, 0, 0, true);
    if (result < 0)
        return result;
    result = output_queue_append_reference(&connection->stream.output, &loop->blocks.output, reference);
    if (result < 0)
        loop->blocks.output.files_released += is_file; /* it leaves as it came */
    else if (reference->length > 0)
        connection_output_added(connection, before, reference->length);
    if (loop->blocks.output.files_released > 0) /* an empty range */
        connection_files_released(connection);
    if (result == 0 && is_file)
        connection_file_added(connection);
    return result;
}

static void release_shared(void *arg)
{
    jd_shared_unref(arg);
}

int jd_tcp_connection_send_shared(jd_tcp_connection *connection, jd_shared *shared, size_t offset, size_t length)
{
    size_t left = jd_shared_length(shared) - offset;
    struct output_reference reference = { .kind = OUTPUT_MEMORY, .release = release_shared };
    int result;

    if (offset > jd_shared_length(shared) || (length > left && length != (size_t)JD_TO_END))
        return JD_ERANGE;
    reference.length = length < left ? length : left;
    reference.data = (const uint8_t *)jd_shared_data(shared) + offset;
    if (reference.length <= OUTPUT_COPY_BYTES)
        return jd_tcp_connection_send(connection, reference.data, (size_t)reference.length);
    reference.arg = jd_shared_ref(shared);
    result = connection_send_output_reference(connection, &reference);
    if (result < 0)
        jd_shared_unref(shared);
    return result;
}

int jd_tcp_connection_send_reference(jd_tcp_connection *connection, const void *data, size_t length, jd_release release,
                                     void *arg)
{
    const struct output_reference reference = {
        .kind = OUTPUT_MEMORY, .release = release, .arg = arg, .length = length, .data = data
    };

    return connection_send_output_reference(connection, &reference);
}

/* Whether another file may be read, which then is open until its release at the turn's end: as many as may be queued before they
 * count as output above the high watermark. The rest is queued, and counted. */
static bool connection_may_read_file(const jd_tcp_connection *connection)
{
    struct loop_delivery *delivery = &connection_loop(connection)->delivery;

    if (delivery->read_files != connection) {
        delivery->read_files = connection;
        delivery->files_read = 0;
    }
    return delivery->files_read < (connection->profile->max_queued_files + 1) / 2;
}

/* A small file is read here, into the answer's block, if the engine would send it in this thread as well: that costs one system
 * call. sendfile(2) has no MSG_NOSIGNAL, and costs three and a send of its own for what is queued before it. docs/notes/core-measurements.md
 * has the measurements. Returns 1: the range was queued; 0: it must go the other way, which finds what is wrong, too; or the
 * negative error of the read, which is to be returned if the other way finds nothing wrong. */
static int connection_send_small_file(jd_tcp_connection *connection, const struct output_reference *file)
{
    enum { SMALL_FILE_BYTES = 16 * 1024 };
    jd_event_loop *loop = connection_loop(connection);
    struct output_reference copy = { .kind = OUTPUT_MEMORY, .release = file->release, .arg = file->arg };
    size_t before = output_queue_bytes(&connection->stream.output);
    uint8_t bytes[SMALL_FILE_BYTES];
    ssize_t count;

    if (file->length == 0 || file->length > SMALL_FILE_BYTES || file->offset < 0 ||
        !event_loop_is_in_loop_thread(loop) || !loop->ops->sends_at_once ||
        connection_may_send(connection, (size_t)file->length) < 0 || !connection_may_read_file(connection))
        return 0;
    count = file_read(file->fd, bytes, (size_t)file->length, file->offset);
    if (count != (ssize_t)file->length)
        return count < 0 ? (int)count : 0;
    copy.data = bytes;
    copy.length = file->length;
    if (output_queue_append_copy(&connection->stream.output, &loop->blocks.output, &copy) < 0)
        return 0;
    loop->delivery.files_read += file->release != NULL;
    connection_output_added(connection, before, copy.length);
    return 1;
}

int jd_tcp_connection_send_file(jd_tcp_connection *connection, jd_file file, int64_t offset, uint64_t length,
                                jd_release release, void *arg)
{
    struct output_reference reference = {
        .kind = OUTPUT_FILE, .release = release, .arg = arg, .length = length, .offset = offset, .fd = file
    };
    bool to_end = length == JD_TO_END;
    int sent = to_end ? 0 : connection_send_small_file(connection, &reference);
    int result = sent > 0 ? 0 : file_check_range(file, offset, &reference.length);

    if (result == 0 && to_end)
        sent = connection_send_small_file(connection, &reference);
    if (result < 0 || sent != 0)
        return result < 0 || sent > 0 ? result : sent;
    return connection_send_output_reference(connection, &reference);
}

void jd_release_close_fd(void *descriptor)
{
    file_close((jd_file)(intptr_t)descriptor);
}
