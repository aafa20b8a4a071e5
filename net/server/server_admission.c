/* Whether there is a place for an accepted connection, when their number is limited (max_connections). */
#include "base/memory.h"
#include "base/platform/thread.h"
#include "net/server/server.h"

enum place server_take_place(struct server_loop *at)
{
    struct server_admission *places = &at->server->places;
    enum place place = PLACE_FREE;

    if (places->limit == 0)
        return PLACE_FREE;
    thread_mutex_lock(&places->lock);
    if (places->taken < places->limit)
        places->taken++;
    else
        place = places->refuses || places->closed ? PLACE_NONE : PLACE_LATER;
    thread_mutex_unlock(&places->lock);
    return place;
}

static struct handover *take_waiting(struct server_admission *places)
{
    struct handover *first = places->waiting;

    if (first == NULL)
        return NULL;
    places->waiting = first->next;
    if (places->waiting == NULL)
        places->waiting_link = &places->waiting;
    return first;
}

void server_wait_for_place(struct server_loop *at, struct handover *handover)
{
    struct server_admission *places = &at->server->places;
    bool closed, free;

    thread_mutex_lock(&places->lock);
    closed = places->closed;
    free = !closed && places->taken < places->limit;
    if (free) {
        places->taken++;
    } else if (!closed) {
        handover->next = NULL;
        *places->waiting_link = handover;
        places->waiting_link = &handover->next;
    }
    thread_mutex_unlock(&places->lock);
    if (free)
        server_push_handover(handover);
    if (!closed)
        return;
    server_lose_socket(at, handover->socket);
    server_count_out(at->server, handover->to->loop);
    memory_release(handover, sizeof(*handover));
}

void server_release_place(jd_tcp_server *server)
{
    struct server_admission *places = &server->places;
    struct handover *next;
    bool is_full;

    if (places->limit == 0)
        return;
    thread_mutex_lock(&places->lock);
    next = take_waiting(places);
    is_full = places->taken == places->limit;
    places->taken -= next == NULL;
    thread_mutex_unlock(&places->lock);
    if (next != NULL)
        server_push_handover(next);
    else if (is_full && !places->refuses)
        server_loop_queue_update(&server->own);
}

bool server_loop_is_full(struct server_loop *at)
{
    struct server_admission *places = &at->server->places;
    bool is_full;

    if (places->limit == 0 || places->refuses)
        return false;
    thread_mutex_lock(&places->lock);
    is_full = places->taken == places->limit;
    thread_mutex_unlock(&places->lock);
    return is_full;
}

void server_close_admission(jd_tcp_server *server)
{
    struct server_admission *places = &server->places;
    struct handover *waiting;

    thread_mutex_lock(&places->lock);
    places->closed = true;
    waiting = places->waiting;
    places->waiting = NULL;
    places->waiting_link = &places->waiting;
    thread_mutex_unlock(&places->lock);
    for (struct handover *next; waiting != NULL; waiting = next) {
        next = waiting->next;
        server_lose_socket(&server->own, waiting->socket);
        server_count_out(server, waiting->to->loop);
        memory_release(waiting, sizeof(*waiting));
    }
}
