#include "examples/redis/keyspace.h"

#include "examples/redis/entry.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHARDS = 64, CACHE_LINE_BYTES = 64 };

struct shard {
    _Alignas(CACHE_LINE_BYTES) pthread_mutex_t lock;
    struct table entries;
    size_t expiring;   /* entries that expire */
    size_t sweep_next; /* the bucket in which keyspace_expire_some continues */
};

struct keyspace {
    void *block; /* that malloc returned: the keyspace is at an address in it that is a multiple of a cache line */
    size_t memory_max, value_max;
    atomic_size_t memory;
    atomic_uint sweep_shard;
    struct shard shards[SHARDS];
};

struct keyspace *keyspace_create(size_t memory_max, size_t value_max)
{
    struct keyspace *keyspace;
    void *block = malloc(sizeof(*keyspace) + CACHE_LINE_BYTES);

    if (block == NULL)
        return NULL;
    keyspace = (void *)((char *)block + (CACHE_LINE_BYTES - (uintptr_t)block % CACHE_LINE_BYTES));
    memset(keyspace, 0, sizeof(*keyspace));
    keyspace->block = block;
    keyspace->memory_max = memory_max > 0 ? memory_max : SIZE_MAX;
    keyspace->value_max = value_max;
    for (unsigned i = 0; i < SHARDS; i++)
        pthread_mutex_init(&keyspace->shards[i].lock, NULL);
    return keyspace;
}

void keyspace_destroy(struct keyspace *keyspace)
{
    keyspace_flush(keyspace);
    for (unsigned i = 0; i < SHARDS; i++)
        pthread_mutex_destroy(&keyspace->shards[i].lock);
    free(keyspace->block);
}

/* ---- finding ---- */

/* The shard's lock is held from lookup to unlock. */
struct lookup {
    struct shard *shard;
    struct node **at; /* NULL: there is no such key */
    struct entry *entry;
    uint64_t hash;
    struct entry *garbage; /* freed behind the lock: a long value may take a while */
};

static bool entry_matches(const struct node *node, const void *arg)
{
    const struct entry *entry = (const struct entry *)node;
    const struct text *key = arg;

    return entry->key_length == key->length && memcmp(entry->key, key->data, key->length) == 0;
}

static void take_out(struct keyspace *keyspace, struct shard *shard, struct node **at)
{
    const struct entry *entry = (struct entry *)table_remove(&shard->entries, at);

    shard->expiring -= entry->expires != 0;
    atomic_fetch_sub_explicit(&keyspace->memory, entry_memory(entry), memory_order_relaxed);
}

/* Deletes the entry that was found. */
static void drop(struct keyspace *keyspace, struct lookup *lookup)
{
    take_out(keyspace, lookup->shard, lookup->at);
    lookup->garbage = lookup->entry;
    lookup->at = NULL;
    lookup->entry = NULL;
}

static struct lookup look_up(struct keyspace *keyspace, struct text key, int64_t now)
{
    enum { SHARD_SHIFT = 58 }; /* the highest 6 bits; the table uses the lowest */
    struct lookup lookup = { .hash = table_hash(key.data, key.length) };

    lookup.shard = &keyspace->shards[lookup.hash >> SHARD_SHIFT];
    pthread_mutex_lock(&lookup.shard->lock);
    lookup.at = table_find(&lookup.shard->entries, lookup.hash, entry_matches, &key);
    lookup.entry = lookup.at != NULL ? (struct entry *)*lookup.at : NULL;
    if (lookup.entry != NULL && lookup.entry->expires != 0 && lookup.entry->expires <= now)
        drop(keyspace, &lookup);
    return lookup;
}

static void unlock(struct lookup *lookup)
{
    pthread_mutex_unlock(&lookup->shard->lock);
    if (lookup->garbage != NULL)
        entry_free(lookup->garbage);
}

/* ---- reading ---- */

bool keyspace_get(struct keyspace *keyspace, struct text key, int64_t now, struct value *value)
{
    struct lookup lookup = look_up(keyspace, key, now);
    const struct entry *entry = lookup.entry;

    if (entry != NULL) {
        value->length = entry->length;
        value->shared = entry->shared != NULL ? jd_shared_ref(entry->shared) : NULL;
        if (entry->shared == NULL)
            memcpy(value->bytes + VALUE_ROOM_BYTES, entry_value(entry), entry->length);
    }
    unlock(&lookup);
    return entry != NULL;
}

bool keyspace_exists(struct keyspace *keyspace, struct text key, int64_t now)
{
    struct lookup lookup = look_up(keyspace, key, now);
    bool exists = lookup.entry != NULL;

    unlock(&lookup);
    return exists;
}

int64_t keyspace_time_left(struct keyspace *keyspace, struct text key, int64_t now)
{
    enum { NO_KEY = -2, NO_EXPIRY = -1 };
    struct lookup lookup = look_up(keyspace, key, now);
    int64_t left = NO_KEY;

    if (lookup.entry != NULL)
        left = lookup.entry->expires != 0 ? lookup.entry->expires - now : NO_EXPIRY;
    unlock(&lookup);
    return left;
}

