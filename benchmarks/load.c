/* jd-load: generates load for an echo server, verifies every reply and measures. It uses epoll and sockets directly,
 * not the library, so that its verdict on the library's servers is independent. This file takes the workers through the
 * phases of a run. */
#include "benchmarks/load_report.h"
#include "benchmarks/load_worker.h"
#include "benchmarks/process_usage.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
    TICK_MS = 100,
    PROGRESS_AFTER_SECONDS = 2,
};

static const double no_limit_seconds = 1e9;

struct coordinator {
    const struct load_options *options;
    struct load_worker *workers;
    unsigned worker_count;
    int signal_fd, notify_fd;
    _Atomic int announced;
    bool shows_progress;
    uint64_t last_moved_bytes, last_moved_ns;
};

enum wait_result { WAIT_FINISHED, WAIT_TIME_OVER, WAIT_INTERRUPTED, WAIT_STALLED, WAIT_ALL_LOST };

static void announce(struct coordinator *coordinator, enum load_phase phase)
{
    atomic_store(&coordinator->announced, phase);
    coordinator->last_moved_ns = clock_now_ns();
    for (unsigned i = 0; i < coordinator->worker_count; i++)
        load_worker_wake(&coordinator->workers[i]);
}

static bool all_finished(const struct coordinator *coordinator, enum load_phase phase)
{
    for (unsigned i = 0; i < coordinator->worker_count; i++) {
        if (atomic_load(&coordinator->workers[i].finished) < (int)phase)
            return false;
    }
    return true;
}

static bool all_lost(const struct coordinator *coordinator)
{
    unsigned live = 0;

    for (unsigned i = 0; i < coordinator->worker_count; i++)
        live += atomic_load(&coordinator->workers[i].live);
    return live == 0;
}

/* Returns whether no byte has been sent or received for the timeout although a reply is outstanding. */
static bool is_stalled(struct coordinator *coordinator, uint64_t now_ns)
{
    uint64_t moved_bytes = 0, outstanding = 0;

    for (unsigned i = 0; i < coordinator->worker_count; i++) {
        moved_bytes += atomic_load_explicit(&coordinator->workers[i].seen_moved_bytes, memory_order_relaxed);
        outstanding += atomic_load_explicit(&coordinator->workers[i].seen_outstanding, memory_order_relaxed);
    }
    if (moved_bytes != coordinator->last_moved_bytes || outstanding == 0) {
        coordinator->last_moved_bytes = moved_bytes;
        coordinator->last_moved_ns = now_ns;
    }
    return (double)(now_ns - coordinator->last_moved_ns) > coordinator->options->timeout_seconds * 1e9;
}

static void show_progress(const struct coordinator *coordinator, uint64_t begin_ns, uint64_t now_ns)
{
    static const char *const names[] = { "connecting", "warm-up", "measuring", "draining", "stopped" };
    double seconds = (double)(now_ns - begin_ns) / 1e9;
    uint64_t messages = 0;

    if (!coordinator->shows_progress)
        return;
    for (unsigned i = 0; i < coordinator->worker_count; i++)
        messages += atomic_load_explicit(&coordinator->workers[i].seen_messages, memory_order_relaxed);
    fprintf(stderr, "\r%s %.1f s, %" PRIu64 " messages  ", names[atomic_load(&coordinator->announced)], seconds,
            messages);
}

static void clear_progress(const struct coordinator *coordinator)
{
    if (coordinator->shows_progress)
        fputs("\r\033[K", stderr);
}

static bool was_interrupted(const struct coordinator *coordinator)
{
    struct signalfd_siginfo signal;

    return read(coordinator->signal_fd, &signal, sizeof(signal)) == sizeof(signal);
}

/* Waits until all workers have finished the phase (not if phase < 0), the time is over, or the run has to end early. */
static enum wait_result wait_until(struct coordinator *coordinator, int phase, double seconds)
{
    uint64_t begin_ns = clock_now_ns();
    double end_ns = (double)begin_ns + seconds * 1e9;

