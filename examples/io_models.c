/* jd-io-models: shows the five I/O models (W. R. Stevens, UNIX Network Programming, volume 1, 6.2). Each reads the same
 * messages from a socket; the program prints which calls it made and what its thread did while no data was there. It
 * uses plain system calls, not jinduo. jinduo's Reactor is the third model, its Proactor the fifth. */
#include "examples/program.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#if JD_WITH_IO_URING
#include <liburing.h>
#endif

enum { MESSAGES_MAX = 1000, INTERVAL_MAX_MS = 1000, OPTION_MESSAGES = 1, OPTION_INTERVAL };

static const struct program program = { .name = "jd-io-models", .short_options = ":h" };
static unsigned messages = 5, interval_ms = 20;

/* One model's run. */
struct run {
    int reader, writer; /* the ends of a socket pair */
    pthread_t sender;
    char data[64];
    size_t bytes;
    unsigned reads, would_block, waits, signals;
};

static void check(int result, const char *what)
{
    if (result < 0)
        program_fail(&program, what, -errno);
}

static void *send_messages(void *arg)
{
    const struct run *run = arg;
    const struct timespec interval = { .tv_sec = interval_ms / 1000, .tv_nsec = (long)(interval_ms % 1000) * 1000000 };

    for (unsigned i = 0; i < messages; i++) {
        nanosleep(&interval, NULL);
        check((int)send(run->writer, "message", sizeof("message"), MSG_NOSIGNAL), "send");
    }
    shutdown(run->writer, SHUT_WR);
    return NULL;
}

static void start_sender(struct run *run)
{
    int error = pthread_create(&run->sender, NULL, send_messages, run);

    if (error != 0)
        program_fail(&program, "pthread_create", -error);
}

/* ---- the models: each reads until end of file and returns NULL, or the reason why it cannot run ---- */

static ssize_t read_some(struct run *run)
{
    ssize_t count = read(run->reader, run->data, sizeof(run->data));

    run->reads++;
    if (count > 0)
        run->bytes += (size_t)count;
    else if (count < 0 && errno == EAGAIN)
        run->would_block++;
    else
        check((int)count, "read");
    return count;
}

static const char *read_blocking(struct run *run)
{
    start_sender(run);
    while (read_some(run) > 0)
        continue;
    return NULL;
}

static const char *read_nonblocking(struct run *run)
{
    check(fcntl(run->reader, F_SETFL, O_NONBLOCK), "fcntl");
    while (read_some(run) != 0)
        if (run->reads == 1)
            start_sender(run); /* after the first read, so that this one finds no data */
    return NULL;               /* a program would do other work between two reads */
}

static const char *read_multiplexed(struct run *run)
{
    struct epoll_event event = { .events = EPOLLIN };
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    check(epoll, "epoll_create1");
    check(epoll_ctl(epoll, EPOLL_CTL_ADD, run->reader, &event), "epoll_ctl");
    start_sender(run);
    do {
        run->waits++;
        if (epoll_wait(epoll, &event, 1, -1) < 0 && errno != EINTR) /* EINTR: stopped and continued (signal(7)) */
            check(-1, "epoll_wait");
    } while (read_some(run) > 0);
    close(epoll);
    return NULL;
}

static volatile sig_atomic_t signals_received;

static void on_signal(int number)
{
    signals_received++;
}

/* SIGIO is unblocked only in sigsuspend(2), so a signal that arrives between read and sigsuspend is not lost. */
static const char *read_on_signal(struct run *run)
{
    sigset_t mask;

    sigemptyset(&mask);
    sigaddset(&mask, SIGIO);
    pthread_sigmask(SIG_BLOCK, &mask, NULL); /* the sender thread, started below, inherits the mask */
    sigdelset(&mask, SIGIO);
    signal(SIGIO, on_signal);
    check(fcntl(run->reader, F_SETOWN, getpid()), "fcntl");
    check(fcntl(run->reader, F_SETFL, O_NONBLOCK | O_ASYNC), "fcntl");
    for (ssize_t count; (count = read_some(run)) != 0;) {
        if (run->reads == 1)
            start_sender(run);
        if (count > 0)
            continue;
        run->waits++;
        sigsuspend(&mask);
    }
    run->signals = (unsigned)signals_received;
    return NULL;
}