/* ---- writing ---- */

static void set_expiry(struct shard *shard, struct entry *entry, int64_t expires)
{
    shard->expiring -= entry->expires != 0;
    shard->expiring += expires != 0;
    entry->expires = expires;
}

/* Replaces the entry that was found, if any, by one with that value and room; it keeps the expiry. The old entry is garbage: it may
 * hold the value. Returns 0, JD_ENOMEM or JD_ENOBUFS. */
static int replace(struct keyspace *keyspace, struct lookup *lookup, struct text key, struct text value, size_t room)
{
    size_t before = lookup->entry != NULL ? entry_memory(lookup->entry) : 0;
    size_t memory = atomic_load_explicit(&keyspace->memory, memory_order_relaxed) - before;
    size_t more = entry_memory_for(key.length, room);
    struct entry *entry;

    if (more > before && (memory > keyspace->memory_max || more > keyspace->memory_max - memory))
        return JD_ENOBUFS;
    entry = entry_create(key, lookup->hash, value, room);
    if (entry == NULL)
        return JD_ENOMEM;
    if (lookup->entry != NULL) {
        entry->expires = lookup->entry->expires;
        lookup->garbage = (struct entry *)table_replace(lookup->at, &entry->node);
    } else if (!table_add(&lookup->shard->entries, &entry->node)) {
        entry_free(entry);
        return JD_ENOMEM;
    }
    atomic_fetch_add_explicit(&keyspace->memory, entry_memory(entry) - before, memory_order_relaxed);
    lookup->entry = entry;
    return 0;
}

/* Whether a value of that length can be written where the old one is. Much room that is not needed is returned. */
static bool fits(const struct entry *entry, size_t length)
{
    enum { SPARE_BYTES = 64 };

    return entry->shared == NULL && length <= entry->room && entry->room - length < SPARE_BYTES;
}

static int write_value(struct keyspace *keyspace, struct lookup *lookup, struct text key, struct text value)
{
    if (lookup->entry == NULL || !fits(lookup->entry, value.length))
        return replace(keyspace, lookup, key, value, value.length);
    entry_write(lookup->entry, value);
    return 0;
}

int keyspace_set(struct keyspace *keyspace, struct text key, struct text value, int64_t now, int64_t expires,
                 enum keyspace_condition condition)
{
    struct lookup lookup = look_up(keyspace, key, now);
    int result = 0;

    if (condition == KEYSPACE_ALWAYS || (condition == KEYSPACE_IF_PRESENT) == (lookup.entry != NULL)) {
        result = write_value(keyspace, &lookup, key, value);
        if (result == 0) {
            if (expires != KEYSPACE_KEEP_EXPIRY)
                set_expiry(lookup.shard, lookup.entry, expires);
            result = 1;
        }
    }
    unlock(&lookup);
    return result;
}

bool keyspace_delete(struct keyspace *keyspace, struct text key, int64_t now)
{
    struct lookup lookup = look_up(keyspace, key, now);
    bool existed = lookup.entry != NULL;

    if (existed)
        drop(keyspace, &lookup);
    unlock(&lookup);
    return existed;
}

bool keyspace_expire(struct keyspace *keyspace, struct text key, int64_t now, int64_t expires)
{
    struct lookup lookup = look_up(keyspace, key, now);
    bool exists = lookup.entry != NULL;

    if (exists && expires <= now)
        drop(keyspace, &lookup);
    else if (exists)
        set_expiry(lookup.shard, lookup.entry, expires);
    unlock(&lookup);
    return exists;
}

bool number_parse(struct text text, int64_t *number)
{
    enum { NUMBER_MAX_BYTES = 20, DECIMAL = 10 }; /* -9223372036854775808 */
    char copy[NUMBER_MAX_BYTES + 1], again[NUMBER_MAX_BYTES + 2];

    if (text.length == 0 || text.length > NUMBER_MAX_BYTES)
        return false;
    memcpy(copy, text.data, text.length);
    copy[text.length] = '\0';
    errno = 0;
    *number = strtoll(copy, NULL, DECIMAL);
    if (errno != 0)
        return false;
    /* Only the usual form: no space, plus or zero in front, and nothing behind. */
    snprintf(again, sizeof(again), "%" PRId64, *number);
    return strlen(again) == text.length && memcmp(again, text.data, text.length) == 0;
}

static int add_to_entry(struct keyspace *keyspace, struct lookup *lookup, struct text key, int64_t *number)
{
    char digits[24];
    int64_t old = 0;
    struct text value = { .data = digits };

    if (lookup->entry != NULL &&
        !number_parse((struct text){ entry_value(lookup->entry), lookup->entry->length }, &old))
        return JD_EINVAL;
    if (__builtin_add_overflow(old, *number, number))
        return JD_ERANGE;
    value.length = (size_t)snprintf(digits, sizeof(digits), "%" PRId64, *number);
    return write_value(keyspace, lookup, key, value);
}

