#include "tests/support/cutting_proxy.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <stdexcept>
#include <string_view>
#include <utility>

namespace pawl::test {

namespace {

constexpr int kLookMs = 20;

sockaddr_in loopback(const int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

bool send_all(const int to, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(to, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

}  // namespace

CuttingProxy::CuttingProxy(const int port) : upstream_port_(port) {
  listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  auto* const plain = reinterpret_cast<sockaddr*>(&address);
  if (::bind(listener_, plain, size) != 0 || ::listen(listener_, 64) != 0 ||
      ::getsockname(listener_, plain, &size) != 0) {
    throw std::runtime_error("the proxy has no port");
  }
  port_ = ntohs(address.sin_port);
  acceptor_ = std::thread([this] { accept_all(); });
}

CuttingProxy::~CuttingProxy() {
  closing_ = true;
  acceptor_.join();
  for (std::thread& served : served_) served.join();
  ::close(listener_);
}

void CuttingProxy::cut_at(std::string text, const bool delivered) {
  const std::lock_guard lock(mutex_);
  text_ = std::move(text);
  delivered_ = delivered;
}

void CuttingProxy::accept_all() {
  while (!closing_) {
    pollfd waiting{listener_, POLLIN, 0};
    if (::poll(&waiting, 1, kLookMs) <= 0) continue;
    const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    const int upstream = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const sockaddr_in address = loopback(upstream_port_);
    if (::connect(upstream, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      ::close(client);
      ::close(upstream);
      continue;
    }
    const std::lock_guard lock(mutex_);
    served_.emplace_back([this, client, upstream] { serve(client, upstream); });
  }
}

void CuttingProxy::serve(const int client, const int upstream) {
  std::array<char, 65'536> buffer;
  bool cut = false;
  const int cut_before = cut_before_;
  const auto pass_on = [&](const int from, const int to) {
    const ssize_t got = ::recv(from, buffer.data(), buffer.size(), 0);
    if (got <= 0) return false;
    const std::string_view bytes(buffer.data(), static_cast<std::size_t>(got));
    // The server has done it, and says so; nobody hears.
    if (from == upstream && cut) return false;
    if (from == client) {
      const std::lock_guard lock(mutex_);
      if (!text_.empty() && bytes.find(text_) != std::string_view::npos) {
        text_.clear();
        ++cuts_;
        cut = true;
        if (!delivered_) return false;
      }
    }
    return send_all(to, bytes);
  };
  while (!closing_ && cut_before == cut_before_) {
    std::array<pollfd, 2> ends{pollfd{client, POLLIN, 0}, pollfd{upstream, POLLIN, 0}};
    if (::poll(ends.data(), ends.size(), kLookMs) < 0) break;
    if (ends[0].revents != 0 && !pass_on(client, upstream)) break;
    if (ends[1].revents != 0 && !pass_on(upstream, client)) break;
  }
  ::close(client);
  ::close(upstream);
}

}  // namespace pawl::test
