/* The stream side of the Proactor, receiving: who may receive when blocks are scarce, and what is told of the end. The budget
 * of a turn is in proactor_receive_budget.c. */
#include "proactor/engine/proactor_receive_budget.h"

enum { STARVED_RETRY_NS = 10 * 1000000, TRIED_RETRY_NS = 1000000 };

void proactor_receive_init(struct proactor_engine *proactor)
{
    stream_list_init(&proactor->receiving.starved);
    stream_list_init(&proactor->receiving.behind);
    stream_list_init(&proactor->receiving.ended);
}

/* ---- receiving ---- */

static int receive(struct proactor_engine *proactor, struct stream *stream)
{
    const struct operation_request request = {
        .opcode = OPCODE_RECEIVE_MULTISHOT,
        .token = token_of(stream, COMPLETES_RECEIVE),
        .fd = stream->socket,
    };
    int result = proactor_submit(proactor, &request);

    if (result == 0)
        set_flag(stream, STREAM_RECEIVING);
    return result;
}

static int watch(struct proactor_engine *proactor, struct stream *stream)
{
    const struct operation_request request = {
        .opcode = OPCODE_POLL_MULTISHOT,
        .token = token_of(stream, COMPLETES_WATCH),
        .fd = stream->socket,
        .poll_events = READY_ERROR | READY_HANGUP,
    };
    int result = proactor_submit(proactor, &request);

    if (result == 0)
        set_flag(stream, STREAM_WATCHED);
    return result;
}

static bool anyone_waits(const struct proactor_engine *proactor)
{
    return proactor->receiving.starved.first != NULL || proactor->receiving.behind.first != NULL ||
           proactor->receiving.are_trying;
}

/* Whatever the stream's state asks for, if it is not under way: to receive, or to notice errors. */
static void continue_stream(struct proactor_engine *proactor, struct stream *stream, bool may_receive)
{
    int result = 0;

    if (has_flag(stream, STREAM_FAILED | STREAM_CLOSING | STREAM_RECEIVING | STREAM_STARVED | STREAM_HOLDS))
        return;
    if (!has_flag(stream, STREAM_PAUSED | STREAM_ENDED)) {
        if (may_receive)
            result = receive(proactor, stream);
        else
            stream_list_append(&proactor->receiving.behind, stream, STREAM_STARVED);
    } else if (!has_flag(stream, STREAM_WATCHED)) {
        result = watch(proactor, stream);
    } else if (has_flag(stream, STREAM_ERROR_SEEN)) {
        result = socket_error(stream->socket);
    }
    clear_flag(stream, STREAM_ERROR_SEEN);
    if (result < 0)
        fail(stream, result);
}

/* In its turn: what is given back this one would else receive into before those that have waited longer, for ever. */
void proactor_receive_or_watch(struct proactor_engine *proactor, struct stream *stream)
{
    continue_stream(proactor, stream, !anyone_waits(proactor));
}

int proactor_stream_start(struct stream *stream)
{
    struct proactor_engine *proactor = proactor_of_loop(stream->loop);

    if (!anyone_waits(proactor))
        return receive(proactor, stream);
    stream_list_append(&proactor->receiving.behind, stream, STREAM_STARVED);
    return 0;
}

void proactor_cancel_receive(struct proactor_engine *proactor, struct stream *stream)
{
    if (!has_flag(stream, STREAM_RECEIVING) || has_flag(stream, STREAM_RECEIVE_CANCELLED))
        return;
    set_flag(stream, STREAM_RECEIVE_CANCELLED);
    proactor_cancel(proactor, stream->socket, token_of(stream, COMPLETES_RECEIVE));
}

void proactor_stream_pause(struct stream *stream)
{
    set_flag(stream, STREAM_PAUSED);
    proactor_cancel_receive(proactor_of_loop(stream->loop), stream);
}

/* The watching goes on: it costs nothing, and the next pause is not far. */
void proactor_stream_resume(struct stream *stream)
{
    if (!has_flag(stream, STREAM_PAUSED))
        return;
    clear_flag(stream, STREAM_PAUSED);
    proactor_receive_or_watch(proactor_of_loop(stream->loop), stream);
}

/* Most that end are closed in the same turn: only those that are still there with the next wait are worth a poll. */
void proactor_end_stream(struct proactor_engine *proactor, struct stream *stream)
{
    set_flag(stream, STREAM_ENDED);
    if (!has_flag(stream, STREAM_WATCHED))
        stream_list_append(&proactor->receiving.ended, stream, STREAM_TO_WATCH);
    stream_ended(stream);
}

/* The first of the list. It keeps its right to be first until it has received something. */
static void try_first(struct proactor_engine *proactor, struct stream_list *list)
{
    const struct backend *backend = proactor->backend;
    struct stream *stream = stream_list_take_first(list, STREAM_STARVED);

    continue_stream(proactor, stream, true);
    if (!has_flag(stream, STREAM_RECEIVING))
        return;
    set_flag(stream, STREAM_STARVED);
    proactor->receiving.are_trying = true;
    proactor->receiving.tried_by = backend->ops->submitted(backend);
    proactor->receiving.tried_turn = proactor->turn;
}

