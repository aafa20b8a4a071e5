#include "tests/support/late_engine.h"

#include "net/engine/channel.h"
#include "net/engine/listen_socket.h"
#include "tests/support/check_main.h"
#include "tests/support/late_connect.h"
#include "tests/support/late_stream.h"

#include <errno.h>
#include <jinduo/error.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum {
    ACCEPT_AHEAD = 16,
    ACCEPT_RETRY_NS = 100 * 1000000,
    CHANNEL_EVENTS = 16,
    WAKE_YIELDS = 3,
};

struct late_accept {
    struct late_accept *next;
    struct listener *listener;
    socket_handle socket;
    struct peer_address peer;
};

struct ended_listener {
    struct ended_listener *next;
    struct listener *listener;
};

/* One item of pending work. */
enum item_kind { ITEM_STREAM, ITEM_ACCEPT, ITEM_CONNECT, ITEM_CHANNELS, ITEM_ENDED_LISTENER, ITEM_RELEASED_CHANNEL };

struct item {
    enum item_kind kind;
    enum stream_work work;
    struct late_stream *late_stream;
    struct late_connect *connect;
};

struct late {
    struct engine engine;
    struct late_streams streams;
    int wakeup;   /* an eventfd */
    int channels; /* an epoll instance of the channels' alone */
    int pollable; /* -1 before late_pollable is called: an epoll instance that contains awaited */
    int awaited;  /* an epoll instance of all descriptors to wait for, made again by each late_prepare_wait; or -1 */
    bool channels_ready;
    struct listener *listeners;
    struct ended_listener *ended_listeners; /* listener_closed has not been reported yet */
    jd_channel *released_channels;          /* channel_released has not been reported yet; linked by engine_data */
    struct late_accept *accepted;
    struct late_connects connects;
    jd_timestamp retry_accept_at;

    struct item *items;
    size_t item_count, item_room;
    struct pollfd *polled;
    void **polled_owner;
    size_t poll_count, poll_room;
};

static struct late *late_of(struct engine *engine)
{
    return (struct late *)engine;
}

