/* Streams: receiving, the order in which streams receive when blocks are scarce, and noticing FIN and errors. The
 * budget of a turn is in proactor_receive_budget.c. */
#include "proactor/engine/proactor_receive_budget.h"

enum {
    NO_BLOCK_RETRY_NS = 10 * 1000000, /* no block is free: look for memory again */
    UNTRIED_RETRY_NS = 1000000,       /* a kernel thread has not tried the receives yet */
};

void proactor_receive_init(struct proactor_engine *proactor)
{
    stream_list_init(&proactor->receiving.receive_waiters_priority);
    stream_list_init(&proactor->receiving.receive_waiters);
    stream_list_init(&proactor->receiving.ended);
}

/* ---- receiving ---- */

static int stream_submit_receive(struct proactor_engine *proactor, struct stream *stream)
{
    const struct operation_request request = {
        .opcode = OPCODE_RECEIVE_MULTISHOT,
        .token = stream_completion_token(stream, COMPLETES_RECEIVE),
        .fd = stream->socket,
    };
    int result = proactor_submit(proactor, &request);

    if (result == 0)
        set_flag(stream, STREAM_RECEIVING);
    return result;
}

static int stream_submit_watch(struct proactor_engine *proactor, struct stream *stream)
{
    const struct operation_request request = {
        .opcode = OPCODE_POLL_MULTISHOT,
        .token = stream_completion_token(stream, COMPLETES_WATCH),
        .fd = stream->socket,
        .poll_events =
            has_flag(stream, STREAM_ENDED) ? READY_ERROR | READY_HANGUP : READY_ERROR | READY_HANGUP | READY_PEER_ENDED,
    };
    int result = proactor_submit(proactor, &request);

    if (result == 0)
        set_flag(stream, STREAM_WATCHED);
    return result;
}

static bool receive_has_waiters(const struct proactor_engine *proactor)
{
    return proactor->receiving.receive_waiters_priority.first != NULL ||
           proactor->receiving.receive_waiters.first != NULL || proactor->receiving.waiters_untried;
}

/* See proactor_receive_or_watch. may_receive: false: the stream has to wait for a block. */
static void stream_receive_or_watch(struct proactor_engine *proactor, struct stream *stream, bool may_receive)
{
    int result = 0;

    if (has_flag(stream,
                 STREAM_FAILED | STREAM_CLOSING | STREAM_RECEIVING | STREAM_RECEIVE_WAITER | STREAM_BUDGET_DEFERRED))
        return;
    if (!has_flag(stream, STREAM_PAUSED | STREAM_ENDED)) {
        if (may_receive)
            result = stream_submit_receive(proactor, stream);
        else
            stream_list_append(&proactor->receiving.receive_waiters, stream, STREAM_RECEIVE_WAITER);
    } else if (!has_flag(stream, STREAM_WATCHED | STREAM_OUTPUT_FAILED)) {
        result = stream_submit_watch(proactor, stream);
    }
    if (result < 0)
        proactor_fail(stream, result);
    else
        proactor_take_polled_error(proactor, stream);
}

/* Keep FIFO order: otherwise this stream takes each returned block ahead of streams that have waited longer, and
 * those never receive. */
void proactor_receive_or_watch(struct proactor_engine *proactor, struct stream *stream)
{
    stream_receive_or_watch(proactor, stream, !receive_has_waiters(proactor));
}

int proactor_stream_start(struct stream *stream)
{
    struct proactor_engine *proactor = proactor_of_loop(stream->loop);

    if (!receive_has_waiters(proactor))
        return stream_submit_receive(proactor, stream);
    stream_list_append(&proactor->receiving.receive_waiters, stream, STREAM_RECEIVE_WAITER);
    return 0;
}

void proactor_cancel_receive(struct proactor_engine *proactor, struct stream *stream)
{
    if (!has_flag(stream, STREAM_RECEIVING) || has_flag(stream, STREAM_RECEIVE_CANCELLED))
        return;
    set_flag(stream, STREAM_RECEIVE_CANCELLED);
    proactor_cancel(proactor, stream->socket, stream_completion_token(stream, COMPLETES_RECEIVE));
}

void proactor_stream_pause(struct stream *stream)
{
    set_flag(stream, STREAM_PAUSED);
    proactor_cancel_receive(proactor_of_loop(stream->loop), stream);
    if (has_flag(stream, STREAM_END_SEEN))
        proactor_notice_end(stream);
}

