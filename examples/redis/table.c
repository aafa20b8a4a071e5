#include "examples/redis/table.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- the hash: https://www.aumasson.jp/siphash/siphash.pdf ---- */

static uint64_t hash_key[2];

void table_hash_begin(void)
{
    if (getentropy(hash_key, sizeof(hash_key)) < 0)
        abort();
}

static inline uint64_t rotate(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static inline void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

uint64_t table_hash(const void *data, size_t length)
{
    uint64_t v[4] = { hash_key[0] ^ 0x736f6d6570736575, hash_key[1] ^ 0x646f72616e646f6d,
                      hash_key[0] ^ 0x6c7967656e657261, hash_key[1] ^ 0x7465646279746573 };
    const char *at = data;
    size_t left = length;
    uint64_t word;

    for (; left >= sizeof(word); at += sizeof(word), left -= sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        sip_word(v, word);
    }
    word = 0;
    memcpy(&word, at, left);
    sip_word(v, word | (uint64_t)length << 56);
    v[2] ^= 0xff;
    sip_round(v);
    sip_round(v);
    sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* ---- the table ---- */

struct node **table_find(const struct table *table, uint64_t hash, table_match match, const void *key)
{
    struct node **at;

    if (table->count == 0)
        return NULL;
    for (at = &table->buckets[hash & (table->bucket_count - 1)]; *at != NULL; at = &(*at)->next)
        if ((*at)->hash == hash && match(*at, key))
            return at;
    return NULL;
}

/* Without memory the table stays as it is: its chains become longer. */
static void table_resize(struct table *table, size_t bucket_count)
{
    struct node **buckets = calloc(bucket_count, sizeof(struct node *));

    if (buckets == NULL)
        return;
    for (size_t i = 0; i < table->bucket_count; i++)
        for (struct node *node = table->buckets[i], *next; node != NULL; node = next) {
            struct node **bucket = &buckets[node->hash & (bucket_count - 1)];
            next = node->next;
            node->next = *bucket;
            *bucket = node;
        }
    free(table->buckets);
    table->buckets = buckets;
    table->bucket_count = bucket_count;
}

bool table_add(struct table *table, struct node *node)
{
    enum { BUCKETS_MIN = 8 };
    struct node **bucket;

    if (2 * table->count >= table->bucket_count) /* most chains are one node: each more is a miss in the cache */
        table_resize(table, table->bucket_count > 0 ? 2 * table->bucket_count : BUCKETS_MIN);
    if (table->bucket_count == 0)
        return false;
    bucket = &table->buckets[node->hash & (table->bucket_count - 1)];
    node->next = *bucket;
    *bucket = node;
    table->count++;
    return true;
}

struct node *table_remove(struct table *table, struct node **at)
{
    struct node *node = *at;

    *at = node->next;
    if (--table->count == 0)
        table_free(table);
    return node;
}

struct node *table_replace(struct node **at, struct node *node)
{
    struct node *old = *at;

    node->next = old->next;
    *at = node;
    return old;
}

void table_free(struct table *table)
{
    free(table->buckets);
    *table = (struct table){ 0 };
}
