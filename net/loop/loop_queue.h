/* What other threads reach a loop by: its queue of tasks, its wake-up, and its index in the process. */
#ifndef NET_LOOP_LOOP_QUEUE_H
#define NET_LOOP_LOOP_QUEUE_H

#include "base/task_queue.h"

#include <jinduo/event_loop.h>

enum { CACHE_LINE_BYTES = 64 };

/* AWAKE: it will look at its queue before it sleeps. SLEEPING: whoever pushes first must wake it. SIGNALLED: one has. */
enum { LOOP_AWAKE, LOOP_SLEEPING, LOOP_SIGNALLED };

/* What a loop is woken by. Static lifetime: a thread that has queued a task may come to it after the loop has run that task and
 * been destroyed. The next loop of the same index uses it again. */
struct loop_wake {
    _Alignas(2 * CACHE_LINE_BYTES) _Atomic int state;
    _Atomic uint32_t wakers; /* threads that may be about to call the engine's wake */
    jd_event_loop *loop;     /* whose it is, or was last: to be read by a waker that has found it SLEEPING only */
};

/* Gives the loop its index and its wake. Returns 0 or JD_EMFILE. From publish to withdraw the loop can be found by its
 * index. */
int loop_registry_take(jd_event_loop *loop, uint32_t *first_generation);
void loop_registry_publish(jd_event_loop *loop);
void loop_registry_withdraw(jd_event_loop *loop);
void loop_registry_give_back(uint8_t index, uint32_t generation);

/* At the loop's end: from now on nobody wakes it. Returns when no thread is in the engine's wake any more. */
void event_loop_wait_for_wakers(jd_event_loop *loop);

/* As event_loop_push (net/engine/engine_events.h), for a caller who knows the loop to exist when the call begins only: it may be
 * ended by something else than the task, too. */
bool event_loop_push_last(jd_event_loop *loop, struct task_node *task);

/* Queues task on the loop with this index, if there is one: JD_ENOENT otherwise. From any thread. */
int event_loop_push_by_index(uint8_t index, struct task_node *task);

/* From any thread and from signal handlers. The loop that wake belonged to may have ended. */
void event_loop_wake(struct loop_wake *wake);

/* What keeps a loop's memory and its queue, which refuses tasks once the loop has ended: the loop itself, each connection, and
 * whoever is about to push a task. From any thread. */
void event_loop_ref_memory(jd_event_loop *loop);
void event_loop_unref_memory(jd_event_loop *loop);

#endif
