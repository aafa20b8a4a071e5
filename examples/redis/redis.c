/* jd-redis: a server that speaks the protocol of redis (RESP2), for the usual commands on strings. Shows a codec of the program's
 * own (request.c), data that all loops share (keyspace.c), values that are sent without a copy (reply.c), and messages from one
 * loop's connections to those of others (pubsub.c). It keeps everything in memory, and nothing when it ends. */
#include "examples/program.h"
#include "examples/redis/command.h"
#include "examples/redis/table.h"

#include <stdio.h>
#include <stdlib.h>

enum { OPTION_MAX_MEMORY = 1, OPTION_MAX_BULK, OPTION_IDLE_SECONDS, OPTION_KEEPALIVE_SECONDS };

enum { EXPIRE_INTERVAL_MS = 100, MILLISECOND = 1000000, KEEPALIVE_DEFAULT_S = 300 };

#define BULK_DEFAULT_BYTES (512ULL << 20)
#define BULK_MAX_BYTES     (1ULL << 30)
#define OUTPUT_LIMIT_BYTES (4ULL << 30) /* all long values of an MGET: references are queued; short values are copied */

/* jemalloc reads this when the program begins (jemalloc(3), TUNING). Commands find their keys all over the memory: with huge pages
 * the processor knows more of it by address. redis-server avoids them, as it copies its pages after a fork; this never forks. */
const char *malloc_conf = "thp:always";

static struct request *request_of(jd_tcp_connection *connection)
{
    return &session_of(connection)->request;
}

static void session_free(void *context)
{
    struct session *session = context;

    request_clear(&session->request);
    free(session);
}

static void on_up(jd_tcp_connection *connection)
{
    struct session *session = calloc(1, sizeof(*session));

    if (session == NULL) {
        jd_tcp_connection_close(connection);
        return;
    }
    subscriber_init(&session->subscriber, connection);
    jd_tcp_connection_set_context(connection, session, session_free);
}

static void on_connection(jd_tcp_connection *connection, void *arg)
{
    struct session *session = session_of(connection);
    struct redis *redis = arg;

    if (jd_tcp_connection_is_connected(connection))
        on_up(connection);
    else if (session != NULL)
        while (session->subscriber.count > 0)
            pubsub_unsubscribe(redis->pubsub, &session->subscriber, pubsub_first(&session->subscriber));
}

/* The codec has left the request's arguments in the connection's context. */
static void on_request(jd_tcp_connection *connection, const void *data, size_t length, jd_timestamp received, void *arg)
{
    struct request *request = request_of(connection);

    if (request->count > 0)
        command_run(arg, connection, request, received);
    request_clear(request);
}

/* The answer to what is no request; then the connection closes. */
static void on_bad_request(jd_tcp_connection *connection, const jd_frame_error *error, void *arg)
{
    if (error->reason == request_expected_dollar)
        reply_error(connection, "ERR Protocol error: %s, got '%c'", error->reason, (int)error->claimed_bytes);
    else
        reply_error(connection, "ERR Protocol error: %s", error->reason);
    jd_tcp_connection_close_after_output(connection, 0);
}

static void expire_some(void *arg)
{
    struct program *program = arg;
    struct redis *redis = program->extension;

    keyspace_expire_some(redis->keyspace, jd_event_loop_now(program->loop) / MILLISECOND);
}

static void print_help(void)
{
    printf("Usage: jd-redis [OPTION]...\n"
           "Serves the protocol of redis (RESP2) until SIGINT or SIGTERM, and keeps the keys in memory. Try it with "
           "redis-cli.\n"
           "Commands: APPEND COMMAND CONFIG GET DBSIZE DECR DECRBY DEL ECHO EXISTS EXPIRE FLUSHALL GET INCR INCRBY "
           "INFO MGET\n"
           "MSET PEXPIRE PING PTTL PUBLISH QUIT SELECT SET (EX PX NX XX KEEPTTL) STRLEN SUBSCRIBE TTL UNSUBSCRIBE.\n"
           "Processes would not share keys: --processes is refused.\n\n"
           "      --max-memory BYTES    maximum of keys and values; at more, commands that need memory are refused;\n"
           "                            0: no limit (default 0)\n"
           "      --max-bulk BYTES      maximum of one argument, such as a value, 1024 to 1073741824 (default "
           "536870912); a\n"
           "                            request may have twice as many bytes\n"
           "      --idle-seconds S      close a connection on which nothing happens so long, unless it is a "
           "subscriber, 1 to\n"
           "                            86400; 0: never (default 0)\n"
           "      --keepalive-seconds S ask the system of a silent client so often whether it is still there, 1 to "
           "32767; 0:\n"
           "                            never (default 300)\n%s",
           program_common_help);
}

