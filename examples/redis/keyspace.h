/* The keys and their values: one keyspace for all loops. It consists of shards, each with a lock, so that loops seldom wait for
 * each other. A function works on one key and is atomic; a command with several keys (MSET) is several calls, and other
 * connections may see the keys that it has set so far.
 *
 * A short value lies behind its key; a long one is a jd_shared, which connections send without a copy while the key may be changed,
 * deleted or expired. All functions may be called from any thread. now: milliseconds of the clock by which keys expire. */
#ifndef EXAMPLES_REDIS_KEYSPACE_H
#define EXAMPLES_REDIS_KEYSPACE_H

#include "examples/redis/request.h"

enum {
    VALUE_SHORT_BYTES = 1024, /* a value of so many bytes is copied */
    VALUE_ROOM_BYTES = 24,    /* around a copied value: for what the protocol puts in front of it and behind it */
};

struct keyspace;

/* Creates an empty keyspace. memory_max: bytes of keys and values with their headers, without the tables in which they are
 * found; 0: no limit. value_max: bytes of one value. Returns NULL if there is no memory. */
struct keyspace *keyspace_create(size_t memory_max, size_t value_max);
void keyspace_destroy(struct keyspace *keyspace);

/* A value that was read. A short one is copied to bytes + VALUE_ROOM_BYTES; a long one is shared, and the caller returns the
 * reference. */
struct value {
    jd_shared *shared; /* NULL: short */
    size_t length;
    char bytes[VALUE_ROOM_BYTES + VALUE_SHORT_BYTES + VALUE_ROOM_BYTES];
};

/* Reads a value. Returns whether the key exists. */
bool keyspace_get(struct keyspace *keyspace, struct text key, int64_t now, struct value *value);
bool keyspace_exists(struct keyspace *keyspace, struct text key, int64_t now);

enum keyspace_condition { KEYSPACE_ALWAYS, KEYSPACE_IF_ABSENT, KEYSPACE_IF_PRESENT };

/* Sets a value. expires: when, by the clock of now; 0: never; KEYSPACE_KEEP_EXPIRY: as before. Returns 1; 0: the condition is not
 * met; JD_ENOMEM; JD_ENOBUFS: above memory_max. After 0 or an error nothing has changed. */
#define KEYSPACE_KEEP_EXPIRY INT64_MIN
int keyspace_set(struct keyspace *keyspace, struct text key, struct text value, int64_t now, int64_t expires,
                 enum keyspace_condition condition);

/* Deletes a key. Returns whether it existed. */
bool keyspace_delete(struct keyspace *keyspace, struct text key, int64_t now);

/* Adds to the number that is the value, or to 0. Returns 1 and sets *number to the result; JD_EINVAL: the value is no number;
 * JD_ERANGE: the result has more than 64 bits; JD_ENOMEM, JD_ENOBUFS. */
int keyspace_add(struct keyspace *keyspace, struct text key, int64_t now, int64_t *number);

/* Appends to the value, or to nothing. Returns 1 and sets *length to the length of the result; JD_EMSGSIZE: longer than value_max;
 * JD_ENOMEM, JD_ENOBUFS. */
int keyspace_append(struct keyspace *keyspace, struct text key, struct text more, int64_t now, size_t *length);

/* Sets when the key expires; in the past: the key is deleted. Returns whether it existed. */
bool keyspace_expire(struct keyspace *keyspace, struct text key, int64_t now, int64_t expires);

/* Returns the milliseconds that the key has left; -1: it does not expire; -2: there is none. */
int64_t keyspace_time_left(struct keyspace *keyspace, struct text key, int64_t now);

/* Deletes all keys. */
void keyspace_flush(struct keyspace *keyspace);

/* Deletes expired keys that nobody has asked for: the next part of the keyspace, in about a millisecond; and further parts, up to
 * 16, while it finds many. */
void keyspace_expire_some(struct keyspace *keyspace, int64_t now);

struct keyspace_statistics {
    size_t keys, expiring, memory;
};

void keyspace_get_statistics(struct keyspace *keyspace, struct keyspace_statistics *statistics);

/* Returns whether text is a number of 64 bits as redis writes it, and sets *number. */
bool number_parse(struct text text, int64_t *number);

#endif
