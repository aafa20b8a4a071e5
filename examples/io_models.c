/* jd-io-models: the five I/O models (W. R. Stevens, UNIX Network Programming, volume 1, 6.2), each reading the same messages
 * from a socket, and what each did while there was nothing to read. Plain system calls, as those are what it shows; jinduo
 * itself is the third (its Reactor) and the fifth (its Proactor). */
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

static const struct program program = { .name = "jd-io-models" };
static unsigned messages = 5, interval_ms = 20;

/* One model at work. */
struct run {
    int ours, theirs; /* the ends of a socket pair */
    pthread_t feeder;
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
        check((int)send(run->theirs, "message", sizeof("message"), MSG_NOSIGNAL), "send");
    }
    shutdown(run->theirs, SHUT_WR);
    return NULL;
}

static void begin_feeding(struct run *run)
{
    int error = pthread_create(&run->feeder, NULL, send_messages, run);

    if (error != 0)
        program_fail(&program, "pthread_create", -error);
}

/* ---- the models: each reads until the end, and returns NULL, or why it cannot ---- */

static ssize_t read_some(struct run *run)
{
    ssize_t count = read(run->ours, run->data, sizeof(run->data));

    run->reads++;
    if (count > 0)
        run->bytes += (size_t)count;
    else if (count < 0 && errno == EAGAIN)
        run->would_block++;
    else
        check((int)count, "read");
    return count;
}

static const char *block(struct run *run)
{
    begin_feeding(run);
    while (read_some(run) > 0)
        continue;
    return NULL;
}

static const char *ask_again_and_again(struct run *run)
{
    check(fcntl(run->ours, F_SETFL, O_NONBLOCK), "fcntl");
    while (read_some(run) != 0)
        if (run->reads == 1)
            begin_feeding(run); /* after the first look, which so finds nothing */
    return NULL;                /* a program would do something else between two looks, but not for long */
}

static const char *multiplex(struct run *run)
{
    struct epoll_event event = { .events = EPOLLIN };
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    check(epoll, "epoll_create1");
    check(epoll_ctl(epoll, EPOLL_CTL_ADD, run->ours, &event), "epoll_ctl");
    begin_feeding(run);
    do {
        run->waits++;
        if (epoll_wait(epoll, &event, 1, -1) < 0 && errno != EINTR) /* EINTR: it was stopped and goes on (signal(7)) */
            check(-1, "epoll_wait");
    } while (read_some(run) > 0);
    close(epoll);
    return NULL;
}

static volatile sig_atomic_t signals_taken;

static void take_signal(int number)
{
    signals_taken++;
}

/* SIGIO is blocked but while the thread sleeps: one between the look and the sleep is not lost (sigsuspend(2)). */
static const char *be_signalled(struct run *run)
{
    sigset_t mask;

    sigemptyset(&mask);
    sigaddset(&mask, SIGIO);
    pthread_sigmask(SIG_BLOCK, &mask, NULL); /* in the feeder, too, which is begun below */
    sigdelset(&mask, SIGIO);
    signal(SIGIO, take_signal);
    check(fcntl(run->ours, F_SETOWN, getpid()), "fcntl");
    check(fcntl(run->ours, F_SETFL, O_NONBLOCK | O_ASYNC), "fcntl");
    for (ssize_t count; (count = read_some(run)) != 0;) {
        if (run->reads == 1)
            begin_feeding(run);
        if (count > 0)
            continue;
        run->waits++;
        sigsuspend(&mask);
    }
    run->signals = (unsigned)signals_taken;
    return NULL;
}

static const char *be_told_when_it_is_done(struct run *run)
{
#if JD_WITH_IO_URING
    struct io_uring ring;
    struct io_uring_cqe *completion;
    int result = io_uring_queue_init(4, &ring, 0);

    if (result < 0)
        return strerror(-result);
    begin_feeding(run);
    do {
        io_uring_prep_recv(io_uring_get_sqe(&ring), run->ours, run->data, sizeof(run->data), 0);
        run->waits++;
        while ((result = io_uring_submit_and_wait(&ring, 1)) == -EINTR)
            continue; /* the kernel fills data meanwhile: nobody reads */
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
    return "not built in: liburing was missing";
#endif
}

static const struct model {
    const char *name, *while_waiting, *wait_call;
    const char *(*read_all)(struct run *run);
} models[] = {
    { "blocking", "asleep in read; the thread can do nothing else", "other", block },
    { "non-blocking", "awake, asking again and again", "other", ask_again_and_again },
    { "multiplexing", "asleep in epoll_wait, for any number of sockets at once", "epoll_wait", multiplex },
    { "signal-driven", "whatever it likes (here: asleep), until a signal interrupts it", "sigsuspend", be_signalled },
    { "asynchronous", "the kernel has the buffer and fills it; the thread may do anything, or sleep as here",
      "io_uring_enter", be_told_when_it_is_done },
};

static double cpu_ms(void)
{
    struct timespec time;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void show(const struct model *model)
{
    struct run run = { 0 };
    double cpu_before = cpu_ms();
    const char *reason;
    int ends[2];

    check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), "socketpair");
    run.ours = ends[0], run.theirs = ends[1];
    reason = model->read_all(&run);
    printf("%s\n  while waiting  %s\n", model->name, reason == NULL ? model->while_waiting : reason);
    if (reason == NULL) {
        pthread_join(run.feeder, NULL);
        printf("  calls          %u read (%u of them EAGAIN), %u %s\n"
               "  besides        %u signals, %.1f ms of CPU\n"
               "  received       %zu bytes\n",
               run.reads, run.would_block, run.waits, model->wait_call, run.signals, cpu_ms() - cpu_before, run.bytes);
    }
    close(run.ours);
    close(run.theirs);
}

static void print_help(void)
{
    printf("Usage: jd-io-models [OPTION]...\n"
           "Reads the same messages by each of the five I/O models, and says what each did while it waited.\n\n"
           "      --messages N          how many are sent (default 5)\n"
           "      --interval MS         the pause before each, in milliseconds (default 20)\n"
           "  -h, --help                this text\n");
}

int main(int argc, char **argv)
{
    static const struct option options[] = { { "help", no_argument, NULL, 'h' },
                                             { "messages", required_argument, NULL, OPTION_MESSAGES },
                                             { "interval", required_argument, NULL, OPTION_INTERVAL },
                                             { 0 } };
    int option;

    while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
        if (option == 'h') {
            print_help();
            return 0;
        }
        if (option == OPTION_MESSAGES)
            messages = (unsigned)program_number(&program, "--messages", optarg, 1, MESSAGES_MAX);
        else if (option == OPTION_INTERVAL)
            interval_ms = (unsigned)program_number(&program, "--interval", optarg, 0, INTERVAL_MAX_MS);
        else
            program_usage_error(&program, "'%s': %s", argv[optind - 1],
                                option == ':' ? "needs a value" : "no such option, or takes no value");
    }
    if (optind < argc)
        program_usage_error(&program, "'%s': not an option", argv[optind]);
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++)
        show(&models[i]);
    return 0;
}
