#include "redis/redis_connection.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "redis/host_lookup.h"

namespace pawl {
namespace {

// A peer that has vanished without a word, while nothing is sent to it or is on its way.
constexpr int kKeepaliveSeconds = 15;
constexpr unsigned kUnacknowledgedMsMax = 10'000;

std::string text_of_errno(const int error) { return std::generic_category().message(error); }

void set_option(const int socket, const int level, const int option, const int value) {
  // One that the system does not know makes no difference to what is right.
  setsockopt(socket, level, option, &value, sizeof value);
}

}  // namespace

// ---- answers and commands

std::string_view RedisValue::text() const {
  if (!is(REDIS_REPLY_STRING) && !is(REDIS_REPLY_STATUS) && !is_error()) return {};
  return {reply_->str, static_cast<std::size_t>(reply_->len)};
}

std::int64_t RedisValue::integer() const { return is(REDIS_REPLY_INTEGER) ? reply_->integer : 0; }

std::size_t RedisValue::size() const { return is(REDIS_REPLY_ARRAY) ? reply_->elements : 0; }

RedisValue RedisValue::operator[](const std::size_t at) const {
  return at < size() ? RedisValue(reply_->element[at]) : RedisValue();
}

void RedisCommands::begin(const std::size_t parts) {
  ++count_;
  fmt::format_to(std::back_inserter(bytes_), "*{}\r\n", parts);
}

void RedisCommands::part(const std::string_view text) {
  fmt::format_to(std::back_inserter(bytes_), "${}\r\n", text.size());
  bytes_ += text;
  bytes_ += "\r\n";
}

void RedisCommands::add(const std::initializer_list<std::string_view> parts) {
  begin(parts.size());
  for (const std::string_view one : parts) part(one);
}

void RedisCommands::add(const std::vector<std::string>& parts) {
  begin(parts.size());
  for (const std::string& one : parts) part(one);
}

void RedisCommands::clear() {
  bytes_.clear();
  count_ = 0;
}

// ---- the connection

RedisConnection::RedisConnection() : wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (wake_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
}

RedisConnection::~RedisConnection() {
  close();
  ::close(wake_);
}

void RedisConnection::close() {
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
  tls_.reset();
  reader_.reset();
  out_.clear();
  sent_ = 0;
  received_ = 0;
  replies_.clear();
}

void RedisConnection::give_up() {
  given_up_ = true;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wake_, &one, sizeof one);
}

RedisFailure RedisConnection::lost(std::string why) {
  close();
  return {std::move(why)};
}

RedisConnection::Waited RedisConnection::wait(const int descriptor, const short events,
                                              const SteadyTime until) {
  std::array<pollfd, 2> watched{pollfd{descriptor, events, 0}, pollfd{wake_, POLLIN, 0}};
  while (!given_up_) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    const int found = ::poll(watched.data(), watched.size(),
                             static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 1 << 30)));
    if (found < 0 && errno == EINTR) continue;
    if (given_up_) break;
    return found == 0 ? Waited::too_late : Waited::ready;
  }
  return Waited::given_up;
}

bool RedisConnection::pause(const std::chrono::milliseconds time) {
  // poll() passes over a descriptor that is negative.
  return wait(-1, 0, std::chrono::steady_clock::now() + time) != Waited::given_up;
}