/* The poll for errors stays in flight: it costs nothing, and the next pause will need it again. */
void proactor_stream_resume(struct stream *stream)
{
    if (!has_flag(stream, STREAM_PAUSED))
        return;
    clear_flag(stream, STREAM_PAUSED);
    proactor_receive_or_watch(proactor_of_loop(stream->loop), stream);
}

/* Most streams are closed in the turn in which their FIN arrives. Only those that still exist before the next wait
 * are worth a poll. */
void proactor_report_end(struct proactor_engine *proactor, struct stream *stream)
{
    set_flag(stream, STREAM_ENDED);
    if (!has_flag(stream, STREAM_WATCHED))
        stream_list_append(&proactor->receiving.ended, stream, STREAM_WATCH_PENDING);
    stream_ended(stream);
}

/* Submits the receive of the first stream of the list. The stream keeps its flag until it has received something: if
 * it finds no block, it joins the waiters with priority. */
static void receive_waiters_try_first(struct proactor_engine *proactor, struct stream_list *list)
{
    const struct backend *backend = proactor->backend;
    struct stream *stream = stream_list_take_first(list, STREAM_RECEIVE_WAITER);

    stream_receive_or_watch(proactor, stream, true);
    if (!has_flag(stream, STREAM_RECEIVING))
        return;
    set_flag(stream, STREAM_RECEIVE_WAITER);
    proactor->receiving.waiters_untried = true;
    proactor->receiving.untried_until = backend->ops->submitted(backend);
    proactor->receiving.untried_turn = proactor->turn;
}

void proactor_continue_streams(struct proactor_engine *proactor)
{
    const struct backend *backend = proactor->backend;
    struct stream_list *list;

    while (proactor->receiving.ended.first != NULL)
        proactor_receive_or_watch(proactor, stream_list_take_first(&proactor->receiving.ended, STREAM_WATCH_PENDING));
    list = proactor->receiving.receive_waiters_priority.first != NULL ? &proactor->receiving.receive_waiters_priority
                                                                      : &proactor->receiving.receive_waiters;
    if (list->first == NULL || (list == &proactor->receiving.receive_waiters && proactor->receiving.waiters_untried))
        return;
    /* Half the room only: these streams have bytes waiting, and the streams that are receiving already need blocks
     * too. */
    for (unsigned room = (backend->ops->receive_room(backend) + 1) / 2; room > 0 && list->first != NULL; room--)
        receive_waiters_try_first(proactor, list);
}

/* Receives of an earlier turn have not been tried yet: their entries are parked, as the kernel takes none. */
static bool waiters_are_parked(const struct proactor_engine *proactor)
{
    return proactor->receiving.waiters_untried && proactor->turn != proactor->receiving.untried_turn;
}

/* Returns 0 if there is room: waiters submit in each turn until all receive. Without room only time can bring memory.
 * While the former waiters are parked, the wait is short. */
int64_t proactor_receive_patience(const struct proactor_engine *proactor)
{
    if (proactor->receiving.receive_waiters_priority.first != NULL || proactor->operations.receive_waiters != NULL ||
        !waiters_are_parked(proactor))
        return proactor->backend->ops->receive_room(proactor->backend) > 0 ? 0 : NO_BLOCK_RETRY_NS;
    return UNTRIED_RETRY_NS;
}

void proactor_stop_receiving(struct proactor_engine *proactor, struct stream *stream)
{
    if (has_flag(stream, STREAM_RECEIVE_WAITER) &&
        !stream_list_remove(&proactor->receiving.receive_waiters_priority, stream, STREAM_RECEIVE_WAITER))
        stream_list_remove(&proactor->receiving.receive_waiters, stream, STREAM_RECEIVE_WAITER);
    if (has_flag(stream, STREAM_WATCH_PENDING))
        stream_list_remove(&proactor->receiving.ended, stream, STREAM_WATCH_PENDING);
    if (has_flag(stream, STREAM_BUDGET_DEFERRED))
        proactor_drop_deferred(proactor, stream);
    proactor_cancel_receive(proactor, stream);
    if (has_flag(stream, STREAM_WATCHED))
        proactor_cancel(proactor, stream->socket, stream_completion_token(stream, COMPLETES_WATCH));
}

/* ---- completions ---- */

/* Bytes received before the failure are delivered first. */
static void stream_report_failure(struct proactor_engine *proactor, struct stream *stream, int error)
{
    if (has_flag(stream, STREAM_BUDGET_DEFERRED))
        proactor_deliver_deferred(proactor, stream);
    proactor_fail(stream, error);
}

