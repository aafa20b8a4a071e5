#ifndef TESTS_WINDOWS_SYS_EPOLL_H
#define TESTS_WINDOWS_SYS_EPOLL_H

#include "posix.h"

struct epoll_event;

/* They fail. */
int epoll_wait(int epoll, struct epoll_event *events, int count, int timeout_ms);

#endif
