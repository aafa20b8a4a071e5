#include "benchmarks/peers/server.h"

#include "base/platform/socket.h"

#include <getopt.h>
#include <jinduo/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

enum { EXIT_USAGE = 2, HEADER_BYTES = 4 };

static void read_options(int argc, char **argv, jd_endpoint *endpoint, const char **word)
{
    static const struct option options[] = { { "listen", required_argument, NULL, 'l' }, { NULL, 0, NULL, 0 } };
    const char *listen = "127.0.0.1:8000", *reason = "";
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option != 'l')
            exit(EXIT_USAGE);
        listen = optarg;
    }
    if (jd_endpoint_parse(endpoint, listen, &reason) < 0 || argc - optind > (word != NULL)) {
        fprintf(stderr, "Usage: %s [--listen ENDPOINT]%s\n", argv[0], word != NULL ? " [WORD]" : "");
        exit(EXIT_USAGE);
    }
    if (word != NULL)
        *word = optind < argc ? argv[optind] : NULL;
}

int server_listen(int argc, char **argv, const char **word)
{
    struct socket_options options = { 0 };
    char text[JD_ENDPOINT_TEXT_BYTES];
    jd_endpoint endpoint, bound;
    struct rlimit limit;
    socket_handle listener;
    int error;

    read_options(argc, argv, &endpoint, word);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    error = socket_listen(&listener, &endpoint, &options, &bound, NULL);
    if (error < 0) {
        fprintf(stderr, "%s: cannot listen: %s\n", argv[0], jd_strerror(error));
        exit(EXIT_FAILURE);
    }
    jd_endpoint_format(&bound, text, sizeof(text));
    printf("listening on %s\n", text);
    fflush(stdout);
    return listener;
}

static uint32_t frame_length(const unsigned char *header)
{
    return (uint32_t)header[0] << 24 | (uint32_t)header[1] << 16 | (uint32_t)header[2] << 8 | header[3];
}

size_t server_frame_bytes(const unsigned char *bytes)
{
    return HEADER_BYTES + (size_t)frame_length(bytes);
}

struct server_form server_form_of(const char *word)
{
    static const struct {
        const char *word;
        struct server_form form;
    } forms[] = { { "frames", { 1, 0, 0 } },
                  { "discard", { 0, 1, 0 } },
                  { "documented", { 0, 0, 1 } },
                  { "documented-frames", { 1, 0, 1 } } };

    if (word == NULL)
        return (struct server_form){ 0, 0, 0 };
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
        if (strcmp(forms[i].word, word) == 0)
            return forms[i].form;
    fprintf(stderr, "'%s': must be frames, discard, documented or documented-frames\n", word);
    exit(EXIT_USAGE);
}

static void make_room(unsigned char **answers, size_t *room, size_t wanted)
{
    if (wanted <= *room)
        return;
    *room = wanted * 2;
    *answers = realloc(*answers, *room);
    if (*answers == NULL)
        abort();
}

size_t server_answer_frames(const unsigned char *bytes, size_t length, unsigned char **answers, size_t *room)
{
    size_t done = 0;

    while (length - done >= HEADER_BYTES) {
        size_t frame = HEADER_BYTES + (size_t)frame_length(bytes + done);
        if (length - done < frame)
            break;
        make_room(answers, room, done + frame);
        memcpy(*answers + done, bytes + done, HEADER_BYTES);
        memcpy(*answers + done + HEADER_BYTES, bytes + done + HEADER_BYTES, frame - HEADER_BYTES);
        done += frame;
    }
    return done;
}
