/* The limit on connections (max_connections): whether an accepted connection is admitted, refused or waits. */
#include "base/memory.h"
#include "base/platform/thread.h"
#include "net/server/server.h"

enum admission server_admission_take(struct server_loop *slot)
{
    struct server_admission *admission = &slot->server->admission;
    enum admission result = ADMISSION_GRANTED;

    if (admission->limit == 0)
        return ADMISSION_GRANTED;
    thread_mutex_lock(&admission->lock);
    if (admission->admitted < admission->limit)
        admission->admitted++;
    else
        result = admission->refuses || admission->closed ? ADMISSION_REFUSED : ADMISSION_WAITS;
    thread_mutex_unlock(&admission->lock);
    return result;
}

/* Under the lock. Returns the first connection that waits, or NULL. */
static struct handover *admission_take_waiting(struct server_admission *admission)
{
    struct handover *first = admission->waiting;

    if (first == NULL)
        return NULL;
    admission->waiting = first->next;
    if (admission->waiting == NULL)
        admission->waiting_link = &admission->waiting;
    return first;
}

void server_admission_wait(struct server_loop *slot, struct handover *handover)
{
    struct server_admission *admission = &slot->server->admission;
    bool closed, free;

    thread_mutex_lock(&admission->lock);
    closed = admission->closed;
    free = !closed && admission->admitted < admission->limit;
    if (free) {
        admission->admitted++;
    } else if (!closed) {
        handover->next = NULL;
        *admission->waiting_link = handover;
        admission->waiting_link = &handover->next;
    }
    thread_mutex_unlock(&admission->lock);
    if (free)
        server_push_handover(handover);
    if (!closed)
        return;
    server_drop_socket(slot, handover->socket);
    server_remove_connection(slot->server, handover->to->loop);
    memory_release(handover, sizeof(*handover));
}

void server_admission_release(jd_tcp_server *server)
{
    struct server_admission *admission = &server->admission;
    struct handover *next;
    bool is_full;

    if (admission->limit == 0)
        return;
    thread_mutex_lock(&admission->lock);
    next = admission_take_waiting(admission);
    is_full = admission->admitted == admission->limit;
    admission->admitted -= next == NULL;
    thread_mutex_unlock(&admission->lock);
    if (next != NULL)
        server_push_handover(next);
    else if (is_full && !admission->refuses)
        server_loop_queue_update(&server->base_loop);
}

bool server_admission_is_full(struct server_loop *slot)
{
    struct server_admission *admission = &slot->server->admission;
    bool is_full;

    if (admission->limit == 0 || admission->refuses)
        return false;
    thread_mutex_lock(&admission->lock);
    is_full = admission->admitted == admission->limit;
    thread_mutex_unlock(&admission->lock);
    return is_full;
}

void server_admission_open(jd_tcp_server *server)
{
    struct server_admission *admission = &server->admission;

    thread_mutex_lock(&admission->lock);
    admission->closed = false;
    thread_mutex_unlock(&admission->lock);
}

void server_admission_close(jd_tcp_server *server)
{
    struct server_admission *admission = &server->admission;
    struct handover *waiting;

    thread_mutex_lock(&admission->lock);
    admission->closed = true;
    waiting = admission->waiting;
    admission->waiting = NULL;
    admission->waiting_link = &admission->waiting;
    thread_mutex_unlock(&admission->lock);
    for (struct handover *next; waiting != NULL; waiting = next) {
        next = waiting->next;
        server_drop_socket(&server->base_loop, waiting->socket);
        server_remove_connection(server, waiting->to->loop);
        memory_release(waiting, sizeof(*waiting));
    }
}
