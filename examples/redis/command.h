/* The commands of jd-redis. Each is a function that reads its arguments and answers. */
#ifndef EXAMPLES_REDIS_COMMAND_H
#define EXAMPLES_REDIS_COMMAND_H

#include "examples/redis/reply.h"
#include "examples/redis/session.h"

struct redis {
    struct keyspace *keyspace;
    struct pubsub *pubsub;
    jd_tcp_server *server;
    size_t memory_max; /* 0: none */
    size_t bulk_max;
    uint32_t idle_s;      /* 0: never */
    uint32_t keepalive_s; /* 0: never */
    jd_timestamp started;
    struct request_codec codec_options;
};

/* One call of a command. */
struct call {
    struct redis *redis;
    jd_tcp_connection *connection;
    struct session *session;
    const struct request *request;
    const struct command *command;
    int64_t now; /* milliseconds */
};

struct command {
    const char *name;
    void (*run)(const struct call *call);
    /* As COMMAND reports them: how many arguments with the name, negative: at least; flags; where the keys are. */
    int arity;
    const char *flags;
    int first_key, last_key, key_step;
    bool when_subscribed; /* also allowed to a subscriber */
};

/* All commands, up to one without a name. */
extern const struct command commands[];

/* Prepares command_find; call it once, before any thread. */
void command_begin(void);

/* Returns the command of that name, or NULL. */
const struct command *command_find(struct text name);

/* Carries out a request that is not empty. */
void command_run(struct redis *redis, jd_tcp_connection *connection, const struct request *request, jd_timestamp now);

/* command_keys.c */
void command_get(const struct call *call);
void command_set(const struct call *call);
void command_del(const struct call *call);
void command_exists(const struct call *call);
void command_incr(const struct call *call);
void command_decr(const struct call *call);
void command_incrby(const struct call *call);
void command_decrby(const struct call *call);
void command_append(const struct call *call);
void command_strlen(const struct call *call);
void command_mset(const struct call *call);
void command_mget(const struct call *call);
void command_expire(const struct call *call);
void command_pexpire(const struct call *call);
void command_ttl(const struct call *call);
void command_pttl(const struct call *call);
void command_flushall(const struct call *call);
void command_dbsize(const struct call *call);

/* command_server.c */
void command_ping(const struct call *call);
void command_echo(const struct call *call);
void command_select(const struct call *call);
void command_quit(const struct call *call);
void command_info(const struct call *call);
void command_config(const struct call *call);
void command_command(const struct call *call);

/* command_pubsub.c */
void command_publish(const struct call *call);
void command_subscribe(const struct call *call);
void command_unsubscribe(const struct call *call);

static inline struct text call_argument(const struct call *call, uint32_t index)
{
    return request_argument(call->request, index);
}

#endif
