/* A client of jd-redis on hiredis, the C library of redis. Arguments: host, port. Prints what differs from what redis would answer,
 * and exits with 1 then. */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

static void check(const char *what, const redisReply *reply, int type, long long number, const char *text)
{
    if (reply != NULL && reply->type == type &&
        (type == REDIS_REPLY_INTEGER ? reply->integer == number
                                     : text == NULL || (reply->str != NULL && strcmp(reply->str, text) == 0)))
        return;
    failures++;
    printf("%s: %s\n", what, reply == NULL ? "no reply" : reply->str != NULL ? reply->str : "another type or number");
}

static void take(redisContext *context, const char *what, int type, long long number, const char *text)
{
    void *reply = NULL;

    if (redisGetReply(context, &reply) != REDIS_OK)
        printf("%s: %s\n", what, context->errstr);
    check(what, reply, type, number, text);
    freeReplyObject(reply);
}

static void one_by_one(redisContext *context)
{
    redisAppendCommand(context, "PING");
    take(context, "ping", REDIS_REPLY_STATUS, 0, "PONG");
    redisAppendCommand(context, "SET %s %b", "key", "a\0b\r\n", (size_t)5);
    take(context, "set", REDIS_REPLY_STATUS, 0, "OK");
    redisAppendCommand(context, "STRLEN key");
    take(context, "length", REDIS_REPLY_INTEGER, 5, NULL);
    redisAppendCommand(context, "GET none");
    take(context, "nothing", REDIS_REPLY_NIL, 0, NULL);
    redisAppendCommand(context, "INCR key");
    take(context, "error", REDIS_REPLY_ERROR, 0, "ERR value is not an integer or out of range");
}

static void pipelined(redisContext *context)
{
    enum { COMMANDS = 20000 };

    for (int i = 0; i < COMMANDS; i++)
        redisAppendCommand(context, "INCR counter");
    for (long long i = 1; i <= COMMANDS && failures == 0; i++)
        take(context, "pipelined", REDIS_REPLY_INTEGER, i, NULL);
}

static void large(redisContext *context)
{
    enum { BYTES = 10 << 20 };
    char *value = malloc(BYTES);
    void *reply = NULL;

    memset(value, 'v', BYTES);
    redisAppendCommand(context, "SET large %b", value, (size_t)BYTES);
    redisAppendCommand(context, "GET large");
    take(context, "set large", REDIS_REPLY_STATUS, 0, "OK");
    if (redisGetReply(context, &reply) != REDIS_OK || ((redisReply *)reply)->len != BYTES ||
        memcmp(((redisReply *)reply)->str, value, BYTES) != 0) {
        failures++;
        printf("get large: another value\n");
    }
    freeReplyObject(reply);
    free(value);
}

static void subscribed(redisContext *subscriber, redisContext *publisher)
{
    redisReply *reply = redisCommand(subscriber, "SUBSCRIBE news");
    void *message = NULL;

    check("subscribe", reply, REDIS_REPLY_ARRAY, 0, NULL);
    freeReplyObject(reply);
    reply = redisCommand(publisher, "PUBLISH news hello");
    check("publish", reply, REDIS_REPLY_INTEGER, 1, NULL);
    freeReplyObject(reply);
    if (redisGetReply(subscriber, &message) != REDIS_OK || ((redisReply *)message)->elements != 3 ||
        strcmp(((redisReply *)message)->element[2]->str, "hello") != 0) {
        failures++;
        printf("message: another one\n");
    }
    freeReplyObject(message);
}

int main(int argc, char **argv)
{
    redisContext *context, *second;

    if (argc != 3)
        return 2;
    context = redisConnect(argv[1], atoi(argv[2]));
    second = redisConnect(argv[1], atoi(argv[2]));
    if (context == NULL || context->err != 0 || second == NULL || second->err != 0) {
        printf("cannot connect\n");
        return 1;
    }
    one_by_one(context);
    pipelined(context);
    large(context);
    subscribed(second, context);
    redisFree(second);
    redisFree(context);
    return failures > 0;
}
