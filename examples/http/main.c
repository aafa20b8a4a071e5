/* jd-http: a server of HTTP/1.1. It shows how a protocol with state is written on connections:
 *
 *   session.c   one connection: requests one after the other, deadlines, the end
 *   request.c   the parser (llhttp), which reads the connection's input in place
 *   routes.c    which function answers; the short answers
 *   response.c  heads and bodies in memory
 *   files.c     the files of a folder; range.c, date.c
 *   status.c    metrics, and a page that shows them live; counts.c
 *   health.c    the client of --health */
#include "examples/http/folder.h"
#include "examples/http/health.h"
#include "examples/http/session.h"
#include "examples/program.h"

#include <stdio.h>
#include <stdlib.h>

/* What peers can make the program hold together: so much input, again so much of chunked bodies, and so much output. The longest
 * request (request.h) and its echo have room. */
enum { TOTAL_BYTES = 256 * 1024 * 1024, OUTPUT_BYTES = 128 * 1024 * 1024 };

enum {
    OPTION_ROOT = 1,
    OPTION_MAX_BODY,
    OPTION_REQUEST_SECONDS,
    OPTION_IDLE_SECONDS,
    OPTION_MAX_CONNECTIONS,
    OPTION_MAX_AGE,
    OPTION_HEALTH,
    OPTION_MEASURE
};

enum {
    MS_PER_S = 1000,
    BODY_DEFAULT_BYTES = 1 << 20,
    REQUEST_DEFAULT_S = 30,
    IDLE_DEFAULT_S = 60,
    SECONDS_MAX = 86400,
    CONNECTIONS_MAX = 1 << 24,
};

static void print_help(void)
{
    printf(
        "Usage: jd-http [OPTION]...\n"
        "A server of HTTP/1.1, until SIGINT or SIGTERM. It answers\n"
        "  GET /               \"Hello, World!\", or with --root the folder's index.html\n"
        "  POST /echo          the body that was sent\n"
        "  GET /health         200 while the server serves\n"
        "  GET /metrics        its counters, for Prometheus\n"
        "  GET /status         a page that shows them live\n"
        "HEAD is allowed wherever GET is.\n\n"
        "      --root DIR            serve the files of DIR at all other paths; nothing outside DIR, and no symbolic "
        "link\n"
        "      --max-body BYTES      longest body of a request, 0 to 67108864 (default 1048576)\n"
        "      --request-seconds S   time for a request to arrive whole, from its first byte on, 1 to 86400 (default "
        "30)\n"
        "      --idle-seconds S      a connection on which nothing happens so long is closed, 1 to 86400 (default 60)\n"
        "      --max-connections N   more wait until others have ended; 0: no limit (default 0)\n"
        "      --max-age S           connections end after about so many seconds, behind an answer; 0: never (default "
        "0)\n"
        "      --measure             measure callbacks and timers, too, for /metrics and /status\n"
        "      --health              ask the server at --listen whether it serves: exit status 0 if it does, else 1\n"
        "%s",
        program_common_help);
}

static uint32_t number(const struct program *program, const char *option, unsigned least, unsigned most)
{
    return (uint32_t)program_number(program, option, optarg, least, most);
}

static int open_root(const struct program *program, const char *path)
{
    int root = folder_open(path);

    if (root == JD_ENOSYS)
        program_fail(program, "--root needs openat2(2), Linux 5.6 or later", root);
    if (root < 0) {
        fprintf(stderr, "%s: --root '%s': %s\n", program->name, path, jd_strerror(root));
        exit(PROGRAM_FAILED);
    }
    return root;
}

/* Applies an option of this program. */
static void apply(struct program *program, struct service *service, int option)
{
    switch (option) {
    case OPTION_ROOT:
        service->root = open_root(program, optarg);
        break;
    case OPTION_MAX_BODY:
        service->body_limit = number(program, "--max-body", 0, BODY_LIMIT_MAX);
        break;
    case OPTION_REQUEST_SECONDS:
        service->request_seconds = number(program, "--request-seconds", 1, SECONDS_MAX);
        break;
    case OPTION_IDLE_SECONDS:
        program->server_options.idle_timeout_ms = number(program, "--idle-seconds", 1, SECONDS_MAX) * MS_PER_S;
        break;
    case OPTION_MAX_CONNECTIONS:
        program->server_options.max_connections = number(program, "--max-connections", 0, CONNECTIONS_MAX);
        break;
    case OPTION_MEASURE:
        program->loop_options.measure = true;
        break;
    case OPTION_MAX_AGE:
        program->server_options.max_age_ms = number(program, "--max-age", 0, SECONDS_MAX) * MS_PER_S;
        break;
    default:
        program_option(program, option, optarg);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = { PROGRAM_LONG_OPTIONS,
                                             { "root", required_argument, NULL, OPTION_ROOT },
                                             { "max-body", required_argument, NULL, OPTION_MAX_BODY },
                                             { "request-seconds", required_argument, NULL, OPTION_REQUEST_SECONDS },
                                             { "idle-seconds", required_argument, NULL, OPTION_IDLE_SECONDS },
                                             { "max-connections", required_argument, NULL, OPTION_MAX_CONNECTIONS },
                                             { "max-age", required_argument, NULL, OPTION_MAX_AGE },
                                             { "health", no_argument, NULL, OPTION_HEALTH },
                                             { "measure", no_argument, NULL, OPTION_MEASURE },
                                             { 0 } };
    struct program program = { .name = "jd-http",
                               .server_options = { .name = "jd-http", .idle_timeout_ms = IDLE_DEFAULT_S * MS_PER_S } };
    struct service service = { .body_limit = BODY_DEFAULT_BYTES, .request_seconds = REQUEST_DEFAULT_S, .root = -1 };
    bool asks_health = false;
    int option, status;

    while ((option = program_next_option(&program, argc, argv, options)) != -1) {
        if (option == 'h') {
            print_help();
            return 0;
        }
        if (option == OPTION_HEALTH)
            asks_health = true;
        else
            apply(&program, &service, option);
    }
    if (asks_health)
        return health_ask(&program);
    /* An answer that is queued and not taken, as nothing else, is bounded by the same time as silence. */
    program.server_options.write_timeout_ms = program.server_options.idle_timeout_ms;
    program.server_options.output_limit = OUTPUT_BYTES;
    program.server_options.total_input_limit = TOTAL_BYTES;
    program.server_options.total_output_limit = TOTAL_BYTES;
    program.server_options.input_limit = parser_input_limit(service.body_limit) + PARSER_READ_AHEAD_BYTES;
    program_prepare(&program);
    service.server = program.server;
    session_serve(program.server, &service);
    status = program_serve(&program);
    if (service.root >= 0)
        folder_close(service.root);
    return status;
}
