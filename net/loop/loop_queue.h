/* How other threads reach a loop: its task queue, its wake-up, and the registry of loops by index. */
#ifndef NET_LOOP_LOOP_QUEUE_H
#define NET_LOOP_LOOP_QUEUE_H

#include "base/task_queue.h"

#include <jinduo/event_loop.h>

enum { CACHE_LINE_BYTES = 64 };

/* AWAKE: the loop will check its queue before it sleeps. SLEEPING: the next thread that pushes a task must wake it.
 * SIGNALLED: a thread has done so. */
enum { LOOP_AWAKE, LOOP_SLEEPING, LOOP_SIGNALLED };

/* The wake-up state of a loop. Static lifetime, one for each index: a thread that has pushed a task may reach this
 * state after the loop has run that task and been destroyed. The next loop with the index uses it again. */
struct loop_wake {
    _Alignas(2 * CACHE_LINE_BYTES) _Atomic int state;
    _Atomic uint32_t wakers; /* threads that may be about to call engine_ops.wake */
    jd_event_loop *loop; /* the current loop of this index, or the last; read only by a thread that found SLEEPING */
};

/* ---- the registry: the loops of the process by index; from any thread ---- */

/* Assigns an index and its loop_wake to the loop. *first_generation: the number after which the generations of its
 * connections and timers continue those of the last loop with that index. Returns 0, or JD_EMFILE: 255 loops exist. */
int loop_registry_allocate_index(jd_event_loop *loop, uint32_t *first_generation);

/* Frees the index. generation: the first_generation of its next loop. */
void loop_registry_free_index(uint8_t index, uint32_t generation);

/* From publish to withdraw, event_loop_push_by_index finds the loop. */
void loop_registry_publish(jd_event_loop *loop);
void loop_registry_withdraw(jd_event_loop *loop);

/* ---- tasks ---- */

/* As event_loop_push (net/engine/engine_events.h), with a weaker condition: the loop must exist when the call begins,
 * and may be destroyed during the call by anything, not only by the task. */
bool event_loop_push_with_ref(jd_event_loop *loop, struct task_node *task);

/* Pushes task on the loop with this index. Returns 0; or JD_ENOENT if no such loop accepts tasks: the task still
 * belongs to the caller. From any thread. */
int event_loop_push_by_index(uint8_t index, struct task_node *task);

/* ---- waking ---- */

/* Wakes the loop of this state if it sleeps. The loop may have been destroyed. From any thread and from signal
 * handlers. */
void event_loop_wake(struct loop_wake *wake);

/* Part of the loop's destruction: prevents further calls of the engine's wake, and returns when no thread is inside
 * one. In the loop's thread. */
void event_loop_wait_for_wakers(jd_event_loop *loop);

/* ---- the loop's memory ---- */

/* References to the loop's memory. While one exists, the memory and the task queue stay valid after
 * jd_event_loop_destroy: the closed queue refuses tasks. One reference belongs to the loop until it is destroyed, one
 * to each connection object, one to each task of a thread pool that reports to the loop, and one to a thread that is
 * pushing a task. The last unref frees the memory. From any thread; the caller of ref must know that the memory
 * exists. */
void event_loop_ref_memory(jd_event_loop *loop);
void event_loop_unref_memory(jd_event_loop *loop);

#endif
