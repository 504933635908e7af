#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/support/temporary_folder.h"

namespace pawl::test {

// A PostgreSQL server of a test's own: in a temporary folder, on a free port of the loopback, stopped at its end by
// its own pid.
class PostgresServer {
 public:
  // With these settings beside its own ("fsync=on"). Throws std::runtime_error with what the server says.
  explicit PostgresServer(std::vector<std::string> settings = {});
  ~PostgresServer();
  PostgresServer(const PostgresServer&) = delete;
  PostgresServer& operator=(const PostgresServer&) = delete;

  // What connects to an empty database, which is made.
  std::string new_database();
  // The same, as an address.
  std::string new_database_address();
  std::string conninfo(const std::string& database) const { return conninfo(database, port_); }
  static std::string conninfo(const std::string& database, int port);
  int port() const { return port_; }

  // What an operator's psql would: the first column of the first row. Throws with what the server says.
  static std::string ask(const std::string& database, const std::string& sql);

  void start();
  // `at_once`: as a loss of power, but for the disk's own memory.
  void stop(bool at_once = false);

 private:
  const TemporaryFolder folder_;
  const std::vector<std::string> settings_;
  const int port_;
  int pid_ = -1;
  int databases_ = 0;
};

// A port of the loopback on which nobody listens.
int free_port();

}  // namespace pawl::test