void proactor_continue_streams(struct proactor_engine *proactor)
{
    const struct backend *backend = proactor->backend;
    struct stream_list *list;

    while (proactor->receiving.ended.first != NULL)
        proactor_receive_or_watch(proactor, stream_list_take_first(&proactor->receiving.ended, STREAM_TO_WATCH));
    list = proactor->receiving.starved.first != NULL ? &proactor->receiving.starved : &proactor->receiving.behind;
    if (list->first == NULL || (list == &proactor->receiving.behind && proactor->receiving.are_trying))
        return;
    /* Not for all that there is room for: they find bytes at once, and others are receiving, too. */
    for (unsigned room = (backend->ops->receive_room(backend) + 1) / 2; room > 0 && list->first != NULL; room--)
        try_first(proactor, list);
}

/* What was to be tried in an earlier turn still is: another thread does so (SQPOLL), perhaps on this core. */
static bool is_tried_elsewhere(const struct proactor_engine *proactor)
{
    return proactor->receiving.are_trying && proactor->turn != proactor->receiving.tried_turn;
}

/* Those for whom there was room go first; for the others there is as soon as these are under way. Without any room only time
 * can bring memory. */
int64_t proactor_receive_patience(const struct proactor_engine *proactor)
{
    if (proactor->receiving.starved.first != NULL || proactor->operations.starved != NULL ||
        !is_tried_elsewhere(proactor))
        return proactor->backend->ops->receive_room(proactor->backend) > 0 ? 0 : STARVED_RETRY_NS;
    return TRIED_RETRY_NS;
}

void proactor_stop_receiving(struct proactor_engine *proactor, struct stream *stream)
{
    if (has_flag(stream, STREAM_STARVED) && !stream_list_take(&proactor->receiving.starved, stream, STREAM_STARVED))
        stream_list_take(&proactor->receiving.behind, stream, STREAM_STARVED);
    if (has_flag(stream, STREAM_TO_WATCH))
        stream_list_take(&proactor->receiving.ended, stream, STREAM_TO_WATCH);
    if (has_flag(stream, STREAM_HOLDS))
        proactor_drop_held(proactor, stream);
    proactor_cancel_receive(proactor, stream);
    if (has_flag(stream, STREAM_WATCHED))
        proactor_cancel(proactor, stream->socket, token_of(stream, COMPLETES_WATCH));
}

/* ---- completions ---- */

/* What was received before it is told first. */
static void tell_failure(struct proactor_engine *proactor, struct stream *stream, int error)
{
    if (has_flag(stream, STREAM_HOLDS))
        proactor_release_held(proactor, stream);
    if (!has_flag(stream, STREAM_FAILED))
        fail(stream, error);
}

static void tell_block(struct proactor_engine *proactor, struct stream *stream, struct block **block)
{
    if (has_flag(stream, STREAM_HOLDS) || received_in_turn(proactor, stream) >= stream_budget(stream)) {
        struct block *kept = block_keep(*block);
        if (kept == NULL) {
            tell_failure(proactor, stream, JD_ENOMEM);
            return;
        }
        if (kept == *block)
            *block = NULL;
        proactor_hold(proactor, stream, kept);
        return;
    }
    count_turns_between(proactor, stream);
    count_received(proactor, stream, block_length(*block));
    stream_received(stream, block);
}

/* One that has waited in vain goes on being first. One that had its share waits behind the others, or it would take all that
 * is given back. */
static void starve(struct proactor_engine *proactor, struct stream *stream)
{
    stream_list_append(has_flag(stream, STREAM_STARVED) ? &proactor->receiving.starved : &proactor->receiving.behind,
                       stream, STREAM_STARVED);
    event_loop_count_receive_pause(stream->loop);
}

static void tell_received(struct proactor_engine *proactor, struct stream *stream, struct completion *completion)
{
    if (completion->result > 0)
        tell_block(proactor, stream, completion->block);
    else if (completion->result == 0 && has_flag(stream, STREAM_HOLDS))
        set_flag(stream, STREAM_END_HELD);
    else if (completion->result == 0)
        proactor_end_stream(proactor, stream);
    else if (completion->result == JD_ENOBUFS && !has_flag(stream, STREAM_HOLDS))
        starve(proactor, stream);
    else if (completion->result != JD_ENOBUFS && !is_passing(completion->result))
        tell_failure(proactor, stream, (int)completion->result);
}

void proactor_received(struct proactor_engine *proactor, struct stream *stream, struct completion *completion)
{
    if (!completion->more)
        clear_flag(stream, STREAM_RECEIVING | STREAM_RECEIVE_CANCELLED);
    if (completion->result != JD_ENOBUFS)
        clear_flag(stream, STREAM_STARVED);
    if (proactor_is_closing(proactor, stream))
        return;
    if (!has_flag(stream, STREAM_FAILED | STREAM_ENDED))
        tell_received(proactor, stream, completion);
    if (!has_flag(stream, STREAM_TO_WATCH))
        proactor_receive_or_watch(proactor, stream);
}

/* A FIN may be told here, too, but is told to others behind the bytes before it: when receiving goes on. */
void proactor_watched(struct proactor_engine *proactor, struct stream *stream, const struct completion *completion)
{
    if (!completion->more)
        clear_flag(stream, STREAM_WATCHED);
    if (proactor_is_closing(proactor, stream))
        return;
    if (completion->result > 0 && completion->result & READY_ERROR)
        set_flag(stream, STREAM_ERROR_SEEN);
    if (completion->result < 0 && !is_passing(completion->result) && !has_flag(stream, STREAM_FAILED))
        fail(stream, (int)completion->result);
    proactor_receive_or_watch(proactor, stream);
}
