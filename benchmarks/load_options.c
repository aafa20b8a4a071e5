#include "benchmarks/load_options.h"

#include "base/endpoint.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum {
    EXIT_USAGE = 2,
    CONNECTIONS_MAX = 1000000,
    DEPTH_MAX = 65536,
    THREADS_MAX = 256,
    SECONDS_MAX = 86400,
    SOURCES_MAX = 60000,
    OTHER_DESCRIPTORS = 32, /* descriptors besides the connections, with a reserve */
};

static const char help[] =
    "Usage: jd-load [OPTION]... HOST:PORT | [IPV6]:PORT | unix:PATH\n"
    "Generates load for an echo server, verifies every reply, and reports throughput and latency.\n"
    "\n"
    "What each connection does:\n"
    "  --mode=ping-pong       send a message, wait for the complete reply, send the next one (default)\n"
    "  --mode=pipeline        keep --depth messages in flight; replies that arrive together cause one send\n"
    "  --mode=stream          keep the socket's send buffer full, read all replies (no latencies)\n"
    "  --mode=connect         connect, send a message, read the reply, reset the connection, repeat\n"
    "  --requests=N           messages on each connection before it is closed, 1 to 65536; with --mode=connect "
    "(default 1)\n"
    "  --close=reset          end a connection by RST, so that its port is free at once; with --mode=connect "
    "(default)\n"
    "  --close=fin            end it by FIN\n"
    "  --sources=N            connect from N addresses, 127.0.0.2 and those after it, in turn, 1 to 60000: with\n"
    "                         --close=fin each has ports of its own\n"
    "  --mode=idle            exchange one message, then keep the connection open for --seconds\n"
    "  --connections=N        connections open at a time, 1 to 1000000 (default 1)\n"
    "  --depth=N              messages in flight on a connection, 1 to 65536; with --mode=pipeline (default 16)\n"
    "  --rate=R               R messages per second over all connections; with --mode=ping-pong or pipeline. Latency\n"
    "                         then starts at the time at which a message is due, whether it has been sent or not\n"
    "\n"
    "Messages:\n"
    "  --size=BYTES           payload of a message, 0 to 1073741824 (default 64)\n"
    "  --sizes=MIN-MAX        payloads of random sizes from MIN to MAX\n"
    "  --write=BYTES          give send(2) at most BYTES at a time, 1 to 65536 (default 65536)\n"
    "  --seed=N               seed of the sizes and the content (default 1)\n"
    "  --frames               a length field before each payload (default); it does not count in --size\n"
    "  --header-bytes=N       bytes of the length field: 1, 2, 3, 4 or 8 (default 4)\n"
    "  --little-endian        byte order of the length field (default: big-endian)\n"
    "  --no-frames            payloads without length fields\n"
    "  --verify=all           compare every byte of every reply (default)\n"
    "  --verify=sample        compare every byte of each 16th reply, and all length fields\n"
    "  --verify=off           count bytes only\n"
    "\n"
    "Duration:\n"
    "  --seconds=S            measure for S seconds, 0.001 to 86400 (default 5)\n"
    "  --messages=N           stop after N messages if that is earlier\n"
    "  --warmup=S             generate load for S seconds before measuring, 0 to 86400 (default 0)\n"
    "  --timeout=S            stop when no byte has been sent or received for S seconds although replies are missing,\n"
    "                         0.001 to 86400 (default 10)\n"
    "\n"
    "Execution and report:\n"
    "  --threads=N            threads that share the connections, 1 to 256 (default 1)\n"
    "  --spin                 poll for events without sleeping\n"
    "  --server-pid=PID       also report the server's CPU time, in idle mode its memory\n"
    "  --call-counts=FILE     also report the calls that the server counts in FILE (count-calls, for LD_PRELOAD)\n"
    "  --histogram=FILE       write the latencies to FILE in microseconds, in the text form of HdrHistogram\n"
    "  --json                 print one JSON object\n"
    "  --help                 print this text and exit\n"
    "\n"
    "Before measuring, one message is exchanged on each connection, except in stream and connect mode; it is not\n"
    "counted. MB are 10^6 bytes of replies, length fields included. The error of a latency is at most 0.4 %.\n"
    "SIGINT (Ctrl-C) or SIGTERM ends the run early with a report. Exit status: 0 success; 1 a reply was wrong, or a\n"
    "connection failed or was lost; 2 wrong usage.\n";