    for (;;) {
        struct pollfd fds[] = { { .fd = coordinator->signal_fd, .events = POLLIN },
                                { .fd = coordinator->notify_fd, .events = POLLIN } };
        uint64_t now_ns = clock_now_ns();
        double rest_ms = (end_ns - (double)now_ns) / 1e6;
        eventfd_t notified;
        if (phase >= 0 && all_finished(coordinator, (enum load_phase)phase))
            return WAIT_FINISHED;
        if (all_lost(coordinator))
            return WAIT_ALL_LOST;
        if (rest_ms <= 0)
            return WAIT_TIME_OVER;
        if (is_stalled(coordinator, now_ns))
            return WAIT_STALLED;
        show_progress(coordinator, begin_ns, now_ns);
        poll(fds, 2, rest_ms < TICK_MS ? (int)rest_ms + 1 : TICK_MS);
        if (was_interrupted(coordinator))
            return WAIT_INTERRUPTED;
        eventfd_read(coordinator->notify_fd, &notified);
    }
}

static enum wait_result keep_idle(struct coordinator *coordinator, struct load_result *result)
{
    enum wait_result waited;

    for (unsigned i = 0; i < coordinator->worker_count; i++)
        result->idle_connections += atomic_load(&coordinator->workers[i].live);
    clear_progress(coordinator);
    fprintf(coordinator->options->json ? stderr : stdout, "%" PRIu64 " connections are open and idle\n",
            result->idle_connections);
    fflush(stdout);
    waited = wait_until(coordinator, -1, coordinator->options->seconds);
    if (coordinator->options->server_pid > 0)
        process_anonymous_bytes(coordinator->options->server_pid, &result->server_bytes_idle);
    return waited;
}

static enum wait_result measure(struct coordinator *coordinator)
{
    const struct load_options *options = coordinator->options;
    enum wait_result waited = WAIT_TIME_OVER;

    if (options->warmup_seconds > 0) {
        announce(coordinator, PHASE_WARMUP);
        waited = wait_until(coordinator, -1, options->warmup_seconds);
    }
    if (waited != WAIT_TIME_OVER)
        return waited;
    announce(coordinator, PHASE_MEASURING);
    return wait_until(coordinator, PHASE_MEASURING, options->seconds);
}

static enum load_end end_of(enum wait_result waited)
{
    switch (waited) {
    case WAIT_INTERRUPTED:
        return LOAD_INTERRUPTED;
    case WAIT_STALLED:
        return LOAD_STALLED;
    case WAIT_ALL_LOST:
        return LOAD_ALL_LOST;
    default:
        return LOAD_COMPLETE;
    }
}

static void run_phases(struct coordinator *coordinator, struct load_result *result)
{
    enum wait_result waited = wait_until(coordinator, PHASE_OPENING, no_limit_seconds);

    if (waited == WAIT_FINISHED && all_lost(coordinator))
        waited = WAIT_ALL_LOST;
    if (waited == WAIT_FINISHED)
        waited = coordinator->options->mode == LOAD_IDLE ? keep_idle(coordinator, result) : measure(coordinator);
    result->end = end_of(waited);
    if (waited != WAIT_STALLED && waited != WAIT_ALL_LOST) {
        announce(coordinator, PHASE_DRAINING);
        if (wait_until(coordinator, PHASE_DRAINING, no_limit_seconds) == WAIT_STALLED)
            result->end = LOAD_STALLED;
    }
    clear_progress(coordinator);
}

static void collect(struct load_result *result, const struct load_worker *worker)
{
    const struct load_counts *counts = &worker->context.counts;
    double seconds = (double)(worker->span_end_ns - worker->span_begin_ns) / 1e9;

    if (seconds > result->seconds)
        result->seconds = seconds;
    result->cpu_seconds += (double)(worker->cpu_end_ns - worker->cpu_begin_ns) / 1e9;
    if (worker->index == 0) {
        result->server_begin = worker->server_begin;
        result->server_end = worker->server_end;
    }
    result->counts.messages += counts->messages;
    result->counts.bytes_received += counts->bytes_received;
    result->counts.bytes_sent += counts->bytes_sent;
    result->counts.verify_errors += counts->verify_errors;
    result->counts.connect_errors += counts->connect_errors;
    result->counts.io_errors += counts->io_errors;
    histogram_merge(&result->latency, &worker->context.latency);
}

