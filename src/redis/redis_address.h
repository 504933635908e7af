#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pawl/error.h"

namespace pawl {

struct RedisHost {
  std::string name;  // or an IP address
  int port = 0;

  friend bool operator==(const RedisHost&, const RedisHost&) = default;
};

// As include/pawl/redis.h describes them.
struct RedisAddress {
  bool tls = false;
  bool verify = true;
  std::string ca_file;
  std::string certificate_file;
  std::string key_file;
  std::string user;
  std::string password;
  std::string sentinel_user;
  std::string sentinel_password;
  std::vector<RedisHost> hosts;  // one, or the sentinels
  std::string master;            // as the sentinels call it; empty: there are none
  int database = 0;
  std::string prefix = "pawl";
};

// Fails with invalid_argument. What is wrong is said without quoting: any piece of an address that is not
// understood may be one of a password.
Result<RedisAddress> parse_redis_address(std::string_view text);

// For people: without user, password and files.
std::string shown(const RedisAddress& address);
std::string shown(const RedisHost& host);

}  // namespace pawl
