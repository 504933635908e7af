#pragma once

// A connection to a server that speaks the protocol of Redis (RESP2): commands are sent together and answered
// together.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <hiredis/hiredis.h>
#include <boost/system/result.hpp>

#include "redis/redis_address.h"
#include "redis/tls_session.h"

namespace pawl {

using SteadyTime = std::chrono::steady_clock::time_point;

// What a server is given to say for itself, before it counts as away.
inline constexpr std::chrono::milliseconds kRedisConnectMax{3'000};
inline constexpr std::chrono::milliseconds kRedisAnswerMax{3'000};
// Of one answer. More than any of ours, so that a server gone mad does not fill the memory.
inline constexpr std::size_t kRedisAnswerBytesMax = 256u << 20;

// The connection is of no use any more: closed.
struct RedisFailure {
  std::string message;
};

template <class T>
using RedisOutcome = boost::system::result<T, RedisFailure>;

[[noreturn]] inline void throw_exception_from_error(const RedisFailure& failure,
                                                    const boost::source_location&) {
  throw std::runtime_error(failure.message);
}

// A part of an answer, or nothing, which has nothing in it. Valid as long as the answer is.
class RedisValue {
 public:
  RedisValue() = default;
  explicit RedisValue(const redisReply* reply) : reply_(reply) {}

  bool is_error() const { return is(REDIS_REPLY_ERROR); }
  bool is_error(std::string_view code) const { return is_error() && text().starts_with(code); }
  bool is_null() const { return reply_ == nullptr || is(REDIS_REPLY_NIL); }
  std::string_view text() const;  // of strings, statuses and errors; else empty
  std::int64_t integer() const;   // else 0
  std::size_t size() const;       // of arrays; else 0
  RedisValue operator[](std::size_t at) const;

 private:
  bool is(int type) const { return reply_ != nullptr && reply_->type == type; }

  const redisReply* reply_ = nullptr;
};

struct RedisReplyDelete {
  void operator()(redisReply* reply) const { freeReplyObject(reply); }
};
struct RedisReaderDelete {
  void operator()(redisReader* reader) const { redisReaderFree(reader); }
};

class RedisReply : public RedisValue {
 public:
  explicit RedisReply(void* reply)
      : RedisValue(static_cast<redisReply*>(reply)), owned_(static_cast<redisReply*>(reply)) {}

 private:
  std::unique_ptr<redisReply, RedisReplyDelete> owned_;
};

// Commands as they go out.
class RedisCommands {
 public:
  void add(std::initializer_list<std::string_view> parts);
  void add(const std::vector<std::string>& parts);
  void clear();

  std::size_t count() const { return count_; }
  const std::string& bytes() const { return bytes_; }

 private:
  void begin(std::size_t parts);
  void part(std::string_view text);

  std::string bytes_;
  std::size_t count_ = 0;
};

struct RedisLogin {
  std::string user;
  std::string password;
  int database = 0;
  bool sentinel = false;                  // it has no commands of a database
  std::shared_ptr<const TlsContext> tls;  // null: none
};

// One thread at a time, but for give_up().
class RedisConnection {
 public:
  RedisConnection();
  ~RedisConnection();
  RedisConnection(const RedisConnection&) = delete;
  RedisConnection& operator=(const RedisConnection&) = delete;

  // Logged in, and answered by a server that is ready to work. No message has the password in it.
  RedisOutcome<void> connect(const RedisHost& host, const RedisLogin& login,
                             std::chrono::milliseconds connect_max = kRedisConnectMax);
  bool is_connected() const { return socket_ >= 0; }
  void close();

  // The server's number of this connection; 0: it does not say.
  std::int64_t client() const { return client_; }

  // Sends them and waits for their answers, one for each. An answer may be an error: that is no failure.
  RedisOutcome<std::vector<RedisReply>> run(const RedisCommands& commands,
                                            std::chrono::milliseconds answer_max = kRedisAnswerMax);
  // What the server says by itself, which is waited for that long; nothing: it said nothing.
  RedisOutcome<std::vector<RedisReply>> wait_for_messages(std::chrono::milliseconds most);

  // Any thread: whoever waits is woken, and it stays closed.
  void give_up();
  bool is_given_up() const { return given_up_; }
  // Waits without the server. False: it is given up.
  bool pause(std::chrono::milliseconds time);

 private:
  enum class Waited { ready, given_up, too_late };

  RedisFailure lost(std::string why);
  Waited wait(int descriptor, short events, SteadyTime until);
  RedisOutcome<void> open_socket(const RedisHost& host, SteadyTime until);
  RedisOutcome<void> log_in(const RedisLogin& login, SteadyTime until);
  RedisOutcome<void> queue(std::string_view plain);
  RedisOutcome<void> send_some();
  RedisOutcome<void> receive_some();
  RedisOutcome<void> read_replies();
  // Until there are so many answers, or that time. True: there are.
  RedisOutcome<bool> exchange(std::size_t wanted, SteadyTime until);

  int socket_ = -1;
  std::int64_t client_ = 0;
  std::unique_ptr<TlsSession> tls_;
  std::unique_ptr<redisReader, RedisReaderDelete> reader_;
  std::string out_;       // for the network
  std::size_t sent_ = 0;  // of out_
  std::string plain_;
  std::size_t received_ = 0;  // of an answer that is not whole
  std::vector<RedisReply> replies_;
  const int wake_;  // an eventfd
  std::atomic<bool> given_up_ = false;
};

}  // namespace pawl
