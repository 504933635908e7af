#pragma once

#include <string>
#include <string_view>

namespace pawl {

// The names of what is in Redis. What stands between braces decides where a Redis Cluster keeps a key: all of one
// store are together, since one command reads many partitions. Any character of prefix and store that could be
// taken for a part of the name is written as %3A.
class RedisKeys {
 public:
  RedisKeys(std::string_view prefix, std::string_view store);

  std::string hints(int partition) const { return base_ + "hints:" + std::to_string(partition); }
  std::string dead() const { return base_ + "dead"; }
  // A channel.
  std::string answers(std::string_view worker) const {
    return base_ + "answers:" + std::string(worker);
  }

  // Of all streams of hints: each worker is a consumer in it.
  static constexpr std::string_view kGroup = "owner";

 private:
  std::string base_;  // "pawl:{store}:"
};

}  // namespace pawl
