/* jd-async-file: serves the files of a folder. Shows asynchronous operations (proactor.h) without a TCP server: accept,
 * read a line, read the file, write. The completion handler of each operation starts the next one. */
#include "examples/program.h"

#include <fcntl.h>
#include <jinduo/proactor.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    OPTION_IDLE = 1,
    REQUEST_MAX_BYTES = 4096,
    CHUNK_BYTES = 64 * 1024,
    IDLE_S_MAX = 86400,
    CHECK_INTERVAL_MS = 1000,
};

struct server {
    struct program program;
    int folder;
    unsigned idle_s;
    struct session *sessions;
    struct listening {
        struct server *server;
        jd_operation operation;
        jd_socket handle;
    } listening[PROGRAM_ENDPOINTS];
    jd_operation idle_check; /* the timeout that starts the next check for idle sessions */
};

/* One client connection. It has one operation in flight at a time, so one jd_operation is enough. */
struct session {
    struct server *server;
    struct session *next, **link;
    jd_operation operation;
    jd_buffer *input;
    jd_socket socket;
    int file; /* the file being sent, or -1 */
    uint64_t offset, size;
    jd_timestamp last_progress;
    char chunk[CHUNK_BYTES];
};

/* ---- ending a session ---- */

static void on_closed(jd_operation *operation, int64_t result, void *arg)
{
    struct session *session = arg;

    *session->link = session->next;
    if (session->next != NULL)
        session->next->link = session->link;
    if (session->file >= 0)
        close(session->file);
    jd_buffer_destroy(session->input);
    free(session);
}

/* jd_async_close fails only while the loop is being destroyed: then the session is freed at once. */
static void end_session(struct session *session)
{
    if (jd_async_close(session->server->program.loop, &session->operation, session->socket, on_closed, session) == 0)
        return;
    close(session->socket);
    on_closed(&session->operation, 0, session);
}

static bool is_idle(const struct session *session)
{
    const struct server *server = session->server;
    jd_timestamp idle_since = jd_event_loop_now(server->program.loop) - (jd_timestamp)server->idle_s * 1000000000;

    return session->last_progress < idle_since;
}

/* ---- request and response ---- */

static void on_request(jd_operation *operation, int64_t result, void *arg);
static void on_sent(jd_operation *operation, int64_t result, void *arg);

static void await_request(struct session *session)
{
    session->last_progress = jd_event_loop_now(session->server->program.loop);
    if (jd_async_read_until(session->server->program.loop, &session->operation, session->socket, session->input, "\n",
                            1, REQUEST_MAX_BYTES, on_request, session) < 0)
        end_session(session);
}

static void send_chunk(struct session *session, size_t length, jd_completion_handler handler)
{
    session->last_progress = jd_event_loop_now(session->server->program.loop);
    if (jd_async_write_all(session->server->program.loop, &session->operation, session->socket, session->chunk, length,
                           handler, session) < 0)
        end_session(session);
}

/* The client already has the length. If the file has become shorter, only closing the connection can report that. */
static void on_file_read(jd_operation *operation, int64_t result, void *arg)
{
    struct session *session = arg;

    if (result <= 0) {
        end_session(session);
        return;
    }
    session->offset += (uint64_t)result;
    send_chunk(session, (size_t)result, on_sent);
}

static void on_sent(jd_operation *operation, int64_t result, void *arg)
{
    struct session *session = arg;
    uint64_t unsent = session->size - session->offset;

    if (result < 0) {
        end_session(session);
        return;
    }
    if (unsent == 0) {
        if (session->file >= 0)
            close(session->file);
        session->file = -1;
        await_request(session);
        return;
    }
    if (jd_async_read(session->server->program.loop, &session->operation, session->file, session->offset,
                      session->chunk, unsent < CHUNK_BYTES ? unsent : CHUNK_BYTES, on_file_read, session) < 0)
        end_session(session);
}