static void print_first_error(const struct coordinator *coordinator, const struct load_result *result)
{
    for (unsigned i = 0; i < coordinator->worker_count; i++) {
        if (coordinator->workers[i].context.first_error[0] != '\0') {
            fprintf(stderr, "jd-load: %s\n", coordinator->workers[i].context.first_error);
            break;
        }
    }
    if (result->end == LOAD_STALLED)
        fprintf(stderr, "jd-load: stopped: replies are missing and no byte was sent or received for %g s\n",
                coordinator->options->timeout_seconds);
    if (result->end == LOAD_ALL_LOST)
        fprintf(stderr, "jd-load: stopped: all connections are lost\n");
}

/* Blocks the signals before the threads start: they inherit the mask, so only the coordinator receives signals. */
static int open_signals(void)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int start_workers(struct coordinator *coordinator)
{
    for (; coordinator->worker_count < coordinator->options->threads; coordinator->worker_count++) {
        struct load_worker *worker = &coordinator->workers[coordinator->worker_count];
        int error = load_worker_init(worker, coordinator->options, coordinator->worker_count, coordinator->notify_fd,
                                     &coordinator->announced);
        if (error == 0)
            error = load_worker_start(worker);
        if (error < 0) {
            load_worker_destroy(worker);
            return error;
        }
    }
    return 0;
}

static void finish(struct coordinator *coordinator, struct load_result *result)
{
    announce(coordinator, PHASE_STOPPED);
    for (unsigned i = 0; i < coordinator->worker_count; i++) {
        pthread_join(coordinator->workers[i].thread, NULL);
        collect(result, &coordinator->workers[i]);
    }
    print_first_error(coordinator, result);
    for (unsigned i = 0; i < coordinator->worker_count; i++)
        load_worker_destroy(&coordinator->workers[i]);
    free(coordinator->workers);
    close(coordinator->notify_fd);
    close(coordinator->signal_fd);
}

static int run(const struct load_options *options, struct load_result *result)
{
    struct coordinator coordinator = { .options = options, .last_moved_ns = clock_now_ns() };
    double planned_seconds = options->seconds + options->warmup_seconds;
    int error;

    coordinator.shows_progress = isatty(STDERR_FILENO) && planned_seconds > PROGRESS_AFTER_SECONDS;
    coordinator.signal_fd = open_signals();
    coordinator.notify_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    coordinator.workers = aligned_alloc(_Alignof(struct load_worker), options->threads * sizeof(struct load_worker));
    if (coordinator.signal_fd < 0 || coordinator.notify_fd < 0 || coordinator.workers == NULL)
        return -errno;
    if (options->server_pid > 0)
        process_anonymous_bytes(options->server_pid, &result->server_bytes_before);
    error = start_workers(&coordinator);
    if (error == 0)
        run_phases(&coordinator, result);
    finish(&coordinator, result);
    return error;
}

/* Returns false if the file was asked for and cannot be written. */
static bool write_histogram(const struct load_result *result)
{
    const char *path = result->options->histogram;
    FILE *file;
    bool good;

    if (path == NULL)
        return true;
    file = fopen(path, "we");
    good = file != NULL && histogram_write(&result->latency, file, 1000);
    if (file != NULL)
        good &= fclose(file) == 0;
    if (!good)
        fprintf(stderr, "jd-load: --histogram '%s': cannot write: %s\n", path, strerror(errno));
    return good;
}

int main(int argc, char **argv)
{
    static struct load_result result;
    struct load_options options;
    int status = load_options_parse(&options, argc, argv);
    int error;

    if (status >= 0)
        return status;
    result.options = &options;
    histogram_reset(&result.latency);
    error = run(&options, &result);
    if (error < 0) {
        fprintf(stderr, "jd-load: cannot start: %s\n", strerror(-error));
        return EXIT_FAILURE;
    }
    (options.json ? load_report_print_json : load_report_print)(&result);
    return write_histogram(&result) && load_result_is_good(&result) ? EXIT_SUCCESS : EXIT_FAILURE;
}
