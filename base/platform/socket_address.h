/* The system's headers for socket addresses (struct sockaddr_in, _in6, _un) and their text forms. */
#ifndef BASE_PLATFORM_SOCKET_ADDRESS_H
#define BASE_PLATFORM_SOCKET_ADDRESS_H

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#endif