/* Opens a regular file below folder. Symbolic links and ".." cannot lead out of it (openat2(2), RESOLVE_BENEATH). */
static int open_beneath(int folder, const char *name, struct stat *status)
{
    struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_BENEATH };
    int file = (int)syscall(SYS_openat2, folder, name, &how, sizeof(how));

    if (file < 0)
        return errno == EXDEV || errno == ELOOP ? JD_EACCES : -errno; /* EXDEV, ELOOP: name leads out of folder */
    if (fstat(file, status) == 0 && S_ISREG(status->st_mode))
        return file;
    close(file);
    return -EISDIR;
}

static void respond(struct session *session, const char *name)
{
    struct stat status = { 0 };
    int length;

    session->file = open_beneath(session->server->folder, name, &status);
    session->offset = 0;
    session->size = session->file >= 0 ? (uint64_t)status.st_size : 0;
    if (session->file >= 0)
        length = snprintf(session->chunk, CHUNK_BYTES, "%llu\n", (unsigned long long)session->size);
    else
        length = snprintf(session->chunk, CHUNK_BYTES, "error: %s\n", jd_strerror(session->file));
    send_chunk(session, (size_t)length, on_sent);
}

/* ---- a request without a line end ---- */

static void discard_input(struct session *session);

/* is_idle is checked here too: a receive that was cancelled for idleness may still complete with bytes. */
static void on_discarded(jd_operation *operation, int64_t result, void *arg)
{
    if (result > 0 && !is_idle(arg))
        discard_input(arg);
    else
        end_session(arg);
}

/* Discards input until the client closes or the session is idle. Closing with unread input would send a reset, and the
 * client might not receive the error line (RFC 2525, 2.17). Discarded input is not progress. */
static void discard_input(struct session *session)
{
    if (jd_async_receive(session->server->program.loop, &session->operation, session->socket, session->chunk,
                         CHUNK_BYTES, 0, on_discarded, session) < 0)
        end_session(session);
}

static void on_refused(jd_operation *operation, int64_t result, void *arg)
{
    struct session *session = arg;

    if (result < 0 || shutdown(session->socket, SHUT_WR) < 0)
        end_session(session);
    else
        discard_input(session);
}

static void refuse(struct session *session)
{
    int length =
        snprintf(session->chunk, CHUNK_BYTES, "error: the request line is longer than %d bytes\n", REQUEST_MAX_BYTES);

    send_chunk(session, (size_t)length, on_refused);
}

static void on_request(jd_operation *operation, int64_t result, void *arg)
{
    struct session *session = arg;
    char name[REQUEST_MAX_BYTES];
    size_t length;

    if (result <= 0) {
        if (result == JD_EMSGSIZE)
            refuse(session);
        else
            end_session(session);
        return;
    }
    length = (size_t)result - 1;
    jd_buffer_copy_out(session->input, 0, name, length);
    jd_buffer_consume(session->input, (size_t)result);
    if (length > 0 && name[length - 1] == '\r')
        length--;
    name[length] = '\0';
    respond(session, name);
}

/* ---- accepting connections ---- */

static void begin_session(struct server *server, jd_socket socket)
{
    struct session *session = calloc(1, sizeof(*session));

    if (session == NULL || jd_buffer_create(&session->input) < 0) {
        free(session);
        close(socket);
        return;
    }
    session->server = server;
    session->socket = socket;
    session->file = -1;
    session->next = server->sessions;
    session->link = &server->sessions;
    if (session->next != NULL)
        session->next->link = &session->next;
    server->sessions = session;
    await_request(session);
}

static void accept_connections(struct listening *listening);

static void on_retry(jd_operation *operation, int64_t result, void *arg)
{
    if (result == 0)
        accept_connections(arg);
}

