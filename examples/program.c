#include "examples/program.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DRAIN_MS = 5000, THREADS_MAX = 128, PROCESSES_MAX = 64, BUSY_POLL_MAX_US = 1000000 };

#define ENGINES "auto, reactor, proactor, io_uring, simulated or iocp"

const char program_common_help[] =
    "  -e, --engine NAME         auto (default), reactor, proactor, io_uring, simulated,\n"
    "                            iocp\n"
    "  -l, --listen ENDPOINT     1.2.3.4:80, [::1]:80, *:80, unix:/path or unix:@name; may be given up to 16 times;\n"
    "                            host names are not looked up; port 0 selects a free port (default 127.0.0.1:8000)\n"
    "  -t, --threads N           sub-Reactors, each in a thread of its own, 0 to 128; 0: the accepting loop serves "
    "all\n"
    "                            connections (default 0)\n"
    "      --load-balance HOW    how a connection is assigned to a sub-Reactor: round-robin (default), least (fewest\n"
    "                            connections), peer (the same sub-Reactor for all connections from one address)\n"
    "      --reuse-port          set SO_REUSEPORT: each thread has a listening socket of its own, and other processes\n"
    "                            may listen on the same port\n"
    "      --processes N         server processes that share the port, 1 to 64; each has loops of its own; more than "
    "1\n"
    "                            implies --reuse-port (default 1)\n"
    "  -b, --busy-poll US        poll for events for US microseconds before sleeping, 0 to 1000000 (default 0)\n"
    "      --zero-copy BYTES     io_uring only: send BYTES or more without copying; 0: copy every send (default 0)\n"
    "      --proxy-protocol[=SOURCES]\n"
    "                            each connection begins with a header of the PROXY protocol, which names its client; "
    "only\n"
    "                            from SOURCES: addresses, networks as 10.0.0.0/8, unix or all, with commas between "
    "them\n"
    "                            (default 127.0.0.0/8, ::1, unix)\n"
    "  -s, --statistics          print the loop's counters at exit; with --threads, those of the accepting loop\n"
    "  -h, --help                print this text and exit\n";

void program_usage_error(const struct program *program, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    fprintf(stderr, "%s: ", program->name);
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "; see %s --help\n", program->name);
    va_end(arguments);
    exit(PROGRAM_USAGE);
}

unsigned long long program_number(const struct program *program, const char *option, const char *value,
                                  unsigned long long least, unsigned long long most)
{
    char *end;
    unsigned long long number;

    errno = 0;
    number = strtoull(value, &end, 10);
    if (end == value || *end != '\0' || errno != 0 || strchr(value, '-') != NULL || number < least || number > most)
        program_usage_error(program, "%s '%s': must be a whole number from %llu to %llu", option, value, least, most);
    return number;
}

static void add_endpoint(struct program *program, const char *text)
{
    const char *reason;

    if (program->endpoint_count == PROGRAM_ENDPOINTS)
        program_usage_error(program, "--listen '%s': at most %d endpoints are allowed", text, PROGRAM_ENDPOINTS);
    if (jd_endpoint_parse(&program->endpoints[program->endpoint_count], text, &reason) < 0)
        program_usage_error(program, "--listen '%s': %s", text, reason);
    program->endpoint_count++;
}

static jd_load_balance load_balance(const struct program *program, const char *value)
{
    static const char *const names[] = { [JD_LOAD_BALANCE_ROUND_ROBIN] = "round-robin",
                                         [JD_LOAD_BALANCE_LEAST_CONNECTIONS] = "least",
                                         [JD_LOAD_BALANCE_PEER_ADDRESS] = "peer" };

    for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(names[i], value) == 0)
            return (jd_load_balance)i;
    program_usage_error(program, "--load-balance '%s': must be round-robin, least or peer", value);
}

