/* The stream side of the Proactor, receiving: who may receive when blocks are scarce, the budget of a turn, and what is
 * told of the end. */
#include "proactor/engine/proactor_stream.h"

#include <assert.h>

/* ---- the engine's lists ---- */

static void put_on_list(struct stream_list *list, struct stream *stream, unsigned flag)
{
    set_flag(stream, flag);
    stream->engine_next = NULL;
    *list->link = stream;
    list->link = &stream->engine_next;
}

static struct stream *take_first(struct stream_list *list, unsigned flag)
{
    struct stream *stream = list->first;

    list->first = stream->engine_next;
    if (list->first == NULL)
        list->link = &list->first;
    clear_flag(stream, flag);
    return stream;
}

void stream_list_init(struct stream_list *list)
{
    list->first = NULL;
    list->link = &list->first;
}

/* Streams are closed about in the order in which they came here: it is found near the front. Returns whether it was. */
static bool take_from_list(struct stream_list *list, struct stream *stream, unsigned flag)
{
    struct stream **link = &list->first;

    while (*link != stream && *link != NULL)
        link = &(*link)->engine_next;
    if (*link == NULL)
        return false;
    *link = stream->engine_next;
    if (*link == NULL)
        list->link = link;
    clear_flag(stream, flag);
    return true;
}

/* ---- receiving ---- */

