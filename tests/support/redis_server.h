#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tests/support/temporary_folder.h"

namespace pawl::test {

// A Redis server, or a sentinel, of a test's own: in a temporary folder, on a free port of the loopback, stopped at
// its end by its own pid. Nothing is saved, so that it is empty after each start.
class RedisServer {
 public:
  // With these lines of a configuration beside its own ("requirepass secret"); for a sentinel
  // ("sentinel monitor …"), `sentinel`. Throws std::runtime_error with what the server says.
  explicit RedisServer(std::vector<std::string> settings = {}, bool sentinel = false);
  ~RedisServer();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  int port() const { return port_; }
  std::string address() const { return "redis://127.0.0.1:" + std::to_string(port_); }

  // What it answers: text, a number, or "a b c" of an array. An error is an answer too.
  std::string ask(const std::vector<std::string>& command) const;
  int ask_number(const std::vector<std::string>& command) const;
  // For ask().
  void set_password(std::string password) { password_ = std::move(password); }

  // With more lines.
  void start(const std::vector<std::string>& settings = {});
  // As a crash.
  void stop();
  void freeze();
  void thaw();

 private:
  const TemporaryFolder folder_;
  const bool sentinel_;
  const int port_;
  std::vector<std::string> settings_;
  std::string password_;
  int pid_ = -1;
};

// A certificate of an authority and one of a server at 127.0.0.1 that it signed, made by the command openssl.
class TestCertificates {
 public:
  TestCertificates();

  std::string authority() const { return folder_.file("ca.crt"); }
  std::string certificate() const { return folder_.file("server.crt"); }
  std::string key() const { return folder_.file("server.key"); }

 private:
  const TemporaryFolder folder_;
};

}  // namespace pawl::test
