/* A broadcast server with Asio: sends the complete messages of 1 KiB that it has received to all connections, with one
 * write_some for each connection, the form with the least calls. It does not handle peers that do not read: a short
 * write aborts the program. */
#include "benchmarks/peers/server.h"

#include <algorithm>
#include <array>
#include <asio.hpp>
#include <csignal>
#include <cstring>
#include <memory>
#include <vector>

using asio::ip::tcp;

static constexpr size_t message_bytes = 1024;
static std::vector<std::shared_ptr<tcp::socket>> connections;
static std::array<unsigned char, 65536> input; /* for all connections: only one of them sends */
static size_t input_bytes;

static void broadcast(size_t length)
{
    for (auto &connection : connections) {
        asio::error_code error;
        if (connection->write_some(asio::buffer(input.data(), length), error) != length)
            std::abort();
    }
}

static void received(size_t length)
{
    input_bytes += length;
    size_t complete = input_bytes / message_bytes * message_bytes;
    if (complete == 0)
        return;
    broadcast(complete);
    input_bytes -= complete;
    std::memmove(input.data(), input.data() + complete, input_bytes);
}

static void wait(const std::shared_ptr<tcp::socket> &connection)
{
    connection->async_wait(tcp::socket::wait_read, [connection](const asio::error_code &failed) {
        asio::error_code error = failed;
        size_t length = 0;
        if (!error)
            length = connection->read_some(asio::buffer(input.data() + input_bytes, input.size() - input_bytes), error);
        if (error && error != asio::error::would_block) {
            connections.erase(std::remove(connections.begin(), connections.end(), connection), connections.end());
            return;
        }
        received(length);
        wait(connection);
    });
}

static void accept(tcp::acceptor &acceptor)
{
    acceptor.async_accept([&acceptor](const asio::error_code &error, tcp::socket socket) {
        if (error)
            std::abort();
        socket.non_blocking(true);
        connections.push_back(std::make_shared<tcp::socket>(std::move(socket)));
        wait(connections.back());
        accept(acceptor);
    });
}

int main(int argc, char **argv)
{
    int fd = server_listen(argc, argv, nullptr);
    asio::io_context context(1);
    tcp::acceptor acceptor(context, tcp::v4(), fd);

    std::signal(SIGPIPE, SIG_IGN);
    accept(acceptor);
    context.run();
}
