#include "benchmarks/raw_server.h"

#include "base/endpoint.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { EXIT_USAGE = 2, CONTINUE = -1 };

static const char common_help[] =
    "  --listen=ENDPOINT   1.2.3.4:80, [::1]:80, *:80, unix:/path or unix:@name; port 0 selects a free port\n"
    "                      (default 127.0.0.1:8000)\n"
    "  --discard           drop the bytes instead of sending them back\n"
    "  --spin              poll for events without sleeping\n"
    "  --help              print this text and exit\n\n"
    "SIGINT or SIGTERM ends the server. Exit status: 0 success, 1 failure, 2 wrong usage.\n";

volatile sig_atomic_t raw_server_stopped;
bool raw_server_discards;
static const char *engine;

static void on_signal(int number)
{
    raw_server_stopped = 1;
}

static int listen_on(const jd_endpoint *endpoint)
{
    const struct sockaddr *address = endpoint_sockaddr(endpoint);
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* accepted sockets inherit it */
    if (fd < 0 || bind(fd, address, endpoint->length) < 0 || listen(fd, SOMAXCONN) < 0)
        return -1;
    return fd;
}

void raw_server_ready(int listener)
{
    struct sockaddr_storage bound;
    socklen_t length = sizeof(bound);
    jd_endpoint endpoint;
    char text[JD_ENDPOINT_TEXT_BYTES];

    getsockname(listener, (struct sockaddr *)&bound, &length);
    endpoint_from_sockaddr(&endpoint, (struct sockaddr *)&bound, length);
    jd_endpoint_format(&endpoint, text, sizeof(text));
    printf("listening on %s engine=%s threads=0\n", text, engine);
    fflush(stdout);
}

/* Returns CONTINUE, or the exit status. */
static int read_options(const struct raw_server *server, int argc, char **argv, jd_endpoint *endpoint, bool *spin)
{
    const struct option options[] = { { "listen", required_argument, NULL, 'l' },
                                      { "spin", no_argument, NULL, 's' },
                                      { "discard", no_argument, NULL, 'd' },
                                      { "help", no_argument, NULL, 'h' },
                                      server->option,
                                      { NULL, 0, NULL, 0 } };
    const char *listen = "127.0.0.1:8000", *reason = "invalid endpoint";
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'h') {
            printf("Usage: %s [OPTION]...\n%s%s", server->name, server->help, common_help);
            return EXIT_SUCCESS;
        }
        if (option == '?')
            return EXIT_USAGE;
        if (option == 'l')
            listen = optarg;
        *spin |= option == 's';
        raw_server_discards |= option == 'd';
        if (option == server->option.val && !server->take_option(optarg)) {
            fprintf(stderr, "%s: --%s '%s': must be %s; see %s --help\n", server->name, server->option.name, optarg,
                    server->allowed, server->name);
            return EXIT_USAGE;
        }
    }
    if (jd_endpoint_parse(endpoint, listen, &reason) == 0)
        return CONTINUE;
    fprintf(stderr, "%s: --listen '%s': %s; see %s --help\n", server->name, listen, reason, server->name);
    return EXIT_USAGE;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int raw_server_main(const struct raw_server *server, int argc, char **argv)
{
    struct sigaction action = { .sa_handler = on_signal };
    jd_endpoint endpoint;
    bool spin = false;
    int status = read_options(server, argc, argv, &endpoint, &spin);
    char text[JD_ENDPOINT_TEXT_BYTES];
    int listener, error;

    if (status != CONTINUE)
        return status;
    engine = server->engine;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    raise_descriptor_limit();
    listener = listen_on(&endpoint);
    error = listener < 0 ? errno : server->serve(listener, spin);
    if (error == 0)
        return EXIT_SUCCESS;
    jd_endpoint_format(&endpoint, text, sizeof(text));
    fprintf(stderr, "%s: cannot %s on %s: %s\n", server->name, listener < 0 ? "listen" : "serve", text,
            strerror(error));
    return EXIT_FAILURE;
}
