#include "tests/behaviour/recorder.h"

#include "tests/behaviour/harness.h"

#include <pthread.h>
#include <string.h>

enum { RECORDS_MAX = 4096, CALLBACKS_MAX = 60, STORY_BYTES = 1024 };

static const char *const words[] = { "up",         "message",        "frame",     "frame-error",
                                     "half-close", "write-complete", "peer-gone", "down" };

static struct connection_record {
    jd_connection_id id;
    unsigned count;
    unsigned char callbacks[CALLBACKS_MAX];
} records[RECORDS_MAX];

static unsigned record_count;
static unsigned up_count, down_count;
static size_t byte_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The latest are looked for most. */
static struct connection_record *find(jd_connection_id id)
{
    for (unsigned i = record_count; i > 0; i--)
        if (records[i - 1].id == id)
            return &records[i - 1];
    ck_assert_uint_lt(record_count, RECORDS_MAX);
    records[record_count].id = id;
    return &records[record_count++];
}

static void add(struct connection_record *record, enum callback callback)
{
    bool is_life = callback == CALLED_UP || callback == CALLED_DOWN;

    if (!is_life && record->count > 0 && record->callbacks[record->count - 1] == callback)
        return;
    /* A story too long to be compared keeps its beginning and its end. */
    if (record->count == CALLBACKS_MAX)
        record->count--;
    record->callbacks[record->count++] = (unsigned char)callback;
}

void record(const jd_tcp_connection *connection, enum callback callback)
{
    pthread_mutex_lock(&lock);
    add(find(jd_tcp_connection_id(connection)), callback);
    pthread_mutex_unlock(&lock);
}

void record_return(enum callback callback)
{
    pthread_mutex_lock(&lock);
    up_count += callback == CALLED_UP;
    down_count += callback == CALLED_DOWN;
    pthread_mutex_unlock(&lock);
}

void record_bytes(size_t bytes)
{
    pthread_mutex_lock(&lock);
    byte_count += bytes;
    pthread_mutex_unlock(&lock);
}

const char *story(unsigned index)
{
    static char text[STORY_BYTES];

    text[0] = '\0';
    pthread_mutex_lock(&lock);
    ck_assert_uint_lt(index, record_count);
    for (unsigned i = 0; i < records[index].count; i++) {
        if (i > 0)
            strcat(text, " ");
        strcat(text, words[records[index].callbacks[i]]);
    }
    pthread_mutex_unlock(&lock);
    return text;
}

jd_connection_id connection_id(unsigned index)
{
    jd_connection_id id;

    pthread_mutex_lock(&lock);
    ck_assert_uint_lt(index, record_count);
    id = records[index].id;
    pthread_mutex_unlock(&lock);
    return id;
}

static unsigned counted(const unsigned *count)
{
    unsigned value;

    pthread_mutex_lock(&lock);
    value = *count;
    pthread_mutex_unlock(&lock);
    return value;
}

unsigned connections_up(void)
{
    return counted(&up_count);
}

unsigned connections_down(void)
{
    return counted(&down_count);
}

size_t bytes_received(void)
{
    size_t bytes;

    pthread_mutex_lock(&lock);
    bytes = byte_count;
    pthread_mutex_unlock(&lock);
    return bytes;
}

void check_stories(void)
{
    for (unsigned index = 0; index < record_count; index++) {
        const struct connection_record *record = &records[index];
        unsigned ups = 0, downs = 0;
        for (unsigned i = 0; i < record->count; i++) {
            ups += record->callbacks[i] == CALLED_UP;
            downs += record->callbacks[i] == CALLED_DOWN;
        }
        ck_assert_msg(ups == 1 && downs == 1 && record->callbacks[0] == CALLED_UP &&
                          record->callbacks[record->count - 1] == CALLED_DOWN,
                      "connection %u: %s", index, story(index));
    }
}
