// Whoever lets Redis wake his workers has it by another library and header.
#include <pawl/pawl.h>
#include <pawl/redis.h>

#include <cstdio>

int main() {
  pawl::use_redis_hints();
  auto letters = pawl::RedisDeadLetters::open("rediss://127.0.0.1:1?verify=no", "shop").value();
  const auto count = letters.count();
  std::printf("pawl, C++ with Redis: %s\n", count ? "?" : count.error().message.c_str());
  return !count && count.error().code == pawl::ErrorCode::store_unavailable ? 0 : 1;
}
