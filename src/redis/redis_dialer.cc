#include "redis/redis_dialer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <utility>

#include "base/random.h"

namespace pawl {

Result<std::shared_ptr<RedisDialer>> RedisDialer::open(const std::string& address) {
  auto parsed = parse_redis_address(address);
  if (!parsed) return parsed.error();
  auto dialer = std::make_shared<RedisDialer>();
  if (parsed->tls) {
    auto context = TlsContext::open(*parsed);
    if (!context) return context.error();
    dialer->login_.tls = *context;
    dialer->sentinel_login_.tls = *context;
  }
  dialer->login_.user = parsed->user;
  dialer->login_.password = parsed->password;
  dialer->login_.database = parsed->database;
  dialer->sentinel_login_.user = parsed->sentinel_user;
  dialer->sentinel_login_.password = parsed->sentinel_password;
  dialer->sentinel_login_.sentinel = true;
  dialer->address_ = std::move(*parsed);
  return dialer;
}

RedisOutcome<RedisHost> RedisDialer::ask_sentinels(RedisConnection& connection) {
  RedisCommands question;
  question.add({"SENTINEL", "GET-MASTER-ADDR-BY-NAME", address_.master});
  std::string why;
  const std::size_t first = first_;
  for (std::size_t at = 0; at < address_.hosts.size(); ++at) {
    const std::size_t asked = (first + at) % address_.hosts.size();
    const RedisHost& sentinel = address_.hosts[asked];
    if (auto connected = connection.connect(sentinel, sentinel_login_, kSentinelMax); !connected) {
      why = connected.error().message;
      continue;
    }
    const auto answers = connection.run(question, kSentinelMax);
    connection.close();
    if (!answers) {
      why = answers.error().message;
      continue;
    }
    const RedisValue answer = answers->front();
    const std::string_view port = answer[1].text();
    RedisHost master{std::string(answer[0].text())};
    if (answer.size() == 2 &&
        std::from_chars(port.data(), port.data() + port.size(), master.port).ec == std::errc()) {
      first_ = asked;
      return master;
    }
    why = answer.is_error() ? fmt::format("Sentinel at {}: {}", shown(sentinel), answer.text())
                            : fmt::format("Sentinel at {} does not know it", shown(sentinel));
  }
  return RedisFailure{fmt::format("no sentinel names the master '{}': {}", address_.master, why)};
}

RedisOutcome<void> RedisDialer::dial(RedisConnection& connection) {
  if (address_.master.empty()) return connection.connect(address_.hosts.front(), login_);
  const auto master = ask_sentinels(connection);
  if (!master) return master.error();
  if (auto connected = connection.connect(*master, login_); !connected) return connected;
  // Sentinels may not know yet that it is none any more.
  RedisCommands question;
  question.add({"ROLE"});
  const auto answers = connection.run(question);
  if (!answers) return answers.error();
  if (answers->front()[0].text() == "master") return {};
  connection.close();
  return RedisFailure{
      fmt::format("Redis at {} is not the master that the sentinels take it for", shown(*master))};
}

bool asks_to_come_again(const RedisValue& answer) {
  for (const char* const code :
       {"READONLY", "LOADING", "MASTERDOWN", "NOAUTH", "UNBLOCKED", "CLUSTERDOWN"}) {
    if (answer.is_error(code)) return true;
  }
  return false;
}

std::chrono::milliseconds RedisBackoff::next() {
  const auto most = std::min(kRedisBackoffMax, kRedisBackoffMin * (1 << std::min(failures_, 10)));
  ++failures_;
  const auto half = most.count() / 2;
  return std::chrono::milliseconds(
      half + static_cast<std::int64_t>(random_bits() % static_cast<std::uint64_t>(half + 1)));
}

}  // namespace pawl
