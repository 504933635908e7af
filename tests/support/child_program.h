#pragma once

// One of tests/programs in a process of its own, which says what it has come to, a line each.

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/paths.h"

namespace pawl::test {

// Killed at its end.
class ChildProgram {
 public:
  ChildProgram(const std::string& name, std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), program_dir() + "/" + name);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
    child_ = fork();
    if (child_ == 0) {
      dup2(ends[1], STDOUT_FILENO);
      std::vector<char*> argv;
      for (std::string& argument : arguments) argv.push_back(argument.data());
      argv.push_back(nullptr);
      execv(argv[0], argv.data());
      _exit(127);
    }
    close(ends[1]);
    said_ = ends[0];
  }
  ~ChildProgram() {
    kill_now();
    close(said_);
  }
  ChildProgram(const ChildProgram&) = delete;
  ChildProgram& operator=(const ChildProgram&) = delete;

  // The next line of what it says; empty when it has ended.
  std::string line() {
    std::string text;
    char byte = 0;
    for (;;) {
      const ssize_t count = read(said_, &byte, 1);
      if (count < 0 && errno == EINTR) continue;
      if (count < 1 || byte == '\n') return text;
      text += byte;
    }
  }
  void send(const int signal) const {
    if (child_ != 0) kill(child_, signal);
  }
  // Whether it has ended by itself.
  bool has_ended() {
    if (child_ == 0) return true;
    if (waitpid(child_, nullptr, WNOHANG) != child_) return false;
    child_ = 0;
    return true;
  }
  // Whether it was alive until then.
  bool kill_now() {
    if (child_ == 0) return true;
    send(SIGKILL);
    int status = 0;
    while (waitpid(child_, &status, 0) < 0 && errno == EINTR) {
    }
    child_ = 0;
    return WIFSIGNALED(status);
  }
  void wait() {
    if (child_ == 0) return;
    while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
    }
    child_ = 0;
  }

 private:
  pid_t child_ = 0;
  int said_ = -1;
};

}  // namespace pawl::test
