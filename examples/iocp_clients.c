#include "examples/iocp_clients.h"

#include "examples/program.h"

#include <process.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((noreturn)) void iocp_fail(const char *call, unsigned long error)
{
    fprintf(stderr, "jd-iocp-levels: %s: error %lu\n", call, error);
    exit(PROGRAM_FAILED);
}

static void fill(char *message, unsigned bytes, unsigned client, unsigned number)
{
    for (unsigned i = 0; i < bytes; i++)
        message[i] = (char)(client * 31 + number * 7 + i);
}

static SOCKET connect_client(const struct sockaddr_in *address)
{
    SOCKET client = socket(AF_INET, SOCK_STREAM, 0);

    if (client == INVALID_SOCKET || connect(client, (const struct sockaddr *)address, sizeof(*address)) != 0)
        iocp_fail("connect", (unsigned long)WSAGetLastError());
    return client;
}

static void expect_answer(SOCKET client, const char *message, unsigned bytes)
{
    char answer[IOCP_MESSAGE_MAX_BYTES];

    for (unsigned received = 0; received < bytes;) {
        int count = recv(client, answer + received, (int)(bytes - received), 0);
        if (count <= 0)
            iocp_fail("recv", (unsigned long)WSAGetLastError());
        received += (unsigned)count;
    }
    if (memcmp(answer, message, bytes) != 0)
        iocp_fail("a wrong answer", ERROR_INVALID_DATA);
}

/* Each connection sends a message, then each receives its answer. */
static void exchange(const struct iocp_clients *clients, unsigned number)
{
    char message[IOCP_MESSAGE_MAX_BYTES];
    int bytes = (int)clients->message_bytes;

    for (unsigned i = 0; i < clients->connections; i++) {
        fill(message, clients->message_bytes, i, number);
        if (send(clients->sockets[i], message, bytes, 0) != bytes)
            iocp_fail("send", (unsigned long)WSAGetLastError());
    }
    for (unsigned i = 0; i < clients->connections; i++) {
        fill(message, clients->message_bytes, i, number);
        expect_answer(clients->sockets[i], message, clients->message_bytes);
    }
}

static unsigned __stdcall run(void *arg)
{
    struct iocp_clients *clients = arg;

    for (unsigned i = 0; i < clients->connections; i++)
        clients->sockets[i] = connect_client(&clients->address);
    for (unsigned number = 0; number < clients->messages; number++)
        exchange(clients, number);
    for (unsigned i = 0; i < clients->connections; i++)
        closesocket(clients->sockets[i]);
    return 0;
}

void iocp_clients_start(struct iocp_clients *clients)
{
    clients->thread = (HANDLE)_beginthreadex(NULL, 0, run, clients, 0, NULL);
    if (clients->thread == NULL)
        iocp_fail("_beginthreadex", ERROR_NOT_ENOUGH_MEMORY);
}

void iocp_clients_join(struct iocp_clients *clients)
{
    WaitForSingleObject(clients->thread, INFINITE);
    CloseHandle(clients->thread);
}
