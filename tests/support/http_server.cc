#include "tests/support/http_server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <stdexcept>

namespace pawl {
namespace {

constexpr int kLookMs = 20;

sockaddr_in local(const int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

int bind_somewhere(int& port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = local(0);
  socklen_t size = sizeof address;
  auto* const raw = reinterpret_cast<sockaddr*>(&address);
  if (socket < 0 || ::bind(socket, raw, size) != 0 || ::getsockname(socket, raw, &size) != 0) {
    throw std::runtime_error("no port to listen on");
  }
  port = ntohs(address.sin_port);
  return socket;
}

bool is_readable(const int socket) {
  pollfd wanted{socket, POLLIN, 0};
  return ::poll(&wanted, 1, kLookMs) > 0;
}

std::string lower_case(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](const unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

HttpServer::Request parse_head(const std::string& head) {
  HttpServer::Request request;
  std::size_t line = head.find("\r\n");
  const std::string first = head.substr(0, line);
  request.method = first.substr(0, first.find(' '));
  request.target = first.substr(request.method.size() + 1);
  request.target.resize(request.target.find(' '));
  while (line + 2 < head.size()) {
    const std::size_t from = line + 2;
    line = std::min(head.find("\r\n", from), head.size());
    const std::string field = head.substr(from, line - from);
    const std::size_t colon = field.find(':');
    if (colon == std::string::npos) continue;
    const std::size_t value = std::min(field.find_first_not_of(' ', colon + 1), field.size());
    request.headers[lower_case(field.substr(0, colon))] = field.substr(value);
  }
  return request;
}

std::optional<HttpServer::Request> read_request(const int socket,
                                                const std::atomic<bool>& closing) {
  std::string bytes;
  std::optional<HttpServer::Request> request;
  std::size_t body_bytes = 0;
  while (!closing) {
    if (request && bytes.size() >= body_bytes) {
      request->body = bytes.substr(0, body_bytes);
      return request;
    }
    if (!is_readable(socket)) continue;
    char part[4096];
    const ssize_t count = ::recv(socket, part, sizeof part, 0);
    if (count <= 0) return std::nullopt;
    bytes.append(part, static_cast<std::size_t>(count));
    const std::size_t end = request ? std::string::npos : bytes.find("\r\n\r\n");
    if (end == std::string::npos) continue;
    request = parse_head(bytes.substr(0, end));
    bytes.erase(0, end + 4);
    const auto length = request->headers.find("content-length");
    if (length != request->headers.end()) body_bytes = std::stoul(length->second);
  }
  return std::nullopt;
}

}  // namespace

void HttpServer::Answer::send(const int status, const std::string_view head,
                              const std::string_view body) {
  write(fmt::format("HTTP/1.1 {} Status\r\nConnection: close\r\nContent-Length: {}\r\n{}\r\n{}",
                    status, body.size(), head, body));
}

bool HttpServer::Answer::write(std::string_view bytes) {
  while (!bytes.empty() && !closing_) {
    const ssize_t count = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return bytes.empty();
}

bool HttpServer::Answer::wait_for_end() {
  while (!closing_) {
    char byte = 0;
    if (is_readable(socket_) && ::recv(socket_, &byte, 1, 0) <= 0) return true;
  }
  return false;
}

HttpServer::HttpServer(Handler handler) : handler_(std::move(handler)) {
  listener_ = bind_somewhere(port_);
  if (::listen(listener_, 64) != 0) throw std::runtime_error("can't listen");
  thread_ = std::thread([this] { listen(); });
}

HttpServer::~HttpServer() {
  closing_ = true;
  thread_.join();
  for (std::thread& connection : connections_) connection.join();
  ::close(listener_);
}

std::vector<HttpServer::Request> HttpServer::seen() const {
  const std::lock_guard lock(mutex_);
  return seen_;
}

void HttpServer::forget() {
  const std::lock_guard lock(mutex_);
  seen_.clear();
}

void HttpServer::listen() {
  while (!closing_) {
    if (!is_readable(listener_)) continue;
    const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (socket >= 0) connections_.emplace_back([this, socket] { serve(socket); });
  }
}

void HttpServer::serve(const int socket) {
  if (const auto request = read_request(socket, closing_)) {
    {
      const std::lock_guard lock(mutex_);
      seen_.push_back(*request);
    }
    Answer answer(socket, closing_);
    handler_(*request, answer);
  }
  ::close(socket);
}

int closed_port() {
  int port = 0;
  ::close(bind_somewhere(port));
  return port;
}

}  // namespace pawl
