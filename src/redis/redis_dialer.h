#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "pawl/error.h"
#include "redis/redis_address.h"
#include "redis/redis_connection.h"

namespace pawl {

// Of one sentinel, so that one that is frozen leaves time for the others.
inline constexpr std::chrono::milliseconds kSentinelMax{1'000};

// Connects to the server of an address, which sentinels may have to be asked for. Any thread.
class RedisDialer {
 public:
  // Fails with invalid_argument.
  static Result<std::shared_ptr<RedisDialer>> open(const std::string& address);

  // Failures name the server, and no password.
  RedisOutcome<void> dial(RedisConnection& connection);

  const RedisAddress& address() const { return address_; }

 private:
  RedisOutcome<RedisHost> ask_sentinels(RedisConnection& connection);

  RedisAddress address_;
  RedisLogin login_;
  RedisLogin sentinel_login_;
  std::atomic<std::size_t> first_ = 0;  // of the sentinels: the one that answered last
};

// The server works, but not for us, or not now: another may, or it may later.
bool asks_to_come_again(const RedisValue& answer);

// What is waited between one attempt to connect and the next: twice as long each time, and not all at once.
class RedisBackoff {
 public:
  std::chrono::milliseconds next();
  void reset() { failures_ = 0; }

 private:
  int failures_ = 0;
};

inline constexpr std::chrono::milliseconds kRedisBackoffMin{50};
inline constexpr std::chrono::milliseconds kRedisBackoffMax{2'000};

}  // namespace pawl