static void *must(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

static bool random_bool(struct late *late)
{
    return random_below(&late->streams.random, 2) == 0;
}

/* ---- creation ---- */

static uint64_t first_seed;
static pthread_once_t seeded = PTHREAD_ONCE_INIT;
static _Atomic unsigned engines_made;

static void seed(void)
{
    first_seed = test_seed();
}

static int late_create(struct engine **engine, jd_event_loop *loop)
{
    struct late *late = must(calloc(1, sizeof(*late)));

    pthread_once(&seeded, seed);
    late->engine.ops = &late_engine;
    late->engine.loop = loop;
    late->streams.random = first_seed + atomic_fetch_add(&engines_made, 1);
    late->wakeup = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    late->channels = epoll_create1(EPOLL_CLOEXEC);
    late->pollable = -1;
    late->awaited = -1;
    if (late->wakeup < 0 || late->channels < 0) {
        int error = -errno;
        if (late->wakeup >= 0)
            close(late->wakeup);
        free(late);
        return error;
    }
    *engine = &late->engine;
    return 0;
}

static void late_destroy(struct engine *engine)
{
    struct late *late = late_of(engine);

    ck_assert_ptr_null(late->streams.first);
    ck_assert_ptr_null(late->listeners);
    ck_assert_ptr_null(late->accepted);
    ck_assert_ptr_null(late->connects.first);
    ck_assert_ptr_null(late->ended_listeners);
    ck_assert_ptr_null(late->released_channels);
    close(late->wakeup);
    close(late->channels);
    if (late->pollable >= 0)
        close(late->pollable);
    if (late->awaited >= 0)
        close(late->awaited);
    free(late->items);
    free(late->polled);
    free(late->polled_owner);
    memset(late, 0xa5, sizeof(*late)); /* so that a wake after destroy finds no descriptor */
    free(late);
}

/* Yields first, so that a wake that destroy does not wait for comes after it, on freed memory. */
static void late_wake(struct engine *engine)
{
    for (int i = 0; i < WAKE_YIELDS; i++)
        sched_yield();
    eventfd_write(late_of(engine)->wakeup, 1);
}

static jd_timestamp late_now(const struct engine *engine)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (jd_timestamp)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int late_adopt(struct engine *engine, struct stream *stream, socket_handle socket)
{
    late_stream_adopt(&late_of(engine)->streams, stream, socket);
    return 0;
}

/* ---- accepting ---- */

/* Of a listener's engine_flags. */
enum { LISTENER_WAITING = 1, LISTENER_WATCHED = 2 };

static void late_accept(struct engine *engine, struct listener *listener)
{
    struct late *late = late_of(engine);

    listener->paused = false;
    if (listener_has_flag(listener, LISTENER_WATCHED))
        return;
    listener_set_flag(listener, LISTENER_WATCHED);
    listener_clear_flag(listener, LISTENER_WAITING);
    listener->engine_next = late->listeners;
    late->listeners = listener;
}

/* Sockets that were accepted ahead are still reported. */
static void late_pause_accept(struct engine *engine, struct listener *listener)
{
    listener->paused = true;
}

static void listener_accept_ahead(struct late *late, struct listener *listener);

/* Reports all sockets that were accepted ahead on this listener. */
static void report_all_accepted(struct late *late, struct listener *listener)
{
    struct late_accept **link = &late->accepted;

    while (*link != NULL) {
        struct late_accept accept = **link;
        if (accept.listener != listener) {
            link = &(*link)->next;
            continue;
        }
        free(*link);
        *link = accept.next;
        listener->accepted(listener, accept.socket, &accept.peer);
    }
}

static void listener_accept_rest(struct late *late, struct listener *listener)
{
    const struct late_accept *before;

    do {
        report_all_accepted(late, listener);
        before = late->accepted;
        if (!listener->paused && !listener_has_flag(listener, LISTENER_WAITING))
            listener_accept_ahead(late, listener);
    } while (late->accepted != before);
}

static void late_unlisten(struct engine *engine, struct listener *listener)
{
    struct late *late = engine != NULL ? late_of(engine) : NULL;
    struct ended_listener *ended;
    struct listener **link;

    if (late != NULL)
        listener_accept_rest(late, listener);
    socket_close_listener(listener->socket, &listener->bound, &listener->path);
    listener->socket = SOCKET_NONE;
    if (late == NULL) {
        listener_closed(listener);
        return;
    }
    for (link = &late->listeners; *link != listener;)
        link = &(*link)->engine_next;
    *link = listener->engine_next;
    ended = must(malloc(sizeof(*ended)));
    ended->listener = listener;
    ended->next = late->ended_listeners;
    late->ended_listeners = ended;
}

static void report_ended_listener(struct late *late)
{
    struct ended_listener ended = *late->ended_listeners;

    free(late->ended_listeners);
    late->ended_listeners = ended.next;
    listener_closed(ended.listener);
}

static void listener_accept_ahead(struct late *late, struct listener *listener)
{
    for (int i = 0; i < ACCEPT_AHEAD; i++) {
        struct late_accept accept = { .listener = listener, .next = late->accepted };
        int result = socket_accept(listener->socket, &accept.socket, &accept.peer);

        if (result == JD_EAGAIN)
            return;
        if (result < 0) {
            listener_set_flag(listener, LISTENER_WAITING);
            late->streams.descriptor_freed = false;
            late->retry_accept_at = late_now(&late->engine) + ACCEPT_RETRY_NS;
            listener_out_of_resources(listener, result);
            return;
        }
        late->accepted = must(malloc(sizeof(accept)));
        *late->accepted = accept;
    }
}

/* Reports one accepted socket, chosen at random. */
static void report_accepted(struct late *late)
{
    struct late_accept **link = &late->accepted;
    struct late_accept accept;

    if (*link == NULL)
        return;
    while ((*link)->next != NULL && random_bool(late))
        link = &(*link)->next;
    accept = **link;
    free(*link);
    *link = accept.next;
    accept.listener->accepted(accept.listener, accept.socket, &accept.peer);
}

static bool accept_waits(const struct late *late)
{
    for (const struct listener *listener = late->listeners; listener != NULL; listener = listener->engine_next)
        if (listener_has_flag(listener, LISTENER_WAITING) && !listener->paused)
            return true;
    return false;
}

static void retry_accepting(struct late *late)
{
    if (!accept_waits(late) || (!late->streams.descriptor_freed && late_now(&late->engine) < late->retry_accept_at))
        return;
    late->streams.descriptor_freed = false;
    for (struct listener *listener = late->listeners; listener != NULL; listener = listener->engine_next)
        listener_clear_flag(listener, LISTENER_WAITING);
}

/* ---- connecting ---- */

static int late_connect(struct engine *engine, struct connector *connector)
{
    late_connect_add(&late_of(engine)->connects, connector);
    return 0;
}

static void late_abandon(struct engine *engine, struct connector *connector)
{
    late_connect_abandon(connector);
}

static void connect_carry_out(struct late *late, struct late_connect *connect)
{
    if (late_connect_could(connect) && late_connect_do(&late->connects, connect))
        late->streams.descriptor_freed = true;
}

/* ---- channels ---- */

static int late_watch(struct engine *engine, jd_channel *channel)
{
    struct epoll_event event = { .data.ptr = channel };
    int result;

    if (channel->events & JD_READABLE)
        event.events |= EPOLLIN | EPOLLRDHUP;
    if (channel->events & JD_WRITABLE)
        event.events |= EPOLLOUT;
    if (channel->events & JD_EDGE)
        event.events |= EPOLLET;
    result =
        epoll_ctl(late_of(engine)->channels, channel->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, channel->fd, &event);
    return result < 0 ? -errno : 0;
}

static void late_unwatch(struct engine *engine, jd_channel *channel)
{
    struct late *late = late_of(engine);

    epoll_ctl(late->channels, EPOLL_CTL_DEL, channel->fd, NULL);
    channel->engine_data = late->released_channels;
    late->released_channels = channel;
}

static void report_released_channel(struct late *late)
{
    jd_channel *channel = late->released_channels;

    late->released_channels = channel->engine_data;
    channel_released(channel);
}

static void report_channels(struct late *late)
{
    struct epoll_event events[CHANNEL_EVENTS];
    int count = epoll_wait(late->channels, events, CHANNEL_EVENTS, 0);

    late->channels_ready = false;
    for (int i = 0; i < count; i++) {
        uint32_t ready = events[i].events;
        channel_ready(events[i].data.ptr, (ready & (EPOLLIN | EPOLLRDHUP) ? JD_READABLE : 0u) |
                                              (ready & EPOLLOUT ? JD_WRITABLE : 0u) |
                                              (ready & (EPOLLHUP | EPOLLERR) ? JD_HANGUP : 0u));
    }
}

/* ---- pending work ---- */

static void items_add(struct late *late, enum item_kind kind, struct late_stream *late_stream, enum stream_work work)
{
    if (late->item_count == late->item_room) {
        late->item_room = late->item_room * 2 + 64;
        late->items = must(realloc(late->items, late->item_room * sizeof(*late->items)));
    }
    late->items[late->item_count++] = (struct item){ .kind = kind, .work = work, .late_stream = late_stream };
}

static void items_collect(struct late *late)
{
    late->item_count = 0;
    for (struct late_stream *late_stream = late->streams.first; late_stream != NULL; late_stream = late_stream->next)
        for (enum stream_work work = 0; work < STREAM_WORKS; work++)
            if (late_stream_could(late_stream, work))
                items_add(late, ITEM_STREAM, late_stream, work);
    for (struct late_accept *accept = late->accepted; accept != NULL; accept = accept->next)
        items_add(late, ITEM_ACCEPT, NULL, 0);
    for (struct late_connect *connect = late->connects.first; connect != NULL; connect = connect->next) {
        if (!late_connect_could(connect))
            continue;
        items_add(late, ITEM_CONNECT, NULL, 0);
        late->items[late->item_count - 1].connect = connect;
    }
    if (late->channels_ready)
        items_add(late, ITEM_CHANNELS, NULL, 0);
    if (late->ended_listeners != NULL)
        items_add(late, ITEM_ENDED_LISTENER, NULL, 0);
    if (late->released_channels != NULL)
        items_add(late, ITEM_RELEASED_CHANNEL, NULL, 0);
}

static void item_carry_out(struct late *late, const struct item *item)
{
    switch (item->kind) {
    case ITEM_STREAM: /* an item carried out before may have removed this work */
        if (late_stream_could(item->late_stream, item->work))
            late_stream_do(&late->streams, item->late_stream, item->work);
        break;
    case ITEM_ACCEPT:
        report_accepted(late);
        break;
    case ITEM_CONNECT:
        connect_carry_out(late, item->connect);
        break;
    case ITEM_CHANNELS:
        report_channels(late);
        break;
    case ITEM_ENDED_LISTENER:
        report_ended_listener(late);
        break;
    case ITEM_RELEASED_CHANNEL:
        report_released_channel(late);
        break;
    }
}

/* Carries out a random half of the items, at least one, in random order (Fisher and Yates). A stream is not closed
 * from inside a report, so its items stay valid until the one that frees it, which is then its only item. */
static int items_carry_out_some(struct late *late)
{
    size_t left = late->item_count;
    int done = 0;

    while (left > 0) {
        size_t chosen = random_below(&late->streams.random, left);
        struct item item = late->items[chosen];
        late->items[chosen] = late->items[--left];
        if (!random_bool(late) && (done > 0 || left > 0))
            continue;
        item_carry_out(late, &item);
        done++;
    }
    return done;
}

/* ---- waiting ---- */

static void poll_set_add(struct late *late, int fd, int events, void *owner)
{
    if (late->poll_count == late->poll_room) {
        late->poll_room = late->poll_room * 2 + 64;
        late->polled = must(realloc(late->polled, late->poll_room * sizeof(*late->polled)));
        late->polled_owner = must(realloc(late->polled_owner, late->poll_room * sizeof(*late->polled_owner)));
    }
    late->polled_owner[late->poll_count] = owner;
    late->polled[late->poll_count++] = (struct pollfd){ .fd = fd, .events = (short)events };
}

struct poll_set {
    size_t streams, connects; /* numbers: streams come first, connects next */
};

/* In this order: streams, connects, listeners, the channels and the wakeup. */
static struct poll_set poll_set_fill(struct late *late)
{
    struct poll_set set;

    late->poll_count = 0;
    for (struct late_stream *late_stream = late->streams.first; late_stream != NULL; late_stream = late_stream->next) {
        int events = late_stream_interest(late_stream);
        if (events >= 0)
            poll_set_add(late, late_stream->stream->socket, events, late_stream);
    }
    set.streams = late->poll_count;
    for (struct late_connect *connect = late->connects.first; connect != NULL; connect = connect->next)
        if (late_connect_polls(connect))
            poll_set_add(late, connect->connector->socket, POLLOUT, connect);
    set.connects = late->poll_count - set.streams;
    for (struct listener *listener = late->listeners; listener != NULL; listener = listener->engine_next)
        if (!listener_has_flag(listener, LISTENER_WAITING) && !listener->paused && late->accepted == NULL)
            poll_set_add(late, listener->socket, POLLIN, listener);
    poll_set_add(late, late->channels, POLLIN, NULL);
    poll_set_add(late, late->wakeup, POLLIN, NULL);
    return set;
}

static void poll_set_dispatch(struct late *late, const struct poll_set *set)
{
    uint64_t wakeups;

    for (size_t i = 0; i < late->poll_count; i++) {
        const struct pollfd *polled = &late->polled[i];
        if (polled->revents == 0)
            continue;
        if (i < set->streams)
            late_stream_polled(late->polled_owner[i], polled->revents);
        else if (i < set->streams + set->connects)
            late_connect_polled(late->polled_owner[i]);
        else if (late->polled_owner[i] != NULL)
            listener_accept_ahead(late, late->polled_owner[i]);
        else if (polled->fd == late->channels)
            late->channels_ready = true;
        else
            eventfd_read(late->wakeup, &wakeups);
    }
}

static int64_t late_time_to_wait(struct late *late, int64_t timeout_ns)
{
    int64_t until_retry_ns;

    if (late->item_count > 0)
        return 0;
    if (!accept_waits(late))
        return timeout_ns;
    until_retry_ns = late->streams.descriptor_freed ? 0 : late->retry_accept_at - late_now(&late->engine);
    if (until_retry_ns < 0)
        until_retry_ns = 0;
    return timeout_ns < 0 || until_retry_ns < timeout_ns ? until_retry_ns : timeout_ns;
}

static int late_pollable(struct engine *engine)
{
    struct late *late = late_of(engine);

    if (late->pollable < 0)
        late->pollable = epoll_create1(EPOLL_CLOEXEC);
    return late->pollable >= 0 ? late->pollable : -errno;
}

static void epoll_add(int epoll, int fd, uint32_t events)
{
    struct epoll_event event = { .events = events };

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        abort();
}

static int64_t late_prepare_wait(struct engine *engine, int64_t timeout_ns)
{
    struct late *late = late_of(engine);

    items_collect(late);
    if (late->pollable < 0)
        return late_time_to_wait(late, timeout_ns); /* no other loop waits for this one */
    poll_set_fill(late);
    if (late->awaited >= 0)
        close(late->awaited); /* closing it also removes it from pollable */
    late->awaited = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < late->poll_count; i++)
        epoll_add(late->awaited, late->polled[i].fd,
                  (uint32_t)late->polled[i].events); /* poll(2) and epoll(7) share the values */
    epoll_add(late->pollable, late->awaited, EPOLLIN);
    return late_time_to_wait(late, timeout_ns);
}

