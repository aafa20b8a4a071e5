#include "benchmarks/load_worker.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

enum {
    EVENTS_PER_WAIT = 256,
    /* Connections without their first reply at a time: fewer than any server's backlog. If the backlog overflows, a SYN
     * is lost and the client retries after a second. */
    GREETING_AT_ONCE = 256,
    STREAM_GRANT_BYTES = LOAD_BUFFER_BYTES,
    STREAM_GRANTS_PER_TURN = 16,
};

static uint64_t thread_cpu_ns(void)
{
    struct timespec used;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

static bool is_running(const struct load_worker *worker)
{
    return worker->phase == PHASE_WARMUP || worker->phase == PHASE_MEASURING;
}

static void finish_phase(struct load_worker *worker)
{
    if (atomic_load_explicit(&worker->finished, memory_order_relaxed) >= (int)worker->phase)
        return;
    atomic_store(&worker->finished, worker->phase);
    eventfd_write(worker->notify_fd, 1);
}

static void open_span(struct load_worker *worker)
{
    const struct load_options *options = worker->context.options;

    if (options->messages > 0) {
        uint64_t share = options->messages / options->threads + (worker->index < options->messages % options->threads);
        /* Messages of the warm-up still in flight are answered, and counted, in the measured time. */
        worker->quota = share > worker->context.outstanding ? share - worker->context.outstanding : 0;
    }
    if (worker->index == 0 && options->server_pid > 0)
        server_usage_read(&worker->server_begin, options->server_pid, worker->calls);
    worker->cpu_begin_ns = thread_cpu_ns();
    worker->span_begin_ns = clock_now_ns();
    worker->context.measuring = true;
}

/* The time at which the connection's n-th message is due: ticks are assigned to the connections round-robin. */
static uint64_t due_time_ns(const struct load_worker *worker, const struct load_connection *connection, uint64_t n)
{
    uint64_t index = (uint64_t)(connection - worker->connections);

    return (uint64_t)(worker->rate_begin_ns + (double)(n * worker->connection_count + index) * worker->period_ns);
}

static void count_waiting(struct load_worker *worker)
{
    for (unsigned i = 0; i < worker->connection_count; i++) {
        struct load_connection *connection = &worker->connections[i];
        if (connection->fd < 0)
            continue;
        load_connection_count_waiting(&worker->context, connection, worker->span_end_ns);
        for (uint64_t n = connection->due_sent; n < connection->due; n++)
            histogram_add(&worker->context.latency, waited_ns(due_time_ns(worker, connection, n), worker->span_end_ns),
                          1);
    }
}

static void close_span(struct load_worker *worker)
{
    const struct load_options *options = worker->context.options;

    if (!worker->context.measuring)
        return;
    worker->context.measuring = false;
    worker->span_end_ns = clock_now_ns();
    worker->cpu_end_ns = thread_cpu_ns();
    if (worker->index == 0 && options->server_pid > 0)
        server_usage_read(&worker->server_end, options->server_pid, worker->calls);
    if (options->rate > 0)
        count_waiting(worker);
}

/* Updates the counts after a connection was lost. */
static void connection_lost(struct load_worker *worker, struct load_connection *connection)
{
    worker->greeting -= connection->greeting;
    connection->greeting = false;
    atomic_fetch_sub_explicit(&worker->live, 1, memory_order_relaxed);
}

static uint64_t within_quota(struct load_worker *worker, uint64_t messages)
{
    if (messages > worker->quota)
        messages = worker->quota;
    worker->quota -= messages;
    return messages;
}

/* Grants the due messages that the depth allows, each with its own due time. */
static void grant_due(struct load_worker *worker, struct load_connection *connection)
{
    uint64_t in_flight = connection->granted - connection->receive.sequence;

    for (; connection->due_sent < connection->due && in_flight < worker->context.options->depth; in_flight++)
        load_connection_grant(&worker->context, connection, 1, due_time_ns(worker, connection, connection->due_sent++));
}

static void grant(struct load_worker *worker, struct load_connection *connection, uint64_t now_ns)
{
    const struct load_options *options = worker->context.options;
    uint64_t in_flight = connection->granted - connection->receive.sequence;
    uint64_t messages;

    if (options->rate > 0) {
        grant_due(worker, connection);
        return;
    }
    messages = within_quota(worker, options->depth - in_flight);
    if (messages > 0)
        load_connection_grant(&worker->context, connection, (uint32_t)messages, now_ns);
}

/* Grants messages, a buffer at a time, until the send buffer is full. If the server reads as fast as this sends, the
 * loop stops after some grants and continues in the next turn: no EPOLLOUT edge reports the room that is left. */
static bool fill_stream(struct load_worker *worker, struct load_connection *connection)
{
    uint64_t wanted = STREAM_GRANT_BYTES / (worker->context.options->format.max_bytes + 1u) + 1;

    for (unsigned i = 0; i < STREAM_GRANTS_PER_TURN; i++) {
        uint64_t messages;
        if (!load_connection_send(&worker->context, connection))
            return false;
        if (connection->blocked || (messages = within_quota(worker, wanted)) == 0)
            return true;
        load_connection_grant(&worker->context, connection, (uint32_t)messages, 0);
    }
    worker->unfilled = true;
    return true;
}

/* Grants and sends the messages that the phase and the mode allow. */
static void push(struct load_worker *worker, struct load_connection *connection, uint64_t now_ns)
{
    bool alive;

    if (is_running(worker) && worker->context.options->mode == LOAD_STREAM) {
        alive = fill_stream(worker, connection);
    } else {
        if (is_running(worker) && worker->context.options->mode != LOAD_CONNECT)
            grant(worker, connection, now_ns);
        alive = load_connection_send(&worker->context, connection);
    }
    if (!alive)
        connection_lost(worker, connection);
}

static void fill_streams(struct load_worker *worker)
{
    worker->unfilled = false;
    for (unsigned i = 0; i < worker->connection_count; i++) {
        if (worker->connections[i].fd >= 0 && !worker->connections[i].blocked)
            push(worker, &worker->connections[i], 0);
    }
}

/* Connects and tries to send the first message at once: on loopback the connection is usually established already. */
static void open_with_message(struct load_worker *worker, struct load_connection *connection)
{
    uint64_t now_ns = clock_now_ns();
    uint64_t number = worker->next_number;

    worker->next_number += worker->context.options->threads;
    if (!load_connection_open(&worker->context, connection, number)) {
        connection_lost(worker, connection);
        return;
    }
    load_connection_grant(&worker->context, connection, 1, now_ns);
    connection->greeting = worker->phase == PHASE_OPENING;
    worker->greeting += connection->greeting;
    if (!load_connection_send(&worker->context, connection))
        connection_lost(worker, connection);
}

static void open_more(struct load_worker *worker)
{
    const struct load_options *options = worker->context.options;

    while (worker->opened < worker->connection_count && worker->greeting < GREETING_AT_ONCE) {
        struct load_connection *connection = &worker->connections[worker->opened++];
        if (options->mode != LOAD_STREAM) {
            open_with_message(worker, connection);
            continue;
        }
        if (!load_connection_open(&worker->context, connection, worker->next_number))
            connection_lost(worker, connection);
        worker->next_number += options->threads;
    }
    if (worker->opened == worker->connection_count && worker->greeting == 0)
        finish_phase(worker);
}

/* Connect mode: opens the next connection in place of this one, if the quota allows one more message. */
static void connect_again(struct load_worker *worker, struct load_connection *connection)
{
    if (is_running(worker) && within_quota(worker, 1) == 1)
        open_with_message(worker, connection);
}

static void on_replies(struct load_worker *worker, struct load_connection *connection)
{
    if (connection->greeting) {
        connection->greeting = false;
        worker->greeting--;
        return;
    }
    if (worker->context.options->mode != LOAD_CONNECT || connection->receive.sequence < connection->granted)
        return;
    if (is_running(worker) && connection->granted < worker->context.options->requests && within_quota(worker, 1) == 1) {
        load_connection_grant(&worker->context, connection, 1, clock_now_ns());
        return;
    }
    load_connection_close(&worker->context, connection, !worker->context.options->close_by_fin);
    connect_again(worker, connection);
}

static void on_event(struct load_worker *worker, struct load_connection *connection, uint32_t events)
{
    uint64_t now_ns = 0;

    if ((events & EPOLLOUT) != 0)
        connection->blocked = false;
    if ((events & ~(uint32_t)EPOLLOUT) != 0) {
        int64_t replies = load_connection_receive(&worker->context, connection, events, &now_ns);
        if (replies < 0) {
            connection_lost(worker, connection);
            return;
        }
        if (replies > 0)
            on_replies(worker, connection);
        if (connection->fd < 0)
            return;
    }
    push(worker, connection, now_ns > 0 ? now_ns : clock_now_ns());
}

static void begin_load(struct load_worker *worker)
{
    worker->rate_begin_ns = (double)clock_now_ns();
    for (unsigned i = 0; i < worker->connection_count; i++) {
        struct load_connection *connection = &worker->connections[i];
        if (worker->context.options->mode == LOAD_CONNECT)
            connect_again(worker, connection);
        else if (connection->fd >= 0)
            push(worker, connection, clock_now_ns());
    }
}

static void stop(struct load_worker *worker)
{
    for (unsigned i = 0; i < worker->connection_count; i++) {
        struct load_connection *connection = &worker->connections[i];
        bool never_echoed = worker->context.options->mode == LOAD_STREAM && connection->bytes_received == 0;
        if (connection->fd < 0)
            continue;
        if (connection->granted > connection->receive.sequence && !never_echoed)
            load_connection_give_up(&worker->context, connection, "no reply");
        else
            load_connection_close(&worker->context, connection, worker->context.options->mode == LOAD_CONNECT);
    }
}

static void enter_phase(struct load_worker *worker, enum load_phase phase)
{
    worker->phase = phase;
    switch (phase) {
    case PHASE_OPENING:
        if (worker->context.options->mode == LOAD_CONNECT)
            finish_phase(worker);
        break;
    case PHASE_WARMUP:
        begin_load(worker);
        break;
    case PHASE_MEASURING:
        open_span(worker);
        if (worker->rate_begin_ns == 0)
            begin_load(worker);
        break;
    case PHASE_DRAINING:
        close_span(worker);
        break;
    case PHASE_STOPPED:
        close_span(worker);
        stop(worker);
        break;
    }
}

/* In stream mode a server that never replies counts as drained: the mode then measures one direction. */
static bool is_drained(const struct load_worker *worker)
{
    if (worker->context.options->mode != LOAD_STREAM)
        return worker->context.outstanding == 0;
    for (unsigned i = 0; i < worker->connection_count; i++) {
        const struct load_connection *connection = &worker->connections[i];
        if (connection->fd >= 0 && connection->bytes_received > 0 && connection->receive.sequence < connection->granted)
            return false;
    }
    return true;
}

/* The part of the phase that is not a reaction to an event. */
static void continue_phase(struct load_worker *worker)
{
    switch (worker->phase) {
    case PHASE_OPENING:
        if (worker->context.options->mode != LOAD_CONNECT)
            open_more(worker);
        break;
    case PHASE_MEASURING:
        if (worker->quota > 0 || worker->context.outstanding > 0)
            break;
        close_span(worker);
        finish_phase(worker);
        break;
    case PHASE_DRAINING:
        if (is_drained(worker))
            finish_phase(worker);
        break;
    default:
        break;
    }
}

static void send_due(struct load_worker *worker)
{
    uint64_t now_ns = clock_now_ns();

    while (worker->rate_begin_ns + (double)worker->ticks * worker->period_ns <= (double)now_ns) {
        struct load_connection *connection = &worker->connections[worker->ticks++ % worker->connection_count];
        if (connection->fd < 0)
            continue;
        if (within_quota(worker, 1) == 0)
            return;
        connection->due++;
        push(worker, connection, now_ns);
    }
}

static int wait_for_events(struct load_worker *worker, struct epoll_event *events)
{
    bool no_sleep = worker->context.options->spin || worker->unfilled;
    struct timespec rest = { 0 };
    double rest_ns;

    if (no_sleep || worker->context.options->rate == 0 || !is_running(worker) || worker->quota == 0)
        return epoll_wait(worker->context.epoll_fd, events, EVENTS_PER_WAIT, no_sleep ? 0 : -1);
    /* Not epoll_wait(2): its timeout in whole milliseconds would dominate the latencies (epoll_pwait2: Linux 5.11). */
    rest_ns = worker->rate_begin_ns + (double)worker->ticks * worker->period_ns - (double)clock_now_ns();
    if (rest_ns > 0) {
        rest.tv_sec = (time_t)(rest_ns / 1e9);
        rest.tv_nsec = (long)(rest_ns - (double)rest.tv_sec * 1e9);
    }
    return epoll_pwait2(worker->context.epoll_fd, events, EVENTS_PER_WAIT, &rest, NULL);
}

static void publish(struct load_worker *worker)
{
    atomic_store_explicit(&worker->seen_moved_bytes, worker->context.moved_bytes, memory_order_relaxed);
    atomic_store_explicit(&worker->seen_messages, worker->context.counts.messages, memory_order_relaxed);
    atomic_store_explicit(&worker->seen_outstanding, worker->context.outstanding, memory_order_relaxed);
}

static void *run(void *arg)
{
    struct load_worker *worker = arg;
    struct epoll_event events[EVENTS_PER_WAIT];

    /* Else the kernel may end a wait up to 50 us late (prctl(2), PR_SET_TIMERSLACK). */
    prctl(PR_SET_TIMERSLACK, 1ul, 0ul, 0ul, 0ul);
    enter_phase(worker, PHASE_OPENING);
    while (worker->phase != PHASE_STOPPED) {
        enum load_phase announced = (enum load_phase)atomic_load(worker->announced);
        if (announced != worker->phase)
            enter_phase(worker, announced);
        continue_phase(worker);
        publish(worker);
        if (worker->phase == PHASE_STOPPED)
            break;
        int count = wait_for_events(worker, events);
        for (int i = 0; i < count; i++) {
            struct load_connection *connection = events[i].data.ptr;
            if (connection != NULL && connection->fd >= 0)
                on_event(worker, connection, events[i].events);
        }
        if (worker->unfilled)
            fill_streams(worker);
        if (worker->context.options->rate > 0 && is_running(worker))
            send_due(worker);
    }
    return NULL;
}

static int allocate(struct load_worker *worker, uint32_t batches_each)
{
    worker->connections = calloc(worker->connection_count, sizeof(*worker->connections));
    worker->batches = calloc((size_t)worker->connection_count * batches_each, sizeof(*worker->batches));
    worker->context.send_buffer = calloc(1, LOAD_BUFFER_BYTES);
    worker->context.receive_buffer = calloc(1, LOAD_BUFFER_BYTES);
    if (worker->connections == NULL || worker->batches == NULL || worker->context.send_buffer == NULL ||
        worker->context.receive_buffer == NULL)
        return -ENOMEM;
    for (unsigned i = 0; i < worker->connection_count; i++) {
        worker->connections[i].fd = -1;
        worker->connections[i].batches = worker->batches + (size_t)i * batches_each;
        worker->connections[i].batch_mask = batches_each - 1;
    }
    return 0;
}

int load_worker_init(struct load_worker *worker, const struct load_options *options, unsigned index, int notify_fd,
                     const _Atomic int *announced)
{
    /* The eventfd is never read: each write is a new edge (epoll(7)), which wakes the worker. */
    struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.ptr = NULL };
    uint32_t batches_each = 1;

    while (batches_each < options->depth)
        batches_each *= 2;
    *worker = (struct load_worker){
        .context = { .options = options },
        .index = index,
        .notify_fd = notify_fd,
        .announced = announced,
        .connection_count = options->connections / options->threads + (index < options->connections % options->threads),
        .next_number = index,
        .quota = UINT64_MAX,
        .period_ns = options->rate > 0 ? 1e9 * options->threads / options->rate : 0,
        .finished = -1,
    };
    if (index == 0 && options->call_counts != NULL && !server_usage_map_calls(options->call_counts, &worker->calls))
        return -errno;
    atomic_store(&worker->live, worker->connection_count);
    histogram_reset(&worker->context.latency);
    worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    worker->context.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (worker->wake_fd < 0 || worker->context.epoll_fd < 0 ||
        epoll_ctl(worker->context.epoll_fd, EPOLL_CTL_ADD, worker->wake_fd, &event) < 0)
        return -errno;
    return allocate(worker, batches_each);
}

int load_worker_start(struct load_worker *worker)
{
    return -pthread_create(&worker->thread, NULL, run, worker);
}

void load_worker_wake(struct load_worker *worker)
{
    eventfd_write(worker->wake_fd, 1);
}

void load_worker_destroy(struct load_worker *worker)
{
    close(worker->wake_fd);
    close(worker->context.epoll_fd);
    free(worker->connections);
    free(worker->batches);
    free(worker->context.send_buffer);
    free(worker->context.receive_buffer);
}
