/* The budget of a turn, and how many streams share the turns. What a stream receives beyond its budget is held, and nothing
 * more is received meanwhile; it is delivered in the turns that follow, a budget in each. */
#include "proactor/engine/proactor_receive_budget.h"

#include <assert.h>

void proactor_budget_init(struct proactor_engine *proactor)
{
    stream_list_init(&proactor->budget.holding);
}

unsigned proactor_gathering_share = 32;

/* A few of those at work: if it were most of them, they would wait for each other. How many are at work: each that received
 * in this turn did so last a number of turns ago, and meanwhile the others had theirs. */
unsigned proactor_worth_gathering(const struct proactor_engine *owner)
{
    return owner->budget.turns_between / proactor_gathering_share;
}

/* ---- what is held ---- */

void proactor_hold(struct proactor_engine *proactor, struct stream *stream, struct block *block)
{
    struct block *last = stream->engine_data;

    if (has_flag(stream, STREAM_HOLDS)) {
        block->next = last->next;
        last->next = block;
    } else {
        block->next = block;
        stream_list_append(&proactor->budget.holding, stream, STREAM_HOLDS);
        proactor_cancel_receive(proactor, stream);
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

void proactor_drop_held(struct proactor_engine *proactor, struct stream *stream)
{
    stream_list_take(&proactor->budget.holding, stream, 0);
    drop_held(stream);
}

void proactor_release_held(struct proactor_engine *proactor, struct stream *stream)
{
    stream_list_take(&proactor->budget.holding, stream, 0);
    tell_held(proactor, stream, SIZE_MAX);
    drop_held(stream);
}

static void continue_held(struct proactor_engine *proactor, struct stream *stream)
{
    tell_held(proactor, stream, stream_budget(stream));
    if (has_flag(stream, STREAM_FAILED))
        drop_held(stream);
    if (has_flag(stream, STREAM_HOLDS))
        stream_list_append(&proactor->budget.holding, stream, STREAM_HOLDS);
    else if (has_flag(stream, STREAM_END_HELD))
        proactor_end_stream(proactor, stream);
    else
        proactor_receive_or_watch(proactor, stream);
}

unsigned proactor_tell_held(struct proactor_engine *proactor)
{
    struct stream *stream = proactor->budget.holding.first;
    unsigned count = 0;

    proactor->budget.turns_between = 0;
    stream_list_init(&proactor->budget.holding);
    for (struct stream *next; stream != NULL; stream = next, count++) {
        next = stream->engine_next;
        continue_held(proactor, stream);
    }
    return count;
}
