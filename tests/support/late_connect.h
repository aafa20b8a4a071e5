/* The late engine's connecting: late_engine.c decides when what is done. */
#ifndef TESTS_LATE_CONNECT_H
#define TESTS_LATE_CONNECT_H

#include "net/engine/engine.h"

/* Asked for, begun some turns later; over some time later still, and told some turns after that. */
enum late_connect_state { LATE_ASKED, LATE_BEGUN, LATE_OVER };

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

/* Whether it waits for poll(2) to say that the socket is writable; it has. */
bool late_connect_polls(const struct late_connect *connect);
void late_connect_polled(struct late_connect *connect);

/* Whether something can be done for it; does it, after which it is gone, perhaps. Returns whether a descriptor was freed. */
bool late_connect_could(const struct late_connect *connect);
bool late_connect_do(struct late_connects *connects, struct late_connect *connect);

#endif