enum option_code {
    OPTION_MODE = 256,
    OPTION_CONNECTIONS,
    OPTION_DEPTH,
    OPTION_RATE,
    OPTION_SIZE,
    OPTION_SIZES,
    OPTION_SEED,
    OPTION_FRAMES,
    OPTION_HEADER_BYTES,
    OPTION_LITTLE_ENDIAN,
    OPTION_NO_FRAMES,
    OPTION_VERIFY,
    OPTION_SECONDS,
    OPTION_MESSAGES,
    OPTION_WARMUP,
    OPTION_TIMEOUT,
    OPTION_THREADS,
    OPTION_SPIN,
    OPTION_SERVER_PID,
    OPTION_REQUESTS,
    OPTION_CLOSE,
    OPTION_SOURCES,
    OPTION_WRITE,
    OPTION_CALL_COUNTS,
    OPTION_HISTOGRAM,
    OPTION_JSON,
    OPTION_HELP,
};

static const struct option long_options[] = {
    { "mode", required_argument, NULL, OPTION_MODE },
    { "connections", required_argument, NULL, OPTION_CONNECTIONS },
    { "depth", required_argument, NULL, OPTION_DEPTH },
    { "rate", required_argument, NULL, OPTION_RATE },
    { "size", required_argument, NULL, OPTION_SIZE },
    { "sizes", required_argument, NULL, OPTION_SIZES },
    { "seed", required_argument, NULL, OPTION_SEED },
    { "frames", no_argument, NULL, OPTION_FRAMES },
    { "header-bytes", required_argument, NULL, OPTION_HEADER_BYTES },
    { "little-endian", no_argument, NULL, OPTION_LITTLE_ENDIAN },
    { "no-frames", no_argument, NULL, OPTION_NO_FRAMES },
    { "verify", required_argument, NULL, OPTION_VERIFY },
    { "seconds", required_argument, NULL, OPTION_SECONDS },
    { "messages", required_argument, NULL, OPTION_MESSAGES },
    { "warmup", required_argument, NULL, OPTION_WARMUP },
    { "timeout", required_argument, NULL, OPTION_TIMEOUT },
    { "threads", required_argument, NULL, OPTION_THREADS },
    { "spin", no_argument, NULL, OPTION_SPIN },
    { "server-pid", required_argument, NULL, OPTION_SERVER_PID },
    { "requests", required_argument, NULL, OPTION_REQUESTS },
    { "close", required_argument, NULL, OPTION_CLOSE },
    { "sources", required_argument, NULL, OPTION_SOURCES },
    { "write", required_argument, NULL, OPTION_WRITE },
    { "call-counts", required_argument, NULL, OPTION_CALL_COUNTS },
    { "histogram", required_argument, NULL, OPTION_HISTOGRAM },
    { "json", no_argument, NULL, OPTION_JSON },
    { "help", no_argument, NULL, OPTION_HELP },
    { NULL, 0, NULL, 0 },
};

static const char *const mode_names[] = { "ping-pong", "pipeline", "stream", "connect", "idle" };
static const char *const verify_names[] = { "all", "sample", "off" };
static const char *const close_names[] = { "reset", "fin" };

const char *load_mode_name(enum load_mode mode)
{
    return mode_names[mode];
}

static bool refuse(const char *name, const char *value, const char *reason)
{
    fprintf(stderr, "jd-load: --%s '%s': %s; see jd-load --help\n", name, value, reason);
    return false;
}

static bool read_number(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *number)
{
    char reason[80];
    char *end;

    errno = 0;
    *number = strtoull(text, &end, 10);
    if (*text >= '0' && *text <= '9' && *end == '\0' && errno == 0 && *number >= min && *number <= max)
        return true;
    snprintf(reason, sizeof(reason), "must be a whole number from %llu to %llu", (unsigned long long)min,
             (unsigned long long)max);
    return refuse(name, text, reason);
}

static bool read_unsigned(const char *name, const char *text, unsigned min, unsigned max, unsigned *number)
{
    uint64_t wide;

    if (!read_number(name, text, min, max, &wide))
        return false;
    *number = (unsigned)wide;
    return true;
}

static bool read_real(const char *name, const char *text, double min, double max, double *number)
{
    char reason[80];
    char *end;

    *number = strtod(text, &end);
    if (end != text && *end == '\0' && isfinite(*number) && *number >= min && *number <= max)
        return true;
    snprintf(reason, sizeof(reason), "must be a number from %g to %.0f", min, max);
    return refuse(name, text, reason);
}

