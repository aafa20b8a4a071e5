/* Functions that Windows has not. They fail; tests that need them are left out (suites.txt). */
#include <errno.h>
#include <ifaddrs.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int missing(void)
{
    errno = ENOSYS;
    return -1;
}

/* The library catches the console's events (base/windows/signal_catch.c): no signal ever has another action. */
int sigaction(int signal, const struct sigaction *action, struct sigaction *before)
{
    if (action != NULL)
        return missing();
    before->sa_handler = SIG_DFL;
    return 0;
}

#undef signal

signal_handler posix_signal(int number, signal_handler handler)
{
    return number == SIGPIPE && handler == SIG_DFL ? SIG_DFL : signal(number, handler);
}

int kill(int process, int signal)
{
    return missing();
}

int sigemptyset(sigset_t *signals)
{
    return missing();
}

int sigaddset(sigset_t *signals, int signal)
{
    return missing();
}

int sigismember(const sigset_t *signals, int signal)
{
    return missing();
}

int sigpending(sigset_t *signals)
{
    return missing();
}

int ioctl(int fd, unsigned long request, void *argument)
{
    return missing();
}

int waitpid(int process, int *status, int options)
{
    return missing();
}

int epoll_wait(int epoll, struct epoll_event *events, int count, int timeout_ms)
{
    return missing();
}

int unshare(int flags)
{
    return missing();
}

int getifaddrs(struct ifaddrs **all)
{
    return missing();
}

void freeifaddrs(struct ifaddrs *all)
{
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    return missing();
}

int fork(void)
{
    return missing();
}

int geteuid(void)
{
    return missing();
}

int getrlimit(int resource, struct rlimit *limit)
{
    return missing();
}

int setrlimit(int resource, const struct rlimit *limit)
{
    return missing();
}

int pthread_getattr_default_np(pthread_attr_t *attributes)
{
    return missing();
}

int pthread_setattr_default_np(const pthread_attr_t *attributes)
{
    return missing();
}
