/* The budget of a turn, and how many streams are active. A stream that has received more than its budget stops
 * receiving; the blocks beyond the budget are deferred and delivered in the following turns, one budget per turn. */
#include "proactor/engine/proactor_receive_budget.h"

#include <assert.h>

enum { GATHERING_SHARE = 32 };

void proactor_budget_init(struct proactor_engine *proactor)
{
    stream_list_init(&proactor->budget.budget_deferred);
    proactor->budget.gathering_share = GATHERING_SHARE;
}

/* A small share of the active streams: if it were most of them, they would wait for each other. The number of active
 * streams is estimated by budget.turns_between: in the turns since a stream last received, the other active streams
 * received. */
unsigned proactor_worth_gathering(const struct proactor_engine *owner)
{
    return owner->budget.turns_between / owner->budget.gathering_share;
}

/* ---- deferred blocks: a circular list ---- */

void proactor_defer_block(struct proactor_engine *proactor, struct stream *stream, struct block *block)
{
    struct block *last = stream->engine_data;

    if (has_flag(stream, STREAM_BUDGET_DEFERRED)) {
        block->next = last->next;
        last->next = block;
    } else {
        block->next = block;
        stream_list_append(&proactor->budget.budget_deferred, stream, STREAM_BUDGET_DEFERRED);
        proactor_cancel_receive(proactor, stream);
    }
    stream->engine_data = block;
}

static struct block *deferred_take_first(struct stream *stream)
{
    struct block *last = stream->engine_data, *first;

    assert(last != NULL);
    first = last->next;
    last->next = first->next;
    if (first == last) {
        stream->engine_data = NULL;
        clear_flag(stream, STREAM_BUDGET_DEFERRED);
    }
    return first;
}

static void deferred_drop_all(struct stream *stream)
{
    while (has_flag(stream, STREAM_BUDGET_DEFERRED))
        block_release(deferred_take_first(stream));
}

static void deferred_deliver(struct proactor_engine *proactor, struct stream *stream, size_t budget)
{
    size_t delivered = 0;

    while (has_flag(stream, STREAM_BUDGET_DEFERRED) && !has_flag(stream, STREAM_FAILED) && delivered < budget) {
        struct block *block = deferred_take_first(stream);
        delivered += block_length(block);
        event_loop_delivers_more(stream->loop, has_flag(stream, STREAM_BUDGET_DEFERRED) && delivered < budget);
        stream_received(stream, &block);
        event_loop_delivers_more(stream->loop, false);
        if (block != NULL)
            block_release(block);
    }
    if (!has_flag(stream, STREAM_BUDGET_DEFERRED))
        budget_count_received(proactor, stream, delivered);
}

void proactor_drop_deferred(struct proactor_engine *proactor, struct stream *stream)
{
    stream_list_remove(&proactor->budget.budget_deferred, stream, 0);
    deferred_drop_all(stream);
}

void proactor_deliver_deferred(struct proactor_engine *proactor, struct stream *stream)
{
    stream_list_remove(&proactor->budget.budget_deferred, stream, 0);
    deferred_deliver(proactor, stream, SIZE_MAX);
    deferred_drop_all(stream);
}

static void deferred_continue(struct proactor_engine *proactor, struct stream *stream)
{
    deferred_deliver(proactor, stream, stream_budget(stream));
    if (has_flag(stream, STREAM_FAILED))
        deferred_drop_all(stream);
    if (has_flag(stream, STREAM_BUDGET_DEFERRED))
        stream_list_append(&proactor->budget.budget_deferred, stream, STREAM_BUDGET_DEFERRED);
    else if (has_flag(stream, STREAM_END_DEFERRED))
        proactor_report_end(proactor, stream);
    else
        proactor_receive_or_watch(proactor, stream);
}

unsigned proactor_continue_deferred(struct proactor_engine *proactor)
{
    struct stream *stream = proactor->budget.budget_deferred.first;
    unsigned count = 0;

    proactor->budget.turns_between = 0;
    stream_list_init(&proactor->budget.budget_deferred);
    for (struct stream *next; stream != NULL; stream = next, count++) {
        next = stream->engine_next;
        deferred_continue(proactor, stream);
    }
    return count;
}