static bool read_sizes(const char *text, struct message_format *format)
{
    unsigned long min, max;
    int length = 0;

    if (text[strspn(text, "0123456789-")] != '\0' || sscanf(text, "%lu-%lu%n", &min, &max, &length) != 2 ||
        text[length] != '\0' || min > max || max > MESSAGE_PAYLOAD_BYTES_MAX)
        return refuse("sizes", text, "must be MIN-MAX with MIN <= MAX <= 1073741824");
    format->min_bytes = (uint32_t)min;
    format->max_bytes = (uint32_t)max;
    return true;
}

static bool read_name(const char *option, const char *text, const char *const *names, unsigned count, unsigned *index)
{
    char reason[80] = "must be one of:";

    for (unsigned i = 0; i < count; i++) {
        size_t used = strlen(reason);
        if (strcmp(text, names[i]) == 0) {
            *index = i;
            return true;
        }
        snprintf(reason + used, sizeof(reason) - used, "%s %s", i > 0 ? "," : "", names[i]);
    }
    return refuse(option, text, reason);
}

static bool read_header_bytes(const char *text, uint32_t *header_bytes)
{
    if (strlen(text) != 1 || strchr("12348", *text) == NULL)
        return refuse("header-bytes", text, "must be one of: 1, 2, 3, 4, 8");
    *header_bytes = (uint32_t)(*text - '0');
    return true;
}

static bool read_server_pid(const char *text, pid_t *pid)
{
    unsigned number;

    if (!read_unsigned("server-pid", text, 1, 1u << 22, &number))
        return false;
    *pid = (pid_t)number;
    if (kill(*pid, 0) < 0 && errno == ESRCH)
        return refuse("server-pid", text, "no such process");
    return true;
}

static bool read_option(struct load_options *options, int code, const char *text)
{
    struct message_format *format = &options->format;
    unsigned index;

    switch (code) {
    case OPTION_MODE:
        if (!read_name("mode", text, mode_names, 5, &index))
            return false;
        options->mode = (enum load_mode)index;
        return true;
    case OPTION_CONNECTIONS:
        return read_unsigned("connections", text, 1, CONNECTIONS_MAX, &options->connections);
    case OPTION_DEPTH:
        return read_unsigned("depth", text, 1, DEPTH_MAX, &options->depth);
    case OPTION_RATE:
        return read_real("rate", text, 0.001, 1e9, &options->rate);
    case OPTION_SIZE:
        if (!read_unsigned("size", text, 0, MESSAGE_PAYLOAD_BYTES_MAX, &format->min_bytes))
            return false;
        format->max_bytes = format->min_bytes;
        return true;
    case OPTION_SIZES:
        return read_sizes(text, format);
    case OPTION_SEED:
        return read_number("seed", text, 0, UINT64_MAX, &format->seed);
    case OPTION_FRAMES:
        format->header_bytes = format->header_bytes > 0 ? format->header_bytes : 4;
        return true;
    case OPTION_HEADER_BYTES:
        return read_header_bytes(text, &format->header_bytes);
    case OPTION_LITTLE_ENDIAN:
        format->little_endian = true;
        return true;
    case OPTION_NO_FRAMES:
        format->header_bytes = 0;
        return true;
    case OPTION_VERIFY:
        if (!read_name("verify", text, verify_names, 3, &index))
            return false;
        format->verify = (enum message_verify)index;
        return true;
    case OPTION_SECONDS:
        return read_real("seconds", text, 0.001, SECONDS_MAX, &options->seconds);
    case OPTION_MESSAGES:
        return read_number("messages", text, 1, UINT64_MAX / 2, &options->messages);
    case OPTION_WARMUP:
        return read_real("warmup", text, 0, SECONDS_MAX, &options->warmup_seconds);
    case OPTION_TIMEOUT:
        return read_real("timeout", text, 0.001, SECONDS_MAX, &options->timeout_seconds);
    case OPTION_THREADS:
        return read_unsigned("threads", text, 1, THREADS_MAX, &options->threads);
    case OPTION_SPIN:
        options->spin = true;
        return true;
    case OPTION_REQUESTS:
        return read_unsigned("requests", text, 1, DEPTH_MAX, &options->requests);
    case OPTION_CLOSE:
        if (!read_name("close", text, close_names, 2, &index))
            return false;
        options->close_by_fin = index == 1;
        return true;
    case OPTION_SOURCES:
        return read_unsigned("sources", text, 1, SOURCES_MAX, &options->sources);
    case OPTION_WRITE:
        return read_unsigned("write", text, 1, WRITE_BYTES_MAX, &options->write_bytes);
    case OPTION_CALL_COUNTS:
        options->call_counts = text;
        return true;
    case OPTION_HISTOGRAM:
        options->histogram = text;
        return true;
    case OPTION_SERVER_PID:
        return read_server_pid(text, &options->server_pid);
    case OPTION_JSON:
        options->json = true;
        return true;
    default: /* getopt_long(3) has printed the error */
        return false;
    }
}