static void on_accepted(jd_operation *operation, int64_t result, void *arg)
{
    struct listening *listening = arg;

    if (result >= 0)
        begin_session(listening->server, (jd_socket)result);
    else if (result != JD_ECANCELED) /* out of descriptors or memory: try again later */
        jd_async_timeout(listening->server->program.loop, operation, CHECK_INTERVAL_MS, on_retry, listening);
}

static void accept_connections(struct listening *listening)
{
    int result = jd_async_accept_multishot(listening->server->program.loop, &listening->operation, listening->handle,
                                           on_accepted, listening);

    if (result < 0)
        program_fail(&listening->server->program, "cannot accept connections", result);
}

/* ---- idle sessions and shutdown ---- */

static void on_idle_check(jd_operation *operation, int64_t result, void *arg)
{
    struct server *server = arg;

    if (result < 0)
        return;
    for (struct session *session = server->sessions; session != NULL; session = session->next)
        if (is_idle(session))
            jd_operation_cancel(&session->operation); /* its handler ends the session */
    jd_async_timeout(server->program.loop, &server->idle_check, CHECK_INTERVAL_MS, on_idle_check, server);
}

static void on_signal(int signal_number, void *arg)
{
    jd_event_loop_quit(arg);
}

static void serve(struct server *server)
{
    struct program *program = &server->program;
    char text[JD_ENDPOINT_TEXT_BYTES];

    jd_event_loop_watch_signal(program->loop, SIGINT, on_signal, program->loop);
    jd_event_loop_watch_signal(program->loop, SIGTERM, on_signal, program->loop);
    for (size_t i = 0; i < program->endpoint_count; i++) {
        struct listening *listening = &server->listening[i];
        jd_endpoint bound;
        int result = jd_socket_listen(&listening->handle, &program->endpoints[i], &bound);
        jd_endpoint_format(&program->endpoints[i], text, sizeof(text));
        if (result < 0)
            program_fail(program, text, result);
        listening->server = server;
        accept_connections(listening);
        program_print_ready(program, &bound);
    }
    jd_async_timeout(program->loop, &server->idle_check, CHECK_INTERVAL_MS, on_idle_check, server);
    jd_event_loop_run(program->loop);
    jd_event_loop_destroy(program->loop); /* completes every operation; its handler ends the session */
    for (size_t i = 0; i < program->endpoint_count; i++)
        close(server->listening[i].handle);
}

static void print_help(void)
{
    printf("Usage: jd-async-file [OPTION]... [FOLDER]\n"
           "Serves the files of FOLDER (default: the working directory) until SIGINT or SIGTERM. A request is a line\n"
           "with a file name. The response is a line with the file's length and then its bytes, or a line that\n"
           "begins with 'error:'. Example:\n\n"
           "  echo README.md | nc -N 127.0.0.1 8000\n\n"
           "The server uses asynchronous operations: --engine auto means proactor, and reactor is an error.\n\n"
           "      --idle SECONDS        close a connection after SECONDS without progress, 1 to 86400 (default 60)\n%s",
           program_common_help);
}

int main(int argc, char **argv)
{
    static const struct option options[] = { PROGRAM_LONG_OPTIONS,
                                             { "idle", required_argument, NULL, OPTION_IDLE },
                                             { 0 } };
    static struct server server = { .program = { .name = "jd-async-file", .is_proactor = true, .takes_operand = true },
                                    .idle_s = 60 };
    const char *folder;
    int option;

    while ((option = program_next_option(&server.program, argc, argv, options)) != -1) {
        if (option == 'h') {
            print_help();
            return 0;
        }
        if (option == OPTION_IDLE)
            server.idle_s = (unsigned)program_number(&server.program, "--idle", optarg, 1, IDLE_S_MAX);
        else
            program_option(&server.program, option, optarg);
    }
    folder = optind < argc ? argv[optind] : ".";
    server.folder = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (server.folder < 0)
        program_fail(&server.program, folder, -errno);
    program_make_loop(&server.program);
    serve(&server);
    close(server.folder);
    return 0;
}