RedisOutcome<void> RedisConnection::open_socket(const RedisHost& host, const SteadyTime until) {
  std::string why;
  const Addresses addresses = find_addresses(
      host, [&](const int done) { return wait(done, POLLIN, until) == Waited::ready; }, why);
  std::int64_t untried = 0;
  for (const addrinfo* one = addresses.get(); one != nullptr; one = one->ai_next) ++untried;
  for (const addrinfo* one = addresses.get(); one != nullptr; one = one->ai_next, --untried) {
    close();
    socket_ = ::socket(one->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (socket_ < 0) return lost(text_of_errno(errno));
    if (::connect(socket_, one->ai_addr, one->ai_addrlen) != 0) {
      if (errno != EINPROGRESS) {
        why = text_of_errno(errno);
        continue;
      }
      // An address that swallows what is sent to it leaves time for the others.
      const SteadyTime now = std::chrono::steady_clock::now();
      const Waited waited = wait(socket_, POLLOUT, now + (until - now) / untried);
      if (waited == Waited::given_up) return lost("it is given up");
      if (waited == Waited::too_late) {
        why = "no answer in time";
        continue;
      }
      int error = 0;
      socklen_t size = sizeof error;
      getsockopt(socket_, SOL_SOCKET, SO_ERROR, &error, &size);
      if (error != 0) {
        why = text_of_errno(error);
        continue;
      }
    }
    set_option(socket_, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(socket_, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(socket_, IPPROTO_TCP, TCP_KEEPIDLE, kKeepaliveSeconds);
    set_option(socket_, IPPROTO_TCP, TCP_KEEPINTVL, kKeepaliveSeconds);
    set_option(socket_, IPPROTO_TCP, TCP_USER_TIMEOUT, kUnacknowledgedMsMax);
    return {};
  }
  return lost(why);
}

RedisOutcome<void> RedisConnection::log_in(const RedisLogin& login, const SteadyTime until) {
  RedisCommands commands;
  if (!login.user.empty()) {
    commands.add({"AUTH", login.user, login.password});
  } else if (!login.password.empty()) {
    commands.add({"AUTH", login.password});
  }
  if (login.database != 0) commands.add({"SELECT", std::to_string(login.database)});
  // A server that is loading its data, or wants a password, says so here.
  commands.add({"PING"});
  // Not everybody may: it is not needed.
  if (!login.sentinel) commands.add({"CLIENT", "ID"});
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
  auto answers = run(commands, left);
  if (!answers) return answers.error();
  client_ = login.sentinel ? 0 : answers->back().integer();
  const std::size_t needed = answers->size() - (login.sentinel ? 0 : 1);
  for (std::size_t at = 0; at < needed; ++at) {
    if ((*answers)[at].is_error()) return lost(std::string((*answers)[at].text()));
  }
  return {};
}

RedisOutcome<void> RedisConnection::connect(const RedisHost& host, const RedisLogin& login,
                                            const std::chrono::milliseconds connect_max) {
  close();
  const SteadyTime until = std::chrono::steady_clock::now() + connect_max;
  const auto connected = [&]() -> RedisOutcome<void> {
    if (auto opened = open_socket(host, until); !opened) return opened;
    reader_.reset(redisReaderCreate());
    if (login.tls != nullptr) {
      tls_ = std::make_unique<TlsSession>(*login.tls, host.name);
      if (auto failed = tls_->shake_hands()) return lost(*failed);
      tls_->take_output(out_);
      while (!tls_->is_ready()) {
        const auto shaken = exchange(1, until);
        if (!shaken) return shaken.error();
        if (!*shaken && !tls_->is_ready()) return lost("no TLS in time");
      }
    }
    return log_in(login, until);
  }();
  if (connected) return {};
  std::string why = connected.error().message;
  // A server that is none of Redis may say back what it was told.
  for (std::size_t at = 0;
       !login.password.empty() && (at = why.find(login.password, at)) != std::string::npos;) {
    why.replace(at, login.password.size(), "…");
    at += std::string_view("…").size();
  }
  return RedisFailure{fmt::format("Redis at {}: {}", shown(host), why)};
}

RedisOutcome<void> RedisConnection::queue(const std::string_view plain) {
  if (tls_ == nullptr) {
    out_ += plain;
    return {};
  }
  if (auto failed = tls_->send(plain)) return lost(*failed);
  tls_->take_output(out_);
  return {};
}

RedisOutcome<void> RedisConnection::send_some() {
  while (sent_ < out_.size()) {
    const ssize_t sent = ::send(socket_, out_.data() + sent_, out_.size() - sent_, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0 && errno == EAGAIN) return {};
    if (sent < 0) return lost("the connection is lost: " + text_of_errno(errno));
    sent_ += static_cast<std::size_t>(sent);
  }
  out_.clear();
  sent_ = 0;
  return {};
}

RedisOutcome<void> RedisConnection::receive_some() {
  std::array<char, 65'536> buffer;
  const ssize_t got = ::recv(socket_, buffer.data(), buffer.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return {};
  if (got < 0) return lost("the connection is lost: " + text_of_errno(errno));
  if (got == 0) return lost("the server closed the connection");
  std::string_view bytes(buffer.data(), static_cast<std::size_t>(got));
  if (tls_ != nullptr) {
    plain_.clear();
    if (auto failed = tls_->receive(bytes, plain_)) return lost(*failed);
    tls_->take_output(out_);
    bytes = plain_;
  }
  received_ += bytes.size();
  if (received_ > kRedisAnswerBytesMax) return lost("the server's answer is too long");
  if (redisReaderFeed(reader_.get(), bytes.data(), bytes.size()) != REDIS_OK) {
    return lost("the server does not speak the protocol of Redis");
  }
  return read_replies();
}

RedisOutcome<void> RedisConnection::read_replies() {
  for (;;) {
    void* reply = nullptr;
    if (redisReaderGetReply(reader_.get(), &reply) != REDIS_OK) {
      return lost("the server does not speak the protocol of Redis");
    }
    if (reply == nullptr) return {};
    replies_.emplace_back(reply);
    received_ = 0;
  }
}

RedisOutcome<bool> RedisConnection::exchange(const std::size_t wanted, const SteadyTime until) {
  const bool shaking_hands = tls_ != nullptr && !tls_->is_ready();
  for (;;) {
    if (auto sent = send_some(); !sent) return sent.error();
    if (out_.empty() && replies_.size() >= wanted) return true;
    if (shaking_hands && tls_->is_ready()) return false;
    const bool sending = !out_.empty();
    // A server that answers before it has read all would wait for us for ever.
    switch (wait(socket_, static_cast<short>(sending ? POLLIN | POLLOUT : POLLIN), until)) {
      case Waited::ready: break;
      case Waited::given_up: return lost("it is given up");
      case Waited::too_late: return false;
    }
    if (auto received = receive_some(); !received) return received.error();
  }
}

RedisOutcome<std::vector<RedisReply>> RedisConnection::run(
    const RedisCommands& commands, const std::chrono::milliseconds answer_max) {
  if (socket_ < 0) return RedisFailure{"there is no connection"};
  if (auto queued = queue(commands.bytes()); !queued) return queued.error();
  const auto answered = exchange(commands.count(), std::chrono::steady_clock::now() + answer_max);
  if (!answered) return answered.error();
  if (!*answered) {
    return lost(fmt::format("the server did not answer within {} ms", answer_max.count()));
  }
  return std::exchange(replies_, {});
}

RedisOutcome<std::vector<RedisReply>> RedisConnection::wait_for_messages(
    const std::chrono::milliseconds most) {
  if (socket_ < 0) return RedisFailure{"there is no connection"};
  const auto heard = exchange(1, std::chrono::steady_clock::now() + most);
  if (!heard) return heard.error();
  return std::exchange(replies_, {});
}

}  // namespace pawl
