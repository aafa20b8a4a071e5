#include "benchmarks/load_options.h"

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
    OTHER_DESCRIPTORS = 32, /* what the program has open beside its connections, with room */
};

static const char help[] =
    "Usage: jd-load [OPTION]... HOST:PORT | [IPV6]:PORT | unix:PATH\n"
    "Puts load on a server that sends back what it gets, checks every reply, and reports.\n"
    "\n"
    "What is done on each connection:\n"
    "  --mode=ping-pong       send a message, wait for the whole reply, send the next (default)\n"
    "  --mode=pipeline        keep --depth messages in flight; one send for all that replies made room for\n"
    "  --mode=stream          keep the pipe full, read all that comes back (no latencies)\n"
    "  --mode=connect         connect, send a message, read the reply, reset the connection; and again\n"
    "  --mode=idle            exchange one message, then hold the connection for --seconds\n"
    "  --connections=N        connections open at a time (default 1)\n"
    "  --depth=N              messages in flight on a connection, for pipeline (default 16)\n"
    "  --rate=R               R messages a second over all connections, in ping-pong and pipeline; latency is then\n"
    "                         counted from the time at which a message was due, sent or not\n"
    "\n"
    "Messages:\n"
    "  --size=BYTES           payload of a message (default 64)\n"
    "  --sizes=MIN-MAX        payloads of mixed sizes, drawn at random\n"
    "  --seed=N               of the sizes and of the content (default 1)\n"
    "  --frames               a length field in front of each payload (default), not counted in --size\n"
    "  --header-bytes=N       bytes of the length field: 1, 2, 3, 4, 8 (default 4)\n"
    "  --little-endian        byte order of the length field (default: big-endian)\n"
    "  --no-frames            payloads only\n"
    "  --verify=all           compare every byte of every reply (default)\n"
    "  --verify=sample        every byte of each 16th reply, and all length fields\n"
    "  --verify=off           count bytes only\n"
    "\n"
    "How long:\n"
    "  --seconds=S            measure for so long (default 5)\n"
    "  --messages=N           end after N messages, if that is earlier\n"
    "  --warmup=S             run for so long before measuring (default 0)\n"
    "  --timeout=S            give up when nothing has moved for so long (default 10)\n"
    "\n"
    "How:\n"
    "  --threads=N            share the connections among N threads (default 1)\n"
    "  --spin                 never sleep while waiting for events\n"
    "  --server-pid=PID       report what the server used as well: CPU time, in idle mode memory\n"
    "  --json                 print one JSON object\n"
    "  --help                 this text\n"
    "\n"
    "Before it measures, it exchanges one message on each connection (but for stream and connect); those are not\n"
    "counted. MB are 10^6 bytes of replies, length fields included. A latency is at most 0.4 % off. Ctrl-C ends the "
    "run\n"
    "early and reports. Exit status: 0, 1 when a reply was wrong or a connection failed or was lost, 2 for wrong "
    "usage.\n";

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
    { "json", no_argument, NULL, OPTION_JSON },
    { "help", no_argument, NULL, OPTION_HELP },
    { NULL, 0, NULL, 0 },
};

static const char *const mode_names[] = { "ping-pong", "pipeline", "stream", "connect", "idle" };
static const char *const verify_names[] = { "all", "sample", "off" };

const char *load_mode_name(enum load_mode mode)
{
    return mode_names[mode];
}

static bool refuse(const char *name, const char *value, const char *reason)
{
    fprintf(stderr, "jd-load: --%s %s: %s\n", name, value, reason);
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
    snprintf(reason, sizeof(reason), "not a number from %llu to %llu", (unsigned long long)min,
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
    snprintf(reason, sizeof(reason), "not a number from %g to %.0f", min, max);
    return refuse(name, text, reason);
}

static bool read_sizes(const char *text, struct message_format *format)
{
    unsigned long min, max;
    int length = 0;

    if (text[strspn(text, "0123456789-")] != '\0' || sscanf(text, "%lu-%lu%n", &min, &max, &length) != 2 ||
        text[length] != '\0' || min > max || max > MESSAGE_PAYLOAD_BYTES_MAX)
        return refuse("sizes", text, "not MIN-MAX with MIN <= MAX <= 1073741824");
    format->min_bytes = (uint32_t)min;
    format->max_bytes = (uint32_t)max;
    return true;
}

static bool read_name(const char *option, const char *text, const char *const *names, unsigned count, unsigned *index)
{
    char reason[80] = "not one of:";

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
        return refuse("header-bytes", text, "not one of: 1, 2, 3, 4, 8");
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
    case OPTION_SERVER_PID:
        return read_server_pid(text, &options->server_pid);
    case OPTION_JSON:
        options->json = true;
        return true;
    default: /* getopt_long(3) has said what is wrong */
        return false;
    }
}

static bool complain(const char *name, double value, const char *reason)
{
    char text[32];

    snprintf(text, sizeof(text), "%.15g", value);
    return refuse(name, text, reason);
}

/* Raises the limit of descriptors as far as it goes: each connection is one. */
static bool has_descriptors(unsigned connections)
{
    struct rlimit limit;
    char reason[80];

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (connections + OTHER_DESCRIPTORS <= limit.rlim_max)
        return true;
    snprintf(reason, sizeof(reason), "more than the %llu descriptors a process may have here allow",
             (unsigned long long)limit.rlim_max);
    return complain("connections", connections, reason);
}

static bool fits_together(struct load_options *options, bool depth_given)
{
    const struct message_format *format = &options->format;

    if (depth_given && options->mode != LOAD_PIPELINE)
        return complain("depth", options->depth, "only with --mode pipeline");
    if (options->mode != LOAD_PIPELINE)
        options->depth = 1;
    if (options->rate > 0 && options->mode != LOAD_PING_PONG && options->mode != LOAD_PIPELINE)
        return complain("rate", options->rate, "only with --mode ping-pong or pipeline");
    if (options->messages > 0 && options->mode == LOAD_IDLE)
        return complain("messages", (double)options->messages,
                        "not with --mode idle, which exchanges one on each connection");
    if (options->threads > options->connections)
        return complain("threads", options->threads, "more than --connections");
    if (format->header_bytes == 0 && format->min_bytes == 0)
        return complain("size", 0, "a message without frame has at least 1 byte");
    if (format->header_bytes > 0 && format->header_bytes < 4 && format->max_bytes >> (8 * format->header_bytes) != 0)
        return complain("size", format->max_bytes, "does not fit into a length field of --header-bytes");
    return has_descriptors(options->connections);
}

static bool read_server(struct load_options *options, int argc, char **argv)
{
    const char *reason = "not an endpoint";

    if (argc != 1) {
        fprintf(stderr, "jd-load: %s; try --help\n", argc == 0 ? "no server named" : "more than one server named");
        return false;
    }
    options->server_text = argv[0];
    if (jd_endpoint_parse(&options->server, argv[0], &reason) == 0)
        return true;
    fprintf(stderr, "jd-load: server %s: %s\n", argv[0], reason);
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
        .format = { .seed = 1, .min_bytes = 64, .max_bytes = 64, .header_bytes = 4, .verify = VERIFY_ALL },
        .seconds = 5,
        .timeout_seconds = 10,
    };
    argv[0] = program_name; /* what getopt_long begins its messages with */
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
