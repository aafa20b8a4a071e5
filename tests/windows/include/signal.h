#ifndef TESTS_WINDOWS_SIGNAL_H
#define TESTS_WINDOWS_SIGNAL_H

#pragma GCC system_header /* as #include_next is an extension */

#include_next <signal.h>

#include <sys/types.h>

enum { SIGHUP = 1, SIGQUIT = 3, SIGKILL = 9, SIGUSR1 = 10, SIGUSR2 = 12, SIGPIPE = 13, SIGALRM = 14, SIGCHLD = 17 };

struct sigaction {
    void (*sa_handler)(int);
};

/* Says that the action is the default. Cannot set one. */
int sigaction(int signal, const struct sigaction *action, struct sigaction *before);

/* Also SIGPIPE, which Windows has not, may get its default action. */
typedef void (*signal_handler)(int);
signal_handler posix_signal(int number, signal_handler handler);

#define signal(number, handler) posix_signal(number, handler)

/* They fail. */
typedef _sigset_t sigset_t;
int kill(int process, int signal);
int sigemptyset(sigset_t *signals);
int sigaddset(sigset_t *signals, int signal);
int sigismember(const sigset_t *signals, int signal);
int sigpending(sigset_t *signals);

#endif
