/* The late engine's connects: late_engine.c decides when work is done, late_connect.c does it. */
#ifndef TESTS_LATE_CONNECT_H
#define TESTS_LATE_CONNECT_H

#include "net/engine/engine.h"

/* Requested; begun some turns later; finished when the kernel has a result, which is reported some turns after that. */
enum late_connect_state { LATE_ASKED, LATE_BEGUN, LATE_FINISHED };

struct late_connect {
    struct late_connect *next;
    struct connector *connector;
    enum late_connect_state state;
    bool abandoned;
    int error;
    struct peer_address peer;
};

struct late_connects {
    struct late_connect *first;
};

void late_connect_add(struct late_connects *connects, struct connector *connector);
void late_connect_abandon(struct connector *connector);

/* Whether the connect waits for the socket to be writable; poll(2) has reported that it is. */
bool late_connect_polls(const struct late_connect *connect);
void late_connect_polled(struct late_connect *connect);

/* could: whether there is work. do: does it, and may free the connect. Returns whether a descriptor was freed. */
bool late_connect_could(const struct late_connect *connect);
bool late_connect_do(struct late_connects *connects, struct late_connect *connect);

#endif
