#include "examples/http/files.h"

#include "examples/http/date.h"
#include "examples/http/folder.h"
#include "examples/http/range.h"
#include "examples/http/response.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

enum {
    PATH_ROOM = 4096, /* of a decoded path; longer ones do not exist (PATH_MAX) */
    COPIED_MAX_BYTES =
        8192, /* of a body that is read and sent with its head; a longer one is sent by the kernel (sendfile(2)) */
};

static const char index_name[] = "index.html";

/* ---- paths ---- */

static int hexadecimal(char digit)
{
    enum { TEN = 10 };

    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + TEN;
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + TEN : -1;
}

/* Decodes "%41" in path to "A". Returns the length; -1: not a path. */
static int decode(char decoded[PATH_ROOM], struct text path)
{
    enum { BASE = 16 };
    int length = 0;

    for (size_t i = 0; i < path.length; i++) {
        char character = path.data[i];
        if (character == '%') {
            int high = i + 2 < path.length ? hexadecimal(path.data[i + 1]) : -1;
            int low = high < 0 ? -1 : hexadecimal(path.data[i + 2]);
            if (low < 0)
                return -1;
            character = (char)(high * BASE + low);
            i += 2;
        }
        if (character == '\0' || length == PATH_ROOM - 1)
            return -1;
        decoded[length++] = character;
    }
    decoded[length] = '\0';
    return length;
}

/* Removes the slashes in front: a path is relative to the folder, and "//host/" would be another server in a redirection. */
static struct text without_slashes(struct text path)
{
    while (path.length > 0 && *path.data == '/')
        path.data++, path.length--;
    return path;
}

static unsigned status_of_error(int error)
{
    switch (error) {
    case -EACCES:
    case -EPERM:
        return HTTP_STATUS_FORBIDDEN;
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
        return HTTP_STATUS_SERVICE_UNAVAILABLE;
    default:
        return HTTP_STATUS_NOT_FOUND; /* ENOENT; EXDEV and ELOOP: it would lead out of the folder */
    }
}

/* ---- types ---- */

static const char *type_of(const char *path)
{
    static const struct {
        const char *ending, *type;
    } types[] = {
        { "html", "text/html; charset=utf-8" },
        { "css", "text/css; charset=utf-8" },
        { "js", "text/javascript; charset=utf-8" },
        { "json", "application/json" },
        { "txt", "text/plain; charset=utf-8" },
        { "md", "text/markdown; charset=utf-8" },
        { "svg", "image/svg+xml" },
        { "png", "image/png" },
        { "jpg", "image/jpeg" },
        { "jpeg", "image/jpeg" },
        { "gif", "image/gif" },
        { "webp", "image/webp" },
        { "ico", "image/vnd.microsoft.icon" },
        { "woff2", "font/woff2" },
        { "pdf", "application/pdf" },
        { "wasm", "application/wasm" },
        { "mp4", "video/mp4" },
        { "xml", "application/xml" },
    };
    const char *dot = strrchr(path, '.');

    for (size_t i = 0; dot != NULL && i < sizeof(types) / sizeof(types[0]); i++)
        if (strcasecmp(dot + 1, types[i].ending) == 0)
            return types[i].type;
    return "application/octet-stream";
}

/* ---- answering ---- */

/* Sends a body that is short together with its head. The file may have become shorter. On the Reactor
 * jd_tcp_connection_send_file would do the same. io_uring reads files in the kernel, so that a slow disk stops no loop: with
 * that a short file costs four io_uring_enter calls instead of one. */
static void send_copied(struct session *session, struct head *head, int file, uint64_t first, uint64_t length)
{
    char body[COPIED_MAX_BYTES];
    bool is_whole = folder_read(file, body, length, first) == (int64_t)length;

    folder_close(file);
    if (is_whole)
        respond_with_head(session, head, body, length);
    else
        session_sent(session, JD_ENODATA);
}

static void send_range(struct session *session, struct head *head, int file, uint64_t first, uint64_t length)
{
    int result;

    if (length <= COPIED_MAX_BYTES && session->request.method != HTTP_HEAD) {
        send_copied(session, head, file, first, length);
        return;
    }
    respond_with_head(session, head, NULL, 0);
    if (session->request.method == HTTP_HEAD) {
        folder_close(file);
        return;
    }
    result = jd_tcp_connection_send_file(session->connection, file, (int64_t)first, length, jd_release_close_fd,
                                         (void *)(intptr_t)file);
    if (result < 0)
        folder_close(file);
    session_sent(session, result);
}

static void add_field(struct head *head, const char *name, const char *value, size_t length)
{
    head_add(head, name, strlen(name));
    head_add(head, value, length);
    HEAD_ADD(head, "\r\n");
}

