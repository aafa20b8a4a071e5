/* The code that the small servers in comparison share: command line, listening socket, ready line. */
#ifndef BENCHMARKS_PEERS_SERVER_H
#define BENCHMARKS_PEERS_SERVER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Reads --listen ENDPOINT, and at most one argument after the options into *word (NULL: none is allowed). Raises the
 * limit of descriptors to the hard limit, prints the ready line and returns a non-blocking listening socket, whose
 * connections inherit TCP_NODELAY (tcp(7)). Exits with an error line on failure. */
int server_listen(int argc, char **argv, const char **word);

/* Framing for libraries without it. Finds the complete frames at the beginning of bytes (a big-endian length of 4
 * bytes, then the payload) and writes a response with the same content for each, one after another, to *answers.
 * *answers grows as needed (realloc(3)) to *room bytes, and is owned by the caller. Returns the bytes of the frames,
 * which are also those of the responses. */
size_t server_answer_frames(const unsigned char *bytes, size_t length, unsigned char **answers, size_t *room);

/* The length of the frame that begins at bytes, its header included. */
size_t server_frame_bytes(const unsigned char *bytes);

/* How the echo servers of other libraries answer, by their argument (NULL: the bytes, in the best form). */
struct server_form {
    int cuts_frames, discards, documented;
};

/* Exits with an error line if there is no such form. */
struct server_form server_form_of(const char *word);

#ifdef __cplusplus
}
#endif
#endif
