/* What the small servers that are compared share: the command line, the listening socket, the ready line. */
#ifndef BENCHMARKS_PEERS_SERVER_H
#define BENCHMARKS_PEERS_SERVER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Reads --listen ENDPOINT, and the words behind the options: at most one, *word (unless word is NULL). Returns a listening
 * socket, non-blocking, whose connections inherit TCP_NODELAY (tcp(7)); the ready line has been printed. Ends the program
 * when that cannot be done. Descriptors are as many as the system allows. */
int server_listen(int argc, char **argv, const char **word);

/* The whole frames at the beginning of bytes: each a length of 4 bytes, big-endian, and so many bytes. Answers each with a
 * frame of the same content, one behind the other at *answers, which grows (realloc(3)) to *room. Returns the bytes of the
 * frames, which is also that of the answers. For libraries without framing; the memory belongs to the caller. */
size_t server_answer_frames(const unsigned char *bytes, size_t length, unsigned char **answers, size_t *room);

#ifdef __cplusplus
}
#endif
#endif