static bool refuse_number(const char *name, double value, const char *reason)
{
    char text[32];

    snprintf(text, sizeof(text), "%.15g", value);
    return refuse(name, text, reason);
}

/* Raises the soft limit of descriptors to the hard limit; each connection needs one. */
static bool has_descriptors(unsigned connections)
{
    struct rlimit limit;
    char reason[80];

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (connections + OTHER_DESCRIPTORS <= limit.rlim_max)
        return true;
    snprintf(reason, sizeof(reason), "a process may open only %llu descriptors on this system",
             (unsigned long long)limit.rlim_max);
    return refuse_number("connections", connections, reason);
}

static bool fits_together(struct load_options *options, bool depth_given)
{
    const struct message_format *format = &options->format;

    if (depth_given && options->mode != LOAD_PIPELINE)
        return refuse_number("depth", options->depth, "needs --mode=pipeline");
    if (options->mode != LOAD_PIPELINE)
        options->depth = 1;
    if (options->rate > 0 && options->mode != LOAD_PING_PONG && options->mode != LOAD_PIPELINE)
        return refuse_number("rate", options->rate, "needs --mode=ping-pong or --mode=pipeline");
    if (options->messages > 0 && options->mode == LOAD_IDLE)
        return refuse_number("messages", (double)options->messages,
                             "not allowed with --mode=idle, which exchanges one on each connection");
    if (options->mode != LOAD_CONNECT && options->requests > 1)
        return refuse_number("requests", options->requests, "needs --mode=connect");
    if (options->mode != LOAD_CONNECT && options->close_by_fin)
        return refuse("close", "fin", "needs --mode=connect");
    if (options->sources > 0 && endpoint_sockaddr(&options->server)->sa_family != AF_INET)
        return refuse_number("sources", options->sources, "needs a server at an IPv4 address");
    if (options->call_counts != NULL && options->server_pid == 0)
        return refuse("call-counts", options->call_counts, "needs --server-pid");
    if (options->threads > options->connections)
        return refuse_number("threads", options->threads, "must not be more than --connections");
    if (format->header_bytes == 0 && format->min_bytes == 0)
        return refuse_number("size", 0, "must be at least 1 with --no-frames");
    if (format->header_bytes > 0 && format->header_bytes < 4 && format->max_bytes >> (8 * format->header_bytes) != 0)
        return refuse_number("size", format->max_bytes, "does not fit into a length field of --header-bytes bytes");
    return has_descriptors(options->connections);
}

static bool read_server(struct load_options *options, int argc, char **argv)
{
    const char *reason = "invalid endpoint";

    if (argc != 1) {
        fprintf(stderr, "jd-load: %s; see jd-load --help\n",
                argc == 0 ? "the server's endpoint is missing" : "more than one endpoint given");
        return false;
    }
    options->server_text = argv[0];
    if (jd_endpoint_parse(&options->server, argv[0], &reason) == 0)
        return true;
    fprintf(stderr, "jd-load: server '%s': %s; see jd-load --help\n", argv[0], reason);
    return false;
}

int load_options_parse(struct load_options *options, int argc, char **argv)
{
    static char program_name[] = "jd-load";
    bool depth_given = false;
    int code;

    *options = (struct load_options){
        .mode = LOAD_PING_PONG,
        .connections = 1,
        .depth = 16,
        .threads = 1,
        .requests = 1,
        .write_bytes = WRITE_BYTES_MAX,
        .format = { .seed = 1, .min_bytes = 64, .max_bytes = 64, .header_bytes = 4, .verify = VERIFY_ALL },
        .seconds = 5,
        .timeout_seconds = 10,
    };
    argv[0] = program_name; /* the prefix of the messages of getopt_long */
    while ((code = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (code == OPTION_HELP) {
            fputs(help, stdout);
            return EXIT_SUCCESS;
        }
        depth_given |= code == OPTION_DEPTH;
        if (!read_option(options, code, optarg))
            return EXIT_USAGE;
    }
    if (!read_server(options, argc - optind, argv + optind) || !fits_together(options, depth_given))
        return EXIT_USAGE;
    return -1;
}