static int late_wait(struct engine *engine, int64_t timeout_ns)
{
    struct late *late = late_of(engine);
    struct timespec timeout;
    struct poll_set set;
    int ready;

    items_collect(late);
    set = poll_set_fill(late);
    timeout_ns = late_time_to_wait(late, timeout_ns);
    timeout = (struct timespec){ .tv_sec = timeout_ns / 1000000000, .tv_nsec = timeout_ns % 1000000000 };
    ready = ppoll(late->polled, late->poll_count, timeout_ns < 0 ? NULL : &timeout, NULL);
    event_loop_woke(engine->loop);
    if (ready < 0 && errno != EINTR)
        return -errno;
    if (ready > 0)
        poll_set_dispatch(late, &set);
    retry_accepting(late);
    items_collect(late);
    return items_carry_out_some(late) + (ready > 0);
}

const struct engine_ops late_engine = {
    .id = JD_ENGINE_REACTOR, /* users cannot choose it, so it has no id of its own */
    .name = "late",
    .stream = &late_stream_ops,
    .create = late_create,
    .destroy = late_destroy,
    .wait = late_wait,
    .pollable = late_pollable,
    .prepare_wait = late_prepare_wait,
    .wake = late_wake,
    .now = late_now,
    .listen = listen_socket_open,
    .accept = late_accept,
    .pause_accept = late_pause_accept,
    .unlisten = late_unlisten,
    .connect = late_connect,
    .abandon = late_abandon,
    .adopt = late_adopt,
    .watch = late_watch,
    .unwatch = late_unwatch,
};
