/* An echo server with Asio. In its best form: it waits until a socket is readable, then receives into a buffer that all connections
 * share, and sends without waiting; only the rest of a short write is an asynchronous operation. With the argument "frames" it decodes length-prefixed frames, and
 * sends the responses to the frames of one receive at once. With "discard" it drops all bytes. With "documented" it reads and
 * writes by asynchronous operations, as Asio's echo server does; with "documented-frames" it reads the header, then the
 * payload, then writes, as Asio's chat server does. */
#include "benchmarks/peers/server.h"

#include <asio.hpp>
#include <csignal>
#include <cstring>
#include <memory>
#include <vector>

using asio::ip::tcp;

static server_form form;

class session : public std::enable_shared_from_this<session>
{
  public:
    explicit session(tcp::socket socket) : socket_(std::move(socket))
    {
        if (form.documented)
            buffer_.resize(65536);
    }

    void start()
    {
        if (form.documented && form.cuts_frames)
            read_header();
        else if (form.documented)
            read();
        else {
            socket_.non_blocking(true);
            wait();
        }
    }

  private:
    /* ---- the best form ---- */

    void wait()
    {
        auto self = shared_from_this();
        socket_.async_wait(tcp::socket::wait_read, [self](const asio::error_code &error) {
            if (!error)
                self->readable();
        });
    }

    void readable()
    {
        asio::error_code error;
        size_t pending = buffer_.size(), length;
        std::memcpy(shared_.data(), buffer_.data(), pending);
        length = socket_.read_some(asio::buffer(shared_.data() + pending, shared_.size() - pending), error);
        if (error && error != asio::error::would_block)
            return;
        if (error || form.discards)
            wait();
        else if (form.cuts_frames)
            answer(pending + length);
        else
            send(shared_.data(), length);
    }

    void answer(size_t length)
    {
        size_t answered = server_answer_frames(shared_.data(), length, &answers_, &answers_room_);
        buffer_.assign(shared_.data() + answered, shared_.data() + length);
        if (buffer_.size() == shared_.size())
            shared_.resize(shared_.size() * 2);
        if (answered > 0)
            send(answers_, answered);
        else
            wait();
    }

    void send(const unsigned char *bytes, size_t length)
    {
        asio::error_code error;
        size_t sent = socket_.write_some(asio::buffer(bytes, length), error);
        if (error && error != asio::error::would_block)
            return;
        if (sent == length) {
            wait();
            return;
        }
        auto self = shared_from_this();
        rest_.assign(bytes + sent, bytes + length);
        asio::async_write(socket_, asio::buffer(rest_), [self](const asio::error_code &failed, size_t) {
            if (!failed)
                self->wait();
        });
    }

    /* ---- the documented forms ---- */

    void read()
    {
        auto self = shared_from_this();
        socket_.async_read_some(asio::buffer(buffer_), [self](const asio::error_code &error, size_t length) {
            if (!error)
                self->write(length);
        });
    }

    void read_header()
    {
        auto self = shared_from_this();
        asio::async_read(socket_, asio::buffer(buffer_.data(), header_bytes),
                         [self](const asio::error_code &error, size_t) {
                             if (!error)
                                 self->read_payload();
                         });
    }

    void read_payload()
    {
        auto self = shared_from_this();
        size_t frame = server_frame_bytes(buffer_.data());
        if (frame > buffer_.size())
            buffer_.resize(frame);
        asio::async_read(socket_, asio::buffer(buffer_.data() + header_bytes, frame - header_bytes),
                         [self, frame](const asio::error_code &error, size_t) {
                             if (!error)
                                 self->write(frame);
                         });
    }

    void write(size_t length)
    {
        auto self = shared_from_this();
        asio::async_write(socket_, asio::buffer(buffer_.data(), length), [self](const asio::error_code &error, size_t) {
            if (!error)
                self->start();
        });
    }

    static constexpr size_t header_bytes = 4;
    tcp::socket socket_;
    std::vector<unsigned char> buffer_; /* in the best form the bytes of an incomplete frame */
    std::vector<unsigned char> rest_;   /* of a short write */
    static std::vector<unsigned char> shared_;
    static unsigned char *answers_;
    static size_t answers_room_;
};

std::vector<unsigned char> session::shared_(65536);
unsigned char *session::answers_ = nullptr;
size_t session::answers_room_ = 0;

static void accept(tcp::acceptor &acceptor)
{
    acceptor.async_accept([&acceptor](const asio::error_code &error, tcp::socket socket) {
        if (!error)
            std::make_shared<session>(std::move(socket))->start();
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
    form = server_form_of(word);
    accept(acceptor);
    context.run();
}
