#include "tests/support/faults.h"

#include "base/posix/system_calls.h"
#include "tests/support/ring_calls.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/sendfile.h>
#include <sys/un.h>
#include <unistd.h>

enum { DESCRIPTORS_MAX = 1024 };

/* ---- which calls fail ---- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned calls[FAULT_CALLS];
static const struct fault *wanted;
static unsigned first, count, struck, to_report;

void faults_set(const struct fault *fault, unsigned number, unsigned in_a_row)
{
    pthread_mutex_lock(&lock);
    memset(calls, 0, sizeof(calls));
    wanted = fault;
    first = number;
    count = in_a_row;
    struck = to_report = 0;
    pthread_mutex_unlock(&lock);
}

void faults_stop(void)
{
    pthread_mutex_lock(&lock);
    wanted = NULL;
    pthread_mutex_unlock(&lock);
}

static unsigned read_locked(const unsigned *counter)
{
    unsigned value;

    pthread_mutex_lock(&lock);
    value = *counter;
    pthread_mutex_unlock(&lock);
    return value;
}

unsigned faults_calls(enum fault_call call)
{
    return read_locked(&calls[call]);
}

unsigned faults_injected(void)
{
    return read_locked(&struck);
}

unsigned faults_to_report(void)
{
    return read_locked(&to_report);
}

/* Counts a call. Returns the fault to inject, or NULL. */
static const struct fault *fault_strike(enum fault_call call, bool may_be_reported)
{
    const struct fault *fault = NULL;

    pthread_mutex_lock(&lock);
    calls[call]++;
    if (wanted != NULL && wanted->call == call && calls[call] - first < count) {
        fault = wanted;
        struck++;
        to_report += may_be_reported && fault->effect == FAULT_REPORTED;
    }
    pthread_mutex_unlock(&lock);
    return fault;
}

static bool fault_sets_errno(enum fault_call call, bool may_be_reported)
{
    const struct fault *fault = fault_strike(call, may_be_reported);

    if (fault != NULL)
        errno = fault->number;
    return fault != NULL;
}

/* ---- edges ---- */

/* After a made-up EAGAIN, or fewer bytes than are available, the caller waits for an edge. The kernel would not
 * report one, because for the kernel the descriptor has stayed ready. Modifying the registration makes it check again
 * (Linux, fs/eventpoll.c: ep_modify). */
static struct registration {
    int epoll;
    struct epoll_event event;
} registrations[DESCRIPTORS_MAX];

static void note_registration(int epoll, int operation, int fd, const struct epoll_event *event)
{
    ck_assert_int_lt(fd, DESCRIPTORS_MAX);
    pthread_mutex_lock(&lock);
    if (operation == EPOLL_CTL_DEL)
        registrations[fd] = (struct registration){ .epoll = -1 };
    else
        registrations[fd] = (struct registration){ .epoll = epoll, .event = *event };
    pthread_mutex_unlock(&lock);
}

static void registration_repeat_edge(int fd)
{
    int saved_errno = errno;

    pthread_mutex_lock(&lock);
    if (registrations[fd].event.events & EPOLLET)
        epoll_ctl(registrations[fd].epoll, EPOLL_CTL_MOD, fd, &registrations[fd].event);
    pthread_mutex_unlock(&lock);
    errno = saved_errno;
}

/* ---- the functions ---- */

static int faulty_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    if (!fault_sets_errno(CALL_ACCEPT4, true))
        return accept4(fd, address, length, flags);
    if (errno == EAGAIN)
        registration_repeat_edge(fd);
    return -1;
}

/* For the kernel an existing path is in use (EADDRINUSE); the library may take such a path over. */
static bool is_path_in_use(const struct sockaddr *address)
{
    return address->sa_family == AF_UNIX && access(((const struct sockaddr_un *)address)->sun_path, F_OK) == 0;
}

static int faulty_bind(int fd, const struct sockaddr *address, socklen_t length)
{
    bool is_normal = is_path_in_use(address);

    if (!fault_sets_errno(CALL_BIND, true))
        return bind(fd, address, length);
    if (errno == EADDRINUSE && is_normal) {
        pthread_mutex_lock(&lock);
        to_report--;
        pthread_mutex_unlock(&lock);
    }
    return -1;
}

