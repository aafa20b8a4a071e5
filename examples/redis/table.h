/* A hash table of nodes that its user allocates: the node is the first member of the user's struct. Not locked. */
#ifndef EXAMPLES_REDIS_TABLE_H
#define EXAMPLES_REDIS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct node {
    struct node *next;
    uint64_t hash;
};

/* All zero: an empty table without memory. */
struct table {
    struct node **buckets; /* a power of two */
    size_t bucket_count, count;
};

/* Returns whether the node is the one that is looked for; its hash is equal. */
typedef bool (*table_match)(const struct node *node, const void *key);

/* Returns where the pointer to the node is kept, or NULL if there is none. The result is valid until the table changes. */
struct node **table_find(const struct table *table, uint64_t hash, table_match match, const void *key);

/* Adds a node that is not in the table. Returns false if there is no memory for it: only an empty table needs some. */
bool table_add(struct table *table, struct node *node);

/* Takes the node out that table_find has found. */
struct node *table_remove(struct table *table, struct node **at);

/* Puts a node of the same hash in the place of the one that table_find has found. Returns that one. */
struct node *table_replace(struct node **at, struct node *node);

/* Frees the table's own memory; its nodes are the user's. */
void table_free(struct table *table);

/* A hash that peers cannot foresee, so that they cannot choose keys that meet in one bucket: SipHash-1-3, with a key that is new
 * in each process. table_hash_begin makes the key; call it once, before any thread. */
void table_hash_begin(void);
uint64_t table_hash(const void *data, size_t length);

#endif
