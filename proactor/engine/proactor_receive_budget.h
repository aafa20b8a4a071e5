/* The bytes that a stream has received in this turn, and the blocks that it has received beyond its budget
 * (stream_budget). proactor_receive.c counts and defers; proactor_receive_budget.c delivers deferred blocks. */
#ifndef PROACTOR_ENGINE_PROACTOR_RECEIVE_BUDGET_H
#define PROACTOR_ENGINE_PROACTOR_RECEIVE_BUDGET_H

#include "proactor/engine/proactor_stream.h"

/* stream.engine_data has two uses. With deferred blocks (STREAM_BUDGET_DEFERRED) it points to the last of them, whose
 * next is the first. Otherwise it holds the turn of the last receive in its upper 32 bits and the bytes received in
 * that turn in its lower. */
static inline size_t budget_received_in_turn(const struct proactor_engine *proactor, const struct stream *stream)
{
    uint64_t count = (uint64_t)(uintptr_t)stream->engine_data;

    return count >> 32 == proactor->turn ? (size_t)(uint32_t)count : 0;
}

/* Adds the turns since the stream last received to budget.turns_between. */
static inline void budget_count_turns(struct proactor_engine *proactor, const struct stream *stream)
{
    enum { TURNS_MAX = 1024 }; /* a stream that was idle for longer counts no more than this */
    uint32_t before = (uint32_t)((uint64_t)(uintptr_t)stream->engine_data >> 32), turns = proactor->turn - before;

    if (before != 0)
        proactor->budget.turns_between += turns < TURNS_MAX ? turns : TURNS_MAX;
}

static inline void budget_count_received(struct proactor_engine *proactor, struct stream *stream, size_t bytes)
{
    size_t sum = budget_received_in_turn(proactor, stream) + bytes;

    stream->engine_data = (void *)(uintptr_t)((uint64_t)proactor->turn << 32 | (sum < UINT32_MAX ? sum : UINT32_MAX));
}

/* Defers the block, which the stream owns from here on, to a later turn, and cancels the stream's receive. */
void proactor_defer_block(struct proactor_engine *proactor, struct stream *stream, struct block *block);

/* Delivers all deferred blocks of a stream now, whatever the budget; or drops them. Only with STREAM_BUDGET_DEFERRED. */
void proactor_deliver_deferred(struct proactor_engine *proactor, struct stream *stream);
void proactor_drop_deferred(struct proactor_engine *proactor, struct stream *stream);

#endif