static void read_options(struct program *program, struct redis *redis, int argc, char **argv)
{
    static const struct option options[] = { PROGRAM_LONG_OPTIONS,
                                             { "max-memory", required_argument, NULL, OPTION_MAX_MEMORY },
                                             { "max-bulk", required_argument, NULL, OPTION_MAX_BULK },
                                             { "idle-seconds", required_argument, NULL, OPTION_IDLE_SECONDS },
                                             { "keepalive-seconds", required_argument, NULL, OPTION_KEEPALIVE_SECONDS },
                                             { 0 } };
    enum { BULK_MIN_BYTES = 1024, IDLE_MAX_S = 86400, KEEPALIVE_MAX_S = 32767 };
    int option;

    while ((option = program_next_option(program, argc, argv, options)) != -1) {
        switch (option) {
        case 'h':
            print_help();
            exit(0);
        case OPTION_MAX_MEMORY:
            redis->memory_max = program_number(program, "--max-memory", optarg, 0, SIZE_MAX / 2);
            break;
        case OPTION_MAX_BULK:
            redis->bulk_max = program_number(program, "--max-bulk", optarg, BULK_MIN_BYTES, BULK_MAX_BYTES);
            break;
        case OPTION_IDLE_SECONDS:
            redis->idle_s = (uint32_t)program_number(program, "--idle-seconds", optarg, 0, IDLE_MAX_S);
            break;
        case OPTION_KEEPALIVE_SECONDS:
            redis->keepalive_s = (uint32_t)program_number(program, "--keepalive-seconds", optarg, 0, KEEPALIVE_MAX_S);
            break;
        default:
            program_option(program, option, optarg);
        }
    }
    /* Each process would have keys of its own. */
    if (program->processes > 1)
        program_usage_error(program,
                            "--processes '%u': must be 1, because processes do not share their keys; use --threads",
                            program->processes);
}

/* How connections end whose client is silent, or gone. The times between probes are those of redis. */
static void set_timeouts(jd_tcp_server_options *options, const struct redis *redis)
{
    enum { MS_PER_S = 1000, PROBES = 3 };
    uint32_t interval = redis->keepalive_s / PROBES;

    options->idle_timeout_ms = redis->idle_s * MS_PER_S;
    if (redis->keepalive_s == 0)
        return;
    options->keepalive = true;
    options->keepalive_idle_s = redis->keepalive_s;
    options->keepalive_interval_s = interval > 0 ? interval : 1;
    options->keepalive_count = PROBES;
}

static void require_memory(const struct program *program, const void *memory)
{
    if (memory == NULL)
        program_fail(program, "cannot begin", JD_ENOMEM);
}

int main(int argc, char **argv)
{
    struct redis redis = { .bulk_max = BULK_DEFAULT_BYTES, .keepalive_s = KEEPALIVE_DEFAULT_S };
    struct program program = { .name = "jd-redis", .server_options.name = "jd-redis", .extension = &redis };
    jd_codec *codec = NULL;
    int result;

    program.server_options.output_limit = OUTPUT_LIMIT_BYTES;
    read_options(&program, &redis, argc, argv);
    set_timeouts(&program.server_options, &redis);
    table_hash_begin();
    command_begin();
    redis.keyspace = keyspace_create(redis.memory_max, redis.bulk_max);
    redis.pubsub = pubsub_create();
    require_memory(&program, redis.keyspace);
    require_memory(&program, redis.pubsub);
    redis.codec_options = (struct request_codec){ .of_connection = request_of, .bulk_max = redis.bulk_max };
    result = request_codec_create(&codec, &redis.codec_options);
    if (result < 0)
        program_fail(&program, "codec", result);

    program_prepare(&program);
    redis.server = program.server;
    redis.started = jd_event_loop_now(program.loop);
    jd_tcp_server_set_connection_callback(program.server, on_connection, &redis);
    jd_tcp_server_set_codec(program.server, codec, on_request, &redis);
    jd_tcp_server_set_frame_error_callback(program.server, on_bad_request, &redis);
    result = jd_event_loop_run_every(program.loop, EXPIRE_INTERVAL_MS, expire_some, &program, NULL);
    if (result < 0)
        program_fail(&program, "timer", result);
    result = program_serve(&program);
    jd_codec_destroy(codec);
    pubsub_destroy(redis.pubsub);
    keyspace_destroy(redis.keyspace);
    return result;
}
