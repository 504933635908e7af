#include "redis/redis_address.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <utility>

namespace pawl {
namespace {

constexpr int kPort = 6379;
constexpr int kSentinelPort = 26379;

Error wrong(const std::string_view what) {
  return {
      ErrorCode::invalid_argument,
      fmt::format(
          "the address of Redis is not understood: {}. Write "
          "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], with what has a meaning of its own in a "
          "password (: / ? # @ %) as %3A and so on",
          what),
      {}};
}

std::optional<int> number(const std::string_view text, const int most) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0 || value > most) {
    return std::nullopt;
  }
  return value;
}

std::optional<std::string> decoded(const std::string_view text) {
  std::string plain;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (text[at] != '%') {
      plain += text[at];
      continue;
    }
    unsigned value = 0;
    if (at + 2 >= text.size()) return std::nullopt;
    const char* const end = text.data() + at + 3;
    const auto [stopped, error] = std::from_chars(text.data() + at + 1, end, value, 16);
    if (error != std::errc() || stopped != end) return std::nullopt;
    plain += static_cast<char>(value);
    at += 2;
  }
  return plain;
}

// What stands before the first of them; `rest` keeps what is behind.
std::string_view cut(std::string_view& rest, const char separator) {
  const std::size_t at = rest.find(separator);
  const std::string_view first = rest.substr(0, at);
  rest = at == std::string_view::npos ? std::string_view() : rest.substr(at + 1);
  return first;
}

std::optional<RedisHost> host_of(std::string_view text, const int default_port) {
  RedisHost host{{}, default_port};
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    host.name = text.substr(1, end - 1);
    port = text.substr(end + 1);
  } else {
    const std::size_t colon = text.find(':');
    host.name = text.substr(0, colon);
    if (colon != std::string_view::npos) port = text.substr(colon);
  }
  if (host.name.empty()) return std::nullopt;
  if (port.empty()) return host;
  const auto given = port.starts_with(':') ? number(port.substr(1), 65'535) : std::nullopt;
  if (!given || *given == 0) return std::nullopt;
  host.port = *given;
  return host;
}

std::optional<Error> read_options(std::string_view options, RedisAddress& address) {
  const std::pair<std::string_view, std::string*> texts[] = {
      {"prefix", &address.prefix},
      {"ca", &address.ca_file},
      {"cert", &address.certificate_file},
      {"key", &address.key_file},
      {"sentinel_user", &address.sentinel_user},
      {"sentinel_password", &address.sentinel_password}};
  while (!options.empty()) {
    std::string_view value = cut(options, '&');
    const std::string_view key = cut(value, '=');
    const auto plain = decoded(value);
    if (!plain || plain->empty()) return wrong("an option behind '?' has no value");
    if (key == "verify") {
      if (*plain != "yes" && *plain != "no") return wrong("'verify' is yes or no");
      address.verify = *plain == "yes";
      continue;
    }
    std::string* target = nullptr;
    for (const auto& [name, text] : texts) {
      if (name == key) target = text;
    }
    if (target == nullptr) {
      return wrong(
          "an option behind '?' is none of prefix, ca, cert, key, verify, sentinel_user and "
          "sentinel_password");
    }
    *target = *plain;
  }
  if (address.certificate_file.empty() != address.key_file.empty()) {
    return wrong("'cert' and 'key' go together");
  }
  if (!address.tls && (!address.verify || !address.ca_file.empty() || !address.key_file.empty())) {
    return wrong("'ca', 'cert', 'key' and 'verify' are for TLS, which begins with rediss");
  }
  if (address.master.empty() && !address.sentinel_password.empty()) {
    return wrong("'sentinel_password' is for redis+sentinel");
  }
  if (!address.sentinel_user.empty() && address.sentinel_password.empty()) {
    return wrong("'sentinel_user' has no 'sentinel_password'");
  }
  return std::nullopt;
}

std::optional<Error> read_user(std::string_view text, RedisAddress& address) {
  if (text.find(':') == std::string_view::npos) return wrong("the user has no password");
  const auto user = decoded(cut(text, ':'));
  const auto password = decoded(text);
  if (!user || !password) return wrong("a % in user or password is not followed by two digits");
  if (password->empty()) return wrong("the password is empty");
  address.user = *user;
  address.password = *password;
  return std::nullopt;
}

}  // namespace

Result<RedisAddress> parse_redis_address(const std::string_view text) {
  RedisAddress address;
  const std::size_t slashes = text.find("://");
  const std::string_view scheme = text.substr(0, slashes);
  address.tls = scheme.starts_with("rediss");
  const bool sentinels = scheme.ends_with("+sentinel");
  if (slashes == std::string_view::npos ||
      (scheme != "redis" && scheme != "rediss" && scheme != "redis+sentinel" &&
       scheme != "rediss+sentinel")) {
    return wrong(
        "it begins with none of redis://, rediss://, redis+sentinel:// and rediss+sentinel://");
  }
  std::string_view options = text.substr(slashes + 3);
  std::string_view path = cut(options, '?');
  std::string_view hosts = cut(path, '/');
  // A password with a '/' or '?' in it: a piece of it would pass for something that may be shown.
  if (path.find('@') != std::string_view::npos || options.find('@') != std::string_view::npos) {
    return wrong("an '@' stands behind the hosts");
  }
  if (const std::size_t at = hosts.rfind('@'); at != std::string_view::npos) {
    if (auto error = read_user(hosts.substr(0, at), address)) return *error;
    hosts.remove_prefix(at + 1);
  }
  do {
    auto host = host_of(cut(hosts, ','), sentinels ? kSentinelPort : kPort);
    if (!host) return wrong("a host is missing, or its port is no number from 1 to 65535");
    address.hosts.push_back(std::move(*host));
  } while (!hosts.empty());
  if (!sentinels && address.hosts.size() > 1) return wrong("several hosts are for redis+sentinel");
  if (sentinels) {
    const auto master = decoded(cut(path, '/'));
    if (!master || master->empty()) {
      return wrong(
          "behind the sentinels stands the name of their master: redis+sentinel://HOST/MASTER");
    }
    address.master = *master;
  }
  if (!path.empty()) {
    const auto database = number(path, 1 << 20);
    if (!database) return wrong("the database is no number");
    address.database = *database;
  }
  if (auto error = read_options(options, address)) return *error;
  return address;
}

std::string shown(const RedisHost& host) {
  const bool brackets = host.name.find(':') != std::string::npos;
  return brackets ? fmt::format("[{}]:{}", host.name, host.port)
                  : fmt::format("{}:{}", host.name, host.port);
}

std::string shown(const RedisAddress& address) {
  std::string text = address.tls ? "rediss" : "redis";
  text += address.master.empty() ? "://" : "+sentinel://";
  for (std::size_t at = 0; at < address.hosts.size(); ++at) {
    text += (at == 0 ? "" : ",") + shown(address.hosts[at]);
  }
  if (!address.master.empty()) text += "/" + address.master;
  return fmt::format("{}/{}", text, address.database);
}

}  // namespace pawl
