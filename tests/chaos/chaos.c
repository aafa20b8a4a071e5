/* chaos: hostile clients for a server, and honest ones beside them (./dev chaos). In phases of up to a second and a half it
 * opens connections, in storms or one after the other, lets each of them do what its seed says, and sometimes ends all of them
 * at once. At the end it closes all connections and prints what it did, as a JSON object. */
#include "tests/chaos/hostile.h"
#include "tests/chaos/probe.h"
#include "tests/chaos/random.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    EXIT_USAGE = 2,
    CONNECTIONS_DEFAULT = 1500,
    CONNECTIONS_MAX = 15000,
    SECONDS_MAX = 86400,
    PHASE_MIN_MS = 100,
    PHASE_MAX_MS = 1500,
    LINE_BYTES_PER_MS = 10, /* of all connections together: the server sends each line to all of them */
    PROBES = 2,
};

static const char help[] =
    "Usage: chaos [OPTION]... ENDPOINT\n"
    "Hostile clients for the server at ENDPOINT, and honest ones beside them. Prints one JSON object.\n\n"
    "  --protocol NAME    bytes (default), discard, frames, varint, lines, files, http or\n"
    "                     redis\n"
    "  --seconds S        duration, 1 to 86400 (default 10)\n"
    "  --seed N           of all that the clients do (default 1)\n"
    "  --connections N    hostile connections at a time, at most, 1 to 15000 (default 1500)\n"
    "  --no-probe         no honest clients: the server may end meanwhile\n"
    "  --make-files       write the files that honest clients of --protocol files ask for to the working directory, "
    "and\n"
    "                     exit\n"
    "  --help             print this text and exit\n\n"
    "Exit status: 0; 1: an honest client was not served as it should be; 2: wrong usage.\n";

struct options {
    uint64_t seconds, seed, connections, probe, make_files;
};

/* What the main loop does until until_ms. */
struct phase {
    uint64_t until_ms;
    unsigned target;      /* connections; those above it are not replaced */
    unsigned opened_each; /* connections opened in a turn */
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

__attribute__((noreturn)) static void refuse(const char *what, const char *value, const char *allowed)
{
    fprintf(stderr, "chaos: %s '%s': %s; see chaos --help\n", what, value, allowed);
    exit(EXIT_USAGE);
}

static uint64_t number(const char *option, const char *text, uint64_t least, uint64_t most)
{
    char *end, allowed[80];
    uint64_t value;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (*text >= '0' && *text <= '9' && *end == '\0' && errno == 0 && value >= least && value <= most)
        return value;
    snprintf(allowed, sizeof(allowed), "must be a whole number from %" PRIu64 " to %" PRIu64, least, most);
    refuse(option, text, allowed);
}

static enum protocol protocol_of(const char *name)
{
    for (unsigned i = 0; i < PROTOCOLS; i++)
        if (strcmp(protocol_names[i], name) == 0)
            return (enum protocol)i;
    refuse("--protocol", name, "must be bytes, discard, frames, varint, lines, files, http or redis");
}

static void make_files(void)
{
    for (unsigned i = 0; i < FILES; i++) {
        char name[16];
        FILE *file;

        snprintf(name, sizeof(name), "%u", i);
        file = fopen(name, "wb");
        for (uint64_t offset = 0; file != NULL && offset < file_bytes[i]; offset++)
            putc(file_byte(i, offset), file);
        if (file == NULL || fclose(file) != 0) {
            fprintf(stderr, "chaos: cannot write the file %s: %s\n", name, strerror(errno));
            exit(EXIT_FAILURE);
        }
    }
}

static struct options read_options(int argc, char **argv, struct arena *arena)
{
    enum { PROTOCOL = 1, SECONDS, SEED, CONNECTIONS, NO_PROBE, MAKE_FILES, HELP };
    static const struct option known[] = {
        { "protocol", required_argument, NULL, PROTOCOL },
        { "seconds", required_argument, NULL, SECONDS },
        { "seed", required_argument, NULL, SEED },
        { "connections", required_argument, NULL, CONNECTIONS },
        { "no-probe", no_argument, NULL, NO_PROBE },
        { "make-files", no_argument, NULL, MAKE_FILES },
        { "help", no_argument, NULL, HELP },
        { 0 },
    };
    struct options options = { .seconds = 10, .seed = 1, .connections = CONNECTIONS_DEFAULT, .probe = PROBES };
    const char *reason;
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == PROTOCOL)
            arena->protocol = protocol_of(optarg);
        else if (option == SECONDS)
            options.seconds = number("--seconds", optarg, 1, SECONDS_MAX);
        else if (option == SEED)
            options.seed = number("--seed", optarg, 0, UINT64_MAX);
        else if (option == CONNECTIONS)
            options.connections = number("--connections", optarg, 1, CONNECTIONS_MAX);
        else if (option == NO_PROBE)
            options.probe = 0;
        else if (option == MAKE_FILES)
            options.make_files = 1;
        else if (option == HELP)
            exit(fputs(help, stdout) < 0);
        else
            exit(EXIT_USAGE); /* getopt_long has printed the reason */
    }
    if (options.make_files)
        return options;
    if (optind != argc - 1)
        refuse("ENDPOINT", optind < argc ? argv[optind + 1] : "", "exactly one is needed");
    if (jd_endpoint_parse(&arena->server, argv[optind], &reason) < 0)
        refuse("ENDPOINT", argv[optind], reason);
    return options;
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static struct phase next_phase(uint64_t *random, uint64_t now, unsigned most)
{
    struct phase phase = { .until_ms = now + PHASE_MIN_MS + chaos_below(random, PHASE_MAX_MS - PHASE_MIN_MS) };

    switch (chaos_below(random, 4)) {
    case 0:
        phase.target = (unsigned)chaos_below(random, most + 1);
        break;
    case 1:
        phase.target = chaos_below(random, 2) == 0 ? 0 : most / 20;
        break;
    default:
        phase.target = most;
    }
    /* A storm, or a rate. */
    phase.opened_each = chaos_below(random, 2) == 0 ? most : 1 + (unsigned)chaos_below(random, 20);
    return phase;
}

