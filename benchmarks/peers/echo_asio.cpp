/* An echo server with Asio, as in its documentation: read some bytes, write all of them, read again. With the argument
 * "frames" it decodes length-prefixed frames, and sends the responses to the frames of one read in one write. With
 * "discard" it drops all bytes. The buffers are larger than in the documentation, as large as the others'. */
#include "benchmarks/peers/server.h"

#include <asio.hpp>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

using asio::ip::tcp;

static bool cuts_frames, discards;

class session : public std::enable_shared_from_this<session>
{
  public:
    explicit session(tcp::socket socket) : socket_(std::move(socket)), buffer_(65536)
    {
    }

    ~session()
    {
        std::free(answers_);
    }

    void read()
    {
        auto self = shared_from_this();
        socket_.async_read_some(asio::buffer(buffer_.data() + pending_, buffer_.size() - pending_),
                                [self](const asio::error_code &error, size_t length) {
                                    if (!error)
                                        self->received(length);
                                });
    }

  private:
    void received(size_t length)
    {
        if (discards) {
            read();
            return;
        }
        if (!cuts_frames) {
            write(buffer_.data(), length);
            return;
        }
        length += pending_;
        size_t answered = server_answer_frames(buffer_.data(), length, &answers_, &answers_room_);
        pending_ = length - answered;
        std::memmove(buffer_.data(), buffer_.data() + answered, pending_);
        if (pending_ == buffer_.size())
            buffer_.resize(buffer_.size() * 2);
        if (answered > 0)
            write(answers_, answered);
        else
            read();
    }

    void write(const unsigned char *bytes, size_t length)
    {
        auto self = shared_from_this();
        asio::async_write(socket_, asio::buffer(bytes, length), [self](const asio::error_code &error, size_t) {
            if (!error)
                self->read();
        });
    }

    tcp::socket socket_;
    std::vector<unsigned char> buffer_;
    size_t pending_ = 0; /* bytes of an incomplete frame, at the beginning of the buffer */
    unsigned char *answers_ = nullptr;
    size_t answers_room_ = 0;
};

static void accept(tcp::acceptor &acceptor)
{
    acceptor.async_accept([&acceptor](const asio::error_code &error, tcp::socket socket) {
        if (!error)
            std::make_shared<session>(std::move(socket))->read();
        accept(acceptor);
    });
}

int main(int argc, char **argv)
{
    const char *word;
    int fd = server_listen(argc, argv, &word);
    asio::io_context context(1);
    tcp::acceptor acceptor(context, tcp::v4(), fd);

    std::signal(SIGPIPE, SIG_IGN);
    cuts_frames = word != nullptr && std::strcmp(word, "frames") == 0;
    discards = word != nullptr && std::strcmp(word, "discard") == 0;
    accept(acceptor);
    context.run();
}
