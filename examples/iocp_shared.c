/* jd-iocp-shared: a completion port that many threads share. It posts the same packets three times, and prints which thread took
 * how many of them and how many threads had a packet at once. Plain Win32, not jinduo: jinduo has a port and a thread for each
 * loop. docs/iocp.md ("A port that threads share") says what to look at. */
#include "examples/program.h"

#include <process.h>
#include <stdatomic.h>
#include <stdio.h>
#include <windows.h>

enum {
    THREADS_MAX = 64,
    PACKETS_MAX = 100000,
    WORK_MAX_US = 10000,
    OPTION_PACKETS = 1,
    OPTION_CONCURRENCY,
    OPTION_WORK
};

static const struct program program = { .name = "jd-iocp-shared", .short_options = ":ht:" };

static unsigned threads = 4, concurrency = 1, packets = 200, work_us = 200;

/* The key of a packet says what it is about. Packets of I/O have the key that their handle was bound to the port with. */
enum key { KEY_NOTHING, KEY_COMPUTE, KEY_SLEEP, KEY_END };

struct taker {
    HANDLE thread;
    unsigned taken; /* packets of the present round */
};

static HANDLE port, handled;
static struct taker takers[THREADS_MAX];
static atomic_uint open_packets; /* posted, not handled */
static atomic_uint busy, most_busy;

__attribute__((noreturn)) static void fail(const char *call)
{
    fprintf(stderr, "%s: %s: error %lu\n", program.name, call, GetLastError());
    exit(PROGRAM_FAILED);
}

/* ---- a thread of the port ---- */

/* Uses the processor, without a call that waits. */
static void compute(void)
{
    enum { US_PER_S = 1000000 };
    LARGE_INTEGER frequency, now, end;

    QueryPerformanceFrequency(&frequency);
    QueryPerformanceCounter(&end);
    end.QuadPart += frequency.QuadPart * (LONGLONG)work_us / US_PER_S;
    do
        QueryPerformanceCounter(&now);
    while (now.QuadPart < end.QuadPart);
}

static void handle_packet(enum key key)
{
    unsigned now = atomic_fetch_add(&busy, 1) + 1, most = atomic_load(&most_busy);

    while (now > most && !atomic_compare_exchange_weak(&most_busy, &most, now))
        ;
    if (key == KEY_COMPUTE)
        compute();
    else if (key == KEY_SLEEP)
        Sleep(1); /* the port may let another thread run meanwhile */
    atomic_fetch_sub(&busy, 1);
}

static unsigned __stdcall take_packets(void *arg)
{
    struct taker *taker = arg;
    OVERLAPPED *overlapped;
    ULONG_PTR key;
    DWORD bytes;

    for (;;) {
        if (!GetQueuedCompletionStatus(port, &bytes, &key, &overlapped, INFINITE))
            fail("GetQueuedCompletionStatus");
        if (key == KEY_END)
            return 0;
        taker->taken++;
        handle_packet((enum key)key);
        atomic_fetch_sub(&open_packets, 1);
        if (!SetEvent(handled))
            fail("SetEvent");
    }
}

/* ---- rounds ---- */

static void post(enum key key)
{
    if (!PostQueuedCompletionStatus(port, 0, key, NULL))
        fail("PostQueuedCompletionStatus");
}

static void wait_until_handled(void)
{
    while (atomic_load(&open_packets) > 0)
        if (WaitForSingleObject(handled, INFINITE) != WAIT_OBJECT_0)
            fail("WaitForSingleObject");
}

static void print_round(const char *name)
{
    printf("%s: ", name);
    for (unsigned i = 0; i < threads; i++)
        printf("%s%u", i > 0 ? " " : "", takers[i].taken);
    printf("; at once %u\n", atomic_load(&most_busy));
    fflush(stdout);
}

/* Posts all packets; at_once: without waiting for each. */
static void run_round(const char *name, enum key key, bool at_once)
{
    for (unsigned i = 0; i < threads; i++)
        takers[i].taken = 0;
    atomic_store(&most_busy, 0);
    for (unsigned i = 0; i < packets; i++) {
        atomic_fetch_add(&open_packets, 1);
        post(key);
        if (!at_once)
            wait_until_handled();
    }
    wait_until_handled();
    print_round(name);
}

/* ---- begin and end ---- */

static void begin(void)
{
    port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, concurrency);
    if (port == NULL)
        fail("CreateIoCompletionPort");
    handled = CreateEventA(NULL, FALSE, FALSE, NULL);
    if (handled == NULL)
        fail("CreateEvent");
    for (unsigned i = 0; i < threads; i++) {
        takers[i].thread = (HANDLE)_beginthreadex(NULL, 0, take_packets, &takers[i], 0, NULL);
        if (takers[i].thread == NULL)
            fail("_beginthreadex");
    }
}

/* Closing the port would end the threads' waits with an error, whatever was still queued: each gets a packet that ends it. */
static void end(void)
{
    for (unsigned i = 0; i < threads; i++)
        post(KEY_END);
    for (unsigned i = 0; i < threads; i++) {
        if (WaitForSingleObject(takers[i].thread, INFINITE) != WAIT_OBJECT_0)
            fail("WaitForSingleObject");
        CloseHandle(takers[i].thread);
    }
    CloseHandle(handled);
    CloseHandle(port);
}

static void print_help(void)
{
    printf("Usage: jd-iocp-shared [OPTION]...\n"
           "Threads that share one completion port. Posts packets in three rounds, and prints for each round how many "
           "of them\n"
           "each thread took, and how many threads had one at once.\n\n"
           "  -t, --threads N           1 to 64 (default 4)\n"
           "      --concurrency N       the port's: threads that may run at once, 0 to 64; 0: as many as there are\n"
           "                            processors (default 1)\n"
           "      --packets N           of each round, 1 to 100000 (default 200)\n"
           "      --work-us US          that a thread computes for a packet, 0 to 10000 (default 200)\n"
           "  -h, --help                print this text and exit\n");
}

static void read_options(int argc, char **argv)
{
    static const struct option options[] = { { "help", no_argument, NULL, 'h' },
                                             { "threads", required_argument, NULL, 't' },
                                             { "concurrency", required_argument, NULL, OPTION_CONCURRENCY },
                                             { "packets", required_argument, NULL, OPTION_PACKETS },
                                             { "work-us", required_argument, NULL, OPTION_WORK },
                                             { 0 } };
    int option;

    while ((option = program_next_option(&program, argc, argv, options)) != -1) {
        if (option == 'h') {
            print_help();
            exit(0);
        }
        if (option == 't')
            threads = (unsigned)program_number(&program, "--threads", optarg, 1, THREADS_MAX);
        else if (option == OPTION_CONCURRENCY)
            concurrency = (unsigned)program_number(&program, "--concurrency", optarg, 0, THREADS_MAX);
        else if (option == OPTION_PACKETS)
            packets = (unsigned)program_number(&program, "--packets", optarg, 1, PACKETS_MAX);
        else if (option == OPTION_WORK)
            work_us = (unsigned)program_number(&program, "--work-us", optarg, 0, WORK_MAX_US);
    }
}

int main(int argc, char **argv)
{
    read_options(argc, argv);
    begin();
    printf("threads=%u concurrency=%u packets=%u\n", threads, concurrency, packets);
    run_round("one after the other", KEY_NOTHING, false);
    run_round("all at once, computing", KEY_COMPUTE, true);
    run_round("all at once, sleeping", KEY_SLEEP, true);
    end();
    return 0;
}
