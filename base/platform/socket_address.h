/* The system's socket addresses (struct sockaddr and its kin), and how they are written. */
#ifndef BASE_PLATFORM_SOCKET_ADDRESS_H
#define BASE_PLATFORM_SOCKET_ADDRESS_H

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#endif
