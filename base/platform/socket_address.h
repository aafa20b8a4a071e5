/* The system's headers for socket addresses (struct sockaddr_in, _in6, _un) and their text forms. */
#ifndef BASE_PLATFORM_SOCKET_ADDRESS_H
#define BASE_PLATFORM_SOCKET_ADDRESS_H

#ifdef _WIN32
#include <stdint.h>
#include <winsock2.h>

/* These need the types of <winsock2.h>. */
#include <afunix.h>
#include <netioapi.h>
#include <ws2tcpip.h>

typedef uint16_t in_port_t;
typedef ADDRESS_FAMILY sa_family_t;
#else
#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#endif

#endif