static void end_all(struct arena *arena, struct hostile *all, unsigned count, uint64_t *random)
{
    for (unsigned i = 0; i < count; i++)
        hostile_end(arena, &all[i], chaos_below(random, 2) == 0);
}

/* Opens what is missing and lets each connection act that is due. Returns the number of connections. */
static unsigned turn(struct arena *arena, struct hostile *all, unsigned count, const struct phase *phase,
                     uint64_t *random)
{
    unsigned opened = 0, alive = 0;
    uint64_t now = now_ms();

    for (unsigned i = 0; i < count; i++) {
        if (all[i].fd < 0 && i < phase->target && opened < phase->opened_each) {
            opened++;
            /* A server whose queue is full is left alone for the rest of this turn. */
            if (!hostile_open(arena, &all[i], chaos_random(random), now))
                opened = phase->opened_each;
        }
        if (all[i].fd >= 0 && all[i].next_ms <= now)
            hostile_act(arena, &all[i], now);
        alive += all[i].fd >= 0;
    }
    return alive;
}

static bool probes_failed(struct probe *probes, uint64_t count)
{
    for (unsigned i = 0; i < count; i++)
        if (atomic_load(&probes[i].failed))
            return true;
    return false;
}

/* Returns the most connections that there were at a time. */
static unsigned run(struct arena *arena, struct hostile *all, const struct options *options, struct probe *probes)
{
    const struct timespec tick = { .tv_nsec = 1000000 };
    uint64_t random = options->seed, end = now_ms() + options->seconds * 1000, now, before = now_ms();
    struct phase phase = { 0 };
    unsigned most = 0;

    while ((now = now_ms()) < end && !interrupted && !probes_failed(probes, options->probe)) {
        unsigned alive;

        arena->line_bytes += (int64_t)(now - before) * LINE_BYTES_PER_MS;
        if (arena->line_bytes > PHASE_MAX_MS * LINE_BYTES_PER_MS)
            arena->line_bytes = PHASE_MAX_MS * LINE_BYTES_PER_MS;
        before = now;
        if (now >= phase.until_ms) {
            phase = next_phase(&random, now, (unsigned)options->connections);
            if (chaos_below(&random, 4) == 0)
                end_all(arena, all, (unsigned)options->connections, &random);
        }
        alive = turn(arena, all, (unsigned)options->connections, &phase, &random);
        most = alive > most ? alive : most;
        nanosleep(&tick, NULL);
    }
    end_all(arena, all, (unsigned)options->connections, &random);
    return most;
}

static void print_counts(const struct counts *counts, unsigned most)
{
    printf("{\"connections_at_once\": %u, \"opened\": %" PRIu64 ", \"not_opened\": %" PRIu64 ", \"lost\": %" PRIu64
           ", \"pieces\": %" PRIu64 ", \"sent_bytes\": %" PRIu64 ", \"received_bytes\": %" PRIu64
           ", \"urgent\": %" PRIu64 ", \"urgent_then_ended\": %" PRIu64 ", \"pauses\": %" PRIu64
           ", \"half_closes\": %" PRIu64 ", \"resets\": %" PRIu64 ", \"closes\": %" PRIu64
           ", \"announcements\": %" PRIu64 ", \"large_announcements\": %" PRIu64,
           most, counts->opened, counts->not_opened, counts->lost, counts->pieces, counts->sent_bytes,
           counts->received_bytes, counts->urgent, counts->urgent_resets, counts->pauses, counts->half_closes,
           counts->resets, counts->closes, counts->announcements, counts->large_announcements);
}

int main(int argc, char **argv)
{
    static struct probe probes[PROBES];
    static struct arena arena;
    struct options options = read_options(argc, argv, &arena);
    struct hostile *all;
    uint64_t exchanges = 0, connections = 0;
    int status = EXIT_SUCCESS;
    unsigned most;

    if (options.make_files) {
        make_files();
        return EXIT_SUCCESS;
    }
    all = calloc(options.connections, sizeof(*all));
    if (all == NULL)
        return EXIT_FAILURE;
    for (unsigned i = 0; i < options.connections; i++)
        all[i].fd = -1;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    for (unsigned i = 0; i < options.probe; i++) {
        probes[i] = (struct probe){
            .server = arena.server, .protocol = arena.protocol, .exchanges_each = i * 20, .seed = options.seed + i
        };
        probe_begin(&probes[i]);
    }
    most = run(&arena, all, &options, probes);
    for (unsigned i = 0; i < options.probe; i++) {
        probe_end(&probes[i]);
        exchanges += probes[i].exchanges;
        connections += probes[i].connections;
        if (atomic_load(&probes[i].failed)) {
            fprintf(stderr, "chaos: an honest client: %s\n", probes[i].error);
            status = EXIT_FAILURE;
        }
    }
    print_counts(&arena.counts, most);
    printf(", \"honest_exchanges\": %" PRIu64 ", \"honest_connections\": %" PRIu64 "}\n", exchanges, connections);
    free(all);
    return status;
}
