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
static pthread_cond_t unblocked = PTHREAD_COND_INITIALIZER;
static const char *const *answer;
static int failure, failure_number;
static bool blocked;
static unsigned lookups, blocked_lookups;

/* The addresses as a list, made by the system's getaddrinfo, which accepts numeric addresses as names, one per call. */
static struct addrinfo *resolve_numeric(const char *const *addresses, const char *service)
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

static int name_service_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                                    struct addrinfo **addresses)
{
    int result;

    pthread_mutex_lock(&lock);
    lookups++;
    blocked_lookups++;
    while (blocked)
        pthread_cond_wait(&unblocked, &lock);
    blocked_lookups--;
    result = failure;
    errno = failure_number;
    if (result == 0)
        *addresses = resolve_numeric(answer, service);
    pthread_mutex_unlock(&lock);
    return result;
}

/* freeaddrinfo stays the system's: glibc's frees each item separately, so resolve_numeric may join lists. */
void name_service_install(void)
{
    system_calls.getaddrinfo = name_service_getaddrinfo;
}

void name_service_remove(void)
{
    name_service_unblock();
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

void name_service_block(void)
{
    pthread_mutex_lock(&lock);
    blocked = true;
    pthread_mutex_unlock(&lock);
}

void name_service_unblock(void)
{
    pthread_mutex_lock(&lock);
    blocked = false;
    pthread_cond_broadcast(&unblocked);
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

unsigned name_service_lookups(void)
{
    return read_locked(&lookups);
}

unsigned name_service_blocked_lookups(void)
{
    return read_locked(&blocked_lookups);
}
