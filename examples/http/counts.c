#include "examples/http/counts.h"

#include "examples/http/response.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { STATUS_FIRST = 200, STATUS_LAST = 599, STATUSES = STATUS_LAST - STATUS_FIRST + 1 };

/* Written by one thread only. The counts of a thread that has ended stay. */
struct counts {
    struct counts *next;
    _Atomic uint64_t answers[STATUSES];
};

static _Atomic(struct counts *) first;
static _Thread_local struct counts *mine;

static struct counts *counts_of_thread(void)
{
    if (mine != NULL)
        return mine;
    mine = calloc(1, sizeof(*mine));
    if (mine == NULL)
        return NULL;
    mine->next = atomic_load(&first);
    while (!atomic_compare_exchange_weak(&first, &mine->next, mine))
        continue;
    return mine;
}

void counts_add(unsigned status)
{
    struct counts *counts = counts_of_thread();
    _Atomic uint64_t *count;

    if (counts == NULL || status < STATUS_FIRST || status > STATUS_LAST)
        return;
    count = &counts->answers[status - STATUS_FIRST];
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1, memory_order_relaxed);
}

int counts_format(jd_buffer *buffer)
{
    int result = jd_buffer_append_format(buffer, "# HELP jd_http_answers_total Answers, by status.\n"
                                                 "# TYPE jd_http_answers_total counter\n");

    for (unsigned i = 0; i < STATUSES && result == 0; i++) {
        uint64_t sum = 0;
        for (const struct counts *counts = atomic_load(&first); counts != NULL; counts = counts->next)
            sum += atomic_load_explicit(&counts->answers[i], memory_order_relaxed);
        if (sum > 0)
            result = jd_buffer_append_format(buffer, "jd_http_answers_total{status=\"%u\"} %" PRIu64 "\n",
                                             i + STATUS_FIRST, sum);
    }
    return result;
}
