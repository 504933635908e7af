#include "tests/support/redis_server.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <thread>

#include "redis/redis_connection.h"
#include "tests/support/postgres_server.h"

namespace pawl::test {

namespace {

using namespace std::chrono_literals;

constexpr auto kStartMax = 60s;
constexpr int kAskTries = 20;
constexpr const char* kServer = "/usr/bin/redis-server";

std::string text_of(const std::string& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// In that folder, with what it says in the file "log" there.
pid_t begin(const std::vector<std::string>& command, const std::string& folder) {
  std::vector<char*> arguments;
  for (const std::string& part : command) arguments.push_back(const_cast<char*>(part.c_str()));
  arguments.push_back(nullptr);
  const pid_t child = fork();
  if (child != 0) return child;
  // Another thread may have had any lock at the fork: system calls only. It goes with the test that is killed.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (chdir(folder.c_str()) != 0) _exit(126);
  const int file = open("log", O_WRONLY | O_CREAT | O_APPEND, 0644);
  dup2(file, 1);
  dup2(file, 2);
  execv(arguments[0], arguments.data());
  _exit(127);
}

int wait_for(const pid_t child) {
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

std::string text_of(const RedisValue& value) {
  if (value.size() == 0) {
    return value.text().empty() ? std::to_string(value.integer()) : std::string(value.text());
  }
  std::string all;
  for (std::size_t at = 0; at < value.size(); ++at) {
    all += (at == 0 ? "" : " ") + text_of(value[at]);
  }
  return all;
}

}  // namespace

RedisServer::RedisServer(std::vector<std::string> settings, const bool sentinel)
    : sentinel_(sentinel), port_(free_port()), settings_(std::move(settings)) {
  if (access(kServer, X_OK) != 0) {
    throw std::runtime_error("Redis is not installed: run scripts/bootstrap test");
  }
  start();
}

RedisServer::~RedisServer() { stop(); }

void RedisServer::start(const std::vector<std::string>& settings) {
  const std::string configuration = folder_.file("redis.conf");
  std::ofstream out(configuration, std::ios::trunc);
  out << "bind 127.0.0.1\nport " << port_ << "\n";
  if (!sentinel_) out << "save \"\"\nrepl-diskless-sync-delay 0\nenable-debug-command local\n";
  for (const std::string& line : settings_) out << line << "\n";
  for (const std::string& line : settings) out << line << "\n";
  out.close();
  std::vector<std::string> command{kServer, configuration};
  if (sentinel_) command.emplace_back("--sentinel");
  pid_ = begin(command, folder_.path());
  const auto until = std::chrono::steady_clock::now() + kStartMax;
  RedisConnection connection;
  for (;;) {
    const auto connected = connection.connect({"127.0.0.1", port_}, {.sentinel = true});
    // It has something to say, if only that a password is missing or that it still loads.
    if (connected || connected.error().message.find("NOAUTH") != std::string::npos ||
        connected.error().message.find("LOADING") != std::string::npos) {
      return;
    }
    int status = 0;
    if (waitpid(pid_, &status, WNOHANG) == pid_ || std::chrono::steady_clock::now() > until) {
      throw std::runtime_error("the server did not start: " + text_of(folder_.file("log")));
    }
    std::this_thread::sleep_for(10ms);
  }
}

void RedisServer::stop() {
  if (pid_ < 0) return;
  kill(pid_, SIGKILL);
  wait_for(pid_);
  pid_ = -1;
}

void RedisServer::freeze() { kill(pid_, SIGSTOP); }
void RedisServer::thaw() { kill(pid_, SIGCONT); }

std::string RedisServer::ask(const std::vector<std::string>& command) const {
  RedisConnection connection;
  RedisCommands commands;
  commands.add(command);
  // A server that changes its role throws out whoever is connected.
  for (int tries = 1;; ++tries) {
    const auto connected = connection.connect(
        {"127.0.0.1", port_}, {.password = password_, .sentinel = sentinel_}, kStartMax);
    if (connected) {
      const auto answers = connection.run(commands, kStartMax);
      if (answers) return text_of(answers->front());
    }
    if (tries == kAskTries) throw std::runtime_error("the server does not answer");
    std::this_thread::sleep_for(50ms);
  }
}

int RedisServer::ask_number(const std::vector<std::string>& command) const {
  return std::stoi(ask(command));
}

TestCertificates::TestCertificates() {
  const auto run = [this](std::vector<std::string> command) {
    command.insert(command.begin(), "/usr/bin/openssl");
    if (wait_for(begin(command, folder_.path())) != 0) {
      throw std::runtime_error("openssl failed: " + text_of(folder_.file("log")));
    }
  };
  const std::vector<std::string> shared{"req",    "-x509",    "-newkey",
                                        "ec",     "-pkeyopt", "ec_paramgen_curve:prime256v1",
                                        "-nodes", "-days",    "2"};
  const auto make = [&](std::vector<std::string> more) {
    more.insert(more.begin(), shared.begin(), shared.end());
    run(std::move(more));
  };
  make({"-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.crt"});
  make({"-subj", "/CN=test server", "-addext", "subjectAltName=IP:127.0.0.1", "-addext",
        "basicConstraints=critical,CA:FALSE", "-CA", "ca.crt", "-CAkey", "ca.key", "-keyout",
        "server.key", "-out", "server.crt"});
}

}  // namespace pawl::test