int keyspace_add(struct keyspace *keyspace, struct text key, int64_t now, int64_t *number)
{
    struct lookup lookup = look_up(keyspace, key, now);
    int result = add_to_entry(keyspace, &lookup, key, number);

    unlock(&lookup);
    return result < 0 ? result : 1;
}

/* Half as much room again, so that a value that grows by many small appends is seldom copied. */
static int make_room(struct keyspace *keyspace, struct lookup *lookup, struct text key, size_t needed)
{
    struct text old = { .data = "", .length = 0 };

    if (lookup->entry != NULL)
        old = (struct text){ .data = entry_value(lookup->entry), .length = lookup->entry->length };
    return replace(keyspace, lookup, key, old, old.length > 0 ? needed + needed / 2 : needed);
}

int keyspace_append(struct keyspace *keyspace, struct text key, struct text more, int64_t now, size_t *length)
{
    struct lookup lookup = look_up(keyspace, key, now);
    size_t old = lookup.entry != NULL ? lookup.entry->length : 0;
    int result = more.length <= keyspace->value_max && old <= keyspace->value_max - more.length ? 0 : JD_EMSGSIZE;

    if (result == 0 && (lookup.entry == NULL || entry_room(lookup.entry) < old + more.length))
        result = make_room(keyspace, &lookup, key, old + more.length);
    if (result == 0) {
        entry_append(lookup.entry, more);
        *length = lookup.entry->length;
        result = 1;
    }
    unlock(&lookup);
    return result;
}

/* ---- all keys ---- */

static void free_entries(struct table *entries)
{
    for (size_t i = 0; i < entries->bucket_count; i++)
        for (struct node *node = entries->buckets[i], *next; node != NULL; node = next) {
            next = node->next;
            entry_free((struct entry *)node);
        }
    table_free(entries);
}

static size_t memory_of(const struct table *entries)
{
    size_t memory = 0;

    for (size_t i = 0; i < entries->bucket_count; i++)
        for (const struct node *node = entries->buckets[i]; node != NULL; node = node->next)
            memory += entry_memory((const struct entry *)node);
    return memory;
}

void keyspace_flush(struct keyspace *keyspace)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *shard = &keyspace->shards[i];
        struct table entries;
        pthread_mutex_lock(&shard->lock);
        entries = shard->entries;
        shard->entries = (struct table){ 0 };
        shard->expiring = 0;
        pthread_mutex_unlock(&shard->lock);
        atomic_fetch_sub_explicit(&keyspace->memory, memory_of(&entries), memory_order_relaxed);
        free_entries(&entries);
    }
}

struct sweep {
    size_t visited, expired; /* buckets and entries; entries */
};

/* Deletes what has expired in one bucket. */
static void expire_bucket(struct keyspace *keyspace, struct shard *shard, size_t bucket, int64_t now,
                          struct sweep *sweep)
{
    sweep->visited++;
    for (struct node **at = &shard->entries.buckets[bucket]; shard->entries.count > 0 && *at != NULL;
         sweep->visited++) {
        struct entry *entry = (struct entry *)*at;
        if (entry->expires == 0 || entry->expires > now) {
            at = &entry->node.next;
            continue;
        }
        take_out(keyspace, shard, at);
        entry_free(entry);
        sweep->expired++;
    }
}

/* Deletes what has expired in the next part of the keyspace. Returns whether that was much. */
static bool expire_part(struct keyspace *keyspace, int64_t now)
{
    enum { WORK = 4096, MUCH = 16 }; /* buckets and entries; of so many one */
    struct sweep sweep = { 0 };

    for (unsigned shards = 0; shards < SHARDS && sweep.visited < WORK; shards++) {
        struct shard *shard = &keyspace->shards[atomic_fetch_add(&keyspace->sweep_shard, 1) % SHARDS];
        pthread_mutex_lock(&shard->lock);
        for (size_t i = 0; i < WORK / SHARDS && shard->expiring > 0; i++) {
            shard->sweep_next = (shard->sweep_next + 1) & (shard->entries.bucket_count - 1);
            expire_bucket(keyspace, shard, shard->sweep_next, now, &sweep);
        }
        pthread_mutex_unlock(&shard->lock);
    }
    return MUCH * sweep.expired > sweep.visited;
}

void keyspace_expire_some(struct keyspace *keyspace, int64_t now)
{
    enum { PARTS_MAX = 16 };

    for (unsigned parts = 0; parts < PARTS_MAX && expire_part(keyspace, now); parts++)
        ;
}

void keyspace_get_statistics(struct keyspace *keyspace, struct keyspace_statistics *statistics)
{
    *statistics = (struct keyspace_statistics){ .memory = atomic_load(&keyspace->memory) };
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *shard = &keyspace->shards[i];
        pthread_mutex_lock(&shard->lock);
        statistics->keys += shard->entries.count;
        statistics->expiring += shard->expiring;
        pthread_mutex_unlock(&shard->lock);
    }
}