/* "Content-Range: bytes 0-99/1234". */
static void add_content_range(struct head *head, uint64_t first, uint64_t length, uint64_t size)
{
    HEAD_ADD(head, "Content-Range: bytes ");
    head_add_number(head, first);
    HEAD_ADD(head, "-");
    head_add_number(head, first + length - 1);
    HEAD_ADD(head, "/");
    head_add_number(head, size);
    HEAD_ADD(head, "\r\n");
}

static bool is_unchanged(const struct request *request, time_t modified)
{
    struct text since = request->fields[FIELD_IF_MODIFIED_SINCE];
    time_t time;

    /* The server has no tags of contents: a client that asks for another one's gets the file (RFC 9110, 13.1.3). */
    return request->fields[FIELD_IF_NONE_MATCH].data == NULL && since.data != NULL &&
           date_parse(&time, since.data, since.length) && modified <= time;
}

/* A range is wanted only of the file that the client has a part of already (If-Range). */
static enum range wanted_range(const struct request *request, const struct folder_file *file, uint64_t *first,
                               uint64_t *length)
{
    struct text condition = request->fields[FIELD_IF_RANGE];
    time_t time;

    *first = 0;
    *length = file->size;
    if (request->method != HTTP_GET)
        return RANGE_WHOLE;
    if (condition.data != NULL && !(date_parse(&time, condition.data, condition.length) && time == file->modified))
        return RANGE_WHOLE;
    return range_parse(request->fields[FIELD_RANGE], *length, first, length);
}

static void refuse_range(struct session *session, uint64_t size)
{
    enum { FIELD_ROOM = 64 };
    char field[FIELD_ROOM];

    snprintf(field, sizeof(field), "Content-Range: bytes */%llu\r\n", (unsigned long long)size);
    respond_status(session, HTTP_STATUS_RANGE_NOT_SATISFIABLE, field);
}

static void send_file(struct session *session, const struct folder_file *file, const char *type)
{
    char modified[DATE_BYTES];
    uint64_t first, length;
    enum range range = wanted_range(&session->request, file, &first, &length);
    bool is_unmodified = is_unchanged(&session->request, file->modified);
    struct head head;

    if (range == RANGE_UNSATISFIABLE && !is_unmodified) {
        folder_close(file->handle);
        refuse_range(session, file->size);
        return;
    }
    date_format(modified, file->modified);
    head_begin(&head, session,
               is_unmodified         ? HTTP_STATUS_NOT_MODIFIED
               : range == RANGE_PART ? HTTP_STATUS_PARTIAL_CONTENT
                                     : HTTP_STATUS_OK);
    add_field(&head, "Last-Modified: ", modified, sizeof(modified));
    if (is_unmodified) {
        folder_close(file->handle);
        respond_with_head(session, &head, NULL, 0);
        return;
    }
    HEAD_ADD(&head, "Accept-Ranges: bytes\r\n");
    add_field(&head, "Content-Type: ", type, strlen(type));
    if (range == RANGE_PART)
        add_content_range(&head, first, length, file->size);
    head_add_length(&head, length);
    send_range(session, &head, file->handle, first, length);
}

/* The folder's index is at the path with a slash behind it: links in the page are relative to that. */
static void redirect_to_folder(struct session *session, struct text path)
{
    char field[HEAD_ROOM / 2];
    int length = snprintf(field, sizeof(field), "Location: /%.*s/\r\n", (int)path.length, path.data);

    if ((size_t)length < sizeof(field))
        respond_status(session, HTTP_STATUS_MOVED_PERMANENTLY, field);
    else
        respond_status(session, HTTP_STATUS_NOT_FOUND, "");
}

void files_serve(struct session *session)
{
    struct text encoded = without_slashes(session->request.path);
    char path[PATH_ROOM + sizeof(index_name)];
    int length = decode(path, encoded), error;
    struct folder_file file;

    if (length < 0) {
        respond_status(session, HTTP_STATUS_BAD_REQUEST, "");
        return;
    }
    if (length == 0 || path[length - 1] == '/')
        memcpy(path + length, index_name, sizeof(index_name));
    error = folder_open_file(session->service->root, path, &file);
    if (error < 0) {
        respond_status(session, status_of_error(error), "");
        return;
    }
    if (file.kind == FOLDER_FILE) {
        send_file(session, &file, type_of(path));
        return;
    }
    folder_close(file.handle);
    if (file.kind == FOLDER_FOLDER)
        redirect_to_folder(session, encoded);
    else
        respond_status(session, HTTP_STATUS_NOT_FOUND, "");
}
