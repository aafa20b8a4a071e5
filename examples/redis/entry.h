/* A key with its value, as the keyspace stores it: one piece of memory, and a second one for a long value. */
#ifndef EXAMPLES_REDIS_ENTRY_H
#define EXAMPLES_REDIS_ENTRY_H

#include "examples/redis/keyspace.h"
#include "examples/redis/table.h"

struct entry {
    struct node node;
    int64_t expires;   /* 0: never */
    size_t length;     /* of the value */
    jd_shared *shared; /* a long value, perhaps with room behind it; NULL: it is short, and lies behind the key */
    uint32_t key_length;
    uint32_t room; /* for a short value */
    char key[];
};

/* Creates an entry of a key and a value, with room for a value of room bytes, at least the value's length. NULL: there is no
 * memory. */
struct entry *entry_create(struct text key, uint64_t hash, struct text value, size_t room);
void entry_free(struct entry *entry);

/* Returns the memory of an entry, or of one that entry_create would make. */
size_t entry_memory(const struct entry *entry);
size_t entry_memory_for(size_t key_length, size_t room);

/* Returns the value's bytes. */
char *entry_value(const struct entry *entry);

/* Returns the longest value for which the entry has room. */
size_t entry_room(const struct entry *entry);

/* Overwrites the value, for which the entry has room. A long value must not be overwritten: connections may be sending it. */
void entry_write(struct entry *entry, struct text value);

/* Appends to the value, for which the entry has room. Also to a long one: what connections send of it does not change. */
void entry_append(struct entry *entry, struct text more);

#endif