static const char *read_asynchronously(struct run *run)
{
#if JD_WITH_IO_URING
    struct io_uring ring;
    struct io_uring_cqe *completion;
    int result = io_uring_queue_init(4, &ring, 0);

    if (result < 0)
        return strerror(-result);
    start_sender(run);
    do {
        io_uring_prep_recv(io_uring_get_sqe(&ring), run->reader, run->data, sizeof(run->data), 0);
        run->waits++;
        while ((result = io_uring_submit_and_wait(&ring, 1)) == -EINTR)
            continue; /* the kernel fills data in the meantime; the program calls no read */
        if (result >= 0)
            result = io_uring_peek_cqe(&ring, &completion);
        if (result == 0)
            result = completion->res;
        if (result < 0)
            program_fail(&program, "io_uring", result);
        io_uring_cqe_seen(&ring, completion);
        run->bytes += (size_t)result;
    } while (result > 0);
    io_uring_queue_exit(&ring);
    return NULL;
#else
    return "not built in: liburing was not found";
#endif
}

static const struct model {
    const char *name, *while_waiting, *wait_call;
    const char *(*read_all)(struct run *run);
} models[] = {
    { "blocking", "sleeps in read; the thread can do nothing else", "other", read_blocking },
    { "non-blocking", "runs: it calls read again and again", "other", read_nonblocking },
    { "multiplexing", "sleeps in epoll_wait, for any number of sockets at once", "epoll_wait", read_multiplexed },
    { "signal-driven", "may do other work (here: sleeps) until a signal interrupts it", "sigsuspend", read_on_signal },
    { "asynchronous", "may do other work (here: sleeps) while the kernel owns the buffer and fills it",
      "io_uring_enter", read_asynchronously },
};

static double cpu_ms(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void run_model(const struct model *model)
{
    struct run run = { 0 };
    double cpu_before = cpu_ms();
    const char *reason;
    int ends[2];

    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), "socketpair");
    run.reader = ends[0], run.writer = ends[1];
    reason = model->read_all(&run);
    printf("%s\n  %-13s  %s\n", model->name, reason == NULL ? "while waiting" : "not run",
           reason == NULL ? model->while_waiting : reason);
    if (reason == NULL) {
        pthread_join(run.sender, NULL);
        printf("  calls          %u read (%u of them EAGAIN), %u %s\n"
               "  cost           %u signals, %.1f ms of CPU\n"
               "  received       %zu bytes\n",
               run.reads, run.would_block, run.waits, model->wait_call, run.signals, cpu_ms() - cpu_before, run.bytes);
    }
    close(run.reader);
    close(run.writer);
}

static void print_help(void)
{
    printf(
        "Usage: jd-io-models [OPTION]...\n"
        "Reads the same messages with each of the five I/O models, and prints the calls that each model made and what\n"
        "its thread did while it waited.\n\n"
        "      --messages N          number of messages, 1 to 1000 (default 5)\n"
        "      --interval MS         pause before each message, in milliseconds, 0 to 1000 (default 20)\n"
        "  -h, --help                print this text and exit\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "help", no_argument, NULL, 'h' },
                                             { "messages", required_argument, NULL, OPTION_MESSAGES },
                                             { "interval", required_argument, NULL, OPTION_INTERVAL },
                                             { 0 } };
    int option;

    while ((option = program_next_option(&program, argc, argv, options)) != -1) {
        if (option == 'h') {
            print_help();
            return 0;
        }
        if (option == OPTION_MESSAGES)
            messages = (unsigned)program_number(&program, "--messages", optarg, 1, MESSAGES_MAX);
        else if (option == OPTION_INTERVAL)
            interval_ms = (unsigned)program_number(&program, "--interval", optarg, 0, INTERVAL_MAX_MS);
    }
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++)
        run_model(&models[i]);
    return 0;
}