static void stream_deliver_or_defer(struct proactor_engine *proactor, struct stream *stream, struct block **block,
                                    bool bytes_follow)
{
    if (has_flag(stream, STREAM_BUDGET_DEFERRED) ||
        budget_received_in_turn(proactor, stream) >= stream_budget(stream)) {
        struct block *kept = block_keep(*block);
        if (kept == NULL) {
            stream_report_failure(proactor, stream, JD_ENOMEM);
            return;
        }
        if (kept == *block)
            *block = NULL;
        proactor_defer_block(proactor, stream, kept);
        return;
    }
    budget_count_turns(proactor, stream);
    budget_count_received(proactor, stream, block_length(*block));
    if (bytes_follow)
        event_loop_delivers_more(stream->loop, true);
    stream_received(stream, block);
    if (bytes_follow)
        event_loop_delivers_more(stream->loop, false);
}

/* A stream that has waited and found no block waits with priority. A stream that has received since waits behind the
 * others; otherwise it would take every block that is returned. */
static void stream_wait_for_block(struct proactor_engine *proactor, struct stream *stream)
{
    stream_list_append(has_flag(stream, STREAM_RECEIVE_WAITER) ? &proactor->receiving.receive_waiters_priority
                                                               : &proactor->receiving.receive_waiters,
                       stream, STREAM_RECEIVE_WAITER);
    event_loop_count_receive_pause(stream->loop);
}

static void stream_report_received(struct proactor_engine *proactor, struct stream *stream,
                                   struct completion *completion)
{
    if (completion->result > 0)
        stream_deliver_or_defer(proactor, stream, completion->block, completion->bytes_follow);
    else if (completion->result == 0 && has_flag(stream, STREAM_BUDGET_DEFERRED))
        set_flag(stream, STREAM_END_DEFERRED);
    else if (completion->result == 0)
        proactor_report_end(proactor, stream);
    else if (completion->result == JD_ENOBUFS && !has_flag(stream, STREAM_BUDGET_DEFERRED))
        stream_wait_for_block(proactor, stream);
    else if (completion->result != JD_ENOBUFS && !error_is_transient(completion->result))
        stream_report_failure(proactor, stream, (int)completion->result);
}

void proactor_received(struct proactor_engine *proactor, struct stream *stream, struct completion *completion)
{
    if (!completion->more)
        clear_flag(stream, STREAM_RECEIVING | STREAM_RECEIVE_CANCELLED);
    if (completion->result != JD_ENOBUFS)
        clear_flag(stream, STREAM_RECEIVE_WAITER);
    if (proactor_continue_close(proactor, stream))
        return;
    if (!has_flag(stream, STREAM_FAILED | STREAM_ENDED))
        stream_report_received(proactor, stream, completion);
    /* io_uring's multishot receive does not try again behind the last byte, as only a FIN would be counted as more
     * (Linux, tcp_inq_hint). This wakes it. */
    if (has_flag(stream, STREAM_OUTPUT_FAILED) && has_flag(stream, STREAM_RECEIVING) && completion->result > 0)
        socket_stream_end_input(stream);
    if (!has_flag(stream, STREAM_WATCH_PENDING))
        proactor_receive_or_watch(proactor, stream);
}

/* A hang-up while a send is in flight is a reset, mostly, whose error the send has fetched and is going to report. */
static void stream_see_end(struct proactor_engine *proactor, struct stream *stream, int64_t events)
{
    set_flag(stream, STREAM_END_SEEN);
    if (events & READY_HANGUP && has_flag(stream, STREAM_SENDING | STREAM_READING))
        proactor->awaits_sends = true;
    else
        proactor_notice_end(stream);
}

/* The poll sees the FIN, too, but the FIN is reported by the receive, behind the bytes that precede it. */
void proactor_watched(struct proactor_engine *proactor, struct stream *stream, const struct completion *completion)
{
    if (!completion->more)
        clear_flag(stream, STREAM_WATCHED);
    if (proactor_continue_close(proactor, stream))
        return;
    if (completion->result < 0 && !error_is_transient(completion->result))
        stream_report_failure(proactor, stream, (int)completion->result);
    else if (completion->result > 0 && completion->result & READY_ERROR)
        set_flag(stream, STREAM_ERROR_POLLED);
    else if (completion->result > 0)
        stream_see_end(proactor, stream, completion->result);
    proactor_receive_or_watch(proactor, stream);
}
