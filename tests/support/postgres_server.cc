#include "tests/support/postgres_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <thread>
#include <vector>

namespace pawl::test {

namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr auto kStartMax = 60s;

// The folder of the newest version's programs; empty: there is none.
fs::path programs() {
  const fs::path versions("/usr/lib/postgresql");
  fs::path newest;
  int highest = 0;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(versions, none)) {
    const int version = std::atoi(entry.path().filename().c_str());
    if (version <= highest || !fs::exists(entry.path() / "bin/initdb")) continue;
    highest = version;
    newest = entry.path() / "bin";
  }
  return newest;
}

// Whose the server is: it refuses to be root's.
struct Account {
  uid_t user = 0;
  gid_t group = 0;
};

std::optional<Account> find_account() {
  if (geteuid() != 0) return std::nullopt;
  const passwd* const found = getpwnam("postgres");
  if (found == nullptr) throw std::runtime_error("there is no user postgres");
  return Account{found->pw_uid, found->pw_gid};
}

// A sanitizer of the tests' is none of the server's.
std::vector<char*> environment_of_server() {
  std::vector<char*> kept;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!std::string_view(*variable).starts_with("LD_PRELOAD=")) kept.push_back(*variable);
  }
  kept.push_back(nullptr);
  return kept;
}

pid_t begin(const std::vector<std::string>& command, const std::string& log) {
  std::vector<char*> arguments;
  for (const std::string& part : command) arguments.push_back(const_cast<char*>(part.c_str()));
  arguments.push_back(nullptr);
  const std::optional<Account> account = find_account();
  const std::vector<char*> variables = environment_of_server();
  const pid_t child = fork();
  if (child != 0) return child;
  // Another thread may have had any lock at the fork: system calls only.
  if (account && (setgroups(1, &account->group) != 0 || setgid(account->group) != 0 ||
                  setuid(account->user) != 0)) {
    _exit(126);
  }
  // It goes with the test that is killed.
  prctl(PR_SET_PDEATHSIG, SIGQUIT);
  const int file = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0644);
  dup2(file, 1);
  dup2(file, 2);
  if (chdir("/") != 0) _exit(126);
  execve(arguments[0], arguments.data(), variables.data());
  _exit(127);
}

int wait_for(const pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

std::string text_of(const std::string& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

}  // namespace

int free_port() {
  const int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const plain = reinterpret_cast<sockaddr*>(&address);
  const bool bound = bind(probe, plain, size) == 0 && getsockname(probe, plain, &size) == 0;
  close(probe);
  if (!bound) throw std::runtime_error("no port is free");
  return ntohs(address.sin_port);
}

PostgresServer::PostgresServer(std::vector<std::string> settings)
    : settings_(std::move(settings)), port_(free_port()) {
  if (programs().empty()) {
    throw std::runtime_error("PostgreSQL is not installed: run scripts/bootstrap test");
  }
  if (geteuid() == 0) {
    const passwd* const user = getpwnam("postgres");
    if (user == nullptr || chown(folder_.path().c_str(), user->pw_uid, user->pw_gid) != 0) {
      throw std::runtime_error("there is no user postgres");
    }
  }
  const std::string log = folder_.file("log");
  const pid_t made =
      begin({programs() / "initdb", "--auth=trust", "--username=pawl", "--encoding=UTF8",
             "--locale=C", "--no-sync", "-D", folder_.file("data")},
            log);
  if (wait_for(made) != 0) throw std::runtime_error("initdb failed: " + text_of(log));
  start();
}

PostgresServer::~PostgresServer() { stop(true); }

void PostgresServer::start() {
  const std::string log = folder_.file("log");
  std::vector<std::string> command{programs() / "postgres", "-D", folder_.file("data"), "-p",
                                   std::to_string(port_)};
  std::vector<std::string> settings{
      "listen_addresses=127.0.0.1",  "unix_socket_directories=" + folder_.path().string(),
      "max_connections=60",          "fsync=off",
      "max_prepared_transactions=2", "deadlock_timeout=100ms"};
  settings.insert(settings.end(), settings_.begin(), settings_.end());
  for (const std::string& setting : settings) command.insert(command.end(), {"-c", setting});
  pid_ = begin(command, log);
  const auto until = std::chrono::steady_clock::now() + kStartMax;
  while (PQping(conninfo("postgres").c_str()) != PQPING_OK) {
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_ || std::chrono::steady_clock::now() > until) {
      throw std::runtime_error("the server did not start: " + text_of(log));
    }
    std::this_thread::sleep_for(20ms);
  }
}

void PostgresServer::stop(const bool at_once) {
  if (pid_ < 0) return;
  kill(pid_, at_once ? SIGQUIT : SIGINT);
  wait_for(pid_);
  pid_ = -1;
}

std::string PostgresServer::conninfo(const std::string& database, const int port) {
  return fmt::format(
      "host=127.0.0.1 port={} user=pawl dbname={} sslmode=disable gssencmode=disable", port,
      database);
}

std::string PostgresServer::new_database_address() {
  new_database();
  return fmt::format("postgresql://pawl@127.0.0.1:{}/test_{}?sslmode=disable&gssencmode=disable",
                     port_, databases_);
}

std::string PostgresServer::ask(const std::string& database, const std::string& sql) {
  const std::unique_ptr<PGconn, decltype(&PQfinish)> shell(PQconnectdb(database.c_str()),
                                                           &PQfinish);
  const std::unique_ptr<PGresult, decltype(&PQclear)> answer(PQexec(shell.get(), sql.c_str()),
                                                             &PQclear);
  const auto status = PQresultStatus(answer.get());
  if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
    throw std::runtime_error(PQerrorMessage(shell.get()));
  }
  return PQntuples(answer.get()) == 0 ? "" : PQgetvalue(answer.get(), 0, 0);
}

std::string PostgresServer::new_database() {
  const std::string name = fmt::format("test_{}", ++databases_);
  PGconn* const admin = PQconnectdb(conninfo("postgres").c_str());
  PGresult* const made = PQexec(admin, ("CREATE DATABASE " + name).c_str());
  const std::string wrong = PQerrorMessage(admin);
  PQclear(made);
  PQfinish(admin);
  if (!wrong.empty()) throw std::runtime_error(wrong);
  return conninfo(name);
}

}  // namespace pawl::test
