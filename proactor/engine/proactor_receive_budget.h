/* How much a stream has received in this turn, and what it has received beyond its budget: proactor_receive.c counts and holds,
 * proactor_receive_budget.c delivers what was held. */
#ifndef PROACTOR_ENGINE_PROACTOR_RECEIVE_BUDGET_H
#define PROACTOR_ENGINE_PROACTOR_RECEIVE_BUDGET_H

#include "proactor/engine/proactor_stream.h"

/* While nothing is held engine_data counts what was received in this turn, else it is the last of the held blocks, whose
 * next is the first. */
static inline size_t received_in_turn(const struct proactor_engine *proactor, const struct stream *stream)
{
    uint64_t count = (uint64_t)(uintptr_t)stream->engine_data;

    return count >> 32 == proactor->turn ? (size_t)(uint32_t)count : 0;
}

static inline void count_turns_between(struct proactor_engine *proactor, const struct stream *stream)
{
    enum { MOST = 1024 }; /* more, and it has just been idle */
    uint32_t before = (uint32_t)((uint64_t)(uintptr_t)stream->engine_data >> 32), turns = proactor->turn - before;

    if (before != 0)
        proactor->budget.turns_between += turns < MOST ? turns : MOST;
}

static inline void count_received(struct proactor_engine *proactor, struct stream *stream, size_t bytes)
{
    size_t sum = received_in_turn(proactor, stream) + bytes;

    stream->engine_data = (void *)(uintptr_t)((uint64_t)proactor->turn << 32 | (sum < UINT32_MAX ? sum : UINT32_MAX));
}

/* The block is delivered in a later turn; until then the stream does not receive. */
void proactor_hold(struct proactor_engine *proactor, struct stream *stream, struct block *block);

/* Of a stream that holds blocks: they are delivered all at once, whatever the budget, or dropped. */
void proactor_release_held(struct proactor_engine *proactor, struct stream *stream);
void proactor_drop_held(struct proactor_engine *proactor, struct stream *stream);

#endif
