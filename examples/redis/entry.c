#include "examples/redis/entry.h"

#include <stdlib.h>
#include <string.h>

static jd_shared *shared_create(struct text value, size_t room)
{
    char *data = malloc(room);
    jd_shared *shared = NULL;

    if (data == NULL)
        return NULL;
    memcpy(data, value.data, value.length);
    if (jd_shared_create_owned(&shared, data, room, free, data) < 0)
        free(data);
    return shared;
}

static size_t entry_bytes(size_t key_length, size_t room)
{
    enum { ROUND = 16 }; /* as the allocator does: a value may change its length a little in place */

    return (sizeof(struct entry) + key_length + room + ROUND - 1) & ~(size_t)(ROUND - 1);
}

struct entry *entry_create(struct text key, uint64_t hash, struct text value, size_t room)
{
    size_t bytes = entry_bytes(key.length, room <= VALUE_SHORT_BYTES ? room : 0);
    struct entry *entry = malloc(bytes);

    if (entry == NULL)
        return NULL;
    *entry = (struct entry){ .node.hash = hash, .key_length = (uint32_t)key.length };
    entry->room = (uint32_t)(bytes - sizeof(*entry) - key.length);
    if (entry->room > VALUE_SHORT_BYTES)
        entry->room = VALUE_SHORT_BYTES;
    memcpy(entry->key, key.data, key.length);
    if (room <= VALUE_SHORT_BYTES) {
        entry_write(entry, value);
        return entry;
    }
    entry->length = value.length;
    entry->shared = shared_create(value, room);
    if (entry->shared != NULL)
        return entry;
    free(entry);
    return NULL;
}

void entry_free(struct entry *entry)
{
    jd_shared_unref(entry->shared);
    free(entry);
}

size_t entry_memory_for(size_t key_length, size_t room)
{
    return room <= VALUE_SHORT_BYTES ? entry_bytes(key_length, room) : entry_bytes(key_length, 0) + room;
}

size_t entry_memory(const struct entry *entry)
{
    return sizeof(*entry) + entry->key_length + entry->room +
           (entry->shared != NULL ? jd_shared_length(entry->shared) : 0);
}

char *entry_value(const struct entry *entry)
{
    if (entry->shared != NULL)
        return (char *)(uintptr_t)jd_shared_data(entry->shared);
    return (char *)(uintptr_t)entry->key + entry->key_length;
}

size_t entry_room(const struct entry *entry)
{
    return entry->shared != NULL ? jd_shared_length(entry->shared) : entry->room;
}

void entry_write(struct entry *entry, struct text value)
{
    memcpy(entry_value(entry), value.data, value.length);
    entry->length = value.length;
}

void entry_append(struct entry *entry, struct text more)
{
    memcpy(entry_value(entry) + entry->length, more.data, more.length);
    entry->length += more.length;
}