static int receive(struct proactor_engine *proactor, struct stream *stream)
{
    const struct operation_request request = {
        .kind = OPERATION_RECEIVE_MANY,
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
        .kind = OPERATION_POLL_MANY,
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
    return proactor->starved.first != NULL || proactor->behind.first != NULL || proactor->are_trying;
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
            put_on_list(&proactor->behind, stream, STREAM_STARVED);
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
static void receive_or_watch(struct proactor_engine *proactor, struct stream *stream)
{
    continue_stream(proactor, stream, !anyone_waits(proactor));
}

int proactor_stream_start(struct stream *stream)
{
    struct proactor_engine *proactor = proactor_of_loop(stream->loop);

    if (!anyone_waits(proactor))
        return receive(proactor, stream);
    put_on_list(&proactor->behind, stream, STREAM_STARVED);
    return 0;
}

static void cancel_receive(struct proactor_engine *proactor, struct stream *stream)
{
    if (!has_flag(stream, STREAM_RECEIVING) || has_flag(stream, STREAM_RECEIVE_CANCELLED))
        return;
    set_flag(stream, STREAM_RECEIVE_CANCELLED);
    proactor_cancel(proactor, stream->socket, token_of(stream, COMPLETES_RECEIVE));
}

void proactor_stream_pause(struct stream *stream)
{
    set_flag(stream, STREAM_PAUSED);
    cancel_receive(proactor_of_loop(stream->loop), stream);
}

/* The watching goes on: it costs nothing, and the next pause is not far. */
void proactor_stream_resume(struct stream *stream)
{
    if (!has_flag(stream, STREAM_PAUSED))
        return;
    clear_flag(stream, STREAM_PAUSED);
    receive_or_watch(proactor_of_loop(stream->loop), stream);
}

/* Most that end are closed in the same turn: only those that are still there with the next wait are worth a poll. */
static void end(struct proactor_engine *proactor, struct stream *stream)
{
    set_flag(stream, STREAM_ENDED);
    if (!has_flag(stream, STREAM_WATCHED))
        put_on_list(&proactor->ended, stream, STREAM_TO_WATCH);
    stream_ended(stream);
}

/* The first of the list. It keeps its right to be first until it has received something. */
static void try_first(struct proactor_engine *proactor, struct stream_list *list)
{
    const struct backend *backend = proactor->backend;
    struct stream *stream = take_first(list, STREAM_STARVED);

    continue_stream(proactor, stream, true);
    if (!has_flag(stream, STREAM_RECEIVING))
        return;
    set_flag(stream, STREAM_STARVED);
    proactor->are_trying = true;
    proactor->tried_by = backend->ops->submitted(backend);
    proactor->tried_turn = proactor->turn;
}

void proactor_continue_streams(struct proactor_engine *proactor)
{
    const struct backend *backend = proactor->backend;
    struct stream_list *list;

    while (proactor->ended.first != NULL)
        receive_or_watch(proactor, take_first(&proactor->ended, STREAM_TO_WATCH));
    list = proactor->starved.first != NULL ? &proactor->starved : &proactor->behind;
    if (list->first == NULL || (list == &proactor->behind && proactor->are_trying))
        return;
    /* Not for all that there is room for: they find bytes at once, and others are receiving, too. */
    for (unsigned room = (backend->ops->receive_room(backend) + 1) / 2; room > 0 && list->first != NULL; room--)
        try_first(proactor, list);
}

/* ---- the budget ---- */

/* While nothing is held engine_data counts what was received in this turn, else it is the last of the held blocks, whose
 * next is the first. */
static size_t received_in_turn(const struct proactor_engine *proactor, const struct stream *stream)
{
    uint64_t count = (uint64_t)(uintptr_t)stream->engine_data;

    return count >> 32 == proactor->turn ? (size_t)(uint32_t)count : 0;
}

static void count_turns_between(struct proactor_engine *proactor, const struct stream *stream)
{
    enum { MOST = 1024 }; /* more, and it has just been idle */
    uint32_t before = (uint32_t)((uint64_t)(uintptr_t)stream->engine_data >> 32), turns = proactor->turn - before;

    if (before != 0)
        proactor->turns_between += turns < MOST ? turns : MOST;
}

static void count_received(struct proactor_engine *proactor, struct stream *stream, size_t bytes)
{
    size_t sum = received_in_turn(proactor, stream) + bytes;

    stream->engine_data = (void *)(uintptr_t)((uint64_t)proactor->turn << 32 | (sum < UINT32_MAX ? sum : UINT32_MAX));
}

static void hold(struct proactor_engine *proactor, struct stream *stream, struct block *block)
{
    struct block *last = stream->engine_data;

    if (has_flag(stream, STREAM_HOLDS)) {
        block->next = last->next;
        last->next = block;
    } else {
        block->next = block;
        put_on_list(&proactor->holding, stream, STREAM_HOLDS);
        cancel_receive(proactor, stream);
    }
    stream->engine_data = block;
}

static struct block *take_held(struct stream *stream)
{
    struct block *last = stream->engine_data, *first;

    assert(last != NULL);
    first = last->next;
    last->next = first->next;
    if (first == last) {
        stream->engine_data = NULL;
        clear_flag(stream, STREAM_HOLDS);
    }
    return first;
}

static void drop_held(struct stream *stream)
{
    while (has_flag(stream, STREAM_HOLDS))
        block_put(take_held(stream));
}

static void tell_held(struct proactor_engine *proactor, struct stream *stream, size_t budget)
{
    size_t told = 0;

    while (has_flag(stream, STREAM_HOLDS) && !has_flag(stream, STREAM_FAILED) && told < budget) {
        struct block *block = take_held(stream);
        told += block_length(block);
        stream_received(stream, &block);
        if (block != NULL)
            block_put(block);
    }
    if (!has_flag(stream, STREAM_HOLDS))
        count_received(proactor, stream, told);
}

static void continue_held(struct proactor_engine *proactor, struct stream *stream)
{
    tell_held(proactor, stream, stream_budget(stream));
    if (has_flag(stream, STREAM_FAILED))
        drop_held(stream);
    if (has_flag(stream, STREAM_HOLDS))
        put_on_list(&proactor->holding, stream, STREAM_HOLDS);
    else if (has_flag(stream, STREAM_END_HELD))
        end(proactor, stream);
    else
        receive_or_watch(proactor, stream);
}

unsigned proactor_tell_held(struct proactor_engine *proactor)
{
    struct stream *stream = proactor->holding.first;
    unsigned count = 0;

    stream_list_init(&proactor->holding);
    for (struct stream *next; stream != NULL; stream = next, count++) {
        next = stream->engine_next;
        continue_held(proactor, stream);
    }
    return count;
}

void proactor_stop_receiving(struct proactor_engine *proactor, struct stream *stream)
{
    if (has_flag(stream, STREAM_STARVED) && !take_from_list(&proactor->starved, stream, STREAM_STARVED))
        take_from_list(&proactor->behind, stream, STREAM_STARVED);
    if (has_flag(stream, STREAM_TO_WATCH))
        take_from_list(&proactor->ended, stream, STREAM_TO_WATCH);
    if (has_flag(stream, STREAM_HOLDS)) {
        take_from_list(&proactor->holding, stream, 0);
        drop_held(stream);
    }
    cancel_receive(proactor, stream);
    if (has_flag(stream, STREAM_WATCHED))
        proactor_cancel(proactor, stream->socket, token_of(stream, COMPLETES_WATCH));
}

/* ---- completions ---- */

/* What was received before it is told first. */
static void tell_failure(struct proactor_engine *proactor, struct stream *stream, int error)
{
    if (has_flag(stream, STREAM_HOLDS)) {
        take_from_list(&proactor->holding, stream, 0);
        tell_held(proactor, stream, SIZE_MAX);
        drop_held(stream);
    }
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
        hold(proactor, stream, kept);
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
    put_on_list(has_flag(stream, STREAM_STARVED) ? &proactor->starved : &proactor->behind, stream, STREAM_STARVED);
    event_loop_starved(stream->loop);
}

static void tell_received(struct proactor_engine *proactor, struct stream *stream, struct completion *completion)
{
    if (completion->result > 0)
        tell_block(proactor, stream, completion->block);
    else if (completion->result == 0 && has_flag(stream, STREAM_HOLDS))
        set_flag(stream, STREAM_END_HELD);
    else if (completion->result == 0)
        end(proactor, stream);
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
        receive_or_watch(proactor, stream);
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
    receive_or_watch(proactor, stream);
}
