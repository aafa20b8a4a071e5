/* Includes all public headers. */
#ifndef JINDUO_JINDUO_H
#define JINDUO_JINDUO_H

#include <jinduo/buffer.h>
#include <jinduo/channel.h>
#include <jinduo/codec.h>
#include <jinduo/delimiter_codec.h>
#include <jinduo/endpoint.h>
#include <jinduo/error.h>
#include <jinduo/event_loop.h>
#include <jinduo/length_codec.h>
#include <jinduo/log.h>
#include <jinduo/memory.h>
#include <jinduo/proactor.h>
#include <jinduo/shared.h>
#include <jinduo/socket.h>
#include <jinduo/statistics.h>
#include <jinduo/tcp_client.h>
#include <jinduo/tcp_connection.h>
#include <jinduo/tcp_server.h>
#include <jinduo/thread_pool.h>
#include <jinduo/types.h>
#include <jinduo/version.h>

#endif
