/* The clients of jd-iocp-levels: a thread that sends messages on many connections and verifies that each comes back. */
#ifndef EXAMPLES_IOCP_CLIENTS_H
#define EXAMPLES_IOCP_CLIENTS_H

#include <winsock2.h>
#include <ws2tcpip.h>

#include <windows.h>

enum { IOCP_MESSAGE_MAX_BYTES = 4096, IOCP_CONNECTIONS_MAX = 1000 };

struct iocp_clients {
    struct sockaddr_in address; /* of the server */
    unsigned connections;       /* at most IOCP_CONNECTIONS_MAX */
    unsigned messages;          /* of each connection */
    unsigned message_bytes;     /* at most IOCP_MESSAGE_MAX_BYTES */
    SOCKET sockets[IOCP_CONNECTIONS_MAX];
    HANDLE thread;
};

/* Starts the thread. clients must stay until iocp_clients_join. A wrong answer or an error ends the program. */
void iocp_clients_start(struct iocp_clients *clients);

void iocp_clients_join(struct iocp_clients *clients);

/* Prints the call that failed, with the system's number of the error, and ends the program. */
__attribute__((noreturn)) void iocp_fail(const char *call, unsigned long error);

#endif
