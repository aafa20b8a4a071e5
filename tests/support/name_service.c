#include "tests/support/name_service.h"

#include "base/posix/system_calls.h"
#include "net/client/resolver.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t let_go = PTHREAD_COND_INITIALIZER;
static const char *const *answer;
static int failure, failure_number;
static bool held;
static unsigned asked, waiting;

/* Found by the system, which takes numeric addresses for names, one by one. */
static struct addrinfo *found(const char *const *addresses, const char *service)
{
    const struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
    struct addrinfo *first = NULL, **link = &first;

    for (; *addresses != NULL; addresses++) {
        if (getaddrinfo(*addresses, service, &hints, link) != 0)
            abort();
        while (*link != NULL)
            link = &(*link)->ai_next;
    }
    return first;
}

static int ask(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **addresses)
{
    int result;

    pthread_mutex_lock(&lock);
    asked++;
    waiting++;
    while (held)
        pthread_cond_wait(&let_go, &lock);
    waiting--;
    result = failure;
    errno = failure_number;
    if (result == 0)
        *addresses = found(answer, service);
    pthread_mutex_unlock(&lock);
    return result;
}

/* glibc's own frees each item of a list by itself, so that lists may be joined. */
void name_service_install(void)
{
    system_calls.getaddrinfo = ask;
}

void name_service_remove(void)
{
    name_service_let_go();
    while (lookups_in_use() > 0)
        poll(NULL, 0, 1);
    system_calls_reset();
}

void name_service_answer(const char *const *addresses)
{
    pthread_mutex_lock(&lock);
    answer = addresses;
    failure = 0;
    pthread_mutex_unlock(&lock);
}

void name_service_fail(int error, int number)
{
    pthread_mutex_lock(&lock);
    failure = error;
    failure_number = number;
    pthread_mutex_unlock(&lock);
}

void name_service_hold(void)
{
    pthread_mutex_lock(&lock);
    held = true;
    pthread_mutex_unlock(&lock);
}

void name_service_let_go(void)
{
    pthread_mutex_lock(&lock);
    held = false;
    pthread_cond_broadcast(&let_go);
    pthread_mutex_unlock(&lock);
}

static unsigned read_locked(const unsigned *number)
{
    unsigned value;

    pthread_mutex_lock(&lock);
    value = *number;
    pthread_mutex_unlock(&lock);
    return value;
}

unsigned name_service_asked(void)
{
    return read_locked(&asked);
}

unsigned name_service_waiting(void)
{
    return read_locked(&waiting);
}
