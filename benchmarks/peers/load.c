#include "benchmarks/peers/load.h"

#include "base/endpoint.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { EXIT_USAGE = 2 };

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void small_load_fail(const struct small_load *load, const char *what)
{
    fprintf(stderr, "%s: %s%s%s\n", load->name, what, errno != 0 ? ": " : "", errno != 0 ? strerror(errno) : "");
    exit(EXIT_FAILURE);
}

static void take_option(struct small_load *load, int option)
{
    switch (option) {
    case 's':
        load->seconds = strtod(optarg, NULL);
        break;
    case 'w':
        load->warmup_seconds = strtod(optarg, NULL);
        break;
    case 'p':
        load->server_pid = (pid_t)strtol(optarg, NULL, 10);
        break;
    case 'c':
        load->connections = (unsigned)strtoul(optarg, NULL, 10);
        break;
    case 'd':
        load->depth = (unsigned)strtoul(optarg, NULL, 10);
        break;
    case 'k':
        load->call_counts = optarg;
        break;
    case 'o':
        load->cold = true;
        break;
    case 'h':
        load->http_path = optarg;
        break;
    case 'f':
        load->file = optarg;
        break;
    default:
        exit(EXIT_USAGE);
    }
}

void small_load_parse(struct small_load *load, int argc, char **argv)
{
    static const struct option options[] = {
        { "seconds", required_argument, NULL, 's' },     { "warmup", required_argument, NULL, 'w' },
        { "server-pid", required_argument, NULL, 'p' },  { "connections", required_argument, NULL, 'c' },
        { "depth", required_argument, NULL, 'd' },       { "file", required_argument, NULL, 'f' },
        { "call-counts", required_argument, NULL, 'k' }, { "cold", no_argument, NULL, 'o' },
        { "http", required_argument, NULL, 'h' },        { NULL, 0, NULL, 0 },
    };
    const char *reason = "";
    struct rlimit limit;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        take_option(load, option);
    if (argc - optind != 1 || jd_endpoint_parse(&load->server, argv[optind], &reason) < 0 || load->server_pid <= 0 ||
        !(load->seconds > 0) || load->connections == 0 || load->depth == 0) {
        fprintf(
            stderr,
            "Usage: %s ENDPOINT --server-pid PID --seconds S [--warmup S] [--connections N] [--depth N] [--file PATH]\n"
            "[--cold] [--http PATH] [--call-counts FILE]\n"
            "PID and S are more than 0, N at least 1; --depth: messages in flight (default 1)\n",
            load->name);
        exit(EXIT_USAGE);
    }
    if (load->call_counts != NULL && !server_usage_map_calls(load->call_counts, &load->calls))
        small_load_fail(load, "cannot map --call-counts");
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    load->begin_ns = clock_ns(CLOCK_MONOTONIC);
}

int small_load_connect(const struct small_load *load)
{
    const struct sockaddr *address = endpoint_sockaddr(&load->server);
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, address, load->server.length) < 0)
        small_load_fail(load, "cannot connect");
    return fd;
}

static void begin_measuring(struct small_load *load, uint64_t now_ns)
{
    load->measuring = true;
    load->messages = 0;
    load->begin_ns = now_ns;
    load->cpu_begin_ns = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
    if (!server_usage_read(&load->server_begin, load->server_pid, load->calls))
        small_load_fail(load, "cannot read the CPU time of --server-pid");
}

static void report(const struct small_load *load, uint64_t now_ns)
{
    double ns = (double)(now_ns - load->begin_ns), messages = (double)load->messages;
    double cpu_ns = (double)(clock_ns(CLOCK_PROCESS_CPUTIME_ID) - load->cpu_begin_ns);
    struct server_usage server_end;
    uint64_t server_ns;

    server_usage_read(&server_end, load->server_pid, load->calls);
    server_ns = server_end.cpu_ns - load->server_begin.cpu_ns;
    printf("{\"messages_per_second\": %.3f, \"cpu_percent\": %.3f, \"server_cpu_percent\": %.3f, "
           "\"server_cpu_us_per_message\": %.6f, \"messages\": %.0f, \"seconds\": %.6f",
           messages * 1e9 / ns, cpu_ns * 100 / ns, (double)server_ns * 100 / ns, (double)server_ns / 1e3 / messages,
           messages, ns / 1e9);
    server_usage_print_json(&load->server_begin, &server_end, load->calls != NULL);
    printf("}\n");
}

bool small_load_count(struct small_load *load, uint64_t messages)
{
    uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
    double passed_ns = (double)(now_ns - load->begin_ns);

    load->messages += messages;
    if (!load->measuring) {
        if (passed_ns >= load->warmup_seconds * 1e9)
            begin_measuring(load, now_ns);
        return false;
    }
    if (passed_ns < load->seconds * 1e9 || load->messages == 0)
        return false;
    report(load, now_ns);
    return true;
}
