/* Closing a handle on which operations may be in flight. They are cancelled, and the descriptor is closed only when
 * the last of them has been reported, because after close its number may be reused (Pitfall 20). */
#include "proactor/operation/operation.h"

/* The close of handle, or NULL; *is_used: whether there are other operations on handle. */
static struct operation *operations_find_close(struct operations *operations, socket_handle handle, bool *is_used)
{
    struct operation *close = NULL;

    *is_used = false;
    for (struct operation *operation = *operations_bucket(operations, handle); operation != NULL;
         operation = operation->next) {
        if (operation->handle != handle)
            continue;
        if (operation->type == &operation_close_type)
            close = operation;
        else
            *is_used = true;
    }
    return close;
}

bool operation_has_close(struct operations *operations, socket_handle handle)
{
    bool is_used;

    return operations_find_close(operations, handle, &is_used) != NULL;
}

void operation_try_close(struct operations *operations, socket_handle handle)
{
    bool is_used;
    struct operation *close = operations_find_close(operations, handle, &is_used);

    if (close == NULL || is_used || operation_state_of(close) != OPERATION_IN_FLIGHT)
        return;
    operation_finish(close, 0);
}

static int close_begin(struct operation *operation)
{
    struct operations *operations = operations_of(operation->loop);

    operations_cancel_on(operations, operation->handle);
    operation_try_close(operations, operation->handle);
    return 0;
}

/* A close cannot be cancelled: it finishes when the other operations have been reported. */
static void close_cancel(struct operation *operation)
{
}

const struct operation_type operation_close_type = { .begin = close_begin, .cancel = close_cancel };