/* The descriptor is gone whatever close returns (close(2), "Dealing with error returns from close()"). */
static int faulty_close(int fd)
{
    bool failing = fault_sets_errno(CALL_CLOSE, true);
    int error = errno;

    note_registration(-1, EPOLL_CTL_DEL, fd, NULL);
    ck_assert_int_eq(close(fd), 0);
    errno = error;
    return failing ? -1 : 0;
}

static int faulty_connect(int fd, const struct sockaddr *address, socklen_t length)
{
    return fault_sets_errno(CALL_CONNECT, true) ? -1 : connect(fd, address, length);
}

static int faulty_epoll_create1(int flags)
{
    return fault_sets_errno(CALL_EPOLL_CREATE1, true) ? -1 : epoll_create1(flags);
}

/* A failed EPOLL_CTL_DEL is not reported: the descriptor is about to be closed. */
static int faulty_epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    int result;

    if (fault_sets_errno(CALL_EPOLL_CTL, operation != EPOLL_CTL_DEL))
        return -1;
    result = epoll_ctl(epoll, operation, fd, event);
    if (result == 0)
        note_registration(epoll, operation, fd, event);
    return result;
}

static int faulty_epoll_wait(int epoll, struct epoll_event *events, int room, int timeout_ms)
{
    return fault_sets_errno(CALL_EPOLL_WAIT, true) ? -1 : epoll_wait(epoll, events, room, timeout_ms);
}

static int faulty_eventfd(unsigned value, int flags)
{
    return fault_sets_errno(CALL_EVENTFD, true) ? -1 : eventfd(value, flags);
}

static int faulty_getpeername(int fd, struct sockaddr *address, socklen_t *length)
{
    return fault_sets_errno(CALL_GETPEERNAME, true) ? -1 : getpeername(fd, address, length);
}

static int faulty_getsockname(int fd, struct sockaddr *address, socklen_t *length)
{
    return fault_sets_errno(CALL_GETSOCKNAME, true) ? -1 : getsockname(fd, address, length);
}

static int faulty_getsockopt(int fd, int level, int name, void *value, socklen_t *length)
{
    return fault_sets_errno(CALL_GETSOCKOPT, true) ? -1 : getsockopt(fd, level, name, value, length);
}

static int faulty_listen(int fd, int backlog)
{
    return fault_sets_errno(CALL_LISTEN, true) ? -1 : listen(fd, backlog);
}

/* Returns the number of bytes to ask for, or -1 and errno. */
static ssize_t bytes_to_move(enum fault_call call, int fd, size_t size)
{
    const struct fault *fault = fault_strike(call, true);

    if (fault == NULL)
        return (ssize_t)size;
    if (fault->number == FAULT_ONE_BYTE)
        return 1;
    errno = fault->number;
    if (errno == EAGAIN)
        registration_repeat_edge(fd);
    return -1;
}

static ssize_t faulty_pread(int fd, void *data, size_t size, off_t offset)
{
    ssize_t bytes = bytes_to_move(CALL_PREAD, fd, size);

    return bytes < 0 ? -1 : pread(fd, data, (size_t)bytes, offset);
}

static ssize_t faulty_preadv(int fd, const struct iovec *buffers, int buffer_count, off_t offset)
{
    ssize_t bytes = bytes_to_move(CALL_PREADV, fd, 0);

    if (bytes < 0)
        return -1;
    return bytes == 1 ? pread(fd, buffers->iov_base, 1, offset) : preadv(fd, buffers, buffer_count, offset);
}

static ssize_t faulty_pwritev(int fd, const struct iovec *buffers, int buffer_count, off_t offset)
{
    ssize_t bytes = bytes_to_move(CALL_PWRITEV, fd, 0);

    if (bytes < 0)
        return -1;
    return bytes == 1 ? pwrite(fd, buffers->iov_base, 1, offset) : pwritev(fd, buffers, buffer_count, offset);
}

static ssize_t faulty_recv(int fd, void *data, size_t size, int flags)
{
    ssize_t bytes = bytes_to_move(CALL_RECV, fd, size);
    ssize_t received = bytes < 0 ? -1 : recv(fd, data, (size_t)bytes, flags);

    if (received == 1 && size > 1)
        registration_repeat_edge(fd);
    return received;
}

static ssize_t faulty_recvmsg(int fd, struct msghdr *message, int flags)
{
    ssize_t bytes = bytes_to_move(CALL_RECVMSG, fd, 0);
    ssize_t received;

    if (bytes < 0)
        return -1;
    if (bytes == 0)
        return recvmsg(fd, message, flags);
    received = recv(fd, message->msg_iov[0].iov_base, 1, flags);
    if (received == 1)
        registration_repeat_edge(fd);
    return received;
}

