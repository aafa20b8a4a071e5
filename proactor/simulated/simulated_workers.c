#include "proactor/simulated/simulated_workers.h"

#include <signal.h>
#include <sys/eventfd.h>

enum { FILES_AT_WORK_MAX = SIMULATED_WORKERS > 1 ? SIMULATED_WORKERS - 1 : 1 };

/* ---- in a worker's thread ---- */

static struct simulated_operation *workers_next_job(struct simulated_workers *workers)
{
    struct simulated_operation *operation;

    if (!list_is_empty(&workers->file_jobs) && workers->files_at_work < FILES_AT_WORK_MAX)
        operation = operation_of_queue(workers->file_jobs.next);
    else if (!list_is_empty(&workers->socket_jobs))
        operation = operation_of_queue(workers->socket_jobs.next);
    else
        return NULL;
    list_remove(&operation->queue);
    operation->queued = false;
    workers->waiting_jobs--;
    workers->files_at_work += operation_is_of_file(operation->opcode);
    return operation;
}

/* Returns NULL when the workers are to end. */
static struct simulated_operation *worker_wait_for_job(struct simulated_workers *workers)
{
    struct simulated_operation *operation;

    while ((operation = workers_next_job(workers)) == NULL && !workers->ending) {
        workers->idle++;
        pthread_cond_wait(&workers->work, &workers->lock);
        workers->idle--;
    }
    return operation;
}

/* The operation is the loop's from here on. Only the first operation in done wakes the loop: for the others a wake-up
 * is pending. */
static void worker_return_operation(struct simulated_workers *workers, struct simulated_operation *operation)
{
    bool is_first = list_is_empty(&workers->done);

    workers->files_at_work -= operation_is_of_file(operation->opcode);
    list_append(&workers->done, &operation->queue);
    if (!is_first)
        return;
    pthread_mutex_unlock(&workers->lock);
    eventfd_write(workers->wakeup, 1);
    pthread_mutex_lock(&workers->lock);
}

static void *worker_run(void *arg)
{
    struct simulated_workers *workers = arg;
    struct simulated_operation *operation;

    pthread_mutex_lock(&workers->lock);
    while ((operation = worker_wait_for_job(workers)) != NULL) {
        pthread_mutex_unlock(&workers->lock);
        simulated_operation_perform(operation);
        pthread_mutex_lock(&workers->lock);
        worker_return_operation(workers, operation);
    }
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

/* ---- in the loop's thread ---- */

void simulated_workers_init(struct simulated_workers *workers, int wakeup)
{
    *workers = (struct simulated_workers){ .wakeup = wakeup };
    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->work, NULL);
    list_init(&workers->socket_jobs);
    list_init(&workers->file_jobs);
    list_init(&workers->done);
}

/* Signals are delivered to the user's threads: the workers block all of them. */
static int workers_start_thread(struct simulated_workers *workers)
{
    pthread_t *thread = &workers->threads[workers->started];
    sigset_t all_signals, before;
    int result;

    sigfillset(&all_signals);
    pthread_sigmask(SIG_SETMASK, &all_signals, &before);
    result = pthread_create(thread, NULL, worker_run, workers);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0)
        return -result;
    pthread_setname_np(*thread, "jd-simulated");
    workers->started++;
    return 0;
}

int simulated_workers_start(struct simulated_workers *workers)
{
    return workers->started > 0 ? 0 : workers_start_thread(workers);
}

void simulated_workers_give(struct simulated_workers *workers, struct simulated_operation *operation)
{
    bool too_few;

    workers->given++;
    pthread_mutex_lock(&workers->lock);
    list_append(operation_is_of_file(operation->opcode) ? &workers->file_jobs : &workers->socket_jobs,
                &operation->queue);
    operation->queued = true;
    workers->waiting_jobs++;
    too_few = workers->waiting_jobs > workers->idle;
    pthread_cond_signal(&workers->work);
    pthread_mutex_unlock(&workers->lock);
    /* If no further thread can be started, the running ones do all the work. */
    if (too_few && workers->started < SIMULATED_WORKERS)
        workers_start_thread(workers);
}

bool simulated_workers_take_back(struct simulated_workers *workers, struct simulated_operation *operation)
{
    bool queued;

    pthread_mutex_lock(&workers->lock);
    queued = operation->queued;
    if (queued) {
        list_remove(&operation->queue);
        operation->queued = false;
        workers->waiting_jobs--;
    }
    pthread_mutex_unlock(&workers->lock);
    workers->given -= queued;
    return queued;
}

void simulated_workers_collect(struct simulated_workers *workers, struct link *done)
{
    pthread_mutex_lock(&workers->lock);
    list_move_all(&workers->done, done);
    pthread_mutex_unlock(&workers->lock);
    for (const struct link *link = done->next; link != done; link = link->next)
        workers->given--;
}

void simulated_workers_stop(struct simulated_workers *workers)
{
    pthread_mutex_lock(&workers->lock);
    workers->ending = true;
    pthread_cond_broadcast(&workers->work);
    pthread_mutex_unlock(&workers->lock);
    for (unsigned i = 0; i < workers->started; i++)
        pthread_join(workers->threads[i], NULL);
    pthread_cond_destroy(&workers->work);
    pthread_mutex_destroy(&workers->lock);
}