void program_option(struct program *program, int option, const char *value)
{
    switch (option) {
    case 'e':
        if (jd_engine_parse(&program->loop_options.engine, value) < 0)
            program_usage_error(program, "--engine '%s': must be " ENGINES, value);
        break;
    case 'l':
        add_endpoint(program, value);
        break;
    case 't':
        program->server_options.io_threads = (unsigned)program_number(program, "--threads", value, 0, THREADS_MAX);
        break;
    case 'b':
        program->loop_options.busy_poll_us =
            (uint32_t)program_number(program, "--busy-poll", value, 0, BUSY_POLL_MAX_US);
        break;
    case PROGRAM_OPTION_LOAD_BALANCE:
        program->server_options.load_balance = load_balance(program, value);
        break;
    case PROGRAM_OPTION_REUSE_PORT:
        program_reuse_port(program);
        break;
    case PROGRAM_OPTION_PROCESSES:
        program->processes = (unsigned)program_number(program, "--processes", value, 1, PROCESSES_MAX);
        break;
    case PROGRAM_OPTION_ZERO_COPY:
        program->loop_options.zero_copy_send_bytes =
            (uint32_t)program_number(program, "--zero-copy", value, 0, UINT32_MAX);
        break;
    case PROGRAM_OPTION_PROXY_PROTOCOL:
        program->server_options.proxy_sources = value != NULL ? value : "127.0.0.0/8, ::1, unix";
        break;
    case 's':
        program->prints_statistics = true;
        break;
    }
}

static const char *short_options(const struct program *program)
{
    return program->short_options != NULL ? program->short_options : PROGRAM_SHORT_OPTIONS;
}

/* Exits with the reason why getopt_long refused an option. optopt gives it (getopt(3)): 0 for an unknown long option,
 * the letter of an unknown short option, the code of a known option with an unexpected value. */
__attribute__((noreturn)) static void refuse_option(const struct program *program, int result, char **argv)
{
    const char *word = argv[optind - 1];

    if (result == ':')
        program_usage_error(program, "option '%s' needs a value", word);
    if (optopt == 0)
        program_usage_error(program, "unknown option '%s'", word);
    if (optopt > ' ' && strchr(short_options(program) + 1, optopt) == NULL)
        program_usage_error(program, "unknown option '-%c'", optopt);
    program_usage_error(program, "option '%s' takes no value", word);
}

int program_next_option(const struct program *program, int argc, char **argv, const struct option *options)
{
    int result = getopt_long(argc, argv, short_options(program), options, NULL);

    if (result == '?' || result == ':')
        refuse_option(program, result, argv);
    if (result == -1 && argc - optind > program->takes_operand)
        program_usage_error(program, "unexpected argument '%s'", argv[optind + program->takes_operand]);
    return result;
}

void program_fail(const struct program *program, const char *what, int error)
{
    fprintf(stderr, "%s: %s: %s\n", program->name, what, jd_strerror(error));
    exit(PROGRAM_FAILED);
}

/* jd_event_loop_create would fail too, but it cannot name the command-line option, and it writes the reason to its log
 * only. */
static void check_engine(struct program *program)
{
    const char *environment = getenv("JINDUO_ENGINE"), *reason;
    jd_engine engine = program->loop_options.engine;

    if (engine == JD_ENGINE_AUTO && environment != NULL && *environment != '\0' &&
        jd_engine_parse(&engine, environment) < 0)
        program_usage_error(program, "JINDUO_ENGINE '%s': must be " ENGINES, environment);
    if (program->is_proactor && engine == JD_ENGINE_AUTO)
        engine = JD_ENGINE_PROACTOR;
    if (program->is_proactor && engine == JD_ENGINE_REACTOR)
        program_usage_error(
            program,
            "engine 'reactor': asynchronous operations need a Proactor (proactor, io_uring, simulated or iocp)");
    if (program->is_proactor)
        program->loop_options.engine = engine;
    if (jd_engine_available(engine, &reason) == 0)
        return;
    fprintf(stderr, "%s: engine %s is not available: %s\n", program->name, jd_engine_name(engine), reason);
    exit(PROGRAM_FAILED);
}

/* The processes can share an endpoint only if it has a fixed port: port 0 gives each process another one. */
static void check_shared_endpoints(const struct program *program)
{
    char text[JD_ENDPOINT_TEXT_BYTES];

    for (size_t i = 0; i < program->endpoint_count; i++) {
        jd_endpoint_format(&program->endpoints[i], text, sizeof(text));
        if (jd_endpoint_port(&program->endpoints[i]) == 0)
            program_usage_error(program, "--listen '%s': --processes needs an IP address with a port other than 0",
                                text);
    }
}

