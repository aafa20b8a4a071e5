/* Clients for behaviour tests: plain non-blocking sockets, without the library. Functions that wait step the_loop
 * meanwhile, and fail the test after a generous time. */
#ifndef TESTS_CLIENTS_H
#define TESTS_CLIENTS_H

#include <jinduo/endpoint.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Connects to the server last made, or to an endpoint. Clients still open at the end of the test are closed. */
int client_connect(void);
int client_connect_to(const jd_endpoint *endpoint);

/* Connects to an endpoint from an address of this host, as "127.0.0.2:0". */
int client_connect_from(const jd_endpoint *source, const jd_endpoint *endpoint);

/* Connects to the server last made and waits for its up callback: so the n-th client is the connection of story(n). Of
 * several that wait at once, an engine may accept any first. */
int client_connect_up(void);

/* The same with SO_RCVBUF set first, for a peer that takes little (socket(7): the kernel doubles it). */
int client_connect_with_receive_buffer(int bytes);

/* Sends all. */
void client_send(int client, const void *data, size_t length);

/* Sends what the kernel takes now; returns the bytes. */
size_t client_send_some(int client, const void *data, size_t length);

/* Receives exactly length bytes; receives and compares. */
void client_receive(int client, void *data, size_t length);
void client_expect(int client, const void *data, size_t length);

/* Receives and drops exactly length bytes, which must continue the pattern from offset; sends such bytes. */
void client_expect_pattern(int client, size_t offset, size_t length);
void client_send_pattern(int client, size_t offset, size_t length);

/* What is there now, at most size bytes: their number, 0 at the end, or a negative errno (-EAGAIN: nothing). */
ssize_t client_receive_some(int client, void *data, size_t size);

/* Receives until the peer's FIN, at most size bytes into data (NULL: dropped). Returns all bytes' number. */
size_t client_receive_to_end(int client, void *data, size_t size);

/* The next thing is the peer's FIN, no byte before it; sooner or later comes a reset. */
void client_expect_end(int client);
void client_expect_reset(int client);

/* Whether the peer has sent its FIN or RST and nothing is left to be read before it. */
bool client_is_over(int client);

/* FIN; close; close with RST. */
void client_shutdown(int client);
void client_close(int client);
void client_reset(int client);

/* A socket made elsewhere is closed at the end of the test, too. */
void client_adopt(int client);

/* Of the harness: closes all. */
void clients_close_all(void);

/* Byte number offset of a stream that does not repeat within a megabyte. */
unsigned char pattern_byte(size_t offset);
void pattern_fill(void *data, size_t offset, size_t length);

/* Fails the test if data is not the pattern from offset. One check for all. */
void pattern_expect(const void *data, size_t offset, size_t length);

#endif
