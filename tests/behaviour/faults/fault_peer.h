/* A peer of a fault run (fault_run.h): a plain socket that sends its script of frames and checks what comes back. */
#ifndef TESTS_FAULT_PEER_H
#define TESTS_FAULT_PEER_H

#include "tests/behaviour/faults/fault_run.h"

enum { FAULT_HEADER_BYTES = 4 }; /* the frames' length field */

struct run_peer {
    enum run_peer_kind kind;
    int socket;
    uint16_t port;
    char header[64]; /* of the PROXY protocol: in front of the script */
    size_t header_sent;
    unsigned char *script; /* frames to send, and to come back */
    size_t script_bytes, sent, received, expected;
    unsigned frames;
    bool over;
    bool broken; /* nothing can be sent any more */
    bool is_cut; /* asks for an end that may take with it what has not come back yet */

    /* What the server's side knows, under the run's lock. */
    unsigned frames_served, ups, downs;
    int error;
    bool given_up; /* as a call for it had failed */
};

/* Connects to endpoint; fails the test if that fails. */
void fault_peer_connect(struct run_peer *peer, const jd_endpoint *endpoint);

/* It begins with a header of the PROXY protocol, which names it. */
void fault_peer_set_header(struct run_peer *peer);

/* Sends and, if it may read, receives what is possible now. */
void fault_peer_step(struct run_peer *peer, bool may_read);

/* Closes its socket. */
void fault_peer_end(struct run_peer *peer, bool with_reset);

/* Whether nothing more can come: the server has ended the connection, be it in good order. */
bool fault_peer_has_hung_up(const struct run_peer *peer);

#endif