void program_make_loop(struct program *program)
{
    int result;

    check_engine(program);
    if (program->endpoint_count == 0)
        add_endpoint(program, "127.0.0.1:8000");
    if (program->processes > 1) {
        check_shared_endpoints(program);
        program->server_options.reuse_port = true;
        program_fork(program);
    }
    result = jd_event_loop_create(&program->loop, &program->loop_options);
    if (result < 0)
        program_fail(program, "cannot create the event loop", result);
}

void program_prepare(struct program *program)
{
    int result;

    program_make_loop(program);
    result = jd_tcp_server_create(&program->server, program->loop, &program->server_options);
    if (result < 0)
        program_fail(program, "cannot create the server", result);
    for (size_t i = 0; i < program->endpoint_count && result == 0; i++)
        result = jd_tcp_server_listen(program->server, &program->endpoints[i], NULL);
    if (result < 0)
        program_fail(program, "cannot add an endpoint to the server", result);
}

/* The first signal starts a graceful shutdown; a second one quits at once. */
static void on_forked_signal(int signal_number, void *arg)
{
    struct program *program = arg;

    if (program->server == NULL)
        return; /* a second signal has already ended the loop */
    if (program->stopping || jd_tcp_server_stop(program->server, DRAIN_MS, NULL, NULL) < 0)
        jd_event_loop_quit(program->loop);
    program->stopping = true;
}

/* What jd_tcp_server_run does not do: the signal of a child process. */
static void watch_forked_signal(struct program *program)
{
    if (!program->forked)
        return;
    jd_event_loop_watch_signal(program->loop, program_forked_signal, on_forked_signal, program);
    program_unblock_forked_signal();
}

void program_print_ready(const struct program *program, const jd_endpoint *endpoint)
{
    char text[JD_ENDPOINT_TEXT_BYTES];

    jd_endpoint_format(endpoint, text, sizeof(text));
    printf("listening on %s engine=%s threads=%u\n", text, jd_engine_name(jd_event_loop_engine(program->loop)),
           program->server_options.io_threads);
    fflush(stdout);
}

static void print_all_ready(void *arg)
{
    const struct program *program = arg;
    jd_endpoint endpoint;

    for (size_t i = 0; jd_tcp_server_endpoint(program->server, i, &endpoint) == 0; i++)
        program_print_ready(program, &endpoint);
}

static void print_statistics(const struct program *program)
{
    jd_event_loop_statistics statistics;

    jd_event_loop_get_statistics(program->loop, &statistics);
    printf("turns=%" PRIu64 " sleeps=%" PRIu64 " enters=%" PRIu64 " events=%" PRIu64 " flushes=%" PRIu64
           " bytes_received=%" PRIu64 " receive_pauses=%" PRIu64 " queue_overflows=%" PRIu64 " block_overflows=%" PRIu64
           "\n",
           statistics.turns, statistics.sleeps, statistics.enters, statistics.events, statistics.flushes,
           statistics.bytes_received, statistics.receive_pauses, statistics.queue_overflows,
           statistics.block_overflows);
}

int program_serve(struct program *program)
{
    char text[JD_ENDPOINT_TEXT_BYTES];
    jd_endpoint failed = { 0 };
    int result;

    result = jd_tcp_server_start(program->server, &failed);
    if (result < 0) {
        jd_endpoint_format(&failed, text, sizeof(text));
        program_fail(program, failed.length > 0 ? text : "cannot start the server", result);
    }
    watch_forked_signal(program);
    /* In the loop, when the signals are watched: who reads the line may send one. */
    result = jd_event_loop_queue_in_loop(program->loop, print_all_ready, program);
    if (result == 0)
        result = jd_tcp_server_run(program->server, DRAIN_MS);
    program->server = NULL;
    if (program->prints_statistics)
        print_statistics(program);
    if (program->release != NULL)
        program->release(program);
    jd_event_loop_destroy(program->loop);
    if (result < 0)
        program_fail(program, "the event loop failed", result);
    return 0;
}
