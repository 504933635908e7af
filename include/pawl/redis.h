#pragma once

// Redis as what wakes other processes that work on the same store, and what became of events that nobody could
// take. Link pawl::redis, which needs hiredis and OpenSSL. Redis 7.0 or newer, or Valkey.
//
// What is in Redis are hints. The rows of the store are the truth, so Redis may be slow, away or emptied at any
// time: that costs latency and nothing else.
//
// Addresses:
//
//   redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]                     port 6379, database 0
//   redis+sentinel://[USER:PASSWORD@]HOST[:PORT],HOST…/MASTER[/DATABASE]   sentinels, port 26379
//   rediss://…, rediss+sentinel://…                                    the same over TLS
//
// What USER or PASSWORD has of ":/?#@%" is written as %3A and so on; ":PASSWORD@" is without a user. Behind a "?",
// joined by "&", may stand
//
//   prefix=NAME        what all keys begin with, "pawl" otherwise
//   ca=FILE            the certificates (PEM) that sign those of the servers; else those of the system do
//   cert=FILE key=FILE the certificate that this process shows, and its key (PEM)
//   verify=no          takes any certificate of a server
//   sentinel_user=NAME sentinel_password=TEXT   for the sentinels themselves

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <pawl/error.h>
#include <pawl/time.h>

namespace pawl {

// Makes the addresses of above known where hints are given an address. Call it before the first store is opened.
// Any thread; again: no effect.
void use_redis_hints();

// A note of an event that was set aside, for people to look at. Its row in the store is the truth: see
// Runtime::list_dead_letters, retry_dead_letter. What is here may be missing, or be there though it was dealt with.
struct RedisDeadLetter {
  std::string id;    // of the letter
  Timestamp at = 0;  // by the clock of the server
  int partition = 0;
  std::int64_t row = 0;
  std::string tenant;
  std::string execution_id;
  std::string event_name;
  int attempts = 0;  // workers that had it
  std::string error;
};

// The letters of one store. Calls wait for the server, some seconds at most. One thread at a time.
//
// Errors of all: store_unavailable where the server can't be reached or refuses; invalid_argument for an id that
// is none.
class RedisDeadLetters {
 public:
  // `store` as the workers name it. Connects to nothing yet. Errors: invalid_argument for the address.
  static Result<RedisDeadLetters> open(const std::string& address, const std::string& store);
  ~RedisDeadLetters();
  RedisDeadLetters(RedisDeadLetters&&) noexcept;
  RedisDeadLetters& operator=(RedisDeadLetters&&) noexcept;

  Result<std::size_t> count();
  // Oldest first, those behind the letter `after`.
  Result<std::vector<RedisDeadLetter>> list(std::size_t most = 100, const std::string& after = {});
  // None: there is no such letter.
  Result<std::optional<RedisDeadLetter>> view(const std::string& id);
  // Whether it was there.
  Result<bool> drop(const std::string& id);
  // Takes it out: of several who ask for the same one, one gets it, and may retry its row.
  Result<std::optional<RedisDeadLetter>> take(const std::string& id);

 private:
  struct Inside;
  explicit RedisDeadLetters(std::unique_ptr<Inside> inside);
  std::unique_ptr<Inside> inside_;
};

}  // namespace pawl
