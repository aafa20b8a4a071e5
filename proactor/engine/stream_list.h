/* A FIFO list of streams, linked by stream.engine_next: a stream is on at most one such list. */
#ifndef PROACTOR_ENGINE_STREAM_LIST_H
#define PROACTOR_ENGINE_STREAM_LIST_H

#include "net/engine/stream_socket.h"

struct stream_list {
    struct stream *first, **link;
};

static inline void stream_list_init(struct stream_list *list)
{
    list->first = NULL;
    list->link = &list->first;
}

/* These functions set and clear flag in the stream, which says that it is on the list. */
static inline void stream_list_append(struct stream_list *list, struct stream *stream, unsigned flag)
{
    set_flag(stream, flag);
    stream->engine_next = NULL;
    *list->link = stream;
    list->link = &stream->engine_next;
}

static inline struct stream *stream_list_take_first(struct stream_list *list, unsigned flag)
{
    struct stream *stream = list->first;

    list->first = stream->engine_next;
    if (list->first == NULL)
        list->link = &list->first;
    clear_flag(stream, flag);
    return stream;
}

/* Returns whether stream was on the list. A linear search, but streams are closed in about the order in which they
 * were appended, so it ends near the front. */
static inline bool stream_list_remove(struct stream_list *list, struct stream *stream, unsigned flag)
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

#endif
