/* Channels by epoll(7), for every backend. */
#ifndef PROACTOR_CHANNELS_PROACTOR_CHANNELS_H
#define PROACTOR_CHANNELS_PROACTOR_CHANNELS_H

#include "proactor/channel_ops.h"

extern const struct proactor_channel_ops epoll_channels;

#endif
