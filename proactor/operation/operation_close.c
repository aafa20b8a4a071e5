/* Closing a handle on which operations may be under way. They are cancelled, and the descriptor is closed only when the last
 * of them has been reported: from then on its number may be another file's (Pitfall 20). */
#include "proactor/operation/operation.h"

/* The close that waits on handle, or NULL; *is_used: whether anything else is under way there. */
static struct operation *find_close(struct operations *operations, jd_handle handle, bool *is_used)
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

bool operation_close_waits(struct operations *operations, jd_handle handle)
{
    bool is_used;

    return find_close(operations, handle, &is_used) != NULL;
}

void operation_try_close(struct operations *operations, jd_handle handle)
{
    bool is_used;
    struct operation *close = find_close(operations, handle, &is_used);

    if (close == NULL || is_used || operation_state_of(close) != OPERATION_UNDER_WAY)
        return;
    operation_finish(close, 0);
}

static int begin_close(struct operation *operation)
{
    struct operations *operations = operations_of(operation->loop);

    operations_cancel_on(operations, operation->handle);
    operation_try_close(operations, operation->handle);
    return 0;
}

/* It ends what it has begun. */
static void cancel_close(struct operation *operation)
{
}

const struct operation_type operation_close_type = { .begin = begin_close, .cancel = cancel_close };
