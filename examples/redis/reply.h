/* The answers of the redis protocol (RESP2). A connection that cannot take an answer is closed: it would get the next one in its
 * place. All functions must be called in the connection's loop. */
#ifndef EXAMPLES_REDIS_REPLY_H
#define EXAMPLES_REDIS_REPLY_H

#include "examples/redis/keyspace.h"

/* "+OK\r\n", ":1\r\n" and the like: a string literal that is a whole answer. */
#define REPLY(connection, answer) reply_bytes(connection, answer, sizeof(answer) - 1)
void reply_bytes(jd_tcp_connection *connection, const void *answer, size_t length);

#define REPLY_OK(connection)   REPLY(connection, "+OK\r\n")
#define REPLY_NULL(connection) REPLY(connection, "$-1\r\n")
void reply_number(jd_tcp_connection *connection, int64_t number);
void reply_array(jd_tcp_connection *connection, size_t count); /* its elements follow */
void reply_bulk(jd_tcp_connection *connection, struct text text);
void reply_word(jd_tcp_connection *connection, const char *word); /* a bulk string */
void reply_status(jd_tcp_connection *connection, const char *word);

/* Answers with a value, and returns its reference, if it is shared: a long value is sent without a copy. */
void reply_value(jd_tcp_connection *connection, struct value *value);

/* Answers "-MESSAGE\r\n". Line ends in the message become spaces. */
void reply_error(jd_tcp_connection *connection, const char *format, ...) JD_PRINTF(2, 3);

/* The errors of more than one command. */
void reply_not_a_number(jd_tcp_connection *connection);
void reply_syntax_error(jd_tcp_connection *connection);
void reply_wrong_count(jd_tcp_connection *connection, const char *command);

/* Answers with an error of the keyspace. */
void reply_keyspace_error(jd_tcp_connection *connection, int error);

#endif