static ssize_t faulty_send(int fd, const void *data, size_t size, int flags)
{
    ssize_t bytes = bytes_to_move(CALL_SEND, fd, size);

    return bytes < 0 ? -1 : send(fd, data, (size_t)bytes, flags);
}

static ssize_t faulty_sendfile(int socket, int fd, off_t *offset, size_t size)
{
    ssize_t bytes = bytes_to_move(CALL_SENDFILE, socket, size);

    return bytes < 0 ? -1 : sendfile(socket, fd, offset, (size_t)bytes);
}

static ssize_t faulty_sendmsg(int fd, const struct msghdr *message, int flags)
{
    ssize_t bytes = bytes_to_move(CALL_SENDMSG, fd, 0);

    if (bytes < 0)
        return -1;
    return bytes == 1 ? send(fd, message->msg_iov[0].iov_base, 1, flags) : sendmsg(fd, message, flags);
}

/* An operation of a ring fails like the system call that does the same. */
static enum fault_call fault_call_of(enum ring_call call)
{
    switch (call) {
    case RING_SETUP:
        return CALL_RING_SETUP;
    case RING_ENTER:
    case RING_SUBMIT:
        return CALL_RING_ENTER;
    case RING_ACCEPT:
        return CALL_ACCEPT4;
    case RING_CONNECT:
        return CALL_CONNECT;
    case RING_RECEIVE:
        return CALL_RECV;
    case RING_SEND:
        return CALL_SEND;
    case RING_READ:
        return CALL_PREAD;
    case RING_WRITE:
        return CALL_PWRITEV;
    }
    return FAULT_CALLS;
}

/* A failed RING_SUBMIT is not reported: the entries are submitted with the next wait, which reports a lasting error. */
static int fault_ring_result(enum ring_call call, int fd)
{
    const struct fault *fault = fault_strike(fault_call_of(call), call != RING_SUBMIT);

    if (fault == NULL)
        return 0;
    return fault->number == FAULT_ONE_BYTE ? RING_ONE_BYTE : -fault->number;
}

/* A failed SO_LINGER is not reported: the connection ends with FIN instead of RST. */
static int faulty_setsockopt(int fd, int level, int name, const void *value, socklen_t length)
{
    bool is_reset = level == SOL_SOCKET && name == SO_LINGER;

    return fault_sets_errno(CALL_SETSOCKOPT, !is_reset) ? -1 : setsockopt(fd, level, name, value, length);
}

/* A failed shutdown of a listener is not reported: it is about to be closed. */
static int faulty_shutdown(int fd, int how)
{
    return fault_sets_errno(CALL_SHUTDOWN, how == SHUT_WR) ? -1 : shutdown(fd, how);
}

static int faulty_socket(int domain, int type, int protocol)
{
    return fault_sets_errno(CALL_SOCKET, true) ? -1 : socket(domain, type, protocol);
}

void faults_install(void)
{
    faults_set(NULL, 0, 0);
    system_calls_reset();
    system_calls.accept4 = faulty_accept4;
    system_calls.bind = faulty_bind;
    system_calls.close = faulty_close;
    system_calls.connect = faulty_connect;
    system_calls.epoll_create1 = faulty_epoll_create1;
    system_calls.epoll_ctl = faulty_epoll_ctl;
    system_calls.epoll_wait = faulty_epoll_wait;
    system_calls.eventfd = faulty_eventfd;
    system_calls.getpeername = faulty_getpeername;
    system_calls.getsockname = faulty_getsockname;
    system_calls.getsockopt = faulty_getsockopt;
    system_calls.listen = faulty_listen;
    system_calls.pread = faulty_pread;
    system_calls.preadv = faulty_preadv;
    system_calls.pwritev = faulty_pwritev;
    system_calls.recv = faulty_recv;
    system_calls.recvmsg = faulty_recvmsg;
    system_calls.send = faulty_send;
    system_calls.sendfile = faulty_sendfile;
    system_calls.sendmsg = faulty_sendmsg;
    system_calls.setsockopt = faulty_setsockopt;
    system_calls.shutdown = faulty_shutdown;
    system_calls.socket = faulty_socket;
    ring_calls_decide(fault_ring_result);
}

void faults_remove(void)
{
    faults_set(NULL, 0, 0);
    system_calls_reset();
}
